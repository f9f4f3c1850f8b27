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
pub use clock::{NOW_MS, TestClock};
pub use node::{Fault, Node};
pub use world::{World, public, voters};

/// How long to wait for what must come, on however slow a machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes of one ledger, and a client's context and clock for it.
pub struct Cluster {
    pub folder: TempDir,
    pub clock: Arc<TestClock>,
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
        Self { folder: TempDir::new().unwrap(), clock: Arc::default(), world, nodes, authority }
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

    /// Patient, so that a slow machine fails nothing, with few tries, so that what fails has failed soon, and
    /// by the cluster's clock.
    pub fn options(&self) -> Options {
        Options {
            check_timeout: PATIENCE,
            submit_timeout: PATIENCE,
            read_timeout: PATIENCE,
            tries_max: 4,
            clock: self.clock.clone(),
            ..Options::default()
        }
    }

    pub async fn connect(&self) -> Ledger {
        self.connect_with(self.options()).await
    }

    pub async fn connect_with(&self, options: Options) -> Ledger {
        Ledger::connect_with(self.context(), options).await.unwrap()
    }

    /// As [`Cluster::connect`], with another context.
    pub async fn connect_as(&self, context: Context) -> Ledger {
        Ledger::connect_with(context, self.options()).await.unwrap()
    }

    pub fn apply(&self, body: Body) {
        self.world.lock().unwrap().command(body);
    }

    /// Registers agent `bot`, and grants it `pay` on everything for an hour.
    pub fn with_grant(self) -> Self {
        self.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
        self.apply(Body::grant(terms()));
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
        not_after_ms: NOW_MS + 3_600_000,
        max_staleness_ms: 5_000,
        delegable_depth: 1,
        condition: None,
        knowledge: Default::default(),
        bounds: Default::default(),
    }
}
