//! A ledger of three voters, all of whose keys are here.

use std::collections::BTreeSet;

use chancery_client::SigningKey;
use chancery_ledger::answer::{Answer, PastAnswer, encode_answer_around};
use chancery_ledger::authority::{Admission, Applied, Block, Cause, Entry, Leaf, Outcome, State, Summary};
use chancery_ledger::command::{
    Body, Command, Genesis, LedgerId, Limits, Name, Patterns, Principal, PublicKey, RequestId, Role, Scope,
    SignedCommand, VerifiedSignatures,
};
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Interval, Request, decide, staleness_after};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{
    Fresh, Head, Number, Roster, RosterChain, RosterLink, Statement, Voter, VoterSet,
};
use chancery_ledger::log::nonces::NonceTree;
use chancery_ledger::log::{Frontier, MemoryTiles, frontier_at, leaf_hash, prove_inclusion};
use chancery_ledger::state::{Key, MemoryNodes, Missing, Recording, Sent, Update, encode_keys, prune};
use chancery_ledger::trust::Trust;
use chancery_proto::v1::ProvenLeaf;
use chancery_proto::v1::api::{Acknowledged, KeptAnswer, WatchHead};

use super::NOW_MS;

#[derive(Clone)]
pub struct World {
    pub operator: SigningKey,
    origin: String,
    genesis: Roster,
    /// Sorted by node.
    voters: Vec<(Voter, SigningKey)>,
    /// Those of the roster before, while the last block is a roster block.
    before: Vec<(Voter, SigningKey)>,
    pub chain: RosterChain,
    state: State,
    nodes: MemoryNodes,
    tiles: MemoryTiles,
    pub leaves: Vec<Vec<u8>>,
    /// After each block.
    summaries: Vec<Summary>,
    /// The last number of a statement.
    pub counter: u64,
    /// Places of the voters that sign.
    pub signers: Vec<usize>,
    requests: u64,
}

