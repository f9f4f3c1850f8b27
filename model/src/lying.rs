//! One lying node, and everything that it can do with its signature.
//!
//! The liar leads whenever it likes, tells each honest node another history, claims that anything is committed, and
//! signs any head and any statement. An honest node holds one history, which only grows: it signs the heads on it and
//! says truly, over the nonce, how far it reaches and which roster is in force there. This gives the liar more
//! than Raft would.
//!
//! Every case of up to `LENGTH_MAX` blocks is looked at: what each honest node held when the nonce was made, when
//! it was shown the nonce, and in the end. A case is stale if a proof over the nonce verifies whose history lacks a
//! block that was acknowledged (signed by a quorum) before the nonce was made. The liar is convicted by what it had
//! to sign for that: two heads of different histories, or a statement below a head that it signed earlier, by number.

use crate::node_set::NodeSet;

/// Blocks after genesis.
const LENGTH_MAX: usize = 2;

/// How many nodes a quorum has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    /// More than half: the minimal one.
    Majority,
    /// More than (n + 1) / 2 of n, so that any two share two nodes, one of them honest.
    WithOneLiar,
}

impl Quorum {
    fn is_met(self, voters: NodeSet, nodes: NodeSet) -> bool {
        let liars = match self {
            Self::Majority => 0,
            Self::WithOneLiar => 1,
        };
        2 * voters.and(nodes).count() > voters.count() + liars
    }
}

/// What numbers say of the order in which a node signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// Statements bear no numbers.
    None,
    /// Statements bear numbers, and the liar gives them in the order in which it signs.
    InOrder,
    /// Statements bear numbers, and the liar gives any number, so that what it signs late looks early.
    AsTheLiarLikes,
}

/// The rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// G3: the quorum.
    pub quorum: Quorum,
    /// Rule 11, and how the liar takes it.
    pub numbers: Numbers,
    /// Rule 3: a roster block needs the old and the new quorum. Otherwise the new one is enough.
    pub roster_block_needs_both: bool,
}

/// Who is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// The voters of genesis.
    pub voters: NodeSet,
    /// Whom a roster block that the operators signed would make voters instead.
    pub next_voters: Option<NodeSet>,
    /// The node that lies.
    pub liar: usize,
}

/// What the search saw.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Cases looked at.
    pub cases: u64,
    /// Cases in which a stale proof verifies.
    pub stale: u64,
    /// Cases in which one does, and nothing convicts the liar.
    pub unconvicted: u64,
    /// The first of those, or else of the stale ones.
    pub example: Option<Case>,
}

/// What a block does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// Revokes.
    Revocation,
    /// Something else.
    Other,
    /// Puts the next roster in force.
    Roster,
}

/// Blocks after genesis, in order.
pub type History = Vec<Block>;

/// What one honest node held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The node.
    pub node: usize,
    /// When the nonce was made.
    pub before: History,
    /// When the node was shown it.
    pub shown: History,
    /// In the end.
    pub after: History,
}

/// A stale proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What the honest nodes held.
    pub honest: Vec<Held>,
    /// What was acknowledged before the nonce was made.
    pub acknowledged: History,
    /// What the proof shows.
    pub shown: History,
}

/// Looks at every case.
pub fn search(cluster: Cluster, rules: Rules) -> Outcome {
    let histories = histories(cluster.next_voters.is_some());
    let everyone = cluster.voters.or(cluster.next_voters.unwrap_or_default());
    let honest: Vec<usize> = everyone.nodes().filter(|node| *node != cluster.liar).collect();
    let mut outcome = Outcome::default();
    let mut held = Vec::new();
    each_case(&histories, &honest, &mut held, &mut |honest| {
        judge(cluster, rules, &histories, honest, &mut outcome)
    });
    outcome
}

/// All histories, shortest first.
fn histories(rosters: bool) -> Vec<History> {
    let mut all = vec![History::new()];
    let mut longest = all.clone();
    for _ in 0..LENGTH_MAX {
        let mut longer = Vec::new();
        for history in &longest {
            for block in [Block::Revocation, Block::Other, Block::Roster] {
                let possible = block != Block::Roster || (rosters && !history.contains(&block));
                if possible {
                    longer.push([history.as_slice(), &[block]].concat());
                }
            }
        }
        all.extend_from_slice(&longer);
        longest = longer;
    }
    all
}

fn each_case(histories: &[History], nodes: &[usize], held: &mut Vec<Held>, judge: &mut impl FnMut(&[Held])) {
    let [node, others @ ..] = nodes else { return judge(held) };
    for after in histories {
        for shown in 0..=after.len() {
            for before in 0..=shown {
                held.push(Held {
                    node: *node,
                    before: after[..before].to_vec(),
                    shown: after[..shown].to_vec(),
                    after: after.clone(),
                });
                each_case(histories, others, held, judge);
                held.pop();
            }
        }
    }
}

