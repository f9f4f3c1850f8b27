//! `chancery demo`: the story, or with `--replay` a recording, on three node processes of its own.
//!
//! It ends by itself, leaves nothing behind however it ends, and fails if one of its claims does not hold.

mod agent;
mod narrator;
mod replay;
mod stage;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::exit::{Failure, Result};
use crate::node::stop_signal;
use crate::output::{Format, Page, Report, style};

use narrator::Narrator;
use stage::Stage;

/// The story takes less than half a minute, more on a machine that has other work; it must never hang.
const STORY_TIMEOUT: Duration = Duration::from_secs(300);

/// A recording may be long.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// An agent works, is revoked, and is denied, provably, while nodes fail. Everything it claims, it checks.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Instead, run every tool call of a recording, and revoke half-way.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Keep the folder with keys, logs and evidence.
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Runs `chancery demo`.
    pub(crate) async fn run(&self, format: Format) -> Result<Report> {
        let stop = stop_signal(false)?;
        let recording = self.replay.as_deref().map(replay::read).transpose()?;
        let timeout = if recording.is_some() { REPLAY_TIMEOUT } else { STORY_TIMEOUT };
        let mut narrator = Narrator::new(format);
        let mut stage = Stage::set("chancery.localhost/demo", self.keep)?;
        let told = async {
            match &recording {
                Some(steps) => replay::run(&mut narrator, &mut stage, steps).await,
                None => story::tell(&mut narrator, &mut stage).await,
            }
        };
        let told = tokio::select! {
            told = told => told,
            () = stop => Err(Failure::local("interrupted")),
            () = tokio::time::sleep(timeout) => {
                Err(Failure::local(format!("not at its end after {} s", timeout.as_secs())))
            }
        };
        let kept = stage.kept().map(PathBuf::from);
        let clean = stage.strike().await;
        told.map_err(|failure| match &kept {
            Some(path) => failure.hint(format!("logs and evidence are in {}", path.display())),
            None => failure.hint("with --keep, the nodes' logs are kept"),
        })?;
        clean?;
        if kept.is_none() {
            narrator.claim("nothing is left behind: no process, no file", true);
        }
        narrator.end()?;
        let mut page = Page::blank();
        if let Some(path) = &kept {
            page = page.text(format!("\n  kept in {}", style::name(&path.display().to_string())));
        }
        let json = json!({
            "outcome": "done",
            "event": "end",
            "elapsed_ms": narrator.elapsed_ms(),
            "kept": kept,
        });
        Ok(Report::done(page, json))
    }
}
