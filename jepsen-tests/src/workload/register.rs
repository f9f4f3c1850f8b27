//! Registers: a right that is granted, revoked and checked by many clients at once.

use chancery_client::chancery_ledger::command::{GrantId, Name};

use super::Pool;
use crate::client::{Client, Right, name};
use crate::history::Outcome;

/// Rights that are worked on at once: few, so that clients meet.
const REGISTERS: usize = 3;

/// Grants of one right before another takes its place: a denial proves every grant, and a checker of
/// linearizability that ignores our indices must get through.
const GRANTS_MAX: usize = 10;

/// See [`Kind::Register`](super::Kind::Register).
#[derive(Default)]
pub struct Registers {
    pool: Pool<Register>,
}

#[derive(Clone)]
struct Register {
    agent: Name,
    /// All that may have been granted, revoked or not.
    grants: Vec<GrantId>,
}

impl Registers {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < REGISTERS {
            let agent = self.pool.new_name("register");
            if !matches!(client.register(&agent, None).await, Outcome::NotDone { .. }) {
                self.pool.add(Register { agent, grants: Vec::new() });
            }
            return;
        }
        let Some(register) = self.pool.pick(client) else { return };
        let newest = register.grants.last().copied();
        match (client.choices.between(0, 99), newest) {
            (0..=54, _) => drop(check(client, &register.agent).await),
            (55..=79, Some(grant)) => {
                client.revoke(grant).await;
                // Whoever revoked is the first who could be lied to.
                check(client, &register.agent).await;
            }
            _ => self.grant(client, &register.agent).await,
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for register in self.pool.all() {
            check(client, &register.agent).await;
        }
    }

    async fn grant(&self, client: &mut Client, agent: &Name) {
        let right = Right::new(agent, "act", "thing");
        let (Some(grant), outcome) = client.grant(&right).await else { return };
        if matches!(outcome, Outcome::NotDone { .. } | Outcome::Refused { .. }) {
            return;
        }
        self.pool.with(|all| {
            if let Some(register) = all.iter_mut().find(|register| register.agent == *agent) {
                register.grants.push(grant);
            }
            all.retain(|register| register.grants.len() < GRANTS_MAX);
        });
    }
}

async fn check(client: &mut Client, agent: &Name) -> Outcome {
    client.check(agent, &name("act"), &name("thing")).await
}
