//! `chancery halt`, `chancery resume` and `chancery halts`: stopping what acts, at once; and letting it go on.

use chancery_ledger::authority::{ActiveHalt, Entry, halts_in_force};
use chancery_ledger::command::{Body, GrantId, HaltScope, Name, Pattern, SignedCommand};
use chancery_ledger::hash::Hash;
use chancery_ledger::state::PrunedView;
use clap::Args;
use serde_json::{Value, json};

use crate::check::{ProvenAnswer, ask};
use crate::context;
use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_grant;
use crate::ledger::{self, Act};
use crate::output::{self, Page, Report, Table, style};
use crate::principal::parse_name;

/// Stop everything in a scope, until enough resumers let it go on. By one halter.
#[derive(Debug, Args)]
pub(crate) struct Halt {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Why, for people; every denial by the halt tells it.
    #[arg(long, default_value = "")]
    reason: String,
}

/// What is stopped.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeArguments {
    /// Every agent.
    #[arg(long)]
    everything: bool,
    /// An agent, and what acts by a delegation of it.
    #[arg(long, value_parser = parse_name)]
    agent: Option<Name>,
    /// Every agent of a lineage, likewise.
    #[arg(long, value_parser = parse_name)]
    lineage: Option<Name>,
    /// An action: a name, `prefix/*` or `*`.
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern)]
    action: Option<Pattern>,
    /// A resource, likewise.
    #[arg(long, value_name = "PATTERN", value_parser = parse_pattern)]
    resource: Option<Pattern>,
    /// A grant, and every delegation below it.
    #[arg(long, value_parser = parse_grant)]
    grant: Option<GrantId>,
}

/// Say that a halt may end. It does once as many resumers have said so as the ledger demands.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The halt: the index that `halt` printed and that denials name.
    halt: u64,
    /// Its command hash, if you have it from the halter: no other halt is resumed.
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    command: Option<Hash>,
}

/// The halts in force, proven to be all.
#[derive(Debug, Args)]
pub(crate) struct Halts {
    /// An agent that this context may check for: every proof shows the halts, so one is asked for.
    #[arg(long, value_parser = parse_name, default_value = NOBODY)]
    agent: Name,
}

/// What nobody is granted, and nobody is called.
const NOBODY: &str = "chancery/halts/nobody";

impl Halt {
    /// Runs `chancery halt`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let scope = self.scope.scope()?;
        let words = format!("halted {}", style::bad(&scope.to_string()));
        let act = Act::new(words, Body::Halt { scope, reason: self.reason.clone() });
        let ledger = ledger::connect(context::load(named)?).await?;
        let receipt = act.submit(&ledger).await?;
        let command = receipt.command.command_hash();
        let page = ledger::dead_field(ledger::receipt_page(&act.words, &ledger.trust(), &receipt), &receipt)
            .field("halt", style::name(&receipt.index.to_string()))
            .field("command", style::name(&command.to_string()))
            .field(
                "",
                style::dim(&format!("to end it, resumers each run: chancery resume {}", receipt.index)),
            );
        let mut json = ledger::receipt_json(&ledger.trust(), &receipt);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("halt".into(), json!(receipt.index));
            fields.insert("command_hash".into(), json!(command.to_string()));
        }
        Ok(Report::done(page, json))
    }
}

impl ScopeArguments {
    fn scope(&self) -> Result<HaltScope> {
        let everything = self.everything.then_some(HaltScope::Everything);
        everything
            .or_else(|| self.agent.clone().map(HaltScope::Agent))
            .or_else(|| self.lineage.clone().map(HaltScope::Lineage))
            .or_else(|| self.action.clone().map(HaltScope::Action))
            .or_else(|| self.resource.clone().map(HaltScope::Resource))
            .or_else(|| self.grant.map(HaltScope::Subtree))
            .ok_or_else(|| Failure::usage("what is halted?"))
    }
}

