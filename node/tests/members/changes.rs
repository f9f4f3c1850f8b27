//! Changes of the voters while checks, grants and revocations go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chancery_ledger::command::{Body, GrantId};
use chancery_proto::v1::api;
use chancery_proto::v1::api::submit_reply::Outcome;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tonic::Code;

use crate::client::Client;
use crate::nodes::{Nodes, thread_name};
use crate::world::World;

/// What goes on meanwhile: grants that are checked and revoked, at one node after the other.
struct Work {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Work {
    /// `asked` are nodes that serve all the time.
    fn start(client: &Client, world: &Arc<World>, asked: &'static [u64]) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (client, world) = (client.clone(), Arc::clone(world));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            for round in 0.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let node = asked[round % asked.len()];
                let agent = format!("worker-{round}");
                client.acknowledged(asked, &world.register(&agent)).await;
                let grant = world.grant(&agent);
                client.acknowledged(&[node], &grant).await;
                assert!(client.must_answer(node, &agent).await, "round {round}: granted");
                let grant = GrantId::of(world.ledger, grant.command_bytes());
                let revoke = world.command(Body::RevokeGrant { grant, reason: "test".into() });
                client.acknowledged(&[node], &revoke).await;
                // On every node that answers: what is revoked stays so.
                for node in asked {
                    assert!(!client.must_answer(*node, &agent).await, "round {round}: revoked");
                }
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, rounds, task }
    }

