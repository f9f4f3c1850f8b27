//! What holds whatever is granted, delegated, halted and spent, in whatever order:
//!
//! - a delegation never widens;
//! - a bound is never overspent;
//! - what is halted is never permitted;
//! - what a proof shows decides as the whole state does.
//!
//! Each is said by itself, over permits and what the log says, and none by how a decision is made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../house/mod.rs"]
mod house;

mod asks;
mod book;
mod run;

use std::cell::RefCell;
use std::collections::BTreeSet;

use chancery_ledger::answer::{Moment, verify, verify_past};
use chancery_ledger::command::{GrantId, HaltScope, Terms};
use chancery_ledger::decide::{Decision, Denial, Interval, Request, decide, explain};
use chancery_ledger::state::{PrunedTree, PrunedView, Recording, Root, prune};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use asks::{CALLS, Question, RULES, Rule, lineage, steps};
use house::{name, nonce};
use run::{Permitted, Run};

/// What the runs met, so that a generator that has gone blind fails.
type Met = RefCell<BTreeSet<&'static str>>;

/// Has `holds` look at many random runs, after each block. Chance may leave something out of all of them; a generator
/// that has gone blind leaves it out again and again.
fn in_random_runs(must_meet: &[&'static str], holds: impl Fn(&Run, &[Question], &Met)) {
    let met = Met::default();
    for _ in 0..8 {
        let mut runner = TestRunner::new(ProptestConfig {
            cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64),
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&steps(), |steps| {
            let mut run = Run::found();
            for step in &steps {
                run.block(step);
                holds(&run, &step.questions, &met);
            }
            Ok(())
        });
        outcome.unwrap();
        if must_meet.iter().all(|what| met.borrow().contains(what)) {
            return;
        }
    }
    panic!("of {must_meet:?} were met {:?}", met.borrow());
}

/// Every permit there is after a block: recorded in it, and to what is asked then.
fn permits(run: &Run, questions: &[Question]) -> (Vec<Permitted>, usize) {
    let asked = questions.iter().filter_map(|question| {
        let (request, interval) = (question.request(run), question.interval(run));
        run.permits(&request, interval)
    });
    let checked: Vec<Permitted> = asked.collect();
    let count = checked.len();
    let recorded = run.recorded.iter().map(|p| Permitted {
        request: p.request.clone(),
        interval: p.interval,
        chain: p.chain.clone(),
        halts: p.halts.clone(),
    });
    (checked.into_iter().chain(recorded).collect(), count)
}

// ----------------------------------------------------------------------------------------------------
// A delegation never widens.

#[test]
fn a_delegation_never_widens() {
    let must_meet = ["checked, delegated", "recorded, delegated", "as the parent", "under a condition"];
    in_random_runs(&must_meet, |run, questions, met| {
        for (child, held) in &run.held {
            if let Some(parent) = held.parent {
                assert!(is_within(&held.terms, run.terms(parent)), "{child} is wider than {parent}");
            }
        }
        let (permits, checked) = permits(run, questions);
        for (place, permit) in permits.iter().enumerate() {
            every_link_allows(run, permit, met);
            if permit.chain.len() > 1 {
                let kind = if place < checked { "checked, delegated" } else { "recorded, delegated" };
                met.borrow_mut().insert(kind);
            }
        }
        permits[..checked].iter().for_each(|permit| every_ancestor_is_permitted(run, permit, met));
    });
}

/// Whatever `child` allows, at any time, `parent` does.
fn is_within(child: &Terms, parent: &Terms) -> bool {
    let others = ["other", "account/1/x", "account/"].map(name);
    let actions = CALLS.iter().map(|(action, ..)| name(action)).chain(others.clone());
    let resources = CALLS.iter().map(|(_, resource, _)| name(resource)).chain(others);
    let mut names_fit = actions
        .map(|action| !child.actions.matches(&action) || parent.actions.matches(&action))
        .chain(resources.map(|name| !child.resources.matches(&name) || parent.resources.matches(&name)));
    names_fit.all(|fits| fits)
        && child.not_before_ms >= parent.not_before_ms
        && child.not_after_ms <= parent.not_after_ms
        && child.max_staleness_ms <= parent.max_staleness_ms
        && child.delegable_depth < parent.delegable_depth
}

/// What an agent may by a chain, each grant of the chain would allow it by itself: by its names and its time, what it
/// requires to be known, and its condition. The agent that a condition sees is the one that acts.
fn every_link_allows(run: &Run, permit: &Permitted, met: &Met) {
    let Permitted { request, interval: Interval { low_ms, high_ms }, .. } = permit;
    let asked = (request.action.as_str(), request.resource.as_str());
    let (_, _, amount) = CALLS.iter().find(|(action, resource, _)| (*action, *resource) == asked).unwrap();
    for link in &permit.chain {
        let terms = run.terms(*link);
        assert!(terms.actions.matches(&request.action) && terms.resources.matches(&request.resource));
        assert!(terms.not_before_ms <= *low_ms && *high_ms < terms.not_after_ms);
        for requirement in terms.knowledge.iter() {
            let shown = request.knowledge.iter().flat_map(|knowledge| knowledge.shown());
            let ages = shown.filter_map(|placed| high_ms.checked_sub(placed.item.retrieved_at_ms));
            assert!(ages.min().is_some_and(|age_ms| age_ms <= requirement.max_age_ms), "{requirement:?}");
        }
        if let Some(rule) = rule(terms) {
            assert!((rule.may_hold)(request.agent.as_str(), asked.0, *amount), "{}", rule.text);
            met.borrow_mut().insert("under a condition");
        }
    }
}

fn rule(terms: &Terms) -> Option<&'static Rule> {
    let condition = terms.condition.as_ref()?;
    Some(RULES.iter().find(|rule| rule.text == condition.as_str()).unwrap())
}

