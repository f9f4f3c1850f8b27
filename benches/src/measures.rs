//! What was measured, turn by turn, and the medians of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::floor::composed::{AnswerShape, CallCost, WriteShape};
use crate::floor::units::Units;
use crate::full::Full;
use crate::load::Sample;
use crate::machine::{Machine, SyncLatency};
use crate::micro::Micros;
use crate::micro::beside::Beside;
use crate::micro::state_tree::Applied;
use crate::replay::Replay;
use crate::workloads::batching::Batching;

/// Everything that was measured, raw: what `results.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    /// Latency of a synced write before each turn.
    pub(crate) sync: Vec<SyncLatency>,
    /// What the nodes do while nobody asks, before each turn: part of one processor, of Chancery's and etcd's.
    #[serde(default)]
    pub(crate) idle: Vec<(f64, f64)>,
    /// What the units of the floor cost in each turn.
    pub(crate) units: Vec<Units>,
    /// What was measured in this process alone, in each turn: CPU time in microseconds.
    pub(crate) micros: Vec<Micros>,
    pub(crate) answer_of_4: AnswerShape,
    /// What applying one command comes to, at the measured sizes of blocks.
    pub(crate) applied: BTreeMap<String, Applied>,
    /// Parts that are pure computation, beside what does the like elsewhere.
    #[serde(default)]
    pub(crate) beside: Vec<Beside>,
    /// By what was measured: `system/operation`, one for each turn.
    pub(crate) samples: BTreeMap<String, Vec<Sample>>,
    /// How much Chancery's operations shared, likewise.
    pub(crate) batching: BTreeMap<String, Vec<Batching>>,
    pub(crate) answer: AnswerShape,
    pub(crate) receipt: WriteShape,
    /// The replay of recorded tool calls, one for each turn.
    pub(crate) replays: Vec<Replay>,
    /// With a million grants, if that was asked for.
    pub(crate) full: Option<Full>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) runs: u32,
    pub(crate) seconds: f64,
    pub(crate) callers: u16,
    pub(crate) connections: u16,
    pub(crate) checked_agents: usize,
    pub(crate) grants: usize,
    pub(crate) etcd_keys: usize,
}

impl Measured {
    /// Keeps what one turn came to.
    pub(crate) fn add(&mut self, what: &str, sample: Sample, batching: Option<Batching>) {
        self.samples.entry(what.into()).or_default().push(sample);
        if let Some(batching) = batching {
            self.batching.entry(what.into()).or_default().push(batching);
        }
    }

    /// What the newest turn measured.
    pub(crate) fn newest(&self, what: &str) -> Option<&Sample> {
        self.samples.get(what)?.last()
    }

    /// The median over the turns of what `of` takes from each; none if it was not measured.
    pub(crate) fn median(&self, what: &str, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.samples.get(what)?.iter().map(of))
    }

    /// The median over the turns of one thing by another of the same turn: what disturbs a turn disturbs both.
    pub(crate) fn ratio(&self, (what, by): (&str, &str), of: impl Fn(&Sample) -> f64) -> Option<f64> {
        let turns = self.samples.get(what)?.iter().zip(self.samples.get(by)?);
        median(turns.map(|(one, other)| of(one) / of(other)))
    }

    /// The least and the greatest of it.
    pub(crate) fn range(&self, what: &str, of: impl Fn(&Sample) -> f64) -> Option<(f64, f64)> {
        let samples = self.samples.get(what)?;
        let least = samples.iter().map(&of).min_by(f64::total_cmp)?;
        Some((least, samples.iter().map(&of).max_by(f64::total_cmp)?))
    }

    /// CPU time of a call that carries nothing, as it was measured.
    pub(crate) fn call_cost(&self, what: &str) -> Option<CallCost> {
        let node_us = self.median(what, |sample| sample.node_cpu_us)?;
        Some(CallCost { node_us, client_us: self.median(what, |sample| sample.client_cpu_us)? })
    }

    /// The median of something that was measured in this process.
    pub(crate) fn micro(&self, what: &str) -> Option<f64> {
        median(self.micros.iter().filter_map(|turn| turn.get(what).copied()))
    }

    /// Medians of what operations shared.
    pub(crate) fn shared(&self, what: &str) -> Batching {
        let all = self.batching.get(what).map(Vec::as_slice).unwrap_or_default();
        let of = |field: fn(&Batching) -> f64| median(all.iter().map(field)).unwrap_or(1.0);
        Batching {
            per_batch: of(|batching| batching.per_batch),
            per_batch_and_connection: of(|batching| batching.per_batch_and_connection),
            per_signature: of(|batching| batching.per_signature),
        }
    }

    /// Medians of the floor's units.
    pub(crate) fn unit_costs(&self) -> Units {
        let of = |field: fn(&Units) -> f64| median(self.units.iter().map(field)).unwrap_or(0.0);
        Units {
            sign_us: of(|units| units.sign_us),
            verify_us: of(|units| units.verify_us),
            node_hash_us: of(|units| units.node_hash_us),
            hash_kib_us: of(|units| units.hash_kib_us),
            sync_us: of(|units| units.sync_us),
            sync_wall_us: of(|units| units.sync_wall_us),
            growing_sync_wall_us: of(|units| units.growing_sync_wall_us),
        }
    }

    /// Medians of the disk's latency.
    pub(crate) fn sync_latency(&self) -> SyncLatency {
        let of = |field: fn(&SyncLatency) -> f64| median(self.sync.iter().map(field)).unwrap_or(0.0);
        SyncLatency { p50_us: of(|sync| sync.p50_us), p99_us: of(|sync| sync.p99_us) }
    }
}

/// The middle one of some values, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(middle.checked_sub(1)?).map(|lower| (lower + upper) / 2.0)
}
