//! `chancery knowledge`: what an agent had in front of it, and proof of what it had not. Offline.

use std::path::{Path, PathBuf};

use chancery_ledger::command::Name;
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{
    Claim, Item, Knowledge, KnowledgeProof, KnowledgeTree, Placed, SHOWN_ITEMS_MAX, Subject,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::files;
use crate::output::{Page, Report, style, utc};
use crate::principal::parse_name;

/// What an agent had in front of it: a file with an item a line.
#[derive(Debug, Subcommand)]
pub(crate) enum KnowledgeCommand {
    /// The root that a decision binds.
    Root(Root),
    /// Show that something of a source was there, or that nothing was, without the other items.
    Prove(Prove),
    /// Verify such a proof, with nothing but the root that a decision bound.
    Verify(Verify),
}

/// The root that a decision binds.
#[derive(Debug, Args)]
pub(crate) struct Root {
    /// Items, one JSON object a line: `source`, `digest` (64 hex digits) and `retrieved_at_ms`.
    items: PathBuf,
}

/// Show that something of a source was there (the newest), or that nothing was.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// All the items, one JSON object a line.
    items: PathBuf,
    /// Of which source.
    #[arg(long, value_parser = parse_name)]
    source: Name,
    /// Where the proof goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Verify such a proof.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The proof.
    file: PathBuf,
    /// The root that the decision bound.
    #[arg(long, value_name = "HEX", value_parser = parse_root)]
    root: Hash,
}

/// What a request shows of what the agent has in front of it.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// What the agent has in front of it: items, one JSON object a line.
    #[arg(long = "knowledge-items", value_name = "FILE")]
    items: Option<PathBuf>,
    /// Show the newest item of this source; more than once for several. By default that of every source.
    #[arg(long = "show", value_name = "SOURCE", value_parser = parse_name, requires = "items")]
    show: Vec<Name>,
}

impl KnowledgeCommand {
    /// Runs `chancery knowledge`.
    pub(crate) fn run(&self) -> Result<Report> {
        match self {
            Self::Root(root) => root.run(),
            Self::Prove(prove) => prove.run(),
            Self::Verify(verify) => verify.run(),
        }
    }
}

impl Root {
    fn run(&self) -> Result<Report> {
        let tree = load(&self.items)?;
        let page = Page::new(format!("{}  {} items", tree.root(), tree.count()));
        let json = json!({ "outcome": "done", "root": tree.root().to_string(), "count": tree.count() });
        Ok(Report { exit: Exit::Done, page, json })
    }
}

impl Prove {
    fn run(&self) -> Result<Report> {
        let tree = load(&self.items)?;
        let proof = tree.prove(Subject::Source(self.source.clone()));
        // INVARIANT: what is not absent is there.
        let proof = proof.ok_or_else(|| Failure::local("the source is neither there nor absent"))?;
        files::replace(&self.file, proof.to_json().as_bytes())?;
        Ok(report(&proof, &self.file))
    }
}

impl Verify {
    fn run(&self) -> Result<Report> {
        let invalid = |why: String| Failure::new(Exit::Invalid, format!("{}: {why}", self.file.display()));
        let proof = KnowledgeProof::from_json(&files::read(&self.file)?)
            .map_err(|error| invalid(error.to_string()))?;
        if proof.root != self.root {
            return Err(invalid(format!("it is about another root, {}", proof.root)));
        }
        proof.verify().map_err(|error| invalid(error.to_string()))?;
        Ok(report(&proof, &self.file))
    }
}

impl Shown {
    /// The knowledge that a request binds.
    pub(crate) fn knowledge(&self) -> Result<Option<Knowledge>> {
        let Some(path) = &self.items else { return Ok(None) };
        let tree = load(path)?;
        let mut sources: Vec<Name> = self.show.clone();
        if sources.is_empty() {
            sources = tree.items().iter().map(|item| item.source.clone()).collect();
            sources.dedup();
            if sources.len() > SHOWN_ITEMS_MAX {
                let words = format!("of more than {SHOWN_ITEMS_MAX} sources, say with --show which matter");
                return Err(Failure::usage(words));
            }
        }
        tree.show(&sources).map(Some).map_err(|error| Failure::usage(format!("--show: {error}")))
    }
}

fn load(path: &Path) -> Result<KnowledgeTree> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let items = Item::list_from_json(&files::read(path)?).map_err(|error| wrong(error.to_string()))?;
    KnowledgeTree::new(items).map_err(|error| wrong(error.to_string()))
}

fn report(proof: &KnowledgeProof, file: &Path) -> Report {
    let among = format!("among {} items, root {}", proof.count, proof.root);
    let (words, claim, page_of): (String, Value, _) = match &proof.claim {
        Claim::Present(placed) => {
            let words = format!("{}  {}", style::good("there"), style::name(placed.item.source.as_str()));
            (words, json!({ "present": placed_json(placed) }), Some(placed))
        }
        Claim::Absent { subject, .. } => {
            let source = match subject {
                Subject::Source(source) => source.as_str(),
                Subject::Item(item) => item.source.as_str(),
            };
            let words = format!("{}  {}", style::good("not there"), style::name(source));
            (words, json!({ "absent": source }), None)
        }
    };
    let mut page = Page::new(words).field("", among);
    if let Some(placed) = page_of {
        page = page
            .field("digest", placed.item.digest.to_string())
            .field("retrieved", format!("by {}", utc(placed.item.retrieved_at_ms)));
    }
    let json = json!({
        "outcome": "done",
        "root": proof.root.to_string(),
        "count": proof.count,
        "claim": claim,
        "file": file,
    });
    Report { exit: Exit::Done, page: page.field("proof", file.display().to_string()), json }
}

fn placed_json(placed: &Placed) -> Value {
    json!({
        "source": placed.item.source.as_str(),
        "digest": placed.item.digest.to_string(),
        "retrieved_at_ms": placed.item.retrieved_at_ms,
        "index": placed.index,
    })
}

fn parse_root(text: &str) -> std::result::Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "not a root: 64 lower-case hex digits".into())
}
