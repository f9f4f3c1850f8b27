//! Which agents may do something: all that were ever granted it, and what each one's check says now.

use chancery_client::{CheckError, Checked, Ledger};
use chancery_ledger::command::Name;
use chancery_ledger::condition::ConditionFault;
use chancery_ledger::decide::{Decision, Denial};
use serde_json::{Value, json};

use crate::exit::Result;
use crate::ledger;
use crate::output::{self, Page, Report, Table, style};

/// An agent that was ever granted it.
struct Holder {
    agent: Name,
    /// Its check; none if this client may not ask about it.
    checked: Option<Checked>,
}

/// Whether it may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Yes,
    UnderACondition,
    No,
    NotTold,
}

/// Looks who may do `action` on `resource`.
pub(super) async fn report(ledger: &Ledger, action: &Name, resource: &Name) -> Result<Report> {
    // Any proven answer has a head.
    let nobody = "chancery/lookup/nobody";
    let first = match ledger.check(nobody, action.as_str(), resource.as_str(), "").await {
        Ok(permit) => permit.checked().clone(),
        Err(CheckError::Denied(denied)) => denied.checked,
        Err(error) => return Err(ledger::check_failure(&error)),
    };
    let head = first.verified.head;
    let agents =
        ledger.granted(&head, action, resource).await.map_err(|error| ledger::whole_log_failure(&error))?;
    let mut holders = Vec::new();
    for agent in agents {
        let checked = match ledger.check(agent.as_str(), action.as_str(), resource.as_str(), "").await {
            Ok(permit) => Some(permit.checked().clone()),
            Err(CheckError::Denied(denied)) => Some(denied.checked),
            Err(CheckError::Refused { .. }) => None,
            Err(error) => return Err(ledger::check_failure(&error)),
        };
        holders.push(Holder { agent, checked });
    }
    let mut table = Table::new(&["agent", "may", ""]);
    for holder in &holders {
        table.row(holder.row());
    }
    let words = format!("{} on {}", style::name(action.as_str()), style::name(resource.as_str()));
    let mut page = Page::new(words);
    if !holders.is_empty() {
        page = page.table(table);
    }
    let count = match holders.len() {
        1 => "1 agent was ever granted it".into(),
        count => format!("{count} agents were ever granted it"),
    };
    let page =
        page.field("complete", format!("{count}, proven from all {} leaves of the log", head.log_size));
    let page = output::proof(page, &ledger.trust(), &first.verified);
    let json = json!({
        "outcome": "done",
        "action": action.as_str(),
        "resource": resource.as_str(),
        "agents": holders.iter().map(|holder| holder.to_json(ledger)).collect::<Vec<_>>(),
        "leaves": head.log_size,
        "head": output::head_json(&head),
    });
    Ok(Report::done(page, json))
}

impl Holder {
    fn may(&self) -> May {
        let Some(checked) = &self.checked else { return May::NotTold };
        match &checked.verified.decision {
            Decision::Permit(_) => May::Yes,
            // It would be asked with arguments.
            Decision::Denied(Denial::ConditionFailed { reason: ConditionFault::Undisclosed, .. }) => {
                May::UnderACondition
            }
            Decision::Denied(_) => May::No,
        }
    }

    fn row(&self) -> [String; 3] {
        let why = match self.checked.as_ref().map(|checked| &checked.verified.decision) {
            Some(Decision::Denied(denial)) if self.may() == May::No => output::denial(denial),
            Some(_) => String::new(),
            None => "this context may not ask about it".into(),
        };
        let may = match self.may() {
            May::Yes => style::good("yes"),
            May::UnderACondition => style::warn("under a condition"),
            May::No => style::bad("no"),
            May::NotTold => style::dim("not told"),
        };
        [style::name(self.agent.as_str()), may, why]
    }

    fn to_json(&self, ledger: &Ledger) -> Value {
        let verdict =
            self.checked.as_ref().map(|checked| output::verdict_json(&ledger.trust(), &checked.verified));
        json!({
            "agent": self.agent.as_str(),
            "may": match self.may() {
                May::Yes => "yes",
                May::UnderACondition => "under_a_condition",
                May::No => "no",
                May::NotTold => "not_told",
            },
            "decision": verdict.as_ref().and_then(|verdict| verdict.get("decision")),
        })
    }
}
