//! Every byte of a proof counts: whatever is changed in an answer or an evidence file, it is refused, or it
//! still means exactly the same. Nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::{Answer, Nonce, Verified, decode_answer, verify};
use chancery_ledger::authority::{Block, Entry, LeafError};
use chancery_ledger::command::{Body, GrantId, HaltScope, SignedCommand, Terms};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::evidence::{Evidence, EvidenceError, EvidenceFileError, Record, Shown};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, RosterChain, Statement};
use chancery_ledger::state::PrunedTree;
use chancery_ledger::trust::Trust;
use house::{House, name, nonce, request, terms};
use proptest::prelude::*;

const SIZE_BYTES_MAX: usize = 1 << 20;

/// `a` may deploy, and delegated it to `b`.
fn founded() -> (House, GrantId) {
    let mut house = House::found();
    house.register("team/a");
    house.register("team/b");
    let now_ms = house.now_ms;
    let grant = house.grant(terms("team/a", &["deploy", "repo/*"], &["prod/*"], now_ms));
    let narrower = Terms { delegable_depth: 0, ..terms("team/b", &["deploy"], &["prod/*"], now_ms) };
    house.delegate("team/a", grant, narrower);
    (house, grant)
}

struct Subject {
    trust: Trust,
    request: Request,
    nonce: Nonce,
    bytes: Vec<u8>,
    means: Verified,
}

impl Subject {
    fn new(house: &House, request: Request) -> Self {
        let nonce = nonce("tamper");
        let bytes = house.answer(&request, nonce).encode();
        let answer = decode_answer(&bytes, SIZE_BYTES_MAX).unwrap();
        // If the unchanged one were refused too, this test would show nothing.
        let means = verify(&house.trust, &request, nonce, &answer).unwrap();
        Self { trust: house.trust.clone(), request, nonce, bytes, means }
    }

    /// What changed bytes mean, if anything; and whether they were at least the encoding of an answer.
    fn read(&self, bytes: &[u8]) -> (bool, Option<Verified>) {
        match decode_answer(bytes, SIZE_BYTES_MAX) {
            Ok(answer) => {
                assert_eq!(answer.encode(), bytes, "one answer, one encoding");
                (true, verify(&self.trust, &self.request, self.nonce, &answer).ok())
            }
            Err(_) => (false, None),
        }
    }
}

fn permit() -> Subject {
    let (house, _) = founded();
    let subject = Subject::new(&house, request("team/b", "deploy", "prod/db"));
    assert!(matches!(&subject.means.decision, Decision::Permit(authority) if authority.chain.len() == 2));
    subject
}

fn denial() -> Subject {
    let (mut house, grant) = founded();
    house.revoke(grant);
    let subject = Subject::new(&house, request("team/b", "deploy", "prod/db"));
    assert!(matches!(&subject.means.decision, Decision::Denied(_)));
    subject
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

fn every_change_is_refused(subject: &Subject) {
    assert_eq!(subject.read(&subject.bytes), (true, Some(subject.means.clone())));
    let mut decoded = 0;
    for (at, changed) in changes(&subject.bytes) {
        if changed == subject.bytes {
            continue;
        }
        let (is_answer, means) = subject.read(&changed);
        assert_eq!(means, None, "byte {at} of {}", subject.bytes.len());
        decoded += usize::from(is_answer);
    }
    // Most flips are in signatures, hashes and keys, and so reach verification.
    assert!(decoded > subject.bytes.len() * 4, "{decoded} of {}", subject.bytes.len() * 11);
}

#[test]
fn no_byte_of_a_permit_can_be_changed() {
    every_change_is_refused(&permit());
}

#[test]
fn no_byte_of_a_denial_can_be_changed() {
    every_change_is_refused(&denial());
}

#[test]
fn no_byte_of_a_halt_can_be_changed() {
    let (mut house, grant) = founded();
    let request = request("team/b", "deploy", "prod/db");
    house.halt(HaltScope::Subtree(grant));
    let by_chain = Subject::new(&house, request.clone());
    every_change_is_refused(&by_chain);
    let (whole, _) = house.halt(HaltScope::Everything);
    let by_itself = Subject::new(&house, request);
    let Decision::Denied(Denial::Halted { cause, .. }) = &by_itself.means.decision else { panic!() };
    assert_eq!(cause.index, whole);
    every_change_is_refused(&by_itself);
    assert_ne!(by_itself.means.decision, by_chain.means.decision);
}

#[test]
fn parts_of_two_answers_make_none() {
    let (mut house, grant) = founded();
    let asked = request("team/b", "deploy", "prod/db");
    let (early, late) = (nonce("early"), nonce("late"));
    let before = house.answer(&asked, early);
    house.revoke(grant);
    let after = house.answer(&asked, late);
    let meaning = |nonce, answer: &Answer| verify(&house.trust, &asked, nonce, answer).ok();
    let (permit, denial) = (meaning(early, &before).unwrap(), meaning(late, &after).unwrap());
    assert!(matches!(permit.decision, Decision::Permit(_)) && matches!(denial.decision, Decision::Denied(_)));
    for parts in 0..64_u8 {
        let pick = |bit: u8| if parts & (1 << bit) == 0 { &after } else { &before };
        let mixed = Answer {
            head: pick(0).head,
            statements: pick(1).statements.clone(),
            head_statements: pick(2).head_statements.clone(),
            nonce_path: pick(3).nonce_path.clone(),
            tree: pick(4).tree.clone(),
            hint: pick(5).hint,
            language: before.language.clone(),
        };
        let means = meaning(late, &mixed);
        assert!(means.is_none_or(|means| means == denial), "{parts:b}");
        let means = meaning(early, &mixed);
        assert!(means.is_none_or(|means| means == permit), "{parts:b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_changes_are_no_better(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
        denied in any::<bool>(),
    ) {
        let subject = if denied { denial() } else { permit() };
        let mut bytes = subject.bytes.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let (_, means) = subject.read(&bytes);
        prop_assert!(means.is_none() || bytes == subject.bytes);
    }

    #[test]
    fn bytes_from_nowhere_are_no_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decode_answer(&bytes, SIZE_BYTES_MAX).is_err());
        prop_assert!(Evidence::from_json(&bytes).is_err());
    }
}

