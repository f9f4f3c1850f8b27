//! What the gate adds to a call's own arguments before it asks: facts about the reservation and the customer as the
//! desk knows them, which the policy's conditions and bounds look at.
//!
//! Their names begin with `desk_`, as no argument of a tool does: an agent cannot state them. A fact that is not
//! known is left out, and whatever looks at it denies. They are the gate's word: the ledger records and proves that
//! it gave it, not that it is so.

use chancery_client::JsonArgs;
use serde_json::{Map, Value, json};

use super::conversation::{Conversation, Flight};
use super::trajectory::Step;

/// What the facts' names begin with.
pub(crate) const PREFIX: &str = "desk_";

/// The arguments of `step` with the facts, in the form that the ledger is shown; none if no condition could use
/// them, and then whatever looks at them denies.
pub(crate) fn shown(conversation: &Conversation, step: &Step) -> Option<JsonArgs> {
    let mut args = step.args.as_object()?.clone();
    args.extend(facts(conversation, step));
    JsonArgs::new(Value::Object(args).to_string()).ok()
}

/// Whether a call states what only the desk may.
pub(crate) fn are_stated_by(step: &Step) -> bool {
    step.args.as_object().is_some_and(|args| args.keys().any(|name| name.starts_with(PREFIX)))
}

fn facts(conversation: &Conversation, step: &Step) -> Map<String, Value> {
    let text = |name: &str| step.args.get(name).and_then(Value::as_str);
    let facts = match step.tool.as_str() {
        "book_reservation" => payments(step),
        "send_certificate" => text("user_id").map(|customer| certificate(conversation, step, customer)),
        _ => text("reservation_id").and_then(|number| reservation(conversation, step, number)),
    };
    match facts {
        Some(Value::Object(facts)) => facts,
        _ => Map::new(),
    }
}

/// How many of each kind a booking is paid with; an id names its kind.
fn payments(step: &Step) -> Option<Value> {
    let Value::Array(payments) = step.args.get("payment_methods")? else { return None };
    let count = |kind: &str| {
        let id = |payment: &&Value| {
            payment.get("payment_id").and_then(Value::as_str).is_some_and(|id| id.starts_with(kind))
        };
        payments.iter().filter(id).count()
    };
    let [certificates, credit_cards, gift_cards] = ["certificate_", "credit_card_", "gift_card_"].map(count);
    let others = payments.len().saturating_sub(certificates + credit_cards + gift_cards);
    Some(json!({
        "desk_certificates": certificates,
        "desk_credit_cards": credit_cards,
        "desk_gift_cards": gift_cards,
        "desk_other_payments": others,
    }))
}

