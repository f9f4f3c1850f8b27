//! What a client believes: only its own nonce, a quorum of the roster that it trusts, the state that they
//! signed, and the decision that it makes itself. Everything else is refused, each for its own reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::collections::BTreeSet;

use chancery_ledger::answer::{Answer, Nonce, ProofError, Verified, decode_answer, verify};
use chancery_ledger::authority::{GrantRef, Place, ViewError};
use chancery_ledger::command::{Body, GrantId, LedgerId, Terms};
use chancery_ledger::decide::{Candidates, Decision, Denial, Interval, Request, decide};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, QuorumError, RosterId, Statement, StatementError, VoterSet};
use chancery_ledger::log::VerifyError;
use chancery_ledger::state::{Key, PrunedReadError, PrunedTree, Recording, prune};
use chancery_ledger::trust::{Trust, TrustError};
use house::{HOUR_MS, House, name, nonce, request, terms};

struct Asked {
    house: House,
    request: Request,
    nonce: Nonce,
    grant: GrantId,
}

/// Three agents; `a` may deploy, and delegated that to `b`; `c` may too, by a grant of its own.
fn asked() -> Asked {
    let mut house = House::found();
    for agent in ["a", "b", "c"] {
        house.register(agent);
    }
    let now_ms = house.now_ms;
    let grant = house.grant(terms("a", &["deploy", "repo/*"], &["prod/*"], now_ms));
    let narrower = Terms { delegable_depth: 1, ..terms("b", &["deploy"], &["prod/db"], now_ms) };
    house.delegate("a", grant, narrower);
    house.grant(terms("c", &["deploy"], &["prod/*"], now_ms));
    Asked { house, request: request("a", "deploy", "prod/db"), nonce: nonce("one"), grant }
}

impl Asked {
    fn answer(&self) -> Answer {
        self.house.answer(&self.request, self.nonce)
    }

    /// As a client gets it: from bytes.
    fn verify(&self, answer: &Answer) -> Result<Verified, ProofError> {
        self.verify_with(&self.house.trust, answer)
    }

    fn verify_with(&self, trust: &Trust, answer: &Answer) -> Result<Verified, ProofError> {
        let decoded = decode_answer(&answer.encode(), 1 << 20).unwrap();
        assert_eq!(&decoded, answer);
        verify(trust, &self.request, self.nonce, &decoded)
    }

    fn root(&self) -> Hash {
        self.house.round(&self.request, self.nonce).root()
    }

    fn fresh(&self) -> Fresh {
        self.house.fresh(self.root(), self.house.now_ms + 500)
    }
}

fn is_permit(verified: &Verified) -> bool {
    matches!(verified.decision, Decision::Permit(_))
}

macro_rules! assert_refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => panic!("{other:?}"),
        }
    };
}

#[test]
fn a_good_answer_is_believed() {
    let asked = asked();
    let verified = asked.verify(&asked.answer()).unwrap();
    let Decision::Permit(authority) = &verified.decision else { panic!("{verified:?}") };
    assert_eq!(authority.chain, [GrantRef { grant: asked.grant, root: asked.grant }]);
    assert_eq!(verified.nodes, [1, 2]);
    let (low_ms, high_ms) = (asked.house.now_ms + 500, asked.house.now_ms + 510);
    assert_eq!(verified.interval, Interval { low_ms, high_ms });
    assert_eq!(&verified.head, asked.house.head());

    // By delegation; and two of three signatures are enough.
    let by = Asked { request: request("b", "deploy", "prod/db"), ..asked };
    let answer = Answer { head_statements: vec![], ..by.answer() };
    let verified = by.verify(&answer).unwrap();
    let Decision::Permit(authority) = verified.decision else { panic!() };
    assert_eq!(authority.chain.len(), 2);
    assert_eq!(authority.chain[1].grant, by.grant);

    // A statement of a node that has applied less counts for freshness, if others signed the head.
    let older = Head { block: by.house.head().block - 1, ..*by.house.head() };
    let mut answer = by.answer();
    answer.statements[0] = by.house.fresh_statement(1, by.fresh(), older);
    assert!(is_permit(&by.verify(&answer).unwrap()));
    answer.head_statements.clear();
    assert_refused!(by.verify(&answer), ProofError::Head(QuorumError::TooFew(1)));
}

