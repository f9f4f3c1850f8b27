//! A model is swapped: two generations of one agent, made of different models, behind one gate. They have the same
//! authority and spend the same bounds, and one halt stops both.

use chancery_client::{Args, AuthorizeError, CheckError, JsonArgs, Ledger};
use chancery_ledger::authority::GrantRef;
use chancery_ledger::command::{
    Authorize, Bound, BoundKind, Bounds, DecisionRef, Digests, Generation, GenerationId, HaltScope,
    Identifier, LineageConstraints, LineagePolicy, OutcomeKind, Patterns, Per, Terms,
};
use chancery_ledger::decide::{Denial, Request};
use chancery_ledger::hash::Hash;

use tokio::time::Instant;

use crate::harness::{Cluster, PATIENCE, name, terms};

/// What the agent may refund in all, whichever model it runs on.
const MONEY: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_models_share_one_authority_its_bounds_and_its_halts() {
    let cluster = Cluster::start().await;
    let issuer = cluster.connect("issuer").await;
    let [one, two] = found(&cluster, &issuer).await;
    let gate = Gate(cluster.connect("gate").await);

    // The same authority: what one may, the other may, by the same grant; and what one may not.
    assert_eq!(gate.reads(one).await.unwrap(), gate.reads(two).await.unwrap());
    for model in [one, two] {
        assert!(matches!(gate.decide(model, "pay", 1).await, Err(Denial::NoGrant)));
    }
    let rewritten = made_of("model three", Some(two)).id(issuer.trust().ledger);
    let denied = gate.decide(rewritten, "refund", 1).await;
    assert!(matches!(denied, Err(Denial::UnregisteredGeneration { .. })), "{denied:?}");

    // The same bounds: what the first spent, the second has not.
    let refund = gate.decide(one, "refund", 60).await.unwrap();
    assert_eq!(gate.left(two).await, MONEY - 60);
    let denied = gate.decide(two, "refund", 60).await;
    assert!(matches!(denied, Err(Denial::BoundExhausted { used: 60, wanted: Some(60), .. })), "{denied:?}");
    gate.0.outcome(refund, OutcomeKind::Executed, None).await.unwrap();
    let rest = gate.decide(two, "refund", 40).await.unwrap();
    for model in [one, two] {
        let denied = gate.decide(model, "refund", 1).await;
        assert!(matches!(denied, Err(Denial::BoundExhausted { used: MONEY, .. })), "{denied:?}");
    }
    gate.0.outcome(rest, OutcomeKind::Failed, None).await.unwrap();

    // One halt stops both, and both go on when it ends.
    let halter = cluster.connect("halter").await;
    let halt = halter.halt(HaltScope::Lineage(name("desks")), "the harness is at fault").await.unwrap();
    for model in [one, two] {
        let Err(Denial::Halted { cause, .. }) = gate.reads(model).await else { panic!("it is halted") };
        assert_eq!(cause.index, halt.index);
        let denied = gate.decide(model, "refund", 1).await;
        assert!(matches!(denied, Err(Denial::Halted { .. })), "{denied:?}");
    }
    told(&cluster, [one, two]).await;
    let resumer = cluster.connect("resumer").await;
    resumer.resume(halt.index, halt.command.command_hash()).await.unwrap();
    assert_eq!(gate.reads(one).await.unwrap(), gate.reads(two).await.unwrap());
}

/// The agent `desk` of the lineage `desks`, with two generations in service that differ in nothing but the model.
async fn found(cluster: &Cluster, issuer: &Ledger) -> [GenerationId; 2] {
    let operator = cluster.connect("operator").await;
    let policy = LineagePolicy { quarantine: true, threshold: 1, in_service_max: 2 };
    let free = LineageConstraints::default();
    operator.set_lineage(name("desks"), policy, free, &[]).await.unwrap();
    let owner = name("ada@example.com");
    issuer.register_agent_of(name("desks"), name("desk"), owner, None).await.unwrap();
    issuer.grant(terms("desk")).await.unwrap();
    let identifier = |text: &str| Identifier::new(text).unwrap();
    let kind = BoundKind::Sum { argument: identifier("amount") };
    let money = Bound { name: identifier("money"), kind, limit: MONEY, per: Per::Grant };
    let refunds = Terms {
        actions: Patterns::collect(["refund"]).unwrap(),
        bounds: Bounds::collect([money]).unwrap(),
        ..terms("desk")
    };
    issuer.grant(refunds).await.unwrap();
    let first = made_of("model one", None);
    let one = first.id(issuer.trust().ledger);
    let second = made_of("model two", Some(one));
    let two = second.id(issuer.trust().ledger);
    for (generation, id) in [(first, one), (second, two)] {
        issuer.register_generation(generation).await.unwrap();
        operator.release_generation(name("desks"), id, &[]).await.unwrap();
    }
    [one, two]
}

