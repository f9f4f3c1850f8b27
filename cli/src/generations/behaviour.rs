//! What the agents of a lineage did as one generation or another: from their recorded decisions.

use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::authority::{Decided, Verdict};
use chancery_ledger::command::{ActionOutcome, DecisionId, Name, OutcomeKind};
use serde_json::{Map, Value, json};

use crate::output::{Table, style};

const HOUR_MS: u128 = 3_600_000;

/// The recorded decisions of one generation, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    decisions: u64,
    /// Of each action, how often it was asked for and permitted.
    actions: BTreeMap<Name, Asked>,
    denials: BTreeMap<&'static str, u64>,
    /// Each permit, with what was said of it last.
    permits: BTreeMap<DecisionId, Option<OutcomeKind>>,
    /// Ledger time of the first decision and of the last.
    span_ms: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    decisions: u64,
    permits: u64,
}

/// Something that was counted of both, in the order in which it is told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Decisions,
    Permits,
    DecisionsPerHour,
    Asked(Name),
    Permitted(Name),
    Denied(&'static str),
    Outcome(&'static str),
}

/// What was counted of one generation, and of another; no number where there is none to tell.
struct Compared {
    what: What,
    from: Option<u64>,
    to: Option<u64>,
}

impl Behaviour {
    /// Counts a decision that came `time_ms` into the log, not before those that were counted.
    pub(super) fn decided(&mut self, id: DecisionId, time_ms: u64, action: &Name, verdict: &Verdict) {
        let first_ms = self.span_ms.map_or(time_ms, |(first_ms, _)| first_ms);
        self.span_ms = Some((first_ms, time_ms));
        count(&mut self.decisions);
        let asked = self.actions.entry(action.clone()).or_default();
        count(&mut asked.decisions);
        match &verdict.decided {
            Decided::Permit { .. } => {
                count(&mut asked.permits);
                self.permits.insert(id, None);
            }
            Decided::Denied(denial) => count(self.denials.entry(denial.code()).or_default()),
        }
    }

    /// Takes note of what became of a call, if it is one of this generation.
    pub(super) fn ended(&mut self, outcome: &ActionOutcome) {
        if let Some(said) = self.permits.get_mut(&outcome.decision.id) {
            *said = Some(outcome.kind);
        }
    }

    /// Decisions an hour, from the first to the last; none if they came at once.
    fn decisions_per_hour(&self) -> Option<u64> {
        let (first_ms, last_ms) = self.span_ms?;
        let span_ms = u128::from(last_ms.checked_sub(first_ms)?);
        let each_hour = u128::from(self.decisions).saturating_mul(HOUR_MS).checked_div(span_ms)?;
        Some(u64::try_from(each_hour).unwrap_or(u64::MAX))
    }

    /// How many permits ended how; of those of which nothing was said, `open`.
    fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        let mut outcomes = BTreeMap::new();
        for said in self.permits.values() {
            count(outcomes.entry(said.map_or("open", OutcomeKind::name)).or_default());
        }
        outcomes
    }

    fn counted(&self) -> BTreeMap<What, Option<u64>> {
        let mut counted = BTreeMap::from([
            (What::Decisions, Some(self.decisions)),
            (What::Permits, Some(self.permits.len() as u64)),
            (What::DecisionsPerHour, self.decisions_per_hour()),
        ]);
        for (action, asked) in &self.actions {
            counted.insert(What::Asked(action.clone()), Some(asked.decisions));
            counted.insert(What::Permitted(action.clone()), Some(asked.permits));
        }
        counted.extend(self.denials.iter().map(|(code, denials)| (What::Denied(code), Some(*denials))));
        counted.extend(self.outcomes().into_iter().map(|(kind, calls)| (What::Outcome(kind), Some(calls))));
        counted
    }

    fn to_json(&self) -> Value {
        let actions: Map<_, _> = (self.actions.iter())
            .map(|(action, asked)| {
                (action.to_string(), json!({ "decisions": asked.decisions, "permits": asked.permits }))
            })
            .collect();
        json!({
            "decisions": self.decisions,
            "permits": self.permits.len(),
            "actions": actions,
            "denials": self.denials,
            "outcomes": self.outcomes(),
            "first_ms": self.span_ms.map(|(first_ms, _)| first_ms),
            "last_ms": self.span_ms.map(|(_, last_ms)| last_ms),
            "decisions_per_hour": self.decisions_per_hour(),
        })
    }
}

/// What two generations did, side by side; none if neither did anything.
pub(super) fn table(numbers: [u64; 2], from: &Behaviour, to: &Behaviour) -> Option<Table> {
    if from.decisions == 0 && to.decisions == 0 {
        return None;
    }
    let [before, after] = numbers.map(|number| format!(">generation {number}"));
    let mut table = Table::new(&["behaviour", &before, &after, ">change"]);
    for compared in compared(from, to) {
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
        let Compared { what, from, to } = &compared;
        table.row([what.words(), number(*from), number(*to), compared.change()]);
    }
    Some(table)
}

/// What two generations did, and what differs.
pub(super) fn to_json(from: &Behaviour, to: &Behaviour) -> Value {
    let changed = compared(from, to).into_iter().filter(|compared| compared.from != compared.to);
    let changed: Vec<_> = changed
        .map(|Compared { what, from, to }| {
            let (kind, name) = what.parts();
            json!({ "what": kind, "name": name, "from": from, "to": to })
        })
        .collect();
    json!({ "from": from.to_json(), "to": to.to_json(), "changed": changed })
}

