//! Choices that a seed decides: the same seed, the same faults and the same questions.
//!
//! Real processes do not run twice alike; what is chosen for them does.

/// SplitMix64: small, seedable, and good enough to choose with.
#[derive(Clone, Debug)]
pub struct Choices(u64);

impl Choices {
    /// The choices of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Choices of their own for one part of a run, which no other part's number of choices disturbs.
    #[must_use]
    pub fn of_part(seed: u64, part: &str) -> Self {
        let mut choices = Self(seed);
        for byte in part.bytes() {
            choices.0 ^= u64::from(byte);
            choices.0 = choices.next();
        }
        choices
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included; `low` if they are not in order.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low + self.next() % span
    }

    /// True `per_mille` times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.between(0, 999) < per_mille
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let last = u64::try_from(list.len()).ok()?.checked_sub(1)?;
        list.get(usize::try_from(self.between(0, last)).ok()?)
    }

    /// The list in another order.
    #[must_use]
    pub fn shuffled<T>(&mut self, list: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut keyed: Vec<(u64, T)> = list.into_iter().map(|item| (self.next(), item)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence_and_each_part_its_own() {
        let draw = |mut choices: Choices| (0..8).map(|_| choices.next()).collect::<Vec<_>>();
        assert_eq!(draw(Choices::new(7)), draw(Choices::new(7)));
        assert_ne!(draw(Choices::new(7)), draw(Choices::new(8)));
        assert_ne!(draw(Choices::of_part(7, "a")), draw(Choices::of_part(7, "b")));
    }

    #[test]
    fn choices_stay_in_their_bounds() {
        let mut choices = Choices::new(1);
        assert!((0..1_000).all(|_| (3..=5).contains(&choices.between(3, 5))));
        assert_eq!(choices.pick::<u8>(&[]), None);
        let mut shuffled = choices.shuffled(0..10);
        shuffled.sort_unstable();
        assert_eq!(shuffled, (0..10).collect::<Vec<_>>());
    }
}
