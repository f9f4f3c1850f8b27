//! The engine against logs that were made in memory: what is right comes out the same however often it is interrupted,
//! and what is wrong is found, with the leaf that is wrong.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../ledger/tests/house/mod.rs"]
mod house;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use chancery_audit::engine::{AuditError, Engine, EngineError, Options};
use chancery_audit::{Code, Finding};
use chancery_ledger::authority::{Decided, Entry, Verdict};
use chancery_ledger::command::{Body, LedgerId};
use chancery_ledger::decide::Denial;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_ledger::log::{Frontier, leaf_hash};
use house::{House, authorize, public, terms};

/// A log in which agents are granted things, do them, change hands, and are revoked.
fn made() -> House {
    let mut house = House::found();
    let mut grants = Vec::new();
    for number in 0..12 {
        let agent = format!("team/{number}");
        house.register(&agent);
        grants.push(house.grant(terms(&agent, &["deploy"], &["prod/*"], house.now_ms)));
        house.authorize(authorize(&agent, "deploy", "prod/web"));
        if number == 5 {
            house.change(&[1, 2, 4]);
        }
        if number % 3 == 2 {
            house.revoke(grants[number - 1]);
            house.authorize(authorize(&agent, "deploy", "elsewhere"));
        }
    }
    // Blocks of several.
    for round in 0..4 {
        house.now_ms += 700_000;
        let decide = |agent: usize| Body::Authorize(authorize(&format!("team/{agent}"), "deploy", "prod/db"));
        let commands = (round..round + 5).map(|agent| house.signed("gate", decide(agent))).collect();
        house.block(commands);
    }
    house
}

fn leaves(house: &House) -> Vec<Vec<u8>> {
    house.replicas[0].leaves.clone()
}

/// Every block is written, and nothing is kept in memory.
const TIGHT: Options = Options { threads: 2, tree_bytes_max: 0, cache_bytes_max: 0, unwritten_bytes_max: 0 };

fn open(folder: &Path, ledger: LedgerId, options: Options) -> Engine {
    Engine::open(folder, ledger, options).unwrap()
}

/// Runs the engine over what is left of `log`.
fn run(engine: &mut Engine, log: &[Vec<u8>], until_size: u64) -> Result<(), AuditError<&'static str>> {
    let rest = log.iter().skip(usize::try_from(engine.size()).unwrap());
    engine.run(rest.map(|entry| Ok(entry.clone())), until_size, &|_| {})
}

/// What a whole audit comes to.
fn audit(ledger: LedgerId, log: &[Vec<u8>], options: Options) -> Result<Head, Finding> {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), ledger, options);
    match run(&mut engine, log, log.len() as u64) {
        Ok(()) => Ok(*engine.head().unwrap()),
        Err(AuditError::Finding(finding)) => Err(finding),
        Err(error) => panic!("{error}"),
    }
}

/// What a whole audit finds, however it is run.
fn found(ledger: LedgerId, log: &[Vec<u8>]) -> Finding {
    let found = audit(ledger, log, Options::default()).unwrap_err();
    assert_eq!(audit(ledger, log, TIGHT).unwrap_err(), found);
    found
}

fn entry(log: &[Vec<u8>], index: usize) -> Entry {
    Entry::decode(&log[index]).unwrap()
}

fn is_state(log: &[Vec<u8>], index: usize) -> bool {
    matches!(entry(log, index), Entry::State { .. })
}

/// The index of the STATE leaf of the block that the leaf at `index` is of.
fn state_after(log: &[Vec<u8>], index: usize) -> usize {
    (index..log.len()).find(|index| is_state(log, *index)).unwrap()
}

/// The index of the first leaf of that block.
fn first_of(log: &[Vec<u8>], index: usize) -> usize {
    (0..index).rfind(|index| is_state(log, *index)).map_or(0, |state| state + 1)
}

#[test]
fn a_log_is_verified_to_its_head_and_its_rosters() {
    let house = made();
    let log = leaves(&house);
    for options in [Options::default(), TIGHT] {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = open(folder.path(), house.ledger, options);
        run(&mut engine, &log, log.len() as u64).unwrap();
        let head = house.head();
        assert_eq!(engine.head(), Some(head));
        assert_eq!(engine.frontier().root(), head.log_root);
        let rosters: Vec<_> = engine.rosters().iter().map(|roster| roster.roster.sets().len()).collect();
        assert_eq!(rosters, [1, 2, 1]);
        assert_eq!(engine.rosters()[0].id, house.roster_id());
        assert_eq!(engine.rosters()[2].id, head.roster);
        drop(engine);
        let again = open(folder.path(), house.ledger, options);
        assert_eq!((again.size(), again.rosters().len()), (head.log_size, 3));
    }
}

