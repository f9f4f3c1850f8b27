//! Two logs, each as it must be by itself, shown to two auditors: together they convict who signed both.

use chancery_audit::Code;
use chancery_ledger::evidence::{Equivocation, EquivocationError};

use super::publication::{COSIGNED_S, Publication};
use super::{Log, audit_folders, log, terms};

/// The log goes on in two ways: to one auditor by one command, to the other by others.
fn two_views() -> (Log, Publication, Publication) {
    let goes_on = |agent: &str, times: u64, cosigners: &[u64]| {
        let mut log = log();
        for time in 0..times {
            let from_ms = log.house.now_ms + time;
            log.house.grant(terms(agent, &["deploy"], &["prod/y"], from_ms));
        }
        let leaves = log.house.replicas[0].leaves.clone();
        let view = Publication { leaves, cosigners: cosigners.to_vec(), ..log.honest.clone() };
        (log, view)
    };
    let (log, one) = goes_on("bot", 1, &[2, 4]);
    let (_, other) = goes_on("team/a", 3, &[3, 4]);
    (log, one, other)
}

fn audited_together(log: &Log, one: &Publication, other: &Publication) -> (Vec<Code>, Vec<Equivocation>) {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    one.write(a.path());
    other.write(b.path());
    for folder in [a.path(), b.path()] {
        let alone = audit_folders(&log.trust, &[folder], None);
        assert_eq!(alone.findings, [], "by itself it is as it must be");
    }
    let audited = audit_folders(&log.trust, &[a.path(), b.path()], None);
    (audited.findings.iter().map(|finding| finding.code).collect(), audited.equivocations)
}

#[test]
fn two_views_of_different_sizes_convict_who_signed_both() {
    let (log, one, other) = two_views();
    assert!(one.size() < other.size());
    let (codes, equivocations) = audited_together(&log, &one, &other);
    assert_eq!(codes, [Code::SplitView]);
    let [equivocation] = equivocations.as_slice() else { panic!("one equivocation") };
    assert_eq!(equivocation.checkpoints().map(|checkpoint| checkpoint.size()), [one.size(), other.size()]);
    let fork = equivocation.fork().unwrap();
    assert_eq!(fork.root, other.at(one.leaves.len()).root());

    // By whoever has the trust file and the file alone. Node 4 came later: its roster is in the file.
    let read = Equivocation::from_json(equivocation.to_json().as_bytes()).unwrap();
    assert_eq!(read, *equivocation);
    let guilty = read.verify(&log.trust).unwrap();
    let told: Vec<_> = guilty.iter().map(|node| (node.voter.node, node.times_s)).collect();
    assert_eq!(told, [(4, [COSIGNED_S; 2])]);
    assert_eq!(equivocation.to_json().matches("rosters").count(), 1);
}

#[test]
fn two_views_of_one_size_convict_who_signed_both() {
    let (log, one, other) = two_views();
    let one = Publication { cosigners: vec![2, 3], ..one };
    let other = Publication { cosigners: vec![3, 4], ..other.at(one.leaves.len()) };
    let (codes, equivocations) = audited_together(&log, &one, &other);
    assert_eq!(codes, [Code::SplitView]);
    let [equivocation] = equivocations.as_slice() else { panic!("one equivocation") };
    assert_eq!(equivocation.fork(), None);
    let guilty = equivocation.verify(&log.trust).unwrap();
    assert_eq!(guilty.iter().map(|node| node.voter.node).collect::<Vec<_>>(), [3]);
    // Node 3 was there from the beginning.
    assert_eq!(equivocation.to_json().matches("rosters").count(), 0);
}

#[test]
fn one_log_at_two_sizes_is_no_split_view() {
    let (log, one, _) = two_views();
    let (codes, equivocations) = audited_together(&log, &one.at(303), &one);
    assert_eq!((codes, equivocations), (Vec::new(), Vec::new()));
    // And nobody can make one of it, with whatever proof.
    let (small, large) = (one.at(303).checkpoint(), one.checkpoint());
    let made = Equivocation::find(&log.house.trust, &small, &large, None).unwrap().unwrap();
    assert!(matches!(made.verify(&log.trust), Err(EquivocationError::Consistent)));
}

#[test]
fn every_change_of_an_equivocation_is_refused() {
    let (log, one, other) = two_views();
    let (_, equivocations) = audited_together(&log, &one, &other);
    let text = equivocations[0].to_json();
    let guilty = equivocations[0].verify(&log.trust).unwrap();
    let mut refused = 0;
    for (position, byte) in
        text.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()).step_by(5)
    {
        let mut other = text.clone().into_bytes();
        other[position] = if byte == b'a' { b'b' } else { b'a' };
        let verified = Equivocation::from_json(&other).map(|read| read.verify(&log.trust));
        assert!(!matches!(verified, Ok(Ok(nodes)) if nodes == guilty), "byte {position} of {text}");
        refused += 1;
    }
    assert!(refused > 500);
    let mut stranger = log.trust.clone();
    stranger.origin = "else".into();
    assert!(matches!(equivocations[0].verify(&stranger), Err(EquivocationError::OtherOrigin { .. })));
}
