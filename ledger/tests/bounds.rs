//! Bounds and requirements of knowledge: which a grant may have, and what a check finds of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::authority::{Outcome, Refusal};
use chancery_ledger::command::{
    Body, Bound, BoundError, BoundKind, Bounds, Command, GrantId, IdentifierError, LIMIT_MAX,
    MalformedCommand, NameError, Per, RATE_WINDOW_MS_MAX, RequirementError, Requirements, TemplateError,
    Terms,
};
use chancery_ledger::decide::{Authority, Decision, Denial, Interval, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, Knowledge, KnowledgeTree};
use chancery_proto::v1 as wire;
use house::{House, bound, identifier, name, request, requirement, terms};
use prost::Message;
use wire::bound::{Kind, Per as WirePer};

fn sum() -> BoundKind {
    BoundKind::Sum { argument: identifier("amount") }
}

fn bounds(list: impl IntoIterator<Item = Bound>) -> Bounds {
    Bounds::collect(list).unwrap()
}

// ----------------------------------------------------------------------------------------------------
// Which a grant may have.

fn wire_bound(name: &str, kind: Kind, limit: u64) -> wire::Bound {
    wire::Bound { name: name.into(), limit, kind: Some(kind), per: Some(WirePer::Grant(wire::PerGrant {})) }
}

fn count(name: &str, limit: u64) -> wire::Bound {
    wire_bound(name, Kind::Count(wire::CountBound {}), limit)
}

/// A grant with these on the wire, decoded.
fn decoded(
    bounds: Vec<wire::Bound>,
    knowledge: Vec<wire::KnowledgeRequirement>,
) -> Result<Command, MalformedCommand> {
    let mut house = House::found();
    let command = house.command("issuer", Body::grant(terms("a", &["pay"], &["*"], 1)));
    let signed = house.sign(&command, &["issuer"]);
    let mut plain = wire::Command::decode(signed.command_bytes()).unwrap();
    let Some(wire::command::Body::Grant(grant)) = &mut plain.body else { panic!() };
    let terms = grant.terms.as_mut().unwrap();
    (terms.bounds, terms.knowledge) = (bounds, knowledge);
    Command::decode(&plain.encode_to_vec())
}

#[test]
fn bounds_that_no_grant_has() {
    let rate = |window_ms, limit| wire_bound("a", Kind::Rate(wire::RateBound { window_ms }), limit);
    let sum = |argument: &str| wire_bound("a", Kind::Sum(wire::SumBound { argument: argument.into() }), 1);
    let at_once = |limit| wire_bound("a", Kind::Concurrency(wire::ConcurrencyBound {}), limit);
    let good = vec![
        vec![],
        vec![count("a", 1), count("b", LIMIT_MAX)],
        vec![rate(1, 256)],
        vec![rate(RATE_WINDOW_MS_MAX, 1)],
        vec![sum("amount_eur")],
        vec![at_once(64)],
        (b'a'..=b'h').map(|letter| count(&char::from(letter).to_string(), 1)).collect(),
    ];
    for bounds in good {
        assert!(decoded(bounds.clone(), vec![]).is_ok(), "{bounds:?}");
    }
    let identifier = |field| MalformedCommand::Identifier { field, source: IdentifierError };
    let bound_error = MalformedCommand::Bounds;
    let key = |key: &str| wire::Bound { per: Some(WirePer::Key(key.into())), ..count("a", 1) };
    let bad = [
        (vec![count("a", 0)], bound_error(BoundError::Limit(LIMIT_MAX))),
        (vec![count("a", LIMIT_MAX + 1)], bound_error(BoundError::Limit(LIMIT_MAX))),
        (vec![rate(1, 257)], bound_error(BoundError::Limit(256))),
        (vec![rate(0, 1)], bound_error(BoundError::Window)),
        (vec![rate(RATE_WINDOW_MS_MAX + 1, 1)], bound_error(BoundError::Window)),
        (vec![at_once(65)], bound_error(BoundError::Limit(64))),
        (vec![count("b", 1), count("a", 1)], bound_error(BoundError::Unsorted)),
        (vec![count("a", 1), count("a", 2)], bound_error(BoundError::Unsorted)),
        (
            (b'a'..=b'i').map(|l| count(&char::from(l).to_string(), 1)).collect(),
            bound_error(BoundError::TooMany),
        ),
        (vec![count("a-b", 1)], identifier("a bound's name")),
        (vec![sum("")], identifier("a bound's argument")),
        (vec![wire::Bound { kind: None, ..count("a", 1) }], MalformedCommand::Missing("a bound's kind")),
        (vec![wire::Bound { per: None, ..count("a", 1) }], MalformedCommand::Missing("who shares a bound")),
        (vec![key("")], MalformedCommand::Name { field: "a bound's key", source: NameError::Empty }),
    ];
    for (bounds, error) in bad {
        assert_eq!(decoded(bounds.clone(), vec![]), Err(error), "{bounds:?}");
    }
}

