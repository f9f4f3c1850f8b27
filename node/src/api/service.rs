//! The calls themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{Moment, Nonce};
use chancery_ledger::command::{Body, GenerationId, Name, SignedCommand};
use chancery_ledger::condition::ARGUMENTS_SIZE_BYTES_MAX;
use chancery_ledger::decide::{self, staleness_after};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_ledger::knowledge::Knowledge;
use chancery_ledger::state::{Recording, prune};
use chancery_proto::v1::api;
use chancery_proto::v1::api::submit_reply::Outcome;
use futures_util::Stream;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::caller::{Callers, key_of};
use super::watch::Watchers;
use super::{members, session};
use crate::blocking::Line;
use crate::checks::{CheckError, Checks, PastError, PastQuestion};
use crate::membership::Memberships;
use crate::roster_proofs::ProvenRosters;
use crate::sequencer::Submitted;
use crate::status::StatusReport;
use crate::store::applied::{AppliedStore, AppliedView};
use crate::submit::Submissions;

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
    watchers: Watchers,
    receipts: Line,
    timeout: Duration,
}

/// How long callers are served, and waited for.
#[derive(Clone, Copy, Debug)]
pub struct ServiceBounds {
    /// A call may take so long.
    pub call: Duration,
    /// Who watches the log and takes nothing for so long is cut off.
    pub watch: Duration,
}

impl LedgerService {
    /// Serves from `store`, within `bounds`.
    pub fn new(
        store: AppliedStore,
        submissions: Submissions,
        checks: Checks,
        status: Arc<StatusReport>,
        members: Arc<Memberships>,
        rosters: ProvenRosters,
        bounds: ServiceBounds,
    ) -> Self {
        let ServiceBounds { call: timeout, watch: watch_patience } = bounds;
        let callers = Callers::of(store.clone());
        let watchers = Watchers::new(store.clone(), Arc::clone(checks.recent()), watch_patience);
        let receipts = Line::default();
        Self { store, submissions, checks, status, members, rosters, callers, watchers, receipts, timeout }
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
        let found = self.receipts.run(move || leaf_with_proof(&view, index, log_size)).await;
        found.map_err(|lost| Status::internal(lost.to_string()))?
    }

    /// What a receipt shows: the leaf of a command with its proof, and, of the state after the block of `head`, how long
    /// what `body` takes away may still be used.
    async fn receipt(&self, index: u64, head: &Head, body: Option<Body>) -> Result<Shown, Status> {
        let (view, block, log_size) = (self.store.view(), head.block, head.log_size);
        let shown = self.receipts.run(move || {
            let (entry, inclusion) = leaf_with_proof(&view, index, log_size)?;
            let staleness_tree = match body {
                Some(body) => staleness_tree(&view, block, &body)?,
                None => Vec::new(),
            };
            Ok(Shown { entry, inclusion, staleness_tree })
        });
        shown.await.map_err(|lost| Status::internal(lost.to_string()))?
    }

