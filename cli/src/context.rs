//! Which context a command uses: `--context`, then `CHANCERY_CONTEXT`, then the selected one.

use std::path::Path;

use chancery_client::{Context, ContextError, Contexts};

use crate::exit::{Failure, Result};

/// Loads the context that `named` means: a folder if it has a slash, else a name below the user's
/// configuration; without one, the selected context.
pub(crate) fn load(named: Option<&str>) -> Result<Context> {
    let loaded = match named {
        Some(path) if path.contains('/') => Context::open(Path::new(path)),
        other => contexts()?.load(other),
    };
    loaded.map_err(failure)
}

/// The user's contexts.
pub(crate) fn contexts() -> Result<Contexts> {
    Contexts::from_env().map_err(failure)
}

/// A context that cannot be used is a usage error: nothing was asked or done.
pub(crate) fn failure(error: ContextError) -> Failure {
    let failure = Failure::usage(format!("context: {error}"));
    match error {
        ContextError::NoneSelected => {
            failure.hint("`chancery dev` makes and selects one; `chancery init` makes one for each principal")
        }
        _ => failure,
    }
}
