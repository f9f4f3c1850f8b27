//! The generations of a lineage, and what each did: from the whole log, which is proven to be all of it.

use std::collections::{BTreeMap, BTreeSet};

use chancery_client::Ledger;
use chancery_ledger::authority::{Entry, LineageRecord, agent_record, lineage_record};
use chancery_ledger::command::{Body, DecisionId, Generation, GenerationId, LedgerId, Name};
use chancery_ledger::decide::Denial;
use chancery_ledger::state::PrunedView;
use serde_json::{Value, json};

use super::behaviour::{self, Behaviour};
use crate::check::ask;
use crate::exit::{Exit, Failure, Result};
use crate::ledger;
use crate::output::{self, Page, Report, Table, style, utc};

/// A lineage, as one state has it.
pub(super) struct Lineage {
    known: Known,
    leaves: Leaves,
    checked: chancery_client::Checked,
}

/// What the state says of the lineage.
enum Known {
    /// All of it; none if nothing was ever said.
    Shown(Option<LineageRecord>),
    /// Nothing, as the agent is denied for this before its lineage is looked at.
    NotShown(Denial),
}

/// What the log says of the lineage, so far.
struct Leaves {
    ledger: LedgerId,
    lineage: Name,
    /// In the order of their numbers.
    generations: Vec<Listed>,
    /// Every agent of the lineage.
    agents: BTreeSet<Name>,
    /// Numbers of the generations whose behaviour is wanted.
    observed: Vec<u64>,
    behaviours: BTreeMap<GenerationId, Behaviour>,
}

struct Listed {
    generation: Generation,
    id: GenerationId,
    index: u64,
    time_ms: u64,
}

impl Lineage {
    /// The lineage of an agent, every generation of it, and what those with the numbers in `observed` did. Reads the
    /// whole log.
    pub(super) async fn read(ledger: &Ledger, agent: &Name, observed: &[u64]) -> Result<Self> {
        // A denial for naming no generation shows the lineage, and so does everything but a halt.
        let nobody = Name::new("chancery/generations/nobody-grants-this")
            .map_err(|error| Failure::usage(error.to_string()))?;
        let checked = ask(ledger, [agent, &nobody, &nobody], b"").await?.checked;
        let view = PrunedView::new(&checked.answer.tree);
        let untrue = |_| Failure::new(Exit::Invalid, format!("the proof does not show {agent}"));
        let Some(registered) = agent_record(&view, agent).map_err(untrue)? else {
            let unknown = format!("{agent} was never registered");
            return Err(Failure::new(Exit::Refused, unknown).code("unknown_agent"));
        };
        let known = match (lineage_record(&view, &registered.lineage), checked.verified.decision.denial()) {
            (Ok(known), _) => Known::Shown(known),
            (Err(_), Some(denial @ (Denial::Halted { .. } | Denial::Retired { .. }))) => {
                Known::NotShown(denial.clone())
            }
            (Err(error), _) => return Err(untrue(error)),
        };
        let mut leaves = Leaves {
            ledger: ledger.trust().ledger,
            lineage: registered.lineage,
            generations: Vec::new(),
            agents: BTreeSet::new(),
            observed: observed.to_vec(),
            behaviours: BTreeMap::new(),
        };
        let read = ledger.read_whole_log(&checked.verified.head, |index, entry| leaves.add(index, &entry));
        read.await.map_err(|error| ledger::whole_log_failure(&error))?;
        let count = leaves.generations.len() as u64;
        match &known {
            Known::Shown(known) if known.as_ref().map_or(0, |known| known.count) != count => {
                Err(Failure::new(Exit::Invalid, "the log has other generations than the state counts"))
            }
            Known::Shown(_) | Known::NotShown(_) => Ok(Self { known, leaves, checked }),
        }
    }

