//! The audit of a log by somebody who trusts nobody: from what is published, and a trust file.
//!
//! Everything is hashed, every signature verified, and every state made again; what does not come out the same is a
//! finding, with the index of the leaf, what was expected and what was found.
//!
//! * A [`source`] is where the log is published: a URL, or a folder.
//! * [`Claim`] is its newest checkpoint, cosigned by a quorum of voters whom the roster chain proves.
//! * [`audit()`] compares every entry with its tile, each tile with the one above it and the highest with the
//!   checkpoint, has an [`engine`] apply the log again, and compares what several sources show.
//! * [`Proofs`] proves single leaves by the tiles, for evidence that needs no node.
//! * [`archive()`] writes what is published to a folder, which is a source again.

mod ahead;
mod archive;
mod audit;
mod claim;
mod compare;
pub mod engine;
pub mod finding;
mod leaves;
mod proofs;
mod published;
pub mod source;

pub use archive::{ArchiveError, Archived, archive};
pub use audit::{AuditError, Audited, Progress, SOURCES_MAX, audit};
pub use claim::Claim;
pub use finding::{Code, Finding};
pub use proofs::{Proofs, ProofsError};
pub use published::{Fault, Published};