    /// Waits until some more was done.
    async fn goes_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        while self.rounds.load(Ordering::SeqCst) < before + 2 {
            assert!(!self.task.is_finished(), "the work ended");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) {
        self.goes_on().await;
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_another_leaves_while_the_ledger_serves() {
    let mut nodes = Nodes::start().await;
    let client = Client::new(&nodes);
    let leader = client.leader(&[1, 2, 3]).await;
    let work = Work::start(&client, &nodes.world, &[2, 3]);
    work.goes_on().await;

    // A learner replicates, and signs nothing.
    nodes.start_node(4, &[1, 2, 3]);
    client.add_learner(leader, 4, nodes.peer_address(4)).await;
    let status = client.wait_for_status(4, "replicates", |status| status.tail_block > 0).await;
    assert!(!status.signing && status.not_signing_because.contains("not in the roster"), "{status:?}");
    assert_eq!(status.learners.iter().map(|learner| learner.node).collect::<Vec<_>>(), [4]);

    // It becomes a voter: it signs, and what it answers is proven.
    client.change(&[1, 2, 3], &[1, 2, 3, 4]).await;
    client.leader(&[1, 2, 3, 4]).await;
    client.acknowledged(&[4], &nodes.world.register("at-4")).await;
    assert!(!client.must_answer(4, "at-4").await);
    work.goes_on().await;

    // Another leaves: the leader itself, which hands over first, if it is not among those that work.
    let leaves = 1;
    client.change(&[1, 2, 3, 4], &[2, 3, 4]).await;
    let status = client
        .wait_for_status(leaves, "is removed", |status| status.not_signing_because.contains("removed"))
        .await;
    assert!(!status.signing);
    let leader = client.leader(&[2, 3, 4]).await;
    let status = client.wait_for_status(leader, "dismisses", |status| status.learners.is_empty()).await;
    assert_eq!(status.roster.unwrap().sets[0].voters.len(), 3);
    nodes.stop(leaves).await;
    work.end().await;
    for node in [2, 3, 4] {
        assert_eq!(nodes.ended(node), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_and_learns_of_it_when_it_comes_back() {
    let mut nodes = Nodes::start().await;
    let client = Client::new(&nodes);
    client.leader(&[1, 2, 3]).await;
    let work = Work::start(&client, &nodes.world, &[1, 2]);
    work.goes_on().await;
    nodes.kill(3);
    nodes.start_node(4, &[1, 2]);
    let leader = client.leader(&[1, 2]).await;
    client.add_learner(leader, 4, nodes.peer_address(4)).await;
    client.change(&[1, 2], &[1, 2, 4]).await;
    work.goes_on().await;

    // Two of the new three are a quorum without the dead one.
    client.leader(&[1, 2, 4]).await;
    let leader = client.leader(&[1, 2]).await;
    let status = client.wait_for_status(leader, "dismisses", |status| status.learners.is_empty()).await;
    let voters: Vec<u64> = status.roster.unwrap().sets[0].voters.iter().map(|voter| voter.node).collect();
    assert_eq!(voters, [1, 2, 4]);

    // Nobody replicates to it; it asks, and is told with proof. It disturbs nobody.
    let term = client.status(leader).await.unwrap().term;
    nodes.start_node(3, &[1, 2, 3]);
    client.wait_for_status(3, "learns of it", |status| status.not_signing_because.contains("removed")).await;
    work.end().await;
    assert_eq!(client.status(leader).await.unwrap().term, term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let mut nodes = Nodes::start().await;
    let client = Client::new(&nodes);
    let leader = client.leader(&[1, 2, 3]).await;
    let follower = [1, 2, 3].into_iter().find(|node| *node != leader).unwrap();
    let roster = client.roster().await;
    let world = Arc::clone(&nodes.world);

    // Nobody replicates to node 4.
    let signed = world.set_roster(roster, &[1, 2, 3, 4]);
    let said = client.submit(leader, &signed).await.unwrap();
    assert!(matches!(&said, Outcome::NotDone(why) if why.message.contains("no learner")), "{said:?}");
    // A learner that is not there lacks everything.
    let request = |node: u64| api::AddLearnerRequest {
        node,
        name: format!("node-{node}"),
        address: "127.0.0.1:9".into(),
    };
    let mut progress = client.at(leader).add_learner(request(4)).await.unwrap().into_inner();
    assert!(!progress.message().await.unwrap().unwrap().caught_up);
    client.acknowledged(&[leader], &world.register("somebody")).await;
    let said = client.submit(leader, &signed).await.unwrap();
    assert!(matches!(&said, Outcome::NotDone(why) if why.message.contains("catch up")), "{said:?}");

    let refused = |result: Result<(), tonic::Status>, code, why: &str| {
        let status = result.unwrap_err();
        assert!(status.code() == code && status.message().contains(why), "{status:?}");
    };
    let add = async |node, request| client.at(node).add_learner(request).await.map(|_| ());
    refused(add(follower, request(5)).await, Code::Unavailable, &format!("node {leader} does"));
    refused(add(leader, request(2)).await, Code::FailedPrecondition, "is a voter");
    let elsewhere = api::AddLearnerRequest { address: "127.0.0.1:10".into(), ..request(4) };
    refused(add(leader, elsewhere).await, Code::FailedPrecondition, "a learner already");
    refused(add(leader, request(0)).await, Code::InvalidArgument, "host:port");
    let transfer = async |to| {
        let request = api::TransferLeadershipRequest { to };
        client.at(leader).transfer_leadership(request).await.map(|_| ())
    };
    refused(transfer(4).await, Code::NotFound, "not a voter");
    let remove =
        async |node| client.at(leader).remove_learner(api::RemoveLearnerRequest { node }).await.map(|_| ());
    refused(remove(2).await, Code::FailedPrecondition, "is a voter");
    remove(4).await.unwrap();
    refused(remove(4).await, Code::NotFound, "no learner");

    // Leadership goes where it is sent.
    transfer(follower).await.unwrap();
    assert_eq!(client.leader(&[1, 2, 3]).await, follower);
    assert_eq!(client.roster().await, roster);
    for node in 1..=3 {
        assert_eq!(nodes.ended(node), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_finishes_what_the_last_one_began() {
    let mut nodes = Nodes::start().await;
    let client = Client::new(&nodes);
    let leader = client.leader(&[1, 2, 3]).await;
    nodes.start_node(4, &[1, 2, 3]);
    client.add_learner(leader, 4, nodes.peer_address(4)).await;

    // The leader applies the joint block, and no more.
    let scenario = fail::FailScenario::setup();
    let (reached, mut at_joint) = tokio::sync::mpsc::unbounded_channel();
    let (dead, until_dead) = std::sync::mpsc::channel::<()>();
    let until_dead = std::sync::Mutex::new(until_dead);
    let its = thread_name(leader);
    fail::cfg_callback("applied-roster-block", move || {
        if std::thread::current().name() == Some(&its) && reached.send(()).is_ok() {
            // Ends when the test drops the sender.
            let _ = until_dead.lock().unwrap().recv();
        }
    })
    .unwrap();
    let signed = nodes.world.set_roster(client.roster().await, &[1, 2, 3, 4]);
    let (asked, sent) = (client.clone(), signed.clone());
    let unanswered = tokio::spawn(async move { asked.submit(leader, &sent).await });
    at_joint.recv().await.unwrap();
    nodes.kill(leader);
    drop(dead);
    scenario.teardown();
    let said = unanswered.await.unwrap();
    assert!(!matches!(said, Ok(Outcome::Acknowledged(_))), "{said:?}");

    // Another finishes it, before any other block; the same bytes are then acknowledged.
    let others: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|node| *node != leader).collect();
    client.acknowledged(&others, &signed).await;
    client.acknowledged(&others, &nodes.world.register("afterwards")).await;
    let next = client.leader(&others).await;
    let status = client.status(next).await.unwrap();
    assert_eq!(status.roster.unwrap().sets.len(), 1);
    assert_eq!(client.roster().await.block, status.roster_block);

    // The one that died comes back and is a voter like the others.
    nodes.start_node(leader, &[1, 2, 3]);
    client.leader(&[1, 2, 3, 4]).await;
    for node in nodes.running() {
        assert_eq!(nodes.ended(node), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_takes_a_snapshot_with_the_roster_chain() {
    let mut nodes = Nodes::start_with(|tuning| {
        tuning.snapshot_every_entries = 8;
        tuning.keep_log_entries = 0;
    })
    .await;
    let client = Client::new(&nodes);
    let leader = client.leader(&[1, 2, 3]).await;
    nodes.start_node(4, &[1, 2, 3]);
    client.add_learner(leader, 4, nodes.peer_address(4)).await;
    client.change(&[1, 2, 3], &[1, 2, 3, 4]).await;
    let changed = client.roster().await;
    for number in 0..24 {
        client.acknowledged(&[1, 2, 3], &nodes.world.register(&format!("agent-{number}"))).await;
    }
    let leader = client.leader(&[1, 2, 3, 4]).await;
    client
        .wait_for_status(leader, "purges", |status| {
            status.log.is_some_and(|log| log.purged_index > Some(8))
                && status.log.and_then(|log| log.snapshot_block) > Some(changed.block)
        })
        .await;

    // What it needs first is nowhere but in a snapshot.
    nodes.start_node(5, &[1, 2, 3]);
    client.add_learner(leader, 5, nodes.peer_address(5)).await;
    let status = client.wait_for_status(5, "has the roster", |status| status.roster_block > 0).await;
    assert_eq!(status.roster_block, changed.block);
    assert!(status.log.unwrap().snapshot_block > Some(changed.block), "{status:?}");

    // It gives the same chain to a client that knows nothing, and so it does after a restart.
    for restart in [false, true] {
        if restart {
            nodes.stop(5).await;
            nodes.start_node(5, &[1, 2, 3]);
            client.wait_for_status(5, "is back", |status| status.roster_block > 0).await;
        }
        let newcomer = Client::new(&nodes);
        newcomer.follow(5).await;
        assert_eq!(newcomer.roster().await, changed);
    }
    client.change(&[1, 2, 3, 4], &[3, 4, 5]).await;
    client.leader(&[3, 4, 5]).await;
    assert!(!client.must_answer(5, "agent-0").await);
}
