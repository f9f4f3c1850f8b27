//! A log applied again from its leaves alone: what is not the log that its own commands make is refused.
//! That any log which is gives the same state is a property in `replicas`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::result_large_err)]

mod house;

use chancery_ledger::authority::{Entry, EntryFault, Finding, Refusal, Replay, ReplayError, VerifiedEntry};
use chancery_ledger::command::{Body, LedgerId, Role, SignedCommand, VerifiedSignatures};
use chancery_ledger::hash::Hash;
use chancery_ledger::state::MemoryLeaves;
use house::{House, authorize, name, public, terms};

/// A log in which an agent is granted something, does it, changes hands, and is revoked.
fn log() -> (LedgerId, Vec<Entry>) {
    let mut house = House::found();
    house.register("team/a");
    let grant = house.grant(terms("team/a", &["deploy"], &["prod/*"], house.now_ms));
    house.authorize(authorize("team/a", "deploy", "prod/web"));
    house.change(&[1, 2, 4]);
    house.revoke(grant);
    house.authorize(authorize("team/a", "deploy", "prod/web"));
    let leaves = house.replicas[0].leaves.iter();
    (house.ledger, leaves.map(|leaf| Entry::decode(leaf).unwrap()).collect())
}

/// Every entry verified, then every block applied.
fn replay(ledger: LedgerId, log: &[Entry]) -> Result<Replay<MemoryLeaves>, Finding> {
    let batches = VerifiedSignatures::default();
    let verified = (0..).zip(log).map(|(index, entry)| {
        VerifiedEntry::verify(ledger, entry.encode(), &batches)
            .map_err(|fault| Finding::Entry { index, fault })
    });
    let verified: Vec<_> = verified.collect::<Result<_, _>>()?;
    let mut blocks = verified.split_inclusive(|leaf| matches!(leaf.entry(), Entry::State { .. }));
    let found = |error| match error {
        ReplayError::Finding(finding) => *finding,
        error => panic!("{error}"),
    };
    let mut replay =
        Replay::genesis(ledger, MemoryLeaves::default(), 10_000, blocks.next().unwrap_or_default())
            .map_err(found)?;
    blocks.try_for_each(|leaves| replay.apply(leaves).map(drop)).map_err(found)?;
    Ok(replay)
}

/// The place of the last leaf that is so.
fn last(log: &[Entry], so: impl Fn(&Body) -> bool) -> usize {
    let is = |entry: &Entry| match entry {
        Entry::Command { signed, .. } => so(&signed.command().body),
        Entry::State { .. } => false,
    };
    log.iter().rposition(is).unwrap()
}

#[test]
fn a_log_makes_its_own_states_through_a_change_of_the_voters() {
    let (ledger, log) = log();
    let replayed = replay(ledger, &log).unwrap();
    let Some(Entry::State { state_root, roster, .. }) = log.last() else { panic!() };
    assert_eq!((replayed.head().state_root, replayed.head().roster), (*state_root, *roster));
    assert_eq!(replayed.head().log_size, log.len() as u64);
    assert!(roster.block > 0);
}

#[test]
fn the_log_of_another_ledger_is_refused() {
    let (ledger, log) = log();
    // Its signatures are for its own ledger.
    let other = LedgerId(Hash::of(&[b"another ledger"]));
    assert!(matches!(replay(other, &log).unwrap_err(), Finding::Entry { index: 2, .. }));
    let found = replay(other, &log[..2]).unwrap_err();
    assert_eq!(found, Finding::OtherLedger { expected: other, found: ledger });
}

#[test]
fn what_is_no_block_is_refused() {
    let (ledger, log) = log();
    let found = |log: &[Entry]| replay(ledger, log).unwrap_err();
    let end = log.len() as u64;
    assert_eq!(found(&[]), Finding::NoState { index: 0, leaves: 0 });
    assert_eq!(found(&log[..log.len() - 1]), Finding::NoState { index: end - 2, leaves: 1 });
    assert!(matches!(found(&log[1..]), Finding::NotFounded { .. }));
    // A block again, and a command of another block in one.
    let again = [&log[..], &log[log.len() - 2..]].concat();
    assert!(matches!(found(&again), Finding::NotAfter { index, .. } if index == end));
    let mut mixed = log.clone();
    mixed.insert(log.len() - 1, log[2].clone());
    assert!(matches!(found(&mixed), Finding::OtherBlock { index, .. } if index == end - 1));
}

