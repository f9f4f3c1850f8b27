//! What those who follow the log have to be told: grants whose time ends soon, some of which are revoked before.

use std::time::Duration;

use chancery_client::chancery_ledger::command::{GrantId, Name};

use super::Pool;
use crate::client::{Client, Right};
use crate::history::Outcome;

/// Agents that are granted something at once. Nobody asks about them: time would decide.
const AGENTS: usize = 2;

/// Commands about one agent before another takes its place.
const COMMANDS_MAX: u32 = 60;

/// How long a grant lasts, in milliseconds. Some are over before they are in the log.
const LASTS_MS: (u64, u64) = (20, 5_000);

/// See [`Kind::Watch`](super::Kind::Watch).
#[derive(Default)]
pub struct Watched {
    pool: Pool<Agent>,
}

#[derive(Clone)]
struct Agent {
    name: Name,
    grants: Vec<GrantId>,
    commands: u32,
}

impl Watched {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < AGENTS {
            let agent = self.pool.new_name("watch");
            if !matches!(client.register(&agent, None).await, Outcome::NotDone { .. }) {
                self.pool.add(Agent { name: agent, grants: Vec::new(), commands: 0 });
            }
            return;
        }
        let Some(agent) = self.pool.pick(client) else { return };
        let granted = client.choices.pick(&agent.grants).copied();
        match granted.filter(|_| client.choices.chance(200)) {
            Some(grant) => drop(client.revoke(grant).await),
            None => self.grant(client, &agent.name).await,
        }
    }

    async fn grant(&self, client: &mut Client, agent: &Name) {
        let lasts = Duration::from_millis(client.choices.between(LASTS_MS.0, LASTS_MS.1));
        let right = Right { lasts: Some(lasts), ..Right::new(agent, "act", "thing") };
        let (grant, _) = client.grant(&right).await;
        self.pool.with(|agents| {
            if let Some(agent) = agents.iter_mut().find(|one| one.name == *agent) {
                agent.commands += 1;
                agent.grants.extend(grant);
            }
            agents.retain(|agent| agent.commands < COMMANDS_MAX);
        });
    }
}
