//! Feeds hostile bytes to the decoder that `CHANCERY_DECODER` names; without it, lists the names.
//!
//! `deploy/fuzz` builds and runs it.

#![no_main]

mod decoders;

use std::sync::OnceLock;

use decoders::DECODERS;

static DECODER: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let wanted = std::env::var("CHANCERY_DECODER").unwrap_or_default();
        let Some((_, decoder)) = DECODERS.iter().find(|(name, _)| *name == wanted) else {
            for (name, _) in DECODERS {
                println!("{name}");
            }
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