    pub(super) fn report(&self, ledger: &Ledger) -> Report {
        let Leaves { lineage, generations, .. } = &self.leaves;
        let count = generations.len();
        let mut page = Page::new(format!("{}  {count} generations", style::name(lineage.as_str())));
        if count > 0 {
            let mut table = Table::new(&[">number", "generation", "registered", "state"]);
            for (number, listed) in (1..).zip(generations) {
                let in_service = self.in_service(number) == Some(true);
                let state = if in_service { style::good("in service") } else { String::new() };
                table.row([
                    number.to_string(),
                    style::name(&listed.id.to_string()),
                    utc(listed.time_ms),
                    state,
                ]);
            }
            page = page.table(table);
        }
        if let Known::NotShown(denial) = &self.known {
            page = page.field("in service", format!("not shown: {}", output::denial(denial)));
        }
        if let Some(known) = self.known() {
            let policy = known.policy;
            let quarantine = if policy.quarantine { "until released" } else { "not at all" };
            page = page
                .field("quarantine", quarantine)
                .field("threshold", policy.threshold.to_string())
                .field("in service", format!("at most {}", policy.in_service_max));
        }
        let page = output::proof(page, &ledger.trust(), &self.checked.verified);
        let generations: Vec<_> =
            (1..).zip(generations).map(|(number, listed)| self.generation_json(number, listed)).collect();
        let json = json!({
            "outcome": "done",
            "lineage": lineage.as_str(),
            "policy": self.known().map(|known| json!({
                "quarantine": known.policy.quarantine,
                "threshold": known.policy.threshold,
                "in_service_max": known.policy.in_service_max,
            })),
            "constraints": self.known().map(|known| json!({
                "actions": known.constraints.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "resources": known.constraints.resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "max_staleness_ms": known.constraints.max_staleness_ms,
            })),
            "generations": generations,
            "proof": output::verdict_json(&ledger.trust(), &self.checked.verified).get("proof"),
        });
        Report::done(page, json)
    }

    /// What was declared of one, and what it did, against another.
    pub(super) fn difference(&self, from: u64, to: u64) -> Result<Report> {
        let Leaves { lineage, behaviours, .. } = &self.leaves;
        let (before, after) = (self.numbered(from)?, self.numbered(to)?);
        let mut page = Page::new(format!("{}  generation {from} to {to}", style::name(lineage.as_str())));
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
        let nothing = Behaviour::default();
        let did = |listed: &Listed| behaviours.get(&listed.id).unwrap_or(&nothing);
        page = match behaviour::table([from, to], did(before), did(after)) {
            Some(table) => page.table(table),
            None => page.text("neither has recorded decisions"),
        };
        let json = json!({
            "outcome": "done",
            "lineage": lineage.as_str(),
            "from": self.generation_json(from, before),
            "to": self.generation_json(to, after),
            "changed": changed,
            "behaviour": behaviour::to_json(did(before), did(after)),
        });
        Ok(Report::done(page, json))
    }

    fn numbered(&self, number: u64) -> Result<&Listed> {
        let place = number.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let unknown = || {
            let Leaves { lineage, generations, .. } = &self.leaves;
            let words = format!("{lineage} has {} generations", generations.len());
            Failure::new(Exit::Refused, words).code("unknown_generation")
        };
        place.and_then(|place| self.leaves.generations.get(place)).ok_or_else(unknown)
    }

    /// What the state says of the lineage, if it is shown and anything was said.
    fn known(&self) -> Option<&LineageRecord> {
        if let Known::Shown(known) = &self.known { known.as_ref() } else { None }
    }

    /// Whether the generation may act; none if the state does not show it.
    fn in_service(&self, number: u64) -> Option<bool> {
        let Known::Shown(known) = &self.known else { return None };
        let mut in_service = known.iter().flat_map(|known| &known.in_service);
        Some(in_service.any(|generation| generation.number == number))
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

impl Leaves {
    /// Takes note of the next leaf.
    fn add(&mut self, index: u64, entry: &Entry) {
        let Entry::Command { time_ms, signed, verdict, .. } = entry else { return };
        match &signed.command().body {
            Body::RegisterAgent { agent, lineage, .. }
                if *lineage.as_ref().unwrap_or(agent) == self.lineage =>
            {
                self.agents.insert(agent.clone());
            }
            Body::RegisterGeneration(generation) if generation.lineage == self.lineage => {
                let id = generation.id(self.ledger);
                let generation = (**generation).clone();
                self.generations.push(Listed { generation, id, index, time_ms: *time_ms });
                if self.observed.contains(&(self.generations.len() as u64)) {
                    self.behaviours.entry(id).or_default();
                }
            }
            Body::Authorize(asked) if self.agents.contains(&asked.agent) => {
                let behaviour = asked.generation.and_then(|id| self.behaviours.get_mut(&id));
                if let (Some(behaviour), Some(verdict)) = (behaviour, verdict) {
                    let id = DecisionId::of(self.ledger, signed.command_bytes());
                    behaviour.decided(id, *time_ms, &asked.action, verdict);
                }
            }
            Body::Outcome(outcome) => {
                for behaviour in self.behaviours.values_mut() {
                    behaviour.ended(outcome);
                }
            }
            _ => {}
        }
    }
}
