//! The airline desk's rule: which tools change something, on what, and for which customer.
//!
//! From the airline's policy: what updates the booking database (booking, changing flights, cabin, baggage or
//! passengers, cancelling) and what pays out (a certificate) changes something, and is delegated only for the
//! customer whom the conversation has identified. Looking up, searching, calculating, thinking and handing
//! over to a person change nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::trajectory::Step;

/// What a tool does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Nothing is changed: delegated for everything.
    Reads,
    /// Something of a customer's is changed: delegated for that customer.
    Changes,
}

/// Every tool of the airline, in the order of the table that the replay prints.
pub(crate) const TOOLS: [(&str, Effect); 14] = [
    ("get_user_details", Effect::Reads),
    ("get_reservation_details", Effect::Reads),
    ("list_all_airports", Effect::Reads),
    ("search_direct_flight", Effect::Reads),
    ("search_onestop_flight", Effect::Reads),
    ("calculate", Effect::Reads),
    ("think", Effect::Reads),
    ("transfer_to_human_agents", Effect::Reads),
    ("book_reservation", Effect::Changes),
    ("cancel_reservation", Effect::Changes),
    ("update_reservation_baggages", Effect::Changes),
    ("update_reservation_flights", Effect::Changes),
    ("update_reservation_passengers", Effect::Changes),
    ("send_certificate", Effect::Changes),
];

/// What `tool` does; `None` for a tool that the airline does not have.
pub(crate) fn effect(tool: &str) -> Option<Effect> {
    TOOLS.iter().find(|(name, _)| *name == tool).map(|(_, effect)| *effect)
}

/// What the desk knows in one conversation: from results alone, never from what the agent says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conversation {
    customer: Option<String>,
    /// Whose a reservation is.
    owners: BTreeMap<String, String>,
}

impl Conversation {
    /// The customer whom the latest profile or reservation named.
    pub(crate) fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// Learns from the result of a call that was carried out. A call that was denied has none.
    pub(crate) fn learn(&mut self, step: &Step) {
        let Ok(Value::Object(result)) = serde_json::from_str::<Value>(&step.result) else { return };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let reservations: Vec<String>;
        let customer;
        if step.tool == "get_user_details" {
            // A profile does not repeat whose it is: it is the one that was asked for.
            let Some(Value::Array(listed)) = result.get("reservations") else { return };
            reservations = listed.iter().filter_map(|value| text(Some(value))).collect();
            customer = text(step.args.get("user_id"));
        } else {
            let Some(reservation) = text(result.get("reservation_id")) else { return };
            reservations = vec![reservation];
            customer = text(result.get("user_id"));
        }
        let Some(customer) = customer else { return };
        for reservation in reservations {
            self.owners.insert(reservation, customer.clone());
        }
        self.customer = Some(customer);
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

/// A text as one segment of a resource: whatever could be read otherwise is replaced.
fn segment(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
    text.chars().map(safe).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::{Name, Pattern};

    use super::super::trajectory::parse;
    use super::*;

    fn extract() -> Vec<Step> {
        parse(include_str!("../../../tests/fixtures/airline-extract.jsonl")).unwrap()
    }

    #[test]
    fn every_recorded_tool_is_known() {
        assert!(extract().iter().all(|step| effect(&step.tool).is_some()));
        assert_eq!(effect("delete_everything"), None);
        assert_eq!(TOOLS.iter().filter(|(_, effect)| *effect == Effect::Changes).count(), 6);
    }

    #[test]
    fn changes_are_delegated_for_the_customer_whom_a_result_named() {
        let mut conversations: BTreeMap<u64, Conversation> = BTreeMap::new();
        let mut unknown = Vec::new();
        for step in extract() {
            let conversation = conversations.entry(step.episode).or_default();
            let resource = Name::new(conversation.resource(&step)).unwrap();
            match conversation.delegated(&step) {
                Some(pattern) => {
                    assert!(Pattern::new(pattern).unwrap().matches(&resource), "{resource}");
                    conversation.learn(&step);
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
        let mut conversation = Conversation::default();
        for (tool, result) in [
            ("get_user_details", "Error: user not found"),
            ("get_user_details", "{}"),
            ("search_direct_flight", "[]"),
            ("get_reservation_details", r#"{"reservation_id": "A"}"#),
            ("calculate", r#"{"user_id": "mallory"}"#),
        ] {
            let args = serde_json::json!({ "user_id": "mallory" });
            conversation.learn(&Step { episode: 0, tool: tool.into(), args, result: result.into() });
            assert_eq!(conversation.customer(), None, "{tool}");
        }
    }

    #[test]
    fn another_customers_thing_is_outside_the_delegation() {
        let conversation = Conversation { customer: Some("a".into()), ..Conversation::default() };
        let args = serde_json::json!({ "user_id": "b", "amount": 100 });
        let step = Step { episode: 0, tool: "send_certificate".into(), args, result: String::new() };
        let resource = Name::new(conversation.resource(&step)).unwrap();
        assert!(!Pattern::new(conversation.delegated(&step).unwrap()).unwrap().matches(&resource));
    }
}
