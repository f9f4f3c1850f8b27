//! How each fault begins and ends.

use std::rc::Rc;
use std::time::Duration;

use crate::cluster::{Cluster, DISK, DOWN_MS_MAX};
use crate::faults::Kind;
use crate::network::host;
use crate::random::Random;
use crate::trace;

/// By so much a wall clock is set, in milliseconds: around what is allowed, and far beyond.
const STEPS_MS: [i64; 6] = [5, 100, 260, 600, 5_000, 3_600_000];

/// A node whose vote was taken by a power cut is down for at most so long, in milliseconds: it is to be back before
/// the others have forgotten the term.
const BLINK_MS_MAX: u64 = 120;

/// How a fault ends.
pub(crate) enum Ending {
    Repair(u64, u64),
    Release(u64, u64),
    FastNetwork,
    FastDisks,
    Clock(u64),
}

/// A node whose power is to be cut when it has voted.
pub(crate) struct AwaitedVote {
    voter: u64,
    /// Votes that its disk was given before.
    votes: u64,
    /// Nobody waits longer.
    until: Duration,
    /// It has voted, and this is when its power is cut.
    cut: Option<Duration>,
}

impl Cluster<'_> {
    pub(crate) fn inject(&mut self, kind: Kind, random: &mut Random) {
        let nodes: Vec<u64> = self.machines.iter().map(|machine| machine.node).collect();
        let Some(node) = random.pick(&nodes).copied() else { return };
        let others: Vec<u64> = nodes.iter().copied().filter(|other| *other != node).collect();
        let Some(other) = random.pick(&others).copied() else { return };
        let until = self.sim.elapsed() + random.ms(100, 4000);
        trace::line(&format!("fault {kind:?} at node {node} ({other})"));
        let machine = self.machines.iter().find(|machine| machine.node == node).map(Rc::clone);
        let Some(machine) = machine else { return };
        match kind {
            Kind::PowerCut if self.monitor.is_running(node) => self.power_off(node, DOWN_MS_MAX),
            Kind::PowerCutInWrite if self.monitor.is_running(node) => {
                self.monitor.excuse(node);
                machine.disk.cut_power_after(random.below(10));
            }
            Kind::PowerCut | Kind::PowerCutInWrite => {}
            Kind::PowerCutAfterVote => {
                // Who leads keeps the others from voting.
                let voter = self.monitor.leader().unwrap_or(node);
                let others: Vec<u64> = nodes.iter().copied().filter(|other| *other != voter).collect();
                let Some(rival) = random.pick(&others).copied() else { return };
                self.await_vote(voter, rival, &others, until + Duration::from_millis(DOWN_MS_MAX));
            }
            Kind::Blackout => {
                for node in nodes {
                    if self.monitor.is_running(node) {
                        self.power_off(node, DOWN_MS_MAX);
                    }
                }
            }
            Kind::WriteError => {
                self.monitor.excuse(node);
                machine.disk.fail_next_write();
            }
            Kind::Isolate => {
                self.cut_off(node, &others, until);
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

    /// Nobody hears of `node`, nor does it of anybody.
    fn cut_off(&mut self, node: u64, others: &[u64], until: Duration) {
        for other in others {
            self.sim.partition(host(node), host(*other));
            self.ending.push((until, Ending::Repair(node, *other)));
        }
    }

    /// An election that `voter` decides: only it hears both `rival` and the others. What leads is deposed with it.
    fn await_vote(&mut self, voter: u64, rival: u64, others: &[u64], until: Duration) {
        let Some(machine) = self.machines.iter().find(|machine| machine.node == voter) else { return };
        let votes = machine.disk.votes();
        let rest: Vec<u64> = others.iter().copied().filter(|other| *other != rival).collect();
        self.cut_off(rival, &rest, until);
        if self.monitor.is_running(voter) {
            self.power_off(voter, DOWN_MS_MAX / 4);
        }
        self.awaited_votes.push(AwaitedVote { voter, votes, until, cut: None });
    }

    /// Cuts the power of those who have voted, once their vote is on its way, and isolates whom it is for.
    pub(crate) fn cut_power_of_voters(&mut self, now: Duration) {
        for mut awaited in std::mem::take(&mut self.awaited_votes) {
            let voter = awaited.voter;
            let Some(machine) = self.machines.iter().find(|machine| machine.node == voter) else { continue };
            let has_voted = machine.disk.votes() > awaited.votes;
            match awaited.cut {
                Some(when) if when <= now => {
                    let elected = self.monitor.voted_for(voter).filter(|elected| *elected != voter);
                    trace::line(&format!("node {voter} has voted for {elected:?} and loses its power"));
                    if self.monitor.is_running(voter) {
                        self.power_off(voter, BLINK_MS_MAX);
                    }
                    if let Some(elected) = elected {
                        let all = self.machines.iter().map(|machine| machine.node);
                        let others: Vec<u64> = all.filter(|other| *other != elected).collect();
                        let until = now + self.random.ms(1_000, 4_000);
                        self.cut_off(elected, &others, until);
                    }
                    continue;
                }
                None if has_voted => awaited.cut = Some(now + self.random.ms(1, 10)),
                None if awaited.until <= now => continue,
                Some(_) | None => {}
            }
            self.awaited_votes.push(awaited);
        }
    }

    pub(crate) fn end_faults(&mut self, now: Duration) {
        let (over, going): (Vec<_>, Vec<_>) = self.ending.drain(..).partition(|(when, _)| *when <= now);
        self.ending = going;
        for (_, ending) in over {
            self.end(&ending);
        }
    }

    pub(crate) fn end(&self, ending: &Ending) {
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
}
