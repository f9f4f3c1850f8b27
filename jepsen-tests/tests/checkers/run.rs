//! A ledger in this process, what its clients did, and what they were told.

use chancery_jepsen::checkers::{Finding, Verdict, heads, linearizability, proofs, witnessed};
use chancery_jepsen::history::{Call, NodeLog, Operation, Outcome, Proof, Told, halt_of};
use chancery_ledger::answer::verify;
use chancery_ledger::authority::{Entry, Outcome as Applied, Verdict as Recorded};
use chancery_ledger::command::{
    ActionOutcome, Body, Bound, Bounds, DecisionId, DecisionRef, GrantId, HaltScope, OutcomeKind,
    SignedCommand,
};
use chancery_ledger::decide::Decision;
use chancery_ledger::hash::{Hash, to_hex};

use crate::house::{self, FOUNDED_MS, House};

/// Configurations that a search may look at.
pub const STEPS_MAX: u64 = 200_000;

pub const RESOURCE: &str = "r/x";

pub struct Run {
    pub house: House,
    pub operations: Vec<Operation>,
    pub proofs: Vec<Proof>,
    /// Time between two operations of [`Run::give`] and [`Run::check`].
    pub now_us: u64,
}

impl Run {
    pub fn new() -> Self {
        Self { house: House::found(), operations: Vec::new(), proofs: Vec::new(), now_us: 1_000 }
    }

    // ------------------------------------------------------------------------------------------------
    // What clients ask for.

    pub fn register(&mut self, agent: &str) -> (SignedCommand, Call) {
        self.register_in(agent, None)
    }

    pub fn register_in(&mut self, agent: &str, lineage: Option<&str>) -> (SignedCommand, Call) {
        let (name, owner, key) =
            (house::name(agent), house::name("owner@example.com"), Some(house::public(agent)));
        let of = lineage.map(house::name);
        let signed =
            self.house.signed("operator-1", Body::RegisterAgent { agent: name, owner, key, lineage: of });
        (signed, Call::Register { agent: agent.into(), lineage: lineage.map(Into::into) })
    }

    pub fn grant(&mut self, agent: &str, action: &str, resource: &str) -> (SignedCommand, Call) {
        self.grant_within(agent, action, resource, Vec::new())
    }

    pub fn grant_within(
        &mut self,
        agent: &str,
        action: &str,
        resource: &str,
        bounds: Vec<Bound>,
    ) -> (SignedCommand, Call) {
        let mut terms = house::terms(agent, &[action], &[resource], FOUNDED_MS);
        terms.bounds = Bounds::collect(bounds).unwrap();
        let signed = self.house.signed("issuer", Body::grant(terms));
        let grant = self.id(&signed);
        let (agent, action, resource) = (agent.into(), action.into(), resource.into());
        (signed, Call::Grant { agent, action, resource, grant })
    }

    /// `holder` delegates all of `parent`, at a lesser depth.
    pub fn delegate(&mut self, holder: &str, parent: &str, agent: &str, depth: u32) -> (SignedCommand, Call) {
        let mut terms = house::terms(agent, &["a"], &[RESOURCE], FOUNDED_MS);
        terms.delegable_depth = 2 - depth;
        let body = Body::delegate(GrantId(Hash::from_hex(parent).unwrap()), terms);
        let signed = self.house.signed(holder, body);
        let (grant, parent) = (self.id(&signed), parent.into());
        let (agent, action, resource) = (agent.into(), "a".into(), RESOURCE.into());
        (signed, Call::Delegate { agent, action, resource, grant, parent })
    }

    pub fn revoke(&mut self, grant: &str) -> (SignedCommand, Call) {
        let id = GrantId(Hash::from_hex(grant).unwrap());
        let signed = self.house.signed("revoker", Body::RevokeGrant { grant: id, reason: "test".into() });
        (signed, Call::RevokeGrant { grant: grant.into() })
    }

    pub fn revoke_all(&mut self, agent: &str) -> (SignedCommand, Call) {
        let body = Body::RevokeAgent { agent: house::name(agent), reason: "test".into() };
        (self.house.signed("revoker", body), Call::RevokeAgent { agent: agent.into() })
    }

    pub fn halt(&mut self, scope: HaltScope) -> (SignedCommand, Call) {
        let call = Call::Halt { scope: scope.kind().into(), subject: scope.subject() };
        (self.house.signed("halter", Body::Halt { scope, reason: "test".into() }), call)
    }

