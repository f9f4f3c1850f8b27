//! The calls themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::Nonce;
use chancery_ledger::command::Name;
use chancery_ledger::condition::ARGUMENTS_SIZE_BYTES_MAX;
use chancery_ledger::decide;
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::Knowledge;
use chancery_ledger::log::prove_inclusion;
use chancery_proto::v1::api;
use chancery_proto::v1::api::submit_reply::Outcome;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::caller::{Callers, key_of};
use super::members;
use crate::checks::{CheckError, Checks};
use crate::membership::Memberships;
use crate::roster_proofs::ProvenRosters;
use crate::sequencer::Submitted;
use crate::status::StatusReport;
use crate::store::applied::AppliedStore;
use crate::submit::Submissions;

/// Leaves sent ahead of a watcher that reads slowly.
const WATCH_AHEAD: usize = 64;

/// Serves clients on one node.
#[derive(Clone)]
pub struct LedgerService {
    store: AppliedStore,
    submissions: Submissions,
    checks: Checks,
    status: Arc<StatusReport>,
    members: Arc<Memberships>,
    rosters: ProvenRosters,
    callers: Callers,
    timeout: Duration,
}

impl LedgerService {
    /// Serves from `store`, within `timeout` a call.
    pub fn new(
        store: AppliedStore,
        submissions: Submissions,
        checks: Checks,
        status: Arc<StatusReport>,
        members: Arc<Memberships>,
        rosters: ProvenRosters,
        timeout: Duration,
    ) -> Self {
        let callers = Callers { store: store.clone() };
        Self { store, submissions, checks, status, members, rosters, callers, timeout }
    }

    /// The earlier of this node's own limit and the one that the client asked for.
    fn deadline<T>(&self, request: &Request<T>) -> Instant {
        let asked = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let asked = asked.and_then(parse_timeout).unwrap_or(self.timeout);
        Instant::now() + asked.min(self.timeout)
    }

    /// A leaf of the log and its inclusion proof at `log_size`.
    async fn leaf_with_proof(&self, index: u64, log_size: u64) -> Result<(Vec<u8>, Vec<Hash>), Status> {
        let view = self.store.view();
        let found = crate::blocking::spawn(move || {
            let entry = view.entry(index).map_err(|error| Status::internal(error.to_string()))?;
            let entry = entry.ok_or_else(|| Status::not_found("there is no such leaf"))?;
            let proof = prove_inclusion(&view, index, log_size);
            Ok((entry, proof.map_err(|error| Status::invalid_argument(error.to_string()))?))
        });
        found.await.map_err(|error| Status::internal(error.to_string()))?
    }

    async fn outcome(&self, submitted: Submitted, deadline: Instant) -> Result<Outcome, Status> {
        let failure = |message| api::Failure { message };
        Ok(match submitted {
            Submitted::Acknowledged { index, block, time_ms, before, quorum } => {
                // Whoever leads answers before this node may have applied the block.
                let mut applied = self.store.block();
                let reached = applied.wait_for(|applied| *applied >= quorum.head.block);
                if timeout_at(deadline, reached).await.is_err() {
                    return Ok(Outcome::Unknown(failure("this node did not apply the block in time".into())));
                }
                let (entry, proof) = self.leaf_with_proof(index, quorum.head.log_size).await?;
                Outcome::Acknowledged(api::Acknowledged {
                    index,
                    block,
                    time_ms,
                    before,
                    head: quorum.head.encode().to_vec(),
                    statements: quorum.statements.iter().map(|statement| statement.encode()).collect(),
                    inclusion: proof.iter().map(|hash| hash.0.to_vec()).collect(),
                    entry,
                })
            }
            Submitted::Refused(refusal) => {
                Outcome::Refused(api::Refused { code: refusal.code().into(), message: refusal.to_string() })
            }
            Submitted::RefusedElsewhere { code, message } => Outcome::Refused(api::Refused { code, message }),
            Submitted::NotDone(message) => Outcome::NotDone(failure(message)),
            Submitted::NotLeader => Outcome::NotDone(failure("no leader in time".into())),
            Submitted::Unknown(message) => Outcome::Unknown(failure(message)),
        })
    }
}

#[tonic::async_trait]
impl api::ledger_server::Ledger for LedgerService {
    async fn submit(
        &self,
        request: Request<api::SubmitRequest>,
    ) -> Result<Response<api::SubmitReply>, Status> {
        // Any client of the client CA may bring a command: what it may do is in the command's signatures.
        key_of(&request)?;
        let deadline = self.deadline(&request);
        let submitted = self.submissions.submit(&request.into_inner().signed_command, deadline).await;
        let outcome = self.outcome(submitted, deadline).await?;
        Ok(Response::new(api::SubmitReply { outcome: Some(outcome) }))
    }

