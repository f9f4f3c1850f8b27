//! What must hold at every moment, and what the clients were told.
//!
//! After every virtual millisecond: one leader a term; equal log ids stand for equal logs; one committed entry at
//! each index; equal block, equal head; no node's (b, roster) falls below a committed entry that it held; a
//! vote never goes back. At the end, nothing that was acknowledged is lost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_node::raft::Raft;
use chancery_node::raft::types::{LogId, Vote};
use chancery_node::store::RaftLog;
use chancery_node::store::applied::AppliedStore;
use futures_util::FutureExt;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use tokio::sync::mpsc;

use crate::cluster::Report;
use crate::faults::Faults;
use crate::node::Call;
use crate::trace;
use crate::workload::Workload;

/// A running node, seen from outside.
pub(crate) struct Probe {
    pub(crate) life: u64,
    pub(crate) raft: Raft,
    pub(crate) log: RaftLog,
    pub(crate) applied: AppliedStore,
    pub(crate) calls: mpsc::Sender<Call>,
}

/// What is known of a node over all its lives.
#[derive(Default)]
struct History {
    lives: u64,
    running: bool,
    probe: Option<Probe>,
    /// A committed entry that its log held: b and roster of its log never fall below.
    floor: Option<(LogId, Committed)>,
    /// The vote that was durable in its log.
    vote: Option<Vote>,
    /// Heads below this block were compared.
    compared: u64,
    /// Its next stop is the simulator's doing.
    excused: bool,
}

/// What a committed entry means for the nodes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Committed {
    /// Blocks up to it.
    block: u64,
    /// The block that brought the roster in force there.
    roster_block: u64,
}

/// An acknowledged command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) index: u64,
    pub(crate) block: u64,
    pub(crate) command: Hash,
}

/// Watches one cluster.
#[derive(Default)]
pub(crate) struct Monitor {
    nodes: RefCell<BTreeMap<u64, History>>,
    /// Who led: term → (node, life).
    leaders: RefCell<BTreeMap<u64, (u64, u64)>>,
    /// What logs end with: their last entry → (blocks, hash of the last).
    logs: RefCell<BTreeMap<LogId, (u64, Hash)>>,
    heads: RefCell<BTreeMap<u64, Head>>,
    /// Entries that some node applied, by index.
    committed: RefCell<BTreeMap<u64, (LogId, Committed)>>,
    acknowledged: RefCell<BTreeMap<u64, Acknowledged>>,
    violation: RefCell<Option<String>>,
    events: Cell<u64>,
}

impl Monitor {
    /// A moment, later than every one before.
    pub(crate) fn moment(&self) -> u64 {
        self.events.set(self.events.get() + 1);
        self.events.get()
    }

    /// Something that must never be.
    pub(crate) fn violated(&self, what: &str) {
        trace::line(&format!("VIOLATION: {what}"));
        self.violation.borrow_mut().get_or_insert_with(|| what.to_owned());
    }

