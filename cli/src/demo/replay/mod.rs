//! `chancery demo --replay`: every tool call of a recording, decided in the log under the desk's written policy
//! before it is carried out; half-way, the desk's grant for cancelling is revoked. Then the log is read from
//! genesis and every decision is made again, and at the end every record is verified again from its file.

mod airline;
mod audit;
mod conversation;
mod desk;
mod facts;
mod gate;
mod policy;
mod readings;
mod report;
mod trajectory;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chancery_client::{Ledger, Receipt};
use chancery_ledger::authority::Decided;
use chancery_ledger::command::{Body, DecisionRef, GrantId};
use chancery_ledger::decide::Denial;
use chancery_ledger::head::Head;
use serde_json::{Value, json};

use super::narrator::Narrator;
use super::stage::Stage;
use crate::exit::{Failure, Result};
use crate::ledger::{read_failure, submit_failure};
use crate::output::{milliseconds, style, utc};
use crate::{files, verify};

use audit::Audit;
use conversation::Conversation;
use desk::{Delegated, Desk};
use gate::{Called, Gate};
pub(crate) use trajectory::Step;

/// The tool whose grant is revoked half-way.
const REVOKED_TOOL: &str = "cancel_reservation";

/// The tool of which a call is made up that no policy allows.
const BOOKING_TOOL: &str = "book_reservation";

/// One passenger more than a reservation may have.
const TOO_MANY_PASSENGERS: usize = 6;

/// Calls between two lines of progress.
const PROGRESS_EVERY: usize = 200;

/// One call that was replayed.
#[derive(Debug)]
struct Replayed {
    /// The conversation.
    episode: u64,
    /// The tool.
    tool: String,
    /// Whether it is in no recording.
    made_up: bool,
    /// Whether it came after the revocation was acknowledged.
    after: bool,
    /// Why it was denied, if it was: the proven reason, and what the desk knows of it.
    denied: Option<(Denial, Delegated)>,
    /// The decision's leaf.
    index: u64,
    /// Decisions that were recorded for it.
    decisions: u64,
    /// How long the decision took.
    took: Duration,
    /// Where its record is saved.
    file: PathBuf,
}

/// Reads a recording.
pub(crate) fn read(path: &Path) -> Result<Vec<Step>> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = String::from_utf8(files::read(path)?).map_err(|error| wrong(error.to_string()))?;
    let steps = trajectory::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(step) = steps.iter().find(|step| airline::effect(&step.tool).is_none()) {
        return Err(wrong(format!("the airline has no tool {:?}", step.tool)));
    }
    if let Some(step) = steps.iter().find(|step| facts::are_stated_by(step)) {
        return Err(wrong(format!("a call of {} has an argument {}…", step.tool, facts::PREFIX)));
    }
    if steps.is_empty() {
        return Err(wrong("there are no calls in it".into()));
    }
    Ok(steps)
}

/// Replays `steps` on `stage`.
pub(crate) async fn run(narrator: &mut Narrator, stage: &mut Stage, steps: &[Step]) -> Result<()> {
    narrator.chapter("The desk opens");
    stage.wait().await?;
    narrator.tell("serving", "three nodes serve", json!({}));
    let issuer = stage.connect("issuer").await?;
    let desk = Desk::open(issuer, steps).await?;
    let words = format!(
        "the desk holds {} grants, one a tool; {} agents, one an episode; {} delegations of tools that read",
        airline::TOOLS.len(),
        desk.episodes(),
        desk.delegations()
    );
    narrator.tell("opened", &words, json!({ "agents": desk.episodes(), "delegations": desk.delegations() }));

    narrator.chapter("The recorded calls, each decided in the log before it is carried out");
    let replay = Replay::begin(stage, desk).await?;
    let Replay { replayed, revocation, head, desk, .. } = replay.all(narrator, steps).await?;
    let (Some(revocation), Some(head)) = (revocation, head) else {
        return Err(Failure::local("nothing was revoked"));
    };

    narrator.chapter("The log from genesis, and every decision made again");
    let began = Instant::now();
    let audit = audit::run(&stage.connect("operator").await?, &head).await?;
    let words = format!(
        "{} blocks, {} leaves, {} decisions, applied again in {}",
        audit.blocks,
        audit.leaves,
        audit.decisions,
        milliseconds(began.elapsed())
    );
    let facts = json!({ "blocks": audit.blocks, "leaves": audit.leaves, "decisions": audit.decisions });
    narrator.tell("audited", &words, facts);
    if let Some(differs) = &audit.differs {
        narrator.tell("differs", &style::bad(differs), json!({ "message": differs }));
    }

    for node in stage.cluster.nodes() {
        stage.cluster.kill(node).await?;
    }
    narrator.chapter("Every record again, from its file, every node gone");
    let began = Instant::now();
    let (verified, permits_after) = verify_all(stage, &replayed, &revocation, desk.grant(REVOKED_TOOL)?)?;
    let words =
        format!("{verified} of {} files verified in {}", replayed.len(), milliseconds(began.elapsed()));
    narrator.tell("verified", &words, json!({ "files": verified }));

    report::denials(narrator, &replayed, &audit);
    narrator.chapter("What came of them");
    report::print(narrator, &replayed, &audit, (&revocation, permits_after));
    claim(narrator, &replayed, &audit, (verified, permits_after));
    Ok(())
}

