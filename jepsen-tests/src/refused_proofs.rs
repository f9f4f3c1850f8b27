//! Proofs that the SDK did not believe. Whatever happens to honest nodes, there is none.
//!
//! The SDK goes on to the next node and says so in its log alone; a run must not miss it.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Kept at most; one is too many.
const KEPT_MAX: usize = 16;

static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Listens to what the SDK warns of.
pub struct Listener;

struct Words(String);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !metadata.target().starts_with("chancery_client") {
            return;
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(words.0);
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

/// What was kept since this was last asked for.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}