#[test]
fn a_denial_is_proven_by_all_that_the_agent_was_granted() {
    let mut asked = asked();
    asked.house.revoke(asked.grant);
    for (agent, action, code) in [
        ("a", "deploy", "revoked"),
        ("b", "deploy", "revoked"),
        ("c", "drop", "no_grant"),
        ("nobody", "deploy", "unknown_agent"),
    ] {
        asked.request = request(agent, action, "prod/db");
        let answer = asked.answer();
        assert_eq!(answer.hint, None);
        let Decision::Denied(denial) = asked.verify(&answer).unwrap().decision else { panic!() };
        assert_eq!(denial.code(), code);
        if code == "revoked" {
            assert!(matches!(denial, Denial::Revoked { grant, .. } if grant.grant == asked.grant));
        }
    }
}

// ----------------------------------------------------------------------------------------------------
// Who signed.

#[test]
fn one_node_is_no_quorum() {
    let asked = asked();
    let whole = asked.answer();
    let alone = Answer { statements: vec![whole.statements[0]], ..whole.clone() };
    assert_refused!(asked.verify(&alone), ProofError::Freshness(QuorumError::TooFew(1)));
    let none = Answer { statements: vec![], ..whole.clone() };
    assert_refused!(asked.verify(&none), ProofError::Freshness(QuorumError::TooFew(0)));

    // One node twice: on the wire statements are sorted by distinct nodes, and verification asks again.
    let mut twice = whole.clone();
    twice.statements[1] = asked.house.fresh_statement(1, asked.fresh(), whole.head);
    assert!(decode_answer(&twice.encode(), 1 << 20).is_err());
    let result = verify(&asked.house.trust, &asked.request, asked.nonce, &twice);
    assert_refused!(result, ProofError::Freshness(QuorumError::Twice(1)));
    let mut twice = whole.clone();
    twice.head_statements = vec![asked.house.head_statement(2, whole.head)];
    assert_refused!(asked.verify(&twice), ProofError::Head(QuorumError::Twice(2)));

    // A quorum that all voters must join.
    let voters = asked.house.trust.genesis.sets()[0].voters().to_vec();
    let all = chancery_ledger::head::Roster::new(vec![VoterSet::new(voters, 3).unwrap()]).unwrap();
    let mut strict = Trust::new(house::ORIGIN.into(), asked.house.ledger, all, 500);
    strict.minimum_block = 0;
    assert_refused!(asked.verify_with(&strict, &whole), ProofError::Trust(TrustError::UnknownRoster(_)));
}

#[test]
fn a_key_outside_the_roster_is_nobodys() {
    let asked = asked();
    let whole = asked.answer();
    let mut outside = whole.clone();
    outside.statements[1] = asked.house.fresh_statement(4, asked.fresh(), whole.head);
    assert_refused!(asked.verify(&outside), ProofError::Freshness(QuorumError::OutsideRoster(4)));
    let mut outside = whole.clone();
    outside.head_statements = vec![asked.house.head_statement(4, whole.head)];
    assert_refused!(asked.verify(&outside), ProofError::Head(QuorumError::OutsideRoster(4)));

    // In another node's name: with its own key id, and with the other's name and id.
    let mut forged = whole.clone();
    let impostor = chancery_ledger::head::Voter { node: 2, ..house::voter(4) };
    let number = whole.statements[1].number;
    let (fresh, head) = (Some(asked.fresh()), whole.head);
    forged.statements[1] = Statement::sign(&impostor, &house::key("node-4"), number, fresh, head);
    let wrong_key = QuorumError::Statement { node: 2, source: StatementError::WrongKey };
    assert_refused!(asked.verify(&forged), ProofError::Freshness(error) if error == wrong_key);
    forged.statements[1] = Statement::sign(&house::voter(2), &house::key("node-4"), number, fresh, head);
    let bad = QuorumError::Statement { node: 2, source: StatementError::BadSignature };
    assert_refused!(asked.verify(&forged), ProofError::Freshness(error) if error == bad);
    let mut forged = whole;
    let by_other = Statement::sign(&house::voter(3), &house::key("node-4"), number, None, head);
    forged.head_statements = vec![by_other];
    let bad = QuorumError::Statement { node: 3, source: StatementError::BadSignature };
    assert_refused!(asked.verify(&forged), ProofError::Head(error) if error == bad);
}

