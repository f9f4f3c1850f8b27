//! What happens to a cluster: faults, chosen by a seed, each begun, held for a while and ended, and counted.
//!
//! A fault counts only if it happened: a process was there to kill, bytes met the weather, a node ended at its
//! failing disk, its peers saw its clock off, a lost power took something, a change of the voters was done. It is
//! counted apart when commands were under way at that moment.

mod cuts;
mod faults;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chancery_client::{Ledger, Options};
use tokio::time::{Instant, sleep};

pub use faults::{Fault, Group};

use crate::cluster::{ClockError, Cluster};
use crate::fault::HarnessError;
use crate::recorder::Recorder;
use crate::round::Setting;
use crate::seed::Choices;
use cuts::{Rules, rules};
use members::{Change, is_possible};

const HOUR_MS: i64 = 3_600_000;

/// How long a change of the voters may take when the faults are over.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(180);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a leader that is to be killed in the middle of something is let live, and how often that is looked for.
const MOMENT_PATIENCE: Duration = Duration::from_millis(500);
const MOMENT_EVERY: Duration = Duration::from_millis(2);

/// What a fault amounted to over a round or a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Times that it was begun, and had an effect.
    pub happened: u64,
    /// Of these, how often commands were under way,
    pub in_flight: u64,
    /// and how often commands of each workload.
    pub workloads: BTreeMap<&'static str, u64>,
}

impl Count {
    fn happened(&mut self, in_flight: &BTreeSet<&'static str>) {
        self.happened += 1;
        self.in_flight += u64::from(!in_flight.is_empty());
        for workload in in_flight {
            *self.workloads.entry(workload).or_default() += 1;
        }
    }

    /// Adds what came of another round.
    pub fn add(&mut self, other: &Self) {
        self.happened += other.happened;
        self.in_flight += other.in_flight;
        for (workload, count) in &other.workloads {
            *self.workloads.entry(workload).or_default() += count;
        }
    }
}

/// How often each fault happened.
pub type Counts = BTreeMap<Fault, Count>;

/// Brings the faults of a group over a cluster.
pub struct Nemesis {
    group: Group,
    /// What is worked on.
    workloads: BTreeSet<&'static str>,
    choices: Choices,
    /// The longest that a fault is held.
    hold_max: Duration,
    deck: Vec<Fault>,
    active: Vec<Active>,
    next: Instant,
    counts: Counts,
    /// Who changes the voters.
    operator: Ledger,
}

struct Active {
    fault: Fault,
    until: Instant,
    /// Nodes that it is done to; none if it is done to links.
    nodes: Vec<u64>,
    rules: Rules,
    /// When something about it changes next.
    changes: Option<Instant>,
    /// Of flapping links: whether they are cut now.
    on: bool,
    /// The workloads of which commands were under way.
    in_flight: BTreeSet<&'static str>,
    /// Whether it had an effect.
    happened: bool,
    felt_before: u64,
    /// Of the voters; it lasts until it is done.
    change: Option<Change>,
}

impl Active {
    fn is_over(&self, now: Instant) -> bool {
        self.change.as_ref().map_or(self.until <= now, Change::is_done)
    }
}

impl Nemesis {
    /// The nemesis of a round.
    ///
    /// # Errors
    /// The operator's context cannot be used.
    pub async fn new(setting: &Setting, cluster: &Cluster) -> Result<Self, HarnessError> {
        let (group, hold_max) = (setting.group, setting.hold_max);
        let workloads = setting.workloads.iter().map(|kind| kind.name()).collect();
        let choices = Choices::of_part(setting.seed, "nemesis");
        let next = Instant::now() + Duration::from_millis(500);
        let (deck, active, counts) = (Vec::new(), Vec::new(), Counts::new());
        let operator = cluster.connect("operator", None, Options::default()).await?;
        Ok(Self { group, workloads, choices, hold_max, deck, active, next, counts, operator })
    }

    /// How often each fault happened.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether every fault of the group has happened while commands were under way, and if leaders are killed, one
    /// was in the middle of each workload.
    pub fn is_complete(&self) -> bool {
        let missing = |fault: &Fault| self.counts.get(fault).is_none_or(|count| count.in_flight == 0);
        let spares_leaders = !self.group.faults().contains(&Fault::KillLeader);
        let all_happened = !self.group.faults().iter().any(missing);
        self.group == Group::Mixed || all_happened && (spares_leaders || self.unmet().is_empty())
    }

