//! What happened, line by line. One seed has one trace, byte for byte.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use chancery_ledger::hash::Hash;
use tracing_subscriber::fmt::MakeWriter;

/// Lines kept to show when a run fails.
const LAST_LINES: usize = 60;

struct Trace {
    now: Duration,
    chained: Hash,
    lines: u64,
    last: VecDeque<String>,
    file: Option<BufWriter<File>>,
}

thread_local! {
    /// Everything that is simulated runs on one thread.
    static TRACE: RefCell<Trace> = const {
        RefCell::new(Trace {
            now: Duration::ZERO,
            chained: Hash::ZERO,
            lines: 0,
            last: VecDeque::new(),
            file: None,
        })
    };
}

/// The trace also goes to the file at `path`.
pub(crate) fn write_to(path: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    TRACE.with_borrow_mut(|trace| trace.file = Some(file));
    Ok(())
}

/// Virtual time goes on.
pub(crate) fn set_now(now: Duration) {
    TRACE.with_borrow_mut(|trace| trace.now = now);
}

/// Virtual time since the start.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_else(|| TRACE.with_borrow(|trace| trace.now))
}

/// Adds a line.
pub(crate) fn line(text: &str) {
    let now_ms = now().as_millis();
    TRACE.with_borrow_mut(|trace| {
        let text = format!("{now_ms:>6} {}", text.trim_end());
        trace.chained = Hash::of(&[trace.chained.as_bytes(), text.as_bytes()]);
        trace.lines += 1;
        if let Some(file) = &mut trace.file {
            // The file is for people to read; the hash is what counts.
            let _ = writeln!(file, "{text}");
        }
        trace.last.push_back(text);
        if trace.last.len() > LAST_LINES {
            trace.last.pop_front();
        }
    });
}

/// The number of lines, and the hash over all of them.
pub(crate) fn digest() -> (u64, Hash) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(file) = &mut trace.file {
            let _ = file.flush();
        }
        (trace.lines, trace.chained)
    })
}

/// The last lines.
pub(crate) fn last_lines() -> Vec<String> {
    TRACE.with_borrow(|trace| trace.last.iter().cloned().collect())
}

/// What the nodes report through `tracing`, as lines.
pub(crate) struct Events;

impl<'a> MakeWriter<'a> for Events {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event
    }
}

/// One event: it is written in one piece.
pub(crate) struct Event;

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        line(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
