//! Builds that must fail: nodes that are broken on purpose, each with the scenario that must catch it.
//!
//! `make sabotage` runs all, or those that it is given by name. Every scenario first runs with nothing broken, and
//! must pass; then with the sabotage, and one of the checkers that are named for it must say so. Each run has three
//! minutes. Real processes and real disks throughout, but for what only a test inside the node can reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod convictions;
mod floor;
mod freshness;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../cluster/harness.rs"]
mod harness;
mod house;
mod lies;
mod members;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../cluster/operator.rs"]
mod operator;
mod power;
mod record;
mod restart;
mod statements;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../bad_input/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use chancery_jepsen::checkers::{Finding, Verdict};
use tokio::time::{Instant, timeout};

use house::{Setting, Who};

/// Of a verdict, in the table.
const WORDS_MAX: usize = 240;

/// For one run of a scenario.
const RUN_MAX: Duration = Duration::from_secs(180);

type Run = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// A sabotage, and what must catch it.
struct Case {
    sabotage: &'static str,
    who: Who,
    scenario: &'static str,
    run: fn(Setting) -> Run,
    /// One of these checkers must convict.
    caught_by: &'static [&'static str],
    /// It is a lie of one member: nothing that clients accepted may be wrong, unless its signatures convict it.
    lie: bool,
}

macro_rules! case {
    ($sabotage:literal, $who:expr, $module:ident::$scenario:ident, $caught_by:expr) => {
        Case {
            sabotage: $sabotage,
            who: $who,
            scenario: concat!(stringify!($module), "::", stringify!($scenario)),
            run: |setting| Box::pin($module::$scenario(setting)),
            caught_by: &$caught_by,
            lie: false,
        }
    };
    (lie $sabotage:literal, $module:ident::$scenario:ident, $caught_by:expr) => {
        Case { lie: true, ..case!($sabotage, Who::Node(lies::LIAR), $module::$scenario, $caught_by) }
    };
}

fn cases() -> Vec<Case> {
    vec![
        case!("ack-before-fsync", Who::All, power::of_all_nodes, ["log"]),
        case!("skip-vote-fsync", Who::All, power::after_a_vote, ["votes"]),
        case!("serve-without-round", Who::All, freshness::of_revocations, [record::TRUSTING]),
        case!("join-running-round", Who::All, freshness::of_revocations, ["client"]),
        case!("tail-before-nonce", Who::All, freshness::of_revocations, ["permits"]),
        case!("tail-of-applied-state", Who::All, restart::leader_alone, ["tail"]),
        case!("roster-of-applied-state", Who::All, members::late_to_a_change, ["rosters"]),
        case!("no-floor", Who::All, floor::below_a_snapshot, ["tail"]),
        case!("apply-before-flush", Who::All, restart::leader_with_a_slow_disk, ["durability"]),
        case!("apply-twice-after-restart", Who::All, restart::after_a_block, ["statements", "node"]),
        case!("no-dedup-in-snapshots", Who::All, restart::with_a_snapshot, ["statements", "node"]),
        case!(
            "skip-signature-check",
            Who::AllBeside(freshness::LIAR, "lie-garbled-signatures"),
            freshness::beside_a_liar,
            ["client"]
        ),
        case!("sign-before-commit", Who::All, restart::leader_alone, ["statements"]),
        case!(lie "lie-stale-heads", lies::of_a_member, [convictions::NAME]),
        case!(lie "lie-forged-state-root", lies::of_a_member, [convictions::NAME]),
        case!(lie "lie-dropped-revocation", lies::of_a_member, ["client"]),
        case!(lie "lie-two-heads", lies::of_a_member, [convictions::NAME]),
        case!(lie "lie-replayed-statements", lies::of_a_member, ["client"]),
        case!(lie "lie-garbled-signatures", lies::of_a_member, ["client"]),
        case!(lie "lie-removed-roster", members::after_removal, ["client"]),
        case!(lie "lie-two-blocks-under-one-log-id", lies::of_the_leader, [convictions::NAME]),
    ]
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == floor::ARGUMENT) {
        floor::look();
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut honest: BTreeMap<String, Result<String, String>> = BTreeMap::new();
    let mut rows = Vec::new();
    for case in cases() {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| case.sabotage.contains(wanted.as_str())) {
            continue;
        }
        let key = format!("{} {:?}", case.scenario, case.who);
        if !honest.contains_key(&key) {
            let (findings, took) = run(&case, None).await;
            honest.insert(key.clone(), passed(&findings, took));
        }
        let (findings, took) = run(&case, Some(case.sabotage)).await;
        let (caught, honest) = (caught(&case, &findings), honest[&key].clone());
        println!("{} in {}: {}", case.sabotage, case.scenario, words(&caught));
        println!("    with nothing broken: {}", words(&honest));
        for Finding { checker, examined, verdict } in &findings {
            let verdict: String = verdict.to_string().chars().take(WORDS_MAX).collect();
            println!("    {checker} ({examined}): {verdict}");
        }
        rows.push(Row { sabotage: case.sabotage, caught, took, honest });
    }
    if tell(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of one sabotage.
struct Row {
    sabotage: &'static str,
    /// By which checker.
    caught: Result<String, String>,
    took: Duration,
    /// What the same scenario came to with nothing broken.
    honest: Result<String, String>,
}

/// Prints the table, and returns whether all of it is as it should be.
fn tell(rows: &[Row]) -> bool {
    println!("\n{:<34}{:<24}{:>8}  {:<28}verdict", "sabotage", "caught by", "seconds", "with nothing broken");
    let mut good = !rows.is_empty();
    for Row { sabotage, caught, took, honest } in rows {
        let verdict = match (caught, honest) {
            (Ok(_), Ok(_)) => "caught",
            (Err(_), _) => "MISSED",
            (_, Err(_)) => "FAILS UNBROKEN",
        };
        good &= caught.is_ok() && honest.is_ok();
        let by = caught.as_deref().unwrap_or("-");
        let honest = honest.as_deref().unwrap_or("FAILS");
        println!("{sabotage:<34}{by:<24}{:>8.1}  {honest:<28}{verdict}", took.as_secs_f64());
    }
    good
}

/// One run: whatever it panics over is a finding too.
async fn run(case: &Case, sabotage: Option<&'static str>) -> (Vec<Finding>, Duration) {
    let began = Instant::now();
    let setting = Setting { sabotage, who: case.who };
    let running = tokio::spawn((case.run)(setting));
    let stopping = running.abort_handle();
    let findings = match timeout(RUN_MAX, running).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => {
            let what = error.try_into_panic().map_or_else(
                |_| "it was given up".into(),
                |panic| match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                    (Some(said), _) => said.clone(),
                    (None, Some(said)) => (*said).to_owned(),
                    (None, None) => "it panicked".into(),
                },
            );
            let verdict = Verdict::Violation { checker: "recovery", what, operations: Vec::new() };
            vec![Finding { checker: "recovery", examined: 1, verdict }]
        }
        Err(_) => {
            stopping.abort();
            let why = format!("not done after {RUN_MAX:?}");
            vec![Finding { checker: "recovery", examined: 0, verdict: Verdict::Inconclusive { why } }]
        }
    };
    (findings, began.elapsed())
}

