//! Every format, pinned: `vectors.json` holds what fixed keys and a fixed story make, and this test makes it
//! again. `UPDATE_VECTORS=1` writes the file instead of comparing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod checkpoint_vectors;
mod condition_vectors;
mod equivocation_vectors;
mod house;
mod limits;
mod question_vectors;

use base64::Engine;
use chancery_ledger::answer::{
    Answer, Moment, Nonce, PastAnswer, PastFault, ProofError, VerifiedPast, decode_answer,
    decode_past_answer, verify, verify_past, verify_recent,
};
use chancery_ledger::authority::{
    Applied, Block, Decided, DedupEntry, Entry, GenerationRef, GrantRef, LeafError, Outcome, Verdict,
};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Command, DecisionId, DecisionRef, GenerationId, GrantId, HaltScope,
    LedgerId, LineageConstraints, LineagePolicy, Name, OutcomeKind, Pattern, PublicKey, Role, SignedCommand,
    Terms, Traceparent,
};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::evidence::{
    Contradiction, ContradictionError, Evidence, EvidenceError, Message as NodeMessage, Proof, Record,
};
use chancery_ledger::hash::{Hash, to_hex};
use chancery_ledger::head::{
    Fresh, Head, HeadQuorum, Number, QuorumError, RosterChain, RosterId, RosterLink, RosterLinkError,
    STATEMENT_PREFIX, Statement, StatementError,
};
use chancery_ledger::knowledge::Knowledge;
use chancery_ledger::log::nonces::NonceTree;
use chancery_ledger::log::{leaf_hash, root_from_inclusion};
use chancery_ledger::state::{MemoryNodes, NodeId, PrunedTree, Root, leaves, update};
use chancery_ledger::trust::{RosterChainError, Trust, TrustError};
use chancery_proto::v1 as wire;
use house::{HOUR_MS, House, everything, name, nonce, principal, public, request, terms};
use prost::Message;
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors.json");

fn hex(bytes: impl AsRef<[u8]>) -> Value {
    to_hex(bytes.as_ref()).into()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let mut bytes = vec![0; text.len() / 2];
    chancery_ledger::hash::from_hex(text, &mut bytes).unwrap();
    bytes
}

fn hash(hash: Hash) -> Value {
    hex(hash.0)
}

// ----------------------------------------------------------------------------------------------------
// The story.

struct Story {
    house: House,
    blocks: Vec<Value>,
    commands: Vec<Value>,
    answers: Vec<Value>,
    refused: Vec<Value>,
    recent: Vec<Value>,
    past: Vec<Value>,
    evidence: Vec<Value>,
    records: Vec<Value>,
    dedup: Vec<Value>,
    refused_chains: Vec<Value>,
}

impl Story {
    fn command(&mut self, what: &str, signers: &[&str], body: Body) -> SignedCommand {
        let command = self.house.command(signers[0], body);
        let signed = self.house.sign(&command, signers);
        self.commands.push(command_json(what, self.house.ledger, &signed));
        signed
    }

    fn block(&mut self, what: &str, commands: Vec<SignedCommand>) -> Applied {
        self.house.now_ms += 1_000;
        let applied = self.house.block(commands);
        self.blocks.push(block_json(what, self.house.blocks.last().unwrap(), &applied));
        for entry in &applied.dedup {
            self.dedup.push(self.dedup_json(entry));
        }
        applied
    }

    /// Both roster blocks of a change, and an answer at each of them.
    fn change(&mut self, what: &str, nodes: &[u64], request: &Request) -> [RosterLink; 2] {
        let body = self.house.set_roster(house::voters(nodes));
        let signed = self.command(&format!("set_roster: {what}"), &["operator-1", "operator-2"], body);
        self.house.now_ms += 1_000;
        let (joint, uniform) = self.house.propose_change(signed);
        [("joint", joint), ("uniform", uniform)].map(|(kind, block)| {
            let what = format!("{what}, {kind}");
            let before = self.house.roster.clone();
            let applied = self.house.apply(&block.encode());
            self.blocks.push(block_json(&what, self.house.blocks.last().unwrap(), &applied));
            for entry in &applied.dedup {
                self.dedup.push(self.dedup_json(entry));
            }
            let link = self.house.link(&before);
            let chain = RosterChain { links: vec![link.clone()] };
            self.house.trust = self.house.trust.extend(&chain).unwrap();
            self.check(&format!("{what}: at the block"), request);
            link
        })
    }

    fn refuse_chain(&mut self, what: &str, links: &[RosterLink]) {
        let chain = RosterChain { links: links.to_vec() };
        let error = self.house.founding_trust().extend(&chain).unwrap_err();
        self.refused_chains.push(json!({
            "name": what,
            "chain": hex(chain.encode()),
            "error": chain_error(&error),
        }));
    }

    fn dedup_json(&self, entry: &DedupEntry) -> Value {
        let after = self.house.state().dedup().bucket(entry.bucket());
        json!({
            "entry": hex(entry.encode()),
            "bucket": entry.bucket(),
            "bucket_after_block": { "entries": after.entries, "hash": hash(after.hash) },
        })
    }

    fn check(&mut self, what: &str, request: &Request) -> Answer {
        let nonce = nonce(what);
        let answer = self.house.answer(request, nonce);
        self.keep(what, request, nonce, &answer);
        answer
    }

    fn keep(&mut self, what: &str, request: &Request, nonce: Nonce, answer: &Answer) {
        let verified = verify(&self.house.trust, request, nonce, answer).unwrap();
        self.answers.push(json!({
            "name": what,
            "question": question_json(request, nonce),
            "answer": hex(answer.encode()),
            "read_set": hex(answer.tree.encode()),
            "block": verified.head.block,
            "nodes": verified.nodes,
            "interval_ms": [verified.interval.low_ms, verified.interval.high_ms],
            "decision": decision_json(&verified.decision),
            "recorded": verified.recorded.map(|recorded| {
                json!({ "decisions": recorded.decisions, "permits": recorded.permits })
            }),
        }));
    }

    fn recent(&mut self, what: &str, request: &Request, answer: &Answer) {
        let shows = recent_shows(&self.house.trust, request, answer);
        let question = request_json(request);
        self.recent.push(
            json!({ "name": what, "question": question, "answer": hex(answer.encode()), "shows": shows }),
        );
    }

    fn past(&mut self, what: &str, request: &Request, moment: Moment, answer: &PastAnswer) {
        let mut question = request_json(request);
        match moment {
            Moment::Block(block) => question["block"] = block.into(),
            Moment::Time(time_ms) => question["time_ms"] = time_ms.into(),
        }
        let shows = past_shows(&self.house.trust, request, moment, answer);
        self.past.push(
            json!({ "name": what, "question": question, "answer": hex(answer.encode()), "shows": shows }),
        );
    }

    fn keep_evidence(&mut self, what: &str, evidence: &Evidence) {
        let shown = match evidence.verify(&self.house.founding_trust()) {
            Ok(shown) => json!({
                "decision": decision_json(shown.proven.decision()),
                "cause": shown.cause.map(|signed| hex(signed.encode())),
            }),
            Err(error) => json!({ "error": evidence_error(&error) }),
        };
        self.evidence.push(json!({ "name": what, "file": evidence.to_json(), "shows": shown }));
    }

    fn keep_record(&mut self, what: &str, record: &Record) {
        let shows = record_shows(&record.to_json(), &self.house.founding_trust());
        self.records.push(json!({ "name": what, "file": record.to_json(), "shows": shows }));
    }

    fn refuse(&mut self, what: &str, request: &Request, nonce: Nonce, answer: &Answer) {
        let error = verify(&self.house.trust, request, nonce, answer).unwrap_err();
        self.refused.push(json!({
            "name": what,
            "question": question_json(request, nonce),
            "answer": hex(answer.encode()),
            "error": proof_error(&error),
        }));
    }
}

fn command_json(what: &str, ledger: LedgerId, signed: &SignedCommand) -> Value {
    let bytes = signed.command_bytes();
    let message = [b"chancery/command/v1\0".as_slice(), ledger.0.as_bytes(), bytes].concat();
    let envelope = wire::SignedCommand::decode(signed.encode().as_slice()).unwrap();
    let signature = |one: &wire::Signature| {
        let mut value = json!({ "key": hex(&one.key), "signature": hex(&one.signature) });
        if let Some(batch) = &one.batch {
            value["batch"] = batch_json(ledger, signed.command_hash(), batch);
        }
        value
    };
    let mut value = json!({
        "name": what,
        "command": hex(bytes),
        "signed_message": hex(message),
        "signatures": envelope.signatures.iter().map(signature).collect::<Vec<_>>(),
        "envelope": hex(signed.encode()),
        "command_hash": hash(signed.command_hash()),
    });
    if let Body::RegisterGeneration(generation) = &signed.command().body {
        value["generation_id"] = hash(generation.id(ledger).0);
    }
    if matches!(signed.command().body, Body::Grant { .. } | Body::Delegate { .. }) {
        value["grant_id"] = hash(GrantId::of(ledger, bytes).0);
    }
    if matches!(signed.command().body, Body::Authorize(_)) {
        value["decision_id"] = hash(DecisionId::of(ledger, bytes).0);
    }
    value
}

