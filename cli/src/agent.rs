//! `chancery agent`: the agents that may be granted something.

use chancery_ledger::command::{Body, Name, PublicKey};
use clap::{Args, Subcommand};

use crate::exit::Result;
use crate::keys;
use crate::ledger::{self, Act};
use crate::output::{Report, style};
use crate::principal::parse_name;

/// Register and retire agents.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Register an agent. By an operator or issuer.
    Register(Register),
    /// Retire an agent for good: nothing that it holds counts any more. By an operator or issuer.
    Retire(Retire),
}

/// Register an agent.
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// Its name, never used again.
    #[arg(value_parser = parse_name)]
    agent: Name,
    /// The person who is accountable for it.
    #[arg(long, value_parser = parse_name)]
    owner: Name,
    /// The public key that signs its delegations; without one it delegates nothing.
    #[arg(long, value_parser = keys::parse_public)]
    key: Option<PublicKey>,
    /// The lineage that it belongs to: what is halted together. One of its own without.
    #[arg(long, value_parser = parse_name)]
    lineage: Option<Name>,
}

/// Retire an agent.
#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// Which.
    #[arg(value_parser = parse_name)]
    agent: Name,
}

impl AgentCommand {
    /// Runs `chancery agent`.
    pub(crate) async fn run(&self, context: Option<&str>) -> Result<Report> {
        let act = match self {
            Self::Register(Register { agent, owner, key, lineage }) => Act::new(
                format!("registered agent {}, owner {owner}", style::name(agent.as_str())),
                Body::RegisterAgent {
                    agent: agent.clone(),
                    owner: owner.clone(),
                    key: *key,
                    lineage: lineage.clone(),
                },
            ),
            Self::Retire(Retire { agent }) => Act::new(
                format!("retired agent {}", style::name(agent.as_str())),
                Body::RetireAgent { agent: agent.clone() },
            ),
        };
        ledger::act(context, act).await
    }
}
