//! The floor: every entry hashed into the tree, every signature checked strictly, on as many threads. What is signed
//! is taken from an entry without checking that it is canonical.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use chancery_ledger::command::LedgerId;
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{Frontier, leaf_hash};
use chancery_proto::v1 as wire;
use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message;

use crate::file::LogFile;

const PORTION: usize = 128;

type Portion = (Vec<Vec<u8>>, SyncSender<Vec<Hash>>);

pub(crate) fn run(log: &LogFile, threads: usize) {
    let (to_verify, waiting) = sync_channel::<Portion>(threads * 4);
    let (in_order, portions) = sync_channel::<Receiver<Vec<Hash>>>(threads * 4);
    let (waiting, mut frontier) = (Mutex::new(waiting), Frontier::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().recv();
                    let Ok((entries, done)) = next else { return };
                    done.send(entries.iter().map(|entry| verified(log.ledger, entry)).collect()).unwrap();
                }
            });
        }
        scope.spawn(move || {
            let mut entries = log.entries().peekable();
            while entries.peek().is_some() {
                let (done, place) = sync_channel(1);
                to_verify.send((entries.by_ref().take(PORTION).collect(), done)).unwrap();
                in_order.send(place).unwrap();
            }
        });
        for portion in portions {
            for hash in portion.recv().unwrap() {
                frontier.append(hash);
            }
        }
    });
    assert_eq!((frontier.size(), frontier.root()), (log.size, log.root));
}

/// The hash of an entry whose signatures are good.
fn verified(ledger: LedgerId, entry: &[u8]) -> Hash {
    let body = wire::Entry::decode(entry).unwrap().body.unwrap();
    if let wire::entry::Body::Command(command) = body {
        let signed = command.signed.unwrap();
        let ledger = if command.block == 0 { LedgerId::GENESIS } else { ledger };
        let message =
            [b"chancery/command/v1\0".as_slice(), ledger.0.as_bytes(), signed.command.as_slice()].concat();
        for signature in &signed.signatures {
            let key = VerifyingKey::from_bytes(&signature.key.as_slice().try_into().unwrap()).unwrap();
            let bytes = Signature::from_slice(&signature.signature).unwrap();
            key.verify_strict(&message, &bytes).unwrap();
        }
    }
    leaf_hash(entry)
}
