//! Lineages and their generations, by their commands' methods: registered, released, rolled back, constrained, halted.

use chancery_client::{CheckError, Ledger, Options, Receipt, SigningKey, SubmitError};
use chancery_ledger::command::{
    Body, Digests, Generation, GenerationId, HaltScope, LineageConstraints, LineagePolicy, Patterns,
    Principal, Role, Scope, Terms,
};
use chancery_ledger::condition::{Condition, Schema};
use chancery_ledger::decide::Denial;
use chancery_ledger::hash::Hash;

use crate::fake::{Cluster, name, public, terms};

/// `bot`, which may pay, is the agent of the lineage `payers`.
async fn cluster() -> (Cluster, Ledger) {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect().await;
    ledger.register_agent_of(name("payers"), name("bot"), name("ann"), None).await.unwrap();
    ledger.grant(terms()).await.unwrap();
    (cluster, ledger)
}

fn generation(model: &str, parent: Option<GenerationId>) -> Generation {
    let same = Hash::of(&[b"the same"]);
    let model = Hash::of(&[model.as_bytes()]);
    let digests = Digests { model, prompt: same, tools: same, parameters: same, memory: same };
    Generation { lineage: name("payers"), parent, digests }
}

/// Why `generation` of `bot` may not pay, if it may not.
async fn denied(cluster: &Cluster, generation: Option<GenerationId>) -> Option<Denial> {
    let gate = cluster.connect_with(Options { generation, ..cluster.options() }).await;
    match gate.check("bot", "pay", "account/7", b"").await {
        Ok(_) => None,
        Err(CheckError::Denied(denied)) => Some(denied.denial),
        Err(error) => panic!("{error}"),
    }
}

fn refused(result: Result<Receipt, SubmitError>) -> String {
    match result {
        Err(SubmitError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_generation_acts_once_it_is_released_until_it_is_rolled_back() {
    let (cluster, ledger) = cluster().await;
    let (first, lineage) = (generation("one", None), name("payers"));
    let id = first.id(ledger.trust().ledger);
    ledger.register_generation(first).await.unwrap();
    assert!(matches!(denied(&cluster, None).await, Some(Denial::UnregisteredGeneration { .. })));
    assert!(matches!(
        denied(&cluster, Some(id)).await,
        Some(Denial::QuarantinedGeneration { number: 1, .. })
    ));
    ledger.release_generation(lineage.clone(), id, &[]).await.unwrap();
    assert_eq!(denied(&cluster, Some(id)).await, None);

    let second = generation("two", Some(id));
    let next = second.id(ledger.trust().ledger);
    ledger.register_generation(second).await.unwrap();
    ledger.release_generation(lineage.clone(), next, &[]).await.unwrap();
    assert!(matches!(denied(&cluster, Some(id)).await, Some(Denial::SupersededGeneration { number: 1, .. })));
    assert_eq!(denied(&cluster, Some(next)).await, None);
    ledger.roll_back(lineage, 1, id).await.unwrap();
    assert_eq!(denied(&cluster, Some(id)).await, None);
    assert!(matches!(
        denied(&cluster, Some(next)).await,
        Some(Denial::SupersededGeneration { number: 2, .. })
    ));
}

#[tokio::test]
async fn what_a_lineage_keeps_to_is_loosened_by_several() {
    let (cluster, ledger) = cluster().await;
    let other = SigningKey::from_bytes(&[12; 32]);
    let everything = || Patterns::collect(["*"]).unwrap();
    let scope = Scope { agents: everything(), actions: everything(), resources: everything() };
    let roles = vec![Role::Operator];
    ledger
        .add_principal(Principal { key: public(&other), name: name("second"), roles, scope })
        .await
        .unwrap();
    let policy = LineagePolicy { quarantine: true, threshold: 2, in_service_max: 1 };
    let only_reads =
        LineageConstraints { actions: Patterns::collect(["read"]).unwrap(), ..LineageConstraints::default() };
    let set = async |constraints: &LineageConstraints, operators: &[&SigningKey]| {
        ledger.set_lineage(name("payers"), policy, constraints.clone(), operators).await
    };
    set(&only_reads, &[]).await.unwrap();
    assert!(matches!(
        denied(&cluster, None).await,
        Some(Denial::LineageConstraint { outside: "action", .. })
    ));
    let free = LineageConstraints::default();
    assert_eq!(refused(set(&free, &[]).await), "too_few_operators");
    set(&free, &[&other]).await.unwrap();
    assert_eq!(denied(&cluster, None).await, None);

    // A release takes as many; and who is named twice signs once, which is no command at all.
    let first = generation("one", None);
    let id = first.id(ledger.trust().ledger);
    ledger.register_generation(first).await.unwrap();
    let release =
        async |reviewers: &[&SigningKey]| ledger.release_generation(name("payers"), id, reviewers).await;
    assert_eq!(refused(release(&[]).await), "too_few_reviewers");
    let twice = release(&[&other, &other]).await;
    assert!(matches!(twice, Err(SubmitError::Command(_))), "{twice:?}");
    release(&[&other]).await.unwrap();
    assert_eq!(denied(&cluster, Some(id)).await, None);
}

#[tokio::test]
async fn a_halt_of_the_lineage_stops_its_agents_until_it_is_resumed() {
    let (cluster, ledger) = cluster().await;
    let halt = ledger.halt(HaltScope::Lineage(name("payers")), "model recalled").await.unwrap();
    let stopped = denied(&cluster, None).await;
    let Some(Denial::Halted { reason, cause, .. }) = stopped else { panic!("{stopped:?}") };
    assert_eq!((reason.as_str(), cause.index), ("model recalled", halt.index));
    assert_eq!(refused(ledger.resume(halt.index, Hash::ZERO).await), "other_halt");
    ledger.resume(halt.index, halt.command.command_hash()).await.unwrap();
    assert_eq!(denied(&cluster, None).await, None);
}

#[tokio::test]
async fn a_delegations_condition_is_checked_against_its_schema() {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect().await;
    let key = SigningKey::from_bytes(&[9; 32]);
    ledger.register_agent(name("bot"), name("ann"), Some(public(&key))).await.unwrap();
    ledger.register_agent(name("helper"), name("ann"), None).await.unwrap();
    let parent = ledger.grant(terms()).await.unwrap().grant.unwrap();
    let schema = "entity Agent, Resource; action pay appliesTo { principal: [Agent], resource: [Resource], \
                  context: { args: { amount: Long }, ledger: {} } };";
    let narrowed = |argument: &str| {
        let text = format!("permit(principal, action, resource) when {{ context.args.{argument} <= 5 }};");
        let condition = Some(Condition::new(text).unwrap());
        Terms { agent: name("helper"), delegable_depth: 0, condition, ..terms() }
    };
    let schema = || Schema::new(schema).unwrap();
    let misspelt = ledger.delegate_checked(parent, narrowed("amuont"), schema(), &key).await;
    assert_eq!(refused(misspelt), "bad_condition");
    let delegated = ledger.delegate_checked(parent, narrowed("amount"), schema(), &key).await.unwrap();
    assert!(matches!(&delegated.command.command().body, Body::Delegate { schema: Some(_), .. }));
}
