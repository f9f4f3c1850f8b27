//! What clients did and were told, in the form that the checkers judge.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use chancery_client::{CheckError, Ledger, SubmitError};
use chancery_jepsen::checkers::{Finding, Leaves, Verdict, heads, permits, real_time, replay, witnessed};
use chancery_jepsen::history::{Call, NodeLog, Operation, Outcome, Proof};
use chancery_ledger::answer::{Answer, Nonce, decode_answer};
use chancery_ledger::authority::{Block, Entry};
use chancery_ledger::command::{Body, GrantId, LedgerId, Name, SignedCommand};
use chancery_ledger::decide::{Decision, Interval, Request, decide};
use chancery_ledger::hash::{Hash, to_hex};
use chancery_ledger::head::{Roster, Statement};
use chancery_ledger::state::PrunedView;
use chancery_ledger::trust::Trust;
use chancery_proto::v1::api::CheckRequest;
use chancery_proto::v1::api::ledger_client::LedgerClient;
use tonic::transport::Channel;

use crate::convictions;
use crate::harness::{Cluster, name, terms};
use crate::house::House;

/// Largest answer that is looked at, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A history in the making.
pub(crate) struct Record {
    began: Instant,
    processes: AtomicU32,
    operations: Mutex<Vec<Operation>>,
    verified: Mutex<Verified>,
    statements: Mutex<Vec<Statement>>,
}

