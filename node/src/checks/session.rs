//! Sessions: callers who have many checks, and take the answers of one round together.

use std::collections::BTreeMap;
use std::sync::Arc;

use chancery_ledger::answer::{HeadProof, Nonce};
use chancery_ledger::decide::Request;
use tokio::sync::mpsc;

use super::{CheckError, Checks, Reply, Waiting};

/// Checks of one session that may wait.
pub const SESSION_CHECKS_MAX: usize = 1024;

/// Where the answers to one session's checks go.
#[derive(Clone)]
pub struct Session {
    /// Tells it from other sessions of this node.
    number: u64,
    /// It has room for each check that may wait.
    to: mpsc::Sender<RoundAnswers>,
}

/// Answers of one round, or what has none.
#[derive(Debug)]
pub struct RoundAnswers {
    /// What proves the round; none if there was none.
    pub proof: Option<Arc<HeadProof>>,
    /// By the numbers that the session gave its checks; encoded but for the head and the statements.
    pub answers: Vec<Answered>,
}

/// A check's number, and its answer.
type Answered = (u64, Result<Vec<u8>, CheckError>);

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    pub(super) fn refuse(&self, id: u64, error: CheckError) {
        self.send(RoundAnswers { proof: None, answers: vec![(id, Err(error))] });
    }

    fn send(&self, answers: RoundAnswers) {
        // INVARIANT: there is room, as each message ends the waiting of a check at least. If not, the session is over.
        let _ = self.to.try_send(answers);
    }
}

impl Checks {
    /// A session, at most [`SESSION_CHECKS_MAX`] of whose checks wait at once, and where their answers come.
    pub fn session(&self) -> (Session, mpsc::Receiver<RoundAnswers>) {
        let (to, answers) = mpsc::channel(SESSION_CHECKS_MAX);
        let number = self.sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (Session { number, to }, answers)
    }

    /// Has `request` answered under `nonce`, by a round that starts after this is called. The answer comes to the
    /// session, under `id`.
    ///
    /// # Errors
    /// [`CheckError::Busy`]: then none comes.
    pub fn check_in(
        &self,
        session: &Session,
        id: u64,
        request: Request,
        nonce: Nonce,
    ) -> Result<(), CheckError> {
        let reply = Reply::Session(session.clone(), id);
        let waiting = Waiting::Check { request: Box::new(request), nonce, reply };
        self.queue.try_send(waiting).map_err(|_| CheckError::Busy)
    }
}

/// The answers of one round, by session.
#[derive(Default)]
pub(super) struct Answers(BTreeMap<u64, (Session, Vec<Answered>)>);

impl Answers {
    pub(super) fn add(&mut self, session: Session, id: u64, answer: Result<Vec<u8>, CheckError>) {
        let (_, answers) = self.0.entry(session.number).or_insert_with(|| (session, Vec::new()));
        answers.push((id, answer));
    }

    /// Sends to each session what is its.
    pub(super) fn send(self, proof: &Arc<HeadProof>) {
        for (session, answers) in self.0.into_values() {
            session.send(RoundAnswers { proof: Some(Arc::clone(proof)), answers });
        }
    }
}
