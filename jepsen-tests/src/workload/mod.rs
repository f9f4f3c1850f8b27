//! What the clients do: eight ways to use a ledger, each with a few things that many clients want at once.

mod bounds;
mod decisions;
mod epochs;
mod halts;
mod list;
mod register;
mod trees;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chancery_client::SigningKey;
use clap::ValueEnum;

use crate::client::{Client, name};
use crate::history::Outcome;
use bounds::Bounds;
use chancery_client::chancery_ledger::command::Name;
use decisions::Decisions;
use epochs::Epochs;
use halts::Halts;
use list::List;
use register::Registers;
use trees::Trees;
use watch::Watched;

/// Which workload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Kind {
    /// Grant, revoke and check on a few rights that everybody wants.
    Register,
    /// Agents are registered, one after the other: the log is the list.
    List,
    /// Delegation trees, cut at the top while their leaves are checked.
    Trees,
    /// All that an agent was granted is revoked at once, and granted again.
    Epochs,
    /// Decisions are recorded, and what became of them.
    Decisions,
    /// A few units of bounds that everybody wants are spent on record, and given back.
    Bounds,
    /// Halts of every scope come and go.
    Halts,
    /// Grants end, and those who follow the log are told.
    Watch,
}

impl Kind {
    /// All of them, in the order in which rounds take them.
    pub const ALL: [Self; 8] = [
        Self::Decisions,
        Self::Bounds,
        Self::Halts,
        Self::Watch,
        Self::Register,
        Self::List,
        Self::Trees,
        Self::Epochs,
    ];

    /// Its name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::List => "list",
            Self::Trees => "trees",
            Self::Epochs => "epochs",
            Self::Decisions => "decisions",
            Self::Bounds => "bounds",
            Self::Halts => "halts",
            Self::Watch => "watch",
        }
    }

    /// Whether something is asked of what it took away, so that it is denied.
    pub const fn is_denied(self) -> bool {
        !matches!(self, Self::List | Self::Watch)
    }
}

/// A workload, with what its clients share.
pub enum Workload {
    /// See [`Kind::Register`].
    Register(Registers),
    /// See [`Kind::List`].
    List(List),
    /// See [`Kind::Trees`].
    Trees(Trees),
    /// See [`Kind::Epochs`].
    Epochs(Epochs),
    /// See [`Kind::Decisions`].
    Decisions(Decisions),
    /// See [`Kind::Bounds`].
    Bounds(Bounds),
    /// See [`Kind::Halts`].
    Halts(Halts),
    /// See [`Kind::Watch`].
    Watch(Watched),
}

impl Workload {
    /// A workload that nobody has begun.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Register => Self::Register(Registers::default()),
            Kind::List => Self::List(List::default()),
            Kind::Trees => Self::Trees(Trees::default()),
            Kind::Epochs => Self::Epochs(Epochs::default()),
            Kind::Decisions => Self::Decisions(Decisions::default()),
            Kind::Bounds => Self::Bounds(Bounds::default()),
            Kind::Halts => Self::Halts(Halts::default()),
            Kind::Watch => Self::Watch(Watched::default()),
        }
    }

    /// Something that a client might do next, chosen by it.
    pub async fn step(&self, client: &mut Client) {
        match self {
            Self::Register(registers) => registers.step(client).await,
            Self::List(list) => list.step(client).await,
            Self::Trees(trees) => trees.step(client).await,
            Self::Epochs(epochs) => epochs.step(client).await,
            Self::Decisions(decisions) => decisions.step(client).await,
            Self::Bounds(bounds) => bounds.step(client).await,
            Self::Halts(halts) => halts.step(client).await,
            Self::Watch(watched) => watched.step(client).await,
        }
    }

    /// Checks all that is still in use, once the faults are over.
    pub async fn last_checks(&self, client: &mut Client) {
        match self {
            Self::Register(registers) => registers.last_checks(client).await,
            Self::List(list) => list.last_checks(client).await,
            Self::Trees(trees) => trees.last_checks(client).await,
            Self::Epochs(epochs) => epochs.last_checks(client).await,
            Self::Decisions(decisions) => decisions.last_checks(client).await,
            Self::Bounds(bounds) => bounds.last_checks(client).await,
            Self::Halts(halts) => halts.last_checks(client).await,
            // Its followers come to the end of the log by themselves.
            Self::Watch(_) => {}
        }
    }
}

/// A few things that all clients of a workload work on.
struct Pool<T> {
    items: Mutex<Vec<T>>,
    made: AtomicU64,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { items: Mutex::default(), made: AtomicU64::new(0) }
    }
}

impl<T: Clone> Pool<T> {
    /// A name that no other thing of this ledger has.
    fn new_name(&self, workload: &str) -> Name {
        name(&format!("{workload}/{}", self.made.fetch_add(1, Ordering::Relaxed)))
    }

    fn len(&self) -> usize {
        self.with(|items| items.len())
    }

    fn add(&self, item: T) {
        self.with(|items| items.push(item));
    }

    fn all(&self) -> Vec<T> {
        self.with(|items| items.clone())
    }

    /// One of them, as it is now.
    fn pick(&self, client: &mut Client) -> Option<T> {
        self.with(|items| client.choices.pick(items).cloned())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Vec<T>) -> R) -> R {
        // INVARIANT: nothing panics while it is held.
        act(&mut self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn key(client: &mut Client) -> SigningKey {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&client.choices.next().to_be_bytes());
    }
    SigningKey::from_bytes(&seed)
}

const fn acknowledged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Acknowledged { .. })
}
