//! Histories as Jepsen writes them: EDN, one map a line, for whoever has tools for these.
//!
//! An operation is an `:invoke` and its completion: `:ok`; `:fail` if it had no effect and never will; `:info` if
//! nobody knows. After an `:info` a process is never heard of again, as Jepsen has it: the rest of what it did is
//! written under a new number. Times are in nanoseconds.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use crate::history::{Call, Operation, Outcome, Told, ToldDecided};

/// Writes `operations`, those of one workload, in the order in which they began and ended.
///
/// # Errors
/// Of `out`.
pub fn write(operations: &[&Operation], out: &mut impl io::Write) -> io::Result<()> {
    let mut order = operations.to_vec();
    order.sort_by_key(|one| (one.invoked_us, one.id));
    // Within one microsecond beginnings come first: what is not surely in order is written as concurrent.
    let mut events: Vec<(u64, Half, u32, &Operation)> = Vec::with_capacity(order.len() * 2);
    let mut next = operations.iter().map(|one| one.process).max().map_or(0, |most| most.saturating_add(1));
    let mut processes: HashMap<u32, u32> = HashMap::new();
    for operation in order {
        let process = *processes.entry(operation.process).or_insert(operation.process);
        let returned_us = operation.returned_us.unwrap_or(u64::MAX);
        events.push((operation.invoked_us, Half::Invoke, process, operation));
        events.push((returned_us, Half::Complete, process, operation));
        if ended(operation) == ":info" {
            processes.insert(operation.process, next);
            next = next.saturating_add(1);
        }
    }
    events.sort_by_key(|(time_us, half, _, operation)| (*time_us, *half, operation.id));
    let last_us = operations.iter().map(|one| one.returned_us.unwrap_or(one.invoked_us)).max().unwrap_or(0);
    for (index, (time_us, half, process, operation)) in events.into_iter().enumerate() {
        let (kind, value) = match half {
            Half::Invoke => (":invoke", asked(&operation.call)),
            Half::Complete => (ended(operation), told(operation)),
        };
        let (time_ns, f) = (time_us.min(last_us).saturating_mul(1_000), f(&operation.call));
        writeln!(
            out,
            "{{:index {index}, :time {time_ns}, :process {process}, :type {kind}, :f {f}, :value {value}}}"
        )?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Invoke,
    Complete,
}

const fn f(call: &Call) -> &'static str {
    match call {
        Call::Register { .. } => ":register",
        Call::Grant { .. } => ":grant",
        Call::Delegate { .. } => ":delegate",
        Call::RevokeGrant { .. } => ":revoke-grant",
        Call::RevokeAgent { .. } => ":revoke-agent",
        Call::Halt { .. } => ":halt",
        Call::Resume { .. } => ":resume",
        Call::Authorize { .. } => ":authorize",
        Call::Outcome { .. } => ":outcome",
        Call::Check { .. } => ":check",
    }
}

fn ended(operation: &Operation) -> &'static str {
    match operation.outcome {
        _ if operation.returned_us.is_none() => ":info",
        Outcome::Acknowledged { .. } | Outcome::Permitted { .. } | Outcome::Denied { .. } => ":ok",
        Outcome::Refused { .. } | Outcome::NotDone { .. } => ":fail",
        Outcome::Unknown { .. } => ":info",
    }
}

fn asked(call: &Call) -> String {
    match call {
        Call::Register { agent, lineage: Some(lineage) } => {
            map(&[(":agent", text(agent)), (":lineage", text(lineage))])
        }
        Call::Register { agent, lineage: None } | Call::RevokeAgent { agent } => {
            map(&[(":agent", text(agent))])
        }
        Call::Grant { agent, action, resource, grant } => map(&[
            (":agent", text(agent)),
            (":action", text(action)),
            (":resource", text(resource)),
            (":grant", text(grant)),
        ]),
        Call::Delegate { agent, action, resource, grant, parent } => map(&[
            (":agent", text(agent)),
            (":action", text(action)),
            (":resource", text(resource)),
            (":grant", text(grant)),
            (":parent", text(parent)),
        ]),
        Call::RevokeGrant { grant } => map(&[(":grant", text(grant))]),
        Call::Halt { scope, subject } => {
            map(&[(":scope", text(scope)), (":subject", subject.as_deref().map_or("nil".into(), text))])
        }
        Call::Resume { halt, resumer } => map(&[(":halt", halt.to_string()), (":resumer", text(resumer))]),
        Call::Outcome { agent, decision, kind } => {
            map(&[(":agent", text(agent)), (":decision", text(decision)), (":kind", text(kind))])
        }
        Call::Authorize { agent, action, resource } | Call::Check { agent, action, resource } => {
            map(&[(":agent", text(agent)), (":action", text(action)), (":resource", text(resource))])
        }
    }
}

