//! What a source claims: a checkpoint, and who voted when; held against the trust.

use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::head::{HeadVoters, Roster, RosterChain, RosterId, RosterLink, VoterSet};
use chancery_ledger::trust::{CosignedError, Trust};

use crate::finding::{Code, Finding};
use crate::published::{Fault, Published};

/// A checkpoint of a source, with the rosters up to it.
pub struct Claim {
    /// As it is published.
    pub signed: SignedCheckpoint,
    /// The trust, with the proven rosters of the log of that checkpoint.
    pub trust: Trust,
    /// What is wrong with the checkpoint and the rosters.
    pub findings: Vec<Finding>,
}

impl Claim {
    /// Reads what `published` claims, and verifies who says so.
    ///
    /// # Errors
    /// It cannot be read, or there is no checkpoint of this log at all.
    pub fn read(published: &Published, trust: &Trust) -> Result<Self, Fault> {
        // In this order: whoever publishes a checkpoint has published the rosters that it needs before.
        let signed = match trust.witnesses {
            Some(_) => published.witnessed_checkpoint()?,
            None => published.checkpoint()?,
        };
        Self::of(signed, published, trust)
    }

    /// What `published` tells of a checkpoint that somebody has: the rosters up to it, and so who must have cosigned it.
    ///
    /// # Errors
    /// The rosters cannot be read, or it is of another log.
    pub(crate) fn of(signed: SignedCheckpoint, published: &Published, trust: &Trust) -> Result<Self, Fault> {
        let origin = signed.checkpoint().origin().as_str();
        if origin != trust.origin {
            return Err(Finding::new(Code::Origin, "checkpoint", &trust.origin, origin).into());
        }
        let mut findings = Vec::new();
        let chain = match published.rosters() {
            Ok(chain) => chain,
            Err(Fault::Wrong(finding)) => {
                findings.push(*finding);
                RosterChain::default()
            }
            Err(fault) => return Err(fault),
        };
        let (trust, wrong) = with_rosters(trust, chain, signed.checkpoint().size());
        findings.extend(wrong);
        let claim = Self { signed, trust, findings };
        Ok(claim.with_cosignatures())
    }

    /// How many leaves it covers.
    pub fn size(&self) -> u64 {
        self.signed.checkpoint().size()
    }

    /// The proven rosters of this log, the oldest first, each with the link that brought it.
    pub(crate) fn links(&self) -> &[RosterLink] {
        &self.trust.roster_chain().links
    }

    /// The names of the voters, and of the trusted witnesses, whose cosignatures verify.
    pub fn cosigners(&self) -> Vec<String> {
        let (_, roster) = self.roster();
        let origin = self.signed.checkpoint().origin().as_str();
        let voters = roster.voters().filter_map(|voter| {
            let key = voter.cosigner_key(origin).ok()?;
            Some((voter.name.to_string(), key))
        });
        let witnesses = self.trust.witnesses.iter().flat_map(|witnesses| witnesses.keys());
        let keys = voters.chain(witnesses.map(|key| (key.name().to_string(), key.clone())));
        let signed = keys.filter(|(_, key)| {
            let verified = self.signed.verify_cosignatures(std::slice::from_ref(key));
            verified.is_ok_and(|cosignatures| !cosignatures.is_empty())
        });
        signed.map(|(name, _)| name).collect()
    }

    /// In force at the checkpoint.
    fn roster(&self) -> (RosterId, &Roster) {
        let newest = self.links().last();
        newest.map_or((self.trust.genesis.id(0), &self.trust.genesis), |link| (link.id(), &link.roster))
    }

    /// Who the rosters of the chain demand, and the trust file. A checkpoint does not say its block; if it ends with the
    /// block that brought the roster, the quorum before has signed that block's head, which is in the chain, and of which
    /// the audit demands that it is of this log.
    fn with_cosignatures(mut self) -> Self {
        let (id, roster) = self.roster();
        let Err(error) = self.trust.verify_checkpoint(&self.signed, &HeadVoters::of(roster)) else {
            return self;
        };
        let quorum = |set: &VoterSet| format!("{} of {}", set.quorum(), set.voters().len());
        let quorums: Vec<_> = roster.sets().iter().map(quorum).collect();
        let mut expected = format!("the cosignatures of {} voters of roster {id}", quorums.join(" and of "));
        if let Some(witnesses) = &self.trust.witnesses {
            let count = witnesses.keys().len();
            expected = format!("{expected}, and of {} of {count} witnesses", witnesses.quorum());
        }
        let names = match self.cosigners() {
            names if names.is_empty() => "none".to_owned(),
            names => names.join(", "),
        };
        let found = match error {
            CosignedError::TooFewNodes { .. } | CosignedError::TooFewWitnesses { .. } => names,
            // One bad cosignature by a known key is enough to refuse all.
            error => format!("{names}; and {error}"),
        };
        self.findings.push(Finding::new(Code::Cosignatures, "checkpoint", expected, found));
        self
    }
}

/// `trust` with the rosters that were in force up to a log of `size` leaves; and what is wrong with them.
fn with_rosters(trust: &Trust, chain: RosterChain, size: u64) -> (Trust, Vec<Finding>) {
    let proven = match trust.extend(&chain) {
        Ok(proven) => proven,
        Err(error) => {
            let finding = Finding::new(Code::Rosters, "rosters", "a chain from the trusted roster on", error);
            return (trust.clone(), vec![finding]);
        }
    };
    let mut findings = Vec::new();
    let (newest, minimum) = (proven.newest_roster(), trust.minimum_roster);
    if newest.block < minimum.block {
        findings.push(Finding::new(
            Code::RolledBack,
            "rosters",
            format!("roster {minimum} or later"),
            newest,
        ));
    }
    // Those that came after the checkpoint are not yet in the log that it covers.
    let links: Vec<_> = chain.links.into_iter().filter(|link| link.head.log_size <= size).collect();
    // Part of a proven chain is proven.
    let trust = trust.since_genesis().extend(&RosterChain { links }).unwrap_or(proven);
    (trust, findings)
}
