//! Clocks that tests move.

use std::sync::Mutex;
use std::time::Duration;

use chancery_client::{Clock, SystemClock};

/// The machine's clocks, each moved.
#[derive(Debug, Default)]
pub struct TestClock {
    moved: Mutex<(Duration, i64)>,
}

impl TestClock {
    /// Moves both on, as time does, or as a suspend does when the wall clock is kept.
    pub fn pass(&self, time: Duration) {
        let mut moved = self.moved.lock().unwrap();
        moved.0 += time;
        moved.1 += i64::try_from(time.as_millis()).unwrap();
    }

    /// A suspend on a machine whose wall clock stood still, or was set back meanwhile.
    pub fn suspend_without_wall(&self, time: Duration) {
        self.moved.lock().unwrap().0 += time;
    }

    /// Sets the wall clock alone.
    pub fn step_wall_ms(&self, by_ms: i64) {
        self.moved.lock().unwrap().1 += by_ms;
    }
}

impl Clock for TestClock {
    fn since_boot(&self) -> Duration {
        SystemClock.since_boot() + self.moved.lock().unwrap().0
    }

    fn wall_ms(&self) -> u64 {
        SystemClock.wall_ms().saturating_add_signed(self.moved.lock().unwrap().1)
    }
}

/// Clocks that stand still unless they are moved: no test with them depends on how fast the machine is.
#[derive(Debug)]
pub struct HandClock {
    /// Since boot, and the wall clock in milliseconds since 1970.
    time: Mutex<(Duration, u64)>,
}

impl HandClock {
    pub fn new(wall_ms: u64) -> Self {
        Self { time: Mutex::new((Duration::from_secs(1_000), wall_ms)) }
    }

    /// Moves both on, as time does.
    pub fn pass(&self, time: Duration) {
        let mut now = self.time.lock().unwrap();
        now.0 += time;
        now.1 += u64::try_from(time.as_millis()).unwrap();
    }

    /// Sets the wall clock alone.
    pub fn step_wall_ms(&self, by_ms: i64) {
        let mut now = self.time.lock().unwrap();
        now.1 = now.1.saturating_add_signed(by_ms);
    }
}

impl Clock for HandClock {
    fn since_boot(&self) -> Duration {
        self.time.lock().unwrap().0
    }

    fn wall_ms(&self) -> u64 {
        self.time.lock().unwrap().1
    }
}