/// What was asked, and what became of it.
fn told(operation: &Operation) -> String {
    let ended = match &operation.outcome {
        Outcome::Acknowledged { index, block, before, verdict } => {
            let verdict = verdict.as_ref().map_or_else(String::new, decided);
            format!(":index {index}, :block {block}, :before {before}{verdict}")
        }
        Outcome::Permitted { block, chain } => {
            let chain: Vec<String> = chain.iter().map(|grant| text(grant)).collect();
            format!(":permitted true, :block {block}, :chain [{}]", chain.join(" "))
        }
        Outcome::Denied { block, reason, .. } => {
            format!(":permitted false, :block {block}, :reason {}", text(reason))
        }
        Outcome::Refused { reason } => format!(":refused {}", text(reason)),
        Outcome::NotDone { reason } => format!(":not-done {}", text(reason)),
        Outcome::Unknown { reason } => format!(":unknown {}", text(reason)),
    };
    let asked = asked(&operation.call);
    format!("{}, {ended}}}", asked.strip_suffix('}').unwrap_or(&asked))
}

/// What was decided on record.
fn decided(verdict: &Told) -> String {
    let number = verdict.number;
    match &verdict.decided {
        ToldDecided::Permit { chain, bounds, .. } => {
            let chain: Vec<String> = chain.iter().map(|grant| text(grant)).collect();
            let taken = bounds.iter().map(|bound| {
                let (taken, used, limit) = (bound.taken.unwrap_or_default(), bound.used, bound.limit);
                format!("{{:bound {}, :taken {taken}, :used {used}, :limit {limit}}}", text(&bound.name))
            });
            let taken: Vec<String> = taken.collect();
            format!(
                ", :number {number}, :permitted true, :chain [{}], :takes [{}]",
                chain.join(" "),
                taken.join(" ")
            )
        }
        ToldDecided::Denied { reason, .. } => {
            format!(", :number {number}, :permitted false, :reason {}", text(reason))
        }
    }
}

fn map(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key} {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// An EDN string.
fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // INVARIANT: writing to a String cannot fail.
            control if control.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(control)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_jepsen_does() {
        let operation = |id, process, invoked_us, returned_us, call, outcome| Operation {
            id,
            process,
            node: None,
            invoked_us,
            returned_us,
            command: None,
            call,
            outcome,
        };
        let register = |agent: &str| Call::Register { agent: agent.into(), lineage: None };
        let check = Call::Check { agent: "x".into(), action: "a".into(), resource: "r".into() };
        let operations = [
            operation(
                1,
                0,
                5,
                Some(6),
                check,
                Outcome::Denied { block: 3, reason: "no_grant".into(), halt: None },
            ),
            operation(0, 0, 1, Some(3), register("x"), Outcome::Unknown { reason: "it\n\"hung\"".into() }),
            operation(2, 1, 2, Some(5), register("x"), Outcome::Refused { reason: "agent_exists".into() }),
            operation(3, 1, 6, None, register("y"), Outcome::Unknown { reason: String::new() }),
        ];
        let mut out = Vec::new();
        write(&operations.iter().collect::<Vec<_>>(), &mut out).unwrap();
        let expected = r#"
{:index 0, :time 1000, :process 0, :type :invoke, :f :register, :value {:agent "x"}}
{:index 1, :time 2000, :process 1, :type :invoke, :f :register, :value {:agent "x"}}
{:index 2, :time 3000, :process 0, :type :info, :f :register, :value {:agent "x", :unknown "it\n\"hung\""}}
{:index 3, :time 5000, :process 2, :type :invoke, :f :check, :value {:agent "x", :action "a", :resource "r"}}
{:index 4, :time 5000, :process 1, :type :fail, :f :register, :value {:agent "x", :refused "agent_exists"}}
{:index 5, :time 6000, :process 1, :type :invoke, :f :register, :value {:agent "y"}}
{:index 6, :time 6000, :process 2, :type :ok, :f :check, :value {:agent "x", :action "a", :resource "r", :permitted false, :block 3, :reason "no_grant"}}
{:index 7, :time 6000, :process 1, :type :info, :f :register, :value {:agent "y", :unknown ""}}
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected.trim_start());
    }
}
