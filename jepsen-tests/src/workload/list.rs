//! A list, and the set of what is in it: each registration adds one agent, and the log has their order.

use chancery_client::chancery_ledger::command::Name;

use super::Pool;
use crate::client::{Client, name};

/// The newest agents, which are looked for.
const NEWEST: usize = 8;

/// See [`Kind::List`](super::Kind::List).
#[derive(Default)]
pub struct List {
    pool: Pool<Name>,
}

impl List {
    pub(super) async fn step(&self, client: &mut Client) {
        let known = self.pool.pick(client);
        match known {
            Some(agent) if client.choices.chance(300) => look(client, &agent).await,
            _ => {
                let agent = self.pool.new_name("list");
                // Looked for by others while it is added, and whatever becomes of it.
                self.pool.with(|newest| {
                    newest.push(agent.clone());
                    if newest.len() > NEWEST {
                        newest.remove(0);
                    }
                });
                client.register(&agent, None).await;
            }
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for agent in self.pool.all() {
            look(client, &agent).await;
        }
    }
}

/// An agent that is in the list has no grant; one that is not is unknown.
async fn look(client: &mut Client, agent: &Name) {
    client.check(agent, &name("act"), &name("thing")).await;
}
