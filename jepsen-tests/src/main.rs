//! `chancery-jepsen`: real clusters under faults, and what the checkers say of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chancery_jepsen::downtime;
use chancery_jepsen::fault::HarnessError;
use chancery_jepsen::nemesis::Group;
use chancery_jepsen::refused_proofs::Listener;
use chancery_jepsen::run::{Settings, run};
use chancery_jepsen::workload::Kind;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Faults on real Chancery clusters, judged by independent checkers.
#[derive(Debug, Parser)]
#[command(name = "chancery-jepsen")]
struct Command {
    /// The program, built with `chancery-cli/failpoints`; the one beside this one unless told.
    #[arg(long, env = "CHANCERY_BIN", global = true)]
    program: Option<PathBuf>,
    /// Where rounds keep their folders; those of rounds that show nothing wrong are removed.
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir().join("chancery-jepsen"))]
    folder: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Rounds of faults and workloads, until the time is over.
    Run(Run),
    /// How long writes and checks are not served when the leader is killed.
    Downtime {
        /// How often it is killed.
        #[arg(long, default_value_t = 20)]
        runs: u32,
        /// Other timings than the default ones, as the table `tuning` of `node.toml` has them.
        #[arg(long, value_name = "TOML", default_value = "")]
        tuning: String,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// How long, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// What chooses: the same seed, the same faults.
    #[arg(long)]
    seed: Option<u64>,
    /// Groups of faults; all unless told.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Group>,
    /// Workloads; all unless told.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Kind>,
    /// How many of them one round has: rounds take them in turn.
    #[arg(long, default_value_t = 5)]
    workloads_at_once: usize,
    /// So many rounds, and nothing said of what they did not cover.
    #[arg(long)]
    rounds: Option<u64>,
    /// How long each round has faults, in seconds.
    #[arg(long)]
    round_seconds: Option<u64>,
    /// The longest that a fault is held, a pause above all, in seconds: two at least.
    #[arg(long, default_value_t = 10)]
    hold_seconds: u64,
    /// Rounds that may show something wrong before the run ends.
    #[arg(long, default_value_t = 1)]
    failures_max: usize,
    /// What one node has in its environment besides this process' own; as often as needed.
    #[arg(long, value_name = "NODE:NAME=VALUE", value_parser = variable)]
    environment: Vec<(u64, String, String)>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let command = Command::parse();
    let filter = EnvFilter::try_from_env("CHANCERY_JEPSEN_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    let told = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    tracing_subscriber::registry().with(told).with(Listener.with_filter(LevelFilter::WARN)).init();
    match command.run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chancery-jepsen: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    async fn run(self) -> Result<bool, HarnessError> {
        // Each run has a folder of its own, so that two may go on at once.
        let folder = self.folder.join(std::process::id().to_string());
        let program = copied(&found(self.program)?, &folder)?;
        let all_well = match self.what {
            What::Run(run) => run.run(program, &folder).await?,
            What::Downtime { runs, tuning } => {
                let tuning = toml::from_str(&tuning)
                    .map_err(|error| HarnessError::Setup(format!("tuning: {error}")))?;
                let measured = downtime::measure(program, folder.join("downtime"), runs, tuning).await?;
                println!("{}", measured.table());
                true
            }
        };
        if all_well {
            fs::remove_dir_all(&folder).map_err(|source| io(&folder, source))?;
        }
        Ok(all_well)
    }
}

impl Run {
    async fn run(self, program: PathBuf, folder: &Path) -> Result<bool, HarnessError> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|error| HarnessError::Setup(error.to_string()))?;
        let or_all = |given: Vec<Group>| if given.is_empty() { Group::ALL.to_vec() } else { given };
        let settings = Settings {
            program,
            folder: folder.to_owned(),
            time: Duration::from_secs(self.seconds),
            seed: self.seed.unwrap_or_else(|| u32::from_be_bytes(random).into()),
            groups: or_all(self.faults),
            workloads: if self.workloads.is_empty() { Kind::ALL.to_vec() } else { self.workloads },
            workloads_at_once: self.workloads_at_once.max(1),
            hold_max: Duration::from_secs(self.hold_seconds),
            failures_max: self.failures_max.max(1),
            environment: self.environment,
            round: self.round_seconds.map(Duration::from_secs),
        };
        eprintln!("seed {}", settings.seed);
        let summary = run(&settings, self.rounds).await?;
        println!("{}", summary.table());
        for failure in &summary.failures {
            println!("FAILED: {failure}");
        }
        Ok(summary.failures.is_empty())
    }
}

fn variable(text: &str) -> Result<(u64, String, String), String> {
    let parts = text.split_once(':').and_then(|(node, rest)| Some((node, rest.split_once('=')?)));
    let (node, (name, value)) = parts.ok_or("not NODE:NAME=VALUE")?;
    let node = node.parse().map_err(|_| format!("{node:?} is no node"))?;
    Ok((node, name.into(), value.into()))
}

/// The program that was named, or the one beside this one.
fn found(given: Option<PathBuf>) -> Result<PathBuf, HarnessError> {
    let beside = || std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("chancery")));
    given.or_else(beside).ok_or_else(|| HarnessError::Setup("no program was named".into()))
}

/// A copy of the program, so that a node comes back as what it was, though it is built again meanwhile.
fn copied(program: &Path, folder: &Path) -> Result<PathBuf, HarnessError> {
    fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
    let copy = folder.join("chancery");
    fs::copy(program, &copy).map_err(|source| io(program, source))?;
    Ok(copy)
}

fn io(path: &Path, source: std::io::Error) -> HarnessError {
    HarnessError::Io { what: path.display().to_string(), source }
}