#[test]
fn requirements_that_no_grant_has() {
    let one = |source: &str, max_age_ms| wire::KnowledgeRequirement { source: source.into(), max_age_ms };
    assert!(decoded(vec![], vec![one("policy", u64::MAX), one("reservation/{args.id}", 1)]).is_ok());
    let many = |count: u8| (0..count).map(|number| one(&format!("s{number}"), 1)).collect::<Vec<_>>();
    assert!(decoded(vec![], many(8)).is_ok());
    let bad = [
        (many(9), RequirementError::TooMany),
        (vec![one("policy", 0)], RequirementError::Age),
        (vec![one("b", 1), one("a", 1)], RequirementError::Unsorted),
        (vec![one("a", 1), one("a", 2)], RequirementError::Unsorted),
        (vec![one("{args.a}{args.b}", 1)], TemplateError::Place.into()),
        (vec![one("{user}", 1)], TemplateError::Place.into()),
        (vec![one("", 1)], TemplateError::Name(NameError::Empty).into()),
    ];
    for (requirements, error) in bad {
        let expected = Err(MalformedCommand::Requirements(error));
        assert_eq!(decoded(vec![], requirements.clone()), expected, "{requirements:?}");
    }
}

#[test]
fn a_key_is_in_scope_and_a_delegation_shares_only_what_its_parent_shares() {
    let mut house = House::found();
    for agent in ["team/a", "team/b", "team/c"] {
        house.register(agent);
    }
    let now_ms = house.now_ms;
    let keyed = |agent: &str, key: &str, limit| Terms {
        bounds: bounds([bound("budget", sum(), limit, Per::Key(name(key)))]),
        ..terms(agent, &["deploy"], &["prod/db"], now_ms)
    };
    let mut outcome = |signer: &str, body: Body| {
        let signed = house.signed(signer, body);
        let outcome = house.send(&signed);
        (GrantId::of(house.ledger, signed.command_bytes()), outcome)
    };
    let refused = |refusal| Outcome::Refused(refusal);
    let (_, elsewhere) = outcome("team-issuer", Body::grant(keyed("team/a", "budget", 9)));
    assert_eq!(elsewhere, refused(Refusal::OutOfScope("a bound's key")));
    let (parent, granted) = outcome("team-issuer", Body::grant(keyed("team/a", "prod/budget", 9)));
    assert!(matches!(granted, Outcome::Applied(_)));

    let delegate = |parent, terms: Terms| Body::delegate(parent, Terms { delegable_depth: 1, ..terms });
    let (_, other_key) = outcome("team/a", delegate(parent, keyed("team/b", "prod/other", 9)));
    assert_eq!(other_key, refused(Refusal::Widens("bounds")));
    let other_kind = Terms {
        bounds: bounds([bound("budget", BoundKind::Count, 9, Per::Key(name("prod/budget")))]),
        ..keyed("team/b", "prod/budget", 9)
    };
    assert_eq!(outcome("team/a", delegate(parent, other_kind)).1, refused(Refusal::Widens("bounds")));
    // Less or more of it: the parent's limit counts too.
    let (child, granted) = outcome("team/a", delegate(parent, keyed("team/b", "prod/budget", 20)));
    assert!(matches!(granted, Outcome::Applied(_)));
    let own = Terms {
        delegable_depth: 0,
        bounds: bounds([
            bound("budget", sum(), 5, Per::Key(name("prod/budget"))),
            bound("mine", BoundKind::Count, 5, Per::Grant),
            bound("ours", BoundKind::Count, 5, Per::Agent),
        ]),
        ..keyed("team/c", "prod/budget", 1)
    };
    let granted = outcome("team/b", Body::delegate(child, own)).1;
    assert!(matches!(granted, Outcome::Applied(_)), "{granted:?}");
}

