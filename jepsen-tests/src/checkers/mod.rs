//! The judges of a history. Each says [`Valid`](Verdict::Valid) only of what it has looked at whole.

mod verdict;

pub use verdict::{Finding, Verdict};
