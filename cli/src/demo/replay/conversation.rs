//! What the desk knows in one conversation: from results of calls that were carried out, never from what the agent
//! says.

use std::collections::BTreeMap;

use chancery_ledger::command::Name;
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{Item, Knowledge, KnowledgeTree};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::airline::{Effect, effect};
use super::trajectory::Step;

/// A conversation, and the agent that leads it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Conversation {
    agent: String,
    customer: Option<String>,
    /// Whose a reservation is.
    owners: BTreeMap<String, String>,
    /// As they were seen last.
    reservations: BTreeMap<String, Reservation>,
    /// Membership by customer, as their profiles have it.
    memberships: BTreeMap<String, String>,
    /// What the agent was given to read, and when.
    items: Vec<Item>,
}

/// A reservation, as far as the policy looks at it.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) user_id: String,
    pub(crate) cabin: String,
    pub(crate) flights: Vec<Flight>,
    passengers: Vec<IgnoredAny>,
    pub(crate) total_baggages: u32,
    pub(crate) insurance: String,
}

impl Reservation {
    /// How many fly.
    pub(crate) fn passengers(&self) -> usize {
        self.passengers.len()
    }
}

/// One flight of a reservation.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Flight {
    flight_number: String,
    date: String,
}

impl Conversation {
    /// A conversation that `agent` begins.
    pub(crate) fn new(agent: String) -> Self {
        Self {
            agent,
            customer: None,
            owners: BTreeMap::new(),
            reservations: BTreeMap::new(),
            memberships: BTreeMap::new(),
            items: Vec::new(),
        }
    }

    /// The agent's name.
    pub(crate) fn agent(&self) -> &str {
        &self.agent
    }

    /// The customer whom the latest profile or reservation named.
    pub(crate) fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The reservation of that number, as it was seen last.
    pub(crate) fn reservation(&self, number: &str) -> Option<&Reservation> {
        self.reservations.get(number)
    }

    /// What was seen of a customer's reservations.
    pub(crate) fn reservations_of<'a>(&'a self, customer: &'a str) -> impl Iterator<Item = &'a Reservation> {
        self.reservations.values().filter(move |reservation| reservation.user_id == customer)
    }

    /// A customer's membership, if the profile was seen.
    pub(crate) fn membership(&self, customer: &str) -> Option<&str> {
        self.memberships.get(customer).map(String::as_str)
    }

    /// Learns from the result of a call that was carried out under a permit of the ledger's time `permitted_ms`: the
    /// result is no older. A call that was denied has none.
    pub(crate) fn learn(&mut self, step: &Step, permitted_ms: u64) {
        let Ok(Value::Object(result)) = serde_json::from_str(&step.result) else { return };
        let customer = match step.tool.as_str() {
            "get_user_details" => self.learn_profile(step, &result, permitted_ms),
            _ => self.learn_reservation(step, result, permitted_ms),
        };
        self.customer = customer.or_else(|| self.customer.take());
    }

    /// A profile does not repeat whose it is: it is the one that was asked for.
    fn learn_profile(&mut self, step: &Step, profile: &Map<String, Value>, read_ms: u64) -> Option<String> {
        let customer = text(step.args.get("user_id"))?;
        let Value::Array(listed) = profile.get("reservations")? else { return None };
        for number in listed.iter().filter_map(|value| text(Some(value))) {
            self.owners.insert(number, customer.clone());
        }
        if let Some(membership) = text(profile.get("membership")) {
            self.memberships.insert(customer.clone(), membership);
        }
        self.keep("user", &customer, step, read_ms);
        Some(customer)
    }

    /// A reservation that was read, or that a change returned.
    fn learn_reservation(&mut self, step: &Step, told: Map<String, Value>, read_ms: u64) -> Option<String> {
        let (number, customer) = (text(told.get("reservation_id"))?, text(told.get("user_id"))?);
        self.owners.insert(number.clone(), customer.clone());
        let asked_for = text(step.args.get("reservation_id"));
        if step.tool == "get_reservation_details" && asked_for.as_ref() == Some(&number) {
            self.keep("reservation", &number, step, read_ms);
        }
        // What cannot be read whole is not known: then no fact of it is stated.
        match serde_json::from_value(Value::Object(told)) {
            Ok(reservation) => drop(self.reservations.insert(number, reservation)),
            Err(_) => drop(self.reservations.remove(&number)),
        }
        Some(customer)
    }

    fn keep(&mut self, kind: &str, id: &str, step: &Step, retrieved_at_ms: u64) {
        // What is no name can be no source: it is not shown, and a grant that requires it denies.
        let Ok(source) = Name::new(format!("{}/{kind}/{id}", self.agent)) else { return };
        self.items.push(Item { source, digest: Hash::of(&[step.result.as_bytes()]), retrieved_at_ms });
    }

    /// What the agent has in front of it, of which the reservation is shown that `step` names.
    pub(crate) fn knowledge(&self, step: &Step) -> Option<Knowledge> {
        let tree = KnowledgeTree::new(self.items.clone()).ok()?;
        let number = step.args.get("reservation_id").and_then(Value::as_str);
        let source = number.and_then(|number| Name::new(format!("{}/reservation/{number}", self.agent)).ok());
        tree.show(&source).ok()
    }

