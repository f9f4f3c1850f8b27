//! Speaking to a ledger: connecting, giving commands, and what failures mean here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_client::{
    CheckError, Context, Convicted, Ledger, Options, PastError, ReadError, Receipt, SubmitError,
    WholeLogError,
};
use chancery_ledger::command::{Body, SignedCommand};
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::output::{Page, Report, node_names, style, utc};
use crate::{context, watch};

/// A command to give.
pub(crate) struct Act {
    /// What was done, once it is.
    pub(crate) words: String,
    /// The command.
    pub(crate) body: Body,
    /// Who signs it; the context's own key by default.
    pub(crate) signs: Option<SigningKey>,
    /// Who must consent.
    pub(crate) also_sign: Vec<SigningKey>,
}

impl Act {
    /// A command that the context's key signs.
    pub(crate) const fn new(words: String, body: Body) -> Self {
        Self { words, body, signs: None, also_sign: Vec::new() }
    }

    /// Signs and sends it until it is acknowledged.
    pub(crate) async fn submit(&self, ledger: &Ledger) -> Result<Receipt> {
        let others: Vec<&SigningKey> = self.also_sign.iter().collect();
        let signed = match &self.signs {
            Some(key) => ledger.sign_as(key, self.body.clone(), &others),
            None => ledger.sign(self.body.clone(), &others),
        };
        ledger.submit(&signed.map_err(submit_failure)?).await.map_err(submit_failure)
    }
}

/// Connects.
pub(crate) async fn connect(context: Context) -> Result<Ledger> {
    connect_with(context, Options::default()).await
}

/// [`connect`] with options.
pub(crate) async fn connect_with(context: Context, options: Options) -> Result<Ledger> {
    let connected = Ledger::connect_with(context, options).await;
    connected.map_err(|error| Failure::usage(format!("context: {error}")))
}

/// Connects for a change of members: as often as the time allows, a node is asked again that does not know who
/// leads.
pub(crate) async fn connect_patiently(context: Context) -> Result<Ledger> {
    connect_with(context, Options { tries_max: 500, ..Options::default() }).await
}

/// Gives one command with the context that `named` means, and reports its receipt.
pub(crate) async fn act(named: Option<&str>, act: Act) -> Result<Report> {
    let ledger = connect(context::load(named)?).await?;
    let receipt = act.submit(&ledger).await?;
    Ok(Report::done(
        receipt_page(&act.words, &ledger.trust(), &receipt),
        receipt_json(&ledger.trust(), &receipt),
    ))
}

/// A receipt for people.
pub(crate) fn receipt_page(words: &str, trust: &Trust, receipt: &Receipt) -> Page {
    receipt_fields(Page::new(format!("{} {words}", style::good("done"))), trust, receipt)
}

/// Where a command took effect, and who proves it: the fields below a headline.
pub(crate) fn receipt_fields(mut page: Page, trust: &Trust, receipt: &Receipt) -> Page {
    if receipt.before {
        let note = "it had taken effect before; this is when";
        page = page.field("", style::dim(note));
    }
    if let Some(grant) = receipt.grant {
        page = page.field("grant", style::name(&grant.to_string()));
    }
    let head = &receipt.head.head;
    let names: Vec<_> = signers(trust, receipt).iter().map(|name| style::name(name)).collect();
    page.field("index", format!("{} in the log", receipt.index))
        .field("block", format!("{}, {}", receipt.block, utc(receipt.time_ms)))
        .field("proven by", format!("{}, who signed block {}", names.join(", "), head.block))
        .field("", style::dim("the leaf's inclusion in the log that they signed was verified here"))
}

/// When the last permit from before a revocation is dead, for people.
pub(crate) fn dead_field(page: Page, receipt: &Receipt) -> Page {
    match receipt.dead {
        Some(dead) => {
            page.field("dead at", format!("{}: no permit from before starts a call after", utc(dead.at_ms)))
        }
        None => page,
    }
}

/// A receipt for machines.
pub(crate) fn receipt_json(trust: &Trust, receipt: &Receipt) -> Value {
    let mut value = json!({
        "outcome": "done",
        "index": receipt.index,
        "block": receipt.block,
        "time_ms": receipt.time_ms,
        "before": receipt.before,
        "head_block": receipt.head.head.block,
        "nodes": signers(trust, receipt),
    });
    if let (Some(fields), Some(grant)) = (value.as_object_mut(), receipt.grant) {
        fields.insert("grant".into(), json!(grant.to_string()));
    }
    if let (Some(fields), Some(dead)) = (value.as_object_mut(), receipt.dead) {
        fields.insert("dead_at_ms".into(), json!(dead.at_ms));
        fields.insert("staleness_ms".into(), json!(dead.staleness_ms));
    }
    value
}

fn signers(trust: &Trust, receipt: &Receipt) -> Vec<String> {
    let nodes: Vec<u64> = receipt.head.statements.iter().map(|statement| statement.node).collect();
    node_names(trust, &nodes)
}

