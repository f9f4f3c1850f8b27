//! What to do with the log at a start, given how far the applied state got.
//!
//! Raft truncates the log before a received snapshot takes its place, and applied state is not synced,
//! so a crash can leave the two apart. `applied/` is restored from a newer registered snapshot first;
//! then this decides, before Raft sees either.

use crate::raft::types::LogId;

/// What the log must become before Raft is started on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciliation {
    /// The log continues the applied state.
    Keep,
    /// The log does not contain the applied entry: all of it is superseded. Drop it and set purged to
    /// the applied entry, in one synced batch.
    DropLogAndSetPurged(LogId),
    /// Disk and applied state contradict each other. The node must not start.
    Refuse(Refusal),
}

/// Why a node must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was purged is not all in the applied state: it is lost here.
    #[error("applied state ends at {applied:?}, before the purged entry {purged}")]
    AppliedBeforePurged {
        /// The last purged entry.
        purged: LogId,
        /// The last applied one.
        applied: Option<LogId>,
    },
    /// Two committed entries at one index.
    #[error("applied entry {applied} and purged entry {purged} differ at one index")]
    AppliedIsNotPurged {
        /// The last purged entry.
        purged: LogId,
        /// The last applied one.
        applied: LogId,
    },
    /// The log ends before its own purged entry.
    #[error("log ends at {last:?}, before its purged entry {purged}")]
    LogBeforePurged {
        /// The last purged entry.
        purged: LogId,
        /// The last entry.
        last: Option<LogId>,
    },
    /// The same entry, counted differently.
    #[error("log and applied state count differently up to entry {applied}")]
    PositionDiffers {
        /// The last applied entry.
        applied: LogId,
    },
}

/// Decides from the last purged entry, the last entry (the purged one, if none is left), the last
/// applied entry, and the log's entry at the applied index, if it holds one.
pub fn reconcile(
    purged: Option<LogId>,
    last: Option<LogId>,
    applied: Option<LogId>,
    at_applied: Option<LogId>,
) -> Reconciliation {
    use Reconciliation::{DropLogAndSetPurged, Keep, Refuse};

    if let Some(purged) = purged
        && last.is_none_or(|last| last.index < purged.index)
    {
        return Refuse(Refusal::LogBeforePurged { purged, last });
    }
    match (purged, applied) {
        (None, None) => Keep,
        (Some(purged), None) => Refuse(Refusal::AppliedBeforePurged { purged, applied }),
        (Some(purged), Some(a)) if a.index < purged.index => {
            Refuse(Refusal::AppliedBeforePurged { purged, applied })
        }
        (Some(purged), Some(a)) if a.index == purged.index && a != purged => {
            Refuse(Refusal::AppliedIsNotPurged { purged, applied: a })
        }
        (Some(purged), Some(a)) if a.index == purged.index => Keep,
        (_, Some(a)) if at_applied == Some(a) => Keep,
        (_, Some(a)) => DropLogAndSetPurged(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::log_id;

    #[test]
    fn every_case_of_the_rule() {
        use Reconciliation::{DropLogAndSetPurged, Keep, Refuse};
        let id = |term, index| Some(log_id(term, index));
        let at = log_id;
        // (purged, last, applied, entry at applied) → what to do
        let table = [
            // Nothing applied.
            (None, None, None, None, Keep),
            (None, id(1, 9), None, None, Keep),
            (
                id(1, 3),
                id(1, 9),
                None,
                None,
                Refuse(Refusal::AppliedBeforePurged { purged: at(1, 3), applied: None }),
            ),
            // a < purged.
            (
                id(1, 3),
                id(1, 9),
                id(1, 2),
                None,
                Refuse(Refusal::AppliedBeforePurged { purged: at(1, 3), applied: id(1, 2) }),
            ),
            // a = purged.
            (id(1, 3), id(1, 9), id(1, 3), None, Keep),
            (id(1, 3), id(1, 3), id(1, 3), None, Keep),
            (
                id(1, 3),
                id(1, 9),
                id(2, 3),
                None,
                Refuse(Refusal::AppliedIsNotPurged { purged: at(1, 3), applied: at(2, 3) }),
            ),
            // a > purged: the log's entry at a is it, is another one, or is absent.
            (id(1, 3), id(1, 9), id(1, 5), id(1, 5), Keep),
            (id(1, 3), id(1, 5), id(1, 5), id(1, 5), Keep),
            (id(1, 3), id(1, 9), id(2, 5), id(1, 5), DropLogAndSetPurged(at(2, 5))),
            (id(1, 3), id(1, 4), id(1, 5), None, DropLogAndSetPurged(at(1, 5))),
            (id(1, 3), id(1, 3), id(1, 5), None, DropLogAndSetPurged(at(1, 5))),
            // Never purged.
            (None, id(1, 9), id(1, 5), id(1, 5), Keep),
            (None, id(1, 9), id(2, 5), id(1, 5), DropLogAndSetPurged(at(2, 5))),
            (None, None, id(1, 5), None, DropLogAndSetPurged(at(1, 5))),
            (None, None, id(0, 0), None, DropLogAndSetPurged(at(0, 0))),
            // A log that ends before what it purged.
            (
                id(1, 3),
                id(1, 2),
                id(1, 3),
                None,
                Refuse(Refusal::LogBeforePurged { purged: at(1, 3), last: id(1, 2) }),
            ),
            (
                id(1, 3),
                None,
                id(1, 5),
                None,
                Refuse(Refusal::LogBeforePurged { purged: at(1, 3), last: None }),
            ),
        ];
        for (purged, last, applied, at_applied, expected) in table {
            assert_eq!(
                reconcile(purged, last, applied, at_applied),
                expected,
                "purged {purged:?} last {last:?} applied {applied:?} entry there {at_applied:?}"
            );
        }
    }
}
