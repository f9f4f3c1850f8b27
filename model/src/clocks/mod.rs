//! Clocks that are wrong, step and drift; what is signed and stamped by them; and what a client concludes.
//!
//! True time is known to the observer alone. It judges three claims:
//!
//! - no permit more than [`SKEW_MS_MAX`] past its end: a proof's greatest clock is not further behind;
//! - no permit more than twice that before its start: neither the block's time nor a proof's least clock is ahead;
//! - no check within a staleness passes after a revocation's `dead_at`: no proof that is older than the revocation has
//!   a least clock of more than twice ε beyond the clock that `dead_at` was told by.
//!
//! They are claimed while a majority of the voters' clocks is right, to a quarter of ε. Where more are wrong, as
//! [`Assumption::WrongApart`], rule 7 still has something to say.

pub mod search;
mod world;

pub use world::{Event, Violation, World};

use crate::node_set::NodeSet;

/// ε: how far a signing clock may be off, in milliseconds (`clock_skew_ms_max`).
pub const SKEW_MS_MAX: i64 = 240;

/// How far a right clock may be off, in milliseconds.
pub const RIGHT_MS_MAX: i64 = SKEW_MS_MAX / 4;

/// How old a measurement may be when it counts, in milliseconds.
const MEASUREMENT_AGE_MS_MAX: i64 = 2_000;

/// How far the wall clock may move against the monotonic one before it counts as a step, in milliseconds.
const STEP_MS_MAX: i64 = 20;

/// What a node demands of other clocks before it signs or stamps by its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// Nothing.
    None,
    /// A quorum's clocks were measured, its own included, and it is near their median (near both middle ones, of an even
    /// number). What rule 7 says.
    Median,
    /// It is near each clock of a quorum, its own included.
    Quorum,
}

/// The rules that nodes and clients keep; [`Rules::DESIGN`] is what rules 7 and 8 say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Rule 7: what is demanded of other clocks.
    pub agreement: Agreement,
    /// Rule 7: a measurement counts for two seconds. Otherwise for ever.
    pub measurements_age: bool,
    /// Rule 7: no signature while the wall clock has moved against the monotonic one since a measurement.
    pub steps_are_seen: bool,
    /// Rule 7: a leader stamps only within half of what signing allows.
    pub leader_checks_its_clock: bool,
    /// Rule 7: a follower refuses, before it appends, a block that is stamped later than its clock and ε.
    pub follower_refuses_late_stamp: bool,
    /// Rule 8: the least and the greatest clock of the quorum both count. Otherwise one clock does, which the server
    /// chooses.
    pub every_clock_counts: bool,
}

impl Rules {
    /// The design.
    pub const DESIGN: Self = Self {
        agreement: Agreement::Median,
        measurements_age: true,
        steps_are_seen: true,
        leader_checks_its_clock: true,
        follower_refuses_late_stamp: true,
        every_clock_counts: true,
    };

    /// The design, but a node demands that a quorum's clocks are near its own, not only their median.
    pub const NEAR_A_QUORUM: Self = Self { agreement: Agreement::Quorum, ..Self::DESIGN };
}

/// What is assumed of the clocks that are wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assumption {
    /// They are a minority. They may be anything, step, drift and agree with each other.
    Minority,
    /// They may be a majority, but no two of them are ever near each other, or near a right one.
    WrongApart {
        /// Whether they step.
        steps: bool,
    },
}

/// Who is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// How many nodes, all of them voters.
    pub nodes: usize,
    /// Those whose clocks are wrong.
    pub wrong: NodeSet,
    /// How.
    pub assumption: Assumption,
}
