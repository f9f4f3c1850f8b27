//! The same search by a program that others wrote: Go's `github.com/anishathalye/porcupine`.
//!
//! The program in `jepsen-tests/porcupine/` splits the history and models authority on its own; what it shares
//! with [`super::linearizability`] is the history alone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::{Finding, Verdict};

/// The checker's name.
pub const NAME: &str = "porcupine";

/// The program, built.
#[derive(Clone, Debug)]
pub struct Porcupine {
    program: PathBuf,
}

/// Why it was not run. That is no verdict, neither good nor bad.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// Go is not installed.
    #[error("not run: there is no go")]
    NoGo,
    /// Go does not build it: perhaps because the module cannot be had.
    #[error("not run: {0}")]
    NotBuilt(String),
    /// It could not be started, or not written.
    #[error("not run: {0}")]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    verdict: String,
    examined: u64,
    why: String,
}

impl Porcupine {
    /// Builds the program in `folder`, which is kept.
    ///
    /// # Errors
    /// There is no Go, or the program does not build.
    pub fn build(folder: &Path) -> Result<Self, NotRun> {
        let program = folder.join("porcupine");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("porcupine");
        let built =
            Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source).output();
        match built {
            Ok(output) if output.status.success() => Ok(Self { program }),
            Ok(output) => Err(NotRun::NotBuilt(String::from_utf8_lossy(&output.stderr).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotRun::NoGo),
            Err(error) => Err(error.into()),
        }
    }

    /// Has it judge the history in `path`: operations, one a line. It gives up after `timeout`.
    ///
    /// # Errors
    /// It cannot be started. That it fails is a verdict: inconclusive.
    pub fn check(&self, path: &Path, timeout: Duration) -> Result<Finding, NotRun> {
        let output = Command::new(&self.program)
            .arg("-timeout")
            .arg(format!("{}ms", timeout.as_millis()))
            .arg(path)
            .output()?;
        let said = serde_json::from_slice::<Said>(&output.stdout);
        let (examined, verdict) = match said {
            Ok(Said { verdict, examined, .. }) if verdict == "valid" => (examined, Verdict::Valid),
            Ok(Said { verdict, examined, why }) if verdict == "violation" => {
                (examined, Verdict::violation(NAME, why, &[]))
            }
            Ok(Said { examined, why, .. }) => (examined, Verdict::Inconclusive { why }),
            Err(error) => {
                let why = format!("{error}: {}", String::from_utf8_lossy(&output.stderr));
                (0, Verdict::Inconclusive { why })
            }
        };
        Ok(Finding { checker: NAME, examined, verdict })
    }
}
