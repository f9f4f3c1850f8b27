//! Answers that are not about now under a nonce of the client's: recent by the nodes' clocks, or about the past.
//! Each proves what it says and no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::{
    Answer, HeadProof, Moment, PastAnswer, PastFault, ProofError, VerifiedPast, decode_past_answer, verify,
    verify_past, verify_recent,
};
use chancery_ledger::authority::{Entry, LeafError};
use chancery_ledger::command::{Body, GenerationId, GrantId, HaltScope, LineageConstraints, Pattern, Terms};
use chancery_ledger::decide::{Decision, Denial, Interval, Request, decide, staleness_after};
use chancery_ledger::evidence::{Evidence, Proof, Proven};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, QuorumError};
use chancery_ledger::state::{PrunedView, Recording, prune};
use chancery_ledger::trust::TrustError;
use house::{HOUR_MS, House, name, nonce, request, terms};
use proptest::prelude::*;

macro_rules! assert_refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => panic!("{other:?}"),
        }
    };
}

/// `a` was granted something in `granted`, which was revoked in `revoked`; blocks without effect lie between.
struct Told {
    house: House,
    request: Request,
    grant: GrantId,
    granted: u64,
    revoked: u64,
}

fn told() -> Told {
    let mut house = House::found();
    house.register("a");
    let now_ms = house.now_ms;
    let grant = house.grant(terms("a", &["deploy"], &["prod/*"], now_ms));
    let granted = house.head().block;
    house.now_ms += 10_000;
    house.block_without_effect();
    house.block_without_effect();
    house.now_ms += 10_000;
    house.revoke(grant);
    let revoked = house.head().block;
    house.block_without_effect();
    house.register("b");
    Told { house, request: request("a", "deploy", "prod/db"), grant, granted, revoked }
}

impl Told {
    fn verify(&self, moment: Moment, answer: &PastAnswer) -> Result<VerifiedPast, ProofError> {
        let decoded = decode_past_answer(&answer.encode(), 1 << 20).unwrap();
        assert_eq!(&decoded, answer);
        verify_past(&self.house.trust, &self.request, moment, &decoded)
    }

    fn at(&self, moment: Moment) -> VerifiedPast {
        self.verify(moment, &self.house.past(&self.request, moment)).unwrap()
    }

    fn time_of(&self, block: u64) -> u64 {
        self.house.replicas[0].summaries[usize::try_from(block).unwrap()].head.time_ms
    }
}

#[test]
fn every_block_is_shown_as_it_was() {
    let told = told();
    let newest = told.house.head().block;
    for block in 0..=newest {
        let past = told.at(Moment::Block(block));
        let summary = &told.house.replicas[0].summaries[usize::try_from(block).unwrap()];
        assert_eq!(past.state_root, summary.head.state_root, "{block}");
        assert_eq!((past.time_ms, past.block_time_ms), (summary.head.time_ms, summary.head.time_ms));
        assert!(past.block <= block && past.head.block == newest);
        // What it must decide is what a node would have decided then, at that time.
        let recording = Recording::new(&told.house.replicas[0].nodes, summary.root);
        let interval = Interval { low_ms: past.time_ms, high_ms: past.time_ms };
        assert_eq!(past.decision, decide(&recording, &told.request, interval).unwrap(), "{block}");
        assert_eq!(
            matches!(past.decision, Decision::Permit(_)),
            (told.granted..told.revoked).contains(&block),
            "{block}"
        );
    }
    // A block without effect left the state as it was.
    assert_eq!(told.at(Moment::Block(told.granted + 2)).block, told.granted);
}