// ----------------------------------------------------------------------------------------------------
// What a check finds.

fn at(house: &House) -> Interval {
    Interval { low_ms: house.now_ms, high_ms: house.now_ms }
}

fn asking(agent: &str, args: &str, knowledge: Option<Knowledge>) -> Request {
    let (args_digest, args) = (Hash::of(&[args.as_bytes()]), Some(args.into()));
    Request { args_digest, args, knowledge, ..request(agent, "pay", "account/1") }
}

#[track_caller]
fn permitted(house: &House, request: &Request) -> Authority {
    match house.read_set(request, at(house)).0 {
        Decision::Permit(authority) => authority,
        Decision::Denied(denial) => panic!("{denial:?}"),
    }
}

#[track_caller]
fn denied(house: &House, request: &Request, interval: Interval) -> Denial {
    match house.read_set(request, interval).0 {
        Decision::Permit(authority) => panic!("{authority:?}"),
        Decision::Denied(denial) => denial,
    }
}

#[test]
fn a_check_finds_what_is_left_along_the_whole_chain() {
    let mut house = House::found();
    house.register("a");
    house.register("b");
    let now_ms = house.now_ms;
    let parent = house.grant(Terms {
        bounds: bounds([
            bound("often", BoundKind::Rate { window_ms: 1_000 }, 3, Per::Agent),
            bound("money", sum(), 100, Per::Key(name("shared"))),
        ]),
        ..terms("a", &["pay"], &["account/*"], now_ms)
    });
    let child = Terms {
        bounds: bounds([bound("money", sum(), 50, Per::Grant)]),
        delegable_depth: 0,
        ..terms("b", &["pay"], &["account/*"], now_ms)
    };
    let child = house.delegate("a", parent, child);
    let authority = permitted(&house, &asking("b", r#"{"amount":50}"#, None));
    let found: Vec<_> = authority
        .bounds
        .iter()
        .map(|left| (left.grant.grant, left.bound.name.to_string(), left.used, left.wanted, left.left()))
        .collect();
    let expected = [
        (child, "money".to_string(), 0, 50, 50),
        (parent, "money".to_string(), 0, 50, 100),
        (parent, "often".to_string(), 0, 1, 3),
    ];
    assert_eq!(found, expected);

    let exhausted = |args: &str, grant: GrantId, limit, wanted| {
        let denial = denied(&house, &asking("b", args, None), at(&house));
        let Denial::BoundExhausted { grant: found, name, limit: of, used: 0, wanted: asked } = denial else {
            panic!("{denial:?}")
        };
        assert_eq!((found.grant, name.as_str(), of, asked), (grant, "money", limit, wanted), "{args}");
    };
    exhausted(r#"{"amount":51}"#, child, 50, Some(51));
    for args in [
        r#"{"amount":-1}"#,
        r#"{"amount":"5"}"#,
        r#"{"amount":5.0}"#,
        r#"{"amount":null}"#,
        "{}",
        "[5]",
        r#"{"amount":9223372036854775808}"#,
        r#"{"amount":5,"amount":5}"#,
        r#"{"amount":5"#,
    ] {
        exhausted(args, child, 50, None);
    }
    // Arguments of another digest are not those of the request.
    let shown = Request { args: Some(br#"{"amount":5}"#.to_vec()), ..asking("b", r#"{"amount":50}"#, None) };
    assert!(matches!(denied(&house, &shown, at(&house)), Denial::BoundExhausted { wanted: None, .. }));
    let hidden = Request { args: None, ..asking("b", r#"{"amount":50}"#, None) };
    assert!(matches!(denied(&house, &hidden, at(&house)), Denial::BoundExhausted { wanted: None, .. }));
    permitted(&house, &asking("b", r#"{"amount":0}"#, None));
}

#[test]
fn knowledge_is_there_and_young_in_all_of_the_interval() {
    let mut house = House::found();
    house.register("a");
    house.grant(Terms {
        knowledge: Requirements::collect([requirement("reservation/{args.id}", 10)]).unwrap(),
        ..terms("a", &["pay"], &["account/*"], house.now_ms)
    });
    let read_ms = house.now_ms;
    let item = |source: &str, retrieved_at_ms| Item {
        source: name(source),
        digest: Hash::of(&[source.as_bytes()]),
        retrieved_at_ms,
    };
    let tree = KnowledgeTree::new(vec![
        item("reservation/A", read_ms - 100),
        item("reservation/A", read_ms),
        item("reservation/B", read_ms),
        item("reservation/7", read_ms),
    ])
    .unwrap();
    let show = |sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| name(source)).collect();
        Some(tree.show(&sources).unwrap())
    };
    let decided =
        |request: &Request, low_ms, high_ms| house.read_set(request, Interval { low_ms, high_ms }).0;
    let of_a = asking("a", r#"{"id":"A"}"#, show(&["reservation/A"]));
    let missing = |decision: &Decision| match decision {
        Decision::Denied(Denial::KnowledgeMissing {
            source,
            retrieved_at_ms,
            max_age_ms: 10,
            template,
            ..
        }) => {
            assert_eq!(template.as_str(), "reservation/{args.id}");
            (source.as_ref().map(ToString::to_string), *retrieved_at_ms)
        }
        other => panic!("{other:?}"),
    };
    assert!(matches!(decided(&of_a, read_ms, read_ms), Decision::Permit(_)));
    assert!(matches!(decided(&of_a, read_ms, read_ms + 10), Decision::Permit(_)));
    // Too old by the latest time, though not by the earliest.
    let old = decided(&of_a, read_ms, read_ms + 11);
    assert_eq!(missing(&old), (Some("reservation/A".into()), Some(read_ms)));
    // An integer names it too.
    let of_seven = asking("a", r#"{"id":7}"#, show(&["reservation/7"]));
    assert!(matches!(decided(&of_seven, read_ms, read_ms), Decision::Permit(_)));
    let absent = [
        (r#"{"id":"A"}"#, show(&["reservation/B"]), Some("reservation/A")),
        (r#"{"id":"A"}"#, show(&[]), Some("reservation/A")),
        (r#"{"id":"A"}"#, None, Some("reservation/A")),
        (r#"{"id":"B/x"}"#, show(&["reservation/B"]), None),
        (r#"{"id":".."}"#, show(&["reservation/B"]), None),
        (r#"{"id":""}"#, show(&["reservation/B"]), None),
        (r#"{"id":true}"#, show(&["reservation/B"]), None),
        ("{}", show(&["reservation/B"]), None),
    ];
    for (args, knowledge, source) in absent {
        let decision = decided(&asking("a", args, knowledge), read_ms, read_ms);
        assert_eq!(missing(&decision), (source.map(Into::into), None), "{args}");
    }
    // What is later than the ledger is not there yet.
    let ahead = KnowledgeTree::new(vec![item("reservation/A", read_ms + 1)]).unwrap();
    let ahead = asking("a", r#"{"id":"A"}"#, Some(ahead.show(&[name("reservation/A")]).unwrap()));
    assert_eq!(missing(&decided(&ahead, read_ms, read_ms)), (Some("reservation/A".into()), None));
    assert!(matches!(decided(&ahead, read_ms, read_ms + 1), Decision::Permit(_)));
}