    async fn outcome(
        &self,
        submitted: Submitted,
        body: Option<Body>,
        deadline: Instant,
    ) -> Result<Outcome, Status> {
        let failure = |message| api::Failure { message };
        Ok(match submitted {
            Submitted::Acknowledged { index, block, time_ms, before, quorum } => {
                // Whoever leads answers before this node may have applied the block.
                let mut applied = self.store.block();
                let reached = applied.wait_for(|applied| *applied >= quorum.head.block);
                if timeout_at(deadline, reached).await.is_err() {
                    return Ok(Outcome::Unknown(failure("this node did not apply the block in time".into())));
                }
                let Shown { entry, inclusion, staleness_tree } =
                    self.receipt(index, &quorum.head, body).await?;
                Outcome::Acknowledged(api::Acknowledged {
                    index,
                    block,
                    time_ms,
                    before,
                    head: quorum.head.encode().to_vec(),
                    statements: quorum.statements.iter().map(|statement| statement.encode()).collect(),
                    inclusion: inclusion.iter().map(|hash| hash.0.to_vec()).collect(),
                    entry,
                    clock_ms: self.checks.clock_ms(),
                    staleness_tree,
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

/// What a receipt shows beside the head.
struct Shown {
    entry: Vec<u8>,
    inclusion: Vec<Hash>,
    /// Encoded; empty if nothing is taken away.
    staleness_tree: Vec<u8>,
}

fn leaf_with_proof(view: &AppliedView, index: u64, log_size: u64) -> Result<(Vec<u8>, Vec<Hash>), Status> {
    let entry = view.entry(index).map_err(|error| Status::internal(error.to_string()))?;
    let entry = entry.ok_or_else(|| Status::not_found("there is no such leaf"))?;
    let proof = view.prove_inclusion(index, log_size);
    Ok((entry, proof.map_err(|error| Status::invalid_argument(error.to_string()))?))
}

/// What shows, of the state after `block`, how long what `body` takes away may still be used.
fn staleness_tree(view: &AppliedView, block: u64, body: &Body) -> Result<Vec<u8>, Status> {
    let internal = |why: &dyn std::fmt::Display| Status::internal(why.to_string());
    let root = view.root_of(block).map_err(|error| internal(&error))?;
    let root = root.ok_or_else(|| internal(&"the state is kept no more"))?;
    let recording = Recording::new(view, root);
    if staleness_after(&recording, body).map_err(|error| internal(&error))?.is_none() {
        return Ok(Vec::new());
    }
    let tree = prune(view, root, &recording.into_keys()).map_err(|error| internal(&error))?;
    Ok(tree.encode())
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
        let bytes = request.into_inner().signed_command;
        let submitted = self.submissions.submit(&bytes, deadline).await;
        let body = SignedCommand::decode(&bytes).ok().map(|signed| signed.command().body.clone());
        let outcome = self.outcome(submitted, body, deadline).await?;
        Ok(Response::new(api::SubmitReply { outcome: Some(outcome) }))
    }

    async fn check(&self, request: Request<api::CheckRequest>) -> Result<Response<api::CheckReply>, Status> {
        let key = key_of(&request)?;
        let deadline = self.deadline(&request);
        let asked = request.into_inner();
        let (nonce, within_ms, since_block) = (asked.nonce.clone(), asked.fresh_within_ms, asked.since_block);
        let request = question(asked)?;
        self.callers.may_check(key, &request.agent).await?;
        let answer = match within_ms {
            Some(within_ms) if nonce.is_empty() => {
                self.checks.check_recent(request, within_ms, since_block, deadline).await
            }
            Some(_) => return Err(Status::invalid_argument("a check with fresh_within_ms has no nonce")),
            None => self.checks.check(request, Nonce(hash("nonce", &nonce)?.0), deadline).await,
        };
        let answer = answer.map_err(|error| check_failure(&error))?;
        Ok(Response::new(api::CheckReply { answer }))
    }

    type CheckSessionStream = session::Answers;

    async fn check_session(
        &self,
        request: Request<tonic::Streaming<api::SessionQuestions>>,
    ) -> Result<Response<session::Answers>, Status> {
        let key = key_of(&request)?;
        // Whoever may ask nothing has no session.
        self.callers.principal(key).await?;
        let (callers, checks) = (self.callers.clone(), self.checks.clone());
        Ok(Response::new(session::serve(key, callers, checks, request.into_inner(), self.timeout)))
    }

    async fn check_past(
        &self,
        request: Request<api::CheckPastRequest>,
    ) -> Result<Response<api::CheckPastReply>, Status> {
        use api::check_past_reply::Outcome;
        use api::check_past_request::Moment as Asked;
        let key = key_of(&request)?;
        let deadline = self.deadline(&request);
        let asked = request.into_inner();
        let moment = match asked.moment {
            Some(Asked::Block(block)) => Moment::Block(block),
            Some(Asked::TimeMs(time_ms)) => Moment::Time(time_ms),
            None => return Err(Status::invalid_argument("neither a block nor a time")),
        };
        let check = asked.check.ok_or_else(|| Status::invalid_argument("no question"))?;
        if !check.nonce.is_empty() || check.fresh_within_ms.is_some() {
            return Err(Status::invalid_argument("what is asked about the past has no nonce"));
        }
        let since_block = check.since_block;
        let request = question(check)?;
        self.callers.may_check(key, &request.agent).await?;
        let asked = PastQuestion { request, moment, since_block };
        let outcome = match self.checks.check_past(asked, deadline).await {
            Ok(answer) => Outcome::Answer(answer.encode()),
            Err(PastError::NotKept { oldest_block, oldest_time_ms }) => {
                Outcome::NotKept(api::NotKept { oldest_block, oldest_time_ms })
            }
            Err(PastError::NotReached { newest_block, clock_ms }) => {
                Outcome::NotReached(api::NotReached { newest_block, clock_ms })
            }
            Err(PastError::Check(error)) => return Err(check_failure(&error)),
        };
        Ok(Response::new(api::CheckPastReply { outcome: Some(outcome) }))
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
        Ok(Response::new(Box::pin(self.watchers.watch(request.into_inner())?)))
    }
}

/// What a check asks.
pub(super) fn question(asked: api::CheckRequest) -> Result<decide::Request, Status> {
    let name = |field: &str, text: String| {
        Name::new(text).map_err(|error| Status::invalid_argument(format!("{field} {error}")))
    };
    let knowledge = |bytes: &[u8]| {
        Knowledge::decode(bytes).map_err(|error| Status::invalid_argument(format!("knowledge: {error}")))
    };
    if asked.args.len() > ARGUMENTS_SIZE_BYTES_MAX {
        return Err(Status::invalid_argument("args are longer than they may be"));
    }
    let args_digest = hash("args_digest", &asked.args_digest)?;
    let args = (!asked.args.is_empty()).then_some(asked.args);
    if args.as_ref().is_some_and(|args| Hash::of(&[args]) != args_digest) {
        return Err(Status::invalid_argument("args do not hash to args_digest"));
    }
    Ok(decide::Request {
        agent: name("agent", asked.agent)?,
        action: name("action", asked.action)?,
        resource: name("resource", asked.resource)?,
        args_digest,
        args,
        knowledge: (!asked.knowledge.is_empty()).then(|| knowledge(&asked.knowledge)).transpose()?,
        generation: match asked.generation.as_slice() {
            [] => None,
            id => Some(GenerationId(hash("generation", id)?)),
        },
        hint: None,
    })
}

pub(super) fn hash(field: &str, bytes: &[u8]) -> Result<Hash, Status> {
    Hash::from_slice(bytes).ok_or_else(|| Status::invalid_argument(format!("{field} is not 32 bytes long")))
}

pub(super) fn check_failure(error: &CheckError) -> Status {
    match error {
        CheckError::Busy => Status::resource_exhausted(error.to_string()),
        CheckError::NoQuorum(_) => Status::unavailable(error.to_string()),
        CheckError::NoProof(_) => Status::internal(error.to_string()),
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
