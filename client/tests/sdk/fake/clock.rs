//! Clocks that stand still unless a test moves them: no result depends on how fast the machine is.

use std::sync::Mutex;
use std::time::Duration;

use chancery_client::Clock;

/// What all clocks of the fake world show at first, in milliseconds since 1970. Those of nodes stay there.
pub const NOW_MS: u64 = 1_800_000_000_000;

/// Since boot, and the wall clock: a client's.
#[derive(Debug)]
pub struct TestClock(Mutex<(Duration, u64)>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Mutex::new((Duration::from_secs(3_600), NOW_MS)))
    }
}

impl TestClock {
    /// Moves both on, as time does, or as a suspend does when the wall clock is kept.
    pub fn pass(&self, time: Duration) {
        self.suspend_without_wall(time);
        self.step_wall_ms(i64::try_from(time.as_millis()).unwrap());
    }

    /// A suspend on a machine whose wall clock stood still, or was set back meanwhile.
    pub fn suspend_without_wall(&self, time: Duration) {
        self.0.lock().unwrap().0 += time;
    }

    /// Sets the wall clock alone.
    pub fn step_wall_ms(&self, by_ms: i64) {
        let mut shown = self.0.lock().unwrap();
        shown.1 = shown.1.checked_add_signed(by_ms).unwrap();
    }
}

impl Clock for TestClock {
    fn since_boot(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn wall_ms(&self) -> u64 {
        self.0.lock().unwrap().1
    }
}
