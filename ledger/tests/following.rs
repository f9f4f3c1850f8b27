//! Whoever follows the log has every leaf once, whatever breaks; and believes none that is not in the log that was
//! signed, and no end of a grant that is none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::{Answer, HeadProof};
use chancery_ledger::authority::{Entry, Leaf};
use chancery_ledger::command::{Body, HaltScope, Terms};
use chancery_ledger::follow::{
    Change, EndMark, FollowError, Follower, GrantEnd, ProvenHead, ResumeToken, grant_end,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{Frontier, MemoryTiles, frontier_at, leaf_hash};
use house::{HOUR_MS, House, name, request, terms};
use proptest::prelude::*;

/// Three grants that end one after another, and one that does not.
fn granted() -> House {
    let mut house = House::found();
    house.register("a");
    for minutes in [3, 1, 2, 600] {
        let now_ms = house.now_ms;
        let not_after_ms = now_ms + minutes * 60_000;
        house.grant(Terms { not_after_ms, ..terms("a", &["deploy"], &["prod"], now_ms) });
    }
    house
}

fn proof(house: &House) -> HeadProof {
    let Answer { head, statements, head_statements, .. } = house.recent(&request("a", "deploy", "prod"));
    HeadProof { head, statements, head_statements }
}

fn leaves(house: &House) -> &[Vec<u8>] {
    &house.replicas[0].leaves
}

fn take(follower: &mut Follower, house: &House) -> Vec<Change> {
    let next = usize::try_from(follower.next_index()).unwrap();
    (next..leaves(house).len())
        .map(|index| follower.leaf(index as u64, &leaves(house)[index]).unwrap())
        .collect()
}

/// The leaves of grants that ended after `mark`, by the clock of `proven`, as an honest node tells them.
fn ended(house: &House, mark: EndMark, proven: &ProvenHead) -> Vec<Leaf> {
    let mut ends: Vec<GrantEnd> = (0..house.head().log_size)
        .filter_map(|index| grant_end(house.ledger, index, &house.entry(index)))
        .filter(|end| end.not_after_ms <= proven.freshness.clock_min_ms)
        .filter(|end| EndMark { time_ms: end.not_after_ms, index: end.index } > mark)
        .collect();
    ends.sort_by_key(|end| (end.not_after_ms, end.index));
    ends.iter().map(|end| house.leaf(end.index)).collect()
}

#[test]
fn a_head_proves_the_leaves_before_it() {
    let house = granted();
    let mut follower = Follower::new(house.ledger);
    let changes = take(&mut follower, &house);
    assert_eq!(changes.len(), leaves(&house).len());
    let proven = follower.head(&house.trust, &proof(&house)).unwrap();
    assert_eq!(&proven.head, house.head());

    // One leaf less, or one that is not the log's.
    let mut short = Follower::new(house.ledger);
    for (index, leaf) in (0..).zip(&leaves(&house)[..changes.len() - 1]) {
        short.leaf(index, leaf).unwrap();
    }
    let error = short.head(&house.trust, &proof(&house)).unwrap_err();
    assert!(matches!(error, FollowError::OtherSize { .. }), "{error}");
    let mut other = Follower::new(house.ledger);
    for (index, leaf) in (0..).zip(leaves(&house)) {
        // The second leaf in the third one's place.
        let shown = if index == 2 { &leaves(&house)[1] } else { leaf };
        other.leaf(index, shown).unwrap();
    }
    let error = other.head(&house.trust, &proof(&house)).unwrap_err();
    assert!(matches!(error, FollowError::OtherLog(size) if size == house.head().log_size), "{error}");
    // A head that one node signed.
    let alone = HeadProof { statements: vec![proof(&house).statements[0]], ..proof(&house) };
    assert!(matches!(follower.head(&house.trust, &alone), Err(FollowError::Head(_))));
}

#[test]
fn a_halt_and_its_end_are_changes_like_any() {
    let mut house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    let scope = HaltScope::Agent(name("a"));
    let (index, resume) = house.halt(scope.clone());
    house.resume(&resume);
    let generation = house.register_generation("team/a", None, "model");
    house.release("team/a", generation);
    let second = house.register_generation("team/a", Some(generation), "another model");
    house.release("team/a", second);
    house.applied("issuer", Body::RollbackLineage { lineage: name("team/a"), number: 1, generation });
    let changes = take(&mut follower, &house);
    follower.head(&house.trust, &proof(&house)).unwrap();
    assert!(changes.iter().all(|change| !change.ended), "none of them is a grant");
    let told: Vec<_> = changes
        .iter()
        .filter_map(|change| match &change.entry {
            Entry::Command { signed, .. } => Some((change.index, signed.command().body.clone())),
            Entry::State { .. } => None,
        })
        .collect();
    let [halted, first, second, registered, released, .., rolled_back] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(halted.0, index);
    assert!(matches!(&halted.1, Body::Halt { scope: by, .. } if *by == scope));
    assert_eq!((&first.1, &second.1), (&resume, &resume), "each resumer's word; the last one ends it");
    assert!(matches!(&registered.1, Body::RegisterGeneration(_)));
    assert!(matches!(&released.1, Body::ReleaseGeneration { generation: id, .. } if *id == generation));
    assert!(matches!(&rolled_back.1, Body::RollbackLineage { number: 1, .. }));
    for (index, _) in told {
        assert_eq!(grant_end(house.ledger, index, &house.entry(index)), None);
    }
}

#[test]
fn leaves_come_in_order_and_none_twice() {
    let house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    let due = follower.next_index();
    for index in [0, due - 1, due + 1] {
        let before = follower.clone();
        let error = follower.leaf(index, &leaves(&house)[0]).unwrap_err();
        assert!(matches!(error, FollowError::NotTheNext { found, due: d } if (found, d) == (index, due)));
        assert_eq!(follower, before, "nothing was taken");
    }
    let before = follower.clone();
    assert!(matches!(follower.leaf(due, b"no entry"), Err(FollowError::Entry { .. })));
    assert_eq!(follower, before);
}

#[test]
fn grants_end_once_and_in_order() {
    let mut house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    let mut told = Vec::new();
    for _ in 0..5 {
        house.now_ms += 45_000;
        let proven = follower.head(&house.trust, &proof(&house)).unwrap();
        let leaves = ended(&house, follower.ends(), &proven);
        let ends = follower.ends_with(&proven, &leaves).unwrap();
        for end in &ends {
            follower.told(end);
        }
        follower.told_until(&proven);
        assert_eq!(follower.ends().index, u64::MAX);
        told.extend(ends);
        // Told once: the same again is refused.
        if !leaves.is_empty() {
            let error = follower.ends_with(&proven, &leaves).unwrap_err();
            assert!(matches!(error, FollowError::EndsUnsorted), "{error}");
        }
    }
    assert_eq!(told.len(), 3);
    assert!(told.is_sorted_by_key(|end| end.not_after_ms));
}

#[test]
fn what_has_not_ended_or_is_no_grant_is_no_end() {
    let mut house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    house.now_ms += 10 * 60_000;
    let proven = follower.head(&house.trust, &proof(&house)).unwrap();
    let all = ended(&house, EndMark::default(), &proven);
    assert_eq!(all.len(), 3);
    let refused = |leaves: &[Leaf]| follower.ends_with(&proven, leaves).unwrap_err();
    // The registration, a STATE leaf, and the grant of ten hours.
    let last_grant = house.head().log_size - 2;
    for index in [house.head().log_size - 1, 2, last_grant] {
        assert!(matches!(refused(&[house.leaf(index)]), FollowError::NoEnd(found) if found == index));
    }
    let swapped = [all[1].clone(), all[0].clone()];
    assert!(matches!(refused(&swapped), FollowError::EndsUnsorted));
    assert!(matches!(refused(&[all[0].clone(), all[0].clone()]), FollowError::EndsUnsorted));
    let mut forged = all[0].clone();
    *forged.entry.last_mut().unwrap() ^= 1;
    assert!(matches!(refused(&[forged]), FollowError::Leaf(_)));
    let many = vec![all[0].clone(); chancery_ledger::follow::ENDS_MAX + 1];
    assert!(matches!(refused(&many), FollowError::EndsUnsorted));
}

#[test]
fn a_grant_that_was_over_when_it_came_is_told_with_its_leaf() {
    let mut house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    // The clocks were ahead of the next block's stamp, which was slow to be committed.
    house.now_ms += 10 * 60_000;
    let proven = follower.head(&house.trust, &proof(&house)).unwrap();
    follower.told_until(&proven);
    house.now_ms -= 10 * 60_000;
    let now_ms = house.now_ms;
    house.grant(Terms { not_after_ms: now_ms + 2_000, ..terms("a", &["deploy"], &["prod"], now_ms) });
    house.grant(terms("a", &["deploy"], &["prod"], now_ms + 20 * 60_000 - HOUR_MS));
    let changes = take(&mut follower, &house);
    let over: Vec<bool> = changes.iter().map(|change| change.ended).collect();
    assert_eq!(over, [true, false, false, false], "its grant, STATE, a longer one, STATE");
}

#[test]
fn a_frontier_of_any_size_is_the_one_that_the_leaves_make() {
    let hashes: Vec<Hash> = (0..700_u32).map(|index| leaf_hash(&index.to_be_bytes())).collect();
    let mut tiles = MemoryTiles::new();
    tiles.append(&hashes);
    let mut frontier = Frontier::new();
    assert_eq!(frontier_at(&tiles, 0).unwrap(), frontier);
    for (hash, size) in hashes.iter().zip(1..) {
        frontier.append(*hash);
        assert_eq!(frontier_at(&tiles, size).unwrap(), frontier, "{size}");
    }
    assert!(frontier_at(&tiles, 701).is_err());
}

#[test]
fn a_token_is_spelled_in_one_way() {
    let house = granted();
    let mut follower = Follower::new(house.ledger);
    take(&mut follower, &house);
    follower.told(&GrantEnd {
        grant: chancery_ledger::command::GrantId(Hash::ZERO),
        index: 7,
        not_after_ms: 99,
    });
    let token = follower.token();
    let text = token.to_string();
    assert_eq!(text.parse(), Ok(token.clone()));
    assert_eq!(Follower::resume(token), follower);
    for wrong in [
        text.to_uppercase(),
        text.replace("v1:", "v2:"),
        text[1..].to_owned(),
        text[..text.len() - 2].to_owned(),
        format!("{text}00"),
        format!("{text} "),
        String::new(),
    ] {
        assert!(wrong.parse::<ResumeToken>().is_err(), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Broken off anywhere, gone on with at another node from a token's text: every leaf and every end once.
    #[test]
    fn broken_off_anywhere_nothing_is_missed_and_nothing_comes_twice(
        steps in proptest::collection::vec((0..4_u8, 1..90_000_u64, any::<bool>()), 1..16),
    ) {
        let mut house = House::found();
        house.register("a");
        let mut follower = Follower::new(house.ledger);
        let (mut changes, mut ends): (Vec<Change>, Vec<GrantEnd>) = (Vec::new(), Vec::new());
        for (step, pause_ms, breaks) in steps {
            house.now_ms += pause_ms;
            let not_after_ms = house.now_ms + 2_000 + u64::from(step) * 40_000;
            let now_ms = house.now_ms;
            house.grant(Terms { not_after_ms, ..terms("a", &["deploy"], &["prod"], now_ms) });
            // Some of what there is, then perhaps all, and a head.
            let next = usize::try_from(follower.next_index()).unwrap();
            for index in next..leaves(&house).len() {
                changes.push(follower.leaf(index as u64, &leaves(&house)[index]).unwrap());
                if breaks {
                    break;
                }
            }
            if follower.next_index() == house.head().log_size {
                let proven = follower.head(&house.trust, &proof(&house)).unwrap();
                let shown = ended(&house, follower.ends(), &proven);
                let verified = follower.ends_with(&proven, &shown).unwrap();
                let count = if step == 0 { verified.len() / 2 } else { verified.len() };
                for end in &verified[..count] {
                    follower.told(end);
                    ends.push(end.clone());
                }
                if count == verified.len() {
                    follower.told_until(&proven);
                }
            }
            if breaks || step == 0 {
                let token: ResumeToken = follower.token().to_string().parse().unwrap();
                follower = Follower::resume(token);
            }
        }
        changes.extend(take(&mut follower, &house));
        house.now_ms += HOUR_MS;
        let proven = follower.head(&house.trust, &proof(&house)).unwrap();
        ends.extend(follower.ends_with(&proven, &ended(&house, follower.ends(), &proven)).unwrap());

        let indices: Vec<u64> = changes.iter().map(|change| change.index).collect();
        prop_assert_eq!(indices, (0..house.head().log_size).collect::<Vec<_>>());
        let over = changes.iter().filter(|change| change.ended);
        let over = over.map(|change| grant_end(house.ledger, change.index, &change.entry).unwrap());
        let mut told: Vec<u64> = ends.into_iter().chain(over).map(|end| end.index).collect();
        told.sort_unstable();
        let grants: Vec<u64> = (0..house.head().log_size)
            .filter(|index| grant_end(house.ledger, *index, &house.entry(*index)).is_some())
            .collect();
        prop_assert_eq!(told, grants);
    }
}
