//! Nodes that contradict themselves: no permit, but the proof of who lied.

use std::os::unix::fs::PermissionsExt;

use chancery_client::{CheckError, Convicted, Ledger, Options, ProofError, ReceiptError, SubmitError};
use chancery_ledger::answer::ProofError as AnswerProofError;
use chancery_ledger::command::Body;
use chancery_ledger::evidence::{Charge, Contradiction};
use tempfile::TempDir;

use crate::fake::{Cluster, Fault, World, name};

async fn connect(cluster: &Cluster) -> Ledger {
    cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await
}

/// Nodes 1 and 2 acknowledged a revocation that node 3 has not yet; the ledger as it was before that.
fn revoked(cluster: &Cluster) -> World {
    let old = cluster.world.lock().unwrap().clone();
    cluster.apply(Body::RevokeAgent { agent: name("bot"), reason: String::new() });
    old
}

/// Node 2 forgets the revocation, and answers together with node 3, which lags honestly.
fn forget(cluster: &Cluster, old: &World) {
    let mut world = cluster.world.lock().unwrap();
    world.forget_since(old);
    world.signers = vec![1, 2];
}

/// The client hears that nodes 1 and 2 have the revocation, by an answer that it does not believe.
async fn hear(cluster: &Cluster, ledger: &Ledger) {
    cluster.nodes[0].misbehave(Fault::OtherQuestion);
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    let CheckError::Unproven { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, ProofError::Answer(AnswerProofError::Undecided(_))), "{source}");
    cluster.nodes[0].misbehave(Fault::None);
}

/// Demands that `convicted` is node 2, with a file for the owner's eyes that proves it.
fn is_node_2(cluster: &Cluster, convicted: &Convicted) {
    let charge = Charge::TailBelowHead { tail_block: 2, head_block: 3 };
    assert_eq!((convicted.conviction.voter.node, convicted.conviction.charge), (2, charge));
    let file = convicted.file.as_ref().unwrap();
    assert_eq!(file, &cluster.folder.path().join("contradiction-node-2.json"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let read = Contradiction::from_json(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(read, convicted.contradiction);
    assert_eq!(read.verify(&cluster.context().trust).unwrap(), convicted.conviction);
}

async fn convicts_node_2(cluster: &Cluster, ledger: &Ledger) {
    match ledger.check("bot", "pay", "a", b"").await {
        Err(CheckError::Contradiction { convicted, .. }) => is_node_2(cluster, &convicted),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stale_quorum_is_no_permit_for_who_heard_the_liar_before() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = connect(&cluster).await;
    let old = revoked(&cluster);
    hear(&cluster, &ledger).await;
    forget(&cluster, &old);
    // One that lies and one that lags are a quorum of three: by itself the answer is good.
    let mut context = cluster.context();
    let elsewhere = TempDir::new().unwrap();
    context.folder = elsewhere.path().into();
    let permit = cluster.connect_as(context).await.check("bot", "pay", "a", b"").await.unwrap();
    permit.run(b"", || ()).unwrap();

    convicts_node_2(&cluster, &ledger).await;
    assert_eq!(ledger.convicted().len(), 1);
    is_node_2(&cluster, &ledger.convicted()[0]);
}

#[tokio::test]
async fn who_is_convicted_counts_no_more_after_a_restart_too() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = connect(&cluster).await;
    let old = revoked(&cluster);
    let now = cluster.world.lock().unwrap().clone();
    hear(&cluster, &ledger).await;
    forget(&cluster, &old);
    convicts_node_2(&cluster, &ledger).await;

    let again = connect(&cluster).await;
    is_node_2(&cluster, &again.convicted()[0]);
    for ledger in [&ledger, &again] {
        let Err(CheckError::Unproven { source, .. }) = ledger.check("bot", "pay", "a", b"").await else {
            panic!("a convicted node was counted")
        };
        assert!(matches!(&*source, ProofError::Convicted(convicted) if convicted.conviction.voter.node == 2));
    }
    // Nor does its signature on the truth; but the others' are enough without it.
    cluster.world.lock().unwrap().forget_since(&now);
    for (signers, proven) in [(vec![0, 1], false), (vec![0, 2], true), (vec![0, 1, 2], true)] {
        cluster.world.lock().unwrap().signers = signers;
        let result = again.check("bot", "pay", "a", b"").await;
        assert_eq!(matches!(result, Err(CheckError::Denied(_))), proven, "{result:?}");
        assert!(proven || matches!(result, Err(CheckError::Unproven { .. })), "{result:?}");
        match again.register_agent(name(&format!("agent-{proven}")), name("ann"), None).await {
            Ok(_) => assert!(proven),
            Err(SubmitError::Unproven { source, .. }) => {
                assert!(!proven && matches!(*source, ReceiptError::Convicted(_)), "{source}");
            }
            // The third asks for the second's agent.
            Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "agent_exists"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_may_convict_too() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = connect(&cluster).await;
    ledger.check("bot", "pay", "a", b"").await.unwrap().run(b"", || ()).unwrap();
    // Nodes 1 and 2 use a number again.
    cluster.world.lock().unwrap().counter -= 1;
    let error = ledger.register_agent(name("other"), name("ann"), None).await.unwrap_err();
    let SubmitError::Contradiction { convicted, .. } = error else { panic!("{error}") };
    assert!(matches!(convicted.conviction.charge, Charge::NumberTwice { .. }), "{convicted}");
    let nodes: Vec<_> = ledger.convicted().iter().map(|one| one.conviction.voter.node).collect();
    assert_eq!(nodes, [1, 2]);
}

#[tokio::test]
async fn statements_that_their_nodes_did_not_sign_convict_nobody() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = connect(&cluster).await;
    let size = ledger.check("bot", "pay", "a", b"").await.unwrap().checked().answer.encode().len();
    // Any bit of any statement, and a file that anybody may have left in the folder.
    for at in (0..size).step_by(3) {
        cluster.nodes[0].misbehave(Fault::Flip { at, mask: 1 << (at % 8) });
        assert!(matches!(ledger.check("bot", "pay", "a", b"").await, Err(CheckError::Unproven { .. })));
    }
    cluster.nodes[0].misbehave(Fault::None);
    assert!(ledger.convicted().is_empty());
    std::fs::write(cluster.folder.path().join("contradiction-node-1.json"), "{}").unwrap();
    let ledger = connect(&cluster).await;
    assert!(ledger.convicted().is_empty());
    ledger.check("bot", "pay", "a", b"").await.unwrap().run(b"", || ()).unwrap();
}
