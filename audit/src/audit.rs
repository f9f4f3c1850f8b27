//! One audit, from the checkpoint to the last leaf.

use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::evidence::Equivocation;
use chancery_ledger::head::Head;
use chancery_ledger::log::Frontier;
use chancery_ledger::trust::Trust;

use crate::claim::Claim;
use crate::compare;
use crate::engine::{self, DiskError, Engine};
use crate::finding::{Code, Finding};
use crate::leaves::{FINDINGS_MAX, Leaves, Rosters, edge_root, read_edge};
use crate::published::{Fault, Published};
use crate::source::SourceError;

/// Most sources of one audit: each is compared with each.
pub const SOURCES_MAX: usize = 16;

/// What was audited, and what was found.
pub struct Audited {
    /// The checkpoint, if the source has one of this log.
    pub checkpoint: Option<SignedCheckpoint>,
    /// Who cosigned it, of the voters.
    pub cosigners: Vec<String>,
    /// The leaf that the audit began at: those before were audited earlier.
    pub from: u64,
    /// The head after the last block that was applied.
    pub head: Option<Head>,
    /// Whether the engine's state is that of a log that a quorum committed to. If not, nothing may go on from it.
    pub state_holds: bool,
    /// None, if all is as it must be.
    pub findings: Vec<Finding>,
    /// Who is convicted by what was found.
    pub equivocations: Vec<Equivocation>,
}

/// Why an audit has no result.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Something published cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The state cannot be kept.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A thread of the engine's ended, or had nothing to read where there was something.
    #[error("the engine ended early: {0}")]
    Engine(String),
    /// The source shows less than was audited before, maybe at another source that is further: nothing can be said of
    /// it. What must not be, is a finding against the checkpoint of an earlier audit.
    #[error("{size} leaves are published, and {audited} were audited before")]
    Behind {
        /// Leaves that the checkpoint covers.
        size: u64,
        /// Leaves that were audited.
        audited: u64,
    },
    /// More than [`SOURCES_MAX`], or none.
    #[error("{0} sources: one audit has 1 to {SOURCES_MAX}")]
    Sources(usize),
}

/// How far an audit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The leaf that it began at.
    pub from: u64,
    /// Leaves that were read and compared.
    pub compared: u64,
    /// All of them.
    pub size: u64,
}

/// Audits the log that the first of `sources` publishes, from where `engine` is, and compares what the others show of
/// it; and `since`, the checkpoint of an earlier audit.
///
/// # Errors
/// Something cannot be read, or the state cannot be kept: that is no finding.
pub fn audit(
    sources: &[Published],
    trust: &Trust,
    since: Option<&SignedCheckpoint>,
    engine: &mut Engine,
    progress: &dyn Fn(Progress),
) -> Result<Audited, AuditError> {
    let Some((first, others)) = sources.split_first().filter(|_| sources.len() <= SOURCES_MAX) else {
        return Err(AuditError::Sources(sources.len()));
    };
    let mut audited = Audited {
        checkpoint: None,
        cosigners: Vec::new(),
        from: engine.size(),
        head: None,
        state_holds: true,
        findings: Vec::new(),
        equivocations: Vec::new(),
    };
    let Some(claim) = found(&mut audited, Claim::read(first, trust))? else { return Ok(audited) };
    audited.findings.extend(claim.findings.iter().cloned());
    audited.cosigners = claim.cosigners();
    audited.checkpoint = Some(claim.signed.clone());
    if let Some(earlier) = since {
        let compared = found(&mut audited, compare::since(first, &claim, earlier))?;
        audited.take(compared);
    }
    compare_all(&mut audited, (first, &claim), others, trust)?;
    read_all(&mut audited, first, &claim, engine, progress)?;
    audited.head = engine.head().copied();
    Ok(audited)
}

impl Audited {
    fn take(&mut self, compared: Option<(Vec<Finding>, Option<Equivocation>)>) {
        let (findings, equivocation) = compared.unwrap_or_default();
        self.findings.extend(findings);
        self.equivocations.extend(equivocation);
    }
}

/// What was read; nothing if there is a finding in its place.
fn found<T>(audited: &mut Audited, read: Result<T, Fault>) -> Result<Option<T>, SourceError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Fault::Wrong(finding)) => {
            audited.findings.push(*finding);
            Ok(None)
        }
        Err(Fault::Source(error)) => Err(error),
    }
}