/// What an agent may by a chain, whoever delegated to it may by the rest of it; unless a condition of that rest is
/// about who acts, and so may hold for the one and not for the other.
fn every_ancestor_is_permitted(run: &Run, permit: &Permitted, met: &Met) {
    for place in 1..permit.chain.len() {
        let rest = &permit.chain[place..];
        if rest.iter().any(|link| rule(run.terms(*link)).is_some_and(|rule| rule.reads_who_acts)) {
            continue;
        }
        let request = Request {
            agent: run.terms(rest[0]).agent.clone(),
            hint: Some(run.reference(rest[0])),
            ..permit.request.clone()
        };
        let parents = run.permits(&request, permit.interval);
        assert_eq!(parents.map(|permit| permit.chain).as_deref(), Some(rest), "{request:?}");
        met.borrow_mut().insert("as the parent");
    }
}

// ----------------------------------------------------------------------------------------------------
// A bound is never overspent.

#[test]
fn a_bound_is_never_overspent() {
    let kinds = ["count", "sum", "rate", "concurrency"];
    in_random_runs(&[kinds.as_slice(), &["left", "exhausted"]].concat(), |run, questions, met| {
        assert_eq!(run.book.overspent, Vec::<String>::new());
        met.borrow_mut().extend(&run.book.exhausted);
        for question in questions {
            let (request, interval) = (question.request(run), question.interval(run));
            match run.decide(&request, interval) {
                // What a check says is left is what the log leaves, and enough.
                Decision::Permit(authority) => {
                    for left in &authority.bounds {
                        let agent = run.terms(left.grant.grant).agent.as_str();
                        let used = run.book.used(&left.bound, left.grant.grant, agent, interval.low_ms);
                        let wanted = book::amount(&left.bound, request.args.as_deref());
                        assert_eq!((left.used, left.wanted), (used, wanted), "{left:?}");
                        assert!(used + wanted <= left.bound.limit, "{left:?}");
                        met.borrow_mut().insert("left");
                    }
                }
                Decision::Denied(Denial::BoundExhausted { grant, name, limit, used, wanted }) => {
                    let terms = run.terms(grant.grant);
                    let bound = terms.bounds.iter().find(|bound| bound.name == name).unwrap();
                    let agent = terms.agent.as_str();
                    assert_eq!(used, run.book.used(bound, grant.grant, agent, interval.low_ms));
                    assert!(used + wanted.unwrap() > limit && limit == bound.limit);
                    met.borrow_mut().insert("exhausted");
                }
                Decision::Denied(_) => {}
            }
        }
    });
}

// ----------------------------------------------------------------------------------------------------
// What is halted is never permitted.

#[test]
fn what_is_halted_is_never_permitted() {
    let scopes = ["everything", "agent", "lineage", "action", "resource", "subtree"];
    let must_meet = [scopes.as_slice(), &["permitted while another is halted"]].concat();
    in_random_runs(&must_meet, |run, questions, met| {
        let (permits, _) = permits(run, questions);
        for permit in &permits {
            for scope in &permit.halts {
                assert!(
                    !is_halted(run, scope, &permit.request, &permit.chain),
                    "{scope:?} {:?}",
                    permit.request
                );
                met.borrow_mut().insert("permitted while another is halted");
            }
        }
        // And what the call itself is halted by is told.
        for question in questions {
            let request = question.request(run);
            for halt in run.halts.iter().filter(|halt| is_halted(run, &halt.scope, &request, &[])) {
                let decision = run.decide(&request, question.interval(run));
                assert!(matches!(decision, Decision::Denied(Denial::Halted { .. })), "{decision:?}");
                met.borrow_mut().insert(kind(&halt.scope));
            }
            if let Decision::Denied(Denial::Halted { scope, .. }) =
                run.decide(&request, question.interval(run))
            {
                met.borrow_mut().insert(kind(&scope));
            }
        }
    });
}

