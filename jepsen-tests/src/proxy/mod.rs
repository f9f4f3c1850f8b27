//! The network between the nodes, and between clients and nodes: TCP proxies of our own, with weather.
//!
//! One listener stands before each port of a node. A connection belongs to the link between who called and
//! the node, and each direction of a link has its own weather, whoever dialled: "1 cannot reach 2, while 2
//! reaches 1" holds for the connections of both. Buffers are bounded.

mod caller;
mod pump;
mod weather;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub use weather::{Passage, Weather};

use crate::fault::HarnessError;
use crate::seed::Choices;
use pump::{Direction, carry};

/// Connections through one listener at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 512;

/// How long a node may take to accept a connection on the loopback interface.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause after a connection could not be accepted: descriptors may be short for a moment.
const PAUSE: Duration = Duration::from_millis(10);

/// Where bytes come from or go to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Party {
    /// All clients.
    Clients,
    /// A node.
    Node(u64),
}

/// Every link, with its weather.
#[derive(Default)]
pub struct Network {
    links: Arc<Links>,
    listeners: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Links {
    weather: Mutex<BTreeMap<(Party, Party), watch::Sender<Weather>>>,
    /// The process of each node that runs.
    processes: Mutex<BTreeMap<u64, u32>>,
    /// Chunks and connections that weather did something to.
    felt: AtomicU64,
}

impl Drop for Network {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

impl Network {
    /// Stands before the client port of `node`, which is at `target`.
    ///
    /// # Errors
    /// `listen` cannot be listened on.
    pub async fn before_clients(
        &mut self,
        node: u64,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> Result<(), HarnessError> {
        self.listen(node, listen, target, false).await
    }

    /// Stands before the peer port of `node`, which is at `target`. Only its peers are let through.
    ///
    /// # Errors
    /// `listen` cannot be listened on.
    pub async fn before_peers(
        &mut self,
        node: u64,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> Result<(), HarnessError> {
        self.listen(node, listen, target, true).await
    }

    /// A node runs as `process` from now on, or not at all.
    pub fn set_process(&self, node: u64, process: Option<u32>) {
        let mut processes = locked(&self.links.processes);
        match process {
            Some(process) => processes.insert(node, process),
            None => processes.remove(&node),
        };
    }

    /// The weather of every link: `rule` for each direction that it names, fair for all others.
    pub fn set_weather(&self, rules: &BTreeMap<(Party, Party), Weather>) {
        let mut known = locked(&self.links.weather);
        for (direction, weather) in rules {
            self.links.channel(&mut known, *direction).send_replace(*weather);
        }
        for (direction, channel) in known.iter() {
            if !rules.contains_key(direction) {
                channel.send_if_modified(|weather| std::mem::take(weather) != Weather::default());
            }
        }
    }

    /// How many chunks and connections weather did something to, so far.
    pub fn felt(&self) -> u64 {
        self.links.felt.load(Ordering::Relaxed)
    }

    async fn listen(
        &mut self,
        node: u64,
        listen: SocketAddr,
        target: SocketAddr,
        peers: bool,
    ) -> Result<(), HarnessError> {
        let failed = HarnessError::of(format!("listen on {listen}"));
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let links = Arc::clone(&self.links);
        self.listeners.push(tokio::spawn(async move {
            // Ended with this task.
            let mut connections = JoinSet::new();
            let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            loop {
                while connections.try_join_next().is_some() {}
                let Ok(turn) = Arc::clone(&room).acquire_owned().await else { return };
                let Ok((caller, address)) = listener.accept().await else {
                    sleep(PAUSE).await;
                    continue;
                };
                let links = Arc::clone(&links);
                connections.spawn(async move {
                    let _turn = turn;
                    let from = if peers { links.caller(address, listen).await } else { Some(Party::Clients) };
                    if let Some(from) = from {
                        links.connect(caller, target, from, Party::Node(node)).await;
                    }
                });
            }
        }));
        Ok(())
    }
}

impl Links {
    /// The node that called; none if its process is gone, or another program called.
    async fn caller(&self, from: SocketAddr, to: SocketAddr) -> Option<Party> {
        let processes = locked(&self.processes).clone();
        let known: Vec<u32> = processes.values().copied().collect();
        let found =
            tokio::task::spawn_blocking(move || caller::process_of(from, to, &known)).await.ok()??;
        let node = processes.iter().find(|(_, process)| **process == found)?;
        Some(Party::Node(*node.0))
    }

    async fn connect(&self, caller: TcpStream, target: SocketAddr, from: Party, to: Party) {
        let (there, back) = {
            let mut known = locked(&self.weather);
            let there = self.channel(&mut known, (from, to)).subscribe();
            (there, self.channel(&mut known, (to, from)).subscribe())
        };
        let called = timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await;
        let Ok(Ok(called)) = called else {
            // Nobody listens there: what the caller would have been told at once.
            let _ = caller.set_zero_linger();
            return;
        };
        // Small messages must not wait for acknowledgements that weather delays.
        let _ = (caller.set_nodelay(true), called.set_nodelay(true));
        // Weather that is chosen by chance need not be the same in two runs: when chunks come is not, either.
        let seed = self.felt.load(Ordering::Relaxed);
        let direction =
            |weather, part| Direction { weather, felt: &self.felt, choices: Choices::of_part(seed, part) };
        carry(caller, called, direction(there, "there"), direction(back, "back")).await;
    }

    fn channel<'a>(
        &self,
        known: &'a mut BTreeMap<(Party, Party), watch::Sender<Weather>>,
        direction: (Party, Party),
    ) -> &'a watch::Sender<Weather> {
        known.entry(direction).or_insert_with(|| watch::Sender::new(Weather::default()))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
