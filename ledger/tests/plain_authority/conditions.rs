//! Conditions as a plain model: a few Cedar texts, and beside each the same in plain Rust.

use std::collections::BTreeMap;

use chancery_ledger::condition::{ArgumentsFault, Condition, ConditionFault};
use chancery_ledger::decide::Request;
use serde_json::{Map, Value};

type Plainly = fn(&Request, &Map<String, Value>, &Facts) -> Result<(), ConditionFault>;

/// What a condition knows of the ledger.
pub(crate) struct Facts {
    pub(crate) decisions: u64,
    /// Of each of the grant's own bounds.
    pub(crate) left: BTreeMap<String, u64>,
    /// Of what is shown of `about/0`.
    pub(crate) age_of_zero_ms: Option<u64>,
}

pub(crate) struct Ruled {
    text: &'static str,
    plainly: Plainly,
}

/// Arguments, and what is wrong with them before any condition looks at them.
pub(crate) struct Given {
    pub(crate) text: Option<&'static str>,
    fault: Option<ArgumentsFault>,
}

/// Cedar has no `match`; each of these is one trap or one habit of it.
pub(crate) const CONDITIONS: [Ruled; 11] = [
    Ruled { text: "permit(principal, action, resource);", plainly: |_, _, _| Ok(()) },
    Ruled {
        text: "permit(principal, action, resource) when { context.args.amount <= 100 };",
        plainly: |_, args, _| match args.get("amount").and_then(Value::as_i64) {
            None => Err(ConditionFault::Errors(vec![0])),
            Some(amount) if amount <= 100 => Ok(()),
            Some(_) => Err(ConditionFault::NotPermitted),
        },
    },
    // A forbid that cannot be evaluated is skipped by Cedar: it must deny all the same.
    Ruled {
        text: "permit(principal, action, resource);
               forbid(principal, action, resource) when { context.args has urgent && context.args.urgent };",
        plainly: |_, args, _| match args.get("urgent").filter(|urgent| !urgent.is_null()) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(Value::Bool(true)) => Err(ConditionFault::Forbidden(vec![1])),
            Some(_) => Err(ConditionFault::Errors(vec![1])),
        },
    },
    // What overflows is an error, not a large number.
    Ruled {
        text: "permit(principal, action, resource) unless { context.args.amount * 2 > 300 };",
        plainly: |_, args, _| match args.get("amount").and_then(Value::as_i64).map(|n| n.checked_mul(2)) {
            None | Some(None) => Err(ConditionFault::Errors(vec![0])),
            Some(Some(twice)) if twice > 300 => Err(ConditionFault::NotPermitted),
            Some(Some(_)) => Ok(()),
        },
    },
    // The first permits some; the error of the second denies them too, but only where it applies at all.
    Ruled {
        text: r#"permit(principal == Agent::"team/a", action, resource);
                 permit(principal, action == Action::"deploy", resource) when { context.args.seats.count <= 2 };"#,
        plainly: |request, args, _| {
            let seats = args.get("seats").and_then(Value::as_array).map(Vec::len);
            match (request.agent.as_str() == "team/a", request.action.as_str() == "deploy", seats) {
                (_, true, None) => Err(ConditionFault::Errors(vec![1])),
                (true, ..) => Ok(()),
                (false, true, Some(seats)) if seats <= 2 => Ok(()),
                _ => Err(ConditionFault::NotPermitted),
            }
        },
    },
    // A set holds nothing twice; the count is of the list.
    Ruled {
        text: "forbid(principal, action, resource) unless { context.args.seats.items.contains(1) };
               permit(principal, action, resource) when { context.args.seats.count == 3 };
               forbid(principal, action, resource) when { context.args.seats.items == [7] };",
        plainly: |_, args, _| {
            let Some(seats) = args.get("seats").and_then(Value::as_array) else {
                return Err(ConditionFault::Errors(vec![0, 1, 2]));
            };
            match (seats.contains(&1.into()), seats.len()) {
                (false, _) => {
                    let seven = !seats.is_empty() && seats.iter().all(|seat| *seat == 7);
                    Err(ConditionFault::Forbidden(if seven { vec![0, 2] } else { vec![0] }))
                }
                (true, 3) => Ok(()),
                (true, _) => Err(ConditionFault::NotPermitted),
            }
        },
    },
    // No entity has attributes or parents.
    Ruled {
        text: "permit(principal, action, resource);
               forbid(principal, action, resource) when { principal.trusted };",
        plainly: |_, _, _| Err(ConditionFault::Errors(vec![1])),
    },
    Ruled {
        text: "permit(principal, action, resource) when { context has time || context.ledger has time };",
        plainly: |_, _, _| Err(ConditionFault::NotPermitted),
    },
    Ruled {
        text: "permit(principal, action, resource) when { context.ledger.decisions < 3 };",
        plainly: |_, _, facts| if facts.decisions < 3 { Ok(()) } else { Err(ConditionFault::NotPermitted) },
    },
    // The last unit is not for this grant; where it has no such bound, that is an error.
    Ruled {
        text: "permit(principal, action, resource) when { context.ledger.bounds.count.left >= 2 };",
        plainly: |_, _, facts| match facts.left.get("count") {
            None => Err(ConditionFault::Errors(vec![0])),
            Some(left) if *left >= 2 => Ok(()),
            Some(_) => Err(ConditionFault::NotPermitted),
        },
    },
    // What came too lately does not count: this holds at a later time and not at an earlier one.
    Ruled {
        text: r#"permit(principal, action, resource)
                 when { context.ledger.knowledge["about/0"].age_ms >= 1001 };"#,
        plainly: |_, _, facts| match facts.age_of_zero_ms {
            None => Err(ConditionFault::Errors(vec![0])),
            Some(age_ms) if age_ms >= 1_001 => Ok(()),
            Some(_) => Err(ConditionFault::NotPermitted),
        },
    },
];

