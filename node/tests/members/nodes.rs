//! Nodes, each in a runtime of its own, so that one can be killed: started, killed, told to stop, started again.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use chancery_node::config::{NodeConfig, PeerConfig, TlsConfig, Tuning};
use chancery_node::{RuntimeEnd, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::world::{World, node_key};

/// What a loaded machine may need for anything that ends at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One cluster at a time: the machine is small, and failpoints are the process's.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The nodes of a ledger, running or not.
pub(crate) struct Nodes {
    pub(crate) world: Arc<World>,
    folder: TempDir,
    ports: BTreeMap<u64, (Port, Port)>,
    running: BTreeMap<u64, Running>,
    /// Of those that ran before.
    ends: BTreeMap<u64, RuntimeEnd>,
    tuning: Tuning,
    _alone: MutexGuard<'static, ()>,
}

struct Running {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<String>,
}

impl Drop for Nodes {
    /// No node outlives its test: this process may end next, and the folder goes.
    fn drop(&mut self) {
        for node in self.running() {
            self.kill(node);
        }
        for (node, end) in std::mem::take(&mut self.ends) {
            let ended = has_ended(&end);
            // A test that fails already has said why.
            assert!(ended || std::thread::panicking(), "node {node} does not end");
        }
    }
}

impl Nodes {
    /// The three founding nodes, running; ports for two more.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(tune: impl Fn(&mut Tuning)) -> Self {
        let alone = ALONE.lock().await;
        // A busy machine must not depose the leader of these tests.
        let mut tuning = Tuning { election_timeout_ms: (2_000, 4_000), ..Tuning::default() };
        tune(&mut tuning);
        let ports = (1..=5).map(|node| (node, (Port::reserve(), Port::reserve()))).collect();
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(World::found());
        let (running, ends) = (BTreeMap::new(), BTreeMap::new());
        let mut nodes = Self { world, folder, ports, running, ends, tuning, _alone: alone };
        fs::write(nodes.folder.path().join("genesis"), nodes.world.genesis.encode()).unwrap();
        fs::write(nodes.folder.path().join("ca.pem"), &nodes.world.ca_pem).unwrap();
        for node in 1..=3 {
            nodes.start_node(node, &[1, 2, 3]);
        }
        nodes
    }

    pub(crate) fn peer_address(&self, node: u64) -> String {
        format!("127.0.0.1:{}", self.ports[&node].0.number)
    }

    pub(crate) fn client_address(&self, node: u64) -> String {
        format!("127.0.0.1:{}", self.ports[&node].1.number)
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// Starts a node that knows `peers` from its configuration, once it has ended if it ran before: its folder
    /// and its ports are free then.
    pub(crate) fn start_node(&mut self, node: u64, peers: &[u64]) {
        if let Some(end) = self.ends.remove(&node) {
            assert!(has_ended(&end), "node {node} does not end");
        }
        let config = self.config(node, peers);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(thread_name(node))
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        runtime.spawn(async move {
            let ended = serve(config, async move { drop(stopped.await) }).await;
            let _ = end.send(format!("{ended:?}"));
        });
        self.running.insert(node, Running { runtime, stop, ended });
    }

    /// Ends a node as a power switch would, but for what its system has taken: none of its tasks goes on when
    /// this returns, though a thread may still be about a task's last call.
    pub(crate) fn kill(&mut self, node: u64) {
        // The sender lives until all is over, for its drop would tell the node to stop.
        let Running { runtime, stop: _stop, ended } = self.running.remove(&node).unwrap();
        self.ends.insert(node, RuntimeEnd::begin(runtime));
        // The only worker drops one task after the other then, and this is one.
        let _ = block_in_place(|| ended.blocking_recv());
    }

    /// Tells a node to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, node: u64) {
        let Running { runtime, stop, ended } = self.running.remove(&node).unwrap();
        let _ = stop.send(());
        let said = timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert_eq!(said, "Ok(())");
        self.ends.insert(node, RuntimeEnd::begin(runtime));
    }

    /// What a node said when it ended by itself, if it did.
    pub(crate) fn ended(&mut self, node: u64) -> Option<String> {
        self.running.get_mut(&node).unwrap().ended.try_recv().ok()
    }

    fn config(&self, node: u64, peers: &[u64]) -> NodeConfig {
        let folder = self.folder.path().join(format!("node-{node}"));
        let file = |name: &str| folder.join(name);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            let seed: String = node_key(node).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let (certificate, key) = self.world.node_certificate(node);
            fs::write(file("signing.key"), seed).unwrap();
            fs::write(file("tls.pem"), certificate).unwrap();
            fs::write(file("tls.key"), key).unwrap();
        }
        let (peer, client) = &self.ports[&node];
        let ca = self.folder.path().join("ca.pem");
        let tls = TlsConfig {
            certificate: file("tls.pem"),
            key: file("tls.key"),
            node_ca: ca.clone(),
            client_ca: ca,
        };
        NodeConfig {
            node,
            name: (node > 3).then(|| format!("node-{node}")),
            data: file("data"),
            genesis: self.folder.path().join("genesis"),
            key: file("signing.key"),
            peer_listen: ([127, 0, 0, 1], peer.number).into(),
            client_listen: ([127, 0, 0, 1], client.number).into(),
            tls,
            tiles: None,
            peers: peers
                .iter()
                .map(|peer| PeerConfig { node: *peer, address: self.peer_address(*peer) })
                .collect(),
            tuning: self.tuning.clone(),
        }
    }
}

/// The name of every thread of a node: failpoints tell nodes apart by it.
pub(crate) fn thread_name(node: u64) -> String {
    format!("member-{node}")
}

fn has_ended(end: &RuntimeEnd) -> bool {
    block_in_place(|| end.wait(PATIENCE))
}

/// A port that no other test chooses, in this process or another, also while nobody listens on it: it is
/// reserved by the same port of UDP, which nobody else has a use for.
struct Port {
    number: u16,
    _reserved: UdpSocket,
}

impl Port {
    fn reserve() -> Self {
        for _ in 0..1_000 {
            let mut random = [0; 2];
            getrandom::fill(&mut random).unwrap();
            // Below the range that systems give to outgoing connections.
            let number = 12_000 + u16::from_be_bytes(random) % 8_000;
            let Ok(reserved) = UdpSocket::bind(("127.0.0.1", number)) else { continue };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _reserved: reserved };
            }
        }
        panic!("there is no free port on the loopback interface");
    }
}
