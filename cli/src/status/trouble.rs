//! What is wrong, in words: found in what nodes say, worst first.

use std::collections::BTreeMap;
use std::time::Duration;

use chancery_client::{NodeStatus, WitnessStatus};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::VoterSet;

use super::survey::Survey;
use crate::output::{seconds, style};

/// Entries that a voter may lack without a word: about what is in flight.
const LAG_ENTRIES_MAX: u64 = 128;

/// How long a witness may fail without a word: it is asked again after a minute at the latest.
const WITNESS_FAILS_MS_MAX: u64 = 120_000;

/// Something that an operator should see to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    /// A stable name for machines.
    pub(super) code: &'static str,
    /// The node that it is about, if it is about one.
    pub(super) node: Option<u64>,
    /// In words.
    pub(super) message: String,
    /// Commands or checks fail, or would with the next failure.
    pub(super) is_grave: bool,
}

impl Trouble {
    fn grave(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, node: None, message: message.into(), is_grave: true }
    }

    fn of(code: &'static str, node: u64, message: impl Into<String>) -> Self {
        Self { code, node: Some(node), message: message.into(), is_grave: false }
    }
}

/// All that is wrong, as far as it shows.
pub(super) fn find(survey: &Survey) -> Vec<Trouble> {
    if survey.answers().next().is_none() {
        return vec![Trouble::grave("silent", "no node answers")];
    }
    let mut found = Vec::new();
    histories(survey, &mut found);
    leaders(survey, &mut found);
    margins(survey, &mut found);
    if survey.roster().is_some_and(|(_, roster)| roster.is_joint()) {
        let message =
            "a change of the voters is not finished: a quorum of the old and of the new voters is needed";
        found.push(Trouble { code: "joint", node: None, message: message.into(), is_grave: false });
    }
    for (node, name) in survey.not_asked() {
        if survey.peer(node).is_none_or(|peer| !peer.reachable) {
            found.push(Trouble::of("down", node, format!("{} does not answer", style::name(&name))));
        }
    }
    for status in survey.answers() {
        of_one(survey, status, &mut found);
    }
    clocks_and_lag(survey, &mut found);
    witnesses(survey, &mut found);
    found
}

/// A witness that fails every node that asks it, and cosigned for none of them for long. One that nobody has anything new for
/// says nothing, and is not meant.
fn witnesses(survey: &Survey, found: &mut Vec<Trouble>) {
    let mut by_name: BTreeMap<&str, Vec<&WitnessStatus>> = BTreeMap::new();
    for witness in survey.answers().flat_map(|status| &status.witnesses) {
        by_name.entry(&witness.name).or_default().push(witness);
    }
    for (name, told) in by_name {
        let newest_ms = told.iter().filter_map(|witness| witness.cosigned_ms).min();
        let Some(errors) = told.iter().map(|witness| witness.error.as_deref()).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let since = match newest_ms {
            Some(since_ms) if since_ms <= WITNESS_FAILS_MS_MAX => continue,
            Some(since_ms) => format!("has not cosigned for {}", seconds(Duration::from_millis(since_ms))),
            None => "has not cosigned since the nodes that ask it started".into(),
        };
        let why = errors.first().copied().unwrap_or_default();
        let message = format!("witness {} {since}: {why}", style::name(name));
        found.push(Trouble { code: "witness", node: None, message, is_grave: false });
    }
}

/// Two heads of one block are two histories: never by accident.
fn histories(survey: &Survey, found: &mut Vec<Trouble>) {
    let mut heads: BTreeMap<u64, (Hash, &str)> = BTreeMap::new();
    for status in survey.answers() {
        let Some(head) = &status.head else { continue };
        let (hash, name) = heads.entry(head.block).or_insert_with(|| (head.hash(), &status.name));
        if *hash != head.hash() {
            let message = format!(
                "{} and {} have different heads of block {}: there are two histories",
                style::name(name),
                style::name(&status.name),
                head.block
            );
            found.push(Trouble::grave("two_histories", message));
        }
    }
}

fn leaders(survey: &Survey, found: &mut Vec<Trouble>) {
    let knows = |status: &&NodeStatus| status.leader.is_some();
    if survey.answers().find(knows).is_none() {
        found.push(Trouble::grave("no_leader", "no node knows a leader: no command can be done"));
        return;
    }
    let Some(leader) = survey.leader() else {
        absent_leader(survey, found);
        return;
    };
    for status in survey.answers().filter(|status| survey.votes(status.node)) {
        if status.leader != Some(leader.node) {
            let (name, leader) = (style::name(&status.name), style::name(&leader.name));
            found.push(Trouble::of(
                "other_leader",
                status.node,
                format!("{name} does not know that {leader} leads"),
            ));
        }
    }
}

