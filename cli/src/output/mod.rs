//! What a command prints: one page for people or one JSON object for machines, made from the same facts.
//!
//! A page is rendered with styles; the stream drops them when it is no terminal or `NO_COLOR` is set.

pub(crate) mod claim;
mod commands;
mod convicted;
mod equivocation;
mod page;
mod progress;
mod proven;
pub(crate) mod style;
mod time;

pub(crate) use commands::{kind, voter_set, words};
pub(crate) use convicted::{conviction, conviction_json};
pub(crate) use equivocation::{equivocation, equivocation_json};
pub(crate) use page::{Page, Table};
pub(crate) use progress::Progress;
pub(crate) use proven::{
    allowances, denial, denial_json, head_json, node_names, past_json, past_proof, proof, proven,
    proven_json, quorums, recorded_json, scope_json, short, taken, verdict, verdict_json,
};
pub(crate) use time::{milliseconds, now_ms, seconds, utc};

use std::io::Write;

use serde_json::Value;

use crate::exit::{Exit, Failure};

/// How output is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: aligned, coloured on a terminal.
    Text,
    /// For machines: one JSON object a command, one a line where a command goes on.
    Json,
}

/// What a command has to say when it ends.
#[derive(Debug)]
pub(crate) struct Report {
    /// The exit code.
    pub(crate) exit: Exit,
    /// For people.
    pub(crate) page: Page,
    /// For machines; `outcome` included.
    pub(crate) json: Value,
}

impl Report {
    /// A report of something done.
    pub(crate) const fn done(page: Page, json: Value) -> Self {
        Self { exit: Exit::Done, page, json }
    }

    /// Prints it.
    pub(crate) fn print(&self, format: Format) {
        match format {
            Format::Text => say(&self.page.render()),
            Format::Json => say_json(&self.json),
        }
    }
}

/// A JSON object with one more field, or with that field changed.
pub(crate) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.into(), value);
    }
    object
}

/// Prints why a command failed: people read it on standard error, machines on standard output.
pub(crate) fn print_failure(failure: &Failure, format: Format) {
    match format {
        Format::Json => say_json(&failure.to_json()),
        Format::Text => {
            let word = style::bad(failure.exit.words());
            let mut text = format!("{word}: {}\n", failure.message);
            if let Some(hint) = &failure.hint {
                text.push_str(&format!("  {}\n", style::dim(hint)));
            }
            // A closed stream is nobody to tell.
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
    }
}

/// Writes to standard output; styles are dropped where they do not belong. A reader that has gone is no
/// failure of the command.
pub(crate) fn say(text: &str) {
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes one JSON object as a line.
pub(crate) fn say_json(value: &Value) {
    say(&format!("{value}\n"));
}
