//! Checks of grants with conditions.

use chancery_client::{CheckError, Denied, JsonArgs, Ledger, PermitError, SubmitError};
use chancery_ledger::command::{Body, Terms};
use chancery_ledger::condition::{ArgumentsFault, Condition, ConditionFault, PolicyOutcome, Schema};
use chancery_ledger::decide::Denial;
use chancery_ledger::evidence::Evidence;

use crate::fake::{Cluster, name, terms};

const LIMIT: &str = "permit(principal, action, resource) when { context.args.amount <= 100 };";

async fn granted(cluster: &Cluster) -> Ledger {
    cluster.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
    let ledger = cluster.connect().await;
    let terms = Terms { condition: Some(Condition::new(LIMIT).unwrap()), ..terms() };
    let schema = "entity Agent, Resource; action pay appliesTo { principal: [Agent], resource: [Resource], \
                  context: { args: { amount: Long }, ledger: {} } };";
    ledger.grant_checked(terms, Schema::new(schema).unwrap()).await.unwrap();
    ledger
}

async fn denied(ledger: &Ledger, args: impl Into<chancery_client::Args<'_>>) -> Denied {
    match ledger.check("bot", "pay", "account/7", args).await {
        Err(CheckError::Denied(denied)) => *denied,
        other => panic!("{other:?}"),
    }
}

fn reason(denied: &Denied) -> &ConditionFault {
    match &denied.denial {
        Denial::ConditionFailed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_condition_looks_at_the_arguments_that_the_permit_is_bound_to() {
    let cluster = Cluster::start(1).await;
    let ledger = granted(&cluster).await;
    let args = JsonArgs::new(r#"{ "amount": 100 }"#).unwrap();
    let permit = ledger.check("bot", "pay", "account/7", &args).await.unwrap();
    let explanation = permit.checked().explain().unwrap();
    assert_eq!(explanation.grants[0].links[0].policies[0].outcome, PolicyOutcome::Applies);
    let other = JsonArgs::new(r#"{"amount":99}"#).unwrap();
    assert!(matches!(permit.run(&other, || ()), Err(PermitError::OtherArguments { .. })));
    // Spelled otherwise, they are the same.
    let permit = ledger.check("bot", "pay", "account/7", &args).await.unwrap();
    assert_eq!(permit.run(&JsonArgs::new(r#"{"amount":100}"#).unwrap(), || 42), Ok(42));
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_a_proven_denial() {
    let cluster = Cluster::start(1).await;
    let ledger = granted(&cluster).await;
    let much = denied(&ledger, &JsonArgs::new(r#"{"amount":101}"#).unwrap()).await;
    assert_eq!(*reason(&much), ConditionFault::NotPermitted);
    assert!(much.to_string().contains("condition_failed"), "{much}");
    let none = denied(&ledger, &JsonArgs::new("{}").unwrap()).await;
    assert_eq!(*reason(&none), ConditionFault::Errors(vec![0]));
    // Bytes and digests are not shown to the ledger.
    assert_eq!(*reason(&denied(&ledger, br#"{"amount":1}"#).await), ConditionFault::Undisclosed);
    assert_eq!(JsonArgs::new(r#"{"amount":1.5}"#), Err(ArgumentsFault::Number));

    let explanation = much.checked.explain().unwrap();
    let policy = &explanation.grants[0].links[0].policies[0];
    assert_eq!((policy.number, policy.permits, &policy.outcome), (0, true, &PolicyOutcome::Silent));
    let seen: Vec<_> = policy.seen.iter().map(|seen| (seen.path.as_str(), seen.value.as_deref())).collect();
    assert_eq!(seen, [("context.args.amount", Some("101"))]);
    assert!(explanation.grants[0].denial.is_some());

    // Whoever has the evidence has the arguments, and decides the same.
    let evidence = ledger.evidence(&much.checked).await.unwrap();
    let again = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
    assert_eq!(again.request.args.as_deref(), Some(br#"{"amount":101}"#.as_slice()));
    again.verify(&ledger.trust()).unwrap();
    let other = Evidence {
        request: chancery_ledger::decide::Request { args: None, ..evidence.request.clone() },
        ..evidence
    };
    let shown = other.verify(&ledger.trust()).unwrap();
    // Without them, it shows less, but never a permit.
    assert!(matches!(
        shown.proven.decision(),
        chancery_ledger::decide::Decision::Denied(Denial::ConditionFailed {
            reason: ConditionFault::Undisclosed,
            ..
        })
    ));
}

#[tokio::test]
async fn a_condition_that_cedar_does_not_understand_is_refused() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let terms = Terms { condition: Some(Condition::new("permit everything;").unwrap()), ..terms() };
    match ledger.grant(terms).await {
        Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "bad_condition"),
        other => panic!("{other:?}"),
    }
}
