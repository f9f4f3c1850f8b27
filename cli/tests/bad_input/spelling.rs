//! Commands of authority that are signed as they should be, and out of their bounds.

use chancery_ledger::command::{COMMAND_SIZE_BYTES_MAX, SignedCommand};
use chancery_proto::v1::command::Body;
use chancery_proto::v1::{self as wire_types, bound, halt_scope};
use prost::Message;

use crate::House;
use crate::commands::{command, issuer_key, registration, signed_bytes};
use crate::harness::{NODES, now_ms};
use crate::wire::{Papers, client, refusal};

pub(crate) async fn malformed(house: &mut House) {
    let papers = Papers::of_principal(&house.cluster, "issuer");
    let mut clients: Vec<_> = (1..=NODES).map(|node| client(&house.cluster, node, &papers)).collect();
    let (key, ledger) = (issuer_key(house), house.issuer.trust().ledger);
    let cases = [halts(), lineages(), generations(), decisions(), grants()].concat();
    for (number, (case, body)) in cases.into_iter().enumerate() {
        let good = SignedCommand::sign(ledger, &command(&key, registration()), &[&key]).unwrap();
        let mut odd = wire_types::Command::decode(good.command_bytes()).unwrap();
        odd.body = Some(body);
        let bytes = odd.encode_to_vec();
        assert!(bytes.len() <= COMMAND_SIZE_BYTES_MAX, "{case} is to be refused for what it says");
        let client = &mut clients[number % 3];
        assert_eq!(refusal(client, signed_bytes(ledger, &key, bytes)).await, "malformed", "{case}");
    }
    house.unharmed("commands of authority that are out of their bounds").await;
}

