//! The queue of a round: who waits for the next one, and when enough do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::{CheckError, QUEUE_MAX, Waiting};

/// Where who waits for a round stands.
pub(super) fn queue() -> (Queue, Next) {
    let (to, waiting) = mpsc::channel(QUEUE_MAX);
    let enough = Arc::new(Enough { count: AtomicUsize::new(usize::MAX), reached: Notify::new() });
    (Queue { to, enough: Arc::clone(&enough) }, Next { waiting, enough })
}

/// The way into it.
#[derive(Clone)]
pub(super) struct Queue {
    to: mpsc::Sender<Waiting>,
    enough: Arc<Enough>,
}

/// The way out of it.
pub(super) struct Next {
    waiting: mpsc::Receiver<Waiting>,
    enough: Arc<Enough>,
}

/// How many end a pause.
struct Enough {
    /// `usize::MAX` while there is none.
    count: AtomicUsize,
    reached: Notify,
}

impl Queue {
    /// Waits for a round that starts after this is called.
    ///
    /// # Errors
    /// [`CheckError::Busy`].
    pub(super) fn push(&self, waiting: Waiting) -> Result<(), CheckError> {
        self.to.try_send(waiting).map_err(|_| CheckError::Busy)?;
        let count = self.to.max_capacity() - self.to.capacity();
        if count >= self.enough.count.load(Ordering::SeqCst) {
            self.enough.reached.notify_one();
        }
        Ok(())
    }
}

impl Next {
    /// All who wait now, as soon as somebody does; none when nobody can any more.
    pub(super) async fn all(&mut self) -> Vec<Waiting> {
        let mut all = Vec::new();
        self.waiting.recv_many(&mut all, QUEUE_MAX).await;
        all
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Who came meanwhile.
    pub(super) fn late(&mut self) -> Option<Waiting> {
        self.waiting.try_recv().ok()
    }

    /// Takes nobody until so many wait, and not for longer than `until`.
    pub(super) async fn pause(&self, enough: usize, until: Instant) {
        // First said, then counted: who comes in between is counted here, or sees that he is enough.
        self.enough.count.store(enough, Ordering::SeqCst);
        while self.waiting.len() < enough {
            // What an earlier pause was told ends this one for no more than a look.
            if timeout_at(until, self.enough.reached.notified()).await.is_err() {
                break;
            }
        }
        self.enough.count.store(usize::MAX, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(10);

    fn one() -> Waiting {
        Waiting::Head { reply: oneshot::channel().0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_when_enough_wait_and_else_when_it_is_over() {
        let (queue, mut next) = queue();
        let began = Instant::now();
        next.pause(1, began + SHORT).await;
        assert!(began.elapsed() >= SHORT, "nobody came");

        let began = Instant::now();
        let arrivals = async {
            for _ in 0..3 {
                tokio::time::sleep(SHORT).await;
                assert!(queue.push(one()).is_ok());
            }
        };
        let ((), ()) = tokio::join!(next.pause(3, began + LONG), arrivals);
        assert!((SHORT * 3..SHORT * 5).contains(&began.elapsed()), "the third ends it");

        // They still wait, and are enough: there is nothing to pause for.
        let began = Instant::now();
        next.pause(3, began + LONG).await;
        assert!(began.elapsed() < SHORT);
        // What the last pause was told does not end one in which more are to wait.
        next.pause(4, began + SHORT).await;
        assert!(began.elapsed() >= SHORT);
        assert_eq!(next.all().await.len(), 3, "a pause takes nobody");
        drop(queue);
        assert!(next.all().await.is_empty());
    }

    #[tokio::test]
    async fn no_more_wait_than_one_round_takes() {
        let (queue, mut next) = queue();
        for _ in 0..QUEUE_MAX {
            assert!(queue.push(one()).is_ok());
        }
        assert!(matches!(queue.push(one()), Err(CheckError::Busy)));
        assert_eq!(next.all().await.len(), QUEUE_MAX);
        assert!(queue.push(one()).is_ok());
    }
}
