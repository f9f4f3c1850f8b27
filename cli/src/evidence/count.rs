//! That no permit was recorded for an agent between two moments: what its record counted at each.

use std::path::PathBuf;

use chancery_client::Ledger;
use chancery_ledger::command::Name;
use chancery_ledger::decide::Request;
use chancery_ledger::evidence::{self, NoPermitError};
use chancery_ledger::hash::Hash;
use clap::Args;
use serde_json::json;

use super::state;
use crate::check::ask_request;
use crate::consistency::Consistency;
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Page, Report};
use crate::principal::parse_name;
use crate::{context, files, ledger, verify};

/// That none was recorded.
#[derive(Debug, Args)]
pub(super) struct NoPermit {
    /// Whose.
    #[arg(value_parser = parse_name)]
    agent: Name,
    /// From when on: `at-block=N` or `at-time=MS` (milliseconds since 1970).
    #[arg(long, value_name = "MOMENT", required_unless_present = "from_file", value_parser = moment)]
    from: Option<Consistency>,
    /// The same from evidence of the agent that was kept, whatever it shows.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    from_file: Option<PathBuf>,
    /// Until when, likewise; now, if it is not given.
    #[arg(long, value_name = "MOMENT", default_value_t)]
    to: Consistency,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Of a published log, which does not answer this.
    #[arg(long, value_name = "FILE", hide = true)]
    trust: Option<PathBuf>,
}

/// Here `--from` is a moment; elsewhere it is where a log is published.
fn moment(text: &str) -> std::result::Result<Consistency, String> {
    let wrong = |error| {
        if text.contains('/') { format!("{error}; here it is a moment, and {}", state::WHY) } else { error }
    };
    text.parse().map_err(wrong)
}

impl NoPermit {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        if self.trust.is_some() {
            return Err(state::needs_a_node());
        }
        let ledger = ledger::connect(context::load(named)?).await?;
        let from = match (&self.from_file, self.from) {
            (Some(path), _) => evidence::Evidence::from_json(&files::read(path)?)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            (None, Some(moment)) => self.count(&ledger, moment).await?,
            // INVARIANT: clap demands one or the other.
            (None, None) => return Err(Failure::usage("--from or --from-file")),
        };
        let file = evidence::NoPermit { from, to: self.count(&ledger, self.to).await? };
        let trust = ledger.trust();
        let shown = file.verify(&trust).map_err(|error| match error {
            NoPermitError::Permitted(_) => Failure::new(Exit::Denied, error.to_string()).code("permitted"),
            NoPermitError::OtherAgent { .. } | NoPermitError::Order { .. } => {
                Failure::usage(error.to_string())
            }
            NoPermitError::Evidence { .. } | NoPermitError::Fell => {
                Failure::new(Exit::Invalid, error.to_string())
            }
        })?;
        files::replace(&self.file, file.to_json().as_bytes())?;
        let page = verify::describe_no_permit(Page::blank(), &self.file, &trust, &shown);
        let json = verify::no_permit_json(&self.file, &trust, &shown);
        Ok(Report::done(page, output::with(json, "evidence", json!(self.file))))
    }

    /// Evidence of the agent's record: every decision about it shows that, whatever is asked.
    async fn count(&self, ledger: &Ledger, moment: Consistency) -> Result<evidence::Evidence> {
        let anything = |text| Name::new(text).map_err(|error| Failure::local(error.to_string()));
        let request = Request {
            agent: self.agent.clone(),
            action: anything("chancery/evidence/count")?,
            resource: anything("chancery/evidence/count")?,
            args_digest: Hash::of(&[b""]),
            args: None,
            generation: None,
            knowledge: None,
            hint: None,
        };
        ask_request(ledger, request, moment).await?.evidence(ledger).await
    }
}
