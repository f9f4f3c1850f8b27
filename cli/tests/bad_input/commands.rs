//! Commands that are none, or that the ledger does not allow.

use chancery_client::{Args, Context, SigningKey, SubmitError};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Command, DecisionId, DecisionRef, GrantId, LedgerId, OutcomeKind,
    Patterns, Principal, PublicKey, RequestId, Role, Scope, SignedCommand, Terms,
};
use chancery_ledger::condition::{Condition, Schema};
use chancery_ledger::hash::Hash;
use chancery_proto::v1 as wire_types;
use chancery_proto::v1::api::SubmitRequest;
use ed25519_dalek::Signer;
use prost::Message;
use tonic::Code;

use crate::harness::{NODES, name, now_ms, register, terms};
use crate::wire::{Papers, client, refusal};
use crate::{House, READER};

pub(crate) async fn refused(house: &mut House) {
    malformed(house).await;
    not_of_this_ledger(house).await;
    not_allowed(house).await;
    delegations(house).await;
    decisions(house).await;
    on_the_command_line(house).await;
}

pub(crate) fn key() -> SigningKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    SigningKey::from_bytes(&seed)
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(crate) fn issuer_key(house: &House) -> SigningKey {
    Context::open(house.cluster.ledger_folder().join("contexts/issuer")).unwrap().key.unwrap()
}

pub(crate) fn command(key: &SigningKey, body: Body) -> Command {
    let mut request_id = RequestId([0; 16]);
    getrandom::fill(&mut request_id.0).unwrap();
    Command { signer: public(key), request_id, not_after_ms: now_ms() + 60_000, body }
}

pub(crate) fn registration() -> Body {
    Body::RegisterAgent { agent: name("never"), owner: name("ada@example.com"), key: None, lineage: None }
}

/// Any bytes, signed as a command is.
pub(crate) fn signed_bytes(ledger: LedgerId, key: &SigningKey, command: Vec<u8>) -> Vec<u8> {
    let message = [&b"chancery/command/v1\0"[..], ledger.0.as_bytes(), &command].concat();
    let signature = key.sign(&message).to_bytes().to_vec();
    let signature = wire_types::Signature { key: public(key).0.to_vec(), signature, batch: None };
    wire_types::SignedCommand { command, signatures: vec![signature] }.encode_to_vec()
}