/// The nodes name a leader that did not answer here: no endpoint of the context is its, or it is gone and they do
/// not know yet.
fn absent_leader(survey: &Survey, found: &mut Vec<Trouble>) {
    let named = survey.answers().max_by_key(|status| (status.leader.is_some(), status.term));
    let Some(leader) = named.and_then(|status| status.leader) else { return };
    let mut peers = survey.answers().flat_map(|status| &status.peers);
    if !peers.any(|peer| peer.node == leader && peer.reachable) {
        let message =
            format!("node {leader} is said to lead, and no node reaches it: no command can be done");
        found.push(Trouble { node: Some(leader), ..Trouble::grave("no_leader", message) });
    }
}

/// How many voters of each set could fail.
fn margins(survey: &Survey, found: &mut Vec<Trouble>) {
    let Some((_, roster)) = survey.roster() else { return };
    let signs = |node: u64| match survey.node(node) {
        Some(status) => status.silent_because.is_none(),
        // Not an endpoint of the context: as the leader sees it.
        None => survey.peer(node).is_some_and(|peer| peer.reachable),
    };
    let living = |set: &VoterSet| set.voters().iter().filter(|voter| signs(voter.node)).count();
    for (set, half) in roster.sets().iter().zip(["old", "new"]) {
        let (living, quorum, all) = (living(set), set.quorum() as usize, set.voters().len());
        let of = if roster.is_joint() { format!("{all} {half} voters") } else { format!("{all} voters") };
        if living < quorum {
            let message =
                format!("{living} of {of} sign, {quorum} are needed: writes and checks have stopped");
            found.push(Trouble::grave("no_quorum", message));
        } else if living == quorum {
            let message =
                format!("{living} of {of} sign, {quorum} are needed: one more failure stops writes");
            found.push(Trouble::grave("no_margin", message));
        }
    }
}

fn of_one(survey: &Survey, status: &NodeStatus, found: &mut Vec<Trouble>) {
    let (node, name) = (status.node, style::name(&status.name));
    let is_learner = survey.learners().iter().any(|learner| learner.node == node);
    match &status.silent_because {
        Some(why) if survey.votes(node) => {
            found.push(Trouble::of("does_not_sign", node, format!("{name} does not sign: {why}")));
        }
        // A node that waits to be added says nothing wrong by that.
        Some(_) if status.head.is_none() || is_learner => {}
        Some(why) => found.push(Trouble::of("no_voter", node, format!("{name} serves nobody: {why}"))),
        None => {}
    }
}