/// A place in a batch, and what the signature of the batch is over.
fn batch_json(ledger: LedgerId, command_hash: Hash, batch: &wire::CommandBatch) -> Value {
    let hashes: Vec<Hash> = batch.hashes.iter().map(|bytes| Hash::from_slice(bytes).unwrap()).collect();
    let leaf = leaf_hash(command_hash.as_bytes());
    let root = root_from_inclusion(&leaf, batch.index.into(), batch.count.into(), &hashes).unwrap();
    let batch_hash = Hash::labelled("chancery/command-batch/v1", &[&batch.count.to_be_bytes(), &root.0]);
    let message = [b"chancery/commands/v1\0".as_slice(), ledger.0.as_bytes(), &batch_hash.0].concat();
    json!({
        "index": batch.index,
        "count": batch.count,
        "hashes": hashes.into_iter().map(hash).collect::<Vec<_>>(),
        "signed_message": hex(message),
    })
}

fn head_json(head: &Head) -> Value {
    json!({
        "ledger": hash(head.ledger.0),
        "block": head.block,
        "time_ms": head.time_ms,
        "log_size": head.log_size,
        "log_root": hash(head.log_root),
        "state_root": hash(head.state_root),
        "roster_block": head.roster.block,
        "roster_digest": hash(head.roster.digest),
        "rules_version": head.rules_version,
        "encoded": hex(head.encode()),
        "hash": hash(head.hash()),
    })
}

fn block_json(what: &str, encoded: &[u8], applied: &Applied) -> Value {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Applied(cause) => json!({ "applied": cause.index }),
        Outcome::Before(cause) => json!({ "before": cause.index }),
        Outcome::Refused(refusal) => json!({ "refused": refusal.code() }),
    };
    let leaf = |entry: &Vec<u8>| {
        let mut value = json!({ "entry": hex(entry), "hash": hash(leaf_hash(entry)) });
        if let Entry::Command { verdict: Some(verdict), .. } = Entry::decode(entry).unwrap() {
            value["verdict"] = verdict_json(&verdict);
        }
        value
    };
    json!({
        "name": what,
        "block": hex(encoded),
        "hash": hash(Block::hash_of(encoded)),
        "outcomes": applied.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "leaves": applied.leaves.iter().map(leaf).collect::<Vec<_>>(),
        "head": head_json(&applied.summary.head),
    })
}

fn request_json(request: &Request) -> Value {
    json!({
        "agent": request.agent.as_str(),
        "action": request.action.as_str(),
        "resource": request.resource.as_str(),
        "args_digest": hash(request.args_digest),
        "args": request.args.as_deref().map(|text| std::str::from_utf8(text).unwrap()),
        "knowledge": request.knowledge.as_ref().map(|knowledge| hex(knowledge.encode())),
        "generation": request.generation.map(|generation| hash(generation.0)),
    })
}

fn question_json(request: &Request, nonce: Nonce) -> Value {
    let mut question = request_json(request);
    question["nonce"] = hex(nonce.0);
    question["question"] = hex(nonce.question(request));
    question
}

fn recent_shows(trust: &Trust, request: &Request, answer: &Answer) -> Value {
    match verify_recent(trust, request, answer) {
        Ok(verified) => json!({
            "block": verified.head.block,
            "nodes": verified.nodes,
            "interval_ms": [verified.interval.low_ms, verified.interval.high_ms],
            "clock_min_ms": verified.freshness.clock_min_ms,
            "decision": decision_json(&verified.decision),
        }),
        Err(error) => json!({ "error": proof_error(&error) }),
    }
}

fn past_shows(trust: &Trust, request: &Request, moment: Moment, answer: &PastAnswer) -> Value {
    match verify_past(trust, request, moment, answer) {
        Ok(VerifiedPast { decision, block, block_time_ms, state_root, time_ms, head, nodes, .. }) => json!({
            "block": block,
            "block_time_ms": block_time_ms,
            "state_root": hash(state_root),
            "time_ms": time_ms,
            "head_block": head.block,
            "nodes": nodes,
            "decision": decision_json(&decision),
        }),
        Err(error) => json!({ "error": proof_error(&error) }),
    }
}

fn request_from(value: &Value) -> Request {
    let text = |field: &str| value[field].as_str().unwrap();
    Request {
        args_digest: Hash::from_hex(text("args_digest")).unwrap(),
        args: value["args"].as_str().map(Into::into),
        knowledge: value["knowledge"]
            .as_str()
            .map(|_| Knowledge::decode(&unhex(&value["knowledge"])).unwrap()),
        generation: value["generation"].as_str().map(|id| GenerationId(Hash::from_hex(id).unwrap())),
        ..request(text("agent"), text("action"), text("resource"))
    }
}

fn question_from(value: &Value) -> (Request, Nonce) {
    let request = request_from(value);
    let nonce = Nonce(Hash::from_hex(value["nonce"].as_str().unwrap()).unwrap().0);
    assert_eq!(hex(nonce.question(&request)), value["question"]);
    (request, nonce)
}

fn chain_json(chain: &[GrantRef]) -> Vec<Value> {
    chain.iter().map(|link| json!({ "grant": hash(link.grant.0), "root": hash(link.root.0) })).collect()
}

/// What a verifier is shown by a record, from the trust file alone.
fn record_shows(file: &str, trust: &Trust) -> Value {
    let record = Record::from_json(file.as_bytes()).unwrap();
    match record.verify(trust) {
        Ok(shown) => json!({
            "index": shown.recorded.cause.index,
            "command": hex(shown.recorded.signed.encode()),
            "verdict": shown.recorded.verdict.as_ref().map(verdict_json),
            "cause": shown.cause.map(|signed| hex(signed.encode())),
            "nodes": shown.nodes,
        }),
        Err(error) => json!({ "error": evidence_error(&error) }),
    }
}

fn verdict_json(verdict: &Verdict) -> Value {
    let mut value = match &verdict.decided {
        Decided::Permit { chain, generation, deadline_ms, bounds } => json!({ "permit": {
            "chain": chain_json(chain),
            "generation": generation_json(generation.as_ref()),
            "deadline_ms": deadline_ms,
            "bounds": bounds.iter().map(limits::taken_json).collect::<Vec<_>>(),
        } }),
        Decided::Denied(denial) => decision_json(&Decision::Denied(denial.clone())),
    };
    value["number"] = verdict.number.into();
    value
}

fn generation_json(generation: Option<&GenerationRef>) -> Value {
    json!(generation.map(|generation| json!({ "number": generation.number, "id": hash(generation.id.0) })))
}

fn decision_json(decision: &Decision) -> Value {
    match decision {
        Decision::Permit(authority) => {
            json!({ "permit": {
                "chain": chain_json(&authority.chain),
                "generation": generation_json(authority.generation.as_ref()),
                "max_staleness_ms": authority.max_staleness_ms,
                "not_after_ms": authority.not_after_ms,
                "bounds": authority.bounds.iter().map(limits::allowance_json).collect::<Vec<_>>(),
            }})
        }
        Decision::Denied(denial) => {
            let mut value = json!({ "code": denial.code() });
            if let Some(cause) = denial.cause() {
                value["cause"] = json!({
                    "index": cause.index, "block": cause.block, "time_ms": cause.time_ms,
                    "signer": hex(cause.signer.0),
                });
            }
            match denial {
                Denial::Halted { scope, reason, .. } => {
                    value["scope"] = json!({ "kind": scope.kind(), "subject": scope.subject() });
                    value["reason"] = reason.as_str().into();
                }
                Denial::UnregisteredGeneration { lineage } => value["lineage"] = lineage.as_str().into(),
                Denial::SupersededGeneration { lineage, number, .. }
                | Denial::QuarantinedGeneration { lineage, number, .. } => {
                    value["lineage"] = lineage.as_str().into();
                    value["generation_number"] = (*number).into();
                }
                Denial::LineageConstraint { lineage, outside, .. } => {
                    value["lineage"] = lineage.as_str().into();
                    value["outside"] = (*outside).into();
                }
                Denial::Revoked { grant, .. } => value["grant"] = hash(grant.grant.0),
                Denial::Retired { agent, .. } | Denial::AllRevoked { agent, .. } => {
                    value["agent"] = agent.as_str().into();
                }
                Denial::Ended { not_after_ms } => value["not_after_ms"] = (*not_after_ms).into(),
                Denial::NotBegun { not_before_ms } => value["not_before_ms"] = (*not_before_ms).into(),
                Denial::ConditionFailed { grant, reason } => {
                    value["grant"] = hash(grant.grant.0);
                    value["reason"] = reason.code().into();
                    value["policies"] = json!(reason.policies());
                }
                Denial::UnknownAgent | Denial::NoGrant => {}
                Denial::BoundExhausted { .. } | Denial::KnowledgeMissing { .. } => {
                    limits::tell_denial(denial, &mut value);
                }
            }
            json!({ "denied": value })
        }
    }
}

fn quorum_error(error: &QuorumError) -> &'static str {
    match error {
        QuorumError::TooFew(_) => "too_few",
        QuorumError::OutsideRoster(_) => "outside_roster",
        QuorumError::Twice(_) => "twice",
        QuorumError::Statement { source: StatementError::Malformed, .. } => "malformed",
        QuorumError::Statement { source: StatementError::WrongKey, .. } => "wrong_key",
        QuorumError::Statement { source: StatementError::BadSignature, .. } => "bad_signature",
        QuorumError::NotFresh(_) => "not_fresh",
        QuorumError::WrongLedger(_) => "wrong_ledger",
        QuorumError::WrongNonce(_) => "wrong_nonce",
        QuorumError::WrongRoster(_) => "wrong_roster",
        QuorumError::TailAboveHead { .. } => "tail_above_head",
        QuorumError::OtherHead(_) => "other_head",
    }
}

