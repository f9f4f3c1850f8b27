//! A run: rounds of every group of faults in turn, and one table of what came of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::checkers::Verdict;
use crate::checkers::porcupine::Porcupine;
use crate::fault::HarnessError;
use crate::nemesis::{Count, Counts, Fault, Group};
use crate::round::{self, Gaps, Report, Setting, Tally};
use crate::workload::Kind;

/// The longest that one round has faults. Longer ones make long histories, not other ones.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// What a round needs besides its faults: founding, recovery, reading, judging.
const AROUND: Duration = Duration::from_secs(10);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// Where rounds keep their folders.
    pub folder: PathBuf,
    /// How long, all rounds together.
    pub time: Duration,
    /// What chooses. Round `n` has this seed plus `n`.
    pub seed: u64,
    /// The faults.
    pub groups: Vec<Group>,
    /// The workloads.
    pub workloads: Vec<Kind>,
    /// How many of them one round has: each takes the next ones.
    pub workloads_at_once: usize,
    /// The longest that a fault is held, a pause above all.
    pub hold_max: Duration,
    /// How long each round has faults; chosen so that all groups come at least once, if none.
    pub round: Option<Duration>,
    /// Rounds that may show something wrong before the run ends; each keeps its folder.
    pub failures_max: usize,
    /// What nodes have in their environment: node, name, value.
    pub environment: Vec<(u64, String, String)>,
}

/// What came of a run.
#[derive(Default)]
pub struct Summary {
    rows: BTreeMap<Group, Row>,
    /// What is wrong.
    pub failures: Vec<String>,
}

#[derive(Default)]
struct Row {
    /// Of each workload, in how many rounds it was, and what came of it.
    tallies: BTreeMap<&'static str, (u64, Tally)>,
    faults: Counts,
    verdict: Option<Verdict>,
    gaps: Gaps,
    slowest_recovery: Duration,
}

impl Settings {
    fn round_time(&self) -> Duration {
        let groups = u32::try_from(self.groups.len().max(1)).unwrap_or(1);
        let share = (self.time / groups).saturating_sub(AROUND);
        self.round.unwrap_or(share).clamp(Duration::from_secs(5), ROUND_MAX)
    }

    /// The workloads of round `number`.
    fn dealt(&self, number: u64) -> Vec<Kind> {
        let at_once = self.workloads_at_once.min(self.workloads.len());
        let first = usize::try_from(number).unwrap_or(0).wrapping_mul(at_once);
        let first = first.checked_rem(self.workloads.len()).unwrap_or(0);
        self.workloads.iter().cycle().skip(first).take(at_once).copied().collect()
    }

    /// The one command that runs the round of `seed` again.
    fn replay(&self, group: Group, seed: u64, workloads: &[Kind]) -> String {
        let names: Vec<_> = workloads.iter().map(|kind| kind.name()).collect();
        format!(
            "chancery-jepsen run --rounds 1 --round-seconds {} --hold-seconds {} --seed {seed} --faults {} \
             --workloads {} --workloads-at-once {}",
            self.round_time().as_secs(),
            self.hold_max.as_secs(),
            group.name(),
            names.join(","),
            names.len()
        )
    }
}

/// Runs rounds until the time is over, `rounds_max` were made, or one shows something wrong. Every group comes
/// once at least.
///
/// # Errors
/// The harness itself failed.
pub async fn run(settings: &Settings, rounds_max: Option<u64>) -> Result<Summary, HarnessError> {
    let began = Instant::now();
    let mut summary = Summary::default();
    let groups = settings.groups.len().max(1);
    fs::create_dir_all(&settings.folder).map_err(HarnessError::at(&settings.folder))?;
    let porcupine = Porcupine::build(&settings.folder);
    if let Err(error) = &porcupine {
        eprintln!("porcupine: {error}");
    }
    let porcupine = porcupine.ok();
    for (number, group) in (0..).zip(settings.groups.iter().cycle()) {
        let all_came = usize::try_from(number).is_ok_and(|number| number >= groups);
        let time_is_over = all_came && began.elapsed() + settings.round_time() > settings.time;
        if time_is_over || rounds_max.is_some_and(|most| number >= most) {
            break;
        }
        let seed = settings.seed.wrapping_add(number);
        let setting = Setting {
            program: settings.program.clone(),
            folder: settings.folder.join(format!("{}-{seed}", group.name())),
            group: *group,
            workloads: settings.dealt(number),
            seed,
            time: settings.round_time(),
            hold_max: settings.hold_max,
            porcupine: porcupine.clone(),
            environment: settings.environment.clone(),
        };
        let report = round::run(&setting).await.inspect_err(|_| {
            eprintln!(
                "kept: {}\nagain: {}",
                setting.folder.display(),
                settings.replay(*group, seed, &setting.workloads)
            );
        })?;
        let verdict = report.verdict();
        eprintln!("{}", told(&setting, &report));
        summary.add(*group, report);
        if !verdict.is_valid() {
            let failure = format!(
                "{} round, seed {seed}: {verdict}\nkept: {}\nagain: {}",
                group.name(),
                setting.folder.display(),
                settings.replay(*group, seed, &setting.workloads)
            );
            eprintln!("{failure}");
            summary.failures.push(failure);
            if summary.failures.len() >= settings.failures_max {
                break;
            }
        }
    }
    if summary.failures.len() < settings.failures_max && rounds_max.is_none() {
        summary.failures.extend(summary.not_covered());
    }
    Ok(summary)
}

