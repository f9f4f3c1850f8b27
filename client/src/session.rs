//! Sessions: the checks of many callers over one stream to a node, and the answers of a round together, with what
//! proves the round once.
//!
//! A session proves what single calls prove: each question has a nonce of its own, and whoever asked verifies its
//! answer. When the stream fails, so does what waits on it, and is tried again as a call that failed would be; the next
//! question begins another stream.
//!
//! Nodes of the state's tree that came with an answer are kept, and the next ones come without them: each answer is put
//! together here, and is then what a call of its own would have brought.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_ledger::answer::{Answer, AnswerError, HeadProof, decode_answer_around, decode_answer_beside};
use chancery_ledger::state::{Kept, PrunedTree, decode_keys};
use chancery_proto::v1::api;
use chancery_proto::v1::api::ledger_client::LedgerClient;
use chancery_proto::v1::api::session_answer::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::check::ProofError;
use crate::endpoints::Failure;

/// Questions that wait to be sent; further callers wait.
const QUEUE_MAX: usize = 256;

/// Most questions of one message, as a node takes them.
const QUESTIONS_MAX: usize = 256;

/// Questions that wait for an answer. When they are as many, no further one is sent.
const WAITING_MAX: usize = 1024;

/// How often it is looked, when there is no room, whether there is.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Messages that wait for the connection to take them.
const MESSAGES_MAX: usize = 4;

/// What a node puts into one message beside an answer, in bytes: other answers, and what proves them.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 2 << 20;

/// The session with one endpoint, once there is one.
#[derive(Default, Debug)]
pub(crate) struct Sessions(Mutex<Option<mpsc::Sender<Asked>>>);

#[derive(Debug)]
struct Asked {
    check: api::CheckRequest,
    reply: oneshot::Sender<Result<Part, Failure>>,
}

/// An answer, and what proves its round.
#[derive(Debug)]
struct Part {
    proof: Arc<HeadProof>,
    answer: Vec<u8>,
    /// What the answer shows of the state, if it leaves that out.
    tree: Option<PrunedTree>,
}

impl Sessions {
    /// Asks in the session, which is begun if there is none, by `client`.
    pub(crate) async fn ask(
        &self,
        client: LedgerClient<Channel>,
        check: api::CheckRequest,
        time: Duration,
        size_bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let (reply, part) = oneshot::channel();
        let questions = self.questions(client, size_bytes_max);
        let asking = async {
            let gone = || Failure::Failed { code: Code::Unavailable, message: "the session ended".into() };
            questions.send(Asked { check, reply }).await.map_err(|_| gone())?;
            part.await.map_err(|_| gone())?
        };
        let Part { proof, answer, tree } =
            tokio::time::timeout(time, asking).await.map_err(|_| Failure::TimedOut)??;
        let answer = match tree {
            Some(tree) => decode_answer_around(&answer, &proof, tree, size_bytes_max),
            None => decode_answer_beside(&answer, &proof, size_bytes_max),
        };
        Ok(answer.map_err(ProofError::from)?)
    }

    /// Where questions go.
    fn questions(&self, client: LedgerClient<Channel>, tree_size_bytes_max: usize) -> mpsc::Sender<Asked> {
        // INVARIANT: nothing panics while it is held.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(questions) = current.as_ref().filter(|questions| !questions.is_closed()) {
            return questions.clone();
        }
        let (questions, asked) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(client, asked, tree_size_bytes_max));
        *current = Some(questions.clone());
        questions
    }
}

/// Runs one stream, until it fails or nobody can ask any more.
async fn run(
    mut client: LedgerClient<Channel>,
    mut asked: mpsc::Receiver<Asked>,
    tree_size_bytes_max: usize,
) {
    let (to, messages) = mpsc::channel(MESSAGES_MAX);
    let mut waiting =
        Waiting { by_id: HashMap::new(), next_id: 0, kept: Kept::default(), tree_size_bytes_max };
    // The first questions go with the call, so that they wait for no answer to it.
    let Some(first) = next(&mut asked).await else { return };
    waiting.send(first, &mut asked, &to).await;
    let failure = match client.check_session(ReceiverStream::new(messages)).await {
        Ok(response) => waiting.exchange(&mut asked, &to, response.into_inner()).await,
        Err(status) => Some(status),
    };
    let failure = failure.unwrap_or_else(|| Status::unavailable("the session ended"));
    asked.close();
    while let Ok(Asked { reply, .. }) = asked.try_recv() {
        let _ = reply.send(Err(Failure::of(&failure)));
    }
    for reply in waiting.by_id.into_values() {
        let _ = reply.send(Err(Failure::of(&failure)));
    }
}

/// What is asked, as soon as something is; none if nobody can ask any more. Nothing is lost when this is dropped.
async fn next(asked: &mut mpsc::Receiver<Asked>) -> Option<Vec<Asked>> {
    let mut batch = Vec::new();
    (asked.recv_many(&mut batch, QUESTIONS_MAX).await > 0).then_some(batch)
}

