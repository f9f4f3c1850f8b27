//! Does the disk hold more than the log, the live state and a bounded rest? One node's own stores, fed block by
//! block as Raft would feed them: so many grants are made, then all of them are revoked, while old states are
//! forgotten, snapshots are made and the Raft log is purged. Each command's signature is verified where it is
//! applied, and each entry is synced.
//!
//! `cargo bench --profile dev --workspace --features chancery-cli/failpoints --bench retention -- 50000` (grants;
//! 50,000 if left out; 1,000,000 take half an hour). What the disk holds is read from outside the stores: each file
//! once, whatever links to it, and table files by the column that they are of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::float_arithmetic,
    missing_docs
)]

#[path = "../src/store/applied/tests/ledger.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests in the crate")]
mod ledger;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chancery_ledger::authority::{Block, Outcome};
use chancery_ledger::command::{
    Body, Command, GrantId, Name, Patterns, PublicKey, RequestId, SignedCommand, Terms,
};
use chancery_ledger::state::{Node, leaves};
use chancery_node::raft::types::{Entry, Payload, TypeConfig, log_id};
use chancery_node::store::applied::AppliedOptions;
use chancery_node::store::{NodeStores, RaftLogOptions, StoreOptions, open_node_stores};
use ledger::{GENESIS_MS, Signers, founding, membership, node_key, principal_key};
use openraft::storage::{IOFlushed, RaftLogStorage};
use rocksdb::{DB, IteratorMode, Options};
use tokio::sync::watch;

/// Grants of one agent.
const GRANTS_PER_AGENT: u64 = 100;

/// Commands of one block, and how much later than the last its stamp is: a thousand commands a second.
const BLOCK_COMMANDS: u64 = 500;
const BLOCK_EVERY_MS: u64 = 500;

/// How long a command may be given: its deduplication entry lives as long, and as its bucket.
const NOT_AFTER_MS: u64 = 60_000;

/// Blocks of history that are kept.
const HISTORY_BLOCKS: u64 = 64;

/// Log entries between snapshots, and those that are kept behind one.
const SNAPSHOT_EVERY_ENTRIES: u64 = 200;
const KEEP_LOG_ENTRIES: u64 = 50;

/// Rows of the table.
const ROWS: u64 = 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let grants = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(50_000_u64);
    let folder = tempfile::tempdir().unwrap();
    let mut node = Fed::open(folder.path()).await;
    let agents = grants.div_ceil(GRANTS_PER_AGENT);
    let agent = |number: u64| name(&format!("bot/{:07}", number % agents));
    for block in 0..agents.div_ceil(BLOCK_COMMANDS) {
        let these = block * BLOCK_COMMANDS..agents.min((block + 1) * BLOCK_COMMANDS);
        let owner = || name("ada@example.com");
        node.block(these.map(|number| Body::RegisterAgent {
            agent: agent(number),
            owner: owner(),
            key: None,
            lineage: None,
        }))
        .await;
    }
    let mut seen = Seen::default();
    println!("{}", Seen::head());
    println!("{}", seen.look(&node, folder.path()));
    let mut granted = VecDeque::new();
    let row = (2 * grants).div_ceil(ROWS);
    let mut next = row;
    let mut done = 0;
    while done < 2 * grants {
        if done < grants {
            let these = done..grants.min(done + BLOCK_COMMANDS);
            done = these.end;
            granted.extend(node.block(these.map(|number| Body::grant(terms(agent(number), number)))).await);
        } else {
            let these = done..(2 * grants).min(done + BLOCK_COMMANDS);
            done = these.end;
            let revoked = these.map(|_| granted.pop_front().unwrap());
            node.block(revoked.map(|grant| Body::RevokeGrant { grant, reason: "it is over".into() })).await;
        }
        if done >= next {
            next += row;
            println!("{}", seen.look(&node, folder.path()));
        }
    }
    // What no block of the kept history used any more is gone, and the rest is whole.
    let view = node.stores.applied.view();
    let live: u64 = leaves(&view, view.read_state(|state| state.summary().root))
        .map(|leaf| leaf.unwrap())
        .map(|(key, value)| Node::Leaf { key, value }.encode().len() as u64)
        .sum();
    assert_eq!(live, seen.live_leaves, "the state is what was counted");
    let oldest = view.oldest_state();
    assert_eq!(oldest, view.read_state(|state| state.head().block).saturating_sub(HISTORY_BLOCKS));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn terms(agent: Name, number: u64) -> Terms {
    Terms {
        agent,
        actions: Patterns::collect(["documents/read", "documents/write"]).unwrap(),
        resources: Patterns::collect([format!("customers/{number}/*").as_str()]).unwrap(),
        not_before_ms: GENESIS_MS,
        not_after_ms: GENESIS_MS + 24 * 3_600_000,
        max_staleness_ms: 5_000,
        delegable_depth: 0,
        condition: None,
        knowledge: Default::default(),
        bounds: Default::default(),
    }
}

