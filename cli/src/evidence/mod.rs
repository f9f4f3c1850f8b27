//! `chancery evidence`: one file for each question that a person asks, for `chancery verify`.
//!
//! A question is written down only if what the ledger shows answers it with yes; each file is verified before it is
//! written, and what it claims, and does not, is what `verify` says of it later.

mod checkpoint;
mod count;
mod log;
mod moment;
mod recorded;
mod state;

use clap::{ArgMatches, Args, FromArgMatches, Subcommand};

use crate::check::WriteEvidence;
use crate::exit::{Failure, Result};
use crate::output::Report;

/// Write evidence to a file: of one check, exit code 0 whatever it shows; or of a question that a person asks, exit code
/// 10 and no file if the answer is no.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Evidence {
    #[command(subcommand)]
    question: Option<Question>,
    #[command(flatten)]
    check: OfCheck,
}

/// What is asked without a question: clap's own `Option` is always `None` for arguments that have others flattened in.
#[derive(Debug)]
struct OfCheck(Option<WriteEvidence>);

impl Args for OfCheck {
    fn augment_args(command: clap::Command) -> clap::Command {
        WriteEvidence::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        WriteEvidence::augment_args_for_update(command)
    }
}

impl FromArgMatches for OfCheck {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let is_asked = matches.contains_id("agent");
        is_asked.then(|| WriteEvidence::from_arg_matches(matches)).transpose().map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What a person asks.
#[derive(Debug, Subcommand)]
enum Question {
    /// That a grant, or all of an agent's, was revoked by a time: in a checkpoint that a quorum cosigned by then.
    RevokedBy(recorded::RevokedBy),
    /// That a command, such as a decision with its knowledge, was recorded by a time: likewise.
    RecordedBy(recorded::RecordedBy),
    /// That an agent might do something at a time.
    InForceAt(moment::InForceAt),
    /// That the grants by which an agent might do something were not revoked at a time, whatever else forbade it.
    NotRevokedAt(moment::NotRevokedAt),
    /// That a halt covered a call.
    Halted(moment::Halted),
    /// That no permit was recorded for an agent between two moments.
    NoPermit(count::NoPermit),
}

impl Evidence {
    /// Runs `chancery evidence`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        match (&self.question, &self.check.0) {
            (Some(Question::RevokedBy(asked)), _) => asked.run(named).await,
            (Some(Question::RecordedBy(asked)), _) => asked.run(named).await,
            (Some(Question::InForceAt(asked)), _) => asked.run(named).await,
            (Some(Question::NotRevokedAt(asked)), _) => asked.run(named).await,
            (Some(Question::Halted(asked)), _) => asked.run(named).await,
            (Some(Question::NoPermit(asked)), _) => asked.run(named).await,
            (None, Some(check)) => check.run(named).await,
            // INVARIANT: clap demands one or the other.
            (None, None) => Err(Failure::usage("a question")),
        }
    }
}
