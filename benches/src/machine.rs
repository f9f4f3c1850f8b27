//! The machine that figures are of: said beside every table, since they mean nothing without it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::fault::{BenchError, Result};

/// Synced writes that tell a disk's latency.
const SYNCS: usize = 200;

/// Bytes of each: about what a block of a hundred commands takes.
const SYNC_SIZE_BYTES: usize = 16 * 1024;

/// What the machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's model.
    pub(crate) cpu: String,
    /// Processors.
    pub(crate) processors: usize,
    /// Whether it has instructions for SHA-256.
    pub(crate) sha_extensions: bool,
    /// Memory, in MiB.
    pub(crate) memory_mib: u64,
    /// The kernel.
    pub(crate) kernel: String,
    /// What the data is on.
    pub(crate) file_system: String,
}

/// Latency of a synced write, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SyncLatency {
    /// Half are faster.
    pub(crate) p50_us: f64,
    /// One of a hundred is slower.
    pub(crate) p99_us: f64,
}

impl Machine {
    /// Describes it, with the file system of `folder`.
    pub(crate) fn describe(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = read("/proc/meminfo");
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
        Self {
            cpu: field("model name").unwrap_or_else(|| "unknown".into()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            sha_extensions: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "sha_ni")),
            memory_mib: kib.unwrap_or(0_u64) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(folder, &read("/proc/mounts")),
        }
    }
}

/// The type of the file system that `folder` is on.
fn file_system(folder: &Path, mounts: &str) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let longest = mounts.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.len());
    longest.map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Measures appending and syncing in `folder`, as a log does.
pub(crate) fn sync_latency(folder: &Path) -> Result<SyncLatency> {
    let path = folder.join("sync-latency");
    let mut file = File::create(&path).map_err(BenchError::at(&path))?;
    let mut took: Vec<Duration> = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[7; SYNC_SIZE_BYTES])
            .and_then(|()| file.sync_data())
            .map_err(BenchError::at(&path))?;
        took.push(began.elapsed());
    }
    fs::remove_file(&path).map_err(BenchError::at(&path))?;
    took.sort();
    let at = |part: usize| took.get(SYNCS * part / 100).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    Ok(SyncLatency { p50_us: at(50), p99_us: at(99) })
}