const fn kind(scope: &HaltScope) -> &'static str {
    match scope {
        HaltScope::Everything => "everything",
        HaltScope::Agent(_) => "agent",
        HaltScope::Lineage(_) => "lineage",
        HaltScope::Action(_) => "action",
        HaltScope::Resource(_) => "resource",
        HaltScope::Subtree(_) => "subtree",
    }
}

/// Whether the call is in the scope, or any of the grants that it would rest on.
fn is_halted(run: &Run, scope: &HaltScope, request: &Request, chain: &[GrantId]) -> bool {
    let mut agents = chain.iter().map(|link| run.terms(*link).agent.as_str()).chain([request.agent.as_str()]);
    match scope {
        HaltScope::Everything => true,
        HaltScope::Agent(halted) => agents.any(|agent| agent == halted.as_str()),
        HaltScope::Lineage(halted) => agents.any(|agent| lineage(agent) == halted.as_str()),
        HaltScope::Action(pattern) => pattern.matches(&request.action),
        HaltScope::Resource(pattern) => pattern.matches(&request.resource),
        HaltScope::Subtree(grant) => chain.contains(grant),
    }
}

// ----------------------------------------------------------------------------------------------------
// What a proof shows decides as the whole state does.

#[test]
fn a_proof_decides_as_the_whole_state_does() {
    let must_meet = [
        "permit",
        "permit of the past",
        "halted",
        "revoked",
        "bound_exhausted",
        "knowledge_missing",
        "condition_failed",
        "ended",
        "no_grant",
    ];
    in_random_runs(&must_meet, |run, questions, met| {
        let replica = &run.house.replicas[0];
        for question in questions {
            let (request, interval) = (question.request(run), question.interval(run));
            let decision = decided_alike(run, replica.state.summary().root, &request, interval);
            met.borrow_mut().insert(decision.denial().map_or("permit", Denial::code));
            // In any state there was.
            let then = &replica.summaries[question.block.index(replica.summaries.len())];
            let interval = Interval { low_ms: then.head.time_ms, high_ms: then.head.time_ms };
            if decided_alike(run, then.root, &request, interval).denial().is_none() {
                met.borrow_mut().insert("permit of the past");
            }
        }
        // And so does whoever is sent the proof.
        let Some(question) = questions.first() else { return };
        let request = Request { hint: None, ..question.request(run) };
        let answer = run.house.answer(&request, nonce("properties"));
        let verified = verify(&run.house.trust, &request, nonce("properties"), &answer).unwrap();
        assert_eq!(verified.decision, run.decide(&request, verified.interval));
        let block = question.block.index(replica.summaries.len());
        let moment = Moment::Block(replica.summaries[block].head.block);
        let past =
            verify_past(&run.house.trust, &request, moment, &run.house.past(&request, moment)).unwrap();
        let interval = Interval { low_ms: past.time_ms, high_ms: past.time_ms };
        let whole = Recording::new(&replica.nodes, replica.summaries[block].root);
        assert_eq!(past.decision, decide(&whole, &request, interval).unwrap());
    });
}

/// Decides and explains over all of the state, and over just what that read, as it is sent; nothing of it is idle.
fn decided_alike(run: &Run, root: Root, request: &Request, interval: Interval) -> Decision {
    let nodes = &run.house.replicas[0].nodes;
    let whole = Recording::new(nodes, root);
    let decision = decide(&whole, request, interval).unwrap();
    let told = explain(&Recording::new(nodes, root), request, interval).unwrap();
    let sent = prune(nodes, root, &whole.into_keys()).unwrap().encode();
    let shown = PrunedTree::decode(&sent, sent.len()).unwrap();
    assert_eq!(shown.root_hash(), root.hash());
    let view = PrunedView::new(&shown);
    assert_eq!(decide(&view, request, interval).unwrap(), decision);
    view.finish().unwrap();
    let explained = explain(&PrunedView::new(&shown), request, interval).unwrap();
    assert_eq!(explained, told);
    assert_eq!(explained.decision, decision);
    decision
}