fn clocks_and_lag(survey: &Survey, found: &mut Vec<Trouble>) {
    let Some(leader) = survey.leader() else { return };
    for peer in &leader.peers {
        let name = style::name(&peer.name);
        let offset = peer.clock_offset_ms.unsigned_abs();
        if peer.reachable && offset > survey.clock_skew_ms_max {
            let most = survey.clock_skew_ms_max;
            let message = format!(
                "the clock of {name} is {:+} ms off the leader's, and {most} ms are allowed",
                peer.clock_offset_ms
            );
            found.push(Trouble::of("clock", peer.node, message));
        }
        match peer.lag_entries {
            Some(lag) if lag > LAG_ENTRIES_MAX && survey.votes(peer.node) => {
                found.push(Trouble::of("lag", peer.node, format!("{name} lacks {lag} entries of the log")));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use chancery_client::{LogStatus, PeerStatus};
    use chancery_ledger::command::{Name, PublicKey};
    use chancery_ledger::head::{Roster, Voter};

    fn set(nodes: std::ops::RangeInclusive<u8>) -> VoterSet {
        let voter = |node: u8| Voter {
            node: node.into(),
            name: Name::new(format!("node-{node}")).unwrap(),
            key: PublicKey([node; 32]),
        };
        VoterSet::majority(nodes.map(voter).collect()).unwrap()
    }

    fn uniform(nodes: std::ops::RangeInclusive<u8>) -> Roster {
        Roster::new(vec![set(nodes)]).unwrap()
    }

    fn peer(node: u64) -> PeerStatus {
        PeerStatus {
            node,
            name: format!("node-{node}"),
            reachable: true,
            clock_offset_ms: 0,
            clock_error_ms: 1,
            lag_entries: Some(0),
            address: "127.0.0.1:1".into(),
            silent_ms: Some(10),
        }
    }

    fn node(node: u64, roster: &Roster) -> NodeStatus {
        NodeStatus {
            node,
            name: format!("node-{node}"),
            leader: Some(1),
            term: 3,
            head: None,
            tail_block: 5,
            silent_because: None,
            peers: (1..=3).filter(|other| *other != node).map(peer).collect(),
            version: "0".into(),
            roster: Some((roster.id(0), roster.clone())),
            learners: Vec::new(),
            log: LogStatus::default(),
            witnesses: Vec::new(),
        }
    }

    /// Three healthy voters, then changed.
    fn survey(roster: &Roster, change: impl FnOnce(&mut Vec<NodeStatus>)) -> Survey {
        let mut nodes = (1..=3).map(|number| node(number, roster)).collect();
        change(&mut nodes);
        let said = |status: NodeStatus| (format!("127.0.0.1:{}", status.node), Ok(status));
        Survey::new(nodes.into_iter().map(said).collect(), 500)
    }

    fn codes(survey: &Survey) -> Vec<(&'static str, Option<u64>)> {
        find(survey).iter().map(|trouble| (trouble.code, trouble.node)).collect()
    }

    #[test]
    fn nothing_is_wrong_with_three_of_three() {
        assert_eq!(codes(&survey(&uniform(1..=3), |_| {})), []);
    }

    #[test]
    fn nobody_answers() {
        assert_eq!(codes(&survey(&uniform(1..=3), Vec::clear)), [("silent", None)]);
    }

    #[test]
    fn one_down_leaves_no_margin_and_two_no_quorum() {
        let down = |count: usize| {
            survey(&uniform(1..=3), |nodes| {
                nodes.truncate(3 - count);
                for peer in &mut nodes[0].peers {
                    peer.reachable = peer.node <= 3 - count as u64;
                }
            })
        };
        assert_eq!(codes(&down(1)), [("no_margin", None), ("down", Some(3))]);
        assert_eq!(codes(&down(2)), [("no_quorum", None), ("down", Some(2)), ("down", Some(3))]);
    }

    #[test]
    fn a_voter_that_is_no_endpoint_counts_as_the_leader_sees_it() {
        assert_eq!(codes(&survey(&uniform(1..=3), |nodes| nodes.truncate(2))), []);
    }

    #[test]
    fn no_leader_or_another() {
        let leaderless =
            survey(&uniform(1..=3), |nodes| nodes.iter_mut().for_each(|node| node.leader = None));
        assert_eq!(codes(&leaderless), [("no_leader", None)]);
        let absent = survey(&uniform(1..=3), |nodes| {
            nodes.remove(0);
            nodes
                .iter_mut()
                .flat_map(|node| &mut node.peers)
                .for_each(|peer| peer.reachable = peer.node != 1);
        });
        assert_eq!(codes(&absent), [("no_leader", Some(1)), ("no_margin", None), ("down", Some(1))]);
        let behind = survey(&uniform(1..=3), |nodes| nodes[1].leader = Some(3));
        assert_eq!(codes(&behind), [("other_leader", Some(2))]);
    }

    #[test]
    fn clocks_lag_and_silence_are_told_of_the_node() {
        let late = survey(&uniform(1..=3), |nodes| nodes[0].peers[0].clock_offset_ms = -501);
        assert_eq!(codes(&late), [("clock", Some(2))]);
        let lagging = survey(&uniform(1..=3), |nodes| nodes[0].peers[1].lag_entries = Some(129));
        assert_eq!(codes(&lagging), [("lag", Some(3))]);
        let mute = survey(&uniform(1..=3), |nodes| nodes[2].silent_because = Some("its clock".into()));
        assert_eq!(codes(&mute), [("no_margin", None), ("does_not_sign", Some(3))]);
    }

    #[test]
    fn a_witness_that_fails_everybody_for_long_is_told_once() {
        let asking = |told: [(Option<u64>, Option<&str>); 3]| {
            survey(&uniform(1..=3), |nodes| {
                for (node, (cosigned_ms, error)) in nodes.iter_mut().zip(told) {
                    let (size, error) = (cosigned_ms.map(|_| 7), error.map(Into::into));
                    node.witnesses =
                        vec![WitnessStatus { name: "w.example/1".into(), size, cosigned_ms, error }];
                }
            })
        };
        let (late, gone) = (Some(120_001), Some("gone"));
        assert_eq!(codes(&asking([(late, None), (None, None), (None, None)])), [], "a log that stands still");
        assert_eq!(
            codes(&asking([(late, gone), (None, gone), (Some(5), None)])),
            [],
            "it does for one of them"
        );
        assert_eq!(codes(&asking([(late, gone), (None, gone), (Some(120_000), gone)])), [], "not for long");
        assert_eq!(codes(&asking([(late, gone), (None, gone), (late, gone)])), [("witness", None)]);
        assert_eq!(codes(&asking([(None, gone); 3])), [("witness", None)], "and never did");
    }

    #[test]
    fn while_joint_each_half_needs_its_quorum() {
        let joint = Roster::new(vec![set(1..=3), set(3..=6)]).unwrap();
        let found = codes(&survey(&joint, |_| {}));
        let (down, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|(code, _)| *code == "down");
        assert_eq!(rest, [("no_quorum", None), ("joint", None)]);
        assert_eq!(down.len(), 3);
    }
}
