//! Revocations, and checks that start when they are acknowledged.

use std::sync::Arc;
use std::time::Duration;

use chancery_client::{Ledger, Options};
use chancery_jepsen::checkers::Finding;
use tokio::task::JoinSet;
use tokio::time::sleep;

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

/// What the slow node waits for before it applies a block.
const SLOW: &str = "applied-before-write=sleep(150)";

/// Agents are granted something, checked, revoked, and checked on every node from the moment of the
/// acknowledgement: through the SDK, and by a client that believes what it is shown. One node applies late.
pub(crate) async fn of_revocations(setting: Setting) -> Vec<Finding> {
    let house = House::start(setting, |_| {}).await;
    let leader = house.cluster.leader().await;
    let late = leader % NODES + 1;
    house.switch_on(late, SLOW);
    let record = Arc::new(Record::new());
    let trusting = Arc::new(record.beside());
    let issuer = once(&house, "issuer", leader).await;
    let revoker = once(&house, "revoker", leader).await;
    // Connections that saw nothing newer: what one of them verified binds it, and would tell on the nodes.
    let nodes: Vec<u64> = (1..=NODES).collect();
    let before = Gates::of(&house, &nodes).await;
    let after = Gates::of(&house, &nodes).await;
    let papers = Papers::of_principal(&house.cluster, "gate");
    let mut believer = client(&house.cluster, late, &papers);
    trusting.check_trusting(&mut believer, late, "nobody").await;
    for number in 0..ROUNDS {
        let agent = agent(number).to_string();
        record.register(&issuer, &agent).await;
        let (grant, _) = record.grant(&issuer, &agent).await;
        before.check(&record, &agent).await;
        record.revoke(&revoker, grant).await;
        tokio::join!(after.check(&record, &agent), trusting.check_trusting(&mut believer, late, &agent));
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
    let mut house = House::start(setting, |_| {}).await;
    // A leader's own signature is among those that acknowledge: the liar must not lead.
    while house.cluster.leader().await == LIAR {
        house.cluster.kill(LIAR);
        sleep(Duration::from_millis(1_500)).await;
        house.start_node(LIAR);
        house.cluster.wait_until_serving(NODES).await;
    }
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
