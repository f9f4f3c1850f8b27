//! The story: an agent works; it is revoked; the leader is killed; years later, somebody wants to know.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chancery_client::{Ledger, Receipt};
use chancery_ledger::authority::Cause;
use chancery_ledger::command::{GrantId, Name, Patterns, Terms};
use chancery_ledger::evidence::Record;
use serde_json::json;
use tokio::process::Command;

use super::agent::{Agent, Call, Job, Outcome, once};
use super::narrator::Narrator;
use super::stage::{NODES, Stage};
use crate::cluster::serving;
use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::init::founding::node_name;
use crate::ledger::submit_failure;
use crate::output::{self, milliseconds, node_names, now_ms, seconds, style, utc};

const REFUNDS: Job = Job { agent: "desk/refunds", action: "payment/refund", resource: "customer/1001" };
const REPLACEMENT: Job = Job { agent: "desk/refunds-2", ..REFUNDS };

/// How long a new leader may take.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls that are waited for in each chapter: permits, denials, any. What a slow machine did not prove in time
/// failed closed, and is not among the first two.
const PERMITS_BEFORE: usize = 8;
const DENIALS_AFTER: usize = 4;
const CALLS_WITHOUT_LEADER: usize = 10;

/// Tells the story on `stage`.
pub(crate) async fn tell(narrator: &mut Narrator, stage: &mut Stage) -> Result<()> {
    narrator.chapter("Three nodes, one ledger");
    let processes: Vec<_> = (1..=NODES)
        .map(|node| format!("{} (process {})", node_name(node), stage.cluster.process_id(node).unwrap_or(0)))
        .collect();
    narrator.tell("started", &format!("started {}", processes.join(", ")), json!({ "nodes": NODES }));
    stage.wait().await?;
    let operator = stage.connect("operator").await?;
    let leader = leader(&operator, NODES, None).await?;
    let words = format!("they serve; {} leads", style::name(&node_name(leader)));
    narrator.tell("serving", &words, json!({ "leader": node_name(leader) }));

    let issuer = stage.connect("issuer").await?;
    let grant = employ(narrator, stage, &issuer, &REFUNDS).await?;

    narrator.chapter("The agent works: a call every 200 ms, each decided on record before it runs");
    let gate = stage.connect("gate").await?;
    let mut agent = Agent::start(stage, gate, REFUNDS);
    let mut calls = Vec::new();
    watch(narrator, stage, &mut agent, (PERMITS_BEFORE, Call::ran), &mut calls).await?;

    narrator.chapter("The agent is revoked");
    let revoker = stage.connect("revoker").await?;
    let receipt = revoker.revoke(grant, "refunds went wrong").await.map_err(submit_failure)?;
    let acknowledged = Instant::now();
    let facts = json!({ "index": receipt.index, "block": receipt.block, "time_ms": receipt.time_ms });
    let words = format!(
        "{} at index {}, block {}, {}",
        style::bad("revoked"),
        receipt.index,
        receipt.block,
        utc(receipt.time_ms)
    );
    narrator.tell("revoked", &words, facts);
    narrator.more(&style::dim(&format!("acknowledged: signed by {}", signers(stage, &receipt))));
    watch(narrator, stage, &mut agent, (DENIALS_AFTER, Call::was_denied), &mut calls).await?;

    narrator.chapter("The leader is killed");
    let process = stage.cluster.process_id(leader).unwrap_or(0);
    stage.cluster.kill(leader).await?;
    let name = node_name(leader);
    narrator.tell(
        "killed",
        &format!("{} {process}   {}, the leader", style::bad("kill -9"), style::name(&name)),
        json!({ "node": name }),
    );
    watch(narrator, stage, &mut agent, (CALLS_WITHOUT_LEADER, |_| true), &mut calls).await?;
    let successor = self::leader(&operator, NODES - 1, Some(leader)).await?;
    let name = node_name(successor);
    narrator.tell("leads", &format!("{} leads", style::name(&name)), json!({ "leader": name }));
    employ(narrator, stage, &issuer, &REPLACEMENT).await?;
    let gate = stage.connect("gate").await?;
    // Until there is a proof, one way or the other; the story's own timeout bounds it.
    let mut replacement = once(&gate, &REPLACEMENT, 1, || {}).await;
    while let Outcome::Closed(_) = replacement.outcome {
        tell_call(narrator, stage, &REPLACEMENT, &replacement);
        replacement = once(&gate, &REPLACEMENT, replacement.number + 1, || {}).await;
    }
    tell_call(narrator, stage, &REPLACEMENT, &replacement);
    watch(narrator, stage, &mut agent, (1, Call::was_denied), &mut calls).await?;
    agent.stop();
    while let Some(call) = agent.call().await {
        tell_call(narrator, stage, &REFUNDS, &call);
        calls.push(call);
    }
    let verdicts = Verdicts::of(&calls, acknowledged);
    verdicts.claim(narrator, &receipt, agent.tool_runs());
    narrator.claim(
        format!("{} was killed while it led, and {} took over", node_name(leader), node_name(successor)),
        successor != leader,
    );
    let ran = replacement.ran();
    narrator.claim(format!("a new grant, to {}, works under the new leader", REPLACEMENT.agent), ran);

    let evidence = save(stage, &gate, &calls, acknowledged).await?;
    narrator.chapter("Later, offline");
    for node in stage.cluster.nodes() {
        stage.cluster.kill(node).await?;
    }
    narrator.tell("stopped", "every node is gone; what is left is two files", json!({}));
    judge(narrator, stage, &evidence, &receipt).await
}

