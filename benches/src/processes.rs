//! Processes that are measured: started, looked at, and ended by their own handles.
//!
//! Each ends with this process, whatever ends it: a shell between the two waits for the end of its standard input,
//! which this process holds open, and then kills the one process that it started.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::fault::{BenchError, Result};

/// Starts `"$@"`, says its process id, and kills it when nobody holds the standard input any more.
const KEEPER: &str =
    r#""$@" </dev/null >/dev/null & child=$!; echo "$child"; read -r _; kill -9 "$child"; wait "$child""#;

/// Lines of a process's log that a failure tells.
const LAST_LINES: usize = 8;

/// A process and the shell that keeps it.
#[derive(Debug)]
pub(crate) struct Process {
    keeper: Child,
    id: u32,
    log: PathBuf,
}

impl Drop for Process {
    /// The keeper kills the process and is waited for, so that nothing is left when this returns.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Process {
    /// Starts `program` with `arguments` and `environment`; what it says goes to `log`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        log: PathBuf,
    ) -> Result<Self> {
        let file = File::create(&log).map_err(BenchError::at(&log))?;
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "sh"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            // An interrupt of the terminal comes to this process alone, which then ends them all.
            .process_group(0)
            .spawn()
            .map_err(BenchError::at(program))?;
        let mut said = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).map_err(BenchError::at(program))?;
        }
        match said.trim().parse() {
            Ok(id) => Ok(Self { keeper, id, log }),
            Err(_) => {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
                Err(BenchError::System {
                    system: "process",
                    reason: format!("{} did not start", program.display()),
                })
            }
        }
    }

    /// CPU time that it has used, in user and kernel mode.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_time(&self.id.to_string())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0).saturating_mul(1024)
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines.iter().skip(from).copied().collect::<Vec<_>>().join("\n")
    }
}

/// CPU time that this process has used.
pub(crate) fn own_cpu() -> Duration {
    cpu_time("self")
}

/// CPU time that the machine spent on anything, on all processors together.
pub(crate) fn machine_cpu() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: all but idle and iowait.
    let busy = fields.iter().take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4)).map(|(_, n)| n);
    of_ticks(busy.sum())
}

/// `utime` and `stime` of `/proc/ID/stat`.
fn cpu_time(id: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The second field is the program's name in parentheses, and may have spaces.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    of_ticks(fields.next().unwrap_or(0) + fields.next().unwrap_or(0))
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)))
}
