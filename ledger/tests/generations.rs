//! A version of an agent that nobody released stops at the gate; what a lineage keeps to, every version of it
//! keeps to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::{ProofError, verify};
use chancery_ledger::authority::{GenerationRef, Outcome, Refusal};
use chancery_ledger::command::{
    Body, GenerationId, GrantId, HaltScope, LedgerId, LineageConstraints, LineagePolicy, Role, Terms,
    VerifiedSignatures,
};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::hash::Hash;
use house::{
    House, STRICT, anything, everything, generation, name, nonce, patterns, principal, public, request, terms,
};

/// `a` and `b` of the lineage `desk` may everything below `prod`; `c`, of a lineage of its own, by a delegation of
/// `a` too.
fn founded() -> (House, GrantId) {
    let mut house = House::found();
    for agent in ["a", "b"] {
        house.register_in(agent, "desk");
    }
    house.register("c");
    let operator = principal("operator-3", &[Role::Operator], everything());
    house.applied("operator-1", Body::AddPrincipal(operator));
    let reviewer = principal("reviewer", &[Role::Reviewer], everything());
    house.applied("operator-1", Body::AddPrincipal(reviewer));
    let now_ms = house.now_ms;
    let grant = house.grant(terms("a", &["*"], &["prod/*"], now_ms));
    house.grant(terms("b", &["*"], &["prod/*"], now_ms));
    let narrower = Terms { delegable_depth: 0, ..terms("c", &["*"], &["prod/*"], now_ms) };
    house.delegate("a", grant, narrower);
    (house, grant)
}

fn asked(agent: &str, generation: Option<GenerationId>) -> Request {
    Request { generation, ..request(agent, "deploy", "prod/db") }
}

fn decision(house: &House, request: &Request) -> Decision {
    let nonce = nonce("generations");
    verify(&house.trust, request, nonce, &house.answer(request, nonce)).unwrap().decision
}

/// The generation that a permit is for.
#[track_caller]
fn permitted(house: &House, request: &Request) -> Option<GenerationRef> {
    match decision(house, request) {
        Decision::Permit(authority) => authority.generation,
        denied @ Decision::Denied(_) => panic!("{denied:?}"),
    }
}

#[track_caller]
fn denied(house: &House, request: &Request) -> Denial {
    match decision(house, request) {
        Decision::Denied(denial) => denial,
        permit @ Decision::Permit(_) => panic!("{permit:?}"),
    }
}

#[track_caller]
fn refuse(house: &mut House, signers: &[&str], body: Body, refusal: &Refusal) {
    let command = house.command(signers[0], body);
    let signed = house.sign(&command, signers);
    let root = house.state().summary().root;
    let admitted = house
        .state()
        .admit(&house.replicas[0].nodes, &signed, house.now_ms, &VerifiedSignatures::default())
        .unwrap();
    assert_eq!(admitted.as_ref(), Err(refusal));
    let applied = house.block(vec![signed]);
    assert_eq!(applied.outcomes, [Outcome::Refused(refusal.clone())]);
    assert!(applied.leaves.is_empty());
    assert_eq!(house.state().summary().root, root);
}

fn set(policy: LineagePolicy, constraints: LineageConstraints, operators: &[&str]) -> Body {
    let mut operators: Vec<_> = operators.iter().map(|label| public(label)).collect();
    operators.sort();
    Body::SetLineage { lineage: name("desk"), policy, constraints, operators }
}

fn release(generation: GenerationId, reviewers: &[&str]) -> Body {
    let reviewers = reviewers.iter().map(|label| public(label)).collect();
    Body::ReleaseGeneration { lineage: name("desk"), generation, reviewers }
}

fn roll_back(number: u64, generation: GenerationId) -> Body {
    Body::RollbackLineage { lineage: name("desk"), number, generation }
}

const NOBODYS: GenerationId = GenerationId(Hash::ZERO);

