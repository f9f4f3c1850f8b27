//! Witnesses: others' servers (c2sp.org/tlog-witness) are asked to cosign what this node published, and what they cosign
//! is published with it.
//!
//! Nothing waits for them. A checkpoint is published as soon as a quorum of the nodes cosigned it; about once a second
//! the newest is given to every witness that is not busy, and a cosignature is added to the published note if it comes
//! while that checkpoint is the newest. A log that grows all the time has a newer one by then: so the newest checkpoint
//! that enough witnesses cosigned is kept too, and served beside the newest.

mod book;
mod call;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::checkpoint::{SignatureLine, SignedCheckpoint, VerifierKey};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Published;
use crate::config::{ConfigError, WitnessesConfig};
use crate::store::applied::AppliedStore;
pub use book::WitnessBook;
use call::WitnessUrl;
use witness::{Cosigned, Witness};

/// Between two checkpoints that witnesses are given, a little less than two of ours take: who offers what it has just
/// published is seldom overtaken by another node.
const EVERY: Duration = Duration::from_millis(900);

/// How long a checkpoint that came too soon after another waits for a newer one to be offered instead of it.
const AT_LATEST: Duration = Duration::from_millis(1_200);

/// Checkpoints that witnesses may still be busy with: more than the slowest is waited for.
const OFFERED_MAX: usize = 32;

/// The note of the newest checkpoint that enough witnesses cosigned.
pub type Witnessed = Option<Arc<str>>;

/// Asks witnesses, and publishes what they cosign.
pub struct Witnesses {
    witnesses: Vec<(WitnessUrl, VerifierKey)>,
    quorum: usize,
    book: Arc<WitnessBook>,
}

impl Witnesses {
    /// Those of a configuration.
    ///
    /// # Errors
    /// A URL or a key is none, or there are too many, or two with one key.
    pub fn configured(config: &WitnessesConfig) -> Result<Self, ConfigError> {
        let rule = config.rule()?;
        let urls = config.servers.iter().map(|server| WitnessUrl::parse(&server.url));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        let book = Arc::new(WitnessBook::new(rule.keys().iter().map(|key| key.name().to_string())));
        let witnesses = urls.into_iter().zip(rule.keys().iter().cloned()).collect();
        Ok(Self { witnesses, quorum: rule.quorum() as usize, book })
    }

    /// Where it is written down what each of them does.
    pub fn book(&self) -> Arc<WitnessBook> {
        Arc::clone(&self.book)
    }

    /// Asks until `stopped`.
    pub async fn run(
        self,
        store: AppliedStore,
        published: watch::Sender<Option<Arc<Published>>>,
        witnessed: watch::Sender<Witnessed>,
        stopped: watch::Receiver<bool>,
    ) {
        let (offer, offered) = watch::channel(None);
        let (answer, answers) = mpsc::channel(self.witnesses.len().max(1));
        for (number, (url, key)) in self.witnesses.into_iter().enumerate() {
            let witness = Witness::new(number, url, key, store.clone(), Arc::clone(&self.book));
            tokio::spawn(witness.run(offered.clone(), answer.clone(), stopped.clone()));
        }
        drop((offered, answer));
        let rounds = Rounds { offers: VecDeque::new(), quorum: self.quorum, offer, published, witnessed };
        rounds.run(answers, stopped).await;
    }
}

/// A checkpoint that witnesses were given, and what came of it.
struct Offer {
    signed: Arc<SignedCheckpoint>,
    lines: BTreeMap<usize, SignatureLine>,
}

impl Offer {
    fn size(&self) -> u64 {
        self.signed.checkpoint().size()
    }

    /// The note with every line that came.
    fn note(&self) -> Option<String> {
        let lines = self.signed.signatures().iter().chain(self.lines.values()).cloned().collect();
        Some(SignedCheckpoint::new(self.signed.checkpoint().clone(), lines).ok()?.encode())
    }
}

struct Rounds {
    /// By size, the newest last.
    offers: VecDeque<Offer>,
    quorum: usize,
    offer: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    published: watch::Sender<Option<Arc<Published>>>,
    witnessed: watch::Sender<Witnessed>,
}

impl Rounds {
    async fn run(mut self, mut answers: mpsc::Receiver<Cosigned>, mut stopped: watch::Receiver<bool>) {
        let mut news = self.published.subscribe();
        news.mark_changed();
        let mut last: Option<Instant> = None;
        loop {
            let late = last.filter(|_| self.is_behind()).map(|last| last + AT_LATEST);
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                Some(cosigned) = answers.recv() => self.add(cosigned),
                _ = news.changed() => {
                    if self.is_behind() && last.is_none_or(|last| last.elapsed() >= EVERY) {
                        self.offer_newest();
                        last = Some(Instant::now());
                    }
                }
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    self.offer_newest();
                    last = Some(Instant::now());
                }
            }
        }
    }

    /// Whether there is something newer than what witnesses were given.
    fn is_behind(&self) -> bool {
        let offered = self.offers.back().map(Offer::size);
        self.published
            .borrow()
            .as_ref()
            .is_some_and(|published| offered.is_none_or(|size| size < published.size))
    }

    fn offer_newest(&mut self) {
        let Some(published) = self.published.borrow().clone() else { return };
        let signed = match SignedCheckpoint::parse(published.note.as_bytes()) {
            Ok(signed) => Arc::new(signed),
            Err(error) => {
                tracing::error!(%error, "a published checkpoint is none");
                return;
            }
        };
        if self.offers.len() == OFFERED_MAX {
            self.offers.pop_front();
        }
        self.offers.push_back(Offer { signed: Arc::clone(&signed), lines: BTreeMap::new() });
        self.offer.send_replace(Some(signed));
    }

    fn add(&mut self, Cosigned { witness, size, line }: Cosigned) {
        let quorum = self.quorum;
        let newest_witnessed = self.offers.iter().rfind(|offer| offer.lines.len() >= quorum).map(Offer::size);
        // Who took so long that it was forgotten is too late for anybody.
        let Some(offer) = self.offers.iter_mut().find(|offer| offer.size() == size) else { return };
        // A note in which a key has two lines would be refused whole: a witness may not be one of the nodes.
        let same_key = |by: &SignatureLine| by.name() == line.name() && by.key_id() == line.key_id();
        if offer.signed.signatures().iter().any(same_key) {
            tracing::warn!(witness = %line.name(), "what is configured as a witness is one of the nodes");
            return;
        }
        offer.lines.insert(witness, line);
        let Some(note) = offer.note() else { return };
        if offer.lines.len() >= quorum && newest_witnessed.is_none_or(|newest| newest <= size) {
            self.witnessed.send_replace(Some(note.as_str().into()));
        }
        self.published.send_if_modified(|published| match published {
            Some(newest) if newest.size == size => {
                *newest = Arc::new(Published { note, ..newest.as_ref().clone() });
                true
            }
            _ => false,
        });
    }
}
