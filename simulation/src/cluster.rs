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
use crate::faults::{Faults, Kind};
use crate::founding::{self, NODES};
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

/// By so much a wall clock is set, in milliseconds: around what is allowed, and far beyond.
const STEPS_MS: [i64; 6] = [5, 100, 260, 600, 5_000, 3_600_000];

thread_local! {
    /// How long work on disk takes, in milliseconds, and the chance that decides it.
    static DISK: RefCell<(u64, Random)> = RefCell::new((2, Random::new(0, 0)));
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

struct Cluster<'a> {
    sim: Sim<'a>,
    machines: Vec<Rc<Machine>>,
    monitor: Rc<Monitor>,
    /// Nodes that are down, and when they start again.
    down: BTreeMap<u64, Duration>,
    /// Faults that end by themselves, and when.
    ending: Vec<(Duration, Ending)>,
    random: Random,
}

/// How a fault ends.
enum Ending {
    Repair(u64, u64),
    Release(u64, u64),
    FastNetwork,
    FastDisks,
    Clock(u64),
}

/// Runs `seed`. The process runs no other.
pub(crate) fn run(seed: u64, lie: Lie, folder: &std::path::Path) -> Report {
    chancery_node::blocking::simulate(disk_takes);
    DISK.set((2, Random::new(seed, 1)));
    let ledger = Rc::new(founding::found());
    let monitor = Rc::new(Monitor::default());
    let workload = Rc::new(Workload::new(Rc::clone(&ledger), Rc::clone(&monitor)));
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
    let mut machines = Vec::new();
    for node in NODES {
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
    let tables: Vec<_> = machines.iter().map(|m| (m.folder.clone(), m.tables.clone())).collect();
    tables::simulate(Box::new(move |path| {
        let found = tables.iter().find(|(folder, _)| path.starts_with(folder));
        found.ok_or_else(|| "no such node".to_owned())?.1.open(path)
    }));
    let mut faults = Faults::new(Random::new(seed, 3));
    let down = BTreeMap::new();
    let mut cluster = Cluster { sim, machines, monitor, down, ending: Vec::new(), random };

    while cluster.sim.elapsed() < TROUBLE && cluster.step() {
        if let Some((kind, random)) = faults.due(cluster.sim.elapsed()) {
            cluster.inject(kind, random);
        }
    }
    cluster.heal();
    let deadline = cluster.sim.elapsed() + RECOVERY_MAX;
    let answered_before = workload.counts.borrow().permits + workload.counts.borrow().denials;
    let recovered = |cluster: &Cluster<'_>| {
        let counts = workload.counts.borrow();
        workload.ends.set(counts.permits + counts.denials > answered_before + 10);
        workload.ends.get() && cluster.monitor.is_level(&NODES)
    };
    let mut healed = false;
    while !healed && cluster.sim.elapsed() < deadline && cluster.step() {
        healed = recovered(&cluster);
    }
    if !healed {
        cluster.monitor.violated("the cluster did not recover when nothing was wrong any more");
    }
    cluster.monitor.check_nothing_lost();
    cluster.monitor.report(&workload, &faults)
}

