//! The quorum rule, rule 11, and the roster chain.

use super::{Row, Search};
use crate::lying::{Cluster, Numbers, Quorum, Rules};
use crate::node_set::NodeSet;

const THREE: Cluster = Cluster { voters: NodeSet::first(3), next_voters: None, liar: 2 };
const FOUR: Cluster = Cluster { voters: NodeSet::first(4), ..THREE };
const FIVE: Cluster = Cluster { voters: NodeSet::first(5), ..THREE };

/// n2 and n3 instead of n0, n1 and n2.
const SHRINKING: Cluster = Cluster { next_voters: Some(NodeSet::of(&[2, 3])), ..THREE };

/// n3 instead of n0.
const REPLACING: Cluster = Cluster { next_voters: Some(NodeSet::of(&[1, 2, 3])), ..THREE };

const fn row(rule: &'static str, name: &'static str, must_find: bool, cluster: Cluster, rules: Rules) -> Row {
    Row { rule, name, must_find, search: Search::Lying { cluster, rules, unconvicted_only: false } }
}

/// As [`row`], but only what convicts nobody counts.
const fn unconvicted(
    rule: &'static str,
    name: &'static str,
    must_find: bool,
    cluster: Cluster,
    rules: Rules,
) -> Row {
    Row { rule, name, must_find, search: Search::Lying { cluster, rules, unconvicted_only: true } }
}

pub(super) fn rows() -> Vec<Row> {
    let minimal =
        Rules { quorum: Quorum::Majority, numbers: Numbers::InOrder, roster_block_needs_both: true };
    let larger = Rules { quorum: Quorum::WithOneLiar, ..minimal };
    let one_half = Rules { roster_block_needs_both: false, ..larger };
    let unnumbered = Rules { numbers: Numbers::None, ..minimal };
    let reserving = Rules { numbers: Numbers::AsTheLiarLikes, ..minimal };
    vec![
        row("G3", "quorum 3 of 3, one liar", false, THREE, larger),
        row("G3", "quorum 3 of 4, one liar", false, FOUR, larger),
        row("G3", "quorum 4 of 5, one liar", false, FIVE, larger),
        row("G3", "quorum 2 of 3, one liar", true, THREE, minimal),
        row("G3", "quorum 3 of 5, one liar", true, FIVE, minimal),
        unconvicted("11", "2 of 3: unconvicted, numbers in order", false, THREE, minimal),
        unconvicted("11", "3 of 5: unconvicted, numbers in order", false, FIVE, minimal),
        unconvicted("11", "2 of 3: unconvicted, no numbers", true, THREE, unnumbered),
        unconvicted("11", "2 of 3: unconvicted, numbers kept in reserve", true, THREE, reserving),
        row("3", "3 of 3 to 2 of 2, one liar", false, SHRINKING, larger),
        row("3", "3 of 3 to 3 of 3, one liar", false, REPLACING, larger),
        row("3", "roster block signed by the new quorum only", true, SHRINKING, one_half),
        unconvicted("3, 11", "2 of 3 to 2 of 3: unconvicted, in order", false, REPLACING, minimal),
    ]
}
