//! `chancery audit`: everything that a log publishes, verified by somebody who has a trust file and nothing else.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chancery_audit::engine::{Engine, Options};
use chancery_audit::{AuditError, Audited, Finding, Progress as Audit, Published, audit, source};
use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::evidence::Equivocation;
use chancery_ledger::trust::Trust;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::output::{self, Format, Page, Progress, Report, Table, style};
use crate::{files, verify};

/// Audits a published log: every hash, every signature, every right, every state, and who signed the checkpoint.
#[derive(Debug, Args)]
pub(crate) struct AuditCommand {
    /// Where the log is published: the URL of a node or of any web server, or a folder. The first is audited, and the
    /// checkpoints of the others are compared with its and with each other.
    #[arg(required = true, value_name = "URL|DIR")]
    sources: Vec<String>,
    /// Whom to believe: the one thing that must come from somewhere safe.
    #[arg(long)]
    trust: PathBuf,
    /// The checkpoint of an earlier audit, which the log must extend.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Writes the verified checkpoint here.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Writes what convicts a node here; by default into the state folder.
    #[arg(long, value_name = "FILE")]
    equivocation: Option<PathBuf>,
    /// Keeps what an audit goes on from here; by default below ~/.cache/chancery/audits.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Begins with the first leaf, whatever was audited before.
    #[arg(long)]
    fresh: bool,
}

