//! How long a ledger is silent when its leader is killed: for writes, and for checks at the nodes that survive.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_client::chancery_ledger::command::Body;
use chancery_client::{CheckError, Ledger, Options};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::name;
use crate::cluster::{Cluster, Plan};
use crate::fault::HarnessError;

/// Clients that write, and clients of each node that check: enough that one call's own time is no gap.
const CLIENTS: u64 = 4;

/// Pause between two calls of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// How long everything flows before the leader is killed, and after.
const FLOW: Duration = Duration::from_secs(2);

/// How long it may take to serve again.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Agents that were named: each is registered once.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// What is aimed at, for writes and for checks.
const AIMS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(1)];

/// What was measured, one of each for each time that the leader was killed.
#[derive(Clone, Debug, Default)]
pub struct Downtimes {
    /// Longest time without an acknowledged write.
    pub writes: Vec<Duration>,
    /// Longest time without a proven check, at the worse of the surviving nodes.
    pub checks: Vec<Duration>,
}

/// When something was served, and by whom.
#[derive(Clone, Default)]
struct Served(Arc<Mutex<Vec<Instant>>>);

impl Served {
    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    fn since(&self, instant: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().is_some_and(|last| *last > instant)
    }

    /// The longest gap that is not over at `from`.
    fn longest_gap(&self, from: Instant) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_unstable();
        let before = all.iter().rev().find(|at| **at <= from).copied().unwrap_or(from);
        let after: Vec<Instant> =
            [before].into_iter().chain(all.into_iter().filter(|at| *at > from)).collect();
        let gaps = after.windows(2).map(|two| match two {
            [one, next] => next.duration_since(*one),
            _ => Duration::ZERO,
        });
        gaps.max().unwrap_or_default()
    }
}

/// Kills the leader of a cluster `runs` times. `tuning` goes into every `node.toml`: at default timings it is empty.
///
/// # Errors
/// The harness failed, or the nodes did not serve again.
pub async fn measure(
    program: PathBuf,
    folder: PathBuf,
    runs: u32,
    tuning: toml::Table,
) -> Result<Downtimes, HarnessError> {
    let plan = Plan { program, folder, nodes: 3, numbers: 3, tuning, environment: Vec::new() };
    let mut cluster = Cluster::start(plan).await?;
    let mut measured = Downtimes::default();
    for number in 1..=runs {
        cluster.settle(RECOVERY_TIMEOUT).await?;
        let (writes, checks) = once(&mut cluster).await?;
        eprintln!("{number}: writes {} ms, checks {} ms", writes.as_millis(), checks.as_millis());
        measured.writes.push(writes);
        measured.checks.push(checks);
    }
    Ok(measured)
}

async fn once(cluster: &mut Cluster) -> Result<(Duration, Duration), HarnessError> {
    let leader = cluster.leader().await.ok_or_else(|| HarnessError::TooLate("there is no leader".into()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let writes = Served::default();
    for _ in 0..CLIENTS {
        let ledger = cluster.connect("issuer", None, Options::default()).await?;
        clients.spawn(write(ledger, writes.clone(), Arc::clone(&stop)));
    }
    let mut checks = Vec::new();
    for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
        let served = Served::default();
        for _ in 0..CLIENTS {
            let ledger = cluster.connect("gate", Some(node), Options::default()).await?;
            clients.spawn(check(ledger, served.clone(), Arc::clone(&stop)));
        }
        checks.push(served);
    }
    sleep(FLOW).await;
    let killed = Instant::now();
    cluster.kill(&[leader])?;
    let deadline = killed + RECOVERY_TIMEOUT;
    let all = || checks.iter().chain([&writes]);
    while !all().all(|served| served.since(killed + FLOW)) {
        if Instant::now() >= deadline {
            return Err(HarnessError::TooLate("the surviving nodes do not serve".into()));
        }
        sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::SeqCst);
    while clients.join_next().await.is_some() {}
    cluster.start_node(leader)?;
    let worst = checks.iter().map(|served| served.longest_gap(killed)).max().unwrap_or_default();
    Ok((writes.longest_gap(killed), worst))
}

async fn write(ledger: Ledger, served: Served, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let agent = name(&format!("downtime/{}", NAMED.fetch_add(1, Ordering::Relaxed)));
        let body = Body::RegisterAgent { agent, owner: name("ada@example.com"), key: None, lineage: None };
        if ledger.command(body).await.is_ok() {
            served.note();
        }
        sleep(PAUSE).await;
    }
}

async fn check(ledger: Ledger, served: Served, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        if let Ok(_) | Err(CheckError::Denied(_)) = ledger.check("nobody", "act", "thing", b"").await {
            served.note();
        }
        sleep(PAUSE).await;
    }
}

impl Downtimes {
    /// Medians and worst, against the aims.
    pub fn table(&self) -> String {
        let row = |what: &str, measured: &[Duration], aim: Duration| {
            let mut sorted = measured.to_vec();
            sorted.sort_unstable();
            let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
            let worst = sorted.last().copied().unwrap_or_default();
            let held = if worst < aim { "held" } else { "MISSED" };
            format!(
                "{what:<34} median {:>5} ms, worst {:>5} ms of {}; aim {} ms: {held}\n",
                median.as_millis(),
                worst.as_millis(),
                sorted.len(),
                aim.as_millis()
            )
        };
        let [writes, checks] = AIMS;
        row("without an acknowledged write", &self.writes, writes)
            + &row("without a proven check (survivors)", &self.checks, checks)
    }
}
