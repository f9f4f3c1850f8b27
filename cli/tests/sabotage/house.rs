//! Three real nodes of which all, or one, are broken on purpose; or none, to see that the rest is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::authority::Block;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Statement;
use chancery_node::config::{NodeConfig, Tuning};
use chancery_node::store::applied::{Founding, LedgerBlocks};
use chancery_node::store::{RaftLog, RaftLogOptions};
use chancery_proto::v1::peer::peer_client::PeerClient;
use chancery_proto::v1::peer::{SignHeadRequest, StatementRequest};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::harness::{Cluster, NODES, PATIENCE};
use crate::wire::{Papers, peer};

/// Who is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// Every node.
    All,
    /// One liar among honest nodes.
    Node(u64),
    /// One liar, and the others broken: by what the liar does, and by what is beside it.
    AllBeside(u64, &'static str),
}

/// One run of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// What is broken, if anything is.
    pub(crate) sabotage: Option<&'static str>,
    /// Who is.
    pub(crate) who: Who,
}

impl Setting {
    fn of(self, node: u64) -> Option<&'static str> {
        match self.who {
            Who::All => self.sabotage,
            Who::Node(liar) => self.sabotage.filter(|_| liar == node),
            // The liar is there in the honest run too: what it does must do no harm then.
            Who::AllBeside(liar, lie) if liar == node => Some(lie),
            Who::AllBeside(..) => self.sabotage,
        }
    }
}

/// The cluster.
pub(crate) struct House {
    pub(crate) cluster: Cluster,
    setting: Setting,
}

impl House {
    /// Founds a ledger, starts its nodes and waits until all of them serve.
    pub(crate) async fn start(setting: Setting, tune: impl Fn(&mut Tuning)) -> Self {
        let mut house = Self::found(setting, tune).await;
        house.start_all();
        house.cluster.wait_until_serving(NODES).await;
        house
    }

    /// Founds a ledger. No node runs yet.
    pub(crate) async fn found(setting: Setting, tune: impl Fn(&mut Tuning)) -> Self {
        Self { cluster: Cluster::found(tune).await, setting }
    }

    /// [`House::start`], with nothing broken. What is started later is broken as the setting has it.
    pub(crate) async fn start_honestly(setting: Setting) -> Self {
        let honest = Setting { sabotage: None, ..setting };
        Self { setting, ..Self::start(honest, |_| {}).await }
    }

