//! `member.toml`: what operators must know of a node that is to join. Nothing of it is secret; whoever changes
//! the key in it has another node vote, so it comes over a way that is trusted.

use std::path::Path;

use chancery_ledger::command::{LedgerId, Name};
use chancery_ledger::head::Voter;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Result};
use crate::{files, keys};

/// A node that is to join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// The ledger's id.
    pub(crate) ledger: String,
    /// Its number: never another node's, now or before.
    pub(crate) node: u64,
    /// Its name: likewise.
    pub(crate) name: String,
    /// The public key that signs its statements: likewise.
    pub(crate) key: String,
    /// `host:port` where its peers reach it.
    pub(crate) peer_address: String,
    /// `host:port` where clients reach it.
    pub(crate) client_address: String,
}

impl Description {
    /// Reads the file, which must be about `ledger`.
    pub(crate) fn load(path: &Path, ledger: LedgerId) -> Result<Self> {
        let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
        let text = String::from_utf8(files::read(path)?).map_err(|error| wrong(error.to_string()))?;
        let found: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if found.ledger != ledger.to_string() {
            return Err(wrong(format!("it is about a node of ledger {}, not of {ledger}", found.ledger)));
        }
        found.voter().map_err(wrong)?;
        Ok(found)
    }

    /// The voter that it is to become.
    pub(crate) fn voter(&self) -> std::result::Result<Voter, String> {
        if self.node == 0 {
            return Err("a node's number is not 0".into());
        }
        let name = Name::new(self.name.as_str()).map_err(|error| format!("name {error}"))?;
        Ok(Voter { node: self.node, name, key: keys::parse_public(&self.key)? })
    }

    /// The file.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Failure::local(format!("member.toml: {error}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use chancery_ledger::hash::Hash;

    #[test]
    fn a_description_comes_back_from_its_file_and_is_of_one_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("member.toml");
        let (ledger, other) = (LedgerId(Hash([1; 32])), LedgerId(Hash([2; 32])));
        let description = Description {
            ledger: ledger.to_string(),
            node: 4,
            name: "node-4".into(),
            key: "ab".repeat(32),
            peer_address: "127.0.0.1:7404".into(),
            client_address: "127.0.0.1:7504".into(),
        };
        std::fs::write(&path, description.to_toml().unwrap()).unwrap();
        assert_eq!(Description::load(&path, ledger).unwrap(), description);
        assert!(Description::load(&path, other).unwrap_err().message.contains("ledger"));

        let zero = Description { node: 0, ..description };
        std::fs::write(&path, zero.to_toml().unwrap()).unwrap();
        assert!(Description::load(&path, ledger).unwrap_err().message.contains("not 0"));
    }
}