impl World {
    pub fn found(origin: &str) -> Self {
        let operator = SigningKey::from_bytes(&[1; 32]);
        let voters: Vec<_> = (1..=3).map(voter).collect();
        let all = || Patterns::collect(["*"]).unwrap();
        let genesis = Genesis {
            origin: origin.into(),
            roster: roster(&voters),
            principals: vec![Principal {
                key: public(&operator),
                name: Name::new("operator").unwrap(),
                roles: Role::ALL.to_vec(),
                scope: Scope { agents: all(), actions: all(), resources: all() },
            }],
            limits: Limits::default(),
            rules_version: 1,
        };
        let command = Command {
            signer: public(&operator),
            request_id: RequestId([0; 16]),
            not_after_ms: NOW_MS + 60_000,
            body: Body::Genesis(genesis),
        };
        let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &[&operator]).unwrap();
        let nodes = MemoryNodes::new();
        let (state, applied) = State::genesis(&nodes, &Block::genesis(NOW_MS, signed)).unwrap();
        let mut world = Self {
            operator,
            origin: origin.into(),
            genesis: roster(&voters),
            voters,
            before: Vec::new(),
            chain: RosterChain::default(),
            state,
            nodes,
            tiles: MemoryTiles::new(),
            leaves: Vec::new(),
            summaries: Vec::new(),
            counter: 0,
            signers: vec![0, 1],
            requests: 0,
        };
        world.store(&applied);
        world
    }

    /// Becomes what it was as `old`; the numbers of statements go on.
    pub fn forget_since(&mut self, old: &Self) {
        *self = Self { counter: self.counter, ..old.clone() };
    }

    pub fn ledger(&self) -> LedgerId {
        self.head().ledger
    }

    pub fn head(&self) -> Head {
        *self.state.head()
    }

    pub fn trust(&self) -> Trust {
        Trust::new(self.origin.clone(), self.ledger(), self.genesis.clone(), 500)
    }

    /// Applies the operator's command, which must take effect.
    pub fn command(&mut self, body: Body) -> Cause {
        self.requests += 1;
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.requests.to_be_bytes());
        let (signer, request_id) = (public(&self.operator), RequestId(request_id));
        let command = Command { signer, request_id, not_after_ms: NOW_MS + 60_000, body };
        let signed = SignedCommand::sign(self.ledger(), &command, &[&self.operator]).unwrap();
        match self.apply(signed) {
            Outcome::Applied(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    /// Changes the voters to these nodes, by the operator.
    pub fn change(&mut self, nodes: &[u8]) {
        let voters = voters(nodes);
        let replaces = self.head().roster;
        self.command(Body::SetRoster { voters, replaces, operators: vec![] });
    }

    /// Both roster blocks, if the command may be.
    fn apply_change(&mut self, signed: SignedCommand, next: &VoterSet) -> Outcome {
        match self.state.admit(&self.nodes, &signed, NOW_MS, &VerifiedSignatures::default()).unwrap() {
            Ok(Admission::Admit) => {}
            Ok(Admission::Before(cause)) => return Outcome::Before(cause),
            Err(refusal) => return Outcome::Refused(refusal),
        }
        let now = roster(&self.voters);
        let joint = now.joint_with(next).unwrap();
        let uniform = joint.completed().unwrap();
        let (head, previous) = (self.head(), self.state.summary().block_hash);
        let (proposer, key) = ((self.voters[0].0.node, 1), self.voters[0].1.clone());
        let (ledger, at, stamp) = (head.ledger, (head.block, head.hash()), NOW_MS);
        let change = (joint.clone(), signed);
        let first = Block::propose_joint(ledger, previous, stamp, proposer, at, change, &key);
        let then = uniform.clone();
        let second = Block::propose_uniform(ledger, first.hash(), stamp, proposer, at, then, &key);
        let all: Vec<_> = joint.voters().map(|one| voter(u8::try_from(one.node).unwrap())).collect();
        let mut outcome = None;
        for (block, roster) in [(first, joint), (second, uniform)] {
            let applied = self.state.apply(&self.nodes, &block).unwrap();
            self.state.advance(&applied);
            self.store(&applied);
            outcome = outcome.or(applied.outcomes.first().cloned());
            self.before = all.clone();
            self.before.sort_by_key(|(voter, _)| voter.node);
            let (head, statements) = (self.head(), self.sign_all(&self.before.clone(), None));
            self.chain.links.push(RosterLink { roster, head, statements });
        }
        self.voters = next.voters().iter().map(|one| voter(u8::try_from(one.node).unwrap())).collect();
        outcome.unwrap()
    }

    /// Applies a block of this command alone, or the two that a change of the voters takes.
    pub fn apply(&mut self, signed: SignedCommand) -> Outcome {
        if let Body::SetRoster { voters, .. } = &signed.command().body {
            let next = voters.clone();
            return self.apply_change(signed, &next);
        }
        self.before.clear();
        let (head, previous) = (self.head(), self.state.summary().block_hash);
        let (voter, key) = &self.voters[0];
        let block = Block::propose(
            head.ledger,
            previous,
            NOW_MS,
            (voter.node, 1),
            (head.block, head.hash()),
            vec![signed],
            key,
        );
        let applied = self.state.apply(&self.nodes, &block).unwrap();
        self.state.advance(&applied);
        self.store(&applied);
        applied.outcomes[0].clone()
    }

    /// A true answer under the bound nonce `shown`, by the clock `clock_ms` of all voters, and the keys that it shows.
    pub fn answer(&mut self, request: &Request, shown: [u8; 32], clock_ms: u64) -> (Answer, BTreeSet<Key>) {
        let head = self.head();
        // Others' nonces are in the round too.
        let round = NonceTree::new(vec![[7; 32], shown, [9; 32]]).unwrap();
        let low = head.time_ms.max(clock_ms);
        let root = self.state.summary().root;
        let recording = Recording::new(&self.nodes, root);
        decide(&recording, request, Interval { low_ms: low, high_ms: low }).unwrap();
        let keys = recording.into_keys();
        let tree = prune(&self.nodes, root, &keys).unwrap();
        let fresh =
            Fresh { nonce_root: round.root(), clock_ms, tail_block: head.block, tail_roster: head.roster };
        let signers = self.signing();
        let mut others = self.before.clone();
        others.retain(|(other, _)| signers.iter().all(|(voter, _)| voter.node != other.node));
        let answer = Answer {
            head,
            statements: self.sign_all(&signers, Some(fresh)),
            head_statements: self.sign_all(&others, None),
            nonce_path: round.path(1),
            tree,
            hint: None,
            language: LANGUAGE_VERSION.into(),
        };
        (answer, keys)
    }

    /// `answer`, which shows `keys`, to a session whose client keeps what was `sent`; none if there is a newer state.
    pub fn kept(&self, answer: &Answer, keys: &BTreeSet<Key>, sent: &mut Sent) -> Option<KeptAnswer> {
        let root = self.state.summary().root;
        if root.hash() != answer.head.state_root {
            return None;
        }
        let Missing { forget, nodes } = sent.missing(&self.nodes, root, keys).unwrap();
        let answer = encode_answer_around(answer.nonce_path.as_ref(), answer.hint, &answer.language);
        Some(KeptAnswer { answer, keys: encode_keys(keys), nodes, forget })
    }

    /// The right edge of the log when it had `size` leaves.
    pub fn frontier(&self, size: u64) -> Frontier {
        frontier_at(&self.tiles, size).unwrap()
    }

    /// The head as a watcher is told it, by the clock `clock_ms` of all voters, with these leaves as ended grants.
    pub fn watch_head(&mut self, clock_ms: u64, ended: &[u64]) -> WatchHead {
        let head = self.head();
        let fresh =
            Fresh { nonce_root: Hash::ZERO, clock_ms, tail_block: head.block, tail_roster: head.roster };
        let statements = self.sign_all(&self.signing(), Some(fresh));
        let leaf = |index: &u64| {
            let (entry, proof) = self.leaf(*index, head.log_size);
            ProvenLeaf { index: *index, entry, proof }
        };
        WatchHead {
            head: head.encode().to_vec(),
            statements: statements.iter().map(Statement::encode).collect(),
            head_statements: Vec::new(),
            ended: ended.iter().map(leaf).collect(),
            complete: true,
        }
    }

    /// What was after `block`, under the clock `clock_ms` of all voters.
    pub fn past(&mut self, request: &Request, block: u64, clock_ms: u64) -> PastAnswer {
        let Answer { head, statements, head_statements, .. } = self.answer(request, [0; 32], clock_ms).0;
        let of = |block: u64| self.summaries[block as usize].clone();
        let summary = of(block);
        let next = (block..=head.block).map(of).find(|next| next.head.log_size > summary.head.log_size);
        let time_ms = summary.head.time_ms;
        let recording = Recording::new(&self.nodes, summary.root);
        decide(&recording, request, Interval { low_ms: time_ms, high_ms: time_ms }).unwrap();
        let tree = prune(&self.nodes, summary.root, &recording.into_keys()).unwrap();
        let leaf = |size: u64| Leaf {
            index: size - 1,
            entry: self.leaves[size as usize - 1].clone(),
            proof: prove_inclusion(&self.tiles, size - 1, head.log_size).unwrap(),
        };
        let (state, next) = (leaf(summary.head.log_size), next.map(|next| leaf(next.head.log_size)));
        let language = LANGUAGE_VERSION.into();
        PastAnswer { head, statements, head_statements, state, next, tree, hint: None, language }
    }

    pub fn acknowledge(&mut self, cause: Cause, before: bool) -> Acknowledged {
        let signers = if self.before.is_empty() { self.signing() } else { self.before.clone() };
        let (head, statements) = (self.head(), self.sign_all(&signers, None));
        let (entry, inclusion) = self.leaf(cause.index, head.log_size);
        Acknowledged {
            index: cause.index,
            block: cause.block,
            time_ms: cause.time_ms,
            before,
            head: head.encode().to_vec(),
            statements: statements.iter().map(Statement::encode).collect(),
            inclusion,
            staleness_tree: self.staleness_tree(&entry),
            entry,
            clock_ms: NOW_MS,
        }
    }

    /// What shows how long what the command of `entry` takes away may still be used.
    fn staleness_tree(&self, entry: &[u8]) -> Vec<u8> {
        let Entry::Command { signed, .. } = Entry::decode(entry).unwrap() else { return Vec::new() };
        let root = self.state.summary().root;
        let recording = Recording::new(&self.nodes, root);
        match staleness_after(&recording, &signed.command().body).unwrap() {
            Some(_) => prune(&self.nodes, root, &recording.into_keys()).unwrap().encode(),
            None => Vec::new(),
        }
    }

    /// In force, as a node says in its status.
    pub fn roster_on_the_wire(&self) -> Option<chancery_proto::v1::Roster> {
        let set = roster(&self.voters).sets()[0].clone();
        let one = |v: &Voter| chancery_proto::v1::Voter {
            node: v.node,
            name: v.name.to_string(),
            key: v.key.0.to_vec(),
        };
        let voters = set.voters().iter().map(one).collect();
        let sets = vec![chancery_proto::v1::VoterSet { voters, quorum: set.quorum() }];
        Some(chancery_proto::v1::Roster { sets })
    }

    pub fn leaf(&self, index: u64, log_size: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
        let proof = prove_inclusion(&self.tiles, index, log_size).unwrap();
        (self.leaves[index as usize].clone(), proof.iter().map(|hash| hash.0.to_vec()).collect())
    }

    /// The voters that sign, with their keys.
    fn signing(&self) -> Vec<(Voter, SigningKey)> {
        self.signers.iter().map(|place| self.voters[*place].clone()).collect()
    }

    fn sign_all(&mut self, voters: &[(Voter, SigningKey)], fresh: Option<Fresh>) -> Vec<Statement> {
        // A number is taken only if somebody signs under it.
        self.counter += u64::from(!voters.is_empty());
        let (head, number) = (self.head(), Number { epoch: 1, counter: self.counter });
        let sign = |(voter, key): &(Voter, SigningKey)| Statement::sign(voter, key, number, fresh, head);
        voters.iter().map(sign).collect()
    }

    fn store(&mut self, applied: &Applied) {
        self.nodes.insert(&Update {
            root: applied.summary.root,
            new: applied.new_nodes.clone(),
            stale: Vec::new(),
            next_id: applied.summary.next_node,
        });
        self.tiles.append(&applied.leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>());
        self.leaves.extend(applied.leaves.iter().cloned());
        self.summaries.push(applied.summary.clone());
    }
}

/// The voter with this number, and its key.
fn voter(node: u8) -> (Voter, SigningKey) {
    let key = SigningKey::from_bytes(&[100 + node; 32]);
    let name = Name::new(format!("node-{node}")).unwrap();
    (Voter { node: node.into(), name, key: public(&key) }, key)
}

pub fn voters(nodes: &[u8]) -> VoterSet {
    VoterSet::majority(nodes.iter().map(|node| voter(*node).0).collect()).unwrap()
}

fn roster(voters: &[(Voter, SigningKey)]) -> Roster {
    let voters = voters.iter().map(|(voter, _)| voter.clone()).collect();
    Roster::new(vec![VoterSet::majority(voters).unwrap()]).unwrap()
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}
