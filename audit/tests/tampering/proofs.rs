//! Single leaves by the tiles alone: proven in the log of a checkpoint, or refused, and told what is wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chancery_audit::source::Folder;
use chancery_audit::{Code, Fault, Proofs, ProofsError, Published, archive};
use chancery_ledger::authority::{Entry, Leaf};
use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::command::Body;
use chancery_ledger::evidence::RecordedBy;
use chancery_ledger::log::{TilePath, encode_entry_bundle, prove_inclusion};
use chancery_ledger::trust::Trust;
use tempfile::tempdir;

use crate::publication::{COSIGNED_S, Publication, write};
use crate::{COMMAND, Log, SIZE, STATE, log};

fn open(folder: &Path, trust: &Trust, kept: Option<SignedCheckpoint>) -> Result<Proofs, ProofsError> {
    Proofs::open(&Published::new(Arc::new(Folder::new(folder.to_path_buf()).unwrap())), trust, kept)
}

/// What is found wrong, and of which leaf.
fn finding<T>(made: Result<T, ProofsError>) -> (Code, Option<u64>) {
    match made {
        Err(ProofsError::Fault(Fault::Wrong(finding))) => (finding.code, finding.index),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is proven"),
    }
}

/// The leaf as the log's own tiles prove it.
fn leaf_of(publication: &Publication, index: usize) -> Leaf {
    let (entry, index) = (publication.leaves[index].clone(), index as u64);
    Leaf { index, entry, proof: prove_inclusion(&publication.tiles(), index, publication.size()).unwrap() }
}

/// Where in a log, around the edges of its tiles.
fn places(size: usize) -> impl Iterator<Item = usize> {
    [0, 1, 2, 254, 255, 256, 257, COMMAND, STATE, 511, 512, 513, size - 2, size - 1]
        .into_iter()
        .filter(move |place| *place < size)
}

#[test]
fn every_leaf_has_the_proof_that_the_logs_own_tiles_give() {
    let log = log();
    let folder = tempdir().unwrap();
    log.honest.write(folder.path());
    let proofs = open(folder.path(), &log.trust, None).unwrap();
    let size = log.honest.leaves.len();
    assert_eq!(proofs.claim().size(), size as u64);
    for place in places(size) {
        assert_eq!(proofs.leaf(place as u64).unwrap(), leaf_of(&log.honest, place), "leaf {place}");
    }
    let error = proofs.leaf(size as u64).unwrap_err();
    let ProofsError::Beyond { index, size: covered } = error else { panic!("{error}") };
    assert_eq!((index, covered), (size as u64, size as u64));
}

#[test]
fn a_checkpoint_that_was_kept_is_proven_by_the_tiles_of_a_log_that_went_on() {
    let log = log();
    let whole = tempdir().unwrap();
    log.honest.write(whole.path());
    // In the first archive there are partial tiles from both times, in the second those from the end alone.
    let (grown, once) = (tempdir().unwrap(), tempdir().unwrap());
    let early = tempdir().unwrap();
    log.honest.at(SIZE).write(early.path());
    for (from, to) in [(&early, &grown), (&whole, &grown), (&whole, &once)] {
        let from = Published::new(Arc::new(Folder::new(from.path().to_path_buf()).unwrap()));
        archive(&from, &log.trust, to.path(), &mut |_, _| {}).unwrap();
    }
    for size in [SIZE, 256, 257, 512, 513, 4] {
        let then = log.honest.at(size);
        let by_founders = Publication { cosigners: vec![1, 2], ..then.clone() };
        let kept = if size == 4 { by_founders.checkpoint() } else { then.checkpoint() };
        for folder in [&whole, &grown, &once] {
            let proofs = match open(folder.path(), &log.trust, Some(kept.clone())) {
                Ok(proofs) => proofs,
                Err(error) => panic!("{size}: {error}"),
            };
            for place in places(size) {
                assert_eq!(proofs.leaf(place as u64).unwrap(), leaf_of(&then, place), "{place} of {size}");
            }
            assert!(matches!(proofs.leaf(size as u64), Err(ProofsError::Beyond { .. })));
        }
    }
    // What is newer than all that is published is not shown by it.
    let error = open(early.path(), &log.trust, Some(log.honest.checkpoint())).map(|_| ()).unwrap_err();
    let ProofsError::Behind { tiled, size } = error else { panic!("{error}") };
    assert_eq!((tiled, size), (SIZE as u64, log.honest.size()));
    // Nor is one that too few signed, who kept it or who published it; nor one of another log.
    let alone = Publication { cosigners: vec![3], ..log.honest.clone() };
    let kept = Some(alone.checkpoint());
    assert_eq!(finding(open(whole.path(), &log.trust, kept)), (Code::Cosignatures, None));
    let published = tempdir().unwrap();
    alone.write(published.path());
    assert_eq!(finding(open(published.path(), &log.trust, None)), (Code::Cosignatures, None));
    let other = Publication { leaves: log.honest.leaves[1..].to_vec(), ..log.honest.clone() };
    let proofs = open(whole.path(), &log.trust, Some(other.checkpoint())).unwrap();
    assert_eq!(finding(proofs.leaf(5)), (Code::Root, None));
}