/// Decodes what changed bytes are, if anything, and demands that they are its one encoding.
fn one_encoding(kind: usize, bytes: &[u8]) -> bool {
    let again = match kind {
        0 => SignedCommand::decode(bytes).ok().map(|decoded| decoded.encode()),
        1 => Block::decode(bytes).ok().map(|decoded| decoded.encode()),
        2 => Entry::decode(bytes).ok().map(|decoded| decoded.encode()),
        3 => Statement::decode(bytes).ok().map(|decoded| decoded.encode()),
        4 => Head::decode(bytes).ok().map(|decoded| decoded.encode().to_vec()),
        5 => RosterChain::decode(bytes).ok().map(|decoded| decoded.encode()),
        _ => PrunedTree::decode(bytes, SIZE_BYTES_MAX).ok().map(|decoded| decoded.encode()),
    };
    assert!(again.as_ref().is_none_or(|again| again == bytes), "kind {kind}");
    again.is_some()
}

#[test]
fn everything_has_one_encoding() {
    let (mut house, _) = founded();
    let answer = house.answer(&request("team/b", "deploy", "prod/db"), nonce("one"));
    let chain = RosterChain { links: house.change(&[2, 3]).to_vec() };
    let [.., joint, uniform] = house.blocks.as_slice() else { panic!() };
    for roster_block in [joint, uniform] {
        for (_, changed) in changes(roster_block) {
            one_encoding(1, &changed);
        }
    }
    house.register("team/c");
    let block = house.blocks.last().unwrap().clone();
    let subjects = [
        Block::decode(&block).unwrap().commands[0].encode(),
        block,
        house.replicas[0].leaves.last().unwrap().clone(),
        answer.statements[0].encode(),
        answer.head.encode().to_vec(),
        chain.encode(),
        answer.tree.encode(),
    ];
    for (kind, subject) in subjects.iter().enumerate() {
        assert!(one_encoding(kind, subject));
        for (_, changed) in changes(subject) {
            one_encoding(kind, &changed);
        }
        // Every kind, read as every other.
        for other in 0..subjects.len() {
            assert_eq!(one_encoding(other, subject), other == kind, "{kind} as {other}");
        }
    }
}

#[test]
fn no_byte_of_a_recorded_decision_or_of_its_place_among_others_can_be_changed() {
    let (mut house, _) = founded();
    let asked = || Body::Authorize(house::authorize("team/b", "deploy", "prod/db"));
    let commands: Vec<_> = (0..5).map(|_| house.command("gate", asked())).collect();
    let signed = SignedCommand::sign_batch(house.ledger, &commands, &house::key("gate")).unwrap();
    let (one, good) = (signed[4].encode(), &signed[4]);
    good.verify(house.ledger).unwrap();
    for (at, changed) in changes(&one) {
        let Ok(decoded) = SignedCommand::decode(&changed) else { continue };
        assert_eq!(decoded.encode(), changed);
        assert!(changed == one || decoded.verify(house.ledger).is_err(), "byte {at}");
    }
    house.block(signed);
    let [.., decision, _state] = house.replicas[0].leaves.as_slice() else { panic!() };
    assert!(matches!(Entry::decode(decision), Ok(Entry::Command { verdict: Some(_), .. })));
    for (_, changed) in changes(decision) {
        one_encoding(2, &changed);
    }
}