fn proof_error(error: &ProofError) -> String {
    match error {
        ProofError::Trust(error) => trust_error(error).into(),
        ProofError::UnknownRules(_) => "unknown_rules".into(),
        ProofError::OtherLanguage(_) => "other_language".into(),
        ProofError::NoncePath(_) => "nonce_path".into(),
        ProofError::Freshness(error) => format!("freshness/{}", quorum_error(error)),
        ProofError::Head(error) => format!("head/{}", quorum_error(error)),
        ProofError::StateRoot { .. } => "state_root".into(),
        ProofError::Undecided(_) => "undecided".into(),
        ProofError::Unused(_) => "unused".into(),
        ProofError::UnusedHint => "unused_hint".into(),
        ProofError::OtherMode => "other_mode".into(),
        ProofError::Leaf(error) => leaf_error(error).into(),
        ProofError::Past(PastFault::NotReached) => "past/not_reached".into(),
        ProofError::Past(PastFault::NotAState(_)) => "past/not_a_state".into(),
        ProofError::Past(PastFault::TooLate(_)) => "past/too_late".into(),
        ProofError::Past(PastFault::NotTheLast(_)) => "past/not_the_last".into(),
    }
}

fn leaf_error(error: &LeafError) -> &'static str {
    match error {
        LeafError::Inclusion { .. } => "inclusion",
        LeafError::Entry(_) => "entry",
    }
}

fn trust_error(error: &TrustError) -> &'static str {
    match error {
        TrustError::Malformed(_) => "trust/malformed",
        TrustError::OtherLedger { .. } => "trust/other_ledger",
        TrustError::UnknownRoster(_) => "trust/unknown_roster",
        TrustError::RolledBack { .. } => "trust/rolled_back",
        TrustError::RosterRolledBack { .. } => "trust/roster_rolled_back",
        TrustError::RosterReplaced { .. } => "trust/roster_replaced",
        TrustError::Forked { .. } => "trust/forked",
    }
}

fn chain_error(error: &RosterChainError) -> &'static str {
    let RosterChainError::Link { source, .. } = error else { panic!("{error}") };
    match source {
        RosterLinkError::OtherLedger => "other_ledger",
        RosterLinkError::NotNamed => "not_named",
        RosterLinkError::OtherBlock { .. } => "other_block",
        RosterLinkError::OtherRoster => "other_roster",
        RosterLinkError::Quorum(error) => quorum_error(error),
    }
}

fn evidence_error(error: &EvidenceError) -> String {
    match error {
        EvidenceError::OtherOrigin { .. } => "other_origin".into(),
        EvidenceError::OtherLedger(_) => "other_ledger".into(),
        EvidenceError::Rosters(_) => "rosters".into(),
        EvidenceError::Forked(_) => "forked".into(),
        EvidenceError::OtherRosters => "other_rosters".into(),
        EvidenceError::Answer(error) => format!("answer/{}", proof_error(error)),
        EvidenceError::Trust(error) => trust_error(error).into(),
        EvidenceError::Head(error) => format!("head/{}", quorum_error(error)),
        EvidenceError::Leaf(error) => leaf_error(error).into(),
        EvidenceError::Command(_) => "command".into(),
        EvidenceError::OtherLeaf => "other_leaf".into(),
    }
}

fn statement_json(statement: &Statement) -> Value {
    let encoded = statement.encode();
    let body = encoded.len() - 68;
    json!({
        "node": statement.node,
        "epoch": statement.number.epoch,
        "counter": statement.number.counter,
        "body": hex(&encoded[..body]),
        "signed_message": hex([STATEMENT_PREFIX, &encoded[..body]].concat()),
        "key_id": hex(&encoded[body..body + 4]),
        "signature": hex(&encoded[body + 4..]),
        "encoded": hex(&encoded),
    })
}

fn tell() -> (Story, Value) {
    let house = House::found();
    let genesis = Block::decode(&house.blocks[0]).unwrap();
    let (_, founded) = chancery_ledger::authority::State::genesis(&MemoryNodes::new(), &genesis).unwrap();
    let founding = command_json("genesis", LedgerId::GENESIS, &genesis.commands[0]);
    let mut story = Story {
        blocks: vec![block_json("genesis", &house.blocks[0], &founded)],
        house,
        commands: vec![founding],
        answers: Vec::new(),
        refused: Vec::new(),
        recent: Vec::new(),
        past: Vec::new(),
        evidence: Vec::new(),
        records: Vec::new(),
        dedup: Vec::new(),
        refused_chains: Vec::new(),
    };
    let register = |agent: &str, key: bool| Body::RegisterAgent {
        agent: name(agent),
        owner: name("ada@example.com"),
        key: key.then(|| public(agent)),
        lineage: (agent == "team/b").then(|| name("team/desk")),
    };
    let a = story.command("register_agent", &["operator-1"], register("team/a", true));
    let b = story.command("register_agent, of a lineage", &["operator-1"], register("team/b", true));
    let c = story.command("register_agent, without a key", &["issuer"], register("other", false));
    story.block("three agents", vec![a.clone(), b, c]);

    let now_ms = story.house.now_ms;
    let granted = terms("team/a", &["deploy", "repo/*"], &["prod/*"], now_ms);
    let grant = story.command("grant", &["issuer"], Body::grant(granted));
    let grant_id = GrantId::of(story.house.ledger, grant.command_bytes());
    story.block("a grant", vec![grant]);

    let narrower = Terms {
        not_after_ms: now_ms + HOUR_MS / 2,
        max_staleness_ms: 2_000,
        delegable_depth: 0,
        ..terms("team/b", &["deploy"], &["prod/db"], now_ms)
    };
    let delegated = story.command("delegate", &["team/a"], Body::delegate(grant_id, narrower.clone()));
    let delegated_id = GrantId::of(story.house.ledger, delegated.command_bytes());
    let wider = Body::delegate(grant_id, Terms { max_staleness_ms: 5_001, ..narrower });
    let wider = story.command("delegate, wider than its parent", &["team/a"], wider);
    story.block("a delegation, one that widens, and a retry", vec![delegated, wider.clone(), a]);
    story.block("nothing but a refused command", vec![wider]);

    let future = Terms {
        not_before_ms: now_ms + HOUR_MS,
        not_after_ms: now_ms + 3 * HOUR_MS,
        ..terms("other", &["*"], &["*"], now_ms)
    };
    let future = story.command("grant, of everything, from later on", &["issuer"], Body::grant(future));
    story.block("a grant that has not begun", vec![future]);

    let by_grant = request("team/a", "repo/read", "prod/db");
    let by_delegation = request("team/b", "deploy", "prod/db");
    let permit = story.check("permit", &by_grant);
    story.check("permit by delegation", &by_delegation);
    story.check("denied: not begun", &request("other", "deploy", "prod/db"));
    story.check("denied: no grant", &request("team/b", "deploy", "prod/web"));
    story.check("denied: unknown agent", &request("nobody", "deploy", "prod/db"));
    refusals(&mut story, &by_grant, &permit);
    let permitted = story.house.evidence(&by_grant, nonce("permit"));

    // Answers of the same state by all three nodes, one of which has applied less.
    let asked = nonce("mixed quorum");
    let head = *story.house.head();
    let older = Head { block: head.block - 1, ..head };
    let root = story.house.round(&by_grant, asked).root();
    let fresh = |clock_ms| Fresh { clock_ms, ..story.house.fresh(root, 0) };
    let mixed = Answer {
        statements: vec![
            story.house.fresh_statement(1, fresh(story.house.now_ms + 500), older),
            story.house.fresh_statement(2, fresh(story.house.now_ms - 700), head),
            story.house.fresh_statement(3, fresh(story.house.now_ms + 40), older),
        ],
        head_statements: vec![story.house.head_statement(3, head)],
        ..story.house.answer(&by_grant, asked)
    };
    // Node 3 is counted for freshness by one statement and for the head by another.
    story.keep("permit by a mixed quorum", &by_grant, asked, &mixed);
    halts(&mut story, grant_id, &by_grant, &by_delegation);

    decisions(&mut story, &by_delegation);

    let revoke = Body::RevokeGrant { grant: grant_id, reason: "ticket 1403".into() };
    let revoke = story.command("revoke_grant", &["revoker"], revoke);
    let ahead = Body::RevokeGrant { grant: GrantId(Hash::of(&[b"ahead"])), reason: String::new() };
    let ahead = story.command("revoke_grant, of one not seen yet", &["revoker"], ahead);
    story.block("two revocations", vec![revoke, ahead]);
    story.check("denied: revoked", &by_grant);
    story.check("denied: revoked above", &by_delegation);
    evidence(&mut story, &by_delegation, permitted);

    let add = Body::AddPrincipal(principal("reviewer", &[Role::Halter, Role::Reviewer], everything()));
    let add = story.command("add_principal", &["operator-1"], add);
    let rotate = Body::RotatePrincipal { old_key: public("gate"), new_key: public("gate-2") };
    let rotate = story.command("rotate_principal", &["gate", "gate-2"], rotate);
    let remove = Body::RemovePrincipal { key: public("team-issuer") };
    let remove = story.command("remove_principal", &["operator-1"], remove);
    let rules = story.command("set_rules", &["operator-1"], Body::SetRules { rules_version: 2 });
    story.block("principals come and go", vec![add, rotate, remove, rules]);

    let everything = Body::RevokeAgent { agent: name("team/a"), reason: "left".into() };
    let everything = story.command("revoke_agent", &["revoker"], everything);
    let retire = story.command("retire_agent", &["operator-1"], Body::RetireAgent { agent: name("other") });
    story.block("an agent loses everything, another is retired", vec![everything, retire]);
    let revoked = story.house.head().log_size - 3;
    let asked = house::authorize("team/a", "deploy", "prod/db");
    let command = story.house.command("gate-2", Body::Authorize(asked));
    let denied = story.house.sign(&command, &["gate-2"]);
    story.commands.push(command_json("authorize, denied for a revocation", story.house.ledger, &denied));
    story.block("a denial is recorded", vec![denied]);
    let index = story.house.head().log_size - 2;
    let record = story.house.record(index, Some(revoked));
    story.keep_record("a recorded denial and its cause", &record);
    let other = story.house.record(index, Some(revoked + 1));
    story.keep_record("a recorded denial and another cause", &other);
    story.check("denied: all revoked", &by_grant);
    story.check("denied: retired", &request("other", "deploy", "prod/db"));

    story.house.now_ms += 2 * HOUR_MS;
    let again = terms("team/b", &["deploy"], &["prod/db"], story.house.now_ms - HOUR_MS + 2_000);
    let again = story.command("grant, for a second", &["issuer"], Body::grant(again));
    let d = story.command("register_agent, later", &["operator-1"], register("team/d", false));
    let short = terms("team/d", &["deploy"], &["prod/db"], story.house.now_ms - HOUR_MS + 2_000);
    let short = story.command("grant, for a second, of another", &["issuer"], Body::grant(short));
    story.block("two hours later", vec![again, d, short]);
    story.house.now_ms += 1_000;
    story.check("denied: ended", &request("team/d", "deploy", "prod/db"));
    story.check("denied: ended, and revoked before", &by_delegation);
    limits::desk(&mut story);
    condition_vectors::tell(&mut story);
    lineages(&mut story);
    rosters(&mut story, &by_delegation);
    other_times(&mut story, &by_grant, &by_delegation);
    let delegated = json!({ "grant": hash(grant_id.0), "delegation": hash(delegated_id.0) });
    (story, delegated)
}

