//! Halts of every scope, which come and go while agents are checked and decided on record.

use std::collections::BTreeSet;

use chancery_client::SigningKey;
use chancery_client::chancery_ledger::command::{GrantId, HaltScope, Name, Pattern, SignedCommand};

use super::{Pool, acknowledged, key};
use crate::client::{Client, Right, name};
use crate::history::Outcome;

/// Teams that are worked on at once.
const TEAMS: usize = 2;

/// Halts that are in force at once, as far as clients know.
const HALTS_MAX: usize = 3;

/// Times that a team was halted or granted something before another takes its place.
const COMMANDS_MAX: u32 = 40;

/// How often who halted everything goes on at once to end it, before it is left to whoever comes by.
const EVERYTHING_TRIES: u32 = 6;

/// Resumers there are,
const RESUMERS: [usize; 3] = [0, 1, 2];

/// and how many of them end a halt.
const RESUMERS_ENOUGH: usize = 2;

/// What all of them do.
const ACTION: &str = "halts/act";

/// See [`Kind::Halts`](super::Kind::Halts).
#[derive(Default)]
pub struct Halts {
    pool: Pool<Team>,
    halts: Pool<Halted>,
}

/// Two agents of one lineage; the one delegates to the other.
#[derive(Clone)]
struct Team {
    top: Name,
    key: SigningKey,
    below: Name,
    lineage: Name,
    grants: Vec<GrantId>,
    commands: u32,
}

/// A halt that may be in force.
#[derive(Clone)]
struct Halted {
    signed: SignedCommand,
    /// Its leaf, once that is known. Until then it is given again by whoever comes by.
    index: Option<u64>,
    /// Resumers whose word was acknowledged.
    resumed: BTreeSet<usize>,
}

impl Halts {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < TEAMS {
            if let Some(team) = self.grow(client).await {
                self.pool.add(team);
            }
            return;
        }
        let Some(team) = self.pool.pick(client) else { return };
        let halted = self.halts.pick(client);
        match (client.choices.between(0, 99), halted, team.grants.last()) {
            (0..=29, _, _) => check(client, &team).await,
            (30..=44, _, _) => authorize(client, &team).await,
            (45..=79, Some(halted), _) => {
                self.end(client, halted).await;
                check(client, &team).await;
            }
            (80..=91, _, _) if self.halts.len() < HALTS_MAX => self.halt(client, &team).await,
            (92..=93, _, Some(grant)) => drop(client.revoke(*grant).await),
            (94..=96, _, Some(grant)) => self.delegate(client, &team, *grant).await,
            _ => self.grant(client, &team).await,
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for team in self.pool.all() {
            check(client, &team).await;
            authorize(client, &team).await;
        }
    }

    async fn grow(&self, client: &mut Client) -> Option<Team> {
        let (top, below, lineage) =
            (self.pool.new_name("halts"), self.pool.new_name("halts"), self.pool.new_name("lineage"));
        let key = key(client);
        let registered = acknowledged(&client.register_in(&top, Some(&key), Some(&lineage)).await)
            && acknowledged(&client.register_in(&below, None, Some(&lineage)).await);
        let team = Team { top, key, below, lineage, grants: Vec::new(), commands: 0 };
        registered.then_some(team)
    }

    async fn grant(&self, client: &mut Client, team: &Team) {
        let right = Right { depth: 1, ..Right::new(&team.top, ACTION, resource(team).as_str()) };
        let (grant, outcome) = client.grant(&right).await;
        let grant = grant.filter(|_| acknowledged(&outcome));
        self.change(team, |team| team.grants.extend(grant));
    }

    async fn delegate(&self, client: &mut Client, team: &Team, parent: GrantId) {
        let right = Right::new(&team.below, ACTION, resource(team).as_str());
        client.delegate(parent, &right, &team.key).await;
        self.change(team, |_| {});
    }

