//! A client that believes only what it verifies, and follows the rosters by their chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{Nonce, ProofError, decode_answer, verify};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::SignedCommand;
use chancery_ledger::decide::{Decision, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, RosterChain, RosterId, Statement};
use chancery_ledger::log::{leaf_hash, verify_inclusion};
use chancery_ledger::trust::Trust;
use chancery_proto::v1::api;
use chancery_proto::v1::api::ledger_client::LedgerClient;
use chancery_proto::v1::api::submit_reply::Outcome;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::nodes::{Nodes, PATIENCE};
use crate::world::{World, name};

/// Clones share what they verified.
#[derive(Clone)]
pub(crate) struct Client {
    channels: BTreeMap<u64, LedgerClient<Channel>>,
    trust: Arc<RwLock<Trust>>,
    world: Arc<World>,
}

impl Client {
    /// Connections to all nodes that there may be.
    pub(crate) fn new(nodes: &Nodes) -> Self {
        let (certificate, key) = nodes.world.client_certificate();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&nodes.world.ca_pem))
            .identity(Identity::from_pem(certificate, key))
            .domain_name("127.0.0.1");
        let connect = |node: u64| {
            let endpoint = Endpoint::from_shared(format!("https://{}", nodes.client_address(node))).unwrap();
            let endpoint = endpoint.tls_config(tls.clone()).unwrap().timeout(Duration::from_secs(30));
            (node, LedgerClient::new(endpoint.connect_lazy()))
        };
        Self {
            channels: (1..=5).map(connect).collect(),
            trust: Arc::new(RwLock::new(nodes.world.trust())),
            world: Arc::clone(&nodes.world),
        }
    }

    pub(crate) fn at(&self, node: u64) -> LedgerClient<Channel> {
        self.channels[&node].clone()
    }

    /// Fetches from `node` what follows the newest roster known, and believes what is proven.
    pub(crate) async fn follow(&self, node: u64) {
        let mut trust = self.trust.write().await;
        let since_block = trust.newest_roster().block;
        let reply = self.at(node).rosters(api::RostersRequest { since_block }).await.unwrap().into_inner();
        *trust = trust.extend(&RosterChain::decode(&reply.chain).unwrap()).unwrap();
    }

    /// The newest roster that is proven.
    pub(crate) async fn roster(&self) -> RosterId {
        self.trust.read().await.newest_roster()
    }

    /// What `node` says became of a command; an acknowledgement is verified.
    pub(crate) async fn submit(&self, node: u64, signed: &SignedCommand) -> Result<Outcome, Status> {
        let request = api::SubmitRequest { signed_command: signed.encode() };
        let outcome = self.at(node).submit(request).await?.into_inner().outcome.unwrap();
        if let Outcome::Acknowledged(acknowledged) = &outcome {
            let head = Head::decode(&acknowledged.head).unwrap();
            if self.trust.read().await.voters_of(&head).is_err() {
                self.follow(node).await;
            }
            let decode = |bytes: &Vec<u8>| Statement::decode(bytes).unwrap();
            let statements: Vec<Statement> = acknowledged.statements.iter().map(decode).collect();
            self.trust.read().await.voters_of(&head).unwrap().verify(&head, &statements).unwrap();
            let proof: Vec<Hash> =
                acknowledged.inclusion.iter().map(|hash| Hash::from_slice(hash).unwrap()).collect();
            let leaf = leaf_hash(&acknowledged.entry);
            verify_inclusion(&leaf, acknowledged.index, head.log_size, &proof, &head.log_root).unwrap();
            let Entry::Command { signed: found, .. } = Entry::decode(&acknowledged.entry).unwrap() else {
                panic!("the leaf is no command");
            };
            assert_eq!(found.command_bytes(), signed.command_bytes());
        }
        Ok(outcome)
    }

    /// Sends the command to `nodes` in turn until it is acknowledged.
    pub(crate) async fn acknowledged(&self, nodes: &[u64], signed: &SignedCommand) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        for node in nodes.iter().cycle() {
            match self.submit(*node, signed).await {
                Ok(Outcome::Acknowledged(_)) => return,
                other => said.push(format!("node {node}: {other:?}")),
            }
            assert!(Instant::now() < deadline, "not acknowledged: {said:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether `agent` may read, as `node` proves; `None` if it proves nothing now.
    pub(crate) async fn may_read(&self, node: u64, agent: &str) -> Option<bool> {
        let request = Request {
            agent: name(agent),
            action: name("read"),
            resource: name("documents/1"),
            args_digest: Hash([1; 32]),
            args: None,
            knowledge: None,
            generation: None,
            hint: None,
        };
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).unwrap();
        let asked = api::CheckRequest {
            agent: request.agent.to_string(),
            action: request.action.to_string(),
            resource: request.resource.to_string(),
            args_digest: request.args_digest.0.to_vec(),
            generation: Vec::new(),
            nonce: nonce.to_vec(),
            ..Default::default()
        };
        let reply = self.at(node).check(asked).await.ok()?.into_inner();
        let answer = decode_answer(&reply.answer, 4 << 20).unwrap();
        let trust = self.trust.read().await.clone();
        let verified = match verify(&trust, &request, Nonce(nonce), &answer) {
            Err(ProofError::Trust(_)) => {
                self.follow(node).await;
                let trust = self.trust.read().await.clone();
                verify(&trust, &request, Nonce(nonce), &answer).unwrap()
            }
            verified => verified.unwrap(),
        };
        Some(matches!(verified.decision, Decision::Permit(_)))
    }

    /// Waits for a proof by `node` of whether `agent` may read.
    pub(crate) async fn must_answer(&self, node: u64, agent: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(may) = self.may_read(node, agent).await {
                return may;
            }
            assert!(Instant::now() < deadline, "node {node} proves nothing");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn status(&self, node: u64) -> Option<api::StatusReply> {
        self.at(node).status(api::StatusRequest {}).await.ok().map(tonic::Response::into_inner)
    }

    /// Waits until `reached` holds of what `node` says of itself.
    pub(crate) async fn wait_for_status(
        &self,
        node: u64,
        what: &str,
        reached: impl Fn(&api::StatusReply) -> bool,
    ) -> api::StatusReply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(node).await;
            if let Some(status) = status.clone().filter(|status| reached(status)) {
                return status;
            }
            assert!(Instant::now() < deadline, "node {node}: {what}: {status:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all of `nodes` sign and name one of them as the leader; that.
    pub(crate) async fn leader(&self, nodes: &[u64]) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut leaders = Vec::new();
            for node in nodes {
                let status = self.status(*node).await.filter(|status| status.signing);
                leaders.push(status.map_or(0, |status| status.leader));
            }
            if nodes.contains(&leaders[0]) && leaders.iter().all(|leader| *leader == leaders[0]) {
                return leaders[0];
            }
            assert!(Instant::now() < deadline, "{nodes:?} do not agree on a leader: {leaders:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has `node` at `address` replicate, and waits until it has caught up.
    pub(crate) async fn add_learner(&self, leader: u64, node: u64, address: String) {
        let request = api::AddLearnerRequest { node, name: format!("node-{node}"), address };
        let mut progress = self.at(leader).add_learner(request).await.unwrap().into_inner();
        let mut caught_up = false;
        while let Some(message) = progress.message().await.unwrap() {
            assert!(!caught_up, "the stream goes on after the end");
            caught_up = message.caught_up;
        }
        assert!(caught_up);
    }

    /// Changes the voters to `next`, whoever of `asked` takes the command.
    pub(crate) async fn change(&self, asked: &[u64], next: &[u64]) {
        let signed = self.world.set_roster(self.roster().await, next);
        self.acknowledged(asked, &signed).await;
        let trust = self.trust.read().await.clone();
        let proven: Vec<u64> =
            trust.roster(trust.newest_roster()).unwrap().voters().map(|v| v.node).collect();
        assert_eq!(proven, next);
    }
}
