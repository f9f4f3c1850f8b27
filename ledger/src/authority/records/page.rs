//! Pages of an agent's grants. One is read and written with every grant, and is up to 32 pairs of hashes: it is encoded
//! and decoded here without the wire type, byte for byte as with it.

use super::{Body, GrantRef, PAGE_GRANTS_MAX, RecordError, W};
use crate::command::{GrantId, MalformedCommand, grant_ref_from_wire, grant_ref_to_wire};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

/// The record's field `page`, of a length.
const PAGE: [u8; 2] = [0x9A, 0x01];

/// A field `grants` of 68 bytes, whose first field is `grant`, of 32 bytes.
const GRANT: [u8; 4] = [0x0A, 68, 0x0A, 32];

/// The second field, `root`, of 32 bytes.
const ROOT: [u8; 2] = [0x12, 32];

/// What one grant takes: both hashes, and the six bytes before them.
const GRANT_SIZE_BYTES: usize = 70;

impl Body for Vec<GrantRef> {
    const HAS_SHORT: bool = true;

    fn to_wire(&self) -> W {
        W::Page(wire::GrantPageRecord { grants: self.iter().copied().map(grant_ref_to_wire).collect() })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Page(w) = body else { return Err(RecordError::OtherRecord) };
        if w.grants.len() > PAGE_GRANTS_MAX {
            return Err(MalformedCommand::OutOfBounds("grants of a page").into());
        }
        Ok(w.grants.iter().map(grant_ref_from_wire).collect::<Result<_, _>>()?)
    }

    fn encode_short(&self, start: Vec<u8>) -> Option<Vec<u8>> {
        let mut record = start;
        let size_bytes = self.len().checked_mul(GRANT_SIZE_BYTES)?;
        record.reserve_exact(size_bytes.checked_add(4)?);
        record.extend(PAGE);
        record.extend(length(size_bytes)?);
        for GrantRef { grant, root } in self {
            record.extend(GRANT);
            record.extend(grant.0.0);
            record.extend(ROOT);
            record.extend(root.0.0);
        }
        Some(record)
    }

    fn decode_short(start: &[u8], value: &[u8]) -> Option<Self> {
        let rest = value.strip_prefix(start)?.strip_prefix(&PAGE)?;
        // One byte of length up to one grant, two for more.
        let size_bytes = rest.len().checked_sub(if rest.len() <= 1 + GRANT_SIZE_BYTES { 1 } else { 2 })?;
        let mut said = length(size_bytes)?;
        let (grants, []) = said.try_fold(rest, |rest, byte| rest.strip_prefix(&[byte]))?.as_chunks() else {
            return None;
        };
        if grants.len() > PAGE_GRANTS_MAX {
            return None;
        }
        grants.iter().map(grant_ref).collect()
    }
}

/// A length below 2^14, as protobuf has it.
fn length(bytes: usize) -> Option<impl Iterator<Item = u8>> {
    let (low, high) =
        (u8::try_from(bytes & 0x7F).ok()?, u8::try_from(bytes >> 7).ok().filter(|high| *high < 0x80)?);
    Some(if high == 0 { [Some(low), None] } else { [Some(low | 0x80), Some(high)] }.into_iter().flatten())
}

fn grant_ref(bytes: &[u8; GRANT_SIZE_BYTES]) -> Option<GrantRef> {
    let (grant, rest) = bytes.strip_prefix(&GRANT)?.split_first_chunk()?;
    let root = Hash::from_slice(rest.strip_prefix(&ROOT)?)?;
    Some(GrantRef { grant: GrantId(Hash(*grant)), root: GrantId(root) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use prost::Message;

    use super::super::{Place, decode, encode, start};
    use super::*;
    use crate::command::Name;

    fn page(grants: u8) -> Vec<GrantRef> {
        let id = |number: u8, of: &str| GrantId(Hash::of(&[&[number], of.as_bytes()]));
        (0..grants)
            .map(|number| GrantRef { grant: id(number, "grant"), root: id(number / 3, "root") })
            .collect()
    }

    fn place() -> Place {
        Place::page(&Name::new("team/a").unwrap(), 3, 7)
    }

    /// By the wire type alone.
    fn long(body: &Vec<GrantRef>) -> Vec<u8> {
        let Place { kind, anchor, id } = place();
        wire::Record { kind: kind.into(), anchor, id, body: Some(body.to_wire()) }.encode_to_vec()
    }

    #[test]
    fn the_short_way_leads_to_the_same() {
        for grants in 0..=32 {
            let page = page(grants);
            let value = encode(&place(), &page);
            assert_eq!(*value, *long(&page), "{grants} grants");
            assert_eq!(Vec::decode_short(&start(&place()), &value).as_ref(), Some(&page), "{grants} grants");
            assert_eq!(decode::<Vec<GrantRef>>(&place(), &value), Ok(page));
        }
    }

    #[test]
    fn what_is_not_canonical_is_not_taken_for_it() {
        let too_many = long(&page(33));
        assert_eq!(Vec::decode_short(&start(&place()), &too_many), None);
        decode::<Vec<GrantRef>>(&place(), &too_many).unwrap_err();
        for grants in [0, 1, 2, 32] {
            let value = long(&page(grants));
            for length in 0..value.len() {
                assert_eq!(Vec::decode_short(&start(&place()), &value[..length]), None);
                decode::<Vec<GrantRef>>(&place(), &value[..length]).unwrap_err();
            }
            decode::<Vec<GrantRef>>(&place(), &[&value[..], &[0]].concat()).unwrap_err();
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] ^= 0x20;
                // Another grant, or what the wire type says too.
                if let Some(short) = Vec::<GrantRef>::decode_short(&start(&place()), &changed) {
                    assert_eq!(long(&short), changed);
                }
            }
        }
    }
}
