//! One round: a new cluster, all workloads at once, one group of faults; then peace, and judgement.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::checkers::porcupine::Porcupine;
use crate::checkers::{Finding, Verdict};
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::fault::HarnessError;
use crate::follower::{Followed, Follower};
use crate::history::{Operation, Outcome};
use crate::judge::{Record, judge, write_edn};
use crate::nemesis::{Counts, Group, Nemesis};
use crate::recorder::{OPERATIONS_MAX, Recorder};
use crate::refused_proofs;
use crate::seed::Choices;
use crate::workload::{Kind, Workload};

/// Clients of one workload: one for each node, as far as this goes, and one that goes to all.
const BOUND_CLIENTS_MAX: u64 = 3;

/// Longest pause of a client between two operations: the machine is to wait for the nodes, not the nodes for it.
const PAUSE_MS_MAX: u64 = 60;

/// Log entries between snapshots, and kept behind one, where snapshots are to be made all the time.
const SNAPSHOTS: [(i64, i64); 3] = [(50, 5), (100, 10), (1_000, 0)];

/// The longest that a round has faults, on a machine that is too slow for each of its group to have happened, and
/// for each workload to have come to anything, in the time that it was given.
const FAULTS_MAX: Duration = Duration::from_secs(180);

/// Who follows the log: one node or all of them, and whether it reads slowly.
const FOLLOWERS: [(Option<u64>, bool); 3] = [(Some(1), false), (None, false), (None, true)];

/// How long a follower may take nothing before a node cuts it off, in milliseconds: shorter than a slow one stops.
const WATCH_PATIENCE_MS: i64 = 1_000;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the nodes may take to start, and to serve again when the faults are over. Beyond it, they do not recover.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(180);

/// How long clients may take to end what they are at: the SDK's timeouts, many times over.
const CLIENTS_END_TIMEOUT: Duration = Duration::from_secs(180);

/// What a round is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program.
    pub program: PathBuf,
    /// The round's folder; removed if it shows nothing wrong.
    pub folder: PathBuf,
    /// The faults.
    pub group: Group,
    /// The workloads.
    pub workloads: Vec<Kind>,
    /// What chooses.
    pub seed: u64,
    /// How long there are faults; until each of the group has happened and each workload has come to something, if
    /// that takes longer, up to three minutes.
    pub time: Duration,
    /// The longest that a fault is held, a pause above all.
    pub hold_max: Duration,
    /// The checker that others wrote, where it could be built.
    pub porcupine: Option<Porcupine>,
    /// What nodes have in their environment: node, name, value.
    pub environment: Vec<(u64, String, String)>,
}

/// What came of the operations of one workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Acknowledged and not a denial, or permitted.
    pub ok: u64,
    /// Proven denials, recorded or not.
    pub denied: u64,
    /// Refused, or without effect, or a check without an answer.
    pub not_done: u64,
    /// Open for ever.
    pub unknown: u64,
}

/// How often followers of the log had to go on after a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gaps {
    /// From the token of one that ended.
    pub resumed: u64,
    /// After a node cut one off for being slow.
    pub cut_off: u64,
}

/// What came of a round.
pub struct Report {
    /// The faults that happened.
    pub faults: Counts,
    /// What came of the operations, of each workload.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// How followers of the log fared.
    pub gaps: Gaps,
    /// What the checkers say.
    pub findings: Vec<Finding>,
    /// How long the nodes took to serve again.
    pub recovered_in: Duration,
}

impl Report {
    /// What all checkers say together.
    pub fn verdict(&self) -> Verdict {
        Verdict::all(self.findings.iter().map(|finding| finding.verdict.clone()))
    }
}

