//! Archives: the same files, whatever they were made in, and nothing that is not the cosigned log.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chancery_audit::source::Folder;
use chancery_audit::{ArchiveError, Archived, Code, Fault, Published, archive};
use chancery_ledger::log::{TilePath, encode_entry_bundle};
use chancery_ledger::trust::Trust;
use tempfile::{TempDir, tempdir};

use crate::publication::{Publication, write};
use crate::{STATE, audit_folders, log};

/// What is published, in a folder of its own.
fn published(publication: &Publication) -> TempDir {
    let folder = tempdir().unwrap();
    publication.write(folder.path());
    folder
}

fn archived(from: &Path, trust: &Trust, to: &Path) -> Result<Archived, ArchiveError> {
    let from = Published::new(Arc::new(Folder::new(from.to_path_buf()).unwrap()));
    let (mut last, mut of) = (0, 0);
    let done = archive(&from, trust, to, &mut |done, all| {
        assert!(last <= done && done <= all, "it only grows");
        (last, of) = (done, all);
    })?;
    assert!(of == 0 || (last, of) == (done.size, done.size), "the end is told");
    Ok(done)
}

/// All files but the lock, by their paths.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn below(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    below(folder, folder, &mut found);
    found.remove(".lock");
    found
}

#[test]
fn an_archive_that_grew_has_what_one_made_at_once_has() {
    let log = log();
    let whole = published(&log.honest);
    let once = tempdir().unwrap();
    let size = log.honest.size();
    let done = archived(whole.path(), &log.trust, once.path()).unwrap();
    assert_eq!(done, Archived { before: 0, size, root: log.honest.root() });
    assert_eq!(files(once.path()), files(whole.path()), "it is what was published");

    let grown = tempdir().unwrap();
    let mut before = 0;
    // Within a tile, at its end, one further, and to the end; twice at one place.
    for size in [3, 255, 256, 256, 257, 511, 512, log.honest.leaves.len()] {
        let part = log.honest.at(size);
        let source = published(&part);
        let done = archived(source.path(), &log.trust, grown.path()).unwrap();
        assert_eq!((done.before, done.size, done.root), (before, size as u64, part.root()));
        before = size as u64;
        // Whoever reads by the checkpoint finds everything; older partial tiles may be there too.
        let (have, want) = (files(grown.path()), files(source.path()));
        // The rosters that came later are none of this checkpoint's.
        for (path, bytes) in want.iter().filter(|(path, _)| *path != "rosters") {
            assert_eq!(have.get(path), Some(bytes), "{path} of {size} leaves");
        }
    }
    let full_and_partial = |path: &&String| path.contains("000.p/") && path.contains("/0/");
    assert_eq!(
        files(grown.path()).keys().find(full_and_partial),
        None,
        "a full tile stands for its beginnings"
    );
    let audited = audit_folders(&log.trust, &[grown.path()], None);
    assert_eq!(audited.findings, []);
    assert_eq!(audited.head.unwrap().log_size, size);

    // An archive is a source.
    let copy = tempdir().unwrap();
    archived(grown.path(), &log.trust, copy.path()).unwrap();
    assert_eq!(files(copy.path()), files(whole.path()));
}

#[test]
fn what_is_not_the_cosigned_log_leaves_the_archive_as_it_was() {
    let log = log();
    let early = published(&log.honest.at(STATE + 1));
    let folder = tempdir().unwrap();
    archived(early.path(), &log.trust, folder.path()).unwrap();
    let before = files(folder.path());
    let refused = |source: &Path, expected: (Code, Option<u64>)| {
        let error = archived(source, &log.trust, folder.path()).unwrap_err();
        let ArchiveError::Wrong(finding) = &error else { panic!("{error}") };
        assert_eq!((finding.code, finding.index), expected, "{finding}");
        let after = files(folder.path());
        for path in ["checkpoint", "rosters"] {
            assert_eq!(after[path], before[path], "{path}");
        }
        let audited = audit_folders(&log.trust, &[folder.path()], None);
        assert_eq!(audited.findings, [], "all that its checkpoint covers is there");
    };

    // Too few signed.
    let alone = Publication { cosigners: vec![3], ..log.honest.clone() };
    refused(published(&alone).path(), (Code::Cosignatures, None));
    // Fewer leaves than there are.
    refused(published(&log.honest.at(STATE)).path(), (Code::RolledBack, None));
    // An entry that does not lead to the root, of those to come, and of those of the last bundle that are there.
    for (leaf, expected) in [(400, (Code::Root, None)), (290, (Code::Rewritten, Some(290)))] {
        let source = published(&log.honest);
        let mut leaves = log.honest.leaves.clone();
        leaves[leaf][20] ^= 1;
        let bundle = encode_entry_bundle(&leaves[256..512]).unwrap();
        write(source.path(), &TilePath::entries(1, 256).unwrap().to_string(), &bundle);
        refused(source.path(), expected);
    }
    // The log goes on as if nothing had been.
    let whole = published(&log.honest);
    archived(whole.path(), &log.trust, folder.path()).unwrap();
    let audited = audit_folders(&log.trust, &[folder.path()], None);
    assert_eq!(audited.findings, []);
    assert_eq!(audited.head.unwrap().log_size, log.honest.size());
}

#[test]
fn a_damaged_archive_is_not_gone_on_with_and_two_do_not_write_at_once() {
    let log = log();
    let early = published(&log.honest.at(STATE + 1));
    let folder = tempdir().unwrap();
    archived(early.path(), &log.trust, folder.path()).unwrap();
    let whole = published(&log.honest);

    let lock = fs::File::create(folder.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = archived(whole.path(), &log.trust, folder.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::Busy(_)), "{error}");
    drop(lock);

    let tile = folder.path().join("tile/0/001.p/47");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let error = archived(whole.path(), &log.trust, folder.path()).unwrap_err();
    let ArchiveError::Damaged(fault) = &error else { panic!("{error}") };
    assert!(matches!(&**fault, Fault::Wrong(finding) if finding.code == Code::Root), "{error}");
}