#[test]
fn a_generation_acts_once_it_is_released_and_until_a_newer_one_is() {
    let (mut house, _) = founded();
    // Without generations none is named.
    assert_eq!(permitted(&house, &asked("a", None)), None);
    assert!(matches!(denied(&house, &asked("a", Some(NOBODYS))), Denial::UnregisteredGeneration { .. }));

    let first = house.register_generation("desk", None, "model-1");
    let quarantined = |denial: &Denial, expected| matches!(denial, Denial::QuarantinedGeneration { number, .. } if *number == expected);
    for agent in ["a", "b"] {
        assert!(quarantined(&denied(&house, &asked(agent, Some(first))), 1));
        // A rewrite that nobody registered, and a caller that does not say what it is.
        for named in [None, Some(NOBODYS)] {
            let denial = denied(&house, &asked(agent, named));
            assert!(
                matches!(&denial, Denial::UnregisteredGeneration { lineage } if *lineage == name("desk"))
            );
        }
    }
    // Another lineage has no generations, whoever delegated to it.
    assert_eq!(permitted(&house, &asked("c", None)), None);

    house.applied("operator-1", release(first, &[]));
    let in_service = |number, id| Some(GenerationRef { number, id });
    assert_eq!(permitted(&house, &asked("a", Some(first))), in_service(1, first));

    let second = house.register_generation("desk", Some(first), "model-2");
    assert!(quarantined(&denied(&house, &asked("a", Some(second))), 2));
    permitted(&house, &asked("b", Some(first)));
    let released = house.applied("reviewer", release(second, &[]));
    assert_eq!(permitted(&house, &asked("b", Some(second))), in_service(2, second));
    let denial = denied(&house, &asked("a", Some(first)));
    assert!(matches!(&denial, Denial::SupersededGeneration { number: 1, .. }));
    let index = house.state().dedup().get(&released.dedup_key()).unwrap().index;
    assert_eq!(denial.cause().unwrap().index, index);
    // As evidence, with the release itself.
    let evidence = house.evidence(&asked("a", Some(first)), nonce("generations"));
    let shown = evidence.verify(&house.trust).unwrap();
    assert!(matches!(&shown.cause.unwrap().command().body, Body::ReleaseGeneration { .. }));
    let text = evidence.to_json();
    let again = chancery_ledger::evidence::Evidence::from_json(text.as_bytes()).unwrap();
    assert_eq!(again, evidence);
}

#[test]
fn a_permit_is_of_the_generation_that_asked() {
    let (mut house, _) = founded();
    let first = house.register_generation("desk", None, "model-1");
    house.applied("operator-1", release(first, &[]));
    let (asked, nonce) = (asked("a", Some(first)), nonce("generations"));
    let answer = house.answer(&asked, nonce);
    verify(&house.trust, &asked, nonce, &answer).unwrap();
    for generation in [None, Some(NOBODYS)] {
        let other = Request { generation, ..asked.clone() };
        let error = verify(&house.trust, &other, nonce, &answer).unwrap_err();
        assert!(matches!(error, ProofError::Freshness(_)), "{error}");
    }
}

#[test]
fn an_id_is_what_it_is_made_of() {
    let ledger = LedgerId(Hash::of(&[b"ledger"]));
    let made = generation("desk", None, "model");
    let id = made.id(ledger);
    let mut others = vec![
        generation("desks", None, "model").id(ledger),
        generation("desk", Some(id), "model").id(ledger),
        made.id(LedgerId(Hash::ZERO)),
    ];
    let digests = made.digests;
    for place in 0..5 {
        let mut changed = digests;
        let fields = [
            &mut changed.model,
            &mut changed.prompt,
            &mut changed.tools,
            &mut changed.parameters,
            &mut changed.memory,
        ];
        *fields.into_iter().nth(place).unwrap() = Hash::ZERO;
        others.push(chancery_ledger::command::Generation { digests: changed, ..made.clone() }.id(ledger));
    }
    others.push(id);
    let count = others.len();
    others.sort();
    others.dedup();
    assert_eq!(others.len(), count);
    // Whoever signs and however often.
    assert_eq!(made.clone().id(ledger), id);
}

