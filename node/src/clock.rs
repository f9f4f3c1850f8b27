//! Clocks: this node's own, and how far it is from a quorum's.
//!
//! Clocks prove nothing here; they only bound. A node signs while the clocks of a quorum, its own included,
//! are each within ε of its own (while a change of voters is joint, of either quorum), measured lately, and
//! its wall clock has not stepped against its monotonic one since. Clocks are compared pairwise by a call of
//! its own, never with a block: an idle cluster must not fall silent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chancery_ledger::head::VoterSet;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::interval;

use crate::network::Peers;
use crate::rosters::Rosters;

/// How old a measurement may be when it counts.
const MEASUREMENT_AGE_MAX: Duration = Duration::from_secs(2);

/// How often peers' clocks are compared with this one's.
const PERIOD: Duration = Duration::from_millis(500);

/// How far the wall clock may move against the monotonic one before it counts as a step, in milliseconds.
/// Slewing moves it by 0.5 ms a second at most.
const STEP_MS_MAX: i64 = 20;

/// The seam between node logic and the machine's clocks.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        // Before 1970 the clock is so wrong that no quorum agrees with it; 0 is as wrong.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Why a node does not sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClockError {
    /// Too few clocks were measured lately.
    #[error("clocks of {measured} nodes are known, {quorum} make a quorum")]
    TooFew {
        /// Measured within the last two seconds, this one included.
        measured: usize,
        /// How many are needed.
        quorum: usize,
    },
    /// This clock is too far off.
    #[error("the clock is {offset_ms} ms from those of a quorum, {limit_ms} are allowed")]
    Apart {
        /// The distance of the nearest quorum's farthest, with the measurement's error.
        offset_ms: u64,
        /// The bound.
        limit_ms: u64,
    },
    /// The wall clock was set since the others were measured.
    #[error("the wall clock stepped by {0} ms; it is measured again")]
    Stepped(i64),
}

/// The offset of one peer's clock from this node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    /// The peer's clock less this one's, in milliseconds.
    pub offset_ms: i64,
    /// Half the round trip, in milliseconds, rounded up.
    pub error_ms: u64,
}

#[derive(Clone, Copy)]
struct Measurement {
    offset: Offset,
    taken: Duration,
    /// Wall less monotonic when it was taken.
    base_ms: i64,
}

/// What is known of the peers' clocks.
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    node: u64,
    rosters: watch::Receiver<Arc<Rosters>>,
    limit_ms: u64,
    measured: Mutex<BTreeMap<u64, Measurement>>,
}

impl ClockWatch {
    /// The clock of `node`, held against a quorum of each voter set in force.
    pub fn new(
        clock: Arc<dyn Clock>,
        node: u64,
        rosters: watch::Receiver<Arc<Rosters>>,
        limit_ms: u64,
    ) -> Self {
        Self { clock, node, rosters, limit_ms, measured: Mutex::default() }
    }

