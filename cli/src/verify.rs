//! `chancery verify`: every kind of evidence file, offline, against a trust file and nothing else.

use std::path::{Path, PathBuf};

use chancery_ledger::answer::Moment;
use chancery_ledger::command::Body;
use chancery_ledger::decide::Decision;
use chancery_ledger::evidence::{
    Contradiction, Conviction, Counted, Equivocation, Equivocator, Evidence, NoPermit, Proof, Record,
    RecordedBy, Shown, ShownNoPermit, ShownRecord, ShownRecordedBy,
};
use chancery_ledger::trust::Trust;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::output::claim;
use crate::output::{self, Page, Report, style, utc};

/// Verifies evidence, and convicts nodes by their contradictions, with nothing but a trust file: no network, no
/// ledger.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Evidence of any kind, contradictions, and equivocations.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Whom to believe: the one thing that must come from somewhere safe.
    #[arg(long)]
    trust: PathBuf,
}

impl Verify {
    /// Runs `chancery verify`.
    pub(crate) fn run(&self) -> Result<Report> {
        let trust = load_trust(&self.trust)?;
        let mut page = Page::blank();
        let mut results = Vec::new();
        let mut exit = Exit::Done;
        for path in &self.files {
            match read_any(path, &trust) {
                Ok(Verified::Evidence(evidence, shown)) => {
                    // It holds, so its rosters do.
                    let trust = trust.founding().extend(&evidence.rosters).unwrap_or_else(|_| trust.clone());
                    page = describe(page, path, &trust, &evidence, &shown);
                    results.push(shown_json(path, &trust, &evidence, &shown));
                }
                Ok(Verified::Record(record, shown)) => {
                    let trust = trust.founding().extend(&record.rosters).unwrap_or_else(|_| trust.clone());
                    page = describe_record(page, path, &trust, &record, &shown);
                    results.push(record_json(path, &trust, &record, &shown));
                }
                Ok(Verified::RecordedBy(file, shown)) => {
                    let trust = trust.founding().extend(&file.rosters).unwrap_or_else(|_| trust.clone());
                    page = describe_recorded_by(page, path, &trust, &file, &shown);
                    results.push(recorded_by_json(path, &trust, &file, &shown));
                }
                Ok(Verified::NoPermit(file, shown)) => {
                    let trust = trust.founding().extend(&file.to.rosters).unwrap_or_else(|_| trust.clone());
                    page = describe_no_permit(page, path, &trust, &shown);
                    results.push(no_permit_json(path, &trust, &shown));
                }
                Ok(Verified::Contradiction(convicted)) => {
                    let (contradiction, conviction) = *convicted;
                    let claim = claim::of_conviction(&conviction);
                    page = page.text(format!("{} {}", style::bad("convicted"), path.display()));
                    page = claim.tail(output::conviction(claim.head(page), &conviction, &contradiction));
                    let mut value = claim.json(output::conviction_json(&conviction, &contradiction));
                    if let Some(fields) = value.as_object_mut() {
                        fields.insert("outcome".into(), json!("convicted"));
                        fields.insert("file".into(), json!(path));
                    }
                    results.push(value);
                }
                Ok(Verified::Equivocation(equivocation, guilty)) => {
                    page = page.text(format!("{} {}", style::bad("convicted"), path.display()));
                    page = output::equivocation(page, &equivocation, &guilty);
                    let value = output::equivocation_json(&equivocation, &guilty);
                    results.push(output::with(value, "file", json!(path)));
                }
                Err(failure) => {
                    // One that does not hold outweighs one that cannot be read.
                    if exit != Exit::Invalid {
                        exit = failure.exit;
                    }
                    let word = style::bad(failure.exit.words());
                    page = page.text(format!("{word} {}: {}", path.display(), failure.message));
                    let mut value = failure.to_json();
                    if let Some(fields) = value.as_object_mut() {
                        fields.insert("file".into(), json!(path));
                    }
                    results.push(value);
                }
            }
        }
        let outcome = if exit == Exit::Done { "verified" } else { exit.name() };
        Ok(Report { exit, page, json: json!({ "outcome": outcome, "files": results }) })
    }
}

/// Reads a trust file.
pub(crate) fn load_trust(path: &Path) -> Result<Trust> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = String::from_utf8(files::read(path)?).map_err(|error| wrong(error.to_string()))?;
    Trust::from_toml(&text).map_err(|error| wrong(error.to_string()))
}

