//! What was recorded by when, and that nothing was: each file shows exactly that, from the trust alone, and no byte of it
//! can be changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::Moment;
use chancery_ledger::authority::{Decided, Verdict};
use chancery_ledger::checkpoint::{
    KeyName, SignatureError, SignatureLine, SignatureType, SignedCheckpoint, VerifierKey,
};
use chancery_ledger::command::{Body, GrantId, HaltScope};
use chancery_ledger::evidence::{
    Evidence, EvidenceError, EvidenceFileError, Leaf, NoPermit, NoPermitError, RecordedBy, RecordedByError,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, KnowledgeTree};
use chancery_ledger::trust::{CosignedError, TrustError, Witnesses};
use house::{House, authorize, name, nonce, request, terms};

/// A time of the nodes' clocks, in seconds.
const THEN_S: u64 = 1_800_000_100;

macro_rules! assert_refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => panic!("{other:?}"),
        }
    };
}

fn granted() -> (House, GrantId) {
    let mut house = House::found();
    house.register("bot");
    let grant = house.grant(terms("bot", &["mail/*"], &["customer/*"], house.now_ms));
    (house, grant)
}

/// The grant was revoked, and then more happened.
fn revoked() -> (House, GrantId, u64) {
    let (mut house, grant) = granted();
    house.revoke(grant);
    let index = house.head().log_size - 2;
    house.register("other");
    (house, grant, index)
}

/// Every one-byte change: each bit flipped, the byte dropped, doubled, and everything from it on cut off.
fn changes(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).flat_map(move |at| {
        let flips = (0..8).map(move |bit| {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            changed
        });
        let dropped = [&bytes[..at], &bytes[at + 1..]].concat();
        let doubled = [&bytes[..=at], &bytes[at..]].concat();
        let cut = bytes[..at].to_vec();
        flips.chain([dropped, doubled, cut]).map(move |changed| (at, changed))
    })
}

/// Whatever is changed is refused, or it is white space and means the same.
fn no_byte_can_be_changed<T: PartialEq + std::fmt::Debug>(
    text: &str,
    changes: impl Iterator<Item = (usize, Vec<u8>)>,
    read: impl Fn(&[u8]) -> Option<T>,
) {
    let same = read(text.as_bytes());
    assert!(same.is_some());
    let mut accepted = 0;
    for (at, changed) in changes {
        if changed == text.as_bytes() {
            continue;
        }
        let found = read(&changed);
        assert!(found.is_none() || found == same, "byte {at}");
        let white = text.as_bytes()[at].is_ascii_whitespace() || at + 1 == text.len();
        assert!(found.is_none() || white, "byte {at}");
        accepted += usize::from(found.is_some());
    }
    assert!(accepted > 0);
}

#[test]
fn a_revocation_is_shown_by_the_second_in_which_a_quorum_had_cosigned() {
    let (house, grant, index) = revoked();
    // The log's own signature is there too, and a node whose clock is behind.
    let cosigned = [(1, THEN_S), (2, THEN_S - 7), (3, THEN_S + 5)];
    let file = house.recorded_by(index, &cosigned);
    assert_eq!(file.checkpoint.signatures().len(), 3, "the log's own is left out: it proves nothing");
    let read = RecordedBy::from_json(file.to_json().as_bytes()).unwrap();
    assert_eq!(read, file);
    let shown = read.verify(&house.founding_trust()).unwrap();
    assert_eq!(shown.by_ms, (THEN_S + 1) * 1000, "the second may have been all but over");
    let signers: Vec<_> = shown.cosigned.nodes.iter().map(|by| (by.node, by.time_s)).collect();
    assert_eq!(signers, cosigned);
    let Body::RevokeGrant { grant: shown_grant, .. } = &shown.recorded.signed.command().body else {
        panic!()
    };
    assert_eq!((*shown_grant, shown.recorded.cause.index), (grant, index));
    assert_eq!((shown.block, shown.block_time_ms), (house.head().block, house.head().time_ms));

    // It takes a quorum: whoever is first alone shows nothing, and who is last is not needed.
    let by_ms = |cosigned: &[(u64, u64)]| {
        house.recorded_by(index, cosigned).verify(&house.trust).unwrap().by_ms - THEN_S * 1000
    };
    assert_eq!(by_ms(&[(1, THEN_S), (2, THEN_S)]), 1000);
    assert_eq!(by_ms(&[(1, THEN_S), (2, THEN_S + 1)]), 2000);
    assert_eq!(by_ms(&[(1, THEN_S + 1), (2, THEN_S + 1), (3, THEN_S)]), 2000);
    assert_eq!(by_ms(&[(1, THEN_S), (2, THEN_S + 9), (3, THEN_S + 3)]), 4000);
    // A time is signed: one that is a second less is another's.
    let [first, second] = [house.cosignature(1, THEN_S), house.cosignature(2, THEN_S)];
    let mut earlier = second.signature().to_vec();
    earlier[..8].copy_from_slice(&(THEN_S - 1).to_be_bytes());
    let earlier = SignatureLine::new(second.name().clone(), second.key_id(), earlier).unwrap();
    let checkpoint = SignedCheckpoint::new(house.bare_checkpoint(), vec![first, earlier]).unwrap();
    assert_refused!(
        RecordedBy { checkpoint, ..file.clone() }.verify(&house.trust),
        RecordedByError::Cosigned(CosignedError::Signatures(SignatureError::Invalid))
    );
    // Evidence stays true when its reader has seen more since.
    assert!(file.verify(&house.trust.clone().since(u64::MAX)).is_ok());
}

