//! A log over HTTP.

use std::thread::sleep;
use std::time::Duration;

use ureq::{Agent, Error};

use super::{Source, SourceError};

/// For a connection, and for each part of an answer.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// For a whole answer, of at most 16 MiB.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// How often something is asked for, in all.
const ATTEMPTS: u32 = 6;

/// Before it is asked for the second time; twice as long before each one after that.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A server with the published files of a log.
#[derive(Clone, Debug)]
pub struct Http {
    /// Without a slash at its end.
    base: String,
    agent: Agent,
}

impl Http {
    /// The server at `url`.
    pub fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Where a log is, its auditor says, not the log.
            .max_redirects(0)
            .timeout_connect(Some(PART_TIMEOUT))
            .timeout_per_read(Some(PART_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .user_agent(concat!("chancery-audit/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { base: url.trim_end_matches('/').to_owned(), agent: config.into() }
    }

    fn read_once(&self, url: &str, size_bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let failed = |source: Error| match source {
            Error::BodyExceedsLimit(_) => SourceError::TooLarge { place: url.into(), size_bytes_max },
            source => SourceError::Http { url: url.into(), source: Box::new(source) },
        };
        let mut response = self.agent.get(url).call().map_err(failed)?;
        match response.status().as_u16() {
            200 => {
                // The limit is one that the body stays below.
                let limit = u64::try_from(size_bytes_max).unwrap_or(u64::MAX).saturating_add(1);
                let bytes = response.body_mut().with_config().limit(limit).read_to_vec().map_err(failed)?;
                if bytes.len() > size_bytes_max {
                    return Err(SourceError::TooLarge { place: url.into(), size_bytes_max });
                }
                Ok(bytes)
            }
            404 | 410 => Err(SourceError::Missing { place: url.into() }),
            status => Err(SourceError::Status { url: url.into(), status }),
        }
    }
}

impl Source for Http {
    fn name(&self) -> String {
        self.base.clone()
    }

    /// A server that is busy, or away for a moment, is asked again.
    fn read(&self, path: &str, size_bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let url = format!("{}/{path}", self.base);
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            match self.read_once(&url, size_bytes_max) {
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                    sleep(pause);
                    pause = pause.saturating_mul(2);
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}

/// Whether it may be otherwise the next time.
fn may_pass(error: &SourceError) -> bool {
    match error {
        SourceError::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
        SourceError::Http { source, .. } => {
            matches!(
                **source,
                Error::Io(_) | Error::Timeout(_) | Error::ConnectionFailed | Error::Protocol(_)
            )
        }
        _ => false,
    }
}
