//! Changes of the voters, and of the leader, as an operator makes them: a new node learns until it has caught up,
//! then one command takes the old voters' place; whatever else happens meanwhile.
//!
//! A change is tried until it is done. Each try looks at the voters that are proven to be in force, and its
//! command names them: one that takes effect late cannot undo what came after it.

use std::future::Future;
use std::time::Duration;

use chancery_client::Ledger;
use chancery_client::chancery_ledger::head::{Voter, VoterSet};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Fault;
use crate::cluster::{Cluster, Joining};
use crate::fault::HarnessError;
use crate::seed::Choices;

/// Voters are never fewer, so that one may fail, nor more.
const VOTERS: std::ops::RangeInclusive<usize> = 3..=5;

/// Pause between two tries.
const AGAIN: Duration = Duration::from_millis(200);

/// How long one try to have a learner catch up is followed: its stream may be cut and nobody know.
const WATCH_MAX: Duration = Duration::from_secs(5);

/// A change that is under way.
pub(super) struct Change {
    task: JoinHandle<()>,
    /// Who is no member any more once it is done.
    leaving: Option<u64>,
}

impl Drop for Change {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether there are nodes to do it to.
pub(super) fn is_possible(fault: Fault, cluster: &Cluster) -> bool {
    let voters = cluster.nodes().len();
    match fault {
        Fault::AddMember => cluster.has_numbers() && voters < *VOTERS.end(),
        Fault::RemoveMember => voters > *VOTERS.start(),
        Fault::ReplaceLive | Fault::ReplaceDead => cluster.has_numbers(),
        _ => true,
    }
}

impl Change {
    /// Begins a change, by `operator`; `target` is a node that nothing else is done to.
    pub(super) async fn begin(
        fault: Fault,
        target: u64,
        operator: &Ledger,
        cluster: &mut Cluster,
        choices: &mut Choices,
    ) -> Result<Self, HarnessError> {
        let operator = operator.clone();
        if fault == Fault::TransferLeader {
            let term = cluster.look().await.values().map(|status| status.term).max().unwrap_or(0);
            let others = choices.shuffled(cluster.nodes().into_iter().filter(|node| *node != target));
            return Ok(Self::of(transferred(operator, others, term), None));
        }
        let leaving = Some(target).filter(|_| fault != Fault::AddMember);
        if fault == Fault::ReplaceDead {
            cluster.dismiss(target)?;
        }
        let joining = match fault {
            Fault::RemoveMember => None,
            _ => Some(cluster.start_joining().await?),
        };
        Ok(Self::of(changed(operator, joining, leaving), leaving))
    }

    fn of(work: impl Future<Output = ()> + Send + 'static, leaving: Option<u64>) -> Self {
        Self { task: tokio::spawn(work), leaving }
    }

    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Once it is done: takes away who has left.
    pub(super) fn end(&self, cluster: &mut Cluster) -> Result<(), HarnessError> {
        self.leaving.map_or(Ok(()), |node| cluster.dismiss(node))
    }
}

async fn changed(operator: Ledger, joining: Option<Joining>, leaving: Option<u64>) {
    if let Some(joining) = &joining {
        while !catches_up(&operator, joining).await {
            sleep(AGAIN).await;
        }
    }
    while !votes(&operator, joining.as_ref().map(|joining| &joining.voter), leaving).await {
        sleep(AGAIN).await;
    }
}

/// Has a node learn; whether it was seen to have caught up.
async fn catches_up(operator: &Ledger, joining: &Joining) -> bool {
    let Joining { voter, address } = joining;
    let watched = async {
        let mut progress = operator.add_learner(voter.node, voter.name.as_str(), address).await?;
        while !progress.next().await?.caught_up {}
        Ok::<_, chancery_client::MembersError>(())
    };
    match timeout(WATCH_MAX, watched).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(node = voter.node, %error, "it has not caught up");
            false
        }
        Err(_) => false,
    }
}

/// Asks for the voters that are to be, if they are not in force yet; whether they are now.
async fn votes(operator: &Ledger, joining: Option<&Voter>, leaving: Option<u64>) -> bool {
    let Ok(trust) = operator.rosters().await else { return false };
    let in_force = trust.newest_roster();
    let Ok(roster) = trust.roster(in_force) else { return false };
    // A change that is half done is the leader's to finish.
    let [now] = roster.sets() else { return false };
    let stay = now.voters().iter().filter(|voter| Some(voter.node) != leaving);
    let mut next: Vec<Voter> =
        stay.chain(joining.filter(|new| !now.voters().contains(new))).cloned().collect();
    next.sort_by_key(|voter| voter.node);
    if next == now.voters() {
        return true;
    }
    let Some(next) = VoterSet::majority(next) else { return false };
    match operator.set_roster(next, in_force, &[]).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "the voters have not changed");
            false
        }
    }
}

/// Has one of `others` lead, in a later term than `term`.
async fn transferred(operator: Ledger, others: Vec<u64>, term: u64) {
    for to in others.iter().cycle() {
        match operator.transfer_leadership(*to).await {
            Ok((_, led_in)) if led_in > term => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(to, %error, "leadership was not handed over"),
        }
        sleep(AGAIN).await;
    }
}