#[test]
fn fewer_than_a_quorum_show_nothing() {
    let (house, _, index) = revoked();
    let good = house.recorded_by(index, &[(1, THEN_S), (2, THEN_S)]);
    let with = |lines| {
        let checkpoint = SignedCheckpoint::new(house.bare_checkpoint(), lines).unwrap();
        RecordedBy { checkpoint, ..good.clone() }.verify(&house.trust)
    };
    let line = |node| house.cosignature(node, THEN_S);
    assert!(with(vec![line(1), line(2)]).is_ok() && with(vec![line(1), line(2), line(3)]).is_ok());
    let few =
        |made| assert_refused!(made, RecordedByError::Cosigned(CosignedError::TooFewNodes { found: 1 }));
    few(with(vec![line(3)]));
    // Nobody counts twice, and who has no vote counts for nothing.
    assert_refused!(
        with(vec![line(1), line(1)]),
        RecordedByError::Cosigned(CosignedError::Signatures(SignatureError::Twice))
    );
    few(with(vec![line(1), house.cosignature(4, THEN_S)]));
    let log = house.bare_checkpoint().sign(&house::key("log"));
    few(with(vec![log, line(1)]));
    let alone = house.checkpoint(&[(2, THEN_S)]);
    let leaves = [house.leaf(index), house.leaf(house.head().log_size - 1)];
    assert_refused!(
        RecordedBy::new(&house.trust, &alone, leaves),
        RecordedByError::Cosigned(CosignedError::TooFewNodes { found: 1 })
    );
    // A cosignature of another checkpoint.
    let (mut other, ..) = revoked();
    other.register("third");
    let foreign = other.cosignature(2, THEN_S);
    assert_refused!(
        with(vec![line(1), foreign]),
        RecordedByError::Cosigned(CosignedError::Signatures(SignatureError::Invalid))
    );
}

#[test]
fn who_demands_witnesses_is_shown_by_when_they_had_cosigned() {
    let (house, _, index) = revoked();
    let witness = KeyName::new("witness.example").unwrap();
    let key = house::key("witness");
    let known = VerifierKey::new(witness.clone(), SignatureType::Cosignature, key.verifying_key()).unwrap();
    let demanding = house.trust.clone().with_witnesses(Witnesses::new(vec![known], 1).unwrap());
    let checkpoint = house.bare_checkpoint();
    let seen = checkpoint.cosign(&witness, THEN_S + 4, &key).unwrap();
    let lines = vec![house.cosignature(1, THEN_S), house.cosignature(3, THEN_S), seen];
    let signed = SignedCheckpoint::new(checkpoint, lines).unwrap();
    let leaves = [house.leaf(index), house.leaf(house.head().log_size - 1)];
    let file = RecordedBy::new(&demanding, &signed, leaves).unwrap();
    assert_eq!(file.verify(&demanding).unwrap().by_ms, (THEN_S + 5) * 1000);
    // Who demands none is shown more: the nodes alone had cosigned earlier.
    assert_eq!(file.verify(&house.trust).unwrap().by_ms, (THEN_S + 1) * 1000);
    let unseen = house.recorded_by(index, &[(1, THEN_S), (3, THEN_S)]);
    assert_refused!(
        unseen.verify(&demanding),
        RecordedByError::Cosigned(CosignedError::TooFewWitnesses { found: 0, demanded: 1 })
    );
}

