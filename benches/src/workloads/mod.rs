//! What is done over and over, on Chancery and on etcd.

pub(crate) mod batching;
pub(crate) mod chancery;
pub(crate) mod etcd;
pub(crate) mod shapes;

use std::sync::atomic::{AtomicU64, Ordering};

/// Random enough to spread load: a counter, scattered (splitmix64). No system call, and the same in each run.
#[derive(Debug, Default)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or(0)
    }
}

/// Out of this many operations of the mix, one writes.
pub(crate) const MIX_WRITES_ONE_IN: usize = 20;