/// The certificate's amount, and what was seen of the customer.
fn certificate(conversation: &Conversation, step: &Step, customer: &str) -> Value {
    let seen = || conversation.reservations_of(customer);
    let passengers = seen().map(super::conversation::Reservation::passengers).max().unwrap_or(0);
    let mut facts = json!({
        "desk_passengers_most": passengers,
        "desk_insured": seen().any(|reservation| reservation.insurance == "yes"),
        "desk_business": seen().any(|reservation| reservation.cabin == "business"),
    });
    let cents = step.args.get("amount").and_then(Value::as_u64).and_then(|amount| amount.checked_mul(100));
    if let Some(facts) = facts.as_object_mut() {
        let known = [
            ("desk_certificate_cents", cents.map(Value::from)),
            ("desk_membership", conversation.membership(customer).map(Value::from)),
        ];
        facts.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    facts
}

/// The reservation as it was seen last, and whether the call would change its flights.
fn reservation(conversation: &Conversation, step: &Step, number: &str) -> Option<Value> {
    let reservation = conversation.reservation(number)?;
    let mut facts = json!({
        "desk_cabin": reservation.cabin,
        "desk_passengers": reservation.passengers(),
        "desk_bags": reservation.total_baggages,
    });
    if let (Some(facts), Some(flights)) = (facts.as_object_mut(), step.args.get("flights")) {
        // What cannot be read is a change.
        let flights = serde_json::from_value::<Vec<Flight>>(flights.clone());
        let changed = flights.map_or(true, |flights| flights != reservation.flights);
        facts.insert("desk_flights_changed".into(), changed.into());
    }
    Some(facts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn step(tool: &str, args: Value, result: &str) -> Step {
        Step { episode: 0, tool: tool.into(), args, result: result.into() }
    }

    fn told(conversation: &Conversation, tool: &str, args: Value) -> Value {
        let shown = shown(conversation, &step(tool, args, "")).unwrap();
        serde_json::from_slice(shown.as_bytes()).unwrap()
    }

    fn conversation() -> Conversation {
        let mut conversation = Conversation::new("airline/a".into());
        let result = json!({
            "reservation_id": "A", "user_id": "u", "cabin": "basic_economy", "insurance": "yes", "total_baggages": 1,
            "flights": [{ "flight_number": "HAT1", "date": "2024-05-20", "price": 3, "origin": "JFK" }],
            "passengers": [{}, {}],
        });
        let args = json!({ "reservation_id": "A" });
        conversation.learn(&step("get_reservation_details", args, &result.to_string()), 1);
        conversation
    }

    #[test]
    fn a_reservations_facts_are_those_that_were_read() {
        let conversation = conversation();
        let flights = |date: &str| json!([{ "flight_number": "HAT1", "date": date }]);
        for (flights, changed) in
            [(flights("2024-05-20"), false), (flights("2024-05-21"), true), (json!("none"), true)]
        {
            let args = json!({ "reservation_id": "A", "flights": flights });
            let told = told(&conversation, "update_reservation_flights", args);
            assert_eq!(told.get("desk_flights_changed"), Some(&changed.into()));
            assert_eq!(told.get("desk_cabin"), Some(&"basic_economy".into()));
            assert_eq!(
                (told.get("desk_passengers"), told.get("desk_bags")),
                (Some(&2.into()), Some(&1.into()))
            );
        }
        let told = told(&conversation, "cancel_reservation", json!({ "reservation_id": "B" }));
        assert_eq!(told, json!({ "reservation_id": "B" }), "what was not read is not stated");
    }

    #[test]
    fn a_certificates_amount_is_in_cents_or_absent() {
        let conversation = conversation();
        for (amount, cents) in
            [(json!(50), json!(5_000)), (json!(-1), Value::Null), (json!("50"), Value::Null)]
        {
            let told = told(&conversation, "send_certificate", json!({ "user_id": "u", "amount": amount }));
            assert_eq!(told.get("desk_certificate_cents").cloned().unwrap_or_default(), cents);
            assert_eq!(
                (told.get("desk_insured"), told.get("desk_business")),
                (Some(&true.into()), Some(&false.into()))
            );
            assert_eq!(
                (told.get("desk_passengers_most"), told.get("desk_membership")),
                (Some(&2.into()), None)
            );
        }
        let fraction = step("send_certificate", json!({ "user_id": "u", "amount": 0.5 }), "");
        assert_eq!(shown(&conversation, &fraction), None);
    }

    #[test]
    fn payments_are_counted_by_kind() {
        let pays = |ids: &[&str]| ids.iter().map(|id| json!({ "payment_id": id })).collect::<Vec<_>>();
        let ids = ["certificate_1", "certificate_2", "gift_card_3", "credit_card_4", "cash"];
        let told = told(&conversation(), "book_reservation", json!({ "payment_methods": pays(&ids) }));
        let counted = ["certificates", "gift_cards", "credit_cards", "other_payments"];
        let counted = counted.map(|kind| told.get(format!("{PREFIX}{kind}")).and_then(Value::as_u64));
        assert_eq!(counted, [Some(2), Some(1), Some(1), Some(1)]);
    }

    #[test]
    fn what_only_the_desk_states_is_noticed() {
        assert!(are_stated_by(&step("book_reservation", json!({ "desk_certificates": 0 }), "")));
        assert!(!are_stated_by(&step("book_reservation", json!({ "user_id": "u" }), "")));
    }
}
