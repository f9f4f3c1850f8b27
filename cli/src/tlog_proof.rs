//! `chancery log`: proofs that any c2sp.org/tlog-proof reader opens, from what is published.

use std::path::PathBuf;

use chancery_ledger::checkpoint::TlogProof;
use chancery_ledger::log::leaf_hash;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::output::{Page, Report, style};
use crate::{files, published};

/// `chancery log …`
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Write a c2sp.org/tlog-proof: that an entry is in the log of a checkpoint, with everybody's cosignatures.
    Proof(WriteProof),
}

/// Writes a proof.
#[derive(Debug, Args)]
pub(crate) struct WriteProof {
    /// The index of the entry.
    index: u64,
    /// Where a node serves the log, or an archive of it.
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// Whom to believe: the checkpoint is cosigned by its nodes, and by the witnesses that it demands.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// A checkpoint that was kept. By default it is the newest that is published.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write the entry's bytes to this file: the proof is of their hash, and does not have them.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// Where the proof goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl LogCommand {
    /// Runs `chancery log`, which blocks.
    pub(crate) fn run(&self) -> Result<Report> {
        let Self::Proof(proof) = self;
        proof.run()
    }
}

impl WriteProof {
    fn run(&self) -> Result<Report> {
        let proofs = published::proofs(&self.from, &self.trust, self.checkpoint.as_deref())?;
        let leaf = proofs.leaf(self.index).map_err(published::proofs_failure)?;
        let invalid = |why: &dyn std::fmt::Display| Failure::new(Exit::Invalid, why.to_string());
        let (signed, hash) = (&proofs.claim().signed, leaf_hash(&leaf.entry));
        let proof = TlogProof::new(Vec::new(), leaf.index, leaf.proof, signed.clone())
            .map_err(|error| invalid(&error))?;
        let text = proof.encode();
        // What is in the file, and not what it was made of.
        let written = TlogProof::parse(text.as_bytes()).map_err(|error| invalid(&error))?;
        written.verify_inclusion(&hash).map_err(|error| invalid(&error))?;
        if let Some(path) = &self.entry {
            files::replace(path, &leaf.entry)?;
        }
        files::replace(&self.file, text.as_bytes())?;
        let (checkpoint, cosigners) = (signed.checkpoint(), proofs.claim().cosigners());
        let names: Vec<_> = cosigners.iter().map(|name| style::name(name)).collect();
        let page = Page::new(format!("{} {}", style::good("proven"), self.file.display()))
            .field("entry", format!("{} in the log, leaf hash {hash}", self.index))
            .field("checkpoint", format!("of {} leaves, root {}", checkpoint.size(), checkpoint.root()))
            .field("cosigned by", names.join(", "));
        let json = json!({
            "outcome": "done",
            "file": self.file,
            "entry": self.entry,
            "index": self.index,
            "leaf_hash": hash.to_string(),
            "checkpoint": { "size": checkpoint.size(), "root": checkpoint.root().to_string() },
            "cosigners": cosigners,
        });
        Ok(Report::done(page, json))
    }
}
