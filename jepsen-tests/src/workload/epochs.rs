//! Epochs: all that an agent was granted is revoked by one command, and granted again.

use chancery_client::chancery_ledger::command::Name;

use super::Pool;
use crate::client::{Client, Right, name};
use crate::history::Outcome;

/// Agents that are worked on at once.
const AGENTS: usize = 2;

/// What an agent may be granted.
const RESOURCES: [&str; 3] = ["one", "two", "three"];

/// Commands about one agent before another takes its place.
const COMMANDS_MAX: u32 = 24;

/// See [`Kind::Epochs`](super::Kind::Epochs).
#[derive(Default)]
pub struct Epochs {
    pool: Pool<Agent>,
}

#[derive(Clone)]
struct Agent {
    name: Name,
    commands: u32,
}

impl Epochs {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < AGENTS {
            let agent = self.pool.new_name("epochs");
            if !matches!(client.register(&agent, None).await, Outcome::NotDone { .. }) {
                self.pool.add(Agent { name: agent, commands: 0 });
            }
            return;
        }
        let Some(agent) = self.pool.pick(client) else { return };
        let resource = name(client.choices.pick(&RESOURCES).copied().unwrap_or("one"));
        match client.choices.between(0, 99) {
            0..=59 => drop(client.check(&agent.name, &name("act"), &resource).await),
            60..=69 => {
                client.revoke_agent(&agent.name).await;
                self.count(&agent);
                check_all(client, &agent).await;
            }
            _ => {
                let right = Right::new(&agent.name, "act", resource.as_str());
                client.grant(&right).await;
                self.count(&agent);
            }
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for agent in self.pool.all() {
            check_all(client, &agent).await;
        }
    }

    fn count(&self, commanded: &Agent) {
        self.pool.with(|agents| {
            for agent in agents.iter_mut().filter(|agent| agent.name == commanded.name) {
                agent.commands += 1;
            }
            agents.retain(|agent| agent.commands < COMMANDS_MAX);
        });
    }
}

async fn check_all(client: &mut Client, agent: &Agent) {
    for resource in RESOURCES {
        client.check(&agent.name, &name("act"), &name(resource)).await;
    }
}
