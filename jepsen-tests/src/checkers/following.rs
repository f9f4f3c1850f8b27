//! That whoever followed the log was told all of it, and nothing twice.

use super::{Finding, Verdict};
use crate::follower::Followed;
use crate::history::NodeLog;

/// Names it.
pub const NAME: &str = "following";

/// Compares what each follower was told with the log that the nodes serve in the end.
pub fn check(followed: &[Followed], logs: &[NodeLog]) -> Finding {
    let examined = followed.iter().map(|one| one.leaves.len() as u64).sum();
    Finding { checker: NAME, examined, verdict: judge(followed, logs) }
}

fn judge(followed: &[Followed], logs: &[NodeLog]) -> Verdict {
    let violation = |what: String| Verdict::violation(NAME, what, &[]);
    let Some(log) = logs.first() else {
        return Verdict::Inconclusive { why: "the log was read from no node".into() };
    };
    for one in followed {
        let whose = one.node.map_or_else(|| "of all nodes".to_owned(), |node| format!("of node {node}"));
        if let Some(first) = one.untrue.first() {
            return violation(format!("a follower {whose} was sent what is not true: {first}"));
        }
        for (place, (index, leaf)) in (0_u64..).zip(&one.leaves) {
            if *index != place {
                let what = if *index < place { "twice" } else { "not at all" };
                let missed = place.min(*index);
                return violation(format!("a follower {whose} was told leaf {missed} {what}"));
            }
            let known = usize::try_from(*index).ok().and_then(|index| log.leaves.get(index));
            if known != Some(leaf) {
                return violation(format!(
                    "a follower {whose} was told another leaf {index} than the log has"
                ));
            }
        }
        if one.leaves.len() < log.leaves.len() {
            let (told, all) = (one.leaves.len(), log.leaves.len());
            return violation(format!("a follower {whose} was told {told} of {all} leaves"));
        }
        if one.heads == 0 {
            return Verdict::Inconclusive { why: format!("a follower {whose} was told no head") };
        }
    }
    Verdict::Valid
}
