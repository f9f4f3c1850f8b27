//! How the demonstrations speak: one line an event with the time since they began, and at the end every claim
//! with whether the code found it true.

use std::time::Instant;

use serde_json::{Value, json};

use crate::exit::{Failure, Result};
use crate::output::{self, Format, seconds, style};

/// Tells the story, and keeps the claims.
#[derive(Debug)]
pub(crate) struct Narrator {
    began: Instant,
    format: Format,
    claims: Vec<(String, bool)>,
    /// The last line that would only repeat itself.
    repeated: String,
}

impl Narrator {
    /// Begins now.
    pub(crate) fn new(format: Format) -> Self {
        Self { began: Instant::now(), format, claims: Vec::new(), repeated: String::new() }
    }

    /// A new chapter.
    pub(crate) fn chapter(&self, title: &str) {
        match self.format {
            Format::Text => output::say(&format!("\n  {}\n", style::title(title))),
            Format::Json => output::say_json(&json!({ "event": "chapter", "title": title })),
        }
    }

    /// Something that happened.
    pub(crate) fn tell(&self, event: &str, text: &str, facts: Value) {
        match self.format {
            Format::Text => {
                let time = style::dim(&format!("{:>7}", seconds(self.began.elapsed())));
                output::say(&format!("{time}  {text}\n"));
            }
            Format::Json => {
                let mut line = json!({ "event": event, "elapsed_ms": self.elapsed_ms() });
                if let (Some(line), Value::Object(facts)) = (line.as_object_mut(), facts) {
                    line.extend(facts);
                }
                output::say_json(&line);
            }
        }
    }

    /// A line that belongs to the one before; for people only.
    pub(crate) fn more(&self, text: &str) {
        if self.format == Format::Text {
            output::say(&format!("         {text}\n"));
        }
    }

    /// [`Self::more`], unless it would say the same as last time.
    pub(crate) fn more_once(&mut self, text: &str) {
        if self.repeated != text {
            self.more(text);
            text.clone_into(&mut self.repeated);
        }
    }

    /// Says that `claim` was found to hold, or not. The story goes on either way; see [`Self::end`].
    pub(crate) fn claim(&mut self, claim: impl Into<String>, holds: bool) {
        self.claims.push((claim.into(), holds));
    }

    /// Prints every claim.
    ///
    /// # Errors
    /// One of them does not hold.
    pub(crate) fn end(&self) -> Result<()> {
        self.chapter("What was claimed, and checked");
        for (claim, holds) in &self.claims {
            match self.format {
                Format::Text => {
                    let mark = if *holds { style::good("✓") } else { style::bad("✗") };
                    output::say(&format!("       {mark} {claim}\n"));
                }
                Format::Json => {
                    output::say_json(&json!({ "event": "claim", "claim": claim, "holds": holds }));
                }
            }
        }
        let broken = self.claims.iter().filter(|(_, holds)| !holds).count();
        if broken > 0 {
            return Err(Failure::local(format!("{broken} of the claims above do not hold")));
        }
        Ok(())
    }

    /// Whether machines listen.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Time since the beginning.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_does_not_hold_is_a_failure() {
        let mut narrator = Narrator::new(Format::Json);
        narrator.claim("true", true);
        assert!(narrator.end().is_ok());
        narrator.claim("false", false);
        assert!(narrator.end().is_err());
    }
}
