//! `chancery member`: who votes. A node joins in four steps: [prepared](prepare) where the node CA's key is,
//! started on its machine, made a learner until it has caught up, and made a voter by a command that as many
//! operators sign as the ledger demands.

mod change;
mod description;
mod half_signed;
mod list;
mod prepare;
mod refusal;
mod transfer;

pub(crate) use list::{headline, roster_json};
use refusal::member_failure;
pub(crate) use transfer::Transfer;

use chancery_ledger::head::Roster;
use clap::Subcommand;

use crate::exit::{Failure, Result};
use crate::output::{Format, Report};

/// Who votes: list, prepare, add, remove and replace nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Who votes, proven from genesis, and who learns.
    List(list::List),
    /// Make the folder of a node that is to join. By who holds the node CA.
    Prepare(prepare::Prepare),
    /// Have a node that runs learn, and then vote. By operators.
    Add(change::Add),
    /// Have a voter vote no more, or a learner learn no more. By operators.
    Remove(change::Remove),
    /// Have one node vote in the place of another. By operators.
    Replace(change::Replace),
    /// Add this operator's signature to a half-signed change.
    Sign(half_signed::Sign),
    /// Carry out a change that all have signed.
    Submit(half_signed::Submit),
}

impl MemberCommand {
    /// Runs `chancery member`.
    pub(crate) async fn run(&self, context: Option<&str>, format: Format) -> Result<Report> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Prepare(prepare) => prepare.run(),
            Self::Add(add) => add.run(context, format).await,
            Self::Remove(remove) => remove.run(context, format).await,
            Self::Replace(replace) => replace.run(context, format).await,
            Self::Sign(sign) => sign.run(context).await,
            Self::Submit(submit) => submit.run(context, format).await,
        }
    }
}

/// The voter that `text` names, by its number or its name.
fn find_voter(roster: &Roster, text: &str) -> Option<u64> {
    let is_meant = |node: u64, name: &str| text == name || text.parse() == Ok(node);
    roster.voters().find(|voter| is_meant(voter.node, voter.name.as_str())).map(|voter| voter.node)
}

fn no_voter(text: &str) -> Failure {
    Failure::new(crate::exit::Exit::Refused, format!("{text} is no voter")).code("no_voter")
}