async fn malformed(house: &mut House) {
    let papers = Papers::of_principal(&house.cluster, "issuer");
    let mut clients: Vec<_> = (1..=NODES).map(|node| client(&house.cluster, node, &papers)).collect();
    let (key, ledger) = (issuer_key(house), house.issuer.trust().ledger);
    let good = SignedCommand::sign(ledger, &command(&key, registration()), &[&key]).unwrap();
    let (encoded, inner) = (good.encode(), good.command_bytes().to_vec());
    assert_eq!(signed_bytes(ledger, &key, inner.clone()), encoded, "the cases below are signed well");

    for length in 0..encoded.len() {
        let client = &mut clients[length % 3];
        let code = refusal(client, encoded[..length].to_vec()).await;
        // Cut where the signatures begin, it is whole but unsigned.
        assert!(["malformed", "wrong_signers"].contains(&code.as_str()), "cut at {length}: {code}");
    }
    house.unharmed("truncated commands").await;

    let unknown_field = [0x78, 0x01];
    let oversized = |size_bytes: usize| {
        let body = wire_types::RevokeAgent { agent: "reader".into(), reason: "x".repeat(size_bytes) };
        let mut huge = wire_types::Command::decode(&inner[..]).unwrap();
        huge.body = Some(wire_types::command::Body::RevokeAgent(body));
        signed_bytes(ledger, &key, huge.encode_to_vec())
    };
    let unknown_role = {
        let admitted = Principal {
            key: PublicKey([7; 32]),
            name: name("p"),
            roles: vec![Role::Gate],
            scope: Scope::default(),
        };
        let good =
            SignedCommand::sign(ledger, &command(&key, Body::AddPrincipal(admitted)), &[&key]).unwrap();
        let mut odd = wire_types::Command::decode(good.command_bytes()).unwrap();
        let Some(wire_types::command::Body::AddPrincipal(add)) = &mut odd.body else { panic!("{odd:?}") };
        add.principal.as_mut().unwrap().roles = vec![99];
        signed_bytes(ledger, &key, odd.encode_to_vec())
    };
    let too_deep = {
        let good =
            SignedCommand::sign(ledger, &command(&key, Body::grant(terms("reader"))), &[&key]).unwrap();
        let mut deep = wire_types::Command::decode(good.command_bytes()).unwrap();
        let Some(wire_types::command::Body::Grant(grant)) = &mut deep.body else { panic!("{deep:?}") };
        grant.terms.as_mut().unwrap().delegable_depth = 9;
        signed_bytes(ledger, &key, deep.encode_to_vec())
    };
    for (case, bytes) in [
        ("a grant deeper than any ledger allows", too_deep),
        ("a trailing byte", [&encoded[..], &[0]].concat()),
        ("an unknown field around the command", [&encoded[..], &unknown_field].concat()),
        (
            "an unknown field in the command",
            signed_bytes(ledger, &key, [&inner[..], &unknown_field].concat()),
        ),
        ("an unknown role", unknown_role),
        ("no body", signed_bytes(ledger, &key, inner[..2 + 32 + 2 + 16].to_vec())),
        ("nothing but zeros", vec![0; 300]),
        ("a command of 17 KiB", oversized(17 * 1024)),
        ("a command of 60 KiB", oversized(60 * 1024)),
    ] {
        for client in &mut clients {
            assert_eq!(refusal(client, bytes.clone()).await, "malformed", "{case}");
        }
        house.unharmed(case).await;
    }
    for client in &mut clients {
        let request = SubmitRequest { signed_command: oversized(70 * 1024) };
        let status = client.submit(request).await.unwrap_err();
        assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()), "{status:?}");
    }
    house.unharmed("a request of 70 KiB").await;
}

async fn not_of_this_ledger(house: &mut House) {
    let (key, ledger) = (issuer_key(house), house.issuer.trust().ledger);
    let other = LedgerId(Hash::of(&[b"another ledger"]));
    let command = command(&key, registration());
    let elsewhere = SignedCommand::sign(other, &command, &[&key]).unwrap();
    expect(house, "another ledger's command", &elsewhere, "bad_signature").await;
    let unsigned = SignedCommand::sign(ledger, &command, &[]).unwrap();
    expect(house, "a command without a signature", &unsigned, "wrong_signers").await;
    let by_another = SignedCommand::sign(ledger, &command, &[&self::key()]).unwrap();
    expect(house, "a command that another key signed", &by_another, "wrong_signers").await;
    let stranger = self::key();
    let strange = house.issuer.sign_as(&stranger, registration(), &[]).unwrap();
    expect(house, "an unknown key's command", &strange, "unknown_principal").await;
}

