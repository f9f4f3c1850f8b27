//! A log applied again from its leaves alone: what is not the log that its own commands make is refused.
//! That any log which is gives the same state is a property in `replicas`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::authority::{Entry, Replay, ReplayError};
use chancery_ledger::command::{Body, LedgerId};
use chancery_ledger::hash::Hash;
use house::{House, authorize, name, terms};

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

fn replay(ledger: LedgerId, log: &[Entry]) -> Result<Replay, ReplayError> {
    let mut blocks = log.split_inclusive(|entry| matches!(entry, Entry::State { .. }));
    let mut replay = Replay::genesis(ledger, blocks.next().unwrap_or_default())?;
    blocks.try_for_each(|leaves| replay.apply(leaves))?;
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
    let (_, log) = log();
    let other = LedgerId(Hash::of(&[b"another ledger"]));
    assert!(matches!(replay(other, &log), Err(ReplayError::OtherLedger(_))));
}

#[test]
fn what_is_no_block_is_refused() {
    let (ledger, log) = log();
    let not_a_block = |log: &[Entry]| {
        let error = replay(ledger, log).unwrap_err();
        assert!(matches!(error, ReplayError::NotABlock { .. }), "{error}");
    };
    not_a_block(&[]);
    not_a_block(&log[1..]);
    not_a_block(&log[..log.len() - 1]);
    // A block again, and a command of another block in one.
    not_a_block(&[&log[..], &log[log.len() - 2..]].concat());
    let mut mixed = log.clone();
    mixed.insert(log.len() - 1, log[2].clone());
    not_a_block(&mixed);
}

#[test]
fn a_command_that_the_rules_refuse_is_found() {
    let (ledger, mut log) = log();
    // Without the grant, there is nothing to revoke; what it left is found first: a state that is not made so.
    let granted = last(&log, |body| matches!(body, Body::Grant { .. }));
    let mut without = log.clone();
    drop(without.drain(granted..=granted + 1));
    assert!(replay(ledger, &without).is_err());

    // The agent is registered again: by the same bytes, in the block of the last decision.
    let (registered, decided) = (
        last(&log, |body| matches!(body, Body::RegisterAgent { agent, .. } if *agent == name("team/a"))),
        last(&log, |body| matches!(body, Body::Authorize(_))),
    );
    let Entry::Command { block, time_ms, .. } = log[decided].clone() else { panic!() };
    let Entry::Command { signed, .. } = log[registered].clone() else { panic!() };
    log.insert(decided + 1, Entry::Command { block, time_ms, signed, verdict: None });
    let error = replay(ledger, &log).unwrap_err();
    let (index, first) = (decided as u64 + 1, registered as u64);
    assert!(
        matches!(error, ReplayError::Before { index: at, first: found } if (at, found) == (index, first)),
        "{error}"
    );
}

#[test]
fn a_command_that_was_left_out_or_altered_is_found() {
    let (ledger, log) = log();
    for (place, entry) in log.iter().enumerate().filter(|(_, entry)| matches!(entry, Entry::Command { .. })) {
        let mut without = log.clone();
        without.remove(place);
        assert!(replay(ledger, &without).is_err(), "without leaf {place}");
        let Entry::Command { block, time_ms, signed, verdict } = entry.clone() else { continue };
        let mut later = log.clone();
        later[place] = Entry::Command { block, time_ms: time_ms + 1, signed, verdict };
        assert!(replay(ledger, &later).is_err(), "leaf {place} at another time");
    }
    for (place, entry) in log.iter().enumerate() {
        let Entry::State { .. } = entry else { continue };
        let mut altered = log.clone();
        if let Entry::State { state_root, .. } = &mut altered[place] {
            *state_root = Hash::of(&[b"another state"]);
        }
        let error = replay(ledger, &altered).unwrap_err();
        assert!(matches!(error, ReplayError::Differs { index } if index == place as u64), "{error}");
    }
}