impl Cluster<'_> {
    /// One virtual millisecond. False once something is violated.
    fn step(&mut self) -> bool {
        let now = self.sim.elapsed();
        trace::set_now(now);
        self.end_faults(now);
        self.restart(now);
        if let Err(error) = self.sim.step() {
            self.monitor.violated(&format!("the simulation failed: {error}"));
        }
        self.monitor.look();
        self.monitor.violation().is_none()
    }

    /// Starts nodes whose time has come, and plans it for those that stopped by themselves.
    fn restart(&mut self, now: Duration) {
        for node in NODES {
            match self.down.get(&node) {
                Some(when) if *when <= now => {
                    self.down.remove(&node);
                    trace::line(&format!("node {node} starts again"));
                    self.sim.bounce(host(node));
                }
                None if now > Duration::from_millis(10) && !self.monitor.is_running(node) => {
                    self.power_off(node);
                }
                _ => {}
            }
        }
    }

    /// Ends the node's process, and what it had not synced.
    fn power_off(&mut self, node: u64) {
        let Some(machine) = self.machines.iter().find(|machine| machine.node == node) else { return };
        machine.disk.cut_power();
        machine.tables.cut_power(&mut self.random);
        self.monitor.killed(node);
        self.sim.crash(host(node));
        let back = self.sim.elapsed() + self.random.ms(20, 3000);
        self.down.insert(node, back);
    }

    fn inject(&mut self, kind: Kind, random: &mut Random) {
        let Some(node) = random.pick(&NODES).copied() else { return };
        let other = NODES.iter().copied().filter(|other| *other != node).nth(usize::from(random.one_in(2)));
        let Some(other) = other else { return };
        let until = self.sim.elapsed() + random.ms(100, 4000);
        trace::line(&format!("fault {kind:?} at node {node} ({other})"));
        let machine = self.machines.iter().find(|machine| machine.node == node).map(Rc::clone);
        let Some(machine) = machine else { return };
        match kind {
            Kind::PowerCut if self.monitor.is_running(node) => self.power_off(node),
            Kind::PowerCutInWrite if self.monitor.is_running(node) => {
                self.monitor.excuse(node);
                machine.disk.cut_power_after(random.below(10));
            }
            Kind::PowerCut | Kind::PowerCutInWrite => {}
            Kind::Blackout => {
                for node in NODES {
                    if self.monitor.is_running(node) {
                        self.power_off(node);
                    }
                }
            }
            Kind::WriteError => {
                self.monitor.excuse(node);
                machine.disk.fail_next_write();
            }
            Kind::Isolate => {
                for other in NODES.into_iter().filter(|other| *other != node) {
                    self.sim.partition(host(node), host(other));
                    self.ending.push((until, Ending::Repair(node, other)));
                }
            }
            Kind::OneWay => {
                self.sim.partition_oneway(host(node), host(other));
                self.ending.push((until, Ending::Repair(node, other)));
            }
            Kind::Hold => {
                self.sim.hold(host(node), host(other));
                self.ending.push((until, Ending::Release(node, other)));
            }
            Kind::SlowNetwork => {
                self.sim.set_max_message_latency(random.ms(20, 400));
                self.ending.push((until, Ending::FastNetwork));
            }
            Kind::SlowDisk => {
                let ms_max = random.between(10, 200);
                DISK.with_borrow_mut(|(now, _)| *now = ms_max);
                self.ending.push((until, Ending::FastDisks));
            }
            Kind::ClockStep => {
                let ms = random.pick(&STEPS_MS).copied().unwrap_or(0);
                machine.clock.step(if random.one_in(2) { ms } else { -ms });
                self.ending.push((until, Ending::Clock(node)));
            }
            Kind::ClockDrift => {
                let ppm = i64::try_from(random.between(100, 100_000)).unwrap_or(0);
                machine.clock.drift(if random.one_in(2) { ppm } else { -ppm });
                self.ending.push((until, Ending::Clock(node)));
            }
        }
    }

    fn end_faults(&mut self, now: Duration) {
        let (over, going): (Vec<_>, Vec<_>) = self.ending.drain(..).partition(|(when, _)| *when <= now);
        self.ending = going;
        for (_, ending) in over {
            self.end(&ending);
        }
    }

    fn end(&self, ending: &Ending) {
        match ending {
            Ending::Repair(a, b) => self.sim.repair(host(*a), host(*b)),
            Ending::Release(a, b) => self.sim.release(host(*a), host(*b)),
            Ending::FastNetwork => self.sim.set_max_message_latency(Duration::from_millis(5)),
            Ending::FastDisks => DISK.with_borrow_mut(|(now, _)| *now = 2),
            Ending::Clock(node) => {
                for machine in self.machines.iter().filter(|machine| machine.node == *node) {
                    machine.clock.heal();
                }
            }
        }
    }

    /// From here on nothing goes wrong.
    fn heal(&mut self) {
        trace::line("heal");
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