#[test]
fn every_moment_is_decided_at_that_moment() {
    let told = told();
    let revoked_ms = told.time_of(told.revoked);
    let before = told.at(Moment::Time(revoked_ms - 1));
    assert_eq!((before.block, before.time_ms), (told.granted, revoked_ms - 1));
    assert!(matches!(before.decision, Decision::Permit(_)));
    let Decision::Denied(Denial::Revoked { grant, cause }) = told.at(Moment::Time(revoked_ms)).decision
    else {
        panic!()
    };
    assert_eq!((grant.grant, cause.block, cause.time_ms), (told.grant, told.revoked, revoked_ms));

    // Between two blocks a grant may end: the time that was asked about counts, not the block's.
    let mut house = House::found();
    house.register("a");
    let end_ms = house.now_ms + HOUR_MS;
    house.grant(terms("a", &["deploy"], &["prod"], house.now_ms));
    house.now_ms += 2 * HOUR_MS;
    house.register("b");
    let request = request("a", "deploy", "prod");
    let decided = |time_ms| {
        let moment = Moment::Time(time_ms);
        verify_past(&house.trust, &request, moment, &house.past(&request, moment)).unwrap().decision
    };
    assert!(matches!(decided(end_ms - 1), Decision::Permit(_)));
    assert_eq!(decided(end_ms), Decision::Denied(Denial::Ended { not_after_ms: end_ms }));
}

#[test]
fn a_halt_is_of_its_time() {
    let mut house = House::found();
    house.register("a");
    house.grant(terms("a", &["deploy"], &["prod/*"], house.now_ms));
    let asked = request("a", "deploy", "prod/db");
    let scope = HaltScope::Resource(Pattern::new("prod/*").unwrap());
    let before = *house.head();
    let (index, resume) = house.halt(scope.clone());
    let during = *house.head();
    let recent = verify_recent(&house.trust, &asked, &house.recent(&asked)).unwrap().decision;
    house.resume(&resume);
    let after = *house.head();
    assert_eq!(after.block, during.block + 2, "each resumer's in a block of its own");

    let permitted = |moment| {
        let past = verify_past(&house.trust, &asked, moment, &house.past(&asked, moment)).unwrap();
        match past.decision {
            Decision::Permit(_) => true,
            halted @ Decision::Denied(_) => {
                let Decision::Denied(Denial::Halted { scope: by, cause, .. }) = &halted else {
                    panic!("{halted:?}")
                };
                assert_eq!((by, cause.index, cause.block), (&scope, index, during.block));
                assert_eq!(halted, recent, "by the nodes' clocks it was the same");
                false
            }
        }
    };
    assert!(permitted(Moment::Block(before.block)));
    assert!(!permitted(Moment::Block(during.block)));
    assert!(!permitted(Moment::Block(during.block + 1)), "one resumer is too few");
    assert!(permitted(Moment::Block(after.block)));
    assert!(permitted(Moment::Time(during.time_ms - 1)));
    assert!(!permitted(Moment::Time(during.time_ms)) && !permitted(Moment::Time(after.time_ms - 1)));
    assert!(permitted(Moment::Time(after.time_ms)));
    let recent = verify_recent(&house.trust, &asked, &house.recent(&asked)).unwrap().decision;
    assert!(matches!(recent, Decision::Permit(_)), "{recent:?}");

    // The evidence shows the halt that is not in force any more.
    let evidence = house.past_evidence(&asked, Moment::Block(during.block));
    let shown = Evidence::from_json(evidence.to_json().as_bytes()).unwrap().verify(&house.trust).unwrap();
    assert!(matches!(&shown.cause.unwrap().command().body, Body::Halt { scope: by, .. } if *by == scope));
}

