//! `chancery audit` of real nodes, by somebody who has their URLs and the trust file.

use serde_json::Value;

use crate::harness::{Cluster, NODES, register};
use crate::tile_log::published_at_least;

/// Audits these nodes' logs, and says how it ended.
async fn audit(cluster: &Cluster, nodes: impl Iterator<Item = u64>, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = cluster.chancery();
    let state = cluster.ledger_folder().join("audit");
    command.arg("audit").args(nodes.map(|node| cluster.log_url(node)));
    command.arg("--trust").arg(cluster.ledger_folder().join("trust.toml"));
    command.arg("--state").arg(state).args(["--output", "json"]).args(more);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (ended.status.code(), serde_json::from_slice(&ended.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_finds_nothing_wrong_across_a_leaders_death_and_goes_on_where_he_ended() {
    let mut cluster = Cluster::start().await;
    let trust = cluster.trust();
    let issuer = cluster.connect("issuer").await;
    let mut size = 0;
    for number in 0..20 {
        size = register(&issuer, &format!("bots/{number}")).await.head.head.log_size;
    }
    published_at_least(&cluster, 1, size, &trust).await;
    let saved = cluster.ledger_folder().join("saved");
    let saved = saved.to_str().unwrap();
    let (code, told) = audit(&cluster, 1..=1, &["--save", saved]).await;
    assert_eq!((code, &told["outcome"], &told["from"]), (Some(0), &"verified".into(), &0.into()), "{told}");
    let audited = told["size"].as_u64().unwrap();
    assert!(audited >= size);
    assert!(told["cosigners"].as_array().unwrap().len() >= 2, "{told}");

    let leader = cluster.leader().await;
    cluster.kill(leader);
    for number in 0..150 {
        size = register(&issuer, &format!("late/{number}")).await.head.head.log_size;
    }
    cluster.start_node(leader);
    cluster.wait_until_serving(NODES).await;
    for node in 1..=NODES {
        published_at_least(&cluster, node, size, &trust).await;
    }
    // By another node, and all against each other.
    let (code, told) = audit(&cluster, (1..=NODES).rev(), &["--since", saved]).await;
    assert_eq!(
        (code, &told["outcome"], &told["from"]),
        (Some(0), &"verified".into(), &audited.into()),
        "{told}"
    );
    assert_eq!(told["findings"], Value::Array(Vec::new()));
    let (code, fresh) = audit(&cluster, 1..=1, &["--fresh"]).await;
    assert_eq!((code, &fresh["from"]), (Some(0), &0.into()), "{fresh}");
    assert_eq!((&fresh["size"], &fresh["root"]), (&told["size"], &told["root"]));

    // Another trust is another ledger.
    let file = cluster.ledger_folder().join("trust.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replacen("ledger = \"", "ledger = \"0123", 1);
    let end = other.find("0123").unwrap() + 64;
    let other = format!("{}{}", &other[..end], &other[end + 4..]);
    std::fs::write(&file, other).unwrap();
    let (code, told) = audit(&cluster, 1..=1, &["--fresh"]).await;
    assert_eq!((code, &told["findings"][0]["code"]), (Some(13), &"ledger".into()), "{told}");
}
