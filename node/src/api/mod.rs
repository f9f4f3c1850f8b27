//! What clients call: gRPC over TLS, with callers known by certificate.

mod caller;
mod server;
mod service;

pub use server::{ApiError, ApiServer};
pub use service::LedgerService;
