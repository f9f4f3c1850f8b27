//! What every proof of a node's must be held against: what was verified before, the rosters, and who lied.

use std::sync::Arc;

use chancery_ledger::answer::HeadProof;
use chancery_ledger::head::RosterChain;
use chancery_ledger::trust::{Newest, Trust};
use tokio::time::Instant;

use crate::Ledger;
use crate::check::ProofError;
use crate::endpoints::{Attempt, Failure};

/// What a client knew before it asked.
#[derive(Debug)]
pub(crate) struct Known {
    /// The newest verified head.
    pub(crate) newest: Newest,
    /// The rosters.
    pub(crate) trust: Arc<Trust>,
}

impl Ledger {
    /// What was verified up to now: no answer may precede it that is asked for from here on. What is verified
    /// while an answer is under way, it may.
    pub(crate) fn known(&self) -> Known {
        Known { newest: self.newest().known(), trust: self.trust() }
    }

    /// Runs `verify` over what `signed` proves, against what was known before it was asked for; with the rosters
    /// that it names. It must rest on no node that contradicted itself.
    pub(crate) async fn proven<T>(
        &self,
        attempt: &Attempt<'_>,
        deadline: Instant,
        known: &Known,
        signed: &HeadProof,
        verify: impl Fn(&Trust) -> Result<T, chancery_ledger::answer::ProofError>,
    ) -> Result<(T, RosterChain), Failure> {
        let Known { newest, trust: before } = known;
        let prove = |trust: &Trust| {
            let trust = trust.clone().since(newest.block).since_roster(before.minimum_roster);
            let verified = verify(&trust)?;
            newest.check(&signed.head).map_err(ProofError::RolledBack)?;
            let rosters = trust.roster_chain_to(signed.newest_roster()).map_err(ProofError::RolledBack)?;
            Ok::<_, ProofError>((verified, rosters))
        };
        let proven = self.verified(attempt, deadline, prove).await;
        // Also what came with an answer that is refused: it may convict a later one.
        let statements = signed.statements.iter().chain(&signed.head_statements).copied().collect();
        if let Some(convicted) = self.convictions().hear(&self.trust(), statements, proven.is_ok()).await {
            return Err(Failure::Contradiction(convicted));
        }
        let proven = proven.map_err(|failure| match failure {
            Failure::Rosters(source) => ProofError::Rosters(source).into(),
            failure => failure,
        })?;
        self.demand_honest_quorums(signed)?;
        self.newest().note(&signed.head);
        Ok(proven)
    }

    /// Demands that what is verified has its quorums without the nodes that are convicted.
    fn demand_honest_quorums(&self, signed: &HeadProof) -> Result<(), ProofError> {
        let unknown = |error| ProofError::Answer(chancery_ledger::answer::ProofError::Trust(error));
        let (all, head, trust) = (&signed.statements, signed.head, self.trust());
        if let Some(fresh) = all.iter().find_map(|statement| statement.fresh) {
            let named = trust.roster(fresh.tail_roster).map_err(unknown)?;
            let nodes = all.iter().map(|statement| statement.node);
            if let Some(convicted) = self.convictions().needed(|nodes| named.has_quorum(nodes), nodes) {
                return Err(ProofError::Convicted(convicted));
            }
        }
        let with_head = all.iter().filter(|s| s.head == head).chain(&signed.head_statements);
        let voters = trust.voters_of(&head).map_err(unknown)?;
        match self.convictions().needed(|nodes| voters.has_quorum(nodes), with_head.map(|s| s.node)) {
            Some(convicted) => Err(ProofError::Convicted(convicted)),
            None => Ok(()),
        }
    }
}
