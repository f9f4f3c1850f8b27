//! `chancery member add`, `remove` and `replace`: one change of the voters, from the learner that comes first to
//! the roster that a quorum of the old and of the new voters has signed.

use std::path::PathBuf;
use std::time::Duration;

use chancery_client::{Ledger, MembersError};
use chancery_ledger::command::{Body, PublicKey, SignedCommand};
use chancery_ledger::head::{Roster, RosterId, Voter, VoterSet};
use chancery_ledger::trust::Trust;
use clap::Args;
use serde_json::{Value, json};

use super::description::Description;
use super::list::roster_json;
use super::{find_voter, half_signed, member_failure, no_voter};
use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_duration;
use crate::ledger::{read_failure, receipt_json, receipt_page, submit_failure};
use crate::output::{Format, Page, Progress, Report, node_names, style, voter_set};
use crate::{context, keys, ledger};

/// How long a change may take to be acknowledged: all the nodes of the old roster may be slow to sign.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the rosters are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Times that a learner's progress is asked for again after it broke off.
const WATCHES_MAX: usize = 20;

/// Have a node that runs learn, and then vote.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The `member.toml` that `member prepare` made.
    member: PathBuf,
    #[command(flatten)]
    how: How,
}

/// Have a voter vote no more, or a learner learn no more.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The node, by its number or name.
    node: String,
    #[command(flatten)]
    how: How,
}

/// Have one node vote in the place of another, by one change.
#[derive(Debug, Args)]
pub(crate) struct Replace {
    /// The voter that goes, by its number or name.
    old: String,
    /// The `member.toml` of the node that comes.
    member: PathBuf,
    #[command(flatten)]
    how: How,
}

/// Who signs, and what a quorum is.
#[derive(Debug, Args)]
struct How {
    /// Another operator's key, for a ledger that demands more than one signature; more than once for several.
    #[arg(long, value_name = "FILE")]
    with_key: Vec<PathBuf>,
    /// Write the change to this file, for other operators to sign, instead of carrying it out.
    #[arg(long, value_name = "FILE", requires = "operators", conflicts_with = "with_key")]
    half_signed: Option<PathBuf>,
    /// The public key of an operator who is to sign the file; more than once for several.
    #[arg(long = "operator", value_name = "KEY", requires = "half_signed", value_parser = keys::parse_public)]
    operators: Vec<PublicKey>,
    /// How long the others have to sign the file, and it can be carried out: at most 24h.
    #[arg(long = "for", default_value = "1h", value_name = "DURATION", value_parser = parse_duration)]
    lasting: Duration,
    /// Voters whose signatures suffice. By default more than half, if that was the rule before.
    #[arg(long, value_name = "N")]
    quorum: Option<u32>,
}

impl Add {
    /// Runs `chancery member add`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect_patiently(context::load(named)?).await?;
        let new = Description::load(&self.member, ledger.trust().ledger)?;
        let now = InForce::proven(&ledger).await?;
        let mut voters = now.voters.voters().to_vec();
        voters.push(now.joining(&new)?);
        let words = format!("added {}", style::name(&new.name));
        self.how.carry_out(&ledger, &now, voters, Some(&new), (&words, format)).await
    }
}

impl Remove {
    /// Runs `chancery member remove`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect_patiently(context::load(named)?).await?;
        let now = InForce::proven(&ledger).await?;
        let Some(node) = find_voter(&now.roster, &self.node) else {
            return self.remove_learner(&ledger).await;
        };
        let voters: Vec<_> = now.voters.voters().iter().filter(|voter| voter.node != node).cloned().collect();
        if voters.is_empty() {
            return Err(Failure::new(Exit::Refused, "the last voter cannot be removed").code("last_voter"));
        }
        let words = format!("removed {}", style::name(&node_names(&ledger.trust(), &[node]).concat()));
        self.how.carry_out(&ledger, &now, voters, None, (&words, format)).await
    }

    async fn remove_learner(&self, ledger: &Ledger) -> Result<Report> {
        let node: u64 = self.node.parse().map_err(|_| no_voter(&self.node))?;
        ledger.remove_learner(node).await.map_err(|error| member_failure(&error))?;
        let page = Page::new(format!("{} node {node} learns no more", style::good("done")));
        Ok(Report::done(page, json!({ "outcome": "done", "node": node })))
    }
}