#[test]
fn a_generation_is_of_its_time() {
    let mut house = House::found();
    house.register_in("a", "team/line");
    house.grant(terms("a", &["deploy"], &["prod/*"], house.now_ms));
    let named = |generation| Request { generation, ..request("a", "deploy", "prod/db") };
    // Each time with what the two, and none, are said then: a permit, or which denial.
    let mut times: Vec<(u64, [&str; 3])> = Vec::new();
    times.push((house.head().block, ["unregistered_generation", "unregistered_generation", "permit"]));
    let first = house.register_generation("team/line", None, "model-1");
    times.push((
        house.head().block,
        ["quarantined_generation", "unregistered_generation", "unregistered_generation"],
    ));
    house.release("team/line", first);
    times.push((house.head().block, ["permit", "unregistered_generation", "unregistered_generation"]));
    let second = house.register_generation("team/line", Some(first), "model-2");
    house.release("team/line", second);
    times.push((house.head().block, ["superseded_generation", "permit", "unregistered_generation"]));
    house.applied(
        "issuer",
        Body::RollbackLineage { lineage: name("team/line"), number: 1, generation: first },
    );
    times.push((house.head().block, ["permit", "superseded_generation", "unregistered_generation"]));
    let constraints = LineageConstraints { actions: house::patterns(&["read"]), ..house::anything() };
    house.applied(
        "issuer",
        Body::SetLineage {
            lineage: name("team/line"),
            policy: house::STRICT,
            constraints,
            operators: vec![],
        },
    );
    times.push((
        house.head().block,
        ["lineage_constraint", "superseded_generation", "unregistered_generation"],
    ));

    let said = |decision: &Decision| match decision {
        Decision::Permit(_) => "permit",
        Decision::Denied(denial) => denial.code(),
    };
    for (block, expected) in times {
        let moment = Moment::Block(block);
        for (generation, expected) in [Some(first), Some(second), None].into_iter().zip(expected) {
            let asked = named(generation);
            let past = verify_past(&house.trust, &asked, moment, &house.past(&asked, moment)).unwrap();
            assert_eq!(said(&past.decision), expected, "block {block}, {generation:?}");
            let evidence = house.past_evidence(&asked, moment);
            let read = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
            assert_eq!(read, evidence);
            assert_eq!(read.verify(&house.trust).unwrap().proven.decision(), &past.decision);
            // Now, by the nodes' clocks, it is what it was in the last of these.
            if block == house.head().block {
                let recent = verify_recent(&house.trust, &asked, &house.recent(&asked)).unwrap();
                assert_eq!(recent.decision, past.decision);
            }
        }
    }
}

#[test]
fn the_past_does_not_reach_beyond_the_head_and_its_clocks() {
    let told = told();
    let newest = told.house.head().block;
    let last = told.house.past(&told.request, Moment::Block(newest));
    let clock_ms = last.statements.iter().map(|one| one.fresh.unwrap().clock_ms).min().unwrap();
    assert!(told.verify(Moment::Time(clock_ms), &last).is_ok());
    for moment in [Moment::Block(newest + 1), Moment::Time(clock_ms + 1), Moment::Time(u64::MAX)] {
        assert_refused!(told.verify(moment, &last), ProofError::Past(PastFault::NotReached));
    }
}

