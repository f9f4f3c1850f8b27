//! Watching the log: every leaf once and in order, heads that prove them, and the ends of grants.
//!
//! A [`Watch`] goes on at another node when a stream breaks, and another process goes on from its
//! [`ResumeToken`], whatever happened meanwhile: no leaf is missed and none comes twice. Leaves are a node's word
//! until the next [`Event::Head`]; then a quorum signed a log that begins with them, or the watch fails.

use std::collections::VecDeque;
use std::time::Duration;

use chancery_ledger::answer::HeadProof;
use chancery_ledger::authority::{ENTRY_SIZE_BYTES_MAX, Leaf};
use chancery_ledger::follow::{
    Change, ENDS_MAX, EndMark, FollowError, Follower, GrantEnd, ProvenHead, ResumeToken,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, RosterId, decode_statements};
use chancery_ledger::log::Frontier;
use chancery_ledger::trust::{Newest, Trust};
use chancery_proto::v1::ProvenLeaf;
use chancery_proto::v1::api::watch_event::Event as Message;
use chancery_proto::v1::api::{WatchEvent, WatchHead, WatchRequest};
use tokio::time::Instant;
use tonic::{Code, Streaming};

use crate::Ledger;
use crate::check::list;
use crate::endpoints::{Failure, Try, call};
use crate::proven::Known;
use crate::receipt::{ReceiptError, hashes};

/// Longest event, in bytes: a head's statements, and ends up to 256 KiB and one more.
const EVENT_SIZE_BYTES_MAX: usize = 512 * 1024 + ENTRY_SIZE_BYTES_MAX;

/// Pause before a stream that broke is replaced.
const PAUSE: Duration = Duration::from_millis(100);

/// What a watcher is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The next leaf. It is proven by the next head.
    Change(Box<Change>),
    /// The time of a grant ended. That it did is proven; that no other did, the node says.
    Ended(GrantEnd),
    /// All leaves so far are those of this head's log, and nothing is missing that was acknowledged before the oldest
    /// clock of its quorum, less the clocks' bound. It comes about once a second, as long as there is a quorum.
    Head(ProvenHead),
}

/// Why watching ended. It may be begun again: [`Watch::next`] goes on itself, unless it is said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No node streams.
    #[error("no node streams: {}", list(.tries))]
    Unavailable {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// A node sent what does not follow, or what is not proven. Leaves since the last head are not to be believed;
    /// begin again from [`Watch::proven`].
    #[error("{endpoint}: {source}")]
    Untrue {
        /// Which.
        endpoint: String,
        /// What is wrong.
        source: Box<FollowError>,
    },
    /// A node sent a head that cannot be proven here: its rosters are not, or it rests on a node that was convicted.
    #[error("{endpoint}: {source}")]
    Unproven {
        /// Which.
        endpoint: String,
        /// What is wrong.
        source: Box<Failure>,
    },
    /// Nothing was taken for so long that the node ended the stream. The next call goes on where it was.
    #[error("{endpoint}: cut off for being slow: {message}")]
    TooSlow {
        /// Which.
        endpoint: String,
        /// The node's words.
        message: String,
    },
    /// The token is of another ledger.
    #[error("the resume token is of another ledger")]
    OtherLedger,
}

/// The log as it goes on. Nothing is fetched ahead but what the connection's window holds.
#[derive(Debug)]
pub struct Watch {
    ledger: Ledger,
    follower: Follower,
    /// At the last head.
    proven: ResumeToken,
    /// The right edge is not known yet: a stream says it first.
    from_index: Option<u64>,
    /// No head may be of a roster that was replaced before this stream was opened. What else may not precede what
    /// was told before, the size of the log says.
    known: Known,
    stream: Option<Stream>,
    /// Came, and is not wholly verified yet.
    came: Option<Message>,
    /// Verified, and not yet told: of one message.
    told_next: VecDeque<Event>,
    /// Streams that broke since the last event.
    broken: Vec<Try>,
}

#[derive(Debug)]
struct Stream {
    number: usize,
    endpoint: String,
    events: Streaming<WatchEvent>,
}

impl Ledger {
    /// Watches the log from leaf `from_index` on, and ends of grants from the ledger time of the leaf before it on.
    ///
    /// # Errors
    /// No node streams.
    pub async fn watch(&self, from_index: u64) -> Result<Watch, WatchError> {
        let from = Some(from_index).filter(|from| *from > 0);
        Watch::open(self, Follower::new(self.trust().ledger), from).await
    }