    pub fn resume(&mut self, resumer: &str, halt: u64) -> (SignedCommand, Call) {
        let Entry::Command { signed, .. } = self.house.entry(halt) else { panic!() };
        let body = Body::Resume { halt, halt_command: signed.command_hash() };
        let call = Call::Resume { halt, resumer: house::public(resumer).to_string() };
        (self.house.signed(resumer, body), call)
    }

    pub fn authorize(&mut self, agent: &str) -> (SignedCommand, Call) {
        self.authorize_amount(agent, None)
    }

    /// The same, for an amount.
    pub fn authorize_amount(&mut self, agent: &str, amount: Option<u64>) -> (SignedCommand, Call) {
        let mut asked = house::authorize(agent, "a", RESOURCE);
        if let Some(amount) = amount {
            let args = format!("{{\"amount\":{amount}}}").into_bytes();
            (asked.args_digest, asked.args) = (Hash::of(&[&args]), Some(args));
        }
        let signed = self.house.signed("gate", Body::Authorize(asked));
        let (agent, action, resource) = (agent.into(), "a".into(), RESOURCE.into());
        (signed, Call::Authorize { agent, action, resource })
    }

    pub fn outcome(&mut self, decision: &DecisionRef, kind: OutcomeKind) -> (SignedCommand, Call) {
        let said = ActionOutcome { decision: decision.clone(), kind, result_digest: None };
        let (agent, name) = (decision.agent.to_string(), decision.to_string());
        let call = Call::Outcome { agent, decision: name, kind: kind.name().into() };
        (self.house.signed("gate", Body::Outcome(said)), call)
    }

    /// Has it decided on record, alone: which decision it is.
    pub fn authorized(&mut self, agent: &str) -> DecisionRef {
        self.authorized_amount(agent, None)
    }

    /// The same, for an amount.
    pub fn authorized_amount(&mut self, agent: &str, amount: Option<u64>) -> DecisionRef {
        let command = self.authorize_amount(agent, amount);
        let id = DecisionId::of(self.house.ledger, command.0.command_bytes());
        let operation = self.give(command);
        let Outcome::Acknowledged { index, .. } = self.operation(operation).outcome else { panic!() };
        let Entry::Command { verdict: Some(verdict), .. } = self.house.entry(index) else { panic!() };
        DecisionRef { agent: house::name(agent), number: verdict.number, id }
    }

    fn id(&self, signed: &SignedCommand) -> String {
        GrantId::of(self.house.ledger, signed.command_bytes()).to_string()
    }

    // ------------------------------------------------------------------------------------------------
    // What becomes of it.

    /// Applies `commands` in one block; each is told what became of it, between `invoked_us` and `returned_us`.
    pub fn apply(
        &mut self,
        commands: Vec<(SignedCommand, Call)>,
        invoked_us: u64,
        returned_us: u64,
    ) -> Vec<u64> {
        self.house.now_ms += 1_000;
        let block = commands.iter().map(|(signed, _)| signed.clone()).collect();
        let applied = self.house.block(block);
        let mut ids = Vec::new();
        for ((signed, call), outcome) in commands.into_iter().zip(applied.outcomes) {
            let outcome = match outcome {
                Applied::Applied(cause) => self.acknowledged(cause.index, cause.block, false),
                Applied::Before(cause) => self.acknowledged(cause.index, cause.block, true),
                Applied::Refused(refusal) => Outcome::Refused { reason: refusal.code().into() },
            };
            ids.push(self.record(Some(&signed), call, outcome, invoked_us, returned_us));
        }
        let head = *self.house.head();
        let statement = |node| to_hex(&self.house.head_statement(node, head).encode());
        let (operation, statements) = (ids[0], vec![statement(1), statement(2)]);
        self.proofs.push(Proof::Receipt { operation, head: to_hex(&head.encode()), statements });
        ids
    }

    fn acknowledged(&self, index: u64, block: u64, before: bool) -> Outcome {
        let Entry::Command { verdict, .. } = self.house.entry(index) else { panic!() };
        Outcome::Acknowledged { index, block, before, verdict: verdict.as_ref().map(Told::of) }
    }

    pub fn record(
        &mut self,
        signed: Option<&SignedCommand>,
        call: Call,
        outcome: Outcome,
        invoked_us: u64,
        returned_us: u64,
    ) -> u64 {
        let id = self.operations.len() as u64;
        let command = signed.map(|signed| signed.command_hash().to_string());
        let (process, returned_us) = (id as u32, Some(returned_us));
        let operation =
            Operation { id, process, node: None, invoked_us, returned_us, command, call, outcome };
        self.operations.push(operation);
        id
    }