/// A round in some lines.
fn told(setting: &Setting, report: &Report) -> String {
    let mut text = format!("{} seed {}: {}", setting.group.name(), setting.seed, report.verdict());
    for (fault, count) in &report.faults {
        let _ = write!(text, "; {} {} ({} in flight)", fault.name(), count.happened, count.in_flight);
    }
    let total: u64 = report.tallies.values().map(Tally::total).sum();
    let _ = write!(text, "; {total} operations; recovered in {} ms", report.recovered_in.as_millis());
    for finding in &report.findings {
        let _ = write!(text, "\n    {}: {} examined, {}", finding.checker, finding.examined, finding.verdict);
    }
    text
}

impl Tally {
    fn total(&self) -> u64 {
        self.ok + self.denied + self.not_done + self.unknown
    }

    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.denied += other.denied;
        self.not_done += other.not_done;
        self.unknown += other.unknown;
    }
}

impl Summary {
    fn add(&mut self, group: Group, report: Report) {
        let row = self.rows.entry(group).or_default();
        row.slowest_recovery = row.slowest_recovery.max(report.recovered_in);
        row.gaps.resumed += report.gaps.resumed;
        row.gaps.cut_off += report.gaps.cut_off;
        let verdict = report.verdict();
        row.verdict = Some(match row.verdict.take() {
            Some(before) => before.and(verdict),
            None => verdict,
        });
        for (workload, tally) in report.tallies {
            let (rounds, all) = row.tallies.entry(workload).or_default();
            *rounds += 1;
            all.add(tally);
        }
        for (fault, count) in report.faults {
            row.faults.entry(fault).or_default().add(&count);
        }
    }

    /// A fault that never happened, or never while commands were under way, and workloads that did nothing.
    fn not_covered(&self) -> Option<String> {
        let mut missing = Vec::new();
        if self.rows.values().all(|row| row.gaps.resumed == 0) {
            missing.push("followers that go on from a token".into());
        }
        for (group, row) in &self.rows {
            for fault in group.faults().iter().filter(|_| *group != Group::Mixed) {
                let count = row.faults.get(fault).cloned().unwrap_or_default();
                if count.in_flight == 0 {
                    missing.push(format!("{} ({} in all)", fault.name(), count.happened));
                }
                let unmet = |workload: &&&str| !count.workloads.contains_key(**workload);
                if *fault == Fault::KillLeader {
                    let unmet = row.tallies.keys().filter(unmet);
                    missing.extend(
                        unmet.map(|workload| format!("{} in the middle of {workload}", fault.name())),
                    );
                }
            }
            for (workload, (_, tally)) in &row.tallies {
                let is_denied = Kind::ALL.iter().any(|kind| kind.name() == *workload && kind.is_denied());
                if tally.ok == 0 || tally.denied == 0 && is_denied {
                    missing.push(format!("{workload} under {}: {tally:?}", group.name()));
                }
            }
        }
        let missing = missing.join("; ");
        (!missing.is_empty()).then(|| format!("not covered while commands were under way: {missing}"))
    }

    /// Faults by workloads, and how often each fault happened.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<10} {:<9} {:>7} {:>9} {:>7} {:>7} {:>8} {:>8}  verdict\n",
            "faults", "workload", "rounds", "operations", "ok", "denied", "not done", "unknown"
        );
        for (group, row) in &self.rows {
            let verdict = match &row.verdict {
                Some(Verdict::Valid) => "valid",
                Some(Verdict::Violation { .. }) => "VIOLATION",
                Some(Verdict::Inconclusive { .. }) => "inconclusive",
                None => "not run",
            };
            for (workload, (rounds, tally)) in &row.tallies {
                let _ = writeln!(
                    text,
                    "{:<10} {:<9} {:>7} {:>10} {:>7} {:>7} {:>8} {:>8}  {verdict}",
                    group.name(),
                    workload,
                    rounds,
                    tally.total(),
                    tally.ok,
                    tally.denied,
                    tally.not_done,
                    tally.unknown
                );
            }
        }
        text += "\nfaults that happened (of these, while commands were under way):\n";
        for (group, row) in &self.rows {
            let counts = group.faults().iter().map(|fault| {
                let count = row.faults.get(fault).cloned().unwrap_or_default();
                format!("{} {} ({})", fault.name(), count.happened, count.in_flight)
            });
            let counts: Vec<_> = counts.collect();
            let recovery = row.slowest_recovery.as_millis();
            let _ =
                writeln!(text, "{:<10} {}; slowest recovery {recovery} ms", group.name(), counts.join(", "));
        }
        let mut killed = Count::default();
        self.rows
            .values()
            .filter_map(|row| row.faults.get(&Fault::KillLeader))
            .for_each(|count| killed.add(count));
        let of = |(workload, count): (&&str, &u64)| format!("{workload} {count}");
        let of: Vec<_> = killed.workloads.iter().map(of).collect();
        let _ = writeln!(
            text,
            "\nleaders killed: {}; while commands of a workload were under way: {}",
            killed.happened,
            of.join(", ")
        );
        let resumed: u64 = self.rows.values().map(|row| row.gaps.resumed).sum();
        let cut_off: u64 = self.rows.values().map(|row| row.gaps.cut_off).sum();
        let _ = writeln!(
            text,
            "followers of the log: went on from a token {resumed} times, were cut off for being slow {cut_off} times"
        );
        text
    }
}
