//! Meters: what was spent of bounds.
//!
//! A meter stands by itself in the state: that of a bound per grant beside the grant, that of a bound per
//! agent beside the agent, that of a key at the key. Bounds of several grants that have the same meter share
//! it. A permitted decision is *reserved* on each meter of its whole chain, once, and its outcome *settles* it.

use super::draft::Writes;
use super::records::{Body, GrantRef, Place, RecordError, W};
use super::view::{View, ViewError, record, referred};
use crate::command::{Bound, BoundKind, CONCURRENCY_LIMIT_MAX, MalformedCommand, Name, Per, RATE_LIMIT_MAX};
use chancery_proto::v1 as wire;

/// What was spent on one meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meter {
    /// Of a count or a sum: how much.
    Total(u64),
    /// Of a rate: when, in ledger time, ascending; at most 256.
    Times(Vec<u64>),
    /// Of concurrency: who; at most 64, sorted.
    Slots(Vec<Slot>),
}

/// A call that may be under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot {
    /// When it is over in any case, in ledger time.
    pub ends_ms: u64,
    /// The first half of its decision's id.
    pub decision: [u8; 16],
}

impl Meter {
    /// A meter on which nothing was spent.
    pub const fn new(kind: &BoundKind) -> Self {
        match kind {
            BoundKind::Count | BoundKind::Sum { .. } => Self::Total(0),
            BoundKind::Rate { .. } => Self::Times(Vec::new()),
            BoundKind::Concurrency => Self::Slots(Vec::new()),
        }
    }

    /// What counts at `at_ms` or later: what has left the window since, and slots that have ended, do not.
    /// `None` if the meter is not of that kind.
    pub fn used(&self, kind: &BoundKind, at_ms: u64) -> Option<u64> {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match (self, kind) {
            (Self::Total(total), BoundKind::Count | BoundKind::Sum { .. }) => Some(*total),
            (Self::Times(times), BoundKind::Rate { window_ms }) => {
                Some(count(times.iter().filter(|time_ms| counts(**time_ms, *window_ms, at_ms)).count()))
            }
            (Self::Slots(slots), BoundKind::Concurrency) => {
                Some(count(slots.iter().filter(|slot| slot.ends_ms > at_ms).count()))
            }
            _ => None,
        }
    }

    /// Spends `amount` at `at_ms`, and forgets what does not count any more; a slot is taken until it ends.
    /// `None` if the meter is not of that kind, or would hold more than any bound allows.
    fn reserve(&mut self, kind: &BoundKind, amount: u64, at_ms: u64, slot: Slot) -> Option<()> {
        match (self, kind) {
            (Self::Total(total), BoundKind::Count | BoundKind::Sum { .. }) => {
                *total = total.checked_add(amount)?;
            }
            (Self::Times(times), BoundKind::Rate { window_ms }) => {
                times.retain(|time_ms| counts(*time_ms, *window_ms, at_ms));
                times.push(at_ms);
                return (times.len() as u64 <= RATE_LIMIT_MAX).then_some(());
            }
            (Self::Slots(slots), BoundKind::Concurrency) => {
                slots.retain(|slot| slot.ends_ms > at_ms);
                slots.push(slot);
                slots.sort_unstable();
                return (slots.len() as u64 <= CONCURRENCY_LIMIT_MAX).then_some(());
            }
            _ => return None,
        }
        Some(())
    }

    /// Ends the slot of a decision, and takes back what it spent if it is not `kept`. What was forgotten
    /// meanwhile is not there any more. `None` if so much was never spent.
    fn settle(&mut self, amount: u64, kept: bool, reserved_at_ms: u64, decision: [u8; 16]) -> Option<()> {
        match self {
            Self::Total(total) if !kept => *total = total.checked_sub(amount)?,
            Self::Times(times) if !kept => {
                if let Some(position) = times.iter().position(|time_ms| *time_ms == reserved_at_ms) {
                    times.remove(position);
                }
            }
            Self::Slots(slots) => slots.retain(|slot| slot.decision != decision),
            Self::Total(_) | Self::Times(_) => {}
        }
        Some(())
    }
}

/// Whether what was spent at `time_ms` counts in the window that ends at `at_ms`.
const fn counts(time_ms: u64, window_ms: u64, at_ms: u64) -> bool {
    time_ms.saturating_add(window_ms) > at_ms
}

