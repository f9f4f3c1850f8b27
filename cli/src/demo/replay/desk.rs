//! The desk: an agent that holds one grant per tool, with what the policy demands of it, and delegates narrower ones
//! to one agent per episode.

use std::collections::{BTreeMap, BTreeSet};

use chancery_client::{Ledger, SubmitError};
use chancery_ledger::command::{Bounds, GrantId, Name, NameError, Patterns, Requirements, Terms};
use ed25519_dalek::SigningKey;
use tokio::task::JoinSet;

use super::airline::{Effect, TOOLS, effect};
use super::conversation::Conversation;
use super::policy::{self, Demands};
use super::trajectory::Step;
use crate::exit::{Failure, Result};
use crate::keys;
use crate::ledger::submit_failure;
use crate::output::now_ms;

const DESK: &str = "airline/desk";

/// Commands under way at once while the desk opens: they share blocks.
const AT_ONCE_MAX: usize = 32;

/// How long the desk is open. Delegations end with it.
const OPEN_MS: u64 = 3_600_000;

/// How long after its decision a call may begin, at most: what genesis allows.
const STALENESS_MS: u64 = 10_000;

/// Whether the agent was given what it needs for a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delegated {
    /// Yes, now or before.
    Yes,
    /// No: no customer is known.
    NoCustomer,
    /// No: the ledger refused, since the desk's own grant is not in force.
    DeskRevoked,
}

impl Delegated {
    /// For the table of denials.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Yes => "what the agent was delegated does not allow it, or no longer",
            Self::NoCustomer => "no customer is known",
            Self::DeskRevoked => "the desk's own grant is revoked: it had nothing to delegate",
        }
    }
}

/// The desk.
pub(crate) struct Desk {
    ledger: Ledger,
    key: SigningKey,
    grants: BTreeMap<&'static str, GrantId>,
    policy: BTreeMap<String, Demands>,
    closes_ms: u64,
    episodes: usize,
    /// Episode, tool and resources of what was delegated.
    delegated: BTreeSet<(u64, String, String)>,
}

impl Desk {
    /// Registers the desk and an agent for each episode, grants the desk every tool, and delegates the tools
    /// that change nothing.
    pub(crate) async fn open(ledger: Ledger, steps: &[Step]) -> Result<Self> {
        let key = keys::generate()?;
        let owner = name("airline/owner")?;
        let register = ledger.register_agent(name(DESK)?, owner.clone(), Some(keys::public(&key)));
        register.await.map_err(submit_failure)?;
        let closes_ms = now_ms().saturating_add(OPEN_MS);
        let mut desk = Self {
            ledger: ledger.clone(),
            key,
            grants: BTreeMap::new(),
            policy: policy::read()?,
            closes_ms,
            episodes: 0,
            delegated: BTreeSet::new(),
        };
        for (tool, effect) in TOOLS {
            let resources = match effect {
                Effect::Reads => "desk/*",
                Effect::Changes => "customer/*",
            };
            let Demands { condition, knowledge, bounds, .. } = desk.demands(tool);
            let (condition, schema) = condition.unzip();
            let terms = desk.terms(name(DESK)?, tool, resources)?;
            let terms = Terms { delegable_depth: 1, condition, knowledge, bounds, ..terms };
            let receipt = match schema {
                Some(schema) => ledger.grant_checked(terms, schema).await,
                None => ledger.grant(terms).await,
            };
            let receipt = receipt.map_err(submit_failure)?;
            let grant = receipt.grant.ok_or_else(|| Failure::local("a grant's receipt names no grant"))?;
            desk.grants.insert(tool, grant);
        }

        let episodes: BTreeSet<u64> = steps.iter().map(|step| step.episode).collect();
        desk.episodes = episodes.len();
        let mut agents = AtOnce::default();
        for episode in episodes {
            let (ledger, agent, owner) = (ledger.clone(), name(&agent_name(episode))?, owner.clone());
            agents.add(async move { ledger.register_agent(agent, owner, None).await.map(drop) }).await?;
        }
        agents.end().await?;

        let mut delegations = AtOnce::default();
        for step in steps.iter().filter(|step| effect(&step.tool) == Some(Effect::Reads)) {
            let Some(resources) = Conversation::new(agent_name(step.episode)).delegated(step) else {
                continue;
            };
            if !desk.delegated.insert((step.episode, step.tool.clone(), resources.clone())) {
                continue;
            }
            let terms = desk.terms(name(&agent_name(step.episode))?, &step.tool, &resources)?;
            let (ledger, key, parent) = (ledger.clone(), desk.key.clone(), desk.grant(&step.tool)?);
            delegations.add(async move { ledger.delegate(parent, terms, &key).await.map(drop) }).await?;
        }
        delegations.end().await?;
        Ok(desk)
    }

