//! The part of the pinned story that is about knowledge and bounds.

use chancery_ledger::authority::{Allowance, BoundTaken};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, BoundKind, Bounds, DecisionId, DecisionRef, OutcomeKind, Per,
    Requirements, SignedCommand, Template, Terms,
};
use chancery_ledger::decide::{Denial, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, KnowledgeTree, Placed, Subject};
use serde_json::{Value, json};

use super::house::{bound, identifier, name, public, request, requirement, terms};
use super::{Story, hash, hex};

fn items() -> Vec<Item> {
    let item = |source: &str, what: &str, retrieved_at_ms| Item {
        source: name(source),
        digest: Hash::of(&[what.as_bytes()]),
        retrieved_at_ms,
    };
    vec![
        item("reservation/EHGLP3", "economy", 1_800_000_001_000),
        item("reservation/EHGLP3", "business", 1_800_007_205_000),
        item("reservation/NM1VX1", "economy", 1_800_000_002_000),
        item("user/ana", "gold", 1_800_000_000_500),
        item("policy", "five passengers", 1_800_000_000_000),
    ]
}

fn placed_json(placed: &Placed) -> Value {
    json!({
        "source": placed.item.source.as_str(),
        "digest": hash(placed.item.digest),
        "retrieved_at_ms": placed.item.retrieved_at_ms,
        "index": placed.index,
        "path": placed.path.iter().map(|one| hash(*one)).collect::<Vec<_>>(),
    })
}

/// Trees of 1 to 5 items, with the place of each, and absences.
pub(crate) fn knowledge() -> Value {
    let of = |count: usize| {
        let tree = KnowledgeTree::new(items()[..count].to_vec()).unwrap();
        let placed = (0..tree.count()).filter_map(|index| tree.placed(index));
        let absence = |source: &str| {
            let absence = tree.absence(&Subject::Source(name(source)));
            let side = |placed: &Option<Placed>| placed.as_ref().map(placed_json);
            absence.map(|absence| {
                json!({ "source": source, "before": side(&absence.before), "after": side(&absence.after) })
            })
        };
        let sources = ["a", "reservation/EHGLP", "reservation/EHGLP30", "reservation/NM1VX1", "zone"];
        json!({
            "count": tree.count(),
            "root": hash(tree.root()),
            "items": placed.map(|placed| placed_json(&placed)).collect::<Vec<_>>(),
            "absent": sources.iter().filter_map(|source| absence(source)).collect::<Vec<_>>(),
        })
    };
    (1..=items().len()).map(of).collect()
}

/// The files that show what was among five items, and what was not; and the list of them.
pub(crate) fn knowledge_proofs() -> Value {
    let tree = KnowledgeTree::new(items()).unwrap();
    let sources = ["reservation/EHGLP3", "a", "reservation/EHGLP30", "zone"];
    let subjects = sources.map(|source| Subject::Source(name(source)));
    let item = Item { retrieved_at_ms: 1, ..items().remove(0) };
    let proofs = subjects.into_iter().chain([Subject::Item(item)]).filter_map(|subject| tree.prove(subject));
    let list: String = items().iter().map(|item| item.to_json() + "\n").collect();
    proofs.map(|proof| proof.to_json()).chain([list]).collect()
}

/// What is a template of a source, and what is not.
pub(crate) fn templates() -> Value {
    let texts = [
        "policy",
        "{resource}",
        "reservation/{args.id}",
        "by-{agent}/{action}",
        "{args.a}/{args.b}",
        "{args.a}{args.b}",
        "{args.a}-{args.b}",
        "{args}",
        "{args.a-b}",
        "{owner}",
        "{",
        "a}",
        "",
        "a b",
        "a/*",
        "../{agent}",
    ];
    texts.iter().map(|text| json!({ "text": text, "template": Template::new(*text).is_ok() })).collect()
}

pub(crate) fn allowance_json(allowance: &Allowance) -> Value {
    let place = allowance.meter.place();
    json!({
        "grant": hash(allowance.grant.grant.0),
        "name": allowance.bound.name.as_str(),
        "limit": allowance.bound.limit,
        "used": allowance.used,
        "wanted": allowance.wanted,
        "meter_key": hex(place.key().0),
    })
}

pub(crate) fn taken_json(taken: &BoundTaken) -> Value {
    json!({
        "grant": hash(taken.grant.grant.0),
        "name": taken.name.as_str(),
        "limit": taken.limit,
        "used": taken.used,
        "taken": taken.taken,
    })
}

/// What these denials say beyond their code.
pub(crate) fn tell_denial(denial: &Denial, value: &mut Value) {
    match denial {
        Denial::BoundExhausted { grant, name, limit, used, wanted } => {
            value["grant"] = hash(grant.grant.0);
            value["name"] = name.as_str().into();
            value["limit"] = (*limit).into();
            value["used"] = (*used).into();
            value["wanted"] = (*wanted).into();
        }
        Denial::KnowledgeMissing { grant, template, source, max_age_ms, retrieved_at_ms } => {
            value["grant"] = hash(grant.grant.0);
            value["template"] = template.as_str().into();
            value["source"] = source.as_ref().map(ToString::to_string).into();
            value["max_age_ms"] = (*max_age_ms).into();
            value["retrieved_at_ms"] = (*retrieved_at_ms).into();
        }
        _ => {}
    }
}

