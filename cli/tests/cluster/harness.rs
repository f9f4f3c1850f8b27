//! A ledger of three node processes in a temporary folder: founded, started, killed, told to stop, restarted.
//!
//! Processes are ended by their own handles only, and all of them when the cluster is dropped; each ends by
//! itself when this process does. Whatever is waited for has a deadline, and the nodes' last words are part
//! of what a failure says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chancery_client::{CheckError, Context, Ledger, NodeStatus, Options, Receipt};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{GrantId, Name, Patterns, SignedCommand, Terms};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_node::config::{NodeConfig, Tuning};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

/// Nodes of a ledger.
pub(crate) const NODES: u64 = 3;

/// What a loaded machine may need for anything that ends at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Below the range that systems give to outgoing connections, and below that of `dev` and `demo`: a node that is
/// restarted finds its port free.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 8_000;

/// Lines of each node's log in a failure.
const LAST_LINES: usize = 12;

/// One ledger at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Three node processes, and everything that `chancery init` made for them.
pub(crate) struct Cluster {
    running: BTreeMap<u64, Running>,
    folder: TempDir,
    contexts: AtomicU64,
    ports: Vec<Port>,
    _alone: MutexGuard<'static, ()>,
}

struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It can only fail because the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in (1..).take_while(|node| self.node_folder(*node).exists()) {
                eprintln!("node {node} said last:\n{}", self.last_words(node));
            }
        }
    }
}

impl Cluster {
    /// Founds a ledger, starts its nodes and waits until all of them serve.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// [`Cluster::start`] with another tuning.
    pub(crate) async fn start_with(tune: impl Fn(&mut Tuning)) -> Self {
        let mut cluster = Self::found(tune).await;
        cluster.start_all();
        cluster.wait_until_serving(NODES).await;
        cluster
    }

    /// Founds a ledger. No node runs yet.
    pub(crate) async fn found(tune: impl Fn(&mut Tuning)) -> Self {
        Self::found_with(NODES, &[], tune).await
    }

    /// [`Cluster::found`] with so many nodes, and more arguments of `chancery init`.
    pub(crate) async fn found_with(nodes: u64, arguments: &[&str], tune: impl Fn(&mut Tuning)) -> Self {
        let alone = ALONE.lock().await;
        let folder = tempfile::Builder::new().prefix("chancery-cluster-").tempdir().unwrap();
        // A copy, so that a node comes back as the very program that it was.
        let built = std::env::var_os("CARGO_BIN_EXE_chancery");
        let built = built.unwrap_or_else(|| env!("CARGO_BIN_EXE_chancery").into());
        fs::copy(built, folder.path().join("chancery")).unwrap();
        let (contexts, ports) = (AtomicU64::new(0), Vec::new());
        let mut cluster = Self { running: BTreeMap::new(), folder, contexts, ports, _alone: alone };
        let mut init = cluster.chancery();
        init.arg("init").arg(cluster.ledger_folder()).args(arguments);
        for _ in 0..nodes {
            let [peer, client, tiles] = [(); 3].map(|()| cluster.reserve_port());
            init.args(["--node", &format!("127.0.0.1:{peer},127.0.0.1:{client},127.0.0.1:{tiles}")]);
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        for node in 1..=nodes {
            cluster.configure(node, |config| tune(&mut config.tuning));
        }
        cluster
    }

    /// A port of the loopback interface that is this cluster's for as long as it is there.
    pub(crate) fn reserve_port(&mut self) -> u16 {
        let port = Port::reserve();
        let number = port.number;
        self.ports.push(port);
        number
    }

    /// The program, as the user of this ledger runs it.
    pub(crate) fn chancery(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("chancery"));
        command.env_remove("CHANCERY_CONTEXT").env_remove("XDG_CONFIG_HOME").env("HOME", self.folder.path());
        command
    }

    /// Changes the `node.toml` of a node, which reads it when it starts.
    pub(crate) fn configure(&self, node: u64, change: impl FnOnce(&mut NodeConfig)) {
        let mut config = self.node_config(node);
        change(&mut config);
        fs::write(self.config(node), toml::to_string(&config).unwrap()).unwrap();
    }

    fn node_config(&self, node: u64) -> NodeConfig {
        toml::from_str(&fs::read_to_string(self.config(node)).unwrap()).unwrap()
    }