#[test]
fn the_leaves_are_in_the_log_that_was_cosigned() {
    let (house, _, index) = revoked();
    let good = house.recorded_by(index, &[(1, THEN_S), (2, THEN_S)]);
    let verify = |file: RecordedBy| file.verify(&house.trust);
    let moved = Leaf { index: index - 1, ..good.leaf.clone() };
    assert_refused!(
        verify(RecordedBy { leaf: moved, ..good.clone() }),
        RecordedByError::Evidence(EvidenceError::Leaf(_))
    );
    // A STATE leaf is no command; a command, or an earlier state, is not what the checkpoint ends with.
    assert_refused!(
        verify(RecordedBy { leaf: good.state.clone(), ..good.clone() }),
        RecordedByError::Evidence(EvidenceError::OtherLeaf)
    );
    for other in [index, index + 1] {
        assert_refused!(
            verify(RecordedBy { state: house.leaf(other), ..good.clone() }),
            RecordedByError::NotTheState { index: found, .. } if found == other
        );
    }
    // Any other command of the log shows itself and not the revocation.
    let grant = verify(RecordedBy { leaf: house.leaf(index - 2), ..good.clone() }).unwrap();
    assert!(matches!(grant.recorded.signed.command().body, Body::Grant { .. }));
    let elsewhere = RecordedBy { origin: "elsewhere.example".into(), ..good.clone() };
    assert_refused!(verify(elsewhere), RecordedByError::Evidence(EvidenceError::OtherOrigin { .. }));
    let mut elsewhere = good;
    elsewhere.ledger.0 = Hash::ZERO;
    assert_refused!(verify(elsewhere), RecordedByError::Evidence(EvidenceError::OtherLedger(_)));
}

#[test]
fn the_voters_are_those_of_the_last_state() {
    let (mut house, _, index) = revoked();
    let founding = house.founding_trust();
    let before = house.recorded_by(index, &[(1, THEN_S), (2, THEN_S)]);
    house.change(&[2, 3, 4]);
    // After the block that ended the change: by a quorum of the voters since then, whoever else signed.
    let after = house.recorded_by(index, &[(2, THEN_S), (3, THEN_S)]);
    assert!(after.verify(&founding).is_ok() && !after.rosters.links.is_empty());
    let leaves = || [house.leaf(index), house.leaf(house.head().log_size - 1)];
    let of_old = RecordedBy::new(&house.trust, &house.checkpoint(&[(1, THEN_S), (2, THEN_S)]), leaves());
    assert_refused!(of_old, RecordedByError::Cosigned(CosignedError::TooFewNodes { found: 1 }));
    let cut = RecordedBy { rosters: before.rosters.clone(), ..after.clone() };
    assert_refused!(cut.verify(&founding), RecordedByError::Evidence(EvidenceError::OtherRosters));
    let longer = RecordedBy { rosters: after.rosters.clone(), ..before.clone() };
    assert_refused!(longer.verify(&founding), RecordedByError::Evidence(EvidenceError::OtherRosters));
    assert!(before.verify(&house.trust).is_ok(), "what the old voters said then stays true");
    // Who has left cosigns nothing any more: under the old roster, the log goes on without the change.
    let mut split = revoked().0;
    split.block_without_effect();
    split.block_without_effect();
    split.register("third");
    let forged = split.recorded_by(index, &[(1, THEN_S), (2, THEN_S)]);
    assert!(forged.verify(&founding).is_ok(), "a quorum that lies can do that");
    assert_refused!(
        forged.verify(&house.trust),
        RecordedByError::Evidence(EvidenceError::Trust(TrustError::RosterReplaced { .. }))
    );
}