/// Compares what the others show with the first, and with each other.
fn compare_all(
    audited: &mut Audited,
    first: (&Published, &Claim),
    others: &[Published],
    trust: &Trust,
) -> Result<(), SourceError> {
    let mut claims: Vec<(&Published, Claim)> = Vec::new();
    for published in others {
        let name = published.name();
        let before = audited.findings.len();
        if let Some(claim) = found(audited, Claim::read(published, trust))? {
            audited.findings.extend(claim.findings.iter().cloned());
            let (own, _) = first;
            let known = std::iter::once((own, first.1)).chain(claims.iter().map(|(p, claim)| (*p, claim)));
            let compared: Vec<_> = known.map(|known| compare::views(known, (published, &claim))).collect();
            // Whose claim does not hold by itself is told apart by its name; who differs is named already.
            name_place(audited, before, &name);
            for compared in compared {
                let compared = found(audited, compared)?;
                audited.take(compared);
            }
            claims.push((published, claim));
        } else {
            name_place(audited, before, &name);
        }
    }
    Ok(())
}

fn name_place(audited: &mut Audited, from: usize, name: &str) {
    for finding in audited.findings.iter_mut().skip(from) {
        finding.place = format!("{name}/{}", finding.place);
    }
}

/// Reads, compares and applies everything after what `engine` has.
fn read_all(
    audited: &mut Audited,
    published: &Published,
    claim: &Claim,
    engine: &mut Engine,
    progress: &dyn Fn(Progress),
) -> Result<(), AuditError> {
    let (size, root) = (claim.size(), claim.signed.checkpoint().root());
    let applied = engine.frontier();
    if applied.size() > size {
        let silent = audited.findings.is_empty();
        return if silent { Err(AuditError::Behind { size, audited: applied.size() }) } else { Ok(()) };
    }
    let Some(edge) = found(audited, read_edge(published, size))? else { return Ok(()) };
    let is_rooted = match edge_root(&edge, size) {
        Ok(found) if found == root => true,
        Ok(found) => {
            audited.findings.push(Finding::new(Code::Root, "checkpoint", root, found));
            false
        }
        Err(finding) => {
            audited.findings.push(finding);
            false
        }
    };
    // Tiles of another root prove nothing of an earlier one.
    let continues = if is_rooted {
        check_links(audited, published, claim)?;
        continues(audited, published, claim, &applied)?
    } else {
        applied.size() == 0
    };
    let rosters = Rosters::after(applied.size(), claim.trust.genesis.id(0), claim.links());
    let mut leaves = Leaves::start(published, applied.size(), size, &edge, rosters)?;
    let told = |compared| progress(Progress { from: applied.size(), compared, size });
    let replayed = if continues { engine.run(&mut leaves, size, &told) } else { Ok(()) };
    // The engine stops at the end, or at something wrong: what comes after that is compared all the same.
    while leaves.compare_next() {}
    let compared = leaves.into_findings()?;
    let is_committed = is_rooted && compared.iter().all(|finding| finding.code != Code::Tile);
    audited.state_holds = !continues || (is_committed && claim.findings.is_empty());
    match replayed {
        Ok(()) if continues && compared.is_empty() && is_rooted => {
            // Nothing else can be: each leaf is in its tile, and each tile below the root.
            let found = engine.frontier().root();
            if found != root {
                audited.findings.push(Finding::new(Code::Root, "checkpoint", root, found));
            }
        }
        Ok(()) => audited.findings.extend(compared),
        Err(engine::AuditError::Finding(finding)) => {
            audited.findings.extend(compared);
            audited.findings.push(finding);
        }
        Err(engine::AuditError::Disk(error)) => return Err(error.into()),
        // It was told no further leaf, because of what was found.
        Err(_) if !compared.is_empty() => audited.findings.extend(compared),
        Err(error) => return Err(AuditError::Engine(error.to_string())),
    }
    audited.findings.truncate(FINDINGS_MAX);
    Ok(())
}

/// Whether the claimed log extends what was applied before.
fn continues(
    audited: &mut Audited,
    published: &Published,
    claim: &Claim,
    applied: &Frontier,
) -> Result<bool, SourceError> {
    let (size, root) = (applied.size(), applied.root());
    let Some(other) = found(audited, compare::other_root(published, claim, size, root))? else {
        return Ok(false);
    };
    if let Some(other) = other {
        let told = |root| format!("root {root} at size {size}");
        audited.findings.push(Finding::new(Code::Rewritten, "checkpoint", told(root), told(other)));
    }
    Ok(other.is_none())
}

/// The heads of roster blocks, which their voters signed, are of this log.
fn check_links(audited: &mut Audited, published: &Published, claim: &Claim) -> Result<(), SourceError> {
    for link in claim.links() {
        let (size, expected) = (link.head.log_size, link.head.log_root);
        if let Some(Some(root)) = found(audited, compare::other_root(published, claim, size, expected))? {
            let told = |root| format!("root {root} at size {size}");
            let finding = Finding::new(Code::RosterHistory, "rosters", told(expected), told(root));
            audited.findings.push(finding);
        }
    }
    Ok(())
}
