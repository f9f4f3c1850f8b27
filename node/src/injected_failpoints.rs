//! For fault tests only: failpoints that are switched through a file while the node runs.
//!
//! `CHANCERY_FAILPOINTS_FILE` names it: lines of `NAME=ACTIONS`, as the crate `fail` has them. What is no longer
//! in it is switched off. No file is no error. It is read every 10 ms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VARIABLE: &str = "CHANCERY_FAILPOINTS_FILE";
const FOLLOW_EVERY: Duration = Duration::from_millis(10);

/// Follows the file that the environment names for as long as the process runs. What it says now is in force when
/// this returns.
pub(crate) fn follow_file() {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let mut set = follow(&path, BTreeMap::new());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(FOLLOW_EVERY);
            set = follow(&path, std::mem::take(&mut set));
        }
    });
}

fn follow(path: &Path, set: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let wanted = lines.map(|(name, actions)| (name.to_owned(), actions.to_owned())).collect();
    if wanted != set {
        switch(&set, &wanted);
    }
    wanted
}

fn switch(set: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
    for name in set.keys().filter(|name| !wanted.contains_key(*name)) {
        tracing::warn!(name, "failpoint off");
        fail::remove(name);
    }
    for (name, actions) in wanted.iter().filter(|(name, actions)| set.get(*name) != Some(*actions)) {
        match fail::cfg(name, actions) {
            Ok(()) => tracing::warn!(name, actions, "failpoint on"),
            Err(reason) => tracing::error!(name, actions, reason, "no failpoint"),
        }
    }
}
