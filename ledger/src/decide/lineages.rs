//! What an agent's lineage says: whether the version that it runs as may act, and what no version may do.

use super::{Denial, Request};
use crate::authority::{
    AgentRecord, Cause, GenerationRecord, GenerationRef, LineageRecord, Place, View, ViewError, record,
    referred,
};
use crate::command::Name;

/// The generation that the request names, if it is in service; or why it may not act. `None`: the lineage has no
/// generations, and the request names none.
pub(super) fn standing<V: View>(
    view: &V,
    request: &Request,
    lineage: &Name,
    known: Option<&LineageRecord>,
) -> Result<Result<Option<GenerationRef>, Denial>, ViewError<V::Error>> {
    let unregistered = Denial::UnregisteredGeneration { lineage: lineage.clone() };
    let (Some(id), Some(known)) = (request.generation, known) else {
        let is_needed = known.is_some_and(|known| known.count > 0) || request.generation.is_some();
        return Ok(if is_needed { Err(unregistered) } else { Ok(None) });
    };
    if let Some(in_service) = known.in_service.iter().find(|generation| generation.id == id) {
        return Ok(Ok(Some(*in_service)));
    }
    let registered: Option<GenerationRecord> = record(view, &Place::generation(lineage, id))?;
    let Some(GenerationRecord { number, registered, released, .. }) = registered else {
        return Ok(Err(unregistered));
    };
    let lineage = lineage.clone();
    Ok(Err(match released {
        Some(_) => Denial::SupersededGeneration { lineage, number, cause: said(known.moved)? },
        None => Denial::QuarantinedGeneration { lineage, number, cause: registered },
    }))
}

/// Why no generation of the lineage may do what is asked, if none may.
pub(super) fn constrained<V: View>(
    request: &Request,
    lineage: &Name,
    known: Option<&LineageRecord>,
) -> Result<Option<Denial>, ViewError<V::Error>> {
    let Some(known) = known else { return Ok(None) };
    let Some(outside) = known.constraints.forbids(&request.action, &request.resource) else {
        return Ok(None);
    };
    let (lineage, cause) = (lineage.clone(), said(known.set)?);
    Ok(Some(Denial::LineageConstraint { lineage, outside, cause }))
}

/// The lineage of an agent that is registered, and what was said of it.
pub(super) fn lineage_of<V: View>(
    view: &V,
    agent: &Name,
) -> Result<(Name, Option<LineageRecord>), ViewError<V::Error>> {
    let AgentRecord { lineage, .. } = referred(view, &Place::agent(agent))?;
    let known = record(view, &Place::lineage(&lineage))?;
    Ok((lineage, known))
}

/// The stricter of `max_staleness_ms` and the lineage's.
pub(super) fn staleness_ms(max_staleness_ms: u64, known: Option<&LineageRecord>) -> u64 {
    match known.map_or(0, |known| known.constraints.max_staleness_ms) {
        0 => max_staleness_ms,
        limit => max_staleness_ms.min(limit),
    }
}

fn said<E>(cause: Option<Cause>) -> Result<Cause, ViewError<E>> {
    cause.ok_or(ViewError::Dangling("lineage"))
}
