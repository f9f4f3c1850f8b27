//! Watching the log: leaves as they come, from one index on, without a gap.

use std::time::Duration;

use chancery_ledger::authority::{ENTRY_SIZE_BYTES_MAX, Entry};
use chancery_proto::v1::api::{WatchEvent, WatchRequest};
use tokio::time::Instant;
use tonic::{Code, Streaming};

use crate::Ledger;
use crate::check::list;
use crate::endpoints::{Failure, Try, call};

/// Longest event, in bytes.
const EVENT_SIZE_BYTES_MAX: usize = ENTRY_SIZE_BYTES_MAX + 64;

/// Pause before a stream that broke is replaced.
const PAUSE: Duration = Duration::from_millis(100);

/// A leaf, as a node says. It is proven only by [`Ledger::leaf_in`] a head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its index.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
}

/// Why watching ended. It may be begun again from [`Watch::next_index`].
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No node streams.
    #[error("no node streams: {}", list(.tries))]
    Unavailable {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// A node sent what is no leaf, or not the next one.
    #[error("{endpoint}: what it sent is not leaf {index}")]
    NotTheNext {
        /// Which.
        endpoint: String,
        /// The leaf that was due.
        index: u64,
    },
}

/// Leaves as they come. Nothing is fetched ahead but what the connection's window holds.
#[derive(Debug)]
pub struct Watch {
    ledger: Ledger,
    next_index: u64,
    stream: Option<Stream>,
    /// Streams that broke since the last leaf.
    broken: Vec<Try>,
}

#[derive(Debug)]
struct Stream {
    endpoint: String,
    events: Streaming<WatchEvent>,
}

impl Ledger {
    /// Watches the log from leaf `from_index` on.
    ///
    /// # Errors
    /// No node streams.
    pub async fn watch(&self, from_index: u64) -> Result<Watch, WatchError> {
        let stream = Some(open(self, from_index).await?);
        Ok(Watch { ledger: self.clone(), next_index: from_index, stream, broken: Vec::new() })
    }
}

impl Watch {
    /// The next leaf, once there is one: an idle log has none for as long as it is idle, while a connection
    /// that is dead is noticed. When a stream breaks, another takes its place. If the future is dropped, no
    /// leaf is lost.
    ///
    /// # Errors
    /// No node streams, or one sent something else; the next call tries again.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(open(&self.ledger, self.next_index).await?),
            };
            let failure = match stream.events.message().await {
                Ok(Some(event)) => return self.accept(&event),
                Ok(None) => Failure::Failed { code: Code::Ok, message: "the stream ended".into() },
                Err(status) => Failure::of(&status),
            };
            if let Some(Stream { endpoint, .. }) = self.stream.take() {
                self.broken.push(Try { endpoint, failure });
            }
            if self.broken.len() >= self.ledger.options().tries_max {
                return Err(WatchError::Unavailable { tries: std::mem::take(&mut self.broken) });
            }
            // A node that ends every stream is not asked in a tight loop.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Index of the leaf that comes next.
    pub const fn next_index(&self) -> u64 {
        self.next_index
    }

    fn accept(&mut self, event: &WatchEvent) -> Result<Event, WatchError> {
        let index = self.next_index;
        let Some(entry) = Entry::decode(&event.entry).ok().filter(|_| event.index == index) else {
            let endpoint = self.stream.take().map(|stream| stream.endpoint).unwrap_or_default();
            return Err(WatchError::NotTheNext { endpoint, index });
        };
        self.next_index = index.saturating_add(1);
        self.broken.clear();
        Ok(Event { index, entry })
    }
}

async fn open(ledger: &Ledger, from_index: u64) -> Result<Stream, WatchError> {
    let mut tries = ledger.tries(Instant::now() + ledger.options().read_timeout);
    while let Some(attempt) = tries.next().await {
        let mut client = attempt.endpoint.client(EVENT_SIZE_BYTES_MAX);
        // Without a deadline of its own: it ends the whole stream.
        match call(attempt.time, client.watch(WatchRequest { from_index })).await {
            Ok(events) => {
                tries.served(&attempt);
                return Ok(Stream { endpoint: attempt.endpoint.name.clone(), events });
            }
            Err(failure) => tries.failed(&attempt, failure),
        }
    }
    Err(WatchError::Unavailable { tries: tries.into_failed() })
}
