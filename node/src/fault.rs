//! What stops a node: the first fault that it cannot go on with.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;

use crate::raft::Raft;
use crate::store::NodeStores;
use crate::store::applied::AppliedFault;

/// A latch, shared by everything that may find a reason to stop.
#[derive(Clone)]
pub struct Fault {
    first: Arc<watch::Sender<Option<String>>>,
}

impl Default for Fault {
    fn default() -> Self {
        Self { first: Arc::new(watch::Sender::new(None)) }
    }
}

impl Fault {
    /// Stops the node, unless something else did already.
    pub fn trip(&self, why: &dyn std::fmt::Display) {
        self.first.send_if_modified(|first| {
            if first.is_some() {
                return false;
            }
            tracing::error!(fault = %why, "the node stops");
            *first = Some(why.to_string());
            true
        });
    }

    /// Waits for a fault, and says which.
    pub async fn tripped(&self) -> String {
        let mut first = self.first.subscribe();
        let why = first.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default());
        match why {
            Ok(why) => why,
            // INVARIANT: the sender lives as long as this handle.
            Err(_) => std::future::pending().await,
        }
    }

    /// A store that dies stops the node.
    pub fn watch_stores(&self, stores: &NodeStores) {
        let (mut log, mut applied, fault) = (stores.log.fault(), stores.applied.fault(), self.clone());
        tokio::spawn(async move {
            let why = tokio::select! {
                Ok(found) = log.wait_for(Option::is_some) => found.as_ref().map(ToString::to_string),
                Ok(found) = applied.wait_for(Option::is_some) => {
                    found.as_ref().map(|fault: &Arc<AppliedFault>| fault.to_string())
                }
                // Both stores are closed: the node has stopped.
                else => return,
            };
            fault.trip(&why.unwrap_or_default());
        });
    }

    /// A Raft core that ends stops the node.
    pub fn watch_raft(&self, raft: &Raft, stopped: watch::Receiver<bool>) {
        let (mut metrics, fault) = (raft.metrics(), self.clone());
        tokio::spawn(async move {
            loop {
                let ended = metrics.borrow_and_update().running_state.as_ref().err().map(ToString::to_string);
                if let Some(why) = ended {
                    // It ends, too, when the node is told to stop.
                    if !*stopped.borrow() {
                        fault.trip(&why);
                    }
                    return;
                }
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}
