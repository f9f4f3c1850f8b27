//! `chancery archive`: a published log as static files.

use std::path::PathBuf;

use chancery_audit::{ArchiveError, Archived, Fault, archive};
use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::output::{Page, Report, style};
use crate::published;
use crate::verify::load_trust;

/// Write a log's tiles, entries and newest checkpoint to a folder that any web server can serve. What is there already is not
/// fetched again.
#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// The folder. It is made if it is not there.
    folder: PathBuf,
    /// Where a node serves the log, or another archive of it.
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// Whom to believe: nothing is archived that its nodes did not cosign.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
}

impl Archive {
    /// Runs `chancery archive`, which blocks.
    pub(crate) fn run(&self) -> Result<Report> {
        let trust = load_trust(&self.trust)?;
        let archived = archive(&published::open(&self.from)?, &trust, &self.folder, &mut |_, _| {});
        let Archived { before, size, root } = archived.map_err(failure)?;
        let added = size.saturating_sub(before);
        let page = Page::new(format!("{} {}", style::good("archived"), self.folder.display()))
            .field("leaves", format!("{size}, {added} of them new"))
            .field("root", root.to_string());
        let json = json!({
            "outcome": "done",
            "folder": self.folder,
            "size": size,
            "added": added,
            "root": root.to_string(),
        });
        Ok(Report::done(page, json))
    }
}

fn failure(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Wrong(finding) => published::wrong(&finding),
        ArchiveError::Source(error) => published::failure(Fault::Source(error)),
        ArchiveError::Damaged(_) => Failure::new(Exit::Invalid, error.to_string()).code("damaged"),
        ArchiveError::Write { .. } | ArchiveError::Busy(_) | ArchiveError::Bundle(_) => {
            Failure::local(error.to_string())
        }
    }
}
