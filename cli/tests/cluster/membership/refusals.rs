//! Changes of members that must not be done: each is refused with its reason, and changes nothing.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_ledger::command::{Name, PublicKey};
use chancery_ledger::hash::from_hex;
use chancery_ledger::head::{Voter, VoterSet};
use chancery_node::config::Tuning;
use serde_json::json;

use crate::harness::{Cluster, NODES};
use crate::operator::voters;

const TWO_OF_THREE: &[&str] = &["--operators", "3", "--operator-threshold", "2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_change_the_voters_is_refused() {
    let mut cluster = Cluster::found_with(NODES, TWO_OF_THREE, |_: &mut Tuning| {}).await;
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    let second = cluster.context_folder("operator-2").join("key");
    let second = second.to_str().unwrap();

    // One operator of two that are needed.
    cluster.operate(&["member", "remove", "3"]).await.refused("too_few_operators");
    // Two keys, one of them no operator's.
    let stranger = cluster.ledger_folder().join("stranger.key");
    cluster.operate(&["keygen", stranger.to_str().unwrap()]).await.done();
    let stranger = stranger.to_str().unwrap();
    cluster.operate(&["member", "remove", "3", "--with-key", stranger]).await.refused("unknown_operator");
    // Not by an operator.
    cluster.run("issuer", &["member", "remove", "3", "--with-key", second]).await.refused("wrong_role");
    cluster.run("issuer", &["transfer", "--to", "3"]).await.refused("not_permitted");
    cluster.operate(&["transfer", "--to", "7"]).await.refused("no_voter");

    not_caught_up(&mut cluster).await;
    half_signed_changes_go_from_hand_to_hand(&mut cluster).await;
    removed_nodes_do_not_come_back(&cluster, second).await;
    let listed = cluster.operate(&["member", "list"]).await.done();
    assert_eq!(voters(&listed), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_voter_stays() {
    let mut cluster = Cluster::found_with(1, &[], |_: &mut Tuning| {}).await;
    cluster.start_node(1);
    cluster.wait_until_serving(1).await;
    cluster.operate(&["member", "remove", "1"]).await.refused("last_voter");
    cluster.operate(&["member", "remove", "node-1"]).await.refused("last_voter");
}

/// All have signed, but the node never ran.
async fn not_caught_up(cluster: &mut Cluster) {
    let member = cluster.prepare(5).await;
    let operator = cluster.connect("operator").await;
    let trust = operator.rosters().await.unwrap();
    let roster = trust.roster(trust.newest_roster()).unwrap();
    let all = roster.voters().cloned().chain([voter(&member)]).collect();
    let key = operator_key(cluster, "operator-2");
    let others = vec![PublicKey(key.verifying_key().to_bytes())];
    let voters = VoterSet::majority(all).unwrap();
    let signed = operator.propose_roster(voters, trust.newest_roster(), others, 3_600_000).unwrap();
    let signed = signed.co_sign(trust.ledger, &key).unwrap();
    let file = cluster.ledger_folder().join("early.json");
    let content = json!({
        "format": "chancery-half-signed/v1",
        "ledger": trust.ledger.to_string(),
        "signed_command": BASE64.encode(signed.encode()),
    });
    std::fs::write(&file, content.to_string()).unwrap();
    cluster.operate(&["member", "submit", file.to_str().unwrap()]).await.refused("not_caught_up");
}

/// Operators on different machines: one begins, the other signs, a third carries it out.
async fn half_signed_changes_go_from_hand_to_hand(cluster: &mut Cluster) {
    let member = cluster.prepare(4).await;
    cluster.start_node(4);
    let file = cluster.ledger_folder().join("change.json");
    let file = file.to_str().unwrap();
    let key = operator_key(cluster, "operator-2");
    let key = PublicKey(key.verifying_key().to_bytes()).to_string();
    let begin = ["member", "add", &member, "--half-signed", file, "--operator", &key];
    let begun = cluster.operate(&begin).await.done();
    assert_eq!(begun["missing_signers"], json!([key]));
    assert_eq!(mode(file), 0o600);
    cluster.operate(&["member", "submit", file]).await.refused("half_signed");
    // Who is not asked to sign cannot.
    assert_eq!(cluster.run("operator-3", &["member", "sign", file]).await.code, Some(2));
    let signed = cluster.run("operator-2", &["member", "sign", file]).await.done();
    assert_eq!(signed["missing_signers"], json!([]));
    let done = cluster.run("operator-3", &["member", "submit", file]).await.done();
    assert_eq!(voters(&done), [1, 2, 3, 4]);
    // Once more: it is done once.
    let again = cluster.operate(&["member", "submit", file]).await.done();
    assert_eq!((&again["before"], &again["index"]), (&json!(true), &done["index"]));
}

async fn removed_nodes_do_not_come_back(cluster: &Cluster, second: &str) {
    let removed = cluster.operate(&["member", "remove", "node-4", "--with-key", second]).await.done();
    assert_eq!(voters(&removed), [1, 2, 3]);
    let member = cluster.node_folder(4).join("member.toml");
    let add = ["member", "add", member.to_str().unwrap(), "--with-key", second];
    cluster.operate(&add).await.refused("not_possible");
    // Its folder is never made a second time.
    let (ledger, addresses) = (cluster.ledger_folder(), "127.0.0.1:1,127.0.0.1:2");
    let prepare = ["member", "prepare", "4", "--ledger", ledger.to_str().unwrap(), "--addresses", addresses];
    assert_eq!(cluster.operate(&prepare).await.code, Some(2));
}

fn voter(member: &str) -> Voter {
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(member).unwrap()).unwrap();
    let mut key = [0; 32];
    from_hex(table["key"].as_str().unwrap(), &mut key).unwrap();
    let node = u64::try_from(table["node"].as_integer().unwrap()).unwrap();
    let name = Name::new(table["name"].as_str().unwrap()).unwrap();
    Voter { node, name, key: PublicKey(key) }
}

fn operator_key(cluster: &Cluster, principal: &str) -> ed25519_dalek::SigningKey {
    let text = std::fs::read_to_string(cluster.context_folder(principal).join("key")).unwrap();
    let mut seed = [0; 32];
    from_hex(text.trim(), &mut seed).unwrap();
    ed25519_dalek::SigningKey::from_bytes(&seed)
}

fn mode(file: &str) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new(file)).unwrap().mode() & 0o777
}
