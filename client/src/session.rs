//! Sessions: the checks of many callers over one stream to a node, and the answers of a round together, with what
//! proves the round once.
//!
//! A session proves what single calls prove: each question has a nonce of its own, and whoever asked verifies its
//! answer. When the stream fails, so does what waits on it, and is tried again as a call that failed would be; the next
//! question begins another stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_ledger::answer::{Answer, HeadProof, decode_answer_beside};
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
        let questions = self.questions(client);
        let asking = async {
            let gone = || Failure::Failed { code: Code::Unavailable, message: "the session ended".into() };
            questions.send(Asked { check, reply }).await.map_err(|_| gone())?;
            part.await.map_err(|_| gone())?
        };
        let Part { proof, answer } =
            tokio::time::timeout(time, asking).await.map_err(|_| Failure::TimedOut)??;
        Ok(decode_answer_beside(&answer, &proof, size_bytes_max).map_err(ProofError::from)?)
    }

    /// Where questions go.
    fn questions(&self, client: LedgerClient<Channel>) -> mpsc::Sender<Asked> {
        // INVARIANT: nothing panics while it is held.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(questions) = current.as_ref().filter(|questions| !questions.is_closed()) {
            return questions.clone();
        }
        let (questions, asked) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(client, asked));
        *current = Some(questions.clone());
        questions
    }
}

/// Runs one stream, until it fails or nobody can ask any more.
async fn run(mut client: LedgerClient<Channel>, mut asked: mpsc::Receiver<Asked>) {
    let (to, messages) = mpsc::channel(MESSAGES_MAX);
    let mut waiting = Waiting::default();
    // The first questions go with the call, so that they wait for no answer to it.
    if !waiting.send_next(&mut asked, &to).await {
        return;
    }
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

/// Who waits for an answer.
#[derive(Default)]
struct Waiting {
    by_id: HashMap<u64, oneshot::Sender<Result<Part, Failure>>>,
    next_id: u64,
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
                    Ok(Some(message)) => self.answered(message),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                },
                // Whether somebody waits no more, nobody tells.
                () = tokio::time::sleep(LOOK_AGAIN), if !room => {}
                sent = self.send_next(asked, to), if room => if !sent {
                    return None;
                },
            }
        }
    }

    /// Sends the next questions in one message, for which there must be room; `false` if nobody can ask any more.
    async fn send_next(
        &mut self,
        asked: &mut mpsc::Receiver<Asked>,
        to: &mpsc::Sender<api::SessionQuestions>,
    ) -> bool {
        // Nothing is lost when this is dropped: what was received is sent before it waits again.
        let mut batch = Vec::new();
        if asked.recv_many(&mut batch, QUESTIONS_MAX).await == 0 {
            return false;
        }
        // Who waits no more is not asked for.
        let waits = |asked: &Asked| !asked.reply.is_closed();
        let questions: Vec<_> = batch.into_iter().filter(waits).map(|asked| self.question(asked)).collect();
        if !questions.is_empty() {
            // INVARIANT: there is room, and nobody else sends. If not, the stream is gone, as is told next.
            let _ = to.try_send(api::SessionQuestions { questions });
        }
        true
    }

    fn question(&mut self, Asked { check, reply }: Asked) -> api::SessionQuestion {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.by_id.insert(id, reply);
        api::SessionQuestion { id, check: Some(check) }
    }

    fn answered(&mut self, message: api::SessionAnswers) {
        let api::SessionAnswers { head, statements, head_statements, answers } = message;
        let proof = HeadProof::from_wire(&head, &statements, &head_statements).map(Arc::new);
        for api::SessionAnswer { id, outcome } in answers {
            // Who asked may have gone; what nobody asked is nothing.
            let Some(reply) = self.by_id.remove(&id) else { continue };
            let answered = match outcome {
                Some(Outcome::Answer(answer)) => match &proof {
                    Ok(proof) => Ok(Part { proof: Arc::clone(proof), answer }),
                    Err(error) => Err(ProofError::Malformed(error.clone()).into()),
                },
                Some(Outcome::Failure(api::SessionFailure { code, message })) => {
                    Err(Failure::of(&Status::new(Code::from(code), message)))
                }
                None => Err(Failure::of(&Status::internal("an answer without an outcome"))),
            };
            let _ = reply.send(answered);
        }
    }
}
