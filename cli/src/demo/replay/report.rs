//! The replay's denials, each in words, and its tables.

use std::collections::BTreeMap;
use std::time::Duration;

use chancery_client::Receipt;
use serde_json::json;

use super::airline::TOOLS;
use super::audit::Audit;
use super::{Narrator, REVOKED_TOOL, Replayed};
use crate::output::{self, Page, Table, milliseconds, style, utc};

/// Denials of one kind that are told people one by one; machines are told all.
const TOLD_MAX: usize = 6;

/// What denials have in common: the proven reason's name, the tool, and the rule as it is written.
type Kind<'a> = (&'a str, &'a str, String);

/// Tells every denial in words, those of one kind together.
pub(super) fn denials(narrator: &Narrator, replayed: &[Replayed], audit: &Audit) {
    narrator.chapter("Every denial, explained from the state that it was decided from");
    let kinds = kinds(replayed, audit);
    for ((code, tool, rule), calls) in &kinds {
        if !narrator.is_json() {
            output::say(&format!("  {}  {} {tool}: {rule}\n", style::bad(code), calls.len()));
        }
        for (place, (number, call)) in calls.iter().enumerate() {
            let found = audit.denials.get(&call.index).map(|denial| denial.found.clone()).unwrap_or_default();
            if narrator.is_json() {
                let facts = json!({
                    "call": number,
                    "episode": call.episode,
                    "tool": tool,
                    "made_up": call.made_up,
                    "index": call.index,
                    "code": code,
                    "rule": rule,
                    "found": found,
                });
                narrator.tell("denied", "", facts);
            } else if place < TOLD_MAX {
                let leaf = format!("episode {}, leaf {}", call.episode, call.index);
                output::say(&format!("         {leaf}: {}\n", style::dim(&found.join("; "))));
            } else if place == TOLD_MAX {
                let more = format!("and {} more, which `--output json` tells", calls.len() - TOLD_MAX);
                output::say(&format!("         {}\n", style::dim(&more)));
            }
        }
    }
}

/// Prints what came of every recorded call.
pub(super) fn print(
    narrator: &Narrator,
    replayed: &[Replayed],
    audit: &Audit,
    (revocation, permits_after): (&Receipt, usize),
) {
    let recorded: Vec<&Replayed> = replayed.iter().filter(|call| !call.made_up).collect();
    let (p50, p99) = (percentile(&recorded, 50), percentile(&recorded, 99));
    let count = |calls: &[(usize, &Replayed)]| calls.iter().filter(|(_, call)| !call.made_up).count();
    let reasons: Vec<(Kind<'_>, usize)> =
        kinds(replayed, audit).into_iter().map(|(kind, calls)| (kind, count(&calls))).collect();
    let denied = recorded.iter().filter(|call| call.denied.is_some()).count();
    let facts = json!({
        "calls": recorded.len(),
        "allowed": recorded.len() - denied,
        "denied": denied,
        "denied_by_reason": reasons
            .iter()
            .map(|((code, tool, rule), count)| {
                json!({ "code": code, "tool": tool, "rule": rule, "count": count })
            })
            .collect::<Vec<_>>(),
        "decisions_redecided": audit.decisions,
        "decision_p50_us": u64::try_from(p50.as_micros()).unwrap_or(u64::MAX),
        "decision_p99_us": u64::try_from(p99.as_micros()).unwrap_or(u64::MAX),
        "revocation": { "index": revocation.index, "block": revocation.block, "time_ms": revocation.time_ms },
        "permits_after_the_revocation": permits_after,
    });
    if narrator.is_json() {
        narrator.tell("table", "", facts);
        return;
    }
    let mut tools = Table::new(&["tool", ">calls", ">allowed", ">denied"]);
    for (tool, _) in TOOLS {
        let calls = || recorded.iter().filter(|call| call.tool == tool);
        let denied = calls().filter(|call| call.denied.is_some()).count();
        let marked = if denied == 0 { "0".into() } else { style::bad(&denied.to_string()) };
        let count = calls().count();
        tools.row([tool.to_owned(), count.to_string(), (count - denied).to_string(), marked]);
    }
    let all = [recorded.len(), recorded.len() - denied, denied].map(|count| style::title(&count.to_string()));
    let [calls, allowed, denied] = all;
    tools.row([style::title("all"), calls, allowed, denied]);
    let mut rules = Table::new(&[">denied", "why", "tool", "rule"]);
    for ((code, tool, rule), count) in &reasons {
        rules.row([count.to_string(), (*code).to_owned(), (*tool).to_owned(), style::dim(rule)]);
    }
    let page = Page::blank().table(tools).text("").table(rules).text("");
    let page = page
        .field("a recorded decision", format!("p50 {}, p99 {}", milliseconds(p50), milliseconds(p99)))
        .field(
            "revocation",
            format!(
                "of {REVOKED_TOOL}: index {}, block {}, {}",
                revocation.index,
                revocation.block,
                utc(revocation.time_ms)
            ),
        );
    output::say(&page.render());
    let line = format!("permits after the revocation: {permits_after}");
    let line = if permits_after == 0 { style::good(&line) } else { style::bad(&line) };
    output::say(&format!("\n{line}\n"));
}

/// Denials by kind, with each call's place in the recording.
fn kinds<'a>(replayed: &'a [Replayed], audit: &Audit) -> BTreeMap<Kind<'a>, Vec<(usize, &'a Replayed)>> {
    let mut kinds: BTreeMap<Kind<'a>, Vec<_>> = BTreeMap::new();
    let mut number = 0;
    for call in replayed {
        if let Some((denial, delegated)) = &call.denied {
            let rule = audit.denials.get(&call.index).and_then(|denial| denial.rule.clone());
            let rule = rule.unwrap_or_else(|| delegated.words().into());
            kinds.entry((denial.code(), call.tool.as_str(), rule)).or_default().push((number, call));
        }
        number += usize::from(!call.made_up);
    }
    kinds
}

/// The duration that so many percent of the decisions did not exceed.
fn percentile(calls: &[&Replayed], percent: usize) -> Duration {
    let mut took: Vec<_> = calls.iter().map(|call| call.took).collect();
    took.sort_unstable();
    let rank = (took.len() * percent).div_ceil(100);
    took.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let call = |ms| Replayed {
            episode: 0,
            tool: "think".into(),
            made_up: false,
            after: false,
            denied: None,
            index: ms,
            decisions: 1,
            took: Duration::from_millis(ms),
            file: "f".into(),
        };
        let calls: Vec<_> = (1..=100).rev().map(call).collect();
        let calls: Vec<_> = calls.iter().collect();
        assert_eq!(percentile(&calls, 50), Duration::from_millis(50));
        assert_eq!(percentile(&calls, 99), Duration::from_millis(99));

        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
