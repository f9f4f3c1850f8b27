//! A leader that dies in the middle of a change of the voters: the change is finished by the others, and the
//! operator's command says so.

use std::os::unix::process::ExitStatusExt;

use crate::SIGABRT;
use crate::harness::{Cluster, NODES};
use crate::operator::voters;

/// Who leads, and dies.
const VICTIM: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_outlives_the_leader_that_began_it() {
    let mut cluster = Cluster::start().await;
    for node in [4, 5] {
        cluster.prepare(node).await;
    }
    let member =
        |cluster: &Cluster, node| cluster.node_folder(node).join("member.toml").to_str().unwrap().to_owned();
    let (fourth, fifth) = (member(&cluster, 4), member(&cluster, 5));
    // Between the joint block and the uniform one; after both; when both are proven; and before that.
    let rounds: [(&str, &[&str], &[u64]); 4] = [
        ("applied-roster-block", &["member", "add", &fourth], &[1, 2, 3, 4]),
        ("applied-roster-block:2", &["member", "remove", "4"], &[1, 2, 3]),
        ("roster-change-before-answer", &["member", "add", &fifth], &[1, 2, 3, 5]),
        ("applied-before-roster-proof", &["member", "remove", "5"], &[1, 2, 3]),
    ];
    for (point, command, after) in rounds {
        cluster.kill(VICTIM);
        cluster.start_node_with(VICTIM, &[("CHANCERY_ABORT_AT", point)]);
        if let Some(new) = after.iter().find(|node| **node > NODES) {
            cluster.start_node(*new);
        }
        let signing = |status: &chancery_client::NodeStatus| status.silent_because.is_none();
        cluster.wait_for_status(VICTIM, "that it signs", signing).await;
        cluster.operate(&["transfer", "--to", "1"]).await.done();

        let changed = cluster.operate(command).await.done();
        assert_eq!(voters(&changed), after, "{point}: {changed}");
        let ended = cluster.wait_for_exit(VICTIM).await;
        assert_eq!(ended.signal(), Some(SIGABRT), "{point}");

        cluster.start_node(VICTIM);
        cluster.leader_of_voters(after).await;
        for node in after {
            cluster.wait_for_status(*node, "that it signs", signing).await;
        }
        let listed = cluster.operate(&["member", "list"]).await.done();
        assert_eq!((voters(&listed), &listed["joint"]), (after.to_vec(), &false.into()), "{point}: {listed}");
        for removed in cluster.running().into_iter().filter(|node| !after.contains(node)) {
            cluster.kill(removed);
        }
    }
}
