//! Sessions of checks: one stream, on which many questions are asked, and the answers of a round come together.

use std::time::Duration;

use chancery_ledger::answer::Nonce;
use chancery_ledger::authority::PrincipalRecord;
use chancery_ledger::command::PublicKey;
use chancery_ledger::state::Missing;
use chancery_proto::v1::api;
use chancery_proto::v1::api::session_answer::Outcome;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::caller::Callers;
use super::service::{check_failure, hash, question};
use crate::checks::{Checks, KeptAnswer, RoundAnswers, SESSION_CHECKS_MAX, Session, SessionAnswer};

/// Most questions of one message.
const QUESTIONS_MAX: usize = 256;

/// Messages that wait for the client to take them.
const MESSAGES_MAX: usize = 4;

/// Bytes of answers in one message, but for its last answer.
const ANSWERS_SIZE_BYTES_MAX: usize = 1 << 20;

/// What a session answers with.
pub(super) type Answers = ReceiverStream<Result<api::SessionAnswers, Status>>;

/// Serves a session of the caller with `key` until it ends, or takes nothing for `patience`.
pub(super) fn serve(
    key: PublicKey,
    callers: Callers,
    checks: Checks,
    questions: Streaming<api::SessionQuestions>,
    patience: Duration,
) -> Answers {
    let (to, answers) = mpsc::channel(MESSAGES_MAX);
    let (session, rounds) = checks.session();
    let serving = Serving { key, callers, checks, session, is_new: true, under_way: 0, patience, to };
    tokio::spawn(serving.run(questions, rounds));
    ReceiverStream::new(answers)
}

struct Serving {
    key: PublicKey,
    callers: Callers,
    checks: Checks,
    session: Session,
    /// Whether nothing was asked yet.
    is_new: bool,
    /// Checks that wait for their round.
    under_way: usize,
    patience: Duration,
    to: mpsc::Sender<Result<api::SessionAnswers, Status>>,
}

/// Why a session is over.
struct Over;

impl Serving {
    async fn run(
        mut self,
        mut questions: Streaming<api::SessionQuestions>,
        mut rounds: mpsc::Receiver<RoundAnswers>,
    ) {
        let mut asks = true;
        while asks || self.under_way > 0 {
            let served = tokio::select! {
                asked = questions.message(), if asks && self.has_room() => match asked {
                    Ok(Some(asked)) => self.ask(asked).await,
                    Ok(None) => {
                        asks = false;
                        Ok(())
                    }
                    Err(_) => Err(Over),
                },
                // INVARIANT: `session` is held here, so that the channel is open.
                Some(round) = rounds.recv() => self.answer(round).await,
                () = self.to.closed() => Err(Over),
            };
            if served.is_err() {
                return;
            }
        }
    }

    /// Whether a whole message of questions may wait beside those that do.
    const fn has_room(&self) -> bool {
        self.under_way + QUESTIONS_MAX <= SESSION_CHECKS_MAX
    }

    async fn ask(&mut self, asked: api::SessionQuestions) -> Result<(), Over> {
        let api::SessionQuestions { questions, keeps_nodes } = asked;
        if std::mem::take(&mut self.is_new) && keeps_nodes {
            self.checks.keep_nodes(&mut self.session);
        }
        if questions.len() > QUESTIONS_MAX {
            let much = format!("more than {QUESTIONS_MAX} questions in one message");
            return self.end(Status::invalid_argument(much)).await;
        }
        // Looked up for each message: a session does not outlive its caller's rights.
        let caller = match self.callers.principal(self.key).await {
            Ok(caller) => caller,
            Err(status) => return self.end(status).await,
        };
        let mut failed = Vec::new();
        for api::SessionQuestion { id, check } in questions {
            match self.ask_one(&caller, id, check.unwrap_or_default()) {
                Ok(()) => self.under_way += 1,
                Err(status) => failed.push(failure(id, &status)),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        self.send(Ok(api::SessionAnswers { answers: failed, ..Default::default() })).await
    }

    fn ask_one(&self, caller: &PrincipalRecord, id: u64, asked: api::CheckRequest) -> Result<(), Status> {
        if asked.fresh_within_ms.is_some() {
            return Err(Status::invalid_argument("a check in a session is under a nonce"));
        }
        let nonce = Nonce(hash("nonce", &asked.nonce)?.0);
        let request = question(asked)?;
        if !caller.may_check(&request.agent) {
            return Err(Status::permission_denied("the agent is outside the caller's scope"));
        }
        self.checks.check_in(&self.session, id, request, nonce).map_err(|error| check_failure(&error))
    }

    async fn answer(&mut self, round: RoundAnswers) -> Result<(), Over> {
        self.under_way = self.under_way.saturating_sub(round.answers.len());
        let (head, statements, head_statements) =
            round.proof.as_ref().map(|proof| proof.to_wire()).unwrap_or_default();
        let message = |answers| {
            let (head, statements) = (head.clone(), statements.clone());
            api::SessionAnswers { head, statements, head_statements: head_statements.clone(), answers }
        };
        let (mut answers, mut size_bytes) = (Vec::new(), 0);
        for (id, answer) in round.answers {
            answers.push(match answer {
                Ok(SessionAnswer::Whole(answer)) => {
                    size_bytes += answer.len();
                    api::SessionAnswer { id, outcome: Some(Outcome::Answer(answer)) }
                }
                Ok(SessionAnswer::Kept(kept)) => {
                    size_bytes += kept.size_bytes();
                    let KeptAnswer { answer, keys, missing: Missing { forget, nodes } } = kept;
                    let kept = api::KeptAnswer { answer, keys, nodes, forget };
                    api::SessionAnswer { id, outcome: Some(Outcome::Kept(kept)) }
                }
                Err(error) => failure(id, &check_failure(&error)),
            });
            if size_bytes >= ANSWERS_SIZE_BYTES_MAX {
                size_bytes = 0;
                self.send(Ok(message(std::mem::take(&mut answers)))).await?;
            }
        }
        if answers.is_empty() { Ok(()) } else { self.send(Ok(message(answers))).await }
    }

    async fn send(&self, message: Result<api::SessionAnswers, Status>) -> Result<(), Over> {
        match timeout(self.patience, self.to.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }

    async fn end(&self, status: Status) -> Result<(), Over> {
        self.send(Err(status)).await?;
        Err(Over)
    }
}

fn failure(id: u64, status: &Status) -> api::SessionAnswer {
    let (code, message) = (status.code().into(), status.message().into());
    api::SessionAnswer { id, outcome: Some(Outcome::Failure(api::SessionFailure { code, message })) }
}
