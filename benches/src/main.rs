//! How fast is Chancery, next to etcd and next to what no such system can do without?
//!
//! Both systems run as three processes on the loopback interface of this machine, with real syncs, and take turns under
//! the same load from the same number of callers over the same number of connections; and so does the floor: the
//! signatures, hashes, empty calls and synced writes that an operation is made of. Every figure is a median of several
//! turns. See `docs/performance.md`.

mod fault;
mod floor;
mod full;
mod load;
mod machine;
mod measures;
mod micro;
mod plan;
mod processes;
mod replay;
mod report;
mod run;
mod system;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use fault::{BenchError, Result};
use plan::Plan;

/// The nodes', for the clients of every system: what is allocated by one thread and freed by another makes threads wait
/// for each other with glibc's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Chancery next to etcd and the floor.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measures, and writes the results.
    Run(Plan),
    /// Writes the tables and plots again, from what was measured before.
    Report {
        /// The folder of results.json.
        #[arg(long)]
        results: PathBuf,
    },
    /// Answers empty calls: one of the floor's three processes. The bench starts it.
    #[command(hide = true)]
    FloorServer {
        /// A node's folder, with its certificate.
        #[arg(long)]
        node: PathBuf,
        /// Where it listens.
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match Arguments::parse().what {
            What::Run(plan) => bounded(plan).await,
            What::Report { results } => report::again(&results),
            What::FloorServer { node, listen } => floor::server::serve(&node, listen).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The bench, which ends in its time, or when it is told to: what it started ends with it in each case.
async fn bounded(plan: Plan) -> Result<()> {
    let most = plan.minutes_max * 60;
    let stop = |kind| signal(kind).map_err(BenchError::of("signal"));
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    tokio::select! {
        ended = run::run(plan) => ended,
        () = tokio::time::sleep(Duration::from_secs(most)) => Err(BenchError::TooLong(most)),
        _ = interrupt.recv() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
    }
}
