//! Key names, key ids and verifier keys (c2sp.org/signed-note, "Signatures" and "Verifier keys").

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

use super::spelling::{base64, parse_base64};
use crate::hash::{Hash, from_hex};

/// The longest key name, in bytes: what c2sp.org/tlog-cosignature's newer formats can carry.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// The name of a key: not empty, without Unicode spaces, plus signs and ASCII control characters
/// (c2sp.org/signed-note, "Format").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, KeyError> {
        let forbidden = |c: char| c.is_whitespace() || c == '+' || c < ' ';
        if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || name.contains(forbidden) {
            return Err(KeyError::Name);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `SHA-256(name ‖ 0A ‖ signature type ‖ public key)[:4]`, big-endian (c2sp.org/signed-note,
/// "Signatures"). An identifier, not a commitment: keys that collide are easily found.
pub fn key_id(name: &KeyName, signature_type: u8, public_key: &[u8]) -> u32 {
    let digest = Hash::of(&[name.as_str().as_bytes(), b"\n", &[signature_type], public_key]);
    let [a, b, c, d, ..] = digest.0;
    u32::from_be_bytes([a, b, c, d])
}

/// The signature types that are used here (c2sp.org/signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// `01`: Ed25519 over the note's text. Logs sign so.
    Ed25519,
    /// `04`: a timestamped Ed25519 cosignature of a checkpoint (c2sp.org/tlog-cosignature).
    Cosignature,
}

impl SignatureType {
    /// The identifier byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// A key to verify with: name, type, Ed25519 public key. Displays and parses as a vkey
/// (c2sp.org/signed-note, "Verifier keys").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    signature_type: SignatureType,
    public_key: VerifyingKey,
    id: u32,
}

impl VerifierKey {
    /// Refuses public keys of small order, under which a signature binds to nothing.
    pub fn new(
        name: KeyName,
        signature_type: SignatureType,
        public_key: VerifyingKey,
    ) -> Result<Self, KeyError> {
        if public_key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        let id = key_id(&name, signature_type.byte(), public_key.as_bytes());
        Ok(Self { name, signature_type, public_key, id })
    }

    /// Reads `<name>+<8 hex digits of the id>+<base64 of type ‖ public key>`; the id must be the key's.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        // Neither a name nor an id has a plus sign; base64 can.
        let (name, rest) = vkey.split_once('+').ok_or(KeyError::Vkey)?;
        let (id_digits, key) = rest.split_once('+').ok_or(KeyError::Vkey)?;
        let name = KeyName::new(name)?;
        let mut id = [0; 4];
        from_hex(id_digits, &mut id).ok_or(KeyError::Vkey)?;
        if key.len() != VKEY_DIGITS {
            return Err(KeyError::Vkey);
        }
        let key = parse_base64(key).ok_or(KeyError::Vkey)?;
        let (signature_type, public_key) = key.split_first().ok_or(KeyError::Vkey)?;
        let signature_type = SignatureType::from_byte(*signature_type).ok_or(KeyError::SignatureType)?;
        let public_key = public_key.try_into().map_err(|_| KeyError::Vkey)?;
        let public_key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        let key = Self::new(name, signature_type, public_key)?;
        if key.id == u32::from_be_bytes(id) { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs, and how.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The bare key.
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public_key
    }

    /// The key id, see [`key_id`].
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether `signature` is this key's over exactly `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.public_key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.signature_type.byte()];
        key.extend_from_slice(self.public_key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64(&key))
    }
}

/// Base64 digits of a type byte and 32 bytes of key.
const VKEY_DIGITS: usize = 44;

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not a valid key name.
    #[error("a key name is 1 to 255 bytes without spaces, plus signs and control characters")]
    Name,
    /// Not of a vkey's form.
    #[error("a verifier key is <name>+<8 hex digits>+<base64 of type and key>")]
    Vkey,
    /// A signature type that is not used here.
    #[error("unknown signature type")]
    SignatureType,
    /// Not a point of Ed25519, or one of small order.
    #[error("not an Ed25519 public key, or a weak one")]
    PublicKey,
    /// The key id is not that of the name, type and key.
    #[error("the key id does not match name, type and key")]
    Id,
}
