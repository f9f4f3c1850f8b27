//! Conditions: what a grant may carry, what holds, and each trap of Cedar.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::authority::{Outcome, Refusal};
use chancery_ledger::command::{Body, GrantId, Terms};
use chancery_ledger::condition::{
    ARGUMENTS_SIZE_BYTES_MAX, ArgumentsFault, CONDITION_SIZE_BYTES_MAX, Condition, ConditionError,
    ConditionFault, LANGUAGE_VERSION, Schema, TextError, admit, canonical_arguments,
};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::hash::Hash;
use house::{House, nonce, request, terms};

fn condition(text: &str) -> Condition {
    Condition::new(text).unwrap()
}

fn schema(text: &str) -> Schema {
    Schema::new(text).unwrap()
}

/// The question of `agent`, with arguments that are disclosed.
fn with_args(agent: &str, args: &str) -> Request {
    let request = request(agent, "book", "flights/HAT1");
    Request { args_digest: Hash::of(&[args.as_bytes()]), args: Some(args.into()), ..request }
}

fn granted(condition: &str) -> Terms {
    let mut terms = terms("a", &["book"], &["flights/*"], 0);
    terms.not_after_ms = u64::MAX;
    Terms { condition: Some(self::condition(condition)), ..terms }
}

/// What a verifier decides of `request` in a ledger where `a` holds one grant under `condition`.
fn decided(condition: &str, request: &Request) -> Result<(), ConditionFault> {
    let mut house = House::found();
    house.register("a");
    house.grant(granted(condition));
    verdict(&house, request).map_err(|(_, fault)| fault)
}

fn verdict(house: &House, request: &Request) -> Result<(), (GrantId, ConditionFault)> {
    let nonce = nonce("condition");
    let answer = house.answer(request, nonce);
    match chancery_ledger::answer::verify(&house.trust, request, nonce, &answer).unwrap().decision {
        Decision::Permit(_) => Ok(()),
        Decision::Denied(Denial::ConditionFailed { grant, reason }) => Err((grant.grant, reason)),
        other => panic!("{other:?}"),
    }
}

const ANY: &str = "permit(principal, action, resource);";

#[test]
fn the_language_is_that_of_the_library() {
    assert_eq!(cedar_policy::get_lang_version().to_string(), LANGUAGE_VERSION);
}

#[test]
fn a_condition_sees_the_question_and_the_arguments() {
    let text = r#"permit(principal == Agent::"a", action == Action::"book", resource == Resource::"flights/HAT1")
                  when { context.args.passengers.count <= 5 && context.args.cabin == "economy" };"#;
    let five = r#"{"cabin":"economy","passengers":[{"age":1},{"age":1},{"age":1},{"age":1},{"age":1}]}"#;
    assert_eq!(decided(text, &with_args("a", five)), Ok(()));
    let six = r#"{"cabin":"economy","passengers":[1,1,1,1,1,null]}"#;
    assert_eq!(decided(text, &with_args("a", six)), Err(ConditionFault::NotPermitted));
    let first = five.replace("economy", "first");
    assert_eq!(decided(text, &with_args("a", &first)), Err(ConditionFault::NotPermitted));
    let other = Request { resource: house::name("flights/HAT2"), ..with_args("a", five) };
    assert_eq!(decided(text, &other), Err(ConditionFault::NotPermitted));
}

#[test]
fn who_does_not_disclose_the_arguments_evades_nothing() {
    let text = format!("{ANY} forbid(principal, action, resource) when {{ context.args has amount }};");
    let undisclosed = request("a", "book", "flights/HAT1");
    assert_eq!(decided(&text, &undisclosed), Err(ConditionFault::Undisclosed));
    assert_eq!(decided(ANY, &undisclosed), Err(ConditionFault::Undisclosed));
    let others = Request { args_digest: Hash::ZERO, ..with_args("a", "{}") };
    assert_eq!(decided(ANY, &others), Err(ConditionFault::Arguments(ArgumentsFault::OtherDigest)));
}