/// Registers an agent and grants it its tool.
async fn employ(narrator: &Narrator, stage: &Stage, issuer: &Ledger, job: &Job) -> Result<GrantId> {
    let invalid = |error: chancery_ledger::command::NameError| Failure::local(error.to_string());
    let agent = Name::new(job.agent).map_err(invalid)?;
    let owner = Name::new("ada@example.com").map_err(invalid)?;
    issuer.register_agent(agent.clone(), owner, None).await.map_err(submit_failure)?;
    let terms = Terms {
        agent,
        actions: Patterns::collect([job.action]).map_err(invalid)?,
        resources: Patterns::collect(["customer/*"]).map_err(invalid)?,
        not_before_ms: 0,
        not_after_ms: now_ms().saturating_add(3_600_000),
        max_staleness_ms: 2_000,
        delegable_depth: 0,
        condition: None,
        knowledge: Default::default(),
        bounds: Default::default(),
    };
    let receipt = issuer.grant(terms).await.map_err(submit_failure)?;
    let grant = receipt.grant.ok_or_else(|| Failure::local("a grant's receipt names no grant"))?;
    let words = format!(
        "{} may {} on customer/*, as of index {}, block {}",
        style::name(job.agent),
        job.action,
        receipt.index,
        receipt.block
    );
    narrator.tell("granted", &words, json!({ "agent": job.agent, "grant": grant.to_string() }));
    let by = signers(stage, &receipt);
    narrator.more(&style::dim(&format!("grant {}, signed by {by}", output::short(&grant))));
    Ok(grant)
}

/// Tells the next calls, and keeps them, until there were `count` of a kind.
async fn watch(
    narrator: &mut Narrator,
    stage: &Stage,
    agent: &mut Agent,
    (count, counts): (usize, fn(&Call) -> bool),
    calls: &mut Vec<Call>,
) -> Result<()> {
    let mut seen = 0;
    // Ends: the agent calls on, and the story as a whole has a timeout.
    while seen < count {
        let call = agent.call().await.ok_or_else(|| Failure::local("the agent has stopped"))?;
        tell_call(narrator, stage, &REFUNDS, &call);
        seen += usize::from(counts(&call));
        calls.push(call);
    }
    Ok(())
}

