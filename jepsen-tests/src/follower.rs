//! Followers of the log: each watches it through all faults, breaks off now and then, and goes on from its token's
//! text over another connection; some read slowly. What one was told in all must be the log, every leaf once, and the
//! end of every grant that ended, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chancery_client::chancery_ledger::follow::{GrantEnd, ResumeToken};
use chancery_client::{Event, Ledger, Options, Watch, WatchError};
use tokio::time::timeout;

use crate::client::options;
use crate::cluster::Cluster;
use crate::fault::HarnessError;
use crate::seed::Choices;

/// How long a follower waits for an event before it looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of 1,000 events, after how many a follower breaks off.
const BREAKS: u64 = 40;

/// Of 1,000 events, after how many a slow follower takes nothing for a while,
const STOPS: u64 = 4;

/// and for how long, in milliseconds.
const STOP_MS: (u64, u64) = (500, 4_000);

/// What one follower was told.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// The node that it was bound to, if it followed one only.
    pub node: Option<u64>,
    /// Index and bytes of each leaf, in the order in which they came, without what a head did not bear out because the
    /// follower had to go back to the one before.
    pub leaves: Vec<(u64, Vec<u8>)>,
    /// Of these, grants that had ended when they came.
    pub ended_before: Vec<u64>,
    /// The ends of grants that it was told, in that order, likewise.
    pub ends: Vec<GrantEnd>,
    /// The ledger time up to which all ends were told.
    pub ended_ms: u64,
    /// Heads that proved what came before them.
    pub heads: u64,
    /// How often it went on from a token.
    pub resumed: u64,
    /// How often a node cut it off for being slow.
    pub cut_off: u64,
    /// What a node sent that was not true.
    pub untrue: Vec<String>,
}

/// One follower, and over which connections it goes on.
pub struct Follower {
    node: Option<u64>,
    slow: bool,
    connections: Vec<Ledger>,
    choices: Choices,
    until: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// A follower of one node or of all, which may read slowly, over connections that it shares with nobody. It ends once `stop` is set and
    /// it has as many leaves as `until` says, proven.
    ///
    /// # Errors
    /// A context cannot be used.
    pub async fn connect(
        cluster: &Cluster,
        (node, slow): (Option<u64>, bool),
        choices: Choices,
        until: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, HarnessError> {
        // Where members change, nobody may be there in a node's place in the end.
        let node = node.filter(|_| !cluster.members_change());
        let mut connections = Vec::new();
        for _ in 0..2 {
            // Each stream that breaks is a try, and they break all the time.
            let options = Options { tries_max: 1_000, ..options() };
            connections.push(cluster.connect("gate", node, options).await?);
        }
        Ok(Self { node, slow, connections, choices, until, stop })
    }

    /// Follows to the end.
    pub async fn follow(mut self) -> Followed {
        let mut followed = Followed { node: self.node, ..Followed::default() };
        let mut watch: Option<Watch> = None;
        let mut token: Option<ResumeToken> = None;
        let mut proven = 0;
        while !self.is_over(proven) {
            let Some(following) = &mut watch else {
                watch = self.begin(token.as_ref(), &mut followed).await;
                continue;
            };
            let Ok(event) = timeout(LOOK_EVERY, following.next()).await else { continue };
            match event {
                Ok(Event::Change(change)) => {
                    followed.leaves.push((change.index, change.entry.encode()));
                    followed.ended_before.extend(change.ended.then_some(change.index));
                }
                Ok(Event::Ended(end)) => followed.ends.push(end),
                Ok(Event::Head(head)) => {
                    proven = head.head.log_size;
                    followed.heads += 1;
                    followed.ended_ms = followed.ended_ms.max(head.freshness.clock_min_ms);
                }
                // What came since the last head counts no more.
                Err(error @ (WatchError::Untrue { .. } | WatchError::Unproven { .. })) => {
                    if matches!(error, WatchError::Untrue { .. }) {
                        followed.untrue.push(error.to_string());
                    }
                    let back = following.proven().clone();
                    let (size, ends) = (back.frontier.size(), back.ends);
                    followed.leaves.retain(|(index, _)| *index < size);
                    followed.ended_before.retain(|index| *index < size);
                    let known = |end: &GrantEnd| (end.not_after_ms, end.index) <= (ends.time_ms, ends.index);
                    followed.ends.retain(known);
                    (token, watch) = (Some(back), None);
                    continue;
                }
                Err(WatchError::TooSlow { .. }) => followed.cut_off += 1,
                Err(WatchError::Unavailable { .. }) => {}
                Err(error @ WatchError::OtherLedger) => followed.untrue.push(error.to_string()),
            }
            if self.slow && !self.stop.load(Ordering::SeqCst) && self.choices.chance(STOPS) {
                let stop_ms = self.choices.between(STOP_MS.0, STOP_MS.1);
                tokio::time::sleep(Duration::from_millis(stop_ms)).await;
            }
            if self.choices.chance(BREAKS) {
                // As a process that ends keeps it: by its text.
                token = following.token().and_then(|token| token.to_string().parse().ok());
                watch = None;
            }
        }
        followed
    }

    fn is_over(&self, proven: u64) -> bool {
        self.stop.load(Ordering::SeqCst) && proven >= self.until.load(Ordering::SeqCst)
    }

    async fn begin(&mut self, token: Option<&ResumeToken>, followed: &mut Followed) -> Option<Watch> {
        self.connections.rotate_left(1);
        let connection = self.connections.first()?;
        let watch = match token {
            Some(token) => connection.watch_from(token.clone()).await,
            None => connection.watch(0).await,
        };
        match watch {
            Ok(watch) => {
                followed.resumed += u64::from(token.is_some());
                Some(watch)
            }
            Err(_) => {
                tokio::time::sleep(LOOK_EVERY).await;
                None
            }
        }
    }
}
