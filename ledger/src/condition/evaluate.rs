//! Whether a condition holds for a call.

use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    Response, RestrictedExpression,
};

use super::admit::{number, parse};
use super::{Arguments, ArgumentsFault, Condition, on_a_large_stack};
use crate::command::Name;
use crate::hash::Hash;

/// Why a condition does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConditionFault {
    /// The request names its arguments by their digest alone: whoever leaves them out evades nothing.
    Undisclosed,
    /// The arguments cannot be used.
    Arguments(ArgumentsFault),
    /// Policies that could not be evaluated: places in the text from 0, sorted. Whatever the others say.
    Errors(Vec<u16>),
    /// `forbid` policies that apply: places in the text from 0, sorted.
    Forbidden(Vec<u16>),
    /// No `permit` policy applies.
    NotPermitted,
}

impl ConditionFault {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Undisclosed => "arguments_undisclosed",
            Self::Arguments(fault) => fault.code(),
            Self::Errors(_) => "policy_error",
            Self::Forbidden(_) => "forbidden",
            Self::NotPermitted => "not_permitted",
        }
    }

    /// The one of that code; policies that it does not name are lost.
    pub fn of_code(code: &str, policies: Vec<u16>) -> Option<Self> {
        Some(match code {
            "arguments_undisclosed" => Self::Undisclosed,
            "policy_error" => Self::Errors(policies),
            "forbidden" => Self::Forbidden(policies),
            "not_permitted" => Self::NotPermitted,
            other => Self::Arguments(ArgumentsFault::of_code(other)?),
        })
    }

    /// The policies that it names, as places in the condition's text from 0.
    pub fn policies(&self) -> &[u16] {
        match self {
            Self::Errors(policies) | Self::Forbidden(policies) => policies,
            _ => &[],
        }
    }
}

impl std::fmt::Display for ConditionFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |policies: &[u16]| policies.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Undisclosed => f.write_str("the arguments were not disclosed"),
            Self::Arguments(fault) => fault.fmt(f),
            Self::Errors(policies) => write!(f, "policy {} cannot be evaluated", list(policies)),
            Self::Forbidden(policies) => write!(f, "policy {} forbids it", list(policies)),
            Self::NotPermitted => f.write_str("no policy permits it"),
        }
    }
}

/// A condition that stands in the state, and that Cedar cannot read: [`super::admit`] lets none pass, so that the
/// state is corrupt, or another program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the condition cannot be read")]
pub struct Unreadable;

/// Something that a condition may know of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A number.
    Number(i64),
    /// A name or an id.
    Text(String),
    /// Facts under names; no name twice.
    Record(Vec<(String, Fact)>),
}

impl Fact {
    fn to_cedar(&self) -> Result<RestrictedExpression, Unreadable> {
        Ok(match self {
            Self::Number(number) => RestrictedExpression::new_long(*number),
            Self::Text(text) => RestrictedExpression::new_string(text.clone()),
            Self::Record(facts) => {
                let facts = facts.iter().map(|(name, fact)| Ok((name.clone(), fact.to_cedar()?)));
                let facts = facts.collect::<Result<Vec<_>, Unreadable>>()?;
                RestrictedExpression::new_record(facts).map_err(|_| Unreadable)?
            }
        })
    }
}

/// The kinds of a request's entities, in the order of its names; none if Cedar reads no kind in them.
static KINDS: LazyLock<Option<[EntityTypeName; 3]>> = LazyLock::new(|| {
    // INVARIANT: each is an identifier.
    let [agent, action, resource] = ["Agent", "Action", "Resource"].map(|kind| kind.parse().ok());
    Some([agent?, action?, resource?])
});

/// What is asked, as every condition of a chain sees it: `principal`, `action` and `resource` are entities
/// `Agent`, `Action` and `Resource` with the names of the request and nothing else.
#[derive(Debug)]
pub struct Call<'a> {
    names: [&'a Name; 3],
    arguments: Result<Arguments, ConditionFault>,
}

impl<'a> Call<'a> {
    /// An agent would do an action on a resource, named in this order, with the arguments of `digest`, disclosed
    /// or not. Cedar is not asked before a condition is.
    pub fn new(names: [&'a Name; 3], digest: Hash, disclosed: Option<&[u8]>) -> Self {
        let arguments = match disclosed {
            None => Err(ConditionFault::Undisclosed),
            Some(text) => Arguments::read(text, digest).map_err(ConditionFault::Arguments),
        };
        Self { names, arguments }
    }

    /// The arguments, if they are disclosed and can be used.
    pub fn arguments(&self) -> Option<&Arguments> {
        self.arguments.as_ref().ok()
    }

    /// Whether `condition` holds where `ledger` (a [`Fact::Record`]) is what is known of the ledger.
    ///
    /// # Errors
    /// The condition is none.
    pub fn satisfies(
        &self,
        condition: &Condition,
        ledger: &Fact,
    ) -> Result<Result<(), ConditionFault>, Unreadable> {
        on_a_large_stack(|| {
            let policies = parse(condition).map_err(|_| Unreadable)?;
            match &self.arguments {
                Ok(arguments) => Ok(judge(&answer(&self.request(arguments, ledger)?, &policies))),
                Err(fault) => Ok(Err(fault.clone())),
            }
        })
    }

    /// What Cedar is asked. On a large stack.
    pub(super) fn request(&self, arguments: &Arguments, ledger: &Fact) -> Result<Request, Unreadable> {
        let arguments = arguments.to_cedar().ok_or(Unreadable)?;
        let context = [("args".into(), arguments), ("ledger".into(), ledger.to_cedar()?)];
        let context = Context::from_pairs(context).map_err(|_| Unreadable)?;
        let [agents, actions, resources] = KINDS.as_ref().ok_or(Unreadable)?;
        let [agent, action, resource] = self.names;
        let entity = |kind: &EntityTypeName, name: &Name| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name.as_str()))
        };
        let (agent, action, resource) =
            (entity(agents, agent), entity(actions, action), entity(resources, resource));
        Request::new(agent, action, resource, context, None).map_err(|_| Unreadable)
    }
}

/// What Cedar answers, where no entity has attributes or parents.
pub(super) fn answer(request: &Request, policies: &PolicySet) -> Response {
    Authorizer::new().is_authorized(request, policies, &Entities::empty())
}

/// Cedar skips a policy that has an error, and answers in the order of a hash set.
fn judge(response: &Response) -> Result<(), ConditionFault> {
    let sorted = |mut policies: Vec<u16>| {
        policies.sort_unstable();
        policies.dedup();
        policies
    };
    let errors = response.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => number(error.policy_id()),
    });
    let errors = sorted(errors.collect());
    if !errors.is_empty() {
        return Err(ConditionFault::Errors(errors));
    }
    match response.decision() {
        Decision::Allow => Ok(()),
        Decision::Deny => {
            let forbids = sorted(response.diagnostics().reason().map(number).collect());
            Err(if forbids.is_empty() {
                ConditionFault::NotPermitted
            } else {
                ConditionFault::Forbidden(forbids)
            })
        }
    }
}