fn tell_call(narrator: &mut Narrator, stage: &Stage, job: &Job, call: &Call) {
    // Both agents' names take as much room.
    let name = format!("{:<width$}", job.agent, width = REPLACEMENT.agent.len());
    let what = format!("{} {} {}", style::name(&name), job.action, job.resource);
    let proof = |decided: &Receipt| {
        let by = signers(stage, decided);
        style::dim(&format!("leaf {}, signed by {by}, {}", decided.index, milliseconds(call.took)))
    };
    match &call.outcome {
        Outcome::Ran { decided, recorded } => narrator.tell(
            "permit",
            &format!("{}  {what}  {}", style::good("permit"), proof(decided)),
            json!({
                "call": call.number,
                "agent": job.agent,
                "block": decided.block,
                "leaf": decided.index,
                "recorded": recorded,
            }),
        ),
        Outcome::Denied(denial, decided) => {
            let index = denial.cause().map(|cause| cause.index);
            narrator.tell(
                "denied",
                &format!("{}  {what}  {}", style::bad("denied"), proof(decided)),
                json!({
                    "call": call.number,
                    "agent": job.agent,
                    "code": denial.code(),
                    "index": index,
                    "leaf": decided.index,
                }),
            );
            narrator.more_once(&style::dim(&output::denial(denial)));
        }
        Outcome::Closed(why) => narrator.tell(
            "closed",
            &format!("{}  {what}  {}", style::warn("closed"), style::dim(why)),
            json!({ "call": call.number, "agent": job.agent, "message": why }),
        ),
    }
}

/// What became of the calls, counted by when they were asked for.
#[derive(Debug, Default)]
struct Verdicts {
    permits_before: u64,
    /// Of these, what became of the call is on record.
    outcomes: u64,
    permits_after: u64,
    denials_after: u64,
    closed: u64,
    /// The first call that was asked for after the acknowledgement and did not fail closed: what it names, and how
    /// long after.
    next: Option<(Option<Cause>, Duration)>,
    /// Every denial names one and the same command.
    cause: Option<Cause>,
    one_cause: bool,
}

impl Verdicts {
    fn of(calls: &[Call], acknowledged: Instant) -> Self {
        let mut found = Self { one_cause: true, ..Self::default() };
        for call in calls {
            let after = call.asked >= acknowledged;
            let cause = match &call.outcome {
                Outcome::Ran { .. } if after => {
                    found.permits_after += 1;
                    None
                }
                Outcome::Ran { recorded, .. } => {
                    found.permits_before += 1;
                    found.outcomes += u64::from(*recorded);
                    None
                }
                Outcome::Denied(denial, _) => {
                    found.denials_after += u64::from(after);
                    found.one_cause &= found.cause.is_none() || denial.cause().copied() == found.cause;
                    found.cause = denial.cause().copied();
                    found.cause
                }
                Outcome::Closed(_) => {
                    found.closed += 1;
                    None
                }
            };
            let proven = !matches!(call.outcome, Outcome::Closed(_));
            if after && proven && found.next.is_none() {
                found.next = Some((cause, call.asked.duration_since(acknowledged)));
            }
        }
        found
    }

    fn claim(&self, narrator: &mut Narrator, receipt: &Receipt, tool_runs: u64) {
        narrator.claim(
            format!("{} calls were permitted before the revocation, and the tool ran as often", tool_runs),
            self.permits_before >= PERMITS_BEFORE as u64 && tool_runs == self.permits_before,
        );
        narrator.claim(
            format!("each was decided in the log before it ran, and {} outcomes followed", self.outcomes),
            self.outcomes == self.permits_before,
        );
        let after =
            self.next.map_or_else(String::new, |(_, after)| format!(" ({} later)", milliseconds(after)));
        let names = |cause: Option<Cause>| {
            cause.is_some_and(|cause| {
                (cause.index, cause.block, cause.time_ms) == (receipt.index, receipt.block, receipt.time_ms)
            })
        };
        narrator.claim(
            format!("the next call{after} was denied, naming index {}", receipt.index),
            self.next.is_some_and(|(cause, _)| names(cause)),
        );
        narrator.claim(
            format!(
                "of {} calls asked for after the revocation was acknowledged, {} were permitted",
                self.permits_after + self.denials_after,
                self.permits_after
            ),
            self.permits_after == 0 && self.denials_after > DENIALS_AFTER as u64,
        );
        let closed =
            if self.closed == 0 { String::new() } else { format!("; {} failed closed", self.closed) };
        narrator.claim(
            format!("each denial was proven, and names that revocation{closed}"),
            self.one_cause && names(self.cause),
        );
    }
}

/// Two evidence files: the last permit and the first denial.
struct Saved {
    permit: PathBuf,
    denial: PathBuf,
}

