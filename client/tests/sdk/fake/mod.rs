//! Nodes that answer truly, unless they are told to misbehave.

mod certificates;
mod clock;
mod node;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery_client::{Context, Ledger, Options};
use chancery_ledger::command::{Body, Name, Patterns, Terms};
use tempfile::TempDir;

pub use certificates::Authority;
pub use clock::{HandClock, TestClock};
pub use node::{Fault, Node};
pub use world::{World, now_ms, voters};

/// Nodes of one ledger, and a client's context for it.
pub struct Cluster {
    pub folder: TempDir,
    pub world: Arc<Mutex<World>>,
    pub nodes: Vec<Node>,
    pub authority: Authority,
}

impl Cluster {
    pub async fn start(count: usize) -> Self {
        let (world, authority) = (Arc::new(Mutex::new(World::found("fake.example/log"))), Authority::new());
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Node::start(Arc::clone(&world), &authority).await);
        }
        Self { folder: TempDir::new().unwrap(), world, nodes, authority }
    }

    pub fn context(&self) -> Context {
        let world = self.world.lock().unwrap();
        let (certificate, tls_key) = self.authority.client(&world.operator);
        Context {
            folder: self.folder.path().into(),
            endpoints: self.nodes.iter().map(Node::endpoint).collect(),
            trust: world.trust(),
            key: Some(world.operator.clone()),
            certificate,
            tls_key: tls_key.into(),
            server_ca: self.authority.pem(),
            clock_skew_ms: 500,
        }
    }

    pub async fn connect(&self) -> Ledger {
        self.connect_with(Options::default()).await
    }

    pub async fn connect_with(&self, options: Options) -> Ledger {
        let options = Options { check_timeout: Duration::from_secs(3), ..options };
        Ledger::connect_with(self.context(), options).await.unwrap()
    }

    /// With time enough on any machine, and few tries.
    pub async fn connect_patiently(&self, options: Options) -> Ledger {
        let time = Duration::from_secs(120);
        let options = Options {
            check_timeout: time,
            submit_timeout: time,
            read_timeout: time,
            tries_max: 4,
            ..options
        };
        Ledger::connect_with(self.context(), options).await.unwrap()
    }

    pub fn apply(&self, body: Body) {
        self.world.lock().unwrap().command(body);
    }

    /// Registers agent `bot`, and grants it `pay` on everything for an hour.
    pub fn with_grant(self) -> Self {
        self.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None });
        self.apply(Body::Grant(terms()));
        self
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn terms() -> Terms {
    Terms {
        agent: name("bot"),
        actions: Patterns::collect(["pay"]).unwrap(),
        resources: Patterns::collect(["*"]).unwrap(),
        not_before_ms: 0,
        not_after_ms: now_ms() + 3_600_000,
        max_staleness_ms: 5_000,
        delegable_depth: 1,
    }
}
