//! Messages, and what is refused of them.

use chancery_proto::v1::peer;
use openraft::raft::AppendEntriesRequest;
use proptest::prelude::*;

use crate::network::APPEND_BYTES_MAX;
use crate::network::wire::{AppendParts, of_append, of_snapshot_header, to_snapshot_header};
use crate::network::{Manifest, ManifestFile};
use crate::raft::types::{
    Entry, LogId, Membership, Payload, SnapshotMeta, StoredMembership, TypeConfig, Vote, log_id,
};

fn entry(term: u64, index: u64, size_bytes: usize) -> Entry {
    let block = (size_bytes > 0).then(|| vec![index.to_be_bytes()[7]; size_bytes].into());
    let membership =
        (size_bytes % 7 == 3).then(|| Membership::new_with_defaults(vec![[1, 2, 3].into()], [4]));
    Entry { log_id: log_id(term, index), payload: Payload::new(block, membership) }
}

fn request(prev: Option<LogId>, sizes: &[usize]) -> AppendEntriesRequest<TypeConfig> {
    let first = prev.map_or(0, |prev| prev.index + 1);
    let entries = (first..).zip(sizes).map(|(index, size)| entry(4 + (index - first) / 3, index, *size));
    AppendEntriesRequest {
        vote: Vote::new_committed(100, 2),
        prev_log_id: prev,
        entries: entries.collect(),
        leader_commit: Some(log_id(3, 1)),
    }
}

fn parts(request: AppendEntriesRequest<TypeConfig>) -> Vec<peer::AppendRequest> {
    let mut parts = AppendParts::of(request);
    let mut sent = Vec::new();
    while let Some(part) = parts.next_part().unwrap() {
        sent.push(part.request);
    }
    assert!(parts.is_done());
    sent
}

proptest! {
    #[test]
    fn requests_come_back_in_parts(
        prev in prop::option::of(0..1_000_u64),
        sizes in prop::collection::vec(prop_oneof![Just(0), 1..100_usize, 100_000..900_000_usize], 0..12),
    ) {
        let sent = request(prev.map(|index| log_id(3, index)), &sizes);
        let mut entries = Vec::new();
        let mut last = sent.prev_log_id;
        for part in parts(sent.clone()) {
            prop_assert!(part.entries.len() <= APPEND_BYTES_MAX + 256);
            let part = of_append(part).unwrap();
            prop_assert_eq!(part.prev_log_id, last);
            prop_assert_eq!((part.vote, part.leader_commit), (sent.vote, sent.leader_commit));
            last = part.entries.last().map(|entry| entry.log_id).or(last);
            entries.extend(part.entries);
        }
        prop_assert_eq!(entries, sent.entries);
    }

    #[test]
    fn changed_bytes_never_panic_and_never_pass_for_the_same(at in 0..200_usize, to: u8) {
        let sent = parts(request(None, &[10, 3, 0, 24])).remove(0);
        let mut changed = sent.clone();
        let at = at % changed.entries.len();
        prop_assume!(changed.entries[at] != to);
        changed.entries[at] = to;
        if let Ok(changed) = of_append(changed) {
            prop_assert_ne!(changed.entries, of_append(sent).unwrap().entries);
        }
    }

    #[test]
    fn cut_entries_are_refused_or_fewer(length in 0..200_usize) {
        let sent = parts(request(None, &[10, 3, 0, 24])).remove(0);
        prop_assume!(length < sent.entries.len());
        let mut cut = sent;
        cut.entries.truncate(length);
        if let Ok(cut) = of_append(cut) {
            prop_assert!(cut.entries.len() < 4);
        }
    }
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let sent = || parts(request(Some(log_id(3, 9)), &[1, 1, 1, 1])).remove(0);
    assert!(of_append(sent()).is_ok());
    let vote = |vote| of_append(peer::AppendRequest { vote, ..sent() });
    assert!(vote(None).is_err());
    assert!(vote(Some(peer::Vote { term: 100, node: 2, committed: false })).is_err());
    // Entries of a term after the leader's; before what they follow; beyond the last index.
    assert!(vote(Some(peer::Vote { term: 4, node: 2, committed: true })).is_err());
    let prev =
        |term, index| of_append(peer::AppendRequest { prev: Some(peer::LogId { term, index }), ..sent() });
    assert!(prev(50, 9).is_err());
    assert!(prev(3, u64::MAX).is_err());
    assert!(prev(3, u64::MAX - 2).is_err());
}

#[test]
fn entries_with_a_gap_are_not_sent() {
    let mut gap = request(None, &[1, 1, 1]);
    gap.entries.remove(1);
    assert!(AppendParts::of(gap).next_part().is_err());
    let mut empty = AppendParts::of(request(None, &[]));
    assert!(!empty.is_done());
    assert_eq!(empty.next_part().unwrap().unwrap().last, None);
    assert!(empty.is_done() && empty.next_part().unwrap().is_none());
}

#[test]
fn snapshot_headers_come_back() {
    let file = |name: &str| ManifestFile {
        name: name.to_owned(),
        size_bytes: 7,
        sha256: chancery_ledger::hash::Hash([1; 32]),
    };
    let manifest = Manifest::new(vec![file("a"), file("b/c")]).unwrap();
    let membership = Membership::new_with_defaults(vec![[1, 2].into(), [3].into()], [9]);
    let metas = [
        SnapshotMeta { last_log_id: None, last_membership: StoredMembership::default() },
        SnapshotMeta {
            last_log_id: Some(log_id(3, 40)),
            last_membership: StoredMembership::new(Some(log_id(2, 7)), membership),
        },
    ];
    for meta in metas {
        let vote = Vote::new_committed(3, 2);
        let header = to_snapshot_header(&vote, &meta, &manifest).unwrap();
        assert_eq!(of_snapshot_header(header.clone()), Ok((vote, meta, manifest.clone())));
        let mut broken = header.clone();
        broken.files[0].sha256.pop();
        assert!(of_snapshot_header(broken).is_err());
        let mut broken = header.clone();
        broken.files.swap(0, 1);
        assert!(of_snapshot_header(broken).is_err());
        let mut broken = header.clone();
        broken.membership = vec![0];
        assert!(of_snapshot_header(broken).is_err());
        let mut broken = header;
        broken.membership_log_id = Some(peer::LogId { term: 3, index: 41 });
        assert!(of_snapshot_header(broken).is_err());
    }
}
