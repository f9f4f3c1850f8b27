//! Node processes: started, killed, paused, and seen to end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::Cluster;
use crate::fault::HarnessError;

/// Lines of a node's log that a failure tells.
const LAST_LINES: usize = 12;

/// A node that was started.
pub(super) struct Process {
    child: Child,
    pub(super) paused: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It can only fail because the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn signal(&self, signal: Signal) -> Result<(), HarnessError> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| HarnessError::Setup("a process id out of range".into()))?;
        kill_process(id, signal).map_err(|error| HarnessError::of("signal")(error.into()))
    }
}

impl Cluster {
    /// Starts a node, if it does not run and is a member.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_node(&mut self, node: u64) -> Result<(), HarnessError> {
        if self.running.contains_key(&node) || !self.members.contains(&node) {
            return Ok(());
        }
        let path = self.log(node);
        let log = File::options().create(true).append(true).open(&path).map_err(HarnessError::at(&path))?;
        let folder = self.node_folder(node);
        let extra = self.plan.environment.iter().filter(|(of, _, _)| *of == node);
        let child = Command::new(&self.plan.program)
            .envs(extra.map(|(_, name, value)| (name, value)))
            .env_remove("CHANCERY_CONTEXT")
            .env("HOME", &self.plan.folder)
            .env("CHANCERY_CLOCK_OFFSET_FILE", self.clock_file(node))
            .env("CHANCERY_FAILPOINTS_FILE", self.failpoints_file(node))
            .env("CHANCERY_POWER_TRACE", self.power_trace(node))
            .arg("node")
            .arg("--stop-on-stdin-close")
            .arg("--config")
            .arg(folder.join("node.toml"))
            // Open for as long as this process is there.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(HarnessError::at(&self.plan.program))?;
        self.network.set_process(node, Some(child.id()));
        self.running.insert(node, Process { child, paused: false });
        Ok(())
    }

    /// `kill -9` of those of `nodes` that run, as close together as they can be sent.
    ///
    /// # Errors
    /// A process cannot be waited for.
    pub fn kill(&mut self, nodes: &[u64]) -> Result<(), HarnessError> {
        for node in nodes {
            if let Some(process) = self.running.get_mut(node) {
                // It can only fail because the process has ended.
                let _ = process.child.kill();
            }
        }
        for node in nodes {
            self.network.set_process(*node, None);
            if let Some(mut process) = self.running.remove(node) {
                process.child.wait().map_err(HarnessError::of(format!("wait for node {node}")))?;
            }
        }
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn pause(&mut self, node: u64) -> Result<(), HarnessError> {
        let Some(process) = self.running.get_mut(&node) else { return Ok(()) };
        process.paused = true;
        process.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn resume(&mut self, node: u64) -> Result<(), HarnessError> {
        let Some(process) = self.running.get_mut(&node) else { return Ok(()) };
        process.paused = false;
        process.signal(Signal::CONT)
    }

    /// The nodes that run, and are not paused.
    pub fn awake(&self) -> Vec<u64> {
        self.running.iter().filter(|(_, process)| !process.paused).map(|(node, _)| *node).collect()
    }

    /// Whether a node was started, and not killed; it may be paused.
    pub fn runs(&self, node: u64) -> bool {
        self.running.contains_key(&node)
    }

    /// Nodes that have ended by themselves since they were last asked for, with their exit status.
    ///
    /// # Errors
    /// A process cannot be waited for.
    pub fn ended(&mut self) -> Result<Vec<(u64, ExitStatus)>, HarnessError> {
        let mut ended = Vec::new();
        for (node, process) in &mut self.running {
            let status =
                process.child.try_wait().map_err(HarnessError::of(format!("wait for node {node}")))?;
            ended.extend(status.map(|status| (*node, status)));
        }
        for (node, _) in &ended {
            self.running.remove(node);
            self.network.set_process(*node, None);
        }
        Ok(ended)
    }

    /// The end of a node's log.
    pub fn last_words(&self, node: u64) -> String {
        let said = String::from_utf8_lossy(&fs::read(self.log(node)).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
        last.copied().collect::<Vec<_>>().join("\n")
    }

    fn log(&self, node: u64) -> PathBuf {
        self.plan.folder.join(format!("node-{node}.log"))
    }
}