// ----------------------------------------------------------------------------------------------------
// Evidence.

struct File {
    trust: Trust,
    text: String,
    evidence: Evidence,
    means: Shown,
}

fn evidence_file() -> File {
    let (mut house, grant) = founded();
    house.revoke(grant);
    // The log goes on, so that the leaf's proof is a real one; and not under the founding roster.
    house.change(&[2, 3]);
    house.register("team/c");
    let evidence = house.evidence(&request("team/b", "deploy", "prod/db"), nonce("evidence"));
    let text = evidence.to_json();
    assert_eq!(Evidence::from_json(text.as_bytes()).unwrap(), evidence);
    let means = evidence.verify(&house.trust).unwrap();
    let Some(signed) = &means.cause else { panic!("no cause") };
    assert!(matches!(&signed.command().body, Body::RevokeGrant { grant: revoked, .. } if *revoked == grant));
    assert!(evidence.cause.as_ref().unwrap().proof.len() > 2);
    File { trust: house.trust.clone(), text, evidence, means }
}

impl File {
    fn read(&self, text: &[u8]) -> Option<(Evidence, Shown)> {
        let evidence = Evidence::from_json(text).ok()?;
        let shown = evidence.verify(&self.trust).ok()?;
        Some((evidence, shown))
    }
}

#[test]
fn no_byte_of_an_evidence_file_can_be_changed() {
    let file = evidence_file();
    let same = (file.evidence.clone(), file.means.clone());
    assert_eq!(file.read(file.text.as_bytes()), Some(same.clone()));
    let mut accepted = 0;
    for (at, changed) in changes(file.text.as_bytes()) {
        // White space may change; what is then accepted is the same in everything.
        if let Some(read) = file.read(&changed) {
            assert_eq!(read, same, "byte {at}");
            assert!(file.text.as_bytes()[at].is_ascii_whitespace() || at + 1 == file.text.len(), "byte {at}");
            accepted += 1;
        }
    }
    assert!(accepted > 0);
}

#[test]
fn no_byte_of_a_record_file_can_be_changed() {
    let (mut house, grant) = founded();
    house.revoke(grant);
    let revoked = house.head().log_size - 2;
    house.authorize(house::authorize("team/b", "deploy", "prod/db"));
    let denied = house.head().log_size - 2;
    house.change(&[2, 3]);
    house.register("team/c");
    let record = house.record(denied, Some(revoked));
    let (text, shown) = (record.to_json(), record.verify(&house.trust).unwrap());
    assert!(shown.cause.is_some());
    let read = |text: &[u8]| {
        let record = Record::from_json(text).ok()?;
        let shown = record.verify(&house.trust).ok()?;
        Some((record, shown))
    };
    let same = Some((record, shown));
    assert_eq!(read(text.as_bytes()), same);
    for (at, changed) in changes(text.as_bytes()) {
        let found = read(&changed);
        // White space may change; what is then accepted is the same in everything.
        assert!(found.is_none() || found == same, "byte {at}");
        let white = text.as_bytes()[at].is_ascii_whitespace() || at + 1 == text.len();
        assert!(found.is_none() || white, "byte {at}");
    }
}

#[test]
fn every_command_in_the_log_has_a_record() {
    let (mut house, grant) = founded();
    house.revoke(grant);
    let mut commands = 0;
    for index in 0..house.head().log_size {
        let record = house.record(index, None);
        match (house.entry(index), record.verify(&house.trust)) {
            (Entry::Command { signed, .. }, Ok(shown)) => {
                assert_eq!((shown.recorded.signed, shown.recorded.cause.index), (signed, index));
                commands += 1;
            }
            (Entry::State { .. }, Err(EvidenceError::OtherLeaf)) => {}
            (_, other) => panic!("{index}: {other:?}"),
        }
        // None is a cause: nothing was denied.
        assert!(matches!(house.record(index, Some(0)).verify(&house.trust), Err(EvidenceError::OtherLeaf)));
    }
    assert_eq!(commands, 6);
}