#[test]
fn a_root_at_each_size_on_the_way_can_be_compared() {
    let house = made();
    let log = leaves(&house);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), house.ledger, Options::default());
    let summaries = &house.replicas[0].summaries;
    for summary in summaries.iter().take(summaries.len() - 1).step_by(7) {
        run(&mut engine, &log, summary.head.log_size).unwrap();
        assert_eq!(engine.frontier(), summary.frontier);
    }
    // A size at which no block ends is none that a checkpoint has.
    let size = engine.size();
    let error = run(&mut engine, &log, size + 1).unwrap_err();
    assert!(matches!(&error, AuditError::Finding(Finding { index, .. }) if *index == Some(size)), "{error}");
    assert_eq!(engine.size(), size);
    run(&mut engine, &log, log.len() as u64).unwrap();
}

#[test]
fn a_changed_byte_is_found_in_its_block() {
    let house = made();
    let log = leaves(&house);
    for index in 0..log.len() {
        let length = log[index].len();
        // One of them for each leaf: an engine is a database.
        let place = [0, length / 3, length / 2, length - 40, length - 1][index % 5];
        let mut changed = log.clone();
        changed[index][place] ^= 1;
        let finding = audit(house.ledger, &changed, Options::default()).unwrap_err();
        let block = index as u64..=state_after(&log, index) as u64;
        assert!(block.contains(&finding.index.unwrap()), "byte {place} of leaf {index}: {finding}");
    }
}

#[test]
fn leaves_that_are_left_out_or_swapped_are_found() {
    let house = made();
    let log = leaves(&house);
    for index in 0..log.len() - 1 {
        let last = state_after(&log, index + 1) as u64;
        let mut without = log.clone();
        without.remove(index);
        let finding = audit(house.ledger, &without, Options::default()).unwrap_err();
        assert!((index as u64..=last).contains(&finding.index.unwrap()), "without leaf {index}: {finding}");

        let mut swapped = log.clone();
        swapped.swap(index, index + 1);
        let finding = audit(house.ledger, &swapped, Options::default()).unwrap_err();
        let first = first_of(&log, index) as u64;
        assert!((first..=last).contains(&finding.index.unwrap()), "leaf {index} after the next: {finding}");
    }
}

#[test]
fn a_state_that_does_not_follow_is_told_with_both_roots() {
    let house = made();
    let log = leaves(&house);
    let index = state_after(&log, log.len() / 2);
    let Entry::State { block, time_ms, state_root, roster, rules_version, previous } = entry(&log, index)
    else {
        panic!()
    };
    let other = Hash::of(&[b"another state"]);
    let mut changed = log;
    let forged = Entry::State { block, time_ms, state_root: other, roster, rules_version, previous };
    changed[index] = forged.encode();
    let Finding { code, index: found_at, expected, found, .. } = found(house.ledger, &changed);
    assert_eq!((code, found_at), (Code::Differs, Some(index as u64)));
    assert_eq!((expected, found), (format!("state root {state_root}"), format!("state root {other}")));
}

#[test]
fn a_verdict_that_was_not_so_is_told() {
    let house = made();
    let log = leaves(&house);
    let is_permit = |index: &usize| matches!(entry(&log, *index), Entry::Command { verdict: Some(verdict), .. } if verdict.is_permit());
    let decided = (0..log.len()).rfind(is_permit).unwrap();
    let Entry::Command { block, time_ms, signed, verdict } = entry(&log, decided) else { panic!() };
    let verdict = Verdict { decided: Decided::Denied(Denial::NoGrant), ..verdict.unwrap() };
    let mut changed = log;
    changed[decided] = Entry::Command { block, time_ms, signed, verdict: Some(verdict) }.encode();
    let finding = found(house.ledger, &changed);
    assert_eq!(finding.index, Some(decided as u64));
    assert!(finding.expected.contains("a permit until"), "{finding}");
    assert!(finding.found.contains("a denial: no_grant"), "{finding}");
}