/// The calls, one after the other.
struct Replay {
    desk: Desk,
    gate: Gate,
    /// For evidence.
    reader: Ledger,
    revoker: Ledger,
    folder: PathBuf,
    /// With the last decision of each.
    conversations: BTreeMap<u64, (Conversation, Option<DecisionRef>)>,
    replayed: Vec<Replayed>,
    revocation: Option<Receipt>,
    /// Of the last command.
    head: Option<Head>,
}

impl Replay {
    async fn begin(stage: &Stage, desk: Desk) -> Result<Self> {
        let folder = stage.path().join("records");
        files::make_folder(&folder)?;
        let reader = stage.connect("gate").await?;
        Ok(Self {
            desk,
            gate: Gate::new(reader.clone()),
            reader,
            revoker: stage.connect("revoker").await?,
            folder,
            conversations: BTreeMap::new(),
            replayed: Vec::new(),
            revocation: None,
            head: None,
        })
    }

    async fn all(mut self, narrator: &Narrator, steps: &[Step]) -> Result<Self> {
        let mut booked = false;
        for (number, step) in steps.iter().enumerate() {
            if number == steps.len() / 2 {
                self.revoke(narrator).await?;
            }
            if step.tool == BOOKING_TOOL && !std::mem::replace(&mut booked, true) {
                self.one(&crowded(step), true).await?;
            }
            self.one(step, false).await?;
            if (number + 1) % PROGRESS_EVERY == 0 {
                narrator.tell("progress", &format!("{} calls", number + 1), json!({ "calls": number + 1 }));
            }
        }
        Ok(self)
    }

    async fn revoke(&mut self, narrator: &Narrator) -> Result<()> {
        let grant = self.desk.grant(REVOKED_TOOL)?;
        let receipt =
            self.revoker.revoke(grant, "cancellations are stopped").await.map_err(submit_failure)?;
        let words = format!(
            "{} the desk's grant for {REVOKED_TOOL}: index {}, block {}, {}",
            style::bad("revoked"),
            receipt.index,
            receipt.block,
            utc(receipt.time_ms)
        );
        narrator.tell("revoked", &words, json!({ "index": receipt.index, "block": receipt.block }));
        self.revocation = Some(receipt);
        Ok(())
    }

    /// One call: decided, carried out if it may be, and its record saved.
    async fn one(&mut self, step: &Step, made_up: bool) -> Result<()> {
        let agent = desk::agent_name(step.episode);
        let new = || (Conversation::new(agent), None);
        let (conversation, parent) = self.conversations.entry(step.episode).or_insert_with(new);
        let delegated = self.desk.delegate(step, conversation).await?;
        let called = self.gate.call(step, conversation, parent.clone()).await?;
        let Called { denied, decided, last, decision, decisions, took } = called;
        *parent = Some(decision);
        self.head = Some(last.head.head);
        let file = self.folder.join(format!("{:06}.json", self.replayed.len()));
        let record = self.reader.record(&decided).await.map_err(|error| read_failure(&error))?;
        std::fs::write(&file, record.to_json()).map_err(|error| Failure::file(&file, &error))?;
        self.replayed.push(Replayed {
            episode: step.episode,
            tool: step.tool.clone(),
            made_up,
            after: self.revocation.is_some(),
            denied: denied.map(|denial| (denial, delegated)),
            index: decided.index,
            decisions,
            took,
            file,
        });
        Ok(())
    }
}

