//! Clients: they grant, revoke and check, and believe only what they verify. Who votes they know from proofs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use chancery_ledger::answer::{Nonce, decode_answer, verify};
use chancery_ledger::command::{Body, Command, GrantId, Patterns, RequestId, SignedCommand, Terms};
use chancery_ledger::decide::{Decision, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HeadQuorum, RosterChain, RosterId};
use chancery_ledger::trust::Trust;
use chancery_node::sequencer::Submitted;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::clock::START_MS;
use crate::founding::{Ledger, key, name, public};
use crate::monitor::{Acknowledged, Monitor};
use crate::node::Call;
use crate::random::Random;

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

/// How often a client sends a command whose outcome it does not know.
const TRIES_MAX: u32 = 12;

/// How often a client asks for the proof of a roster that an acknowledgement names.
const CHAIN_TRIES_MAX: u32 = 40;

/// The largest answer that a client reads.
const ANSWER_SIZE_BYTES_MAX: usize = 4 << 20;

/// Commands are good for an hour: longer than any simulation.
const HOUR_MS: u64 = 3_600_000;

/// A grant, and what its client was told of it, each by [`Monitor::moment`].
#[derive(Clone, Debug)]
struct Granted {
    id: GrantId,
    agent: String,
    resource: String,
    acknowledged: Option<u64>,
    revoking: Option<u64>,
    revoked: Option<u64>,
}

/// What all clients share.
pub(crate) struct Workload {
    pub(crate) ledger: Rc<Ledger>,
    monitor: Rc<Monitor>,
    /// Whom clients ask, voters or not.
    nodes: Vec<u64>,
    /// What was proven to the clients.
    trust: RefCell<Trust>,
    grants: RefCell<Vec<Granted>>,
    requests: Cell<u64>,
    pub(crate) counts: RefCell<Counts>,
    /// Nothing goes wrong from here on.
    pub(crate) healed: Cell<bool>,
    /// The operator waits for a change of the voters.
    pub(crate) voters_change: Cell<bool>,
    /// No new operations from here on.
    pub(crate) ends: Cell<bool>,
}

/// What became of the operations.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) permits: u64,
    pub(crate) denials: u64,
    pub(crate) unanswered_checks: u64,
    pub(crate) done: u64,
    pub(crate) not_done: u64,
    pub(crate) unknown: u64,
    pub(crate) learners: u64,
    pub(crate) voter_changes: u64,
}

impl Workload {
    pub(crate) fn new(ledger: Rc<Ledger>, monitor: Rc<Monitor>, nodes: Vec<u64>) -> Self {
        Self {
            trust: RefCell::new(ledger.trust.clone()),
            ledger,
            monitor,
            nodes,
            grants: RefCell::default(),
            requests: Cell::new(0),
            counts: RefCell::default(),
            healed: Cell::new(false),
            voters_change: Cell::new(false),
            ends: Cell::new(false),
        }
    }

    /// One client, until the workload ends.
    pub(crate) async fn client(self: Rc<Self>, client: u64, mut random: Random) -> turmoil::Result {
        let agent = format!("agent-{client}");
        // The same bytes each time: once it is registered, another command to register it would be refused.
        let owner = name("owner@example.com");
        let body = Body::RegisterAgent { agent: name(&agent), owner, key: None, lineage: None };
        let signed = self.sign("operator", body);
        while !self.ends.get() && self.send(&signed, &mut random).await.is_none() {}
        while !self.ends.get() {
            match random.below(100) {
                0..25 => self.grant(&agent, &mut random).await,
                25..40 => self.revoke(&agent, &mut random).await,
                _ => self.check(&mut random).await,
            }
            sleep(random.ms(1, 40)).await;
        }
        Ok(())
    }

    async fn grant(&self, agent: &str, random: &mut Random) {
        let resource = format!("resource-{}", self.requests.get() + 1);
        let terms = Terms {
            agent: name(agent),
            actions: Patterns::collect(["act"]).unwrap(),
            resources: Patterns::collect([resource.clone()]).unwrap(),
            not_before_ms: START_MS - HOUR_MS,
            not_after_ms: START_MS + HOUR_MS,
            max_staleness_ms: 5_000,
            delegable_depth: 0,
            condition: None,
            knowledge: Default::default(),
            bounds: Default::default(),
        };
        let signed = self.sign("issuer", Body::grant(terms));
        let id = GrantId::of(self.ledger.founding.ledger(), signed.command_bytes());
        let place = self.grants.borrow().len();
        let agent = agent.to_owned();
        let granted = Granted { id, agent, resource, acknowledged: None, revoking: None, revoked: None };
        self.grants.borrow_mut().push(granted);
        if self.send(&signed, random).await.is_some() {
            let moment = self.monitor.moment();
            self.update(place, |granted| granted.acknowledged = Some(moment));
        }
    }

