//! Halts: what is halted is not permitted, and nothing is denied by a halt that is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chancery_ledger::command::Body;

use super::authority::{Authority, Question, Scope};
use super::decisions::question;
use super::{Finding, Leaf, Leaves, Verdict, replay};
use crate::history::{Call, Operation, Outcome, Told, ToldDecided};

/// The checker's name.
pub const NAME: &str = "halts";

/// Demands of every check and every recorded decision
///
/// * by the log up to it: that nothing in force halts what is permitted; that what is denied by a halt is halted by
///   that one; and that what is halted is denied for that, whatever else there is against it;
/// * by the clients' clock alone: that nothing is permitted in the scope of a halt that was acknowledged before it was
///   asked for, unless so many had asked for its end by then as it takes; and that nothing asked for after that
///   end was acknowledged is denied by it.
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    let halted = operations.iter().filter(|one| Asked::of(one).is_some_and(|asked| asked.halt.is_some()));
    let judged = by_log(operations, leaves).and_then(|()| by_clock(operations, threshold(leaves)));
    Finding::of(NAME, halted.count(), judged)
}

/// How many resumers end a halt, as genesis says.
fn threshold(leaves: &Leaves) -> usize {
    let genesis = leaves.commands().iter().find_map(|leaf| match &leaf.signed.command().body {
        Body::Genesis(genesis) => usize::try_from(genesis.limits.resumer_threshold).ok(),
        _ => None,
    });
    genesis.unwrap_or(usize::MAX)
}

/// What was asked, and what was said.
#[derive(Clone, Copy)]
struct Asked<'a> {
    question: Question<'a>,
    /// The chain, of a permit.
    chain: Option<&'a [String]>,
    /// The halt that a denial names.
    halt: Option<u64>,
}

impl<'a> Asked<'a> {
    /// Of a check that was answered, and of a decision that was recorded.
    fn of(operation: &'a Operation) -> Option<Self> {
        let (Call::Check { agent, action, resource } | Call::Authorize { agent, action, resource }) =
            &operation.call
        else {
            return None;
        };
        let question = Question { agent, action, resource };
        let (chain, halt) = match &operation.outcome {
            Outcome::Permitted { chain, .. } => (Some(chain.as_slice()), None),
            Outcome::Denied { halt, .. } => (None, *halt),
            Outcome::Acknowledged { verdict: Some(verdict), .. } => said(verdict),
            _ => return None,
        };
        Some(Self { question, chain, halt })
    }
}

fn said(verdict: &Told) -> (Option<&[String]>, Option<u64>) {
    match &verdict.decided {
        ToldDecided::Permit { chain, .. } => (Some(chain), None),
        ToldDecided::Denied { halt, .. } => (None, *halt),
    }
}

// ----------------------------------------------------------------------------------------------------
// By the log.

fn by_log(operations: &[Operation], leaves: &Leaves) -> Result<(), Verdict> {
    let mut checks: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Outcome::Permitted { block, .. } | Outcome::Denied { block, .. } = operation.outcome {
            checks.entry(block).or_default().push(operation);
        }
    }
    let mut authority = Authority::default();
    let mut checks = checks.into_iter().peekable();
    for leaf in leaves.commands() {
        // Those from a block before this leaf's.
        while let Some((block, checks)) = checks.next_if(|(block, _)| *block < leaf.block) {
            all_at(&authority, block, &checks)?;
        }
        if let (Body::Authorize(asked), Some(verdict)) = (&leaf.signed.command().body, &leaf.verdict) {
            let told = Told::of(verdict);
            let (chain, halt) = said(&told);
            let asked = Asked { question: question(asked), chain, halt };
            judge(&authority, asked).map_err(|what| wrong(leaf, &what))?;
        }
        replay::apply(&mut authority, leaves, leaf);
    }
    checks.try_for_each(|(block, checks)| all_at(&authority, block, &checks))
}