/// What the SDK made of what it was sent.
#[derive(Default)]
struct Verified {
    answers: u64,
    refused: Vec<String>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            processes: AtomicU32::new(0),
            operations: Mutex::default(),
            verified: Mutex::default(),
            statements: Mutex::default(),
        }
    }

    /// Another one on the same clock.
    pub(crate) fn beside(&self) -> Self {
        Self { began: self.began, ..Self::new() }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    /// Keeps what a node signed.
    pub(crate) fn saw(&self, statements: impl IntoIterator<Item = Statement>) {
        self.statements.lock().unwrap().extend(statements);
    }

    /// What was signed, held against itself.
    pub(crate) fn statements(&self, roster: &Roster) -> Finding {
        crate::statements::judge(roster, &self.statements.lock().unwrap())
    }

    /// What was signed, held against itself by whom anybody may ask.
    pub(crate) async fn convictions(&self, house: &House, trust: &Trust, logs: &[Vec<Block>]) -> Finding {
        convictions::judge(house, trust, &self.seen(), logs).await
    }

    /// What was signed so far.
    pub(crate) fn seen(&self) -> Vec<Statement> {
        self.statements.lock().unwrap().clone()
    }

    fn note(
        &self,
        invoked_us: u64,
        node: Option<u64>,
        command: Option<&SignedCommand>,
        call: Call,
        outcome: Outcome,
    ) {
        let open = matches!(outcome, Outcome::Unknown { .. });
        let returned_us = (!open).then(|| self.now_us());
        let process = self.processes.fetch_add(1, Ordering::Relaxed);
        let command = command.map(|signed| signed.command_hash().to_string());
        let mut operations = self.operations.lock().unwrap();
        let id = operations.len() as u64;
        operations.push(Operation { id, process, node, invoked_us, returned_us, command, call, outcome });
    }

    /// Whether the SDK believed what it was sent.
    fn judged(&self, refused: Option<String>) {
        let mut verified = self.verified.lock().unwrap();
        verified.answers += 1;
        verified.refused.extend(refused);
    }

    /// Gives a command once.
    pub(crate) async fn submit(&self, client: &Ledger, signed: &SignedCommand, call: Call) -> Outcome {
        let invoked_us = self.now_us();
        let outcome = match client.submit(signed).await {
            Ok(receipt) => {
                self.judged(None);
                Outcome::Acknowledged {
                    index: receipt.index,
                    block: receipt.block,
                    before: receipt.before,
                    verdict: None,
                }
            }
            Err(SubmitError::NotDone { .. }) => Outcome::NotDone { reason: "not done".into() },
            Err(SubmitError::Refused { code, .. }) => Outcome::Refused { reason: code },
            Err(SubmitError::Unproven { source, .. }) => {
                self.judged(Some(source.to_string()));
                Outcome::Unknown { reason: source.to_string() }
            }
            Err(error) => Outcome::Unknown { reason: error.to_string() },
        };
        self.note(invoked_us, None, Some(signed), call, outcome.clone());
        outcome
    }

    /// Registers an agent.
    pub(crate) async fn register(&self, issuer: &Ledger, agent: &str) -> Outcome {
        let body = Body::RegisterAgent {
            agent: name(agent),
            owner: name("ada@example.com"),
            key: None,
            lineage: None,
        };
        let signed = issuer.sign(body, &[]).unwrap();
        self.submit(issuer, &signed, Call::Register { agent: agent.into(), lineage: None }).await
    }

    /// Grants an agent `read` on all documents; the grant's id.
    pub(crate) async fn grant(&self, issuer: &Ledger, agent: &str) -> (GrantId, Outcome) {
        let signed = issuer.sign(Body::grant(terms(agent)), &[]).unwrap();
        let grant = GrantId::of(issuer.trust().ledger, signed.command_bytes());
        let call = Call::Grant {
            agent: agent.into(),
            action: "read".into(),
            resource: "documents/*".into(),
            grant: grant.to_string(),
        };
        (grant, self.submit(issuer, &signed, call).await)
    }

    /// Revokes a grant.
    pub(crate) async fn revoke(&self, revoker: &Ledger, grant: GrantId) -> Outcome {
        let signed = revoker.sign(Body::RevokeGrant { grant, reason: "sabotage".into() }, &[]).unwrap();
        self.submit(revoker, &signed, Call::RevokeGrant { grant: grant.to_string() }).await
    }

    /// Asks through the SDK, which verifies.
    pub(crate) async fn check(&self, gate: &Ledger, node: u64, agent: &str) {
        let invoked_us = self.now_us();
        let outcome = match gate.check(agent, "read", "documents/1", b"").await {
            Ok(permit) => {
                self.judged(None);
                let chain = permit.authority().chain.iter().map(|one| one.grant.to_string()).collect();
                Outcome::Permitted { block: permit.block(), chain }
            }
            Err(CheckError::Denied(denied)) => {
                self.judged(None);
                let reason = denied.denial.code().into();
                Outcome::Denied { block: denied.checked.verified.head.block, reason, halt: None }
            }
            Err(CheckError::Unproven { source, .. }) => {
                self.judged(Some(source.to_string()));
                Outcome::NotDone { reason: source.to_string() }
            }
            Err(error) => Outcome::NotDone { reason: error.to_string() },
        };
        self.note(invoked_us, Some(node), None, of(agent), outcome);
    }

    /// Asks as a client would that believes whatever state it is shown: no signature is looked at.
    pub(crate) async fn check_trusting(&self, client: &mut LedgerClient<Channel>, node: u64, agent: &str) {
        let invoked_us = self.now_us();
        let args_digest = Hash::of(&[]);
        let mut nonce = Nonce([0; 32]);
        getrandom::fill(&mut nonce.0).unwrap();
        let request = CheckRequest {
            agent: agent.into(),
            action: "read".into(),
            resource: "documents/1".into(),
            args_digest: args_digest.0.to_vec(),
            generation: Vec::new(),
            nonce: nonce.0.to_vec(),
            ..Default::default()
        };
        let outcome = match client.check(request).await {
            Ok(reply) => {
                let answer = decode_answer(&reply.into_inner().answer, ANSWER_BYTES_MAX).unwrap();
                let [agent, action, resource] = [agent, "read", "documents/1"].map(name);
                let (args, generation, knowledge, hint) = (None, None, None, answer.hint);
                let request =
                    Request { agent, action, resource, args_digest, args, generation, knowledge, hint };
                believed(&request, &answer)
            }
            Err(status) => Outcome::NotDone { reason: status.to_string() },
        };
        self.note(invoked_us, Some(node), None, of(agent), outcome);
    }

    /// What the checkers say of it all, and the SDK of what it was sent.
    pub(crate) async fn judge(&self, house: &House, roster: &Roster) -> Vec<Finding> {
        let logs = logs(&house.cluster).await;
        let mut findings = self.judge_by(ledger_of(&house.cluster).await, &logs);
        let statements = self.statements.lock().unwrap();
        if !statements.is_empty() {
            let bytes = |one: &Statement| Proof::Statement { statement: to_hex(&one.encode()) };
            let proofs: Vec<Proof> = statements.iter().map(bytes).collect();
            findings.push(heads::check(std::slice::from_ref(roster), &logs[0].leaves, &proofs));
        }
        findings
    }

    /// [`Record::judge`] where signatures are judged apart, and nodes that cannot come back are left out.
    pub(crate) async fn judge_without_statements(&self, house: &mut House) -> Vec<Finding> {
        for node in house.cluster.running() {
            if house.cluster.has_ended(node) {
                house.cluster.wait_for_exit(node).await;
            }
        }
        let logs = logs(&house.cluster).await;
        self.judge_by(ledger_of(&house.cluster).await, &logs)
    }

    fn judge_by(&self, ledger: LedgerId, logs: &[NodeLog]) -> Vec<Finding> {
        let operations = self.operations.lock().unwrap();
        let mut findings = vec![self.verifier()];
        findings.extend(witnessed(ledger, &operations, logs));
        if operations.iter().all(|one| one.command.is_some()) {
            // Nothing was checked in this scenario.
            findings.retain(|finding| finding.checker != replay::NAME && finding.checker != permits::NAME);
        }
        if findings.iter().any(|finding| !finding.verdict.is_valid()) {
            self.tell(&operations, logs);
        }
        findings
    }

    /// What whoever looks into a finding wants to see.
    fn tell(&self, operations: &[Operation], logs: &[NodeLog]) {
        for operation in operations {
            eprintln!("{}", serde_json::to_string(operation).unwrap());
        }
        for NodeLog { node, leaves } in logs {
            for (index, leaf) in leaves.iter().enumerate() {
                match Entry::decode(leaf) {
                    Ok(Entry::Command { block, signed, .. }) => {
                        eprintln!("node {node} {index} block {block}: {}", signed.command_hash());
                    }
                    Ok(Entry::State { block, time_ms, .. }) => {
                        eprintln!("node {node} {index} block {block} ends at {time_ms}");
                    }
                    Err(error) => eprintln!("node {node} {index}: {error}"),
                }
            }
        }
    }

    /// What the clock says of the checks in here, and of the commands in `others`.
    pub(crate) async fn judge_checks(&self, others: &Self, house: &House) -> Finding {
        let is_command = |one: &&Operation| one.command.is_some();
        let mut operations: Vec<Operation> =
            others.operations.lock().unwrap().iter().filter(is_command).cloned().collect();
        operations.extend(self.operations.lock().unwrap().iter().cloned());
        for (id, operation) in (0..).zip(&mut operations) {
            operation.id = id;
        }
        let ledger = ledger_of(&house.cluster).await;
        match Leaves::read(ledger, &logs(&house.cluster).await) {
            Ok(leaves) => Finding { checker: TRUSTING, ..real_time::check(&operations, &leaves) },
            Err(verdict) => Finding { checker: TRUSTING, examined: 0, verdict },
        }
    }

    /// The SDK itself: whether it had to refuse anything.
    pub(crate) fn verifier(&self) -> Finding {
        let verified = self.verified.lock().unwrap();
        let verdict = match verified.refused.first() {
            None => Verdict::Valid,
            Some(first) => Verdict::Violation {
                checker: "client",
                what: format!("{} answers prove nothing; the first: {first}", verified.refused.len()),
                operations: Vec::new(),
            },
        };
        Finding { checker: "client", examined: verified.answers, verdict }
    }
}