/// Who waits for an answer, and what is kept of those that came.
struct Waiting {
    by_id: HashMap<u64, oneshot::Sender<Result<Part, Failure>>>,
    next_id: u64,
    kept: Kept,
    /// Largest tree of one answer.
    tree_size_bytes_max: usize,
}

impl Waiting {
    /// Sends what is asked and hands out what is answered; gives why the stream failed, if it did.
    async fn exchange(
        &mut self,
        asked: &mut mpsc::Receiver<Asked>,
        to: &mpsc::Sender<api::SessionQuestions>,
        mut answers: Streaming<api::SessionAnswers>,
    ) -> Option<Status> {
        loop {
            if self.by_id.len() + QUESTIONS_MAX > WAITING_MAX {
                // Who does not wait any more makes room, also if he is never answered.
                self.by_id.retain(|_, reply| !reply.is_closed());
            }
            let room = self.by_id.len() + QUESTIONS_MAX <= WAITING_MAX && to.capacity() > 0;
            tokio::select! {
                message = answers.message() => match message {
                    Ok(Some(message)) => if let Err(Amiss) = self.answered(message) {
                        return Some(Status::internal("answers of the session do not fit what came before"));
                    },
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                // Whether somebody waits no more, nobody tells.
                () = tokio::time::sleep(LOOK_AGAIN), if !room => {}
                first = next(asked), if room => match first {
                    Some(first) => self.send(first, asked, to).await,
                    None => return None,
                },
            }
        }
    }

    /// Sends questions in one message, for which there must be room: these, and what else is asked by then.
    async fn send(
        &mut self,
        mut batch: Vec<Asked>,
        asked: &mut mpsc::Receiver<Asked>,
        to: &mpsc::Sender<api::SessionQuestions>,
    ) {
        // Who was answered with whoever asked first is about to ask again: let them run before the message goes.
        tokio::task::yield_now().await;
        while batch.len() < QUESTIONS_MAX
            && let Ok(more) = asked.try_recv()
        {
            batch.push(more);
        }
        let is_first = self.next_id == 0;
        // Who waits no more is not asked for.
        let waits = |asked: &Asked| !asked.reply.is_closed();
        let questions: Vec<_> = batch.into_iter().filter(waits).map(|asked| self.question(asked)).collect();
        if !questions.is_empty() {
            // INVARIANT: there is room, and nobody else sends. If not, the stream is gone, as is told next.
            let _ = to.try_send(api::SessionQuestions { questions, keeps_nodes: is_first });
        }
    }

    fn question(&mut self, Asked { check, reply }: Asked) -> api::SessionQuestion {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.by_id.insert(id, reply);
        api::SessionQuestion { id, check: Some(check) }
    }

    /// Hands out what is answered.
    ///
    /// # Errors
    /// What came does not fit what is kept: nothing that follows would be of use.
    fn answered(&mut self, message: api::SessionAnswers) -> Result<(), Amiss> {
        let api::SessionAnswers { head, statements, head_statements, answers } = message;
        let proof = HeadProof::from_wire(&head, &statements, &head_statements).map(Arc::new);
        let mut all = Ok(());
        for api::SessionAnswer { id, outcome } in answers {
            let answered = match (outcome, &proof) {
                (Some(Outcome::Answer(answer)), Ok(proof)) => {
                    Ok(Part { proof: Arc::clone(proof), answer, tree: None })
                }
                (Some(Outcome::Answer(_)), Err(error)) => Err(ProofError::Malformed(error.clone()).into()),
                // What it brings is kept, also if who asked has gone.
                (Some(Outcome::Kept(kept)), proof) => self.part(proof, kept).map_err(|error| {
                    all = Err(Amiss);
                    ProofError::Malformed(error).into()
                }),
                (Some(Outcome::Failure(api::SessionFailure { code, message })), _) => {
                    Err(Failure::of(&Status::new(Code::from(code), message)))
                }
                (None, _) => Err(Failure::of(&Status::internal("an answer without an outcome"))),
            };
            // What nobody asked is nothing.
            if let Some(reply) = self.by_id.remove(&id) {
                let _ = reply.send(answered);
            }
        }
        all
    }

    /// Keeps what an answer brings, and cuts its tree out of all that is kept.
    fn part(
        &mut self,
        proof: &Result<Arc<HeadProof>, AnswerError>,
        kept: api::KeptAnswer,
    ) -> Result<Part, AnswerError> {
        let proof = proof.as_ref().map_err(AnswerError::clone)?;
        let api::KeptAnswer { answer, keys, nodes, forget } = kept;
        if forget {
            self.kept.forget();
        }
        self.kept.take(&nodes)?;
        let tree = self.kept.cut(proof.head.state_root, &decode_keys(&keys)?, self.tree_size_bytes_max)?;
        Ok(Part { proof: Arc::clone(proof), answer, tree: Some(tree) })
    }
}

/// What came does not fit what is kept.
struct Amiss;