/// Runs a round, and judges it. Its folder is kept unless all is well.
///
/// # Errors
/// The harness itself failed. What the nodes do wrong is a finding.
pub async fn run(setting: &Setting) -> Result<Report, HarnessError> {
    let mut choices = Choices::of_part(setting.seed, "cluster");
    let snapshots = match setting.group {
        Group::Snapshot => true,
        Group::Mixed => choices.chance(500),
        _ => false,
    };
    let mut tuning = toml::Table::new();
    tuning.insert("watch_patience_ms".into(), WATCH_PATIENCE_MS.into());
    if let Some((every, keep)) = choices.pick(&SNAPSHOTS).filter(|_| snapshots) {
        tuning.insert("snapshot_every_entries".into(), (*every).into());
        tuning.insert("keep_log_entries".into(), (*keep).into());
    }
    let plan = Plan {
        program: setting.program.clone(),
        folder: setting.folder.clone(),
        nodes: setting.group.nodes(),
        numbers: setting.group.numbers(),
        tuning,
        environment: setting.environment.clone(),
    };
    // What was refused before is another round's.
    refused_proofs::take();
    let mut cluster = Cluster::start(plan).await?;
    cluster.settle(RECOVERY_TIMEOUT).await?;
    let recorder = Arc::new(Recorder::new(cluster.folder())?);
    let began = Instant::now();
    let crowd = Crowd::gather(&cluster, &recorder, setting).await?;
    let followers = Followers::gather(&cluster, setting).await?;

    let mut nemesis = Nemesis::new(setting, &cluster).await?;
    let mut wrong = None;
    let longest = setting.time.max(FAULTS_MAX);
    while wrong.is_none() && began.elapsed() < longest && recorder.ended() < OPERATIONS_MAX {
        let is_complete =
            || nemesis.is_complete() && setting.workloads.iter().all(|kind| recorder.shows(*kind));
        if began.elapsed() >= setting.time && is_complete() {
            break;
        }
        wrong = nemesis.act(&mut cluster, &recorder).await?;
        sleep(LOOK_EVERY).await;
    }
    if wrong.is_none() {
        wrong = nemesis.heal(&mut cluster).await?;
    }
    let healed = Instant::now();
    let mut findings = Vec::new();
    let settled = match wrong {
        Some(what) => Err(what),
        // While the clients go on: the nodes must serve, not only agree.
        None => crowd.serve_again(RECOVERY_TIMEOUT).await,
    };
    let recovered_in = healed.elapsed();
    let logs = crowd.end(settled.is_ok()).await;
    let mut followed = Vec::new();
    let settled = match (settled, logs) {
        (Ok(()), Ok(())) => match cluster.settle(RECOVERY_TIMEOUT).await {
            Ok(head) => match followers.end(head.log_size).await {
                Ok(all) => {
                    followed = all;
                    cluster.logs(head.log_size).await.map_err(|error| error.to_string())
                }
                Err(what) => Err(what),
            },
            Err(error) => Err(error.to_string()),
        },
        (Err(what), _) | (_, Err(what)) => Err(what),
    };
    let gaps = Gaps {
        resumed: followed.iter().map(|one| one.resumed).sum(),
        cut_off: followed.iter().map(|one| one.cut_off).sum(),
    };
    let (operations, history, proofs) = recorder.finish()?;
    let workloads = recorder.workloads();
    let tallies = tally(&operations, &workloads);
    write_edn(&operations, &workloads, cluster.folder())?;
    match settled {
        Err(what) => findings.push(not_recovered(what)),
        Ok(logs) => {
            let record = Record {
                trust: cluster.trust().await?,
                operations,
                history,
                proofs,
                logs,
                followed,
                refused_proofs: refused_proofs::take(),
                porcupine: setting.porcupine.clone(),
            };
            // The machine is the checkers' now.
            drop(cluster);
            let judged = tokio::task::spawn_blocking(move || judge(&record)).await;
            findings.extend(judged.map_err(|error| HarnessError::Setup(format!("a checker: {error}")))??);
        }
    }
    let report = Report { faults: nemesis.counts().clone(), tallies, gaps, findings, recovered_in };
    if report.verdict().is_valid() {
        fs::remove_dir_all(&setting.folder).map_err(HarnessError::at(&setting.folder))?;
    }
    Ok(report)
}

