//! The byte streams under TLS, as nodes and clients of Chancery use them.

mod coalesced;
mod connector;

pub use coalesced::Coalesced;
pub use connector::connector;
