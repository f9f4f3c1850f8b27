//! Entries that are verified on several threads, ahead of who takes them, and given out in their order.
//!
//! One thread reads entries and cuts them into portions, others verify portions, and what they made is taken in
//! the order of the log. Every queue between them is bounded: who is too fast waits.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::vec;

use chancery_ledger::authority::{Finding as LogFinding, VerifiedEntry};
use chancery_ledger::command::{LedgerId, VerifiedSignatures};

use super::AuditError;

/// Entries of one portion: enough that handing it over costs nothing, and so few that their row is no large allocation,
/// at each of which glibc tidies up all its small ones.
const PORTION_ENTRIES_MAX: usize = 32;

/// Bytes of one portion, but for its last entry.
const PORTION_BYTES_MAX: usize = 256 << 10;

/// Portions under way, for each thread that verifies.
const PORTIONS_PER_THREAD: usize = 8;

/// A run of entries that is still to be verified.
struct Portion<E> {
    first: u64,
    entries: Vec<Vec<u8>>,
    done: SyncSender<Verified<E>>,
}

/// A run of entries as far as it is good, and what is wrong with the next one.
struct Verified<E> {
    entries: Vec<VerifiedEntry>,
    error: Option<Box<AuditError<E>>>,
}

/// Verified entries, in their order.
pub(super) struct Ahead<'a, E> {
    portions: &'a Receiver<Receiver<Verified<E>>>,
    now: vec::IntoIter<VerifiedEntry>,
    error: Option<Box<AuditError<E>>>,
}

/// Has `take` take the first `wanted` of `entries`, of which the first has the index `first`, as they are verified by
/// `threads` threads. They have all ended when this returns.
pub(super) fn verified<E: Send, T>(
    ledger: LedgerId,
    first: u64,
    wanted: u64,
    entries: impl Iterator<Item = Result<Vec<u8>, E>> + Send,
    threads: usize,
    take: impl FnOnce(Ahead<'_, E>) -> T,
) -> T {
    let threads = threads.max(1);
    let under_way = threads.saturating_mul(PORTIONS_PER_THREAD);
    let (to_verify, waiting) = sync_channel(under_way);
    let (in_order, portions) = sync_channel(under_way);
    let waiting = Mutex::new(waiting);
    let batches = VerifiedSignatures::default();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| verify_portions(ledger, &waiting, &batches));
        }
        scope.spawn(move || read(first, wanted, entries, &to_verify, &in_order));
        let taken = take(Ahead { portions: &portions, now: Vec::new().into_iter(), error: None });
        // Whoever waits to hand something over learns that nobody takes it.
        drop(portions);
        taken
    })
}

impl<E> Ahead<'_, E> {
    /// The next entry; `None` if there is no further one.
    pub(super) fn next_entry(&mut self) -> Result<Option<VerifiedEntry>, AuditError<E>> {
        loop {
            if let Some(entry) = self.now.next() {
                return Ok(Some(entry));
            }
            if let Some(error) = self.error.take() {
                return Err(*error);
            }
            let Ok(portion) = self.portions.recv() else { return Ok(None) };
            let Verified { entries, error } = portion.recv().map_err(|_| AuditError::Thread)?;
            self.now = entries.into_iter();
            self.error = error;
        }
    }
}

/// Cuts the entries into portions, and hands each to those who verify, and its place to who takes it.
fn read<E>(
    first: u64,
    wanted: u64,
    entries: impl Iterator<Item = Result<Vec<u8>, E>>,
    to_verify: &SyncSender<Portion<E>>,
    in_order: &SyncSender<Receiver<Verified<E>>>,
) {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut entries = entries.take(wanted);
    let mut first = first;
    loop {
        let (mut portion, mut bytes, mut failed) = (Vec::with_capacity(PORTION_ENTRIES_MAX), 0, None);
        while portion.len() < PORTION_ENTRIES_MAX && bytes < PORTION_BYTES_MAX {
            match entries.next() {
                Some(Ok(entry)) => {
                    bytes += entry.len();
                    portion.push(entry);
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        let ends = portion.is_empty();
        let (done, place) = sync_channel(1);
        let next = first.saturating_add(portion.len() as u64);
        if !ends {
            if to_verify.send(Portion { first, entries: portion, done }).is_err()
                || in_order.send(place).is_err()
            {
                return;
            }
            first = next;
        }
        if let Some(error) = failed {
            let (done, place) = sync_channel(1);
            let error = Some(Box::new(AuditError::Source(error)));
            // If nobody takes it, nobody wants to know.
            let _ = done.send(Verified { entries: Vec::new(), error });
            let _ = in_order.send(place);
            return;
        }
        if ends {
            return;
        }
    }
}

fn verify_portions<E>(ledger: LedgerId, waiting: &Mutex<Receiver<Portion<E>>>, batches: &VerifiedSignatures) {
    loop {
        // One waits for the next portion, the others for their turn to.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Portion { first, entries, done }) = next else { return };
        // If nobody takes it, the audit has ended.
        let _ = done.send(verify(ledger, first, entries, batches));
    }
}

fn verify<E>(
    ledger: LedgerId,
    first: u64,
    entries: Vec<Vec<u8>>,
    batches: &VerifiedSignatures,
) -> Verified<E> {
    let mut verified = Vec::with_capacity(entries.len());
    for (index, bytes) in (first..).zip(entries) {
        match VerifiedEntry::verify(ledger, bytes, batches) {
            Ok(entry) => verified.push(entry),
            Err(fault) => {
                let finding = LogFinding::Entry { index, fault };
                let error = Some(Box::new(AuditError::Finding((&finding).into())));
                return Verified { entries: verified, error };
            }
        }
    }
    Verified { entries: verified, error: None }
}
