//! The stage of a demonstration: a ledger in a temporary folder, and three node processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chancery_client::{Context, Ledger, Options};
use chancery_ledger::command::Limits;
use chancery_ledger::trust::Trust;
use chancery_node::config::Tuning;
use tempfile::TempDir;
use tokio::task::{AbortHandle, JoinSet};

use crate::cluster::{self, Cluster, Reserved, serving};
use crate::context;
use crate::exit::{Failure, Result};
use crate::init::founding::one_per_role;
use crate::init::{Plan, context_folder};

/// Nodes of a demonstration.
pub(crate) const NODES: u64 = 3;

/// A running ledger that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    // The processes end before their folder goes: fields are dropped in this order.
    /// The node processes.
    pub(crate) cluster: Cluster,
    /// Whom to believe.
    pub(crate) trust: Trust,
    /// Agents at work.
    tasks: JoinSet<()>,
    folder: Folder,
    _reserved: Reserved,
}

#[derive(Debug)]
enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Stage {
    /// Founds a ledger called `origin` and starts its nodes.
    pub(crate) fn set(origin: &str, keep: bool) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("chancery-demo-")
            .tempdir()
            .map_err(|error| Failure::local(format!("a temporary folder: {error}")))?;
        let folder = if keep { Folder::Kept(folder.keep()) } else { Folder::Temporary(folder) };
        let (nodes, reserved) = cluster::choose(NODES)?;
        let plan = Plan {
            origin: origin.into(),
            nodes,
            principals: one_per_role(1, 1),
            limits: Limits::default(),
            tuning: Tuning::default(),
            witnesses: None,
        };
        let made = plan.write(&folder.path().join("ledger"))?;
        let cluster = Cluster::start(&folder.path().join("ledger"), NODES)?;
        Ok(Self { cluster, trust: made.trust, tasks: JoinSet::new(), folder, _reserved: reserved })
    }

    /// Waits until every node serves proven answers.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        let context = self.context("operator")?;
        tokio::select! {
            ready = serving::wait(&context, NODES) => ready,
            failure = self.cluster.ended() => Err(failure),
        }
    }

    /// The context of a first principal.
    pub(crate) fn context(&self, principal: &str) -> Result<Context> {
        Context::open(context_folder(&self.path().join("ledger"), principal)).map_err(context::failure)
    }

    /// A connection as a first principal, patient enough for a machine that has other work.
    pub(crate) async fn connect(&self, principal: &str) -> Result<Ledger> {
        let options = Options {
            check_timeout: Duration::from_secs(15),
            submit_timeout: Duration::from_secs(60),
            tries_max: 500,
            ..Options::default()
        };
        crate::ledger::connect_with(self.context(principal)?, options).await
    }

    /// Sets somebody to work, until the stage is struck at the latest.
    pub(crate) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(work)
    }

    /// The stage's folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder, if it stays.
    pub(crate) fn kept(&self) -> Option<&Path> {
        match &self.folder {
            Folder::Kept(path) => Some(path),
            Folder::Temporary(_) => None,
        }
    }

    /// Ends every process, and removes the folder unless it is kept.
    ///
    /// # Errors
    /// Something is left.
    pub(crate) async fn strike(mut self) -> Result<()> {
        // Who is still at work may write what it verified into the folder.
        self.tasks.shutdown().await;
        let processes: Vec<_> =
            self.cluster.nodes().into_iter().filter_map(|node| self.cluster.process_id(node)).collect();
        for node in self.cluster.nodes() {
            self.cluster.kill(node).await?;
        }
        if let Some(process) = processes.iter().find(|id| Path::new(&format!("/proc/{id}")).exists()) {
            return Err(Failure::local(format!("process {process} is left")));
        }
        match self.folder {
            Folder::Kept(_) => Ok(()),
            Folder::Temporary(folder) => {
                let path = folder.path().to_owned();
                folder.close().map_err(|error| Failure::file(&path, &error))
            }
        }
    }

    /// The trust file.
    pub(crate) fn trust_file(&self) -> PathBuf {
        self.path().join("ledger").join("trust.toml")
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}