async fn save(stage: &Stage, gate: &Ledger, calls: &[Call], acknowledged: Instant) -> Result<Saved> {
    let folder = stage.path().join("evidence");
    files::make_folder(&folder)?;
    let saved = Saved { permit: folder.join("permit.json"), denial: folder.join("denied.json") };
    let permit = calls.iter().rev().find_map(|call| match &call.outcome {
        Outcome::Ran { decided, .. } => Some(decided),
        _ => None,
    });
    let denial = calls.iter().find_map(|call| match &call.outcome {
        Outcome::Denied(_, decided) if call.asked >= acknowledged => Some(decided),
        _ => None,
    });
    for (decided, path) in [(permit, &saved.permit), (denial, &saved.denial)] {
        let decided = decided.ok_or_else(|| Failure::local("there is no call to show evidence of"))?;
        crate::authorize::write(gate, decided, path).await?;
    }
    Ok(saved)
}

/// Verifies the files with the program that anybody would use, and one that was tampered with.
async fn judge(narrator: &mut Narrator, stage: &Stage, saved: &Saved, receipt: &Receipt) -> Result<()> {
    let trust = stage.trust_file();
    for (path, verdict) in [(&saved.permit, "permit"), (&saved.denial, "denied")] {
        let (exit, said) = verify(path, &trust).await?;
        let file = said.pointer("/files/0").cloned().unwrap_or_default();
        let shown = file.pointer("/verdict/verdict").and_then(|verdict| verdict.as_str()) == Some(verdict);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = format!("chancery verify {name}   {}: {verdict}", style::good("verified"));
        narrator.tell("verified", &words, json!({ "file": name, "exit": exit, "verdict": verdict }));
        narrator.claim(
            format!("{name} verifies from the trust file alone, every node gone (exit code {exit})"),
            exit == i32::from(Exit::Done.code()) && shown,
        );
        if verdict == "denied" {
            let index = file.pointer("/verdict/cause/index").and_then(serde_json::Value::as_u64);
            narrator.claim(
                format!("it shows the revocation itself: index {}, {}", receipt.index, utc(receipt.time_ms)),
                index == Some(receipt.index) && file.get("cause_shown") == Some(&json!(true)),
            );
        }
    }
    let tampered = tamper(&saved.denial)?;
    let (exit, said) = verify(&tampered, &trust).await?;
    let message = said.pointer("/files/0/message").and_then(|message| message.as_str()).unwrap_or_default();
    let words =
        format!("the same with one bit of the verdict flipped   {}: {message}", style::bad("invalid"));
    narrator.tell("tampered", &words, json!({ "exit": exit, "message": message }));
    narrator.claim(
        format!("one flipped bit of what was recorded makes it fail (exit code {exit})"),
        exit == i32::from(Exit::Invalid.code()),
    );
    Ok(())
}

/// A copy of a record file in which one bit of the leaf, at its end, where the verdict is, is another.
fn tamper(path: &Path) -> Result<PathBuf> {
    let mut record =
        Record::from_json(&files::read(path)?).map_err(|error| Failure::local(error.to_string()))?;
    let last = record.leaf.entry.last_mut();
    *last.ok_or_else(|| Failure::local("a record without a leaf"))? ^= 1;
    let tampered = path.with_file_name("tampered.json");
    files::replace(&tampered, record.to_json().as_bytes())?;
    Ok(tampered)
}

/// `chancery verify` as a process of its own: its exit code and what it says.
async fn verify(path: &Path, trust: &Path) -> Result<(i32, serde_json::Value)> {
    let failed = |error: std::io::Error| Failure::local(format!("chancery verify: {error}"));
    let ended = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["verify", "--output", "json", "--trust"])
        .args([trust, path])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(failed)?;
    let said = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    Ok((ended.status.code().unwrap_or(-1), said))
}

/// The leader that `count` nodes agree on, once they do and it is not the one that is gone.
async fn leader(ledger: &Ledger, count: u64, gone: Option<u64>) -> Result<u64> {
    let began = Instant::now();
    loop {
        match serving::leader_of(&ledger.status().await, count) {
            Some(leader) if Some(leader) != gone => return Ok(leader),
            _ => {}
        }
        if began.elapsed() > ELECTION_TIMEOUT {
            return Err(Failure::local(format!("no leader after {}", seconds(began.elapsed()))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn signers(stage: &Stage, receipt: &Receipt) -> String {
    let nodes: Vec<_> = receipt.head.statements.iter().map(|statement| statement.node).collect();
    node_names(&stage.trust, &nodes).join(", ")
}