fn made_of(model: &str, parent: Option<GenerationId>) -> Generation {
    let (model, same) = (Hash::of(&[model.as_bytes()]), Hash::of(&[b"the harness"]));
    let digests = Digests { model, prompt: same, tools: same, parameters: same, memory: same };
    Generation { lineage: name("desks"), parent, digests }
}

/// The harness: it puts each call of the agent before the ledger, whichever model made it.
struct Gate(Ledger);

impl Gate {
    fn asks(generation: GenerationId, action: &str, args: &JsonArgs) -> Request {
        let names = [name("desk"), name(action), name("documents/7")];
        Request { generation: Some(generation), ..Args::Json(args).request(names) }
    }

    /// The chain that lets it read, or why it may not.
    async fn reads(&self, generation: GenerationId) -> Result<Vec<GrantRef>, Denial> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = Self::asks(generation, "read", &amount(0));
            match self.0.check_with(asked, self.0.check_options()).await {
                Ok(permit) => return Ok(permit.authority().chain.clone()),
                Err(CheckError::Denied(denied)) => return Err(denied.denial),
                // The machine was so slow that the permit had ended when it came.
                Err(error @ CheckError::Expired { .. }) => assert!(Instant::now() < deadline, "{error}"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What may still be refunded, as is proven to this generation.
    async fn left(&self, generation: GenerationId) -> u64 {
        let asked = Self::asks(generation, "refund", &amount(1));
        match self.0.check_with(asked, self.0.check_options()).await {
            Err(CheckError::Bounded(bounded)) => bounded.authority.bounds[0].left(),
            other => panic!("{other:?}"),
        }
    }

    /// The decision about a call, on record.
    async fn decide(
        &self,
        generation: GenerationId,
        action: &str,
        money: u64,
    ) -> Result<DecisionRef, Denial> {
        let asked = Self::asks(generation, action, &amount(money));
        match self.0.authorize_with(Authorize::of(asked, 60_000)).await {
            Ok(permit) => Ok(permit.decision().clone()),
            // No call is made here: it is on record, however long the machine took to tell.
            Err(AuthorizeError::Expired(decision)) => Ok(decision),
            Err(AuthorizeError::Denied(denied)) => Err(denied.denial),
            Err(error) => panic!("{error}"),
        }
    }
}

fn amount(amount: u64) -> JsonArgs {
    JsonArgs::new(format!(r#"{{"amount":{amount}}}"#)).unwrap()
}

/// What the command line tells of both, also while they are halted: what they are made of, and what they did.
async fn told(cluster: &Cluster, [one, two]: [GenerationId; 2]) {
    let listed = cluster.operate(&["generations", "list", "desk"]).await.done();
    let ids: Vec<_> = listed["generations"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&one.to_string(), &two.to_string()]);
    assert!(listed["generations"][0]["in_service"].is_null(), "the state does not show it: {listed}");

    let told = cluster.operate(&["generations", "diff", "desk", "1", "2"]).await.done();
    let changed = told["changed"].as_array().unwrap();
    assert_eq!((changed.len(), &changed[0]["what"]), (1, &"model".into()));
    let did = |side: &str, wanted: serde_json::Value| {
        for (field, wanted) in wanted.as_object().unwrap() {
            assert_eq!(told["behaviour"][side][field], *wanted, "{side}: {field}");
        }
    };
    // Each: a payment, and refunds; while halted, one.
    did(
        "from",
        serde_json::json!({
            "decisions": 4, "permits": 1,
            "actions": { "pay": { "decisions": 1, "permits": 0 }, "refund": { "decisions": 3, "permits": 1 } },
            "denials": { "no_grant": 1, "bound_exhausted": 1, "halted": 1 },
            "outcomes": { "executed": 1 },
        }),
    );
    did(
        "to",
        serde_json::json!({
            "decisions": 5, "permits": 1,
            "actions": { "pay": { "decisions": 1, "permits": 0 }, "refund": { "decisions": 4, "permits": 1 } },
            "denials": { "no_grant": 1, "bound_exhausted": 2, "halted": 1 },
            "outcomes": { "failed": 1 },
        }),
    );
    let changes = told["behaviour"]["changed"].as_array().unwrap();
    let change = serde_json::json!({ "what": "outcome", "name": "executed", "from": 1, "to": 0 });
    assert!(changes.contains(&change), "{changes:?}");
}