impl AuditCommand {
    /// Runs `chancery audit`.
    pub(crate) fn run(&self, format: Format) -> Result<Report> {
        let trust = verify::load_trust(&self.trust)?;
        let sources = self.sources.iter().map(|text| source::open(text).map(Published::new));
        let sources = sources
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Failure::usage(error.to_string()))?;
        let folder = StateFolder::open(self.state.as_deref(), &trust, self.fresh)?;
        let since = match &self.since {
            Some(path) => Some(read_checkpoint(path)?),
            None => None,
        };
        let mut engine = Engine::open(&folder.engine(), trust.ledger, Options::default())
            .map_err(|error| Failure::local(error.to_string()))?;
        let bar = RefCell::new(Bar::new(format));
        let began = Instant::now();
        let audited = audit(&sources, &trust, since.as_ref(), &mut engine, &|now| {
            bar.borrow_mut().tell(now);
        });
        drop(bar);
        let audited = audited.map_err(failure)?;
        drop(engine);
        if !audited.state_holds {
            folder.forget()?;
        }
        self.report(&trust, &folder, &audited, began.elapsed())
    }

    fn report(
        &self,
        trust: &Trust,
        folder: &StateFolder,
        audited: &Audited,
        took: Duration,
    ) -> Result<Report> {
        let mut convictions = Vec::new();
        for (position, equivocation) in audited.equivocations.iter().enumerate() {
            let path = self.equivocation_path(folder, position);
            files::replace(&path, equivocation.to_json().as_bytes())?;
            convictions.push((path, equivocation));
        }
        let mut saved = None;
        if let (true, Some(path), Some(signed)) =
            (audited.findings.is_empty(), &self.save, &audited.checkpoint)
        {
            files::replace(path, signed.encode().as_bytes())?;
            saved = Some(path.as_path());
        }
        let exit = if audited.findings.is_empty() { Exit::Done } else { Exit::Invalid };
        let page = self.page(trust, audited, &convictions, saved, took);
        let json = self.json(trust, audited, &convictions, saved, took);
        Ok(Report { exit, page, json })
    }

    fn equivocation_path(&self, folder: &StateFolder, position: usize) -> PathBuf {
        let path = self.equivocation.clone().unwrap_or_else(|| folder.path.join("equivocation.json"));
        if position == 0 {
            return path;
        }
        let mut name = path.into_os_string();
        name.push(format!(".{}", position.saturating_add(1)));
        name.into()
    }

    fn page(
        &self,
        trust: &Trust,
        audited: &Audited,
        convictions: &[(PathBuf, &Equivocation)],
        saved: Option<&Path>,
        took: Duration,
    ) -> Page {
        let name = style::name(&self.sources.join(" "));
        let mut page = match audited.findings.len() {
            0 => Page::new(format!("{} {name}", style::good("verified"))),
            1 => Page::new(format!("{} {name}", style::bad("1 finding"))),
            count => Page::new(format!("{} {name}", style::bad(&format!("{count} findings")))),
        };
        if let Some(signed) = &audited.checkpoint {
            let checkpoint = signed.checkpoint();
            let cosigners: Vec<_> = audited.cosigners.iter().map(|name| style::name(name)).collect();
            let cosigners =
                if cosigners.is_empty() { "nobody known".to_owned() } else { cosigners.join(", ") };
            page = page
                .field("log", format!("{}, ledger {}", trust.origin, trust.ledger))
                .field("checkpoint", format!("{} leaves, root {}", checkpoint.size(), checkpoint.root()))
                .field("cosigned by", cosigners);
        }
        if let Some(head) = &audited.head {
            let applied = head.log_size.saturating_sub(audited.from);
            let earlier = match audited.from {
                0 => String::new(),
                from => format!(", after {from} that were audited before"),
            };
            let last = format!("block {}, {}", head.block, output::utc(head.time_ms));
            page = page
                .field("applied again", format!("{applied} leaves{earlier}, in {}", output::seconds(took)))
                .field("up to", last);
        }
        if !audited.findings.is_empty() {
            let mut table = Table::new(&["what", "where", "expected", "found"]);
            for finding in &audited.findings {
                let Finding { code, expected, found, .. } = finding;
                table.row([code.name().to_owned(), place(finding), expected.clone(), found.clone()]);
            }
            page = page.table(table);
        }
        for (path, equivocation) in convictions {
            page = page
                .field("convicted", style::bad(&guilty(trust, equivocation).join(", ")))
                .field("", format!("by their own cosignatures, in {}", path.display()));
        }
        match saved {
            Some(path) => page.field("saved", format!("{}, for --since", path.display())),
            None => page,
        }
    }

    fn json(
        &self,
        trust: &Trust,
        audited: &Audited,
        convictions: &[(PathBuf, &Equivocation)],
        saved: Option<&Path>,
        took: Duration,
    ) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "code": finding.code.name(),
                "index": finding.index,
                "place": finding.place,
                "expected": finding.expected,
                "found": finding.found,
            })
        };
        let conviction = |(path, equivocation): &(PathBuf, &Equivocation)| json!({ "file": path, "nodes": guilty(trust, equivocation) });
        let checkpoint = audited.checkpoint.as_ref().map(SignedCheckpoint::checkpoint);
        json!({
            "outcome": if audited.findings.is_empty() { "verified" } else { Exit::Invalid.name() },
            "sources": self.sources,
            "origin": trust.origin,
            "ledger": trust.ledger.to_string(),
            "size": checkpoint.map(|checkpoint| checkpoint.size()),
            "root": checkpoint.map(|checkpoint| checkpoint.root().to_string()),
            "cosigners": audited.cosigners,
            "from": audited.from,
            "head": audited.head.as_ref().map(output::head_json),
            "elapsed_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "findings": audited.findings.iter().map(finding).collect::<Vec<_>>(),
            "equivocations": convictions.iter().map(conviction).collect::<Vec<_>>(),
            "saved": saved,
        })
    }
}

fn place(finding: &Finding) -> String {
    match finding.index {
        Some(index) => format!("leaf {index}, {}", finding.place),
        None => finding.place.clone(),
    }
}

/// The names of those whom an equivocation convicts.
fn guilty(trust: &Trust, equivocation: &Equivocation) -> Vec<String> {
    let nodes = equivocation.verify(trust).unwrap_or_default();
    nodes.into_iter().map(|node| node.voter.name.to_string()).collect()
}

