//! Power loss: after `kill -9`, what was not synced is taken away or torn.
//!
//! A kill leaves what the kernel has. The node says how much of `raft/` is synced (its power trace); what follows
//! may be lost from any byte on, or be there in part. `applied/` is not synced at all: the newest of its
//! write-ahead logs may end anywhere.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Cluster;
use crate::fault::HarnessError;
use crate::seed::Choices;

/// What a disk writes whole, in bytes.
const PAGE_SIZE_BYTES: u64 = 4_096;

impl Cluster {
    /// Takes from the disk of a node, which does not run, what a power loss may take. How many bytes it took.
    ///
    /// # Errors
    /// A file cannot be read or written, or the trace is not one.
    pub fn lose_power(&self, node: u64, choices: &mut Choices) -> Result<u64, HarnessError> {
        let data = self.node_folder(node).join("data");
        let raft = data.join("raft");
        let trace = self.power_trace(node);
        let text = fs::read_to_string(&trace).map_err(HarnessError::at(&trace))?;
        let mut fields = text.split_ascii_whitespace();
        let (name, size) = (fields.next(), fields.next().and_then(|size| size.parse::<u64>().ok()));
        let (Some(name), Some(synced)) = (name, size) else {
            return Err(HarnessError::Setup(format!("{}: not a power trace: {text:?}", trace.display())));
        };
        let mut taken = 0;
        for log in write_ahead_logs(&raft)? {
            taken += match log.file_name().and_then(|name| name.to_str()) {
                // Made by a start that did not come to its end.
                Some(newer) if newer > name => tear(&log, 0, choices)?,
                Some(current) if current == name => tear(&log, synced, choices)?,
                _ => 0,
            };
        }
        let mut logs = Vec::new();
        for generation in files_in(&data.join("applied"))? {
            if generation.is_dir() {
                logs.extend(write_ahead_logs(&generation)?);
            }
        }
        if let Some(newest) = logs.into_iter().max() {
            let size = size_of(&newest)?;
            let kept = choices.between(0, size);
            cut(&newest, kept)?;
            taken += size - kept;
        }
        Ok(taken)
    }
}

/// Ends a log somewhere at or past what is synced, with pages in between that were not written, or hold rubbish.
fn tear(log: &Path, synced: u64, choices: &mut Choices) -> Result<u64, HarnessError> {
    let size = size_of(log)?;
    if size < synced {
        return Err(HarnessError::Setup(format!("{}: {synced} bytes synced of {size}", log.display())));
    }
    let kept = choices.between(synced, size);
    cut(log, kept)?;
    let file = File::options().write(true).open(log).map_err(HarnessError::at(log))?;
    let mut taken = size - kept;
    let mut page = synced.next_multiple_of(PAGE_SIZE_BYTES);
    while page < kept {
        if choices.chance(300) {
            let end = kept.min(page + PAGE_SIZE_BYTES);
            let filler = if choices.chance(500) { 0 } else { choices.next().to_be_bytes()[0] };
            let length = usize::try_from(end - page).unwrap_or(0);
            taken += end - page;
            file.write_all_at(&vec![filler; length], page).map_err(HarnessError::at(log))?;
        }
        page += PAGE_SIZE_BYTES;
    }
    Ok(taken)
}

fn cut(log: &Path, size: u64) -> Result<(), HarnessError> {
    let file = File::options().write(true).open(log).map_err(HarnessError::at(log))?;
    file.set_len(size).map_err(HarnessError::at(log))
}

fn size_of(file: &Path) -> Result<u64, HarnessError> {
    Ok(fs::metadata(file).map_err(HarnessError::at(file))?.len())
}

fn write_ahead_logs(folder: &Path) -> Result<Vec<PathBuf>, HarnessError> {
    let mut files = files_in(folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    Ok(files)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, HarnessError> {
    let found = fs::read_dir(folder).map_err(HarnessError::at(folder))?;
    found.map(|entry| Ok(entry.map_err(HarnessError::at(folder))?.path())).collect()
}
