//! What Chancery does: every answer and every receipt is verified by the client, as any client of it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chancery_client::chancery_ledger::command::{Bounds, GrantId, Name, Patterns, Requirements, Terms};
use chancery_client::{Ledger, Permit, Receipt};
use futures_util::future::join_all;
use prost::Message;
use tokio::task::JoinSet;

use super::batching::{Batching, Sharing};
use super::{Dice, MIX_WRITES_ONE_IN};
use crate::fault::{BenchError, Result};
use crate::floor::node_of;
use crate::load::Operation;
use crate::system::chancery::Chancery;

const SYSTEM: &str = "chancery";

/// Agents that are checked, and for whom decisions are recorded.
pub(crate) const AGENTS: usize = 1_000;

/// Grants that each of them has, each for another action.
pub(crate) const GRANTS_EACH: usize = 10;

/// Agents that get and lose grants while it is measured.
const CHANGED_AGENTS: usize = 1_000;

/// Grants of each agent that is there only to fill the ledger.
pub(crate) const FILLED_EACH: usize = 100;

/// Grants of theirs to begin with where revocations are measured, so that those do not run out of them.
pub(crate) const TO_REVOKE: usize = 4_000;

/// Commands under way at once while all this is made.
const AT_ONCE: usize = 512;

/// Checks that are asked for together.
pub(crate) const BULK: u64 = 16;

/// How long a grant lasts: longer than the bench.
const GRANTED_FOR_MS: u64 = 24 * 3_600_000;

/// How old an answer may be when it is acted on.
const STALENESS_MS: u64 = 10_000;

/// One receipt of so many is looked at for how many commands its signature covers.
const LOOKED_AT_ONE_IN: u64 = 16;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A linearizable check, one unary call, its answer verified.
    Check,
    /// The same, over a stream that the checks of a connection share.
    CheckSession,
    /// Checks over such a stream, each caller's asked for together.
    CheckBulk,
    /// A grant, its receipt verified.
    Grant,
    /// A revocation of such a grant, its receipt verified.
    Revoke,
    /// A decision on record, its receipt verified; signed together with others that wait.
    Authorize,
    /// Mostly checks; grants and revocations by turns.
    Mix,
}

/// Connections of each principal, and what is granted.
#[derive(Debug)]
pub(crate) struct Clients {
    gates: Vec<Ledger>,
    /// As many as the gates, and their checks share a stream each.
    session_gates: Vec<Ledger>,
    issuers: Vec<Ledger>,
    revokers: Vec<Ledger>,
    /// Grants that may be revoked.
    granted: Mutex<Vec<GrantId>>,
    dice: Dice,
    not_after_ms: u64,
}

/// Operations of one kind.
#[derive(Debug)]
pub(crate) struct Commands {
    kind: Kind,
    clients: Arc<Clients>,
    sharing: Sharing,
    number: AtomicU64,
    blocks: Mutex<Option<(u64, u64)>>,
}

impl Clients {
    /// Connects, and makes the agents and what they hold; `to_revoke` grants more are for revocations.
    pub(crate) async fn prepare(
        chancery: &Chancery,
        connections: usize,
        to_revoke: usize,
    ) -> Result<Arc<Self>> {
        let connect = async |principal| {
            let mut all = Vec::new();
            for connection in 0..connections {
                all.push(chancery.connect(principal, node_of(connection)).await?);
            }
            Ok::<_, BenchError>(all)
        };
        let mut session_gates = Vec::new();
        for connection in 0..connections {
            session_gates.push(chancery.connect_session("gate", node_of(connection)).await?);
        }
        let clients = Arc::new(Self {
            gates: connect("gate").await?,
            session_gates,
            issuers: connect("issuer").await?,
            revokers: connect("revoker").await?,
            granted: Mutex::default(),
            dice: Dice::default(),
            not_after_ms: now_ms() + GRANTED_FOR_MS,
        });
        let agents = (0..AGENTS).map(agent).chain((0..CHANGED_AGENTS).map(changed_agent));
        let register = |_, issuer: Ledger, agent: String| async move {
            let registered = issuer.register_agent(name(&agent)?, name("bench/owner")?, None).await;
            registered.map(drop).map_err(|error| error.to_string())
        };
        clients.all(agents, register).await?;
        let grants =
            (0..AGENTS * GRANTS_EACH).map(|number| (agent(number % AGENTS), action(number / AGENTS)));
        let grant = |clients: Arc<Self>, issuer: Ledger, (agent, action): (String, String)| async move {
            clients.grant(&issuer, &agent, &action).await.map(drop)
        };
        clients.all(grants, grant).await?;
        let to_revoke = (0..to_revoke).map(|number| changed_agent(number % CHANGED_AGENTS));
        let grant = |clients: Arc<Self>, issuer: Ledger, agent: String| async move {
            clients.grant_one(&issuer, &agent).await.map(drop)
        };
        clients.all(to_revoke, grant).await?;
        Ok(clients)
    }

