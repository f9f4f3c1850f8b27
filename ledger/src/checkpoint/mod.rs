//! Checkpoints of the log: what nodes sign about it, in the formats that other tools read.
//!
//! * [`Checkpoint`] is the text (c2sp.org/tlog-checkpoint), without extension lines.
//! * [`SignedCheckpoint`] is the note around it, with the log's Ed25519 signature, which proves nothing by
//!   itself, and the cosignatures of nodes (c2sp.org/tlog-cosignature), which do.
//! * [`TlogProof`] shows an entry under one (c2sp.org/tlog-proof).
//! * [`add_checkpoint_request`] asks a witness for its cosignature (c2sp.org/tlog-witness).
//! * [`tlog_policy`] states the quorum for other tools (c2sp.org/tlog-policy).
//!
//! Each value has exactly one spelling: what parses is, written again, the same bytes. A signature by a
//! key that is not asked about is carried along, as c2sp.org/signed-note demands, and means nothing.

mod body;
mod key;
mod note;
mod policy;
mod signed;
mod spelling;
mod tlog_proof;
mod witnessing;

#[cfg(test)]
mod tests;

pub use body::{Checkpoint, CheckpointError};
pub use key::{KEY_NAME_BYTES_MAX, KeyError, KeyName, SignatureType, VerifierKey, key_id};
pub use note::{NOTE_BYTES_MAX, Note, NoteError, SIGNATURES_MAX, SignatureLine};
pub use policy::{PolicyError, tlog_policy};
pub use signed::{Cosignature, SignatureError, SignedCheckpoint};
pub use tlog_proof::{EXTRA_BYTES_MAX, TlogProof, TlogProofError};
pub use witnessing::{WITNESS_ANSWER_SIZE_BYTES_MAX, add_checkpoint_request, parse_witnessed_size};