impl Body for Meter {
    fn to_wire(&self) -> W {
        use wire::meter_record::Spent;
        let slot = |slot: &Slot| wire::MeterSlot { ends_ms: slot.ends_ms, decision: slot.decision.to_vec() };
        W::Meter(wire::MeterRecord {
            spent: Some(match self {
                Self::Total(total) => Spent::Total(*total),
                Self::Times(times) => Spent::Times(wire::MeterTimes { times_ms: times.clone() }),
                Self::Slots(slots) => {
                    Spent::Slots(wire::MeterSlots { slots: slots.iter().map(slot).collect() })
                }
            }),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        use wire::meter_record::Spent;
        let W::Meter(w) = body else { return Err(RecordError::OtherRecord) };
        let slot = |w: &wire::MeterSlot| {
            let decision = w.decision.as_slice().try_into();
            let decision = decision.map_err(|_| MalformedCommand::Length("a slot's decision"))?;
            Ok::<_, MalformedCommand>(Slot { ends_ms: w.ends_ms, decision })
        };
        Ok(match w.spent.ok_or(MalformedCommand::Missing("what was spent"))? {
            Spent::Total(total) => Self::Total(total),
            Spent::Times(w) if !w.times_ms.is_sorted() => {
                return Err(MalformedCommand::Unsorted("a meter's times").into());
            }
            Spent::Times(w) => Self::Times(w.times_ms),
            Spent::Slots(w) => {
                let slots = w.slots.iter().map(slot).collect::<Result<Vec<_>, _>>()?;
                if !slots.is_sorted_by(|a, b| a < b) {
                    return Err(MalformedCommand::Unsorted("a meter's slots").into());
                }
                Self::Slots(slots)
            }
        })
    }
}

/// Where a meter stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MeterId {
    /// The grant's root, the agent, or the key.
    pub(super) anchor: Vec<u8>,
    /// `u8 kind ‖ u8 per ‖ u64 window ‖ grant id, or zeros ‖ u8 length of argument ‖ argument ‖ name`.
    pub(super) id: Vec<u8>,
}

impl MeterId {
    /// The meter of `bound` in the grant at `grant`, whose agent is `agent`.
    pub fn of(bound: &Bound, grant: GrantRef, agent: &Name) -> Self {
        let (kind, argument, window_ms): (u8, &str, u64) = match &bound.kind {
            BoundKind::Count => (1, "", 0),
            BoundKind::Sum { argument } => (2, argument.as_str(), 0),
            BoundKind::Rate { window_ms } => (3, "", *window_ms),
            BoundKind::Concurrency => (4, "", 0),
        };
        let (per, anchor, own): (u8, &[u8], [u8; 32]) = match &bound.per {
            Per::Grant => (1, grant.root.0.as_bytes(), grant.grant.0.0),
            Per::Agent => (2, agent.as_str().as_bytes(), [0; 32]),
            Per::Key(key) => (3, key.as_str().as_bytes(), [0; 32]),
        };
        // INVARIANT: an identifier has at most 64 bytes, so its length fits one.
        let length = u8::try_from(argument.len()).unwrap_or(u8::MAX);
        let mut id = vec![kind, per];
        id.extend(window_ms.to_be_bytes());
        id.extend(own);
        id.push(length);
        id.extend(argument.as_bytes());
        id.extend(bound.name.as_str().as_bytes());
        Self { anchor: anchor.to_vec(), id }
    }

    /// The record's place.
    pub fn place(&self) -> Place {
        Place::meter(self)
    }
}

/// What one decision spends on one meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spend {
    /// Which.
    pub meter: MeterId,
    /// How much: 1, or the argument of a sum.
    pub amount: u64,
}

impl Spend {
    pub(super) fn to_wire(&self) -> wire::Spend {
        let MeterId { anchor, id } = self.meter.clone();
        wire::Spend { anchor, id, amount: self.amount }
    }

    pub(super) fn from_wire(w: wire::Spend) -> Self {
        Self { meter: MeterId { anchor: w.anchor, id: w.id }, amount: w.amount }
    }
}

/// One bound of a chain, as a decision finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// The grant that has it.
    pub grant: GrantRef,
    /// The bound.
    pub bound: Bound,
    /// Where it is measured.
    pub meter: MeterId,
    /// What is spent of it.
    pub used: u64,
    /// What the request would spend.
    pub wanted: u64,
}

impl Allowance {
    /// What is left of it before the request.
    pub const fn left(&self) -> u64 {
        self.bound.limit.saturating_sub(self.used)
    }
}

/// What was spent on the meter `id` of `bound`.
pub(crate) fn metered<V: View>(view: &V, bound: &Bound, id: &MeterId) -> Result<Meter, ViewError<V::Error>> {
    Ok(record(view, &id.place())?.unwrap_or_else(|| Meter::new(&bound.kind)))
}

/// What of it still counts at `at_ms`.
pub(crate) fn used<E>(meter: &Meter, bound: &Bound, at_ms: u64) -> Result<u64, ViewError<E>> {
    meter.used(&bound.kind, at_ms).ok_or_else(corrupt)
}

/// The record is another than its place says, or the state spent what no rule lets it.
const fn corrupt<E>() -> ViewError<E> {
    ViewError::Record { kind: "meter", source: RecordError::OtherRecord }
}

/// Spends a permitted decision on every meter of its chain, on each once: `allowances` are those of the permit,
/// decided at `at_ms` over the same `view`. Its slots end at `slot.ends_ms`.
///
/// # Errors
/// The state is corrupt.
pub(super) fn reserve<V: View>(
    view: &V,
    writes: &mut Writes,
    allowances: &[Allowance],
    at_ms: u64,
    slot: Slot,
) -> Result<Vec<Spend>, ViewError<V::Error>> {
    let mut spends: Vec<Spend> = Vec::new();
    for Allowance { bound, meter: id, wanted, .. } in allowances {
        if spends.iter().any(|spend| spend.meter == *id) {
            continue;
        }
        let mut meter = metered(view, bound, id)?;
        meter.reserve(&bound.kind, *wanted, at_ms, slot).ok_or_else(corrupt)?;
        writes.put(&id.place(), &meter);
        spends.push(Spend { meter: id.clone(), amount: *wanted });
    }
    Ok(spends)
}

/// Ends the slots of `decision`, which was reserved at `reserved_at_ms`; unless its spending is `kept`, takes it
/// back.
///
/// # Errors
/// The state is corrupt.
pub(super) fn settle<V: View>(
    view: &V,
    writes: &mut Writes,
    spends: &[Spend],
    kept: bool,
    reserved_at_ms: u64,
    decision: [u8; 16],
) -> Result<(), ViewError<V::Error>> {
    for Spend { meter: id, amount } in spends {
        let before: Meter = referred(view, &id.place())?;
        let mut meter = before.clone();
        meter.settle(*amount, kept, reserved_at_ms, decision).ok_or_else(corrupt)?;
        if meter != before {
            writes.put(&id.place(), &meter);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
