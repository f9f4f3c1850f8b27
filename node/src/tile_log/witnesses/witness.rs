//! One witness, from this node's side: what it cosigned last, and when it is asked again.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::checkpoint::{SignatureLine, SignedCheckpoint, VerifierKey, add_checkpoint_request};
use chancery_ledger::log::prove_consistency;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::book::WitnessBook;
use super::call::{Answer, Call, CallError, WitnessUrl};
use crate::blocking;
use crate::store::applied::AppliedStore;

/// How long a witness that failed is left alone, the first time and at most.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Requests for one checkpoint. The other nodes ask too, so that what it cosigned last is often news.
const REQUESTS_MAX: usize = 3;

/// A witness' cosignature, which verifies.
pub(super) struct Cosigned {
    /// Which witness.
    pub(super) witness: usize,
    /// Of the checkpoint of so many leaves.
    pub(super) size: u64,
    /// Its line.
    pub(super) line: SignatureLine,
}

/// A witness that this node asks.
pub(super) struct Witness {
    number: usize,
    key: VerifierKey,
    call: Call,
    store: AppliedStore,
    book: Arc<WitnessBook>,
    /// Leaves of the last checkpoint of this log that it cosigned, as far as is known here.
    size: u64,
    /// After a failure, until the next cosignature.
    backoff: Option<Duration>,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
enum NotCosigned {
    /// It has a newer checkpoint, of another node: the next of ours may do.
    #[error("it has cosigned {0} leaves already")]
    Overtaken(u64),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("what it says that it cosigned changes all the time")]
    Contended,
    #[error("its answer has no cosignature that verifies")]
    NoCosignature,
    #[error("no proof from {0} leaves: {1}")]
    Proof(u64, String),
}

impl Witness {
    pub(super) fn new(
        number: usize,
        url: WitnessUrl,
        key: VerifierKey,
        store: AppliedStore,
        book: Arc<WitnessBook>,
    ) -> Self {
        Self { number, key, call: Call::new(url), store, book, size: 0, backoff: None }
    }

    /// Asks for a cosignature of what is offered, one at a time and the newest first, until `stopped`.
    pub(super) async fn run(
        mut self,
        mut offered: watch::Receiver<Option<Arc<SignedCheckpoint>>>,
        answers: mpsc::Sender<Cosigned>,
        mut stopped: watch::Receiver<bool>,
    ) {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = self.ask_all(&mut offered, &answers) => {}
        }
    }

    async fn ask_all(
        &mut self,
        offered: &mut watch::Receiver<Option<Arc<SignedCheckpoint>>>,
        answers: &mpsc::Sender<Cosigned>,
    ) {
        loop {
            let Some(signed) = offered.borrow_and_update().clone() else {
                if offered.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let size = signed.checkpoint().size();
            match self.cosigned(signed).await {
                Ok(line) => {
                    self.book.cosigned(self.number, size);
                    self.recovered();
                    if answers.send(Cosigned { witness: self.number, size, line }).await.is_err() {
                        return;
                    }
                }
                Err(overtaken @ NotCosigned::Overtaken(_)) => {
                    tracing::debug!(witness = %self.key.name(), size, %overtaken, "no cosignature of a witness");
                    self.book.overtaken(self.number, self.size);
                    self.recovered();
                }
                Err(why) => {
                    sleep(self.failed(&why)).await;
                    continue;
                }
            }
            if offered.changed().await.is_err() {
                return;
            }
        }
    }

    async fn cosigned(&mut self, signed: Arc<SignedCheckpoint>) -> Result<SignatureLine, NotCosigned> {
        let checkpoint = signed.checkpoint();
        for _ in 0..REQUESTS_MAX {
            if self.size > checkpoint.size() {
                return Err(NotCosigned::Overtaken(self.size));
            }
            let request = self.request(self.size, Arc::clone(&signed)).await?;
            match self.call.ask(request).await? {
                Answer::Cosigned(lines) => {
                    let line = checkpoint.cosignature_in(&lines, &self.key);
                    let line = line.ok_or(NotCosigned::NoCosignature)?;
                    self.size = checkpoint.size();
                    return Ok(line);
                }
                Answer::OtherSize(size) => self.size = size,
            }
        }
        Err(NotCosigned::Contended)
    }

    async fn request(&self, old: u64, signed: Arc<SignedCheckpoint>) -> Result<String, NotCosigned> {
        let view = self.store.view();
        let proven = blocking::spawn(move || {
            let proof = prove_consistency(&view, old, signed.checkpoint().size());
            proof.map(|proof| add_checkpoint_request(old, &proof, &signed)).map_err(|error| error.to_string())
        });
        let proven = proven.await.unwrap_or_else(|error| Err(error.to_string()));
        proven.map_err(|why| NotCosigned::Proof(old, why))
    }

    fn recovered(&mut self) {
        if self.backoff.take().is_some() {
            tracing::info!(witness = %self.key.name(), "a witness answers again");
        }
    }

    /// How long to leave it alone. Only the first failure of many is told aloud.
    fn failed(&mut self, why: &NotCosigned) -> Duration {
        self.book.failed(self.number, &why.to_string());
        let witness = self.key.name();
        let wait = match self.backoff {
            None => {
                tracing::warn!(%witness, %why, "a witness does not cosign");
                BACKOFF_MIN
            }
            Some(before) => {
                tracing::debug!(%witness, %why, "a witness still does not cosign");
                before.saturating_mul(2).min(BACKOFF_MAX)
            }
        };
        self.backoff = Some(wait);
        wait
    }
}
