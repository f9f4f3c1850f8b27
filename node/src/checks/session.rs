//! Sessions: callers who have many checks, and take the answers of one round together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chancery_ledger::answer::{HeadProof, Nonce};
use chancery_ledger::decide::Request;
use chancery_ledger::state::{Missing, Root, Sent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{CheckError, Checks, Reply, Round, Rounds, Waiting};

/// Checks of one session that may wait.
pub const SESSION_CHECKS_MAX: usize = 1024;

/// Sessions of this node that may keep nodes: what is remembered of each has at most some six MiB, the hashes of inner nodes alone.
const SESSIONS_KEEP_MAX: usize = 32;

/// Where the answers to one session's checks go.
#[derive(Clone)]
pub struct Session {
    /// Tells it from other sessions of this node.
    number: u64,
    /// It has room for each check that may wait.
    to: mpsc::Sender<RoundAnswers>,
    /// What its client keeps, if it keeps nodes.
    keeps: Option<Arc<Keeps>>,
}

/// What a session's client keeps, and the right to remember that.
struct Keeps {
    sent: Mutex<Sent>,
    _right: OwnedSemaphorePermit,
}

/// How many sessions there were, and how many more may keep nodes.
#[derive(Clone)]
pub(super) struct Sessions {
    begun: Arc<AtomicU64>,
    may_keep: Arc<Semaphore>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { begun: Arc::default(), may_keep: Arc::new(Semaphore::new(SESSIONS_KEEP_MAX)) }
    }
}

impl Sessions {
    /// What a client keeps that begins with nothing; none if too many keep nodes already.
    fn keeps(&self) -> Option<Arc<Keeps>> {
        let right = Arc::clone(&self.may_keep).try_acquire_owned().ok()?;
        Some(Arc::new(Keeps { sent: Mutex::default(), _right: right }))
    }
}

/// Answers of one round, or what has none.
#[derive(Debug)]
pub struct RoundAnswers {
    /// What proves the round; none if there was none.
    pub proof: Option<Arc<HeadProof>>,
    /// By the numbers that the session gave its checks.
    pub answers: Vec<Answered>,
}

/// A check's number, and its answer.
type Answered = (u64, Result<SessionAnswer, CheckError>);

/// An answer in a session.
#[derive(Debug)]
pub enum SessionAnswer {
    /// Encoded but for the head and the statements.
    Whole(Vec<u8>),
    /// Of whose tree the client keeps a part.
    Kept(KeptAnswer),
}

/// An answer of whose tree the client keeps a part.
#[derive(Debug)]
pub struct KeptAnswer {
    /// Encoded but for the head, the statements and the tree.
    pub answer: Vec<u8>,
    /// The keys that the tree shows, encoded.
    pub keys: Vec<u8>,
    /// What the client does not keep yet.
    pub missing: Missing,
}

impl KeptAnswer {
    /// How large it is.
    pub fn size_bytes(&self) -> usize {
        self.answer.len() + self.keys.len() + self.missing.nodes.len()
    }
}

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
        let number = self.sessions.begun.fetch_add(1, Ordering::Relaxed);
        (Session { number, to, keeps: None }, answers)
    }

    /// From now on `session`'s answers leave out the nodes that its client keeps; if too many sessions do, they are whole.
    pub fn keep_nodes(&self, session: &mut Session) {
        session.keeps = self.sessions.keeps();
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
        self.queue.push(waiting)
    }
}

/// The checks of one round, by session.
#[derive(Default)]
pub(super) struct BySession(BTreeMap<u64, (Session, Vec<Asked>)>);

/// A check of a session: its number there, its place in the round, and what was asked.
struct Asked {
    id: u64,
    index: u32,
    request: Box<Request>,
}

impl BySession {
    pub(super) fn add(&mut self, session: Session, id: u64, index: u32, request: Box<Request>) {
        let (_, asked) = self.0.entry(session.number).or_insert_with(|| (session, Vec::new()));
        asked.push(Asked { id, index, request });
    }

    /// Answers each session.
    pub(super) fn answer(self, rounds: &Rounds, round: &Round, root: Root) {
        for (session, asked) in self.0.into_values() {
            // What was sent first is kept first: nobody else answers the session until this is sent.
            // INVARIANT: nothing panics while it is held, and who holds it waits for no other.
            let keeps = session.keeps.as_ref();
            let mut sent = keeps.map(|keeps| keeps.sent.lock().unwrap_or_else(PoisonError::into_inner));
            let answers = asked.into_iter().map(|Asked { id, index, request }| {
                (id, rounds.session_answer(round, root, (index, &request), sent.as_deref_mut()))
            });
            let answers = answers.collect();
            session.send(RoundAnswers { proof: Some(Arc::clone(&round.proof)), answers });
        }
    }
}

impl Rounds {
    fn session_answer(
        &self,
        round: &Round,
        root: Root,
        (index, request): (u32, &Request),
        sent: Option<&mut Sent>,
    ) -> Result<SessionAnswer, CheckError> {
        let path = round.nonce_path(index)?;
        let state = (&round.view, root);
        Ok(match sent {
            Some(sent) => {
                SessionAnswer::Kept(self.prove_around(&round.proof, state, &path, request, sent)?)
            }
            None => {
                let answer = self.prove_now(&round.proof, state, Some(path), request)?;
                SessionAnswer::Whole(self.encoded_beside(&answer)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_sessions_are_remembered_and_who_ends_makes_room() {
        let sessions = Sessions::default();
        let mut all: Vec<_> = (0..=SESSIONS_KEEP_MAX).map(|_| sessions.keeps()).collect();
        assert!(all.pop().is_some_and(|last| last.is_none()), "one too many");
        assert!(all.iter().all(Option::is_some));
        assert!(sessions.keeps().is_none());
        all.pop();
        assert!(sessions.keeps().is_some());
    }
}