#[test]
fn no_other_state_stands_for_the_one_that_was() {
    let told = told();
    let house = &told.house;
    let moments = [Moment::Block(told.revoked), Moment::Time(told.time_of(told.revoked))];
    for moment in moments {
        let good = house.past(&told.request, moment);
        let denial = told.verify(moment, &good).unwrap();
        assert!(matches!(denial.decision, Decision::Denied(_)));
        // Every pair of leaves of the log, and the read set of the state that they name, if they name one.
        let all = (0..house.head().log_size).map(|index| (house.leaf(index), house.entry(index)));
        let all: Vec<_> = all.collect();
        let nexts = || all.iter().map(|(leaf, _)| Some(leaf.clone())).chain([None]);
        let mut believed = 0;
        for (state, entry) in &all {
            let Entry::State { block, time_ms, .. } = entry else {
                let answer = PastAnswer { state: state.clone(), ..good.clone() };
                assert_refused!(told.verify(moment, &answer), ProofError::Past(PastFault::NotAState(_)));
                continue;
            };
            let time_ms = if let Moment::Time(asked_ms) = moment { asked_ms } else { *time_ms };
            let interval = Interval { low_ms: time_ms, high_ms: time_ms };
            let (_, tree, hint) = house.read_set_at(*block, &told.request, interval);
            for next in nexts() {
                let (state, tree) = (state.clone(), tree.clone());
                let answer = PastAnswer { state, next, tree, hint, ..good.clone() };
                match told.verify(moment, &answer) {
                    Ok(past) => {
                        assert_eq!(past, denial);
                        believed += 1;
                    }
                    Err(ProofError::Past(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        assert_eq!(believed, 1);
    }
}

#[test]
fn leaves_are_in_the_heads_log() {
    let told = told();
    let moment = Moment::Block(told.granted);
    let good = told.house.past(&told.request, moment);
    let mut moved = good.clone();
    moved.state.index += 1;
    assert_refused!(told.verify(moment, &moved), ProofError::Leaf(LeafError::Inclusion { .. }));
    let mut forged = good.clone();
    let next = forged.next.as_mut().unwrap();
    *next.entry.last_mut().unwrap() ^= 1;
    assert_refused!(told.verify(moment, &forged), ProofError::Leaf(LeafError::Inclusion { .. }));
    // And the head is a quorum's.
    let alone = PastAnswer { statements: vec![good.statements[0]], ..good.clone() };
    assert_refused!(told.verify(moment, &alone), ProofError::Freshness(QuorumError::TooFew(1)));
    let unsigned = PastAnswer { head: chancery_ledger::head::Head { log_size: 1, ..good.head }, ..good };
    assert_refused!(told.verify(moment, &unsigned), ProofError::Head(_));
}

#[test]
fn recent_is_what_the_quorums_oldest_clock_says() {
    let told = told();
    let (house, request) = (&told.house, &told.request);
    let answer = house.recent(request);
    let verified = verify_recent(&house.trust, request, &answer).unwrap();
    let clocks: Vec<u64> = answer.statements.iter().map(|one| one.fresh.unwrap().clock_ms).collect();
    assert_eq!(verified.freshness.clock_min_ms, *clocks.iter().min().unwrap());
    let Decision::Denied(Denial::Revoked { .. }) = verified.decision else { panic!() };
    // Neither passes for the other.
    assert_refused!(verify(&house.trust, request, nonce("x"), &answer), ProofError::OtherMode);
    let nonced = house.answer(request, nonce("x"));
    assert_refused!(verify_recent(&house.trust, request, &nonced), ProofError::OtherMode);
    // The statements are of one round.
    let mut mixed = answer.clone();
    let fresh = Fresh { nonce_root: Hash::ZERO, ..answer.statements[1].fresh.unwrap() };
    mixed.statements[1] = house.fresh_statement(2, fresh, answer.head);
    let wrong = verify_recent(&house.trust, request, &mixed);
    assert_refused!(wrong, ProofError::Freshness(QuorumError::WrongNonce(2)));
    // What was verified before is the least that is believed.
    let since = house.trust.clone().since(house.head().block + 1);
    let rolled_back = verify_recent(&since, request, &answer);
    assert_refused!(rolled_back, ProofError::Trust(TrustError::RolledBack { .. }));
    // The same without anything decided.
    let Answer { head, statements, head_statements, .. } = answer;
    let proof = HeadProof { head, statements, head_statements };
    assert_eq!(proof.verify(&house.trust).unwrap(), verified.freshness);
    assert_refused!(proof.verify(&since), ProofError::Trust(TrustError::RolledBack { .. }));
    let alone = HeadProof { statements: vec![proof.statements[0]], ..proof };
    assert_refused!(alone.verify(&house.trust), ProofError::Freshness(QuorumError::TooFew(1)));
}

#[test]
fn evidence_of_the_past_shows_the_past() {
    let told = told();
    let read = |evidence: &Evidence| {
        let read = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
        assert_eq!(&read, evidence);
        read.verify(&told.house.founding_trust())
    };
    let moments = [Moment::Block(told.granted), Moment::Time(told.time_of(told.revoked))];
    for moment in moments {
        let evidence = told.house.past_evidence(&told.request, moment);
        let shown = read(&evidence).unwrap();
        let Proven::Past(past) = &shown.proven else { panic!("{shown:?}") };
        assert_eq!(past, &told.at(moment));
        let revoked = matches!(moment, Moment::Time(_));
        assert_eq!(shown.cause.is_some(), revoked);
        // The file's question is about this moment and no other.
        let Proof::Past { answer, .. } = evidence.proof.clone() else { panic!() };
        let others = [
            Moment::Block(told.granted - 1),
            Moment::Block(told.revoked),
            Moment::Time(told.time_of(told.granted) - 1),
        ];
        for other in others {
            let proof = Proof::Past { moment: other, answer: answer.clone() };
            let is_same = revoked && other == Moment::Block(told.revoked);
            assert_eq!(
                read(&Evidence { proof, ..evidence.clone() }).is_ok(),
                is_same,
                "{moment:?} {other:?}"
            );
        }
    }
    let recent = Proof::Recent { answer: told.house.recent(&told.request) };
    let evidence = told.house.past_evidence(&told.request, moments[0]);
    let shown = read(&Evidence { proof: recent, ..evidence }).unwrap();
    assert!(matches!(shown.proven, Proven::Check(_)));
}

#[test]
fn a_kind_of_question_has_its_own_members() {
    let told = told();
    let evidence = told.house.past_evidence(&told.request, Moment::Block(told.granted));
    let text = evidence.to_json();
    let block = format!("\"block\": {}", told.granted);
    assert!(text.contains(&block) && text.contains("\"at_block\""));
    let digits = "07".repeat(32);
    for (from, to) in [
        ("\"at_block\"", "\"at_time\""),
        ("\"at_block\"", "\"check\""),
        ("\"at_block\"", "\"recent_check\""),
        (block.as_str(), "\"time_ms\": 7"),
        (block.as_str(), &format!("{block}, \"time_ms\": 7")),
        (block.as_str(), &format!("{block}, \"nonce\": \"{digits}\"")),
        (&format!(",\n    {block}"), ""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(Evidence::from_json(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} as {to}");
    }
}

#[test]
fn a_revocation_says_how_long_what_was_permitted_lives_on() {
    let mut house = House::found();
    house.register("a");
    let now_ms = house.now_ms;
    let grant = house.grant(Terms { max_staleness_ms: 1_234, ..terms("a", &["deploy"], &["prod"], now_ms) });
    house.revoke(grant);
    let unseen = GrantId(Hash::of(&[b"not seen yet"]));
    house.revoke(unseen);
    let cap = Some(house::limits().staleness_cap_ms);
    let revoke = |grant| Body::RevokeGrant { grant, reason: String::new() };
    let generation = GenerationId(Hash::of(&[b"any"]));
    let lineage = Body::SetLineage {
        lineage: name("a"),
        policy: house::STRICT,
        constraints: house::anything(),
        operators: vec![],
    };
    let cases = [
        (revoke(grant), Some(1_234)),
        (revoke(unseen), cap),
        (Body::RevokeAgent { agent: name("a"), reason: String::new() }, cap),
        (Body::RetireAgent { agent: name("a") }, cap),
        (Body::RemovePrincipal { key: house::public("gate") }, cap),
        (Body::Halt { scope: HaltScope::Subtree(grant), reason: String::new() }, cap),
        (Body::RegisterGeneration(Box::new(house::generation("a", None, "model"))), cap),
        (Body::ReleaseGeneration { lineage: name("a"), generation, reviewers: vec![] }, cap),
        (Body::RollbackLineage { lineage: name("a"), number: 1, generation }, cap),
        (lineage, cap),
        (Body::Resume { halt: 7, halt_command: Hash::ZERO }, None),
        (Body::grant(terms("a", &["deploy"], &["prod"], now_ms)), None),
    ];
    for (body, expected) in cases {
        // From the whole state, and from the read set alone.
        let (nodes, root) = (&house.replicas[0].nodes, house.state().summary().root);
        let recording = Recording::new(nodes, root);
        assert_eq!(staleness_after(&recording, &body).unwrap(), expected, "{body:?}");
        let tree = prune(nodes, root, &recording.into_keys()).unwrap();
        let view = PrunedView::new(&tree);
        assert_eq!(staleness_after(&view, &body).unwrap(), expected, "{body:?}");
        if expected.is_some() {
            view.finish().unwrap();
        }
    }
}

/// Every one-byte change: each bit flipped, the byte dropped, doubled, and everything from it on cut off.
fn changes(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).flat_map(move |at| {
        let flips = (0..8).map(move |bit| {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            changed
        });
        let dropped = [&bytes[..at], &bytes[at + 1..]].concat();
        let doubled = [&bytes[..=at], &bytes[at..]].concat();
        let cut = bytes[..at].to_vec();
        flips.chain([dropped, doubled, cut]).map(move |changed| (at, changed))
    })
}

#[test]
fn no_byte_of_an_answer_about_the_past_can_be_changed() {
    let told = told();
    let moment = Moment::Block(told.granted);
    let bytes = told.house.past(&told.request, moment).encode();
    let mut decoded = 0;
    for (at, changed) in changes(&bytes).filter(|(_, changed)| *changed != bytes) {
        let Ok(answer) = decode_past_answer(&changed, 1 << 20) else { continue };
        assert_eq!(answer.encode(), changed, "one answer, one encoding");
        let refused = verify_past(&told.house.trust, &told.request, moment, &answer).is_err();
        assert!(refused, "byte {at} of {}", bytes.len());
        decoded += 1;
    }
    assert!(decoded > bytes.len() * 4, "{decoded} of {}", bytes.len() * 11);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened: what is proven of each block and time is what was.
    #[test]
    fn whatever_happened_the_past_is_what_was(steps in proptest::collection::vec((0..9_u8, 0..3_000_u64), 1..24)) {
        let mut house = House::found();
        house.register("a");
        let request = request("a", "deploy", "prod");
        let (mut grants, mut halts) = (Vec::new(), Vec::new());
        for (step, pause_ms) in steps {
            house.now_ms += pause_ms;
            match step {
                0 => house.block_without_effect(),
                1 => {
                    let body = Body::RevokeAgent { agent: name("a"), reason: String::new() };
                    let signed = house.signed("revoker", body);
                    house.block(vec![signed]);
                }
                2 if !grants.is_empty() => {
                    let body = Body::RevokeGrant { grant: grants.remove(0), reason: String::new() };
                    let signed = house.signed("revoker", body);
                    house.block(vec![signed]);
                }
                6 | 7 if halts.is_empty() => {
                    let scope = if step == 6 { HaltScope::Everything } else { HaltScope::Agent(name("a")) };
                    halts.push(house.halt(scope));
                }
                6..=8 if !halts.is_empty() => {
                    let (_, resume) = halts.remove(0);
                    house.resume(&resume);
                }
                _ => {
                    let not_after_ms = house.now_ms + 1 + 1_500 * u64::from(step);
                    let granted = Terms { not_after_ms, ..terms("a", &["deploy"], &["prod"], house.now_ms) };
                    let signed = house.signed("issuer", Body::grant(granted));
                    grants.push(GrantId::of(house.ledger, signed.command_bytes()));
                    house.block(vec![signed]);
                }
            }
        }
        let heads: Vec<_> = house.replicas[0].summaries.iter().map(|summary| summary.head).collect();
        let decided = |moment: Moment| {
            let answer = house.past(&request, moment);
            verify_past(&house.trust, &request, moment, &answer).unwrap()
        };
        for head in &heads {
            let by_block = decided(Moment::Block(head.block));
            prop_assert_eq!(by_block.state_root, head.state_root);
            let summary = &house.replicas[0].summaries[usize::try_from(head.block).unwrap()];
            let recording = Recording::new(&house.replicas[0].nodes, summary.root);
            let interval = Interval { low_ms: by_block.time_ms, high_ms: by_block.time_ms };
            prop_assert_eq!(by_block.decision, decide(&recording, &request, interval).unwrap());
            for time_ms in [head.time_ms, head.time_ms + 700] {
                let last = heads.iter().rev().find(|head| head.time_ms <= time_ms).unwrap();
                let past = decided(Moment::Time(time_ms.min(house.now_ms)));
                if time_ms <= house.now_ms {
                    prop_assert_eq!(past.state_root, last.state_root);
                    prop_assert_eq!(past.time_ms, time_ms);
                }
            }
        }
    }
}
