//! Sets of nodes.

use std::fmt;

/// Most nodes in a model.
pub const NODES_MAX: usize = 5;

/// A set of nodes, which are numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NodeSet(u8);

impl NodeSet {
    /// No node.
    pub const NONE: Self = Self(0);
    /// Every node.
    pub const ALL: Self = Self((1 << NODES_MAX) - 1);

    /// The set of these nodes.
    pub const fn of(nodes: &[usize]) -> Self {
        let mut set = Self(0);
        let mut rest = nodes;
        while let [first, others @ ..] = rest {
            set = set.with(*first);
            rest = others;
        }
        set
    }

    /// Nodes 0 up to `count`.
    pub const fn first(count: usize) -> Self {
        Self((1 << count) - 1)
    }

    /// The set whose members are the ones of `bits`: every set is `from_bits` of some number below 32.
    pub fn from_bits(bits: usize) -> Self {
        (0..NODES_MAX).filter(|node| bits >> node & 1 == 1).fold(Self::NONE, Self::with)
    }

    /// With `node` too.
    #[must_use]
    pub const fn with(self, node: usize) -> Self {
        Self(self.0 | 1 << node)
    }

    /// Whether `node` is in it.
    pub const fn has(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether more than half of this set is in `nodes`.
    pub const fn has_majority(self, nodes: Self) -> bool {
        2 * self.and(nodes).count() > self.count()
    }

    /// The members, in order.
    pub fn nodes(self) -> impl Iterator<Item = usize> {
        (0..NODES_MAX).filter(move |node| self.has(*node))
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, node) in self.nodes().enumerate() {
            write!(f, "{}n{node}", if position == 0 { "" } else { " " })?;
        }
        f.write_str("}")
    }
}