/// A file that holds.
enum Verified {
    Evidence(Box<Evidence>, Box<Shown>),
    Record(Box<Record>, Box<ShownRecord>),
    RecordedBy(Box<RecordedBy>, Box<ShownRecordedBy>),
    NoPermit(Box<NoPermit>, Box<ShownNoPermit>),
    Contradiction(Box<(Contradiction, Conviction)>),
    Equivocation(Box<Equivocation>, Vec<Equivocator>),
}

/// Reads one file of any kind and verifies all of it.
fn read_any(path: &Path, trust: &Trust) -> Result<Verified> {
    let text = files::read(path)?;
    let invalid = |why: String| Failure::new(Exit::Invalid, why);
    if Record::is_named_by(&text) {
        let (record, shown) = check_record_text(&text, trust)?;
        return Ok(Verified::Record(Box::new(record), Box::new(shown)));
    }
    if Equivocation::is_named_by(&text) {
        let equivocation = Equivocation::from_json(&text).map_err(|error| invalid(error.to_string()))?;
        let guilty = equivocation.verify(trust).map_err(|error| invalid(error.to_string()))?;
        return Ok(Verified::Equivocation(Box::new(equivocation), guilty));
    }
    if RecordedBy::is_named_by(&text) {
        let file = RecordedBy::from_json(&text).map_err(|error| invalid(error.to_string()))?;
        let shown = file.verify(trust).map_err(|error| invalid(error.to_string()))?;
        return Ok(Verified::RecordedBy(Box::new(file), Box::new(shown)));
    }
    if NoPermit::is_named_by(&text) {
        let file = NoPermit::from_json(&text).map_err(|error| invalid(error.to_string()))?;
        let shown = file.verify(trust).map_err(|error| invalid(error.to_string()))?;
        return Ok(Verified::NoPermit(Box::new(file), Box::new(shown)));
    }
    if !Contradiction::is_named_by(&text) {
        let (evidence, shown) = check_text(&text, trust)?;
        return Ok(Verified::Evidence(Box::new(evidence), Box::new(shown)));
    }
    let contradiction = Contradiction::from_json(&text).map_err(|error| invalid(error.to_string()))?;
    let conviction = contradiction.verify(trust).map_err(|error| invalid(error.to_string()))?;
    Ok(Verified::Contradiction(Box::new((contradiction, conviction))))
}

/// Reads one record file and verifies all of it.
pub(crate) fn check_record(path: &Path, trust: &Trust) -> Result<(Record, ShownRecord)> {
    check_record_text(&files::read(path)?, trust)
}

fn check_text(text: &[u8], trust: &Trust) -> Result<(Evidence, Shown)> {
    let invalid = |why: String| Failure::new(Exit::Invalid, why);
    let evidence = Evidence::from_json(text).map_err(|error| invalid(error.to_string()))?;
    let shown = evidence.verify(trust).map_err(|error| invalid(error.to_string()))?;
    Ok((evidence, shown))
}

fn check_record_text(text: &[u8], trust: &Trust) -> Result<(Record, ShownRecord)> {
    let invalid = |why: String| Failure::new(Exit::Invalid, why);
    let record = Record::from_json(text).map_err(|error| invalid(error.to_string()))?;
    let shown = record.verify(trust).map_err(|error| invalid(error.to_string()))?;
    Ok((record, shown))
}

fn describe_record(page: Page, path: &Path, trust: &Trust, record: &Record, shown: &ShownRecord) -> Page {
    let recorded = &shown.recorded;
    let claim = claim::of_record(shown);
    let page = claim
        .head(page.text(format!("{} {}", style::good("verified"), path.display())))
        .field("recorded", output::words(&recorded.signed.command().body));
    let page = match &recorded.verdict {
        Some(verdict) => page.field("decided", output::verdict(verdict)),
        None => page,
    };
    let page = match &shown.cause {
        Some(signed) => page
            .field("because of", output::words(&signed.command().body))
            .field("", format!("signed by {}, in the same log", signed.command().signer)),
        None => page,
    };
    let names: Vec<_> =
        output::node_names(trust, &shown.nodes).iter().map(|name| style::name(name)).collect();
    let (cause, head) = (&recorded.cause, &record.head.head);
    let page = page
        .field("index", format!("{} in the log", cause.index))
        .field("block", format!("{}, {}", cause.block, utc(cause.time_ms)))
        .field("signed by", cause.signer.to_string())
        .field("proven by", format!("{}, who signed block {}", names.join(", "), head.block));
    claim.tail(page)
}