#[test]
fn rolling_back_is_one_command() {
    let (mut house, _) = founded();
    let first = house.register_generation("desk", None, "model-1");
    house.applied("operator-1", release(first, &[]));
    let second = house.register_generation("desk", Some(first), "model-2");
    let third = house.register_generation("desk", Some(second), "model-3");
    house.applied("operator-1", release(third, &[]));
    refuse(&mut house, &["issuer"], roll_back(2, second), &Refusal::NotReleased(2));
    refuse(&mut house, &["issuer"], roll_back(3, third), &Refusal::NotOlder(3));
    refuse(&mut house, &["issuer"], roll_back(2, first), &Refusal::OtherGeneration(2));
    refuse(&mut house, &["issuer"], roll_back(1, NOBODYS), &Refusal::UnknownGeneration(NOBODYS));
    let issuer = Refusal::WrongRole(vec![Role::Operator, Role::Issuer]);
    refuse(&mut house, &["reviewer"], roll_back(1, first), &issuer);
    refuse(&mut house, &["team-issuer"], roll_back(1, first), &Refusal::OutOfScope("lineage"));
    house.applied("issuer", roll_back(1, first));
    permitted(&house, &asked("a", Some(first)));
    assert!(matches!(
        denied(&house, &asked("a", Some(third))),
        Denial::SupersededGeneration { number: 3, .. }
    ));
    assert!(matches!(denied(&house, &asked("a", Some(second))), Denial::QuarantinedGeneration { .. }));
    // Forward again only by a release.
    refuse(&mut house, &["issuer"], roll_back(3, third), &Refusal::NotOlder(3));
    house.applied("operator-1", release(third, &[]));
    permitted(&house, &asked("a", Some(third)));
}

#[test]
fn several_generations_may_be_in_service() {
    let (mut house, _) = founded();
    // To keep two in service loosens: with a threshold of one, one operator may.
    let two = LineagePolicy { quarantine: true, threshold: 1, in_service_max: 2 };
    let few = Refusal::TooFewOperators { signed: 0, threshold: 1 };
    refuse(&mut house, &["issuer"], set(two, anything(), &[]), &few);
    house.applied("operator-1", set(two, anything(), &[]));
    let mut ids: Vec<GenerationId> = Vec::new();
    for model in ["1", "2", "3", "4"] {
        ids.push(house.register_generation("desk", ids.last().copied(), model));
    }
    for id in [ids[0], ids[2]] {
        house.applied("operator-1", release(id, &[]));
    }
    let serves = |house: &House| -> Vec<bool> {
        let serves =
            |id: &GenerationId| matches!(decision(house, &asked("a", Some(*id))), Decision::Permit(_));
        ids.iter().map(serves).collect()
    };
    assert_eq!(serves(&house), [true, false, true, false]);
    refuse(&mut house, &["operator-1"], release(ids[2], &[]), &Refusal::InService(3));
    house.applied("operator-1", release(ids[3], &[]));
    assert_eq!(serves(&house), [false, false, true, true]);
    refuse(&mut house, &["operator-1"], release(ids[1], &[]), &Refusal::Superseded(2));
    // Fewer: the newest stays.
    house.applied("issuer", set(LineagePolicy { in_service_max: 1, ..two }, anything(), &[]));
    assert_eq!(serves(&house), [false, false, false, true]);
    // Without quarantine a generation is in service at once.
    let open = LineagePolicy { quarantine: false, threshold: 1, in_service_max: 1 };
    house.applied("operator-1", set(open, anything(), &[]));
    let fifth = house.register_generation("desk", Some(ids[3]), "5");
    permitted(&house, &asked("b", Some(fifth)));
    assert_eq!(serves(&house), [false; 4]);
}