async fn not_allowed(house: &mut House) {
    let (key, ledger) = (issuer_key(house), house.issuer.trust().ledger);
    let scoped = self::key();
    let scope = Scope {
        agents: Patterns::collect(["bots/*"]).unwrap(),
        actions: Patterns::collect(["read"]).unwrap(),
        resources: Patterns::collect(["documents/*"]).unwrap(),
    };
    let principal =
        Principal { key: public(&scoped), name: name("bots-issuer"), roles: vec![Role::Issuer], scope };
    house.operator.add_principal(principal).await.unwrap();
    house.count_leaves().await;

    let wide = Terms { actions: Patterns::collect(["*"]).unwrap(), ..terms("reader") };
    let under =
        |text: &str| Body::grant(Terms { condition: Some(Condition::new(text).unwrap()), ..terms("reader") });
    let bare = Body::Grant { terms: terms("reader"), schema: Some(Schema::new("entity Agent;").unwrap()) };
    for (case, signed, code) in [
        ("a role that may not", house.revoker.sign(Body::grant(terms("reader")), &[]), "wrong_role"),
        ("a scope that does not extend", house.issuer.sign_as(&scoped, registration(), &[]), "out_of_scope"),
        ("a grant out of scope", house.issuer.sign_as(&scoped, Body::grant(wide), &[]), "out_of_scope"),
        (
            "a condition that never holds",
            house.issuer.sign(under("forbid(principal, action, resource);"), &[]),
            "bad_condition",
        ),
        ("a condition that is none", house.issuer.sign(under("permit"), &[]), "bad_condition"),
        (
            "a condition with a slot",
            house.issuer.sign(under("permit(principal == ?principal, action, resource);"), &[]),
            "bad_condition",
        ),
        (
            "a condition that is too deep",
            house.issuer.sign(
                under(&format!("permit(principal, action, resource) when {{ {} }};", "(".repeat(3_000))),
                &[],
            ),
            "bad_condition",
        ),
        ("a schema for nothing", house.issuer.sign(bare, &[]), "schema_without_condition"),
        ("a grant to nobody", house.issuer.sign(Body::grant(terms("ghost")), &[]), "unknown_agent"),
    ] {
        expect(house, case, &signed.unwrap(), code).await;
    }
    for (case, not_after_ms, code) in [
        ("a command that has ended", now_ms() - 60_000, "expired"),
        ("a command that ends in 25 hours", now_ms() + 25 * 3_600_000, "too_far_ahead"),
        ("a command that never ends", u64::MAX, "too_far_ahead"),
    ] {
        let command = Command { not_after_ms, ..command(&key, registration()) };
        let signed = SignedCommand::sign(ledger, &command, &[&key]).unwrap();
        expect(house, case, &signed, code).await;
    }
}

async fn delegations(house: &mut House) {
    let keys: Vec<SigningKey> = (0..3).map(|_| key()).collect();
    for (number, key) in keys.iter().enumerate() {
        let agent = name(&format!("chain/{number}"));
        house.issuer.register_agent(agent, name("ada@example.com"), Some(public(key))).await.unwrap();
    }
    register(&house.issuer, "chain/3").await;
    let link = |number: u32| Terms { delegable_depth: 2 - number, ..terms(&format!("chain/{number}")) };
    // Never longer than what they are narrowed from.
    let ends_ms = link(0).not_after_ms;
    let link = |number: u32| Terms { not_after_ms: ends_ms, ..link(number) };
    let first = house.issuer.grant(link(0)).await.unwrap().grant.unwrap();
    let second = house.issuer.delegate(first, link(1), &keys[0]).await.unwrap().grant.unwrap();
    let third = house.issuer.delegate(second, link(2), &keys[1]).await.unwrap().grant.unwrap();
    house.count_leaves().await;

    let last = Terms { delegable_depth: 0, not_after_ms: ends_ms, ..terms("chain/3") };
    let wider = |actions: &str| Terms { actions: Patterns::collect([actions]).unwrap(), ..last.clone() };
    let anywhere = Terms { resources: Patterns::collect(["*"]).unwrap(), ..last.clone() };
    let longer = Terms { not_after_ms: ends_ms + 1, ..last.clone() };
    let staler = Terms { max_staleness_ms: 2_001, ..last.clone() };
    let deeper = Terms { delegable_depth: 1, ..last.clone() };
    let nowhere = GrantId(Hash::of(&[b"no such grant"]));
    for (case, parent, terms, key, code) in [
        ("a delegation of other actions", second, wider("*"), 1, "widens"),
        ("a delegation of other resources", second, anywhere, 1, "widens"),
        ("a delegation that lasts longer", second, longer, 1, "widens"),
        ("a delegation that may be staler", second, staler, 1, "widens"),
        ("a delegation that may be delegated as often", second, deeper, 1, "too_deep"),
        ("a delegation of what is not delegable", third, last.clone(), 2, "too_deep"),
        ("a delegation that loops", second, Terms { delegable_depth: 0, ..link(0) }, 1, "loops"),
        ("a delegation to oneself", second, Terms { delegable_depth: 0, ..link(1) }, 1, "loops"),
        ("a delegation by another agent", second, last.clone(), 0, "not_the_holder"),
        ("a delegation of nothing", nowhere, last.clone(), 0, "unknown_grant"),
    ] {
        let signed = house.issuer.sign_as(&keys[key], Body::delegate(parent, terms), &[]).unwrap();
        expect(house, case, &signed, code).await;
    }
}

