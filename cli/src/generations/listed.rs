//! The generations of a lineage: each proven to be in the log, and their number by the state.

use chancery_client::{Change, Ledger, WatchError};
use chancery_ledger::authority::{AgentRecord, Entry, LineageRecord, agent_and_lineage};
use chancery_ledger::command::{Body, Generation, GenerationId, Name};
use chancery_ledger::state::PrunedView;
use serde_json::{Value, json};

use crate::check::ask;
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Page, Report, Table, style, utc};
use crate::{ledger, watch};

/// A lineage, as one state has it.
pub(super) struct Lineage {
    name: Name,
    known: Option<LineageRecord>,
    /// In the order of their numbers.
    generations: Vec<Listed>,
    checked: chancery_client::Checked,
}

struct Listed {
    generation: Generation,
    id: GenerationId,
    index: u64,
    time_ms: u64,
}

impl Lineage {
    /// The lineage of an agent, and every generation of it. Reads the whole log.
    pub(super) async fn read(ledger: &Ledger, agent: &Name) -> Result<Self> {
        let invalid = |what: &str| Failure::new(Exit::Invalid, what);
        // A denial for naming no generation shows the lineage, and so does everything but a halt.
        let nobody = Name::new("chancery/generations/nobody-grants-this")
            .map_err(|error| Failure::usage(error.to_string()))?;
        let checked = ask(ledger, [agent, &nobody, &nobody], b"").await?.checked;
        let view = PrunedView::new(&checked.answer.tree);
        let shown = agent_and_lineage(&view, agent).map_err(|_| {
            let code = Failure::new(Exit::Unknown, format!("the proof does not show the lineage of {agent}"));
            code.hint("it is halted or retired: then its lineage is not looked at")
        })?;
        let Some((AgentRecord { lineage: name, .. }, known)) = shown else {
            let unknown = format!("{agent} was never registered");
            return Err(Failure::new(Exit::Refused, unknown).code("unknown_agent"));
        };
        let head = checked.verified.head;
        let count = known.as_ref().map_or(0, |known| known.count);
        let mut generations: Vec<Listed> = Vec::new();
        if count > 0 {
            let mut leaves = ledger.watch(0).await.map_err(|error| watch::failure(&error))?;
            while leaves.next_index() < head.log_size && (generations.len() as u64) < count {
                let change = match leaves.next_change().await {
                    Ok(change) => change,
                    // It took its time over what it found: nothing is lost by going on.
                    Err(WatchError::TooSlow { .. }) => continue,
                    Err(error) => return Err(watch::failure(&error)),
                };
                let Change { index, entry: told, .. } = change;
                let Some(found) = listed(&told, ledger, &name, index) else { continue };
                let proven = ledger.leaf_in(&head, index).await;
                let (_, entry) = proven.map_err(|error| ledger::read_failure(&error))?;
                if entry != told {
                    return Err(invalid("a leaf is not the one in the log"));
                }
                generations.push(found);
            }
        }
        if generations.len() as u64 == count {
            Ok(Self { name, known, generations, checked })
        } else {
            Err(invalid("a node left out generations that the state counts"))
        }
    }

    pub(super) fn report(&self, ledger: &Ledger) -> Report {
        let count = self.generations.len();
        let mut page = Page::new(format!("{}  {count} generations", style::name(self.name.as_str())));
        if count > 0 {
            let mut table = Table::new(&[">number", "generation", "registered", "state"]);
            for (number, listed) in (1..).zip(&self.generations) {
                let state = if self.in_service(number) { style::good("in service") } else { String::new() };
                table.row([
                    number.to_string(),
                    style::name(&listed.id.to_string()),
                    utc(listed.time_ms),
                    state,
                ]);
            }
            page = page.table(table);
        }
        if let Some(known) = &self.known {
            let policy = known.policy;
            let quarantine = if policy.quarantine { "until released" } else { "not at all" };
            page = page
                .field("quarantine", quarantine)
                .field("threshold", policy.threshold.to_string())
                .field("in service", format!("at most {}", policy.in_service_max));
        }
        let page = output::proof(page, &ledger.trust(), &self.checked.verified);
        let generations: Vec<_> = (1..)
            .zip(&self.generations)
            .map(|(number, listed)| self.generation_json(number, listed))
            .collect();
        let json = json!({
            "outcome": "done",
            "lineage": self.name.as_str(),
            "policy": self.known.as_ref().map(|known| json!({
                "quarantine": known.policy.quarantine,
                "threshold": known.policy.threshold,
                "in_service_max": known.policy.in_service_max,
            })),
            "constraints": self.known.as_ref().map(|known| json!({
                "actions": known.constraints.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "resources": known.constraints.resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "max_staleness_ms": known.constraints.max_staleness_ms,
            })),
            "generations": generations,
            "proof": output::verdict_json(&ledger.trust(), &self.checked.verified).get("proof"),
        });
        Report::done(page, json)
    }

    /// What was declared of one, against another.
    pub(super) fn difference(&self, from: u64, to: u64) -> Result<Report> {
        let (before, after) = (self.numbered(from)?, self.numbered(to)?);
        let mut page = Page::new(format!("{}  generation {from} to {to}", style::name(self.name.as_str())));
        let mut changed = Vec::new();
        let pairs = before.generation.digests.named().into_iter().zip(after.generation.digests.named());
        for ((what, before), (_, after)) in pairs {
            if before != after {
                page = page.field(what, format!("{} to {}", output::short(&before), output::short(&after)));
                changed.push(json!({
                    "what": what, "from": before.to_string(), "to": after.to_string(),
                }));
            }
        }
        if changed.is_empty() {
            page = page.text("nothing that was declared differs");
        }
        let json = json!({
            "outcome": "done",
            "lineage": self.name.as_str(),
            "from": self.generation_json(from, before),
            "to": self.generation_json(to, after),
            "changed": changed,
        });
        Ok(Report::done(page, json))
    }

    fn numbered(&self, number: u64) -> Result<&Listed> {
        let place = number.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let unknown = || {
            let words = format!("{} has {} generations", self.name, self.generations.len());
            Failure::new(Exit::Refused, words).code("unknown_generation")
        };
        place.and_then(|place| self.generations.get(place)).ok_or_else(unknown)
    }

    fn in_service(&self, number: u64) -> bool {
        let mut in_service = self.known.iter().flat_map(|known| &known.in_service);
        in_service.any(|generation| generation.number == number)
    }

    fn generation_json(&self, number: u64, listed: &Listed) -> Value {
        let digests = listed.generation.digests.named();
        json!({
            "number": number,
            "id": listed.id.to_string(),
            "parent": listed.generation.parent.map(|parent| parent.to_string()),
            "digests": digests.into_iter().map(|(what, hash)| (what.to_owned(), json!(hash.to_string())))
                .collect::<serde_json::Map<_, _>>(),
            "in_service": self.in_service(number),
            "index": listed.index,
            "time_ms": listed.time_ms,
        })
    }
}

/// The generation of `lineage` that the leaf registers, if it does.
fn listed(entry: &Entry, ledger: &Ledger, lineage: &Name, index: u64) -> Option<Listed> {
    let Entry::Command { time_ms, signed, .. } = entry else { return None };
    match &signed.command().body {
        Body::RegisterGeneration(generation) if generation.lineage == *lineage => Some(Listed {
            generation: (**generation).clone(),
            id: generation.id(ledger.trust().ledger),
            index,
            time_ms: *time_ms,
        }),
        _ => None,
    }
}
