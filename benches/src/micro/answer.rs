//! What a client spends on one answer whose permit rests on a chain of four: a grant, and three delegations below it.

use std::hint::black_box;
use std::sync::Arc;

use chancery_client::chancery_ledger::answer::{Nonce, decode_answer, verify};
use chancery_client::chancery_ledger::command::{
    Bounds, GrantId, Name, Patterns, PublicKey, Requirements, Terms,
};
use chancery_client::chancery_ledger::decide::{Interval, Request, decide};
use chancery_client::chancery_ledger::state::PrunedView;
use chancery_client::chancery_ledger::trust::Trust;
use chancery_client::{Ledger, SigningKey};

use super::Micros;
use crate::fault::{BenchError, Result};
use crate::floor::composed::AnswerShape;
use crate::floor::units::each;
use crate::system::chancery::Chancery;
use crate::workloads::shapes::answer_shape;

/// Links of the chain.
const CHAIN: usize = 4;

/// Verifications of one turn.
const TIMES: u32 = 300;

/// Longest answer that is decoded.
const ANSWER_SIZE_BYTES_MAX: usize = 4 << 20;

const DAY_MS: u64 = 24 * 3_600_000;

/// Answers, each of a round of its own, and what is needed to verify them.
#[derive(Debug)]
pub(crate) struct ProvenAnswer {
    answers: Vec<(Vec<u8>, Nonce)>,
    trust: Arc<Trust>,
    request: Request,
    interval: Interval,
    pub(crate) shape: AnswerShape,
}

impl ProvenAnswer {
    /// Makes the chain, and asks again and again: a statement that was verified once is not verified again.
    pub(crate) async fn get(chancery: &Chancery) -> Result<Self> {
        let issuer = chancery.connect("issuer", 1).await?;
        let gate = chancery.connect("gate", 1).await?;
        delegate_down(&issuer).await.map_err(BenchError::of("chancery"))?;
        let check = async || {
            let permit = gate.check(&agent(CHAIN), "payments/send", "accounts/7", b"{}").await;
            permit.map_err(BenchError::of("chancery"))
        };
        let mut answers = Vec::new();
        for _ in 0..=TIMES {
            let permit = check().await?;
            let checked = permit.checked();
            let nonce =
                checked.nonce.ok_or_else(|| BenchError::of("chancery")("an answer without a nonce"))?;
            answers.push((checked.answer.encode(), nonce));
        }
        let permit = check().await?;
        let checked = permit.checked();
        if permit.authority().chain.len() != CHAIN {
            return Err(BenchError::of("chancery")("the chain is not of four"));
        }
        Ok(Self {
            answers,
            trust: gate.trust(),
            request: checked.request.clone(),
            interval: checked.verified.interval,
            shape: answer_shape(&checked.answer, 0),
        })
    }

    /// Verifies each once: decoding, hashing, signatures, and the decision.
    pub(crate) fn measure(&self) -> Result<Micros> {
        // It has verified nothing yet.
        let Trust { origin, ledger, genesis, clock_skew_ms_max, .. } = &*self.trust;
        let trust = Trust::new(origin.clone(), *ledger, genesis.clone(), *clock_skew_ms_max);
        let verified = |(bytes, nonce): &(Vec<u8>, Nonce)| {
            let answer = decode_answer(black_box(bytes), ANSWER_SIZE_BYTES_MAX);
            answer.is_ok_and(|answer| verify(&trust, &self.request, *nonce, &answer).is_ok())
        };
        let mut answers = self.answers.iter();
        // With the first, the keys are decoded.
        let mut all = answers.next().is_some_and(verified);
        let whole = each(TIMES, || {
            all &= answers.next().is_some_and(verified);
        });
        if !all {
            return Err(BenchError::of("answer")("it does not verify"));
        }
        let first = || self.answers.first();
        let decoding = each(TIMES, || {
            let _ =
                black_box(first().map(|(bytes, _)| decode_answer(black_box(bytes), ANSWER_SIZE_BYTES_MAX)));
        });
        let without_signatures = each(TIMES, || {
            black_box(first().is_some_and(|(bytes, nonce)| self.decide_again(bytes, *nonce)));
        });
        let named = [("whole", whole), ("decoding", decoding), ("without-signatures", without_signatures)];
        Ok(named.into_iter().map(|(what, us)| (format!("answer-of-4/{what}"), us)).collect())
    }

    /// All that is left to do for an answer whose statements are verified already, by an earlier one of its round.
    fn decide_again(&self, bytes: &[u8], nonce: Nonce) -> bool {
        let Ok(answer) = decode_answer(black_box(bytes), ANSWER_SIZE_BYTES_MAX) else { return false };
        let path = answer.nonce_path.as_ref().map(|path| path.root(&nonce.question(&self.request)));
        let fresh = answer.statements.first().and_then(|statement| statement.fresh);
        let (Some(Ok(root)), Some(fresh)) = (path, fresh) else { return false };
        let request = Request { hint: answer.hint, ..self.request.clone() };
        let view = PrunedView::new(&answer.tree);
        let decided = decide(&view, &request, self.interval).is_ok();
        root == fresh.nonce_root
            && answer.tree.root_hash() == answer.head.state_root
            && decided
            && view.finish().is_ok()
    }
}

async fn delegate_down(issuer: &Ledger) -> std::result::Result<(), String> {
    let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
    let mut above: Option<(GrantId, SigningKey)> = None;
    for link in 1..=CHAIN {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey(key.verifying_key().to_bytes());
        let registered = issuer.register_agent(name(&agent(link))?, name("bench/owner")?, Some(public)).await;
        registered.map_err(|error| error.to_string())?;
        let terms = terms(link, name(&agent(link))?)?;
        let receipt = match &above {
            None => issuer.grant(terms).await,
            Some((parent, key)) => issuer.delegate(*parent, terms, key).await,
        };
        let grant = receipt.map_err(|error| error.to_string())?.grant.ok_or("the receipt names no grant")?;
        above = Some((grant, key));
    }
    Ok(())
}

fn terms(link: usize, agent: Name) -> std::result::Result<Terms, String> {
    let patterns = |text: &str| Patterns::collect([text]).map_err(|error| error.to_string());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(0);
    Ok(Terms {
        agent,
        actions: patterns("payments/send")?,
        resources: patterns("accounts/*")?,
        not_before_ms: 0,
        // None outlives the one above it.
        not_after_ms: now_ms + DAY_MS - u64::try_from(link).unwrap_or(0) * 60_000,
        max_staleness_ms: 10_000,
        delegable_depth: u32::try_from(CHAIN - link).unwrap_or(0),
        condition: None,
        knowledge: Requirements::default(),
        bounds: Bounds::default(),
    })
}

fn agent(link: usize) -> String {
    format!("bench/link-{link}")
}
