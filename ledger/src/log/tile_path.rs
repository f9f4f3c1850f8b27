//! The paths of c2sp.org/tlog-tiles, written and strictly read.

use std::fmt;

use super::TileIndex;
use super::tiles::TILE_WIDTH;

/// Something served under `tile/`: the hashes of a tile, or the entries below a level-0 tile
/// (c2sp.org/tlog-tiles, "Merkle Tree" and "Log entries").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePath {
    /// The level of a tile of hashes; `None` for a bundle of entries.
    level: Option<u8>,
    index: u64,
    /// INVARIANT: 1 to 256.
    width: u16,
}

impl TilePath {
    /// The path of a tile of hashes; `None` unless `width` is 1 to 256 and the level at most 63.
    pub fn hashes(tile: TileIndex, width: u16) -> Option<Self> {
        (tile.level <= LEVEL_MAX).then_some(())?;
        Self::checked(Some(tile.level), tile.index, width)
    }

    /// The path of a bundle of entries, as many as `width`; `None` unless that is 1 to 256.
    pub fn entries(index: u64, width: u16) -> Option<Self> {
        Self::checked(None, index, width)
    }

    /// The tile of hashes that is meant; `None` for a bundle of entries.
    pub fn tile(self) -> Option<TileIndex> {
        self.level.map(|level| TileIndex { level, index: self.index })
    }

    /// The index within the level; a bundle counts as level 0.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes or entries: 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Reads a path as this type displays it, with no other spelling of the same: `None` for anything else.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            "entries" => None,
            digits => Some(u8::try_from(parse_decimal(digits)?).ok().filter(|level| *level <= LEVEL_MAX)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = u16::try_from(parse_decimal(width)?).ok()?;
                (index, Some(width).filter(|width| *width < TILE_WIDTH)?)
            }
        };
        Self::checked(level, parse_index(index)?, width)
    }

    fn checked(level: Option<u8>, index: u64, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH).contains(&width).then_some(Self { level, index, width })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/")?,
            None => f.write_str("tile/entries/")?,
        }
        write_index(self.index, f)?;
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// c2sp.org/tlog-tiles: levels are 0 to 63.
const LEVEL_MAX: u8 = 63;

/// Zero-padded 3-digit path elements, all but the last beginning with an `x`: 1234067 is `x001/x234/067`.
fn write_index(index: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut divisor = 1;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)
}

fn parse_index(text: &str) -> Option<u64> {
    let (leading, last) = text.rsplit_once('/').map_or((None, text), |(leading, last)| (Some(leading), last));
    let mut index = 0;
    for (position, element) in leading.into_iter().flat_map(|leading| leading.split('/')).enumerate() {
        let digits = three_digits(element.strip_prefix('x')?)?;
        // A leading x000 would be a second spelling.
        if position == 0 && digits == 0 {
            return None;
        }
        index = shift_in(index, digits)?;
    }
    shift_in(index, three_digits(last)?)
}

fn shift_in(index: u64, digits: u64) -> Option<u64> {
    index.checked_mul(1000)?.checked_add(digits)
}

fn three_digits(text: &str) -> Option<u64> {
    let all_digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// An ASCII decimal without leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}