#[test]
fn a_command_that_the_rules_refuse_is_found() {
    let (ledger, mut log) = log();
    // Without the grant, there is nothing to revoke; what it left is found first: a state that is not made so.
    let granted = last(&log, |body| matches!(body, Body::Grant { .. }));
    let mut without = log.clone();
    drop(without.drain(granted..=granted + 1));
    let found = replay(ledger, &without).unwrap_err();
    assert!(matches!(found, Finding::Differs { index, .. } if index == granted as u64), "{found}");

    // The agent is registered again: by the same bytes, in the block of the last decision.
    let (registered, decided) = (
        last(&log, |body| matches!(body, Body::RegisterAgent { agent, .. } if *agent == name("team/a"))),
        last(&log, |body| matches!(body, Body::Authorize(_))),
    );
    let Entry::Command { signed, .. } = log[registered].clone() else { panic!() };
    insert(&mut log, decided, signed);
    let (index, first) = (decided as u64 + 1, registered as u64);
    assert_eq!(replay(ledger, &log).unwrap_err(), Finding::Before { index, first });
}

/// Puts a command into the log behind the one at `place`, in its block.
fn insert(log: &mut Vec<Entry>, place: usize, signed: SignedCommand) {
    let Entry::Command { block, time_ms, .. } = log[place] else { panic!() };
    log.insert(place + 1, Entry::Command { block, time_ms, signed, verdict: None });
}

#[test]
fn a_signer_without_the_role_is_named_with_those_that_it_has() {
    let mut house = House::found();
    house.register("team/a");
    // The gate grants, in a block with somebody who may register.
    let granted = house.signed("gate", Body::grant(terms("team/a", &["deploy"], &["prod/*"], house.now_ms)));
    house.register("team/b");
    let leaves = house.replicas[0].leaves.iter();
    let mut log: Vec<Entry> = leaves.map(|leaf| Entry::decode(leaf).unwrap()).collect();
    let place = log.len() - 2;
    insert(&mut log, place, granted);
    let found = replay(house.ledger, &log).unwrap_err();
    let expected = Finding::Refused {
        index: place as u64 + 1,
        signer: public("gate"),
        roles: Some(vec![Role::Gate]),
        refusal: Refusal::WrongRole(vec![Role::Issuer]),
    };
    assert_eq!(found, expected);
    assert!(found.found().ends_with("was gate"), "{found}");
}

#[test]
fn a_signature_that_is_not_good_is_found() {
    let (ledger, log) = log();
    for (place, entry) in log.iter().enumerate() {
        let Entry::Command { block, time_ms, signed, verdict } = entry.clone() else { continue };
        let mut bytes = signed.encode();
        *bytes.last_mut().unwrap() ^= 1;
        // What the last byte is depends on the envelope: it may be no command any more.
        let Ok(signed) = SignedCommand::decode(&bytes) else { continue };
        let mut forged = log.clone();
        forged[place] = Entry::Command { block, time_ms, signed, verdict };
        let found = replay(ledger, &forged).unwrap_err();
        let bad = matches!(&found, Finding::Entry { index, fault: EntryFault::Signatures(_) } if *index == place as u64);
        assert!(bad, "{found}");
    }
}

#[test]
fn a_command_that_was_left_out_or_altered_is_found() {
    let (ledger, log) = log();
    for (place, entry) in log.iter().enumerate().filter(|(_, entry)| matches!(entry, Entry::Command { .. })) {
        let mut without = log.clone();
        without.remove(place);
        let found = replay(ledger, &without).unwrap_err();
        assert_eq!(found.index(), place as u64, "without leaf {place}: {found}");
        let Entry::Command { block, time_ms, signed, verdict } = entry.clone() else { continue };
        let mut later = log.clone();
        later[place] = Entry::Command { block, time_ms: time_ms + 1, signed, verdict };
        assert!(replay(ledger, &later).is_err(), "leaf {place} at another time");
    }
    for (place, entry) in log.iter().enumerate() {
        let Entry::State { state_root: made, .. } = entry else { continue };
        let mut altered = log.clone();
        let other = Hash::of(&[b"another state"]);
        if let Entry::State { state_root, .. } = &mut altered[place] {
            *state_root = other;
        }
        let found = replay(ledger, &altered).unwrap_err();
        assert!(matches!(found, Finding::Differs { index, .. } if index == place as u64), "{found}");
        let said = (found.expected(), found.found());
        assert_eq!(said, (format!("state root {made}"), format!("state root {other}")));
    }
}