fn of(agent: &str) -> Call {
    Call::Check { agent: agent.into(), action: "read".into(), resource: "documents/1".into() }
}

/// The decision over the answer's state, whoever signed it.
fn believed(request: &Request, answer: &Answer) -> Outcome {
    let now_ms = crate::harness::now_ms();
    let view = PrunedView::new(&answer.tree);
    let block = answer.head.block;
    match decide(&view, request, Interval { low_ms: now_ms, high_ms: now_ms }) {
        Ok(Decision::Permit(authority)) => {
            let chain = authority.chain.iter().map(|one| one.grant.to_string()).collect();
            Outcome::Permitted { block, chain }
        }
        Ok(Decision::Denied(denial)) => Outcome::Denied { block, reason: denial.code().into(), halt: None },
        Err(error) => Outcome::NotDone { reason: error.to_string() },
    }
}

/// What the clock says of clients that verify nothing.
pub(crate) const TRUSTING: &str = "real-time, unverified";

async fn ledger_of(cluster: &Cluster) -> LedgerId {
    cluster.settled_head().await.ledger
}

/// The log as each node has it.
async fn logs(cluster: &Cluster) -> Vec<NodeLog> {
    let head = cluster.settled_head().await;
    let mut logs = Vec::new();
    for node in cluster.running() {
        let leaves = cluster.leaves(node, head.log_size).await;
        logs.push(NodeLog { node, leaves: leaves.iter().map(|leaf| leaf.encode()).collect() });
    }
    logs
}

/// A well-formed agent's name.
pub(crate) fn agent(number: usize) -> Name {
    name(&format!("bots/{number}"))
}
