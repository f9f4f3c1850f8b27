//! Watching: leaves as they come, heads that prove them, and the ends of grants.
//!
//! Each watcher has a task of its own that reads the disk as far as the watcher takes what was read: nothing is
//! kept for it but a few messages, and no other part of the node waits for it. Who takes nothing for too long is cut
//! off with an error that says so, and can go on from where it was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_ledger::answer::HeadProof;
use chancery_ledger::authority::{Entry, Leaf};
use chancery_ledger::follow::{ENDS_MAX, EndMark};
use chancery_ledger::log::{Frontier, frontier_at};
use chancery_proto::v1::api;
use chancery_proto::v1::api::watch_event::Event;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::checks::Recent;
use crate::store::applied::{AppliedStore, AppliedView};

/// Messages sent ahead of a watcher that reads slowly.
const AHEAD_MAX: usize = 64;

/// Leaves read from the disk at once.
const LEAVES_AT_ONCE: usize = 64;

/// Watchers at once.
const WATCHERS_MAX: usize = 256;

/// How often a watcher is told a head, if the quorum is there: so old its proof may be.
const HEAD_EVERY: Duration = Duration::from_secs(1);

/// How long a round for a head may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of ends in one message; one end always fits.
const ENDS_SIZE_BYTES_MAX: usize = 256 * 1024;

/// Serves watchers.
#[derive(Clone)]
pub(super) struct Watchers {
    store: AppliedStore,
    recent: Arc<Recent>,
    places: Arc<Semaphore>,
    /// How long a watcher may take nothing.
    patience: Duration,
}

type Message = Result<api::WatchEvent, Status>;

/// Why a stream ends.
enum Gone {
    /// The watcher went, or the node stops.
    Quietly,
    /// It is told why.
    With(Status),
}

impl Watchers {
    /// Watchers of what is applied in `store`, who are cut off once they take nothing for `patience`.
    pub(super) fn new(store: AppliedStore, recent: Arc<Recent>, patience: Duration) -> Self {
        Self { store, recent, places: Arc::new(Semaphore::new(WATCHERS_MAX)), patience }
    }

    /// Streams what `asked` says, until the watcher goes or is cut off.
    pub(super) fn watch(
        &self,
        asked: api::WatchRequest,
    ) -> Result<impl Stream<Item = Message> + use<>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Status::unavailable("too many watch already"))?;
        let (events, queue) = mpsc::channel(AHEAD_MAX);
        // What a watcher that is cut off reads after what is in the queue already.
        let last: Arc<Mutex<Option<Status>>> = Arc::default();
        let session = Session {
            store: self.store.clone(),
            recent: Arc::clone(&self.recent),
            events,
            patience: self.patience,
            index: asked.from_index,
            ends: EndMark::default(),
            block: 0,
        };
        let ends = asked.ended_ms.map(|time_ms| EndMark { time_ms, index: asked.ended_index });
        tokio::spawn(session.run(ends, asked.with_frontier, Arc::clone(&last), place));
        let end = stream::once(async move { last.lock().unwrap_or_else(PoisonError::into_inner).take() });
        Ok(ReceiverStream::new(queue).map(Ok).chain(end.filter_map(|end| async { end.map(Err) })))
    }
}

/// One watcher.
struct Session {
    store: AppliedStore,
    recent: Arc<Recent>,
    events: mpsc::Sender<api::WatchEvent>,
    patience: Duration,
    /// The leaf that is due.
    index: u64,
    ends: EndMark,
    /// The newest block of which a leaf was sent.
    block: u64,
}

impl Session {
    async fn run(
        mut self,
        ends: Option<EndMark>,
        with_frontier: bool,
        last: Arc<Mutex<Option<Status>>>,
        _place: OwnedSemaphorePermit,
    ) {
        if let Err(Gone::With(status)) = self.stream(ends, with_frontier).await {
            tracing::info!(why = status.message(), "a watcher is cut off");
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        }
        // The queue closes with the session; its end is there before that.
    }

    async fn stream(&mut self, ends: Option<EndMark>, with_frontier: bool) -> Result<(), Gone> {
        let mut applied = self.store.block();
        self.wait_for_size(&mut applied, self.index).await?;
        self.ends = match ends {
            Some(ends) => ends,
            None => EndMark { time_ms: self.time_before().await?, index: u64::MAX },
        };
        if with_frontier {
            let frontier = self.frontier().await?;
            let (frontier, ended_ms) = (frontier.encode(), self.ends.time_ms);
            self.send(Event::Start(api::WatchStart { frontier, ended_ms })).await?;
        }
        loop {
            let size = applied_size(&mut applied, &self.store);
            self.send_leaves(size).await?;
            let due = Instant::now() + HEAD_EVERY;
            let proof = tokio::select! {
                proof = self.proof() => proof,
                () = self.events.closed() => return Err(Gone::Quietly),
            };
            if let Some(proof) = proof {
                self.wait_for_size(&mut applied, proof.head.log_size).await?;
                self.send_leaves(proof.head.log_size).await?;
                self.send_head(&proof).await?;
            }
            while Instant::now() < due {
                tokio::select! {
                    changed = applied.changed() => {
                        changed.map_err(|_| Gone::Quietly)?;
                        let size = applied_size(&mut applied, &self.store);
                        self.send_leaves(size).await?;
                    }
                    () = sleep_until(due) => {}
                    () = self.events.closed() => return Err(Gone::Quietly),
                }
            }
        }
    }

