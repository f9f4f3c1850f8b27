//! How a command ends: the exit codes, which are part of the interface, and failures that carry one.

use std::path::Path;

use serde_json::{Map, Value, json};

/// What a command's exit code says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done, allowed or verified.
    Done = 0,
    /// Something on this machine failed that is none of the others: a file cannot be written, a node does not
    /// start, a claim of the demonstration does not hold.
    Failed = 1,
    /// The arguments, or a file that they name, are not what they should be.
    Usage = 2,
    /// The agent may not: proven.
    Denied = 10,
    /// Not done. The same bytes may be sent again until their `not_after_ms`.
    NotDone = 11,
    /// Whether it was done is not known. The same bytes may be sent again, and are done once.
    Unknown = 12,
    /// A proof or an evidence file does not hold.
    Invalid = 13,
    /// The ledger refused: it has no effect and never will as it is.
    Refused = 14,
}

impl Exit {
    /// The process's exit code.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The `outcome` in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::NotDone => "not_done",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
        }
    }

    /// The first words for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NotDone => "not done",
            other => other.name(),
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What kind of failure.
    pub(crate) exit: Exit,
    /// A stable name for machines, if there is a finer one than the kind.
    pub(crate) code: Option<String>,
    /// For people.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// More for machines.
    pub(crate) facts: Box<Map<String, Value>>,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), hint: None, facts: Box::default() }
    }

    /// Something on this machine failed.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The arguments are wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file that cannot be read, written or made.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::local(format!("{}: {error}", path.display()))
    }

    /// With a stable name.
    pub(crate) fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// With advice.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// With one more fact for machines.
    pub(crate) fn fact(mut self, name: &str, value: Value) -> Self {
        self.facts.insert(name.into(), value);
        self
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({ "outcome": self.exit.name(), "message": self.message });
        if let Some(fields) = value.as_object_mut() {
            if let Some(code) = &self.code {
                fields.insert("code".into(), json!(code));
            }
            fields.extend((*self.facts).clone());
        }
        value
    }
}

/// What every command returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
