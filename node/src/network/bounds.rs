//! The sizes that both ends hold each other to.

use crate::raft::entry_bytes::PAYLOAD_BYTES_MAX;

/// The encoding of one log entry's payload.
pub const ENTRY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// A request to append holds entries up to this size, or one that is larger. What Raft hands over in
/// one piece goes out in several.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

/// Any message: the largest entry and what is around it.
pub const MESSAGE_BYTES_MAX: usize = ENTRY_BYTES_MAX + (256 << 10);

/// Requests of one append stream that wait for their answer.
pub(super) const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Their bytes, together.
pub(super) const APPEND_BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

/// The bytes of one chunk of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1 << 20;

/// Files of one snapshot. Their list fits a message.
pub const SNAPSHOT_FILES_MAX: usize = 16_384;

/// The name of one file of a snapshot.
pub(super) const SNAPSHOT_NAME_BYTES_MAX: usize = 200;

/// A signed command: 16 KiB, and its signatures.
pub const SIGNED_COMMAND_BYTES_MAX: usize = 64 << 10;

/// One statement, or one head.
pub const STATEMENT_BYTES_MAX: usize = 1 << 10;

/// A cosignature as a line of a note: a key's name, and base64 of a key id, a time and a signature.
pub(super) const COSIGNATURE_LINE_BYTES_MAX: usize = 512;

/// Statements about one head.
pub const HEAD_STATEMENTS_MAX: usize = 256;

/// A code or a message that says why.
pub(super) const REASON_BYTES_MAX: usize = 1 << 10;

/// Requests in flight on one connection.
pub(super) const STREAMS_MAX: u32 = 256;

/// HTTP/2 windows: of a stream, and of a connection.
pub(super) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A request's headers.
pub(super) const HEADER_BYTES_MAX: u32 = 8 << 10;

const _: () = assert!(
    APPEND_BYTES_MAX <= ENTRY_BYTES_MAX
        && SNAPSHOT_CHUNK_BYTES_MAX < MESSAGE_BYTES_MAX
        && SNAPSHOT_FILES_MAX * (SNAPSHOT_NAME_BYTES_MAX + 64) < MESSAGE_BYTES_MAX
        && HEAD_STATEMENTS_MAX * STATEMENT_BYTES_MAX < MESSAGE_BYTES_MAX
);