#[test]
fn the_head_is_signed_by_a_quorum() {
    let asked = asked();
    let whole = asked.answer();
    // Fresh statements that bear an older head, and one signature on the newer.
    let older = Head { block: whole.head.block - 1, ..whole.head };
    let statements: Vec<Statement> =
        [1, 2].iter().map(|node| asked.house.fresh_statement(*node, asked.fresh(), older)).collect();
    let few = Answer { statements, ..whole.clone() };
    assert_refused!(asked.verify(&few), ProofError::Head(QuorumError::TooFew(1)));
    let none = Answer { head_statements: vec![], ..few.clone() };
    assert_refused!(asked.verify(&none), ProofError::Head(QuorumError::TooFew(0)));
    let enough: Vec<Statement> =
        [1, 2].iter().map(|node| asked.house.head_statement(*node, whole.head)).collect();
    assert!(is_permit(&asked.verify(&Answer { head_statements: enough, ..few }).unwrap()));

    let mut other = whole.clone();
    other.head_statements = vec![asked.house.head_statement(3, older)];
    assert_refused!(asked.verify(&other), ProofError::Head(QuorumError::OtherHead(3)));
}

// ----------------------------------------------------------------------------------------------------
// About what.

#[test]
fn only_the_clients_own_nonce_is_fresh() {
    let asked = asked();
    let whole = asked.answer();
    let other = verify(&asked.house.trust, &asked.request, nonce("two"), &whole);
    assert_refused!(other, ProofError::Freshness(QuorumError::WrongNonce(1)));
    // Nor is it fresh for another question, though the state would permit that too.
    let changes: [fn(&mut Request); 4] = [
        |request| request.agent = name("c"),
        |request| request.action = name("repo/read"),
        |request| request.resource = name("prod/web"),
        |request| request.args_digest = Hash::ZERO,
    ];
    for change in changes {
        let mut request = asked.request.clone();
        change(&mut request);
        let other = verify(&asked.house.trust, &request, asked.nonce, &whole);
        assert_refused!(other, ProofError::Freshness(QuorumError::WrongNonce(1)));
    }
    // One statement of an earlier round among those of this one.
    let mut earlier = whole.clone();
    let fresh = Fresh { nonce_root: asked.house.round(&asked.request, nonce("two")).root(), ..asked.fresh() };
    earlier.statements[1] = asked.house.fresh_statement(2, fresh, whole.head);
    assert_refused!(asked.verify(&earlier), ProofError::Freshness(QuorumError::WrongNonce(2)));
    // A statement on a head, over no nonce at all.
    let mut stale = whole.clone();
    stale.statements[1] = asked.house.head_statement(2, whole.head);
    assert_refused!(asked.verify(&stale), ProofError::Freshness(QuorumError::NotFresh(2)));

    let mut path = whole.clone();
    path.nonce_path.as_mut().unwrap().index = 3;
    assert_refused!(asked.verify(&path), ProofError::Freshness(QuorumError::WrongNonce(1)));
    path.nonce_path.as_mut().unwrap().index = 5;
    assert_refused!(asked.verify(&path), ProofError::NoncePath(VerifyError::OutOfRange));
    let mut path = whole.clone();
    path.nonce_path.as_mut().unwrap().hashes.pop();
    assert_refused!(asked.verify(&path), ProofError::NoncePath(VerifyError::ProofLength));
    let mut path = whole.clone();
    path.nonce_path.as_mut().unwrap().count = 0;
    assert_refused!(asked.verify(&path), ProofError::NoncePath(VerifyError::OutOfRange));
    let mut path = whole;
    path.nonce_path.as_mut().unwrap().count = 6;
    assert_refused!(asked.verify(&path), ProofError::Freshness(QuorumError::WrongNonce(1)));
    let without = Answer { nonce_path: None, ..asked.answer() };
    assert_refused!(asked.verify(&without), ProofError::OtherMode);
}