    /// Workloads in the middle of which no leader was killed yet.
    fn unmet(&self) -> BTreeSet<&'static str> {
        let met = self.counts.get(&Fault::KillLeader);
        let is_unmet = |workload: &&&str| met.is_none_or(|met| !met.workloads.contains_key(**workload));
        self.workloads.iter().filter(is_unmet).copied().collect()
    }

    /// Waits a little for a moment in which every workload that has not met the death of a leader has a command under
    /// way.
    async fn wait_for_unmet(&self, recorder: &Recorder) {
        let (unmet, deadline) = (self.unmet(), Instant::now() + MOMENT_PATIENCE);
        while !unmet.is_subset(&recorder.busy()) && Instant::now() < deadline {
            sleep(MOMENT_EVERY).await;
        }
    }

    /// Ends what is over, changes what changes, and begins what is due. To be called often. A node that ended by
    /// itself without a reason is returned, with its last words.
    ///
    /// # Errors
    /// A fault cannot be brought about.
    pub async fn act(
        &mut self,
        cluster: &mut Cluster,
        recorder: &Recorder,
    ) -> Result<Option<String>, HarnessError> {
        if let Some(words) = self.mourn(cluster)? {
            return Ok(Some(words));
        }
        let now = Instant::now();
        while let Some(place) = self.active.iter().position(|active| active.is_over(now)) {
            let over = self.active.remove(place);
            self.end(over, cluster).await?;
        }
        self.change(cluster, now)?;
        if now >= self.next && self.active.len() < self.group.at_once() {
            self.begin(cluster, recorder).await?;
        }
        Ok(None)
    }

    /// Ends everything that is under way, and starts every node that does not run. A change of the voters has to
    /// come to its own end; one that does not is returned, as is a node that ended by itself.
    ///
    /// # Errors
    /// As [`Nemesis::act`].
    pub async fn heal(&mut self, cluster: &mut Cluster) -> Result<Option<String>, HarnessError> {
        if let Some(words) = self.mourn(cluster)? {
            return Ok(Some(words));
        }
        let all = std::mem::take(&mut self.active);
        let (changes, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|active| active.change.is_some());
        for active in others {
            self.end(active, cluster).await?;
        }
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        for active in changes {
            while !active.is_over(deadline) {
                if Instant::now() >= deadline {
                    let name = active.fault.name();
                    return Ok(Some(format!("{name}: not done within {CHANGE_TIMEOUT:?} after the faults")));
                }
                if let Some(words) = self.mourn(cluster)? {
                    return Ok(Some(words));
                }
                sleep(LOOK_EVERY).await;
            }
            self.end(active, cluster).await?;
        }
        Ok(None)
    }

    /// Nodes that ended by themselves: those whose disk fails should have.
    fn mourn(&mut self, cluster: &mut Cluster) -> Result<Option<String>, HarnessError> {
        for (node, status) in cluster.ended()? {
            let failing = |active: &&mut Active| {
                matches!(active.fault, Fault::DiskFull | Fault::DiskError) && active.nodes.contains(&node)
            };
            match self.active.iter_mut().find(failing) {
                Some(active) => active.happened = true,
                None => {
                    let words = cluster.last_words(node);
                    return Ok(Some(format!("node {node} ended by itself ({status}); it said:\n{words}")));
                }
            }
        }
        Ok(None)
    }

    async fn begin(&mut self, cluster: &mut Cluster, recorder: &Recorder) -> Result<(), HarnessError> {
        let Some(fault) = self.draw() else { return Ok(()) };
        let leader = cluster.leader().await;
        let taken = |node: &u64| self.active.iter().any(|active| active.nodes.contains(node));
        let free: Vec<u64> = cluster.awake().into_iter().filter(|node| !taken(node)).collect();
        let mut nodes = self.targets(fault, cluster, &free, leader.filter(|leader| free.contains(leader)));
        let rules = rules(fault, &cluster.nodes(), leader, &mut self.choices);
        let possible = is_possible(fault, cluster);
        if nodes.is_empty() && rules.is_empty() || !possible {
            // Not now: there is no leader, or nobody to do it to. It comes again, unless nothing else would.
            if possible || !self.deck.is_empty() || !self.active.is_empty() {
                self.deck.insert(0, fault);
            }
            self.next = Instant::now() + Duration::from_millis(100);
            return Ok(());
        }
        if fault == Fault::KillLeader {
            self.wait_for_unmet(recorder).await;
        }
        let in_flight = recorder.busy();
        let mut change = None;
        if fault.changes_members() {
            // Others may be done to the same nodes meanwhile.
            let target = nodes.drain(..).next().unwrap_or_default();
            change = Some(Change::begin(fault, target, &self.operator, cluster, &mut self.choices).await?);
            if self.group == Group::Members && self.choices.chance(600) {
                self.deck.push(Fault::KillLeader);
            }
        }
        let now = Instant::now();
        let mut active = Active {
            fault,
            until: now + self.duration(fault),
            nodes,
            rules,
            changes: Some(now).filter(|_| matches!(fault, Fault::Flapping | Fault::ClockSteps)),
            on: true,
            in_flight,
            happened: change.is_some(),
            change,
            felt_before: cluster.network.felt(),
        };
        self.bring(&mut active, cluster)?;
        tracing::info!(fault = fault.name(), nodes = ?active.nodes, "begun");
        self.active.push(active);
        self.apply_weather(cluster);
        self.next = Instant::now() + Duration::from_millis(self.choices.between(200, 1_500));
        Ok(())
    }

    /// Each fault of the group once, in some order, then again.
    fn draw(&mut self) -> Option<Fault> {
        if self.deck.is_empty() {
            self.deck = self.choices.shuffled(self.group.faults().iter().copied());
        }
        // One change of the voters at a time.
        let changing = self.active.iter().any(|active| active.change.is_some());
        let place = self.deck.iter().rposition(|fault| !(changing && fault.changes_members()))?;
        Some(self.deck.remove(place))
    }

    fn targets(&mut self, fault: Fault, cluster: &Cluster, free: &[u64], leader: Option<u64>) -> Vec<u64> {
        let order = self.choices.shuffled(free.iter().copied());
        let majority = cluster.nodes().len() / 2 + 1;
        let often_the_leader = leader.filter(|_| self.choices.chance(400)).or_else(|| order.first().copied());
        match fault {
            Fault::KillLeader | Fault::PauseLeader | Fault::TransferLeader => leader.into_iter().collect(),
            Fault::KillMajority | Fault::PauseMajority => order.into_iter().take(majority).collect(),
            Fault::KillAll | Fault::PowerAll => order,
            Fault::KillOne
            | Fault::PauseOne
            | Fault::ClockAhead
            | Fault::ClockBehind
            | Fault::ClockSteps
            | Fault::ClockDrift
            | Fault::DiskFull
            | Fault::DiskError
            | Fault::SlowSync
            | Fault::PowerOne
            | Fault::LongAbsence
            | Fault::AddMember
            | Fault::RemoveMember
            | Fault::ReplaceLive
            | Fault::ReplaceDead => often_the_leader.into_iter().collect(),
            Fault::Halves
            | Fault::MajoritiesRing
            | Fault::OneWay
            | Fault::IsolateOne
            | Fault::IsolateLeader
            | Fault::Flapping
            | Fault::Slow
            | Fault::Lossy
            | Fault::Clogged => Vec::new(),
        }
    }

    fn duration(&mut self, fault: Fault) -> Duration {
        let longest = u64::try_from(self.hold_max.as_millis()).unwrap_or(u64::MAX);
        let (least, most) = match fault {
            Fault::KillOne | Fault::KillLeader | Fault::KillMajority | Fault::KillAll => (100, 2_000),
            Fault::PowerOne | Fault::PowerAll => (50, 1_000),
            Fault::PauseOne | Fault::PauseLeader | Fault::PauseMajority => (2_000, longest),
            Fault::LongAbsence => (4_000, 8_000),
            Fault::ClockDrift => (longest / 3, longest.min(8_000)),
            _ => (longest.min(4_500) / 3, longest.min(4_500)),
        };
        Duration::from_millis(self.choices.between(least, most))
    }

    /// Does to the nodes what is done once.
    fn bring(&mut self, active: &mut Active, cluster: &mut Cluster) -> Result<(), HarnessError> {
        match active.fault {
            Fault::KillOne
            | Fault::KillLeader
            | Fault::KillMajority
            | Fault::KillAll
            | Fault::LongAbsence => {
                cluster.kill(&active.nodes)?;
                active.happened = true;
            }
            Fault::PowerOne | Fault::PowerAll => {
                cluster.kill(&active.nodes)?;
                for node in &active.nodes {
                    active.happened |= cluster.lose_power(*node, &mut self.choices)? > 0;
                }
            }
            Fault::PauseOne | Fault::PauseLeader | Fault::PauseMajority => {
                for node in &active.nodes {
                    cluster.pause(*node)?;
                }
                active.happened = true;
            }
            Fault::ClockAhead | Fault::ClockBehind => {
                let offset_ms = if active.fault == Fault::ClockAhead { HOUR_MS } else { -HOUR_MS };
                set_clocks(active, cluster, ClockError { offset_ms, drift_ppm: 0 })?;
            }
            Fault::ClockDrift => {
                let much = i64::try_from(self.choices.between(20_000, 150_000)).unwrap_or(0);
                let drift_ppm = if self.choices.chance(500) { much } else { -much };
                set_clocks(active, cluster, ClockError { offset_ms: 0, drift_ppm })?;
            }
            Fault::DiskFull => set_failpoints(active, cluster, FULL)?,
            Fault::DiskError => {
                let points = self.choices.pick(&FAILING).copied().unwrap_or(FULL);
                set_failpoints(active, cluster, points)?;
            }
            Fault::SlowSync => {
                let ms = self.choices.between(50, 600);
                set_failpoints(active, cluster, &format!("raft-log-before-write=sleep({ms})"))?;
                active.happened = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Flaps what flaps, and steps what steps.
    fn change(&mut self, cluster: &Cluster, now: Instant) -> Result<(), HarnessError> {
        for active in &mut self.active {
            if active.changes.is_none_or(|at| at > now) {
                continue;
            }
            active.changes = Some(now + Duration::from_millis(self.choices.between(100, 900)));
            if active.fault == Fault::Flapping {
                active.on = !active.on;
            } else {
                let much = i64::try_from(self.choices.between(30, 5_000)).unwrap_or(0);
                let offset_ms = if self.choices.chance(500) { much } else { -much };
                let error = ClockError { offset_ms, drift_ppm: 0 };
                active.nodes.iter().try_for_each(|node| cluster.set_clock(*node, error))?;
            }
        }
        self.apply_weather(cluster);
        Ok(())
    }

    fn apply_weather(&self, cluster: &Cluster) {
        let mut all = Rules::new();
        for active in self.active.iter().filter(|active| active.on) {
            for (direction, weather) in &active.rules {
                let known = all.entry(*direction).or_default();
                *known = known.and(*weather);
            }
        }
        cluster.network.set_weather(&all);
    }

    async fn end(&mut self, mut over: Active, cluster: &mut Cluster) -> Result<(), HarnessError> {
        if let Some(change) = &over.change {
            change.end(cluster)?;
        }
        match over.fault {
            Fault::PauseOne | Fault::PauseLeader | Fault::PauseMajority => {
                over.nodes.iter().try_for_each(|node| cluster.resume(*node))?;
            }
            Fault::ClockAhead | Fault::ClockBehind | Fault::ClockSteps | Fault::ClockDrift => {
                over.happened = cluster.clock_is_seen_wrong(&over.nodes).await;
                over.nodes.iter().try_for_each(|node| cluster.set_clock(*node, ClockError::default()))?;
            }
            Fault::DiskFull | Fault::DiskError => {
                over.nodes.iter().try_for_each(|node| cluster.set_failpoints(*node, ""))?;
                // It may have failed and not have ended yet; a node with a failed disk does not go on.
                cluster.kill(&over.nodes)?;
            }
            Fault::SlowSync => over.nodes.iter().try_for_each(|node| cluster.set_failpoints(*node, ""))?,
            _ => {}
        }
        for node in &over.nodes {
            cluster.start_node(*node)?;
        }
        if !over.rules.is_empty() {
            over.happened = cluster.network.felt() > over.felt_before;
        }
        self.apply_weather(cluster);
        // The cluster is to do something before the next one. A change of the voters was that already.
        let pause_ms = if over.change.is_some() { (100, 800) } else { (500, 2_500) };
        self.next = Instant::now() + Duration::from_millis(self.choices.between(pause_ms.0, pause_ms.1));
        tracing::info!(fault = over.fault.name(), happened = over.happened, "ended");
        if over.happened {
            self.counts.entry(over.fault).or_default().happened(&over.in_flight);
        }
        Ok(())
    }
}

const FULL: &str = "raft-log-before-write=return(No space left on device)";

/// Where a disk may fail.
const FAILING: [&str; 3] = [
    "raft-log-before-write=return(Input/output error)",
    // Written, perhaps synced, and reported as failed.
    "raft-log-after-sync=return(Input/output error)",
    "applied-before-write=return",
];

fn set_failpoints(active: &Active, cluster: &Cluster, lines: &str) -> Result<(), HarnessError> {
    active.nodes.iter().try_for_each(|node| cluster.set_failpoints(*node, lines))
}

fn set_clocks(active: &Active, cluster: &Cluster, error: ClockError) -> Result<(), HarnessError> {
    active.nodes.iter().try_for_each(|node| cluster.set_clock(*node, error))
}
