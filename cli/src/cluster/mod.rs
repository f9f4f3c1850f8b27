//! Node processes of this same binary on this machine, as `dev` and `demo` run them.
//!
//! Each is in a process group of its own, so that Ctrl-C on the terminal reaches only us, and stops when its
//! standard input ends, so that it ends with us however we end. It is only ever ended by its own handle.

mod log;
mod ports;
pub(crate) mod serving;

pub(crate) use ports::{Reserved, choose, is_free};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use crate::exit::{Failure, Result};
use crate::init::founding::node_name;

/// How long a node may take to stop before it is killed: handing over takes about one election.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The node processes.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Held open for as long as the node is to run.
    stdin: Option<ChildStdin>,
}

impl Cluster {
    /// Starts nodes 1 to `count` of the ledger in `dir`.
    pub(crate) fn start(dir: &Path, count: u64) -> Result<Self> {
        let mut cluster = Self { dir: dir.into(), running: BTreeMap::new() };
        for node in 1..=count {
            cluster.start_node(node)?;
        }
        Ok(cluster)
    }

    /// Starts one that does not run.
    pub(crate) fn start_node(&mut self, node: u64) -> Result<()> {
        let folder = self.dir.join(node_name(node));
        let program = std::env::current_exe()
            .map_err(|error| Failure::local(format!("this program's own file: {error}")))?;
        let mut child = Command::new(program)
            .arg("node")
            .arg("--stop-on-stdin-close")
            .arg("--config")
            .arg(folder.join("node.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::local(format!("{}: {error}", node_name(node))))?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log::keep(stderr, self.log(node)));
        }
        let stdin = child.stdin.take();
        self.running.insert(node, Running { child, stdin });
        Ok(())
    }

    /// Where a node's log is kept.
    pub(crate) fn log(&self, node: u64) -> PathBuf {
        self.dir.join(format!("{}.log", node_name(node)))
    }

    /// Nodes that were started and not stopped or killed by us.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// The process id of a node.
    pub(crate) fn process_id(&self, node: u64) -> Option<u32> {
        self.running.get(&node).and_then(|running| running.child.id())
    }

    /// `kill -9`, and waits for the end.
    pub(crate) async fn kill(&mut self, node: u64) -> Result<()> {
        let mut running = self
            .running
            .remove(&node)
            .ok_or_else(|| Failure::local(format!("{} does not run", node_name(node))))?;
        running.child.kill().await.map_err(|error| Failure::local(format!("{}: {error}", node_name(node))))
    }

    /// Tells every node to stop, and waits; kills those that do not.
    pub(crate) async fn stop(&mut self) {
        for running in self.running.values_mut() {
            running.stdin = None;
        }
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        for (_, mut running) in std::mem::take(&mut self.running) {
            if tokio::time::timeout_at(deadline, running.child.wait()).await.is_err() {
                // It could only fail because the process has ended.
                let _ = running.child.kill().await;
            }
        }
    }

    /// Resolves when a node ends by itself; with what it said last.
    pub(crate) async fn ended(&mut self) -> Failure {
        loop {
            if let Some(failure) = self.find_ended() {
                return failure;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn find_ended(&mut self) -> Option<Failure> {
        let mut found: Option<(u64, ExitStatus)> = None;
        for (node, running) in &mut self.running {
            if let Ok(Some(status)) = running.child.try_wait() {
                found = Some((*node, status));
            }
        }
        let (node, status) = found?;
        let last = log::last_lines(&self.log(node), 5);
        let name = node_name(node);
        Some(Failure::local(format!("{name} ended by itself ({status}); it said last:\n{last}")))
    }
}
