//! Keys of the state tree, and how two of them compare bit by bit.

use std::cmp::Ordering;
use std::fmt;

use crate::hash::to_hex;

/// A key of the state tree (32 bytes). Displays as lower-case hex; orders as its bits do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The bit at `index`; bit 0 is the highest of byte 0.
    pub fn bit(&self, index: u8) -> bool {
        // INVARIANT: index / 8 is at most 31, so there is such a byte.
        self.0.get(usize::from(index / 8)).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }

    /// The first bit in which two keys differ; `None` if they are equal.
    pub(super) fn first_difference(&self, other: &Self) -> Option<u8> {
        let (mine, _) = self.0.as_chunks();
        let (theirs, _) = other.0.as_chunks();
        (0..4_u8).zip(mine.iter().zip(theirs)).find_map(|(index, (mine, theirs))| {
            let difference = u64::from_be_bytes(*mine) ^ u64::from_be_bytes(*theirs);
            if difference == 0 {
                return None;
            }
            // INVARIANT: eight bytes that are not all 0 have at most 63 leading zeros.
            u8::try_from(difference.leading_zeros()).ok().map(|zeros| index * 64 + zeros)
        })
    }

    /// The first and the last of the keys that share its first `bits` bits.
    pub(super) fn all_with_prefix(&self, bits: u16) -> (Self, Self) {
        let (mut first, mut last) = (*self, *self);
        for (index, (low, high)) in (0_u16..).zip(first.0.iter_mut().zip(&mut last.0)) {
            let own = bits.saturating_sub(index * 8).min(8);
            let rest = 0xFF_u8.checked_shr(own.into()).unwrap_or(0);
            *low &= !rest;
            *high |= rest;
        }
        (first, last)
    }

    /// Compares the first `bits` bits only.
    pub(super) fn cmp_prefix(&self, other: &Self, bits: u16) -> Ordering {
        match self.first_difference(other) {
            Some(bit) if u16::from(bit) < bits => self.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_from_the_highest_of_byte_0() {
        let mut first = [0; 32];
        first[0] = 0x80;
        let mut last = [0; 32];
        last[31] = 0x01;
        for index in 0..=255 {
            assert_eq!(Key(first).bit(index), index == 0);
            assert_eq!(Key(last).bit(index), index == 255);
        }
        assert_eq!(Key(first).first_difference(&Key([0; 32])), Some(0));
        assert_eq!(Key(last).first_difference(&Key([0; 32])), Some(255));
        assert_eq!(Key(last).first_difference(&Key(last)), None);
    }

    #[test]
    fn a_prefix_compares_its_own_bits_only() {
        let mut low = [0; 32];
        low[1] = 0x40;
        let (zero, low) = (Key([0; 32]), Key(low));
        assert_eq!(zero.cmp_prefix(&low, 9), Ordering::Equal);
        assert_eq!(zero.cmp_prefix(&low, 10), Ordering::Less);
        assert_eq!(low.cmp_prefix(&zero, 256), Ordering::Greater);
    }
}
