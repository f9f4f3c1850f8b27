//! The chancery command line: argument parsing and printing; everything else is in the other crates.
//!
//! `docs/cli.md` documents the commands, their JSON and the exit codes.

mod agent;
mod archive;
mod audit;
mod authorize;
mod check;
mod cluster;
mod consistency;
mod context;
mod demo;
mod dev;
mod evidence;
mod exit;
mod explain;
mod files;
mod generations;
mod grant;
mod halt;
mod init;
mod keys;
mod knowledge;
mod ledger;
mod limits;
mod log;
mod lookup;
mod member;
mod node;
mod output;
mod principal;
mod published;
mod revoke;
mod status;
mod tlog_proof;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use exit::{Exit, Failure};
use output::{Format, Report};

/// A node allocates much and keeps little of it: this one is faster at that than the system's, and keeps less for itself.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An authority ledger: grants and revocations with answers that carry their own proof.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    /// The context: a name below ~/.config/chancery/contexts, or a folder if it has a slash.
    #[arg(long, global = true, env = "CHANCERY_CONTEXT", value_name = "NAME|DIR")]
    context: Option<String>,
    /// For people or for machines.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, allowed or verified; 1 failed on this machine; 2 usage; \
    10 denied; 11 not done; 12 unknown whether done; 13 a proof or evidence does not hold; 14 refused.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a ledger of three nodes on this machine.
    Dev(dev::Dev),
    /// The story, start to finish: a revoked agent is denied, provably, whatever fails.
    Demo(demo::Demo),
    /// Make a signing key.
    Keygen(keys::Keygen),
    /// Found a ledger.
    Init(init::Init),
    /// Run one node.
    Node(node::Node),
    /// What each node says of itself.
    Status(status::Status),
    /// Who votes: list, prepare, add, remove and replace nodes.
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// Have another voter lead.
    Transfer(member::Transfer),
    /// Add, remove, rotate and certify principals.
    #[command(subcommand)]
    Principal(principal::PrincipalCommand),
    /// Register and retire agents.
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// The versions of the agents of a lineage.
    #[command(subcommand)]
    Generations(generations::GenerationsCommand),
    /// Grant authority to an agent.
    Grant(grant::Grant),
    /// Narrow a grant for another agent.
    Delegate(grant::Delegate),
    /// Revoke one grant, or everything of an agent.
    Revoke(revoke::Revoke),
    /// Stop everything in a scope, at once.
    Halt(halt::Halt),
    /// Say that a halt may end.
    Resume(halt::Resume),
    /// The halts in force, proven to be all.
    Halts(halt::Halts),
    /// May this agent do this, now? With a proof.
    Check(check::Check),
    /// May this agent do this, now? Recorded before it acts, for one call.
    Authorize(authorize::Authorize),
    /// Record what became of a call that was authorized.
    Outcome(authorize::Outcome),
    /// Why may this agent do this, or why not? In words, from the proof.
    Explain(explain::Explain),
    /// Write the evidence of a check, or of what a person asks, to a file.
    Evidence(Box<evidence::Evidence>),
    /// What an agent was granted, proven complete.
    Lookup(lookup::Lookup),
    /// What an agent had in front of it: roots, and proofs of what was there and what was not. Offline.
    #[command(subcommand)]
    Knowledge(knowledge::KnowledgeCommand),
    /// The log's leaves as they come.
    Watch(watch::Watch),
    /// Write a published log to a folder that any web server can serve.
    Archive(archive::Archive),
    /// Proofs from a published log, by its tiles alone.
    #[command(subcommand)]
    Log(tlog_proof::LogCommand),
    /// Verify evidence files, offline.
    Verify(verify::Verify),
    /// Audit a published log: everything in it, by nobody's word.
    Audit(audit::AuditCommand),
}

/// Threads for what may wait for the disk. They take turns, so that of many each would have forgotten everything, and each
/// would be woken from a long sleep.
const BLOCKING_THREADS_MAX: usize = 8;

