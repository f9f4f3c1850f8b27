//! The rules, as switches.

/// What a statement's b is read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// The log as written, synced or not.
    Written,
    /// The log as synced. What the design says.
    Flushed,
    /// The applied state.
    Applied,
    /// The log as written, and never below what this process has seen in it: forgotten by a crash.
    HighWaterMark,
}

/// What a statement's roster is read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedRoster {
    /// The log, under the lock of b. What the design says.
    Log,
    /// The applied state.
    Applied,
    /// A watch channel that lags behind the log.
    Watch,
}

/// The rules that nodes and verifier keep; [`Rules::ALL`] is the design.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Rule 1: a received snapshot is synced and registered before it is handed to Raft, which truncates the log
    /// first.
    pub snapshot_registered_first: bool,
    /// Rule 1: b and roster are never below a snapshot that was handed to Raft or is registered.
    pub floor: bool,
    /// Rule 1: at a start, a log that does not hold the applied entry is dropped whole.
    pub reconcile_at_start: bool,
    /// Rule 2: b and roster are read after the nonce was received. Otherwise a prepared body is signed.
    pub read_after_nonce: bool,
    /// Rules 1 and 2: what b is read from.
    pub tail: Tail,
    /// Rule 3: what the named roster is read from.
    pub named_roster: NamedRoster,
    /// Rule 3: a verifier counts only statements that name the roster that it counts by.
    pub demand_named_roster: bool,
    /// Rule 3: a joint roster needs a quorum of both halves. Otherwise the old half's is enough.
    pub joint_needs_both: bool,
    /// Rule 4: an entry is applied after this node's own log is synced up to it.
    pub apply_after_flush: bool,
    /// Rule 4: after a start nothing is signed until what the cluster had committed is applied, and that is no less
    /// than the own log held at the start, or holds now.
    pub recover_before_signing: bool,
}

impl Rules {
    /// The design.
    pub const ALL: Self = Self {
        snapshot_registered_first: true,
        floor: true,
        reconcile_at_start: true,
        read_after_nonce: true,
        tail: Tail::Flushed,
        named_roster: NamedRoster::Log,
        demand_named_roster: true,
        joint_needs_both: true,
        apply_after_flush: true,
        recover_before_signing: true,
    };

    /// Rules 2 and 3 only, with b as written: the first draft of the design, before it was searched.
    pub const FIRST_DRAFT: Self = Self {
        snapshot_registered_first: false,
        floor: false,
        tail: Tail::Written,
        apply_after_flush: false,
        recover_before_signing: false,
        ..Self::ALL
    };
}