fn all_at(authority: &Authority, block: u64, checks: &[&Operation]) -> Result<(), Verdict> {
    for check in checks {
        let Some(asked) = Asked::of(check) else { continue };
        judge(authority, asked).map_err(|what| {
            Verdict::violation(NAME, format!("a check at block {block}: {what}"), &[check.id])
        })?;
    }
    Ok(())
}

fn judge(authority: &Authority, asked: Asked<'_>) -> Result<(), String> {
    let Asked { question, chain, halt } = asked;
    let by = |index: u64| format!("the halt of leaf {index}, which is in force");
    if let Some(chain) = chain {
        let mut halts = authority.halts_of(question).chain(authority.halts_of_chain(chain));
        return halts.next().map_or(Ok(()), |halt| Err(format!("permitted in spite of {}", by(halt.index))));
    }
    let chains = authority.chains(question);
    let of_question = authority.halts_of(question).map(|halt| halt.index);
    let of_chains = chains.iter().flat_map(|chain| authority.halts_of_chain(chain)).map(|halt| halt.index);
    let in_force: BTreeSet<u64> = of_question.chain(of_chains).collect();
    match halt {
        None => in_force
            .first()
            .map_or(Ok(()), |first| Err(format!("denied for another reason than {}", by(*first)))),
        Some(halt) if !in_force.contains(&halt) => {
            Err(format!("denied by the halt of leaf {halt}, which does not halt it"))
        }
        Some(_) if authority.halts_of(question).next().is_some() => Ok(()),
        Some(halt) => {
            let is_free = |chain: &&Vec<String>| {
                authority.halts_of_chain(chain).next().is_none() && !authority.is_bounded(chain)
            };
            let free = chains.iter().any(|chain| is_free(&chain));
            let what = format!("denied by the halt of leaf {halt}, which leaves another chain");
            if free { Err(what) } else { Ok(()) }
        }
    }
}

fn wrong(leaf: &Leaf, what: &str) -> Verdict {
    Verdict::violation(NAME, format!("leaf {}: {what}", leaf.index), &[])
}

// ----------------------------------------------------------------------------------------------------
// By the clients' clock.

/// What clients know of a halt. Times are those of their clock.
struct Known<'a> {
    operation: u64,
    index: u64,
    scope: Scope,
    invoked_us: u64,
    acknowledged_us: u64,
    /// When each resumer first asked for its end.
    asked_us: BTreeMap<&'a str, u64>,
    /// When each was first told that this was done.
    told_us: BTreeMap<&'a str, u64>,
}

impl Known<'_> {
    /// It had not ended before this.
    fn until_us(&self, threshold: usize) -> u64 {
        last_of(&self.asked_us, threshold).unwrap_or(u64::MAX)
    }

    /// It had ended after this.
    fn over_us(&self, threshold: usize) -> u64 {
        last_of(&self.told_us, threshold).unwrap_or(u64::MAX)
    }
}

/// When the first `count` of them were there.
fn last_of(times_us: &BTreeMap<&str, u64>, count: usize) -> Option<u64> {
    let mut times_us: Vec<u64> = times_us.values().copied().collect();
    times_us.sort_unstable();
    times_us.get(count.checked_sub(1)?).copied()
}

