//! Authority within bounds: what is left is proven to whoever checks, and only what is recorded is a permit.

use chancery_client::{AuthorizeError, CheckError, Ended};
use chancery_ledger::command::{
    Authorize, Body, Bound, BoundKind, Bounds, Identifier, OutcomeKind, Per, Requirement, Requirements,
    Template, Terms,
};
use chancery_ledger::decide::{Denial, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, Knowledge, KnowledgeTree};

use crate::fake::{Cluster, name, terms};

const ARGS: &[u8] = br#"{"amount":40,"id":"7"}"#;

/// A cluster in which `bot` may pay 100 in all, if it has seen the account in the last hour.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(1).await;
    let identifier = |text: &str| Identifier::new(text).unwrap();
    let money = Bound {
        name: identifier("money"),
        kind: BoundKind::Sum { argument: identifier("amount") },
        limit: 100,
        per: Per::Grant,
    };
    let seen = Requirement { source: Template::new("account/{args.id}").unwrap(), max_age_ms: 3_600_000 };
    cluster.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
    cluster.apply(Body::grant(Terms {
        bounds: Bounds::collect([money]).unwrap(),
        knowledge: Requirements::collect([seen]).unwrap(),
        ..terms()
    }));
    cluster
}

fn seen(retrieved_at_ms: u64) -> Knowledge {
    let item =
        |source: &str| Item { source: name(source), digest: Hash::of(&[b"what was read"]), retrieved_at_ms };
    let tree = KnowledgeTree::new(vec![item("account/7"), item("account/8")]).unwrap();
    tree.show(&[name("account/7")]).unwrap()
}

fn asked(knowledge: Option<Knowledge>) -> Request {
    Request {
        agent: name("bot"),
        action: name("pay"),
        resource: name("account/7"),
        args_digest: Hash::of(&[ARGS]),
        args: Some(ARGS.to_vec()),
        generation: None,
        knowledge,
        hint: None,
    }
}

fn recorded(knowledge: Option<Knowledge>) -> Authorize {
    Authorize::of(asked(knowledge), 5_000)
}

#[tokio::test]
async fn a_check_within_bounds_shows_what_is_left_and_is_no_permit() {
    let cluster = cluster().await;
    let ledger = cluster.connect().await;
    let now_ms = ledger.check_with(asked(None), ledger.check_options()).await.unwrap_err();
    let CheckError::Denied(denied) = now_ms else { panic!("{now_ms:?}") };
    assert!(matches!(denied.denial, Denial::KnowledgeMissing { .. }), "{denied}");
    let now_ms = denied.checked.verified.head.time_ms;
    let error = ledger.check_with(asked(Some(seen(now_ms))), ledger.check_options()).await.unwrap_err();
    let CheckError::Bounded(bounded) = error else { panic!("{error:?}") };
    let [money] = bounded.authority.bounds.as_slice() else { panic!("{bounded:?}") };
    assert_eq!((money.left(), money.wanted), (100, 40));
    // As evidence, for whoever was not there.
    let evidence = ledger.evidence(&bounded.checked).await.unwrap();
    let file = evidence.to_json();
    let again = chancery_ledger::evidence::Evidence::from_json(file.as_bytes()).unwrap();
    assert_eq!(again.request, bounded.checked.request);
    again.verify(&ledger.trust()).unwrap();
    // Arguments that are not shown cannot be added up.
    let hidden = Request { args: None, ..asked(Some(seen(now_ms))) };
    let error = ledger.check_with(hidden, ledger.check_options()).await.unwrap_err();
    assert!(matches!(error, CheckError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_recorded_is_a_permit_and_spends() {
    let cluster = cluster().await;
    let ledger = cluster.connect().await;
    let now_ms = ledger.check("nobody", "pay", "a", b"").await.unwrap_err();
    let CheckError::Denied(denied) = now_ms else { panic!("{now_ms:?}") };
    let knowledge = || Some(seen(denied.checked.verified.head.time_ms));
    for left in [60, 20] {
        let permit = ledger.authorize_with(recorded(knowledge())).await.unwrap();
        assert_eq!(permit.bounds()[0].left(), left);
        let ended = async || Ended { kind: OutcomeKind::Executed, result_digest: None, value: () };
        permit.run(ARGS, ended).await.unwrap().outcome.unwrap();
    }
    let error = ledger.authorize_with(recorded(knowledge())).await.unwrap_err();
    let AuthorizeError::Denied(denied) = error else { panic!("{error:?}") };
    assert!(matches!(denied.denial, Denial::BoundExhausted { used: 80, wanted: Some(40), .. }), "{denied}");
    let error = ledger.authorize_with(recorded(None)).await.unwrap_err();
    let AuthorizeError::Denied(denied) = error else { panic!("{error:?}") };
    assert!(matches!(denied.denial, Denial::KnowledgeMissing { .. }), "{denied}");
}
