//! Whether two checkpoints are of one log; and if not, what proves it.

use std::sync::Arc;

use chancery_ledger::checkpoint::{Checkpoint, SignedCheckpoint};
use chancery_ledger::evidence::{Equivocation, Fork};
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{ProveError, TileIndex, TileRead, prove_consistency, root_at, verify_consistency};
use chancery_ledger::trust::Trust;

use crate::claim::Claim;
use crate::finding::{Code, Finding};
use crate::published::{Fault, Published};

/// The tiles of a log of some size, for whoever wants to know something of an earlier one: partial tiles are there only
/// as wide as they are now.
struct AtSize<'a> {
    published: &'a Published,
    size: u64,
}

impl TileRead for AtSize<'_> {
    type Error = Fault;

    fn tile_hashes(&self, tile: TileIndex, _: u16) -> Result<Arc<[Hash]>, Fault> {
        self.published.tile_hashes(tile, tile.width_at(self.size))
    }
}

/// The root that the claimed log had at `size`, by proof, if that is not `root`.
pub(crate) fn other_root(
    published: &Published,
    claim: &Claim,
    size: u64,
    root: Hash,
) -> Result<Option<Hash>, Fault> {
    Ok(match relate(size, root, published, claim.signed.checkpoint())? {
        Relation::One => None,
        Relation::Two { larger, .. } => Some(larger),
    })
}

/// What two checkpoints have to do with each other.
enum Relation {
    /// The larger extends the smaller.
    One,
    /// No log has both: the smaller's root, and that of the larger at this size.
    Two { size: u64, smaller: Hash, larger: Hash, fork: Option<Fork> },
}

/// Compares an earlier audit's checkpoint with what is published now.
pub(crate) fn since(
    published: &Published,
    claim: &Claim,
    earlier: &SignedCheckpoint,
) -> Result<(Vec<Finding>, Option<Equivocation>), Fault> {
    let (now, then) = (claim.signed.checkpoint(), earlier.checkpoint());
    if now.size() < then.size() {
        let (expected, found) = (format!("{} leaves or more", then.size()), format!("{} leaves", now.size()));
        return Ok((vec![Finding::new(Code::RolledBack, "checkpoint", expected, found)], None));
    }
    let Relation::Two { size, smaller, larger, fork } = relate(then.size(), then.root(), published, now)?
    else {
        return Ok((Vec::new(), None));
    };
    let root = |root| format!("root {root} at size {size}");
    let finding = Finding::new(Code::Rewritten, "checkpoint", root(smaller), root(larger));
    Ok((vec![finding], convicted(&claim.trust, earlier, &claim.signed, fork)))
}

/// Compares what two sources publish.
pub(crate) fn views(
    (a, a_claim): (&Published, &Claim),
    (b, b_claim): (&Published, &Claim),
) -> Result<(Vec<Finding>, Option<Equivocation>), Fault> {
    let ((small, small_claim), (large, large_claim)) = if a_claim.size() <= b_claim.size() {
        ((a, a_claim), (b, b_claim))
    } else {
        ((b, b_claim), (a, a_claim))
    };
    let small_checkpoint = small_claim.signed.checkpoint();
    let (size, root) = (small_checkpoint.size(), small_checkpoint.root());
    let relation = relate(size, root, large, large_claim.signed.checkpoint())?;
    let Relation::Two { size, smaller, larger, fork } = relation else { return Ok((Vec::new(), None)) };
    let (expected, found) = (
        format!("root {smaller} at size {size}, as {} shows it", small.name()),
        format!("root {larger}, as {} shows it", large.name()),
    );
    let finding = Finding::new(Code::SplitView, "checkpoint", expected, found);
    // Of two histories of voters one is followed: who is in the other alone signed nothing of this one.
    let trust = large_claim.trust.join(&small_claim.trust).unwrap_or_else(|_| large_claim.trust.clone());
    Ok((vec![finding], convicted(&trust, &small_claim.signed, &large_claim.signed, fork)))
}

fn convicted(
    trust: &Trust,
    a: &SignedCheckpoint,
    b: &SignedCheckpoint,
    fork: Option<Fork>,
) -> Option<Equivocation> {
    // Notes that were read can be written.
    Equivocation::find(trust, a, b, fork).ok().flatten()
}

fn relate(old: u64, smaller: Hash, published: &Published, larger: &Checkpoint) -> Result<Relation, Fault> {
    let new = larger.size();
    if old == new {
        let two = Relation::Two { size: old, smaller, larger: larger.root(), fork: None };
        return Ok(if smaller == larger.root() { Relation::One } else { two });
    }
    let tiles = AtSize { published, size: new };
    let root = root_at(&tiles, old).map_err(unproven)?;
    let proof = prove_consistency(&tiles, old, new).map_err(unproven)?;
    verify_consistency(old, &root, new, &larger.root(), &proof).map_err(|error| {
        Finding::new(Code::Root, "checkpoint", format!("tiles that lead to root {}", larger.root()), error)
    })?;
    if root == smaller {
        return Ok(Relation::One);
    }
    Ok(Relation::Two { size: old, smaller, larger: root, fork: Some(Fork { root, proof }) })
}

fn unproven(error: ProveError<Fault>) -> Fault {
    match error {
        ProveError::Read(fault) => fault,
        other => Finding::new(Code::Malformed, "tile", "the tiles of the log", other).into(),
    }
}