    async fn halt(&self, client: &mut Client, team: &Team) {
        let scope = scope(client, team);
        let is_everything = scope == HaltScope::Everything;
        let Some(signed) = client.sign_halt(scope) else { return };
        let halted = Halted { signed: signed.clone(), index: None, resumed: BTreeSet::new() };
        self.halts.add(halted.clone());
        self.give(client, halted).await;
        self.change(team, |_| {});
        // Whoever halted is the first who could be lied to.
        check(client, team).await;
        authorize(client, team).await;
        for _ in 0..EVERYTHING_TRIES {
            // The other workloads are to do something too.
            let own = self.halts.all().into_iter().find(|one| is_everything && one.signed == signed);
            let Some(own) = own else { break };
            self.end(client, own).await;
        }
    }

    /// Gives a halt, again if it is not known what became of it.
    async fn give(&self, client: &mut Client, halted: Halted) {
        let outcome = client.halt(&halted.signed).await;
        self.halts.with(|halts| match outcome {
            Outcome::Acknowledged { index, .. } => {
                for known in halts.iter_mut().filter(|known| known.signed == halted.signed) {
                    known.index = Some(index);
                }
            }
            Outcome::Refused { .. } => halts.retain(|known| known.signed != halted.signed),
            // It may be in force, or get there: others give it again.
            _ => {}
        });
    }

    /// Has as many resumers say that it may end as it takes, or gives it again first.
    async fn end(&self, client: &mut Client, halted: Halted) {
        let Some(index) = halted.index else { return self.give(client, halted).await };
        let Some(resumer) = client.choices.pick(&RESUMERS).copied() else { return };
        let outcome = client.resume(resumer, index, halted.signed.command_hash()).await;
        self.halts.with(|halts| {
            for known in halts.iter_mut().filter(|known| known.index == Some(index)) {
                if acknowledged(&outcome) {
                    known.resumed.insert(resumer);
                }
            }
            let ended = matches!(&outcome, Outcome::Refused { reason } if reason == "halt_ended");
            halts.retain(|known| {
                let all = known.resumed.len() >= RESUMERS_ENOUGH;
                known.index != Some(index) || !ended && !all
            });
        });
    }

    fn change(&self, changed: &Team, act: impl FnOnce(&mut Team)) {
        self.pool.with(|teams| {
            if let Some(team) = teams.iter_mut().find(|team| team.top == changed.top) {
                team.commands += 1;
                act(team);
            }
            teams.retain(|team| team.commands < COMMANDS_MAX);
        });
    }
}

/// What a team works on: nobody else does.
fn resource(team: &Team) -> Name {
    name(&format!("{}/thing", team.top))
}

/// Something that stops the team, and perhaps others.
fn scope(client: &mut Client, team: &Team) -> HaltScope {
    let grant = client.choices.pick(&team.grants).copied();
    match (client.choices.between(0, 99), grant) {
        (0..=4, _) => HaltScope::Everything,
        (5..=24, _) => HaltScope::Agent(team.top.clone()),
        (25..=34, _) => HaltScope::Agent(team.below.clone()),
        (35..=49, _) => HaltScope::Lineage(team.lineage.clone()),
        (50..=59, _) => HaltScope::Action(pattern("halts/*")),
        (60..=64, _) => HaltScope::Action(pattern(ACTION)),
        (65..=79, _) => HaltScope::Resource(pattern(&format!("{}/*", team.top))),
        (_, Some(grant)) => HaltScope::Subtree(grant),
        _ => HaltScope::Resource(pattern(resource(team).as_str())),
    }
}

fn pattern(text: &str) -> Pattern {
    match Pattern::new(text) {
        Ok(pattern) => pattern,
        // INVARIANT: the harness makes them of names, and of names' beginnings.
        Err(_) => unreachable!("{text:?} is a pattern"),
    }
}

async fn check(client: &mut Client, team: &Team) {
    for agent in [&team.top, &team.below] {
        client.check(agent, &name(ACTION), &resource(team)).await;
    }
}

async fn authorize(client: &mut Client, team: &Team) {
    let agent = if client.choices.chance(500) { &team.top } else { &team.below };
    client.authorize(agent, &name(ACTION), &resource(team), None).await;
}