#[test]
fn a_signer_who_lacked_the_role_is_named() {
    let mut house = made();
    let body = Body::grant(terms("team/1", &["deploy"], &["prod/*"], house.now_ms));
    let signed = house.signed("gate", body);
    let mut log = leaves(&house);
    let place = log.len() - 1;
    let Entry::State { block, time_ms, .. } = entry(&log, place) else { panic!() };
    log.insert(place, Entry::Command { block, time_ms, signed, verdict: None }.encode());
    let finding = found(house.ledger, &log);
    assert_eq!(
        (finding.index, finding.expected.as_str()),
        (Some(place as u64), "a command that takes effect")
    );
    let said = format!("the signer is not issuer; its signer {} was gate", public("gate"));
    assert!(finding.found.ends_with(&said), "{finding}");
}

#[test]
fn what_failed_to_come_is_no_finding_and_what_came_is_kept() {
    let house = made();
    let log = leaves(&house);
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), house.ledger, Options::default());
    let until = log.len() as u64;
    let half = log.len() / 2;
    let failing = log[..half].iter().map(|entry| Ok(entry.clone())).chain([Err("connection lost")]);
    let error = engine.run(failing, until, &|_| {}).unwrap_err();
    assert!(matches!(error, AuditError::Source("connection lost")), "{error}");
    let size = engine.size();
    assert!(size > 0 && size <= half as u64);
    drop(engine);

    let mut engine = open(folder.path(), house.ledger, Options::default());
    assert_eq!(engine.size(), size);
    let error = run(&mut engine, &log[..half], until).unwrap_err();
    assert!(matches!(error, AuditError::Ended { size } if size == half as u64), "{error}");
    run(&mut engine, &log, until).unwrap();
    assert_eq!(engine.frontier().root(), house.head().log_root);
}

#[test]
fn the_folder_of_another_ledger_is_refused() {
    let house = made();
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), house.ledger, TIGHT));
    let other = LedgerId(Hash::of(&[b"another ledger"]));
    let error = Engine::open(folder.path(), other, TIGHT).err().unwrap();
    assert!(matches!(error, EngineError::OtherLedger(found) if found == house.ledger), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), other, TIGHT);
    // Block 0 alone: what comes after it is signed for its own ledger.
    let error = run(&mut engine, &leaves(&house), 2).unwrap_err();
    let AuditError::Finding(finding) = error else { panic!("{error}") };
    assert_eq!((finding.index, finding.found), (Some(0), format!("that of ledger {}", house.ledger)));
}

const CHILD_FOLDER: &str = "CHANCERY_AUDIT_TEST_FOLDER";
const CHILD_STOPS_AT: &str = "CHANCERY_AUDIT_TEST_STOPS_AT";

/// Not a test by itself: what the next one kills, where it stops.
#[test]
fn audits_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let house = made();
    let log = leaves(&house);
    let mut engine = open(Path::new(&folder), house.ledger, Options { unwritten_bytes_max: 20_000, ..TIGHT });
    let rest = log.into_iter().skip(usize::try_from(engine.size()).unwrap());
    let entries = rest.map(Ok::<_, &str>);
    let stops_at: u64 = std::env::var(CHILD_STOPS_AT).unwrap().parse().unwrap();
    let stop = |size| {
        if size >= stops_at {
            println!("\nat {size}");
            loop {
                std::thread::park();
            }
        }
    };
    engine.run(entries, house.head().log_size, &stop).unwrap();
}

#[test]
fn an_audit_that_is_killed_goes_on_to_the_same_head() {
    let house = made();
    let log = leaves(&house);
    let folder = tempfile::tempdir().unwrap();
    let (mut kept, mut lost) = (0, 0);
    for stops_at in (3..log.len() as u64).step_by(9) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audits_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, folder.path())
            .env(CHILD_STOPS_AT, stops_at.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut at =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("at ")?.parse::<u64>().ok());
        let at = at.next().unwrap();
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let engine = open(folder.path(), house.ledger, TIGHT);
        let size = engine.size();
        assert!((kept..=at).contains(&size), "{size} entries were kept of {at}, and {kept} before");
        let mut frontier = Frontier::new();
        log.iter().take(usize::try_from(size).unwrap()).for_each(|entry| frontier.append(leaf_hash(entry)));
        assert_eq!(engine.frontier(), frontier);
        lost += u64::from(size < at);
        kept = size;
    }
    assert!(kept > 0 && lost > 0, "each kill found everything written, or nothing");
    let mut engine = open(folder.path(), house.ledger, TIGHT);
    run(&mut engine, &log, log.len() as u64).unwrap();
    assert_eq!(engine.head(), Some(&audit(house.ledger, &log, Options::default()).unwrap()));
    assert_eq!(engine.rosters().len(), 3);
}
