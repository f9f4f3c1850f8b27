//! What must hold at every moment, and what the clients were told.
//!
//! After every virtual millisecond: one leader a term; equal log ids stand for equal logs; equal block, equal
//! head; no node's (b, roster) falls below a committed entry that it held; a vote never goes back. At the end,
//! nothing that was acknowledged is lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_node::raft::Raft;
use chancery_node::raft::types::LogId;
use chancery_node::store::RaftLog;
use chancery_node::store::applied::AppliedStore;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
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
    floor: Option<(LogId, u64)>,
    /// Heads below this block were compared.
    compared: u64,
    /// Its next stop is the simulator's doing.
    excused: bool,
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
    /// Entries that some node applied, by number of blocks up to them.
    committed: RefCell<BTreeMap<LogId, u64>>,
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
        }
    }

    fn look_at(&self, node: u64, history: &mut History) {
        let Some(probe) = &history.probe else { return };
        self.look_at_leader(node, probe);
        self.look_at_heads(node, probe, &mut history.compared);
        let (applied, position) = probe.applied.position();
        if let Some(applied) = applied {
            self.committed.borrow_mut().insert(applied, position.block);
        }
        // A log store that died says nothing any more.
        let Ok(tail) = probe.log.read_tail_with(|tail| *tail) else { return };
        if let Some(end) = tail.log_id {
            self.look_at_log(node, probe, end);
            let held = self.committed.borrow().range(..=end).next_back().map(|(id, block)| (*id, *block));
            if held > history.floor {
                history.floor = held;
            }
        }
        if let Some((entry, block)) = history.floor
            && (tail.block < block || tail.roster.block > tail.block)
        {
            let reason = format!(
                "node {node}, life {}, held the committed entry {entry} of block {block}, and now its log \
                 ends at block {}, entry {:?}",
                probe.life, tail.block, tail.log_id
            );
            self.violated(&reason);
        }
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

    /// Whether every node runs, has applied the same, and has as much as was acknowledged.
    pub(crate) fn is_level(&self, nodes: &[u64]) -> bool {
        let all = self.nodes.borrow();
        let applied = nodes.iter().map(|node| {
            let probe = all.get(node)?.probe.as_ref()?;
            Some(probe.applied.read_state(|state| state.head().block))
        });
        let applied: Option<Vec<u64>> = applied.collect();
        let needed = self.acknowledged.borrow().values().map(|known| known.block).max().unwrap_or(0);
        applied.is_some_and(|blocks| {
            blocks.iter().all(|block| *block >= needed && Some(block) == blocks.first())
        })
    }

    /// Every acknowledged command stands where the client was told, on every node.
    pub(crate) fn check_nothing_lost(&self) {
        use chancery_ledger::authority::Entry;
        for (node, history) in self.nodes.borrow().iter() {
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
