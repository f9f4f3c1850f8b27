//! Deterministic simulation of Chancery nodes.
//!
//! The node's own logic runs under a seed: its disk, clock, network and threads are simulated, and everything
//! that can go wrong with them does. One seed is one order of events, byte for byte; a failing one prints the
//! command that replays it. One process runs one seed, because the operating system's randomness and clocks are replaced
//! for the whole of it (`machine.c`).

#![allow(clippy::unwrap_used, reason = "names and keys of the simulation are its own")]

mod clock;
mod cluster;
mod disk;
mod faults;
mod founding;
mod injection;
mod many;
mod monitor;
mod network;
mod node;
mod operator;
mod random;
mod tables;
mod trace;
mod workload;

use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use crate::disk::Lie;

/// Set for a process that runs one seed; read before `main`, by whatever first draws from the system.
const SEED_VARIABLE: &str = "CHANCERY_SIMULATION_SEED";

const USAGE: &str = "\
usage: chancery-simulation [--seeds N | --minutes N] [--from SEED] [--jobs N] [--bug BUG]
       chancery-simulation --seed SEED [--trace FILE] [--bug BUG]
  --seeds N     run so many seeds (8), each in a process of its own
  --minutes N   run seeds for so long
  --from SEED   the first of them (1)
  --jobs N      processes at once (2)
  --seed SEED   run this one, and print the hash of its trace
  --trace FILE  write its trace there
  --bug BUG     with a deliberate bug, which is to be found: ack-before-sync, unsynced-vote, and in a build with
                the feature `sabotage` what that offers";

/// What is asked of this program.
#[derive(Debug)]
struct Options {
    seed: Option<u64>,
    seeds: u64,
    from: u64,
    minutes: Option<u64>,
    jobs: usize,
    bug: Option<Bug>,
    trace: Option<PathBuf>,
}

/// A deliberate bug.
#[derive(Clone, Debug)]
struct Bug {
    name: String,
    /// What disks say is durable, and is not. Nothing, if it is the nodes that are broken.
    lie: Lie,
}

impl Bug {
    fn of(name: String) -> Option<Self> {
        let lie = match name.as_str() {
            "ack-before-sync" => Lie::EverySync,
            "unsynced-vote" => Lie::Votes,
            _ if cfg!(feature = "sabotage") => Lie::None,
            _ => return None,
        };
        Some(Self { name, lie })
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options =
            Self { seed: None, seeds: 8, from: 1, minutes: None, jobs: 2, bug: None, trace: None };
        while let Some(option) = arguments.next() {
            let value = arguments.next()?;
            match option.as_str() {
                "--seed" => options.seed = Some(value.parse().ok()?),
                "--seeds" => options.seeds = value.parse().ok()?,
                "--from" => options.from = value.parse().ok()?,
                "--minutes" => options.minutes = Some(value.parse().ok()?),
                "--jobs" => options.jobs = value.parse().ok()?,
                "--bug" => options.bug = Some(Bug::of(value)?),
                "--trace" => options.trace = Some(absolute(value).ok()?),
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match options.seed {
        Some(seed) if std::env::var(SEED_VARIABLE).is_ok_and(|set| set == seed.to_string()) => {
            one(seed, &options)
        }
        Some(seed) => many::replay(seed, &options),
        None => many::run(&options),
    }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,chancery_node=info,turmoil=off"));
    let subscriber = tracing_subscriber::fmt().with_writer(trace::Events).without_time().with_ansi(false);
    subscriber.with_env_filter(filter).init();
    std::panic::set_hook(Box::new(|panic| {
        println!("violation: panic: {panic}");
        std::process::exit(1);
    }));
    if let Some(path) = &options.trace
        && let Err(error) = trace::write_to(path)
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::from(2);
    }
    // Relative, so that no error that a node logs differs from run to run.
    let folder = Path::new(".");
    if folder.read_dir().map_or(true, |mut found| found.next().is_some()) {
        eprintln!("{SEED_VARIABLE} is for this program to set: the nodes' folder is to be new and empty");
        return ExitCode::from(2);
    }
    let lie = options.bug.as_ref().map_or(Lie::None, |bug| bug.lie);
    #[cfg(feature = "sabotage")]
    if let Err(error) = chancery_node::sabotage::choose() {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let report = cluster::run(seed, lie, folder);
    for (what, count) in &report.counts {
        println!("count: {what}: {count}");
    }
    println!("trace: {} lines, {}", report.lines, report.trace);
    let Some(violation) = report.violation else { return ExitCode::SUCCESS };
    for line in trace::last_lines() {
        println!("last: {line}");
    }
    println!("violation: {violation}");
    ExitCode::FAILURE
}
