//! The pinned files that say by when something was recorded, and that no permit was.

use chancery_ledger::answer::Moment;
use chancery_ledger::authority::{Decided, Entry, Verdict};
use chancery_ledger::checkpoint::{SignatureLine, SignedCheckpoint};
use chancery_ledger::command::Body;
use chancery_ledger::evidence::{Evidence, Leaf, NoPermit, NoPermitError, RecordedBy, RecordedByError};
use chancery_ledger::head::RosterChain;
use chancery_ledger::trust::{CosignedError, Trust};
use serde_json::{Value, json};

use super::house::{House, key, name, nonce, request};
use super::{evidence_error, hex, verdict_json};

/// A time of the nodes' clocks, in seconds: later than all that is told.
const THEN_S: u64 = 1_800_100_000;

fn vector(what: &str, file: String, shows: Value) -> Value {
    json!({ "name": what, "file": file, "shows": shows })
}

/// What a verifier is shown, from the trust file alone.
pub(crate) fn recorded_by_shows(file: &str, trust: &Trust) -> Value {
    match RecordedBy::from_json(file.as_bytes()).unwrap().verify(trust) {
        Ok(shown) => json!({
            "index": shown.recorded.cause.index,
            "command": hex(shown.recorded.signed.encode()),
            "verdict": shown.recorded.verdict.as_ref().map(verdict_json),
            "by_ms": shown.by_ms,
            "cosigned": shown.cosigned.nodes.iter().map(|by| [by.node, by.time_s]).collect::<Vec<_>>(),
            "block": shown.block,
        }),
        Err(error) => json!({ "error": recorded_by_error(&error) }),
    }
}

fn recorded_by_error(error: &RecordedByError) -> String {
    match error {
        RecordedByError::Evidence(error) => evidence_error(error),
        RecordedByError::NotTheState { .. } => "not_the_state".into(),
        RecordedByError::Cosigned(CosignedError::OtherOrigin { .. }) => "checkpoint/other_origin".into(),
        RecordedByError::Cosigned(CosignedError::Signatures(_)) => "checkpoint/bad_cosignature".into(),
        RecordedByError::Cosigned(CosignedError::TooFewNodes { .. }) => "checkpoint/too_few_nodes".into(),
        RecordedByError::Cosigned(CosignedError::TooFewWitnesses { .. }) => {
            "checkpoint/too_few_witnesses".into()
        }
        RecordedByError::Cosigned(CosignedError::Voter { .. }) | RecordedByError::Note(_) => {
            panic!("{error}")
        }
    }
}

/// The same of a count.
pub(crate) fn no_permit_shows(file: &str, trust: &Trust) -> Value {
    match NoPermit::from_json(file.as_bytes()).unwrap().verify(trust) {
        Ok(shown) => json!({
            "agent": shown.agent.as_str(),
            "permits": shown.permits,
            "denials": shown.denials,
            "from": { "block": shown.from.block, "time_ms": shown.from.time_ms },
            "to": { "block": shown.to.block, "time_ms": shown.to.time_ms },
        }),
        Err(error) => json!({ "error": match &error {
            NoPermitError::Evidence { end, source } => format!("{end}/{}", evidence_error(source)),
            NoPermitError::OtherAgent { .. } => "other_agent".into(),
            NoPermitError::Order { .. } => "order".into(),
            NoPermitError::Permitted(_) => "permitted".into(),
            NoPermitError::Fell => "fell".into(),
        } }),
    }
}

/// The first command that is so, and its block.
fn first(house: &House, wanted: impl Fn(&Body, Option<&Verdict>) -> bool) -> (u64, u64) {
    let found = (0..house.head().log_size).find_map(|index| match house.entry(index) {
        Entry::Command { block, signed, verdict, .. } => {
            wanted(&signed.command().body, verdict.as_ref()).then_some((index, block))
        }
        Entry::State { .. } => None,
    });
    found.unwrap()
}

