//! How far something is that takes a while, on standard error: on a terminal one line for each step, written
//! over as it goes on; elsewhere a line when a step begins. Machines are told only how it ended.

use std::io::{IsTerminal, Write};

use super::{Format, style};

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Progress {
    is_told: bool,
    is_terminal: bool,
    step: Option<String>,
}

impl Progress {
    /// Nothing was told.
    pub(crate) fn new(format: Format) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_told: matches!(format, Format::Text), is_terminal, step: None }
    }

    /// Where it is: a step, and how far that is.
    pub(crate) fn tell(&mut self, step: &str, detail: &str) {
        let is_same = self.step.as_deref() == Some(step);
        if !self.is_told || (is_same && !self.is_terminal) {
            return;
        }
        let line = format!("{} {}", style::dim(step), detail);
        let text = match (self.is_terminal, is_same) {
            (false, _) => format!("{line}\n"),
            // To the line's beginning, and the rest of it erased.
            (true, true) => format!("\r\x1b[2K{line}"),
            (true, false) if self.step.is_none() => line,
            (true, false) => format!("\n{line}"),
        };
        self.step = Some(step.to_owned());
        write(&text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal && self.step.is_some() {
            write("\n");
        }
    }
}

fn write(text: &str) {
    let mut err = anstream::stderr();
    // A closed stream is nobody to tell.
    let _ = err.write_all(text.as_bytes());
    let _ = err.flush();
}
