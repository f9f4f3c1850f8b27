//! What is measured: Chancery and etcd, each as three processes on the loopback interface.

pub(crate) mod addresses;
pub(crate) mod chancery;
pub(crate) mod etcd;

use std::time::Duration;

use crate::processes::Process;

/// Nodes of each system.
pub(crate) const NODES: u16 = 3;

/// How long a system may take to begin to serve.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is asked whether it does.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(100);

/// CPU time of all of `processes`.
pub(crate) fn cpu(processes: &[Process]) -> Duration {
    processes.iter().map(Process::cpu).sum()
}
