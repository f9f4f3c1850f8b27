//! The faults there are, and the groups in which they are asked for.

use clap::ValueEnum;

/// One kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// `kill -9` of any node.
    KillOne,
    /// `kill -9` of the leader.
    KillLeader,
    /// `kill -9` of a majority.
    KillMajority,
    /// `kill -9` of every node.
    KillAll,
    /// SIGSTOP of any node.
    PauseOne,
    /// SIGSTOP of the leader, which wakes up as one that was.
    PauseLeader,
    /// SIGSTOP of a majority.
    PauseMajority,
    /// Two halves that do not hear each other.
    Halves,
    /// Each node hears a majority, no two the same.
    MajoritiesRing,
    /// One node is not heard, or does not hear.
    OneWay,
    /// One node is alone.
    IsolateOne,
    /// The leader is alone, but for its clients.
    IsolateLeader,
    /// One node is alone, and is not, and is.
    Flapping,
    /// All links are slow, the clients' too.
    Slow,
    /// All links lose segments.
    Lossy,
    /// Some links carry very little.
    Clogged,
    /// A clock an hour ahead.
    ClockAhead,
    /// A clock an hour behind.
    ClockBehind,
    /// A clock that steps, again and again.
    ClockSteps,
    /// A clock that runs too fast or too slow.
    ClockDrift,
    /// A disk that is full.
    DiskFull,
    /// A disk that fails a sync.
    DiskError,
    /// A disk that takes long to sync.
    SlowSync,
    /// Power loss of one node: what was not synced is lost or torn.
    PowerOne,
    /// Power loss of every node.
    PowerAll,
    /// A node is away until the log has been purged past it.
    LongAbsence,
    /// A new node learns, then votes.
    AddMember,
    /// A voter votes no more.
    RemoveMember,
    /// A new node votes in the place of one that runs.
    ReplaceLive,
    /// A new node votes in the place of one that was killed for ever.
    ReplaceDead,
    /// The leader hands over.
    TransferLeader,
}

/// Faults that are asked for together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Group {
    /// kill -9, of one, the leader, a majority, all.
    Kill,
    /// SIGSTOP, of one, the leader, a majority.
    Pause,
    /// Halves, a ring of majorities, one way, one alone, flapping.
    Partition,
    /// Slow, lossy and clogged links, the clients' too.
    Links,
    /// Clocks an hour off, stepping, drifting.
    Clock,
    /// Full, failing and slow disks.
    Disk,
    /// Power loss with torn write-ahead logs.
    Power,
    /// Snapshots all the time, and nodes that need them.
    Snapshot,
    /// Voters come, go and are replaced, leadership is handed over, and leaders are killed meanwhile.
    Members,
    /// Any of them, several at once.
    Mixed,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Links,
        Self::Clock,
        Self::Disk,
        Self::Power,
        Self::Snapshot,
        Self::Members,
        Self::Mixed,
    ];

    /// Its name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Links => "links",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Power => "power",
            Self::Snapshot => "snapshot",
            Self::Members => "members",
            Self::Mixed => "mixed",
        }
    }

    /// Its faults. A run in which one of them never happened fails, but for a mixture, which takes what comes.
    pub const fn faults(self) -> &'static [Fault] {
        match self {
            Self::Kill => &[Fault::KillOne, Fault::KillLeader, Fault::KillMajority, Fault::KillAll],
            Self::Pause => &[Fault::PauseOne, Fault::PauseLeader, Fault::PauseMajority],
            Self::Partition => &[
                Fault::Halves,
                Fault::MajoritiesRing,
                Fault::OneWay,
                Fault::IsolateOne,
                Fault::IsolateLeader,
                Fault::Flapping,
            ],
            Self::Links => &[Fault::Slow, Fault::Lossy, Fault::Clogged],
            Self::Clock => &[Fault::ClockAhead, Fault::ClockBehind, Fault::ClockSteps, Fault::ClockDrift],
            Self::Disk => &[Fault::DiskFull, Fault::DiskError, Fault::SlowSync],
            Self::Power => &[Fault::PowerOne, Fault::PowerAll],
            Self::Snapshot => &[Fault::LongAbsence, Fault::KillLeader, Fault::KillAll],
            Self::Members => &[
                Fault::AddMember,
                Fault::RemoveMember,
                Fault::ReplaceLive,
                Fault::ReplaceDead,
                Fault::TransferLeader,
                Fault::KillLeader,
            ],
            Self::Mixed => &[
                Fault::KillOne,
                Fault::KillLeader,
                Fault::PauseLeader,
                Fault::PauseOne,
                Fault::OneWay,
                Fault::Halves,
                Fault::Flapping,
                Fault::Slow,
                Fault::Lossy,
                Fault::ClockSteps,
                Fault::ClockDrift,
                Fault::DiskError,
                Fault::SlowSync,
                Fault::PowerOne,
                Fault::AddMember,
                Fault::RemoveMember,
                Fault::ReplaceLive,
                Fault::ReplaceDead,
                Fault::TransferLeader,
            ],
        }
    }

    /// Most faults at once.
    pub const fn at_once(self) -> usize {
        match self {
            Self::Members => 2,
            Self::Mixed => 3,
            _ => 1,
        }
    }

    /// Nodes that the cluster is founded with. A ring of majorities needs five.
    pub const fn nodes(self) -> u64 {
        match self {
            Self::Partition => 5,
            _ => 3,
        }
    }

    /// The highest number that a node may get: what bounds how many join in a round.
    pub const fn numbers(self) -> u64 {
        match self {
            Self::Members | Self::Mixed => 15,
            _ => self.nodes(),
        }
    }
}

impl Fault {
    /// Whether it changes who votes or leads, as operators do: one such change at a time.
    pub const fn changes_members(self) -> bool {
        matches!(
            self,
            Self::AddMember
                | Self::RemoveMember
                | Self::ReplaceLive
                | Self::ReplaceDead
                | Self::TransferLeader
        )
    }

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillOne => "kill one",
            Self::KillLeader => "kill leader",
            Self::KillMajority => "kill majority",
            Self::KillAll => "kill all",
            Self::PauseOne => "pause one",
            Self::PauseLeader => "pause leader",
            Self::PauseMajority => "pause majority",
            Self::Halves => "halves",
            Self::MajoritiesRing => "majorities ring",
            Self::OneWay => "one way",
            Self::IsolateOne => "isolate one",
            Self::IsolateLeader => "isolate leader",
            Self::Flapping => "flapping",
            Self::Slow => "slow links",
            Self::Lossy => "lossy links",
            Self::Clogged => "clogged links",
            Self::ClockAhead => "clock +1 h",
            Self::ClockBehind => "clock -1 h",
            Self::ClockSteps => "clock steps",
            Self::ClockDrift => "clock drift",
            Self::DiskFull => "disk full",
            Self::DiskError => "disk error",
            Self::SlowSync => "slow sync",
            Self::PowerOne => "power of one",
            Self::PowerAll => "power of all",
            Self::LongAbsence => "long absence",
            Self::AddMember => "add",
            Self::RemoveMember => "remove",
            Self::ReplaceLive => "replace live",
            Self::ReplaceDead => "replace dead",
            Self::TransferLeader => "transfer",
        }
    }
}
