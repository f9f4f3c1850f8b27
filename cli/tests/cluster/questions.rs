//! One file for each question that a person asks, from real nodes, and verified with nothing but the trust file.

use chancery_ledger::checkpoint::TlogProof;
use chancery_ledger::hash::Hash;
use chancery_ledger::log::leaf_hash;
use serde_json::{Value, json};

use crate::harness::{Cluster, employ, now_ms};
use crate::tile_log::published_at_least;

/// The call that all of it is about.
const CALL: [&str; 3] = ["bot", "read", "documents/7"];

/// What `chancery evidence` is asked, and with which file.
struct Asker<'a> {
    cluster: &'a Cluster,
}

impl Asker<'_> {
    fn file(&self, name: &str) -> String {
        self.cluster.ledger_folder().join(name).to_str().unwrap().to_owned()
    }

    /// The evidence is written, and verifies offline: what it says.
    async fn shows(&self, name: &str, question: &[&str]) -> Value {
        let file = self.file(name);
        let asked = [&["evidence"], question, &["--file", &file]].concat();
        self.cluster.run("gate", &asked).await.done();
        self.verified(&file).await
    }

    /// The answer is no, for this reason, and nothing is written.
    async fn does_not_show(&self, code: &str, question: &[&str]) {
        let file = self.file("none.json");
        let asked = [&["evidence"], question, &["--file", &file]].concat();
        let ended = self.cluster.run("gate", &asked).await;
        assert_eq!((ended.code, &ended.json["code"]), (Some(10), &json!(code)), "{}", ended.json);
        assert!(!std::path::Path::new(&file).exists(), "{question:?}");
    }

    async fn verified(&self, file: &str) -> Value {
        let trust = self.file("trust.toml");
        let verified = self.cluster.run("gate", &["verify", file, "--trust", &trust]).await.done();
        let shown = verified["files"][0].clone();
        assert!(!shown["claim"].as_str().unwrap().is_empty(), "{shown}");
        assert!(!shown["does_not_show"].as_array().unwrap().is_empty(), "{shown}");
        shown
    }

    /// What `verify` says of a file to people.
    async fn page(&self, file: &str) -> String {
        let mut command = tokio::process::Command::from(self.cluster.chancery());
        command.args(["verify", file, "--trust", &self.file("trust.toml")]);
        String::from_utf8(command.kill_on_drop(true).output().await.unwrap().stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_question_has_a_file_that_answers_it() {
    let cluster = Cluster::start().await;
    let ask = Asker { cluster: &cluster };
    let log = cluster.log_url(1);
    let run = async |principal: &str, arguments: &[&str]| cluster.run(principal, arguments).await.done();
    let number = |value: &Value, field: &str| value[field].as_u64().unwrap_or_else(|| panic!("{value}"));

    run("issuer", &["agent", "register", "bot", "--owner", "ada@example.com"]).await;
    let granted = run("issuer", &["grant", "bot", "--action", "read", "--resource", "documents/*"]).await;
    let grant = granted["grant"].as_str().unwrap().to_owned();

    // A decision with what the agent knew, and by when it was recorded.
    let items = ask.file("items");
    let digest = Hash::of(&[b"account 7"]);
    let retrieved_at_ms = number(&granted, "time_ms");
    let item =
        json!({ "source": "account/7", "digest": digest.to_string(), "retrieved_at_ms": retrieved_at_ms });
    std::fs::write(&items, format!("{item}\n")).unwrap();
    let root = run("gate", &["knowledge", "root", &items]).await["root"].clone();
    let decided = run("gate", &[&["authorize"][..], &CALL, &["--knowledge-items", &items]].concat()).await;
    let index = number(&decided, "index").to_string();
    let shown = ask.shows("decision.json", &["recorded-by", &index, "--log", &log]).await;
    assert_eq!(shown["question"], "recorded_by");
    assert_eq!((&shown["knowledge"]["root"], &shown["verdict"]["verdict"]), (&root, &json!("permit")));
    assert!(number(&shown, "by_ms") > number(&decided, "time_ms"), "{shown}");
    assert!(shown["cosigned"].as_array().unwrap().len() >= 2, "{shown}");

    // What it might do then, and that nobody had revoked it.
    let then_ms = number(&decided, "time_ms").to_string();
    let at = |question| [&[question][..], &CALL, &["--at", &then_ms]].concat();
    let shown = ask.shows("force.json", &at("in-force-at")).await;
    assert_eq!((&shown["question"], &shown["decision"]["chain"][0]), (&json!("in_force_at"), &json!(grant)));
    ask.shows("unrevoked.json", &at("not-revoked-at")).await;
    let before_ms = (number(&granted, "time_ms") - 1).to_string();
    let before = [&["in-force-at"][..], &CALL, &["--at", &before_ms]].concat();
    ask.does_not_show("no_grant", &before).await;

    // One permit was recorded, and none since.
    let since = |block: u64| format!("at-block={block}");
    let permit_block = number(&decided, "block");
    let kept = ask.file("unrevoked.json");
    let [since, until_permit] = [since(permit_block), since(permit_block - 1)];
    let shown = ask.shows("none-since.json", &["no-permit", "bot", "--from", &since]).await;
    assert_eq!(
        (&shown["question"], number(&shown, "permits"), number(&shown, "denials_between")),
        (&json!("no_recorded_permit"), 1, 0)
    );
    let [from, to] = ["from", "to"].map(|end| {
        let (block, time_ms) = (number(&shown[end], "block"), number(&shown[end], "time_ms"));
        assert!(block >= permit_block && time_ms >= number(&decided, "time_ms"), "{shown}");
        (end, block)
    });
    let page = ask.page(&ask.file("none-since.json")).await;
    for (end, block) in [from, to] {
        let line = page.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{end} ")));
        let told = line.unwrap_or_else(|| panic!("{page}")).trim();
        assert!(told.starts_with(&format!("block {block}, ")), "{page}");
    }
    ask.does_not_show("permitted", &["no-permit", "bot", "--from", &until_permit]).await;
    ask.shows("none-kept.json", &["no-permit", "bot", "--from-file", &kept]).await;

    // A halt covers the call, now and when it was given.
    let halted = run("halter", &["halt", "--action", "read", "--reason", "ticket 1404"]).await;
    let halt_ms = number(&halted, "time_ms").to_string();
    for question in
        [[&["halted"][..], &CALL].concat(), [&["halted"][..], &CALL, &["--at", &halt_ms]].concat()]
    {
        let shown = ask.shows("halt.json", &question).await;
        assert_eq!((&shown["question"], &shown["cause_kind"]), (&json!("halt_covered"), &json!("halt")));
    }
    let denied = ask.file("denied.json");
    let refused = cluster.run("gate", &[&["authorize"][..], &CALL, &["--evidence", &denied]].concat()).await;
    assert_eq!(refused.code, Some(10), "{}", refused.json);
    assert_eq!(ask.verified(&denied).await["question"], "halt_covered");
    let at_halt = [&["in-force-at"][..], &CALL, &["--at", &halt_ms]].concat();
    ask.does_not_show("halted", &at_halt).await;
    let shown = ask.shows("none-but-denied.json", &["no-permit", "bot", "--from", &since]).await;
    assert_eq!((number(&shown, "permits"), number(&shown, "denials_between")), (1, 1));

    // Revoked, and by when.
    ask.does_not_show("not_revoked", &["revoked-by", &grant, "--log", &log]).await;
    let started_ms = now_ms().to_string();
    let revoked = run("revoker", &["revoke", &grant, "--reason", "no longer"]).await;
    let question = ["revoked-by", &grant, "--log", &log];
    let shown = ask.shows("revoked.json", &question).await;
    assert_eq!((&shown["question"], &shown["index"]), (&json!("revoked_by"), &revoked["index"]));
    assert!(number(&shown, "by_ms") >= number(&revoked, "time_ms"), "{shown}");
    // Not before it was given; and no other command passes for it.
    ask.does_not_show("not_by_then", &[&question[..], &["--by", &started_ms]].concat()).await;
    ask.does_not_show("other_command", &["revoked-by", "--index", &index, "--log", &log]).await;
}

/// Somebody who has the trust file and no certificate: no context, and nothing but what is published.
struct Outsider<'a> {
    ask: Asker<'a>,
    trust: String,
}

impl Outsider<'_> {
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = tokio::process::Command::from(self.ask.cluster.chancery());
        command.args(["--context", "/nonexistent/context", "--output", "json"]);
        command.args(arguments).args(["--trust", &self.trust]);
        let output = command.kill_on_drop(true).output().await.unwrap();
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}")))
    }

    async fn done(&self, arguments: &[&str]) -> Value {
        let (code, json) = self.run(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {json}");
        json
    }

    async fn refused(&self, exit: i32, code: &str, arguments: &[&str]) {
        let file = self.ask.file("none.json");
        let (ended, json) = self.run(&[arguments, &["--file", &file]].concat()).await;
        assert_eq!((ended, &json["code"]), (Some(exit), &json!(code)), "{arguments:?}: {json}");
        assert!(!std::path::Path::new(&file).exists(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_outside_makes_evidence_by_a_time_from_what_is_published_alone() {
    let mut cluster = Cluster::start().await;
    let url = cluster.log_url(1);
    let issuer = cluster.connect("issuer").await;
    let grant = employ(&issuer, "bot").await;
    let kept_grant = employ(&issuer, "clerk").await.to_string();
    let revoker = cluster.connect("revoker").await;
    let revoked = revoker.revoke(grant, "no longer").await.unwrap();
    published_at_least(&cluster, 1, revoked.index + 1, &cluster.trust()).await;
    let ask = Asker { cluster: &cluster };
    let trust = ask.file("trust.toml");
    let outside = Outsider { ask, trust };
    let file = |name: &str| outside.ask.file(name);

    // Over HTTP alone, by the grant and by the index.
    let (grant, index) = (grant.to_string(), revoked.index.to_string());
    let written = file("http.json");
    for question in [["revoked-by", &grant].as_slice(), &["revoked-by", "--index", &index]] {
        let asked = [&["evidence"], question, &["--from", &url, "--file", &written]].concat();
        outside.done(&asked).await;
        let shown = outside.ask.verified(&written).await;
        assert_eq!((&shown["question"], &shown["index"]), (&json!("revoked_by"), &json!(revoked.index)));
        std::fs::remove_file(&written).unwrap();
    }
    // From an archive, once no node is there; and it is the file that a node's own leaves make.
    let archive = file("archive");
    outside.done(&["archive", &archive, "--from", &url]).await;
    let kept = format!("{archive}/checkpoint");
    let by_nodes = file("nodes.json");
    let question = ["evidence", "recorded-by", &index, "--checkpoint", &kept, "--file", &by_nodes];
    cluster.run("gate", &question).await.done();
    let beside = file("beside.json");
    let from_url = ["evidence", "recorded-by", &index, "--from", &url, "--checkpoint", &kept];
    outside.done(&[&from_url[..], &["--file", &beside]].concat()).await;
    let leaves = cluster.settled_leaves().await;
    let nodes_gone = cluster.running();
    let (by_nodes, beside) = (std::fs::read(by_nodes).unwrap(), std::fs::read(beside).unwrap());
    assert_eq!(by_nodes, beside);
    drop(outside);
    for node in nodes_gone {
        cluster.kill(node);
    }
    let ask = Asker { cluster: &cluster };
    let trust = ask.file("trust.toml");
    let outside = Outsider { ask, trust };
    let from = ["--from", &archive];
    let alone = outside.ask.file("archived.json");
    let question = [&["evidence", "recorded-by", &index], &from[..], &["--file", &alone]].concat();
    outside.done(&question).await;
    assert_eq!(std::fs::read(&alone).unwrap(), by_nodes);
    let shown = outside.ask.verified(&alone).await;
    assert_eq!((&shown["question"], &shown["kind"]), (&json!("revoked_by"), &json!("revoke_grant")));

    // A proof that other people's tools open.
    let (proof, entry) = (outside.ask.file("leaf.tlog-proof"), outside.ask.file("leaf"));
    let question = ["log", "proof", &index, "--from", &archive, "--file", &proof, "--entry", &entry];
    let told = outside.done(&question).await;
    let read = TlogProof::parse(&std::fs::read(&proof).unwrap()).unwrap();
    let bytes = std::fs::read(&entry).unwrap();
    assert_eq!(bytes, leaves[usize::try_from(revoked.index).unwrap()].encode());
    read.verify_inclusion(&leaf_hash(&bytes)).unwrap();
    assert_eq!((read.index(), &told["index"]), (revoked.index, &json!(revoked.index)));
    assert_eq!(read.checkpoint().encode(), std::fs::read_to_string(&kept).unwrap());
    assert!(told["cosigners"].as_array().unwrap().len() >= 2, "{told}");

    // What it does not show.
    let size = read.checkpoint().checkpoint().size().to_string();
    for question in [["evidence", "recorded-by"], ["log", "proof"]] {
        outside.refused(10, "not_covered", &[&question[..], &[&size], &from].concat()).await;
    }
    outside.refused(10, "not_revoked", &[&["evidence", "revoked-by", &kept_grant], &from[..]].concat()).await;
    let early = [&["evidence", "revoked-by", "--index", &index, "--by", "1"], &from[..]].concat();
    outside.refused(10, "not_by_then", &early).await;
    outside
        .refused(10, "other_command", &[&["evidence", "revoked-by", "--index", "0"], &from[..]].concat())
        .await;
    let moment = [&["evidence", "in-force-at"], &CALL[..], &["--at", "1"], &from].concat();
    outside.refused(2, "needs_a_node", &moment).await;

    // An entry changed, and a tile.
    let bundle = |path: &str| {
        let found = std::fs::read_dir(format!("{archive}/{path}")).unwrap();
        let paths = found.map(|found| found.unwrap().path());
        let width = |path: &std::path::PathBuf| -> u64 {
            path.file_name().and_then(|name| name.to_str()).unwrap().parse().unwrap()
        };
        paths.max_by_key(width).unwrap()
    };
    let tampered = async |path: std::path::PathBuf, code: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let before = std::fs::read(&path).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        for question in [["evidence", "recorded-by"], ["log", "proof"]] {
            outside.refused(13, code, &[&question[..], &[&index], &from].concat()).await;
        }
        std::fs::write(path, before).unwrap();
    };
    let at = usize::try_from(revoked.index).unwrap();
    let offset: usize = leaves[..at].iter().map(|leaf| leaf.encode().len() + 2).sum();
    tampered(bundle("tile/entries/000.p"), "leaf", &|bytes| bytes[offset + 40] ^= 1).await;
    tampered(bundle("tile/0/000.p"), "root", &|bytes| bytes[0] ^= 1).await;
    outside.done(&question).await;
}
