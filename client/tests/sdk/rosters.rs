//! The client follows the voters by proof, forgets none, and lets operators change them.

use chancery_client::{
    CheckError, ConnectError, Ledger, MembersError, ProofError, RostersError, SigningKey, SubmitError,
};
use chancery_ledger::command::{Body, EnvelopeError, Patterns, Principal, PublicKey, Role, Scope};

use crate::fake::{Cluster, Fault, name, voters};

async fn check(ledger: &Ledger) -> Result<chancery_client::Permit, CheckError> {
    ledger.check("bot", "pay", "accounts/7", b"args").await
}

fn asked(cluster: &Cluster) -> Vec<u64> {
    cluster.nodes.iter().flat_map(|node| node.shared.rosters.lock().unwrap().clone()).collect()
}

#[tokio::test]
async fn a_check_follows_the_voters() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let founding = ledger.trust();
    drop(check(&ledger).await.unwrap());
    assert!(asked(&cluster).is_empty(), "nothing has changed");

    cluster.world.lock().unwrap().change(&[2, 3, 4]);
    let (joint, uniform) = {
        let links = &cluster.world.lock().unwrap().chain.links;
        (links[0].id(), links[1].id())
    };
    // At the roster block itself, and the same answer is used once the chain is there.
    let before = cluster.nodes[0].asked();
    let permit = check(&ledger).await.unwrap();
    assert_eq!(cluster.nodes[0].asked(), before + 1);
    assert_eq!(asked(&cluster), [0, joint.block]);
    assert!(permit.failed_tries().is_empty());
    assert_eq!(ledger.trust().newest_roster(), uniform);
    // Whoever gets the evidence has to know genesis alone.
    permit.evidence().verify(&founding).unwrap();

    cluster.world.lock().unwrap().change(&[4, 5, 6]);
    cluster.apply(Body::RegisterAgent { agent: name("other"), owner: name("ann"), key: None, lineage: None });
    check(&ledger).await.unwrap().evidence().verify(&founding).unwrap();
    let newest = ledger.trust().newest_roster();
    assert_eq!(asked(&cluster)[2..], [uniform.block, uniform.block + 1]);
    // Nothing is asked for again, here or after a restart.
    drop(check(&ledger).await.unwrap());
    drop(ledger);
    let ledger = cluster.connect().await;
    assert_eq!(ledger.trust().newest_roster(), newest);
    drop(check(&ledger).await.unwrap());
    assert_eq!(asked(&cluster).len(), 4);
}

