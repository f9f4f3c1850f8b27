//! What is asked in a random run, as plain choices, so that it shrinks; what it refers to is found when it is sent.

use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Bound, BoundKind, Bounds, HaltScope, OutcomeKind, Pattern, Patterns, Per,
    Requirements, SignedCommand, Terms,
};
use chancery_ledger::condition::Condition;
use chancery_ledger::decide::{Interval, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, KnowledgeTree};
use proptest::prelude::*;
use proptest::sample::Index;

use super::house::{self, HOUR_MS, name, patterns};
use super::run::Run;

pub(crate) const AGENTS: [&str; 4] = ["a", "b", "c", "d"];

/// Action, resource, amount.
pub(crate) const CALLS: [(&str, &str, u64); 4] =
    [("pay", "account/1", 2), ("pay", "account/2", 6), ("read", "account/1", 0), ("close", "book", 1)];

const SCOPES: [(&[&str], &[&str]); 5] = [
    (&["*"], &["*"]),
    (&["pay", "read"], &["account/*"]),
    (&["pay"], &["account/*"]),
    (&["pay"], &["account/1"]),
    (&["close", "read"], &["*"]),
];

/// A condition, and what it comes to, said without Cedar.
pub(crate) struct Rule {
    pub(crate) text: &'static str,
    /// Its outcome may be another for another agent.
    pub(crate) reads_who_acts: bool,
    /// Of the agent, the action and the amount: whether it can hold.
    pub(crate) may_hold: fn(&str, &str, u64) -> bool,
}

pub(crate) const RULES: [Rule; 5] = [
    Rule {
        text: "permit(principal, action, resource) when { context.args.amount <= 5 };",
        reads_who_acts: false,
        may_hold: |_, _, amount| amount <= 5,
    },
    Rule {
        text: r#"permit(principal, action == Action::"pay", resource);"#,
        reads_who_acts: false,
        may_hold: |_, action, _| action == "pay",
    },
    Rule {
        text: "permit(principal, action, resource) when { context.ledger.bounds.count.left >= 2 };",
        reads_who_acts: false,
        may_hold: |_, _, _| true,
    },
    Rule {
        text: r#"permit(principal, action, resource) unless { principal == Agent::"d" };"#,
        reads_who_acts: true,
        may_hold: |agent, _, _| agent != "d",
    },
    Rule {
        text: "permit(principal, action, resource) when { context.ledger.permits < 4 };",
        reads_who_acts: true,
        may_hold: |_, _, _| true,
    },
];

/// What every requirement is of.
pub(crate) const SOURCE: &str = "policy";

/// The lineage that an agent is of.
pub(crate) fn lineage(agent: &str) -> &str {
    if ["b", "c"].contains(&agent) { "desk" } else { agent }
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) later_ms: u64,
    /// One block.
    pub(crate) acts: Vec<Act>,
    /// What is asked after it.
    pub(crate) questions: Vec<Question>,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Grant(AskTerms),
    Delegate { parent: Index, terms: AskTerms, widen: bool },
    Revoke(Index),
    Halt { what: u8, which: Index },
    Resume(Index),
    Authorize(Question),
    Outcome { decision: Index, kind: usize },
}

#[derive(Clone, Debug)]
pub(crate) struct AskTerms {
    agent: usize,
    scope: usize,
    lasts_ms: u64,
    max_staleness_ms: u64,
    rule: Option<usize>,
    /// Of which kind, whose, and how much.
    bound: Option<(usize, usize, u64)>,
    knows_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    agent: usize,
    call: usize,
    /// How old what it knows is.
    knows_ms: Option<u64>,
    hint: Option<Index>,
    spread_ms: u64,
    /// Of the states there were.
    pub(crate) block: Index,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later_ms = prop_oneof![8 => Just(1_000), 2 => Just(0), 1 => Just(4_000), 1 => Just(61_000)];
    let acts = proptest::collection::vec(acts(), 1..5);
    let step = (later_ms, acts, proptest::collection::vec(questions(), 3))
        .prop_map(|(later_ms, acts, questions)| Step { later_ms, acts, questions });
    proptest::collection::vec(step, 1..24)
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => ask_terms().prop_map(Act::Grant),
        14 => (any::<Index>(), ask_terms(), prop::bool::weighted(0.2))
            .prop_map(|(parent, terms, widen)| Act::Delegate { parent, terms, widen }),
        1 => any::<Index>().prop_map(Act::Revoke),
        2 => (0..6_u8, any::<Index>()).prop_map(|(what, which)| Act::Halt { what, which }),
        4 => any::<Index>().prop_map(Act::Resume),
        16 => questions().prop_map(Act::Authorize),
        6 => (any::<Index>(), 0..OutcomeKind::ALL.len())
            .prop_map(|(decision, kind)| Act::Outcome { decision, kind }),
    ]
}