    async fn check(&self, request: Request<api::CheckRequest>) -> Result<Response<api::CheckReply>, Status> {
        let key = key_of(&request)?;
        let deadline = self.deadline(&request);
        let asked = request.into_inner();
        let name = |field: &str, text: String| {
            Name::new(text).map_err(|error| Status::invalid_argument(format!("{field} {error}")))
        };
        let bytes = |field: &str, bytes: &[u8]| {
            Hash::from_slice(bytes)
                .ok_or_else(|| Status::invalid_argument(format!("{field} is not 32 bytes long")))
        };
        let knowledge = |bytes: &[u8]| {
            Knowledge::decode(bytes).map_err(|error| Status::invalid_argument(format!("knowledge: {error}")))
        };
        if asked.args.len() > ARGUMENTS_SIZE_BYTES_MAX {
            return Err(Status::invalid_argument("args are longer than they may be"));
        }
        let args_digest = bytes("args_digest", &asked.args_digest)?;
        let args = (!asked.args.is_empty()).then_some(asked.args);
        if args.as_ref().is_some_and(|args| Hash::of(&[args]) != args_digest) {
            return Err(Status::invalid_argument("args do not hash to args_digest"));
        }
        let request = decide::Request {
            agent: name("agent", asked.agent)?,
            action: name("action", asked.action)?,
            resource: name("resource", asked.resource)?,
            args_digest,
            args,
            knowledge: (!asked.knowledge.is_empty()).then(|| knowledge(&asked.knowledge)).transpose()?,
            hint: None,
        };
        let nonce = Nonce(bytes("nonce", &asked.nonce)?.0);
        self.callers.may_check(key, &request.agent).await?;
        match self.checks.check(request, nonce, deadline).await {
            Ok(answer) => Ok(Response::new(api::CheckReply { answer: answer.encode() })),
            Err(error @ CheckError::Busy) => Err(Status::resource_exhausted(error.to_string())),
            Err(error @ CheckError::NoQuorum(_)) => Err(Status::unavailable(error.to_string())),
            Err(error @ CheckError::NoProof(_)) => Err(Status::internal(error.to_string())),
        }
    }

    async fn leaf(&self, request: Request<api::LeafRequest>) -> Result<Response<api::LeafReply>, Status> {
        self.callers.principal(key_of(&request)?).await?;
        let asked = request.into_inner();
        let (entry, proof) = self.leaf_with_proof(asked.index, asked.log_size).await?;
        let inclusion = proof.iter().map(|hash| hash.0.to_vec()).collect();
        Ok(Response::new(api::LeafReply { entry, inclusion }))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusReply>, Status> {
        self.callers.principal(key_of(&request)?).await?;
        self.status.reply().map(Response::new).map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn rosters(
        &self,
        request: Request<api::RostersRequest>,
    ) -> Result<Response<api::RostersReply>, Status> {
        // What it says is proven, and who votes is no secret among clients.
        key_of(&request)?;
        // Whoever asks has seen a head of a roster that is applied here, perhaps a moment ago.
        self.rosters.settle(self.deadline(&request)).await;
        let chain = self.rosters.chain_since(request.into_inner().since_block);
        Ok(Response::new(api::RostersReply { chain }))
    }

    type AddLearnerStream = Pin<Box<dyn Stream<Item = Result<api::AddLearnerProgress, Status>> + Send>>;

    async fn add_learner(
        &self,
        request: Request<api::AddLearnerRequest>,
    ) -> Result<Response<Self::AddLearnerStream>, Status> {
        self.callers.operator(key_of(&request)?).await?;
        // The call lasts as long as the learner takes; only the change itself is bound to this.
        let deadline = Instant::now() + self.timeout;
        let progress =
            members::add_learner(Arc::clone(&self.members), request.into_inner(), deadline).await?;
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(progress))))
    }

    async fn remove_learner(
        &self,
        request: Request<api::RemoveLearnerRequest>,
    ) -> Result<Response<api::RemoveLearnerReply>, Status> {
        self.callers.operator(key_of(&request)?).await?;
        let deadline = self.deadline(&request);
        members::remove_learner(Arc::clone(&self.members), request.into_inner().node, deadline).await?;
        Ok(Response::new(api::RemoveLearnerReply {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<api::TransferLeadershipRequest>,
    ) -> Result<Response<api::TransferLeadershipReply>, Status> {
        self.callers.operator(key_of(&request)?).await?;
        let deadline = self.deadline(&request);
        members::transfer(Arc::clone(&self.members), request.into_inner().to, deadline)
            .await
            .map(Response::new)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<api::WatchEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<api::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.callers.principal(key_of(&request)?).await?;
        let (events, stream) = mpsc::channel(WATCH_AHEAD);
        tokio::spawn(send_leaves(self.store.clone(), request.into_inner().from_index, events));
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }
}

/// Sends leaves from `index` on until the watcher goes.
async fn send_leaves(
    store: AppliedStore,
    mut index: u64,
    events: mpsc::Sender<Result<api::WatchEvent, Status>>,
) {
    let mut applied = store.block();
    loop {
        let size = store.read_state(|state| state.head().log_size);
        while index < size {
            let view = store.view();
            let entry = crate::blocking::spawn(move || view.entry(index)).await;
            let event = match entry {
                Ok(Ok(Some(entry))) => Ok(api::WatchEvent { index, entry }),
                Ok(Ok(None)) => Err(Status::data_loss("a leaf is missing")),
                Ok(Err(error)) => Err(Status::internal(error.to_string())),
                Err(error) => Err(Status::internal(error.to_string())),
            };
            let failed = event.is_err();
            if events.send(event).await.is_err() || failed {
                return;
            }
            index += 1;
        }
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}

/// gRPC's `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok())??;
    match unit {
        "H" => amount.checked_mul(3600).map(Duration::from_secs),
        "M" => amount.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}
