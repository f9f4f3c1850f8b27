//! Resume tokens: what a follower keeps while it is away.

use super::EndMark;
use crate::command::LedgerId;
use crate::hash::{Hash, from_hex, to_hex};
use crate::log::{Frontier, FrontierError};

/// What a token's text begins with.
const PREFIX: &str = "chancery-resume-v1:";

/// Ledger id, and the mark of the ends.
const FIXED_SIZE_BYTES: usize = 32 + 8 + 8;

/// Longest text of a token, in bytes: with a frontier of 63 hashes.
pub const RESUME_TOKEN_TEXT_SIZE_MAX: usize = PREFIX.len() + 2 * (FIXED_SIZE_BYTES + 8 + 63 * 32);

/// How far a follower has come: which leaves it has, as the tree's right edge, and which ends of grants it was
/// told. It holds no secret, and is believed by nobody but its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResumeToken {
    /// The ledger.
    pub ledger: LedgerId,
    /// The log as far as it was taken.
    pub frontier: Frontier,
    /// Up to where the ends of grants were told.
    pub ends: EndMark,
}

/// Why a text is no token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResumeTokenError {
    /// Another prefix, not hex, or too long or short.
    #[error("not a resume token")]
    Malformed,
    /// Its frontier is none.
    #[error("resume token: {0}")]
    Frontier(#[from] FrontierError),
}

impl std::fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EndMark { time_ms, index } = self.ends;
        let ends = [time_ms.to_be_bytes(), index.to_be_bytes()].concat();
        let bytes = [self.ledger.0.as_bytes().as_slice(), &ends, &self.frontier.encode()].concat();
        write!(f, "{PREFIX}{}", to_hex(&bytes))
    }
}

impl std::str::FromStr for ResumeToken {
    type Err = ResumeTokenError;

    fn from_str(text: &str) -> Result<Self, ResumeTokenError> {
        let hex = text.strip_prefix(PREFIX).ok_or(ResumeTokenError::Malformed)?;
        if text.len() > RESUME_TOKEN_TEXT_SIZE_MAX || !hex.len().is_multiple_of(2) {
            return Err(ResumeTokenError::Malformed);
        }
        let mut bytes = vec![0; hex.len() / 2];
        from_hex(hex, &mut bytes).ok_or(ResumeTokenError::Malformed)?;
        let (ledger, rest) = bytes.split_first_chunk::<32>().ok_or(ResumeTokenError::Malformed)?;
        let (time_ms, rest) = rest.split_first_chunk().ok_or(ResumeTokenError::Malformed)?;
        let (index, frontier) = rest.split_first_chunk().ok_or(ResumeTokenError::Malformed)?;
        let ends = EndMark { time_ms: u64::from_be_bytes(*time_ms), index: u64::from_be_bytes(*index) };
        Ok(Self { ledger: LedgerId(Hash(*ledger)), frontier: Frontier::decode(frontier)?, ends })
    }
}
