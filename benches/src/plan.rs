//! What is asked for.

use std::path::PathBuf;
use std::time::Duration;

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// The product's program.
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// Another build of it, under each of the product's loads right before or after it: what a change of its nodes changed.
    #[arg(long)]
    pub(crate) beside: Option<PathBuf>,
    /// etcd's program. Without it there are no figures of it.
    #[arg(long)]
    pub(crate) etcd: Option<PathBuf>,
    /// Where results are written.
    #[arg(long)]
    pub(crate) results: PathBuf,
    /// Where the systems keep their data while they run: a folder on a disk, and not in memory.
    #[arg(long, env = "CHANCERY_BENCH_FOLDER")]
    pub(crate) scratch: Option<PathBuf>,
    /// Turns: every figure is a median of so many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,
    /// How long one measurement takes in one turn, in seconds, after its warm-up.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Callers at once, on each system.
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub(crate) callers: u16,
    /// Connections that they share, spread over the three nodes, on each system.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// A recording of tool calls, for the replay; without it there is none.
    #[arg(long)]
    pub(crate) recording: Option<PathBuf>,
    /// Only what is called so, or begins so: chancery/check. May be given several times.
    #[arg(long)]
    pub(crate) only: Vec<String>,
    /// Also what takes a million grants.
    #[arg(long)]
    pub(crate) full: bool,
    /// How many grants that is: fewer, to see that it works.
    #[arg(long, default_value_t = 1_000_000, hide = true)]
    pub(crate) full_grants: usize,
    /// The bench ends by itself after so many minutes, with results or without.
    #[arg(long, default_value_t = 20)]
    pub(crate) minutes_max: u64,
}

impl Plan {
    /// Whether `what` is to be measured.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| what.starts_with(only.as_str()))
    }

    /// How long one measurement takes.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 600.0))
    }
}
