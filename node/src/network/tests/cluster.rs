//! A node of these tests, and several.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery_ledger::hash::Hash;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::{Config, Raft, SnapshotPolicy};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Ca;
use super::in_memory::{Listed, Log, State};
use crate::network::{
    ClockReading, Declined, LinkOptions, Manifest, PeerHandler, PeerId, PeerServer, Peers, ServerOptions,
    SnapshotError, SnapshotSink, SnapshotWriter, SubmitOutcome, SubmitResult,
};
use crate::raft::types::{
    EncodedBlock, Entry, LogId, NodeId, RaftNode, SnapshotFolder, SnapshotMeta, TypeConfig, Vote,
};

pub(super) type TestRaft = Raft<TypeConfig, State>;

/// How long to wait for what must come, on however slow a machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// By when what must come has come.
pub(super) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Answers with what it was asked, by whom.
#[derive(Debug)]
pub(super) struct Echo {
    /// A permit for each call that is never answered.
    pub(super) held: Semaphore,
}

impl PeerHandler for Echo {
    fn accept_entries(
        &self,
        _: Option<LogId>,
        last_block: Option<Hash>,
        _: &[Entry],
    ) -> Result<Option<Hash>, Declined> {
        Ok(last_block)
    }

    async fn statement(&self, caller: PeerId, nonce_root: Hash) -> Result<Vec<u8>, Declined> {
        Ok([&caller.node().to_be_bytes()[..], nonce_root.as_bytes()].concat())
    }

    async fn sign_head(&self, _: PeerId, block: u64) -> Result<Vec<u8>, Declined> {
        match block {
            0 => Err(Declined::Gone("block 0".to_owned())),
            1 => Err(Declined::NotNow("recovering".to_owned())),
            // Too long for a statement.
            2 => Ok(vec![0; crate::network::STATEMENT_BYTES_MAX + 1]),
            3 => {
                self.held.add_permits(1);
                std::future::pending().await
            }
            block => Ok(block.to_be_bytes().to_vec()),
        }
    }

    async fn cosign(&self, _: PeerId, block: u64) -> Result<String, Declined> {
        Ok(block.to_string())
    }

    fn clock(&self) -> ClockReading {
        ClockReading { clock_ms: 1_700_000_000_000, monotonic_ok: true }
    }

    async fn submit(&self, caller: PeerId, signed_command: Vec<u8>) -> SubmitResult {
        let outcome = SubmitOutcome::Applied {
            index: caller.node(),
            block: signed_command.len() as u64,
            time_ms: 3,
            before: false,
        };
        SubmitResult { outcome, head: vec![1], head_statements: vec![vec![2], vec![3]] }
    }

    fn roster_links(&self, since_block: u64) -> Vec<u8> {
        since_block.to_be_bytes().to_vec()
    }
}

/// Writes snapshots to a folder, and remembers that they began and how they ended.
#[derive(Clone)]
pub(super) struct Sink {
    folder: PathBuf,
    pub(super) begun: Arc<Semaphore>,
    pub(super) ended: Arc<Mutex<Vec<&'static str>>>,
    /// Refuses to finish.
    pub(super) finishes: bool,
    /// Takes this long for each chunk.
    pub(super) chunk_pause: Duration,
}

impl Sink {
    pub(super) fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        let begun = Arc::new(Semaphore::new(0));
        Self { folder, begun, ended: Arc::default(), finishes: true, chunk_pause: Duration::ZERO }
    }
}

impl SnapshotSink for Sink {
    type Writer = SinkWriter;

    async fn begin(
        &self,
        _: Vote,
        _: &SnapshotMeta,
        manifest: &Manifest,
    ) -> Result<SinkWriter, SnapshotError> {
        self.begun.add_permits(1);
        let files = manifest.files().iter().map(|file| (file.name.clone(), Vec::new())).collect();
        Ok(SinkWriter { sink: self.clone(), manifest: manifest.clone(), files, finished: false })
    }
}

pub(super) struct SinkWriter {
    sink: Sink,
    manifest: Manifest,
    files: Vec<(String, Vec<u8>)>,
    finished: bool,
}

impl SnapshotWriter for SinkWriter {
    async fn chunk(&mut self, file: usize, offset: u64, bytes: Vec<u8>) -> Result<(), SnapshotError> {
        sleep(self.sink.chunk_pause).await;
        assert_eq!(self.files[file].1.len() as u64, offset);
        self.files[file].1.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(mut self) -> Result<SnapshotFolder, SnapshotError> {
        for ((_, bytes), listed) in self.files.iter().zip(self.manifest.files()) {
            assert_eq!(Hash::of(&[bytes]), listed.sha256);
        }
        if !self.sink.finishes {
            return Err(SnapshotError::Refused("as told".to_owned()));
        }
        let folder = self.sink.folder.join("received");
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap())?;
            std::fs::write(path, bytes)?;
        }
        self.finished = true;
        Ok(SnapshotFolder::at(folder))
    }
}

impl Drop for SinkWriter {
    fn drop(&mut self) {
        let how = if self.finished { "finished" } else { "dropped" };
        self.sink.ended.lock().unwrap().push(how);
    }
}

/// One node. Its log outlives its Raft, its address both.
pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) raft: TestRaft,
    pub(super) peers: Peers,
    pub(super) state: State,
    pub(super) sink: Sink,
    /// Every connection has it too, for as long as it is there.
    pub(super) handler: Arc<Echo>,
    ca: Arc<Ca>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _folder: TempDir,
    _port: UdpSocket,
}

