//! That something was recorded by a time: a revocation, or whatever is at an index of the log.

use std::path::PathBuf;

use chancery_ledger::command::{Body, GrantId};
use chancery_ledger::evidence::{self, RecordedByError, ShownRecordedBy};
use clap::Args;
use serde_json::json;

use super::log::{InLog, Log, Source};
use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_grant;
use crate::output::{self, Report, utc};
use crate::{files, verify};

/// Of which time, by what, and to where.
#[derive(Debug, Args)]
struct By {
    #[command(flatten)]
    source: Source,
    /// By when at the latest, in milliseconds since 1970: no file, if the checkpoint shows a later time. By default,
    /// whatever it shows.
    #[arg(long = "by", value_name = "MS")]
    by_ms: Option<u64>,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// That it was revoked by a time.
#[derive(Debug, Args)]
pub(super) struct RevokedBy {
    /// The revoked grant. Its revocation is looked for in the log.
    #[arg(value_parser = parse_grant, required_unless_present = "index", conflicts_with = "index")]
    grant: Option<GrantId>,
    /// The index of the revocation, as `revoke` printed it and denials name it.
    #[arg(long)]
    index: Option<u64>,
    #[command(flatten)]
    by: By,
}

/// That it was recorded by a time.
#[derive(Debug, Args)]
pub(super) struct RecordedBy {
    /// The index of the command, as its receipt printed it.
    index: u64,
    #[command(flatten)]
    by: By,
}

impl RevokedBy {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let log = self.by.source.open(named).await?;
        let index = match (self.index, self.grant) {
            (Some(index), _) => index,
            (None, Some(grant)) => log.revocation_of(grant).await?,
            // INVARIANT: clap demands one or the other.
            (None, None) => return Err(Failure::usage("a grant or --index")),
        };
        let is_revocation = |shown: &ShownRecordedBy| {
            matches!(
                shown.recorded.signed.command().body,
                Body::RevokeGrant { .. } | Body::RevokeAgent { .. } | Body::RetireAgent { .. }
            )
        };
        self.by.write(&log, index, is_revocation).await
    }
}

impl RecordedBy {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let log = self.by.source.open(named).await?;
        self.by.write(&log, self.index, |_| true).await
    }
}

impl By {
    async fn write(
        &self,
        log: &Log<'_>,
        index: u64,
        is_asked: impl Fn(&ShownRecordedBy) -> bool,
    ) -> Result<Report> {
        let InLog { trust, checkpoint, leaves } = log.leaf(index).await?;
        let made = evidence::RecordedBy::new(&trust, &checkpoint, leaves);
        let invalid = |error: RecordedByError| Failure::new(Exit::Invalid, error.to_string());
        let file = made.map_err(invalid)?;
        let shown = file.verify(&trust).map_err(invalid)?;
        if self.by_ms.is_some_and(|by_ms| by_ms < shown.by_ms) {
            let hint = "a checkpoint shows when it was cosigned; one that was kept by then may show it";
            let why =
                format!("this checkpoint was cosigned by a quorum by {}, and not before", utc(shown.by_ms));
            return Err(Failure::new(Exit::Denied, why).code("not_by_then").hint(hint));
        }
        if !is_asked(&shown) {
            let found = output::words(&shown.recorded.signed.command().body);
            let why = format!("at index {index} is another command: {found}");
            return Err(Failure::new(Exit::Denied, why).code("other_command"));
        }
        files::replace(&self.file, file.to_json().as_bytes())?;
        let page = verify::describe_recorded_by(output::Page::blank(), &self.file, &trust, &file, &shown);
        let json = verify::recorded_by_json(&self.file, &trust, &file, &shown);
        Ok(Report::done(page, output::with(json, "evidence", json!(self.file))))
    }
}