/// Decisions are recorded, and what became of them; some are signed together.
fn decisions(story: &mut Story, request: &Request) {
    let asked = house::authorize("team/b", "deploy", "prod/db");
    let first = story.command("authorize", &["gate"], Body::Authorize(asked.clone()));
    let of = |story: &Story, signed: &SignedCommand, number| DecisionRef {
        agent: name("team/b"),
        number,
        id: DecisionId::of(story.house.ledger, signed.command_bytes()),
    };
    let parent = of(story, &first, 1);
    let full = Authorize {
        hint: Some(GrantRef { grant: GrantId(Hash::of(&[b"nowhere"])), root: GrantId(Hash::ZERO) }),
        parent: Some(parent.clone()),
        traceparent: Traceparent::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        execute_within_ms: 500,
        ..asked.clone()
    };
    let full = story.command("authorize, with everything", &["gate"], Body::Authorize(full));
    let denied = Authorize { resource: name("prod/web"), ..asked.clone() };
    let denied = story.command("authorize, denied", &["gate"], Body::Authorize(denied));
    let late = Body::Authorize(Authorize { execute_within_ms: 60_001, ..asked.clone() });
    let late = story.command("authorize, too late", &["gate"], late);
    story.block("decisions are recorded", vec![first, full.clone(), denied.clone(), late]);

    let outcome = |decision: &DecisionRef, kind, result: Option<&str>| {
        let result_digest = result.map(|result| Hash::of(&[result.as_bytes()]));
        Body::Outcome(ActionOutcome { decision: decision.clone(), kind, result_digest })
    };
    let (full, denied) = (of(story, &full, 2), of(story, &denied, 3));
    let said = [
        ("outcome: executed", outcome(&parent, OutcomeKind::Executed, Some("done"))),
        ("outcome: unknown", outcome(&full, OutcomeKind::Unknown, None)),
        ("outcome: failed", outcome(&full, OutcomeKind::Failed, None)),
        ("outcome: compensated", outcome(&parent, OutcomeKind::Compensated, None)),
        ("outcome of a denial", outcome(&denied, OutcomeKind::Executed, None)),
    ];
    let commands: Vec<Command> =
        said.iter().map(|(_, body)| story.house.command("gate", body.clone())).collect();
    let signed = SignedCommand::sign_batch(story.house.ledger, &commands, &house::key("gate")).unwrap();
    for ((what, _), signed) in said.iter().zip(&signed) {
        let what = format!("{what}, signed with others");
        story.commands.push(command_json(&what, story.house.ledger, signed));
    }
    let first_outcome = story.house.head().log_size;
    story.block("what became of them", signed);
    story.check("permit, with recorded decisions", request);
    let house = &story.house;
    let (permit, denial) = (house.record(first_outcome - 4, None), house.record(first_outcome - 2, None));
    let elsewhere = Record { origin: "elsewhere.example".into(), ..permit.clone() };
    let few = HeadQuorum { statements: permit.head.statements[..1].to_vec(), ..permit.head.clone() };
    let mut moved = permit.clone();
    moved.leaf.index += 1;
    let cases = [
        ("a recorded permit", permit.clone()),
        ("a recorded denial", denial),
        ("an outcome, signed with others", house.record(first_outcome + 1, None)),
        ("a state leaf", house.record(first_outcome - 1, None)),
        ("a permit with a cause", house.record(first_outcome - 4, Some(first_outcome - 2))),
        ("a record of another origin", elsewhere),
        ("a record under a head that one node signed", Record { head: few, ..permit }),
        ("a record at another place", moved),
    ];
    for (what, record) in cases {
        story.keep_record(what, &record);
    }
}

/// A halt of each scope, and the end of all but the last; two resumers must sign.
fn halts(story: &mut Story, grant: GrantId, by_grant: &Request, by_delegation: &Request) {
    let nobody = request("nobody", "deploy", "prod/db");
    let pattern = |text: &str| Pattern::new(text).unwrap();
    let cases = [
        (HaltScope::Everything, &nobody),
        (HaltScope::Agent(name("team/a")), by_grant),
        (HaltScope::Lineage(name("team/desk")), by_delegation),
        (HaltScope::Action(pattern("repo/*")), by_grant),
        (HaltScope::Resource(pattern("prod/db")), by_grant),
        (HaltScope::Subtree(grant), by_delegation),
        // Of whom it was delegated by.
        (HaltScope::Agent(name("team/a")), by_delegation),
    ];
    for (number, (scope, request)) in cases.into_iter().enumerate() {
        let what = format!("{} {number}", scope.kind());
        let reason = format!("ticket 14{number:02}");
        let halt = story.command(&format!("halt: {what}"), &["halter"], Body::Halt { scope, reason });
        story.block(&format!("a halt: {what}"), vec![halt.clone()]);
        story.check(&format!("denied: halted: {what}"), request);
        let index = story.house.head().log_size - 2;
        let resume = Body::Resume { halt: index, halt_command: halt.command_hash() };
        let first = story.command(&format!("resume: {what}, the first"), &["resumer-1"], resume.clone());
        let again =
            story.command(&format!("resume: {what}, the first again"), &["resumer-1"], resume.clone());
        let other = Body::Resume { halt: index, halt_command: Hash::ZERO };
        let other = story.command(&format!("resume: {what}, another"), &["resumer-2"], other);
        story.block(&format!("one resumer is too few: {what}"), vec![first, again, other]);
        story.check(&format!("denied: still halted: {what}"), request);
        let second = story.command(&format!("resume: {what}, the second"), &["resumer-2"], resume);
        story.block(&format!("a halt ends: {what}"), vec![second]);
        story.check(&format!("not halted any more: {what}"), request);
    }
    // This one stays: it stops none of what follows.
    let scope = HaltScope::Resource(pattern("staging/*"));
    let halt = story.command("halt, that stays", &["halter"], Body::Halt { scope, reason: String::new() });
    let late = HaltScope::Subtree(GrantId(Hash::of(&[b"no such grant"])));
    let late = Body::Halt { scope: late, reason: String::new() };
    let late = story.command("halt, of a grant that there is not", &["halter"], late);
    let narrow = Body::Halt { scope: HaltScope::Everything, reason: String::new() };
    let narrow = story.command("halt, of more than the signer's scope", &["team-halter"], narrow);
    story.block("a halt that stays, and two that are none", vec![halt, late, narrow]);
    let halted = request("team/a", "deploy", "staging/db");
    let evidence = story.house.evidence(&halted, nonce("halted"));
    story.keep_evidence("a halt and its cause", &evidence);
}

