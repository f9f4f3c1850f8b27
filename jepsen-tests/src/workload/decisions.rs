//! Recorded decisions: asked for on record, and ended on record, while the authority comes and goes.

use chancery_client::chancery_ledger::command::{DecisionRef, GrantId, Name, OutcomeKind};

use super::Pool;
use crate::client::{Client, Right, name};
use crate::history::Outcome;

/// Agents that are worked on at once: few, so that clients meet.
const AGENTS: usize = 2;

/// Commands about one agent before another takes its place.
const COMMANDS_MAX: u32 = 60;

/// Permits of one agent whose outcomes are fought for.
const PERMITS_MAX: usize = 4;

/// What clients say became of a call: whoever comes first is right.
const KINDS: [OutcomeKind; 4] =
    [OutcomeKind::Executed, OutcomeKind::Failed, OutcomeKind::Unknown, OutcomeKind::Compensated];

/// See [`Kind::Decisions`](super::Kind::Decisions).
#[derive(Default)]
pub struct Decisions {
    pool: Pool<Agent>,
}

#[derive(Clone)]
struct Agent {
    name: Name,
    grants: Vec<GrantId>,
    permits: Vec<DecisionRef>,
    commands: u32,
}

impl Decisions {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < AGENTS {
            let agent = self.pool.new_name("decisions");
            if !matches!(client.register(&agent, None).await, Outcome::NotDone { .. }) {
                let (grants, permits) = (Vec::new(), Vec::new());
                self.pool.add(Agent { name: agent, grants, permits, commands: 0 });
            }
            return;
        }
        let Some(agent) = self.pool.pick(client) else { return };
        let newest = agent.grants.last().copied();
        let permit = client.choices.pick(&agent.permits).cloned();
        match (client.choices.between(0, 99), newest, permit) {
            (0..=39, _, _) => self.authorize(client, &agent.name).await,
            (40..=64, _, Some(permit)) => {
                let kind = client.choices.pick(&KINDS).copied().unwrap_or(OutcomeKind::Executed);
                client.outcome(permit, kind).await;
            }
            (65..=74, _, _) => drop(check(client, &agent.name).await),
            (75..=86, Some(grant), _) => {
                client.revoke(grant).await;
                // Whoever revoked is the first who could be lied to.
                self.authorize(client, &agent.name).await;
                check(client, &agent.name).await;
            }
            _ => self.grant(client, &agent.name).await,
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for agent in self.pool.all() {
            check(client, &agent.name).await;
            self.authorize(client, &agent.name).await;
        }
    }

    async fn authorize(&self, client: &mut Client, agent: &Name) {
        let permit = client.authorize(agent, &name("act"), &name("thing"), None).await;
        self.change(agent, |agent| {
            agent.permits.extend(permit);
            let old = agent.permits.len().saturating_sub(PERMITS_MAX);
            agent.permits.drain(..old);
        });
    }

    async fn grant(&self, client: &mut Client, agent: &Name) {
        let right = Right::new(agent, "act", "thing");
        let (grant, outcome) = client.grant(&right).await;
        if matches!(outcome, Outcome::NotDone { .. } | Outcome::Refused { .. }) {
            return;
        }
        self.change(agent, |agent| agent.grants.extend(grant));
    }

    fn change(&self, name: &Name, act: impl FnOnce(&mut Agent)) {
        self.pool.with(|agents| {
            if let Some(agent) = agents.iter_mut().find(|agent| agent.name == *name) {
                agent.commands += 1;
                act(agent);
            }
            agents.retain(|agent| agent.commands < COMMANDS_MAX);
        });
    }
}

async fn check(client: &mut Client, agent: &Name) -> Outcome {
    client.check(agent, &name("act"), &name("thing")).await
}
