//! `chancery watch`: the log's leaves as they come, one a line.

use chancery_client::{Event, WatchError};
use chancery_ledger::authority::Entry;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::node::stop_signal;
use crate::output::{self, Format, Page, Report, style, utc};
use crate::{context, ledger};

/// The log's leaves as they come, until Ctrl-C. What a node sends is not proven leaf by leaf.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The first leaf.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// End after so many leaves.
    #[arg(long)]
    count: Option<u64>,
    /// STATE leaves, too: what the state is after each block.
    #[arg(long)]
    state: bool,
}

impl Watch {
    /// Runs `chancery watch`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let stop = stop_signal(false)?;
        let mut watch = ledger.watch(self.from).await.map_err(|error| failure(&error))?;
        let lines = async {
            let mut left = self.count;
            while left != Some(0) {
                let event = watch.next().await.map_err(|error| failure(&error))?;
                if !self.state && matches!(event.entry, Entry::State { .. }) {
                    continue;
                }
                print(&event, format);
                left = left.map(|left| left.saturating_sub(1));
            }
            Ok(())
        };
        tokio::select! {
            ended = lines => ended?,
            () = stop => {}
        }
        let next = watch.next_index();
        let page = Page::blank().text(style::dim(&format!("the next leaf is {next}")));
        Ok(Report::done(page, json!({ "outcome": "done", "next_index": next })))
    }
}

fn failure(error: &WatchError) -> Failure {
    let exit = match error {
        WatchError::Unavailable { .. } => Exit::Unknown,
        WatchError::NotTheNext { .. } => Exit::Invalid,
    };
    Failure::new(exit, error.to_string())
}

fn print(event: &Event, format: Format) {
    match format {
        Format::Json => output::say_json(&event_json(event)),
        Format::Text => {
            let index = style::dim(&format!("{:>8}", event.index));
            let text = match &event.entry {
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
            output::say(&format!("{index}  {text}\n"));
        }
    }
}

fn event_json(event: &Event) -> Value {
    match &event.entry {
        Entry::Command { block, time_ms, signed, verdict } => {
            let value = json!({
                "index": event.index,
                "block": block,
                "time_ms": time_ms,
                "kind": output::kind(&signed.command().body),
                "signer": signed.command().signer.to_string(),
                "command_hash": signed.command_hash().to_string(),
                "text": anstream::adapter::strip_str(&output::words(&signed.command().body)).to_string(),
            });
            match verdict {
                Some(verdict) => output::with(value, "verdict", output::recorded_json(verdict)),
                None => value,
            }
        }
        Entry::State { block, time_ms, state_root, roster, rules_version, .. } => json!({
            "index": event.index,
            "block": block,
            "time_ms": time_ms,
            "kind": "state",
            "state_root": state_root.to_string(),
            "roster": roster.to_string(),
            "rules_version": rules_version,
        }),
    }
}
