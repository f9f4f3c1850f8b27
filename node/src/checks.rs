//! Checks: rounds of freshness, and the answers that they prove.
//!
//! A check waits for a round that starts after it arrived. The round shows the root over all waiting nonces
//! to every voter, takes the quorum whose logs reach least far among those that name one roster, serves from the state of the highest block
//! that this quorum named, and answers every nonce with its own path. No leader is involved, and no clock
//! is trusted.
//!
//! What the newest round proved of its head is kept: checks by the nodes' clocks and those about the past are
//! answered by it, without a round of their own.

mod hints;
mod past;
mod prove;
mod queue;
mod recent;
mod session;

pub use hints::Hints;
pub use past::{PastError, PastQuestion};
pub use recent::Recent;
pub use session::{KeptAnswer, RoundAnswers, SESSION_CHECKS_MAX, Session, SessionAnswer};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{HeadProof, Nonce};
use chancery_ledger::command::VerifiedSignatures;
use chancery_ledger::decide::Request;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, HeadQuorum, RosterId, Statement, Voter};
use chancery_ledger::log::nonces::{NONCES_MAX, NoncePath, NonceTree};
use chancery_ledger::state::Root;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::Clock;
use crate::heads::{HeadQuorums, HeadsError};
use crate::network::Peers;
use crate::quickest::{FIRST_PATIENCE, Quickest};
use crate::rosters::Rosters;
use crate::sabotage::{self, Sabotage};
use crate::signer::{NotSigning, Signer};
use crate::store::applied::{AppliedStore, AppliedView};
use queue::{Next, Queue};
use session::{BySession, Sessions};

/// Checks that may wait for a round: as many as one round takes.
const QUEUE_MAX: usize = NONCES_MAX as usize;

/// How long a block that a quorum named is waited for before the nodes that named it are asked again: their
/// tails may have been cut.
const TAIL_PATIENCE: Duration = Duration::from_millis(250);

/// After a round that so many checks shared there is a pause as long as it took, and one in proportion after others: what
/// a round costs, those of the next one share that arrive meanwhile.
const PAUSE_AS_LONG_IF: u32 = 2;

/// The longest pause, in rounds.
const PAUSE_ROUNDS_MAX: u32 = 4;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// For each check that shared a round the next one waits at least so long, whatever the round took: about what a round costs the
/// processors of its nodes and clients, in signatures and messages. Where checks come seldom it is nothing beside what
/// is between them; where they come often the rounds become fewer before the processors are busy, and not only then.
const PAUSE_FOR_EACH: Duration = Duration::from_micros(400);

/// Checks for which there is such a wait.
const PAUSE_FOR_EACH_MAX: u32 = 10;

/// Calls of a round that are answered together, so that those of one connection are written at once.
const CALLS_ANSWERED_TOGETHER: usize = 32;

/// Why a check has no answer. None of these is a denial.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CheckError {
    /// Too many wait already.
    #[error("{QUEUE_MAX} checks are waiting already")]
    Busy,
    /// There was no quorum in time.
    #[error("no quorum in time: {0}")]
    NoQuorum(String),
    /// The state could not be read, or the proof is larger than the ledger allows.
    #[error("no proof: {0}")]
    NoProof(String),
}

/// What stands in the tree of a round that nobody asked for under a nonce. No question hashes to it.
const NO_QUESTION: [u8; 32] = [0; 32];

/// Who waits for a round.
enum Waiting {
    /// A check under a nonce.
    Check { request: Box<Request>, nonce: Nonce, reply: Reply },
    /// Whoever needs a newer proof of a newer head.
    Head { reply: oneshot::Sender<Result<Arc<HeadProof>, CheckError>> },
}

/// Where the answer to one call goes.
type CallReply = oneshot::Sender<Result<Vec<u8>, CheckError>>;

/// Where the answer to a check goes, encoded.
enum Reply {
    /// To one call.
    Call(CallReply),
    /// To a session, under this number, with the others of its round.
    Session(Session, u64),
}

impl Reply {
    fn is_closed(&self) -> bool {
        match self {
            Self::Call(reply) => reply.is_closed(),
            Self::Session(session, _) => session.is_closed(),
        }
    }
}

impl Waiting {
    fn is_closed(&self) -> bool {
        match self {
            Self::Check { reply, .. } => reply.is_closed(),
            Self::Head { reply } => reply.is_closed(),
        }
    }
}

/// The way into the rounds.
#[derive(Clone)]
pub struct Checks {
    queue: Queue,
    rounds: Arc<Rounds>,
    recent: Arc<Recent>,
    sessions: Sessions,
}