#[test]
fn another_ledger_is_another_ledger() {
    let asked = asked();
    let whole = asked.answer();
    let elsewhere = LedgerId(Hash::of(&[b"another ledger"]));
    let head = Head { ledger: elsewhere, ..whole.head };
    let other = Answer { head, ..whole.clone() };
    assert_refused!(asked.verify(&other), ProofError::Trust(TrustError::OtherLedger { .. }));
    let mut other = whole.clone();
    other.statements[1] = asked.house.fresh_statement(2, asked.fresh(), head);
    assert_refused!(asked.verify(&other), ProofError::Freshness(QuorumError::WrongLedger(2)));
    let mut other = whole;
    other.head_statements = vec![asked.house.head_statement(3, head)];
    assert_refused!(asked.verify(&other), ProofError::Head(QuorumError::WrongLedger(3)));
}

#[test]
fn statements_count_only_under_one_roster_that_is_proven() {
    let asked = asked();
    let whole = asked.answer();
    let unknown = RosterId { block: 0, digest: house::roster(&[1, 2, 4]).digest() };
    let mut other = whole.clone();
    for (place, node) in [(0, 1), (1, 2)] {
        let fresh = Fresh { tail_roster: unknown, ..asked.fresh() };
        other.statements[place] = asked.house.fresh_statement(node, fresh, whole.head);
    }
    let result = asked.verify(&other);
    assert_refused!(result, ProofError::Trust(TrustError::UnknownRoster(found)) if found == unknown);
    // One of them only: the named roster is one for all.
    let mut other = whole.clone();
    let fresh = Fresh { tail_roster: unknown, ..asked.fresh() };
    other.statements[1] = asked.house.fresh_statement(2, fresh, whole.head);
    assert_refused!(asked.verify(&other), ProofError::Freshness(QuorumError::WrongRoster(2)));
    // The same roster, said to be from another block.
    let later = RosterId { block: 1, ..whole.head.roster };
    let fresh = Fresh { tail_roster: later, ..asked.fresh() };
    let mut other = whole.clone();
    other.statements[1] = asked.house.fresh_statement(2, fresh, whole.head);
    assert_refused!(asked.verify(&other), ProofError::Freshness(QuorumError::WrongRoster(2)));
    // A head under a roster that nobody has proven.
    let head = Head { roster: unknown, ..whole.head };
    let mut other = Answer { head, ..whole };
    other.head_statements.clear();
    other.statements = [1, 2].map(|node| asked.house.fresh_statement(node, asked.fresh(), head)).to_vec();
    assert_refused!(asked.verify(&other), ProofError::Trust(TrustError::UnknownRoster(_)));
}