/// A lineage that is narrowed, two generations of it, and back to the first.
fn lineages(story: &mut Story) {
    let lineage = || name("bots/line");
    let bot = Body::RegisterAgent {
        agent: name("bots/1"),
        owner: name("ada@example.com"),
        key: None,
        lineage: Some(lineage()),
    };
    let bot = story.command("register_agent, of bots/line", &["operator-1"], bot);
    let granted = terms("bots/1", &["*"], &["*"], story.house.now_ms);
    let granted = story.command("grant, of everything", &["issuer"], Body::grant(granted));
    let constraints = LineageConstraints {
        actions: house::patterns(&["deploy", "repo/*"]),
        resources: house::patterns(&["prod/*"]),
        max_staleness_ms: 1_500,
    };
    let set = |policy, constraints: &LineageConstraints, operators: Vec<PublicKey>| Body::SetLineage {
        lineage: lineage(),
        policy,
        constraints: constraints.clone(),
        operators,
    };
    let tighten = story.command("set_lineage", &["issuer"], set(house::STRICT, &constraints, vec![]));
    let open = LineagePolicy { quarantine: false, threshold: 1, in_service_max: 8 };
    let loosen = set(open, &LineageConstraints::default(), vec![]);
    let loosen = story.command("set_lineage, looser, by one", &["operator-1"], loosen);
    story.block("a lineage is narrowed, and not widened", vec![bot, granted, tighten, loosen]);
    let plain = request("bots/1", "deploy", "prod/db");
    story.check("permit without a generation", &plain);
    story.check("denied: lineage constraint", &request("bots/1", "drop", "prod/db"));

    let first = house::generation("bots/line", None, "model-1");
    let first_id = first.id(story.house.ledger);
    let second = house::generation("bots/line", Some(first_id), "model-2");
    let second_id = second.id(story.house.ledger);
    let of = |id| Request { generation: Some(id), ..plain.clone() };
    let first =
        story.command("register_generation", &["operator-1"], Body::RegisterGeneration(Box::new(first)));
    let second = story.command(
        "register_generation, of a parent",
        &["issuer"],
        Body::RegisterGeneration(Box::new(second)),
    );
    story.block("two generations", vec![first, second]);
    story.check("denied: quarantined generation", &of(first_id));
    story.check("denied: unregistered generation", &of(GenerationId(Hash::of(&[b"rewritten"]))));
    story.check("denied: no generation named", &plain);
    // The second operator is of a team; the lineage is not.
    let third = story.command(
        "add_principal, a third operator",
        &["operator-1"],
        Body::AddPrincipal(principal("operator-3", &[Role::Operator], everything())),
    );
    story.block("a third operator", vec![third]);
    let by = ["operator-1", "operator-3"];
    let release =
        |generation, reviewers| Body::ReleaseGeneration { lineage: lineage(), generation, reviewers };
    let alone = story.command("release_generation, by one", &["operator-1"], release(first_id, vec![]));
    let both = vec![public("operator-3")];
    let released = story.command("release_generation", &by, release(first_id, both.clone()));
    story.block("a release, and one by too few", vec![alone, released]);
    story.check("permit of a generation", &of(first_id));
    let released = story.command("release_generation, of the second", &by, release(second_id, both.clone()));
    story.block("the second", vec![released]);
    story.check("permit of the second generation", &of(second_id));
    story.check("denied: superseded generation", &of(first_id));
    let evidence = story.house.evidence(&of(first_id), nonce("superseded"));
    story.keep_evidence("a superseded generation", &evidence);
    let back = Body::RollbackLineage { lineage: lineage(), number: 1, generation: first_id };
    let back = story.command("rollback_lineage", &["issuer"], back);
    story.block("back to the first", vec![back]);
    story.check("permit of the first generation again", &of(first_id));
    story.check("denied: superseded by an older generation", &of(second_id));
    let two = LineagePolicy { in_service_max: 2, ..house::STRICT };
    let loosen = story.command("set_lineage, looser", &by, set(two, &constraints, both));
    story.block("two in service", vec![loosen]);
}

/// Answers under no nonce, and about the past.
fn other_times(story: &mut Story, by_grant: &Request, by_delegation: &Request) {
    let recent = story.house.recent(by_grant);
    story.recent("denied: all revoked", by_grant, &recent);
    let under_a_nonce = story.house.answer(by_grant, nonce("recent"));
    story.recent("under a nonce", by_grant, &under_a_nonce);
    let mut two_rounds = recent.clone();
    let (first, second) = (two_rounds.statements[0], &mut two_rounds.statements[1]);
    let fresh = Fresh { nonce_root: Hash::ZERO, ..first.fresh.unwrap() };
    *second = story.house.fresh_statement(second.node, fresh, second.head);
    story.recent("statements of two rounds", by_grant, &two_rounds);

    let house = &story.house;
    let mut blocks = house.replicas[0].summaries.iter().map(|summary| summary.head);
    let revoked = blocks.find(|head| {
        let decision = house.past(by_grant, Moment::Block(head.block));
        let shown = verify_past(&house.trust, by_grant, Moment::Block(head.block), &decision).unwrap();
        matches!(shown.decision, Decision::Denied(Denial::Revoked { .. }))
    });
    let revoked = revoked.unwrap();
    let newest = *house.head();
    let moments = [
        ("genesis", Moment::Block(0)),
        ("the block before the revocation", Moment::Block(revoked.block - 1)),
        ("the block of the revocation", Moment::Block(revoked.block)),
        ("a block without effect", Moment::Block(4)),
        ("the newest block", Moment::Block(newest.block)),
        ("a millisecond before the revocation", Moment::Time(revoked.time_ms - 1)),
        ("the time of the revocation", Moment::Time(revoked.time_ms)),
        ("after the newest block", Moment::Time(newest.time_ms + 100)),
    ];
    for (what, moment) in moments {
        for (whose, request) in [("by grant", by_grant), ("by delegation", by_delegation)] {
            let answer = story.house.past(request, moment);
            story.past(&format!("{what}, {whose}"), request, moment, &answer);
        }
    }
    let (before, at) = (Moment::Block(revoked.block - 1), Moment::Block(revoked.block));
    let (good, late) = (story.house.past(by_grant, before), story.house.past(by_grant, at));
    let command = story.house.leaf(good.state.index - 1);
    let mut moved = good.clone();
    moved.state.index += 1;
    let mut short = good.clone();
    short.state.proof.pop();
    let beyond = Moment::Block(newest.block + 1);
    let future = Moment::Time(newest.time_ms + 3_600_000);
    let cases = [
        ("a state that was the last no longer", at, good.clone()),
        ("the state of a later block", before, late.clone()),
        ("without the next state", before, PastAnswer { next: None, ..good.clone() }),
        ("with another next state", before, PastAnswer { next: late.next.clone(), ..good.clone() }),
        ("a command for the next state", before, PastAnswer { next: Some(command.clone()), ..good.clone() }),
        ("a command for the state", before, PastAnswer { state: command, ..good.clone() }),
        ("a leaf at another place", before, moved),
        ("a leaf without all of its proof", before, short),
        ("the read set of another state", before, PastAnswer { tree: late.tree.clone(), ..good.clone() }),
        ("one node only", before, PastAnswer { statements: vec![good.statements[0]], ..good.clone() }),
        ("a block that is not there yet", beyond, story.house.past(by_grant, Moment::Block(newest.block))),
        ("a time that has not come", future, story.house.past(by_grant, future)),
    ];
    for (what, moment, answer) in cases {
        story.past(what, by_grant, moment, &answer);
    }
    for (what, moment) in [("the past, permitted", before), ("the past, denied", at)] {
        let evidence = story.house.past_evidence(by_grant, moment);
        story.keep_evidence(what, &evidence);
    }
    let evidence = story.house.past_evidence(by_grant, Moment::Time(revoked.time_ms));
    story.keep_evidence("the past by time", &evidence);
    halts_and_generations(story, by_grant);
    let proof = Proof::Recent { answer: recent };
    story.keep_evidence("a recent check", &Evidence { proof, cause: None, ..evidence });
}

/// A halt that ended since, and generations as they were; by the nodes' clocks as they are.
fn halts_and_generations(story: &mut Story, by_grant: &Request) {
    let house = &story.house;
    let decision = |request: &Request, block| {
        let moment = Moment::Block(block);
        verify_past(&house.trust, request, moment, &house.past(request, moment)).unwrap().decision
    };
    let blocks = 0..=house.head().block;
    let is_halted =
        |block: &u64| matches!(decision(by_grant, *block), Decision::Denied(Denial::Halted { .. }));
    let halted = blocks.clone().find(is_halted).unwrap();
    let resumed = (halted..=house.head().block).find(|block| !is_halted(block)).unwrap();
    let first_id = house::generation("bots/line", None, "model-1").id(house.ledger);
    let first = Request { generation: Some(first_id), ..request("bots/1", "deploy", "prod/db") };
    let named = blocks.clone().find(|block| matches!(decision(&first, *block), Decision::Permit(_))).unwrap();
    let is_superseded = |block: &u64| {
        matches!(decision(&first, *block), Decision::Denied(Denial::SupersededGeneration { .. }))
    };
    let superseded = blocks.clone().find(is_superseded).unwrap();
    let cases = [
        ("before a halt", by_grant, halted - 1),
        ("during a halt", by_grant, halted),
        ("the last block of a halt", by_grant, resumed - 1),
        ("after a halt", by_grant, resumed),
        ("before there was a generation", &first, named - 3),
        ("a generation is released", &first, named),
        ("a generation is superseded", &first, superseded),
    ];
    for (what, request, block) in cases {
        let answer = story.house.past(request, Moment::Block(block));
        story.past(what, request, Moment::Block(block), &answer);
    }
    story.recent("permit of a generation", &first, &story.house.recent(&first));
    let evidence = story.house.past_evidence(by_grant, Moment::Block(halted));
    story.keep_evidence("a halt of the past", &evidence);
    let evidence = story.house.past_evidence(&first, Moment::Block(superseded));
    story.keep_evidence("a generation of the past", &evidence);
}

