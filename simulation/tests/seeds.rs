//! The simulation itself: the product passes, and a deliberate bug is found.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};

/// Seeds that every test run tries.
const SEEDS: &str = "4";

/// Within so many seeds the deliberate bug must be found.
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
#[ignore = "one run in about four has another trace: a source of chance is left (docs/simulation.md)"]
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

#[test]
fn an_answer_before_the_sync_is_found() {
    let output = simulate(&["--seeds", BUG_SEEDS_MAX, "--bug", "ack-before-sync"]);
    let text = text(&output);
    assert!(!output.status.success() && text.contains("replay: make simulate SEED="), "{text}");
}

/// A leader whose clock was hours ahead called a command expired, for good, that was not.
#[test]
fn what_a_seed_found_stays_mended() {
    let output = simulate(&["--seed", "21"]);
    assert!(output.status.success(), "{}", text(&output));
}
