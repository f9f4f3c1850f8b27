//! Who was ever granted something: told from the whole log, which is proven to be all of it.

use std::collections::BTreeSet;

use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, Name, Terms};
use chancery_ledger::head::Head;

use crate::Ledger;
use crate::whole_log::WholeLogError;

impl Ledger {
    /// Every agent that was granted `action` on `resource`, ever, by a grant or a delegation: in the log of `head`,
    /// which was proven by a check. Whether it still may, each agent's own check says.
    ///
    /// # Errors
    /// The log did not come whole, or is another.
    pub async fn granted(
        &self,
        head: &Head,
        action: &Name,
        resource: &Name,
    ) -> Result<BTreeSet<Name>, WholeLogError> {
        let mut agents = BTreeSet::new();
        self.read_whole_log(head, |_, entry| {
            let Entry::Command { signed, .. } = entry else { return };
            if let Body::Grant { terms, .. } | Body::Delegate { terms, .. } = &signed.command().body
                && covers(terms, action, resource)
            {
                agents.insert(terms.agent.clone());
            }
        })
        .await?;
        Ok(agents)
    }
}

fn covers(terms: &Terms, action: &Name, resource: &Name) -> bool {
    terms.actions.matches(action) && terms.resources.matches(resource)
}
