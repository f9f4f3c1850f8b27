//! One run: three nodes, clients, and everything that goes wrong, under one seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chancery_node::config::Tuning;
use chancery_node::store::applied::tables;
use turmoil::Sim;

use crate::clock::SimulatedClock;
use crate::disk::{Lie, SimulatedDisk};
use crate::faults::Faults;
use crate::founding::{self, NODES, SPARES};
use crate::injection::{AwaitedVote, Ending};
use crate::monitor::Monitor;
use crate::network::host;
use crate::node::{self, Machine};
use crate::random::Random;
use crate::tables::SimulatedTables;
use crate::trace;
use crate::workload::Workload;

/// How long faults go on.
const TROUBLE: Duration = Duration::from_secs(20);

/// How long the cluster has to recover from them.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

const CLIENTS: u64 = 4;

/// How long a node is down, in milliseconds.
pub(crate) const DOWN_MS_MAX: u64 = 3_000;

thread_local! {
    /// How long work on disk takes, in milliseconds, and the chance that decides it.
    pub(crate) static DISK: RefCell<(u64, Random)> = RefCell::new((2, Random::new(0, 0)));
}

/// How long the next piece of work on disk takes.
fn disk_takes() -> Duration {
    DISK.with_borrow_mut(|(ms_max, random)| random.ms(0, *ms_max + 1))
}

/// What a run found.
pub(crate) struct Report {
    pub(crate) violation: Option<String>,
    pub(crate) lines: u64,
    pub(crate) trace: String,
    pub(crate) counts: Vec<(String, u64)>,
}

/// The nodes, and what is wrong with them.
pub(crate) struct Cluster<'a> {
    pub(crate) sim: Sim<'a>,
    pub(crate) machines: Vec<Rc<Machine>>,
    pub(crate) monitor: Rc<Monitor>,
    /// Nodes that are down, and when they start again.
    down: BTreeMap<u64, Duration>,
    /// Faults that end by themselves, and when.
    pub(crate) ending: Vec<(Duration, Ending)>,
    pub(crate) awaited_votes: Vec<AwaitedVote>,
    pub(crate) random: Random,
}

