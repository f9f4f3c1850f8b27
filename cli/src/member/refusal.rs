//! What the failures of changing members mean here.

use chancery_client::{Failure as TryFailure, MembersError, Try};

use crate::exit::{Exit, Failure};

/// What the failure of a call about learners or leadership means.
pub(crate) fn member_failure(error: &MembersError) -> Failure {
    let message = error.to_string();
    match error {
        MembersError::NotPermitted { .. } => Failure::new(Exit::Refused, message).code("not_permitted"),
        MembersError::Refused { .. } => Failure::new(Exit::Refused, message).code("not_possible"),
        MembersError::Unavailable { tries } if tries.iter().all(was_not_begun) => {
            Failure::new(Exit::NotDone, message).code("unavailable")
        }
        MembersError::Unavailable { .. } | MembersError::Interrupted { .. } => {
            Failure::new(Exit::Unknown, message)
                .code("unavailable")
                .hint("`chancery status` shows who learns and who leads; the same again does no harm")
        }
    }
}

/// Nothing was sent, or the node says that it did nothing.
fn was_not_begun(one: &Try) -> bool {
    match &one.failure {
        TryFailure::Unreachable(_) => true,
        TryFailure::Failed { code, .. } => *code == chancery_client::Code::Aborted,
        _ => false,
    }
}
