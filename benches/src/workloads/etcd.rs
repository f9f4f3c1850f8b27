//! What etcd does: it stores values under keys, and nobody signs or verifies anything.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Dice, MIX_WRITES_ONE_IN};
use crate::fault::{BenchError, Result};
use crate::floor::node_of;
use crate::load::Operation;
use crate::system::etcd::{Client, Etcd};

/// Keys that gets read.
pub(crate) const KEYS: usize = 10_000;

/// Bytes of a value: about what a grant's record takes.
const VALUE_SIZE_BYTES: usize = 256;

/// Puts under way at once while the keys are made.
const AT_ONCE: usize = 64;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A linearizable get.
    Get,
    /// A get of what the node has.
    SerializableGet,
    /// A put under a new key.
    Put,
    /// Mostly linearizable gets.
    Mix,
}

/// Operations of one kind.
#[derive(Debug)]
pub(crate) struct Keyed {
    kind: Kind,
    clients: Vec<Client>,
    value: Bytes,
    dice: Dice,
    puts: AtomicU64,
}

/// Puts the keys that gets read.
pub(crate) async fn prepare(etcd: &Etcd, connections: usize) -> Result<()> {
    let value = Bytes::from(vec![7; VALUE_SIZE_BYTES]);
    let clients = clients(etcd, connections)?;
    let mut puts = JoinSet::new();
    for (number, client) in (0..KEYS).zip(clients.iter().cycle()) {
        if puts.len() >= AT_ONCE {
            one(&mut puts).await?;
        }
        let (client, value) = (client.clone(), value.clone());
        puts.spawn(async move { client.put(&key(number), &value).await });
    }
    while !puts.is_empty() {
        one(&mut puts).await?;
    }
    Ok(())
}

async fn one(puts: &mut JoinSet<std::result::Result<(), String>>) -> Result<()> {
    let Some(ended) = puts.join_next().await else { return Ok(()) };
    ended.map_err(BenchError::of("etcd"))?.map_err(BenchError::of("etcd"))
}

impl Keyed {
    /// Over as many connections.
    pub(crate) fn new(kind: Kind, etcd: &Etcd, connections: usize) -> Result<Self> {
        let (clients, value) = (clients(etcd, connections)?, Bytes::from(vec![7; VALUE_SIZE_BYTES]));
        Ok(Self { kind, clients, value, dice: Dice::default(), puts: AtomicU64::new(0) })
    }
}

impl Operation for Keyed {
    async fn once(&self, caller: usize) -> std::result::Result<(), String> {
        let client = self.clients.get(caller % self.clients.len().max(1)).ok_or("no connection")?;
        let writes = match self.kind {
            Kind::Put => true,
            Kind::Mix => self.dice.below(MIX_WRITES_ONE_IN) == 0,
            Kind::Get | Kind::SerializableGet => false,
        };
        if writes {
            let key = format!("bench/{:p}/{}", self, self.puts.fetch_add(1, Ordering::Relaxed));
            return client.put(key.as_bytes(), &self.value).await;
        }
        let found = client.get(&key(self.dice.below(KEYS)), self.kind != Kind::SerializableGet).await?;
        found.map(drop).ok_or_else(|| "the key is not there".into())
    }
}

fn clients(etcd: &Etcd, connections: usize) -> Result<Vec<Client>> {
    (0..connections).map(|connection| etcd.client(node_of(connection))).collect()
}

fn key(number: usize) -> Vec<u8> {
    format!("bench/agent-{number}").into_bytes()
}