/// Quick to connect again, and patient with a busy machine.
pub(super) fn quick() -> LinkOptions {
    LinkOptions {
        reconnect_max: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(20),
        keepalive_timeout: Duration::from_secs(20),
        ..LinkOptions::default()
    }
}

/// A listener at a port that no other test takes, in this process or another, also while nobody listens there: the
/// same port of UDP, which nobody has a use for, reserves it. It is below those that systems give to outgoing
/// connections.
async fn listen() -> (TcpListener, UdpSocket) {
    for _ in 0..1_000 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let address = ("127.0.0.1", 12_000 + u16::from_be_bytes(random) % 8_000);
        let Ok(reserved) = UdpSocket::bind(address) else { continue };
        if let Ok(listener) = TcpListener::bind(address).await {
            return (listener, reserved);
        }
    }
    panic!("there is no free port on the loopback interface");
}

fn config() -> Arc<Config> {
    let config = Config {
        heartbeat_interval: 100,
        // A busy machine must not depose the leader of these tests.
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..Config::default()
    };
    Arc::new(config.validate().unwrap())
}

impl TestNode {
    pub(super) async fn start(ca: &Arc<Ca>, id: NodeId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::new(folder.path());
        let peers = Peers::new(ca.node(id), quick());
        let network = peers.raft_network(Listed);
        let raft = Raft::new(id, config(), network, Log::default(), state.clone()).await.unwrap();
        let (listener, port) = listen().await;
        let address = listener.local_addr().unwrap();
        let sink = Sink::new(folder.path());
        let mut node = Self {
            id,
            address,
            raft,
            peers,
            state,
            sink,
            handler: Arc::new(Echo { held: Semaphore::new(0) }),
            ca: Arc::clone(ca),
            serving: None,
            _folder: folder,
            _port: port,
        };
        node.serve_on(listener, ServerOptions::default());
        node
    }

    fn serve_on(&mut self, listener: TcpListener, options: ServerOptions) {
        let server = PeerServer {
            raft: self.raft.clone(),
            handler: Arc::clone(&self.handler),
            sink: Arc::new(self.sink.clone()),
            roster: Arc::new(|id| (1..10).contains(&id)),
            options: ServerOptions {
                drain_max: Duration::from_millis(200),
                keepalive_timeout: Duration::from_secs(20),
                ..options
            },
        };
        let tls = self.ca.node(self.id);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(tls, listener, stopped).await.unwrap();
        });
        self.serving = Some((stop, serving));
    }

    /// Cuts every connection to this node; from then on, none is accepted.
    pub(super) async fn cut(&mut self) {
        let (_stop, serving) = self.serving.take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        // Connections are tasks of their own, which are told.
        eventually("all connections are gone", || Arc::strong_count(&self.handler) == 1).await;
    }

    /// Stops serving as it should be done, in bounded time.
    pub(super) async fn stop_serving(&mut self) {
        let (stop, serving) = self.serving.take().unwrap();
        stop.send(()).unwrap();
        timeout(PATIENCE, serving).await.expect("the server stops").unwrap();
    }

    /// Serves again, at the same address.
    pub(super) async fn serve_again(&mut self, options: ServerOptions) {
        let deadline = soon();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            sleep(Duration::from_millis(10)).await;
        };
        self.serve_on(listener, options);
    }

    pub(super) fn raft_node(&self) -> RaftNode {
        RaftNode { address: self.address.to_string(), name: format!("node-{}", self.id) }
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader
    }
}

/// Waits until `reached`.
pub(super) async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = soon();
    while !reached() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Nodes 1 to `count`, initialized, with node 1 leading.
pub(super) async fn cluster(count: NodeId) -> Vec<TestNode> {
    let ca = Ca::new();
    let mut nodes = Vec::new();
    for id in 1..=count {
        nodes.push(TestNode::start(&ca, id).await);
    }
    let members: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, node.raft_node())).collect();
    nodes[0].raft.initialize(members).await.unwrap();
    eventually("node 1 leads", || nodes.iter().all(|node| node.leader() == Some(1))).await;
    nodes
}

/// Writes `count` blocks of `size_bytes` to `raft`, all at once. A leader that has not heard from a
/// quorum of late takes none, and is asked again.
pub(super) async fn write(raft: &TestRaft, count: usize, size_bytes: usize) {
    let writes = (0..count).map(|number| {
        let mut block = vec![0; size_bytes];
        block[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let (raft, block) = (raft.clone(), EncodedBlock::from(block));
        tokio::spawn(async move {
            loop {
                let written = raft.client_write(block.clone()).await;
                match written.as_ref().map_err(|error| error.api_error()) {
                    Err(Some(ClientWriteError::ForwardToLeader(forward)))
                        if forward.reason == ForwardReason::LeaseExpired =>
                    {
                        sleep(Duration::from_millis(20)).await;
                    }
                    _ => break written.unwrap(),
                }
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
}

/// All of `nodes` applied `blocks`, and the same ones.
pub(super) async fn all_reach(nodes: &[TestNode], blocks: u64) {
    eventually("all apply", || nodes.iter().all(|node| node.state.reached().0 == blocks)).await;
    let hash = nodes[0].state.reached().1;
    assert!(nodes.iter().all(|node| node.state.reached() == (blocks, hash)));
}
