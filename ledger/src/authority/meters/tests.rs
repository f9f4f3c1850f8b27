//! Meters against a plain list of what was spent.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::command::{GrantId, Identifier};
use crate::hash::Hash;

const WINDOW_MS: u64 = 50;

fn kinds() -> [BoundKind; 4] {
    let argument = Identifier::new("amount").unwrap();
    [
        BoundKind::Count,
        BoundKind::Sum { argument },
        BoundKind::Rate { window_ms: WINDOW_MS },
        BoundKind::Concurrency,
    ]
}

/// One decision that was permitted.
struct Spent {
    amount: u64,
    at_ms: u64,
    ends_ms: u64,
    /// Kept or not, once it is settled.
    settled: Option<bool>,
}

/// What of it counts at `at_ms`.
fn counts_plainly(kind: &BoundKind, spent: &Spent, at_ms: u64) -> u64 {
    let kept = spent.settled != Some(false);
    match kind {
        BoundKind::Count => u64::from(kept),
        BoundKind::Sum { .. } => spent.amount * u64::from(kept),
        BoundKind::Rate { .. } => u64::from(kept && spent.at_ms + WINDOW_MS > at_ms),
        BoundKind::Concurrency => u64::from(spent.settled.is_none() && spent.ends_ms > at_ms),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Spend { amount: u64, lasts_ms: u64 },
    Settle { which: prop::sample::Index, kept: bool },
    Wait { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..20, 1_u64..80).prop_map(|(amount, lasts_ms)| Step::Spend { amount, lasts_ms }),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, kept)| Step::Settle { which, kept }),
        3 => (0_u64..30).prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn a_meter_is_the_sum_of_what_was_spent(kind in 0_usize..4, limit in 1_u64..40, steps in steps()) {
        let kind = kinds()[kind].clone();
        let (mut meter, mut list, mut now_ms) = (Meter::new(&kind), Vec::<Spent>::new(), 1_000);
        for step in steps {
            let used = meter.used(&kind, now_ms).unwrap();
            match step {
                Step::Spend { amount, lasts_ms } => {
                    let amount = if matches!(kind, BoundKind::Sum { .. }) { amount } else { 1 };
                    if used + amount > limit {
                        continue;
                    }
                    let number = u128::try_from(list.len()).unwrap();
                    let slot = Slot { ends_ms: now_ms + lasts_ms, decision: number.to_be_bytes() };
                    meter.reserve(&kind, amount, now_ms, slot).unwrap();
                    list.push(Spent { amount, at_ms: now_ms, ends_ms: slot.ends_ms, settled: None });
                }
                Step::Settle { which, kept } => {
                    let open: Vec<usize> = (0..list.len()).filter(|at| list[*at].settled.is_none()).collect();
                    if open.is_empty() {
                        continue;
                    }
                    let at = *which.get(&open);
                    list[at].settled = Some(kept);
                    let decision = u128::try_from(at).unwrap().to_be_bytes();
                    meter.settle(list[at].amount, kept, list[at].at_ms, decision).unwrap();
                }
                Step::Wait { ms } => now_ms += ms,
            }
            for later_ms in [0, 1, WINDOW_MS / 2, WINDOW_MS, 2 * WINDOW_MS] {
                let at_ms = now_ms + later_ms;
                let plain: u64 = list.iter().map(|spent| counts_plainly(&kind, spent, at_ms)).sum();
                prop_assert_eq!(meter.used(&kind, at_ms), Some(plain));
                prop_assert!(plain <= limit);
            }
            prop_assert_eq!(Meter::from_wire(meter.to_wire()).unwrap(), meter.clone());
        }
    }
}

#[test]
fn every_kind_has_its_own_meter() {
    for (number, kind) in kinds().iter().enumerate() {
        for (other, of) in kinds().iter().enumerate() {
            // A count and a sum are both a number.
            let same = number == other || number + other == 1;
            assert_eq!(Meter::new(of).used(kind, 0).is_some(), same);
        }
    }
}

#[test]
fn a_meter_that_nothing_was_spent_on_gives_nothing_back() {
    let slot = Slot { ends_ms: 1, decision: [0; 16] };
    assert_eq!(Meter::Total(1).settle(2, false, 0, slot.decision), None);
    assert_eq!(Meter::Total(u64::MAX).reserve(&BoundKind::Count, 1, 0, slot), None);
    let mut full = Meter::Times(vec![5; 256]);
    assert_eq!(full.reserve(&BoundKind::Rate { window_ms: 10 }, 1, 5, slot), None);
    let mut full = Meter::Slots(vec![Slot { ends_ms: 9, decision: [1; 16] }; 64]);
    assert_eq!(full.reserve(&BoundKind::Concurrency, 1, 5, slot), None);
}

#[test]
fn meters_are_told_apart_by_everything_but_the_limit() {
    let identifier = |text: &str| Identifier::new(text).unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    let grant = |number: u8| GrantRef { grant: GrantId(Hash([number; 32])), root: GrantId(Hash([9; 32])) };
    let pers = [Per::Grant, Per::Agent, Per::Key(name("a")), Per::Key(name("b"))];
    let mut kinds = kinds().to_vec();
    kinds.push(BoundKind::Rate { window_ms: WINDOW_MS + 1 });
    kinds.push(BoundKind::Sum { argument: identifier("amoun") });
    let mut places = std::collections::BTreeSet::new();
    for kind in &kinds {
        for per in &pers {
            for bound_name in ["x", "tx"] {
                let bound = |limit| Bound {
                    name: identifier(bound_name),
                    kind: kind.clone(),
                    limit,
                    per: per.clone(),
                };
                let id = MeterId::of(&bound(1), grant(1), &name("a"));
                assert_eq!(id, MeterId::of(&bound(2), grant(1), &name("a")));
                let others = (
                    MeterId::of(&bound(1), grant(2), &name("a")) == id,
                    MeterId::of(&bound(1), grant(1), &name("other")) == id,
                );
                let shared = match per {
                    Per::Grant => (false, true),
                    Per::Agent => (true, false),
                    Per::Key(_) => (true, true),
                };
                assert_eq!(others, shared);
                assert!(places.insert(id.place().key()), "{bound_name} {kind:?} {per:?}");
            }
        }
    }
}
