//! The bytes of a [`Payload`], in the log and between nodes: one kind byte, then what it carries.
//!
//! | kind | then |
//! |---|---|
//! | 0 blank | nothing |
//! | 1 block | the block |
//! | 2 membership | the membership |
//! | 3 roster block | length of the membership (u32 big-endian) ‖ the membership ‖ the block |
//!
//! A membership is rare and small, so it is JSON; a decoded one must encode to the same bytes again,
//! so there is one encoding of each payload and nothing in it is skipped.

use crate::raft::types::{EncodedBlock, Membership, Payload};

const BLANK: u8 = 0;
const BLOCK: u8 = 1;
const MEMBERSHIP: u8 = 2;
const ROSTER_BLOCK: u8 = 3;

/// These bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Shorter than its kind or its length says.
    #[error("payload is cut off")]
    CutOff,
    /// An unknown kind.
    #[error("payload is of unknown kind {0}")]
    Kind(u8),
    /// A blank payload with bytes after it.
    #[error("payload has trailing bytes")]
    Trailing,
    /// Not the encoding of a membership.
    #[error("membership is not in its one encoding")]
    Membership,
}

/// Appends the encoding of `payload` to `out`.
pub fn encode(payload: &Payload, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    match (payload.block(), payload.membership()) {
        (None, None) => out.push(BLANK),
        (Some(block), None) => {
            out.push(BLOCK);
            out.extend_from_slice(block.bytes());
        }
        (None, Some(membership)) => {
            out.push(MEMBERSHIP);
            out.extend_from_slice(&membership_bytes(membership)?);
        }
        (Some(block), Some(membership)) => {
            let membership = membership_bytes(membership)?;
            let length = u32::try_from(membership.len()).map_err(|_| PayloadError::Membership)?;
            out.push(ROSTER_BLOCK);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&membership);
            out.extend_from_slice(block.bytes());
        }
    }
    Ok(())
}

/// The payload that all of `bytes` encode.
pub fn decode(bytes: &[u8]) -> Result<Payload, PayloadError> {
    let (kind, rest) = bytes.split_first().ok_or(PayloadError::CutOff)?;
    match *kind {
        BLANK if rest.is_empty() => Ok(Payload::default()),
        BLANK => Err(PayloadError::Trailing),
        BLOCK => Ok(Payload::new(Some(EncodedBlock::from(rest)), None)),
        MEMBERSHIP => Ok(Payload::new(None, Some(membership(rest)?))),
        ROSTER_BLOCK => {
            let (length, rest) = rest.split_first_chunk().ok_or(PayloadError::CutOff)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| PayloadError::CutOff)?;
            let (json, block) = rest.split_at_checked(length).ok_or(PayloadError::CutOff)?;
            Ok(Payload::new(Some(EncodedBlock::from(block)), Some(membership(json)?)))
        }
        kind => Err(PayloadError::Kind(kind)),
    }
}

fn membership_bytes(membership: &Membership) -> Result<Vec<u8>, PayloadError> {
    serde_json::to_vec(membership).map_err(|_| PayloadError::Membership)
}

fn membership(json: &[u8]) -> Result<Membership, PayloadError> {
    let membership = serde_json::from_slice(json).map_err(|_| PayloadError::Membership)?;
    if membership_bytes(&membership)? == json { Ok(membership) } else { Err(PayloadError::Membership) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn payloads() -> Vec<Payload> {
        let membership =
            || Some(Membership::new_with_defaults(vec![BTreeSet::from([1, 2]), BTreeSet::from([3])], [9]));
        let block = || Some(EncodedBlock::from(vec![7; 40]));
        vec![
            Payload::new(None, None),
            Payload::new(block(), None),
            Payload::new(None, membership()),
            Payload::new(block(), membership()),
            Payload::new(Some(EncodedBlock::from(vec![])), None),
        ]
    }

    fn encoded(payload: &Payload) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(payload, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_payload_comes_back() {
        for payload in payloads() {
            assert_eq!(decode(&encoded(&payload)), Ok(payload));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(decode(&[]), Err(PayloadError::CutOff));
        assert_eq!(decode(&[BLANK, 0]), Err(PayloadError::Trailing));
        assert_eq!(decode(&[4]), Err(PayloadError::Kind(4)));
        assert_eq!(decode(&[ROSTER_BLOCK, 0, 0]), Err(PayloadError::CutOff));
        assert_eq!(decode(&[ROSTER_BLOCK, 0, 0, 0, 9, b'{']), Err(PayloadError::CutOff));
        let mut spaced = encoded(&payloads()[2]);
        spaced.push(b' ');
        assert_eq!(decode(&spaced), Err(PayloadError::Membership));
        let unknown = br#"_{"configs":[[1]],"nodes":{"1":{"address":"","name":"","x":1}}}"#;
        assert_eq!(membership(&unknown[1..]), Err(PayloadError::Membership));
    }
}