    /// Grants `count` more, to agents of whom each gets a hundred, the numbers of whom begin at `first`.
    pub(crate) async fn fill(self: &Arc<Self>, first: usize, count: usize) -> Result<()> {
        let agents = count.div_ceil(FILLED_EACH);
        let register = |_, issuer: Ledger, agent: String| async move {
            let registered = issuer.register_agent(name(&agent)?, name("bench/owner")?, None).await;
            registered.map(drop).map_err(|error| error.to_string())
        };
        self.all((first..first + agents).map(filled_agent), register).await?;
        let grants =
            (0..count).map(|number| (filled_agent(first + number % agents), action(number / agents)));
        let grant = |clients: Arc<Self>, issuer: Ledger, (agent, action): (String, String)| async move {
            clients.grant(&issuer, &agent, &action).await.map(drop)
        };
        self.all(grants, grant).await
    }

    /// Has the issuers do something for each of `all`, several at once.
    async fn all<T, F>(
        self: &Arc<Self>,
        all: impl Iterator<Item = T>,
        each: impl Fn(Arc<Self>, Ledger, T) -> F,
    ) -> Result<()>
    where
        F: Future<Output = std::result::Result<(), String>> + Send + 'static,
    {
        let mut under_way = JoinSet::new();
        let one = async |under_way: &mut JoinSet<std::result::Result<(), String>>| match under_way
            .join_next()
            .await
        {
            None => Ok(()),
            Some(ended) => ended.map_err(BenchError::of(SYSTEM))?.map_err(BenchError::of(SYSTEM)),
        };
        for (item, issuer) in all.zip(self.issuers.iter().cycle()) {
            if under_way.len() >= AT_ONCE {
                one(&mut under_way).await?;
            }
            under_way.spawn(each(Arc::clone(self), issuer.clone(), item));
        }
        while !under_way.is_empty() {
            one(&mut under_way).await?;
        }
        Ok(())
    }

    /// A proven check, one call, which must be a permit.
    pub(crate) async fn check(&self, caller: usize) -> std::result::Result<Permit, String> {
        self.check_by(of(&self.gates, caller)?).await
    }

    async fn check_by(&self, gate: &Ledger) -> std::result::Result<Permit, String> {
        let (agent, action) = (agent(self.dice.below(AGENTS)), action(self.dice.below(GRANTS_EACH)));
        gate.check(&agent, &action, "accounts/7", b"{}").await.map_err(|error| error.to_string())
    }

    /// A grant to one of those that get and lose them.
    pub(crate) async fn grant_now(&self, caller: usize) -> std::result::Result<Receipt, String> {
        let agent = changed_agent(self.dice.below(CHANGED_AGENTS));
        self.grant_one(of(&self.issuers, caller)?, &agent).await
    }

    async fn grant_one(&self, issuer: &Ledger, agent: &str) -> std::result::Result<Receipt, String> {
        let receipt = self.grant(issuer, agent, "payments/send").await?;
        let grant = receipt.grant.ok_or("the receipt names no grant")?;
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).push(grant);
        Ok(receipt)
    }

    async fn grant(
        &self,
        issuer: &Ledger,
        agent: &str,
        action: &str,
    ) -> std::result::Result<Receipt, String> {
        let patterns = |text: &str| Patterns::collect([text]).map_err(|error| error.to_string());
        let terms = Terms {
            agent: name(agent)?,
            actions: patterns(action)?,
            resources: patterns("accounts/*")?,
            not_before_ms: 0,
            not_after_ms: self.not_after_ms,
            max_staleness_ms: STALENESS_MS,
            delegable_depth: 0,
            condition: None,
            knowledge: Requirements::default(),
            bounds: Bounds::default(),
        };
        issuer.grant(terms).await.map_err(|error| error.to_string())
    }

    async fn revoke_one(&self, caller: usize) -> std::result::Result<Receipt, String> {
        let grant = self.granted.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let grant = grant.ok_or("nothing is left to revoke")?;
        of(&self.revokers, caller)?.revoke(grant, "bench").await.map_err(|error| error.to_string())
    }

    async fn authorize(&self, caller: usize) -> std::result::Result<Receipt, String> {
        let gate = of(&self.gates, caller)?;
        let (agent, action) = (agent(self.dice.below(AGENTS)), action(self.dice.below(GRANTS_EACH)));
        let authorized = gate.authorize(&agent, &action, "accounts/7", b"{}").await;
        authorized.map(|authorized| authorized.receipt().clone()).map_err(|error| error.to_string())
    }
}