fn ask_terms() -> impl Strategy<Value = AskTerms> {
    (
        0..AGENTS.len(),
        0..SCOPES.len(),
        prop_oneof![4 => Just(HOUR_MS), 1 => Just(20_000)],
        prop_oneof![4 => Just(5_000), 1 => Just(2_000)],
        prop::option::weighted(0.35, 0..RULES.len()),
        prop::option::weighted(0.6, (0..4_usize, 0..3_usize, 1..4_u64)),
        prop::option::weighted(0.15, prop_oneof![Just(500), Just(HOUR_MS)]),
    )
        .prop_map(|(agent, scope, lasts_ms, max_staleness_ms, rule, bound, knows_ms)| AskTerms {
            agent,
            scope,
            lasts_ms,
            max_staleness_ms,
            rule,
            bound,
            knows_ms,
        })
}

fn questions() -> impl Strategy<Value = Question> {
    let knows_ms = prop_oneof![3 => Just(Some(0)), 1 => Just(Some(900)), 1 => Just(None)];
    let hint = prop::option::weighted(0.3, any::<Index>());
    (0..AGENTS.len(), 0..CALLS.len(), knows_ms, hint, 0..800_u64, any::<Index>()).prop_map(
        |(agent, call, knows_ms, hint, spread_ms, block)| Question {
            agent,
            call,
            knows_ms,
            hint,
            spread_ms,
            block,
        },
    )
}

fn one<T>(list: &[T], index: Index) -> Option<&T> {
    (!list.is_empty()).then(|| &list[index.index(list.len())])
}

impl AskTerms {
    fn terms(&self, begins_ms: u64) -> Terms {
        let (actions, resources) = SCOPES[self.scope];
        let bound = self.bound.map(|(kind, per, limit)| {
            let kinds = [
                BoundKind::Count,
                BoundKind::Sum { argument: house::identifier("amount") },
                BoundKind::Rate { window_ms: 3_000 },
                BoundKind::Concurrency,
            ];
            let per = [Per::Grant, Per::Agent, Per::Key(name("budget"))][per].clone();
            let limit = if kind == 1 { 2 * limit } else { limit };
            house::bound(kinds[kind].name(), kinds[kind].clone(), limit, per)
        });
        Terms {
            agent: name(AGENTS[self.agent]),
            actions: patterns(actions),
            resources: patterns(resources),
            not_before_ms: begins_ms,
            not_after_ms: begins_ms + self.lasts_ms,
            max_staleness_ms: self.max_staleness_ms,
            delegable_depth: 3,
            condition: self.rule.map(|rule| Condition::new(RULES[rule].text).unwrap()),
            knowledge: Requirements::collect(self.knows_ms.map(|age_ms| house::requirement(SOURCE, age_ms)))
                .unwrap(),
            bounds: Bounds::collect(bound).unwrap(),
        }
    }

