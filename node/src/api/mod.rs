//! What clients call: gRPC over TLS, with callers known by certificate.

mod caller;
mod members;
mod server;
mod service;
mod session;
mod watch;

pub use members::LEADER_KEY;
pub use server::{ApiError, ApiServer};
pub use service::{LedgerService, ServiceBounds};
