//! What a published log does not show: what a node's state proves, and the nodes' statements about it.

use std::path::PathBuf;

use clap::Args;

use crate::exit::{Failure, Result};

/// `--from`, for the questions that it does not answer: told so, and not that there is no such option.
#[derive(Debug, Args)]
pub(super) struct NotPublished {
    #[arg(long, value_name = "URL|DIR", hide = true)]
    from: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    trust: Option<PathBuf>,
}

/// Why not.
pub(super) const WHY: &str = "what held at a moment is proven by a node's state, signed by a quorum of nodes; a published \
                              log has neither";

/// What to do.
const HINT: &str = "ask the nodes, without --from and --trust; of a published log `recorded-by` and \
                               `revoked-by` can be shown, and all of it by `chancery audit`";

impl NotPublished {
    /// Nothing was asked for that needs a published log.
    pub(super) fn refuse(&self) -> Result<()> {
        match (&self.from, &self.trust) {
            (None, None) => Ok(()),
            _ => Err(needs_a_node()),
        }
    }
}

/// Why, and what to do.
pub(super) fn needs_a_node() -> Failure {
    Failure::usage(WHY).code("needs_a_node").hint(HINT)
}
