//! What operators ask of the cluster itself: learners, and who leads.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::command::Name;
use chancery_proto::v1::api;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::membership::{MembershipError, Memberships};
use crate::raft::types::RaftNode;

/// How often progress is told.
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// How long a learner may take to catch up while somebody watches.
const CATCH_UP_MAX: Duration = Duration::from_secs(3600);

/// Longest address of a peer port, in bytes: a DNS name, and a port.
const ADDRESS_SIZE_BYTES_MAX: usize = 253 + 6;

/// The metadata key under which a node that does not lead names the one that does.
pub const LEADER_KEY: &str = "chancery-leader";

/// Adds the learner, and tells its progress until it has caught up.
pub(super) async fn add_learner(
    memberships: Arc<Memberships>,
    asked: api::AddLearnerRequest,
    deadline: Instant,
) -> Result<mpsc::Receiver<Result<api::AddLearnerProgress, Status>>, Status> {
    let name = Name::new(asked.name).map_err(|error| Status::invalid_argument(format!("name {error}")))?;
    let has_port = asked
        .address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if asked.node == 0 || !has_port || asked.address.len() > ADDRESS_SIZE_BYTES_MAX {
        return Err(Status::invalid_argument(
            "a learner has an id that is not 0, and an address `host:port`",
        ));
    }
    let at = RaftNode { address: asked.address, name: name.to_string() };
    // Not dropped half-way: whether it was added must not depend on the caller's patience.
    let (adding, node) = (Arc::clone(&memberships), asked.node);
    in_time(deadline, async move { adding.add_learner(node, at).await }).await?;
    let (told, progress) = mpsc::channel(1);
    tokio::spawn(tell_progress(memberships, node, told));
    Ok(progress)
}

async fn tell_progress(
    memberships: Arc<Memberships>,
    node: u64,
    told: mpsc::Sender<Result<api::AddLearnerProgress, Status>>,
) {
    let deadline = Instant::now() + CATCH_UP_MAX;
    loop {
        let message = match memberships.progress(node) {
            Some(progress) => Ok(api::AddLearnerProgress {
                matched_index: progress.matched_index,
                last_index: progress.last_index,
                caught_up: progress.is_caught_up(),
            }),
            None => Err(Status::aborted("this node does not lead any more, or the learner was removed")),
        };
        let is_last = message.as_ref().map_or(true, |progress| progress.caught_up);
        if told.send(message).await.is_err() || is_last {
            return;
        }
        if Instant::now() >= deadline {
            let _ = told.send(Err(Status::deadline_exceeded("it has not caught up yet"))).await;
            return;
        }
        sleep(PROGRESS_PERIOD).await;
    }
}

/// Removes the learner.
pub(super) async fn remove_learner(
    memberships: Arc<Memberships>,
    node: u64,
    deadline: Instant,
) -> Result<(), Status> {
    in_time(deadline, async move { memberships.remove_learner(node).await }).await
}

/// Hands leadership over.
pub(super) async fn transfer(
    memberships: Arc<Memberships>,
    to: u64,
    deadline: Instant,
) -> Result<api::TransferLeadershipReply, Status> {
    let term = memberships.transfer(to, deadline).await.map_err(|error| status(&error))?;
    Ok(api::TransferLeadershipReply { leader: to, term })
}

async fn in_time(
    deadline: Instant,
    change: impl Future<Output = Result<(), MembershipError>> + Send + 'static,
) -> Result<(), Status> {
    match timeout_at(deadline, tokio::spawn(change)).await {
        Ok(Ok(changed)) => changed.map_err(|error| status(&error)),
        Ok(Err(error)) => Err(Status::internal(error.to_string())),
        Err(_) => {
            Err(Status::deadline_exceeded("it is not known yet whether that was done: ask for the status"))
        }
    }
}

fn status(error: &MembershipError) -> Status {
    let message = error.to_string();
    match error {
        MembershipError::NotLeader(leader) => {
            let mut status = Status::unavailable(message);
            if let Some(leader) = leader {
                status.metadata_mut().insert(LEADER_KEY, (*leader).into());
            }
            status
        }
        MembershipError::Raft(_) | MembershipError::NotTakenOver(_) => Status::unavailable(message),
        MembershipError::UnderWay | MembershipError::Behind { .. } => Status::aborted(message),
        MembershipError::TooManyLearners => Status::resource_exhausted(message),
        MembershipError::NoLearner(_) | MembershipError::NotAVoter(_) => Status::not_found(message),
        MembershipError::IsVoter(_)
        | MembershipError::Removed(_)
        | MembershipError::OtherNode { .. }
        | MembershipError::OtherName { .. } => Status::failed_precondition(message),
    }
}
