//! The replay's table.

use std::collections::BTreeMap;
use std::time::Duration;

use chancery_client::Receipt;
use serde_json::json;

use super::airline::TOOLS;
use super::{Narrator, REVOKED_TOOL, Replayed};
use crate::output::{self, Page, Table, milliseconds, style, utc};

/// Prints what came of every call.
pub(super) fn print(narrator: &Narrator, replayed: &[Replayed], revocation: &Receipt, permits_after: usize) {
    let (p50, p99) = (percentile(replayed, 50), percentile(replayed, 99));
    let reasons = reasons(replayed);
    let denied = replayed.iter().filter(|call| call.denied.is_some()).count();
    let facts = json!({
        "calls": replayed.len(),
        "allowed": replayed.len() - denied,
        "denied": denied,
        "denied_by_reason": reasons
            .iter()
            .map(|((code, why), count)| json!({ "code": code, "why": why, "count": count }))
            .collect::<Vec<_>>(),
        "check_p50_us": u64::try_from(p50.as_micros()).unwrap_or(u64::MAX),
        "check_p99_us": u64::try_from(p99.as_micros()).unwrap_or(u64::MAX),
        "revocation": { "index": revocation.index, "block": revocation.block, "time_ms": revocation.time_ms },
        "permits_after_the_revocation": permits_after,
    });
    if narrator.is_json() {
        narrator.tell("table", "", facts);
        return;
    }
    let mut tools = Table::new(&["tool", ">calls", ">allowed", ">denied"]);
    for (tool, _) in TOOLS {
        let calls = || replayed.iter().filter(|call| call.tool == tool);
        let denied = calls().filter(|call| call.denied.is_some()).count();
        let marked = if denied == 0 { "0".into() } else { style::bad(&denied.to_string()) };
        let count = calls().count();
        tools.row([tool.to_owned(), count.to_string(), (count - denied).to_string(), marked]);
    }
    let all = [replayed.len(), replayed.len() - denied, denied].map(|count| style::title(&count.to_string()));
    let [calls, allowed, denied] = all;
    tools.row([style::title("all"), calls, allowed, denied]);
    let mut page = Page::blank().table(tools).text("");
    for ((code, why), count) in &reasons {
        page = page.field(format!("denied: {code}"), format!("{count}  {}", style::dim(why)));
    }
    let page =
        page.field("a proven check", format!("p50 {}, p99 {}", milliseconds(p50), milliseconds(p99))).field(
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

/// Denials by proven reason and what the desk knew of it.
fn reasons(replayed: &[Replayed]) -> BTreeMap<(&'static str, &'static str), usize> {
    let mut reasons = BTreeMap::new();
    for reason in replayed.iter().filter_map(|call| call.denied) {
        *reasons.entry(reason).or_insert(0) += 1;
    }
    reasons
}

/// The duration that so many percent of the checks did not exceed.
fn percentile(replayed: &[Replayed], percent: usize) -> Duration {
    let mut took: Vec<_> = replayed.iter().map(|call| call.took).collect();
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
            tool: "think".into(),
            after: false,
            denied: None,
            took: Duration::from_millis(ms),
            file: "f".into(),
        };
        let calls: Vec<_> = (1..=100).rev().map(call).collect();
        assert_eq!(percentile(&calls, 50), Duration::from_millis(50));
        assert_eq!(percentile(&calls, 99), Duration::from_millis(99));

        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
