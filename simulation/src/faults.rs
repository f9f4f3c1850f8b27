//! What goes wrong, and when.
//!
//! Each seed enables a part of the kinds of faults, so that some runs are full of one kind.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The power of one node is cut at some moment.
    PowerCut,
    /// The power of one node is cut in the midst of a write.
    PowerCutInWrite,
    /// The power of one node is cut when it has voted, and whom it may have voted for is isolated.
    PowerCutAfterVote,
    /// The power of all nodes is cut at once.
    Blackout,
    /// A write of the Raft log fails; the node stops.
    WriteError,
    /// A node and the others do not hear of each other.
    Isolate,
    /// One node does not hear of another.
    OneWay,
    /// Messages between two nodes are held, and all come later.
    Hold,
    /// Messages take long, each differently.
    SlowNetwork,
    /// A disk takes long.
    SlowDisk,
    /// A wall clock steps.
    ClockStep,
    /// A clock runs fast or slow.
    ClockDrift,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::PowerCut,
        Self::PowerCutInWrite,
        Self::PowerCutAfterVote,
        Self::Blackout,
        Self::WriteError,
        Self::Isolate,
        Self::OneWay,
        Self::Hold,
        Self::SlowNetwork,
        Self::SlowDisk,
        Self::ClockStep,
        Self::ClockDrift,
    ];
}

/// Says which fault comes next.
pub(crate) struct Faults {
    random: Random,
    kinds: Vec<Kind>,
    next: Duration,
    /// How many of each kind there were.
    pub(crate) injected: BTreeMap<Kind, u64>,
}

impl Faults {
    pub(crate) fn new(mut random: Random) -> Self {
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| random.one_in(2)).collect();
        if kinds.is_empty() {
            kinds.push(Kind::PowerCut);
        }
        // The cluster elects its first leader undisturbed.
        Self { random, kinds, next: Duration::from_secs(2), injected: BTreeMap::new() }
    }

    /// The fault that begins at `now`, if one does, and the chance that it is drawn with.
    pub(crate) fn due(&mut self, now: Duration) -> Option<(Kind, &mut Random)> {
        if now < self.next {
            return None;
        }
        self.next = now + self.random.ms(50, 1500);
        let kind = self.random.pick(&self.kinds).copied()?;
        *self.injected.entry(kind).or_default() += 1;
        Some((kind, &mut self.random))
    }
}
