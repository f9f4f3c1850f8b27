//! What the clients do: five ways to use a ledger, each with a few things that many clients want at once.

mod decisions;
mod epochs;
mod list;
mod register;
mod trees;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;

use crate::client::{Client, name};
use chancery_client::chancery_ledger::command::Name;
use decisions::Decisions;
use epochs::Epochs;
use list::List;
use register::Registers;
use trees::Trees;

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
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Register, Self::List, Self::Trees, Self::Epochs, Self::Decisions];

    /// Its name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::List => "list",
            Self::Trees => "trees",
            Self::Epochs => "epochs",
            Self::Decisions => "decisions",
        }
    }

    /// Whether it takes away what it gave, so that something is denied.
    pub const fn is_denied(self) -> bool {
        !matches!(self, Self::List)
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
