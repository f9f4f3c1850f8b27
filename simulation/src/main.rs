//! Deterministic simulation of Chancery nodes.
//!
//! The node's own logic runs under a seed: its disk, clock, network and threads are simulated, and everything
//! that can go wrong with them does. One seed is one order of events, byte for byte; a failing one prints the
//! command that replays it. One process runs one seed, because the operating system's randomness is replaced
//! for the whole of it (`entropy.c`).

#![allow(clippy::unwrap_used, reason = "names and keys of the simulation are its own")]

mod clock;
mod cluster;
mod disk;
mod faults;
mod founding;
mod many;
mod monitor;
mod network;
mod node;
mod random;
mod tables;
mod trace;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::disk::Lie;

/// Set for a process that runs one seed; read before `main`, by whatever first draws from the system.
const SEED_VARIABLE: &str = "CHANCERY_SIMULATION_SEED";

/// Simulates a Chancery cluster under seeds.
#[derive(Debug, Parser)]
struct Options {
    /// Run this one seed and print its trace's hash.
    #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Run so many seeds.
    #[arg(long, default_value_t = 8)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run seeds for so long instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// Processes at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A deliberate bug, which is to be found.
    #[arg(long)]
    bug: Option<Bug>,
    /// Write the trace to this file.
    #[arg(long, requires = "seed")]
    trace: Option<PathBuf>,
}

/// Deliberate bugs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bug {
    /// The Raft log answers before its batch is durable.
    AckBeforeSync,
    /// A vote is not synced.
    UnsyncedVote,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) if std::env::var(SEED_VARIABLE).is_ok_and(|set| set == seed.to_string()) => {
            one(seed, &options)
        }
        Some(seed) => many::replay(seed),
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
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no folder for the nodes: {error}");
            return ExitCode::from(2);
        }
    };
    let lie = match options.bug {
        None => Lie::None,
        Some(Bug::AckBeforeSync) => Lie::EverySync,
        Some(Bug::UnsyncedVote) => Lie::Votes,
    };
    let report = cluster::run(seed, lie, folder.path());
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
