//! The desk's written policy: what its grants demand of each tool that changes something.
//!
//! The texts are the files in `policy/`: a Cedar policy set for each tool, a schema that they are checked against
//! when they are granted, and bounds and knowledge as the command line takes them. `docs/airline-policy.md` says
//! from which of the airline's rules each comes.

use std::collections::BTreeMap;

use chancery_ledger::command::{Bound, Bounds, Requirements};
use chancery_ledger::condition::{Condition, Schema};
use serde::Deserialize;

use crate::exit::{Failure, Result};
use crate::limits::{parse_bound, parse_requirement};

const SCHEMA: &str = include_str!("policy/airline.cedarschema");

const LIMITS: &str = include_str!("policy/limits.toml");

const CONDITIONS: [(&str, &str); 5] = [
    ("book_reservation", include_str!("policy/book_reservation.cedar")),
    ("update_reservation_flights", include_str!("policy/update_reservation_flights.cedar")),
    ("update_reservation_passengers", include_str!("policy/update_reservation_passengers.cedar")),
    ("update_reservation_baggages", include_str!("policy/update_reservation_baggages.cedar")),
    ("send_certificate", include_str!("policy/send_certificate.cedar")),
];

/// What the grants of one tool demand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Demands {
    /// In the desk's own grant, with the schema that it is checked against.
    pub(crate) condition: Option<(Condition, Schema)>,
    /// In the desk's own grant.
    pub(crate) knowledge: Requirements,
    /// In the desk's own grant.
    pub(crate) bounds: Bounds,
    /// In what is delegated to one conversation's agent.
    pub(crate) conversation_bounds: Bounds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    #[serde(default)]
    knowledge: Vec<String>,
    #[serde(default)]
    desk: Vec<String>,
    #[serde(default)]
    conversation: Vec<String>,
}

/// What each tool's grants demand; a tool that is not there demands nothing.
///
/// # Errors
/// Never, for the files that are compiled in.
pub(crate) fn read() -> Result<BTreeMap<String, Demands>> {
    let mut policy: BTreeMap<String, Demands> = BTreeMap::new();
    let limits: BTreeMap<String, Limits> = toml::from_str(LIMITS).map_err(|error| wrong(&error))?;
    for (tool, limits) in limits {
        let knowledge = limits.knowledge.iter().map(|text| parse_requirement(text));
        let knowledge =
            knowledge.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
        policy.insert(
            tool,
            Demands {
                condition: None,
                knowledge: Requirements::collect(knowledge).map_err(|error| wrong(&error))?,
                bounds: bounds(&limits.desk)?,
                conversation_bounds: bounds(&limits.conversation)?,
            },
        );
    }
    for (tool, text) in CONDITIONS {
        let condition = Condition::new(text).map_err(|error| wrong(&error))?;
        let schema = Schema::new(SCHEMA).map_err(|error| wrong(&error))?;
        policy.entry(tool.into()).or_default().condition = Some((condition, schema));
    }
    Ok(policy)
}

/// The airline's words for a policy of `condition`, by its place in the text; each but the last, which permits,
/// is annotated with them.
pub(crate) fn rule(condition: &Condition, place: u16) -> Option<&str> {
    condition.as_str().split("@rule(\"").skip(1).nth(place.into())?.split('"').next()
}

fn bounds(texts: &[String]) -> Result<Bounds> {
    let bounds: std::result::Result<Vec<Bound>, _> = texts.iter().map(|text| parse_bound(text)).collect();
    Bounds::collect(bounds.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::fmt::Display) -> Failure {
    Failure::local(format!("the desk's policy: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::condition::admit;

    use super::super::airline::{Effect, effect};
    use super::*;

    #[test]
    fn every_tool_that_changes_something_has_its_demands() {
        let policy = read().unwrap();
        assert_eq!(policy.len(), 6);
        for (tool, demands) in &policy {
            assert_eq!(effect(tool), Some(Effect::Changes), "{tool}");
            assert_ne!(*demands, Demands::default(), "{tool}");
            if let Some((condition, schema)) = &demands.condition {
                admit(condition, Some(schema)).unwrap();
            }
        }
    }

    #[test]
    fn each_policy_that_forbids_has_the_airlines_words() {
        for (tool, demands) in read().unwrap() {
            let Some((condition, _)) = demands.condition else { continue };
            let forbids = condition.as_str().matches("forbid (").count();
            assert!(condition.as_str().contains(&format!("permit (principal, action == Action::\"{tool}\"")));
            assert_eq!((0..9).map_while(|place| rule(&condition, place)).count(), forbids, "{tool}");
        }
        let booking = Condition::new(CONDITIONS[0].1).unwrap();
        assert_eq!(rule(&booking, 0), Some("Each reservation can have at most five passengers."));
        assert_eq!(rule(&booking, 2), None);
    }
}