#[test]
fn no_log_reaches_beyond_the_head() {
    let asked = asked();
    let whole = asked.answer();
    let block = whole.head.block;
    let mut above = whole.clone();
    let fresh = Fresh { tail_block: block + 1, ..asked.fresh() };
    above.statements[1] = asked.house.fresh_statement(2, fresh, whole.head);
    let expected = QuorumError::TailAboveHead { node: 2, tail_block: block + 1, block };
    assert_refused!(asked.verify(&above), ProofError::Freshness(error) if error == expected);
    // A surplus statement counts as well: its bound holds for all.
    let mut surplus = whole.clone();
    surplus.head_statements.clear();
    surplus.statements.push(asked.house.fresh_statement(3, fresh, whole.head));
    let expected = QuorumError::TailAboveHead { node: 3, tail_block: block + 1, block };
    assert_refused!(asked.verify(&surplus), ProofError::Freshness(error) if error == expected);
}

#[test]
fn a_revoked_grant_is_not_believed_from_a_state_before() {
    let mut asked = asked();
    let before = asked.answer();
    assert!(is_permit(&asked.verify(&before).unwrap()));
    asked.house.revoke(asked.grant);
    // The server keeps the old state. A quorum that is asked about a nonce made after the revocation has
    // the revocation in its logs.
    let mut stale = before.clone();
    stale.statements =
        [1, 2].map(|node| asked.house.fresh_statement(node, asked.fresh(), before.head)).to_vec();
    let result = asked.verify(&stale);
    assert_refused!(result, ProofError::Freshness(QuorumError::TailAboveHead { node: 1, .. }));
    let Decision::Denied(denial) = asked.verify(&asked.answer()).unwrap().decision else { panic!() };
    assert_eq!(denial.code(), "revoked");
    // A client that has seen the newer block does not go back.
    let trust = asked.house.trust.clone().since(before.head.block + 1);
    let rolled_back = TrustError::RolledBack { found: before.head.block, minimum: before.head.block + 1 };
    let result = asked.verify_with(&trust, &before);
    assert_refused!(result, ProofError::Trust(error) if error == rolled_back);
}

#[test]
fn rules_that_are_not_known_are_not_followed() {
    let asked = asked();
    let whole = asked.answer();
    let other = Answer { head: Head { rules_version: 2, ..whole.head }, ..whole };
    assert_refused!(asked.verify(&other), ProofError::UnknownRules(2));
}

// ----------------------------------------------------------------------------------------------------
// The read set.

fn cut(asked: &Asked, keys: &BTreeSet<Key>) -> PrunedTree {
    prune(&asked.house.replicas[0].nodes, asked.house.state().summary().root, keys).unwrap()
}

fn keys_read(asked: &Asked, request: &Request) -> BTreeSet<Key> {
    let (now_ms, replica) = (asked.house.now_ms + 500, &asked.house.replicas[0]);
    let view = Recording::new(&replica.nodes, asked.house.state().summary().root);
    decide(&view, request, Interval { low_ms: now_ms, high_ms: now_ms + 10 }).unwrap();
    view.into_keys()
}

#[test]
fn the_read_set_is_of_the_state_that_was_signed() {
    let mut asked = asked();
    let before = asked.answer();
    asked.house.revoke(asked.grant);
    let other = Answer { tree: before.tree, hint: before.hint, ..asked.answer() };
    assert_refused!(asked.verify(&other), ProofError::StateRoot { .. });
    // A head that says so, signed by nobody.
    let head = Head { state_root: before.head.state_root, ..*asked.house.head() };
    let other = Answer { head, ..other };
    assert_refused!(asked.verify(&other), ProofError::Head(QuorumError::OtherHead(3)));
}

