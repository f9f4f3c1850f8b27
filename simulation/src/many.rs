//! Many seeds, each in a process of its own.

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::{Options, SEED_VARIABLE};

/// Runs the seed that this process was asked for in one whose randomness is seeded, with the same arguments.
pub(crate) fn replay(seed: u64) -> ExitCode {
    let child = this_program().and_then(|mut program| {
        program.args(std::env::args_os().skip(1)).env(SEED_VARIABLE, seed.to_string()).status()
    });
    match child {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("this program cannot be started again: {error}");
            ExitCode::from(2)
        }
    }
}

fn this_program() -> std::io::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// What became of one seed.
struct Ended {
    seed: u64,
    violation: Option<String>,
    output: String,
}

/// Runs all seeds that `options` names, prints what they found, and fails if one did.
pub(crate) fn run(options: &Options) -> ExitCode {
    let began = Instant::now();
    let until = options.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let wanted = |seed: u64| match until {
        Some(until) => Instant::now() < until,
        None => seed - options.from < options.seeds,
    };
    let (mut next, mut running, mut ended) = (options.from, Vec::new(), Vec::new());
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed: Vec<Ended> = Vec::new();
    while wanted(next) || !running.is_empty() {
        while running.len() < options.jobs.max(1) && wanted(next) && failed.is_empty() {
            match start(next, options) {
                Ok(child) => running.push((next, child)),
                Err(error) => {
                    eprintln!("this program cannot be started again: {error}");
                    return ExitCode::from(2);
                }
            }
            next += 1;
        }
        if running.is_empty() {
            break;
        }
        let (seed, child) = running.remove(0);
        let end = end(seed, child);
        for (what, count) in counts(&end.output) {
            *totals.entry(what).or_default() += count;
        }
        ended.push(seed);
        if end.violation.is_some() {
            failed.push(end);
        }
    }
    println!("{} seeds from {} in {:.0?}", ended.len(), options.from, began.elapsed());
    for (what, count) in &totals {
        println!("  {what:<24}{count:>10}");
    }
    for end in &failed {
        println!("{}", end.output);
        println!("seed {} failed: {}", end.seed, end.violation.as_deref().unwrap_or_default());
        println!("replay: {}", replay_command(end.seed, options));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay_command(seed: u64, options: &Options) -> String {
    let bug = options.bug.map_or_else(String::new, |bug| format!(" BUG={}", bug.name()));
    format!("make simulate SEED={seed}{bug}")
}

fn start(seed: u64, options: &Options) -> std::io::Result<Child> {
    let mut program = this_program()?;
    program.args(["--seed", &seed.to_string()]).env(SEED_VARIABLE, seed.to_string());
    if let Some(bug) = options.bug {
        program.args(["--bug", bug.name()]);
    }
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()
}

fn end(seed: u64, child: Child) -> Ended {
    let (output, succeeded) = match child.wait_with_output() {
        Ok(output) => (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()),
        Err(error) => (error.to_string(), false),
    };
    let violation = output.lines().find_map(|line| line.strip_prefix("violation: ").map(str::to_owned));
    let violation = violation.or_else(|| (!succeeded).then(|| "the process died".to_owned()));
    Ended { seed, violation, output }
}

fn counts(output: &str) -> impl Iterator<Item = (String, u64)> {
    output.lines().filter_map(|line| {
        let (what, count) = line.strip_prefix("count: ")?.rsplit_once(": ")?;
        Some((what.to_owned(), count.parse().ok()?))
    })
}
