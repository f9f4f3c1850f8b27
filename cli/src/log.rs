//! A node's log: standard error, and no more of one kind than anybody reads.
//!
//! A peer that is gone is complained about for as long as it is gone, by whoever would send it something. So of
//! each place in the code only [`LINES_MAX`] lines are written in [`WINDOW`], and then how many were not.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, filter::FilterExt as _, fmt};

use crate::exit::{Failure, Result};

/// What is logged unless `CHANCERY_LOG` says otherwise: Raft's library tells each of its steps.
const LOG_FILTER: &str = "info,openraft=warn";

/// Lines from one place in the code in one window.
const LINES_MAX: u64 = 20;

/// Counted from the first line from there.
const WINDOW: Duration = Duration::from_secs(10);

/// What keeps the log going.
pub(crate) struct Log {
    telling: JoinHandle<()>,
    /// Until it is dropped, what was not dropped is written.
    _writer: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

/// Logs to standard error, through a writer that drops what its reader does not take in time: the log must
/// never stop the node.
pub(crate) fn start() -> Result<Log> {
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(std::io::stderr());
    let filter = std::env::var("CHANCERY_LOG").unwrap_or_else(|_| LOG_FILTER.into());
    let filter =
        EnvFilter::try_new(filter).map_err(|error| Failure::usage(format!("CHANCERY_LOG: {error}")))?;
    let limit = Limit { lines: Arc::default(), now: Instant::now };
    let lines = Arc::clone(&limit.lines);
    let written = fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(limited(written, filter, limit))
        .try_init()
        .map_err(|error| Failure::local(format!("log: {error}")))?;
    Ok(Log { telling: tokio::spawn(tell(lines)), _writer: guard })
}

fn limited<S: Subscriber + for<'a> LookupSpan<'a>>(
    written: impl Layer<S>,
    filter: EnvFilter,
    limit: Limit,
) -> impl Layer<S> {
    written.with_filter(filter.and(limit))
}

/// Says once in a window what was left out.
async fn tell(lines: Arc<Lines<Place>>) {
    loop {
        tokio::time::sleep(WINDOW).await;
        let mut places = String::new();
        for (place, count) in lines.take_left_out() {
            // Writing to a string does not fail.
            let _ = write!(places, " {}:{} ×{count}", place.target, place.line);
        }
        if !places.is_empty() {
            tracing::warn!("lines that this log leaves out, for there were enough like them:{places}");
        }
    }
}

/// Where in the code a line comes from.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    callsite: Identifier,
    target: &'static str,
    line: u32,
}

/// The filter.
struct Limit {
    lines: Arc<Lines<Place>>,
    now: fn() -> Instant,
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let (target, line) = (metadata.target(), metadata.line().unwrap_or(0));
        self.lines.admit(Place { callsite: metadata.callsite(), target, line }, (self.now)())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

/// How many lines came from each place. There are as many places as the program has.
struct Lines<P>(Mutex<HashMap<P, Counted>>);

impl<P> Default for Lines<P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

struct Counted {
    since: Instant,
    lines: u64,
    left_out: u64,
}

impl<P: Hash + Eq + Clone> Lines<P> {
    /// Whether a line from `place` is written.
    fn admit(&self, place: P, now: Instant) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = counted.entry(place).or_insert(Counted { since: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(place.since) >= WINDOW {
            (place.since, place.lines) = (now, 0);
        }
        place.lines = place.lines.saturating_add(1);
        let admitted = place.lines <= LINES_MAX;
        place.left_out = place.left_out.saturating_add(u64::from(!admitted));
        admitted
    }

    /// How many were left out since this was asked last, and where.
    fn take_left_out(&self) -> Vec<(P, u64)> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = counted.iter_mut().filter(|(_, counted)| counted.left_out > 0);
        left_out.map(|(place, counted)| (place.clone(), std::mem::take(&mut counted.left_out))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{self, Write};
    use std::sync::LazyLock;

    use super::*;

    #[test]
    fn of_one_place_so_many_lines_and_then_how_many_more() {
        let (lines, began) = (Lines::default(), Instant::now());
        let mut written = 0;
        for number in 0..LINES_MAX + 30 {
            written += u64::from(lines.admit("a", began + Duration::from_millis(number)));
        }
        assert_eq!(written, LINES_MAX);
        assert!(lines.admit("b", began), "another place");
        assert_eq!(lines.take_left_out(), [("a", 30)]);
        assert_eq!(lines.take_left_out(), []);
        let before = began + WINDOW - Duration::from_millis(1);
        assert!(!lines.admit("a", before));
        assert!(lines.admit("a", began + WINDOW), "another window");
        assert_eq!(lines.take_left_out(), [("a", 1)]);
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A clock that stands.
    fn then() -> Instant {
        static THEN: LazyLock<Instant> = LazyLock::new(Instant::now);
        *THEN
    }

    #[test]
    fn the_log_holds_what_is_wanted_and_not_too_much_of_it() {
        let written = Written::default();
        let writer = written.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let limit = Limit { lines: Arc::default(), now: then };
        let lines = Arc::clone(&limit.lines);
        let subscriber = tracing_subscriber::registry().with(limited(layer, EnvFilter::new("info"), limit));
        tracing::subscriber::with_default(subscriber, || {
            for peer in 0..LINES_MAX + 30 {
                tracing::warn!(peer, "unreachable");
                tracing::debug!(peer, "unwanted");
            }
            tracing::warn!("another");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |what: &str| text.matches(what).count() as u64;
        assert_eq!((count("unreachable"), count("unwanted"), count("another")), (LINES_MAX, 0, 1));
        let left_out: Vec<u64> = lines.take_left_out().into_iter().map(|(_, count)| count).collect();
        assert_eq!(left_out, [30], "what nobody wanted is not counted");
    }
}