    /// What is broken in it.
    pub(crate) fn name(&self) -> &'static str {
        self.setting.sabotage.unwrap_or("nothing")
    }

    /// What is started from now on is not broken.
    pub(crate) fn be_honest(&mut self) {
        self.setting.sabotage = None;
    }

    /// Ends every node that was started, whether it ended by itself or not.
    pub(crate) async fn end_all(&mut self) {
        for node in self.cluster.running() {
            if self.cluster.has_ended(node) {
                self.cluster.wait_for_exit(node).await;
            } else {
                self.cluster.kill(node);
            }
        }
    }

    /// Starts a node that does not run.
    pub(crate) fn start_node(&mut self, node: u64) {
        let power = self.power(node);
        let failpoints = self.failpoints(node);
        let mut environment = vec![
            ("CHANCERY_POWER_TRACE", power.to_str().unwrap()),
            ("CHANCERY_FAILPOINTS_FILE", failpoints.to_str().unwrap()),
        ];
        environment.extend(self.setting.of(node).map(|sabotage| ("CHANCERY_SABOTAGE", sabotage)));
        self.cluster.start_node_with(node, &environment);
    }

    /// Starts every node that does not run.
    pub(crate) fn start_all(&mut self) {
        for node in 1..=NODES {
            if !self.cluster.running().contains(&node) {
                self.start_node(node);
            }
        }
    }

    fn power(&self, node: u64) -> PathBuf {
        self.cluster.node_folder(node).join("power")
    }

    fn failpoints(&self, node: u64) -> PathBuf {
        self.cluster.node_folder(node).join("failpoints")
    }

    /// Switches a failpoint of a node that runs on, and those that were on before off. It is in force when this
    /// returns.
    pub(crate) async fn switch_on(&self, node: u64, failpoint: &str) {
        self.switch(node, &format!("{failpoint}\n"), "failpoint on").await;
    }

    /// Switches the failpoint of a node that runs off, for good when this returns.
    pub(crate) async fn switch_off(&self, node: u64) {
        self.switch(node, "", "failpoint off").await;
    }

    async fn switch(&self, node: u64, failpoints: &str, told: &str) {
        let known_bytes = self.cluster.said(node).len();
        // At once: half a file would be other failpoints.
        let (path, whole) = (self.failpoints(node), self.failpoints(node).with_extension("new"));
        fs::write(&whole, failpoints).unwrap();
        fs::rename(&whole, &path).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !self.cluster.said(node).get(known_bytes..).is_some_and(|said| said.contains(told)) {
            assert!(Instant::now() < deadline, "node {node} does not follow its failpoints");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Of a node that does not run: it starts with no failpoint.
    pub(crate) fn forget_failpoints(&self, node: u64) {
        fs::remove_file(self.failpoints(node)).unwrap();
    }

    /// What a power cut takes of a node that does not run: all that was not synced.
    pub(crate) fn cut_power(&self, node: u64) {
        let traced = fs::read_to_string(self.power(node)).unwrap();
        let fields: Vec<&str> = traced.split_whitespace().collect();
        let (name, synced_bytes): (&str, u64) = (fields[0], fields[1].parse().unwrap());
        for log in logs_in(&self.cluster.data(node).join("raft")) {
            let found = log.file_name().unwrap().to_str().unwrap();
            if found >= name {
                cut(&log, if found == name { synced_bytes } else { 0 });
            }
        }
        // `applied/` syncs nothing by itself: all of its newest log goes.
        let generations = fs::read_dir(self.cluster.data(node).join("applied")).unwrap();
        let logs = generations.flat_map(|generation| logs_in(&generation.unwrap().path()));
        if let Some(log) = logs.max() {
            cut(&log, 0);
        }
    }

    /// The last block in the Raft log of a node that does not run.
    pub(crate) fn block_in_log(&self, node: u64) -> u64 {
        self.raft_log(node).read_tail_with(|tail| tail.block).unwrap()
    }

    /// The last entry in the Raft log of a node that does not run.
    pub(crate) fn last_index_in_log(&self, node: u64) -> Option<u64> {
        self.raft_log(node).read_tail_with(|tail| tail.log_id.map(|id| id.index)).unwrap()
    }

    /// The blocks in the Raft log of a node that does not run, as their proposers signed them.
    pub(crate) async fn blocks_in_log(&self, node: u64) -> Vec<Block> {
        let mut log = self.raft_log(node);
        let state = log.get_log_state().await.unwrap();
        let first = state.last_purged_log_id.map_or(0, |purged| purged.index + 1);
        let end = state.last_log_id.map_or(0, |last| last.index + 1);
        let entries = log.get_log_reader().await.try_get_log_entries(first..end).await.unwrap();
        let blocks = entries.iter().filter_map(|entry| entry.payload.block());
        blocks.map(|block| Block::decode(block.bytes()).unwrap()).collect()
    }

    fn raft_log(&self, node: u64) -> RaftLog {
        let config = NodeConfig::load(&self.cluster.config(node)).unwrap();
        let founding = Founding::decode(&fs::read(config.genesis).unwrap()).unwrap();
        let (path, genesis) = (self.cluster.data(node).join("raft"), founding.log_genesis());
        RaftLog::open(&path, &genesis, Arc::new(LedgerBlocks), RaftLogOptions::default()).unwrap()
    }

    /// The peer port of `node`, as another node speaks to it.
    pub(crate) fn peer(&self, node: u64) -> PeerClient<Channel> {
        self.peer_as(node, node % NODES + 1)
    }

    /// The peer port of `node`, as `caller` speaks to it.
    pub(crate) fn peer_as(&self, node: u64, caller: u64) -> PeerClient<Channel> {
        peer(&self.cluster, node, &Papers::of_node(&self.cluster, caller))
    }
}

/// A fresh statement of a node, if it gives one.
pub(crate) async fn statement(peer: &mut PeerClient<Channel>) -> Option<Statement> {
    let mut nonce_root = Hash::ZERO;
    getrandom::fill(&mut nonce_root.0).unwrap();
    let reply = peer.state(StatementRequest { nonce_root: nonce_root.0.to_vec() }).await.ok()?;
    Statement::decode(&reply.into_inner().statement).ok()
}

/// A node's signature on the head of a block, if it gives one.
pub(crate) async fn head_statement(peer: &mut PeerClient<Channel>, block: u64) -> Option<Statement> {
    let reply = peer.sign_head(SignHeadRequest { block }).await.ok()?;
    Statement::decode(&reply.into_inner().statement).ok()
}

fn logs_in(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap().map(|found| found.unwrap().path());
    found.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

fn cut(log: &Path, size_bytes: u64) {
    let file = fs::File::options().write(true).open(log).unwrap();
    let was_bytes = file.metadata().unwrap().len();
    file.set_len(size_bytes.min(was_bytes)).unwrap();
}