/// The same booking for more passengers than there may be, which the tool would refuse.
fn crowded(step: &Step) -> Step {
    let mut args = step.args.clone();
    let one = args.pointer("/passengers/0").cloned().unwrap_or(Value::Null);
    if let Some(args) = args.as_object_mut() {
        args.insert("passengers".into(), Value::Array(vec![one; TOO_MANY_PASSENGERS]));
    }
    Step { args, result: "Error: nobody called it".into(), ..step.clone() }
}

/// Verifies every file. Returns how many held and said what was said before, and how many permits there are
/// after the revocation: of the revoked tool, or resting on the revoked grant.
fn verify_all(
    stage: &Stage,
    replayed: &[Replayed],
    revocation: &Receipt,
    revoked: GrantId,
) -> Result<(usize, usize)> {
    let trust = verify::load_trust(&stage.trust_file())?;
    let (mut verified, mut permits_after) = (0, 0);
    for call in replayed {
        let (_, shown) = verify::check_record(&call.file, &trust)?;
        let recorded = &shown.recorded;
        let Body::Authorize(asked) = &recorded.signed.command().body else { continue };
        let same = match recorded.verdict.as_ref().map(|verdict| &verdict.decided) {
            None => false,
            Some(Decided::Permit { chain, .. }) => {
                let rests = chain.iter().any(|link| link.grant == revoked);
                let late = call.after || recorded.cause.index > revocation.index;
                if late && (rests || asked.action.as_str() == REVOKED_TOOL) {
                    permits_after += 1;
                }
                call.denied.is_none()
            }
            Some(Decided::Denied(denial)) => call.denied.as_ref().is_some_and(|(said, _)| said == denial),
        };
        verified += usize::from(same && recorded.cause.index == call.index);
    }
    Ok((verified, permits_after))
}

fn claim(
    narrator: &mut Narrator,
    replayed: &[Replayed],
    audit: &Audit,
    (verified, permits_after): (usize, usize),
) {
    let decisions: u64 = replayed.iter().map(|call| call.decisions).sum();
    narrator.claim(
        format!("{} of {decisions} decisions re-decided identically, from genesis", audit.decisions),
        audit.differs.is_none() && audit.decisions == decisions,
    );
    narrator.claim(
        format!("{} state roots came out the same, up to the head that a quorum signed", audit.blocks),
        audit.differs.is_none() && audit.at_head,
    );
    let denied: Vec<_> = replayed.iter().filter(|call| call.denied.is_some()).collect();
    let explained = denied.iter().filter(|call| audit.denials.contains_key(&call.index)).count();
    narrator.claim(
        format!(
            "of {} denials, {explained} are explained by the state that they were decided from",
            denied.len()
        ),
        explained == denied.len(),
    );
    for call in replayed.iter().filter(|call| call.made_up) {
        let rule = audit.denials.get(&call.index).and_then(|denial| denial.rule.as_deref());
        let words = rule.unwrap_or("no rule");
        narrator.claim(
            format!("a booking for {TOO_MANY_PASSENGERS}, which is in no recording, is denied: {words}"),
            matches!(call.denied, Some((Denial::ConditionFailed { .. }, _))) && rule.is_some(),
        );
    }
    narrator.claim(
        format!("of {} changes, {} rest on a reading that the log has too", audit.informed, audit.read),
        audit.informed == audit.read,
    );
    narrator.claim(
        format!("of these, {} are denied if they are asked for again when it is too old", audit.stale),
        audit.informed == audit.stale,
    );
    narrator.claim(
        format!("all {} records verify again from their files, and say what they said", replayed.len()),
        verified == replayed.len(),
    );
    let late = replayed.iter().filter(|call| call.after && call.tool == REVOKED_TOOL);
    let (asked, denied) = (late.clone().count(), late.filter(|call| call.denied.is_some()).count());
    narrator.claim(
        format!("of {asked} calls of {REVOKED_TOOL} after the revocation, {denied} were denied"),
        asked == denied,
    );
    narrator.claim(format!("permits after the revocation: {permits_after}"), permits_after == 0);
}
