//! `chancery watch`: the log's leaves as they come, one a line; the ends of grants; and what proves them.

use chancery_client::{Change, Event, GrantEnd, ProvenHead, ResumeToken, Watch as Following, WatchError};
use chancery_ledger::authority::Entry;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::node::stop_signal;
use crate::output::{self, Format, Page, Report, style, utc};
use crate::{context, ledger};

/// The log's leaves as they come, and grants as they end, until Ctrl-C. What is printed is proven by the next head.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The first leaf.
    #[arg(long, default_value_t = 0, conflicts_with = "resume")]
    from: u64,
    /// Go on after an earlier watch, which ended with this token: nothing is missed, and nothing comes twice.
    #[arg(long, value_name = "TOKEN")]
    resume: Option<ResumeToken>,
    /// End after so many lines.
    #[arg(long)]
    count: Option<u64>,
    /// STATE leaves, too: what the state is after each block.
    #[arg(long)]
    state: bool,
    /// Heads, too, about one a second: each proves all leaves before it.
    #[arg(long)]
    heads: bool,
}

impl Watch {
    /// Runs `chancery watch`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let stop = stop_signal(false)?;
        let watch = match self.resume.clone() {
            Some(token) => ledger.watch_from(token).await,
            None => ledger.watch(self.from).await,
        };
        let mut watch = watch.map_err(|error| failure(&error))?;
        let lines = async {
            let mut left = self.count;
            while left != Some(0) {
                let event = match watch.next().await {
                    Ok(event) => event,
                    // A terminal that was stopped for a while: nothing is lost by going on.
                    Err(WatchError::TooSlow { .. }) => continue,
                    Err(error) => return Err(failure(&error)),
                };
                if self.shows(&event) {
                    print(&event, &watch, format);
                    left = left.map(|left| left.saturating_sub(1));
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = lines => ended?,
            () = stop => {}
        }
        let (next, token) = (watch.next_index(), watch.token().map(|token| token.to_string()));
        let mut page = Page::blank().text(style::dim(&format!("the next leaf is {next}")));
        if let Some(token) = &token {
            page = page.text(style::dim(&format!("go on with --resume {token}")));
        }
        Ok(Report::done(page, json!({ "outcome": "done", "next_index": next, "token": token })))
    }

    const fn shows(&self, event: &Event) -> bool {
        match event {
            Event::Change(change) if matches!(change.entry, Entry::State { .. }) => self.state,
            Event::Head(_) => self.heads,
            Event::Change(_) | Event::Ended(_) => true,
        }
    }
}

/// What a watch that ended means here.
pub(crate) fn failure(error: &WatchError) -> Failure {
    let (exit, code) = match error {
        WatchError::Unavailable { .. } => (Exit::Unknown, "unavailable"),
        WatchError::TooSlow { .. } => (Exit::Unknown, "too_slow"),
        WatchError::Untrue { .. } => (Exit::Invalid, "untrue"),
        WatchError::Unproven { .. } => (Exit::Invalid, "unproven"),
        WatchError::OtherLedger => (Exit::Usage, "other_ledger"),
    };
    Failure::new(exit, error.to_string()).code(code)
}

fn print(event: &Event, watch: &Following, format: Format) {
    match (format, event) {
        (Format::Json, Event::Change(change)) => output::say_json(&change_json(change)),
        (Format::Json, Event::Ended(end)) => output::say_json(&end_json(end)),
        (Format::Json, Event::Head(proven)) => output::say_json(&head_json(proven, watch)),
        (Format::Text, event) => output::say(&format!("{}\n", line(event))),
    }
}

fn line(event: &Event) -> String {
    let index = |index: u64| style::dim(&format!("{index:>8}"));
    match event {
        Event::Change(change) => {
            let text = match &change.entry {
                Entry::Command { block, time_ms, signed, verdict } => {
                    let command = signed.command();
                    let by = style::dim(&format!("by {}", output::short(&command.signer)));
                    let verdict = verdict.as_ref().map(output::verdict).unwrap_or_default();
                    let words = output::words(&command.body);
                    format!("block {block:<6} {}  {words} {verdict} {by}", utc(*time_ms))
                }
                Entry::State { block, time_ms, state_root, .. } => style::dim(&format!(
                    "block {block:<6} {}  state {}",
                    utc(*time_ms),
                    output::short(state_root)
                )),
            };
            format!("{}  {text}", index(change.index))
        }
        Event::Ended(GrantEnd { grant, index: of, not_after_ms }) => {
            format!("{}  {:12} {}  grant {} ended", index(*of), "", utc(*not_after_ms), output::short(grant))
        }
        Event::Head(ProvenHead { head, freshness }) => style::dim(&format!(
            "{:8}  block {:<6} {}  proven up to here",
            "",
            head.block,
            utc(freshness.clock_min_ms)
        )),
    }
}

fn change_json(change: &Change) -> Value {
    match &change.entry {
        Entry::Command { block, time_ms, signed, verdict } => {
            let value = json!({
                "index": change.index,
                "block": block,
                "time_ms": time_ms,
                "kind": output::kind(&signed.command().body),
                "signer": signed.command().signer.to_string(),
                "command_hash": signed.command_hash().to_string(),
                "text": anstream::adapter::strip_str(&output::words(&signed.command().body)).to_string(),
                "ended": change.ended,
            });
            match verdict {
                Some(verdict) => output::with(value, "verdict", output::recorded_json(verdict)),
                None => value,
            }
        }
        Entry::State { block, time_ms, state_root, roster, rules_version, .. } => json!({
            "index": change.index,
            "block": block,
            "time_ms": time_ms,
            "kind": "state",
            "state_root": state_root.to_string(),
            "roster": roster.to_string(),
            "rules_version": rules_version,
        }),
    }
}

fn end_json(end: &GrantEnd) -> Value {
    json!({
        "kind": "ended",
        "grant": end.grant.to_string(),
        "index": end.index,
        "not_after_ms": end.not_after_ms,
    })
}

fn head_json(proven: &ProvenHead, watch: &Following) -> Value {
    json!({
        "kind": "head",
        "head": output::head_json(&proven.head),
        "clock_min_ms": proven.freshness.clock_min_ms,
        "clock_max_ms": proven.freshness.clock_max_ms,
        "token": watch.proven().to_string(),
    })
}