pub(crate) fn recorded_by(house: &House) -> Vec<Value> {
    // The story ends with a change of voters: who voted before has no say in what came of it.
    let nodes = house.cosigners();
    assert_eq!(nodes, [4, 5]);
    let cosigned: Vec<(u64, u64)> =
        nodes.iter().zip(THEN_S..).map(|(node, time_s)| (*node, time_s)).collect();
    let (revoked, _) = first(house, |body, _| matches!(body, Body::RevokeGrant { .. }));
    let (known, _) =
        first(house, |body, _| matches!(body, Body::Authorize(asked) if asked.knowledge.is_some()));
    let good = house.recorded_by(revoked, &cosigned);
    let lines = |wanted: &[usize]| -> Vec<SignatureLine> {
        wanted.iter().map(|place| house.cosignature(cosigned[*place].0, cosigned[*place].1)).collect()
    };
    let with = |lines: Vec<SignatureLine>| {
        let checkpoint = SignedCheckpoint::new(house.bare_checkpoint(), lines).unwrap();
        RecordedBy { checkpoint, ..good.clone() }
    };
    let earlier = {
        let line = &lines(&[0])[0];
        let mut signature = line.signature().to_vec();
        signature[7] ^= 1;
        SignatureLine::new(line.name().clone(), line.key_id(), signature).unwrap()
    };
    let stranger = 2;
    let moved = Leaf { index: revoked + 1, ..good.leaf.clone() };
    let files = [
        ("a revocation", good.clone()),
        ("a decision with knowledge", house.recorded_by(known, &cosigned)),
        ("by as many as it takes", with(lines(&[0, 1]))),
        ("by too few", with(lines(&[1]))),
        ("by one twice", with(lines(&[0, 1, 1]))),
        ("in another order", with(lines(&[1, 0]))),
        (
            "with the log's own signature",
            with([vec![house.bare_checkpoint().sign(&key("log"))], lines(&[0, 1])].concat()),
        ),
        (
            "by one who has no vote",
            with([lines(&[0, 1]), vec![house.cosignature(stranger, THEN_S)]].concat()),
        ),
        ("at another time than was signed", with([vec![earlier], lines(&[1])].concat())),
        ("at another place", RecordedBy { leaf: moved, ..good.clone() }),
        ("a state", RecordedBy { leaf: good.state.clone(), ..good.clone() }),
        ("another last leaf", RecordedBy { state: good.leaf.clone(), ..good.clone() }),
        ("without the rosters", RecordedBy { rosters: RosterChain::default(), ..good.clone() }),
        ("of another origin", RecordedBy { origin: "elsewhere.example".into(), ..good.clone() }),
    ];
    let trust = house.founding_trust();
    let made = |(what, file): (&str, RecordedBy)| {
        let file = file.to_json();
        let shows = recorded_by_shows(&file, &trust);
        vector(what, file, shows)
    };
    files.into_iter().map(made).collect()
}

pub(crate) fn no_permit(house: &House) -> Vec<Value> {
    let asked = request("team/b", "deploy", "prod/db");
    let is_permit = |verdict: Option<&Verdict>| {
        verdict.is_some_and(|verdict| matches!(verdict.decided, Decided::Permit { .. }))
    };
    let (_, permitted) = first(house, |body, verdict| {
        matches!(body, Body::Authorize(asked) if asked.agent == name("team/b")) && is_permit(verdict)
    });
    let at = |block| house.past_evidence(&asked, Moment::Block(block));
    let time_ms = house.head().time_ms;
    let at_time = house.past_evidence(&asked, Moment::Time(time_ms));
    let now = || house.evidence(&asked, nonce("no permit"));
    let other = house.past_evidence(&request("team/a", "deploy", "prod/db"), Moment::Block(permitted));
    let forged = |evidence: Evidence| Evidence { origin: "elsewhere.example".into(), ..evidence };
    let before = permitted - 1;
    let files = [
        ("from genesis, when it was unknown", at(0), at(before)),
        ("after the first permits, to now", at(permitted), now()),
        ("after the first permits, to a time", at(permitted), at_time),
        ("over permits", at(before), at(permitted)),
        ("backwards", now(), at(permitted)),
        ("of two agents", other, at(permitted)),
        ("from elsewhere", forged(at(0)), at(before)),
        ("to elsewhere", at(0), forged(at(before))),
    ];
    let trust = house.founding_trust();
    let made = |(what, from, to): (&str, Evidence, Evidence)| {
        let file = NoPermit { from, to }.to_json();
        let shows = no_permit_shows(&file, &trust);
        vector(what, file, shows)
    };
    files.into_iter().map(made).collect()
}
