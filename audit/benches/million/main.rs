//! How fast is an audit, next to what no audit can do without: hashing every entry into the log's tree, and checking
//! every signature strictly?
//!
//! A log is made (grants, recorded decisions and revocations in equal parts, and kept in a temporary folder), then
//! read by processes that take turns: one does the floor, one is the engine. Each says how long it took, and the most
//! memory that it had. `CHANCERY_AUDIT_ENTRIES=1000000 cargo bench --profile dev --workspace --features
//! chancery-cli/failpoints --bench million`; `CHANCERY_AUDIT_RUNS` is how often each takes its turn,
//! `CHANCERY_AUDIT_THREADS` on how many threads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod file;
mod floor;
mod make;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use chancery_audit::engine::{Engine, Options};
use file::LogFile;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor") => said(|| floor::run(&LogFile::open(Path::new(&args[2])), threads())),
        Some("audit") => said(|| audit(&LogFile::open(Path::new(&args[2])))),
        _ => compare(args.iter().any(|arg| arg == "--test")),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

fn threads() -> usize {
    let cores = std::thread::available_parallelism().unwrap().get();
    usize::try_from(number("CHANCERY_AUDIT_THREADS", cores as u64)).unwrap()
}

/// Prints what a process of its own took.
fn said(run: impl FnOnce()) {
    let started = Instant::now();
    run();
    let seconds = started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{seconds} {} {peak_kib}", cpu_seconds());
}

/// User and system time of this process and all its threads: ticks of 10 ms, after the name in parentheses.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

fn audit(log: &LogFile) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { threads: threads(), ..Options::default() };
    let mut engine = Engine::open(folder.path(), log.ledger, options).unwrap();
    engine.run(log.entries().map(Ok::<_, std::io::Error>), log.size, &|_| {}).unwrap();
    assert_eq!((engine.size(), engine.frontier().root()), (log.size, log.root));
}

fn compare(quick: bool) {
    // `cargo test` builds and runs benches too: once, small, to see that they work.
    let entries = if quick { 1_000 } else { number("CHANCERY_AUDIT_ENTRIES", 20_000) };
    let runs = if quick { 1 } else { number("CHANCERY_AUDIT_RUNS", 3) };
    let path = made(entries);
    println!("{entries} entries, {} threads, runs interleaved", threads());
    println!("{:<8} {:>12} {:>14} {:>12} {:>12}", "", "seconds", "entries/s", "CPU seconds", "peak MiB");
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for run in 0..runs {
        // Each is first as often as the other.
        let order = if run % 2 == 0 { ["floor", "audit"] } else { ["audit", "floor"] };
        let mut turns = order.map(|what| (what, turn(what, &path)));
        for (what, Turn { seconds, cpu_seconds, peak_kib }) in turns {
            let (rate, peak) = (entries as f64 / seconds, peak_kib / 1024.0);
            println!("{what:<8} {seconds:>12.2} {rate:>14.0} {cpu_seconds:>12.2} {peak:>12.1}");
        }
        turns.sort_by_key(|(what, _)| *what);
        let [(_, audit), (_, floor)] = turns;
        walls.push(audit.seconds / floor.seconds);
        cpus.push(audit.cpu_seconds / floor.cpu_seconds);
    }
    for (what, mut ratios) in [("time", walls), ("CPU time", cpus)] {
        ratios.sort_by(f64::total_cmp);
        if let Some(median) = ratios.get(ratios.len() / 2) {
            println!("audit / floor, {what}: {median:.2} (median of {ratios:.2?})");
        }
    }
}

/// What a process took.
#[derive(Clone, Copy)]
struct Turn {
    seconds: f64,
    cpu_seconds: f64,
    peak_kib: f64,
}

/// The log's file, made if it is not there.
fn made(entries: u64) -> PathBuf {
    let path = std::env::temp_dir().join(format!("chancery-audit-{entries}-v2.log"));
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        make::make(entries, &unfinished);
        std::fs::rename(unfinished, &path).unwrap();
    }
    path
}

/// Has a process of its own do `what`.
fn turn(what: &str, path: &Path) -> Turn {
    let output = Command::new(std::env::current_exe().unwrap()).arg(what).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{what}: {text} {}", String::from_utf8_lossy(&output.stderr));
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Turn { seconds: numbers[0], cpu_seconds: numbers[1], peak_kib: numbers[2] }
}