    /// Asks, and decides from the proof.
    pub fn ask(&mut self, agent: &str, action: &str, invoked_us: u64, returned_us: u64) -> u64 {
        let request = house::request(agent, action, RESOURCE);
        let nonce = house::nonce(&self.operations.len().to_string());
        let answer = self.house.answer(&request, nonce);
        let verified = verify(&self.house.trust, &request, nonce, &answer).unwrap();
        let block = verified.head.block;
        let outcome = match verified.decision {
            Decision::Permit(authority) => {
                let chain = authority.chain.iter().map(|link| link.grant.to_string()).collect();
                Outcome::Permitted { block, chain }
            }
            Decision::Denied(denial) => {
                Outcome::Denied { block, reason: denial.code().into(), halt: halt_of(&denial) }
            }
        };
        let call = Call::Check { agent: agent.into(), action: action.into(), resource: RESOURCE.into() };
        let operation = self.record(None, call, outcome, invoked_us, returned_us);
        self.proofs.push(Proof::Answer {
            operation,
            args_digest: request.args_digest.to_string(),
            nonce: to_hex(&nonce.0),
            answer: to_hex(&answer.encode()),
        });
        operation
    }

    // ------------------------------------------------------------------------------------------------
    // One thing after another.

    /// Gives one command, alone, and returns its operation.
    pub fn give(&mut self, command: (SignedCommand, Call)) -> u64 {
        let (invoked_us, returned_us) = self.pass();
        self.apply(vec![command], invoked_us, returned_us)[0]
    }

    /// Grants `a` on [`RESOURCE`], alone, and returns the grant's id.
    pub fn granted(&mut self, agent: &str) -> String {
        let command = self.grant(agent, "a", RESOURCE);
        let grant = grant_of(&command.1);
        self.give(command);
        grant
    }

    pub fn check(&mut self, agent: &str) -> u64 {
        let (invoked_us, returned_us) = self.pass();
        self.ask(agent, "a", invoked_us, returned_us)
    }

    fn pass(&mut self) -> (u64, u64) {
        self.now_us += 100;
        (self.now_us, self.now_us + 50)
    }

    // ------------------------------------------------------------------------------------------------
    // What the checkers say.

    pub fn logs(&self) -> Vec<NodeLog> {
        let log = |(node, replica): (u64, &house::Replica)| NodeLog { node, leaves: replica.leaves.clone() };
        (1..).zip(&self.house.replicas).map(log).collect()
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.findings_over(&self.logs())
    }

    pub fn findings_over(&self, logs: &[NodeLog]) -> Vec<Finding> {
        let mut findings = witnessed(self.house.ledger, &self.operations, logs);
        findings.push(linearizability::check(&self.operations, STEPS_MAX));
        findings.push(proofs::check(&self.house.trust, &self.operations, &self.proofs));
        findings.push(self.heads());
        findings
    }

    /// The logs, with the verdict in the leaf of operation `id` changed on every node, and its client told so.
    pub fn decide_otherwise(&mut self, id: u64, change: impl Fn(Recorded) -> Recorded) -> Vec<NodeLog> {
        let Outcome::Acknowledged { index, verdict: told, .. } = &mut self.operations[id as usize].outcome
        else {
            panic!()
        };
        let index = *index;
        let entry = self.house.entry(index);
        let Entry::Command { block, time_ms, signed, verdict } = entry else { panic!() };
        let verdict = verdict.map(change);
        *told = verdict.as_ref().map(Told::of);
        let entry = Entry::Command { block, time_ms, signed, verdict };
        let mut logs = self.logs();
        logs.iter_mut().for_each(|log| log.leaves[index as usize] = entry.encode());
        logs
    }

    pub fn heads(&self) -> Finding {
        let rosters = [self.house.trust.genesis.clone()];
        heads::check(&rosters, &self.house.replicas[0].leaves, &self.proofs)
    }

    pub fn operation(&mut self, id: u64) -> &mut Operation {
        &mut self.operations[id as usize]
    }
}

pub fn grant_of(call: &Call) -> String {
    match call {
        Call::Grant { grant, .. } | Call::Delegate { grant, .. } => grant.clone(),
        other => panic!("{other:?} grants nothing"),
    }
}

pub fn assert_valid(findings: &[Finding]) {
    for finding in findings {
        assert!(finding.verdict.is_valid(), "{}: {}", finding.checker, finding.verdict);
    }
}

/// The checkers that found a violation.
pub fn caught_by(findings: &[Finding]) -> Vec<&'static str> {
    let violated = |finding: &&Finding| matches!(finding.verdict, Verdict::Violation { .. });
    findings.iter().filter(violated).map(|finding| finding.checker).collect()
}