#[test]
fn what_is_not_shown_is_not_absent() {
    let mut asked = asked();
    let whole = asked.answer();
    let hint = whole.hint.unwrap();
    let all = keys_read(&asked, &Request { hint: Some(hint), ..asked.request.clone() });
    assert_eq!(cut(&asked, &all), whole.tree);
    // There is no record of the lineage, and the agent's, which stands where it would, shows that too.
    let lineage = Place::lineage(&name("a")).key();
    let without: BTreeSet<Key> = all.iter().copied().filter(|key| *key != lineage).collect();
    assert_eq!(cut(&asked, &without), whole.tree);
    for missing in &without {
        let mut keys = all.clone();
        keys.remove(missing);
        let less = Answer { tree: cut(&asked, &keys), ..whole.clone() };
        let read = |error: &PrunedReadError| match error {
            PrunedReadError::Pruned(key) | PrunedReadError::ValueWithheld(key) => key == missing,
        };
        let result = asked.verify(&less);
        assert_refused!(result, ProofError::Undecided(ViewError::Read(error)) if read(&error));
    }
    // A denial without one of its pages, or one of its grants.
    asked.request = request("a", "drop", "prod/db");
    let whole = asked.answer();
    let all = keys_read(&asked, &asked.request);
    assert_eq!(all.len(), 5, "what is halted, the agent, its lineage, its page and its grant");
    for missing in all.iter().filter(|key| **key != lineage) {
        let mut keys = all.clone();
        keys.remove(missing);
        let less = Answer { tree: cut(&asked, &keys), ..whole.clone() };
        assert_refused!(asked.verify(&less), ProofError::Undecided(ViewError::Read(_)));
    }
}

#[test]
fn what_is_shown_is_used() {
    let asked = asked();
    let whole = asked.answer();
    let hint = whole.hint.unwrap();
    let mut keys = keys_read(&asked, &Request { hint: Some(hint), ..asked.request.clone() });
    let more = Place::agent(&name("c")).key();
    keys.insert(more);
    let surplus = Answer { tree: cut(&asked, &keys), ..whole.clone() };
    assert_refused!(asked.verify(&surplus), ProofError::Unused(error) if error.0 == more);
    // So is a leaf that is opened without its value.
    let mut keys = keys_read(&asked, &Request { hint: Some(hint), ..asked.request.clone() });
    keys.insert(Place::agent(&name("nobody")).key());
    let surplus = Answer { tree: cut(&asked, &keys), ..whole };
    assert_refused!(asked.verify(&surplus), ProofError::Unused(_));
}

#[test]
fn a_guess_is_what_decides_or_changes_nothing() {
    let mut house = House::found();
    house.register("a");
    let now_ms = house.now_ms;
    let first = house.grant(terms("a", &["deploy"], &["prod/*"], now_ms));
    let reads = house.grant(terms("a", &["repo/*"], &["prod/*"], now_ms));
    let agent = name("a");
    let read = |house: &House, most, known: Option<&Candidates>| {
        Candidates::read(
            &Recording::new(&house.replicas[0].nodes, house.state().summary().root),
            &agent,
            most,
            known,
        )
        .unwrap()
    };
    let guess = |candidates: &Candidates, action| {
        candidates.of(&request("a", action, "prod/db")).map(|guessed| guessed.grant)
    };
    let known = read(&house, 8, None).unwrap();
    assert_eq!(guess(&known, "deploy"), Some(first));
    assert_eq!(guess(&known, "repo/read"), Some(reads));
    assert_eq!(guess(&known, "pay"), None);
    assert_eq!(guess(&read(&house, 1, None).unwrap(), "repo/read"), None, "only so many");
    assert!(read(&house, 8, Some(&known)).is_none(), "it is known");

    // Another one comes, and the first is revoked: the guess is old, and the decision is what it is without.
    let second = house.grant(terms("a", &["deploy"], &["prod/db"], now_ms));
    house.revoke(first);
    let asked = request("a", "deploy", "prod/db");
    let decided = |hint| {
        let view = Recording::new(&house.replicas[0].nodes, house.state().summary().root);
        let interval = Interval { low_ms: house.now_ms, high_ms: house.now_ms };
        let decision = decide(&view, &Request { hint, ..asked.clone() }, interval).unwrap();
        match decision {
            Decision::Permit(authority) => authority.chain[0].grant,
            Decision::Denied(denial) => panic!("{denial:?}"),
        }
    };
    assert_eq!((decided(known.of(&asked)), decided(None)), (second, second));
    let newer = read(&house, 8, Some(&known)).unwrap();
    assert_eq!(guess(&newer, "deploy"), Some(first), "in the order of the list, whatever became of it");
    let second = GrantRef { grant: second, root: second };
    let preferring = newer.preferring(second).unwrap();
    assert_eq!(guess(&preferring, "deploy"), Some(second.grant));
    assert_eq!(guess(&preferring, "repo/read"), Some(reads));
    assert!(known.preferring(second).is_none());

    let unknown = name("nobody");
    let view = Recording::new(&house.replicas[0].nodes, house.state().summary().root);
    assert!(Candidates::read(&view, &unknown, 8, None).unwrap().is_none());
}

