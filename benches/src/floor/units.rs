//! What one signature, one hash and one synced write cost.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::{BenchError, Result};

/// Bytes of a signed message: about a command's, or a statement's.
const MESSAGE_SIZE_BYTES: usize = 300;

/// Signatures and verifications of one turn.
const SIGNATURES: u32 = 300;

/// Hashes of one turn.
const HASHES: u32 = 5_000;

/// Synced writes of one turn.
const SYNCS: u32 = 150;

/// Bytes of a synced write: about what a block of some tens of commands takes.
const SYNC_SIZE_BYTES: usize = 8 * 1024;

/// What one of each costs: CPU time in microseconds if not said otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Units {
    /// An Ed25519 signature.
    pub(crate) sign_us: f64,
    /// A strict verification, under a key that is decoded already.
    pub(crate) verify_us: f64,
    /// SHA-256 of an inner node of a tree: 67 bytes.
    pub(crate) node_hash_us: f64,
    /// SHA-256 of a KiB.
    pub(crate) hash_kib_us: f64,
    /// A write and fdatasync into a file whose blocks are there already.
    pub(crate) sync_us: f64,
    /// The time that this takes, at the median.
    pub(crate) sync_wall_us: f64,
    /// The time that it takes if the file grows, at the median.
    pub(crate) growing_sync_wall_us: f64,
}

/// Measures each once more, on a thread that may block; syncs in `folder`.
pub(crate) fn measure(folder: &Path) -> Result<Units> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [7; MESSAGE_SIZE_BYTES];
    let (signature, public) = (key.sign(&message), key.verifying_key());
    let sign_us = each(SIGNATURES, || {
        black_box(key.sign(black_box(&message)));
    });
    let verify_us = each(SIGNATURES, || {
        let _ = black_box(public.verify_strict(black_box(&message), &signature));
    });
    let hash = |bytes: &[u8]| {
        black_box(Sha256::digest(black_box(bytes)));
    };
    let node_hash_us = each(HASHES, || hash(&[7; 67]));
    let hash_kib_us = each(HASHES / 8, || hash(&[7; 1024]));
    let (sync_us, sync_wall_us) = syncs(folder, true)?;
    let (_, growing_sync_wall_us) = syncs(folder, false)?;
    Ok(Units { sign_us, verify_us, node_hash_us, hash_kib_us, sync_us, sync_wall_us, growing_sync_wall_us })
}

/// CPU time of a synced write and the time that it takes, in microseconds.
fn syncs(folder: &Path, preallocated: bool) -> Result<(f64, f64)> {
    let path = folder.join("floor-sync");
    let block = [7; SYNC_SIZE_BYTES];
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .map_err(BenchError::at(&path))?;
    let write = |file: &File, number: u64| {
        let offset = number * u64::try_from(SYNC_SIZE_BYTES).unwrap_or(0);
        file.write_all_at(&block, offset).and_then(|()| file.sync_data())
    };
    if preallocated {
        for number in 0..u64::from(SYNCS) {
            file.write_all_at(&block, number * u64::try_from(SYNC_SIZE_BYTES).unwrap_or(0))
                .map_err(BenchError::at(&path))?;
        }
        file.sync_all().map_err(BenchError::at(&path))?;
    }
    let (before, mut took) = (thread_cpu(), Vec::new());
    for number in 0..u64::from(SYNCS) {
        let began = Instant::now();
        write(&file, number).map_err(BenchError::at(&path))?;
        took.push(began.elapsed());
    }
    let cpu = thread_cpu().saturating_sub(before);
    fs::remove_file(&path).map_err(BenchError::at(&path))?;
    took.sort();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    Ok((cpu.as_secs_f64() * 1e6 / f64::from(SYNCS), median.as_secs_f64() * 1e6))
}

/// CPU time of one of `count` times `what`, in microseconds.
pub(crate) fn each(count: u32, mut what: impl FnMut()) -> f64 {
    let before = thread_cpu();
    for _ in 0..count {
        what();
    }
    thread_cpu().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(count.max(1))
}

/// CPU time of this thread: what others do on the machine does not count.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}
