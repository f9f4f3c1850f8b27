//! What an audit finds: where, what had to be there, and what is.

use std::fmt;

use chancery_ledger::authority::{self, EntryFault};

/// A place where a log is not what it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Of which kind.
    pub code: Code,
    /// The leaf, if it is about one.
    pub index: Option<u64>,
    /// What of the publication it is about: a path, or a word.
    pub place: String,
    /// What had to be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// The kinds of findings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Code {
    /// The checkpoint is no checkpoint of ours.
    Checkpoint,
    /// The checkpoint is another log's.
    Origin,
    /// Too few voters cosigned the checkpoint.
    Cosignatures,
    /// The roster chain is none, or not proven from the trusted roster.
    Rosters,
    /// The log tells of another roster than the chain, or at another place.
    RosterHistory,
    /// Less than an earlier audit saw.
    RolledBack,
    /// Not what an earlier audit saw.
    Rewritten,
    /// Two sources show two logs.
    SplitView,
    /// Something is not there that the checkpoint covers.
    Missing,
    /// A bundle of entries, or a tile, has not the bytes that one has.
    Malformed,
    /// An entry is not the one of the tile's hash.
    Leaf,
    /// A tile is not the one of the hash above it.
    Tile,
    /// The tiles have another root than the checkpoint.
    Root,
    /// An entry is not canonical.
    Entry,
    /// A command has not the signatures that it requires.
    Signatures,
    /// The log is that of another genesis.
    Ledger,
    /// Leaves that are not those of one block, or not of the next; the last ones too.
    Block,
    /// A block changes the voters as it may not.
    Roster,
    /// The log is under rules that this program does not have.
    Rules,
    /// A command that its signer had no right to give, or that has no effect for another reason.
    Refused,
    /// A command that is there twice.
    Twice,
    /// Another leaf comes of applying the log again: another verdict, another state.
    Differs,
}

impl Code {
    /// For machines: it stays as it is.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Origin => "origin",
            Self::Cosignatures => "cosignatures",
            Self::Rosters => "rosters",
            Self::RosterHistory => "roster_history",
            Self::RolledBack => "rolled_back",
            Self::Rewritten => "rewritten",
            Self::SplitView => "split_view",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Leaf => "leaf",
            Self::Tile => "tile",
            Self::Root => "root",
            Self::Entry => "entry",
            Self::Signatures => "signatures",
            Self::Ledger => "ledger",
            Self::Block => "block",
            Self::Roster => "roster",
            Self::Rules => "rules",
            Self::Refused => "refused",
            Self::Twice => "twice",
            Self::Differs => "differs",
        }
    }
}

impl Finding {
    /// About `place`, and no leaf.
    pub(crate) fn new(
        code: Code,
        place: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        let (place, expected, found) = (place.to_string(), expected.to_string(), found.to_string());
        Self { code, index: None, place, expected, found }
    }

    /// About the leaf at `index`.
    pub(crate) fn at(self, index: u64) -> Self {
        Self { index: Some(index), ..self }
    }
}

impl From<&authority::Finding> for Finding {
    fn from(finding: &authority::Finding) -> Self {
        use authority::Finding as Log;
        let code = match finding {
            Log::OtherLedger { .. } | Log::NotFounded { .. } => Code::Ledger,
            Log::Entry { fault: EntryFault::Malformed(_), .. } => Code::Entry,
            Log::Entry { fault: EntryFault::Signatures(_), .. } => Code::Signatures,
            Log::OtherBlock { .. } | Log::NoState { .. } | Log::NotAfter { .. } => Code::Block,
            Log::Roster { .. } => Code::Roster,
            Log::UnknownRules { .. } => Code::Rules,
            Log::Refused { .. } => Code::Refused,
            Log::Before { .. } => Code::Twice,
            Log::Differs { .. } => Code::Differs,
        };
        Self::new(code, "entries", finding.expected(), finding.found()).at(finding.index())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "leaf {index} ({})", self.place)?,
            None => f.write_str(&self.place)?,
        }
        write!(f, ": expected {}; found {}", self.expected, self.found)
    }
}

impl std::error::Error for Finding {}