#[test]
fn an_evidence_file_is_spelled_in_one_way() {
    let file = evidence_file();
    let value: serde_json::Value = serde_json::from_str(&file.text).unwrap();
    let same = Some((file.evidence.clone(), file.means.clone()));
    let read = |text: &str| file.read(text.as_bytes());
    assert_eq!(read(&serde_json::to_string(&value).unwrap()), same, "without white space");
    assert_eq!(read(&file.text.replace("\"team/b\"", "\"team\\u002fb\"")), same, "an escape");
    let replaced = |from: &str, to: &str| {
        assert!(file.text.contains(from), "{from}");
        file.text.replacen(from, to, 1)
    };
    let index = format!("\"index\": {}", file.evidence.cause.as_ref().unwrap().index);
    let refused = [
        ("another format", replaced("evidence/v1", "evidence/v2")),
        ("an unknown member", replaced("{", "{\"more\": 1,")),
        ("a member twice", replaced("{", "{\"format\": \"chancery-evidence/v1\",")),
        ("another question", replaced("\"check\"", "\"lookup\"")),
        ("a question as an object", replaced("\"check\"", "{\"check\": null}")),
        ("another origin", replaced("chancery.example", "chancery.example2")),
        ("a number as a text", replaced(&index, &index.replace(": ", ": \"").replacen('}', "\"}", 1))),
        ("a fraction", replaced(&index, &format!("{index}.0"))),
        ("a leading zero", replaced(&index, &index.replace(": ", ": 0"))),
        (
            "upper case",
            replaced(&file.evidence.ledger.to_string(), &file.evidence.ledger.to_string().to_uppercase()),
        ),
        ("more behind it", format!("{}{{}}", file.text)),
        ("a byte order mark", format!("\u{feff}{}", file.text)),
        ("nothing", String::new()),
    ];
    for (what, text) in refused {
        assert_eq!(read(&text), None, "{what}");
    }
    let mut list = value.clone();
    let question = list["question"].as_object().unwrap();
    // Those that are absent as null: a list has a place for each.
    let members = [
        "kind",
        "agent",
        "action",
        "resource",
        "args_digest",
        "args",
        "knowledge",
        "generation",
        "nonce",
        "block",
        "time_ms",
    ];
    let member = |name: &&str| question.get(*name).cloned().unwrap_or_default();
    list["question"] = members.iter().map(member).collect();
    let error = Evidence::from_json(list.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, EvidenceFileError::Spelling), "{error}");
    let mut null = value.clone();
    null["cause"] = serde_json::Value::Null;
    let error = Evidence::from_json(null.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, EvidenceFileError::Spelling), "{error}");
    // Without its leaf it shows the same check, and does not show the command.
    let mut without = value;
    without.as_object_mut().unwrap().remove("cause");
    let (_, shown) = read(&without.to_string()).unwrap();
    assert_eq!(shown, Shown { cause: None, ..file.means });
}

#[test]
fn the_leaf_is_the_command_that_the_denial_names() {
    let (mut house, grant) = founded();
    let asked = request("team/b", "deploy", "prod/db");
    let permit = house.evidence(&asked, nonce("evidence"));
    house.revoke(grant);
    let good = house.evidence(&asked, nonce("evidence"));
    let index = good.cause.as_ref().unwrap().index;
    let verify = |evidence: &Evidence| evidence.verify(&house.trust);
    assert!(verify(&good).is_ok() && verify(&permit).is_ok());
    // Every other leaf of the log is truly in it, and is not what revoked the grant.
    for other in (0..house.head().log_size).filter(|other| *other != index) {
        let evidence = Evidence { cause: Some(house.leaf(other)), ..good.clone() };
        assert!(matches!(verify(&evidence), Err(EvidenceError::OtherLeaf)), "{other}");
    }
    let mut moved = good.clone();
    moved.cause.as_mut().unwrap().index = index - 1;
    assert!(matches!(verify(&moved), Err(EvidenceError::Leaf(LeafError::Inclusion { .. }))));
    let mut short = good.clone();
    short.cause.as_mut().unwrap().proof.pop();
    assert!(matches!(verify(&short), Err(EvidenceError::Leaf(LeafError::Inclusion { .. }))));
    let mut with_leaf = permit;
    with_leaf.cause = Some(house.leaf(2));
    assert!(matches!(verify(&with_leaf), Err(EvidenceError::OtherLeaf)));
    let elsewhere = Evidence { origin: "elsewhere.example".into(), ..good.clone() };
    assert!(matches!(verify(&elsewhere), Err(EvidenceError::OtherOrigin { .. })));
    let mut elsewhere = good.clone();
    elsewhere.ledger.0 = Hash::ZERO;
    assert!(matches!(verify(&elsewhere), Err(EvidenceError::OtherLedger(_))));
    // Evidence stays true when the client has seen more since.
    assert!(good.verify(&house.trust.clone().since(u64::MAX)).is_ok());
    // The same answer is none to another question.
    let mut other = good;
    other.request.resource = name("prod/web");
    assert!(matches!(verify(&other), Err(EvidenceError::Answer(_))));
}
