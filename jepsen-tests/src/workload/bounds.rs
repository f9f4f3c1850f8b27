//! Bounds: a few units that everybody wants, taken on record, given back, and taken again.

use chancery_client::SigningKey;
use chancery_client::chancery_ledger::command::{
    Bound, BoundKind, Bounds as GrantBounds, DecisionRef, GrantId, Identifier, Name, OutcomeKind, Per,
};

use super::{Pool, acknowledged, key};
use crate::client::{Client, Right, name};
use crate::history::Outcome;

/// Teams that are worked on at once: few, so that clients race for the last unit.
const TEAMS: usize = 2;

/// Commands about one team before another takes its place.
const COMMANDS_MAX: u32 = 80;

/// Permits of one team whose outcomes are fought for.
const PERMITS_MAX: usize = 4;

/// The most that one call asks for.
const AMOUNT_MAX: u64 = 40;

/// What clients say became of a call. What failed gives back.
const KINDS: [OutcomeKind; 5] = [
    OutcomeKind::Executed,
    OutcomeKind::Failed,
    OutcomeKind::Failed,
    OutcomeKind::Unknown,
    OutcomeKind::Compensated,
];

/// See [`Kind::Bounds`](super::Kind::Bounds).
#[derive(Default)]
pub struct Bounds {
    pool: Pool<Team>,
}

/// An agent, and one to which it delegates: what that one does spends the bounds of both.
#[derive(Clone)]
struct Team {
    top: Name,
    key: SigningKey,
    below: Name,
    grants: Vec<GrantId>,
    permits: Vec<DecisionRef>,
    commands: u32,
}

impl Bounds {
    pub(super) async fn step(&self, client: &mut Client) {
        if self.pool.len() < TEAMS {
            if let Some(team) = self.grow(client).await {
                self.pool.add(team);
            }
            return;
        }
        let Some(team) = self.pool.pick(client) else { return };
        let newest = team.grants.last().copied();
        let permit = client.choices.pick(&team.permits).cloned();
        match (client.choices.between(0, 99), newest, permit) {
            (0..=54, Some(_), _) => self.authorize(client, &team).await,
            (55..=74, _, Some(permit)) => {
                let kind = client.choices.pick(&KINDS).copied().unwrap_or(OutcomeKind::Failed);
                client.outcome(permit, kind).await;
                // What was given back is there for whoever asks first.
                self.authorize(client, &team).await;
            }
            (75..=86, Some(grant), _) => self.delegate(client, &team, grant).await,
            (87..=91, Some(grant), _) => {
                client.revoke(grant).await;
                self.authorize(client, &team).await;
            }
            _ => self.grant(client, &team).await,
        }
    }

    pub(super) async fn last_checks(&self, client: &mut Client) {
        for team in self.pool.all() {
            self.authorize(client, &team).await;
        }
    }

    async fn grow(&self, client: &mut Client) -> Option<Team> {
        let (top, below, key) = (self.pool.new_name("bounds"), self.pool.new_name("bounds"), key(client));
        let registered = acknowledged(&client.register(&top, Some(&key)).await)
            && acknowledged(&client.register(&below, None).await);
        let (grants, permits) = (Vec::new(), Vec::new());
        registered.then_some(Team { top, key, below, grants, permits, commands: 0 })
    }

    async fn authorize(&self, client: &mut Client, team: &Team) {
        let agent = if client.choices.chance(300) { &team.below } else { &team.top };
        let amount = client.choices.between(1, AMOUNT_MAX);
        let permit = client.authorize(agent, &name("act"), &name("thing"), Some(amount)).await;
        self.change(team, |team| {
            team.permits.extend(permit);
            let old = team.permits.len().saturating_sub(PERMITS_MAX);
            team.permits.drain(..old);
        });
    }

    async fn grant(&self, client: &mut Client, team: &Team) {
        let bounds = bounds(client, &team.top);
        let right = Right { depth: 1, bounds, ..Right::new(&team.top, "act", "thing") };
        let (grant, outcome) = client.grant(&right).await;
        let grant = grant.filter(|_| !is_none(&outcome));
        self.change(team, |team| team.grants.extend(grant));
    }

    async fn delegate(&self, client: &mut Client, team: &Team, parent: GrantId) {
        let bounds = bounds(client, &team.top);
        let right = Right { bounds, ..Right::new(&team.below, "act", "thing") };
        client.delegate(parent, &right, &team.key).await;
        self.change(team, |_| {});
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

const fn is_none(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotDone { .. } | Outcome::Refused { .. })
}

/// One to three bounds, small enough to be met, some shared by the team, some by all teams.
fn bounds(client: &mut Client, team: &Name) -> GrantBounds {
    let mut all = Vec::new();
    let count = usize::try_from(client.choices.between(1, 3)).unwrap_or(1);
    for (label, kind, limits) in client.choices.shuffled(kinds()).into_iter().take(count) {
        // What is spent for ever is not shared by those who come later.
        let key = match kind {
            BoundKind::Count | BoundKind::Sum { .. } => name(&format!("{team}/purse")),
            BoundKind::Rate { .. } | BoundKind::Concurrency => name("bounds/all"),
        };
        let per = match client.choices.between(0, 2) {
            0 => Per::Grant,
            1 => Per::Agent,
            _ => Per::Key(key),
        };
        let limit = client.choices.between(limits.0, limits.1);
        all.push(Bound { name: identifier(label), kind, limit, per });
    }
    // INVARIANT: four names at most, none twice, and limits far below the greatest.
    GrantBounds::collect(all).unwrap_or_default()
}

/// Every kind, with its name, and what its limit is between.
fn kinds() -> [(&'static str, BoundKind, (u64, u64)); 4] {
    [
        ("calls", BoundKind::Count, (1, 6)),
        ("money", BoundKind::Sum { argument: identifier("amount") }, (AMOUNT_MAX, 4 * AMOUNT_MAX)),
        ("pace", BoundKind::Rate { window_ms: 1_500 }, (1, 4)),
        ("open", BoundKind::Concurrency, (1, 3)),
    ]
}

fn identifier(text: &str) -> Identifier {
    match Identifier::new(text) {
        Ok(identifier) => identifier,
        // INVARIANT: the harness spells them with letters alone.
        Err(_) => unreachable!("{text:?} is an identifier"),
    }
}
