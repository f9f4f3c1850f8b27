//! `chancery principal`: who may sign commands, and with which certificate they are let in.

use std::path::PathBuf;

use chancery_ledger::command::{Body, Name, Patterns, Principal, PublicKey, Role, Scope};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Failure, Result};
use crate::init::certificates::{Authority, Kind};
use crate::ledger::{self, Act};
use crate::output::{Page, Report, style};
use crate::{files, keys, verify};

/// Add, remove, rotate and certify principals.
#[derive(Debug, Subcommand)]
pub(crate) enum PrincipalCommand {
    /// Admit a key, with roles and what they extend to. By an operator.
    Add(Add),
    /// End a key's future commands; what it granted stays. By an operator.
    Remove(Remove),
    /// Replace a key by another, which signs too. By the principal or an operator.
    Rotate(Rotate),
    /// Issue the TLS certificate that lets a key in. By who holds the client CA.
    Certify(Certify),
}

/// Admit a key.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its public key, as `keygen` prints it.
    #[arg(value_parser = keys::parse_public)]
    key: PublicKey,
    /// For people.
    #[arg(long, value_parser = parse_name)]
    name: Name,
    /// What it may sign; more than once for several.
    #[arg(long = "role", required = true, value_parser = parse_role)]
    roles: Vec<Role>,
    /// Agents that it may command about or check for: a name, `prefix/*` or `*`.
    #[arg(long, value_name = "PATTERN")]
    agents: Vec<String>,
    /// Actions that it may grant.
    #[arg(long, value_name = "PATTERN")]
    actions: Vec<String>,
    /// Resources that it may grant.
    #[arg(long, value_name = "PATTERN")]
    resources: Vec<String>,
}

/// End a key's future commands.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The public key.
    #[arg(value_parser = keys::parse_public)]
    key: PublicKey,
}

/// Replace a key by another.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The key that signs no more.
    #[arg(value_parser = keys::parse_public)]
    old: PublicKey,
    /// The secret file of the key that takes its place.
    #[arg(long, value_name = "FILE")]
    new_key: PathBuf,
}

/// Issue a certificate.
#[derive(Debug, Args)]
pub(crate) struct Certify {
    /// The public key.
    #[arg(value_parser = keys::parse_public)]
    key: PublicKey,
    /// The name on the certificate, for people; the ledger asks only for the key.
    #[arg(long, value_parser = parse_name)]
    name: Name,
    /// The folder that `init` made, with the client CA in it.
    #[arg(long, value_name = "DIR")]
    ledger: PathBuf,
    /// Where the certificate goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl PrincipalCommand {
    /// Runs `chancery principal`.
    pub(crate) async fn run(&self, context: Option<&str>) -> Result<Report> {
        match self {
            Self::Add(add) => {
                let words = format!("admitted principal {}", style::name(add.name.as_str()));
                ledger::act(context, Act::new(words, add.body()?)).await
            }
            Self::Remove(remove) => {
                let words = format!("removed principal {}", remove.key);
                ledger::act(context, Act::new(words, Body::RemovePrincipal { key: remove.key })).await
            }
            Self::Rotate(rotate) => {
                let new = keys::load(&rotate.new_key)?;
                let new_key = keys::public(&new);
                let body = Body::RotatePrincipal { old_key: rotate.old, new_key };
                let words = format!("{} takes the place of {}", new_key, rotate.old);
                ledger::act(context, Act { also_sign: vec![new], ..Act::new(words, body) }).await
            }
            Self::Certify(certify) => certify.run(),
        }
    }
}

impl Add {
    fn body(&self) -> Result<Body> {
        let mut roles = self.roles.clone();
        roles.sort();
        roles.dedup();
        Ok(Body::AddPrincipal(Principal {
            key: self.key,
            name: self.name.clone(),
            roles,
            scope: Scope {
                agents: patterns("--agents", &self.agents)?,
                actions: patterns("--actions", &self.actions)?,
                resources: patterns("--resources", &self.resources)?,
            },
        }))
    }
}

impl Certify {
    fn run(&self) -> Result<Report> {
        let trust = verify::load_trust(&self.ledger.join("trust.toml"))?;
        let key = keys::load(&self.ledger.join("ca/clients.key"))?;
        let authority = Authority::new(Kind::Client, &trust.origin, &key)?;
        let certificate = authority.client(self.name.as_str(), self.key)?;
        files::write_public(&self.out, certificate.as_bytes())?;
        let page = Page::new(format!("{} {}", style::good("certified"), style::name(self.name.as_str())))
            .field("key", self.key.to_string())
            .field("certificate", format!("{}", self.out.display()));
        let json = json!({
            "outcome": "done",
            "public_key": self.key.to_string(),
            "certificate": self.out,
        });
        Ok(Report::done(page, json))
    }
}

/// Patterns from the command line, in any order.
pub(crate) fn patterns(argument: &str, texts: &[String]) -> Result<Patterns> {
    Patterns::collect(texts.iter().cloned()).map_err(|error| Failure::usage(format!("{argument} {error}")))
}

/// Parses a name from the command line.
pub(crate) fn parse_name(text: &str) -> std::result::Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

fn parse_role(text: &str) -> std::result::Result<Role, String> {
    let names = || Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| format!("not one of {}", names()))
}