/// What the rounds work with.
pub struct Rounds {
    /// This node's own statement.
    pub signer: Arc<Signer>,
    /// The others'.
    pub peers: Peers,
    /// Signatures on the head that is served.
    pub heads: Arc<HeadQuorums>,
    /// The states to serve from, and who votes.
    pub store: AppliedStore,
    /// How long a round may take.
    pub timeout: Duration,
    /// Largest proof.
    pub proof_size_bytes_max: usize,
    /// This node's clock, for how old a proof is.
    pub clock: Arc<dyn Clock>,
    /// The others' keys, decoded.
    pub keys: VerifiedSignatures,
    /// Whom to ask first.
    pub(crate) quickest: Quickest,
    /// The grants to ask first.
    pub hints: Hints,
}

impl Checks {
    /// Starts the rounds; they end when the last handle is dropped.
    pub fn start(rounds: Rounds) -> Self {
        let (queue, waiting) = queue::queue();
        let rounds = Arc::new(rounds);
        let (newest, known) = watch::channel(None);
        tokio::spawn(run(Arc::clone(&rounds), newest, waiting));
        let recent = Arc::new(Recent::new(queue.clone(), known, Arc::clone(&rounds.clock)));
        Self { queue, rounds, recent, sessions: Sessions::default() }
    }

    /// The newest head, proven: for whoever follows the log.
    pub const fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The encoded answer to `request` under `nonce`, by a round that starts after this is called.
    pub async fn check(
        &self,
        request: Request,
        nonce: Nonce,
        deadline: Instant,
    ) -> Result<Vec<u8>, CheckError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Waiting::Check { request: Box::new(request), nonce, reply: Reply::Call(reply) })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(CheckError::NoQuorum("the round did not end in time".into())),
        }
    }
}

async fn run(rounds: Arc<Rounds>, newest: watch::Sender<Option<Arc<HeadProof>>>, mut queue: Next) {
    let mut most = MostAtOnce::default();
    loop {
        // Everything that arrived before this moment is in the round; what comes later waits for the next.
        let mut batch = queue.all().await;
        if batch.is_empty() {
            return;
        }
        batch.retain(|waiting| !waiting.is_closed());
        if batch.is_empty() {
            continue;
        }
        let began = Instant::now();
        let ended = rounds.run(&batch).await;
        while sabotage::active(Sabotage::JoinRunningRound)
            && let Some(late) = queue.late()
        {
            batch.push(late);
        }
        let until = Instant::now() + pause(batch.len(), began.elapsed());
        let enough = most.seen(batch.len().saturating_add(queue.waiting()));
        match ended {
            // The next round can start while the answers of this one are made.
            Ok(round) => {
                newest.send_replace(Some(Arc::clone(&round.proof)));
                let rounds = Arc::clone(&rounds);
                crate::blocking::spawn(move || rounds.answer(&round, batch));
            }
            Err(error) => refuse(batch, &error),
        }
        queue.pause(enough, until).await;
    }
}

/// How many checks there were at once lately, in a round or waiting for the next.
#[derive(Default)]
struct MostAtOnce(usize);

impl MostAtOnce {
    /// There are so many now. Gives how many that wait for a round wait for nobody else: of callers who ask again as soon
    /// as they are answered no more are to come, and a burst is not held up.
    fn seen(&mut self, now: usize) -> usize {
        // A part of what was goes with each round, and one at least.
        let before = self.0 - self.0.div_ceil(16);
        self.0 = now.max(before);
        self.0
    }
}

/// How long the next round waits for others to share it, after one that `shared` checks shared and that took so long. After a
/// check by itself it waits for nobody.
fn pause(shared: usize, took: Duration) -> Duration {
    let shared = u32::try_from(shared).unwrap_or(u32::MAX);
    if shared < 2 {
        return Duration::ZERO;
    }
    let least = PAUSE_FOR_EACH * shared.min(PAUSE_FOR_EACH_MAX);
    let shared = shared.min(PAUSE_ROUNDS_MAX * PAUSE_AS_LONG_IF);
    (took.min(PAUSE_MAX) * shared / PAUSE_AS_LONG_IF).clamp(least, PAUSE_MAX)
}