/// What looks at that which clients accepted.
const ACCEPTED: [&str; 4] = ["log", "real-time", "replay", "permits"];

/// What looks at things that none of these runs does: they come along with the checkers of the log.
const NOT_HERE: [&str; 3] = ["decisions", "bounds", "halts"];

/// Nothing was broken: every checker must have looked at something, and found nothing.
fn passed(findings: &[Finding], took: Duration) -> Result<String, String> {
    let blind = |finding: &&Finding| finding.examined == 0 && !NOT_HERE.contains(&finding.checker);
    let blind = findings.iter().find(blind);
    match (Verdict::all(findings.iter().map(|finding| finding.verdict.clone())), blind) {
        (Verdict::Valid, None) => Ok(format!("passes ({} checkers, {} s)", findings.len(), took.as_secs())),
        (Verdict::Valid, Some(blind)) => Err(format!("{} looked at nothing", blind.checker)),
        (verdict, _) => Err(verdict.to_string()),
    }
}

fn caught(case: &Case, findings: &[Finding]) -> Result<String, String> {
    let convicts = |finding: &&Finding| {
        case.caught_by.contains(&finding.checker) && matches!(finding.verdict, Verdict::Violation { .. })
    };
    let violated = |finding: &&Finding| matches!(finding.verdict, Verdict::Violation { .. });
    let believed = findings.iter().find(|finding| ACCEPTED.contains(&finding.checker) && violated(finding));
    let convicted = findings.iter().any(|finding| finding.checker == convictions::NAME && violated(&finding));
    if let Some(believed) = believed.filter(|_| case.lie && !convicted) {
        return Err(format!("clients believed it, and nothing convicts it: {}", believed.verdict));
    }
    match findings.iter().find(convicts) {
        Some(finding) => Ok(finding.checker.to_owned()),
        None => Err(format!("by none of {}", case.caught_by.join(", "))),
    }
}

fn words(result: &Result<String, String>) -> String {
    match result {
        Ok(said) => said.clone(),
        Err(said) => format!("FAILS: {said}"),
    }
}