/// A node's stores, and what comes next.
struct Fed {
    stores: NodeStores,
    next_index: u64,
    commands: u64,
    stamp_ms: u64,
    /// How long applying took, all blocks together.
    applying: Duration,
    began: Instant,
    stopping: watch::Sender<bool>,
}

impl Fed {
    async fn open(folder: &Path) -> Self {
        let applied = AppliedOptions { history_blocks: HISTORY_BLOCKS, ..AppliedOptions::default() };
        let options = StoreOptions { log: RaftLogOptions::default(), applied };
        let stores = open_node_stores(folder, 1, founding(), options).await.unwrap();
        let mut fed = Self {
            stores,
            next_index: 0,
            commands: 0,
            stamp_ms: GENESIS_MS,
            applying: Duration::ZERO,
            began: Instant::now(),
            stopping: watch::Sender::new(false),
        };
        fed.entry(Payload::new(None, Some(membership(&[])))).await;
        fed
    }

    /// A block of these commands: signed, logged, applied. What it grants.
    async fn block(&mut self, bodies: impl Iterator<Item = Body>) -> Vec<GrantId> {
        self.stamp_ms += BLOCK_EVERY_MS;
        let (head, previous) =
            self.stores.applied.read_state(|state| (*state.head(), state.summary().block_hash));
        let key = principal_key();
        let signer = PublicKey(key.verifying_key().to_bytes());
        let mut signed = Vec::new();
        for body in bodies {
            self.commands += 1;
            let request_id = RequestId(u128::from(self.commands).to_be_bytes());
            let not_after_ms = self.stamp_ms + NOT_AFTER_MS;
            let command = Command { signer, request_id, not_after_ms, body };
            signed.push(SignedCommand::sign(head.ledger, &command, &[&key]).unwrap());
        }
        let granted = signed.iter().map(|signed| GrantId::of(head.ledger, signed.command_bytes())).collect();
        let newest = (head.block, head.hash());
        let block =
            Block::propose(head.ledger, previous, self.stamp_ms, (1, 1), newest, signed, &node_key(1));
        self.entry(Payload::new(Some(block.encode().into()), None)).await;
        let outcomes = self.stores.applied.outcomes(head.block + 1).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))), "{outcomes:?}");
        granted
    }

    async fn entry(&mut self, payload: Payload) {
        let entry = Entry { log_id: log_id(1, self.next_index), payload };
        self.next_index += 1;
        let NodeStores { log, applied, snapshots } = &self.stores;
        log.clone().append(vec![entry.clone()], IOFlushed::<TypeConfig>::noop()).await.unwrap();
        log.wait_flushed(entry.log_id).await.unwrap();
        let began = Instant::now();
        let position = tokio::task::block_in_place(|| applied.apply(&entry)).unwrap();
        self.applying += began.elapsed();
        log.raise_floor(&position);
        if self.next_index.is_multiple_of(SNAPSHOT_EVERY_ENTRIES) {
            let signers = Signers(applied.clone());
            snapshots.build(applied, &signers, self.stopping.subscribe()).await.unwrap();
            log.clone().purge(log_id(1, entry.log_id.index - KEEP_LOG_ENTRIES)).await.unwrap();
        }
    }
}

/// What was seen of the disk so far.
#[derive(Default)]
struct Seen {
    leaves: u64,
    log_bytes: u64,
    live_leaves: u64,
}

/// The columns of the applied store, in the order of the table.
const COLUMNS: [&str; 9] =
    ["entries", "tiles", "nodes", "stale", "dedup", "summaries", "ends", "rosters", "meta"];

impl Seen {
    fn head() -> String {
        let of = ["commands", "s", "apply us", "leaves", "log", "live", "past", "entries", "tiles", "nodes"];
        let rest = ["stale", "dedup", "summ.", "ends", "garbage", "WAL", "raft/", "snapsh.", "disk", "ratio"];
        of.into_iter().chain(rest).map(|column| format!("{column:>8}")).collect::<Vec<_>>().join(" ")
    }

