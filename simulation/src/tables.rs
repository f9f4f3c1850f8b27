//! The applied store's tables: records in memory that a power cut takes back to what was last synced, or to
//! any moment since.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chancery_node::store::applied::Column;
use chancery_node::store::applied::tables::Tables;
use chancery_node::store::{Change, Record};

use crate::random::Random;

type Key = (u8, Box<[u8]>);
type Map = BTreeMap<Key, Vec<u8>>;

/// The one file of a checkpoint; snapshots take only names that databases give.
const CHECKPOINT: &str = "000001.log";

/// In the folder of tables that are in use: without it, what is known of such a folder is of an earlier one.
const IN_USE: &str = "in-use";

/// The tables of one node, by their folders. Handles share them.
#[derive(Clone, Default)]
pub(crate) struct SimulatedTables {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    folders: BTreeMap<PathBuf, Folder>,
    /// Grows with each power cut: what ran before has no disk any more.
    powered: u64,
}

#[derive(Default)]
struct Folder {
    durable: Map,
    current: Map,
    /// Written since the last sync, in order.
    unsynced: Vec<Vec<(Column, Change)>>,
}

impl SimulatedTables {
    /// Loses what was not synced, or any later part of it.
    pub(crate) fn cut_power(&self, random: &mut Random) {
        let mut shared = self.shared();
        shared.powered += 1;
        for folder in shared.folders.values_mut() {
            let kept = random.below(folder.unsynced.len() as u64 + 1);
            let unsynced = std::mem::take(&mut folder.unsynced);
            for changes in unsynced.iter().take(usize::try_from(kept).unwrap_or(0)) {
                apply(&mut folder.durable, changes);
            }
            folder.current = folder.durable.clone();
        }
    }

    /// Opens those in the folder `path`.
    pub(crate) fn open(&self, path: &Path) -> Result<Box<dyn Tables>, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let is_live = path.parent().and_then(Path::file_name).is_some_and(|name| name == "applied");
        let in_use = path.join(IN_USE).exists();
        let mut shared = self.shared();
        if !is_live || !in_use || !shared.folders.contains_key(path) {
            let loaded = load(&path.join(CHECKPOINT)).map_err(failed)?;
            let folder = Folder { durable: loaded.clone(), current: loaded, unsynced: Vec::new() };
            shared.folders.insert(path.to_owned(), folder);
        }
        if is_live && !in_use {
            fs::write(path.join(IN_USE), []).map_err(failed)?;
        }
        Ok(Box::new(Opened { tables: self.clone(), path: path.to_owned(), powered: shared.powered }))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(map: &mut Map, changes: &[(Column, Change)]) {
    for (column, change) in changes {
        let column = *column as u8;
        match change {
            Change::Put(key, value) => {
                map.insert((column, key.clone()), value.clone());
            }
            Change::Delete(key) => {
                map.remove(&(column, key.clone()));
            }
            Change::DeleteRange(from, to) => {
                let range = (column, from.clone())..(column, to.clone());
                let keys: Vec<Key> = map.range(range).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    map.remove(&key);
                }
            }
        }
    }
}

/// The tables, as a process that runs until the power is cut has them.
struct Opened {
    tables: SimulatedTables,
    path: PathBuf,
    powered: u64,
}

impl Opened {
    fn folder<T>(&self, work: impl FnOnce(&mut Folder) -> T) -> Result<T, String> {
        let mut shared = self.tables.shared();
        let on = shared.powered == self.powered;
        let folder = shared.folders.get_mut(&self.path).filter(|_| on);
        folder.map(work).ok_or_else(|| "the power is off (simulated)".into())
    }
}

impl Tables for Opened {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.folder(|folder| folder.current.get(&(column as u8, key.into())).cloned())
    }

    fn records_from<'a>(
        &'a self,
        column: Column,
        key: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a> {
        let mut next = Some((column as u8, Box::<[u8]>::from(key)));
        // One at a time: many readers want only the first few.
        Box::new(std::iter::from_fn(move || {
            let from = next.take()?;
            let found = self.folder(|folder| {
                let end = (column as u8 + 1, Box::<[u8]>::default());
                folder.current.range(from..end).next().map(|((_, key), value)| (key.clone(), value.clone()))
            });
            match found {
                Ok(Some((key, value))) => {
                    // The least key after this one.
                    next = Some((column as u8, [&*key, &[0]].concat().into()));
                    Some(Ok((key, value.into_boxed_slice())))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        }))
    }

    fn last_record(&self, column: Column) -> Result<Option<Record>, String> {
        let range = (column as u8, Box::<[u8]>::default())..(column as u8 + 1, Box::default());
        self.folder(|folder| {
            let last = folder.current.range(range).next_back();
            last.map(|((_, key), value)| (key.clone(), value.clone().into_boxed_slice()))
        })
    }

    fn write(&self, changes: Vec<(Column, Change)>) -> Result<(), String> {
        self.folder(|folder| {
            apply(&mut folder.current, &changes);
            folder.unsynced.push(changes);
        })
    }

    fn sync(&self) -> Result<(), String> {
        self.folder(|folder| {
            folder.unsynced.clear();
            folder.durable = folder.current.clone();
        })
    }

    fn checkpoint(&self, path: &Path) -> Result<(), String> {
        let bytes = self.folder(|folder| encode(&folder.current))?;
        fs::create_dir(path)
            .and_then(|()| fs::write(path.join(CHECKPOINT), bytes))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// For each record its column, the length of its key and of its value, and both.
fn encode(map: &Map) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ((column, key), value) in map {
        bytes.push(*column);
        bytes.extend((key.len() as u64).to_be_bytes());
        bytes.extend((value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

fn load(path: &Path) -> io::Result<Map> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        read => read?,
    };
    let mut map = Map::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (column, key, value, after) = record(rest).ok_or(io::ErrorKind::InvalidData)?;
        map.insert((column, key.into()), value.into());
        rest = after;
    }
    Ok(map)
}

/// Column, key, value, and what follows.
type ReadRecord<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

fn record(bytes: &[u8]) -> Option<ReadRecord<'_>> {
    let (column, rest) = bytes.split_first()?;
    let (key_length, rest) = rest.split_first_chunk()?;
    let (value_length, rest) = rest.split_first_chunk()?;
    let length = |bytes: &[u8; 8]| usize::try_from(u64::from_be_bytes(*bytes)).ok();
    let (key, rest) = rest.split_at_checked(length(key_length)?)?;
    let (value, rest) = rest.split_at_checked(length(value_length)?)?;
    Some((*column, key, value, rest))
}
