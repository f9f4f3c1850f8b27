//! Bundles of log entries (c2sp.org/tlog-tiles, "Log entries").

use thiserror::Error;

/// The greatest length of an entry: what its 16-bit length prefix can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Each entry after its length as a big-endian 16-bit integer, 1 to 256 entries.
pub fn encode_entry_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        return Err(BundleError::Count);
    }
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle that must hold `width` of them (1 to 256) and nothing after.
pub fn decode_entry_bundle(mut bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    if width == 0 || usize::from(width) > ENTRIES_MAX {
        return Err(BundleError::Count);
    }
    let mut entries = Vec::with_capacity(usize::from(width));
    for _ in 0..width {
        let (length, rest) = bytes.split_first_chunk().ok_or(BundleError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(BundleError::Truncated)?;
        entries.push(entry);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(entries) } else { Err(BundleError::TrailingBytes) }
}

/// One entry for each hash of a full level-0 tile.
const ENTRIES_MAX: usize = 256;

/// Why entries and bytes are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// A bundle has 1 to 256 entries.
    #[error("a bundle has 1 to 256 entries")]
    Count,
    /// An entry is longer than [`ENTRY_BYTES_MAX`].
    #[error("an entry is longer than its length prefix can say")]
    EntryTooLong,
    /// The bytes end before the last entry does.
    #[error("the bundle ends early")]
    Truncated,
    /// Bytes follow the last entry.
    #[error("bytes follow the last entry")]
    TrailingBytes,
}
