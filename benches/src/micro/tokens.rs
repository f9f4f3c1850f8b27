//! Tokens that answer a like question without asking anybody: a chain of four, verified and decided.
//!
//! They carry four signatures, one for each link, and nothing about now: whether a link was revoked since, they do not
//! say. An answer of Chancery's carries two, of a quorum, whatever the length of the chain, and is proven as of now.

use std::hint::black_box;
use std::time::Duration;

use biscuit_auth::builder::{AuthorizerBuilder, BlockBuilder};
use biscuit_auth::{AuthorizerLimits, Biscuit, KeyPair};
use tenuo::constraints::ConstraintSet;
use tenuo::crypto::SigningKey;
use tenuo::planes::Authorizer;
use tenuo::warrant::Warrant;
use tenuo::wire;

use super::Micros;
use crate::fault::{BenchError, Result};
use crate::floor::units::each;

/// Links of the chain.
const CHAIN: usize = 4;

/// Verifications of one turn.
const TIMES: u32 = 100;

/// Longest evaluation, far more than any takes.
const EVALUATION_MAX: Duration = Duration::from_secs(10);

/// Verifies each over and over, from its bytes on.
pub(crate) fn measure() -> Result<Micros> {
    let biscuit = Token::new().map_err(BenchError::of("biscuit-auth"))?;
    let tenuo = Warrants::new().map_err(BenchError::of("tenuo"))?;
    if !biscuit.verifies() || !tenuo.verifies() {
        return Err(BenchError::of("tokens")("they do not verify"));
    }
    let biscuit = each(TIMES, || {
        black_box(biscuit.verifies());
    });
    let tenuo = each(TIMES, || {
        black_box(tenuo.verifies());
    });
    Ok([("biscuit-auth-of-4".to_owned(), biscuit), ("tenuo-of-4".to_owned(), tenuo)].into())
}

/// A biscuit with a grant, narrowed three times.
struct Token {
    bytes: Vec<u8>,
    root: biscuit_auth::PublicKey,
}

impl Token {
    fn new() -> std::result::Result<Self, biscuit_auth::error::Token> {
        let root = KeyPair::new();
        let granted = r#"right("payments/send"); check if resource($r), $r.starts_with("accounts/");"#;
        let mut token = Biscuit::builder().code(granted)?.build(&root)?;
        for _ in 1..CHAIN {
            let narrowed = BlockBuilder::new().code(r#"check if operation("payments/send");"#)?;
            token = token.append(narrowed)?;
        }
        Ok(Self { bytes: token.to_vec()?, root: root.public() })
    }

    fn verifies(&self) -> bool {
        let decided = || {
            let token = Biscuit::from(&self.bytes, self.root)?;
            let asked =
                r#"operation("payments/send"); resource("accounts/7"); allow if operation($o), right($o);"#;
            let mut authorizer = AuthorizerBuilder::new().code(asked)?.build(&token)?;
            let limits = AuthorizerLimits { max_time: EVALUATION_MAX, ..Default::default() };
            authorizer.authorize_with_limits(limits)
        };
        decided().is_ok()
    }
}

/// A warrant, attenuated three times, each link by the key that holds the one above.
struct Warrants {
    bytes: Vec<Vec<u8>>,
    authorizer: Authorizer,
}

impl Warrants {
    fn new() -> std::result::Result<Self, tenuo::Error> {
        let keys: Vec<SigningKey> = (0..=CHAIN).map(|_| SigningKey::generate()).collect();
        let mut authorizer = Authorizer::new();
        let mut chain: Vec<Warrant> = Vec::new();
        for (signer, holder) in keys.iter().zip(keys.iter().skip(1)) {
            let next = match chain.last() {
                None => {
                    authorizer.add_trusted_root(signer.public_key());
                    let root = Warrant::builder().capability("payments/send", ConstraintSet::new());
                    root.ttl(Duration::from_secs(3600)).holder(holder.public_key()).build(signer)?
                }
                Some(above) => {
                    above.clone().attenuate().inherit_all().holder(holder.public_key()).build(signer)?
                }
            };
            chain.push(next);
        }
        let bytes = chain.iter().map(wire::encode).collect::<std::result::Result<_, _>>()?;
        Ok(Self { bytes, authorizer })
    }

    fn verifies(&self) -> bool {
        let chain: std::result::Result<Vec<Warrant>, _> =
            self.bytes.iter().map(|bytes| wire::decode(bytes)).collect();
        chain.is_ok_and(|chain| self.authorizer.verify_chain(&chain).is_ok())
    }
}
