//! What held at a moment: an agent might, its grants were not revoked, a halt covered the call.

use std::path::PathBuf;

use chancery_ledger::answer::Moment;
use chancery_ledger::decide::{Decision, Denial};
use clap::Args;

use super::state::NotPublished;
use crate::check::Question;
use crate::consistency::Consistency;
use crate::exit::{Exit, Failure, Result};
use crate::output::claim::live_chain;
use crate::output::{Report, denial as denial_words};
use crate::{context, ledger};

/// That the agent might do it then.
#[derive(Debug, Args)]
pub(super) struct InForceAt {
    #[command(flatten)]
    question: Question,
    /// When, in milliseconds since 1970.
    #[arg(long = "at", value_name = "MS")]
    at_ms: u64,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    not_published: NotPublished,
}

/// That the grants were not revoked then.
#[derive(Debug, Args)]
pub(super) struct NotRevokedAt {
    #[command(flatten)]
    question: Question,
    /// When, in milliseconds since 1970.
    #[arg(long = "at", value_name = "MS")]
    at_ms: u64,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    not_published: NotPublished,
}

/// That a halt covered it.
#[derive(Debug, Args)]
pub(super) struct Halted {
    #[command(flatten)]
    question: Question,
    /// When, in milliseconds since 1970; now, if it is not given.
    #[arg(long = "at", value_name = "MS")]
    at_ms: Option<u64>,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    not_published: NotPublished,
}

impl InForceAt {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        self.not_published.refuse()?;
        let is_shown = |decision: &Decision| matches!(decision, Decision::Permit(_));
        let moment = Consistency::At(Moment::Time(self.at_ms));
        write(named, &self.question, moment, &self.file, is_shown).await
    }
}

impl NotRevokedAt {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        self.not_published.refuse()?;
        let is_shown = |decision: &Decision| live_chain(decision).is_some();
        let moment = Consistency::At(Moment::Time(self.at_ms));
        write(named, &self.question, moment, &self.file, is_shown).await
    }
}

impl Halted {
    pub(super) async fn run(&self, named: Option<&str>) -> Result<Report> {
        self.not_published.refuse()?;
        let is_shown = |decision: &Decision| matches!(decision, Decision::Denied(Denial::Halted { .. }));
        let moment = match self.at_ms {
            Some(at_ms) => Consistency::At(Moment::Time(at_ms)),
            None => Consistency::Linearizable,
        };
        write(named, &self.question, moment, &self.file, is_shown).await
    }
}

async fn write(
    named: Option<&str>,
    question: &Question,
    moment: Consistency,
    file: &std::path::Path,
    is_shown: impl Fn(&Decision) -> bool,
) -> Result<Report> {
    let ledger = ledger::connect(context::load(named)?).await?;
    let answer = question.ask_as(&ledger, moment).await?;
    let decision = answer.decision();
    if !is_shown(decision) {
        let (why, code) = match decision {
            Decision::Permit(_) => ("it was allowed".into(), "permit"),
            Decision::Denied(denial) => (denial_words(denial), denial.code()),
        };
        return Err(Failure::new(Exit::Denied, format!("it is not so: {why}")).code(code));
    }
    answer.write(&ledger, file).await?;
    Ok(Report { exit: Exit::Done, ..answer.report(&ledger, Some(file)) })
}
