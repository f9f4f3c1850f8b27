//! The log over HTTP, as real nodes publish it: what is cosigned is what was applied, whichever node dies.

use std::collections::BTreeMap;

use chancery_ledger::checkpoint::{KeyName, SignatureType, SignedCheckpoint, VerifierKey};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;
use chancery_ledger::log::{Frontier, TILE_WIDTH, TilePath, decode_entry_bundle, leaf_hash};
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, NODES, PATIENCE, register};

/// The body at a path of a node's log, if it answers with one.
async fn get(url: &str, path: &str) -> Option<Vec<u8>> {
    let url = format!("{url}/{path}");
    let body = tokio::task::spawn_blocking(move || {
        let timeout = std::time::Duration::from_secs(5);
        let agent =
            ureq::Agent::new_with_config(ureq::Agent::config_builder().timeout_global(Some(timeout)).build());
        agent.get(&url).call().ok()?.into_body().read_to_vec().ok()
    });
    body.await.unwrap()
}

/// Who cosigns, by their keys' names.
fn cosigners(trust: &Trust) -> Vec<VerifierKey> {
    let voters = trust.roster(trust.newest_roster()).unwrap().voters();
    voters.map(|voter| voter.cosigner_key(&trust.origin).unwrap()).collect()
}

/// What a node publishes, if it does: size and root, which so many nodes cosigned.
async fn published(url: &str, trust: &Trust) -> Option<(u64, Hash)> {
    let note = get(url, "checkpoint").await?;
    let note = SignedCheckpoint::parse(&note).unwrap();
    let cosigned = note.verify_cosignatures(&cosigners(trust)).unwrap();
    assert!(cosigned.len() >= 2, "a quorum of three");
    let checkpoint = note.checkpoint();
    assert_eq!(checkpoint.origin().as_str(), trust.origin);
    Some((checkpoint.size(), checkpoint.root()))
}

/// The first checkpoint of a node that has so many leaves.
pub(crate) async fn published_at_least(
    cluster: &Cluster,
    node: u64,
    size: u64,
    trust: &Trust,
) -> (u64, Hash) {
    let url = cluster.log_url(node);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = published(&url, trust).await.filter(|(found, _)| *found >= size) {
            return found;
        }
        assert!(Instant::now() < deadline, "node {node} publishes no {size} leaves");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn at(index: u64) -> usize {
    usize::try_from(index).unwrap()
}

/// The roots of the log at each size.
fn roots(entries: &[Vec<u8>]) -> Vec<Hash> {
    let mut log = Frontier::new();
    let mut roots = vec![log.root()];
    for entry in entries {
        log.append(leaf_hash(entry));
        roots.push(log.root());
    }
    roots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_node_dies_checkpoints_are_of_one_log() {
    let mut cluster = Cluster::start().await;
    let trust = cluster.trust();
    let issuer = cluster.connect("issuer").await;
    let mut checkpoints = BTreeMap::new();
    let mut size = 0;
    for round in 0..NODES {
        for number in 0..20 {
            size = register(&issuer, &format!("bots/{round}/{number}")).await.head.head.log_size;
        }
        for node in 1..=NODES {
            let (size, root) = published_at_least(&cluster, node, size, &trust).await;
            assert_eq!(*checkpoints.entry(size).or_insert(root), root, "one root for {size} leaves");
        }
        let leader = cluster.leader().await;
        cluster.kill(leader);
        size = register(&issuer, &format!("bots/{round}/late")).await.head.head.log_size;
        for node in cluster.running() {
            let (size, root) = published_at_least(&cluster, node, size, &trust).await;
            assert_eq!(*checkpoints.entry(size).or_insert(root), root, "one root for {size} leaves");
        }
        cluster.start_node(leader);
        cluster.wait_until_serving(NODES).await;
    }

    let entries: Vec<Vec<u8>> = cluster.settled_leaves().await.iter().map(|leaf| leaf.encode()).collect();
    let roots = roots(&entries);
    assert!(checkpoints.len() >= 2 * at(NODES), "{checkpoints:?}");
    for (size, root) in &checkpoints {
        assert_eq!(roots[at(*size)], *root, "the log had this root at {size} leaves");
    }
    // Any node's tiles are those of the log that all cosigned.
    for node in 1..=NODES {
        let url = cluster.log_url(node);
        let (size, _) = published_at_least(&cluster, node, size, &trust).await;
        let mut served = Vec::new();
        while (served.len() as u64) < size {
            let index = served.len() as u64 / u64::from(TILE_WIDTH);
            let width = u16::try_from((size - served.len() as u64).min(TILE_WIDTH.into())).unwrap();
            let path = TilePath::entries(index, width).unwrap().to_string();
            let bundle = get(&url, &path).await.expect("a published bundle");
            served.extend(decode_entry_bundle(&bundle, width).unwrap().into_iter().map(<[u8]>::to_vec));
        }
        assert_eq!(served, entries[..at(size)], "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_told_of_a_witness_that_nobody_reaches() {
    let key = VerifierKey::new(
        KeyName::new("w.example/gone").unwrap(),
        SignatureType::Cosignature,
        SigningKey::from_bytes(&[7; 32]).verifying_key(),
    );
    // Nobody listens on the port of nobody.
    let witness = format!("http://127.0.0.1:1/={}", key.unwrap());
    let mut cluster = Cluster::found_with(NODES, &["--witness", &witness], |_| {}).await;
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    register(&cluster.connect("issuer").await, "bot").await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cluster.operate(&["status"]).await.done();
        let nodes = status["nodes"].as_array().unwrap();
        let told: Vec<_> = nodes.iter().map(|node| &node["witnesses"][0]).collect();
        if told.len() == at(NODES) && told.iter().all(|witness| witness["error"].is_string()) {
            for witness in told {
                assert_eq!((&witness["name"], &witness["size"]), (&"w.example/gone".into(), &Value::Null));
            }
            let troubles = status["troubles"].as_array().unwrap();
            let about = troubles.iter().filter(|trouble| trouble["code"] == "witness").count();
            assert_eq!(about, 1, "{status}");
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_published() {
    let mut cluster = Cluster::start().await;
    let trust = cluster.trust();
    let issuer = cluster.connect("issuer").await;
    let size = register(&issuer, "bots/first").await.head.head.log_size;
    let (before, _) = published_at_least(&cluster, 1, size, &trust).await;
    let url = cluster.log_url(1);
    let rosters = get(&url, "rosters").await.expect("rosters");
    assert_eq!(RosterChain::decode(&rosters).unwrap().links.len(), 0, "nobody but the founders");
    let policy = String::from_utf8(get(&url, "tlog-policy").await.expect("a policy")).unwrap();
    for key in cosigners(&trust) {
        assert!(policy.contains(&key.to_string()), "{policy}");
    }
    assert!(policy.contains("group roster 2 "), "{policy}");

    cluster.kill(2);
    cluster.kill(3);
    // What was published stays so, and a node that starts alone has nothing to publish.
    assert_eq!(published(&url, &trust).await.map(|(size, _)| size), Some(before));
    cluster.kill(1);
    cluster.start_node(1);
    let deadline = Instant::now() + std::time::Duration::from_secs(4);
    let mut asked = 0;
    while Instant::now() < deadline {
        asked += u32::from(get(&url, "tile/0/000.p/1").await.is_some());
        assert_eq!(published(&url, &trust).await, None, "one node is no quorum");
        sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(asked, 0, "what no checkpoint covers is not served");
    cluster.start_all();
    let (after, _) = published_at_least(&cluster, 1, before, &trust).await;
    assert!(after >= before);
}
