//! What only a test inside the node can reach: a log that is cut below what is known to be committed.

use std::sync::Arc;

use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterId;
use chancery_node::raft::types::log_id;
use chancery_node::store::applied::LedgerBlocks;
use chancery_node::store::{Genesis, RaftLog, RaftLogOptions};
use tokio::process::Command;

use crate::house::Setting;

/// What this program is asked for when it is to look at itself.
pub(crate) const ARGUMENT: &str = "--tail-below-a-snapshot";

/// The sabotage is chosen by the environment of a process: so this program starts itself.
pub(crate) async fn below_a_snapshot(setting: Setting) -> Vec<Finding> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ARGUMENT).env_remove("CHANCERY_SABOTAGE");
    if let Some(sabotage) = setting.sabotage {
        command.env("CHANCERY_SABOTAGE", sabotage);
    }
    let said = command.output().await.unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let verdict = match said.trim() {
        "holds" => Verdict::Valid,
        what => Verdict::Violation { checker: "tail", what: what.into(), operations: Vec::new() },
    };
    vec![Finding { checker: "tail", examined: 1, verdict }]
}

/// A snapshot is registered that ends beyond the log, as when one is received and the log is cut for it: the node
/// must state no less from then on. Prints whether it does.
pub(crate) fn look() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = Genesis {
        block_hash: Hash::of(&[b"genesis"]),
        roster_digest: Hash::of(&[b"roster"]),
        voters: [1, 2, 3].into(),
    };
    let log =
        RaftLog::open(folder.path(), &genesis, Arc::new(LedgerBlocks), RaftLogOptions::default()).unwrap();
    let mut end = genesis.position();
    end.block = 7;
    end.roster = RosterId { block: 5, digest: Hash::of(&[b"another"]) };
    log.register_snapshot(log_id(3, 20), end);
    let (block, roster) = log.read_tail_with(|tail| (tail.block, tail.roster)).unwrap();
    if (block, roster) == (end.block, end.roster) {
        println!("holds");
    } else {
        println!(
            "a snapshot of block 7 under the roster of block 5 is registered, the tail is {block}, {roster:?}"
        );
    }
}
