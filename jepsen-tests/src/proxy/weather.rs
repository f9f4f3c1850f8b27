//! What a network does to bytes on their way.

use std::time::Duration;

/// The state of one direction of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weather {
    /// How long every chunk is on its way.
    pub delay: Duration,
    /// Up to so much longer, by chance.
    pub jitter: Duration,
    /// Chunks of a thousand that are lost and sent again: on TCP, a stall.
    pub stalls_per_mille: u64,
    /// How long a stall is.
    pub stall: Duration,
    /// What the link carries; no limit if none.
    pub bytes_per_second: Option<u64>,
    /// Whether anything passes at all.
    pub passage: Passage,
}

/// Whether bytes pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Passage {
    /// They do.
    #[default]
    Open,
    /// They wait, and pass when the link is healed: nobody is told.
    Blackhole,
    /// Connections are reset, new ones too.
    Reset,
}

impl Weather {
    /// Nothing passes.
    pub fn cut(passage: Passage) -> Self {
        Self { passage, ..Self::default() }
    }

    /// Both at once: the worse of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let bytes_per_second = match (self.bytes_per_second, other.bytes_per_second) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            delay: self.delay.max(other.delay),
            jitter: self.jitter.max(other.jitter),
            stalls_per_mille: self.stalls_per_mille.max(other.stalls_per_mille),
            stall: self.stall.max(other.stall),
            bytes_per_second,
            passage: self.passage.max(other.passage),
        }
    }
}