    /// A proven head at or after what was sent; none while there is no quorum.
    async fn proof(&self) -> Option<Arc<HeadProof>> {
        let within_ms = u64::try_from(HEAD_EVERY.as_millis()).unwrap_or(u64::MAX);
        let proof = self.recent.within(within_ms, self.block, Instant::now() + HEAD_PATIENCE).await;
        match proof {
            Ok(proof) if proof.head.log_size >= self.index => Some(proof),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "a watcher gets no head for now");
                None
            }
        }
    }

    async fn wait_for_size(&self, applied: &mut watch::Receiver<u64>, size: u64) -> Result<(), Gone> {
        while applied_size(applied, &self.store) < size {
            tokio::select! {
                changed = applied.changed() => changed.map_err(|_| Gone::Quietly)?,
                () = self.events.closed() => return Err(Gone::Quietly),
            }
        }
        Ok(())
    }

    /// Sends the leaves up to where the log has `size`.
    async fn send_leaves(&mut self, size: u64) -> Result<(), Gone> {
        while self.index < size {
            let (view, first) = (self.store.view(), self.index);
            let count = usize::try_from(size - first).unwrap_or(usize::MAX).min(LEAVES_AT_ONCE);
            let entries = crate::blocking::spawn(move || view.entries(first, count)).await;
            let entries = entries.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
            if entries.is_empty() {
                return Err(Gone::With(Status::data_loss("a leaf is missing")));
            }
            for entry in entries {
                let index = self.index;
                self.send(Event::Leaf(api::WatchLeaf { index, entry })).await?;
                self.index = index.saturating_add(1);
            }
        }
        // What was sent is of blocks up to the one that is applied: no older head has all of it.
        self.block = self.store.read_state(|state| state.head().block);
        Ok(())
    }

    /// Sends a head that proves what was sent, with the ends of grants up to its quorum's oldest clock: in several
    /// messages, if they are many.
    async fn send_head(&mut self, proof: &Arc<HeadProof>) -> Result<(), Gone> {
        let clocks = proof.statements.iter().filter_map(|statement| Some(statement.fresh?.clock_ms));
        let until = EndMark { time_ms: clocks.min().unwrap_or(0), index: u64::MAX };
        loop {
            let (view, after, head) = (self.store.view(), self.ends, Arc::clone(proof));
            let found = crate::blocking::spawn(move || ends(&view, after, until, &head)).await;
            let (ended, last) = found.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
            let complete = last.is_none();
            let to_wire = |leaf: Leaf| chancery_proto::v1::ProvenLeaf {
                index: leaf.index,
                entry: leaf.entry,
                proof: leaf.proof.iter().map(|hash| hash.0.to_vec()).collect(),
            };
            let (head, statements, head_statements) = proof.to_wire();
            let ended = ended.into_iter().map(to_wire).collect();
            let told = api::WatchHead { head, statements, head_statements, ended, complete };
            self.send(Event::Head(told)).await?;
            self.ends = self.ends.max(last.unwrap_or(until));
            if complete {
                return Ok(());
            }
        }
    }

    /// The ledger time of the leaf before the first one: no grant that came later had ended by then.
    async fn time_before(&self) -> Result<u64, Gone> {
        let (view, index) = (self.store.view(), self.index);
        let found = crate::blocking::spawn(move || time_before(&view, index)).await;
        found.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
    }

    async fn frontier(&self) -> Result<Frontier, Gone> {
        let (view, size) = (self.store.view(), self.index);
        let found = crate::blocking::spawn(move || frontier_at(&view, size)).await;
        found.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        match timeout(self.patience, self.events.send(api::WatchEvent { event: Some(event) })).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::Quietly),
            Err(_) => Err(Gone::With(Status::resource_exhausted(format!(
                "the watcher took nothing for {} ms; it can go on from leaf {}",
                self.patience.as_millis(),
                self.index
            )))),
        }
    }
}

/// How long the log is, as far as it is applied.
fn applied_size(applied: &mut watch::Receiver<u64>, store: &AppliedStore) -> u64 {
    applied.mark_unchanged();
    store.read_state(|state| state.head().log_size)
}

/// The grants whose time ended after `after` up to `until`, as leaves in the log of the proven head; and the last
/// of them, if there are more.
fn ends(
    view: &AppliedView,
    after: EndMark,
    until: EndMark,
    proof: &HeadProof,
) -> Result<(Vec<Leaf>, Option<EndMark>), String> {
    let log_size = proof.head.log_size;
    let (mut leaves, mut size_bytes, mut last) = (Vec::new(), 0, None);
    for found in view.ends_after(after).map_err(|error| error.to_string())? {
        let end = found.map_err(|error| error.to_string())?;
        if end > until {
            break;
        }
        // A later block's: it was over when it came, and is told with its leaf.
        if end.index >= log_size {
            continue;
        }
        if leaves.len() == ENDS_MAX || size_bytes > ENDS_SIZE_BYTES_MAX {
            return Ok((leaves, last));
        }
        let missing = || format!("leaf {} is missing", end.index);
        let entry = view.entry(end.index).map_err(|error| error.to_string())?.ok_or_else(missing)?;
        let proof = view.prove_inclusion(end.index, log_size).map_err(|error| error.to_string())?;
        size_bytes += entry.len() + 32 * proof.len();
        leaves.push(Leaf { index: end.index, entry, proof });
        last = Some(end);
    }
    Ok((leaves, None))
}

fn internal(why: &dyn std::fmt::Display) -> Gone {
    Gone::With(Status::internal(why.to_string()))
}

fn time_before(view: &AppliedView, index: u64) -> Result<u64, String> {
    let Some(before) = index.checked_sub(1) else { return Ok(0) };
    let entry = view.entry(before).map_err(|error| error.to_string())?;
    let Some(entry) = entry else { return Ok(0) };
    match Entry::decode(&entry).map_err(|error| error.to_string())? {
        Entry::Command { time_ms, .. } | Entry::State { time_ms, .. } => Ok(time_ms),
    }
}
