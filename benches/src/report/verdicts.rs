//! The floors of the operations, and what was aimed for held against what was measured.

use crate::floor::composed::{Calls, Floor, share};
use crate::full::Full;
use crate::measures::{Measured, median};
use crate::micro::beside::HASHES_ALONE;

/// One line of the table of aims.
pub(super) struct Verdict {
    pub(super) measure: &'static str,
    pub(super) aim: String,
    pub(super) measured: String,
    pub(super) held: Option<bool>,
}

/// The operations that have a floor: what was measured, its name, and the floor.
pub(super) fn floors(measured: &Measured) -> Vec<(&'static str, Floor)> {
    let units = measured.unit_costs();
    let call = |what: &str| measured.call_cost(what).unwrap_or_default();
    let calls = Calls {
        check: call("floor/unary-check"),
        streamed_check: call("floor/streamed-check"),
        write: call("floor/unary-write"),
        between_nodes: call("floor/between-nodes"),
    };
    let check = |what: &str, carried, shape| {
        Floor::check(&units, carried, calls.between_nodes, &measured.shared(what), shape)
    };
    let write = |what: &str| {
        let tree_nodes = measured.applied.get(what).map_or(0.0, |applied| applied.tree_nodes);
        Floor::write(&units, &calls, &measured.shared(what), (&measured.receipt, tree_nodes))
    };
    vec![
        (
            "chancery/check",
            check("chancery/check", ("unary call: question and answer", 1.0, calls.check), &measured.answer),
        ),
        // A connection's questions of one round can go together, as their answers come; and what is kept of the state
        // neither comes nor is hashed again.
        (
            "chancery/check-session",
            check(
                "chancery/check-session",
                (
                    "message on a stream: questions and answers of a round",
                    share(measured.shared("chancery/check-session").per_batch_and_connection),
                    calls.streamed_check,
                ),
                &measured.answer.without_tree(),
            ),
        ),
        ("chancery/grant", write("chancery/grant")),
        ("chancery/revoke", write("chancery/revoke")),
        ("chancery/authorize", write("chancery/authorize")),
    ]
}

/// CPU time of one operation, in microseconds, nodes and client together.
pub(super) fn cpu(measured: &Measured, what: &str) -> Option<f64> {
    measured.median(what, |sample| sample.node_cpu_us + sample.client_cpu_us)
}

/// Every aim.
pub(super) fn all(measured: &Measured) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let floors = floors(measured);
    for (measure, what) in [
        ("CPU per proven linearizable check, the client's verification included", "chancery/check"),
        ("the same over a check session", "chancery/check-session"),
        ("CPU per grant", "chancery/grant"),
        ("CPU per revocation", "chancery/revoke"),
    ] {
        let floor = floors.iter().find(|(name, _)| *name == what).map(|(_, floor)| floor.total_us());
        if let (Some(cpu), Some(floor)) = (cpu(measured, what), floor) {
            let ratio = cpu / floor;
            verdicts.push(Verdict {
                measure,
                aim: "≤ 2× its floor".into(),
                measured: format!("{ratio:.2}× ({cpu:.0} µs, floor {floor:.0} µs)"),
                held: Some(ratio <= 2.0),
            });
        }
    }
    let rate = |what: &str| measured.median(what, |sample| sample.per_second);
    for (measure, ours, theirs, their_name, times) in [
        (
            "proven linearizable checks/s, one unary call each",
            "chancery/check",
            "etcd/get",
            "etcd linearizable get/s",
            1.0,
        ),
        (
            "the same over a check session",
            "chancery/check-session",
            "etcd/get",
            "etcd linearizable get/s",
            3.0,
        ),
        (
            "recorded decisions/s, signed by the gate in batches",
            "chancery/authorize",
            "etcd/put",
            "etcd put/s",
            1.0,
        ),
    ] {
        let ratio = measured.ratio((ours, theirs), |sample| sample.per_second);
        if let (Some(ours), Some(theirs), Some(ratio)) = (rate(ours), rate(theirs), ratio) {
            verdicts.push(Verdict {
                measure,
                aim: format!("≥ {times}× {their_name}"),
                measured: format!("{ratio:.2}× ({ours:.0} and {theirs:.0})"),
                held: Some(ratio >= times),
            });
        }
    }
    let p99 = |what: &str| measured.median(what, |sample| sample.latency.p99_us / 1e3);
    for (measure, what) in [
        (
            "p99 of a proven linearizable check, open loop, at half of the lower peak",
            "chancery/check-half-load",
        ),
        ("the same over a check session", "chancery/check-session-half-load"),
    ] {
        let half = (what, "etcd/get-half-load");
        let ratio = measured.ratio(half, |sample| sample.latency.p99_us);
        if let (Some(ours), Some(theirs), Some(ratio)) = (p99(half.0), p99(half.1), ratio) {
            verdicts.push(Verdict {
                measure,
                aim: "≤ etcd linearizable get".into(),
                measured: format!("{ratio:.2}× ({ours:.2} ms and {theirs:.2} ms)"),
                held: Some(ratio <= 1.0),
            });
        }
    }
    let p50 = |what: &str| measured.median(what, |sample| sample.latency.p50_us);
    let ratio = measured.ratio(("chancery/grant-alone", "etcd/put-alone"), |sample| sample.latency.p50_us);
    if let (Some(ours), Some(theirs), Some(ratio)) =
        (p50("chancery/grant-alone"), p50("etcd/put-alone"), ratio)
    {
        verdicts.push(Verdict {
            measure: "latency of a lone client's write (p50)",
            aim: "≤ 2× etcd put".into(),
            measured: format!("{ratio:.2}× ({:.2} ms and {:.2} ms)", ours / 1e3, theirs / 1e3),
            held: Some(ratio <= 2.0),
        });
    }
    if let (Some(ours), Some(floor)) = (p50("chancery/grant-alone-slow-sync"), slow_write_floor_us(measured))
    {
        let ratio = ours / floor;
        verdicts.push(Verdict {
            measure: "the same with 2 ms added to each sync (p50)",
            aim: "≤ 1.5× its floor".into(),
            measured: format!("{ratio:.2}× ({:.2} ms, floor {:.2} ms)", ours / 1e3, floor / 1e3),
            held: Some(ratio <= 1.5),
        });
    }
    let floor = Floor::answer(&measured.unit_costs(), &measured.answer_of_4).total_us();
    if let Some(whole) = measured.micro("answer-of-4/whole") {
        let ratio = whole / floor;
        verdicts.push(Verdict {
            measure: "the client's verification of one answer, chain of 4",
            aim: "≤ 1.5× its floor".into(),
            measured: format!("{ratio:.2}× ({whole:.0} µs, floor {floor:.0} µs)"),
            held: Some(ratio <= 1.5),
        });
    }
    if let Some(rest) = measured.micro("answer-of-4/without-signatures") {
        verdicts.push(Verdict {
            measure: "the same with the round's statements verified already",
            aim: "≤ 100 µs".into(),
            measured: format!("{rest:.0} µs"),
            held: Some(rest <= 100.0),
        });
    }
    if let (Some(whole), Some(biscuit), Some(tenuo)) = (
        measured.micro("answer-of-4/whole"),
        measured.micro("biscuit-auth-of-4"),
        measured.micro("tenuo-of-4"),
    ) {
        verdicts.push(Verdict {
            measure: "the client's CPU for that, beside tokens of a chain of 4 that nobody was asked about",
            aim: "less than biscuit-auth's and tenuo's".into(),
            measured: format!("{whole:.0} µs, biscuit-auth {biscuit:.0} µs, tenuo {tenuo:.0} µs"),
            held: Some(whole < biscuit && whole < tenuo),
        });
    }
    if let Some(row) = measured.beside.iter().find(|row| row.other == HASHES_ALONE) {
        let ratio = row.us / row.other_us;
        verdicts.push(Verdict {
            measure: "state update for a key, in blocks of 100 (of how many keys, below)",
            aim: "≤ 2× its hashes".into(),
            measured: format!("{ratio:.2}× ({:.2} µs, hashes {:.2} µs)", row.us, row.other_us),
            held: Some(ratio <= 2.0),
        });
    }
    if let Some(full) = &measured.full {
        verdicts.extend(with_a_million(full));
    }
    verdicts
}