#[test]
fn a_hint_is_what_the_permit_rests_on() {
    let mut asked = asked();
    let whole = asked.answer();
    let own = whole.hint.unwrap();
    // Another agent's grant, shown in full: it is looked at, and is no permit for this one.
    let others = {
        let asked_c = request("c", "deploy", "prod/db");
        let answer = asked.house.answer(&asked_c, asked.nonce);
        answer.hint.unwrap()
    };
    asked.request = request("b", "repo/read", "prod/db");
    let with = |asked: &Asked, hint| {
        let keys = keys_read(asked, &Request { hint: Some(hint), ..asked.request.clone() });
        Answer { tree: cut(asked, &keys), hint: Some(hint), ..asked.answer() }
    };
    for hint in [others, own] {
        assert_refused!(asked.verify(&with(&asked, hint)), ProofError::UnusedHint);
    }
    // The same without the hint is a denial.
    let Decision::Denied(Denial::NoGrant) = asked.verify(&asked.answer()).unwrap().decision else { panic!() };
    // Nor is a hint to another of the agent's own grants, or to nowhere, when the list is what permits.
    asked.request = request("a", "deploy", "prod/db");
    let nowhere = GrantRef { grant: GrantId(Hash::ZERO), root: GrantId(Hash::ZERO) };
    for hint in [others, nowhere] {
        assert_refused!(asked.verify(&with(&asked, hint)), ProofError::UnusedHint);
    }
    // With only the hinted chain shown there is nothing to fall back on.
    let bare = Answer { hint: Some(others), ..asked.answer() };
    assert_refused!(asked.verify(&bare), ProofError::Undecided(ViewError::Read(_)));
    let unhinted = Answer { hint: None, ..asked.answer() };
    assert_refused!(asked.verify(&unhinted), ProofError::Undecided(ViewError::Read(_)));
}

// ----------------------------------------------------------------------------------------------------
// Time.

#[test]
fn the_server_does_not_choose_the_time() {
    let asked = asked();
    let whole = asked.answer();
    let mut other = whole.clone();
    // A clock changed in a statement is no longer what the node signed.
    let mut bytes = other.statements[1].encode();
    let clock = 1 + 24 + 32;
    bytes[clock + 7] ^= 1;
    other.statements[1] = Statement::decode(&bytes).unwrap();
    assert_ne!(other.statements[1].fresh.unwrap().clock_ms, whole.statements[1].fresh.unwrap().clock_ms);
    let bad = QuorumError::Statement { node: 2, source: StatementError::BadSignature };
    assert_refused!(asked.verify(&other), ProofError::Freshness(error) if error == bad);
    // Nor the block's time.
    let head = Head { time_ms: whole.head.time_ms - 1, ..whole.head };
    let other = Answer { head, ..whole };
    assert_refused!(asked.verify(&other), ProofError::Head(QuorumError::OtherHead(3)));
}