    /// The clock itself.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Records that `peer` said `peer_ms` in answer to a call made at wall time `sent_ms`, which took
    /// `round_trip`.
    pub fn record(&self, peer: u64, peer_ms: u64, sent_ms: u64, round_trip: Duration) {
        let trip_ms = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
        let middle = signed(sent_ms).saturating_add(trip_ms / 2);
        let offset = Offset {
            offset_ms: signed(peer_ms).saturating_sub(middle),
            error_ms: trip_ms.unsigned_abs().div_ceil(2),
        };
        let measurement = Measurement { offset, taken: self.clock.monotonic(), base_ms: self.base_ms() };
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, measurement);
    }

    /// The newest measurement of each peer, if it is not too old.
    pub fn offsets(&self) -> BTreeMap<u64, Offset> {
        let now = self.clock.monotonic();
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |m: &&Measurement| now.saturating_sub(m.taken) <= MEASUREMENT_AGE_MAX;
        measured.iter().filter(|(_, m)| fresh(m)).map(|(peer, m)| (*peer, m.offset)).collect()
    }

    /// How long ago each peer last said what its clock is.
    pub fn last_heard(&self) -> BTreeMap<u64, Duration> {
        let now = self.clock.monotonic();
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.iter().map(|(peer, m)| (*peer, now.saturating_sub(m.taken))).collect()
    }

    /// The wall clock, if this node may sign by it.
    pub fn now_to_sign_ms(&self) -> Result<u64, ClockError> {
        self.within(self.limit_ms)
    }

    /// The wall clock, if this node may stamp a block by it: within half of what signing allows.
    pub fn now_to_stamp_ms(&self) -> Result<u64, ClockError> {
        self.within(self.limit_ms / 2)
    }

    /// ε, in milliseconds.
    pub const fn limit_ms(&self) -> u64 {
        self.limit_ms
    }

    fn within(&self, limit_ms: u64) -> Result<u64, ClockError> {
        let rosters = Arc::clone(&self.rosters.borrow());
        for set in rosters.newest().1.sets() {
            self.check_against(set, limit_ms)?;
        }
        Ok(self.clock.wall_ms())
    }

    fn check_against(&self, set: &VoterSet, limit_ms: u64) -> Result<(), ClockError> {
        let (now, base, quorum) = (self.clock.monotonic(), self.base_ms(), set.quorum() as usize);
        let mut offsets = Vec::new();
        {
            let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
            for voter in set.voters() {
                if voter.node == self.node {
                    offsets.push(Offset { offset_ms: 0, error_ms: 0 });
                    continue;
                }
                let fresh = |m: &&Measurement| now.saturating_sub(m.taken) <= MEASUREMENT_AGE_MAX;
                let Some(m) = measured.get(&voter.node).filter(fresh) else { continue };
                let step = base.saturating_sub(m.base_ms);
                if step.abs() > STEP_MS_MAX {
                    return Err(ClockError::Stepped(step));
                }
                offsets.push(m.offset);
            }
        }
        if offsets.len() < quorum {
            return Err(ClockError::TooFew { measured: offsets.len(), quorum });
        }
        // Not the median of those measured: two wrong clocks of five are a majority of three that answered.
        let mut apart: Vec<u64> = offsets
            .iter()
            .map(|offset| offset.offset_ms.unsigned_abs().saturating_add(offset.error_ms))
            .collect();
        apart.sort_unstable();
        match apart.get(quorum.saturating_sub(1)) {
            Some(offset_ms) if *offset_ms > limit_ms => {
                Err(ClockError::Apart { offset_ms: *offset_ms, limit_ms })
            }
            _ => Ok(()),
        }
    }

    fn base_ms(&self) -> i64 {
        let monotonic = i64::try_from(self.clock.monotonic().as_millis()).unwrap_or(i64::MAX);
        signed(self.clock.wall_ms()).saturating_sub(monotonic)
    }
}

