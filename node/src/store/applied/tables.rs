//! The seam between the applied store and the disk: columns of ordered records, changed in atomic batches that
//! are durable only once they are synced.

use std::path::Path;
use std::sync::OnceLock;

use super::database::{Column, Record};
use super::fault::AppliedFault;
use crate::store::disk::Change;

/// Opens the tables in a folder, or makes them.
pub type OpenTables = dyn Fn(&Path) -> Result<Box<dyn Tables>, String> + Send + Sync;

static SIMULATED: OnceLock<Box<OpenTables>> = OnceLock::new();

/// From now on, in the whole process, applied stores are in what `open` opens.
pub fn simulate(open: Box<OpenTables>) {
    // INVARIANT: a simulation is a process of its own, and says so once.
    let _ = SIMULATED.set(open);
}

/// Opens simulated tables, in a simulation.
pub(super) fn simulated(path: &Path) -> Option<Result<Box<dyn Tables>, AppliedFault>> {
    Some(SIMULATED.get()?(path).map_err(AppliedFault::Disk))
}

/// What the applied store keeps its records in, other than RocksDB. Errors are for people: any of them ends
/// the store.
pub trait Tables: Send + Sync + 'static {
    /// The value at `key`.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// The records from `key` on, in the order of their keys.
    fn records_from<'a>(
        &'a self,
        column: Column,
        key: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a>;

    /// The last record.
    fn last_record(&self, column: Column) -> Result<Option<Record>, String>;

    /// Makes all changes, or none; a power cut may take them, and then all that were made later too.
    fn write(&self, changes: Vec<(Column, Change)>) -> Result<(), String>;

    /// Makes everything that was written durable.
    fn sync(&self) -> Result<(), String>;

    /// Writes a copy to files in the folder `path`, which does not exist: it can be opened there.
    fn checkpoint(&self, path: &Path) -> Result<(), String>;
}