fn judge(cluster: Cluster, rules: Rules, histories: &[History], honest: &[Held], outcome: &mut Outcome) {
    outcome.cases += 1;
    let verifier = Verifier { cluster, rules, honest };
    let (mut stale, mut unconvicted) = (None, None);
    for acknowledged in histories {
        if !verifier.head_is_proven(acknowledged, |held| &held.before) {
            continue;
        }
        for shown in histories.iter().filter(|shown| !shown.starts_with(acknowledged)) {
            if verifier.head_is_proven(shown, |held| &held.after) && verifier.is_fresh(shown) {
                let case = || Case {
                    honest: honest.to_vec(),
                    acknowledged: acknowledged.clone(),
                    shown: shown.clone(),
                };
                stale.get_or_insert_with(case);
                if !verifier.convicts(acknowledged, shown) {
                    unconvicted.get_or_insert_with(case);
                }
            }
        }
    }
    outcome.stale += u64::from(stale.is_some());
    if unconvicted.is_some() {
        if outcome.unconvicted == 0 {
            outcome.example = None;
        }
        outcome.unconvicted += 1;
    }
    if outcome.example.is_none() {
        outcome.example = unconvicted.or(stale);
    }
}

/// What a verifier makes of what honest nodes signed, and the liar with them.
struct Verifier<'a> {
    cluster: Cluster,
    rules: Rules,
    honest: &'a [Held],
}

impl Verifier<'_> {
    /// Whether `history` has a quorum on its head, and on each roster block on the way there.
    fn head_is_proven(&self, history: &[Block], held: impl Fn(&Held) -> &History) -> bool {
        let signed = |end: usize| self.nodes(|honest| held(honest).starts_with(&history[..end]), true);
        self.needed(history).into_iter().all(|(end, voters)| self.rules.quorum.is_met(voters, signed(end)))
    }

    /// The longest part of `history` whose head no quorum bears unless the liar signed it.
    fn signed_by_the_liar(&self, history: &[Block], held: impl Fn(&Held) -> &History) -> Option<usize> {
        let signed = |end: usize| self.nodes(|honest| held(honest).starts_with(&history[..end]), false);
        let lacks = |(end, voters): &(usize, NodeSet)| !self.rules.quorum.is_met(*voters, signed(*end));
        self.needed(history).into_iter().filter(lacks).map(|(end, _)| end).max()
    }

    /// The heads that prove `history`, by length, and the voters of whom each needs a quorum.
    fn needed(&self, history: &[Block]) -> Vec<(usize, NodeSet)> {
        let mut needed = vec![(history.len(), self.roster(history))];
        if let Some(at) = history.iter().position(|block| *block == Block::Roster) {
            let end = at + 1;
            needed.push((end, self.roster(history)));
            if self.rules.roster_block_needs_both {
                needed.push((end, self.cluster.voters));
            }
        }
        needed
    }

    /// Whether a quorum says, over the nonce, that no log reaches beyond `history`, naming the roster in force there.
    fn is_fresh(&self, history: &[Block]) -> bool {
        let roster_at = |history: &[Block]| history.iter().position(|block| *block == Block::Roster);
        let says =
            |held: &Held| held.shown.len() <= history.len() && roster_at(&held.shown) == roster_at(history);
        self.rules.quorum.is_met(self.roster(history), self.nodes(says, true))
    }

    /// Whether what the liar had to sign convicts it.
    fn convicts(&self, acknowledged: &[Block], shown: &[Block]) -> bool {
        let Some(earlier) = self.signed_by_the_liar(acknowledged, |held| &held.before) else { return false };
        let earlier = &acknowledged[..earlier];
        if let Some(later) = self.signed_by_the_liar(shown, |held| &held.after) {
            let later = &shown[..later];
            if !earlier.starts_with(later) && !later.starts_with(earlier) {
                return true; // Two histories.
            }
        }
        // Its statement reaches as far as the shown history at most, over a nonce that is younger than the head.
        match self.rules.numbers {
            Numbers::InOrder => shown.len() < earlier.len(),
            Numbers::None | Numbers::AsTheLiarLikes => false,
        }
    }

    fn roster(&self, history: &[Block]) -> NodeSet {
        match self.cluster.next_voters {
            Some(next) if history.contains(&Block::Roster) => next,
            _ => self.cluster.voters,
        }
    }

    /// The honest nodes of which `signs` is true, and the liar if it signs too.
    fn nodes(&self, signs: impl Fn(&Held) -> bool, liar_too: bool) -> NodeSet {
        let liar = if liar_too { NodeSet::NONE.with(self.cluster.liar) } else { NodeSet::NONE };
        self.honest.iter().filter(|held| signs(held)).fold(liar, |nodes, held| nodes.with(held.node))
    }
}
