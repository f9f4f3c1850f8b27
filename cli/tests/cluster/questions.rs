//! One file for each question that a person asks, from real nodes, and verified with nothing but the trust file.

use chancery_ledger::hash::Hash;
use serde_json::{Value, json};

use crate::harness::{Cluster, now_ms};

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
