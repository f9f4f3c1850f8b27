//! The binary with real node processes: the demonstrations, and the tour of the README with `dev`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod desk_count;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// One ledger at a time: the commands have the product's own timeouts, which suit a machine that is not crowded.
static ALONE: Mutex<()> = Mutex::new(());

/// A home of its own: no context of the user's is seen or changed.
struct Home(tempfile::TempDir, #[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Home {
    fn new() -> Self {
        // Another test that failed has nothing to do with this one.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self(tempfile::tempdir().unwrap(), alone)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command
            .args(arguments)
            .args(["--output", "json"])
            .env("HOME", self.0.path())
            .env("TMPDIR", self.0.path())
            .env_remove("CHANCERY_CONTEXT")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command, demands its exit code, and returns what it says.
    fn says(&self, exit: i32, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// A process that does not outlive the test, however that ends; its nodes end with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn terminate(process: &Child) {
    let sent = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn the_story_holds_and_leaves_nothing_behind() {
    let home = Home::new();
    let told = home.run(&["demo"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let lines = lines(&told);
    let claims = events(&lines, "claim");
    assert!(claims.len() >= 10 && claims.iter().all(|claim| claim["holds"] == true), "{claims:?}");
    let revoked = &events(&lines, "revoked")[0]["index"];
    let denied = events(&lines, "denied");
    assert!(!denied.is_empty() && denied.iter().all(|denied| denied["index"] == *revoked));
    assert_eq!(home.0.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_extract_is_replayed_under_the_desks_policy() {
    let home = Home::new();
    let extract = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/airline-extract.jsonl");
    let recording = std::fs::read_to_string(&extract).unwrap();
    let calls = recording.lines().count() / 2;
    let told = home.run(&["demo", "--replay", extract.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let lines = lines(&told);
    let claims = events(&lines, "claim");
    assert!(claims.len() >= 9 && claims.iter().all(|claim| claim["holds"] == true), "{claims:?}");

    // What is denied, and why, is what the recording says when it is read a second time.
    let expected = desk_count::count(&recording);
    assert_eq!(expected.len(), 7, "the extract has something for each kind of rule: {expected:?}");
    let table = events(&lines, "table")[0];
    let reasons = table["denied_by_reason"].as_array().unwrap();
    let mut unmet = reasons.iter().filter(|reason| reason["count"] != 0).collect::<Vec<_>>();
    for ((tool, code, rule), count) in &expected {
        let place = unmet.iter().position(|reason| {
            let words = reason["rule"].as_str().unwrap().starts_with(rule);
            reason["tool"] == **tool && reason["code"] == *code && reason["count"] == *count && words
        });
        unmet.remove(place.unwrap_or_else(|| panic!("{tool} {code} {rule}: {count}, of {reasons:?}")));
    }
    assert!(unmet.is_empty(), "{unmet:?}");
    let denied: usize = expected.values().sum();
    assert_eq!((&table["calls"], &table["denied"]), (&calls.into(), &denied.into()));
    assert_eq!(table["permits_after_the_revocation"], 0);

    // Each is explained, with what was found; and so is the call that was made up.
    let explained = events(&lines, "denied");
    assert_eq!(explained.len(), denied + 1);
    assert!(explained.iter().all(|denial| !denial["found"].as_array().unwrap().is_empty()));
    // At least one decision for each call: a permit that came too late is given back, and asked for again.
    assert!(table["decisions_redecided"].as_u64().unwrap() > calls as u64);
    assert_eq!(home.0.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_interrupted_story_leaves_nothing_behind() {
    let home = Home::new();
    let mut demo = Running(home.command(&["demo"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"permit\"")));
    terminate(&demo.0);
    // The pipe must be read, or the last words have nowhere to go.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(demo.0.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.last().unwrap().contains("interrupted"));
    assert_eq!(home.0.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_tour_works() {
    let home = Home::new();
    let (mut dev, serving) = start_dev(&home);
    assert_eq!(serving["context"], "dev");
    assert_eq!(home.says(0, &["status"])["nodes"].as_array().unwrap().len(), 3);
    home.says(0, &["agent", "register", "bot", "--owner", "ada@example.com"]);
    let granted = home.says(0, &["grant", "bot", "--action", "mail/*", "--resource", "customer/*"]);
    let permit = home.says(0, &["check", "bot", "mail/send", "customer/42", "--args-json", "{}"]);
    assert_eq!(permit["decision"]["chain"], serde_json::json!([granted["grant"]]));
    assert_eq!(permit["proof"]["nodes"].as_array().unwrap().len(), 2);
    let denied = home.says(10, &["check", "bot", "payment/refund", "customer/42"]);
    assert_eq!(denied["decision"]["code"], "no_grant");
    assert_eq!(home.says(0, &["lookup", "bot"])["grants"][0]["grant"], granted["grant"]);
    assert_eq!(
        home.says(14, &["grant", "nobody", "--action", "a", "--resource", "b"])["code"],
        "unknown_agent"
    );

    delegate(&home);
    conditions(&home);
    record(&home);
    halt(&home);
    generations(&home);

    let recent =
        home.says(0, &["check", "bot", "mail/send", "customer/7", "--consistency", "fresh-within=30s"]);
    assert_eq!(recent["outcome"], "permit");
    let revoked = home.says(0, &["revoke", granted["grant"].as_str().unwrap(), "--wait"]);
    // The grant's 2 s, and both clocks' 0.5 s.
    assert_eq!((&revoked["waited_ms"], &revoked["staleness_ms"]), (&3_000.into(), &2_000.into()));
    assert!(revoked["dead_at_ms"].as_u64() >= revoked["time_ms"].as_u64().map(|time_ms| time_ms + 3_000));
    then(&home, &revoked);
    let again = home.says(0, &["revoke", granted["grant"].as_str().unwrap()]);
    assert_eq!((&again["index"], &again["before"]), (&revoked["index"], &true.into()));
    home.says(0, &["evidence", "bot", "mail/send", "customer/7", "--file", "denied.json"]);
    let denied = home.says(10, &["check", "bot", "mail/send", "customer/7"]);
    assert_eq!(denied["decision"]["cause"]["index"], revoked["index"]);
    let leaves = home.run(&["watch", "--count", "2"]);
    assert_eq!(lines(&leaves)[0]["kind"], "genesis");

    terminate(&dev.0);
    assert_eq!(dev.0.wait().unwrap().code(), Some(0));
    assert_eq!(home.says(12, &["check", "bot", "mail/send", "customer/7"])["code"], "unavailable");
    let trust = home.path(".local/share/chancery/dev/ledger/trust.toml");
    let verified = home.says(0, &["verify", "denied.json", "--trust", trust.to_str().unwrap()]);
    assert_eq!(verified["files"][0]["cause_kind"], "revoke_grant");

    // The same ledger, begun again.
    let (mut dev, again) = start_dev(&home);
    assert_eq!(again["ledger"], serving["ledger"]);
    let denied = home.says(10, &["check", "bot", "mail/send", "customer/7"]);
    assert_eq!(denied["decision"]["cause"]["index"], revoked["index"]);
    assert_eq!(home.run(&["dev"]).status.code(), Some(2), "one at a time");
    terminate(&dev.0);
    assert_eq!(dev.0.wait().unwrap().code(), Some(0));
}

/// A grant under a condition, checked with its arguments and explained.
fn conditions(home: &Home) {
    let limit = "permit(principal, action, resource) when { context.args.amount <= 5000 };";
    let schema = "entity Agent, Resource; action \"payment/refund\" appliesTo { principal: [Agent], \
                  resource: [Resource], context: { args: { amount: Long } } };";
    std::fs::write(home.path("limit.cedar"), limit).unwrap();
    std::fs::write(home.path("refund.cedarschema"), schema).unwrap();
    home.says(0, &["agent", "register", "payer", "--owner", "ada@example.com"]);
    let grant = ["grant", "payer", "--action", "payment/refund", "--resource", "customer/*", "--condition"];
    let granted = home.says(0, &[&grant[..], &["limit.cedar", "--schema", "refund.cedarschema"]].concat());
    let check = |exit, args: &[&str]| {
        home.says(exit, &[&["check", "payer", "payment/refund", "customer/42"], args].concat())
    };
    let permit = check(0, &["--args-json", r#"{ "amount": 5000 }"#]);
    assert_eq!(
        (&permit["decision"]["chain"][0], &permit["args"]),
        (&granted["grant"], &r#"{"amount":5000}"#.into())
    );
    let denied = check(10, &["--args-json", r#"{"amount":5001}"#]);
    assert_eq!(
        (&denied["decision"]["code"], &denied["decision"]["reason"]),
        (&"condition_failed".into(), &"not_permitted".into())
    );
    assert_eq!(check(10, &[])["decision"]["reason"], "arguments_undisclosed");
    assert_eq!(
        check(10, &["--args-digest", &"00".repeat(32)])["decision"]["reason"],
        "arguments_undisclosed"
    );
    assert_eq!(
        home.run(&["check", "payer", "a", "b", "--args-json", r#"{"amount":1.5}"#]).status.code(),
        Some(2)
    );

    let question = ["explain", "payer", "payment/refund", "customer/42", "--args-json", r#"{"amount":5001}"#];
    let explained = home.says(10, &question);
    let policy = &explained["grants"][0]["links"][0]["policies"][0];
    assert_eq!((&policy["outcome"], &policy["seen"][0]["value"]), (&"silent".into(), &"5001".into()));
    assert_eq!(home.says(0, &["lookup", "payer"])["grants"][0]["condition"], limit);
    let holders = home.says(0, &["lookup", "--action", "payment/refund", "--resource", "customer/42"]);
    assert_eq!(holders["agents"].as_array().unwrap().len(), 1);
    let holder = &holders["agents"][0];
    assert_eq!((&holder["agent"], &holder["may"]), (&"payer".into(), &"under_a_condition".into()));
    let wrong = "permit(principal, action, resource) when { context.args.amuont <= 5000 };";
    let refused = home.says(14, &[&grant[..], &[wrong, "--schema", "refund.cedarschema"]].concat());
    assert_eq!(refused["code"], "bad_condition");
}

/// What was before a revocation, and after; and what the nodes cannot show.
fn then(home: &Home, revoked: &Value) {
    let number = |field: &str| revoked[field].as_u64().unwrap();
    let (block, time_ms) = (number("block"), number("time_ms"));
    let at = |exit, mode: &str| {
        let question =
            ["check", "bot", "mail/send", "customer/7", "--evidence", "then.json", "--consistency"];
        home.says(exit, &[&question[..], &[mode]].concat())
    };
    let before = at(0, &format!("at-block={}", block - 1));
    assert_eq!((&before["outcome"], &before["at_block"]), (&"was_permitted".into(), &(block - 1).into()));
    assert!(before.get("permit_until_ms").is_none(), "the past is no permit");
    assert_eq!(at(0, &format!("at-time={}", time_ms - 1))["decision"]["verdict"], "permit");
    let after = at(10, &format!("at-time={time_ms}"));
    assert_eq!((&after["outcome"], &after["state"]["block"]), (&"was_denied".into(), &block.into()));
    let trust = home.path(".local/share/chancery/dev/ledger/trust.toml");
    let verified = home.says(0, &["verify", "then.json", "--trust", trust.to_str().unwrap()]);
    let shown = &verified["files"][0];
    assert_eq!((&shown["asked"], &shown["cause_kind"]), (&"at_time".into(), &"revoke_grant".into()));
    assert_eq!(at(12, "at-block=4000000000")["code"], "not_reached");
    assert_eq!(at(12, "at-time=1")["code"], "not_kept");
    let usage = home.run(&["check", "bot", "mail/send", "customer/7", "--consistency", "at-noon"]);
    assert_eq!(usage.status.code(), Some(2));
}

/// A desk delegates to another agent; a key that is let in but is no principal may command nothing.
fn delegate(home: &Home) {
    let key = home.says(0, &["keygen", "desk.key"]);
    let public = key["public_key"].as_str().unwrap();
    home.says(0, &["agent", "register", "desk", "--owner", "ada@example.com", "--key", public]);
    home.says(0, &["agent", "register", "clerk", "--owner", "ada@example.com"]);
    let terms = ["--action", "mail/send", "--resource", "customer/42"];
    let granted = home.says(0, &[&["grant", "desk", "--delegable", "1"], &terms[..]].concat());
    let parent = granted["grant"].as_str().unwrap();
    let narrower = ["delegate", parent, "clerk", "--for", "1h", "--key", "desk.key"];
    home.says(0, &[&narrower, &terms[..]].concat());
    let permit = home.says(0, &["check", "clerk", "mail/send", "customer/42"]);
    assert_eq!(permit["decision"]["chain"][1], granted["grant"]);
    let wider = ["--action", "mail/*", "--resource", "customer/42"];
    assert_eq!(home.says(14, &[&narrower, &wider[..]].concat())["code"], "widens");

    let ledger = home.path(".local/share/chancery/dev/ledger");
    let certify = ["principal", "certify", public, "--name", "desk", "--out", "desk.pem", "--ledger"];
    home.says(0, &[&certify, &[ledger.to_str().unwrap()][..]].concat());
    assert!(home.path("desk.pem").exists());
}

/// A call is decided on record, and what became of it recorded once.
fn record(home: &Home) {
    let slow = ["--staleness-ms", "10000", "--action", "mail/send", "--resource", "*"];
    home.says(0, &["agent", "register", "sender", "--owner", "ada@example.com"]);
    home.says(0, &[&["grant", "sender"], &slow[..]].concat());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked =
        ["authorize", "sender", "mail/send", "customer/42", "--args-json", "{}", "--traceparent", trace];
    let permit = patiently(home, &asked);
    assert_eq!(permit["outcome"], "permit");
    assert_eq!(permit["verdict"]["verdict"], "permit");
    let decision = permit["decision"].as_str().unwrap();
    assert!(decision.starts_with("sender/"), "{decision}");
    let said = ["outcome", decision, "executed", "--result-digest", &"0a".repeat(32)];
    let first = home.says(0, &said);
    let again = home.says(0, &said);
    assert_eq!((&again["index"], &again["before"]), (&first["index"], &true.into()));
    assert_eq!(home.says(14, &["outcome", decision, "failed"])["code"], "outcome_recorded");
    let denied = home.says(10, &["authorize", "sender", "mail/read", "customer/42", "--parent", decision]);
    assert_eq!((&denied["verdict"]["code"], &denied["outcome"]), (&"no_grant".into(), &"denied".into()));
    let refused = home.says(14, &["outcome", denied["decision"].as_str().unwrap(), "executed"]);
    assert_eq!(refused["code"], "decision_denied");
    let late = ["authorize", "sender", "mail/send", "customer/42", "--execute-within", "2h"];
    assert_eq!(home.says(14, &late)["code"], "execution_too_late");
    // The counters are part of what a check proves.
    let counted = home.says(10, &["check", "sender", "mail/read", "customer/42"]);
    assert_eq!(counted["recorded"]["decisions"], denied["verdict"]["number"]);
    let leaf = denied["index"].to_string();
    let told = lines(&home.run(&["watch", "--from", &leaf, "--count", "1"]));
    assert_eq!((&told[0]["kind"], &told[0]["verdict"]["code"]), (&"authorize".into(), &"no_grant".into()));
}

/// A recorded permit that has not ended when it comes: a machine that is slow for a while may need another.
fn patiently(home: &Home, asked: &[&str]) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let output = home.run(asked);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        if output.status.code() == Some(0) {
            return said;
        }
        assert_eq!((output.status.code(), &said["code"]), (Some(12), &"expired".into()), "{said}");
        assert!(std::time::Instant::now() < deadline, "no permit came in its time: {said}");
    }
}

/// What is halted is denied, and named as halted, until it is resumed.
fn halt(home: &Home) {
    let asked = ["check", "bot", "mail/send", "customer/42"];
    assert_eq!(home.says(0, &["halts"])["halts"], serde_json::json!([]));
    let halt = home.says(0, &["halt", "--action", "mail/*", "--reason", "wrong mails"]);
    let denied = home.says(10, &asked);
    let scope = serde_json::json!({ "kind": "action", "subject": "mail/*" });
    let decision = &denied["decision"];
    assert_eq!((&decision["code"], &decision["scope"]), (&"halted".into(), &scope));
    assert_eq!((&decision["reason"], &decision["cause"]["index"]), (&"wrong mails".into(), &halt["index"]));
    let listed = serde_json::json!([{ "index": halt["index"], "scope": scope }]);
    assert_eq!(home.says(0, &["halts"])["halts"], listed);

    let index = halt["halt"].to_string();
    let (zeros, hash) = ("0".repeat(64), halt["command_hash"].as_str().unwrap());
    assert_eq!(home.says(14, &["resume", &index, "--command", &zeros])["code"], "other_halt");
    assert_eq!(home.says(14, &["resume", "0"])["code"], "unknown_halt");
    let beyond = home.says(14, &["resume", "1000000"]);
    let leaves = halt["index"].as_u64().unwrap() + 2;
    let words = format!("no halt at index 1000000: the log has {leaves} leaves");
    assert_eq!((&beyond["code"], &beyond["message"]), (&"unknown_halt".into(), &words.into()));
    home.says(10, &asked);
    let resumed = home.says(0, &["resume", &index, "--command", hash]);
    assert_eq!(resumed["halt"], halt["index"]);
    home.says(0, &asked);
    assert_eq!(home.says(0, &["halts"])["halts"], serde_json::json!([]));

    // What a halted agent was granted is told from the log, and is what its denials showed before.
    home.says(0, &["agent", "register", "parked", "--owner", "ada@example.com"]);
    let grant = ["grant", "parked", "--resource", "*", "--action"];
    let gone = home.says(0, &[&grant[..], &["mail/read"]].concat());
    home.says(0, &["revoke", gone["grant"].as_str().unwrap()]);
    home.says(0, &[&grant[..], &["mail/*"]].concat());
    let shown = home.says(0, &["lookup", "parked"]);
    let parked = home.says(0, &["halt", "--agent", "parked"]);
    let told = home.says(0, &["lookup", "parked"]);
    assert_eq!(told["grants"], shown["grants"]);
    assert_eq!((told["grants"].as_array().unwrap().len(), &told["owner"]), (2, &shown["owner"]));
    home.says(0, &["resume", &parked["halt"].to_string()]);
    // So is what one was granted that may do everything.
    let everything = ["grant", "parked", "--action", "*", "--resource", "*", "--staleness-ms", "10000"];
    home.says(0, &everything);
    assert_eq!(patiently(home, &["lookup", "parked"])["grants"].as_array().unwrap().len(), 3);

    // It was halted then, and was not before.
    let at = |exit, block: u64| {
        home.says(exit, &[&asked[..], &["--consistency", &format!("at-block={block}")]].concat())
    };
    let block = halt["block"].as_u64().unwrap();
    assert_eq!(at(0, block - 1)["outcome"], "was_permitted");
    let then = &at(10, block)["decision"];
    assert_eq!(
        (&then["code"], &then["scope"], &then["cause"]["index"]),
        (&"halted".into(), &scope, &halt["index"])
    );
    // Who follows the log is told of both: of the halt and what it came from, and of the word that ended it.
    let followed = lines(&home.run(&["watch", "--from", &index, "--count", "2"]));
    let told = |place: usize| (followed[place]["kind"].as_str().unwrap(), &followed[place]["index"]);
    assert_eq!((told(0), told(1)), (("halt", &halt["index"]), ("resume", &resumed["index"])));
    assert!(halt["dead_at_ms"].is_u64() && resumed.get("dead_at_ms").is_none());
}

/// Two generations under one lineage, and back to the first.
fn generations(home: &Home) {
    let register = ["agent", "register", "line/1", "--owner", "ada@example.com", "--lineage", "line"];
    home.says(0, &register);
    home.says(0, &["grant", "line/1", "--action", "mail/*", "--resource", "*"]);
    let ask = |exit, action: &str, generation: &[&str]| {
        home.says(exit, &[&["check", "line/1", action, "customer/42"], generation].concat())
    };
    ask(0, "mail/send", &[]);
    home.says(0, &["generations", "set", "line", "--action", "mail/send", "--staleness-ms", "1500"]);
    assert_eq!(ask(10, "mail/read", &[])["decision"]["code"], "lineage_constraint");

    std::fs::write(home.path("prompt.txt"), "You send mail.").unwrap();
    let made = |model: &str, parent: &[&str]| {
        let digest = |text: &str| chancery_ledger::hash::Hash::of(&[text.as_bytes()]).to_string();
        let (model, rest) = (digest(model), digest("the same"));
        let make = ["generations", "register", "line", "--model", &model, "--prompt", "prompt.txt"];
        let rest = ["--tools", &rest, "--parameters", &rest, "--memory", &rest];
        home.says(0, &[&make[..], &rest, parent].concat())["generation"].as_str().unwrap().to_owned()
    };
    let first = made("model-1", &[]);
    assert_eq!(ask(10, "mail/send", &[])["decision"]["code"], "unregistered_generation");
    let as_first = ["--generation", &first];
    assert_eq!(ask(10, "mail/send", &as_first)["decision"]["code"], "quarantined_generation");
    home.says(0, &["generations", "release", "line", &first]);
    let permit = ask(0, "mail/send", &as_first);
    let decision = &permit["decision"];
    assert_eq!(decision["generation"], serde_json::json!({ "number": 1, "id": first }));
    assert_eq!(decision["max_staleness_ms"], 1_500);

    let second = made("model-2", &["--parent", &first]);
    home.says(0, &["generations", "release", "line", &second]);
    assert_eq!(ask(10, "mail/send", &as_first)["decision"]["code"], "superseded_generation");
    ask(0, "mail/send", &["--generation", &second]);
    let listed = home.says(0, &["generations", "list", "line/1"]);
    let ids: Vec<_> = listed["generations"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&Value::from(first.as_str()), &Value::from(second.as_str())]);
    assert_eq!(listed["generations"][1]["in_service"], true);
    let changed = home.says(0, &["generations", "diff", "line/1", "1", "2"]);
    assert_eq!(changed["changed"].as_array().unwrap().len(), 1);
    assert_eq!(changed["changed"][0]["what"], "model");
    // What was checked and not recorded is not told.
    let behaviour = &changed["behaviour"];
    assert_eq!((&behaviour["from"]["decisions"], &behaviour["changed"]), (&0.into(), &serde_json::json!([])));
    assert_eq!(home.says(14, &["generations", "diff", "line/1", "1", "3"])["code"], "unknown_generation");
    assert_eq!(home.says(14, &["generations", "rollback", "line", "2", &first])["code"], "other_generation");
    let rolled_back = home.says(0, &["generations", "rollback", "line", "1", &first]);
    ask(0, "mail/send", &as_first);
    home.says(
        0,
        &["evidence", "line/1", "mail/send", "a", "--generation", &second, "--file", "superseded.json"],
    );
    // By the nodes' clocks, and about the past, the generation is part of the question too.
    ask(0, "mail/send", &["--generation", &first, "--consistency", "fresh-within=60s"]);
    let then = format!("at-block={}", rolled_back["block"].as_u64().unwrap() - 1);
    ask(0, "mail/send", &["--generation", &second, "--consistency", &then]);
    let superseded = ask(10, "mail/send", &["--generation", &first, "--consistency", &then]);
    assert_eq!(superseded["decision"]["code"], "superseded_generation");
}

fn start_dev(home: &Home) -> (Running, Value) {
    let mut dev = Running(home.command(&["dev"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(dev.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let serving: Value = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error}: {first}"));
    assert_eq!(serving["event"], "serving");
    (dev, serving)
}