#[test]
fn what_is_not_of_the_checkpoint_is_refused_and_told() {
    let log = log();
    let index = COMMAND as u64;
    let leaf = |tamper: &dyn Fn(&Path)| {
        let folder = tempdir().unwrap();
        log.honest.write(folder.path());
        tamper(folder.path());
        open(folder.path(), &log.trust, None).unwrap().leaf(index)
    };
    let flip = |folder: &Path, path: &str, at: usize| {
        let mut bytes = fs::read(folder.join(path)).unwrap();
        bytes[at] ^= 1;
        write(folder, path, &bytes);
    };
    assert_eq!(leaf(&|_| ()).unwrap(), leaf_of(&log.honest, COMMAND));
    // Another entry, of the same length.
    let other_entry = |folder: &Path| {
        let mut entries = log.honest.leaves[256..512].to_vec();
        entries[COMMAND - 256][20] ^= 1;
        write(
            folder,
            &TilePath::entries(1, 256).unwrap().to_string(),
            &encode_entry_bundle(&entries).unwrap(),
        );
    };
    assert_eq!(finding(leaf(&other_entry)), (Code::Leaf, Some(index)));
    // Its own hash in the tile, which no proof has: it is the leaf that is proven.
    assert!(leaf(&|folder| flip(folder, "tile/0/001", (COMMAND - 256) * 32)).is_ok());
    // A hash next to it, the tile above, and the right edge.
    let (full, rest) = (log.honest.size() / 256, log.honest.size() % 256);
    let (above, edge) = (format!("tile/1/000.p/{full}"), format!("tile/0/{full:03}.p/{rest}"));
    for (path, at) in [("tile/0/001", (COMMAND - 256) * 32 + 64), (&above, 0), (&edge, 5)] {
        assert_eq!(finding(leaf(&|folder| flip(folder, path, at))), (Code::Root, None), "{path}");
    }
    // Withheld, or cut off.
    let gone = |folder: &Path| fs::remove_file(folder.join(&above)).unwrap();
    assert_eq!(finding(leaf(&gone)), (Code::Missing, None));
    let short = |folder: &Path| write(folder, "tile/0/001", &[0; 255 * 32]);
    assert_eq!(finding(leaf(&short)), (Code::Malformed, None));
    let short = |folder: &Path| {
        let bundle = encode_entry_bundle(&log.honest.leaves[256..300]).unwrap();
        write(folder, "tile/entries/001", &bundle);
    };
    assert_eq!(finding(leaf(&short)), (Code::Malformed, None));
    // Another log under the checkpoint.
    let other = |folder: &Path| {
        let mut other = log.honest.clone();
        other.leaves[3][20] ^= 1;
        other.write(folder);
        write(folder, "checkpoint", log.honest.checkpoint().encode().as_bytes());
    };
    assert_eq!(finding(leaf(&other)), (Code::Root, None));
}

#[test]
fn a_leaf_is_looked_for_up_to_the_root() {
    let log = log();
    let wanted = |at: usize| {
        let entry = log.honest.entry(at);
        move |other: &Entry| *other == entry
    };
    let folder = tempdir().unwrap();
    log.honest.write(folder.path());
    let proofs = open(folder.path(), &log.trust, None).unwrap();
    for place in places(log.honest.leaves.len()) {
        let found = proofs.find(wanted(place)).unwrap();
        assert_eq!(found, Some(leaf_of(&log.honest, place)));
    }
    assert_eq!(proofs.find(|_| false).unwrap(), None);
    // Not beyond what was kept.
    let kept = open(folder.path(), &log.trust, Some(log.honest.at(SIZE).checkpoint())).unwrap();
    assert_eq!(kept.find(wanted(STATE)).unwrap(), Some(leaf_of(&log.honest.at(SIZE), STATE)));
    assert_eq!(kept.find(wanted(SIZE)).unwrap(), None);
    // Who hides a leaf does not get away with there being none.
    let mut entries = log.honest.leaves[256..512].to_vec();
    entries[COMMAND - 256] = log.honest.leaves[COMMAND - 2].clone();
    write(folder.path(), "tile/entries/001", &encode_entry_bundle(&entries).unwrap());
    assert_eq!(finding(proofs.find(wanted(COMMAND))), (Code::Root, None));
}

/// By when a command was recorded, from a folder.
fn recorded_by(log: &Log, folder: &Path, index: u64) -> RecordedBy {
    let proofs = open(folder, &log.trust, None).unwrap();
    let last = proofs.claim().size() - 1;
    let leaves = [index, last].map(|index| proofs.leaf(index).unwrap());
    RecordedBy::new(&proofs.claim().trust, &proofs.claim().signed, leaves).unwrap()
}

#[test]
fn evidence_by_a_time_needs_nothing_but_what_is_published() {
    let log = log();
    let folder = tempdir().unwrap();
    log.honest.write(folder.path());
    let text = recorded_by(&log, folder.path(), COMMAND as u64).to_json();
    let shown = RecordedBy::from_json(text.as_bytes()).unwrap().verify(&log.trust).unwrap();
    assert_eq!(shown.by_ms, (COSIGNED_S + 1) * 1000);
    assert!(matches!(shown.recorded.signed.command().body, Body::RevokeGrant { .. }), "{shown:?}");
    assert_eq!(shown.recorded.cause.index, COMMAND as u64);
    // Node 4 came later, and the rosters tell so.
    let later = Publication { cosigners: vec![3, 4], ..log.honest.clone() };
    later.write(folder.path());
    let nodes = |shown: chancery_ledger::evidence::ShownRecordedBy| {
        shown.cosigned.nodes.iter().map(|by| by.node).collect::<Vec<_>>()
    };
    assert_eq!(nodes(recorded_by(&log, folder.path(), 0).verify(&log.trust).unwrap()), [3, 4]);
}