/// By when it was recorded.
pub(crate) fn describe_recorded_by(
    page: Page,
    path: &Path,
    trust: &Trust,
    file: &RecordedBy,
    shown: &ShownRecordedBy,
) -> Page {
    let claim = claim::of_recorded_by(shown);
    let mut page = claim.head(page.text(format!("{} {}", style::good("verified"), path.display())));
    page = page.field("signed by", shown.recorded.cause.signer.to_string());
    for (place, (name, time_s)) in cosigners(trust, shown).into_iter().enumerate() {
        let second = utc(time_s.saturating_mul(1000));
        let label = if place == 0 { "cosigned by" } else { "" };
        page = page.field(label, format!("{}, in the second that began {second}", style::name(&name)));
    }
    let size = file.checkpoint.checkpoint().size();
    page = page.field("checkpoint", format!("of {size} leaves, up to block {}", shown.block));
    claim.tail(page)
}

/// Who cosigned, nodes and witnesses, and in which second.
fn cosigners(trust: &Trust, shown: &ShownRecordedBy) -> Vec<(String, u64)> {
    let nodes: Vec<u64> = shown.cosigned.nodes.iter().map(|by| by.node).collect();
    let times = shown.cosigned.nodes.iter().map(|by| by.time_s);
    let witnesses = shown.cosigned.witnesses.iter().map(|by| (by.key.name().to_string(), by.time_s));
    output::node_names(trust, &nodes).into_iter().zip(times).chain(witnesses).collect()
}

/// The same for machines.
pub(crate) fn recorded_by_json(
    path: &Path,
    trust: &Trust,
    file: &RecordedBy,
    shown: &ShownRecordedBy,
) -> Value {
    let recorded = &shown.recorded;
    let (cause, body) = (&recorded.cause, &recorded.signed.command().body);
    let mut value = json!({
        "outcome": "verified",
        "file": path,
        "kind": output::kind(body),
        "by_ms": shown.by_ms,
        "index": cause.index,
        "block": cause.block,
        "time_ms": cause.time_ms,
        "signer": cause.signer.to_string(),
        "cosigned": cosigners(trust, shown)
            .into_iter()
            .map(|(name, time_s)| json!({ "name": name, "time_s": time_s }))
            .collect::<Vec<_>>(),
        "checkpoint": {
            "size": file.checkpoint.checkpoint().size(),
            "root": file.checkpoint.checkpoint().root().to_string(),
            "block": shown.block,
        },
    });
    if let Some(verdict) = &recorded.verdict {
        value = output::with(value, "verdict", output::recorded_json(verdict));
    }
    if let Body::Authorize(asked) = body
        && let Some(knowledge) = &asked.knowledge
    {
        let root = json!({ "root": knowledge.root().to_string(), "count": knowledge.count() });
        value = output::with(value, "knowledge", root);
    }
    claim::of_recorded_by(shown).json(value)
}

/// That none was recorded.
pub(crate) fn describe_no_permit(page: Page, path: &Path, trust: &Trust, shown: &ShownNoPermit) -> Page {
    let claim = claim::of_no_permit(shown);
    let page = claim.head(page.text(format!("{} {}", style::good("verified"), path.display())));
    let end = |page: Page, label: &str, counted: &Counted| {
        let state = format!("block {}, {}", counted.block, utc(counted.time_ms));
        output::proven(page.field(label, state), trust, &counted.shown.proven)
    };
    let page = end(page, "from", &shown.from);
    claim.tail(end(page, "to", &shown.to))
}

/// The same for machines.
pub(crate) fn no_permit_json(path: &Path, trust: &Trust, shown: &ShownNoPermit) -> Value {
    let end = |counted: &Counted| {
        let proof = output::proven_json(trust, &counted.shown.proven);
        json!({ "block": counted.block, "time_ms": counted.time_ms, "proof": proof.get("proof") })
    };
    claim::of_no_permit(shown).json(json!({
        "outcome": "verified",
        "file": path,
        "agent": shown.agent.as_str(),
        "permits": shown.permits,
        "denials_between": shown.denials,
        "from": end(&shown.from),
        "to": end(&shown.to),
    }))
}