    /// As asked where `parent` has it, else as `parent` has it.
    fn narrowed(&self, parent: &Terms, begins_ms: u64) -> Terms {
        let asked = self.terms(begins_ms);
        let narrow =
            |parent: &Patterns, asked: Patterns| if parent.covers(&asked) { asked } else { parent.clone() };
        let same = |a: &Bound, b: &Bound| (&a.name, &a.kind, &a.per) == (&b.name, &b.kind, &b.per);
        let by_key = |bound: &Bound| matches!(bound.per, Per::Key(_));
        let shared = |bound: &&Bound| !by_key(bound) || parent.bounds.iter().any(|known| same(known, bound));
        Terms {
            actions: narrow(&parent.actions, asked.actions),
            resources: narrow(&parent.resources, asked.resources),
            not_after_ms: asked.not_after_ms.min(parent.not_after_ms),
            max_staleness_ms: asked.max_staleness_ms.min(parent.max_staleness_ms),
            delegable_depth: parent.delegable_depth.saturating_sub(1),
            bounds: Bounds::collect(asked.bounds.iter().filter(shared).cloned()).unwrap(),
            ..asked
        }
    }
}

impl Question {
    pub(crate) fn request(&self, run: &Run) -> Request {
        let (action, resource, amount) = CALLS[self.call];
        let args = format!("{{\"amount\":{amount}}}").into_bytes();
        let knowledge = self.knows_ms.map(|age_ms| {
            let retrieved_at_ms = run.house.now_ms - age_ms;
            let item = Item { source: name(SOURCE), digest: Hash::of(&[b"what it said"]), retrieved_at_ms };
            KnowledgeTree::new(vec![item]).unwrap().show(&[name(SOURCE)]).unwrap()
        });
        Request {
            args_digest: Hash::of(&[&args]),
            args: Some(args),
            knowledge,
            hint: self.hint.and_then(|index| one(&run.granted, index)).map(|grant| run.reference(*grant)),
            ..house::request(AGENTS[self.agent], action, resource)
        }
    }

    pub(crate) fn interval(&self, run: &Run) -> Interval {
        Interval { low_ms: run.house.now_ms, high_ms: run.house.now_ms + self.spread_ms }
    }
}

impl Act {
    /// The command, if there is what it refers to.
    pub(crate) fn command(&self, run: &mut Run) -> Option<SignedCommand> {
        let now_ms = run.house.now_ms;
        let (by, body) = match self {
            Self::Grant(terms) => ("issuer", Body::grant(terms.terms(now_ms))),
            Self::Delegate { parent, terms, widen } => {
                let parent = *one(&run.granted, *parent)?;
                let held = &run.held[&parent].terms;
                let holder = AGENTS.iter().find(|agent| **agent == held.agent.as_str())?;
                let narrowed = if *widen { terms.terms(now_ms) } else { terms.narrowed(held, now_ms) };
                // What has ended is no terms at all.
                if narrowed.not_after_ms <= narrowed.not_before_ms {
                    return None;
                }
                (*holder, Body::delegate(parent, narrowed))
            }
            Self::Revoke(grant) => {
                let grant = *one(&run.granted, *grant)?;
                ("revoker", Body::RevokeGrant { grant, reason: String::new() })
            }
            Self::Halt { what, which } => {
                let pattern = |text: &str| Pattern::new(text).unwrap();
                let scope = match what {
                    0 => HaltScope::Everything,
                    1 => HaltScope::Agent(name(AGENTS[which.index(AGENTS.len())])),
                    2 => HaltScope::Lineage(name(lineage(AGENTS[which.index(AGENTS.len())]))),
                    3 => HaltScope::Action(pattern(["pay", "*"][which.index(2)])),
                    4 => HaltScope::Resource(pattern(["account/*", "book"][which.index(2)])),
                    _ => HaltScope::Subtree(*one(&run.granted, *which)?),
                };
                ("halter", Body::Halt { scope, reason: "halted".into() })
            }
            Self::Resume(which) => {
                let halt = one(&run.halts, *which)?;
                ("resumer-1", Body::Resume { halt: halt.index, halt_command: halt.command })
            }
            Self::Authorize(question) => {
                let asked = Authorize::of(question.request(run), 2_000);
                ("gate", Body::Authorize(asked))
            }
            Self::Outcome { decision, kind } => {
                let (decision, kind) = (one(&run.decisions, *decision)?.clone(), OutcomeKind::ALL[*kind]);
                ("gate", Body::Outcome(ActionOutcome { decision, kind, result_digest: None }))
            }
        };
        Some(run.house.signed(by, body))
    }
}