/// Cedar skips what it cannot evaluate: a `forbid` that is skipped permits.
#[test]
fn an_error_of_any_policy_denies() {
    let args = with_args("a", r#"{"amount":9223372036854775807,"name":"x"}"#);
    for broken in [
        "context.args.missing",
        "context.args.amount + 1 > 0",
        "context.args.name > 5",
        "context.args.amount",
        "principal.trusted",
        "resource.owner == principal",
        "context.time > 0",
        "context.args.name.contains(1)",
    ] {
        let forbid = format!("{ANY} forbid(principal, action, resource) when {{ {broken} }};");
        assert_eq!(decided(&forbid, &args), Err(ConditionFault::Errors(vec![1])), "{broken}");
        // Also where another policy permits already.
        let permit = format!("permit(principal, action, resource) when {{ {broken} }}; {ANY}");
        assert_eq!(decided(&permit, &args), Err(ConditionFault::Errors(vec![0])), "{broken}");
    }
    // An extension value may be made of a text; where it cannot be, that is an error as well.
    let address = r#"permit(principal, action, resource) when { ip(context.args.name).isIpv4() };"#;
    assert_eq!(decided(address, &args), Err(ConditionFault::Errors(vec![0])));
    assert_eq!(decided(address, &with_args("a", r#"{"name":"10.0.0.1"}"#)), Ok(()));
    // What Cedar does not evaluate is no error.
    let guarded = "permit(principal, action, resource) when { true || context.args.missing };";
    assert_eq!(decided(guarded, &args), Ok(()));
}

#[test]
fn reasons_are_sorted_whatever_the_hash_set_says() {
    let broken = "forbid(principal, action, resource) when { context.args.missing };";
    let forbid = "forbid(principal, action, resource);";
    let many = |policy: &str, count: usize| format!("{ANY} {}", policy.repeat(count));
    let args = with_args("a", "{}");
    let expected: Vec<u16> = (1..=40).collect();
    for _ in 0..4 {
        let errors = Err(ConditionFault::Errors(expected.clone()));
        assert_eq!(decided(&many(broken, 40), &args), errors);
        let forbids = Err(ConditionFault::Forbidden(expected.clone()));
        assert_eq!(decided(&many(forbid, 40), &args), forbids);
    }
}

/// JSON escapes of Cedar's own, which would make an entity or an extension value of an argument.
#[test]
fn an_argument_never_becomes_an_entity() {
    let args = with_args("a", r#"{"who":{"__entity":{"id":"a","type":"Agent"}}}"#);
    let same = "permit(principal, action, resource) when { context.args.who == principal };";
    assert_eq!(decided(same, &args), Err(ConditionFault::NotPermitted));
    let record = "permit(principal, action, resource) when { context.args.who has __entity };";
    assert_eq!(decided(record, &args), Ok(()));
    let quoted = r#"permit(principal, action, resource) when { context.args.who["__entity"].id == "a" };"#;
    assert_eq!(decided(quoted, &args), Ok(()));
}

#[test]
fn entities_are_their_names_and_nothing_else() {
    let args = with_args("a", "{}");
    let within = r#"permit(principal in Agent::"team", action, resource);"#;
    assert_eq!(decided(within, &args), Err(ConditionFault::NotPermitted));
    let other = r#"permit(principal == Agent::"b", action, resource);"#;
    assert_eq!(decided(other, &args), Err(ConditionFault::NotPermitted));
    let kinds = "permit(principal is Agent, action, resource is Resource);";
    assert_eq!(decided(kinds, &args), Ok(()));
}

#[test]
fn every_link_of_a_chain_has_its_say() {
    let mut house = House::found();
    for agent in ["a", "b", "c"] {
        house.register(agent);
    }
    let limit =
        |most: u32| format!("permit(principal, action, resource) when {{ context.args.amount <= {most} }};");
    let root = house.grant(granted(&limit(50)));
    let link = |agent: &str, depth, condition: Option<&str>| Terms {
        agent: house::name(agent),
        delegable_depth: depth,
        condition: condition.map(self::condition),
        ..granted(ANY)
    };
    let wide = limit(1_000);
    let second = house.delegate("a", root, link("b", 1, Some(&wide)));
    let third = house.delegate("b", second, link("c", 0, None));
    let ask = |agent: &str, amount: u32| with_args(agent, &format!(r#"{{"amount":{amount}}}"#));
    assert_eq!(verdict(&house, &ask("c", 50)), Ok(()));
    // The delegation cannot widen what its parent says.
    assert_eq!(verdict(&house, &ask("c", 51)), Err((root, ConditionFault::NotPermitted)));
    // From the subject's grant up: the nearest is told.
    assert_eq!(verdict(&house, &ask("c", 1_001)), Err((second, ConditionFault::NotPermitted)));
    assert_eq!(verdict(&house, &ask("b", 51)), Err((root, ConditionFault::NotPermitted)));
    assert_ne!(third, second);
    // A parent's condition is about who acts, not about who delegated.
    let named = granted(r#"permit(principal == Agent::"a", action, resource);"#);
    let mut house = House::found();
    house.register("a");
    house.register("b");
    let root = house.grant(named);
    house.delegate("a", root, link("b", 0, None));
    assert_eq!(verdict(&house, &with_args("a", "{}")), Ok(()));
    assert_eq!(verdict(&house, &with_args("b", "{}")), Err((root, ConditionFault::NotPermitted)));
}

#[test]
fn one_grant_that_holds_is_enough() {
    let mut house = House::found();
    house.register("a");
    house.grant(granted("permit(principal, action, resource) when { context.args.amount <= 5 };"));
    house.grant(granted("permit(principal, action, resource) when { context.args.amount >= 50 };"));
    let ask = |amount: u32| with_args("a", &format!(r#"{{"amount":{amount}}}"#));
    assert_eq!(verdict(&house, &ask(5)), Ok(()));
    assert_eq!(verdict(&house, &ask(50)), Ok(()));
    assert!(verdict(&house, &ask(6)).is_err());
}

#[test]
fn arguments_have_one_text() {
    let canonical =
        |text: &str| canonical_arguments(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
    let same = |text: &str, expected: &str| assert_eq!(canonical(text), Ok(expected.to_owned()));
    same(" {} ", "{}");
    same(r#"{ "b" : [ 1 , -0x ] }"#.replace("-0x", "-7").as_str(), r#"{"b":[1,-7]}"#);
    same(r#"{"b":null,"a":{"d":true,"c":false}}"#, r#"{"a":{"c":false,"d":true},"b":null}"#);
    // As RFC 8785 has it: sorted by UTF-16 code units, the shortest escapes.
    same("{\"\u{ff5e}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{ff5e}\":1}");
    same(r#"{"a":"\u0041\/\u00e9\n\u001F\""}"#, "{\"a\":\"A/\u{e9}\\n\\u001f\\\"\"}");
    same(
        r#"{"n":[9223372036854775807,-9223372036854775808]}"#,
        r#"{"n":[9223372036854775807,-9223372036854775808]}"#,
    );
    let deep = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    same(&deep(8), &deep(8));
    let cases = [
        (deep(9), ArgumentsFault::TooDeep),
        (deep(10_000), ArgumentsFault::TooDeep),
        (r#"{"a":1,"b":{"c":1,"c":1}}"#.into(), ArgumentsFault::DuplicateName),
        (r#"{"a":1,"\u0061":2}"#.into(), ArgumentsFault::DuplicateName),
        (r#"{"b":1,"a":1,"b":1}"#.into(), ArgumentsFault::DuplicateName),
        (r#"{"a":1.0}"#.into(), ArgumentsFault::Number),
        (r#"{"a":1e2}"#.into(), ArgumentsFault::Number),
        (r#"{"a":1e999}"#.into(), ArgumentsFault::Number),
        (r#"{"a":-1e99999999999999999999}"#.into(), ArgumentsFault::Number),
        (format!(r#"{{"a":{}}}"#, "9".repeat(400)), ArgumentsFault::Number),
        (r#"{"a":1e999"#.into(), ArgumentsFault::Number),
        (r#"{"a":1e+}"#.into(), ArgumentsFault::NotJson),
        (r#"{"a":-0}"#.into(), ArgumentsFault::Number),
        (r#"{"a":9223372036854775808}"#.into(), ArgumentsFault::Number),
        (r#"{"a":-9223372036854775809}"#.into(), ArgumentsFault::Number),
        (r#"{"a":123456789012345678901234567890}"#.into(), ArgumentsFault::Number),
        ("[1]".into(), ArgumentsFault::NotAnObject),
        ("null".into(), ArgumentsFault::NotAnObject),
        ("1".into(), ArgumentsFault::NotAnObject),
        (String::new(), ArgumentsFault::NotJson),
        ("{} {}".into(), ArgumentsFault::NotJson),
        (r#"{"a":01}"#.into(), ArgumentsFault::NotJson),
        (r#"{"a":NaN}"#.into(), ArgumentsFault::NotJson),
        (r#"{"a":"\ud800"}"#.into(), ArgumentsFault::NotJson),
        ("{\"a\":\"\n\"}".into(), ArgumentsFault::NotJson),
        (r#"{"a":1,}"#.into(), ArgumentsFault::NotJson),
        (format!(r#"{{"a":"{}"}}"#, "x".repeat(ARGUMENTS_SIZE_BYTES_MAX - 7)), ArgumentsFault::TooLarge),
        (" ".repeat(100_000), ArgumentsFault::TooLarge),
    ];
    for (text, fault) in cases {
        assert_eq!(canonical(&text), Err(fault), "{text}");
    }
    assert_eq!(canonical_arguments(b"{\"a\":\"\xff\"}"), Err(ArgumentsFault::NotJson));
    let fits = format!(r#"{{"a":"{}"}}"#, "x".repeat(ARGUMENTS_SIZE_BYTES_MAX - 8));
    same(&fits, &fits);
}

#[test]
fn arguments_that_cannot_be_used_deny() {
    for (args, fault) in [
        (r#"{"a":1.5}"#, ArgumentsFault::Number),
        (r#"{"a":1, "b":2}"#, ArgumentsFault::NotCanonical),
        (r#"{"b":1,"a":2}"#, ArgumentsFault::NotCanonical),
        (r#"{"a":"\u0041"}"#, ArgumentsFault::NotCanonical),
        (r#"{"a":1,"a":1}"#, ArgumentsFault::DuplicateName),
        ("[]", ArgumentsFault::NotAnObject),
        ("", ArgumentsFault::NotJson),
    ] {
        assert_eq!(decided(ANY, &with_args("a", args)), Err(ConditionFault::Arguments(fault)), "{args}");
    }
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(ARGUMENTS_SIZE_BYTES_MAX));
    let fault = Err(ConditionFault::Arguments(ArgumentsFault::TooLarge));
    assert_eq!(decided(ANY, &with_args("a", &large)), fault);
}

#[test]
fn what_no_grant_may_carry() {
    let when = |text: &str| format!("permit(principal, action, resource) when {{ {text} }};");
    let refused = |text: &str| admit(&condition(text), None).expect_err(text);
    assert!(matches!(refused("permit"), ConditionError::Syntax(_)));
    assert!(matches!(refused(&when("context.args.a <= 1.5")), ConditionError::Syntax(_)));
    assert!(matches!(refused(&when("context.args.a <= 9223372036854775808")), ConditionError::Syntax(_)));
    assert!(matches!(
        refused("permit(principal == ?principal, action, resource);"),
        ConditionError::Template
    ));
    assert_eq!(refused("forbid(principal, action, resource);"), ConditionError::NeverPermits);
    assert_eq!(refused("// nothing"), ConditionError::NeverPermits);
    let brackets = |count: usize| when(&format!("{}true{}", "(".repeat(count), ")".repeat(count)));
    assert_eq!(admit(&condition(&brackets(15)), None), Ok(()));
    assert_eq!(refused(&brackets(16)), ConditionError::Nested { max: 16 });
    let conditionals = |count: usize| when(&format!("{}true", "if true then true else ".repeat(count)));
    assert_eq!(admit(&condition(&conditionals(15)), None), Ok(()));
    assert_eq!(refused(&conditionals(16)), ConditionError::Nested { max: 16 });
    // A number ends where a word begins: Cedar would see the conditionals.
    assert_eq!(refused(&when(&"1if ".repeat(17))), ConditionError::Nested { max: 16 });
    let conjuncts = |count: usize| when(&vec!["true"; count].join("&&"));
    assert_eq!(admit(&condition(&conjuncts(50)), None), Ok(()));
    assert_eq!(refused(&conjuncts(120)), ConditionError::Deep { policy: 0 });
    assert_eq!(refused(&format!("{ANY}{}", conjuncts(120))), ConditionError::Deep { policy: 1 });
    assert_eq!(refused(&when(&format!("context{}", ".a".repeat(200)))), ConditionError::Deep { policy: 0 });
    assert_eq!(refused(&conjuncts(200)), ConditionError::Long { max: 512 });
    // What stands in texts and comments is not counted.
    let quiet =
        format!("// {}\n{}", "(".repeat(99), when(&format!(r#"context.args.a == "{}\"" "#, "[".repeat(99))));
    assert_eq!(admit(&condition(&quiet), None), Ok(()));
}

#[test]
fn a_text_is_seen_whole() {
    assert_eq!(Condition::new(""), Err(TextError::Empty));
    let long = "x".repeat(CONDITION_SIZE_BYTES_MAX + 1);
    assert_eq!(Condition::new(long), Err(TextError::TooLong { size: 4097, max: 4096 }));
    for (hidden, number) in
        [("\u{202e}", 0x202e), ("\u{200b}", 0x200b), ("\u{0}", 0), ("\u{1b}", 0x1b), ("\u{7f}", 0x7f)]
    {
        assert_eq!(Condition::new(format!("{ANY}{hidden}")), Err(TextError::Unseen(number)));
        assert_eq!(Schema::new(format!("{hidden}entity A;")), Err(TextError::Unseen(number)));
    }
    assert!(Condition::new(format!("\r\n\t{ANY}")).is_ok());
}

const SCHEMA: &str = r#"
    entity Agent;
    entity Resource;
    action "book", "cancel" appliesTo {
        principal: [Agent],
        resource: [Resource],
        context: { args: { amount: Long, passengers?: { count: Long, items: Set<String> } }, ledger: {} },
    };
"#;

#[test]
fn a_schema_is_checked_when_the_condition_is_granted() {
    let when = |text: &str| format!("permit(principal, action, resource) when {{ {text} }};");
    let under = |text: &str, given: &str| admit(&condition(text), Some(&schema(given)));
    assert_eq!(under(&when("context.args.amount <= 5"), SCHEMA), Ok(()));
    let guarded = "context.args has passengers && context.args.passengers.count <= 5";
    assert_eq!(under(&when(guarded), SCHEMA), Ok(()));
    for wrong in [
        "context.args.amuont <= 5",
        "context.args.amount == \"5\" && context.args.amount > \"a\"",
        "context.args.passengers.count <= 5",
        "principal.trusted",
        "context.time > 1",
    ] {
        assert!(matches!(under(&when(wrong), SCHEMA), Err(ConditionError::Invalid(_))), "{wrong}");
    }
    let unknown = r#"permit(principal, action == Action::"fly", resource);"#;
    assert!(matches!(under(unknown, SCHEMA), Err(ConditionError::Invalid(_))));
    // The same fault is told every time, whatever the order of Cedar's maps.
    let two = format!("{} {}", when("context.args.x"), when("context.args.y"));
    let first = under(&two, SCHEMA);
    for _ in 0..8 {
        assert_eq!(under(&two, SCHEMA), first);
    }
    assert!(matches!(under(ANY, "entity"), Err(ConditionError::SchemaSyntax(_))));
    let others = [
        "entity Agent; entity Resource;",
        r#"entity User; entity Resource; action "book" appliesTo { principal: [User], resource: [Resource] };"#,
        r#"entity Agent, Resource, Other; action "book" appliesTo { principal: [Agent], resource: [Resource, Other] };"#,
        r#"namespace N { entity Agent, Resource; action "book" appliesTo { principal: [Agent], resource: [Resource] }; }"#,
    ];
    for given in others {
        assert_eq!(under(ANY, given), Err(ConditionError::SchemaSubjects), "{given}");
    }
    let actions: Vec<_> = (0..17).map(|number| format!("\"a{number}\"")).collect();
    let many = |count: usize| {
        let actions = actions[..count].join(", ");
        format!(
            "entity Agent, Resource; action {actions} appliesTo {{ principal: [Agent], resource: [Resource] }};"
        )
    };
    assert_eq!(under(ANY, &many(16)), Ok(()));
    assert_eq!(under(ANY, &many(17)), Err(ConditionError::SchemaSubjects));
}

/// Named types are written out where they stand: twenty lines of them would be a million fields.
#[test]
fn a_schema_is_no_bomb() {
    let types: String = (0..20).map(|n| format!("type T{n} = {{ a: T{0}, b: T{0} }};", n + 1)).collect();
    let bomb = format!("{types} type T20 = Long; {SCHEMA}");
    let under = |given: &str| admit(&condition(ANY), Some(&schema(given)));
    assert_eq!(under(&bomb), Err(ConditionError::NamedType));
    // An attribute may be called so.
    assert_eq!(under(&SCHEMA.replace("amount", "type")), Ok(()));
    let deep = format!("{}Long{}", "Set<".repeat(17), ">".repeat(17));
    assert_eq!(
        under(&SCHEMA.replace("args: {", &format!("x: {deep}, args: {{"))),
        Err(ConditionError::Nested { max: 16 })
    );
    let attributes: String = (0..600).map(|n| format!("a{n}: Long,")).collect();
    assert_eq!(under(&SCHEMA.replace("amount: Long,", &attributes)), Err(ConditionError::Long { max: 1024 }));
}

/// Cedar's own check depends on how much stack is left. What is admitted needs little of it.
#[test]
fn what_is_admitted_is_decided_alike_on_every_stack() {
    let when = |text: &str| format!("permit(principal, action, resource) when {{ {text} }};");
    let nested =
        |open: &str, close: &str, count| format!("{}{}{}", open.repeat(count), "true", close.repeat(count));
    let candidates = [
        when(&vec!["context.args.a == 1"; 46].join("&&")),
        when(&vec!["context.args.a == 2"; 46].join("||")),
        when(&format!("{} > 0", vec!["context.args.a"; 55].join("+"))),
        when(&nested("if context.args.a == 1 then ", " else false", 15)),
        when(&nested("!(!(", "))", 7)),
        when(&nested("[", "].contains(true)", 14)),
        when(&format!("context.args{}", ".a".repeat(55))),
        when(&format!("context.args has a{}", ".a".repeat(25))),
        when(&nested("[[", "]] == [[true]]", 7)),
        "permit(principal, action, resource);".repeat(110),
    ];
    let run = |size_bytes: usize, text: String| {
        std::thread::Builder::new()
            .stack_size(size_bytes)
            .spawn(move || {
                let admitted = admit(&condition(&text), None);
                admitted.map(|()| decided(&text, &with_args("a", r#"{"a":1}"#)))
            })
            .unwrap()
            .join()
            .unwrap()
    };
    for text in candidates {
        let (small, large) = (run(1 << 20, text.clone()), run(16 << 20, text.clone()));
        assert_eq!(small, large, "{text}");
        assert!(small.is_ok(), "{text}: {small:?}");
    }
    // What is refused is refused before anything recurses, on a stack that Cedar would overflow.
    for text in [
        when(&nested("(", ")", 1_900)),
        when(&"!".repeat(4_000)),
        when(&"[".repeat(4_000)),
        "if ".repeat(1_300),
    ] {
        assert!(run(256 << 10, text).is_err());
    }
}

#[test]
fn a_grant_with_a_bad_condition_leaves_nothing() {
    let mut house = House::found();
    house.register("a");
    let refused = |house: &mut House, body: Body, code: &str| {
        let signed = house.signed("issuer", body);
        let before = house.state().summary().clone();
        let Outcome::Refused(refusal) = house.send(&signed) else { panic!("{code}") };
        assert_eq!(refusal.code(), code);
        let after = house.state().summary();
        assert_eq!((after.root, &after.frontier), (before.root, &before.frontier));
        refusal
    };
    let bad = granted("forbid(principal, action, resource);");
    let refusal = refused(&mut house, Body::grant(bad), "bad_condition");
    assert_eq!(refusal, Refusal::BadCondition(ConditionError::NeverPermits));
    let unfit = granted("permit(principal, action, resource) when { context.args.x };");
    let unfit = Body::Grant { terms: unfit, schema: Some(schema(SCHEMA)) };
    refused(&mut house, unfit, "bad_condition");
    let bare = Terms { condition: None, ..granted(ANY) };
    let bare = Body::Grant { terms: bare, schema: Some(schema(SCHEMA)) };
    refused(&mut house, bare, "schema_without_condition");
    // What fits is granted; the schema is in the log alone.
    let fits = granted("permit(principal, action, resource) when { context.args.amount <= 5 };");
    house.applied("issuer", Body::Grant { terms: fits, schema: Some(schema(SCHEMA)) });
    assert_eq!(verdict(&house, &with_args("a", r#"{"amount":5}"#)), Ok(()));
}

#[test]
fn an_answer_names_its_language() {
    let mut house = House::found();
    house.register("a");
    house.grant(granted(ANY));
    let (request, nonce) = (with_args("a", "{}"), nonce("language"));
    let answer = house.answer(&request, nonce);
    let other = chancery_ledger::answer::Answer { language: "4.5.0".into(), ..answer };
    let error = chancery_ledger::answer::verify(&house.trust, &request, nonce, &other).unwrap_err();
    assert!(matches!(error, chancery_ledger::answer::ProofError::OtherLanguage(found) if found == "4.5.0"));
}
