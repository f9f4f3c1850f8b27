//! Leadership, handed to who was away a moment ago.

use crate::harness::{Cluster, NODES, register};

/// Leaders that are killed, one after the other.
const KILLED: usize = 3;

/// A leader is killed and started again, and is to lead again at once: whoever leads meanwhile may not know yet how
/// far it is, and must find out rather than refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_has_just_restarted_takes_over() {
    let mut cluster = Cluster::start().await;
    let issuer = cluster.connect("issuer").await;
    for number in 0..KILLED {
        let leader = cluster.leader().await;
        cluster.kill(leader);
        cluster.start_node(leader);
        register(&issuer, &format!("bots/{number}")).await;
        let moved = cluster.transfer(Some(&leader.to_string())).await;
        assert_eq!(moved["leader"], leader, "{moved}");
        cluster.wait_until_serving(NODES).await;
    }
}