fn read_checkpoint(path: &Path) -> Result<SignedCheckpoint> {
    let text = files::read(path)?;
    SignedCheckpoint::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Nothing is known of the log.
fn failure(error: AuditError) -> Failure {
    let failure = Failure::local(error.to_string());
    match error {
        AuditError::Sources(_) => Failure::usage(error.to_string()),
        AuditError::Behind { .. } => {
            failure.code("behind").hint("--fresh audits what is there from the first leaf on")
        }
        AuditError::Source(_) => failure.code("unread").hint("the next audit goes on from here"),
        AuditError::Disk(_) | AuditError::Engine(_) => failure,
    }
}

/// Where an audit is kept, to go on from.
struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    fn open(named: Option<&Path>, trust: &Trust, fresh: bool) -> Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => caches()?.join("chancery").join("audits").join(trust.ledger.to_string()),
        };
        files::make_folder(&path)?;
        let folder = Self { path };
        if fresh {
            folder.forget()?;
        }
        Ok(folder)
    }

    /// Nothing goes on from here.
    fn forget(&self) -> Result<()> {
        let engine = self.engine();
        match std::fs::remove_dir_all(&engine) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::file(&engine, &error)),
            _ => Ok(()),
        }
    }

    /// The engine's own folder, and nobody else's.
    fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }
}

/// The user's caches.
fn caches() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache"))).ok_or_else(|| {
        Failure::usage("neither XDG_CACHE_HOME nor HOME is an absolute path: name a --state folder")
    })
}

/// How far it is, told a few times in a second.
struct Bar {
    progress: Progress,
    began: Instant,
    told: Option<Instant>,
}

/// Between two lines.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Cells of the bar.
const CELLS: u64 = 24;

impl Bar {
    fn new(format: Format) -> Self {
        Self { progress: Progress::new(format), began: Instant::now(), told: None }
    }

    fn tell(&mut self, now: Audit) {
        let is_last = now.compared >= now.size;
        if !is_last && self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        self.progress.tell("audit", &line(now, self.began.elapsed()));
    }
}

/// One line: a bar, how many leaves, how fast, and for how long yet.
fn line(now: Audit, took: Duration) -> String {
    let Audit { from, compared, size } = now;
    let done = compared.saturating_sub(from);
    let filled = compared.saturating_mul(CELLS).checked_div(size).unwrap_or(CELLS).min(CELLS);
    let cells = |count: u64, cell: &str| cell.repeat(usize::try_from(count).unwrap_or(0));
    let bar = format!("{}{}", cells(filled, "█"), cells(CELLS.saturating_sub(filled), "░"));
    let percent = compared.saturating_mul(100).checked_div(size).unwrap_or(100);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let each_second = done.saturating_mul(1_000).checked_div(took_ms).unwrap_or(0);
    let text = format!("{bar} {percent:>3} %  {compared} of {size} leaves, {each_second}/s");
    match size.saturating_sub(compared).saturating_mul(took_ms).checked_div(done) {
        Some(left_ms) if left_ms > 0 => {
            format!("{text}, {} left", output::seconds(Duration::from_millis(left_ms)))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_for_how_long_yet() {
        let at = |from, compared, size| line(Audit { from, compared, size }, Duration::from_secs(10));
        assert_eq!(
            at(0, 250_000, 1_000_000),
            format!(
                "{}{}  25 %  250000 of 1000000 leaves, 25000/s, {} left",
                "█".repeat(6),
                "░".repeat(18),
                "30.0 s"
            )
        );
        // What was audited before is no speed of this time.
        assert!(at(900, 950, 1_000).ends_with(&format!("5/s, {} left", "10.0 s")));
        assert!(at(0, 1_000, 1_000).ends_with("100 %  1000 of 1000 leaves, 100/s"));
        assert!(at(0, 0, 0).ends_with("100 %  0 of 0 leaves, 0/s"));
        assert!(at(0, u64::MAX, u64::MAX).contains(" leaves, "));
    }
}