#[test]
fn a_decision_is_shown_with_its_knowledge() {
    let (mut house, _) = granted();
    let item = |source: &str| Item {
        source: name(source),
        digest: Hash::of(&[source.as_bytes()]),
        retrieved_at_ms: house.now_ms,
    };
    let tree = KnowledgeTree::new(vec![item("account/7"), item("account/8")]).unwrap();
    let knowledge = tree.show(&[name("account/7")]).unwrap();
    let asked = chancery_ledger::command::Authorize {
        knowledge: Some(knowledge.clone()),
        ..authorize("bot", "mail/send", "customer/42")
    };
    house.authorize(asked);
    let file = house.recorded_by(house.head().log_size - 2, &[(1, THEN_S), (3, THEN_S)]);
    let shown = file.verify(&house.trust).unwrap();
    assert!(matches!(shown.recorded.verdict, Some(Verdict { decided: Decided::Permit { .. }, .. })));
    let Body::Authorize(recorded) = &shown.recorded.signed.command().body else { panic!() };
    assert_eq!(recorded.knowledge.as_ref(), Some(&knowledge));
}

#[test]
fn no_byte_of_what_was_recorded_by_then_can_be_changed() {
    let (mut house, _, index) = revoked();
    house.change(&[2, 3]);
    house.register("third");
    let file = house.recorded_by(index, &[(2, THEN_S), (3, THEN_S)]);
    let text = file.to_json();
    no_byte_can_be_changed(&text, changes(text.as_bytes()), |text| {
        let file = RecordedBy::from_json(text).ok()?;
        let shown = file.verify(&house.trust).ok()?;
        Some((file, shown))
    });
}

// ----------------------------------------------------------------------------------------------------
// That there was none.

/// A permit was recorded before, a denial between, a permit after: the blocks of each.
fn counted() -> (House, [u64; 3]) {
    let (mut house, _) = granted();
    let mut decide = |action: &str| {
        house.authorize(authorize("bot", action, "customer/42"));
        house.head().block
    };
    let blocks = [decide("mail/send"), decide("mail"), decide("mail/send")];
    house.register("other");
    (house, blocks)
}

fn at(house: &House, moment: Moment) -> Evidence {
    house.past_evidence(&request("bot", "mail/send", "customer/42"), moment)
}

fn between(house: &House, from: u64, to: u64) -> NoPermit {
    NoPermit { from: at(house, Moment::Block(from)), to: at(house, Moment::Block(to)) }
}

#[test]
fn no_permit_between_two_heads_is_shown_where_there_was_none() {
    let (house, [permit, denial, second]) = counted();
    for from in 0..=house.head().block {
        for to in 0..=house.head().block {
            let file = between(&house, from, to);
            assert_eq!(NoPermit::from_json(file.to_json().as_bytes()).unwrap(), file);
            // Those after `from` up to `to`.
            let within = |block: u64| from < block && block <= to;
            let permits = u64::from(within(permit)) + u64::from(within(second));
            match file.verify(&house.founding_trust()) {
                Ok(shown) => {
                    assert!(from <= to && permits == 0, "{from} to {to}");
                    assert_eq!((shown.from.block, shown.to.block), (from, to));
                    assert_eq!(shown.denials, u64::from(within(denial)));
                    assert_eq!(shown.permits, u64::from(permit <= to) + u64::from(second <= to));
                    assert_eq!(shown.agent, name("bot"));
                }
                Err(NoPermitError::Permitted(found)) => assert_eq!(found, permits, "{from} to {to}"),
                Err(NoPermitError::Order { .. }) => assert!(from > to, "{from} to {to}"),
                Err(other) => panic!("{from} to {to}: {other}"),
            }
        }
    }
}