/// The voters change twice; who left is not believed.
fn rosters(story: &mut Story, request: &Request) {
    let first = story.change("node 4 for node 1", &[2, 3, 4], request);
    let e = Body::RegisterAgent {
        agent: name("team/g"),
        owner: name("ada@example.com"),
        key: None,
        lineage: None,
    };
    let e = story.command("register_agent, under the second roster", &["operator-1"], e);
    story.block("between two changes", vec![e]);
    story.check("denied, under the second roster", request);
    let second = story.change("node 5 for nodes 2 and 3", &[4, 5], request);
    let links = [first, second].concat();

    let house = &story.house;
    let by = |nodes: &[u64]| RosterLink {
        statements: links[3].statements.iter().filter(|s| nodes.contains(&s.node)).copied().collect(),
        ..links[3].clone()
    };
    let with_last = |last: RosterLink| [&links[..3], &[last]].concat();
    let other = house::roster(&[4, 6]);
    let mut unnamed = links[3].clone();
    unnamed.roster = other.clone();
    let mut elsewhere = unnamed.clone();
    elsewhere.head.roster = other.id(elsewhere.head.block);
    let mut outside = links[3].clone();
    outside.statements.push(house.head_statement(6, outside.head));
    let mut others = links[3].clone();
    others.statements[0] = house.head_statement(others.statements[0].node, links[2].head);
    let mut ledger = links[3].clone();
    ledger.head.ledger = LedgerId(Hash::of(&[b"another ledger"]));
    let cases = [
        ("without its first link", links[1..].to_vec()),
        ("without its second link", [&links[..1], &links[2..]].concat()),
        ("without a pair", links[2..].to_vec()),
        ("a link twice", [&links[..2], &links[1..]].concat()),
        ("two links in the other order", vec![links[1].clone(), links[0].clone()]),
        ("the last signed by the new quorum alone", with_last(by(&[4, 5]))),
        ("the last signed by the old quorum alone", with_last(by(&[2, 3, 4]))),
        ("the last signed by one who is in neither", with_last(outside)),
        ("a signature on another head", with_last(others)),
        ("a roster that the head does not name", with_last(unnamed)),
        ("a roster that does not end the change", with_last(elsewhere)),
        ("a head of another ledger", with_last(ledger)),
    ];
    for (what, links) in cases {
        story.refuse_chain(what, &links);
    }

    // The first three nodes, though two of them left, sign on.
    let asked = nonce("who left");
    let good = story.house.answer(request, asked);
    let head = Head { roster: story.house.trust.genesis.id(0), ..good.head };
    let root = story.house.round(request, asked).root();
    let fresh = Fresh { tail_roster: head.roster, ..story.house.fresh(root, story.house.now_ms + 500) };
    let statements = [1, 2, 3].map(|node| story.house.fresh_statement(node, fresh, head)).to_vec();
    let left = Answer { head, statements, head_statements: vec![], ..good.clone() };
    story.refuse("a head of those who left", request, asked, &left);
    let clocks = [4, 5].map(|node| (node, story.house.now_ms + 500));
    let alone = story.house.answer_by(request, asked, &clocks, &[]);
    story.refuse("the head of a roster block, signed by the new quorum alone", request, asked, &alone);

    let whole = story.house.evidence(request, nonce("rosters"));
    let cut =
        |count: usize| Evidence { rosters: RosterChain { links: links[..count].to_vec() }, ..whole.clone() };
    let mut swapped = whole.clone();
    swapped.rosters.links.swap(0, 1);
    let cases = [
        ("a denial after two changes of the voters", whole.clone()),
        ("without the last roster", cut(3)),
        ("without rosters", cut(0)),
        ("rosters in the other order", swapped),
    ];
    for (what, evidence) in cases {
        story.keep_evidence(what, &evidence);
    }
}

/// Answers that are none, each in its own way.
fn refusals(story: &mut Story, request: &Request, permit: &Answer) {
    let asked = nonce("permit");
    let head = permit.head;
    let house = &story.house;
    let root = house.round(request, asked).root();
    let fresh = house.fresh(root, house.now_ms + 510);
    let second =
        |statement: Statement| Answer { statements: vec![permit.statements[0], statement], ..permit.clone() };
    let elsewhere = LedgerId(Hash::of(&[b"another ledger"]));
    let unknown = house::roster(&[1, 2, 4]).id(0);
    let other_hint =
        permit.hint.map(|hint| GrantRef { grant: GrantId(Hash::of(&[b"another grant"])), ..hint });
    let mut forged = permit.statements[1].encode();
    *forged.last_mut().unwrap() ^= 0x80;
    let mut later = permit.statements[1].encode();
    later[1 + 24 + 32 + 7] ^= 1;
    let mut path = permit.nonce_path.clone();
    path.as_mut().unwrap().hashes.pop();
    let cases = [
        ("one node only", Answer { statements: vec![permit.statements[0]], ..permit.clone() }),
        ("a node outside the roster", second(house.fresh_statement(4, fresh, head))),
        ("a flipped bit in a signature", second(Statement::decode(&forged).unwrap())),
        ("another clock than was signed", second(Statement::decode(&later).unwrap())),
        ("another nonce", second(house.fresh_statement(2, Fresh { nonce_root: Hash::ZERO, ..fresh }, head))),
        ("no nonce", second(house.head_statement(2, head))),
        ("another ledger", second(house.fresh_statement(2, fresh, Head { ledger: elsewhere, ..head }))),
        ("a head of another ledger", Answer { head: Head { ledger: elsewhere, ..head }, ..permit.clone() }),
        ("another roster", second(house.fresh_statement(2, Fresh { tail_roster: unknown, ..fresh }, head))),
        (
            "a log beyond the head",
            second(house.fresh_statement(2, Fresh { tail_block: head.block + 1, ..fresh }, head)),
        ),
        (
            "a head that one node signed",
            Answer {
                head_statements: vec![],
                ..second(house.fresh_statement(2, fresh, Head { time_ms: head.time_ms + 1, ..head }))
            },
        ),
        (
            "a signature on another head",
            Answer {
                head_statements: vec![house.head_statement(3, Head { time_ms: 1, ..head })],
                ..permit.clone()
            },
        ),
        (
            "one node's signature twice",
            Answer { head_statements: vec![house.head_statement(2, head)], ..permit.clone() },
        ),
        ("another language", Answer { language: "4.5.0".into(), ..permit.clone() }),
        ("unknown rules", Answer { head: Head { rules_version: 2, ..head }, ..permit.clone() }),
        ("a nonce path that is too short", Answer { nonce_path: path, ..permit.clone() }),
        ("no nonce path", Answer { nonce_path: None, ..permit.clone() }),
        ("the read set of another check", {
            let other = house::request("team/b", "deploy", "prod/db");
            Answer { tree: house.answer(&other, asked).tree, ..permit.clone() }
        }),
        ("another state", Answer { tree: PrunedTree::decode(&[5], 1).unwrap(), ..permit.clone() }),
        ("no hint", Answer { hint: None, ..permit.clone() }),
        ("another hint", Answer { hint: other_hint, ..permit.clone() }),
    ];
    for (what, answer) in cases {
        story.refuse(what, request, asked, &answer);
    }
    // A denial with the hint that it does not rest on.
    let denied = house::request("team/a", "drop", "prod/db");
    let answer = Answer { hint: permit.hint, ..story.house.answer(&denied, asked) };
    story.refuse("a denial with a hint", &denied, asked, &answer);
    let other = house::request("team/a", "repo/read", "prod/web");
    story.refuse("the answer to another question", &other, asked, permit);
}

fn evidence(story: &mut Story, request: &Request, permitted: Evidence) {
    let house = &story.house;
    let good = house.evidence(request, nonce("evidence"));
    let cause = good.cause.clone().unwrap();
    let mut moved = good.clone();
    moved.cause.as_mut().unwrap().index -= 1;
    let cases = [
        ("a denial and its cause", good.clone()),
        ("a denial without its cause", Evidence { cause: None, ..good.clone() }),
        ("a permit", permitted),
        ("another leaf", Evidence { cause: Some(house.leaf(cause.index + 1)), ..good.clone() }),
        ("a leaf at another place", moved),
        ("another origin", Evidence { origin: "elsewhere.example".into(), ..good.clone() }),
        ("another ledger", Evidence { ledger: LedgerId(Hash::ZERO), ..good.clone() }),
        ("another question", Evidence { request: house::request("team/b", "deploy", "prod/web"), ..good }),
    ];
    for (what, evidence) in cases {
        story.keep_evidence(what, &evidence);
    }
}

// ----------------------------------------------------------------------------------------------------
// What needs no story.

fn keys() -> Value {
    let labels = [
        "node-1",
        "node-2",
        "node-3",
        "node-4",
        "node-5",
        "operator-1",
        "operator-2",
        "issuer",
        "team-issuer",
        "revoker",
        "team-revoker",
        "gate",
        "gate-2",
        "halter",
        "team-halter",
        "resumer-1",
        "resumer-2",
        "team-resumer",
        "reviewer",
        "operator-3",
        "team/a",
        "team/b",
    ];
    labels
        .iter()
        .map(|label| {
            let key = house::key(label);
            json!({ "label": label, "seed": hex(key.to_bytes()), "public": hex(key.verifying_key().to_bytes()) })
        })
        .collect()
}

