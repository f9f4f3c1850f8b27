//! Questions that are none, at a node's port and on the command line.

use chancery_proto::v1::api::check_past_reply::Outcome;
use chancery_proto::v1::api::check_past_request::Moment;
use chancery_proto::v1::api::{CheckPastRequest, CheckRequest};
use tonic::Code;

use crate::harness::NODES;
use crate::wire::{Papers, client};
use crate::{House, READER};

pub(crate) async fn refused(house: &mut House) {
    at_the_port(house).await;
    about_the_past(house).await;
    on_the_command_line(house).await;
}

fn question() -> CheckRequest {
    CheckRequest {
        agent: READER.into(),
        action: "read".into(),
        resource: "documents/1".into(),
        args_digest: vec![0; 32],
        nonce: vec![1; 32],
        ..CheckRequest::default()
    }
}

/// Makes of a question one that is none.
type Spoil = fn(&mut CheckRequest);

async fn at_the_port(house: &mut House) {
    let papers = Papers::of_principal(&house.cluster, "gate");
    let cases: [(&str, Spoil); 13] = [
        ("an agent without a name", |asked| asked.agent.clear()),
        ("an action with a space", |asked| asked.action = "read it".into()),
        ("a resource that is a pattern", |asked| asked.resource = "documents/*".into()),
        ("no digest", |asked| asked.args_digest.clear()),
        ("a short digest", |asked| asked.args_digest.truncate(31)),
        ("arguments of another digest", |asked| asked.args = b"{}".to_vec()),
        ("arguments that are too long", |asked| asked.args = vec![b' '; 4_097]),
        ("knowledge that is none", |asked| asked.knowledge = vec![0xff; 40]),
        ("knowledge of nothing", |asked| asked.knowledge = vec![0x10, 0x01]),
        ("a short generation", |asked| asked.generation = vec![1; 31]),
        ("no nonce", |asked| asked.nonce.clear()),
        ("a long nonce", |asked| asked.nonce.push(1)),
        ("a nonce for what is recent", |asked| asked.fresh_within_ms = Some(1_000)),
    ];
    for node in 1..=NODES {
        let mut client = client(&house.cluster, node, &papers);
        client.check(question()).await.unwrap();
        for (case, spoil) in cases {
            let mut asked = question();
            spoil(&mut asked);
            let status = client.check(asked).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{case}, at node {node}: {status:?}");
        }
    }
    house.unharmed("questions that are none").await;
}

async fn about_the_past(house: &mut House) {
    let papers = Papers::of_principal(&house.cluster, "gate");
    let check = || Some(CheckRequest { nonce: vec![], ..question() });
    let recent = CheckRequest { fresh_within_ms: Some(1_000), ..check().unwrap() };
    let first = Some(Moment::Block(1));
    for node in 1..=NODES {
        let mut client = client(&house.cluster, node, &papers);
        for (case, asked) in [
            ("no moment", CheckPastRequest { check: check(), moment: None }),
            ("no question", CheckPastRequest { check: None, moment: first }),
            ("a nonce", CheckPastRequest { check: Some(question()), moment: first }),
            ("recent", CheckPastRequest { check: Some(recent.clone()), moment: first }),
        ] {
            let status = client.check_past(asked).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{case}, at node {node}: {status:?}");
        }
        for (moment, expected) in [
            (Moment::Block(u64::MAX), "not reached"),
            (Moment::TimeMs(u64::MAX), "not reached"),
            (Moment::TimeMs(0), "not kept"),
        ] {
            let asked = CheckPastRequest { check: check(), moment: Some(moment) };
            let told = match client.check_past(asked).await.unwrap().into_inner().outcome.unwrap() {
                Outcome::NotReached(_) => "not reached",
                Outcome::NotKept(_) => "not kept",
                Outcome::Answer(_) => "an answer",
            };
            assert_eq!(told, expected, "{moment:?}, at node {node}");
        }
    }
    house.unharmed("questions about what never was").await;
}

/// None of these asks a node anything.
async fn on_the_command_line(house: &mut House) {
    let check = |rest: &[&'static str]| [&["check", READER, "read", "documents/1"], rest].concat();
    let authorize = |rest: &[&'static str]| [&["authorize", READER, "read", "documents/1"], rest].concat();
    let grant = |rest: &[&'static str]| {
        [&["grant", READER, "--action", "read", "--resource", "documents/*"], rest].concat()
    };
    let context = house.cluster.ledger_folder().join("contexts/operator");
    let run = |arguments: &[&str]| {
        house.cluster.chancery().args(arguments).arg("--context").arg(&context).output().unwrap()
    };
    let zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    for arguments in [
        check(&["--args-json", r#"{"amount":1.5}"#]),
        check(&["--args-json", r#"["a list"]"#]),
        check(&["--args-digest", "abc"]),
        check(&["--args-json", "{}", "--args-digest", zeros]),
        check(&["--knowledge-items", "no-such-file"]),
        check(&["--show", "order/7"]),
        check(&["--generation", "two"]),
        check(&["--consistency", "at-noon"]),
        check(&["--consistency", "fresh-within=soon"]),
        authorize(&["--traceparent", "00-trace"]),
        authorize(&["--execute-within", "soon"]),
        authorize(&["--parent", "the last one"]),
        authorize(&["--consistency", "linearizable"]),
        vec!["outcome", "the last one", "executed"],
        vec!["outcome", "reader/0@", "executed"],
        grant(&["--bound", "reads"]),
        grant(&["--bound", "reads:often:3"]),
        grant(&["--bound", "reads:count:none"]),
        grant(&["--bound", "reads:sum:3"]),
        grant(&["--knowledge", "order"]),
        grant(&["--knowledge", "order/{7}@10m"]),
        grant(&["--condition", "no-such-file"]),
        grant(&["--schema", "no-such-file"]),
        vec!["halt"],
        vec!["halt", "--everything", "--agent", READER],
        vec!["halt", "--action", "mail/*/send"],
        vec!["resume", "the last one"],
        vec!["generations", "release", "line", "two"],
        vec!["generations", "rollback", "line", "two", zeros],
        vec!["generations", "set", "line", "--action", "mail/*/send"],
        vec!["generations", "diff", READER, "1", "two"],
        vec![
            "generations",
            "register",
            "line",
            "--model",
            "no-such-file",
            "--prompt",
            zeros,
            "--tools",
            zeros,
            "--parameters",
            zeros,
            "--memory",
            zeros,
        ],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    let asked = run(&check(&["--args-json", "{}"]));
    assert_ne!(asked.status.code(), Some(2), "what is none above is so for its own reason: {asked:?}");
    house.unharmed("a command line that is none").await;
}