#[test]
fn either_end_may_be_a_check_or_a_time() {
    let (mut house, [_, denial, second]) = counted();
    let asked = request("bot", "mail/send", "customer/42");
    let time_of =
        |house: &House, block: u64| house.replicas[0].summaries[usize::try_from(block).unwrap()].head.time_ms;
    let (from_ms, to_ms) = (time_of(&house, denial), time_of(&house, second));
    let from = at(&house, Moment::Time(from_ms));
    let until = |to_ms| NoPermit { from: from.clone(), to: at(&house, Moment::Time(to_ms)) };
    let shown = until(to_ms - 1).verify(&house.trust).unwrap();
    assert_eq!((shown.from.time_ms, shown.to.time_ms, shown.denials), (from_ms, to_ms - 1, 0));
    assert_refused!(until(to_ms).verify(&house.trust), NoPermitError::Permitted(1));
    // From a check that was kept, over a change of the voters, to now.
    let kept = house.evidence(&asked, nonce("kept"));
    house.change(&[2, 3]);
    house.halt(HaltScope::Everything);
    let now = house.evidence(&asked, nonce("now"));
    let file = NoPermit { from: kept.clone(), to: now.clone() };
    let shown = file.verify(&house.founding_trust()).unwrap();
    assert_eq!((shown.permits, shown.denials), (2, 0));
    assert_refused!(NoPermit { from: now, to: kept }.verify(&house.trust), NoPermitError::Order { .. });
}

#[test]
fn the_two_ends_are_of_one_agent_and_each_is_proven() {
    let (house, [_, denial, _]) = counted();
    let good = between(&house, denial - 1, denial);
    assert!(good.verify(&house.trust).is_ok());
    let other = house.past_evidence(&request("other", "mail/send", "customer/42"), Moment::Block(denial));
    assert_refused!(
        NoPermit { to: other, ..good.clone() }.verify(&house.trust),
        NoPermitError::OtherAgent { .. }
    );
    // Nobody was never permitted anything.
    let nobody = |block| house.past_evidence(&request("nobody", "mail", "x"), Moment::Block(block));
    let shown = NoPermit { from: nobody(0), to: nobody(denial) }.verify(&house.trust).unwrap();
    assert_eq!((shown.permits, shown.denials), (0, 0));
    let mut forged = good.clone();
    forged.to.ledger.0 = Hash::ZERO;
    assert_refused!(
        forged.verify(&house.trust),
        NoPermitError::Evidence { end: "to", source: EvidenceError::OtherLedger(_) }
    );
    let mut forged = good;
    forged.from.proof = forged.to.proof.clone();
    // The same state twice shows nothing of what was before.
    assert_eq!(forged.verify(&house.trust).unwrap().from.block, denial);
}

#[test]
fn no_byte_of_a_count_can_be_changed() {
    let (mut house, _) = counted();
    // Under nonces: what block or time is asked about, nobody signs, and of another block it may be as true.
    let asked = request("bot", "mail/send", "customer/42");
    let from = house.evidence(&asked, nonce("from"));
    house.authorize(authorize("bot", "mail", "customer/42"));
    let file = NoPermit { from, to: house.evidence(&asked, nonce("to")) };
    assert_eq!(file.verify(&house.trust).unwrap().denials, 1);
    let text = file.to_json();
    // Twice as long as any other file, and evidence has all of the changes in a test of its own: one of each byte's here.
    let changes = changes(text.as_bytes()).enumerate().filter(|(count, (at, _))| count % 11 == at % 11);
    no_byte_can_be_changed(&text, changes.map(|(_, change)| change), |text| {
        let file = NoPermit::from_json(text).ok()?;
        let shown = file.verify(&house.trust).ok()?;
        Some((file, shown))
    });
}

#[test]
fn each_kind_of_file_is_named() {
    let (house, [permit, denial, _]) = counted();
    let none = between(&house, permit, denial).to_json();
    let by = house.recorded_by(house.head().log_size - 2, &[(1, THEN_S), (2, THEN_S)]).to_json();
    assert!(NoPermit::is_named_by(none.as_bytes()) && !NoPermit::is_named_by(by.as_bytes()));
    assert!(RecordedBy::is_named_by(by.as_bytes()) && !RecordedBy::is_named_by(none.as_bytes()));
    let renamed = |text: &str| text.replacen("/v1", "/v2", 1);
    let error = NoPermit::from_json(renamed(&none).as_bytes()).unwrap_err();
    assert!(matches!(error, EvidenceFileError::Format(_)), "{error}");
    let error = RecordedBy::from_json(renamed(&by).as_bytes()).unwrap_err();
    assert!(matches!(error, EvidenceFileError::Format(_)), "{error}");
}