fn by_clock(operations: &[Operation], threshold: usize) -> Result<(), Verdict> {
    let halts = known(operations);
    let (lineages, holders) = (lineages(operations), holders(operations));
    let lineage = |agent: &'_ str| -> String { lineages.get(agent).map_or(agent, |one| one).to_owned() };
    for operation in operations {
        let Some(Asked { question, chain, halt }) = Asked::of(operation) else { continue };
        let Some(returned_us) = operation.returned_us else { continue };
        if let Some(known) = halt.and_then(|halt| halts.get(&halt)) {
            let shows = [known.operation, operation.id];
            if known.over_us(threshold) < operation.invoked_us {
                let what =
                    format!("denied by the halt of leaf {}, after its end was acknowledged", known.index);
                return Err(Verdict::violation(NAME, what, &shows));
            }
            if returned_us < known.invoked_us {
                let what = format!("denied by the halt of leaf {}, before it was asked for", known.index);
                return Err(Verdict::violation(NAME, what, &shows));
            }
        }
        let Some(chain) = chain else { continue };
        let own = lineage(question.agent);
        for known in halts.values() {
            if known.acknowledged_us >= operation.invoked_us || known.until_us(threshold) <= returned_us {
                continue;
            }
            let stops = known.scope.stops(question, &own)
                || chain.iter().any(|grant| {
                    let agent = holders.get(grant.as_str()).copied().unwrap_or_default();
                    known.scope.stops_link(grant, agent, &lineage(agent))
                });
            if stops {
                let what = format!(
                    "permitted after the halt of leaf {} was acknowledged, and not ended",
                    known.index
                );
                return Err(Verdict::violation(NAME, what, &[known.operation, operation.id]));
            }
        }
    }
    Ok(())
}

/// Every halt that was acknowledged, by its leaf.
fn known(operations: &[Operation]) -> BTreeMap<u64, Known<'_>> {
    let mut halts: BTreeMap<u64, Known<'_>> = BTreeMap::new();
    // The same halt may have been asked for in several operations.
    let mut first_us: HashMap<&str, u64> = HashMap::new();
    for one in operations {
        if let (Call::Halt { .. }, Some(command)) = (&one.call, &one.command) {
            let first = first_us.entry(command).or_insert(one.invoked_us);
            *first = one.invoked_us.min(*first);
        }
    }
    for one in operations {
        let (Call::Halt { scope, subject }, Outcome::Acknowledged { index, .. }) = (&one.call, &one.outcome)
        else {
            continue;
        };
        let Some(acknowledged_us) = one.returned_us else { continue };
        let first = one.command.as_deref().and_then(|command| first_us.get(command));
        let known = halts.entry(*index).or_insert_with(|| Known {
            operation: one.id,
            index: *index,
            scope: Scope { kind: scope.clone(), subject: subject.clone() },
            invoked_us: first.copied().unwrap_or(one.invoked_us),
            acknowledged_us,
            asked_us: BTreeMap::new(),
            told_us: BTreeMap::new(),
        });
        if acknowledged_us < known.acknowledged_us {
            (known.operation, known.acknowledged_us) = (one.id, acknowledged_us);
        }
    }
    for one in operations {
        let Call::Resume { halt, resumer } = &one.call else { continue };
        let Some(known) = halts.get_mut(halt) else { continue };
        // What had no effect has none: see `log`.
        if matches!(one.outcome, Outcome::NotDone { .. } | Outcome::Refused { .. }) {
            continue;
        }
        earliest(&mut known.asked_us, resumer, one.invoked_us);
        if let (Outcome::Acknowledged { .. }, Some(returned_us)) = (&one.outcome, one.returned_us) {
            earliest(&mut known.told_us, resumer, returned_us);
        }
    }
    halts
}

fn earliest<'a>(times_us: &mut BTreeMap<&'a str, u64>, who: &'a str, at_us: u64) {
    let first = times_us.entry(who).or_insert(at_us);
    *first = at_us.min(*first);
}

/// Each agent's lineage, as whoever registered it said.
fn lineages(operations: &[Operation]) -> HashMap<&str, &str> {
    operations.iter().filter_map(lineage_of).collect()
}

fn lineage_of(operation: &Operation) -> Option<(&str, &str)> {
    match &operation.call {
        Call::Register { agent, lineage: Some(lineage) } => Some((agent, lineage)),
        _ => None,
    }
}

/// Who holds each grant.
fn holders(operations: &[Operation]) -> HashMap<&str, &str> {
    let mut holders = HashMap::new();
    for one in operations {
        if let Call::Grant { agent, grant, .. } | Call::Delegate { agent, grant, .. } = &one.call {
            holders.insert(grant.as_str(), agent.as_str());
        }
    }
    holders
}