/// What a command's failure means here.
pub(crate) fn submit_failure(error: SubmitError) -> Failure {
    let message = error.to_string();
    match error {
        SubmitError::NotDone { signed, .. } => again(Failure::new(Exit::NotDone, message), &signed),
        SubmitError::Unknown { signed, .. } | SubmitError::Unproven { signed, .. } => {
            again(Failure::new(Exit::Unknown, message), &signed)
        }
        SubmitError::Contradiction { convicted, signed, .. } => {
            again(contradiction(Failure::new(Exit::Unknown, message), &convicted), &signed)
        }
        SubmitError::Refused { code, message } => Failure::new(Exit::Refused, message).code(code),
        SubmitError::NoKey | SubmitError::Command(_) => Failure::usage(message),
        SubmitError::Randomness(_) => Failure::local(message),
    }
}

/// Who contradicted itself.
fn contradiction(failure: Failure, convicted: &Convicted) -> Failure {
    let voter = &convicted.conviction.voter;
    let failure = failure
        .code("contradiction")
        .fact("node", json!(voter.node))
        .fact("name", json!(voter.name.as_str()))
        .fact("charge", json!(convicted.conviction.charge.code()));
    match &convicted.file {
        Some(file) => failure.fact("contradiction", json!(file)),
        None => failure,
    }
}

/// What may be sent again.
fn again(failure: Failure, signed: &SignedCommand) -> Failure {
    let not_after_ms = signed.command().not_after_ms;
    failure
        .hint(format!("the same bytes may be sent again until {}, and are done once", utc(not_after_ms)))
        .fact("signed_command", json!(BASE64.encode(signed.encode())))
        .fact("not_after_ms", json!(not_after_ms))
}

/// What a check's failure means here, other than a denial.
pub(crate) fn check_failure(error: &CheckError) -> Failure {
    let message = error.to_string();
    match error {
        CheckError::Denied(denied) => Failure::new(Exit::Denied, message).code(denied.denial.code()),
        CheckError::Bounded(_) => Failure::new(Exit::Denied, message).code("must_be_recorded"),
        CheckError::Unproven { .. } => Failure::new(Exit::Invalid, message)
            .code("unproven")
            .hint("a node answered with what proves nothing, and no other node answered with a proof"),
        CheckError::Contradiction { convicted, .. } => {
            contradiction(Failure::new(Exit::Invalid, message), convicted).hint(
                "the node lies, or lost what it signed: replace it, and show the file to whoever must know",
            )
        }
        CheckError::Unavailable { .. } => Failure::new(Exit::Unknown, message).code("unavailable"),
        CheckError::Refused { .. } => Failure::new(Exit::Refused, message).code("not_permitted"),
        CheckError::Expired { .. } => Failure::new(Exit::Unknown, message).code("expired"),
        CheckError::Stale { .. } => Failure::new(Exit::Unknown, message).code("stale"),
        CheckError::Name { .. } => Failure::usage(message),
        CheckError::Randomness(_) => Failure::local(message),
    }
}

/// What a failed question about the past means here.
pub(crate) fn past_failure(error: &PastError) -> Failure {
    let message = error.to_string();
    match error {
        PastError::NotKept { oldest_block, oldest_time_ms, .. } => Failure::new(Exit::Unknown, message)
            .code("not_kept")
            .hint("a node keeps as many blocks of history as `history_blocks` in its node.toml says")
            .fact("oldest_block", json!(oldest_block))
            .fact("oldest_time_ms", json!(oldest_time_ms)),
        PastError::NotReached { newest_block, clock_ms, .. } => Failure::new(Exit::Unknown, message)
            .code("not_reached")
            .fact("newest_block", json!(newest_block))
            .fact("clock_ms", json!(clock_ms)),
        PastError::Unproven { .. } => Failure::new(Exit::Invalid, message).code("unproven"),
        PastError::Contradiction { convicted, .. } => {
            contradiction(Failure::new(Exit::Invalid, message), convicted)
        }
        PastError::Refused { .. } => Failure::new(Exit::Refused, message).code("not_permitted"),
        PastError::Unavailable { .. } => Failure::new(Exit::Unknown, message).code("unavailable"),
    }
}

/// What a failed read means here.
pub(crate) fn read_failure(error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::Unavailable { .. } => Exit::Unknown,
        ReadError::Unproven { .. } | ReadError::Evidence(_) => Exit::Invalid,
    };
    Failure::new(exit, error.to_string())
}

/// What it means here that the log was not read whole.
pub(crate) fn whole_log_failure(error: &WholeLogError) -> Failure {
    match error {
        WholeLogError::Watch(error) => watch::failure(error),
        WholeLogError::TimedOut { .. } => Failure::new(Exit::Unknown, error.to_string()).code("unavailable"),
        WholeLogError::OtherLog { .. } => Failure::new(Exit::Invalid, error.to_string()).code("other_log"),
    }
}
