//! For fault tests only: clocks that are as wrong as a file says, while the node runs.
//!
//! `CHANCERY_CLOCK_OFFSET_FILE` names it: what is added to the wall clock, in milliseconds, then how much faster
//! both clocks run, in millionths. No file is no error. It is read every 10 ms; when it changes, the wall clock is set:
//! what it had drifted is gone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

const VARIABLE: &str = "CHANCERY_CLOCK_OFFSET_FILE";
const FOLLOW_EVERY: Duration = Duration::from_millis(10);

/// The machine's clocks, with an error.
#[derive(Clone)]
pub(crate) struct InjectedClock {
    started: Instant,
    error: Arc<Mutex<Error>>,
}

#[derive(Clone, Copy)]
struct Error {
    offset_ms: i64,
    drift_ppm: i64,
    /// What earlier drifts have added, in microseconds. The wall clock was set since, so that only the monotonic one
    /// has it still.
    drifted_before_us: i64,
    since: Instant,
}

impl InjectedClock {
    /// The clock of the file that the environment names, followed for as long as the process runs.
    pub(crate) fn from_environment() -> Option<Self> {
        let path = PathBuf::from(std::env::var_os(VARIABLE)?);
        let started = Instant::now();
        let error = Error { offset_ms: 0, drift_ppm: 0, drifted_before_us: 0, since: started };
        let clock = Self { started, error: Arc::new(Mutex::new(error)) };
        clock.follow(&path);
        let following = clock.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(FOLLOW_EVERY);
                following.follow(&path);
            }
        });
        Some(clock)
    }

    fn follow(&self, path: &Path) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0));
        let (offset_ms, drift_ppm) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if (error.offset_ms, error.drift_ppm) == (offset_ms, drift_ppm) {
            return;
        }
        tracing::warn!(offset_ms, drift_ppm, "the clock is made wrong");
        let drifted_before_us = error.drifted_before_us.saturating_add(error.drifted_us());
        *error = Error { offset_ms, drift_ppm, drifted_before_us, since: Instant::now() };
    }

    fn error(&self) -> Error {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Error {
    /// What this drift has added, in microseconds.
    fn drifted_us(&self) -> i64 {
        let passed_us = i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        passed_us.saturating_mul(self.drift_ppm) / 1_000_000
    }
}

impl Clock for InjectedClock {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let true_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let error = self.error();
        let wall_ms = true_ms.saturating_add(error.offset_ms).saturating_add(error.drifted_us() / 1_000);
        u64::try_from(wall_ms).unwrap_or(0)
    }

    /// Drifts with the wall clock, as when the oscillator is wrong, and never goes back: no drift is a whole.
    fn monotonic(&self) -> Duration {
        let true_us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let error = self.error();
        let us = true_us.saturating_add(error.drifted_before_us).saturating_add(error.drifted_us());
        Duration::from_micros(u64::try_from(us).unwrap_or(0))
    }
}