/// A desk that may cancel what it has read within 10 minutes, and spend so much.
pub(crate) fn desk(story: &mut Story) {
    let register = Body::RegisterAgent {
        agent: name("desk"),
        owner: name("ada@example.com"),
        key: Some(public("desk")),
        lineage: None,
    };
    let register = story.command("register_agent, of the desk", &["operator-1"], register);
    let helper = Body::RegisterAgent {
        agent: name("helper"),
        owner: name("ada@example.com"),
        key: None,
        lineage: None,
    };
    let helper = story.command("register_agent, of its helper", &["operator-1"], helper);
    let amount = || BoundKind::Sum { argument: identifier("amount") };
    let granted = Terms {
        knowledge: Requirements::collect([
            requirement("policy", u64::MAX),
            requirement("reservation/{args.reservation}", 600_000),
        ])
        .unwrap(),
        bounds: Bounds::collect([
            bound("cancellations", BoundKind::Rate { window_ms: 3_600_000 }, 3, Per::Agent),
            bound("certificates", amount(), 50_000, Per::Key(name("desk-budget"))),
        ])
        .unwrap(),
        ..terms("desk", &["cancel"], &["reservation/*"], story.house.now_ms)
    };
    let grant = story.command("grant, with knowledge and bounds", &["issuer"], Body::grant(granted));
    let parent = chancery_ledger::command::GrantId::of(story.house.ledger, grant.command_bytes());
    let narrower = Terms {
        bounds: Bounds::collect([
            bound("certificates", amount(), 20_000, Per::Key(name("desk-budget"))),
            bound("at_once", BoundKind::Concurrency, 2, Per::Grant),
            bound("ever", BoundKind::Count, 10, Per::Grant),
        ])
        .unwrap(),
        delegable_depth: 0,
        ..terms("helper", &["cancel"], &["reservation/*"], story.house.now_ms)
    };
    let delegated = Body::delegate(parent, narrower.clone());
    let delegated = story.command("delegate, with bounds", &["desk"], delegated);
    let elsewhere = Terms {
        bounds: Bounds::collect([bound("all", BoundKind::Count, 9, Per::Key(name("elsewhere")))]).unwrap(),
        ..narrower
    };
    let elsewhere = Body::delegate(parent, elsewhere);
    let elsewhere = story.command("delegate, with a key of others", &["desk"], elsewhere);
    story.block("a desk with bounds", vec![register, helper, grant, delegated, elsewhere]);

    let tree = KnowledgeTree::new(items()).unwrap();
    let asking = |agent: &str, args: &str, sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| name(source)).collect();
        Request {
            args_digest: Hash::of(&[args.as_bytes()]),
            args: Some(args.into()),
            knowledge: Some(tree.show(&sources).unwrap()),
            ..request(agent, "cancel", "reservation/EHGLP3")
        }
    };
    let args = r#"{"amount":12000,"reservation":"EHGLP3"}"#;
    let read = ["policy", "reservation/EHGLP3"];
    story.check("bounds, with what is left", &asking("desk", args, &read));
    story.check("bounds of a chain", &asking("helper", args, &read));
    story.check("denied: knowledge not shown", &asking("desk", args, &["policy"]));
    let old = r#"{"amount":12000,"reservation":"NM1VX1"}"#;
    story.check("denied: knowledge too old", &asking("desk", old, &["policy", "reservation/NM1VX1"]));
    let unnamed = r#"{"amount":12000}"#;
    story.check("denied: knowledge of no source", &asking("desk", unnamed, &read));
    let much = r#"{"amount":20001,"reservation":"EHGLP3"}"#;
    story.check("denied: too little is left", &asking("helper", much, &read));
    let no_amount = r#"{"amount":"12000","reservation":"EHGLP3"}"#;
    story.check("denied: no amount", &asking("desk", no_amount, &read));
    // Recorded, it is spent; what failed is given back, and what is over is no longer under way.
    let recorded =
        |agent: &str, args: &str| Body::Authorize(Authorize::of(asking(agent, args, &read), 2_000));
    let first = story.command("authorize, within bounds", &["gate-2"], recorded("helper", args));
    let again = story.command("authorize, more than is left", &["gate-2"], recorded("helper", args));
    let unread = story.command("authorize, without the knowledge", &["gate-2"], recorded("helper", old));
    let failed = |number: u64, signed: &SignedCommand, ledger| {
        let id = DecisionId::of(ledger, signed.command_bytes());
        let decision = DecisionRef { agent: name("helper"), number, id };
        Body::Outcome(ActionOutcome { decision, kind: OutcomeKind::Failed, result_digest: None })
    };
    story.block("bounds are spent", vec![first.clone(), again, unread]);
    story.check("bounds, spent", &asking("desk", args, &read));
    story.check("denied: too little is left of a child's", &asking("helper", args, &read));
    let body = failed(1, &first, story.house.ledger);
    let failed = story.command("outcome, failed in time", &["gate-2"], body);
    story.block("what failed is given back", vec![failed]);
    story.check("bounds, given back", &asking("helper", args, &read));
    let evidence = story.house.evidence(&asking("desk", old, &read), super::nonce("knowledge"));
    story.keep_evidence("denied: knowledge not shown", &evidence);
}