    /// Goes on where `token` was taken, at whichever node, by whichever process.
    ///
    /// # Errors
    /// No node streams, or the token is of another ledger.
    pub async fn watch_from(&self, token: ResumeToken) -> Result<Watch, WatchError> {
        if token.ledger != self.trust().ledger {
            return Err(WatchError::OtherLedger);
        }
        Watch::open(self, Follower::resume(token), None).await
    }
}

impl Watch {
    async fn open(ledger: &Ledger, follower: Follower, from_index: Option<u64>) -> Result<Self, WatchError> {
        let proven = follower.token();
        let roster = RosterId { block: 0, digest: Hash::ZERO };
        let known = Known { newest: Newest { block: 0, roster }, trust: ledger.trust() };
        let mut watch = Self {
            ledger: ledger.clone(),
            follower,
            proven,
            from_index,
            known,
            stream: None,
            came: None,
            told_next: VecDeque::new(),
            broken: Vec::new(),
        };
        watch.stream = Some(watch.connect().await?);
        Ok(watch)
    }

    /// What comes next, once there is something. When a stream breaks, another takes its place; a connection that is
    /// dead is noticed. If the future is dropped, nothing is lost.
    ///
    /// # Errors
    /// No node streams, or one sent what is not true; the next call tries again.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            if let Some(event) = self.told_next.pop_front() {
                self.tell(&event);
                return Ok(event);
            }
            if let Some(message) = self.came.clone() {
                let accepted = self.accept(message).await;
                self.came = None;
                accepted?;
                self.broken.clear();
                continue;
            }
            if self.stream.is_none() {
                self.stream = Some(self.connect().await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            let failure = match stream.events.message().await {
                Ok(Some(WatchEvent { event: Some(message) })) => {
                    self.came = Some(message);
                    continue;
                }
                Ok(Some(WatchEvent { event: None })) => Failure::Unknown("an empty event".into()),
                Ok(None) => Failure::Failed { code: Code::Ok, message: "the stream ended".into() },
                Err(status) => Failure::of(&status),
            };
            let Some(Stream { endpoint, .. }) = self.stream.take() else { continue };
            if let Failure::Failed { code: Code::ResourceExhausted, message } = failure {
                return Err(WatchError::TooSlow { endpoint, message });
            }
            self.broken.push(Try { endpoint, failure });
            if self.broken.len() >= self.ledger.options().tries_max {
                return Err(WatchError::Unavailable { tries: std::mem::take(&mut self.broken) });
            }
            // A node that ends every stream is not asked in a tight loop.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The next leaf, whatever else comes before it.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn next_change(&mut self) -> Result<Change, WatchError> {
        loop {
            if let Event::Change(change) = self.next().await? {
                return Ok(*change);
            }
        }
    }

    /// Index of the leaf that comes next.
    pub fn next_index(&self) -> u64 {
        self.from_index.unwrap_or_else(|| self.follower.next_index())
    }

    /// From where to go on: after what was told last. None while nothing is known of the log before the first leaf.
    pub fn token(&self) -> Option<ResumeToken> {
        self.from_index.is_none().then(|| self.follower.token())
    }

    /// From where to go on after the last head: everything up to there is proven. Before the first head, where the
    /// watch began, or the log's beginning if nothing was known of what was before.
    pub const fn proven(&self) -> &ResumeToken {
        &self.proven
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Change(_) => {}
            Event::Ended(end) => self.follower.told(end),
            Event::Head(head) => {
                self.follower.told_until(head);
                self.proven = self.follower.token();
            }
        }
    }

    async fn accept(&mut self, message: Message) -> Result<(), WatchError> {
        match message {
            Message::Start(start) => {
                let frontier = Frontier::decode(&start.frontier).ok();
                let due = self.from_index.take();
                match frontier.filter(|frontier| Some(frontier.size()) == due) {
                    Some(frontier) => {
                        let ends = EndMark { time_ms: start.ended_ms, index: u64::MAX };
                        self.follower = Follower::since(self.ledger.trust().ledger, frontier, ends);
                        Ok(())
                    }
                    None => {
                        self.from_index = due;
                        let due = self.next_index();
                        Err(self.untrue(FollowError::NotTheNext { found: 0, due }))
                    }
                }
            }
            Message::Leaf(leaf) => match self.follower.leaf(leaf.index, &leaf.entry) {
                Ok(change) => {
                    self.told_next.push_back(Event::Change(Box::new(change)));
                    Ok(())
                }
                Err(error) => Err(self.untrue(error)),
            },
            Message::Head(head) => self.accept_head(&head).await,
        }
    }

    async fn accept_head(&mut self, message: &WatchHead) -> Result<(), WatchError> {
        let Some(number) = self.stream.as_ref().map(|stream| stream.number) else { return Ok(()) };
        let ledger = self.ledger.clone();
        let time = ledger.options().read_timeout;
        let Some(attempt) = ledger.endpoints().attempt(number, time) else { return Ok(()) };
        let (proof, leaves) = match decode(message) {
            Ok(decoded) => decoded,
            Err(error) => return Err(self.unproven(error.into())),
        };
        let deadline = Instant::now() + time;
        let verify = |trust: &Trust| proof.verify(trust);
        let ((_, _), trust) = match ledger.proven(&attempt, deadline, &self.known, &proof, verify).await {
            Ok(proven) => (proven, ledger.trust()),
            Err(failure) => return Err(self.unproven(failure)),
        };
        let proven = self.follower.head(&trust.since_genesis(), &proof);
        let ends = proven.and_then(|proven| Ok((proven, self.follower.ends_with(&proven, &leaves)?)));
        let (proven, ends) = match ends {
            Ok(verified) => verified,
            Err(error) => return Err(self.untrue(error)),
        };
        self.told_next.extend(ends.into_iter().map(Event::Ended));
        if message.complete {
            self.told_next.push_back(Event::Head(proven));
        }
        Ok(())
    }

    /// Streams from the next leaf on.
    async fn connect(&mut self) -> Result<Stream, WatchError> {
        self.known.trust = self.ledger.trust();
        let ends = self.follower.ends();
        let is_new = self.from_index.is_some();
        let asked = WatchRequest {
            from_index: self.next_index(),
            ended_ms: (!is_new).then_some(ends.time_ms),
            ended_index: if is_new { 0 } else { ends.index },
            with_frontier: is_new,
        };
        let mut tries = self.ledger.tries(Instant::now() + self.ledger.options().read_timeout);
        while let Some(attempt) = tries.next().await {
            let mut client = attempt.endpoint.client(EVENT_SIZE_BYTES_MAX);
            // Without a deadline of its own: it ends the whole stream.
            match call(attempt.time, client.watch(asked)).await {
                Ok(events) => {
                    let (number, endpoint) = (attempt.number(), attempt.endpoint.name.clone());
                    tries.served(&attempt);
                    return Ok(Stream { number, endpoint, events });
                }
                Err(failure) => tries.failed(&attempt, failure),
            }
        }
        Err(WatchError::Unavailable { tries: tries.into_failed() })
    }

    /// The stream is not gone on with.
    fn untrue(&mut self, source: FollowError) -> WatchError {
        WatchError::Untrue { endpoint: self.leave(), source: Box::new(source) }
    }

    fn unproven(&mut self, failure: Failure) -> WatchError {
        WatchError::Unproven { endpoint: self.leave(), source: Box::new(failure) }
    }

    fn leave(&mut self) -> String {
        self.stream.take().map(|stream| stream.endpoint).unwrap_or_default()
    }
}

/// A head with what proves it, and the leaves of grants that ended.
fn decode(message: &WatchHead) -> Result<(HeadProof, Vec<Leaf>), ReceiptError> {
    let proof = HeadProof {
        head: Head::decode(&message.head)?,
        statements: decode_statements::<ReceiptError>(&message.statements)?,
        head_statements: decode_statements::<ReceiptError>(&message.head_statements)?,
    };
    if message.ended.len() > ENDS_MAX {
        return Err(ReceiptError::Bounds("too many ends of grants"));
    }
    let leaf = |leaf: &ProvenLeaf| {
        Ok(Leaf { index: leaf.index, entry: leaf.entry.clone(), proof: hashes(&leaf.proof)? })
    };
    let leaves = message.ended.iter().map(leaf).collect::<Result<_, ReceiptError>>()?;
    Ok((proof, leaves))
}
