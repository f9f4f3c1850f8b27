//! Many seeds, each in a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::Lie;
use crate::{Options, SEED_VARIABLE};

/// Runs one seed, in a process whose randomness is seeded.
pub(crate) fn replay(seed: u64, options: &Options) -> ExitCode {
    let ended = tempfile::tempdir().and_then(|folder| program(seed, options, folder.path())?.status());
    match ended {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("this program cannot be started again: {error}");
            ExitCode::from(2)
        }
    }
}

/// This program with `seed`, whose nodes keep their files in the new `folder`. Its name is not known to them,
/// and nothing is drawn to find one.
fn program(seed: u64, options: &Options, folder: &Path) -> std::io::Result<Command> {
    let mut program = Command::new(std::env::current_exe()?);
    program.args(["--seed", &seed.to_string()]).env(SEED_VARIABLE, seed.to_string()).current_dir(folder);
    if let Some(bug) = &options.bug {
        program.args(["--bug", &bug.name]);
        if bug.lie == Lie::None {
            program.env("CHANCERY_SABOTAGE", &bug.name);
        }
    }
    if let Some(trace) = &options.trace {
        program.arg("--trace").arg(trace);
    }
    Ok(program)
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
    let (mut next, mut running, mut ended) = (options.from, Vec::new(), 0);
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed: Vec<Ended> = Vec::new();
    while wanted(next) || !running.is_empty() {
        while running.len() < options.jobs.max(1) && wanted(next) && failed.is_empty() {
            match start(next, options) {
                Ok(started) => running.push(started),
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
        let end = end(running.remove(0));
        for (what, count) in counts(&end.output) {
            *totals.entry(what).or_default() += count;
        }
        ended += 1;
        if end.violation.is_some() {
            failed.push(end);
        }
    }
    println!("{} seeds from {} in {:.0?}", ended, options.from, began.elapsed());
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
    let bug = options.bug.as_ref().map_or_else(String::new, |bug| format!(" BUG={}", bug.name));
    format!("make simulate SEED={seed}{bug}")
}

/// A seed that runs.
struct Running {
    seed: u64,
    child: Child,
    /// The nodes' files: removed when it has ended, however it did.
    _folder: TempDir,
}

fn start(seed: u64, options: &Options) -> std::io::Result<Running> {
    let folder = tempfile::tempdir()?;
    let mut program = program(seed, options, folder.path())?;
    let child = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    Ok(Running { seed, child, _folder: folder })
}

fn end(running: Running) -> Ended {
    let Running { seed, child, _folder } = running;
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
