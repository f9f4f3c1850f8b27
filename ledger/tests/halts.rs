//! A halt stops what is in its scope, whoever granted it and however many act under it; and it takes several to
//! end it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::verify;
use chancery_ledger::authority::{
    HALTS_RECORD_SIZE_BYTES_MAX, Outcome, Place, Refusal, halt_record, halts_in_force,
};
use chancery_ledger::command::{
    Body, GrantId, HaltScope, Limits, Pattern, Role, SignedCommand, Terms, VerifiedSignatures,
};
use chancery_ledger::decide::{Decision, Denial, Interval, Request, decide};
use chancery_ledger::hash::Hash;
use chancery_ledger::state::{Recording, get};
use house::{House, everything, name, nonce, principal, public, registration, request, terms};

/// Decides as a client does that gets the answer.
fn decision(house: &House, request: &Request) -> Decision {
    let nonce = nonce("halts");
    verify(&house.trust, request, nonce, &house.answer(request, nonce)).unwrap().decision
}

#[track_caller]
fn permitted(house: &House, request: &Request) {
    let decision = decision(house, request);
    assert!(matches!(decision, Decision::Permit(_)), "{decision:?}");
}

/// The index of the halt that the denial names.
#[track_caller]
fn halted(house: &House, request: &Request) -> u64 {
    match decision(house, request) {
        Decision::Denied(Denial::Halted { cause, .. }) => cause.index,
        other => panic!("{other:?}"),
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

#[track_caller]
fn refuse(house: &mut House, signer: &str, body: Body, refusal: &Refusal) {
    let signed = house.signed(signer, body);
    let before = house.state().summary().clone();
    let admitted = house
        .state()
        .admit(&house.replicas[0].nodes, &signed, house.now_ms, &VerifiedSignatures::default())
        .unwrap();
    assert_eq!(admitted.as_ref(), Err(refusal));
    let applied = house.block(vec![signed]);
    assert_eq!(applied.outcomes, [Outcome::Refused(refusal.clone())]);
    assert!(applied.leaves.is_empty() && applied.new_nodes.is_empty());
    assert_eq!(house.state().summary().root, before.root);
}

/// `a` may everything below `prod`, delegated `deploy` to `b`, and `b` that to `c`. `b` is of the lineage `desk`.
fn founded() -> (House, [GrantId; 3]) {
    let mut house = House::found();
    house.register("a");
    house.register_in("b", "desk");
    house.register("c");
    house.register("d");
    let now_ms = house.now_ms;
    let root = house.grant(terms("a", &["*"], &["prod/*"], now_ms));
    let narrower =
        |agent, depth| Terms { delegable_depth: depth, ..terms(agent, &["deploy"], &["prod/*"], now_ms) };
    let child = house.delegate("a", root, narrower("b", 1));
    let grandchild = house.delegate("b", child, narrower("c", 0));
    house.grant(terms("d", &["deploy"], &["prod/*"], now_ms));
    (house, [root, child, grandchild])
}

#[test]
fn each_scope_stops_what_is_in_it_and_nothing_else() {
    let (mut house, [root, child, grandchild]) = founded();
    let asks = |agents: &[&str]| agents.iter().map(|agent| request(agent, "deploy", "prod/db")).collect();
    let read = |agent| request(agent, "read", "prod/db");
    let web = |agent| request(agent, "deploy", "prod/web/1");
    let cases: [(HaltScope, Vec<Request>, Vec<Request>); 11] = [
        (HaltScope::Everything, asks(&["a", "b", "c", "d", "nobody"]), vec![]),
        // With what it delegated; but not what it was delegated from.
        (HaltScope::Agent(name("b")), asks(&["b", "c"]), asks(&["a", "d"])),
        (HaltScope::Agent(name("nobody")), asks(&["nobody"]), asks(&["a", "b", "c", "d"])),
        (HaltScope::Lineage(name("desk")), asks(&["b", "c"]), asks(&["a", "d"])),
        // A lineage of its own, as who was registered with none has.
        (HaltScope::Lineage(name("c")), asks(&["c"]), asks(&["a", "b", "d"])),
        // Who is of a lineage is not of its own.
        (HaltScope::Lineage(name("b")), vec![], asks(&["a", "b", "c", "d"])),
        (HaltScope::Action(pattern("deploy")), asks(&["a", "b", "c", "d", "nobody"]), vec![read("a")]),
        (HaltScope::Resource(pattern("prod/web/*")), vec![web("a"), web("c")], asks(&["a", "b", "c", "d"])),
        (HaltScope::Subtree(root), asks(&["a", "b", "c"]), asks(&["d"])),
        (HaltScope::Subtree(child), asks(&["b", "c"]), asks(&["a", "d"])),
        (HaltScope::Subtree(grandchild), asks(&["c"]), asks(&["a", "b", "d"])),
    ];
    for (scope, stopped, others) in cases {
        let (index, resume) = house.halt(scope.clone());
        for request in &stopped {
            let Decision::Denied(Denial::Halted { scope: told, reason, cause }) = decision(&house, request)
            else {
                panic!("{scope}: {request:?}")
            };
            assert_eq!((&told, reason.as_str(), cause.index), (&scope, "ticket 1404", index));
            let evidence = house.evidence(request, nonce("halts"));
            let shown = evidence.verify(&house.trust).unwrap().cause.unwrap();
            assert!(matches!(&shown.command().body, Body::Halt { scope: halted, .. } if *halted == scope));
        }
        others.iter().for_each(|request| permitted(&house, request));
        house.resume(&resume);
        for request in stopped.iter().filter(|request| request.agent != name("nobody")) {
            permitted(&house, request);
        }
    }
}

#[test]
fn a_halt_outranks_everything_else() {
    let (mut house, [root, ..]) = founded();
    let (c, nobody) = (request("c", "deploy", "prod/db"), request("nobody", "deploy", "prod/db"));
    let other = house.grant(terms("c", &["deploy"], &["prod/db"], house.now_ms));
    let (index, resume) = house.halt(HaltScope::Subtree(root));
    // Another grant of its own still permits: that one is not halted.
    permitted(&house, &c);
    house.revoke(other);
    assert_eq!(halted(&house, &c), index, "a chain that is halted rather than one that was revoked");
    let (latest, resume_latest) = house.halt(HaltScope::Agent(name("a")));
    assert_eq!(halted(&house, &c), latest, "the latest of several");
    let (whole, resume_whole) = house.halt(HaltScope::Everything);
    house.applied("operator-1", Body::RetireAgent { agent: name("c") });
    assert_eq!((halted(&house, &c), halted(&house, &nobody)), (whole, whole));
    for resume in [resume, resume_latest, resume_whole] {
        house.resume(&resume);
    }
    assert!(matches!(decision(&house, &c), Decision::Denied(Denial::Retired { .. })));
    assert!(matches!(decision(&house, &nobody), Decision::Denied(Denial::UnknownAgent)));
}

#[test]
fn who_is_halted_delegates_nothing() {
    let (mut house, [root, child, _]) = founded();
    let now_ms = house.now_ms;
    let delegate = |parent| {
        // It ends before the parent does, which was granted earlier.
        let narrower = terms("d", &["deploy"], &["prod/db"], now_ms);
        let not_after_ms = narrower.not_after_ms - 60_000;
        Body::delegate(parent, Terms { delegable_depth: 0, not_after_ms, ..narrower })
    };
    for scope in [
        HaltScope::Everything,
        HaltScope::Agent(name("a")),
        HaltScope::Lineage(name("desk")),
        HaltScope::Subtree(root),
    ] {
        let (index, resume) = house.halt(scope);
        refuse(&mut house, "b", delegate(child), &Refusal::Halted(index));
        house.resume(&resume);
    }
    // Issuers and operators go on: it takes them to put things right.
    let (_, resume) = house.halt(HaltScope::Everything);
    house.register("e");
    house.grant(terms("e", &["deploy"], &["prod/*"], now_ms));
    house.revoke(root);
    house.resume(&resume);
    permitted(&house, &request("e", "deploy", "prod/db"));
}

#[test]
fn one_halts_and_only_within_its_scope() {
    let mut house = House::found();
    for agent in ["team/a", "other"] {
        house.register(agent);
    }
    let now_ms = house.now_ms;
    let own = house.grant(terms("team/a", &["deploy"], &["prod/db"], now_ms));
    let others = house.grant(terms("other", &["deploy"], &["prod/db"], now_ms));
    let halt = |scope| Body::Halt { scope, reason: String::new() };
    let halter = Refusal::WrongRole(vec![Role::Halter]);
    for signer in ["operator-1", "issuer", "revoker", "gate", "resumer-1"] {
        refuse(&mut house, signer, halt(HaltScope::Agent(name("team/a"))), &halter);
    }
    let stranger = Refusal::UnknownPrincipal(public("team/a"));
    refuse(&mut house, "team/a", halt(HaltScope::Everything), &stranger);
    let unknown = GrantId(Hash::ZERO);
    refuse(&mut house, "halter", halt(HaltScope::Subtree(unknown)), &Refusal::UnknownGrant(unknown));
    for scope in [
        HaltScope::Everything,
        HaltScope::Agent(name("other")),
        HaltScope::Lineage(name("other")),
        // In its scope, but of every agent.
        HaltScope::Action(pattern("deploy")),
        HaltScope::Resource(pattern("prod/db")),
        HaltScope::Subtree(others),
    ] {
        refuse(&mut house, "team-halter", halt(scope), &Refusal::OutOfScope("halt"));
    }
    // Every agent, but not every action.
    let deploys = principal("deploys", &[Role::Halter], house::scope(&["*"], &["deploy"], &["prod/*"]));
    house.applied("operator-1", Body::AddPrincipal(deploys));
    for scope in [
        HaltScope::Everything,
        HaltScope::Action(pattern("*")),
        HaltScope::Action(pattern("read")),
        HaltScope::Resource(pattern("*")),
        HaltScope::Resource(pattern("prod")),
    ] {
        refuse(&mut house, "deploys", halt(scope), &Refusal::OutOfScope("halt"));
    }
    for (signer, scope) in [
        ("team-halter", HaltScope::Agent(name("team/a"))),
        ("team-halter", HaltScope::Lineage(name("team/x"))),
        ("team-halter", HaltScope::Subtree(own)),
        ("deploys", HaltScope::Action(pattern("deploy"))),
        ("deploys", HaltScope::Resource(pattern("prod/db/*"))),
    ] {
        house.applied(signer, halt(scope));
    }
}

#[test]
fn a_lineage_is_within_its_registrars_scope() {
    let mut house = House::found();
    refuse(&mut house, "team-issuer", registration("team/a", Some("other")), &Refusal::OutOfScope("lineage"));
    refuse(&mut house, "team-issuer", registration("other", Some("team/x")), &Refusal::OutOfScope("agent"));
    house.applied("team-issuer", registration("team/a", Some("team/x")));
}

#[test]
fn it_takes_several_to_resume() {
    let (mut house, [root, ..]) = founded();
    let asked = request("c", "deploy", "prod/db");
    let (first, resume) = house.halt(HaltScope::Agent(name("c")));
    let (second, resume_second) = house.halt(HaltScope::Agent(name("c")));
    let outcome = |house: &mut House, signer: &str, body: &Body| {
        let signed = house.signed(signer, body.clone());
        house.send(&signed)
    };
    let resumer = Refusal::WrongRole(vec![Role::Resumer]);
    for signer in ["operator-1", "halter", "issuer"] {
        refuse(&mut house, signer, resume.clone(), &resumer);
    }
    refuse(&mut house, "team-resumer", resume.clone(), &Refusal::OutOfScope("halt"));
    let unknown = Body::Resume { halt: 1, halt_command: Hash::ZERO };
    refuse(&mut house, "resumer-1", unknown, &Refusal::UnknownHalt(1));
    // What one halt's resumer signs is of no other halt.
    let Body::Resume { halt_command, .. } = resume else { panic!() };
    let swapped = Body::Resume { halt: second, halt_command };
    refuse(&mut house, "resumer-1", swapped, &Refusal::OtherHalt(second));

    let Outcome::Applied(one) = outcome(&mut house, "resumer-1", &resume) else { panic!() };
    // The same voice again is the same voice.
    assert_eq!(outcome(&mut house, "resumer-1", &resume), Outcome::Before(one));
    house.applied("resumer-1", resume_second.clone());
    assert_eq!(halted(&house, &asked), second);
    house.applied("resumer-2", resume_second);
    assert_eq!(halted(&house, &asked), first);
    let Outcome::Applied(two) = outcome(&mut house, "resumer-2", &resume) else { panic!() };
    permitted(&house, &asked);
    // Ended is ended, whoever says so.
    let third = principal("resumer-3", &[Role::Resumer], everything());
    house.applied("operator-1", Body::AddPrincipal(third));
    refuse(&mut house, "resumer-3", resume.clone(), &Refusal::HaltEnded(two.index));
    assert_eq!(outcome(&mut house, "resumer-1", &resume), Outcome::Before(one));
    let (_, resume) = house.halt(HaltScope::Subtree(root));
    house.resume(&resume);
}

#[test]
fn a_key_that_was_replaced_or_removed_is_no_voice() {
    let (mut house, _) = founded();
    let asked = request("c", "deploy", "prod/db");
    let (index, resume) = house.halt(HaltScope::Agent(name("c")));
    house.applied("resumer-1", resume.clone());
    let rotate = Body::RotatePrincipal { old_key: public("resumer-1"), new_key: public("resumer-1b") };
    let rotate = house.command("resumer-1", rotate);
    let rotate = house.sign(&rotate, &["resumer-1", "resumer-1b"]);
    assert!(matches!(house.send(&rotate), Outcome::Applied(_)));
    // The same person under another key: still one.
    house.applied("resumer-1b", resume.clone());
    assert_eq!(halted(&house, &asked), index);
    house.applied("operator-1", Body::RemovePrincipal { key: public("resumer-1b") });
    house.applied("resumer-2", resume.clone());
    assert_eq!(halted(&house, &asked), index);
    let third = principal("resumer-3", &[Role::Resumer], everything());
    house.applied("operator-1", Body::AddPrincipal(third));
    house.applied("resumer-3", resume);
    permitted(&house, &asked);
    let view = Recording::new(&house.replicas[0].nodes, house.state().summary().root);
    assert!(halts_in_force(&view).unwrap().active.is_empty());
    let record = halt_record(&view, index).unwrap();
    let voices: Vec<_> = record.unwrap().resumed.iter().map(|cause| cause.signer).collect();
    assert_eq!(voices, [public("resumer-2"), public("resumer-3")]);
}

#[test]
fn there_is_always_room_to_halt_everything() {
    let mut house = House::found_with(Limits { dedup_entries_per_signer_max: 1_000, ..house::limits() });
    let halt = |scope| Body::Halt { scope, reason: "x".repeat(512) };
    let full = |house: &House| {
        let root = house.state().summary().root;
        get(&house.replicas[0].nodes, root, &Place::halts().key()).unwrap().unwrap().len()
    };
    // Names of 200 bytes, then of fewer, until not even the shortest fits.
    let mut count = 0;
    for size in [200, 20, 1] {
        for number in 0..1_000 {
            let agent = format!("{number:0size$}");
            let signed = house.signed("halter", halt(HaltScope::Agent(name(&agent))));
            match house.block(vec![signed]).outcomes.remove(0) {
                Outcome::Applied(_) => count += 1,
                refused => {
                    assert_eq!(refused, Outcome::Refused(Refusal::TooManyHalts));
                    break;
                }
            }
        }
    }
    assert!(count > 9, "{count}");
    assert!(full(&house) > HALTS_RECORD_SIZE_BYTES_MAX - 40);
    refuse(&mut house, "halter", halt(HaltScope::Agent(name("one-more"))), &Refusal::TooManyHalts);
    let (index, resume) = house.halt(HaltScope::Everything);
    assert_eq!(halted(&house, &request("nobody", "deploy", "prod/db")), index);
    assert!(full(&house) <= HALTS_RECORD_SIZE_BYTES_MAX);
    // Once it has ended, and some other too, the room that it had is still kept.
    house.resume(&resume);
    refuse(&mut house, "halter", halt(HaltScope::Agent(name("one-more"))), &Refusal::TooManyHalts);
    house.halt(HaltScope::Everything);
}

#[test]
fn a_halt_costs_the_same_however_many_are_under_it() {
    /// What a halt writes, and what a denial by it reads: records, and bytes of the proof.
    fn cost(agents: usize) -> [usize; 4] {
        let limits = Limits { dedup_entries_per_signer_max: 20_000, ..house::limits() };
        let mut house = House::found_with(limits);
        // That replicas agree is shown elsewhere.
        house.replicas.truncate(1);
        let numbers: Vec<usize> = (0..agents).collect();
        for some in numbers.chunks(2_000) {
            let register = |number: &usize| registration(&format!("desk/{number}"), Some("desk"));
            let commands: Vec<SignedCommand> =
                some.iter().map(|number| house.signed("issuer", register(number))).collect();
            let applied = house.block(commands);
            assert!(applied.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))));
        }
        let now_ms = house.now_ms;
        house.grant(terms("desk/7", &["deploy"], &["prod/*"], now_ms));
        let keys_before = keys(&house);
        let asked = request("desk/7", "deploy", "prod/db");
        permitted(&house, &asked);
        let halt = Body::Halt { scope: HaltScope::Lineage(name("desk")), reason: "why".into() };
        let halt = house.signed("halter", halt);
        let applied = house.block(vec![halt]);
        assert!(matches!(applied.outcomes[0], Outcome::Applied(_)));
        let replica = &house.replicas[0];
        let view = Recording::new(&replica.nodes, replica.state.summary().root);
        let interval = Interval { low_ms: now_ms, high_ms: now_ms };
        let decision = decide(&view, &asked, interval).unwrap();
        assert!(matches!(decision, Decision::Denied(Denial::Halted { .. })));
        let answer = house.answer(&asked, nonce("cost"));
        [
            keys(&house) - keys_before,
            view.into_keys().len(),
            answer.tree.encode().len(),
            applied.new_nodes.len(),
        ]
    }
    fn keys(house: &House) -> usize {
        chancery_ledger::state::leaves(&house.replicas[0].nodes, house.state().summary().root).count()
    }
    let ([few_written, few_read, few_bytes, few_nodes], [many_written, many_read, many_bytes, many_nodes]) =
        (cost(10), cost(10_000));
    assert_eq!((few_written, few_read), (many_written, many_read));
    assert_eq!(few_read, 3, "the halts in force, the agent, the halt");
    // A tree of a thousand times as many keys is some ten levels deeper, and shows a hash for each.
    assert!(many_bytes <= few_bytes + 3 * 14 * 35, "{few_bytes} {many_bytes}");
    assert!(many_nodes <= few_nodes + 3 * 14, "{few_nodes} {many_nodes}");
}
