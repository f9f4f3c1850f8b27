//! What nodes signed, given to `chancery verify`: it must convict by what contradicts, and by nothing else.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_ledger::authority::Block;
use chancery_ledger::evidence::{CONTRADICTION_FORMAT, Contradiction, Message, StatementBook};
use chancery_ledger::head::Statement;
use chancery_ledger::trust::Trust;
use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::house::House;
use crate::operator::Ended;

/// The checker's name.
pub(crate) const NAME: &str = "chancery verify";

/// Of each node, in each order: more than a scenario hears.
const KEPT_MAX: usize = 4_096;

/// Exit codes of `chancery verify`.
const CONVICTED: i32 = 0;
const INVALID: i32 = 13;

/// The file that convicts, and what anybody needs beside it.
const CONTRADICTION: &str = "contradiction.json";
const TRUST: &str = "trust.toml";

/// What it says of signatures that do not contradict.
const NOTHING: &str = "an honest node may have signed this";

/// Looks for a contradiction among `statements`, as they were heard, and the blocks that are in the nodes' logs. If
/// there is one, the program itself must convict by its file; and must not, once one of the messages is replaced
/// by another of that node's that an honest node may have signed too.
pub(crate) async fn judge(
    house: &House,
    trust: &Trust,
    statements: &[Statement],
    logs: &[Vec<Block>],
) -> Finding {
    let by_their_nodes =
        |one: &&Statement| trust.voter(one.node).is_some_and(|voter| one.verify(voter).is_ok());
    let signed: Vec<Statement> = statements.iter().filter(by_their_nodes).copied().collect();
    let examined = signed.len() as u64;
    let mut book = StatementBook::new(KEPT_MAX);
    let found = signed.iter().find_map(|one| book.note(trust, one));
    let verdict = match found.or_else(|| proposed_twice(trust, logs)) {
        None => Verdict::Valid,
        Some(found) => {
            let messages: Vec<&Message> = found.messages().collect();
            let innocent = innocent(trust, &messages, &signed, logs);
            acquits(&house.cluster, trust, &innocent).await;
            let what = convicts(house, &found.to_json()).await;
            Verdict::Violation { checker: NAME, what, operations: Vec::new() }
        }
    };
    Finding { checker: NAME, examined, verdict }
}

/// Two blocks of one leader that cannot both be, from the logs of two nodes.
fn proposed_twice(trust: &Trust, logs: &[Vec<Block>]) -> Option<Contradiction> {
    let blocks: Vec<&Block> = logs.iter().flatten().collect();
    blocks.iter().enumerate().find_map(|(place, one)| {
        blocks.iter().skip(place + 1).find_map(|other| {
            Contradiction::find(trust, &Message::from((*one).clone()), &Message::from((*other).clone()))
        })
    })
}

/// The same messages with the last one replaced, so that they show nothing.
fn innocent(trust: &Trust, messages: &[&Message], signed: &[Statement], logs: &[Vec<Block>]) -> Vec<Message> {
    let (last, before) = messages.split_last().expect("a contradiction has a message");
    let others: Vec<Message> = match last {
        Message::Statement(_) => signed.iter().copied().map(Message::from).collect(),
        Message::Block(_) => logs.iter().flatten().cloned().map(Message::from).collect(),
    };
    let of_the_node = others.into_iter().filter(|other| other.node() == last.node());
    let shows_nothing = |other: &Message| {
        let first = before.first().copied().unwrap_or(other);
        (before.is_empty() || first != other) && Contradiction::find(trust, first, other).is_none()
    };
    let other = of_the_node.into_iter().find(shows_nothing).expect("not all that it signed convicts it");
    before.iter().map(|message| (*message).clone()).chain([other]).collect()
}

/// The program convicts; of what. The file, and the trust that it is verified with, are kept for whoever wants to see.
async fn convicts(house: &House, file: &str) -> String {
    let ended = verify(&house.cluster, CONTRADICTION, file).await;
    let convicted = &ended.json["files"][0];
    assert_eq!((ended.code, &convicted["outcome"]), (Some(CONVICTED), &"convicted".into()), "{}", ended.json);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("convictions").join(house.name());
    fs::create_dir_all(&kept).unwrap();
    for name in [CONTRADICTION, TRUST] {
        fs::copy(house.cluster.ledger_folder().join(name), kept.join(name)).unwrap();
    }
    format!("exit {CONVICTED}: {} of {}; {}", convicted["charge"], convicted["name"], kept.display())
}

/// The program convicts nobody by `messages`, whose order in the file is one of two.
async fn acquits(cluster: &Cluster, trust: &Trust, messages: &[Message]) {
    let messages: Vec<Value> = messages.iter().map(message).collect();
    let reversed = messages.iter().rev().cloned().collect();
    let mut said = Vec::new();
    for messages in [messages, reversed] {
        let file = json!({
            "format": CONTRADICTION_FORMAT,
            "origin": trust.origin,
            "ledger": trust.ledger.to_string(),
            "messages": messages,
        });
        let ended = verify(cluster, "no-contradiction.json", &file.to_string()).await;
        assert_eq!(ended.code, Some(INVALID), "{}", ended.json);
        said.push(ended.json.to_string());
    }
    assert!(said.iter().any(|said| said.contains(NOTHING)), "{said:?}");
}

fn message(message: &Message) -> Value {
    let (kind, bytes) = match message {
        Message::Statement(statement) => ("statement", statement.encode()),
        Message::Block(block) => ("block", block.encode()),
    };
    json!({ "kind": kind, "signed": BASE64.encode(bytes) })
}

async fn verify(cluster: &Cluster, name: &str, file: &str) -> Ended {
    let (path, trust) = (cluster.ledger_folder().join(name), cluster.ledger_folder().join(TRUST));
    fs::write(&path, file).unwrap();
    cluster.operate(&["verify", path.to_str().unwrap(), "--trust", trust.to_str().unwrap()]).await
}