/// Tells everybody why there is no answer.
fn refuse(batch: Vec<Waiting>, error: &CheckError) {
    for waiting in batch {
        match waiting {
            Waiting::Check { reply: Reply::Call(reply), .. } => drop(reply.send(Err(error.clone()))),
            Waiting::Check { reply: Reply::Session(session, id), .. } => session.refuse(id, error.clone()),
            Waiting::Head { reply } => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// Tells calls what came of them.
fn answer_calls(calls: &mut Vec<(CallReply, Result<Vec<u8>, CheckError>)>) {
    for (reply, answer) in calls.drain(..) {
        // Who waits no more is told nothing.
        let _ = reply.send(answer);
    }
}

/// A round that succeeded.
struct Round {
    nonces: NonceTree,
    proof: Arc<HeadProof>,
    view: AppliedView,
}

impl Rounds {
    async fn run(&self, batch: &[Waiting]) -> Result<Round, CheckError> {
        let no_quorum = |why: &dyn std::fmt::Display| CheckError::NoQuorum(why.to_string());
        let mut questions: Vec<[u8; 32]> = Vec::with_capacity(batch.len());
        for waiting in batch {
            if let Waiting::Check { request, nonce, .. } = waiting {
                questions.push(nonce.question(request));
            }
        }
        if questions.is_empty() {
            questions.push(NO_QUESTION);
        }
        let nonces = NonceTree::new(questions).map_err(|error| CheckError::NoProof(error.to_string()))?;
        let deadline = Instant::now() + self.timeout;
        let (statements, block) = match sabotage::kept_round(nonces.root(), &self.store) {
            Some(kept) => kept,
            None => self.gather(nonces.root(), deadline).await?,
        };
        sabotage::keep_round(&statements);
        // While nothing is written every statement has the head of that block, and no more need be asked.
        let quorum = match self.quorum_among(&statements, block) {
            Some(quorum) => Arc::new(quorum),
            None => {
                self.heads.quorum(block, deadline).await.map_err(|error: HeadsError| no_quorum(&error))?
            }
        };
        // Statements with the head count for it already; only the others' signatures are added.
        let head = quorum.head;
        let counted: BTreeSet<u64> = statements.iter().filter(|s| s.head == head).map(|s| s.node).collect();
        let head_statements =
            quorum.statements.iter().filter(|s| !counted.contains(&s.node)).copied().collect();
        let proof = Arc::new(HeadProof { head, statements, head_statements });
        Ok(Round { nonces, proof, view: self.store.view() })
    }

    /// Statements of a quorum over `nonce_root`, all naming one roster, and the highest block that they name,
    /// applied here.
    async fn gather(&self, nonce_root: Hash, deadline: Instant) -> Result<(Vec<Statement>, u64), CheckError> {
        let mut applied = self.store.block();
        let mut watched = self.store.watch_rosters();
        let mut rosters = Arc::clone(&watched.borrow_and_update());
        let own = self.signer.voter().node;
        let mut known: BTreeMap<u64, Statement> = BTreeMap::new();
        let mut asked = FuturesUnordered::new();
        let ask =
            |voter: Voter| async move { (voter.node, self.statement(&voter, nonce_root, deadline).await) };
        let mut voters: BTreeMap<u64, Voter> = BTreeMap::new();
        voters.extend(rosters.newest().1.voters().map(|voter| (voter.node, voter.clone())));
        // A quorum is asked first: its statements are enough as a rule, and each costs a signature and a call.
        let roster = rosters.newest().1;
        let (first, others) = self.quickest.first(own, roster.voters(), |nodes| roster.has_quorum(nodes));
        asked.extend(first.into_iter().cloned().map(ask));
        let mut others: Vec<Voter> = others.into_iter().cloned().collect();
        let others_at = deadline.min(Instant::now() + FIRST_PATIENCE);
        let mut failures: Vec<String> = Vec::new();
        let mut again_at = deadline;
        loop {
            let least = least_quorum(&rosters, &known);
            let newest_named = known.values().filter_map(named).max().map_or(0, |roster| roster.block);
            if let Some((statements, block)) = &least
                && *applied.borrow_and_update() >= *block
            {
                return Ok((statements.clone(), *block));
            }
            // Voters that name an older roster than others, or one that is not applied here yet, will agree.
            let split = known.values().filter_map(named).any(|roster| roster.block < newest_named)
                || newest_named > rosters.newest().0.block;
            if again_at == deadline && (least.is_some() || split) {
                again_at = deadline.min(Instant::now() + TAIL_PATIENCE);
            }
            // Others may answer where one failed, or show a quorum whose logs reach less far.
            if asked.is_empty() || least.is_some() || split || !failures.is_empty() {
                asked.extend(others.drain(..).map(ask));
            }
            if asked.is_empty() && least.is_none() && !split {
                tracing::debug!(own, ?failures, "a round without a quorum");
                return Err(CheckError::NoQuorum(failures.join("; ")));
            }
            tokio::select! {
                Some((node, statement)) = asked.next(), if !asked.is_empty() => match statement {
                    Ok(statement) => {
                        if node != own {
                            self.quickest.answered(node);
                        }
                        known.insert(node, statement);
                    }
                    Err(why) => failures.push(format!("node {node}: {why}")),
                },
                changed = applied.changed() => {
                    changed.map_err(|_| CheckError::NoQuorum("the node is stopping".into()))?;
                }
                changed = watched.changed() => {
                    changed.map_err(|_| CheckError::NoQuorum("the node is stopping".into()))?;
                    rosters = Arc::clone(&watched.borrow_and_update());
                    for voter in rosters.newest().1.voters() {
                        if voters.insert(voter.node, voter.clone()).is_none() {
                            asked.push(ask(voter.clone()));
                        }
                    }
                }
                () = sleep_until(others_at), if !others.is_empty() => asked.extend(others.drain(..).map(ask)),
                () = sleep_until(again_at), if again_at < deadline => {
                    // The same nonce again, only to those whose tails may have been cut, or were behind.
                    let reached = *applied.borrow();
                    for (node, statement) in &known {
                        let ahead = statement.fresh.is_some_and(|fresh| fresh.tail_block > reached);
                        let behind = named(statement).is_some_and(|roster| roster.block < newest_named);
                        if let Some(voter) = voters.get(node).filter(|_| ahead || behind) {
                            asked.push(ask(voter.clone()));
                        }
                    }
                    again_at = deadline;
                }
                () = sleep_until(deadline) => {
                    failures.push(format!("{} statements", known.len()));
                    return Err(CheckError::NoQuorum(failures.join("; ")));
                }
            }
        }
    }

    async fn statement(
        &self,
        voter: &Voter,
        nonce_root: Hash,
        deadline: Instant,
    ) -> Result<Statement, String> {
        let node = voter.node;
        if node == self.signer.voter().node {
            return self.signer.fresh(nonce_root).map_err(|error: NotSigning| error.to_string());
        }
        let bytes =
            self.peers.statement(node, nonce_root, deadline).await.map_err(|error| error.to_string())?;
        let statement = Statement::decode(&bytes).map_err(|error| error.to_string())?;
        if !sabotage::active(Sabotage::SkipSignatureCheck) {
            statement.verify_with(voter, &self.keys).map_err(|error| error.to_string())?;
        }
        let known = self.store.read_state(|state| state.head_of(statement.head.block).copied());
        self.heads.observe(known.as_ref(), &statement).map_err(|error| error.to_string())?;
        match statement.fresh {
            Some(fresh) if fresh.nonce_root == nonce_root => Ok(statement),
            _ => Err("its statement is over another nonce".into()),
        }
    }

    /// The quorum on the head of `block` that the statements themselves are, if they are one.
    fn quorum_among(&self, statements: &[Statement], block: u64) -> Option<HeadQuorum> {
        let head: Head = self.store.read_state(|state| state.head_of(block).copied())?;
        let rosters = self.store.rosters();
        let with: Vec<Statement> = statements.iter().filter(|s| s.head == head).copied().collect();
        let nodes = with.iter().map(|statement| statement.node).collect();
        rosters.head_voters(block).has_quorum(&nodes).then_some(HeadQuorum { head, statements: with })
    }

    /// Makes every answer of a round. Runs on a thread that may block.
    fn answer(&self, round: &Round, batch: Vec<Waiting>) {
        let root = match root_of(&round.view, round.proof.head.block) {
            Ok(root) => root,
            Err(error) => return refuse(batch, &error),
        };
        let (mut sessions, mut calls) = (BySession::default(), Vec::new());
        let mut index = 0;
        for waiting in batch {
            match waiting {
                Waiting::Check { request, reply, .. } => {
                    match reply {
                        Reply::Call(reply) => {
                            calls.push((reply, self.call_answer(round, root, index, &request)));
                            if calls.len() >= CALLS_ANSWERED_TOGETHER {
                                answer_calls(&mut calls);
                            }
                        }
                        Reply::Session(session, id) => sessions.add(session, id, index, request),
                    }
                    index += 1;
                }
                Waiting::Head { reply } => {
                    let _ = reply.send(Ok(Arc::clone(&round.proof)));
                }
            }
        }
        answer_calls(&mut calls);
        sessions.answer(self, round, root);
    }

    fn call_answer(
        &self,
        round: &Round,
        root: Root,
        index: u32,
        request: &Request,
    ) -> Result<Vec<u8>, CheckError> {
        let path = round.nonce_path(index)?;
        self.encoded(&self.prove_now(&round.proof, (&round.view, root), Some(path), request)?)
    }
}

impl Round {
    /// From the nonce with this index to the round's root.
    fn nonce_path(&self, index: u32) -> Result<NoncePath, CheckError> {
        let late = || sabotage::active(Sabotage::JoinRunningRound).then(|| self.nonces.path(0)).flatten();
        let path = self.nonces.path(index).or_else(late);
        path.ok_or_else(|| CheckError::NoProof("no such nonce in the round".into()))
    }
}

/// The root of the state after `block`, which is still kept. It may wait for the disk.
fn root_of(view: &AppliedView, block: u64) -> Result<Root, CheckError> {
    let root = view.root_of(block).map_err(|error| CheckError::NoProof(error.to_string()))?;
    root.ok_or_else(|| CheckError::NoProof(format!("the state of block {block} is kept no more")))
}

/// The roster that a fresh statement names.
fn named(statement: &Statement) -> Option<RosterId> {
    statement.fresh.map(|fresh| fresh.tail_roster)
}

/// Of each roster that is named and known here: the quorum of those who name it whose logs reach least far,
/// and how far that is, which is no less than the roster's own block. Of several rosters the newest.
fn least_quorum(rosters: &Rosters, known: &BTreeMap<u64, Statement>) -> Option<(Vec<Statement>, u64)> {
    let ids: BTreeSet<RosterId> = known.values().filter_map(named).collect();
    ids.into_iter().rev().find_map(|id| {
        let roster = rosters.get(id)?;
        let mut by_tail: Vec<(u64, &Statement)> = known
            .values()
            .filter(|statement| named(statement) == Some(id) && roster.voter(statement.node).is_some())
            .filter_map(|statement| Some((statement.fresh?.tail_block, statement)))
            .collect();
        by_tail.sort_by_key(|(tail, statement)| (*tail, statement.node));
        let mut nodes = BTreeSet::new();
        let mut statements = Vec::new();
        for (tail, statement) in by_tail {
            nodes.insert(statement.node);
            statements.push(*statement);
            if roster.has_quorum(&nodes) {
                statements.sort_by_key(|statement| statement.node);
                return Some((statements, tail.max(id.block)));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_round_makes_the_next_one_wait_and_nobody_else() {
        let took = Duration::from_millis(2);
        assert_eq!(pause(0, took), Duration::ZERO);
        assert_eq!(pause(1, took), Duration::ZERO, "a lone check waits for nobody");
        assert_eq!(pause(2, took), took);
        assert_eq!(pause(4, took), took * 2);
        assert_eq!(pause(8, took), took * 4);
        assert_eq!(pause(10_000, took), took * 4);
        // However quick a round is.
        for quick in [Duration::ZERO, Duration::from_micros(50)] {
            assert_eq!(pause(1, quick), Duration::ZERO);
            assert_eq!(
                [2, 5, 10, 10_000].map(|shared| pause(shared, quick).as_micros()),
                [800, 2_000, 4_000, 4_000]
            );
        }
        for shared in [2, 3, 30, usize::MAX] {
            assert!(pause(shared, took) > Duration::ZERO);
            assert!(pause(shared, Duration::from_secs(5)) <= PAUSE_MAX);
        }
    }

    #[test]
    fn a_pause_is_for_as_many_as_there_were_at_once_and_forgets_who_left() {
        // Four callers who ask again at once: two are in a round while two wait, and then all wait.
        let mut four = MostAtOnce::default();
        assert_eq!(
            [2, 4, 4, 3].map(|now| four.seen(now)),
            [2, 4, 4, 3],
            "one may be late without the others"
        );
        assert_eq!(four.seen(4), 4, "and is waited for again");

        let mut burst = MostAtOnce::default();
        assert_eq!(burst.seen(160), 160);
        assert_eq!([1, 1].map(|now| burst.seen(now)), [150, 140]);
        let mut rounds = 0;
        while burst.seen(1) > 1 {
            rounds += 1;
            assert!(rounds < 60, "it goes, and soon");
        }
        assert_eq!(burst.seen(usize::MAX), usize::MAX);
        assert_eq!(MostAtOnce::default().seen(0), 0);
    }
}
