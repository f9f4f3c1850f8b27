//! What a log asks a witness, and what it is answered (c2sp.org/tlog-witness, "add-checkpoint").

use std::fmt::Write;

use super::spelling::{base64, parse_decimal};
use super::{Checkpoint, SignatureLine, SignedCheckpoint, VerifierKey};
use crate::hash::Hash;

/// The longest answer that is read, in bytes: room for some signatures that are larger than those known here.
pub const WITNESS_ANSWER_SIZE_BYTES_MAX: usize = 64 * 1024;

/// The body of a request to cosign `signed`, with a consistency proof from `old` leaves to its size.
pub fn add_checkpoint_request(old: u64, proof: &[Hash], signed: &SignedCheckpoint) -> String {
    // INVARIANT: writing to a String cannot fail.
    let mut body = format!("old {old}\n");
    for hash in proof {
        let _ = writeln!(body, "{}", base64(hash.as_bytes()));
    }
    body.push('\n');
    body.push_str(&signed.encode());
    body
}

/// The size of the checkpoint that a witness cosigned last, from its answer 409.
pub fn parse_witnessed_size(body: &[u8]) -> Option<u64> {
    parse_decimal(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

impl Checkpoint {
    /// The cosignature of this checkpoint by `key` in a witness' answer 200.
    ///
    /// Lines by other keys are ignored, whatever they are. So is one by this key that does not verify: the checkpoint with
    /// it would be refused whole.
    pub fn cosignature_in(&self, answer: &[u8], key: &VerifierKey) -> Option<SignatureLine> {
        if answer.len() > WITNESS_ANSWER_SIZE_BYTES_MAX {
            return None;
        }
        let lines = std::str::from_utf8(answer).ok()?.lines();
        lines.filter_map(|line| SignatureLine::parse(line).ok()).find(|line| self.is_cosigned(line, key))
    }

    /// Whether `line` is a cosignature of this checkpoint by `key`.
    pub fn is_cosigned(&self, line: &SignatureLine, key: &VerifierKey) -> bool {
        let alone = SignedCheckpoint::new(self.clone(), vec![line.clone()]);
        let cosigned = alone.map(|alone| alone.verify_cosignatures(std::slice::from_ref(key)));
        matches!(cosigned, Ok(Ok(cosignatures)) if cosignatures.len() == 1)
    }
}
