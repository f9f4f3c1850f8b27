//! With a million grants: whether checks stay as fast, and what memory, disk and a restart take.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::fault::Result;
use crate::load::{self, Measured as Measuring};
use crate::measures::median;
use crate::plan::Plan;
use crate::processes::Process;
use crate::system::chancery::Chancery;
use crate::system::{self};
use crate::workloads::chancery::{AGENTS, Clients, Commands, FILLED_EACH, GRANTS_EACH, Kind};

/// Steps on the way, at each of which memory and disk are looked at.
const STEPS: usize = 10;

/// Grants that are made before the nodes are waited for.
const FILLED_AT_ONCE: usize = 20_000;

/// Callers of the checks whose latency is compared: a load that does not fill the machine.
const CALLERS: usize = 4;

/// For what is merged in the background to be merged.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// What it came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Full {
    pub(crate) grants: usize,
    /// Median latency of the first checks with all grants, half a minute after they were made: in no turn.
    #[serde(default)]
    pub(crate) first_p50_us: f64,
    /// Median latency of a check with few grants and with all, in each turn.
    pub(crate) few_p50_us: Vec<f64>,
    pub(crate) all_p50_us: Vec<f64>,
    /// Grants, and the largest node's resident memory and bytes on disk then.
    pub(crate) steps: Vec<Step>,
    /// From the start of all three nodes until each served a proven answer, in seconds.
    pub(crate) restarts_s: Vec<f64>,
    /// Bytes on disk of the largest node in the end, for one grant.
    pub(crate) disk_bytes_per_grant: f64,
    /// What they are, by the folder of a node's data.
    #[serde(default)]
    pub(crate) disk_parts: Vec<(String, f64)>,
}

/// One look at the nodes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) grants: usize,
    pub(crate) seconds: f64,
    pub(crate) resident_mib: u64,
    pub(crate) disk_mib: u64,
}

/// Measures on a cluster of its own, beside one with few grants, so that both take turns.
pub(crate) async fn measure(
    plan: &Plan,
    folder: &Path,
    place: u16,
    few: &Arc<Clients>,
    few_nodes: &Chancery,
) -> Result<Full> {
    let began = Instant::now();
    let mut large = Chancery::start(&plan.program, folder, place).await?;
    let clients = Clients::prepare(&large, usize::from(plan.connections), 0).await?;
    let all = plan.full_grants;
    let mut full = Full { grants: all, ..Full::default() };
    let (mut grants, step) = (AGENTS * GRANTS_EACH, all / STEPS);
    while grants < all {
        let next = all.min(grants + step);
        while grants < next {
            let part = FILLED_AT_ONCE.min(next - grants);
            clients.fill(grants / FILLED_EACH, part).await?;
            grants += part;
            // The machine is busy: whichever node gets less of it falls behind, and a quorum does not wait for it.
            large.wait().await?;
        }
        let look = look(&large, grants, began);
        eprintln!(
            "{:6.1} s  {} grants: {} MiB resident, {} MiB on disk",
            look.seconds, grants, look.resident_mib, look.disk_mib
        );
        full.steps.push(look);
    }
    // What it was filled with is merged, and its checks are not its first: nobody has made a million grants just now.
    tokio::time::sleep(SETTLED_AFTER).await;
    full.first_p50_us = check_p50(plan, &clients, &large).await?;
    for _ in 0..plan.runs {
        full.few_p50_us.push(check_p50(plan, few, few_nodes).await?);
        full.all_p50_us.push(check_p50(plan, &clients, &large).await?);
    }
    drop(clients);
    for _ in 0..plan.runs {
        full.restarts_s.push(large.restart().await?.as_secs_f64());
    }
    tokio::time::sleep(SETTLED_AFTER).await;
    let last = look(&large, grants, began);
    full.steps.push(last);
    #[allow(clippy::cast_precision_loss, reason = "less than a petabyte")]
    let per_grant = large.disk_bytes() as f64 / grants as f64;
    full.disk_bytes_per_grant = per_grant;
    #[allow(clippy::cast_precision_loss, reason = "less than a petabyte")]
    let each = |(part, bytes): (String, u64)| (part, bytes as f64 / grants as f64);
    full.disk_parts = large.disk_parts().into_iter().map(each).collect();
    Ok(full)
}

impl Full {
    /// How much longer a check takes with all grants than with few.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let all = median(self.all_p50_us.iter().copied())?;
        median(self.few_p50_us.iter().copied()).map(|few| all / few)
    }
}

async fn check_p50(plan: &Plan, clients: &Arc<Clients>, nodes: &Chancery) -> Result<f64> {
    let checks = Arc::new(Commands::new(Kind::Check, clients));
    let nodes_cpu = || system::cpu(&nodes.processes);
    let measuring = Measuring { what: "check", nodes_cpu: &nodes_cpu, time: plan.time() };
    Ok(load::closed(&checks, CALLERS, measuring).await?.latency.p50_us)
}

fn look(nodes: &Chancery, grants: usize, began: Instant) -> Step {
    let resident = nodes.processes.iter().map(Process::resident_bytes).max().unwrap_or(0);
    Step {
        grants,
        seconds: began.elapsed().as_secs_f64(),
        resident_mib: resident >> 20,
        disk_mib: nodes.disk_bytes() >> 20,
    }
}
