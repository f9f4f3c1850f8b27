//! Seeded pseudo-random numbers (xorshift64), so that a failing run is named by its seed; and when a search ends.

/// A generator. The same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of run `run` of `seed`.
    pub fn new(seed: u64, run: u64) -> Self {
        // A golden-ratio step apart, so that neighbouring runs share nothing; xorshift must not start at 0.
        let mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(run);
        let mut random = Self(mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // INVARIANT: 32 bits fit a usize on every platform that this is built for.
        let bits = usize::try_from(self.next() >> 32).unwrap_or(0);
        bits % bound
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Most steps, but for the last run's.
    pub steps_max: u64,
    /// Whether the first counterexample is enough.
    pub first_only: bool,
}

impl Budget {
    /// Whether no further run is to begin.
    pub const fn is_spent(self, steps: u64, counterexamples: u64) -> bool {
        steps >= self.steps_max || (self.first_only && counterexamples > 0)
    }
}