type Case = (&'static str, Body);

fn halts() -> Vec<Case> {
    let everything =
        || wire_types::HaltScope { scope: Some(halt_scope::Scope::Everything(wire_types::Everything {})) };
    let halt = |scope: Option<wire_types::HaltScope>, reason: &str| {
        Body::Halt(wire_types::Halt { scope, reason: reason.into() })
    };
    let of = |scope| halt(Some(wire_types::HaltScope { scope: Some(scope) }), "why");
    vec![
        ("a halt of nothing", halt(None, "why")),
        ("a halt of an empty scope", halt(Some(wire_types::HaltScope { scope: None }), "why")),
        ("a reason of two lines", halt(Some(everything()), "one\ntwo")),
        ("a halt of an agent without a name", of(halt_scope::Scope::Agent(String::new()))),
        ("a halt of half a pattern", of(halt_scope::Scope::Action("mail/*/send".into()))),
        ("a halt below a short id", of(halt_scope::Scope::Subtree(vec![0; 31]))),
        (
            "a resumption with a short hash",
            Body::Resume(wire_types::Resume { halt: 1, halt_command: vec![0; 31] }),
        ),
    ]
}

fn lineages() -> Vec<Case> {
    let set = |change: fn(&mut wire_types::SetLineage)| {
        let policy = wire_types::LineagePolicy { quarantine: true, threshold: 1, in_service_max: 1 };
        let mut set = wire_types::SetLineage {
            lineage: "line".into(),
            policy: Some(policy),
            constraints: Some(wire_types::LineageConstraints::default()),
            operators: vec![],
        };
        change(&mut set);
        Body::SetLineage(set)
    };
    vec![
        ("a lineage without a name", set(|set| set.lineage.clear())),
        ("a lineage without a policy", set(|set| set.policy = None)),
        ("a lineage without constraints", set(|set| set.constraints = None)),
        ("a threshold of none", set(|set| set.policy.as_mut().unwrap().threshold = 0)),
        ("a threshold of 65", set(|set| set.policy.as_mut().unwrap().threshold = 65)),
        ("none in service", set(|set| set.policy.as_mut().unwrap().in_service_max = 0)),
        ("nine in service", set(|set| set.policy.as_mut().unwrap().in_service_max = 9)),
        ("operators out of order", set(|set| set.operators = vec![vec![2; 32], vec![1; 32]])),
        ("an operator twice", set(|set| set.operators = vec![vec![1; 32], vec![1; 32]])),
    ]
}

fn generations() -> Vec<Case> {
    let register = |change: fn(&mut wire_types::RegisterGeneration)| {
        let digest = || vec![1; 32];
        let mut generation = wire_types::RegisterGeneration {
            lineage: "line".into(),
            parent: vec![],
            model: digest(),
            prompt: digest(),
            tools: digest(),
            parameters: digest(),
            memory: digest(),
        };
        change(&mut generation);
        Body::RegisterGeneration(generation)
    };
    let release = |generation: usize, reviewers: Vec<Vec<u8>>| {
        let (lineage, generation) = ("line".into(), vec![1; generation]);
        Body::ReleaseGeneration(wire_types::ReleaseGeneration { lineage, generation, reviewers })
    };
    let back = |generation: usize| {
        let (lineage, generation) = ("line".into(), vec![1; generation]);
        Body::RollbackLineage(wire_types::RollbackLineage { lineage, number: 1, generation })
    };
    vec![
        ("a generation of no model", register(|generation| generation.model.clear())),
        ("a short digest", register(|generation| generation.memory.truncate(31))),
        ("a short parent", register(|generation| generation.parent = vec![1; 31])),
        ("a generation of no lineage", register(|generation| generation.lineage.clear())),
        ("a release of a short id", release(31, vec![])),
        ("reviewers out of order", release(32, vec![vec![2; 32], vec![1; 32]])),
        ("a way back to a short id", back(31)),
        ("a way back to none", back(0)),
    ]
}

fn decisions() -> Vec<Case> {
    let authorize = |change: fn(&mut wire_types::Authorize)| {
        let mut asked = wire_types::Authorize {
            agent: "reader".into(),
            action: "read".into(),
            resource: "documents/1".into(),
            args_digest: vec![0; 32],
            execute_within_ms: 1_000,
            ..wire_types::Authorize::default()
        };
        change(&mut asked);
        Body::Authorize(asked)
    };
    let knowledge = |root: usize, count| wire_types::Knowledge { root: vec![1; root], count, shown: vec![] };
    let outcome = |number: u64, kind: i32, result: usize| {
        let decision = wire_types::DecisionRef { agent: "reader".into(), number, id: vec![1; 32] };
        Body::Outcome(wire_types::Outcome { decision: Some(decision), kind, result_digest: vec![1; result] })
    };
    let shown = {
        let mut shown = authorize(|_| ());
        if let Body::Authorize(asked) = &mut shown {
            asked.knowledge = Some(knowledge(31, 1));
        }
        shown
    };
    let none_shown = {
        let mut shown = authorize(|_| ());
        if let Body::Authorize(asked) = &mut shown {
            asked.knowledge = Some(knowledge(32, 0));
        }
        shown
    };
    vec![
        ("a decision about a name with a space", authorize(|asked| asked.action = "read it".into())),
        ("a decision without a digest", authorize(|asked| asked.args_digest.clear())),
        ("a decision with long arguments", authorize(|asked| asked.args = vec![b' '; 4_097])),
        ("a decision by a short generation", authorize(|asked| asked.generation = vec![1; 31])),
        ("a decision for no time at all", authorize(|asked| asked.execute_within_ms = 0)),
        ("a decision of another trace", authorize(|asked| asked.traceparent = "00-trace".into())),
        ("knowledge with a short root", shown),
        ("knowledge of nothing", none_shown),
        (
            "an outcome of no decision",
            Body::Outcome(wire_types::Outcome { decision: None, kind: 1, result_digest: vec![] }),
        ),
        ("an outcome of a decision 0", outcome(0, 1, 0)),
        ("an outcome of no kind", outcome(1, 0, 0)),
        ("an outcome of a fifth kind", outcome(1, 5, 0)),
        ("an outcome with a short digest", outcome(1, 1, 31)),
    ]
}

fn grants() -> Vec<Case> {
    fn a_bound() -> wire_types::Bound {
        wire_types::Bound {
            name: "reads".into(),
            limit: 1,
            kind: Some(bound::Kind::Count(wire_types::CountBound {})),
            per: Some(bound::Per::Grant(wire_types::PerGrant {})),
        }
    }
    fn required(source: &str, max_age_ms: u64) -> Vec<wire_types::KnowledgeRequirement> {
        vec![wire_types::KnowledgeRequirement { source: source.into(), max_age_ms }]
    }
    let of_terms = |change: fn(&mut wire_types::Terms)| {
        let mut terms = wire_types::Terms {
            agent: "reader".into(),
            actions: vec!["read".into()],
            resources: vec!["documents/*".into()],
            not_before_ms: 0,
            not_after_ms: now_ms() + 3_600_000,
            max_staleness_ms: 2_000,
            ..wire_types::Terms::default()
        };
        change(&mut terms);
        terms
    };
    let granted = |change: fn(&mut wire_types::Terms)| {
        Body::Grant(wire_types::Grant { terms: Some(of_terms(change)), schema: String::new() })
    };
    let bounded = |change: fn(&mut wire_types::Bound)| {
        let mut bound = a_bound();
        change(&mut bound);
        let mut terms = of_terms(|_| ());
        terms.bounds = vec![bound];
        Body::Grant(wire_types::Grant { terms: Some(terms), schema: String::new() })
    };
    let with_schema = Body::Grant(wire_types::Grant {
        terms: Some(of_terms(|terms| terms.condition = "permit(principal, action, resource);".into())),
        schema: "x".repeat(8_193),
    });
    vec![
        ("a condition with a zero byte", granted(|terms| terms.condition = "permit\0;".into())),
        ("a condition of 4,097 bytes", granted(|terms| terms.condition = " ".repeat(4_097))),
        ("a schema of 8,193 bytes", with_schema),
        ("a bound of nothing", bounded(|bound| bound.limit = 0)),
        ("a bound on nothing", bounded(|bound| bound.kind = None)),
        ("a bound for nobody", bounded(|bound| bound.per = None)),
        ("a bound without a name", bounded(|bound| bound.name.clear())),
        ("a bound beyond what is counted", bounded(|bound| bound.limit = 1 << 63)),
        (
            "a rate of no time",
            bounded(|bound| bound.kind = Some(bound::Kind::Rate(wire_types::RateBound { window_ms: 0 }))),
        ),
        ("a bound twice", granted(|terms| terms.bounds = vec![a_bound(), a_bound()])),
        (
            "nine bounds",
            granted(|terms| {
                let named = |number| wire_types::Bound { name: format!("reads_{number}"), ..a_bound() };
                terms.bounds = (1..=9).map(named).collect();
            }),
        ),
        ("knowledge of no source", granted(|terms| terms.knowledge = required("", 1))),
        ("knowledge of an unknown place", granted(|terms| terms.knowledge = required("a/{b}", 1))),
        ("knowledge of no age", granted(|terms| terms.knowledge = required("a", 0))),
    ]
}