#[tokio::test]
async fn what_shows_no_way_to_its_roster_proves_nothing() {
    for fault in [Fault::NoRosters, Fault::ForgedRosters] {
        let cluster = Cluster::start(2).await.with_grant();
        let mut context = cluster.context();
        context.endpoints.truncate(1);
        cluster.world.lock().unwrap().change(&[4, 5, 6]);
        cluster.nodes[0].misbehave(fault.clone());
        let alone = cluster.connect_as(context).await;
        match check(&alone).await {
            Err(CheckError::Unproven { source, .. }) => match (&*source, &fault) {
                (ProofError::Rosters(RostersError::Missing(_)), Fault::NoRosters) => {}
                (ProofError::Rosters(RostersError::Chain(_)), Fault::ForgedRosters) => {}
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        assert_eq!(alone.trust().roster_chain().links.len(), 0);
        // Another node shows it.
        let both = cluster.connect().await;
        assert!(check(&both).await.is_ok());
    }
}

#[tokio::test]
async fn who_has_seen_a_roster_takes_none_before_it() {
    let cluster = Cluster::start(1).await.with_grant();
    let old = cluster.world.lock().unwrap().clone();
    cluster.world.lock().unwrap().change(&[2, 3, 4]);
    let ledger = cluster.connect().await;
    drop(check(&ledger).await.unwrap());
    drop(ledger);
    // The file of blocks alone says so, and so does that of rosters.
    for lost in ["newest.toml", "rosters"] {
        let path = cluster.folder.path().join(lost);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let now = std::mem::replace(&mut *cluster.world.lock().unwrap(), old.clone());
        let ledger = cluster.connect().await;
        assert!(matches!(check(&ledger).await, Err(CheckError::Unproven { .. })), "{lost}");
        drop(ledger);
        *cluster.world.lock().unwrap() = now;
        let ledger = cluster.connect().await;
        drop(check(&ledger).await.unwrap());
        drop(ledger);
        std::fs::write(path, kept).unwrap();
    }
    std::fs::write(cluster.folder.path().join("rosters"), b"none").unwrap();
    let result = Ledger::connect(cluster.context()).await;
    assert!(matches!(result, Err(ConnectError::Newest(_))), "{result:?}");
}

#[tokio::test]
async fn an_operator_changes_the_voters() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let replaces = ledger.rosters().await.unwrap().newest_roster();
    let receipt = ledger.set_roster(voters(&[1, 2, 4]), replaces, &[]).await.unwrap();
    assert_eq!(receipt.head.head.block, receipt.block + 1, "the head is the uniform block's");
    let now = ledger.trust().newest_roster();
    assert_eq!(receipt.head.head.roster, now);
    // What was seen is not what is.
    match ledger.set_roster(voters(&[1, 2, 5]), replaces, &[]).await {
        Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "other_roster"),
        other => panic!("{other:?}"),
    }

    // Another operator, on another machine.
    let second = SigningKey::from_bytes(&[77; 32]);
    let operator = PublicKey(second.verifying_key().to_bytes());
    let all = || Patterns::collect(["*"]).unwrap();
    let principal = Principal {
        key: operator,
        name: name("second"),
        roles: vec![Role::Operator],
        scope: Scope { agents: all(), actions: all(), resources: all() },
    };
    ledger.add_principal(principal).await.unwrap();
    let half = ledger.propose_roster(voters(&[1, 2, 5]), now, vec![operator], 600_000).unwrap();
    assert_eq!(half.missing_signers(), [operator]);
    assert!(matches!(
        ledger.submit(&half).await,
        Err(SubmitError::Refused { code, .. }) if code == "wrong_signers"
    ));
    let mut context = cluster.context();
    context.key = Some(second);
    let there = cluster.connect_as(context).await;
    let whole = there.co_sign(half.clone()).unwrap();
    assert!(whole.missing_signers().is_empty());
    there.submit(&whole).await.unwrap();
    assert_eq!(ledger.rosters().await.unwrap().newest_roster(), there.trust().newest_roster());
    let other = ledger.propose_roster(voters(&[1, 2, 6]), now, vec![], 600_000).unwrap();
    assert!(matches!(
        there.co_sign(other),
        Err(SubmitError::Command(EnvelopeError::NotASigner(key))) if key == operator
    ));
}

#[tokio::test]
async fn nodes_come_and_go_as_an_operator_asks() {
    let cluster = Cluster::start(2).await;
    let ledger = cluster.connect().await;
    // Only the leader does it.
    cluster.nodes[0].misbehave(Fault::Status(tonic::Code::Unavailable));
    let mut progress = ledger.add_learner(4, "node-4", "127.0.0.1:4").await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|lag: &chancery_client::LearnerLag| !lag.caught_up) {
        seen.push(progress.next().await.unwrap());
    }
    assert_eq!(seen.iter().map(|lag| lag.matched_index).collect::<Vec<_>>(), [None, Some(5), Some(9)]);
    ledger.remove_learner(4).await.unwrap();
    assert_eq!(ledger.transfer_leadership(3).await.unwrap(), (3, 8));

    cluster.nodes[1].misbehave(Fault::SilentLearner);
    let mut progress = ledger.add_learner(4, "node-4", "127.0.0.1:4").await.unwrap();
    let _ = (progress.next().await.unwrap(), progress.next().await.unwrap());
    assert!(matches!(progress.next().await, Err(MembersError::Interrupted { .. })));
    cluster.nodes[0].misbehave(Fault::Status(tonic::Code::PermissionDenied));
    cluster.nodes[1].misbehave(Fault::Status(tonic::Code::PermissionDenied));
    assert!(matches!(ledger.remove_learner(4).await, Err(MembersError::NotPermitted { .. })));
    // Who leads has looked: nobody else is asked.
    cluster.nodes[0].misbehave(Fault::Status(tonic::Code::FailedPrecondition));
    cluster.nodes[1].misbehave(Fault::Status(tonic::Code::FailedPrecondition));
    assert!(matches!(ledger.remove_learner(4).await, Err(MembersError::Refused { .. })));
}

#[tokio::test]
async fn a_node_says_who_votes() {
    let cluster = Cluster::start(1).await;
    cluster.world.lock().unwrap().change(&[2, 3]);
    let ledger = cluster.connect().await;
    let status = ledger.status().await.remove(0).1.unwrap();
    let (id, roster) = status.roster.unwrap();
    assert_eq!((id.block, roster.voters().map(|voter| voter.node).collect()), (2, vec![2, 3]));
    assert_eq!(status.learners[0].name, "new ");
    assert_eq!((status.log.last_index, status.log.purged_index), (Some(7), None));
}
