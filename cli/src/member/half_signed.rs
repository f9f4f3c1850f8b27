//! Changes that several operators sign, each where his key is: a file goes from one to the next.
//!
//! It is JSON: `format`, `ledger` and the encoded command with the signatures so far. Nothing in it is secret, and
//! nothing in it is believed: each operator signs what he is shown from the command's own bytes.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_client::{Ledger, NodeStatus};
use chancery_ledger::command::{Body, LedgerId, SignedCommand};
use chancery_ledger::head::Roster;
use chancery_ledger::trust::Trust;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change;
use crate::exit::{Exit, Failure, Result};
use crate::ledger::submit_failure;
use crate::output::{Format, Page, Progress, Report, style, utc, voter_set};
use crate::{context, files, keys, ledger};

const FORMAT: &str = "chancery-half-signed/v1";

/// Entries that a node may lack and still vote at once: what a leader allows.
const LAG_ENTRIES_MAX: u64 = 128;

/// Add this operator's signature to a half-signed change.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The file; it is written over.
    file: PathBuf,
    /// Sign with this key. By default with the context's.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Carry out a change that all have signed.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The file.
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    ledger: String,
    signed_command: String,
}

impl Sign {
    /// Runs `chancery member sign`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let trust = ledger.trust();
        let half = load(&self.file, trust.ledger)?;
        let signed = match &self.key {
            Some(path) => half
                .co_sign(trust.ledger, &keys::load(path)?)
                .map_err(|error| Failure::usage(error.to_string()))?,
            None => ledger.co_sign(half).map_err(submit_failure)?,
        };
        store(&self.file, trust.ledger, &signed)?;
        Ok(report("signed", &self.file, &signed, Some(&trust)))
    }
}

impl Submit {
    /// Runs `chancery member submit`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect_patiently(context::load(named)?).await?;
        let signed = load(&self.file, ledger.trust().ledger)?;
        let missing = signed.missing_signers();
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            let message = format!("not signed by {} yet", missing.join(", "));
            return Err(Failure::new(Exit::Refused, message).code("half_signed"));
        }
        check_caught_up(&ledger, &signed).await?;
        change::submit(&ledger, &signed, "changed the voters", &mut Progress::new(format)).await
    }
}

/// Writes a change that only its proposer has signed.
pub(super) fn begun(path: &Path, ledger: LedgerId, signed: &SignedCommand) -> Result<Report> {
    files::write_secret(path, &encode(ledger, signed)?)?;
    Ok(report("half-signed", path, signed, None))
}

fn report(word: &str, path: &Path, signed: &SignedCommand, trust: Option<&Trust>) -> Report {
    let command = signed.command();
    let missing: Vec<_> = signed.missing_signers().iter().map(ToString::to_string).collect();
    let mut page = Page::new(format!("{} {}", style::good(word), path.display()));
    if let Body::SetRoster { voters, replaces, .. } = &command.body {
        let before = trust.and_then(|trust| trust.roster(*replaces).ok()).map(Roster::sets);
        if let Some([set]) = before {
            page = page.field("voters now", voter_set(set));
        }
        page = page.field("voters then", voter_set(voters)).field("replaces", format!("roster {replaces}"));
    }
    page = page.field("until", utc(command.not_after_ms));
    page = match missing.as_slice() {
        [] => page.field("then", format!("chancery member submit {}", path.display())),
        missing => page.field("still to sign", missing.join("\n")),
    };
    let json = json!({
        "outcome": "done",
        "file": path,
        "not_after_ms": command.not_after_ms,
        "missing_signers": missing,
    });
    Report::done(page, json)
}

/// Refuses early what the leader would put off: a new voter that does not learn, or lacks much.
async fn check_caught_up(ledger: &Ledger, signed: &SignedCommand) -> Result<()> {
    let Body::SetRoster { voters, .. } = &signed.command().body else { return Ok(()) };
    let all = ledger.status().await;
    let answers = all.iter().filter_map(|(_, status)| status.as_ref().ok());
    let leads = |status: &&NodeStatus| status.leader == Some(status.node);
    // Without a leader it is not known: then the change itself tells.
    let Some(leader) = answers.filter(leads).max_by_key(|status| status.term) else { return Ok(()) };
    let Some((_, roster)) = &leader.roster else { return Ok(()) };
    for voter in voters.voters().iter().filter(|voter| roster.voter(voter.node).is_none()) {
        let lag = leader.peers.iter().find(|peer| peer.node == voter.node).map(|peer| peer.lag_entries);
        let message = match lag {
            Some(Some(entries)) if entries > LAG_ENTRIES_MAX => {
                format!("{} lacks {entries} entries of the log: it must catch up first", voter.name)
            }
            None => format!("{} is no learner: `member add` makes it one", voter.name),
            Some(_) => continue,
        };
        return Err(Failure::new(Exit::Refused, message).code("not_caught_up"));
    }
    Ok(())
}

fn load(path: &Path, ledger: LedgerId) -> Result<SignedCommand> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let file: File = serde_json::from_slice(&files::read(path)?).map_err(|error| wrong(error.to_string()))?;
    if file.format != FORMAT {
        return Err(wrong(format!("its format is not {FORMAT}")));
    }
    if file.ledger != ledger.to_string() {
        return Err(wrong(format!("it is about ledger {}, not {ledger}", file.ledger)));
    }
    let bytes = BASE64.decode(&file.signed_command).map_err(|error| wrong(error.to_string()))?;
    let signed = SignedCommand::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
    match signed.command().body {
        Body::SetRoster { .. } => Ok(signed),
        _ => Err(wrong("its command does not change the voters".into())),
    }
}

fn store(path: &Path, ledger: LedgerId, signed: &SignedCommand) -> Result<()> {
    files::replace(path, &encode(ledger, signed)?)
}

fn encode(ledger: LedgerId, signed: &SignedCommand) -> Result<Vec<u8>> {
    let file = File {
        format: FORMAT.into(),
        ledger: ledger.to_string(),
        signed_command: BASE64.encode(signed.encode()),
    };
    let mut text =
        serde_json::to_vec_pretty(&file).map_err(|error| Failure::local(format!("half-signed: {error}")))?;
    text.push(b'\n');
    Ok(text)
}
