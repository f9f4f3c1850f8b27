//! What is measured in this process alone: verifying one answer, beside tokens that answer the same question.

pub(crate) mod answer;
pub(crate) mod beside;
pub(crate) mod state_tree;
#[cfg(feature = "tokens")]
pub(crate) mod tokens;
#[cfg(feature = "trees")]
pub(crate) mod trees;

use std::collections::BTreeMap;

/// CPU time of one, in microseconds, by what it is of.
pub(crate) type Micros = BTreeMap<String, f64>;