#[test]
fn to_tighten_takes_one_and_to_loosen_several() {
    let (mut house, _) = founded();
    let constraints = |actions: &[&str], resources: &[&str], max_staleness_ms| LineageConstraints {
        actions: patterns(actions),
        resources: patterns(resources),
        max_staleness_ms,
    };
    let narrow = constraints(&["deploy", "repo/*"], &["prod/*"], 2_000);
    house.applied("issuer", set(STRICT, narrow.clone(), &[]));
    refuse(&mut house, &["issuer"], set(STRICT, narrow.clone(), &[]), &Refusal::LineageUnchanged);
    let looser = [
        (LineagePolicy { quarantine: false, ..STRICT }, narrow.clone()),
        (LineagePolicy { threshold: 1, ..STRICT }, narrow.clone()),
        (LineagePolicy { in_service_max: 2, ..STRICT }, narrow.clone()),
        (STRICT, constraints(&["deploy", "drop", "repo/*"], &["prod/*"], 2_000)),
        (STRICT, constraints(&["*"], &["prod/*"], 2_000)),
        (STRICT, constraints(&[], &["prod/*"], 2_000)),
        (STRICT, constraints(&["deploy"], &[], 1_000)),
        (STRICT, constraints(&["deploy"], &["prod"], 1_000)),
        (STRICT, constraints(&["deploy"], &["prod/db"], 2_001)),
        (STRICT, constraints(&["deploy"], &["prod/db"], 0)),
    ];
    let few = |signed| Refusal::TooFewOperators { signed, threshold: 2 };
    for (policy, constraints) in &looser {
        let alone = set(*policy, constraints.clone(), &[]);
        refuse(&mut house, &["operator-1"], alone.clone(), &few(1));
        refuse(&mut house, &["issuer"], alone, &few(0));
        // An issuer that has an operator sign is still one operator.
        let one = set(*policy, constraints.clone(), &["operator-1"]);
        refuse(&mut house, &["issuer", "operator-1"], one, &few(1));
        let unknown = Refusal::UnknownOperator(public("issuer"));
        let issuer = set(*policy, constraints.clone(), &["issuer"]);
        refuse(&mut house, &["operator-1", "issuer"], issuer, &unknown);
        // Of a team, to which the lineage does not belong.
        let team = set(*policy, constraints.clone(), &["operator-2"]);
        refuse(&mut house, &["operator-1", "operator-2"], team, &Refusal::OutOfScope("lineage"));
    }
    for (policy, constraints) in looser {
        house.applied_by(&["operator-1", "operator-3"], set(policy, constraints, &["operator-3"]));
        // And back, through everything that it could have loosened.
        let back = set(STRICT, narrow.clone(), &["operator-3"]);
        house.applied_by(&["operator-1", "operator-3"], back);
    }
    let high = LineagePolicy { threshold: 3, ..STRICT };
    refuse(&mut house, &["issuer"], set(high, narrow.clone(), &[]), &Refusal::ThresholdOutOfReach(2));
    refuse(&mut house, &["team-issuer"], set(STRICT, anything(), &[]), &Refusal::OutOfScope("lineage"));
    let registrar = Refusal::WrongRole(vec![Role::Operator, Role::Issuer]);
    refuse(&mut house, &["reviewer"], set(STRICT, anything(), &[]), &registrar);
    house.applied("issuer", set(STRICT, constraints(&["deploy"], &["prod/db"], 1_000), &[]));
}

#[test]
fn a_release_takes_as_many_as_the_policy_says() {
    let (mut house, _) = founded();
    house.applied("issuer", set(STRICT, anything(), &[]));
    let first = house.register_generation("desk", None, "model-1");
    let few = Refusal::TooFewReviewers { signed: 1, threshold: 2 };
    refuse(&mut house, &["operator-1"], release(first, &[]), &few);
    let unknown = Refusal::UnknownReviewer(public("issuer"));
    refuse(&mut house, &["operator-1", "issuer"], release(first, &["issuer"]), &unknown);
    let outside = Refusal::OutOfScope("lineage");
    refuse(&mut house, &["operator-1", "operator-2"], release(first, &["operator-2"]), &outside);
    let nobodys = Refusal::UnknownGeneration(NOBODYS);
    refuse(&mut house, &["operator-1", "reviewer"], release(NOBODYS, &["reviewer"]), &nobodys);
    let reviewer = Refusal::WrongRole(vec![Role::Operator, Role::Reviewer]);
    refuse(&mut house, &["issuer"], release(first, &[]), &reviewer);
    house.applied_by(&["reviewer", "operator-1"], release(first, &["operator-1"]));
    permitted(&house, &asked("a", Some(first)));
}

