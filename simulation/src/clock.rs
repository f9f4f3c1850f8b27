//! Clocks that jump and drift.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_node::clock::Clock;

use crate::trace;

/// The wall clock when a simulation starts, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// One node's clock. It goes on while the node is down.
#[derive(Clone, Default)]
pub(crate) struct SimulatedClock {
    error: Arc<Mutex<Error>>,
}

/// How wrong it is.
#[derive(Clone, Copy, Default)]
struct Error {
    /// Stepped by so much, in milliseconds.
    step_ms: i64,
    /// Gains so many millionths since `since`.
    drift_ppm: i64,
    since: Duration,
    /// Gained before `since`, in microseconds.
    gained_us: i64,
}

impl SimulatedClock {
    /// Sets the wall clock `step_ms` ahead.
    pub(crate) fn step(&self, step_ms: i64) {
        self.change(|error| error.step_ms += step_ms);
    }

    /// Both clocks gain `drift_ppm` millionths from now on.
    pub(crate) fn drift(&self, drift_ppm: i64) {
        let now = trace::now();
        self.change(|error| {
            error.gained_us = error.gained_us(now);
            error.since = now;
            error.drift_ppm = drift_ppm;
        });
    }

    /// Right again; what the monotonic clock gained stays.
    pub(crate) fn heal(&self) {
        self.drift(0);
        self.change(|error| error.step_ms = -error.gained_us / 1000);
    }

    fn change(&self, change: impl FnOnce(&mut Error)) {
        change(&mut self.error.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self) -> (Duration, i64) {
        let (now, error) = (trace::now(), *self.error.lock().unwrap_or_else(PoisonError::into_inner));
        let gained_us = error.gained_us(now);
        let since_start = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).saturating_add(gained_us);
        (Duration::from_micros(u64::try_from(since_start).unwrap_or(0)), error.step_ms)
    }
}

impl Error {
    fn gained_us(&self, now: Duration) -> i64 {
        let since_us = i64::try_from(now.saturating_sub(self.since).as_micros()).unwrap_or(i64::MAX);
        self.gained_us + since_us.saturating_mul(self.drift_ppm) / 1_000_000
    }
}

impl Clock for SimulatedClock {
    fn wall_ms(&self) -> u64 {
        let (since_start, step_ms) = self.read();
        let since_ms = u64::try_from(since_start.as_millis()).unwrap_or(0);
        (START_MS + since_ms).saturating_add_signed(step_ms)
    }

    fn monotonic(&self) -> Duration {
        self.read().0
    }
}