impl Commands {
    /// Of `clients`, over `connections` of them.
    pub(crate) fn new(kind: Kind, clients: &Arc<Clients>) -> Self {
        let sharing = Sharing::new(clients.gates.len());
        Self {
            kind,
            clients: Arc::clone(clients),
            sharing,
            number: AtomicU64::new(0),
            blocks: Mutex::default(),
        }
    }

    /// What the operations since the last time shared.
    pub(crate) fn batching(&self) -> Batching {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.sharing.take(blocks.map(|(first, last)| last - first + 1))
    }

    fn checked(&self, caller: usize, permit: &Permit) {
        let answer = &permit.checked().answer;
        let count = answer.nonce_path.as_ref().map_or(1, |path| path.count);
        let root = answer.statements.first().and_then(|statement| statement.fresh);
        let round =
            root.and_then(|fresh| fresh.nonce_root.0.first_chunk().copied()).map_or(0, u64::from_be_bytes);
        self.sharing.count(caller, round, f64::from(count), None);
    }

    fn received(&self, caller: usize, receipt: &Receipt) {
        let looked_at = self.number.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKED_AT_ONE_IN);
        let signed = if looked_at { signed_together(receipt) } else { None };
        self.sharing.count(caller, receipt.head.head.block, 1.0, signed);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = blocks.unwrap_or((receipt.block, receipt.block));
        *blocks = Some((first.min(receipt.block), last.max(receipt.block)));
    }
}

impl Operation for Commands {
    async fn once(&self, caller: usize) -> std::result::Result<(), String> {
        let clients = &self.clients;
        let kind = match self.kind {
            Kind::Mix if clients.dice.below(MIX_WRITES_ONE_IN) > 0 => Kind::Check,
            Kind::Mix if clients.dice.below(2) == 0 => Kind::Revoke,
            Kind::Mix => Kind::Grant,
            kind => kind,
        };
        let receipt = match kind {
            Kind::Check | Kind::Mix => {
                let permit = clients.check(caller).await?;
                self.checked(caller, &permit);
                return Ok(());
            }
            Kind::CheckSession => {
                let permit = clients.check_by(of(&clients.session_gates, caller)?).await?;
                self.checked(caller, &permit);
                return Ok(());
            }
            Kind::CheckBulk => {
                let gate = of(&clients.session_gates, caller)?;
                for permit in join_all((0..BULK).map(|_| clients.check_by(gate))).await {
                    self.checked(caller, &permit?);
                }
                return Ok(());
            }
            Kind::Grant => clients.grant_now(caller).await?,
            Kind::Revoke => clients.revoke_one(caller).await?,
            Kind::Authorize => clients.authorize(caller).await?,
        };
        if self.kind != Kind::Mix {
            self.received(caller, &receipt);
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        if self.kind == Kind::CheckBulk { BULK } else { 1 }
    }
}

/// How many commands the signature covers of the one that the receipt is for.
fn signed_together(receipt: &Receipt) -> Option<f64> {
    let signed = chancery_proto::v1::SignedCommand::decode(receipt.command.encode().as_slice()).ok()?;
    Some(signed.signatures.first()?.batch.as_ref().map_or(1.0, |batch| f64::from(batch.count)))
}

fn of(connections: &[Ledger], caller: usize) -> std::result::Result<&Ledger, String> {
    connections.get(caller % connections.len().max(1)).ok_or_else(|| "no connection".into())
}

fn name(text: &str) -> std::result::Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

fn agent(number: usize) -> String {
    format!("bench/agent-{number}")
}

fn changed_agent(number: usize) -> String {
    format!("bench/changed-{number}")
}

fn filled_agent(number: usize) -> String {
    format!("bench/filled-{number}")
}

fn action(number: usize) -> String {
    format!("payments/action-{number}")
}

/// This machine's clock, in milliseconds since 1970.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
