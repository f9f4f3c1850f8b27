//! Halts, lineages, decisions, and grants with more than names in them: what is no command, and what the ledger
//! does not allow.

use chancery_client::{Args, Ledger, SigningKey};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Bound, BoundKind, Bounds, DecisionId, DecisionRef, Digests, Generation,
    GenerationId, GrantId, HaltScope, Identifier, LineageConstraints, LineagePolicy, OutcomeKind, Patterns,
    Per, Principal, Role, Scope, SignedCommand, Terms,
};
use chancery_ledger::condition::{Condition, Schema};
use chancery_ledger::hash::Hash;

use crate::commands::{expect, key, public};
use crate::harness::{name, register, terms};
use crate::{House, READER};

/// Where everything below is tried, and who may not try it.
struct Desk {
    operator: Ledger,
    halter: Ledger,
    resumer: Ledger,
    gate: Ledger,
    /// May do everything, to the agents below `bots/` alone.
    scoped: SigningKey,
}

/// A case: what it is, the command, and the code with which it is refused.
type Case = (&'static str, SignedCommand, &'static str);

pub(crate) async fn refused(house: &mut House) {
    let scoped = key();
    let scope = Scope {
        agents: Patterns::collect(["bots/*"]).unwrap(),
        actions: Patterns::collect(["read"]).unwrap(),
        resources: Patterns::collect(["documents/*"]).unwrap(),
    };
    let (roles, label) = (Role::ALL.to_vec(), name("bots-desk"));
    let principal = Principal { key: public(&scoped), name: label, roles, scope };
    house.operator.add_principal(principal).await.unwrap();
    let desk = Desk {
        operator: house.cluster.connect("operator").await,
        halter: house.cluster.connect("halter").await,
        resumer: house.cluster.connect("resumer").await,
        gate: house.cluster.connect("gate").await,
        scoped,
    };
    let mut cases = desk.halts().await;
    cases.extend(desk.lineages(house).await);
    cases.extend(desk.generations(house).await);
    cases.extend(desk.outcomes().await);
    cases.extend(desk.grants(house).await);
    // What they are tried upon is in the log.
    house.count_leaves().await;
    for (case, signed, code) in cases {
        expect(house, case, &signed, code).await;
    }
}

impl Desk {
    /// A command by who may speak of the agents below `bots/` alone.
    fn scoped(&self, body: Body) -> SignedCommand {
        self.operator.sign_as(&self.scoped, body, &[]).unwrap()
    }

    async fn halts(&self) -> Vec<Case> {
        let halt = |scope| Body::Halt { scope, reason: "why".into() };
        let resume = |cause: &(u64, Hash)| Body::Resume { halt: cause.0, halt_command: cause.1 };
        let halted = async |agent: &str| {
            let receipt = self.halter.halt(HaltScope::Agent(name(agent)), "parked").await.unwrap();
            (receipt.index, receipt.command.command_hash())
        };
        let (lasting, ended) = (halted("parked").await, halted("bots/parked").await);
        self.resumer.resume(ended.0, ended.1).await.unwrap();
        let nowhere = GrantId(Hash::of(&[b"no such grant"]));
        let by = |ledger: &Ledger, body| ledger.sign(body, &[]).unwrap();
        vec![
            ("a halt by no halter", by(&self.operator, halt(HaltScope::Everything)), "wrong_role"),
            ("a halt of more than one may", self.scoped(halt(HaltScope::Everything)), "out_of_scope"),
            ("a halt of another's agent", self.scoped(halt(HaltScope::Agent(name(READER)))), "out_of_scope"),
            (
                "a halt of another's lineage",
                self.scoped(halt(HaltScope::Lineage(name("line")))),
                "out_of_scope",
            ),
            ("a halt below no grant", by(&self.halter, halt(HaltScope::Subtree(nowhere))), "unknown_grant"),
            ("a resumption by no resumer", by(&self.halter, resume(&lasting)), "wrong_role"),
            ("a resumption of nothing", by(&self.resumer, resume(&(0, lasting.1))), "unknown_halt"),
            ("a resumption of another halt", by(&self.resumer, resume(&(lasting.0, ended.1))), "other_halt"),
            ("a resumption out of scope", self.scoped(resume(&lasting)), "out_of_scope"),
            ("a resumption of what goes on", self.scoped(resume(&ended)), "halt_ended"),
        ]
    }

