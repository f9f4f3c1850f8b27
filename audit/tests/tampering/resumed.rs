//! An audit that goes on from an earlier one.

use std::path::Path;
use std::sync::Arc;

use chancery_audit::engine::{Engine, Options};
use chancery_audit::source::Folder;
use chancery_audit::{AuditError, Audited, Code, Published, audit};
use chancery_ledger::trust::Trust;

use super::publication::Publication;
use super::{SIZE, STATE, log, with_other_root};

/// Audits `published` with what an earlier audit left in `state`.
fn go_on(trust: &Trust, published: &Publication, state: &Path) -> Result<Audited, AuditError> {
    let folder = tempfile::tempdir().unwrap();
    published.write(folder.path());
    let source = Published::new(Arc::new(Folder::new(folder.path().to_owned()).unwrap()));
    let mut engine = Engine::open(state, trust.ledger, Options { threads: 2, ..Options::default() }).unwrap();
    audit(&[source], trust, None, &mut engine, &|_| {})
}

#[test]
fn an_audit_goes_on_where_the_last_one_ended_and_only_in_the_same_log() {
    let log = log();
    let state = tempfile::tempdir().unwrap();
    let first = go_on(&log.trust, &log.honest.at(SIZE), state.path()).unwrap();
    assert_eq!((first.from, first.findings.as_slice(), first.state_holds), (0, [].as_slice(), true));

    // In the middle of a tile, and over the end of one.
    let forged = with_other_root(&log, STATE).0;
    let rewritten = go_on(&log.trust, &forged, state.path()).unwrap();
    let codes: Vec<_> = rewritten.findings.iter().map(|finding| finding.code).collect();
    assert_eq!((rewritten.from, codes, rewritten.state_holds), (SIZE as u64, vec![Code::Rewritten], true));
    let second = go_on(&log.trust, &log.honest, state.path()).unwrap();
    assert_eq!((second.from, second.findings.as_slice()), (SIZE as u64, [].as_slice()));
    assert_eq!(second.head.map(|head| head.log_size), Some(log.honest.size()));

    // Of one that is less far, nothing can be said: it may be another node's.
    let behind = go_on(&log.trust, &log.honest.at(SIZE), state.path());
    let expected = (SIZE as u64, log.honest.size());
    assert!(matches!(behind, Err(AuditError::Behind { size, audited }) if (size, audited) == expected));
}

#[test]
fn nothing_goes_on_from_what_no_quorum_committed_to() {
    let log = log();
    let state = tempfile::tempdir().unwrap();
    let alone = Publication { cosigners: vec![3], ..log.honest.clone() };
    let audited = go_on(&log.trust, &alone, state.path()).unwrap();
    assert_eq!(audited.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::Cosignatures]);
    assert!(!audited.state_holds);
}
