//! Feeds hostile bytes to the decoder that `CHANCERY_DECODER` names; without it, lists the names.
//!
//! `deploy/fuzz` builds and runs it.

#![no_main]

mod decoders;
mod node_decoders;
#[cfg(feature = "planted")]
mod planted;
mod raft;
mod store;

use std::sync::OnceLock;

use decoders::{DECODERS, Decoder};
use node_decoders::NODE_DECODERS;
#[cfg(feature = "planted")]
use planted::PLANTED;

/// None: each of these has a bug.
#[cfg(not(feature = "planted"))]
const PLANTED: &[(&str, Decoder)] = &[];

static DECODER: OnceLock<Decoder> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let wanted = std::env::var("CHANCERY_DECODER").unwrap_or_default();
        let all = DECODERS.iter().chain(NODE_DECODERS).chain(PLANTED);
        let Some((_, decoder)) = all.clone().find(|(name, _)| *name == wanted) else {
            all.for_each(|(name, _)| println!("{name}"));
            std::process::exit(if wanted.is_empty() { 0 } else { 2 });
        };
        DECODER.get_or_init(|| *decoder);
    },
    |bytes: &[u8]| {
        // INVARIANT: set above, before anything is fed.
        if let Some(decoder) = DECODER.get() {
            decoder(bytes);
        }
    }
);
