//! `chancery demo --replay`: every tool call of a recording, each checked with a proof; half-way, the desk's
//! grant for cancelling is revoked; and at the end every saved answer is verified again from its file.

mod airline;
mod desk;
mod report;
mod trajectory;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Checked, Ledger, Receipt};
use chancery_ledger::decide::Decision;
use serde_json::json;

use super::narrator::Narrator;
use super::stage::Stage;
use crate::exit::{Failure, Result};
use crate::ledger::{check_failure, read_failure, submit_failure};
use crate::output::{milliseconds, style, utc};
use crate::{files, verify};

use airline::Conversation;
use desk::{Delegated, Desk};
pub(crate) use trajectory::Step;

/// The tool whose grant is revoked half-way.
const REVOKED_TOOL: &str = "cancel_reservation";

/// Calls between two lines of progress.
const PROGRESS_EVERY: usize = 200;

/// One call that was replayed.
#[derive(Debug)]
struct Replayed {
    /// The tool.
    tool: String,
    /// Whether it came after the revocation was acknowledged.
    after: bool,
    /// Why it was denied, if it was: the proven reason's name, and what the desk knows of it.
    denied: Option<(&'static str, &'static str)>,
    /// How long the proven check took.
    took: Duration,
    /// Where its answer is saved.
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
    let mut desk = Desk::open(issuer, steps).await?;
    let words = format!(
        "the desk holds {} grants, one a tool; {} agents, one an episode; {} delegations of tools that read",
        airline::TOOLS.len(),
        desk.episodes(),
        desk.delegations()
    );
    narrator.tell("opened", &words, json!({ "agents": desk.episodes(), "delegations": desk.delegations() }));

    narrator.chapter("The recorded calls, each checked with a proof");
    let folder = stage.path().join("answers");
    files::make_folder(&folder)?;
    let gate = stage.connect("gate").await?;
    let revoker = stage.connect("revoker").await?;
    let mut conversations: BTreeMap<u64, Conversation> = BTreeMap::new();
    let mut replayed = Vec::with_capacity(steps.len());
    let mut revocation: Option<Receipt> = None;
    for (number, step) in steps.iter().enumerate() {
        if number == steps.len() / 2 {
            let receipt = revoker.revoke(desk.grant(REVOKED_TOOL)?, "cancellations are stopped").await;
            let receipt = receipt.map_err(submit_failure)?;
            let words = format!(
                "{} the desk's grant for {REVOKED_TOOL}: index {}, block {}, {}",
                style::bad("revoked"),
                receipt.index,
                receipt.block,
                utc(receipt.time_ms)
            );
            narrator.tell("revoked", &words, json!({ "index": receipt.index, "block": receipt.block }));
            revocation = Some(receipt);
        }
        let conversation = conversations.entry(step.episode).or_default();
        let delegated = desk.delegate(step, conversation).await?;
        let file = folder.join(format!("{number:06}.json"));
        let one = replay(&gate, step, conversation, delegated, revocation.is_some(), file).await?;
        replayed.push(one);
        if (number + 1) % PROGRESS_EVERY == 0 {
            narrator.tell("progress", &format!("{} calls", number + 1), json!({ "calls": number + 1 }));
        }
    }
    let revocation = revocation.ok_or_else(|| Failure::local("nothing was revoked"))?;
    for node in stage.cluster.nodes() {
        stage.cluster.kill(node).await?;
    }

    narrator.chapter("Every answer again, from its file, every node gone");
    let began = Instant::now();
    let (verified, permits_after) = verify_all(stage, &replayed, &revocation, desk.grant(REVOKED_TOOL)?)?;
    let words =
        format!("{verified} of {} files verified in {}", replayed.len(), milliseconds(began.elapsed()));
    narrator.tell("verified", &words, json!({ "files": verified }));
    narrator.chapter("What came of them");
    report::print(narrator, &replayed, &revocation, permits_after);
    claim(narrator, &replayed, verified, permits_after);
    Ok(())
}

/// One call: checked, its answer saved, and what it taught the desk.
async fn replay(
    gate: &Ledger,
    step: &Step,
    conversation: &mut Conversation,
    delegated: Delegated,
    after: bool,
    file: PathBuf,
) -> Result<Replayed> {
    let agent = desk::agent_name(step.episode);
    let resource = conversation.resource(step);
    let args = step.args.to_string();
    let asked = Instant::now();
    let answer = gate.check(&agent, &step.tool, &resource, args.as_bytes()).await;
    let took = asked.elapsed();
    let (checked, denied): (Checked, _) = match answer {
        Ok(permit) => {
            let checked = permit.checked().clone();
            let ran = permit.run(args.as_bytes(), || conversation.learn(step));
            ran.map_err(|error| Failure::local(error.to_string()))?;
            (checked, None)
        }
        Err(CheckError::Denied(denied)) => {
            let code = denied.denial.code();
            (denied.checked, Some((code, delegated.words())))
        }
        Err(error) => return Err(check_failure(&error)),
    };
    let evidence = gate.evidence(&checked).await.map_err(|error| read_failure(&error))?;
    std::fs::write(&file, evidence.to_json()).map_err(|error| Failure::file(&file, &error))?;
    Ok(Replayed { tool: step.tool.clone(), after, denied, took, file })
}

/// Verifies every file. Returns how many held and said what was said before, and how many permits there are
/// after the revocation: of the revoked tool, or resting on the revoked grant.
fn verify_all(
    stage: &Stage,
    replayed: &[Replayed],
    revocation: &Receipt,
    revoked: chancery_ledger::command::GrantId,
) -> Result<(usize, usize)> {
    let trust = verify::load_trust(&stage.trust_file())?;
    let (mut verified, mut permits_after) = (0, 0);
    for call in replayed {
        let (evidence, shown) = verify::check_file(&call.file, &trust)?;
        let same = match shown.proven.decision() {
            Decision::Permit(authority) => {
                let rests = authority.chain.iter().any(|link| link.grant == revoked);
                let late = call.after || shown.proven.head().block >= revocation.block;
                if late && (rests || evidence.request.action.as_str() == REVOKED_TOOL) {
                    permits_after += 1;
                }
                call.denied.is_none()
            }
            Decision::Denied(denial) => call.denied.is_some_and(|(code, _)| code == denial.code()),
        };
        verified += usize::from(same);
    }
    Ok((verified, permits_after))
}

fn claim(narrator: &mut Narrator, replayed: &[Replayed], verified: usize, permits_after: usize) {
    let late = replayed.iter().filter(|call| call.after && call.tool == REVOKED_TOOL);
    let (asked, denied) = (late.clone().count(), late.filter(|call| call.denied.is_some()).count());
    narrator.claim(
        format!("all {} answers verify again from their files, and say what they said", replayed.len()),
        verified == replayed.len(),
    );
    narrator.claim(
        format!("of {asked} calls of {REVOKED_TOOL} after the revocation, {denied} were denied"),
        asked == denied,
    );
    narrator.claim(format!("permits after the revocation: {permits_after}"), permits_after == 0);
}
