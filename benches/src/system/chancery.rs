//! Chancery: founded and run by its own program, each client with a context of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Context, Ledger, Options};
use tokio::time::sleep;

use super::addresses::address;
use super::{ASK_EVERY, NODES, START_TIMEOUT};
use crate::fault::{BenchError, Result};
use crate::processes::Process;

const SYSTEM: &str = "chancery";

/// How long the log's every sync takes longer, where it is to.
pub(crate) const ADDED_TO_SYNC_MS: u64 = 2;

/// Where a node waits before it writes and syncs: a failpoint of the program, which follows a file.
const FAILPOINT: &str = "raft-log-before-write";

/// How often a node looks at that file, and a little more.
const FAILPOINT_FOLLOWED_WITHIN: Duration = Duration::from_millis(50);

/// Three node processes.
#[derive(Debug)]
pub(crate) struct Chancery {
    /// They end before their folder goes.
    pub(crate) processes: Vec<Process>,
    program: PathBuf,
    folder: PathBuf,
    contexts: AtomicU64,
}

impl Chancery {
    /// Founds a ledger in `folder` and starts its nodes. Their ports begin at `place`.
    pub(crate) async fn start(program: &Path, folder: &Path, place: u16) -> Result<Self> {
        let ledger = folder.join("ledger");
        let mut init = Command::new(program);
        init.env("HOME", folder).env_remove("CHANCERY_CONTEXT").arg("init").arg(&ledger);
        for node in 1..=NODES {
            init.arg("--node").arg(format!("{},{}", address(node, place), address(node, place + 1)));
        }
        let made = init.output().map_err(BenchError::at(program))?;
        if !made.status.success() {
            return Err(BenchError::of(SYSTEM)(String::from_utf8_lossy(&made.stderr)));
        }
        let mut chancery = Self {
            processes: Vec::new(),
            program: program.to_owned(),
            folder: folder.to_owned(),
            contexts: AtomicU64::new(0),
        };
        chancery.start_nodes()?;
        chancery.wait().await?;
        Ok(chancery)
    }

    /// Kills every node and starts it again. How long it took from the start until all of them served proven answers.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        self.processes.clear();
        let began = Instant::now();
        self.start_nodes()?;
        self.wait().await?;
        Ok(began.elapsed())
    }

    /// Bytes on the disk of the node that has most.
    pub(crate) fn disk_bytes(&self) -> u64 {
        (1..=NODES).map(|node| size_of(&self.data(node))).max().unwrap_or(0)
    }

    /// The same by what it consists of: the folders of a node's data.
    pub(crate) fn disk_parts(&self) -> Vec<(String, u64)> {
        let largest = (1..=NODES).max_by_key(|node| size_of(&self.data(*node))).unwrap_or(1);
        let folders = fs::read_dir(self.data(largest)).into_iter().flatten().flatten();
        let mut parts: Vec<_> = folders
            .map(|folder| (folder.file_name().to_string_lossy().into_owned(), size_of(&folder.path())))
            .collect();
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parts
    }

    fn data(&self, node: u16) -> PathBuf {
        self.folder().join(format!("node-{node}")).join("data")
    }

    fn start_nodes(&mut self) -> Result<()> {
        for node in 1..=NODES {
            let config = self.folder().join(format!("node-{node}")).join("node.toml");
            let arguments = ["node", "--config", &config.display().to_string()].map(str::to_owned);
            let environment = [
                ("HOME", self.folder.display().to_string()),
                ("CHANCERY_FAILPOINTS_FILE", self.folder.join("failpoints").display().to_string()),
            ];
            let log = self.folder.join(format!("node-{node}.log"));
            self.processes.push(Process::start(&self.program, &arguments, &environment, log)?);
        }
        Ok(())
    }

    /// A connection of its own as a first principal, which calls node `node` as long as that serves. Each check is a
    /// call.
    pub(crate) async fn connect(&self, principal: &str, node: u16) -> Result<Ledger> {
        self.connect_with(principal, node, Options { check_sessions: false, ..Options::default() }).await
    }

    /// The same, and its checks share one stream.
    pub(crate) async fn connect_session(&self, principal: &str, node: u16) -> Result<Ledger> {
        self.connect_with(principal, node, Options { check_sessions: true, ..Options::default() }).await
    }

    async fn connect_with(&self, principal: &str, node: u16, options: Options) -> Result<Ledger> {
        let mut context = Context::open(self.folder.join("ledger/contexts").join(principal))
            .map_err(BenchError::of(SYSTEM))?;
        let first = usize::from(node.saturating_sub(1)) % context.endpoints.len().max(1);
        context.endpoints.rotate_left(first);
        let number = self.contexts.fetch_add(1, Ordering::Relaxed);
        context.folder = self.folder.join("contexts").join(number.to_string());
        context.save().map_err(BenchError::of(SYSTEM))?;
        Ledger::connect_with(context, options).await.map_err(BenchError::of(SYSTEM))
    }

    /// Has every sync of every node's log take [`ADDED_TO_SYNC_MS`] longer, or no longer.
    pub(crate) async fn slow_syncs(&self, slow: bool) -> Result<()> {
        let path = self.folder.join("failpoints");
        let text = if slow { format!("{FAILPOINT}=sleep({ADDED_TO_SYNC_MS})\n") } else { String::new() };
        // Whole at once: a node may read it at any time.
        let new = self.folder.join("failpoints.new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(BenchError::at(&path))?;
        sleep(FAILPOINT_FOLLOWED_WITHIN).await;
        Ok(())
    }

    /// The ledger's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    /// Waits until every node serves proven answers: none is far behind.
    pub(crate) async fn wait(&self) -> Result<()> {
        let (operator, began) = (self.connect("operator", 1).await?, Instant::now());
        loop {
            // Whoever gets a proven answer about nobody is served.
            let serves = async |node| match self.connect("gate", node).await {
                Ok(gate) => matches!(gate.check("nobody", "a", "b", b"").await, Err(CheckError::Denied(_))),
                Err(_) => false,
            };
            let signing = operator
                .status()
                .await
                .iter()
                .filter(|(_, status)| {
                    status
                        .as_ref()
                        .is_ok_and(|status| status.leader.is_some() && status.silent_because.is_none())
                })
                .count();
            if signing == usize::from(NODES) && serves(1).await && serves(2).await && serves(3).await {
                return Ok(());
            }
            if began.elapsed() > START_TIMEOUT {
                let words: Vec<_> = self.processes.iter().map(Process::last_words).collect();
                return Err(BenchError::of(SYSTEM)(format!("it does not serve:\n{}", words.join("\n"))));
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Bytes that the files below `folder` take on the disk, a file with several names once.
fn size_of(folder: &Path) -> u64 {
    let (mut folders, mut seen, mut bytes) = (vec![folder.to_owned()], BTreeSet::new(), 0);
    while let Some(folder) = folders.pop() {
        // What goes while it is looked at has no size.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) if seen.insert(found.ino()) => bytes += found.blocks() * 512,
                _ => {}
            }
        }
    }
    bytes
}