    async fn lineages(&self, house: &House) -> Vec<Case> {
        let policy = LineagePolicy { quarantine: true, threshold: 1, in_service_max: 1 };
        let reads =
            LineageConstraints { actions: Patterns::collect(["read"]).unwrap(), ..Default::default() };
        self.operator.set_lineage(name("line"), policy, reads.clone(), &[]).await.unwrap();
        let set = |policy, constraints: &LineageConstraints, operators| Body::SetLineage {
            lineage: name("line"),
            policy,
            constraints: constraints.clone(),
            operators,
        };
        let free = LineageConstraints::default();
        let far = LineagePolicy { threshold: 64, ..policy };
        let stranger = key();
        let with_stranger = set(policy, &free, vec![public(&stranger)]);
        let by = |ledger: &Ledger, body| ledger.sign(body, &[]).unwrap();
        vec![
            ("a lineage set by a revoker", by(&house.revoker, set(policy, &free, vec![])), "wrong_role"),
            ("a lineage set by another's", self.scoped(set(policy, &free, vec![])), "out_of_scope"),
            (
                "a lineage that is so already",
                by(&self.operator, set(policy, &reads, vec![])),
                "lineage_unchanged",
            ),
            (
                "a threshold that nobody reaches",
                by(&self.operator, set(far, &reads, vec![])),
                "threshold_out_of_reach",
            ),
            (
                "a lineage loosened by an issuer",
                by(&house.issuer, set(policy, &free, vec![])),
                "too_few_operators",
            ),
            (
                "a lineage loosened with a stranger",
                self.operator.sign(with_stranger, &[&stranger]).unwrap(),
                "unknown_operator",
            ),
        ]
    }

    async fn generations(&self, house: &House) -> Vec<Case> {
        let id = |generation: &Generation| generation.id(house.issuer.trust().ledger);
        let first = made("line", 1, None);
        let second = made("line", 2, Some(id(&first)));
        let third = made("line", 3, Some(id(&second)));
        for generation in [&first, &second, &third] {
            house.issuer.register_generation(generation.clone()).await.unwrap();
        }
        for released in [&first, &second] {
            self.operator.release_generation(name("line"), id(released), &[]).await.unwrap();
        }
        let two = LineagePolicy { quarantine: true, threshold: 2, in_service_max: 1 };
        self.operator.set_lineage(name("careful"), two, Default::default(), &[]).await.unwrap();
        let careful = made("careful", 1, None);
        house.issuer.register_generation(careful.clone()).await.unwrap();

        let registered = |generation: Generation| Body::RegisterGeneration(Box::new(generation));
        let release = |lineage: &str, generation, reviewers| Body::ReleaseGeneration {
            lineage: name(lineage),
            generation,
            reviewers,
        };
        let back = |number, generation| Body::RollbackLineage { lineage: name("line"), number, generation };
        let nothing = GenerationId(Hash::of(&[b"no such generation"]));
        let stranger = key();
        let with_stranger = release("line", id(&third), vec![public(&stranger)]);
        let (operator, issuer) = (&self.operator, &house.issuer);
        let by = |ledger: &Ledger, body| ledger.sign(body, &[]).unwrap();
        let orphan = registered(made("line", 9, Some(nothing)));
        vec![
            (
                "a generation by a revoker",
                by(&house.revoker, registered(made("line", 9, None))),
                "wrong_role",
            ),
            ("a generation of another's lineage", self.scoped(registered(first.clone())), "out_of_scope"),
            ("a generation from nothing", by(issuer, registered(made("line", 9, None))), "parent_needed"),
            ("a generation of an unknown one", by(issuer, orphan), "unknown_generation"),
            ("a release by an issuer", by(issuer, release("line", id(&third), vec![])), "wrong_role"),
            (
                "a release in another's lineage",
                self.scoped(release("line", id(&third), vec![])),
                "out_of_scope",
            ),
            ("a release of nothing", by(operator, release("line", nothing, vec![])), "unknown_generation"),
            (
                "a release of what is released",
                by(operator, release("line", id(&second), vec![])),
                "in_service",
            ),
            ("a release of what is older", by(operator, release("line", id(&first), vec![])), "superseded"),
            (
                "a release with a stranger",
                operator.sign(with_stranger, &[&stranger]).unwrap(),
                "unknown_reviewer",
            ),
            (
                "a release by too few",
                by(operator, release("careful", id(&careful), vec![])),
                "too_few_reviewers",
            ),
            ("a way back for a revoker", by(&house.revoker, back(1, id(&first))), "wrong_role"),
            ("a way back in another's lineage", self.scoped(back(1, id(&first))), "out_of_scope"),
            ("a way back to nothing", by(operator, back(1, nothing)), "unknown_generation"),
            ("a way back to another", by(operator, back(2, id(&first))), "other_generation"),
            ("a way back to what never acted", by(operator, back(3, id(&third))), "not_released"),
            ("a way back to where it is", by(operator, back(2, id(&second))), "not_older"),
        ]
    }

