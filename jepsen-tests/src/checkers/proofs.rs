//! Every answer once more, from its bytes.

use std::collections::{HashMap, HashSet};

use chancery_ledger::answer::{Nonce, decode_answer, verify};
use chancery_ledger::command::Name;
use chancery_ledger::decide::{Decision, Request};
use chancery_ledger::hash::{Hash, from_hex};
use chancery_ledger::trust::Trust;

use super::{Finding, Verdict};
use crate::history::{Call, Operation, Outcome, Proof, halt_of};

/// The checker's name.
pub const NAME: &str = "proofs";

/// Verifies again what clients took for the proof of a permit or a denial, and demands that it proves what they
/// say: the same decision, chain or reason, and block, for their own question and a nonce of its own.
///
/// A permit or a denial of which there is no proof makes it inconclusive.
pub fn check<'a>(
    trust: &Trust,
    operations: &[Operation],
    proofs: impl IntoIterator<Item = &'a Proof>,
) -> Finding {
    let mut examined = 0;
    let judged = judge(trust, operations, proofs, &mut examined);
    Finding::of(NAME, examined, judged)
}

fn judge<'a>(
    trust: &Trust,
    operations: &[Operation],
    proofs: impl IntoIterator<Item = &'a Proof>,
    examined: &mut usize,
) -> Result<(), Verdict> {
    let by_id: HashMap<u64, &Operation> = operations.iter().map(|one| (one.id, one)).collect();
    let (mut proven, mut nonces) = (HashSet::new(), HashSet::new());
    for proof in proofs {
        let Proof::Answer { operation, args_digest, nonce, answer } = proof else { continue };
        let wrong = |what: String| Err(Verdict::violation(NAME, what, &[*operation]));
        let Some(check) = by_id.get(operation) else {
            return wrong("a proof of no operation in the history".into());
        };
        if !nonces.insert(nonce) {
            return wrong("a nonce was used twice".into());
        }
        if let Err(what) = verify_again(trust, check, args_digest, nonce, answer) {
            return wrong(what);
        }
        proven.insert(*operation);
        *examined += 1;
    }
    let decided = |one: &&Operation| {
        matches!(one.outcome, Outcome::Permitted { .. } | Outcome::Denied { .. }) && !proven.contains(&one.id)
    };
    match operations.iter().find(decided) {
        Some(bare) => {
            let why = format!("operation {} was decided, but its proof was not kept", bare.id);
            Err(Verdict::Inconclusive { why })
        }
        None => Ok(()),
    }
}

fn verify_again(
    trust: &Trust,
    check: &Operation,
    args_digest: &str,
    nonce: &str,
    answer: &str,
) -> Result<(), String> {
    let Call::Check { agent, action, resource } = &check.call else {
        return Err("an answer to a command".into());
    };
    let name = |text: &str| Name::new(text).map_err(|error| format!("{text:?} {error}"));
    let request = Request {
        agent: name(agent)?,
        action: name(action)?,
        resource: name(resource)?,
        args_digest: Hash::from_hex(args_digest).ok_or("the argument digest is none")?,
        args: None,
        knowledge: None,
        generation: None,
        hint: None,
    };
    let nonce = Nonce(Hash::from_hex(nonce).ok_or("the nonce is none")?.0);
    let bytes = bytes_of(answer).ok_or("the answer is no bytes")?;
    let answer = decode_answer(&bytes, bytes.len()).map_err(|error| error.to_string())?;
    let verified = verify(trust, &request, nonce, &answer).map_err(|error| error.to_string())?;
    let fits = match (&verified.decision, &check.outcome) {
        (Decision::Permit(authority), Outcome::Permitted { block, chain }) => {
            let proven = authority.chain.iter().map(|link| link.grant.to_string());
            verified.head.block == *block && proven.eq(chain.iter().cloned())
        }
        (Decision::Denied(denial), Outcome::Denied { block, reason, halt }) => {
            verified.head.block == *block && denial.code() == reason && halt_of(denial) == *halt
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("the proof shows {:?} instead", verified.decision)) }
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; hex.len() / 2];
    from_hex(hex, &mut bytes)?;
    Some(bytes)
}
