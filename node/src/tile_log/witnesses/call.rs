//! One request to a witness, bounded in time and in what is read of the answer.

use std::thread;
use std::time::Duration;

use chancery_ledger::checkpoint::{WITNESS_ANSWER_SIZE_BYTES_MAX, parse_witnessed_size};
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::http::Uri;

use crate::config::ConfigError;

/// From the look-up of its name to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of an answer's headers.
const HEADER_SIZE_BYTES_MAX: usize = 16 << 10;

/// Characters of a refusal that are told in the log.
const REASON_CHARS_MAX: usize = 120;

/// Where a witness takes checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WitnessUrl(String);

impl WitnessUrl {
    /// From its submission prefix.
    pub(super) fn parse(prefix: &str) -> Result<Self, ConfigError> {
        let malformed = |reason: &str| ConfigError::Witness(format!("{prefix:?} {reason}"));
        let uri: Uri = prefix.parse().map_err(|_| malformed("is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(malformed("is not http:// or https:// and a host"));
        }
        if uri.query().is_some() {
            return Err(malformed("is no prefix: it has a query"));
        }
        Ok(Self(format!("{}/add-checkpoint", prefix.trim_end_matches('/'))))
    }
}

/// What a witness answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200: signature lines.
    Cosigned(Vec<u8>),
    /// 409: so many leaves has the last checkpoint that it cosigned.
    OtherSize(u64),
}

/// Why there is no answer of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// It is not reached, or not in time, or it answers too much.
    #[error("{0}")]
    Failed(#[from] ureq::Error),
    /// It does not know this log.
    #[error("it does not know this log: its keeper must be given the log's key, which is in tlog-policy")]
    UnknownLog,
    /// It says that this log is not what it cosigned before, or that the proof is wrong.
    #[error("it says that the log does not extend what it cosigned before: {0:?}")]
    Inconsistent(String),
    /// It says something else.
    #[error("it answers {status}: {reason:?}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// There is no thread to be had.
    #[error("no thread to ask it on: {0}")]
    Thread(#[from] std::io::Error),
    /// The thread ended.
    #[error("it was not asked")]
    Abandoned,
}

/// A witness' end of the line.
pub(super) struct Call {
    url: WitnessUrl,
    agent: Agent,
}

impl Call {
    pub(super) fn new(url: WitnessUrl) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(HEADER_SIZE_BYTES_MAX)
            .max_idle_connections(1)
            .proxy(None)
            .user_agent("chancery");
        Self { url, agent: config.build().into() }
    }

    /// Sends a request and waits for the answer.
    pub(super) async fn ask(&self, request: String) -> Result<Answer, CallError> {
        let (agent, url) = (self.agent.clone(), self.url.clone());
        let (answer, answered) = oneshot::channel();
        // A thread of its own and not the runtime's: a node that stops does not wait for a witness. There is one at a time
        // for each witness, and it ends when its patience does.
        thread::Builder::new().name("witness".into()).spawn(move || {
            // Nobody listens any more if the node stops.
            let _ = answer.send(post(&agent, &url, &request));
        })?;
        answered.await.map_err(|_| CallError::Abandoned)?
    }
}

fn post(agent: &Agent, WitnessUrl(url): &WitnessUrl, request: &str) -> Result<Answer, CallError> {
    let mut response = agent.post(url).header("content-type", "text/plain; charset=utf-8").send(request)?;
    let status = response.status().as_u16();
    let limit = WITNESS_ANSWER_SIZE_BYTES_MAX as u64;
    let body = response.body_mut().with_config().limit(limit).read_to_vec()?;
    let reason = || String::from_utf8_lossy(&body).trim_end().chars().take(REASON_CHARS_MAX).collect();
    match status {
        200 => Ok(Answer::Cosigned(body)),
        404 => Err(CallError::UnknownLog),
        409 => match parse_witnessed_size(&body) {
            Some(size) => Ok(Answer::OtherSize(size)),
            None => Err(CallError::Refused { status, reason: reason() }),
        },
        422 => Err(CallError::Inconsistent(reason())),
        _ => Err(CallError::Refused { status, reason: reason() }),
    }
}
