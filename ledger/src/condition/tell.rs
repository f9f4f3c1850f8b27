//! A condition in words: what each policy came to, and which values it saw.

use std::collections::BTreeSet;

use cedar_policy::{Effect, PolicySet};
use serde_json::Value;

use super::admit::{number, parse, words};
use super::evaluate::{Call, Fact, Unreadable, answer};
use super::{Condition, on_a_large_stack};

/// What one policy of a condition came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTold {
    /// Its place in the text, from 0.
    pub number: u16,
    /// Whether it permits; else it forbids.
    pub permits: bool,
    /// Its text.
    pub text: String,
    /// What it came to.
    pub outcome: PolicyOutcome,
    /// What of the context it looks at, sorted.
    pub seen: Vec<Seen>,
}

/// What a policy came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyOutcome {
    /// It applies.
    Applies,
    /// It does not apply.
    Silent,
    /// It cannot be evaluated, in Cedar's words.
    Error(String),
}

/// Something in the context.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    /// Where, such as `context.args.amount`.
    pub path: String,
    /// What stands there, as JSON; none if nothing does.
    pub value: Option<String>,
}

impl Call<'_> {
    /// What each policy of `condition` comes to, in the order of the text; nothing if the arguments cannot be used.
    ///
    /// # Errors
    /// The condition is none.
    pub fn tell(&self, condition: &Condition, ledger: &Fact) -> Result<Vec<PolicyTold>, Unreadable> {
        on_a_large_stack(|| self.tell_each(condition, ledger))
    }

    fn tell_each(&self, condition: &Condition, ledger: &Fact) -> Result<Vec<PolicyTold>, Unreadable> {
        let policies = parse(condition).map_err(|_| Unreadable)?;
        let Some(arguments) = self.arguments() else { return Ok(Vec::new()) };
        let request = self.request(arguments, ledger)?;
        let mut told = Vec::new();
        for policy in policies.policies() {
            let alone = PolicySet::from_policies([policy.clone()]).map_err(|_| Unreadable)?;
            let response = answer(&request, &alone);
            let diagnostics = response.diagnostics();
            let outcome = match diagnostics.errors().next() {
                Some(error) => PolicyOutcome::Error(words(error)),
                None if diagnostics.reason().next().is_some() => PolicyOutcome::Applies,
                None => PolicyOutcome::Silent,
            };
            let json = policy.to_json().map_err(|_| Unreadable)?;
            let value = |path: &[String]| match path.split_first() {
                Some((first, rest)) if first == "args" => arguments.at(rest),
                Some((first, rest)) if first == "ledger" => ledger.at(rest),
                _ => None,
            };
            let seen = |path: Vec<String>| {
                let value = value(&path);
                Seen { path: format!("context.{}", path.join(".")), value }
            };
            told.push(PolicyTold {
                number: number(policy.id()),
                permits: policy.effect() == Effect::Permit,
                text: policy.to_cedar().ok_or(Unreadable)?,
                outcome,
                seen: paths(json).into_iter().map(seen).collect(),
            });
        }
        told.sort_by_key(|policy| policy.number);
        Ok(told)
    }
}

impl Fact {
    /// The JSON text of what stands at `path`.
    fn at(&self, path: &[String]) -> Option<String> {
        let mut at = self;
        for name in path {
            let Self::Record(facts) = at else { return None };
            at = facts.iter().find(|(fact, _)| fact == name).map(|(_, fact)| fact)?;
        }
        match at {
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(Value::from(text.as_str()).to_string()),
            Self::Record(_) => None,
        }
    }
}

/// The attributes of the context that a policy in Cedar's JSON form looks at: the longest paths.
fn paths(policy: Value) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![policy];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                for (operator, of) in fields {
                    match path(&operator, &of) {
                        Some(path) => drop(found.insert(path)),
                        None => open.push(of),
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// The path that `operator` takes from the context, if it takes one: `.` or `has`, of what `.` took from it.
fn path(operator: &str, of: &Value) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let (mut operator, mut of) = (operator, of);
    // INVARIANT: ends at the depth that `admit` allows.
    loop {
        if !matches!(operator, "." | "has") {
            return None;
        }
        path.push(of.get("attr")?.as_str()?.to_owned());
        let left = of.get("left")?;
        if left.get("Var").and_then(Value::as_str) == Some("context") {
            path.reverse();
            return Some(path);
        }
        (operator, of) = (".", left.get(".")?);
    }
}
