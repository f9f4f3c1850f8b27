//! The airline's tools, and which of them change something.
//!
//! From the airline's policy: what updates the booking database (booking, changing flights, cabin, baggage or
//! passengers, cancelling) and what pays out (a certificate) changes something, and is delegated only for the
//! customer whom the conversation has identified. Looking up, searching, calculating, thinking and handing
//! over to a person change nothing.

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::trajectory::parse;
    use super::*;

    #[test]
    fn every_recorded_tool_is_known() {
        let steps = parse(include_str!("../../../tests/fixtures/airline-extract.jsonl")).unwrap();
        assert!(steps.iter().all(|step| effect(&step.tool).is_some()));
        assert_eq!(effect("delete_everything"), None);
        assert_eq!(TOOLS.iter().filter(|(_, effect)| *effect == Effect::Changes).count(), 6);
    }
}
