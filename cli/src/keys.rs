//! Signing keys and their files: 64 hex digits of the Ed25519 seed, mode 0600. And `chancery keygen`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_ledger::command::PublicKey;
use chancery_ledger::hash::{from_hex, to_hex};
use clap::Args;
use ed25519_dalek::SigningKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::exit::{Failure, Result};
use crate::files;
use crate::output::{Page, Report, style};

/// Makes an Ed25519 key and writes its seed to a file that must not exist.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where the secret goes; its public key is printed.
    file: PathBuf,
}

impl Keygen {
    /// Runs `chancery keygen`.
    pub(crate) fn run(&self) -> Result<Report> {
        let key = generate()?;
        store(&self.file, &key)?;
        let public = public(&key).to_string();
        let page = Page::new(format!("{} {}", style::good("made"), self.file.display()))
            .field("public key", style::name(&public));
        let json = json!({ "outcome": "done", "file": self.file, "public_key": public });
        Ok(Report::done(page, json))
    }
}

/// A new key.
pub(crate) fn generate() -> Result<SigningKey> {
    let mut seed = Zeroizing::new([0; 32]);
    fill_random(seed.as_mut())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The system's randomness.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Failure::local(format!("no randomness: {error}")))
}

/// The public half.
pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Writes a key's seed.
pub(crate) fn store(path: &Path, key: &SigningKey) -> Result<()> {
    let text = Zeroizing::new(format!("{}\n", to_hex(key.as_bytes())));
    files::write_secret(path, text.as_bytes())
}

/// Reads a key's seed.
pub(crate) fn load(path: &Path) -> Result<SigningKey> {
    let text = Zeroizing::new(files::read_secret(path)?);
    let mut seed = Zeroizing::new([0; 32]);
    from_hex(text.trim(), seed.as_mut())
        .ok_or_else(|| Failure::usage(format!("{}: not a key: 64 hex digits", path.display())))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The keys of those who sign beside the context's, and their public keys, sorted and each once.
pub(crate) fn load_sorted(paths: &[PathBuf]) -> Result<(Vec<SigningKey>, Vec<PublicKey>)> {
    let keys = paths.iter().map(|path| load(path)).collect::<Result<Vec<_>>>()?;
    let mut publics: Vec<_> = keys.iter().map(public).collect();
    publics.sort();
    publics.dedup();
    Ok((keys, publics))
}

/// The key as PKCS#8 in PEM, for TLS: RFC 8410, version 1.
pub(crate) fn pkcs8_pem(key: &SigningKey) -> Zeroizing<String> {
    const PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let der = Zeroizing::new([PREFIX, key.as_bytes()].concat());
    let body = Zeroizing::new(BASE64.encode(der.as_slice()));
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", body.as_str()))
}

/// Parses a public key from the command line.
pub(crate) fn parse_public(text: &str) -> std::result::Result<PublicKey, String> {
    let mut key = [0; 32];
    from_hex(text, &mut key).ok_or("not a public key: 64 lower-case hex digits")?;
    Ok(PublicKey(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = generate().unwrap();
        store(&path, &key).unwrap();
        assert_eq!(load(&path).unwrap().as_bytes(), key.as_bytes());
        assert!(store(&path, &key).is_err(), "a key is never overwritten");
    }

    #[test]
    fn tls_sees_the_same_public_key() {
        let key = generate().unwrap();
        let pair = rcgen::KeyPair::from_pem(&pkcs8_pem(&key)).unwrap();
        assert_eq!(pair.public_key_raw(), public(&key).0);
    }
}
