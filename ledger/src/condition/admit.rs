//! Which conditions a grant may carry.

use std::str::FromStr;

use cedar_policy::{PolicySet, Schema as CedarSchema, ValidationMode, Validator};
use serde_json::Value;

use super::{Condition, Schema, on_a_large_stack, shape};

/// Deepest nesting of a policy in Cedar's JSON form: two levels for each operator.
const JSON_DEPTH_MAX: usize = 128;

/// Most actions of a schema: the condition is checked for each.
const SCHEMA_ACTIONS_MAX: usize = 16;

/// Longest excerpt of Cedar's own words, in characters.
const WORDS_LENGTH_MAX: usize = 256;

/// Why a condition cannot be part of a grant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConditionError {
    /// Brackets or conditionals too deep.
    #[error("more than {max} brackets and conditionals are open at once")]
    Nested {
        /// The bound.
        max: usize,
    },
    /// Too many tokens.
    #[error("more than {max} tokens, in one policy or in the schema")]
    Long {
        /// The bound.
        max: usize,
    },
    /// Not Cedar.
    #[error("the condition is not a Cedar policy set: {0}")]
    Syntax(String),
    /// Slots that nothing would fill.
    #[error("the condition has a template: slots are never filled")]
    Template,
    /// An expression that Cedar builds deeper than it is written.
    #[error("policy {policy} is nested deeper than {JSON_DEPTH_MAX} levels in Cedar's JSON form")]
    Deep {
        /// Its place in the text, from 0.
        policy: u16,
    },
    /// Nothing in it ever permits.
    #[error("the condition has no permit policy: it would never hold")]
    NeverPermits,
    /// Not a Cedar schema.
    #[error("the schema is not a Cedar schema: {0}")]
    SchemaSyntax(String),
    /// Types with a name.
    #[error("the schema names a type: write it out where it is used")]
    NamedType,
    /// It speaks of others than agents and resources, or of nothing.
    #[error(
        "each action of the schema, 1 to {SCHEMA_ACTIONS_MAX} of them, applies to principal Agent and resource \
         Resource"
    )]
    SchemaSubjects,
    /// The condition is not valid under the schema.
    #[error("the condition is not valid under the schema: {0}")]
    Invalid(String),
}

/// Whether a grant may carry `condition`, which is checked against `schema` if one is given.
///
/// # Errors
/// Each way in which it may not has its own.
pub fn admit(condition: &Condition, schema: Option<&Schema>) -> Result<(), ConditionError> {
    on_a_large_stack(|| check(condition, schema))
}

fn check(condition: &Condition, schema: Option<&Schema>) -> Result<(), ConditionError> {
    let policies = parse(condition)?;
    if policies.num_of_templates() > 0 {
        return Err(ConditionError::Template);
    }
    let mut permits = false;
    // Cedar keeps them in the order of a hash map: which of two faults is told must not depend on it.
    let mut deep = None;
    for policy in policies.policies() {
        permits |= policy.effect() == cedar_policy::Effect::Permit;
        let json = policy.to_json().map_err(|error| ConditionError::Syntax(words(&error)))?;
        if depth(json) > JSON_DEPTH_MAX {
            deep = deep.max(Some(std::cmp::Reverse(number(policy.id()))));
        }
    }
    if let Some(std::cmp::Reverse(policy)) = deep {
        return Err(ConditionError::Deep { policy });
    }
    if !permits {
        return Err(ConditionError::NeverPermits);
    }
    match schema {
        Some(schema) => validate(&policies, schema),
        None => Ok(()),
    }
}

/// Parses a text that is known to be shallow: [`admit`] said so once, and nothing is believed twice.
pub(super) fn parse(condition: &Condition) -> Result<PolicySet, ConditionError> {
    shape::check_policies(condition.as_str())?;
    PolicySet::from_str(condition.as_str()).map_err(|error| ConditionError::Syntax(words(&error)))
}

/// The policy's place in the text, from 0: Cedar names them `policy0`, `policy1` and so on.
pub(super) fn number(id: &cedar_policy::PolicyId) -> u16 {
    let id: &str = id.as_ref();
    // INVARIANT: a text of 4,096 bytes has fewer policies than 65,536, and nothing else names them.
    id.strip_prefix("policy").and_then(|number| number.parse().ok()).unwrap_or(u16::MAX)
}

fn validate(policies: &PolicySet, schema: &Schema) -> Result<(), ConditionError> {
    shape::check_schema(schema.as_str())?;
    let (schema, _) = CedarSchema::from_cedarschema_str(schema.as_str())
        .map_err(|error| ConditionError::SchemaSyntax(words(&error)))?;
    // What the condition is checked for is what it will be asked: then there is one case for each action.
    let named = |name: &cedar_policy::EntityTypeName, expected: &str| name.to_string() == expected;
    let mut actions = 0_usize;
    for case in schema.request_envs().take(SCHEMA_ACTIONS_MAX + 1) {
        actions += 1;
        let ours = named(case.principal(), "Agent")
            && named(case.resource(), "Resource")
            && named(case.action().type_name(), "Action");
        if !ours {
            return Err(ConditionError::SchemaSubjects);
        }
    }
    if actions == 0 || actions > SCHEMA_ACTIONS_MAX {
        return Err(ConditionError::SchemaSubjects);
    }
    let result = Validator::new(schema).validate(policies, ValidationMode::Strict);
    // In the order of a hash map, as above: the least is told.
    match result.validation_errors().map(|error| words(error)).min() {
        Some(error) => Err(ConditionError::Invalid(error)),
        None => Ok(()),
    }
}

/// How deep `json` is nested, without recursion.
fn depth(json: Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(json, 1)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(items) => open.extend(items.into_iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => open.extend(fields.into_iter().map(|(_, field)| (field, depth + 1))),
            _ => {}
        }
    }
    deepest
}

/// Cedar's words on one line, cut off.
pub(super) fn words(error: &dyn std::fmt::Display) -> String {
    let line = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(WORDS_LENGTH_MAX).collect()
}