/// All followers of the log of a round.
struct Followers {
    all: JoinSet<Followed>,
    until: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Followers {
    async fn gather(cluster: &Cluster, setting: &Setting) -> Result<Self, HarnessError> {
        let (until, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut all = JoinSet::new();
        for (node, slow) in FOLLOWERS {
            let choices = Choices::of_part(setting.seed, &format!("follower {node:?} {slow}"));
            let (until, stop) = (Arc::clone(&until), Arc::clone(&stop));
            all.spawn(Follower::connect(cluster, (node, slow), choices, until, stop).await?.follow());
        }
        Ok(Self { all, until, stop })
    }

    /// Lets each follow until it has `size` leaves, proven: what they were told.
    async fn end(mut self, size: u64) -> Result<Vec<Followed>, String> {
        self.until.store(size, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        let all = async {
            let mut followed = Vec::new();
            while let Some(one) = self.all.join_next().await {
                followed.push(one.map_err(|error| format!("a follower: {error}"))?);
            }
            Ok(followed)
        };
        let ended = timeout(CLIENTS_END_TIMEOUT, all).await;
        ended.unwrap_or_else(|_| Err("the followers of the log do not come to its end".into()))
    }
}

/// All clients of a round.
struct Crowd {
    clients: JoinSet<Result<(), String>>,
    stop: Arc<AtomicBool>,
    recorder: Arc<Recorder>,
    last_checks: Arc<AtomicBool>,
}

impl Crowd {
    async fn gather(
        cluster: &Cluster,
        recorder: &Arc<Recorder>,
        setting: &Setting,
    ) -> Result<Self, HarnessError> {
        let (stop, last_checks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        let bound = (1..=setting.group.nodes().min(BOUND_CLIENTS_MAX)).map(Some);
        let nodes: Vec<Option<u64>> = bound.chain([None]).collect();
        for kind in &setting.workloads {
            let workload = Arc::new(Workload::new(*kind));
            for node in &nodes {
                let part = format!("{} {node:?}", kind.name());
                let choices = Choices::of_part(setting.seed, &part);
                let mut client = Client::connect(cluster, recorder, kind.name(), *node, choices).await?;
                let (workload, stop) = (Arc::clone(&workload), Arc::clone(&stop));
                let last_checks = Arc::clone(&last_checks);
                clients.spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        workload.step(&mut client).await;
                        let pause_ms = client.choices.between(0, PAUSE_MS_MAX);
                        sleep(Duration::from_millis(pause_ms)).await;
                    }
                    if last_checks.load(Ordering::SeqCst) {
                        workload.last_checks(&mut client).await;
                    }
                    Ok(())
                });
            }
        }
        Ok(Self { clients, stop, recorder: Arc::clone(recorder), last_checks })
    }

    /// Waits until commands are acknowledged, and checks answered, that began now or later.
    async fn serve_again(&self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let since = self.recorder.now_us();
        while !self.recorder.serves_since(since) {
            if Instant::now() >= deadline {
                return Err(format!(
                    "no command or no check was served within {patience:?} after the faults"
                ));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Lets every client end what it is at, and make its last checks.
    async fn end(mut self, last_checks: bool) -> Result<(), String> {
        self.last_checks.store(last_checks, Ordering::SeqCst);
        self.stop.store(true, Ordering::SeqCst);
        let all = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.map_err(|error| format!("a client: {error}"))??;
            }
            Ok(())
        };
        timeout(CLIENTS_END_TIMEOUT, all).await.unwrap_or_else(|_| Err("the clients do not end".into()))
    }
}

fn tally(operations: &[Operation], workloads: &BTreeMap<u32, &'static str>) -> BTreeMap<&'static str, Tally> {
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    for operation in operations {
        let Some(workload) = workloads.get(&operation.process) else { continue };
        let tally = tallies.entry(workload).or_default();
        match operation.outcome {
            Outcome::Denied { .. } => tally.denied += 1,
            Outcome::Acknowledged { verdict: Some(ref verdict), .. } if !verdict.is_permit() => {
                tally.denied += 1;
            }
            Outcome::Acknowledged { .. } | Outcome::Permitted { .. } => tally.ok += 1,
            Outcome::Refused { .. } | Outcome::NotDone { .. } => tally.not_done += 1,
            Outcome::Unknown { .. } => tally.unknown += 1,
        }
    }
    tallies
}

fn not_recovered(what: String) -> Finding {
    const NAME: &str = "recovery";
    let verdict = Verdict::Violation { checker: NAME, what, operations: Vec::new() };
    Finding { checker: NAME, examined: 1, verdict }
}
