//! Who was ever granted something: told from the whole log, which is proven to be all of it.
//!
//! No node's index is believed. Every leaf of a proven head's log is read and hashed, and only if their root is
//! the head's is the list complete. It costs what the log is long.

use std::collections::BTreeSet;

use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, Name, Terms};
use chancery_ledger::head::Head;
use chancery_ledger::log::{Frontier, leaf_hash};

use crate::Ledger;
use crate::watch::WatchError;

/// Why the log could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum GrantedError {
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
    /// Every agent that was granted `action` on `resource`, ever, by a grant or a delegation: in the log of `head`,
    /// which was proven by a check. Whether it still may, each agent's own check says.
    ///
    /// # Errors
    /// The log did not come whole, or is another.
    pub async fn granted(
        &self,
        head: &Head,
        action: &Name,
        resource: &Name,
    ) -> Result<BTreeSet<Name>, GrantedError> {
        let mut agents = BTreeSet::new();
        let mut log = Frontier::new();
        let mut watch = self.watch(0).await?;
        while log.size() < head.log_size {
            let next = tokio::time::timeout(self.options().read_timeout, watch.next_change()).await;
            let late = |_| GrantedError::TimedOut { index: log.size(), size: head.log_size };
            let entry = match next.map_err(late)? {
                Ok(change) => change.entry,
                // Hashing took its time: nothing is lost by going on.
                Err(WatchError::TooSlow { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            log.append(leaf_hash(&entry.encode()));
            let Entry::Command { signed, .. } = entry else { continue };
            let (Body::Grant { terms, .. } | Body::Delegate { terms, .. }) = &signed.command().body else {
                continue;
            };
            if covers(terms, action, resource) {
                agents.insert(terms.agent.clone());
            }
        }
        if log.root() == head.log_root {
            Ok(agents)
        } else {
            Err(GrantedError::OtherLog { size: head.log_size, block: head.block })
        }
    }
}

fn covers(terms: &Terms, action: &Name, resource: &Name) -> bool {
    terms.actions.matches(action) && terms.resources.matches(resource)
}