const fn good(text: &'static str) -> Given {
    Given { text: Some(text), fault: None }
}

const fn bad(text: &'static str, fault: ArgumentsFault) -> Given {
    Given { text: Some(text), fault: Some(fault) }
}

pub(crate) const ARGS: [Given; 14] = [
    good("{}"),
    good(r#"{"amount":100}"#),
    good(r#"{"amount":101,"urgent":false}"#),
    good(r#"{"amount":9223372036854775807}"#),
    good(r#"{"amount":-5,"seats":[1,1,2],"urgent":true}"#),
    good(r#"{"amount":"5","seats":[7,7],"urgent":"yes"}"#),
    good(r#"{"amount":null,"seats":[],"urgent":null}"#),
    good(r#"{"seats":[1]}"#),
    Given { text: None, fault: None },
    bad(r#"{"amount":1.5}"#, ArgumentsFault::Number),
    bad(r#"{"amount":1,"amount":2}"#, ArgumentsFault::DuplicateName),
    bad(r#"{"amount": 1}"#, ArgumentsFault::NotCanonical),
    bad("[]", ArgumentsFault::NotAnObject),
    bad("{", ArgumentsFault::NotJson),
];

impl Ruled {
    pub(crate) fn condition(&self) -> Condition {
        Condition::new(self.text).unwrap()
    }
}

/// What is wrong with a text before any condition looks at it; nothing with one that is not of the table.
pub(crate) fn fault(text: &[u8]) -> Option<ArgumentsFault> {
    ARGS.iter().find(|given| given.text.map(str::as_bytes) == Some(text))?.fault
}

/// Whether `condition`, one of the table, holds for `request`.
pub(crate) fn plainly(condition: &Condition, request: &Request, facts: &Facts) -> Result<(), ConditionFault> {
    let Some(text) = &request.args else { return Err(ConditionFault::Undisclosed) };
    if let Some(fault) = fault(text) {
        return Err(ConditionFault::Arguments(fault));
    }
    let ruled = CONDITIONS.iter().find(|ruled| ruled.text == condition.as_str()).unwrap();
    let Value::Object(args) = serde_json::from_slice(text).unwrap() else { unreachable!() };
    (ruled.plainly)(request, &args, facts)
}
