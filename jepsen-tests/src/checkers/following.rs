//! That whoever followed the log was told all of it, and nothing twice.

use std::collections::{BTreeMap, HashSet};

use chancery_ledger::authority::Entry;
use chancery_ledger::command::LedgerId;
use chancery_ledger::follow::{GrantEnd, grant_end};

use super::{Finding, Verdict};
use crate::follower::Followed;
use crate::history::NodeLog;

/// Names it.
pub const NAME: &str = "following";

/// Compares what each follower was told with the log that the nodes serve in the end: every leaf, once, in its order;
/// and the end of every grant in it that ended by the last head's clocks, once, unless it was over when it came.
pub fn check(ledger: LedgerId, followed: &[Followed], logs: &[NodeLog]) -> Finding {
    let examined = followed.iter().map(|one| one.leaves.len() as u64 + one.ends.len() as u64).sum();
    Finding { checker: NAME, examined, verdict: judge(ledger, followed, logs) }
}

fn judge(ledger: LedgerId, followed: &[Followed], logs: &[NodeLog]) -> Verdict {
    let Some(log) = logs.first() else {
        return Verdict::Inconclusive { why: "the log was read from no node".into() };
    };
    let ends = match ends_of(ledger, log) {
        Ok(ends) => ends,
        Err(why) => return Verdict::Inconclusive { why },
    };
    let wrong = followed.iter().find_map(|one| {
        let whose = one.node.map_or_else(|| "of all nodes".to_owned(), |node| format!("of node {node}"));
        let what = judge_leaves(one, log).or_else(|| judge_ends(one, &ends))?;
        Some(Verdict::violation(NAME, format!("a follower {whose} was {what}"), &[]))
    });
    match wrong {
        Some(violation) => violation,
        None if followed.iter().any(|one| one.heads == 0) => {
            Verdict::Inconclusive { why: "a follower was told no head".into() }
        }
        None => Verdict::Valid,
    }
}

/// Every end that the log holds, by the leaf of its grant.
fn ends_of(ledger: LedgerId, log: &NodeLog) -> Result<BTreeMap<u64, GrantEnd>, String> {
    let mut ends = BTreeMap::new();
    for (index, bytes) in (0..).zip(&log.leaves) {
        let entry = Entry::decode(bytes).map_err(|error| format!("leaf {index}: {error}"))?;
        ends.extend(grant_end(ledger, index, &entry).map(|end| (index, end)));
    }
    Ok(ends)
}

fn judge_leaves(one: &Followed, log: &NodeLog) -> Option<String> {
    if let Some(first) = one.untrue.first() {
        return Some(format!("sent what is not true: {first}"));
    }
    for (place, (index, leaf)) in (0_u64..).zip(&one.leaves) {
        if *index != place {
            let what = if *index < place { "twice" } else { "not at all" };
            return Some(format!("told leaf {} {what}", place.min(*index)));
        }
        let known = usize::try_from(*index).ok().and_then(|index| log.leaves.get(index));
        if known != Some(leaf) {
            return Some(format!("told another leaf {index} than the log has"));
        }
    }
    let (told, all) = (one.leaves.len(), log.leaves.len());
    (told < all).then(|| format!("told {told} of {all} leaves"))
}

fn judge_ends(one: &Followed, ends: &BTreeMap<u64, GrantEnd>) -> Option<String> {
    let mut told: HashSet<u64> = one.ended_before.iter().copied().collect();
    for end in &one.ends {
        if !told.insert(end.index) {
            return Some(format!("told twice that the grant of leaf {} ended", end.index));
        }
        if ends.get(&end.index) != Some(end) {
            return Some(format!("told of an end of leaf {} that the log does not have", end.index));
        }
    }
    let missed = ends.values().find(|end| end.not_after_ms <= one.ended_ms && !told.contains(&end.index));
    missed.map(|end| format!("not told that the grant of leaf {} ended", end.index))
}