    async fn outcomes(&self) -> Vec<Case> {
        let request = Args::from("").request([name(READER), name("read"), name("documents/1")]);
        let asked = Authorize::of(request, 1_000);
        let signed = self.gate.sign(Body::Authorize(asked), &[]).unwrap();
        let verdict = self.gate.submit(&signed).await.unwrap().verdict.unwrap();
        assert!(verdict.is_permit(), "{verdict:?}");
        let id = DecisionId::of(self.gate.trust().ledger, signed.command_bytes());
        let decision = DecisionRef { agent: name(READER), number: verdict.number, id };
        self.gate.outcome(decision.clone(), OutcomeKind::Failed, None).await.unwrap();
        let said =
            |kind| Body::Outcome(ActionOutcome { decision: decision.clone(), kind, result_digest: None });
        let by = |ledger: &Ledger, body| ledger.sign(body, &[]).unwrap();
        let (executed, undone) = (said(OutcomeKind::Executed), said(OutcomeKind::Compensated));
        vec![
            ("an outcome by another's gate", self.scoped(executed.clone()), "out_of_scope"),
            ("another outcome", by(&self.gate, executed), "outcome_recorded"),
            ("what failed, undone", by(&self.gate, undone), "outcome_recorded"),
        ]
    }

    async fn grants(&self, house: &House) -> Vec<Case> {
        let (issuer, holder) = (&house.issuer, key());
        register(issuer, "bots/1").await;
        let owner = name("ada@example.com");
        issuer.register_agent(name("bots/2"), owner, Some(public(&holder))).await.unwrap();
        let wide = Terms { delegable_depth: 1, ..terms("bots/2") };
        let parent = issuer.grant(wide.clone()).await.unwrap().grant.unwrap();
        let one = |key: &str| Bound {
            name: Identifier::new("reads").unwrap(),
            kind: BoundKind::Count,
            limit: 1,
            per: Per::Key(name(key)),
        };
        let bounded = |key: &str| Terms {
            not_after_ms: wide.not_after_ms,
            bounds: Bounds::collect([one(key)]).unwrap(),
            ..terms("bots/1")
        };
        let misspelt = "permit(principal, action, resource) when { context.args.amuont <= 5 };";
        let schema = "entity Agent, Resource; action read appliesTo { principal: [Agent], \
                      resource: [Resource], context: { args: { amount: Long } } };";
        let checked = Body::Grant {
            terms: Terms { condition: Some(Condition::new(misspelt).unwrap()), ..terms(READER) },
            schema: Some(Schema::new(schema).unwrap()),
        };
        let no_schema = Body::Grant {
            terms: Terms { condition: Some(Condition::new(misspelt).unwrap()), ..terms(READER) },
            schema: Some(Schema::new("entity").unwrap()),
        };
        let foreign = Body::delegate(parent, bounded("documents/shared"));
        let by = |ledger: &Ledger, body| ledger.sign(body, &[]).unwrap();
        vec![
            ("a condition that its schema does not allow", by(issuer, checked), "bad_condition"),
            ("a schema that is none", by(issuer, no_schema), "bad_condition"),
            ("a bound of another's key", self.scoped(Body::grant(bounded("vault/1"))), "out_of_scope"),
            (
                "a delegation that shares another key",
                issuer.sign_as(&holder, foreign, &[]).unwrap(),
                "widens",
            ),
        ]
    }
}

fn made(lineage: &str, model: u8, parent: Option<GenerationId>) -> Generation {
    let (model, same) = (Hash::of(&[&[model]]), Hash::of(&[b"the same"]));
    let digests = Digests { model, prompt: same, tools: same, parameters: same, memory: same };
    Generation { lineage: name(lineage), parent, digests }
}
