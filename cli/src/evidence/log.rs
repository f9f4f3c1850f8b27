//! Where evidence by a time takes its leaves from: a node, which asks for a certificate, or what is published, which asks for
//! nothing. Both give the same leaves, with the same proofs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chancery_audit::Proofs;
use chancery_client::Ledger;
use chancery_ledger::authority::{Entry, Leaf};
use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::command::{Body, GrantId};
use chancery_ledger::trust::Trust;
use clap::Args;
use tokio::task::block_in_place;

use super::checkpoint::{kept_covering, served_covering};
use crate::exit::{Exit, Failure, Result};
use crate::{context, ledger, published};

/// The log, and the checkpoint of it.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Source {
    /// Where a node serves its log: `http://host:port`. More than once for several, of which any will do. The leaves come
    /// from the nodes of the context.
    #[arg(long = "log", value_name = "URL", conflicts_with_all = ["from", "checkpoint", "trust"])]
    logs: Vec<String>,
    /// A checkpoint that was kept.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Where the log is published: a URL, or an archive's folder. No node is asked and no context used: all comes from
    /// there, up to its newest checkpoint or the one that was kept.
    #[arg(long, value_name = "URL|DIR", requires = "trust")]
    from: Option<String>,
    /// Whom to believe, of a published log.
    #[arg(long, value_name = "FILE", requires = "from")]
    trust: Option<PathBuf>,
}

/// A log that is open.
pub(super) enum Log<'a> {
    Nodes {
        ledger: Ledger,
        logs: &'a [String],
        checkpoint: Option<&'a Path>,
    },
    /// Without a node.
    Published(Box<Proofs>),
}

/// What shows a leaf in the log of a checkpoint.
pub(super) struct InLog {
    /// With the rosters up to the checkpoint at least.
    pub(super) trust: Arc<Trust>,
    pub(super) checkpoint: SignedCheckpoint,
    /// The leaf, and the checkpoint's last one.
    pub(super) leaves: [Leaf; 2],
}

impl Source {
    /// Opens it; `named` is the context, if nodes are asked.
    pub(super) async fn open(&self, named: Option<&str>) -> Result<Log<'_>> {
        let checkpoint = self.checkpoint.as_deref();
        if let (Some(from), Some(trust)) = (&self.from, &self.trust) {
            let proofs = block_in_place(|| published::proofs(from, trust, checkpoint))?;
            return Ok(Log::Published(Box::new(proofs)));
        }
        let ledger = ledger::connect(context::load(named)?).await?;
        Ok(Log::Nodes { ledger, logs: &self.logs, checkpoint })
    }
}

impl Log<'_> {
    /// The leaf at `index` and the last one, each with its proof in the log of the checkpoint.
    pub(super) async fn leaf(&self, index: u64) -> Result<InLog> {
        match self {
            Self::Nodes { ledger, logs, checkpoint } => {
                let signed = match checkpoint {
                    Some(path) => kept_covering(path, index)?,
                    None => served_covering(logs, index).await?,
                };
                // The newest voters may have cosigned.
                let trust = ledger.rosters().await.map_err(|error| ledger::read_failure(&error))?;
                let checkpoint = signed.checkpoint();
                let last = checkpoint.size().saturating_sub(1);
                let read = async |index| ledger.leaf_of(checkpoint, index).await;
                let (leaf, _) = read(index).await.map_err(|error| ledger::read_failure(&error))?;
                let (state, _) = read(last).await.map_err(|error| ledger::read_failure(&error))?;
                Ok(InLog { trust, checkpoint: signed, leaves: [leaf, state] })
            }
            Self::Published(proofs) => {
                let claim = proofs.claim();
                let last = claim.size().saturating_sub(1);
                let leaves = block_in_place(|| Ok([proofs.leaf(index)?, proofs.leaf(last)?]));
                let leaves = leaves.map_err(published::proofs_failure)?;
                Ok(InLog { trust: Arc::new(claim.trust.clone()), checkpoint: claim.signed.clone(), leaves })
            }
        }
    }

    /// Where the grant was first revoked. Of a node it is the node's word that it is there, or is not, and the leaf is proven
    /// later; what is published is looked through up to the checkpoint's root.
    pub(super) async fn revocation_of(&self, grant: GrantId) -> Result<u64> {
        let is_revocation = |entry: &Entry| {
            matches!(entry, Entry::Command { signed, .. }
                if matches!(&signed.command().body, Body::RevokeGrant { grant: revoked, .. } if *revoked == grant))
        };
        let found = match self {
            Self::Nodes { ledger, .. } => streamed(ledger, is_revocation).await?,
            Self::Published(proofs) => {
                let found = block_in_place(|| proofs.find(is_revocation));
                found.map_err(published::proofs_failure)?.map(|leaf| leaf.index)
            }
        };
        found.ok_or_else(|| {
            let why = "no revocation of that grant is in the log: it may have been revoked with one that it was \
                       delegated from, or with all of its agent's; then name the --index that its denial tells";
            Failure::new(Exit::Denied, why).code("not_revoked")
        })
    }
}

/// The first such leaf, as a node streams its log.
async fn streamed(ledger: &Ledger, is_wanted: impl Fn(&Entry) -> bool) -> Result<Option<u64>> {
    // What is in the log now, and not what may come.
    let sizes = ledger.status().await.into_iter().filter_map(|(_, said)| said.ok()?.head);
    let Some(size) = sizes.map(|head| head.log_size).max() else { return Ok(None) };
    let failed = |error| crate::watch::failure(&error);
    let mut watch = ledger.watch(0).await.map_err(failed)?;
    while watch.next_index() < size {
        let next = tokio::time::timeout(ledger.options().read_timeout, watch.next_change()).await;
        let change = next.map_err(|_| Failure::new(Exit::Unknown, "the log did not come in time"))?;
        let change = change.map_err(failed)?;
        if is_wanted(&change.entry) {
            return Ok(Some(change.index));
        }
    }
    Ok(None)
}