    /// What `step` would act on. What is not known to be anybody's is covered by no delegation.
    pub(crate) fn resource(&self, step: &Step) -> String {
        let Some(Effect::Changes) = effect(&step.tool) else {
            return format!("desk/{}", step.tool);
        };
        let text = |field: &str| step.args.get(field).and_then(Value::as_str);
        match (text("user_id"), text("reservation_id")) {
            (Some(customer), _) => format!("customer/{}/{}", segment(customer), step.tool),
            (None, Some(reservation)) => match self.owners.get(reservation) {
                Some(owner) => format!("customer/{}/reservation/{}", segment(owner), segment(reservation)),
                None => format!("reservation/{}", segment(reservation)),
            },
            (None, None) => format!("unidentified/{}", step.tool),
        }
    }

    /// For which resources the desk delegates the tool of `step`; `None`: for none.
    pub(crate) fn delegated(&self, step: &Step) -> Option<String> {
        match effect(&step.tool)? {
            Effect::Reads => Some(format!("desk/{}", step.tool)),
            Effect::Changes => Some(format!("customer/{}/*", segment(self.customer()?))),
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// A text as one segment of a resource: whatever could be read otherwise is replaced.
fn segment(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
    text.chars().map(safe).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::Pattern;

    use super::super::trajectory::parse;
    use super::*;

    fn extract() -> Vec<Step> {
        parse(include_str!("../../../tests/fixtures/airline-extract.jsonl")).unwrap()
    }

    fn step(tool: &str, args: Value, result: &str) -> Step {
        Step { episode: 0, tool: tool.into(), args, result: result.into() }
    }

    #[test]
    fn changes_are_delegated_for_the_customer_whom_a_result_named() {
        let mut conversations: BTreeMap<u64, Conversation> = BTreeMap::new();
        let mut unknown = Vec::new();
        for step in extract() {
            let conversation =
                conversations.entry(step.episode).or_insert_with(|| Conversation::new("airline/a".into()));
            let resource = Name::new(conversation.resource(&step)).unwrap();
            match conversation.delegated(&step) {
                Some(pattern) => {
                    assert!(Pattern::new(pattern).unwrap().matches(&resource), "{resource}");
                    conversation.learn(&step, 1);
                }
                None => unknown.push((step.episode, step.tool.clone())),
            }
        }
        assert_eq!(unknown, [(141, "cancel_reservation".to_owned())]);
        assert_eq!(conversations.get(&15).unwrap().customer(), Some("james_patel_9828"));
        assert_eq!(conversations.get(&141).unwrap().customer(), None);
    }

    #[test]
    fn what_fails_names_nobody() {
        let mut conversation = Conversation::new("airline/a".into());
        for (tool, result) in [
            ("get_user_details", "Error: user not found"),
            ("get_user_details", "{}"),
            ("search_direct_flight", "[]"),
            ("get_reservation_details", r#"{"reservation_id": "A"}"#),
            ("calculate", r#"{"user_id": "mallory"}"#),
        ] {
            conversation.learn(&step(tool, serde_json::json!({ "user_id": "mallory" }), result), 1);
            assert_eq!(conversation, Conversation::new("airline/a".into()), "{tool}");
        }
    }

    #[test]
    fn another_customers_thing_is_outside_the_delegation() {
        let conversation =
            Conversation { customer: Some("a".into()), ..Conversation::new("airline/a".into()) };
        let step = step("send_certificate", serde_json::json!({ "user_id": "b", "amount": 100 }), "");
        let resource = Name::new(conversation.resource(&step)).unwrap();
        assert!(!Pattern::new(conversation.delegated(&step).unwrap()).unwrap().matches(&resource));
    }

    #[test]
    fn what_was_read_is_shown_and_no_other_reservation() {
        let mut conversation = Conversation::new("airline/a".into());
        let cancel =
            |number: &str| step("cancel_reservation", serde_json::json!({ "reservation_id": number }), "");
        assert_eq!(conversation.knowledge(&cancel("A")), None);
        for (number, time_ms) in [("A", 5), ("B", 6), ("A", 7)] {
            let result = format!(r#"{{"reservation_id": "{number}", "user_id": "u"}}"#);
            let args = serde_json::json!({ "reservation_id": number });
            conversation.learn(&step("get_reservation_details", args.clone(), &result), time_ms);
            // A change tells the reservation as well, but it is not what the agent has read.
            conversation.learn(&step("cancel_reservation", args, &result), 8);
        }
        let source = |number: &str| Name::new(format!("airline/a/reservation/{number}")).unwrap();
        let knowledge = conversation.knowledge(&cancel("A")).unwrap();
        assert_eq!((knowledge.count(), knowledge.shown().len()), (3, 1));
        assert_eq!(knowledge.newest_of(&source("A"), 9), Some(7));
        assert_eq!(conversation.knowledge(&cancel("C")).unwrap().shown(), []);
        assert_eq!(conversation.knowledge(&cancel("a b")).unwrap().shown(), []);
    }
}