fn record_json(path: &Path, trust: &Trust, record: &Record, shown: &ShownRecord) -> Value {
    let recorded = &shown.recorded;
    let (cause, body) = (&recorded.cause, &recorded.signed.command().body);
    let mut value = json!({
        "outcome": "verified",
        "file": path,
        "kind": output::kind(body),
        "index": cause.index,
        "block": cause.block,
        "time_ms": cause.time_ms,
        "signer": cause.signer.to_string(),
        "nodes": output::node_names(trust, &shown.nodes),
        "head": output::head_json(&record.head.head),
        "cause_shown": shown.cause.is_some(),
    });
    if let Body::Authorize(asked) = body {
        value = output::with(value, "agent", json!(asked.agent.as_str()));
        value = output::with(value, "action", json!(asked.action.as_str()));
        value = output::with(value, "resource", json!(asked.resource.as_str()));
        value = output::with(value, "args_digest", json!(asked.args_digest.to_string()));
    }
    if let Some(verdict) = &recorded.verdict {
        value = output::with(value, "verdict", output::recorded_json(verdict));
    }
    value = claim::of_record(shown).json(value);
    match &shown.cause {
        Some(signed) => output::with(value, "cause_kind", json!(output::kind(&signed.command().body))),
        None => value,
    }
}

fn describe(page: Page, path: &Path, trust: &Trust, evidence: &Evidence, shown: &Shown) -> Page {
    let request = &evidence.request;
    let asked = format!("{} {} {}", request.agent, request.action, request.resource);
    let verdict = match shown.proven.decision() {
        Decision::Permit(authority) => {
            let chain: Vec<_> = authority.chain.iter().map(|link| output::short(&link.grant)).collect();
            let verdict = if authority.bounds.is_empty() {
                style::good("permit")
            } else {
                style::warn("within bounds, once it is recorded")
            };
            format!("{verdict}, by grant {}", chain.join(" below "))
        }
        Decision::Denied(denial) => format!("{}: {}", style::bad("denied"), output::denial(denial)),
    };
    let claim = claim::of_evidence(trust, evidence, shown);
    let page = claim
        .head(page.text(format!("{} {}", style::good("verified"), path.display())))
        .field("asked", format!("{}{}", style::name(&asked), when(&evidence.proof)))
        .field("shown", verdict);
    let page = match &shown.cause {
        Some(signed) => page
            .field("because of", output::words(&signed.command().body))
            .field("", format!("signed by {}, in the log that the nodes signed", signed.command().signer)),
        None => page,
    };
    claim.tail(output::proven(page, trust, &shown.proven))
}

/// About when, in words that follow the question.
fn when(proof: &Proof) -> String {
    match proof {
        Proof::Check { .. } => String::new(),
        Proof::Recent { .. } => ", by the nodes' clocks".into(),
        Proof::Past { moment: Moment::Block(block), .. } => format!(", after block {block}"),
        Proof::Past { moment: Moment::Time(time_ms), .. } => format!(", at {}", utc(*time_ms)),
    }
}

fn shown_json(path: &Path, trust: &Trust, evidence: &Evidence, shown: &Shown) -> Value {
    let value = output::proven_json(trust, &shown.proven);
    let mut value = claim::of_evidence(trust, evidence, shown).json(value);
    if let Some(fields) = value.as_object_mut() {
        let request = &evidence.request;
        fields.insert("outcome".into(), json!("verified"));
        fields.insert("file".into(), json!(path));
        fields.insert("agent".into(), json!(request.agent.as_str()));
        fields.insert("action".into(), json!(request.action.as_str()));
        fields.insert("resource".into(), json!(request.resource.as_str()));
        fields.insert("args_digest".into(), json!(request.args_digest.to_string()));
        if let Some(args) = &request.args {
            fields.insert("args".into(), json!(String::from_utf8_lossy(args)));
        }
        let asked = match &evidence.proof {
            Proof::Check { .. } => "check",
            Proof::Recent { .. } => "recent_check",
            Proof::Past { moment: Moment::Block(_), .. } => "at_block",
            Proof::Past { moment: Moment::Time(_), .. } => "at_time",
        };
        fields.insert("asked".into(), json!(asked));
        fields.insert("cause_shown".into(), json!(shown.cause.is_some()));
        if let Some(signed) = &shown.cause {
            fields.insert("cause_kind".into(), json!(output::kind(&signed.command().body)));
        }
    }
    value
}
