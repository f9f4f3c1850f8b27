//! Bounds: how much of its authority a grant lets be used.

use super::wire::{name, required};
use super::{Identifier, MalformedCommand, Name};
use chancery_proto::v1 as wire;

/// Most bounds of one grant.
pub const BOUNDS_MAX: usize = 8;

/// Greatest limit of a count or a sum: what every language has whole numbers for.
pub const LIMIT_MAX: u64 = i64::MAX as u64;

/// Greatest limit of a rate: so many times are kept.
pub const RATE_LIMIT_MAX: u64 = 256;

/// Longest window of a rate, in milliseconds (366 days).
pub const RATE_WINDOW_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

/// Greatest limit of concurrency: so many slots are kept.
pub const CONCURRENCY_LIMIT_MAX: u64 = 64;

/// One bound. Recorded decisions spend it; those of delegations below spend it too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Its name in the grant.
    pub name: Identifier,
    /// What is measured.
    pub kind: BoundKind,
    /// How much there may be of it; at least 1.
    pub limit: u64,
    /// Who shares it.
    pub per: Per,
}

/// What a bound measures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BoundKind {
    /// Permitted decisions, for ever.
    Count,
    /// An argument of permitted decisions, for ever: a whole number of at least 0, such as an amount of money
    /// in minor units.
    Sum {
        /// The argument's name.
        argument: Identifier,
    },
    /// Permitted decisions in any span of this length, in ledger time.
    Rate {
        /// The span, in milliseconds.
        window_ms: u64,
    },
    /// Permitted decisions whose call may be under way.
    Concurrency,
}

impl BoundKind {
    /// A stable name for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum { .. } => "sum",
            Self::Rate { .. } => "rate",
            Self::Concurrency => "concurrency",
        }
    }

    /// Greatest limit of this kind.
    const fn limit_max(&self) -> u64 {
        match self {
            Self::Count | Self::Sum { .. } => LIMIT_MAX,
            Self::Rate { .. } => RATE_LIMIT_MAX,
            Self::Concurrency => CONCURRENCY_LIMIT_MAX,
        }
    }
}

/// Who shares a bound: whose decisions add up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Per {
    /// Those under this grant, and under what is delegated from it.
    Grant,
    /// Those under any grant to this grant's agent with the same bound, and under what is delegated from it.
    Agent,
    /// Those under any grant with the same bound and this key.
    Key(Name),
}

/// The bounds of one grant: at most [`BOUNDS_MAX`], sorted by name, none twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounds(Vec<Bound>);

impl Bounds {
    /// Checks `bounds`, and each of them.
    pub fn new(bounds: Vec<Bound>) -> Result<Self, BoundError> {
        if bounds.len() > BOUNDS_MAX {
            return Err(BoundError::TooMany);
        }
        if !bounds.is_sorted_by(|a, b| a.name < b.name) {
            return Err(BoundError::Unsorted);
        }
        for bound in &bounds {
            if bound.limit == 0 || bound.limit > bound.kind.limit_max() {
                return Err(BoundError::Limit(bound.kind.limit_max()));
            }
            if matches!(bound.kind, BoundKind::Rate { window_ms } if window_ms == 0 || window_ms > RATE_WINDOW_MS_MAX)
            {
                return Err(BoundError::Window);
            }
        }
        Ok(Self(bounds))
    }

    /// Sorts, and checks: for callers that assemble a list.
    pub fn collect(bounds: impl IntoIterator<Item = Bound>) -> Result<Self, BoundError> {
        let mut bounds: Vec<Bound> = bounds.into_iter().collect();
        bounds.sort_by(|a, b| a.name.cmp(&b.name));
        Self::new(bounds)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Bound> {
        self.0.iter()
    }

    /// Whether one of these is `other`, whatever the limits.
    pub(crate) fn shares(&self, other: &Bound) -> bool {
        self.0.iter().any(|own| Bound { limit: other.limit, ..own.clone() } == *other)
    }

    pub(super) fn to_wire(&self) -> Vec<wire::Bound> {
        self.0.iter().map(Bound::to_wire).collect()
    }

    /// From the wire, checked.
    pub fn from_wire(bounds: Vec<wire::Bound>) -> Result<Self, MalformedCommand> {
        if bounds.len() > BOUNDS_MAX {
            return Err(BoundError::TooMany.into());
        }
        let bounds = bounds.into_iter().map(Bound::from_wire).collect::<Result<_, _>>()?;
        Ok(Self::new(bounds)?)
    }
}

impl Bound {
    fn to_wire(&self) -> wire::Bound {
        use wire::bound::{Kind, Per as P};
        wire::Bound {
            name: self.name.to_string(),
            limit: self.limit,
            kind: Some(match &self.kind {
                BoundKind::Count => Kind::Count(wire::CountBound {}),
                BoundKind::Sum { argument } => Kind::Sum(wire::SumBound { argument: argument.to_string() }),
                BoundKind::Rate { window_ms } => Kind::Rate(wire::RateBound { window_ms: *window_ms }),
                BoundKind::Concurrency => Kind::Concurrency(wire::ConcurrencyBound {}),
            }),
            per: Some(match &self.per {
                Per::Grant => P::Grant(wire::PerGrant {}),
                Per::Agent => P::Agent(wire::PerAgent {}),
                Per::Key(key) => P::Key(key.to_string()),
            }),
        }
    }

    fn from_wire(w: wire::Bound) -> Result<Self, MalformedCommand> {
        use wire::bound::{Kind, Per as P};
        Ok(Self {
            name: identifier("a bound's name", w.name)?,
            limit: w.limit,
            kind: match required("a bound's kind", w.kind)? {
                Kind::Count(_) => BoundKind::Count,
                Kind::Sum(w) => BoundKind::Sum { argument: identifier("a bound's argument", w.argument)? },
                Kind::Rate(w) => BoundKind::Rate { window_ms: w.window_ms },
                Kind::Concurrency(_) => BoundKind::Concurrency,
            },
            per: match required("who shares a bound", w.per)? {
                P::Grant(_) => Per::Grant,
                P::Agent(_) => Per::Agent,
                P::Key(key) => Per::Key(name("a bound's key", key)?),
            },
        })
    }
}

fn identifier(field: &'static str, text: String) -> Result<Identifier, MalformedCommand> {
    Identifier::new(text).map_err(|source| MalformedCommand::Identifier { field, source })
}

/// Why bounds are not those of a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BoundError {
    /// More than [`BOUNDS_MAX`].
    #[error("a grant has at most {BOUNDS_MAX} bounds")]
    TooMany,
    /// Not in the order of their names.
    #[error("the bounds are not sorted by name, or one is there twice")]
    Unsorted,
    /// Nothing could be done, or more than can be kept.
    #[error("a limit is 1 to {0}")]
    Limit(u64),
    /// A window of no length, or longer than [`RATE_WINDOW_MS_MAX`].
    #[error("a window is 1 to {RATE_WINDOW_MS_MAX} ms")]
    Window,
}