    /// Where a node serves the log over HTTP.
    #[allow(dead_code, reason = "for the other tests that share this")]
    pub(crate) fn log_url(&self, node: u64) -> String {
        format!("http://{}", self.node_config(node).tiles.expect("nodes serve the log").listen)
    }

    /// Starts a node that does not run.
    pub(crate) fn start_node(&mut self, node: u64) {
        self.start_node_with(node, &[]);
    }

    /// [`Cluster::start_node`] with more in its environment.
    pub(crate) fn start_node_with(&mut self, node: u64, environment: &[(&str, &str)]) {
        assert!(!self.running.contains_key(&node), "node {node} runs already");
        let log = File::options().create(true).append(true).open(self.log(node)).unwrap();
        let child = self
            .chancery()
            .arg("node")
            .arg("--stop-on-stdin-close")
            .arg("--config")
            .arg(self.config(node))
            .envs(environment.iter().copied())
            // Open for as long as this process is there.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.running.insert(node, Running { child });
    }

    /// Starts every node that does not run.
    pub(crate) fn start_all(&mut self) {
        for node in 1..=NODES {
            if !self.running.contains_key(&node) {
                self.start_node(node);
            }
        }
    }

    /// Starts a node that is to refuse, and waits until it has; its exit code, and what it said.
    pub(crate) async fn start_refused(&mut self, node: u64) -> (Option<i32>, String) {
        let said_before = self.said(node).len();
        self.start_node(node);
        let status = self.wait_for_exit(node).await;
        (status.code(), self.said(node).split_off(said_before))
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self, node: u64) {
        let mut running = self.running.remove(&node).expect("a node that runs");
        running.child.kill().unwrap();
        let status = running.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "node {node} had ended by itself: {status}");
    }

    /// `kill -9` of every node that runs, as close together as they can be sent.
    pub(crate) fn kill_all(&mut self) {
        for running in self.running.values_mut() {
            running.child.kill().unwrap();
        }
        for node in self.running() {
            self.kill(node);
        }
    }

    /// Stops every node that runs where it is (SIGSTOP), and waits until none of their threads moves.
    #[allow(dead_code, reason = "for the other tests that share this")]
    pub(crate) async fn pause_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        for node in self.running() {
            self.signal(node, Signal::STOP);
        }
        for node in self.running() {
            while !is_stopped(self.process_id(node)) {
                assert!(Instant::now() < deadline, "node {node} does not stop");
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Lets every node go on (SIGCONT).
    #[allow(dead_code, reason = "for the other tests that share this")]
    pub(crate) fn resume_all(&self) {
        for node in self.running() {
            self.signal(node, Signal::CONT);
        }
    }

    fn signal(&self, node: u64, signal: Signal) {
        let process = Pid::from_raw(self.process_id(node).try_into().unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }

    /// SIGTERM. Whoever sends it may wait for the end with [`Cluster::wait_for_exit`].
    pub(crate) fn terminate(&self, node: u64) {
        self.signal(node, Signal::TERM);
    }

    /// Waits until a node has ended by itself.
    pub(crate) async fn wait_for_exit(&mut self, node: u64) -> ExitStatus {
        let mut running = self.running.remove(&node).expect("a node that runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "node {node} does not end");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether a node that was started has ended by itself.
    #[allow(dead_code, reason = "for the other tests that share this")]
    pub(crate) fn has_ended(&mut self, node: u64) -> bool {
        let running = self.running.get_mut(&node).expect("a node that was started");
        running.child.try_wait().unwrap().is_some()
    }

    /// The nodes that were started, and neither killed nor waited for.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// The process id of a node that runs.
    pub(crate) fn process_id(&self, node: u64) -> u32 {
        self.running[&node].child.id()
    }

    /// What `chancery init` made.
    pub(crate) fn ledger_folder(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    /// A node's folder.
    pub(crate) fn node_folder(&self, node: u64) -> PathBuf {
        self.ledger_folder().join(format!("node-{node}"))
    }

    /// A node's `node.toml`.
    pub(crate) fn config(&self, node: u64) -> PathBuf {
        self.node_folder(node).join("node.toml")
    }

    /// Where a node keeps `raft/`, `applied/` and `snapshots/`.
    pub(crate) fn data(&self, node: u64) -> PathBuf {
        self.node_folder(node).join("data")
    }

    fn log(&self, node: u64) -> PathBuf {
        self.folder.path().join(format!("node-{node}.log"))
    }

    /// All that a node has said since it was founded.
    pub(crate) fn said(&self, node: u64) -> String {
        String::from_utf8_lossy(&fs::read(self.log(node)).unwrap_or_default()).into_owned()
    }

    fn last_words(&self, node: u64) -> String {
        let said = self.said(node);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// A connection as `operator`, `issuer`, `revoker` or `gate`, over every node.
    pub(crate) async fn connect(&self, principal: &str) -> Ledger {
        self.connect_with(principal, None, patient()).await
    }

    /// A connection that speaks to one node only.
    pub(crate) async fn connect_to(&self, node: u64, principal: &str) -> Ledger {
        self.connect_with(principal, Some(node), patient()).await
    }

    /// A connection with options, to one node or to all. Its context is a copy: none shares what it verified.
    pub(crate) async fn connect_with(&self, principal: &str, node: Option<u64>, options: Options) -> Ledger {
        let mut context = Context::open(self.ledger_folder().join("contexts").join(principal)).unwrap();
        if let Some(node) = node {
            context.endpoints = vec![self.node_config(node).client_listen.to_string()];
        }
        let number = self.contexts.fetch_add(1, Ordering::Relaxed);
        context.folder = self.folder.path().join("contexts").join(number.to_string());
        context.save().unwrap();
        Ledger::connect_with(context, options).await.unwrap()
    }

    /// The leader that every running node names, once they name one that runs, and sign.
    pub(crate) async fn leader(&self) -> u64 {
        let ledger = self.connect_with("operator", None, looking()).await;
        self.leader_as_seen_by(&ledger, self.running.len() as u64).await
    }

    async fn leader_as_seen_by(&self, ledger: &Ledger, count: u64) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = ledger.status().await;
            let signing: Vec<&NodeStatus> =
                all.iter().filter_map(|(_, status)| status.as_ref().ok()).collect();
            let signing: Vec<_> =
                signing.into_iter().filter(|status| status.silent_because.is_none()).collect();
            let leader = signing.first().and_then(|status| status.leader);
            let agreed = signing.iter().filter(|status| status.leader == leader).count() as u64;
            if let Some(leader) = leader.filter(|leader| self.running.contains_key(leader))
                && agreed >= count
            {
                return leader;
            }
            assert!(Instant::now() < deadline, "{count} nodes do not agree on a leader: {all:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `count` nodes sign under one leader, and one of them gives a proven answer.
    pub(crate) async fn wait_until_serving(&self, count: u64) {
        let ledger = self.connect_with("gate", None, looking()).await;
        self.leader_as_seen_by(&ledger, count).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ledger.check("nobody", "serving", "serving", b"").await {
                Err(CheckError::Denied(_)) => return,
                answer => assert!(Instant::now() < deadline, "no proven answer: {answer:?}"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The head that every running node has, once they have applied all that is in their logs.
    pub(crate) async fn settled_head(&self) -> Head {
        let ledger = self.connect_with("operator", None, looking()).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = ledger.status().await;
            let known: Vec<&NodeStatus> = all.iter().filter_map(|(_, status)| status.as_ref().ok()).collect();
            let head = known.first().and_then(|status| status.head);
            let settled = |status: &&NodeStatus| {
                status.head == head && head.is_some_and(|head| head.block == status.tail_block)
            };
            if let Some(head) = head
                && known.len() == self.running.len()
                && known.iter().all(settled)
            {
                return head;
            }
            assert!(Instant::now() < deadline, "the nodes do not come to one head: {all:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// The leaves that every running node has, the same on each, byte for byte.
    pub(crate) async fn settled_leaves(&self) -> Vec<Entry> {
        let head = self.settled_head().await;
        let mut first: Option<(u64, Vec<Entry>)> = None;
        for node in self.running() {
            let leaves = self.leaves(node, head.log_size).await;
            let (other, known) = first.get_or_insert_with(|| (node, leaves.clone()));
            for (index, (leaf, known)) in leaves.iter().zip(known.iter()).enumerate() {
                // What was decoded is canonical: equal leaves have equal bytes.
                assert_eq!(leaf, known, "leaf {index} of nodes {node} and {other}");
            }
        }
        first.expect("a node runs").1
    }

    /// The first `count` leaves, as one node has them.
    pub(crate) async fn leaves(&self, node: u64, count: u64) -> Vec<Entry> {
        let ledger = self.connect_to(node, "operator").await;
        let mut watch = ledger.watch(0).await.unwrap();
        let mut leaves = Vec::new();
        for index in 0..count {
            let event = timeout(PATIENCE, watch.next_change()).await;
            let event = event.unwrap_or_else(|_| panic!("node {node} sends no leaf {index}")).unwrap();
            assert_eq!(event.index, index);
            leaves.push(event.entry);
        }
        leaves
    }
}

/// Whether every thread of a process is stopped by a signal.
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.filter_map(Result::ok).all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
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
            let number = FIRST_PORT + u16::from_be_bytes(random) % PORTS;
            let Ok(reserved) = UdpSocket::bind(("127.0.0.1", number)) else { continue };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _reserved: reserved };
            }
        }
        panic!("there is no free port on the loopback interface");
    }
}

/// For a call that ends however slow the machine is: with the product's own timeouts, a test would measure speed.
pub(crate) fn patient() -> Options {
    const CALL_MAX: Duration = Duration::from_secs(60);
    Options {
        check_timeout: CALL_MAX,
        submit_timeout: CALL_MAX,
        read_timeout: CALL_MAX,
        // All the pauses between them take longer.
        tries_max: 1_000,
        // The same bytes are sent again at the end of a long test.
        command_lifetime_ms: 12 * 3_600_000,
        ..Options::default()
    }
}

/// For a call that is made again until it says what is waited for: short, as a node may be away, or paused.
pub(crate) fn looking() -> Options {
    Options { read_timeout: Duration::from_secs(5), ..patient() }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A well-formed name.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The right to do `read` on all documents, for an hour.
pub(crate) fn terms(agent: &str) -> Terms {
    Terms {
        agent: name(agent),
        actions: Patterns::collect(["read"]).unwrap(),
        resources: Patterns::collect(["documents/*"]).unwrap(),
        not_before_ms: 0,
        not_after_ms: now_ms() + 3_600_000,
        max_staleness_ms: 2_000,
        delegable_depth: 0,
        condition: None,
        knowledge: Default::default(),
        bounds: Default::default(),
    }
}

/// Registers an agent.
pub(crate) async fn register(issuer: &Ledger, agent: &str) -> Receipt {
    issuer.register_agent(name(agent), name("ada@example.com"), None).await.unwrap()
}

/// Registers an agent and grants it [`terms`].
pub(crate) async fn employ(issuer: &Ledger, agent: &str) -> GrantId {
    register(issuer, agent).await;
    issuer.grant(terms(agent)).await.unwrap().grant.expect("a grant's receipt names it")
}

/// The leaves of commands: index, block and the signed command.
pub(crate) fn commands(leaves: &[Entry]) -> Vec<(u64, u64, &SignedCommand)> {
    (0..)
        .zip(leaves)
        .filter_map(|(index, leaf)| match leaf {
            Entry::Command { block, signed, .. } => Some((index, *block, signed)),
            Entry::State { .. } => None,
        })
        .collect()
}

/// The STATE leaves' blocks and roots. Each names the one before, each block has one, and it is the last.
pub(crate) fn states(leaves: &[Entry]) -> Vec<(u64, Hash)> {
    let (mut states, mut before, mut open) = (Vec::new(), None, None);
    for (index, leaf) in (0..).zip(leaves) {
        match leaf {
            Entry::Command { block, .. } => {
                assert!(open.is_none_or(|open| open == *block), "leaf {index} is of block {block}");
                open = Some(*block);
            }
            Entry::State { block, state_root, previous, .. } => {
                assert_eq!(open.take(), Some(*block), "the STATE leaf {index} ends its block");
                assert_eq!(*previous, before, "the STATE leaf {index} names the one before");
                assert!(states.last().is_none_or(|(last, _)| last < block), "blocks only grow");
                before = Some(index);
                states.push((*block, *state_root));
            }
        }
    }
    assert_eq!(open, None, "the last block has a STATE leaf");
    states
}
