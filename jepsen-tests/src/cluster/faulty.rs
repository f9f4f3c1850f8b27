//! Faults inside a node, switched from outside through files that builds for fault tests follow.

use std::fs;
use std::path::{Path, PathBuf};

use super::Cluster;
use crate::fault::HarnessError;

/// How wrong a node's clock is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockError {
    /// Added to the wall clock, in milliseconds.
    pub offset_ms: i64,
    /// How much faster both clocks run, in millionths.
    pub drift_ppm: i64,
}

impl Cluster {
    /// Makes a node's clocks wrong, or right again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_clock(&self, node: u64, error: ClockError) -> Result<(), HarnessError> {
        replace(&self.clock_file(node), &format!("{} {}\n", error.offset_ms, error.drift_ppm))
    }

    /// What a node does at its failpoints from now on: lines of `NAME=ACTIONS`, as the crate `fail` has them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_failpoints(&self, node: u64, lines: &str) -> Result<(), HarnessError> {
        replace(&self.failpoints_file(node), lines)
    }

    pub(super) fn clock_file(&self, node: u64) -> PathBuf {
        self.node_folder(node).join("clock-error")
    }

    pub(super) fn failpoints_file(&self, node: u64) -> PathBuf {
        self.node_folder(node).join("failpoints")
    }

    pub(super) fn power_trace(&self, node: u64) -> PathBuf {
        self.node_folder(node).join("power-trace")
    }
}

/// At once: who reads it finds the old or the new.
fn replace(path: &Path, text: &str) -> Result<(), HarnessError> {
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(HarnessError::at(&new))?;
    fs::rename(&new, path).map_err(HarnessError::at(path))
}
