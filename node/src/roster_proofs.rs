//! Proofs of rosters: what a node gathers when a roster block is applied, keeps, and gives to who asks.
//!
//! The head of a roster block counts once a quorum of the roster before and one of the new roster signed it.
//! Each node gathers that for itself; one that comes late, when the heads are kept no more, asks its peers for
//! theirs. A node that hears of rosters that it has not applied keeps them in mind, proven as they are: so a
//! node that was away while the voters changed knows whom to listen to, or that it was removed.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::head::{RosterChain, RosterId, RosterLink, RosterLinkError, Statement};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::fault::Fault;
use crate::heads::HeadQuorums;
use crate::network::Peers;
use crate::rosters::Rosters;
use crate::store::applied::AppliedStore;

/// How long a quorum's signatures, or a peer's links, are waited for.
const ASK_MAX: Duration = Duration::from_secs(2);

/// How long to wait before they are asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How often a peer is asked for rosters that this node may have missed.
const MISSED_PERIOD: Duration = Duration::from_secs(2);

/// Links in one answer.
const LINKS_MAX: usize = 64;

/// The rosters that are proven to this node, applied or not.
#[derive(Clone)]
pub struct ProvenRosters {
    store: AppliedStore,
    /// What peers proved beyond what is applied.
    heard: Arc<watch::Sender<Arc<Rosters>>>,
}

impl ProvenRosters {
    /// Those of `store`, at first.
    pub fn new(store: AppliedStore) -> Self {
        let heard = Arc::new(watch::Sender::new(store.rosters()));
        Self { store, heard }
    }

    /// The longer of what is applied and what peers proved.
    pub fn newest(&self) -> Arc<Rosters> {
        let (applied, heard) = (self.store.rosters(), Arc::clone(&self.heard.borrow()));
        if heard.newest().0.block > applied.newest().0.block { heard } else { applied }
    }

    /// Whenever more is applied.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<Arc<Rosters>> {
        self.store.watch_rosters()
    }

    /// Whenever peers prove more than is applied.
    pub(crate) fn watch_heard(&self) -> watch::Receiver<Arc<Rosters>> {
        self.heard.subscribe()
    }

    /// Waits until all rosters that are applied are proven, but not beyond `deadline`.
    pub async fn settle(&self, deadline: Instant) {
        let mut rosters = self.store.watch_rosters();
        let proven = rosters.wait_for(|rosters| rosters.unproven().is_none());
        // What is proven so far is an answer too.
        let _ = timeout_at(deadline, proven).await;
    }

    /// The proven links after `block`, encoded: as many as one answer takes.
    pub fn chain_since(&self, block: u64) -> Vec<u8> {
        let mut links = self.newest().chain_since(block);
        links.truncate(LINKS_MAX);
        RosterChain { links }.encode()
    }

    /// Takes in the links that a peer sent; each must follow the last proven one.
    fn hear(&self, chain: RosterChain) -> Result<(), RosterLinkError> {
        let ledger = self.store.founding().ledger();
        let mut rosters = Rosters::clone(&self.newest());
        for link in chain.links {
            let (id, roster) = rosters.newest();
            link.verify(ledger, id, roster)?;
            rosters = rosters.followed_by(link);
        }
        if rosters.newest().0.block > self.newest().newest().0.block {
            self.heard.send_replace(Arc::new(rosters));
        }
        Ok(())
    }

    /// Asks `peer` for what comes after the newest proven roster.
    async fn ask(&self, peers: &Peers, peer: u64) -> Result<(), String> {
        let since = self.newest().newest().0.block;
        let chain = peers.roster_links(peer, since, Instant::now() + ASK_MAX).await;
        let chain = chain.map_err(|error| error.to_string())?;
        let chain = RosterChain::decode(&chain).map_err(|error| error.to_string())?;
        self.hear(chain).map_err(|error| error.to_string())
    }
}

/// Proves each roster that is applied, until `stopped`.
pub(crate) async fn prove_applied(
    store: AppliedStore,
    heads: Arc<HeadQuorums>,
    peers: Peers,
    fault: Fault,
    mut stopped: watch::Receiver<bool>,
) {
    let prove = async {
        let mut rosters = store.watch_rosters();
        loop {
            let unproven = rosters.wait_for(|rosters| rosters.unproven().is_some()).await;
            let Ok(unproven) = unproven.map(|rosters| Rosters::clone(&rosters)) else { return };
            let Some(id) = unproven.unproven().map(|head| head.roster) else { continue };
            match proof(&unproven, id, &store, &heads, &peers).await {
                Some(statements) => {
                    let kept = store.clone();
                    let kept = crate::blocking::spawn(move || kept.prove_roster(id.block, statements));
                    match kept.await {
                        Ok(Ok(())) => tracing::info!(block = id.block, "the roster is proven"),
                        // A dead store stops the node by itself.
                        Ok(Err(_)) => return,
                        Err(error) => return fault.trip(&error),
                    }
                }
                None => sleep(RETRY_AFTER).await,
            }
        }
    };
    tokio::select! {
        () = prove => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Statements that prove the roster `id`: gathered, or else a peer's.
async fn proof(
    rosters: &Rosters,
    id: RosterId,
    store: &AppliedStore,
    heads: &HeadQuorums,
    peers: &Peers,
) -> Option<Vec<Statement>> {
    match heads.quorum(id.block, Instant::now() + ASK_MAX).await {
        Ok(quorum) => return Some(quorum.statements.clone()),
        Err(error) => tracing::debug!(block = id.block, %error, "the roster is not proven yet"),
    }
    let before = id.block.checked_sub(1)?;
    let (before, previous) = rosters.at(before);
    for peer in peers.ids() {
        let Ok(chain) = peers.roster_links(peer, before.block, Instant::now() + ASK_MAX).await else {
            continue;
        };
        let first = RosterChain::decode(&chain).ok().and_then(|chain| chain.links.into_iter().next());
        let ours = |link: &RosterLink| rosters.link(id.block).is_some_and(|own| own.head == link.head);
        let Some(link) = first.filter(ours) else { continue };
        if link.verify(store.founding().ledger(), before, previous).is_ok() {
            return Some(link.statements);
        }
    }
    None
}

/// Asks one peer after the other for rosters that this node missed, until `stopped`. Who was away while the
/// voters changed may be in nobody's membership any more, and is told nothing unless it asks.
pub(crate) async fn hear_of_missed(rosters: ProvenRosters, peers: Peers, mut stopped: watch::Receiver<bool>) {
    let mut turn: usize = 0;
    loop {
        tokio::select! {
            () = sleep(MISSED_PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let ids = peers.ids();
        let Some(peer) = turn.checked_rem(ids.len()).and_then(|at| ids.get(at)) else { continue };
        turn = turn.wrapping_add(1);
        if let Err(why) = rosters.ask(&peers, *peer).await {
            tracing::debug!(peer, why, "no roster links");
        }
    }
}