    /// The first violation.
    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.borrow().clone()
    }

    /// A process of `node` starts; returns which.
    pub(crate) fn starts(&self, node: u64) -> u64 {
        let mut nodes = self.nodes.borrow_mut();
        let history = nodes.entry(node).or_default();
        history.lives += 1;
        history.running = true;
        history.lives
    }

    pub(crate) fn serves(&self, node: u64, probe: Probe) {
        self.nodes.borrow_mut().entry(node).or_default().probe = Some(probe);
    }

    /// The next stop of `node` is no fault of its own.
    pub(crate) fn excuse(&self, node: u64) {
        self.nodes.borrow_mut().entry(node).or_default().excused = true;
    }

    /// From now on `node` has no reason to stop.
    pub(crate) fn pardon(&self, node: u64) {
        self.nodes.borrow_mut().entry(node).or_default().excused = false;
    }

    /// The node stopped itself.
    pub(crate) fn stopped(&self, node: u64, why: &str) {
        trace::line(&format!("node {node} stopped: {why}"));
        if !self.killed(node) {
            self.violated(&format!("node {node} stopped without cause: {why}"));
        }
    }

    /// The process of `node` is gone. Says whether that was excused.
    pub(crate) fn killed(&self, node: u64) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let history = nodes.entry(node).or_default();
        history.probe = None;
        history.running = false;
        std::mem::take(&mut history.excused)
    }

    pub(crate) fn is_running(&self, node: u64) -> bool {
        self.nodes.borrow().get(&node).is_some_and(|history| history.running)
    }

    /// Who leads: of several that think so, one of the newest term.
    pub(crate) fn leader(&self) -> Option<u64> {
        let nodes = self.nodes.borrow();
        let leaders = nodes.iter().filter_map(|(node, history)| {
            let metrics = history.probe.as_ref()?.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.state == ServerState::Leader).then_some((metrics.current_term, *node))
        });
        leaders.max().map(|(_, node)| node)
    }

    /// Whom `node` voted for last.
    pub(crate) fn voted_for(&self, node: u64) -> Option<u64> {
        self.nodes.borrow().get(&node)?.vote.map(|vote| vote.leader_id.voted_for)
    }

    /// The way to ask `node`, if it serves.
    pub(crate) fn calls(&self, node: u64) -> Option<mpsc::Sender<Call>> {
        self.nodes.borrow().get(&node)?.probe.as_ref().map(|probe| probe.calls.clone())
    }

    /// A client was told that its command is in the ledger.
    pub(crate) fn acknowledge(&self, acknowledged: Acknowledged) {
        let mut all = self.acknowledged.borrow_mut();
        let known = all.entry(acknowledged.index).or_insert_with(|| acknowledged.clone());
        if *known != acknowledged {
            self.violated(&format!("{acknowledged:?} was acknowledged, and {known:?} before"));
        }
    }

    /// A head with a quorum's signatures: there is one for each block.
    pub(crate) fn publish(&self, head: &Head, by: &str) {
        let mut heads = self.heads.borrow_mut();
        let known = heads.entry(head.block).or_insert(*head);
        if known != head {
            self.violated(&format!("block {} has head {head:?} by {by}, and {known:?}", head.block));
        }
    }

    /// Looks at every running node.
    pub(crate) fn look(&self) {
        for (node, history) in self.nodes.borrow_mut().iter_mut() {
            self.look_at(*node, history);
            self.look_at_vote(*node, history);
        }
    }

    fn look_at(&self, node: u64, history: &mut History) {
        let Some(probe) = &history.probe else { return };
        self.look_at_leader(node, probe);
        self.look_at_heads(node, probe, &mut history.compared);
        let (applied, position) = probe.applied.position();
        if let Some(applied) = applied {
            let committed = Committed { block: position.block, roster_block: position.roster.block };
            let found = (applied, committed);
            let known = *self.committed.borrow_mut().entry(applied.index).or_insert(found);
            if known != found {
                self.violated(&format!("node {node} applied {found:?}, and another node {known:?}"));
            }
        }
        // A log store that died says nothing any more.
        let Ok(tail) = probe.log.read_tail_with(|tail| *tail) else { return };
        if let Some(end) = tail.log_id {
            self.look_at_log(node, probe, end);
            self.raise_floor(probe, end, &mut history.floor);
        }
        if let Some((entry, floor)) = history.floor
            && (tail.block < floor.block || tail.roster.block < floor.roster_block)
        {
            let reason = format!(
                "node {node}, life {}, held the committed entry {entry} of {floor:?}, and now its log ends \
                 at block {} under the roster of block {}, entry {:?}",
                probe.life, tail.block, tail.roster.block, tail.log_id
            );
            self.violated(&reason);
        }
    }

    /// Notes the last committed entry that this log holds.
    fn raise_floor(&self, probe: &Probe, end: LogId, floor: &mut Option<(LogId, Committed)>) {
        let committed = self.committed.borrow();
        let Some((index, last)) = committed.range(..=end.index).next_back() else { return };
        if floor.is_some_and(|(floor, _)| floor.index >= *index) {
            return;
        }
        // At its index there may be one that was never committed.
        let found = probe.log.position_at(*index);
        if matches!(found, Ok(Some((found, _))) if found == last.0) {
            *floor = Some(*last);
        }
    }

    /// A vote that is durable was given, and is never taken back.
    fn look_at_vote(&self, node: u64, history: &mut History) {
        let Some(probe) = &history.probe else { return };
        // Both are ready at once: they read memory.
        let reader = probe.log.clone().get_log_reader().now_or_never();
        let vote = reader.and_then(|mut reader| reader.read_vote().now_or_never());
        let Some(Ok(vote)) = vote else { return };
        if history.vote.is_some_and(|before| vote.is_none_or(|vote| vote < before)) {
            self.violated(&format!(
                "node {node}, life {}, voted {:?}, and now {vote:?}",
                probe.life, history.vote
            ));
        }
        history.vote = vote;
    }

    /// What the log itself says at its end: the tail may be past it, by a snapshot or the applied state.
    fn look_at_log(&self, node: u64, probe: &Probe, end: LogId) {
        let Ok(Some((found_id, position))) = probe.log.position_at(end.index) else { return };
        let found = (position.block, position.block_hash);
        let known = *self.logs.borrow_mut().entry(found_id).or_insert(found);
        if known != found {
            self.violated(&format!(
                "logs that end at {found_id} differ: node {node} has {found:?}, {known:?}"
            ));
        }
    }

    fn look_at_leader(&self, node: u64, probe: &Probe) {
        let metrics = probe.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return;
        }
        let led = (node, probe.life);
        let mut leaders = self.leaders.borrow_mut();
        let known = *leaders.entry(metrics.current_term).or_insert_with(|| {
            trace::line(&format!("node {node} leads term {}", metrics.current_term));
            led
        });
        if known != led {
            self.violated(&format!(
                "term {} has two leaders: (node, life) {known:?} and {led:?}",
                metrics.current_term
            ));
        }
    }

    fn look_at_heads(&self, node: u64, probe: &Probe, compared: &mut u64) {
        let heads: Vec<Head> = probe.applied.read_state(|state| {
            let last = state.head().block;
            // A restarted node has its last heads again, and they are compared again.
            let first = (*compared).min(last);
            (first..=last).filter_map(|block| state.head_of(block).copied()).collect()
        });
        for head in &heads {
            *compared = head.block;
            self.publish(head, &format!("node {node}"));
        }
    }

    /// The voters, as the node says that applied most.
    fn voters(&self) -> BTreeSet<u64> {
        let all = self.nodes.borrow();
        let probes = all.values().filter_map(|history| history.probe.as_ref());
        let most = probes.max_by_key(|probe| probe.applied.read_state(|state| state.head().block));
        most.map_or_else(BTreeSet::new, |probe| {
            probe.applied.rosters().newest().1.voters().map(|voter| voter.node).collect()
        })
    }

    /// Whether every voter runs, has applied the same, and has as much as was acknowledged.
    pub(crate) fn is_level(&self) -> bool {
        let all = self.nodes.borrow();
        let voters = self.voters();
        let applied = voters.iter().map(|node| {
            let probe = all.get(node)?.probe.as_ref()?;
            Some(probe.applied.read_state(|state| state.head().block))
        });
        let applied: Option<Vec<u64>> = applied.collect();
        let needed = self.acknowledged.borrow().values().map(|known| known.block).max().unwrap_or(0);
        applied.is_some_and(|blocks| {
            !blocks.is_empty() && blocks.iter().all(|block| *block >= needed && Some(block) == blocks.first())
        })
    }

    /// Every acknowledged command stands where the client was told, on every voter.
    pub(crate) fn check_nothing_lost(&self) {
        use chancery_ledger::authority::Entry;
        let voters = self.voters();
        for (node, history) in self.nodes.borrow().iter().filter(|(node, _)| voters.contains(node)) {
            let Some(probe) = &history.probe else { continue };
            for known in self.acknowledged.borrow().values() {
                let entry = probe.applied.entry(known.index).ok().flatten();
                let found = match entry.map(|bytes| Entry::decode(&bytes)) {
                    Some(Ok(Entry::Command { block, signed, .. })) => Some((block, signed.command_hash())),
                    _ => None,
                };
                if found != Some((known.block, known.command)) {
                    self.violated(&format!("node {node} lost {known:?}: it has {found:?} there"));
                }
            }
        }
    }

    /// What happened, in numbers.
    pub(crate) fn report(&self, workload: &Workload, faults: &Faults) -> Report {
        let blocks = self.heads.borrow().keys().next_back().copied().unwrap_or(0);
        let of = &workload.counts.borrow();
        let counts = [
            ("acknowledged", of.done),
            ("not done", of.not_done),
            ("unknown", of.unknown),
            ("permits", of.permits),
            ("denials", of.denials),
            ("checks unanswered", of.unanswered_checks),
            ("blocks", blocks),
            ("learners added", of.learners),
            ("changes of voters", of.voter_changes),
            ("terms led", self.leaders.borrow().len() as u64),
            ("restarts", self.nodes.borrow().values().map(|history| history.lives - 1).sum()),
        ];
        let counts = counts.into_iter().map(|(what, count)| (what.to_owned(), count));
        let faults = faults.injected.iter().map(|(kind, count)| (format!("{kind:?}"), *count));
        let (lines, trace) = trace::digest();
        Report {
            violation: self.violation(),
            lines,
            trace: trace.to_string(),
            counts: counts.chain(faults).collect(),
        }
    }
}
