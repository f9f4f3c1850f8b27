//! Waiting until a cluster serves: every node signs, and a proven answer comes.

use std::time::{Duration, Instant};

use chancery_client::{CheckError, Context, Failure as TryFailure, Ledger, NodeStatus};

use crate::exit::{Failure, Result};
use crate::ledger;

/// How long a cluster may take to begin to serve.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Waits until `count` nodes say that they sign under one leader, and an answer is proven.
pub(crate) async fn wait(context: &Context, count: u64) -> Result<()> {
    let ledger = ledger::connect(Context::open(&context.folder).map_err(crate::context::failure)?).await?;
    let began = Instant::now();
    loop {
        let all = ledger.status().await;
        if leader_of(&all, count).is_some() && answers(&ledger).await {
            return Ok(());
        }
        if began.elapsed() > TIMEOUT {
            return Err(not_serving(&all));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The leader that `count` nodes agree on, each of which signs.
pub(crate) fn leader_of(
    all: &[(String, std::result::Result<NodeStatus, TryFailure>)],
    count: u64,
) -> Option<u64> {
    let signing: Vec<&NodeStatus> = all
        .iter()
        .filter_map(|(_, status)| status.as_ref().ok())
        .filter(|status| status.silent_because.is_none())
        .collect();
    let leader = signing.first()?.leader?;
    let agreed = signing.iter().filter(|status| status.leader == Some(leader)).count() as u64;
    (agreed >= count).then_some(leader)
}

/// Whether a question about nobody gets a proven answer: a denial, or the proven right to none.
async fn answers(ledger: &Ledger) -> bool {
    let answer = ledger.check("nobody", "serving", "serving", b"").await;
    // That this principal may not check is an answer, too.
    matches!(answer, Err(CheckError::Denied(_) | CheckError::Refused { .. }))
}

fn not_serving(all: &[(String, std::result::Result<NodeStatus, TryFailure>)]) -> Failure {
    let mut message = format!("the nodes do not serve after {} s", TIMEOUT.as_secs());
    for (endpoint, status) in all {
        let words = match status {
            Ok(NodeStatus { silent_because: Some(why), .. }) => format!("does not sign: {why}"),
            Ok(NodeStatus { leader: None, .. }) => "knows no leader".into(),
            Ok(_) => "signs".into(),
            Err(failure) => failure.to_string(),
        };
        message.push_str(&format!("\n  {endpoint} {words}"));
    }
    Failure::local(message)
}