impl Replace {
    /// Runs `chancery member replace`.
    pub(crate) async fn run(&self, named: Option<&str>, format: Format) -> Result<Report> {
        let ledger = ledger::connect_patiently(context::load(named)?).await?;
        let new = Description::load(&self.member, ledger.trust().ledger)?;
        let now = InForce::proven(&ledger).await?;
        let old = find_voter(&now.roster, &self.old).ok_or_else(|| no_voter(&self.old))?;
        let joining = now.joining(&new)?;
        let stay = now.voters.voters().iter().filter(|voter| voter.node != old).cloned();
        let voters = stay.chain([joining]).collect();
        let old = style::name(&node_names(&ledger.trust(), &[old]).concat());
        let words = format!("replaced {old} by {}", style::name(&new.name));
        self.how.carry_out(&ledger, &now, voters, Some(&new), (&words, format)).await
    }
}

/// The roster that a change replaces, proven.
struct InForce {
    id: RosterId,
    roster: Roster,
    /// Its one set.
    voters: VoterSet,
}

impl InForce {
    /// The newest that the nodes prove. None while a change is under way.
    async fn proven(ledger: &Ledger) -> Result<Self> {
        let trust = ledger.rosters().await.map_err(|error| read_failure(&error))?;
        let id = trust.newest_roster();
        let roster = trust.roster(id).map_err(|error| Failure::local(error.to_string()))?.clone();
        let [voters] = roster.sets() else {
            return Err(Failure::new(Exit::NotDone, "a change of the voters is under way")
                .code("roster_change_under_way")
                .hint(
                    "the leader finishes it by itself once a quorum of the old and the new voters is there",
                ));
        };
        Ok(Self { id, voters: voters.clone(), roster })
    }

    /// The voter that is to be; it must be none yet.
    fn joining(&self, new: &Description) -> Result<Voter> {
        if self.roster.voter(new.node).is_some() {
            let message = format!("node {} is a voter", new.node);
            return Err(Failure::new(Exit::Refused, message).code("node_id_used"));
        }
        new.voter().map_err(Failure::usage)
    }
}

impl How {
    async fn carry_out(
        &self,
        ledger: &Ledger,
        now: &InForce,
        voters: Vec<Voter>,
        learner: Option<&Description>,
        (words, format): (&str, Format),
    ) -> Result<Report> {
        let next = self.next(now, voters)?;
        let mut progress = Progress::new(format);
        if let Some(learner) = learner {
            learn(ledger, learner, &mut progress).await?;
        }
        let still_learns = |failure: Failure| match learner {
            Some(new) if failure.hint.is_none() => {
                let node = new.node;
                failure.hint(format!("node {node} still learns; `member remove {node}` ends that"))
            }
            _ => failure,
        };
        if let Some(path) = &self.half_signed {
            let signed =
                ledger.propose_roster(next, now.id, self.operators.clone(), lifetime_ms(self.lasting));
            let signed = signed.map_err(|error| still_learns(submit_failure(error)))?;
            return half_signed::begun(path, ledger.trust().ledger, &signed);
        }
        let others = self.with_key.iter().map(|path| keys::load(path)).collect::<Result<Vec<_>>>()?;
        let operators = others.iter().map(keys::public).collect();
        let lifetime_ms = ledger.options().command_lifetime_ms.max(lifetime_ms(SUBMIT_TIMEOUT));
        let mut signed = ledger
            .propose_roster(next, now.id, operators, lifetime_ms)
            .map_err(|error| still_learns(submit_failure(error)))?;
        for key in &others {
            signed = signed
                .co_sign(ledger.trust().ledger, key)
                .map_err(|error| still_learns(Failure::usage(error.to_string())))?;
        }
        submit(ledger, &signed, words, &mut progress).await.map_err(still_learns)
    }

