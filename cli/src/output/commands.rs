//! Commands in words.

use chancery_ledger::command::{Body, DecisionRef, Patterns, Terms};
use chancery_ledger::head::VoterSet;

use super::{short, style};

/// The command's name for machines.
pub(crate) const fn kind(body: &Body) -> &'static str {
    match body {
        Body::Genesis(_) => "genesis",
        Body::AddPrincipal(_) => "add_principal",
        Body::RemovePrincipal { .. } => "remove_principal",
        Body::RotatePrincipal { .. } => "rotate_principal",
        Body::RegisterAgent { .. } => "register_agent",
        Body::RetireAgent { .. } => "retire_agent",
        Body::Grant { .. } => "grant",
        Body::Delegate { .. } => "delegate",
        Body::RevokeGrant { .. } => "revoke_grant",
        Body::RevokeAgent { .. } => "revoke_agent",
        Body::SetRules { .. } => "set_rules",
        Body::SetRoster { .. } => "set_roster",
        Body::Halt { .. } => "halt",
        Body::Resume { .. } => "resume",
        Body::SetLineage { .. } => "set_lineage",
        Body::RegisterGeneration(_) => "register_generation",
        Body::ReleaseGeneration { .. } => "release_generation",
        Body::RollbackLineage { .. } => "rollback_lineage",
        Body::Authorize(_) => "authorize",
        Body::Outcome(_) => "outcome",
    }
}

/// What a command does, in one line.
pub(crate) fn words(body: &Body) -> String {
    let name = style::name;
    match body {
        Body::Genesis(genesis) => format!("founds {}", name(&genesis.origin)),
        Body::AddPrincipal(principal) => {
            let roles: Vec<_> = principal.roles.iter().map(|role| role.name()).collect();
            format!("admits {} as {}", name(principal.name.as_str()), roles.join(", "))
        }
        Body::RemovePrincipal { key } => format!("removes principal {}", short(key)),
        Body::RotatePrincipal { old_key, new_key } => {
            format!("rotates {} to {}", short(old_key), short(new_key))
        }
        Body::RegisterAgent { agent, owner, lineage, .. } => {
            let of = lineage.as_ref().map(|lineage| format!(" of {lineage}")).unwrap_or_default();
            format!("registers {}{of}, owner {owner}", name(agent.as_str()))
        }
        Body::RetireAgent { agent } => format!("retires {}", name(agent.as_str())),
        Body::Grant { terms, .. } => format!("grants {}", terms_words(terms)),
        Body::Delegate { parent, terms, .. } => {
            format!("delegates {} from {}", terms_words(terms), short(parent))
        }
        Body::RevokeGrant { grant, reason } => {
            format!("{} grant {}{}", style::bad("revokes"), short(grant), because(reason))
        }
        Body::RevokeAgent { agent, reason } => {
            format!("{} all of {}{}", style::bad("revokes"), name(agent.as_str()), because(reason))
        }
        Body::SetRules { rules_version } => format!("sets rules {rules_version}"),
        Body::Halt { scope, reason } => format!("{} {scope}{}", style::bad("halts"), because(reason)),
        Body::Resume { halt, .. } => format!("lets the halt at index {halt} end"),
        Body::SetLineage { lineage, .. } => format!("sets what {} keeps to", name(lineage.as_str())),
        Body::RegisterGeneration(generation) => {
            format!("registers a generation of {}", name(generation.lineage.as_str()))
        }
        Body::ReleaseGeneration { lineage, generation, .. } => {
            format!("releases generation {} of {}", short(generation), name(lineage.as_str()))
        }
        Body::RollbackLineage { lineage, number, .. } => {
            format!("rolls {} back to generation {number}", name(lineage.as_str()))
        }
        Body::SetRoster { voters, .. } => format!("has {} vote", voter_set(voters)),
        Body::Authorize(asked) => {
            format!("asks: may {} {} {}", name(asked.agent.as_str()), asked.action, asked.resource)
        }
        Body::Outcome(said) => {
            let DecisionRef { agent, number, .. } = &said.decision;
            format!("says: decision {number} of {} {}", name(agent.as_str()), said.kind.name())
        }
    }
}

/// Voters and their quorum, in one line.
pub(crate) fn voter_set(set: &VoterSet) -> String {
    let names: Vec<_> = set.voters().iter().map(|voter| style::name(voter.name.as_str())).collect();
    format!("{} (any {} of {} suffice)", names.join(", "), set.quorum(), names.len())
}

fn terms_words(terms: &Terms) -> String {
    let list = |patterns: &Patterns| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    format!("{}: {} on {}", style::name(terms.agent.as_str()), list(&terms.actions), list(&terms.resources))
}

/// A reason is anybody's text: without what could command a terminal.
pub(super) fn because(reason: &str) -> String {
    let plain: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.is_empty() { plain } else { format!(" ({plain})") }
}
