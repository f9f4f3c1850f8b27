//! Delegation trees: built, used, and cut at the top or in the middle while their leaves are checked.

use std::sync::Arc;

use chancery_client::SigningKey;
use chancery_client::chancery_ledger::command::{GrantId, Name};

use super::{Pool, acknowledged, key};
use crate::client::{Client, Right, name};

/// Trees that are worked on at once.
const TREES: usize = 2;

/// Levels of a tree.
const LEVELS: u32 = 3;

/// How often a tree is cut before another takes its place: the first cut at the top ends it, and all is checked
/// for a while after.
const CUTS_MAX: u32 = 4;

/// See [`Kind::Trees`](super::Kind::Trees).
#[derive(Default)]
pub struct Trees {
    pool: Pool<Tree>,
}

#[derive(Clone)]
struct Tree {
    /// From the top to the leaf: who holds it, and what it is.
    levels: Arc<Vec<(Name, GrantId)>>,
    cuts: u32,
}

impl Trees {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < TREES {
            if let Some(tree) = self.grow(client).await {
                self.pool.add(tree);
            }
            return;
        }
        let Some(tree) = self.pool.pick(client) else { return };
        let Some((agent, grant)) = client.choices.pick(&tree.levels).cloned() else { return };
        if client.choices.chance(150) {
            client.revoke(grant).await;
            self.count_cut(&tree);
            // What hangs below is cut off with it.
            check_all(client, &tree).await;
        } else {
            check(client, &agent).await;
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for tree in self.pool.all() {
            check_all(client, &tree).await;
        }
    }

    /// A new tree, or none if a level of it was not acknowledged.
    async fn grow(&self, client: &mut Client) -> Option<Tree> {
        let mut levels: Vec<(Name, GrantId)> = Vec::new();
        let mut holder: Option<SigningKey> = None;
        for level in 1..=LEVELS {
            let agent = self.pool.new_name("trees");
            let key = key(client);
            if !acknowledged(&client.register(&agent, Some(&key)).await) {
                return None;
            }
            let depth = LEVELS - level;
            let right = Right { depth, ..Right::new(&agent, "act", "thing") };
            let (grant, outcome) = match (levels.last(), &holder) {
                (Some((_, parent)), Some(holder)) => client.delegate(*parent, &right, holder).await,
                _ => client.grant(&right).await,
            };
            levels.push((agent, grant.filter(|_| acknowledged(&outcome))?));
            holder = Some(key);
        }
        Some(Tree { levels: Arc::new(levels), cuts: 0 })
    }

    fn count_cut(&self, cut: &Tree) {
        self.pool.with(|trees| {
            for tree in trees.iter_mut().filter(|tree| Arc::ptr_eq(&tree.levels, &cut.levels)) {
                tree.cuts += 1;
            }
            trees.retain(|tree| tree.cuts < CUTS_MAX);
        });
    }
}

async fn check_all(client: &mut Client, tree: &Tree) {
    for (agent, _) in tree.levels.iter() {
        check(client, agent).await;
    }
}

async fn check(client: &mut Client, agent: &Name) {
    client.check(agent, &name("act"), &name("thing")).await;
}