/// Compares this node's clock with every peer's, over and over.
pub(crate) async fn compare_clocks(
    peers: Peers,
    clocks: Arc<ClockWatch>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let deadline = tokio::time::Instant::now() + PERIOD;
        let mut asked: FuturesUnordered<_> = peers
            .ids()
            .into_iter()
            .map(|node| {
                let (peers, clocks) = (&peers, &clocks);
                async move {
                    let sent_ms = clocks.clock().wall_ms();
                    (node, sent_ms, peers.clock(node, deadline).await)
                }
            })
            .collect();
        while let Some((node, sent_ms, answer)) = asked.next().await {
            if let Ok(sample) = answer {
                clocks.record(node, sample.reading.clock_ms, sent_ms, sample.round_trip);
            }
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use chancery_ledger::command::{Name, PublicKey};
    use chancery_ledger::head::{Roster, Voter};

    use super::*;

    #[derive(Default)]
    struct Hand {
        wall: AtomicU64,
        monotonic: AtomicU64,
    }

    impl Hand {
        fn pass(&self, ms: u64) {
            self.wall.fetch_add(ms, Ordering::SeqCst);
            self.monotonic.fetch_add(ms, Ordering::SeqCst);
        }
    }

    impl Clock for Hand {
        fn wall_ms(&self) -> u64 {
            self.wall.load(Ordering::SeqCst)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
        }
    }

    fn watch() -> (Arc<Hand>, ClockWatch) {
        watch_of(3)
    }

    fn watch_of(voters: u8) -> (Arc<Hand>, ClockWatch) {
        let hand = Arc::new(Hand::default());
        hand.pass(10_000_000);
        let voter = |node: u8| Voter {
            node: node.into(),
            name: Name::new(format!("node-{node}")).unwrap(),
            key: PublicKey([node; 32]),
        };
        let set = VoterSet::majority((1..=voters).map(voter).collect()).unwrap();
        let rosters = Rosters::founded(Roster::new(vec![set]).unwrap());
        (Arc::clone(&hand), ClockWatch::new(hand, 1, watch::Sender::new(Arc::new(rosters)).subscribe(), 500))
    }

    #[test]
    fn who_does_not_vote_does_not_count() {
        let (hand, watch) = watch();
        watch.record(4, hand.wall_ms(), hand.wall_ms(), Duration::from_millis(1));
        assert_eq!(watch.now_to_sign_ms(), Err(ClockError::TooFew { measured: 1, quorum: 2 }));
    }

    #[test]
    fn a_node_alone_does_not_sign() {
        let (hand, watch) = watch();
        assert_eq!(watch.now_to_sign_ms(), Err(ClockError::TooFew { measured: 1, quorum: 2 }));
        watch.record(2, hand.wall_ms(), hand.wall_ms(), Duration::from_millis(1));
        assert_eq!(watch.now_to_sign_ms(), Ok(hand.wall_ms()));
        hand.pass(2_001);
        assert_eq!(watch.now_to_sign_ms(), Err(ClockError::TooFew { measured: 1, quorum: 2 }));
    }

    #[test]
    fn one_wrong_peer_does_not_silence_a_node_and_its_own_wrong_clock_does() {
        let (hand, watch) = watch();
        let trip = Duration::from_millis(1);
        watch.record(2, hand.wall_ms() + 3_600_000, hand.wall_ms(), trip);
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
        watch.record(3, hand.wall_ms(), hand.wall_ms(), trip);
        assert!(watch.now_to_sign_ms().is_ok());
        watch.record(3, hand.wall_ms() + 3_600_000, hand.wall_ms(), trip);
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
    }

    #[test]
    fn two_clocks_of_five_that_are_wrong_alike_are_no_quorum() {
        let (hand, watch) = watch_of(5);
        let trip = Duration::from_millis(1);
        // This node's clock and node 2's are wrong alike; of the right ones it hears one only.
        watch.record(2, hand.wall_ms(), hand.wall_ms(), trip);
        watch.record(3, hand.wall_ms() + 3_600_000, hand.wall_ms(), trip);
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
        watch.record(4, hand.wall_ms() + 3_600_000, hand.wall_ms(), trip);
        watch.record(5, hand.wall_ms() + 3_600_000, hand.wall_ms(), trip);
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
        watch.record(4, hand.wall_ms(), hand.wall_ms(), trip);
        assert!(watch.now_to_sign_ms().is_ok());
    }

    #[test]
    fn stamping_is_stricter_than_signing_and_the_round_trip_counts() {
        let (hand, watch) = watch();
        watch.record(2, hand.wall_ms() + 300, hand.wall_ms(), Duration::from_millis(1));
        assert!(watch.now_to_sign_ms().is_ok());
        assert!(matches!(watch.now_to_stamp_ms(), Err(ClockError::Apart { .. })));
        watch.record(2, hand.wall_ms() + 600, hand.wall_ms(), Duration::from_millis(1_200));
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
    }

    #[test]
    fn a_step_silences_until_the_next_measurement() {
        let (hand, watch) = watch();
        watch.record(2, hand.wall_ms(), hand.wall_ms(), Duration::from_millis(1));
        hand.wall.fetch_add(3_600_000, Ordering::SeqCst);
        assert_eq!(watch.now_to_sign_ms(), Err(ClockError::Stepped(3_600_000)));
        watch.record(2, hand.wall_ms() - 3_600_000, hand.wall_ms(), Duration::from_millis(1));
        assert!(matches!(watch.now_to_sign_ms(), Err(ClockError::Apart { .. })));
    }
}
