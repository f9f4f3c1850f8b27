//! The two clocks that a permit's deadline is measured on, behind a seam so that tests can move them.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

/// What the client knows of time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Time since some fixed point, never set back, and running on while the machine is suspended.
    fn since_boot(&self) -> Duration;

    /// The wall clock: milliseconds since 1970.
    fn wall_ms(&self) -> u64;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Counts suspend: on Linux only `CLOCK_BOOTTIME` does, on Apple's systems `CLOCK_MONOTONIC`. Other systems
/// have no clock that is known to, so that the crate does not build there rather than outlive its permits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const COUNTS_SUSPEND: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(target_vendor = "apple")]
const COUNTS_SUSPEND: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Clock for SystemClock {
    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(COUNTS_SUSPEND);
        // INVARIANT: the kernel gives no time before boot, and less than 10^9 nanoseconds.
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(u64::MAX),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }

    fn wall_ms(&self) -> u64 {
        // A clock before 1970 counts as the end of time: every deadline on it has passed.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(u64::MAX, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_both_clocks() {
        let clock = SystemClock;
        let before = clock.since_boot();
        assert!(clock.since_boot() >= before);
        assert!(clock.wall_ms() > 1_700_000_000_000 && clock.wall_ms() < u64::MAX);
    }
}
