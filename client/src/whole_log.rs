//! The log from its first leaf to a head, proven to be all of it.
//!
//! No node's index is believed, and no leaf by itself. Every leaf of a proven head's log is read and hashed, and only
//! if their root is the head's is what they say complete. It costs what the log is long.

use chancery_ledger::authority::Entry;
use chancery_ledger::head::Head;
use chancery_ledger::log::{Frontier, leaf_hash};

use crate::Ledger;
use crate::watch::WatchError;

/// Why the log could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum WholeLogError {
    /// No node streams it, or one sent what is no leaf.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// For this long no further leaf came, though the head's log has more.
    #[error("leaf {index} of {size} did not come in time")]
    TimedOut {
        /// Which was due.
        index: u64,
        /// Leaves of the head's log.
        size: u64,
    },
    /// The leaves are not those that the head's quorum signed.
    #[error("the {size} leaves that came are not the log of block {block}")]
    OtherLog {
        /// How many.
        size: u64,
        /// The head's block.
        block: u64,
    },
}

impl Ledger {
    /// Shows `visit` every leaf of the log of `head`, with its index and in order; the head was proven by a check.
    /// What `visit` was shown is to be believed only once this returns `Ok`.
    ///
    /// # Errors
    /// The log did not come whole, or is another.
    pub async fn read_whole_log(
        &self,
        head: &Head,
        mut visit: impl FnMut(u64, Entry),
    ) -> Result<(), WholeLogError> {
        let mut log = Frontier::new();
        let mut watch = self.watch(0).await?;
        while log.size() < head.log_size {
            let index = log.size();
            let next = tokio::time::timeout(self.options().read_timeout, watch.next_change()).await;
            let late = |_| WholeLogError::TimedOut { index, size: head.log_size };
            let entry = match next.map_err(late)? {
                Ok(change) => change.entry,
                // What was done with the leaves took its time: nothing is lost by going on.
                Err(WatchError::TooSlow { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            log.append(leaf_hash(&entry.encode()));
            visit(index, entry);
        }
        if log.root() == head.log_root {
            Ok(())
        } else {
            Err(WholeLogError::OtherLog { size: head.log_size, block: head.block })
        }
    }
}