/// Threads for what waits for nothing: half of the processors. The other half has the threads for the disk, which decide and
/// apply as well; and whoever is the only one wakes nobody to share what there is little of.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let format = arguments.output;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(workers())
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::local(format!("no runtime: {error}"))), format),
    };
    let ended = runtime.block_on(run(&arguments));
    match arguments.command {
        Command::Node(_) => {
            if let Err(failure) = node::close_stores(runtime) {
                output::print_failure(&failure, format);
                // The stores survive it. A return from here would take RocksDB's globals from under threads that
                // use them, and whether the process then ends so, or otherwise, would be chance.
                std::process::abort();
            }
        }
        // What still runs has nothing to say any more.
        _ => runtime.shutdown_background(),
    }
    end(ended, format)
}

async fn run(arguments: &Arguments) -> exit::Result<Report> {
    let (named, format) = (arguments.context.as_deref(), arguments.output);
    match &arguments.command {
        Command::Dev(dev) => dev.run(format).await,
        Command::Demo(demo) => demo.run(format).await,
        Command::Keygen(keygen) => keygen.run(),
        Command::Init(init) => init.run(),
        Command::Node(node) => node.run().await,
        Command::Status(status) => status.run(named).await,
        Command::Member(member) => member.run(named, format).await,
        Command::Transfer(transfer) => transfer.run(named).await,
        Command::Principal(principal) => principal.run(named).await,
        Command::Agent(agent) => agent.run(named).await,
        Command::Generations(generations) => generations.run(named).await,
        Command::Grant(grant) => grant.run(named).await,
        Command::Delegate(delegate) => delegate.run(named).await,
        Command::Revoke(revoke) => revoke.run(named).await,
        Command::Halt(halt) => halt.run(named).await,
        Command::Resume(resume) => resume.run(named).await,
        Command::Halts(halts) => halts.run(named).await,
        Command::Check(check) => check.run(named).await,
        Command::Authorize(authorize) => authorize.run(named).await,
        Command::Outcome(outcome) => outcome.run(named).await,
        Command::Explain(explain) => explain.run(named).await,
        Command::Evidence(evidence) => evidence.run(named).await,
        Command::Lookup(lookup) => lookup.run(named).await,
        Command::Knowledge(knowledge) => knowledge.run(),
        Command::Watch(watch) => watch.run(named, format).await,
        Command::Archive(archive) => tokio::task::block_in_place(|| archive.run()),
        Command::Log(log) => tokio::task::block_in_place(|| log.run()),
        Command::Verify(verify) => verify.run(),
        Command::Audit(audit) => tokio::task::block_in_place(|| audit.run(format)),
    }
}