/// Runs `seed`. The process runs no other.
pub(crate) fn run(seed: u64, lie: Lie, folder: &std::path::Path) -> Report {
    chancery_node::blocking::simulate(disk_takes);
    DISK.set((2, Random::new(seed, 1)));
    let ledger = Rc::new(founding::found());
    let monitor = Rc::new(Monitor::default());
    let mut random = Random::new(seed, 2);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .tcp_capacity(4096)
        .simulation_duration(TROUBLE * 10)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .build();
    // Snapshots under pressure in every other run.
    let snapshot_every_entries = if random.one_in(2) { 40 } else { 20_000 };
    let tuning = Tuning {
        snapshot_every_entries,
        keep_log_entries: 10,
        request_timeout_ms: 1500,
        ..Tuning::default()
    };
    // The voters change in every other run.
    let spares: &[u64] = if random.one_in(2) { &SPARES } else { &[] };
    let nodes: Vec<u64> = NODES.iter().chain(spares).copied().collect();
    let workload = Rc::new(Workload::new(Rc::clone(&ledger), Rc::clone(&monitor), nodes.clone()));
    let mut machines = Vec::new();
    for node in nodes {
        let machine = Rc::new(Machine {
            node,
            folder: folder.join(host(node)),
            tables: SimulatedTables::default(),
            disk: SimulatedDisk::new(Random::new(seed, 100 + node), lie),
            clock: SimulatedClock::default(),
            tuning: tuning.clone(),
        });
        machines.push(Rc::clone(&machine));
        let (ledger, monitor) = (Rc::clone(&ledger), Rc::clone(&monitor));
        sim.host(host(node), move || node::run(Rc::clone(&machine), Rc::clone(&ledger), Rc::clone(&monitor)));
    }
    for client in 1..=CLIENTS {
        let client_random = Random::new(seed, 200 + client);
        sim.client(format!("client-{client}"), Rc::clone(&workload).client(client, client_random));
    }
    if !spares.is_empty() {
        sim.client("operator", Rc::clone(&workload).change_voters(spares, Random::new(seed, 300)));
    }
    let tables: Vec<_> = machines.iter().map(|m| (m.folder.clone(), m.tables.clone())).collect();
    tables::simulate(Box::new(move |path| {
        let found = tables.iter().find(|(folder, _)| path.starts_with(folder));
        found.ok_or_else(|| "no such node".to_owned())?.1.open(path)
    }));
    let mut faults = Faults::new(Random::new(seed, 3));
    let down = BTreeMap::new();
    let (ending, awaited_votes) = (Vec::new(), Vec::new());
    let mut cluster = Cluster { sim, machines, monitor, down, ending, awaited_votes, random };

    while cluster.sim.elapsed() < TROUBLE && cluster.step() {
        if let Some((kind, random)) = faults.due(cluster.sim.elapsed()) {
            cluster.inject(kind, random);
        }
    }
    workload.healed.set(true);
    cluster.heal();
    let deadline = cluster.sim.elapsed() + RECOVERY_MAX;
    let answered_before = workload.counts.borrow().permits + workload.counts.borrow().denials;
    let recovered = |cluster: &Cluster<'_>| {
        let counts = workload.counts.borrow();
        let answers = counts.permits + counts.denials > answered_before + 10;
        workload.ends.set(answers && !workload.voters_change.get());
        workload.ends.get() && cluster.monitor.is_level()
    };
    let mut healed = false;
    while !healed && cluster.sim.elapsed() < deadline && cluster.step() {
        healed = recovered(&cluster);
    }
    if cluster.monitor.violation().is_none() {
        if !healed {
            cluster.monitor.violated("the cluster did not recover when nothing was wrong any more");
        }
        cluster.monitor.check_nothing_lost();
    }
    cluster.monitor.report(&workload, &faults)
}

impl Cluster<'_> {
    /// One virtual millisecond. False once something is violated.
    fn step(&mut self) -> bool {
        let now = self.sim.elapsed();
        trace::set_now(now);
        self.end_faults(now);
        self.cut_power_of_voters(now);
        self.restart(now);
        if let Err(error) = self.sim.step() {
            self.monitor.violated(&format!("the simulation failed: {error}"));
        }
        self.monitor.look();
        self.monitor.violation().is_none()
    }

    /// Starts nodes whose time has come, and plans it for those that stopped by themselves.
    fn restart(&mut self, now: Duration) {
        let nodes: Vec<u64> = self.machines.iter().map(|machine| machine.node).collect();
        for node in nodes {
            match self.down.get(&node) {
                Some(when) if *when <= now => {
                    self.down.remove(&node);
                    trace::line(&format!("node {node} starts again"));
                    self.sim.bounce(host(node));
                }
                None if now > Duration::from_millis(10) && !self.monitor.is_running(node) => {
                    self.power_off(node, DOWN_MS_MAX);
                }
                _ => {}
            }
        }
    }

    /// Ends the node's process, and what it had not synced, for at most `ms_max`.
    pub(crate) fn power_off(&mut self, node: u64, ms_max: u64) {
        let Some(machine) = self.machines.iter().find(|machine| machine.node == node) else { return };
        machine.disk.cut_power();
        machine.tables.cut_power(&mut self.random);
        self.monitor.killed(node);
        self.sim.crash(host(node));
        let back = self.sim.elapsed() + self.random.ms(20, ms_max);
        self.down.insert(node, back);
    }

    /// From here on nothing goes wrong.
    fn heal(&mut self) {
        trace::line("heal");
        self.awaited_votes.clear();
        for (_, ending) in std::mem::take(&mut self.ending) {
            self.end(&ending);
        }
        for machine in &self.machines {
            if machine.disk.heal() {
                self.monitor.pardon(machine.node);
            }
        }
        let now = self.sim.elapsed();
        for back in self.down.values_mut() {
            *back = (*back).min(now);
        }
    }
}