    async fn revoke(&self, agent: &str, random: &mut Random) {
        let open: Vec<usize> = {
            let grants = self.grants.borrow();
            let open = grants.iter().enumerate().filter(|(_, granted)| {
                granted.agent == agent && granted.acknowledged.is_some() && granted.revoking.is_none()
            });
            open.map(|(place, _)| place).collect()
        };
        let Some(place) = random.pick(&open).copied() else { return };
        let moment = self.monitor.moment();
        self.update(place, |granted| granted.revoking = Some(moment));
        let Some(grant) = self.grants.borrow().get(place).map(|granted| granted.id) else { return };
        let body = Body::RevokeGrant { grant, reason: "simulated".into() };
        if self.submit("revoker", body, random).await.is_some() {
            let moment = self.monitor.moment();
            self.update(place, |granted| granted.revoked = Some(moment));
        }
    }

    fn update(&self, place: usize, change: impl FnOnce(&mut Granted)) {
        if let Some(granted) = self.grants.borrow_mut().get_mut(place) {
            change(granted);
        }
    }

    /// Asks whether some grant is good, and verifies the answer.
    async fn check(&self, random: &mut Random) {
        let place = random.below(self.grants.borrow().len() as u64);
        let place = usize::try_from(place).unwrap_or(0);
        let Some(before) = self.grants.borrow().get(place).cloned() else { return };
        let request = Request {
            agent: name(&before.agent),
            action: name("act"),
            resource: name(&before.resource),
            args_digest: Hash::of(&[b"arguments"]),
            args: None,
            knowledge: None,
            generation: None,
            hint: None,
        };
        let nonce = Nonce(random.bytes());
        let (reply, answer) = oneshot::channel();
        let call = Call::Check { request: Box::new(request.clone()), nonce, patience: PATIENCE, reply };
        let answer = match self.ask(call, answer, random).await {
            Some(Ok(answer)) => answer.encode(),
            Some(Err(_)) | None => {
                self.counts.borrow_mut().unanswered_checks += 1;
                return;
            }
        };
        // From here on as a client elsewhere would: from bytes and trust alone.
        let answer = match decode_answer(&answer, ANSWER_SIZE_BYTES_MAX) {
            Ok(answer) => answer,
            Err(error) => return self.monitor.violated(&format!("an answer is malformed: {error}")),
        };
        if !self.learn_of(answer.newest_roster(), 1, random).await {
            self.counts.borrow_mut().unanswered_checks += 1;
            return;
        }
        let trust = self.trust.borrow().clone();
        let verified = match verify(&trust, &request, nonce, &answer) {
            Ok(verified) => verified,
            Err(error) => {
                return self
                    .monitor
                    .violated(&format!("the answer about {before:?} does not verify: {error}"));
            }
        };
        self.monitor.publish(&verified.head, "an answer");
        let now = self.grants.borrow().get(place).cloned();
        match verified.decision {
            Decision::Permit(_) => {
                self.counts.borrow_mut().permits += 1;
                // `before` is from before the nonce was made.
                if before.revoked.is_some() {
                    let block = verified.head.block;
                    self.monitor
                        .violated(&format!("a permit at block {block} after the revocation of {before:?}"));
                }
            }
            Decision::Denied(denial) => {
                self.counts.borrow_mut().denials += 1;
                let revoking = now.is_none_or(|granted| granted.revoking.is_some());
                if before.acknowledged.is_some() && !revoking {
                    self.monitor.violated(&format!("{before:?} was acknowledged and is denied: {denial:?}"));
                }
            }
        }
    }

    async fn submit(&self, signer: &str, body: Body, random: &mut Random) -> Option<()> {
        let signed = self.sign(signer, body);
        self.send(&signed, random).await
    }

    pub(crate) fn sign(&self, signer: &str, body: Body) -> SignedCommand {
        self.requests.set(self.requests.get() + 1);
        let command = Command {
            signer: public(signer),
            request_id: RequestId(u128::from(self.requests.get()).to_be_bytes()),
            not_after_ms: START_MS + HOUR_MS,
            body,
        };
        SignedCommand::sign(self.ledger.founding.ledger(), &command, &[&key(signer)]).unwrap()
    }