    /// A row: sizes in MB (what the log, the live state and the kept past hold, then what the disk has for each
    /// part), and the disk over log and live state.
    fn look(&mut self, node: &Fed, folder: &Path) -> String {
        let view = node.stores.applied.view();
        while let Some(entries) =
            Some(view.entries(self.leaves, 10_000).unwrap()).filter(|some| !some.is_empty())
        {
            self.leaves += entries.len() as u64;
            self.log_bytes += entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
        }
        let disk = Disk::read(folder);
        let live = disk.live();
        self.live_leaves = live.leaves;
        let part = |name: &str| disk.parts.get(name).copied().unwrap_or(0);
        let mut numbers = vec![self.log_bytes, live.bytes, live.past_bytes];
        numbers.extend(COLUMNS[..7].iter().map(|column| part(column)));
        numbers.extend(["garbage", "wal", "raft", "snapshots"].map(part));
        let all: u64 = disk.parts.values().sum();
        numbers.push(all);
        let mut row = vec![
            node.commands.to_string(),
            node.began.elapsed().as_secs().to_string(),
            (node.applying.as_micros() / u128::from(node.commands.max(1))).to_string(),
            self.leaves.to_string(),
        ];
        row.extend(numbers.iter().map(|bytes| tenths(bytes / 100_000)));
        row.push(tenths(10 * all / (self.log_bytes + live.bytes)));
        row.iter().map(|field| format!("{field:>8}")).collect::<Vec<_>>().join(" ")
    }
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// The files below a node's folder.
struct Disk {
    /// What is allocated, by what it is for.
    parts: BTreeMap<String, u64>,
    applied: DB,
}

/// What the newest state uses of the nodes that are kept.
struct LiveState {
    leaves: u64,
    bytes: u64,
    /// What only earlier states use.
    past_bytes: u64,
}

impl Disk {
    fn read(folder: &Path) -> Self {
        let mut tries = 0;
        // A table that is compacted away meanwhile: what there is then is read again.
        let (applied, tables) = loop {
            let opened = database(&folder.join("applied")).and_then(|path| open(&path).map(|db| (db, path)));
            match opened {
                Some((db, path)) => break (db, files(&path)),
                None if tries < 100 => tries += 1,
                None => panic!("the applied store cannot be read"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let columns: HashMap<String, String> = applied
            .live_files()
            .unwrap()
            .into_iter()
            .map(|file| (file.name.trim_start_matches('/').to_owned(), file.column_family_name))
            .collect();
        let mut parts: BTreeMap<String, u64> = BTreeMap::new();
        let mut known = HashSet::new();
        for (path, inode, bytes) in tables {
            let name = path.file_name().unwrap().to_str().unwrap();
            let part = match columns.get(name) {
                Some(column) => column.clone(),
                None if name.ends_with(".sst") => "garbage".into(),
                None if name.ends_with(".log") => "wal".into(),
                None => "notes".into(),
            };
            *parts.entry(part).or_default() += bytes;
            known.insert(inode);
        }
        for part in ["raft", "snapshots"] {
            let alone = files(&folder.join(part)).into_iter().filter(|(_, inode, _)| known.insert(*inode));
            parts.insert(part.into(), alone.map(|(_, _, bytes)| bytes).sum());
        }
        Self { parts, applied }
    }

    /// Nodes that are not on the list of those that only earlier states use.
    fn live(&self) -> LiveState {
        let records = |column: &str| {
            let column = self.applied.cf_handle(column).unwrap();
            self.applied.iterator_cf(column, IteratorMode::Start).map(Result::unwrap)
        };
        let stale: HashSet<[u8; 8]> = records("stale").map(|(key, _)| key[8..].try_into().unwrap()).collect();
        let mut live = LiveState { leaves: 0, bytes: 0, past_bytes: 0 };
        for (key, node) in records("nodes") {
            let bytes = (key.len() + node.len()) as u64;
            if stale.contains(&key[..]) {
                live.past_bytes += bytes;
                continue;
            }
            live.bytes += bytes;
            if let Node::Leaf { .. } = Node::decode(&node).unwrap() {
                live.leaves += node.len() as u64;
            }
        }
        live
    }
}

/// The one database below `path`.
fn database(path: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    folders.chain([path.to_owned()]).find(|folder| folder.join("CURRENT").exists())
}

fn open(path: &Path) -> Option<DB> {
    DB::open_cf_for_read_only(&Options::default(), path, COLUMNS.into_iter().chain(["default"]), false).ok()
}

/// Each file below `path`: its inode, and what is allocated for it.
fn files(path: &Path) -> Vec<(PathBuf, u64, u64)> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        // Files come and go.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                found.push((entry.path(), metadata.ino(), metadata.blocks() * 512));
            }
        }
    }
    found
}
