//! Vectors of conditions: which are admitted, what arguments are, and what is decided.

use chancery_ledger::command::{Body, GrantId, Terms};
use chancery_ledger::condition::{Arguments, Condition, Schema, admit, canonical_arguments};
use chancery_ledger::hash::Hash;
use serde_json::{Value, json};

use super::Story;
use super::house::{name, nonce, public, request, terms};

const TEXT: &str = r#"// An amount, in cents, of at most five passengers.
permit(principal, action, resource) when { context.args.amount <= 100 && context.args.passengers.count <= 5 };
forbid(principal == Agent::"team/f", action, resource) when { context.args has urgent && context.args.urgent };
"#;

const SCHEMA: &str = r#"entity Agent, Resource;
action pay appliesTo {
    principal: [Agent],
    resource: [Resource],
    context: { args: { amount: Long, passengers: { count: Long, items: Set<String> }, urgent?: Bool }, ledger: {} },
};
"#;

/// A condition at each of two links, and arguments of every kind.
pub(crate) fn tell(story: &mut Story) {
    let now_ms = story.house.now_ms;
    let schema = || Some(Schema::new(SCHEMA).unwrap());
    let register = |agent: &str| Body::RegisterAgent {
        agent: name(agent),
        owner: name("ada@example.com"),
        key: Some(public(agent)),
        lineage: None,
    };
    let e = story.command("register_agent, for a condition", &["operator-1"], register("team/e"));
    let f = story.command("register_agent, for another", &["operator-1"], register("team/f"));
    let under = |agent: &str, text: &str| Terms {
        condition: Some(Condition::new(text).unwrap()),
        ..terms(agent, &["pay"], &["prod/*"], now_ms)
    };
    let granted = Body::Grant { terms: under("team/e", TEXT), schema: schema() };
    let granted = story.command("grant, under a condition with its schema", &["issuer"], granted);
    let id = GrantId::of(story.house.ledger, granted.command_bytes());
    let small = under("team/f", "permit(principal, action, resource) when { context.args.amount <= 10 };");
    let small = Body::delegate(id, Terms { delegable_depth: 0, ..small });
    let delegated = story.command("delegate, under another", &["team/e"], small);
    let never = Body::grant(under("team/e", "forbid(principal, action, resource);"));
    let never = story.command("grant, under a condition that never holds", &["issuer"], never);
    let slot = Body::grant(under("team/e", "permit(principal == ?principal, action, resource);"));
    let slot = story.command("grant, under a template", &["issuer"], slot);
    let unfit = under("team/e", "permit(principal, action, resource) when { context.args.x };");
    let unfit = Body::Grant { terms: unfit, schema: schema() };
    let unfit = story.command("grant, under a condition that its schema does not know", &["issuer"], unfit);
    story.block("conditions", vec![e, f, granted, delegated, never, slot, unfit]);
    let cases = [
        ("permit", "team/e", Some(r#"{"amount":100,"passengers":["a","b"]}"#)),
        ("permit by delegation", "team/f", Some(r#"{"amount":10,"passengers":[],"urgent":null}"#)),
        ("not permitted", "team/e", Some(r#"{"amount":100,"passengers":["a","a","a","a","a",null]}"#)),
        ("not permitted by the delegation's own", "team/f", Some(r#"{"amount":11,"passengers":[]}"#)),
        ("forbidden by the parent's", "team/f", Some(r#"{"amount":1,"passengers":[],"urgent":true}"#)),
        ("an error", "team/e", Some(r#"{"amount":"1","passengers":[],"urgent":"no"}"#)),
        ("an error beside a permit", "team/f", Some(r#"{"amount":1,"passengers":[],"urgent":"no"}"#)),
        ("not disclosed", "team/e", None),
        ("a fraction", "team/e", Some(r#"{"amount":1.5}"#)),
        ("a name twice", "team/e", Some(r#"{"amount":1,"amount":2}"#)),
        ("not canonical", "team/e", Some(r#"{"passengers":[],"amount":1}"#)),
    ];
    for (what, agent, args) in cases {
        let mut request = request(agent, "pay", "prod/db");
        if let Some(args) = args {
            (request.args_digest, request.args) = (Hash::of(&[args.as_bytes()]), Some(args.into()));
        }
        story.check(&format!("a condition: {what}"), &request);
        if what == "an error" {
            let evidence = story.house.evidence(&request, nonce("a condition"));
            story.keep_evidence("a denial by a condition, with the arguments", &evidence);
        }
    }
}

/// Texts, with a schema or without, and whether a grant may carry them.
pub(crate) fn conditions() -> Value {
    let when = |text: &str| format!("permit(principal, action, resource) when {{ {text} }};");
    let nested =
        |open: &str, close: &str, count| format!("{}true{}", open.repeat(count), close.repeat(count));
    let any = "permit(principal, action, resource);";
    let texts = [
        any.into(),
        TEXT.into(),
        "permit(principal, action, resource)".into(),
        "forbid(principal, action, resource);".into(),
        "permit(principal == ?principal, action, resource);".into(),
        "// nothing".into(),
        when(r#"ip("10.0.0.1").isLoopback()"#),
        when("context.args.amount <= 9223372036854775808"),
        when("context.args.amount <= 1.5"),
        when(&nested("(", ")", 15)),
        when(&nested("(", ")", 16)),
        when(&nested("if true then true else ", "", 15)),
        when(&nested("if true then true else ", "", 16)),
        when(&vec!["true"; 62].join("&&")),
        when(&vec!["true"; 63].join("&&")),
        when(&vec!["true"; 64].join("&&")),
        when(&vec!["true"; 65].join("&&")),
        when(&vec!["true"; 200].join("&&")),
        any.repeat(100),
        format!("// {}\n{}", "(".repeat(99), when(&format!(r#"context.args.a == "{}\"""#, "[".repeat(99)))),
        format!("{any}\u{200b}"),
        format!("{any}\u{7}"),
        format!("{any}\r\n\t"),
        format!("{any}{}", " ".repeat(4_096 - any.len())),
        format!("{any}{}", " ".repeat(4_097 - any.len())),
    ];
    let plain = texts.map(|text| {
        let admitted = Condition::new(text.as_str()).is_ok_and(|condition| admit(&condition, None).is_ok());
        json!({ "condition": text, "admitted": admitted })
    });
    let named = "entity Agent, Resource; type Amount = Long;\n\
        action pay appliesTo { principal: [Agent], resource: [Resource], context: { args: { amount: Amount } } };";
    let others = "entity User, Resource;\n\
        action pay appliesTo { principal: [User], resource: [Resource], context: { args: { amount: Long } } };";
    let schemas = [
        (TEXT.into(), SCHEMA),
        (any.into(), SCHEMA),
        (any.into(), "entity Agent, Resource;"),
        (any.into(), "entity"),
        (any.into(), named),
        (any.into(), others),
        (when("context.args.amuont <= 5"), SCHEMA),
        (when("context.args.urgent"), SCHEMA),
        (when("context.args has urgent && context.args.urgent"), SCHEMA),
        (when("context.args.amount <= \"5\""), SCHEMA),
        (r#"permit(principal, action == Action::"fly", resource);"#.into(), SCHEMA),
    ];
    let under = schemas.map(|(text, schema)| {
        let condition = Condition::new(text.as_str()).unwrap();
        let admitted = admit(&condition, Some(&Schema::new(schema).unwrap())).is_ok();
        json!({ "condition": text, "schema": schema, "admitted": admitted })
    });
    plain.into_iter().chain(under).collect()
}

/// Texts of arguments: their canonical form, or why they have none; and whether they are in it.
pub(crate) fn arguments() -> Value {
    let deep = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let texts = [
        "{}".into(),
        " { } ".into(),
        r#"{"a":1,"b":[true,false,null],"c":{"d":"text"}}"#.into(),
        r#"{"b":1,"a":2}"#.into(),
        "{\"\u{ff5e}\":1,\"\u{1f600}\":2}".into(),
        r#"{"a":"\u0041\/\u00e9\b\t\n\f\r\u001F\u007f\"\\"}"#.into(),
        r#"{"a":9223372036854775807,"b":-9223372036854775808}"#.into(),
        r#"{"a":9223372036854775808}"#.into(),
        r#"{"a":-9223372036854775809}"#.into(),
        r#"{"a":1.0}"#.into(),
        r#"{"a":1e0}"#.into(),
        r#"{"a":-0}"#.into(),
        r#"{"a":01}"#.into(),
        r#"{"a":1,"a":1}"#.into(),
        r#"{"a":1,"\u0061":1.5}"#.into(),
        r#"{"a":1.5,"a":1}"#.into(),
        r#"{"a":"\ud83d\ude00"}"#.into(),
        r#"{"a":"\ud83d"}"#.into(),
        "[]".into(),
        "1".into(),
        "1.5".into(),
        r#"{"a":1e999}"#.into(),
        format!(r#"{{"a":{}}}"#, "9".repeat(400)),
        r#"{"a":1.5"#.into(),
        "null".into(),
        "".into(),
        "{".into(),
        "{} {}".into(),
        deep(8),
        deep(9),
    ];
    let one = |text: &String| {
        let bytes = text.as_bytes();
        match canonical_arguments(bytes) {
            Ok(canonical) => {
                let used = Arguments::read(bytes, Hash::of(&[bytes])).is_ok();
                assert_eq!(used, canonical == bytes);
                json!({ "text": text, "canonical": String::from_utf8(canonical).unwrap() })
            }
            Err(fault) => json!({ "text": text, "fault": fault.code() }),
        }
    };
    texts.iter().map(one).collect()
}