#[test]
fn a_permit_holds_in_all_of_the_interval() {
    let mut house = House::found();
    house.register("a");
    let (begin_ms, end_ms) = (house.now_ms + HOUR_MS, house.now_ms + 2 * HOUR_MS);
    house.grant(Terms {
        not_before_ms: begin_ms,
        not_after_ms: end_ms,
        ..terms("a", &["deploy"], &["prod"], begin_ms)
    });
    let (request, nonce) = (request("a", "deploy", "prod"), nonce("edge"));
    let decide_at = |first_ms: u64, second_ms: u64| {
        let answer = house.answer_by(&request, nonce, &[(1, first_ms), (2, second_ms)], &[3]);
        verify(&house.trust, &request, nonce, &answer).unwrap().decision
    };
    let begun = Decision::Denied(Denial::NotBegun { not_before_ms: begin_ms });
    let ended = Decision::Denied(Denial::Ended { not_after_ms: end_ms });
    let cases = [
        (begin_ms - 1, begin_ms - 1, Some(&begun)),
        // One clock of the quorum is before the beginning: not in all of the interval.
        (begin_ms, begin_ms - 1, Some(&begun)),
        (begin_ms - 1, begin_ms, Some(&begun)),
        (begin_ms, begin_ms, None),
        (begin_ms, begin_ms + 1, None),
        (end_ms - 2, end_ms - 1, None),
        (end_ms - 1, end_ms - 1, None),
        // The end is exclusive, and no clock may have reached it.
        (end_ms - 1, end_ms, Some(&ended)),
        (end_ms, end_ms - 1, Some(&ended)),
        (end_ms, end_ms, Some(&ended)),
        (begin_ms - 1, end_ms, Some(&ended)),
    ];
    for (first_ms, second_ms, denial) in cases {
        let decision = decide_at(first_ms, second_ms);
        match denial {
            Some(denial) => assert_eq!(&decision, denial, "{first_ms} {second_ms}"),
            None => assert!(matches!(decision, Decision::Permit(_)), "{first_ms} {second_ms}"),
        }
    }
}

#[test]
fn the_ledgers_time_moves_the_interval_up_but_not_down() {
    let mut house = House::found();
    house.register("a");
    let end_ms = house.now_ms + HOUR_MS;
    house.grant(terms("a", &["deploy"], &["prod"], end_ms - HOUR_MS));
    house.now_ms = end_ms - 1_000;
    house.register("later");
    let time_ms = house.head().time_ms;
    assert_eq!(time_ms, end_ms);
    // Clocks that are behind the ledger's time count as the ledger's time: the grant has ended.
    let (request, nonce) = (request("a", "deploy", "prod"), nonce("behind"));
    let answer = house.answer_by(&request, nonce, &[(1, time_ms - 5_000), (2, time_ms - 4_000)], &[]);
    let verified = verify(&house.trust, &request, nonce, &answer).unwrap();
    assert_eq!(verified.interval, Interval { low_ms: time_ms, high_ms: time_ms });
    assert_eq!(verified.decision, Decision::Denied(Denial::Ended { not_after_ms: end_ms }));
    // A surplus statement's clock counts too.
    let answer =
        house.answer_by(&request, nonce, &[(1, time_ms + 1), (2, time_ms + 2), (3, time_ms + 9)], &[]);
    let verified = verify(&house.trust, &request, nonce, &answer).unwrap();
    assert_eq!(verified.interval, Interval { low_ms: time_ms + 1, high_ms: time_ms + 9 });
}

#[test]
fn revoking_everything_of_an_agent_reaches_what_it_delegated() {
    let mut asked = asked();
    let body = Body::RevokeAgent { agent: name("a"), reason: "gone".into() };
    let signed = asked.house.applied("revoker", body);
    let entry = asked.house.state().dedup().get(&signed.dedup_key()).unwrap();
    for agent in ["a", "b"] {
        asked.request = request(agent, "deploy", "prod/db");
        let Decision::Denied(Denial::AllRevoked { agent: whose, cause }) =
            asked.verify(&asked.answer()).unwrap().decision
        else {
            panic!()
        };
        assert_eq!((whose, cause.index), (name("a"), entry.index));
    }
    asked.request = request("c", "deploy", "prod/db");
    assert!(is_permit(&asked.verify(&asked.answer()).unwrap()));
}