fn compared(from: &Behaviour, to: &Behaviour) -> Vec<Compared> {
    let (from, to) = (from.counted(), to.counted());
    let all: BTreeSet<&What> = from.keys().chain(to.keys()).collect();
    // What only the other one did was counted here too: none of it.
    let of = |counted: &BTreeMap<What, Option<u64>>, what| counted.get(what).copied().unwrap_or(Some(0));
    all.into_iter()
        .map(|what| Compared { what: what.clone(), from: of(&from, what), to: of(&to, what) })
        .collect()
}

impl Compared {
    fn change(&self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from == to => String::new(),
            (Some(0), Some(_)) => style::warn("new"),
            (Some(_), Some(0)) => style::warn("gone"),
            (Some(from), Some(to)) if from < to => format!("+{}", to.abs_diff(from)),
            (Some(from), Some(to)) => format!("-{}", from.abs_diff(to)),
            (None, _) | (_, None) => String::new(),
        }
    }
}

impl What {
    /// Its kind, and of what, if there is more than one of the kind.
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Decisions => ("decisions", None),
            Self::Permits => ("permits", None),
            Self::DecisionsPerHour => ("decisions_per_hour", None),
            Self::Asked(action) => ("asked", Some(action.as_str())),
            Self::Permitted(action) => ("permitted", Some(action.as_str())),
            Self::Denied(code) => ("denied", Some(code)),
            Self::Outcome(kind) => ("outcome", Some(kind)),
        }
    }

    fn words(&self) -> String {
        match self.parts() {
            ("decisions_per_hour", _) => "decisions per hour".into(),
            (kind, None) => kind.into(),
            (kind, Some(name)) => format!("{kind} {name}"),
        }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use chancery_ledger::command::DecisionRef;
    use chancery_ledger::decide::Denial;
    use chancery_ledger::hash::Hash;

    use super::*;

    fn decide(behaviour: &mut Behaviour, number: u64, time_ms: u64, action: &str, decided: Decided) {
        behaviour.decided(id(number), time_ms, &name(action), &Verdict { number, decided });
    }

    fn end(behaviour: &mut Behaviour, number: u64, kind: OutcomeKind) {
        let decision = DecisionRef { agent: name("a"), number, id: id(number) };
        behaviour.ended(&ActionOutcome { decision, kind, result_digest: None });
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn id(number: u64) -> DecisionId {
        DecisionId(Hash::of(&[&number.to_be_bytes()]))
    }

    const fn permit() -> Decided {
        Decided::Permit { chain: Vec::new(), generation: None, deadline_ms: 0, bounds: Vec::new() }
    }

    #[test]
    fn what_was_done_is_counted_and_compared() {
        let (mut from, mut to) = (Behaviour::default(), Behaviour::default());
        assert!(table([1, 2], &from, &to).is_none());
        for number in 0..3 {
            decide(&mut from, number, 1_000 + 600_000 * number, "send", permit());
        }
        end(&mut from, 0, OutcomeKind::Unknown);
        end(&mut from, 0, OutcomeKind::Executed);
        end(&mut from, 1, OutcomeKind::Failed);
        decide(&mut to, 7, 9_000_000, "read", Decided::Denied(Denial::NoGrant));
        // Another generation's.
        end(&mut to, 0, OutcomeKind::Failed);

        let told = to_json(&from, &to);
        assert_eq!(
            told["from"],
            json!({
                "decisions": 3, "permits": 3, "actions": { "send": { "decisions": 3, "permits": 3 } },
                "denials": {}, "outcomes": { "executed": 1, "failed": 1, "open": 1 },
                "first_ms": 1_000, "last_ms": 1_201_000, "decisions_per_hour": 9,
            })
        );
        assert_eq!(
            told["to"],
            json!({
                "decisions": 1, "permits": 0, "actions": { "read": { "decisions": 1, "permits": 0 } },
                "denials": { "no_grant": 1 }, "outcomes": {},
                "first_ms": 9_000_000, "last_ms": 9_000_000, "decisions_per_hour": null,
            })
        );
        let changed = told["changed"].as_array().unwrap();
        let change = |what: &str, name: Option<&str>| {
            let found = changed.iter().find(|one| one["what"] == what && one["name"] == json!(name));
            found.map(|one| (one["from"].clone(), one["to"].clone()))
        };
        assert_eq!(change("asked", Some("send")), Some((3.into(), 0.into())));
        assert_eq!(change("denied", Some("no_grant")), Some((0.into(), 1.into())));
        assert_eq!(change("decisions_per_hour", None), Some((9.into(), Value::Null)));
        assert_eq!(change("permitted", Some("read")), None, "it was permitted to neither");
        let same = to_json(&from, &from);
        assert_eq!(same["changed"], json!([]));

        let changes: Vec<_> = (compared(&from, &to).iter())
            .map(|compared| {
                (compared.what.words(), anstream::adapter::strip_str(&compared.change()).to_string())
            })
            .filter(|(_, change)| !change.is_empty())
            .collect();
        let expected = [
            ("decisions", "-2"),
            ("permits", "gone"),
            ("asked read", "new"),
            ("asked send", "gone"),
            ("permitted send", "gone"),
            ("denied no_grant", "new"),
            ("outcome executed", "gone"),
            ("outcome failed", "gone"),
            ("outcome open", "gone"),
        ];
        assert_eq!(changes, expected.map(|(what, change)| (what.to_owned(), change.to_owned())));
    }
}