impl Resume {
    /// Runs `chancery resume`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let halt = self.halted(&ledger).await?;
        let halt_command = halt.command_hash();
        let words = format!("said that the halt at index {} may end", self.halt);
        let act = Act::new(words, Body::Resume { halt: self.halt, halt_command });
        let receipt = act.submit(&ledger).await?;
        let page = ledger::receipt_page(&act.words, &ledger.trust(), &receipt)
            .field("the halt", output::words(&halt.command().body))
            .field("", format!("by {}", output::short(&halt.command().signer)))
            .field(
                "",
                style::dim("it ends once enough have said so; `chancery halts` shows what is in force"),
            );
        let mut json = ledger::receipt_json(&ledger.trust(), &receipt);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("halt".into(), json!(self.halt));
            fields.insert("command_hash".into(), json!(halt_command.to_string()));
        }
        Ok(Report::done(page, json))
    }

    /// The halt's command, as its halter signed it for this ledger. Where it stands is a node's word: what is
    /// signed here names its hash too, and the ledger refuses it if another halt stands there.
    async fn halted(&self, ledger: &chancery_client::Ledger) -> Result<SignedCommand> {
        let refused = |words| Failure::new(Exit::Refused, words).code("unknown_halt");
        let no_halt = || refused(format!("leaf {} is no halt", self.halt));
        let size = self.halt.checked_add(1).ok_or_else(no_halt)?;
        // A leaf that there is not is waited for: a node may be behind.
        let leaf = tokio::select! {
            leaf = ledger.leaf(self.halt, size) => leaf.map_err(|error| ledger::read_failure(&error))?,
            Some(leaves) = self.beyond(ledger) => {
                return Err(refused(format!("no halt at index {}: the log has {leaves} leaves", self.halt)));
            }
        };
        let invalid =
            |error: &dyn std::fmt::Display| Failure::new(Exit::Invalid, format!("the leaf: {error}"));
        let Entry::Command { signed, .. } = Entry::decode(&leaf.entry).map_err(|error| invalid(&error))?
        else {
            return Err(no_halt());
        };
        if !matches!(signed.command().body, Body::Halt { .. }) {
            return Err(no_halt());
        }
        signed.verify(ledger.trust().ledger).map_err(|error| invalid(&error))?;
        if self.command.is_some_and(|command| command != signed.command_hash()) {
            let words = format!("the halt at index {} is another one", self.halt);
            return Err(Failure::new(Exit::Refused, words).code("other_halt"));
        }
        Ok(signed)
    }

    /// How many leaves the log has, if the nodes that answer all say that it ends before the halt.
    async fn beyond(&self, ledger: &chancery_client::Ledger) -> Option<u64> {
        let said = ledger.status().await.into_iter().filter_map(|(_, status)| status.ok()?.head);
        said.map(|head| head.log_size).max().filter(|leaves| *leaves <= self.halt)
    }
}

impl Halts {
    /// Runs `chancery halts`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let nobody = parse_name(NOBODY).map_err(Failure::usage)?;
        let ProvenAnswer { checked, .. } = ask(&ledger, [&self.agent, &nobody, &nobody], b"").await?;
        let view = PrunedView::new(&checked.answer.tree);
        // `decide` has read them already.
        let halts = halts_in_force(&view)
            .map_err(|_| Failure::new(Exit::Invalid, "the proof does not show what is halted"))?;
        let count = halts.active.len();
        let mut page = Page::new(match count {
            0 => style::good("nothing is halted"),
            1 => style::bad("1 halt is in force"),
            _ => style::bad(&format!("{count} halts are in force")),
        });
        if count > 0 {
            let mut table = Table::new(&[">index", "halted"]);
            for halt in &halts.active {
                table.row([halt.index.to_string(), halt.scope.to_string()]);
            }
            page = page.table(table);
        }
        let page = output::proof(page, &ledger.trust(), &checked.verified);
        let json = json!({
            "outcome": "done",
            "halts": halts.active.iter().map(halt_json).collect::<Vec<_>>(),
            "proof": output::verdict_json(&ledger.trust(), &checked.verified).get("proof"),
        });
        Ok(Report::done(page, json))
    }
}

fn halt_json(halt: &ActiveHalt) -> Value {
    json!({ "index": halt.index, "scope": output::scope_json(&halt.scope) })
}

fn parse_pattern(text: &str) -> std::result::Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("it {error}"))
}

fn parse_hash(text: &str) -> std::result::Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "not a hash: 64 lower-case hex digits".into())
}
