//! Revocations, and checks that start when they are acknowledged.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chancery_client::{Ledger, Options};
use chancery_jepsen::checkers::Finding;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::NODES;
use crate::house::{House, Setting, statement};
use crate::record::{Record, agent};
use crate::wire::{Papers, client};

/// Who lies in [`beside_a_liar`].
pub(crate) const LIAR: u64 = 3;

/// Agents that are granted something and lose it again.
const ROUNDS: usize = 12;

/// Checks that are made of each node at once, over several connections.
const AT_ONCE: usize = 4;

/// The late node applies no block while this is on.
const HELD: &str = "applied-before-write=pause";

/// How long it is held for a check that waits for the block, as it should.
const HELD_FOR: Duration = Duration::from_secs(1);

/// An election timeout that nobody lives to see, in milliseconds.
const NEVER_MS: (u64, u64) = (3_600_000, 7_200_000);

/// Agents are granted something, checked, revoked, and checked on every node from the moment of the
/// acknowledgement: through the SDK, and by a client that believes what it is shown. One node does not apply the
/// revocation until that client has been answered, or has waited. One check is alone, so that its statements are the
/// first that any node makes after the revocation.
pub(crate) async fn of_revocations(setting: Setting) -> Vec<Finding> {
    let house = House::start(setting, |_| {}).await;
    let leader = house.cluster.leader().await;
    let late = leader % NODES + 1;
    let record = Arc::new(Record::new());
    let trusting = Arc::new(record.beside());
    let issuer = once(&house, "issuer", leader).await;
    let revoker = once(&house, "revoker", leader).await;
    // Connections that saw nothing newer: what one of them verified binds it, and would tell on the nodes.
    let nodes: Vec<u64> = (1..=NODES).collect();
    let before = Gates::of(&house, &nodes).await;
    let after = Gates::of(&house, &nodes).await;
    let first = once(&house, "gate", leader).await;
    let papers = Papers::of_principal(&house.cluster, "gate");
    let mut believer = client(&house.cluster, late, &papers);
    trusting.check_trusting(&mut believer, late, "nobody").await;
    for number in 0..ROUNDS {
        let agent = agent(number).to_string();
        record.register(&issuer, &agent).await;
        let (grant, _) = record.grant(&issuer, &agent).await;
        before.check(&record, &agent).await;
        house.switch_on(late, HELD).await;
        record.revoke(&revoker, grant).await;
        record.check(&first, leader, &agent).await;
        let believing = async {
            let mut asking = pin!(trusting.check_trusting(&mut believer, late, &agent));
            let answered = timeout(HELD_FOR, &mut asking).await;
            house.switch_off(late).await;
            if answered.is_err() {
                asking.await;
            }
        };
        tokio::join!(after.check(&record, &agent), believing);
        for node in 1..=NODES {
            record.saw(statement(&mut house.peer(node)).await);
        }
    }
    let mut findings = record.judge(&house, &issuer.trust().genesis).await;
    findings.push(trusting.judge_checks(&record, &house).await);
    findings
}

/// One member signs with a key that is not its own. The others must do without it, and be believed.
pub(crate) async fn beside_a_liar(setting: Setting) -> Vec<Finding> {
    let mut house = House::found(setting, |_| {}).await;
    // A leader's own signature is among those that acknowledge: the liar must not lead.
    house.cluster.configure(LIAR, |config| config.tuning.election_timeout_ms = NEVER_MS);
    house.start_all();
    house.cluster.wait_until_serving(NODES).await;
    let record = Arc::new(Record::new());
    let issuer = once(&house, "issuer", 1).await;
    let honest = Gates::of(&house, &[1, 2]).await;
    for number in 0..ROUNDS {
        let agent = agent(number).to_string();
        record.register(&issuer, &agent).await;
        record.grant(&issuer, &agent).await;
        honest.check(&record, &agent).await;
    }
    record.judge(&house, &issuer.trust().genesis).await
}

/// A connection to one node, which tries once.
async fn once(house: &House, principal: &str, node: u64) -> Ledger {
    let options = Options { tries_max: 1, ..Options::default() };
    house.cluster.connect_with(principal, Some(node), options).await
}

/// Connections to every node.
struct Gates(Vec<(u64, Ledger)>);

impl Gates {
    async fn of(house: &House, nodes: &[u64]) -> Self {
        let mut gates = Vec::new();
        for node in nodes.iter().flat_map(|node| [*node; AT_ONCE]) {
            gates.push((node, once(house, "gate", node).await));
        }
        Self(gates)
    }

    /// Asks over all of them, one shortly after the other, so that some come while a round is under way.
    async fn check(&self, record: &Arc<Record>, agent: &str) {
        let mut checks = JoinSet::new();
        for (place, (node, gate)) in self.0.iter().enumerate() {
            let (record, gate, node, agent) = (Arc::clone(record), gate.clone(), *node, agent.to_owned());
            let wait = Duration::from_micros(300) * u32::try_from(place % AT_ONCE).unwrap();
            checks.spawn(async move {
                sleep(wait).await;
                record.check(&gate, node, &agent).await;
            });
        }
        checks.join_all().await;
    }
}
