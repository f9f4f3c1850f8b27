//! Colours, by what they mean.

use anstyle::{AnsiColor, Color, Style};

const fn coloured(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

const GOOD: Style = coloured(AnsiColor::Green).bold();
const BAD: Style = coloured(AnsiColor::Red).bold();
const WARN: Style = coloured(AnsiColor::Yellow);
const NAME: Style = coloured(AnsiColor::Cyan);
const TITLE: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Allowed, done, verified.
pub(crate) fn good(text: &str) -> String {
    painted(GOOD, text)
}

/// Denied, refused, invalid.
pub(crate) fn bad(text: &str) -> String {
    painted(BAD, text)
}

/// Neither.
pub(crate) fn warn(text: &str) -> String {
    painted(WARN, text)
}

/// An agent, action, resource, node or id.
pub(crate) fn name(text: &str) -> String {
    painted(NAME, text)
}

/// A heading.
pub(crate) fn title(text: &str) -> String {
    painted(TITLE, text)
}

/// What may be skipped.
pub(crate) fn dim(text: &str) -> String {
    painted(DIM, text)
}

/// Columns that `text` takes on a terminal: its characters without escape sequences.
pub(crate) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}
