//! The binary where it needs no node: keys, founding, certificates, usage, and evidence files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use chancery_client::Context;
use chancery_ledger::answer::{Answer, Nonce};
use chancery_ledger::authority::{Block, State};
use chancery_ledger::checkpoint::{KeyName, SignatureType, VerifierKey};
use chancery_ledger::command::{LedgerId, Name};
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Interval, Request, decide};
use chancery_ledger::evidence::{Contradiction, Evidence, Proof};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, Number, RosterChain, Statement};
use chancery_ledger::log::nonces::NonceTree;
use chancery_ledger::state::{MemoryNodes, Recording, Update, prune};
use chancery_ledger::trust::{Trust, Witnesses};
use chancery_node::config::NodeConfig;
use ed25519_dalek::SigningKey;
use serde_json::Value;

fn chancery(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(arguments)
        .env_remove("CHANCERY_CONTEXT")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", home)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn keys_are_made_once_and_are_secret() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let file = path.to_str().unwrap();
    let made = chancery(home.path(), &["keygen", file, "--output", "json"]);
    assert_eq!(made.status.code(), Some(0));
    assert_eq!(json(&made)["public_key"].as_str().unwrap().len(), 64);
    assert_eq!(mode(&path), 0o600);
    let again = chancery(home.path(), &["keygen", file, "--output", "json"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(json(&again)["outcome"], "failed");
}

#[test]
fn wrong_arguments_and_missing_contexts_are_usage_errors() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["explain"][..],
        &["check", "bot", "a"],
        &["check", "bot", "a", "b"],
        &["check", "bot", "a b", "c"],
        &["status", "--context", "none"],
        &["status", "--context", "./none"],
        &["status", "--context", ".."],
        &["verify", "missing.json", "--trust", "missing.toml"],
        &["node", "--config", "missing.toml"],
        &["demo", "--replay", "missing.jsonl"],
        &["revoke", "00"],
    ] {
        assert_eq!(chancery(home.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(chancery(home.path(), &["--help"]).status.code(), Some(0));
}

#[test]
fn output_is_plain_when_it_is_piped() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let made = chancery(home.path(), &["init", ledger.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert!(!made.stdout.contains(&0x1b));
    assert!(
        String::from_utf8(made.stdout).unwrap().starts_with("founded ledger chancery.localhost/ledger\n")
    );
}

#[test]
fn a_founded_ledger_loads_and_proves() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ledger");
    let arguments = ["init", dir.to_str().unwrap(), "--output", "json", "--origin", "example.com/l"];
    let made = chancery(home.path(), &arguments);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let made = json(&made);

    let trust = Trust::from_toml(&std::fs::read_to_string(dir.join("trust.toml")).unwrap()).unwrap();
    assert_eq!(made["ledger"], trust.ledger.to_string());
    for secret in ["ca/nodes.key", "ca/clients.key", "node-1/tls.key", "node-2/signing.key"] {
        assert_eq!(mode(&dir.join(secret)), 0o600, "{secret}");
    }
    for node in 1..=3 {
        let folder = dir.join(format!("node-{node}"));
        let config = NodeConfig::load(&folder.join("node.toml")).unwrap();
        assert_eq!((config.node, config.peers.len()), (node, 3));
        assert!(config.tls.certificate.exists() && config.genesis.exists());
        let block = Block::decode(&std::fs::read(config.genesis).unwrap()).unwrap();
        assert_eq!(LedgerId(block.hash()), trust.ledger);
    }
    too_little_history(&dir.join("node-1"));
    for name in ["operator", "issuer", "revoker", "gate", "halter", "resumer"] {
        let context = Context::open(dir.join("contexts").join(name)).unwrap();
        assert_eq!((context.endpoints.len(), context.trust.ledger), (3, trust.ledger));
        assert!(context.key.is_some());
    }
    let again = chancery(home.path(), &["init", dir.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2), "a folder that is not empty is left alone");
    verify_contradiction(home.path(), &dir, &trust);
    verify_evidence(home.path(), &dir, trust);
}

/// A node that forgets what is still being read is not started.
fn too_little_history(folder: &Path) {
    let config = std::fs::read_to_string(folder.join("node.toml")).unwrap();
    let load = |blocks: &str| {
        let path = folder.join("history.toml");
        let changed = config.replace("history_blocks = 65536", &format!("history_blocks = {blocks}"));
        std::fs::write(&path, changed).unwrap();
        NodeConfig::load(&path).map(|config| config.tuning.history_blocks)
    };
    assert_eq!(load("16").unwrap(), 16);
    assert!(
        load("15").unwrap_err().to_string().ends_with("history_blocks is 15, and at least 16 are needed")
    );
}

/// A node that joins asks the witnesses that the others ask, or those of the file that is named.
fn joins_with_witnesses(home: &Path, dir: &Path, trust: &Trust) {
    let prepare = |number: &str, addresses: &str, more: &[&str]| {
        let asked =
            ["member", "prepare", number, "--ledger", dir.to_str().unwrap(), "--addresses", addresses];
        let made = chancery(home, &[&asked[..], more].concat());
        let config = dir.join(format!("node-{number}/node.toml"));
        (made.status.code(), NodeConfig::load(&config).ok().map(|config| config.tiles))
    };
    let (served, unserved) = ("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", "127.0.0.1:1,127.0.0.1:2");
    let (code, tiles) = prepare("4", served, &[]);
    let asked = tiles.unwrap().unwrap().witnesses.unwrap();
    assert_eq!((code, asked.rule().unwrap()), (Some(0), trust.witnesses.clone().unwrap()));
    let (code, tiles) = prepare("5", unserved, &[]);
    assert_eq!((code, tiles), (Some(0), Some(None)), "who does not serve the log asks nobody");

    // Another file's, though the others ask two.
    let mut config = NodeConfig::load(&dir.join("node-1/node.toml")).unwrap();
    let witnesses = config.tiles.as_mut().unwrap().witnesses.as_mut().unwrap();
    witnesses.servers.truncate(1);
    let named = witnesses.clone();
    let file = home.join("other.toml");
    std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    let from = ["--witnesses-from", file.to_str().unwrap()];
    let (code, tiles) = prepare("6", served, &from);
    assert_eq!((code, tiles.unwrap().unwrap().witnesses), (Some(0), Some(named)));
    assert_eq!(prepare("7", unserved, &from), (Some(2), None));
    config.tiles.as_mut().unwrap().witnesses = None;
    std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(prepare("7", served, &from), (Some(2), None));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(prepare("7", served, &from), (Some(2), None));
}

#[test]
fn witnesses_are_asked_by_the_nodes_and_demanded_by_the_trust_file() {
    let home = tempfile::tempdir().unwrap();
    let witness = |number: u8| {
        let key = SigningKey::from_bytes(&[number; 32]).verifying_key();
        let name = KeyName::new(&format!("w.example/{number}")).unwrap();
        VerifierKey::new(name, SignatureType::Cosignature, key).unwrap()
    };
    let (one, two) = (witness(1), witness(2));
    let (one_option, two_option) =
        (format!("http://127.0.0.1:1/={one}"), format!("https://w.example/x={two}"));
    let init = |folder: &str, more: &[&str]| {
        let dir = home.path().join(folder);
        let made = chancery(home.path(), &[&["init", dir.to_str().unwrap()], more].concat());
        (made.status.code(), dir)
    };
    let both = ["--witness", &one_option, "--witness", &two_option];
    let (code, dir) = init("both", &[&both[..], &["--witness-quorum", "1"]].concat());
    assert_eq!(code, Some(0));
    let trust = Trust::from_toml(&std::fs::read_to_string(dir.join("trust.toml")).unwrap()).unwrap();
    let demanded = Witnesses::new(vec![one.clone(), two], 1).unwrap();
    assert_eq!(trust.witnesses, Some(demanded));
    for node in 1..=3 {
        let config = NodeConfig::load(&dir.join(format!("node-{node}/node.toml"))).unwrap();
        let asked = config.tiles.unwrap().witnesses.unwrap();
        assert_eq!(asked.rule().unwrap(), *trust.witnesses.as_ref().unwrap());
        assert_eq!(asked.servers[0].url, "http://127.0.0.1:1/");
        assert_eq!(asked.servers[1].url, "https://w.example/x");
    }
    let context = Context::open(dir.join("contexts/operator")).unwrap();
    assert_eq!(context.trust.witnesses, trust.witnesses);
    joins_with_witnesses(home.path(), &dir, &trust);

    let unserved = ["--node", "127.0.0.1:1,127.0.0.1:2", "--witness", &one_option];
    let ftp = format!("ftp://w.example={one}");
    for (what, arguments) in [
        ("a quorum of nobody", &["--witness-quorum", "1"][..]),
        ("more than there are", &["--witness", &one_option, "--witness-quorum", "2"]),
        ("one twice", &["--witness", &one_option, "--witness", &one_option]),
        ("no key", &["--witness", "https://w.example"]),
        ("another scheme", &["--witness", &ftp]),
        ("nobody to ask", &unserved),
    ] {
        let (code, dir) = init("none", arguments);
        assert_eq!(code, Some(2), "{what}");
        assert!(!dir.exists(), "{what}");
    }
}

/// A statement of `node`, by its own key.
fn sign(dir: &Path, trust: &Trust, node: u64, counter: u64, fresh: Option<Fresh>, head: Head) -> Statement {
    let seed = std::fs::read_to_string(dir.join(format!("node-{node}/signing.key"))).unwrap();
    let mut key = [0; 32];
    chancery_ledger::hash::from_hex(seed.trim(), &mut key).unwrap();
    let voter = trust.genesis.voter(node).unwrap();
    Statement::sign(voter, &SigningKey::from_bytes(&key), Number { epoch: 1, counter }, fresh, head)
}

/// Two heads of one block, signed by node 2.
fn verify_contradiction(home: &Path, dir: &Path, trust: &Trust) {
    let block = Block::decode(&std::fs::read(dir.join("node-1/genesis")).unwrap()).unwrap();
    let head = *State::genesis(&MemoryNodes::new(), &block).unwrap().0.head();
    let other = Head { state_root: Hash::of(&[b"lie"]), ..head };
    let (one, two) = (sign(dir, trust, 2, 1, None, head), sign(dir, trust, 2, 2, None, other));
    let file = Contradiction::find(trust, &one.into(), &two.into()).unwrap().to_json();
    let (good, bad) = (home.join("contradiction.json"), home.join("no-contradiction.json"));
    std::fs::write(&good, &file).unwrap();
    std::fs::write(&bad, file.replace(&trust.ledger.to_string(), &Hash::ZERO.to_string())).unwrap();

    let trust = dir.join("trust.toml");
    let verify = |file: &Path, more: &[&str]| {
        let arguments = ["verify", file.to_str().unwrap(), "--trust", trust.to_str().unwrap()];
        chancery(home, &[&arguments, more].concat())
    };
    let convicted = verify(&good, &["--output", "json"]);
    assert_eq!(convicted.status.code(), Some(0), "{convicted:?}");
    let shown = &json(&convicted)["files"][0];
    assert_eq!((&shown["outcome"], &shown["charge"]), (&"convicted".into(), &"head_twice".into()));
    assert_eq!((&shown["node"], &shown["name"]), (&2.into(), &"node-2".into()));
    assert_eq!(shown["messages"][1]["head"]["state_root"], Hash::of(&[b"lie"]).to_string());
    let text = String::from_utf8(verify(&good, &[]).stdout).unwrap();
    let line = text.lines().find(|line| line.contains("state root")).unwrap();
    let (told, lie) = (head.state_root.to_string(), Hash::of(&[b"lie"]).to_string());
    assert!(line.contains(&told[..16]) && line.contains(&lie[..16]), "side by side: {text}");
    let nothing = verify(&bad, &["--output", "json"]);
    assert_eq!(nothing.status.code(), Some(13), "{nothing:?}");
    assert_eq!(json(&nothing)["files"][0]["outcome"], "invalid");
}

/// Evidence of a denial, made here from the founded state and the nodes' own keys.
fn verify_evidence(home: &Path, dir: &Path, trust: Trust) {
    let block = Block::decode(&std::fs::read(dir.join("node-1/genesis")).unwrap()).unwrap();
    let mut nodes = MemoryNodes::new();
    let (state, applied) = State::genesis(&nodes, &block).unwrap();
    let root = applied.summary.root;
    nodes.insert(&Update {
        root,
        new: applied.new_nodes.clone(),
        stale: Vec::new(),
        next_id: applied.summary.next_node,
    });
    let name = |text: &str| Name::new(text).unwrap();
    let request = Request {
        agent: name("nobody"),
        action: name("act"),
        resource: name("thing"),
        args_digest: Hash::of(&[b""]),
        args: None,
        knowledge: None,
        generation: None,
        hint: None,
    };
    let nonce = Nonce([7; 32]);
    let tree = NonceTree::new(vec![nonce.question(&request)]).unwrap();
    let head = *state.head();
    let fresh = Fresh {
        nonce_root: tree.root(),
        clock_ms: head.time_ms + 1_000,
        tail_block: 0,
        tail_roster: head.roster,
    };
    let statements = [1, 2].map(|node| sign(dir, &trust, node, 1, Some(fresh), head));
    let recording = Recording::new(&nodes, root);
    let interval = Interval { low_ms: fresh.clock_ms, high_ms: fresh.clock_ms };
    decide(&recording, &request, interval).unwrap();
    let answer = Answer {
        head,
        statements: statements.to_vec(),
        head_statements: Vec::new(),
        nonce_path: tree.path(0),
        tree: prune(&nodes, root, &recording.into_keys()).unwrap(),
        hint: None,
        language: LANGUAGE_VERSION.into(),
    };
    let evidence = Evidence {
        origin: trust.origin.clone(),
        ledger: trust.ledger,
        request,
        proof: Proof::Check { nonce, answer },
        rosters: RosterChain::default(),
        cause: None,
    };
    let good = home.join("good.json");
    std::fs::write(&good, evidence.to_json()).unwrap();
    let mut tampered = evidence.clone();
    let Proof::Check { answer, .. } = &mut tampered.proof else { panic!() };
    answer.statements[0].fresh.as_mut().unwrap().clock_ms ^= 1;
    let bad = home.join("bad.json");
    std::fs::write(&bad, tampered.to_json()).unwrap();

    let trust = dir.join("trust.toml");
    let trust = trust.to_str().unwrap();
    let verify = |files: &[&Path]| {
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let arguments = [&["verify", "--output", "json", "--trust", trust], &files[..]].concat();
        chancery(home, &arguments)
    };
    let verified = verify(&[&good]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert_eq!(json(&verified)["outcome"], "verified");
    assert_eq!(json(&verified)["files"][0]["decision"]["code"], "unknown_agent");
    assert_eq!(json(&verified)["files"][0]["proof"]["nodes"], serde_json::json!(["node-1", "node-2"]));
    let invalid = verify(&[&good, &bad]);
    assert_eq!(invalid.status.code(), Some(13));
    assert_eq!(json(&invalid)["files"][0]["outcome"], "verified");
    assert_eq!(json(&invalid)["files"][1]["outcome"], "invalid");
    let people = chancery(home, &["verify", good.to_str().unwrap(), "--trust", trust]);
    let text = String::from_utf8(people.stdout).unwrap();
    assert!(text.contains("proven by") && text.contains("node-1, node-2 (any 2 of 3 suffice)"), "{text}");
}