async fn decisions(house: &mut House) {
    let (gate, scoped) = (key(), key());
    let everything = || Patterns::collect(["*"]).unwrap();
    for (key, label, agents) in
        [(&gate, "recorder", everything()), (&scoped, "bots-gate", Patterns::collect(["bots/*"]).unwrap())]
    {
        let scope = Scope { agents, actions: everything(), resources: everything() };
        let principal = Principal { key: public(key), name: name(label), roles: vec![Role::Gate], scope };
        house.operator.add_principal(principal).await.unwrap();
    }
    let asked = |agent: &str| {
        Authorize::of(Args::from("").request([name(agent), name("read"), name("documents/1")]), 1_000)
    };
    let denied = Authorize { action: name("write"), ..asked(READER) };
    let denied = house.issuer.sign_as(&gate, Body::Authorize(denied), &[]).unwrap();
    let receipt = house.issuer.submit(&denied).await.unwrap();
    let id = DecisionId::of(house.issuer.trust().ledger, denied.command_bytes());
    let decision = DecisionRef { agent: name(READER), number: receipt.verdict.unwrap().number, id };
    house.count_leaves().await;

    let astray = DecisionRef { number: decision.number + 1, ..decision.clone() };
    let executed = |decision: &DecisionRef| {
        let kind = OutcomeKind::Executed;
        Body::Outcome(ActionOutcome { decision: decision.clone(), kind, result_digest: None })
    };
    let late = Authorize { execute_within_ms: 3_600_001, ..asked(READER) };
    let orphan = Authorize { parent: Some(astray.clone()), ..asked(READER) };
    let issuer = issuer_key(house);
    for (case, key, body, code) in [
        ("a decision about nobody", &gate, Body::Authorize(asked("ghost")), "unknown_agent"),
        ("a decision by no gate", &issuer, Body::Authorize(asked(READER)), "wrong_role"),
        ("a decision by another's gate", &scoped, Body::Authorize(asked(READER)), "out_of_scope"),
        ("a decision for the day after", &gate, Body::Authorize(late), "execution_too_late"),
        ("a decision that none led to", &gate, Body::Authorize(orphan), "unknown_decision"),
        ("an outcome of nothing", &gate, executed(&astray), "unknown_decision"),
        ("an outcome of a denial", &gate, executed(&decision), "decision_denied"),
        ("an outcome by no gate", &issuer, executed(&decision), "wrong_role"),
    ] {
        let signed = house.issuer.sign_as(key, body, &[]).unwrap();
        expect(house, case, &signed, code).await;
    }
}

async fn on_the_command_line(house: &mut House) {
    let context = house.cluster.ledger_folder().join("contexts/issuer");
    let mut grant = house.cluster.chancery();
    grant.args(["grant", "ghost", "--action", "read", "--resource", "documents/*", "--output", "json"]);
    let output = grant.arg("--context").arg(context).output().unwrap();
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["outcome"], &said["code"]), (&"refused".into(), &"unknown_agent".into()));
    house.unharmed("a grant to nobody on the command line").await;
}

/// Demands that every node refuses the command, and that the SDK says so.
pub(crate) async fn expect(house: &mut House, case: &str, signed: &SignedCommand, code: &str) {
    let papers = Papers::of_principal(&house.cluster, "issuer");
    for node in 1..=NODES {
        let found = refusal(&mut client(&house.cluster, node, &papers), signed.encode()).await;
        assert_eq!(found, code, "{case}, at node {node}");
    }
    match house.issuer.submit(signed).await {
        Err(SubmitError::Refused { code: found, .. }) => assert_eq!(found, code, "{case}"),
        other => panic!("{case}: {other:?}"),
    }
    house.unharmed(case).await;
}