fn end(ended: exit::Result<Report>, format: Format) -> ExitCode {
    match ended {
        Ok(report) => {
            report.print(format);
            ExitCode::from(report.exit.code())
        }
        Err(failure) => {
            output::print_failure(&failure, format);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// What clap says about the arguments, with our exit code.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stream is nobody to tell.
    let _ = error.print();
    let exit = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    };
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_tour_parses() {
        for line in [
            "dev",
            "demo --keep",
            "demo --replay calls.jsonl --output json",
            "keygen key",
            "init ledger --node a:1,a:2 --node b:1,b:2 --node [::1]:1,[::1]:2",
            "node --config node.toml --stop-on-stdin-close",
            "status --context ./ledger/contexts/operator",
            "init ledger --operators 3 --operator-threshold 2",
            "member list",
            "member prepare 4 --ledger ledger --addresses a:1,a:2 --peer 1=a:1 --peer 2=b:1",
            "member prepare 4 --ledger ledger --addresses a:1,a:2,a:3 --witnesses-from node-1/node.toml",
            "member add ledger/node-4/member.toml --with-key b.key --with-key c.key",
            "member remove node-2 --half-signed change.json --operator 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --for 8h",
            "member replace 3 ledger/node-4/member.toml --quorum 3",
            "member sign change.json --key b.key",
            "member submit change.json",
            "transfer",
            "transfer --to node-2",
            "agent register bot --owner ada@example.com",
            "grant bot --action mail/* --resource customer/* --for 8h --staleness-ms 1000 --delegable 2",
            "agent register bot --owner ada@example.com --lineage desk",
            "revoke --agent bot --wait",
            "halt --everything --reason why",
            "generations list bot",
            "generations diff bot 1 2",
            "generations set desk --threshold 2 --action mail/* --with-key b.key",
            "generations register desk --model m --prompt p --tools t --parameters q --memory e",
            "generations release desk 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --with-key b.key",
            "generations rollback desk 1 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "check bot mail/send a --generation 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "halt --action mail/*",
            "resume 17",
            "halts",
            "check bot mail/send customer/42 --args-json {} --evidence e.json",
            "explain bot mail/send customer/42 --args-json {}",
            "grant bot --action a --resource b --condition policy.cedar --schema schema.cedarschema",
            "evidence bot mail/send customer/42 --file e.json",
            "evidence bot mail/send customer/42 --consistency at-block=4 --file e.json",
            "evidence revoked-by 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --log http://a:1 --file e.json",
            "evidence revoked-by --index 7 --by 1800000000000 --log http://a:1 --log http://b:1 --file e.json",
            "evidence recorded-by 7 --checkpoint kept --file e.json",
            "evidence recorded-by 7 --from http://a:1 --trust trust.toml --file e.json",
            "evidence recorded-by 7 --from archive --trust trust.toml --checkpoint kept --file e.json",
            "evidence revoked-by --index 7 --from archive --trust trust.toml --by 1800000000000 --file e.json",
            "log proof 7 --from http://a:1 --trust trust.toml --file e.tlog-proof",
            "log proof 7 --from archive --trust trust.toml --checkpoint kept --entry e --file e.tlog-proof",
            "evidence in-force-at bot mail/send customer/42 --at 1800000000000 --file e.json",
            "evidence not-revoked-at bot mail/send customer/42 --at 1800000000000 --file e.json",
            "evidence halted bot mail/send customer/42 --file e.json",
            "evidence no-permit bot --from at-block=4 --to at-time=1800000000000 --file e.json",
            "evidence no-permit bot --from-file d.json --file e.json",
            "authorize bot mail/send customer/42 --args-json {} --execute-within 5s",
            "outcome bot/7@0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a executed",
            "verify a.json b.json --trust trust.toml",
            "audit http://localhost:1 ./archive --trust trust.toml --since a --save b --equivocation c --state d --fresh",
            "watch --from 0",
            "lookup bot",
            "lookup --action mail/send --resource customer/42",
        ] {
            let words = std::iter::once("chancery").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "",
            "revoke",
            "halt",
            "halt --reason why",
            "halt --everything --agent bot",
            "halt --action mail*",
            "resume",
            "resume first",
            "generations release desk 0a",
            "generations register desk --model m",
            "resume 17 --command 00",
            "verify a.json",
            "audit --trust trust.toml",
            "audit ./archive",
            "grant bot",
            "check bot mail/send",
            "authorize bot mail/send customer/42 --parent bot/7",
            "outcome bot/7 executed",
            "outcome bot/7@0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a done",
            "explain",
            "evidence",
            "evidence bot mail/send --file e.json",
            "evidence bot mail/send customer/42",
            "evidence revoked-by --log http://a:1 --file e.json",
            "evidence revoked-by --index 7 --file e.json",
            "evidence recorded-by 7 --log http://a:1 --checkpoint kept --file e.json",
            "evidence recorded-by 7 --from archive --file e.json",
            "evidence recorded-by 7 --trust trust.toml --file e.json",
            "evidence recorded-by 7 --log http://a:1 --trust trust.toml --file e.json",
            "evidence recorded-by 7 --from archive --trust trust.toml --log http://a:1 --file e.json",
            "log proof 7 --from http://a:1 --file e.tlog-proof",
            "evidence in-force-at bot mail/send customer/42 --file e.json",
            "evidence no-permit bot --from http://a:1 --file e.json",
            "evidence no-permit bot --file e.json",
            "lookup",
            "lookup --action mail/send",
            "lookup bot --action mail/send --resource customer/42",
            "grant bot --action a --resource b --schema schema.cedarschema",
            "check bot mail/send customer/42 --args-json {\"a\":1.5}",
            "check bot mail/send customer/42 --args-json [",
            "member add",
            "member prepare 0 --ledger ledger --addresses a:1,a:2",
            "member remove 2 --half-signed change.json --with-key b.key",
            "member remove 2 --half-signed change.json",
        ] {
            let words = std::iter::once("chancery").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