    /// The voters that are to be, with their quorum.
    fn next(&self, now: &InForce, mut voters: Vec<Voter>) -> Result<VoterSet> {
        voters.sort_by_key(|voter| voter.node);
        let majority = VoterSet::majority(now.voters.voters().to_vec());
        let next = match self.quorum {
            Some(quorum) => VoterSet::new(voters, quorum),
            None if majority.as_ref() == Some(&now.voters) => VoterSet::majority(voters),
            None => {
                let quorum = now.voters.quorum();
                return Err(Failure::usage(format!("the quorum is {quorum}, not just more than half"))
                    .hint("say with --quorum what it is to be"));
            }
        };
        next.ok_or_else(|| {
            Failure::usage("these cannot be the voters: their names and keys must differ, and a quorum be more than half")
        })
    }
}

/// Has the node replicate, and waits until it has caught up.
async fn learn(ledger: &Ledger, new: &Description, progress: &mut Progress) -> Result<()> {
    let step = format!("{} is catching up:", style::name(&new.name));
    let mut watches = 0;
    loop {
        let learner = ledger.add_learner(new.node, &new.name, &new.peer_address).await;
        let mut learner = learner.map_err(|error| member_failure(&error))?;
        loop {
            match learner.next().await {
                Ok(lag) => {
                    let matched = lag.matched_index.map_or_else(|| "-".into(), |index| index.to_string());
                    progress.tell(&step, &format!("entry {matched} of {}", lag.last_index));
                    if lag.caught_up {
                        return Ok(());
                    }
                }
                // Another node leads now: it is asked.
                Err(MembersError::Interrupted { .. }) if watches < WATCHES_MAX => break,
                Err(error) => return Err(member_failure(&error)),
            }
        }
        watches += 1;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Sends the change until it is acknowledged, and reports the roster that is in force then.
pub(super) async fn submit(
    ledger: &Ledger,
    signed: &SignedCommand,
    words: &str,
    progress: &mut Progress,
) -> Result<Report> {
    let Body::SetRoster { voters, .. } = &signed.command().body else {
        return Err(Failure::usage("the command does not change the voters"));
    };
    progress.tell("the voters change:", "sent to the leader");
    let submitted = ledger.submit_within(signed, SUBMIT_TIMEOUT);
    tokio::pin!(submitted);
    let receipt = loop {
        tokio::select! {
            receipt = &mut submitted => break receipt.map_err(submit_failure)?,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if is_joint(ledger).await {
                    progress.tell("the voters change:", "joint: a quorum of the old and of the new is needed");
                }
            }
        }
    };
    // Acknowledged with the roster after the change, or a later one.
    let trust = ledger.trust();
    let roster = trust.roster(receipt.head.head.roster).map_err(|error| Failure::local(error.to_string()))?;
    let (id, set) = (receipt.head.head.roster, roster.sets().last().unwrap_or(voters));
    let page = receipt_page(words, &trust, &receipt)
        .field("roster", format!("{} of block {}", style::name(&id.digest.to_string()), id.block))
        .field("voters", voter_set(set));
    Ok(Report::done(page, changed_json(&trust, &receipt, id, roster)))
}

fn changed_json(trust: &Trust, receipt: &chancery_client::Receipt, id: RosterId, roster: &Roster) -> Value {
    let mut json = receipt_json(trust, receipt);
    if let (Some(fields), Value::Object(roster)) = (json.as_object_mut(), roster_json(id, roster)) {
        fields.extend(roster);
    }
    json
}

/// Whether some node says that a change is under way.
async fn is_joint(ledger: &Ledger) -> bool {
    let all = ledger.status().await;
    all.iter()
        .filter_map(|(_, status)| status.as_ref().ok()?.roster.as_ref())
        .any(|(_, roster)| roster.is_joint())
}

fn lifetime_ms(lasting: Duration) -> u64 {
    u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)
}
