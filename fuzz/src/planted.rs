//! Decoders with a bug, for `deploy/fuzz --planted`: each must be found, or nothing that is said here means anything.
//!
//! All are copies of `decode_entry_bundle` with one thing left out.

use chancery_ledger::log::encode_entry_bundle;

use crate::decoders::Decoder;

/// Decoders by name.
pub(crate) const PLANTED: &[(&str, Decoder)] =
    &[("planted_length", length), ("planted_memory", memory), ("planted_trailing", trailing)];

/// The length of an entry is not held against what is there.
fn length(bytes: &[u8]) {
    let Some((width, mut bytes)) = width_of(bytes) else { return };
    for _ in 0..width {
        let Some((length, rest)) = bytes.split_first_chunk() else { return };
        bytes = &rest[usize::from(u16::from_be_bytes(*length))..];
    }
}

/// Room is made for as many entries as are announced, up to four thousand million.
fn memory(bytes: &[u8]) {
    let Some((count, _)) = bytes.split_first_chunk() else { return };
    let entries = vec![u8::MAX; u32::from_be_bytes(*count) as usize];
    std::hint::black_box(entries);
}

/// What comes after the last entry is not looked at: two spellings of one bundle.
fn trailing(bundle: &[u8]) {
    let Some((width, bundle)) = width_of(bundle) else { return };
    let (mut bytes, mut entries) = (bundle, Vec::new());
    for _ in 0..width {
        let Some((length, rest)) = bytes.split_first_chunk() else { return };
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            return;
        };
        entries.push(entry);
        bytes = rest;
    }
    assert_eq!(encode_entry_bundle(&entries).ok().as_deref(), Some(bundle));
}

fn width_of(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (width, bytes) = bytes.split_first_chunk()?;
    let width = u16::from_be_bytes(*width);
    (1..=256).contains(&width).then_some((width, bytes))
}
