//! The simulation itself: the product passes, and deliberate bugs are found.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};

/// Seeds that every test run tries.
const SEEDS: &str = "8";

/// Within so many seeds a deliberate bug must be found.
const BUG_SEEDS_MAX: &str = "16";

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chancery-simulation")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn trace_of(seed: &str) -> String {
    let output = simulate(&["--seed", seed]);
    let text = text(&output);
    text.lines().find(|line| line.starts_with("trace: ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn one_seed_has_one_trace_and_another_has_another() {
    let first = trace_of("1");
    assert_eq!(first, trace_of("1"));
    assert_ne!(first, trace_of("2"));
}

#[test]
fn nothing_is_violated() {
    let output = simulate(&["--seeds", SEEDS]);
    assert!(output.status.success(), "{}", text(&output));
}

fn is_found(bug: &str) {
    let output = simulate(&["--seeds", BUG_SEEDS_MAX, "--bug", bug]);
    let text = text(&output);
    let replay = text.lines().any(|line| {
        line.starts_with("replay: make simulate SEED=") && line.ends_with(&format!(" BUG={bug}"))
    });
    assert!(!output.status.success() && replay, "{text}");
}

#[test]
fn an_answer_before_the_sync_is_found() {
    is_found("ack-before-sync");
}

#[test]
fn a_vote_that_a_power_cut_takes_is_found() {
    is_found("unsynced-vote");
}

/// A leader whose clock was hours ahead called a command expired, for good, that was not.
#[test]
fn what_a_seed_found_stays_mended() {
    let output = simulate(&["--seed", "27"]);
    assert!(output.status.success(), "{}", text(&output));
}
