//! What is known here of each witness, for an operator who asks. It proves nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chancery_proto::v1::api;
use tokio::time::Instant;

/// Characters of a failure that are kept.
const ERROR_CHARS_MAX: usize = 240;

/// One entry for each witness, as many as are configured, by their numbers.
#[derive(Debug)]
pub struct WitnessBook(Mutex<Vec<Known>>);

#[derive(Clone, Debug)]
struct Known {
    name: String,
    /// Leaves of the newest checkpoint that it is known to have cosigned, this node's or another's.
    size: Option<u64>,
    /// When it last cosigned for this node.
    cosigned: Option<Instant>,
    /// Why it did not the last time; empty if it did.
    error: String,
}

impl WitnessBook {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let unknown = |name| Known { name, size: None, cosigned: None, error: String::new() };
        Self(Mutex::new(names.map(unknown).collect()))
    }

    /// It has cosigned so many leaves.
    pub(super) fn cosigned(&self, witness: usize, size: u64) {
        if let Some(known) = self.lock().get_mut(witness) {
            (known.size, known.cosigned) = (Some(size), Some(Instant::now()));
            known.error.clear();
        }
    }

    /// It says that it has cosigned so many leaves already, of another node.
    pub(super) fn overtaken(&self, witness: usize, size: u64) {
        if let Some(known) = self.lock().get_mut(witness) {
            known.size = Some(size);
            known.error.clear();
        }
    }

    /// It did not cosign what it was asked to.
    pub(super) fn failed(&self, witness: usize, why: &str) {
        if let Some(known) = self.lock().get_mut(witness) {
            known.error = why.chars().take(ERROR_CHARS_MAX).collect();
        }
    }

    /// What is known now.
    pub fn statuses(&self) -> Vec<api::WitnessStatus> {
        let status = |known: &Known| api::WitnessStatus {
            name: known.name.clone(),
            size: known.size,
            cosigned_ms: known.cosigned.and_then(|at| u64::try_from(at.elapsed().as_millis()).ok()),
            error: known.error.clone(),
        };
        self.lock().iter().map(status).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        // INVARIANT: nothing panics while it is held, and each entry is valid by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