fn nonces() -> Value {
    [1_usize, 2, 3, 5, 8]
        .iter()
        .map(|count| {
            let nonces: Vec<[u8; 32]> =
                (0..*count).map(|number| Hash::of(&[&number.to_be_bytes()]).0).collect();
            let tree = NonceTree::new(nonces.clone()).unwrap();
            let path = |index: usize| {
                let path = tree.path(u32::try_from(index).unwrap()).unwrap();
                path.hashes.iter().map(|one| hash(*one)).collect::<Vec<_>>()
            };
            json!({
                "nonces": nonces.iter().map(hex).collect::<Vec<_>>(),
                "root": hash(tree.root()),
                "paths": (0..*count).map(path).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn names() -> Value {
    let name = |text: &str| json!({ "text": text, "name": Name::new(text).is_ok(), "pattern": Pattern::new(text).is_ok() });
    let texts = [
        "a",
        "a/b",
        "a/*",
        "*",
        "",
        "a b",
        "a\tb",
        "a\u{a0}b",
        "a\u{2028}b",
        "a\u{7f}b",
        "a\u{85}b",
        "a/./b",
        "../a",
        "..",
        "a..b",
        "a*",
        "*/a",
        "/*",
        "//*",
        "a//*",
        "a/*/b",
        "**",
        "/a",
        "a/",
        "äöü",
        "a\u{200b}b",
        "a\u{feff}b",
        "a\u{1680}b",
        "a\u{3000}b",
        "a\u{202f}b",
        "a\u{180e}b",
        "a\u{ad}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{2800}b",
        "a\u{3164}b",
        "a\u{fe0f}",
        "a\u{fffb}b",
        "a\u{fffc}b",
        "a\u{e0041}b",
        "e\u{301}",
        "../*",
        "a/../*",
    ];
    let long = ["x".repeat(256), "x".repeat(257), "ä".repeat(128), "ä".repeat(129)];
    texts.iter().copied().chain(long.iter().map(String::as_str)).map(name).collect()
}

fn patterns() -> Value {
    let pairs = [
        ("a", "a"),
        ("a", "b"),
        ("a/*", "a"),
        ("a/*", "a/"),
        ("a/*", "a/b"),
        ("a/*", "a/b/c"),
        ("a/*", "ab/c"),
        ("*", "a"),
        ("*", "a/b"),
        ("a/b", "a/b/c"),
        ("A", "a"),
    ];
    let matches: Vec<Value> = pairs
        .iter()
        .map(|(pattern, text)| json!([pattern, text, Pattern::new(*pattern).unwrap().matches(&name(text))]))
        .collect();
    let pairs = [
        ("*", "*"),
        ("*", "a"),
        ("*", "a/*"),
        ("a", "*"),
        ("a/*", "a/b"),
        ("a/*", "a/*"),
        ("a/*", "a/b/*"),
        ("a/b/*", "a/*"),
        ("a", "a"),
        ("a", "a/*"),
        ("a/*", "a"),
        ("a/*", "a/"),
    ];
    let covers: Vec<Value> = pairs
        .iter()
        .map(|(wide, narrow)| {
            json!([wide, narrow, Pattern::new(*wide).unwrap().covers(&Pattern::new(*narrow).unwrap())])
        })
        .collect();
    json!({ "matches": matches, "covers": covers })
}

fn malformed_commands(house: &House) -> Value {
    let command = Command {
        signer: public("issuer"),
        request_id: chancery_ledger::command::RequestId([9; 16]),
        not_after_ms: house::FOUNDED_MS,
        body: Body::RevokeGrant { grant: GrantId(Hash::ZERO), reason: "why".into() },
    };
    let good = house.sign(&command, &["issuer"]).command_bytes().to_vec();
    let more = |bytes: &[u8]| [&good, bytes].concat();
    let role = |roles: Vec<i32>| {
        let principal = wire::Principal {
            key: vec![1; 32],
            name: "p".into(),
            roles,
            scope: Some(wire::Scope::default()),
        };
        let body = wire::command::Body::AddPrincipal(wire::AddPrincipal { principal: Some(principal) });
        let plain = wire::Command::decode(good.as_slice()).unwrap();
        wire::Command { body: Some(body), ..plain }.encode_to_vec()
    };
    let cases = [
        ("good", good.clone()),
        ("good, with two roles", role(vec![1, 7])),
        ("an unknown field", more(&[0xa0, 0x1f, 1])),
        ("an unknown command", more(&[0xfa, 0x03, 0])),
        ("a field twice", more(&[0x18, 5])),
        ("a default written out", more(&[0x18, 0])),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("an unknown role", role(vec![8])),
        ("role 0", role(vec![0])),
        ("roles not sorted", role(vec![7, 1])),
        ("no role", role(vec![])),
        ("nothing", vec![]),
    ];
    cases
        .iter()
        .map(|(what, bytes)| {
            json!({ "name": what, "command": hex(bytes), "accepted": Command::decode(bytes).is_ok() })
        })
        .collect()
}

fn state_tree() -> Value {
    let mut nodes = MemoryNodes::new();
    let (mut root, mut next) = (Root::EMPTY, NodeId(0));
    let mut steps = vec![json!({ "root": hash(root.hash()) })];
    let changes = [([0_u8; 32], "zero"), ([0xff; 32], "ones"), ([0x0f; 32], ""), ([0; 32], "changed")];
    for (key, value) in changes {
        let change = [(chancery_ledger::state::Key(key), Some(value.as_bytes().into()))].into();
        let done = update(&nodes, root, next, &change).unwrap();
        nodes.insert(&done);
        (root, next) = (done.root, done.next_id);
        steps.push(json!({ "key": hex(key), "value": hex(value), "root": hash(root.hash()) }));
    }
    steps.into()
}

fn records(house: &House) -> Value {
    let all = leaves(&house.replicas[0].nodes, house.state().summary().root);
    all.map(|leaf| {
        let (key, value) = leaf.unwrap();
        let record = wire::Record::decode(&*value).unwrap();
        json!({
            "kind": record.kind, "anchor": hex(&record.anchor), "id": hex(&record.id),
            "key": hex(key.0), "value": hex(&value),
        })
    })
    .collect()
}

/// Of each kind one that convicts node 2, and what is near to it and convicts nobody. A block is of no kind of
/// its own here: blocks are in `blocks`.
fn contradictions(house: &House) -> Value {
    let (head, key, voter) = (*house.head(), house::key("node-2"), house::voter(2));
    let genesis = head.roster;
    let sign = |counter, fresh: Option<(u64, RosterId)>, head: Head| -> NodeMessage {
        let number = Number { epoch: 3, counter };
        let nonce_root = Hash::of(&[b"round"]);
        let fresh =
            fresh.map(|(tail_block, tail_roster)| Fresh { nonce_root, clock_ms: 1, tail_block, tail_roster });
        Statement::sign(&voter, &key, number, fresh, head).into()
    };
    let block = |term, stamp_ms, head_hash| -> NodeMessage {
        let commands = vec![house.sign(&Command { not_after_ms: 1, ..the_command(house) }, &["issuer"])];
        let at = (head.block, head_hash);
        Block::propose(house.ledger, Hash::ZERO, stamp_ms, (2, term), at, commands, &key).into()
    };
    let next = Head { block: head.block + 1, time_ms: head.time_ms + 1, log_size: head.log_size + 2, ..head };
    let other = RosterId { block: head.block, digest: Hash::of(&[b"other"]) };
    let later = RosterId { block: next.block, ..other };
    let moved = Head { state_root: Hash::of(&[b"moved"]), ..head };
    let signed = sign(1, None, head);
    let cases: Vec<(&str, Vec<NodeMessage>)> = vec![
        ("number twice", vec![signed.clone(), sign(1, None, next)]),
        (
            "tail below head",
            vec![signed.clone(), sign(2, Some((head.block - 1, genesis)), Head { block: 0, ..head })],
        ),
        ("tail below its own head", vec![sign(2, Some((head.block - 1, genesis)), head)]),
        (
            "roster below head",
            vec![signed.clone(), sign(2, Some((next.block, other)), Head { block: 0, ..head })],
        ),
        ("roster ahead", vec![sign(1, Some((head.block, later)), head)]),
        ("head twice", vec![signed.clone(), sign(2, None, moved)]),
        ("size twice", vec![signed.clone(), sign(2, None, Head { block: next.block, ..moved })]),
        ("log shrank", vec![signed.clone(), sign(2, None, Head { log_size: 1, ..next })]),
        ("time fell", vec![signed.clone(), sign(2, None, Head { time_ms: 1, ..next })]),
        ("roster rewritten", vec![signed.clone(), sign(2, None, Head { roster: other, ..next })]),
        ("two proposals", vec![block(4, 1, head.hash()), block(4, 2, head.hash())]),
        ("two proposals with two heads", vec![block(4, 1, head.hash()), block(5, 2, moved.hash())]),
        ("a proposal with another head", vec![signed.clone(), block(4, 1, moved.hash())]),
        ("a block without leaves", vec![signed.clone(), sign(2, None, Head { block: next.block, ..head })]),
        ("the next head", vec![signed.clone(), sign(2, None, next)]),
        (
            "an older head",
            vec![signed.clone(), sign(2, Some((head.block, genesis)), Head { block: 0, ..head })],
        ),
        (
            "a shorter log before",
            vec![sign(1, Some((0, genesis)), Head { block: 0, ..head }), sign(2, None, head)],
        ),
        (
            "a log that was cut",
            vec![sign(1, Some((next.block, later)), head), sign(2, Some((head.block, genesis)), head)],
        ),
        ("proposals in two terms", vec![block(4, 1, head.hash()), block(5, 2, head.hash())]),
        ("one statement", vec![signed]),
    ];
    cases.into_iter().map(|(what, messages)| contradiction_json(house, what, &messages)).collect()
}

fn the_command(house: &House) -> Command {
    let Entry::Command { signed, .. } = house.entry(0) else { panic!() };
    let body = Body::RetireAgent { agent: name("team/a") };
    Command { signer: public("issuer"), body, ..signed.command().clone() }
}

/// The file as an adversary would write it, whatever it shows.
fn contradiction_json(house: &House, what: &str, messages: &[NodeMessage]) -> Value {
    let base64 = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut encoded: Vec<(&str, u64, Vec<u8>)> = messages
        .iter()
        .map(|message| match message {
            NodeMessage::Statement(s) => ("statement", s.number.counter, s.encode()),
            NodeMessage::Block(b) => ("block", b.term, b.encode()),
        })
        .collect();
    // Statements come before blocks.
    encoded.sort_by(|a, b| (b.0, a.1, &a.2).cmp(&(a.0, b.1, &b.2)));
    let messages: Vec<Value> = encoded
        .into_iter()
        .map(|(kind, _, bytes)| json!({ "kind": kind, "signed": base64(bytes) }))
        .collect();
    let file = json!({
        "format": "chancery-contradiction/v1",
        "origin": house::ORIGIN,
        "ledger": hash(house.ledger.0),
        "messages": messages,
    });
    let file = file.to_string();
    let shows = contradiction_shows(&file, &house.trust);
    json!({ "name": what, "file": file, "shows": shows })
}

fn contradiction_shows(file: &str, trust: &Trust) -> Value {
    match Contradiction::from_json(file.as_bytes()).unwrap().verify(trust) {
        Ok(conviction) => json!({ "node": conviction.voter.node, "charge": conviction.charge.code() }),
        Err(ContradictionError::Nothing) => json!({ "error": "nothing" }),
        Err(error) => panic!("{error}"),
    }
}

fn vectors() -> Value {
    let (story, grants) = tell();
    let house = &story.house;
    let encoded_roster = {
        // As genesis has it.
        let Entry::Command { signed, .. } = house.entry(0) else { panic!() };
        let command = wire::Command::decode(signed.command_bytes()).unwrap();
        let Some(wire::command::Body::Genesis(genesis)) = command.body else { panic!() };
        genesis.roster.unwrap().encode_to_vec()
    };
    let head = *house.head();
    let fresh = house.fresh(Hash::of(&[b"round"]), house.now_ms);
    json!({
        "about": "Formats of docs/formats.md, made by tests/vectors.rs. Bytes are lower-case hex.",
        "origin": house::ORIGIN,
        "ledger_id": hash(house.ledger.0),
        "keys": keys(),
        "roster": { "encoded": hex(encoded_roster), "digest": hash(house.trust.genesis.digest()) },
        "trust_file": house.trust.to_toml(),
        "roster_chain": {
            "chain": hex(house.trust.roster_chain().encode()),
            "rosters": house.trust.roster_chain().links.iter().map(|link| link.id().to_string()).collect::<Vec<_>>(),
        },
        "trusted_checkpoints": checkpoint_vectors::checkpoints(),
        "refused_chains": story.refused_chains,
        "names": names(),
        "patterns": patterns(),
        "conditions": condition_vectors::conditions(),
        "arguments": condition_vectors::arguments(),
        "malformed_commands": malformed_commands(house),
        "commands": story.commands,
        "grants": grants,
        "blocks": story.blocks,
        "dedup": story.dedup,
        "state_tree": state_tree(),
        "records": records(house),
        "statements": {
            "fresh": statement_json(&house.fresh_statement(1, fresh, head)),
            "head": statement_json(&house.head_statement(2, head)),
        },
        "nonces": nonces(),
        "knowledge": limits::knowledge(),
        "templates": limits::templates(),
        "knowledge_proofs": limits::knowledge_proofs(),
        "answers": story.answers,
        "refused_answers": story.refused,
        "recent_answers": story.recent,
        "past_answers": story.past,
        "evidence": story.evidence,
        "recorded": story.records,
        "recorded_by": question_vectors::recorded_by(house),
        "no_permit": question_vectors::no_permit(house),
        "contradictions": contradictions(house),
        "equivocations": equivocation_vectors::equivocations(house),
    })
}

#[test]
fn the_formats_are_those_pinned() {
    let made = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        return;
    }
    let pinned: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&made), members(&pinned));
    for (member, value) in made.as_object().unwrap() {
        if let (Some(made), Some(pinned)) = (value.as_array(), pinned[member].as_array()) {
            for (index, (made, pinned)) in made.iter().zip(pinned).enumerate() {
                assert_eq!(made, pinned, "{member}[{index}]");
            }
        }
        assert_eq!(value, &pinned[member], "{member}");
    }
}

/// What a verifier in another language would do with the file.
#[test]
fn the_pinned_answers_and_evidence_say_what_they_say() {
    let pinned: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    let founding = Trust::from_toml(pinned["trust_file"].as_str().unwrap()).unwrap();
    assert_eq!(hash(founding.ledger.0), pinned["ledger_id"]);
    let chain = RosterChain::decode(&unhex(&pinned["roster_chain"]["chain"])).unwrap();
    let trust = founding.extend(&chain).unwrap();
    let ids: Vec<_> = chain.links.iter().map(|link| link.id().to_string()).collect();
    assert_eq!(json!(ids), pinned["roster_chain"]["rosters"]);
    let list = |member: &str| pinned[member].as_array().unwrap().clone();
    assert!(list("answers").len() >= 10 && list("refused_answers").len() >= 20);
    for vector in list("answers") {
        let (request, nonce) = question_from(&vector["question"]);
        let answer = decode_answer(&unhex(&vector["answer"]), 1 << 20).unwrap();
        let verified = verify(&trust, &request, nonce, &answer).unwrap();
        assert_eq!(decision_json(&verified.decision), vector["decision"]);
    }
    for vector in list("refused_answers") {
        let (request, nonce) = question_from(&vector["question"]);
        let answer = decode_answer(&unhex(&vector["answer"]), 1 << 20).unwrap();
        let error = verify(&trust, &request, nonce, &answer).unwrap_err();
        assert_eq!(proof_error(&error), vector["error"].as_str().unwrap());
    }
    assert!(list("recent_answers").len() >= 3 && list("past_answers").len() >= 20);
    for vector in list("recent_answers") {
        let answer = decode_answer(&unhex(&vector["answer"]), 1 << 20).unwrap();
        assert_eq!(recent_shows(&trust, &request_from(&vector["question"]), &answer), vector["shows"]);
    }
    for vector in list("past_answers") {
        let question = &vector["question"];
        let moment = match question["block"].as_u64() {
            Some(block) => Moment::Block(block),
            None => Moment::Time(question["time_ms"].as_u64().unwrap()),
        };
        let answer = decode_past_answer(&unhex(&vector["answer"]), 1 << 20).unwrap();
        assert_eq!(past_shows(&trust, &request_from(question), moment, &answer), vector["shows"]);
    }
    assert!(list("refused_chains").len() >= 10);
    for vector in list("refused_chains") {
        let chain = RosterChain::decode(&unhex(&vector["chain"])).unwrap();
        assert_eq!(chain_error(&founding.extend(&chain).unwrap_err()), vector["error"].as_str().unwrap());
    }
    for vector in list("evidence") {
        let evidence = Evidence::from_json(vector["file"].as_str().unwrap().as_bytes()).unwrap();
        match evidence.verify(&founding) {
            Ok(shown) => assert_eq!(decision_json(shown.proven.decision()), vector["shows"]["decision"]),
            Err(error) => assert_eq!(evidence_error(&error), vector["shows"]["error"].as_str().unwrap()),
        }
    }
    for vector in list("recorded") {
        assert_eq!(record_shows(vector["file"].as_str().unwrap(), &founding), vector["shows"]);
    }
    for vector in list("recorded_by") {
        let shown = question_vectors::recorded_by_shows(vector["file"].as_str().unwrap(), &founding);
        assert_eq!(shown, vector["shows"]);
    }
    for vector in list("no_permit") {
        let shown = question_vectors::no_permit_shows(vector["file"].as_str().unwrap(), &founding);
        assert_eq!(shown, vector["shows"]);
    }
    for vector in list("contradictions") {
        assert_eq!(contradiction_shows(vector["file"].as_str().unwrap(), &trust), vector["shows"]);
    }
    assert!(list("equivocations").len() >= 15);
    for vector in list("equivocations") {
        let shown = equivocation_vectors::shows(vector["file"].as_str().unwrap(), &founding);
        assert_eq!(shown, vector["shows"], "{}", vector["name"]);
    }
    assert!(list("trusted_checkpoints").len() >= 20);
    for vector in list("trusted_checkpoints") {
        assert_eq!(checkpoint_vectors::checkpoint_shows(&vector), vector["shows"], "{}", vector["name"]);
    }
    for vector in list("commands") {
        let ledger = if vector["name"] == "genesis" { LedgerId::GENESIS } else { trust.ledger };
        let signed = SignedCommand::decode(&unhex(&vector["envelope"])).unwrap();
        signed.verify(ledger).unwrap();
        assert_eq!(hex(signed.encode()), vector["envelope"]);
        assert_eq!(hash(signed.command_hash()), vector["command_hash"]);
    }
}