#[test]
fn a_generation_names_its_parent() {
    let (mut house, _) = founded();
    let register = |parent, model| Body::RegisterGeneration(Box::new(generation("desk", parent, model)));
    refuse(&mut house, &["issuer"], register(Some(NOBODYS), "1"), &Refusal::UnknownGeneration(NOBODYS));
    let first = house.register_generation("desk", None, "1");
    refuse(&mut house, &["issuer"], register(None, "2"), &Refusal::ParentNeeded);
    // One of another lineage is none of this.
    let others = house.register_generation("c", None, "1");
    refuse(&mut house, &["issuer"], register(Some(others), "2"), &Refusal::UnknownGeneration(others));
    refuse(&mut house, &["team-issuer"], register(Some(first), "2"), &Refusal::OutOfScope("lineage"));
    let registrar = Refusal::WrongRole(vec![Role::Operator, Role::Issuer]);
    refuse(&mut house, &["gate"], register(Some(first), "2"), &registrar);
    // The same again is the same, whoever registers it.
    let again = house.signed("issuer", register(None, "1"));
    let size = house.head().log_size;
    assert!(matches!(house.send(&again), Outcome::Before(_)));
    assert_eq!(house.head().log_size, size);
}

#[test]
fn what_a_lineage_keeps_to_holds_whatever_was_granted() {
    let (mut house, _) = founded();
    let constraints = LineageConstraints {
        actions: patterns(&["deploy", "repo/*"]),
        resources: patterns(&["prod/db"]),
        max_staleness_ms: 700,
    };
    let first = house.register_generation("desk", None, "model-1");
    house.applied("operator-1", release(first, &[]));
    house.applied("issuer", set(STRICT, constraints, &[]));
    // Also for what it delegated to one that is of another lineage.
    for (agent, generation) in [("a", Some(first)), ("b", Some(first)), ("c", None)] {
        let ask = |action, resource| Request { generation, ..request(agent, action, resource) };
        let Decision::Permit(authority) = decision(&house, &ask("deploy", "prod/db")) else {
            panic!("{agent}")
        };
        assert_eq!(authority.max_staleness_ms, 700);
        for (action, resource, what) in [("drop", "prod/db", "action"), ("deploy", "prod/web", "resource")] {
            let denial = denied(&house, &ask(action, resource));
            assert_eq!(denial.code(), "lineage_constraint");
            assert!(
                matches!(&denial, Denial::LineageConstraint { outside, .. } if *outside == what),
                "{agent}"
            );
        }
    }
    // They carry over to the next generation.
    let second = house.register_generation("desk", Some(first), "model-2");
    house.applied_by(&["operator-1", "reviewer"], release(second, &["reviewer"]));
    let ask = Request { generation: Some(second), ..request("b", "drop", "prod/db") };
    assert_eq!(denied(&house, &ask).code(), "lineage_constraint");
}

/// The same authority and the same halt, whatever model the harness runs.
#[test]
fn a_model_is_swapped_under_one_lineage() {
    let (mut house, _) = founded();
    let two = LineagePolicy { quarantine: true, threshold: 1, in_service_max: 2 };
    house.applied("operator-1", set(two, anything(), &[]));
    let first = house.register_generation("desk", None, "one-model");
    let second = house.register_generation("desk", Some(first), "another-model");
    for id in [first, second] {
        house.applied("operator-1", release(id, &[]));
    }
    let chain = |house: &House, id| match decision(house, &asked("a", Some(id))) {
        Decision::Permit(authority) => authority.chain,
        denied @ Decision::Denied(_) => panic!("{denied:?}"),
    };
    assert_eq!(chain(&house, first), chain(&house, second));
    let (index, resume) = house.halt(HaltScope::Lineage(name("desk")));
    for (agent, id) in [("a", first), ("a", second), ("b", first), ("b", second)] {
        let denial = denied(&house, &asked(agent, Some(id)));
        assert!(matches!(&denial, Denial::Halted { cause, .. } if cause.index == index));
    }
    house.resume(&resume);
    assert_eq!(chain(&house, first), chain(&house, second));
}