fn with_a_million(full: &Full) -> Vec<Verdict> {
    let ratio = full.ratio().unwrap_or(0.0);
    let p50 = |turns: &[f64]| median(turns.iter().copied()).unwrap_or(0.0) / 1e3;
    let resident = full.steps.iter().map(|step| step.resident_mib).max().unwrap_or(0);
    let steps: Vec<_> = full.steps.iter().map(|step| step.resident_mib.to_string()).collect();
    let restart = median(full.restarts_s.iter().copied()).unwrap_or(0.0);
    let parts: Vec<_> = full.disk_parts.iter().map(|(part, bytes)| format!("{part} {bytes:.0}")).collect();
    vec![
        Verdict {
            measure: "check p50 with 1,000,000 grants",
            aim: "≤ 1.3× that with 10,000".into(),
            measured: format!(
                "{ratio:.2}× with {} ({:.2} ms and {:.2} ms; the first with all, {:.2} ms)",
                full.grants,
                p50(&full.all_p50_us),
                p50(&full.few_p50_us),
                full.first_p50_us / 1e3
            ),
            held: Some(ratio <= 1.3),
        },
        Verdict {
            measure: "memory of a node with 1,000,000 grants",
            aim: "≤ 512 MiB, and flat".into(),
            measured: format!("{resident} MiB; on the way: {}", steps.join(", ")),
            held: Some(resident <= 512),
        },
        Verdict {
            measure: "restart until all nodes serve, with 1,000,000 grants",
            aim: "≤ 5 s".into(),
            measured: format!("{restart:.1} s"),
            held: Some(restart <= 5.0),
        },
        Verdict {
            measure: "bytes on disk for a grant",
            aim: "said".into(),
            measured: format!("{:.0}: {}", full.disk_bytes_per_grant, parts.join(", ")),
            held: None,
        },
    ]
}

/// What a lone write cannot be faster than, with 2 ms added to each sync, in microseconds.
///
/// One after the other: the client signs; its call and the answer; the leader verifies; a message to a follower and its
/// answer, in which the follower verifies the block and syncs it (the leader's own sync is as long, and at the same time); the
/// block's signature before it; each signs the head, and it takes half such a message for the other's to come; the leader
/// verifies it, and the client both.
pub(super) fn slow_write_floor_us(measured: &Measured) -> Option<f64> {
    let units = measured.unit_costs();
    let p50 = |what: &str| measured.median(what, |sample| sample.latency.p50_us);
    let (call, message) = (p50("floor/unary-write-alone")?, p50("floor/between-nodes-alone")?);
    #[allow(clippy::cast_precision_loss, reason = "two")]
    let added = crate::system::chancery::ADDED_TO_SYNC_MS as f64 * 1e3;
    let signatures = 3.0 * units.sign_us + 5.0 * units.verify_us;
    Some(call + 1.5 * message + units.sync_wall_us + added + signatures)
}