    /// Sends the same bytes until they are acknowledged; gives up in the end.
    async fn send(&self, signed: &SignedCommand, random: &mut Random) -> Option<()> {
        self.send_times(signed, TRIES_MAX, random).await
    }

    pub(crate) async fn send_times(
        &self,
        signed: &SignedCommand,
        tries_max: u32,
        random: &mut Random,
    ) -> Option<()> {
        for _ in 0..tries_max {
            let (reply, answer) = oneshot::channel();
            let call = Call::Submit { command: signed.encode(), patience: PATIENCE, reply };
            match self.ask(call, answer, random).await {
                Some(Submitted::Acknowledged { index, block, quorum, .. }) => {
                    if !self.learn_of(quorum.head.roster, CHAIN_TRIES_MAX, random).await {
                        // Nobody proves who signed it: sent again, it is acknowledged again.
                        self.counts.borrow_mut().unknown += 1;
                        continue;
                    }
                    self.check_quorum(&quorum);
                    if quorum.head.block < block {
                        self.monitor.violated("an acknowledgement whose head is before its block");
                    }
                    self.monitor.publish(&quorum.head, "an acknowledgement");
                    let command = signed.command_hash();
                    self.monitor.acknowledge(Acknowledged { index, block, command });
                    self.counts.borrow_mut().done += 1;
                    return Some(());
                }
                Some(Submitted::Refused(refusal)) => {
                    // No client sends what could be refused.
                    self.monitor.violated(&format!("a good command was refused: {refusal}"));
                    return None;
                }
                Some(Submitted::RefusedElsewhere { message, .. }) => {
                    self.monitor.violated(&format!("a good command was refused: {message}"));
                    return None;
                }
                Some(Submitted::NotDone(_) | Submitted::NotLeader) => self.counts.borrow_mut().not_done += 1,
                Some(Submitted::Unknown(_)) | None => self.counts.borrow_mut().unknown += 1,
            }
            if self.ends.get() {
                return None;
            }
            sleep(random.ms(20, 200)).await;
        }
        None
    }

    fn check_quorum(&self, quorum: &HeadQuorum) {
        let trust = self.trust.borrow();
        let verified = trust.voters_of(&quorum.head).map_err(|error| error.to_string()).and_then(|voters| {
            voters.verify(&quorum.head, &quorum.statements).map_err(|error| error.to_string())
        });
        if let Err(error) = verified {
            self.monitor.violated(&format!("an acknowledgement without a quorum: {error}"));
        }
    }

    /// Asks for the proof of a roster, unless it is known. Says whether it is then.
    async fn learn_of(&self, id: RosterId, tries_max: u32, random: &mut Random) -> bool {
        for _ in 0..tries_max {
            let known = self.trust.borrow().newest_roster();
            if self.trust.borrow().roster(id).is_ok() {
                return true;
            }
            let (reply, links) = oneshot::channel();
            let call = Call::Rosters { since: known.block, patience: PATIENCE, reply };
            let Some(links) = self.ask(call, links, random).await else { continue };
            // Another client may have learnt of it meanwhile.
            if self.trust.borrow().newest_roster() == known {
                self.extend_trust(&links);
            }
        }
        self.trust.borrow().roster(id).is_ok()
    }

    fn extend_trust(&self, links: &[u8]) {
        let extended = RosterChain::decode(links)
            .map_err(|error| error.to_string())
            .and_then(|chain| self.trust.borrow().extend(&chain).map_err(|error| error.to_string()));
        match extended {
            Ok(extended) => *self.trust.borrow_mut() = extended,
            Err(error) => self.monitor.violated(&format!("a roster chain does not verify: {error}")),
        }
    }

    /// The newest roster that is proven to the clients.
    pub(crate) fn newest_roster(&self) -> RosterId {
        self.trust.borrow().newest_roster()
    }

    /// Puts `call` to some node and waits; both ways take a while.
    pub(crate) async fn ask<T>(
        &self,
        call: Call,
        answer: oneshot::Receiver<T>,
        random: &mut Random,
    ) -> Option<T> {
        let node = random.pick(&self.nodes).copied()?;
        sleep(random.ms(0, 10)).await;
        let sent = self.monitor.calls(node).is_some_and(|calls| calls.try_send(call).is_ok());
        let answer = if sent { timeout(PATIENCE * 2, answer).await.ok()?.ok() } else { None };
        sleep(random.ms(0, 10)).await;
        answer
    }
}