    /// Episodes that have an agent.
    pub(crate) const fn episodes(&self) -> usize {
        self.episodes
    }

    /// What was delegated so far.
    pub(crate) fn delegations(&self) -> usize {
        self.delegated.len()
    }

    /// The desk's own grant for `tool`.
    pub(crate) fn grant(&self, tool: &str) -> Result<GrantId> {
        self.grants.get(tool).copied().ok_or_else(|| Failure::local(format!("the desk has no {tool}")))
    }

    /// Sees to it that the agent of `step` has what the rule gives it, if the rule gives it anything.
    pub(crate) async fn delegate(&mut self, step: &Step, conversation: &Conversation) -> Result<Delegated> {
        let Some(resources) = conversation.delegated(step) else { return Ok(Delegated::NoCustomer) };
        let given = (step.episode, step.tool.clone(), resources);
        if self.delegated.contains(&given) {
            return Ok(Delegated::Yes);
        }
        let terms = Terms {
            bounds: self.demands(&step.tool).conversation_bounds,
            ..self.terms(name(conversation.agent())?, &step.tool, &given.2)?
        };
        match self.ledger.delegate(self.grant(&step.tool)?, terms, &self.key).await {
            Ok(_) => {
                self.delegated.insert(given);
                Ok(Delegated::Yes)
            }
            Err(SubmitError::Refused { code, .. }) if code == "parent_not_in_force" => {
                Ok(Delegated::DeskRevoked)
            }
            Err(error) => Err(submit_failure(error)),
        }
    }

    /// What the policy demands of `tool`.
    fn demands(&self, tool: &str) -> Demands {
        self.policy.get(tool).cloned().unwrap_or_default()
    }

    /// Terms that demand nothing.
    fn terms(&self, agent: Name, tool: &str, resources: &str) -> Result<Terms> {
        Ok(Terms {
            agent,
            actions: Patterns::collect([tool]).map_err(invalid)?,
            resources: Patterns::collect([resources]).map_err(invalid)?,
            not_before_ms: 0,
            not_after_ms: self.closes_ms,
            max_staleness_ms: STALENESS_MS,
            delegable_depth: 0,
            condition: None,
            knowledge: Requirements::default(),
            bounds: Bounds::default(),
        })
    }
}

/// The name of an episode's agent.
pub(crate) fn agent_name(episode: u64) -> String {
    format!("airline/episode-{episode}")
}

fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(invalid)
}

fn invalid(error: NameError) -> Failure {
    Failure::local(error.to_string())
}

/// Commands under way at once, a bounded number of them.
#[derive(Default)]
struct AtOnce(JoinSet<std::result::Result<(), SubmitError>>);

impl AtOnce {
    async fn add(
        &mut self,
        command: impl Future<Output = std::result::Result<(), SubmitError>> + Send + 'static,
    ) -> Result<()> {
        if self.0.len() >= AT_ONCE_MAX {
            self.one().await?;
        }
        self.0.spawn(command);
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        while !self.0.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<()> {
        match self.0.join_next().await {
            None => Ok(()),
            Some(Ok(ended)) => ended.map_err(submit_failure),
            Some(Err(error)) => Err(Failure::local(error.to_string())),
        }
    }
}
