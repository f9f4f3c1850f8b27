//! The tables.

use std::fmt::Write;

use super::verdicts::{self, cpu};
use crate::floor::composed::{Floor, Side};
use crate::measures::{Measured, median};
use crate::replay::Replay;

/// Under how much load, and how it is called.
const ROWS: [(&str, &str); 25] = [
    ("chancery/check", "Chancery: proven linearizable check, unary"),
    ("chancery/check-session", "Chancery: the same over a check session"),
    ("chancery/check-bulk", "Chancery: the same, 16 asked for together (latency of all 16)"),
    ("etcd/get", "etcd: linearizable get"),
    ("etcd/serializable-get", "etcd: serializable get"),
    ("chancery/grant", "Chancery: grant"),
    ("chancery/revoke", "Chancery: revocation"),
    ("chancery/grant-slow-sync", "Chancery: grant, 2 ms added to each sync"),
    ("etcd/put", "etcd: put"),
    ("chancery/authorize", "Chancery: recorded decision"),
    ("chancery/mix", "Chancery: 95 checks, 5 grants and revocations"),
    ("etcd/mix", "etcd: 95 linearizable gets, 5 puts"),
    ("floor/unary-check", "floor: empty unary call, of a check's sizes"),
    ("floor/streamed-check", "floor: the same on an open stream"),
    ("floor/unary-write", "floor: empty unary call, of a grant's sizes"),
    ("floor/between-nodes", "floor: small message on an open stream"),
    ("chancery/check-alone", "one caller: Chancery check"),
    ("etcd/get-alone", "one caller: etcd linearizable get"),
    ("chancery/grant-alone", "one caller: Chancery grant"),
    ("etcd/put-alone", "one caller: etcd put"),
    ("chancery/grant-alone-slow-sync", "one caller: Chancery grant, 2 ms added to each sync"),
    ("floor/unary-write-alone", "one caller: empty unary call"),
    ("chancery/check-half-load", "open loop: Chancery check"),
    ("chancery/check-session-half-load", "open loop: Chancery check over a check session"),
    ("etcd/get-half-load", "open loop: etcd linearizable get"),
];

/// Everything, as Markdown. Writing to a String cannot fail.
pub(super) fn text(measured: &Measured) -> String {
    let mut text = String::from("# How fast, on this machine\n\n");
    let _ = writeln!(text, "{}\n", machine(measured));
    aims(&mut text, measured);
    loads(&mut text, measured);
    replays(&mut text, measured);
    beside(&mut text, measured);
    floors(&mut text, measured);
    units(&mut text, measured);
    for left_out in &measured.left_out {
        let _ = writeln!(text, "Left out: {left_out}.\n");
    }
    text
}

/// Said beside every table.
fn machine(measured: &Measured) -> String {
    let (machine, settings, sync) = (&measured.machine, &measured.settings, measured.sync_latency());
    let sha = if machine.sha_extensions { "with" } else { "without" };
    format!(
        "*{}, {} processors, {sha} SHA extensions, {} MiB, Linux {}, data on {}: a synced write of 16 KiB takes {:.0} µs (p50), \
         {:.0} µs (p99). Medians of {} turns of {} s; {} callers over {} connections.*",
        machine.cpu,
        machine.processors,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        sync.p50_us,
        sync.p99_us,
        settings.runs,
        settings.seconds,
        settings.callers,
        settings.connections,
    )
}

fn aims(text: &mut String, measured: &Measured) {
    let _ = writeln!(
        text,
        "A ratio to a peer is the median of the turns' ratios, not the ratio of the medians beside it.\n"
    );
    let _ = writeln!(text, "| measure | aim | measured | |\n|---|---|---|---|");
    for verdict in verdicts::all(measured) {
        let held = match verdict.held {
            Some(true) => "held",
            Some(false) => "**not held**",
            None => "",
        };
        let _ = writeln!(text, "| {} | {} | {} | {held} |", verdict.measure, verdict.aim, verdict.measured);
    }
    text.push('\n');
}

fn loads(text: &mut String, measured: &Measured) {
    let _ = writeln!(text, "## Every load\n\n{}\n", machine(measured));
    let _ = writeln!(
        text,
        "Open loop at half of the lower peak of its turn; all else closed loop. CPU in µs for one operation. \"Others\" is the part of the machine that had other work.\n",
    );
    let _ = writeln!(
        text,
        "| | per second | (least, greatest turn) | CPU nodes | CPU client | p50 ms | p99 ms | p99.9 ms | others |"
    );
    let _ = writeln!(text, "|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (what, name) in ROWS {
        let Some(per_second) = measured.median(what, |sample| sample.per_second) else { continue };
        let of = |field: fn(&crate::load::Sample) -> f64| measured.median(what, field).unwrap_or(0.0);
        let (least, greatest) = measured.range(what, |sample| sample.per_second).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {name} | {per_second:.0} | {least:.0}, {greatest:.0} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} % |",
            of(|sample| sample.node_cpu_us),
            of(|sample| sample.client_cpu_us),
            of(|sample| sample.latency.p50_us / 1e3),
            of(|sample| sample.latency.p99_us / 1e3),
            of(|sample| sample.latency.p999_us / 1e3),
            of(|sample| sample.other_cpu * 100.0),
        );
    }
    let idle = |of: fn(&(f64, f64)) -> f64| median(measured.idle.iter().map(of)).unwrap_or(0.0) * 100.0;
    let (ours, theirs) = (idle(|idle| idle.0), idle(|idle| idle.1));
    let _ = writeln!(
        text,
        "\nWhile nobody asks, Chancery's three nodes take {ours:.1} % of one processor, etcd's {theirs:.1} %.\n"
    );
}

fn beside(text: &mut String, measured: &Measured) {
    if measured.beside.is_empty() {
        return;
    }
    let _ = writeln!(text, "## By themselves, beside others\n\n{}\n", machine(measured));
    let _ = writeln!(text, "CPU time on one thread.\n");
    let _ = writeln!(text, "| | µs | beside | µs | what differs |\n|---|---:|---|---:|---|");
    for row in &measured.beside {
        let _ = writeln!(
            text,
            "| {} | {:.2} | {} | {:.2} | {} |",
            row.what, row.us, row.other, row.other_us, row.differs
        );
    }
    text.push('\n');
}

fn replays(text: &mut String, measured: &Measured) {
    let of = |field: fn(&Replay) -> f64| median(measured.replays.iter().map(field));
    let all = (
        of(|replay| replay.seconds),
        of(|replay| replay.decision_p50_ms),
        of(|replay| replay.decision_p99_ms),
    );
    if let (Some(seconds), Some(p50), Some(p99)) = all {
        let _ = writeln!(text, "## The replay of recorded tool calls\n\n{}\n", machine(measured));
        let _ = writeln!(
            text,
            "One after the other, as `make replay` does: {seconds:.1} s with everything; a recorded decision {p50:.2} ms (p50), {p99:.2} ms (p99).\n"
        );
    }
}

fn floors(text: &mut String, measured: &Measured) {
    let _ = writeln!(text, "## What the floors consist of\n\n{}\n", machine(measured));
    for (what, floor) in verdicts::floors(measured) {
        if measured.samples.contains_key(what) {
            one_floor(text, measured, what, &floor);
        }
    }
}

fn one_floor(text: &mut String, measured: &Measured, what: &str, floor: &Floor) {
    let shared = measured.shared(what);
    let _ = writeln!(
        text,
        "`{what}`: {:.1} shared a round or block, {:.1} of one connection; {:.1} commands a signature.\n",
        shared.per_batch, shared.per_batch_and_connection, shared.per_signature
    );
    let _ = writeln!(text, "| where | what | how often | µs each | µs |\n|---|---|---:|---:|---:|");
    for item in &floor.items {
        let side = if item.side == Side::Node { "nodes" } else { "client" };
        let _ = writeln!(
            text,
            "| {side} | {} | {:.3} | {:.1} | {:.1} |",
            item.what,
            item.count,
            item.each_us,
            item.count * item.each_us
        );
    }
    let node = measured.median(what, |sample| sample.node_cpu_us).unwrap_or(0.0);
    let client = measured.median(what, |sample| sample.client_cpu_us).unwrap_or(0.0);
    let _ = writeln!(
        text,
        "| | floor: nodes {:.1}, client {:.1} | | | **{:.1}** |",
        floor.cpu_us(Side::Node),
        floor.cpu_us(Side::Client),
        floor.total_us()
    );
    let all = cpu(measured, what).unwrap_or(0.0);
    let _ = writeln!(text, "| | measured: nodes {node:.1}, client {client:.1} | | | **{all:.1}** |\n");
}

fn units(text: &mut String, measured: &Measured) {
    let units = measured.unit_costs();
    let _ = writeln!(text, "## Units of the floor\n\n{}\n", machine(measured));
    let _ = writeln!(text, "| CPU time of one | µs |\n|---|---:|");
    for (what, us) in [
        ("Ed25519 signature", units.sign_us),
        ("Ed25519 strict verification, key decoded", units.verify_us),
        ("SHA-256 of a tree's inner node", units.node_hash_us),
        ("SHA-256 of a KiB", units.hash_kib_us),
        ("synced write of 8 KiB, blocks there already", units.sync_us),
    ] {
        let _ = writeln!(text, "| {what} | {us:.2} |");
    }
    let _ = writeln!(
        text,
        "\nThe time that the synced write takes: {:.0} µs (p50), {:.0} µs if the file grows.\n",
        units.sync_wall_us, units.growing_sync_wall_us
    );
    let shape = &measured.answer;
    let _ = writeln!(
        text,
        "An answer has {} bytes: {} inner nodes, {} leaves with {} bytes, {} signatures; its question {}. A grant's command has {} \
         bytes, its receipt {}.\n",
        shape.reply_bytes,
        shape.inner_nodes,
        shape.leaves,
        shape.value_bytes,
        shape.signatures,
        shape.request_bytes,
        measured.receipt.request_bytes,
        measured.receipt.reply_bytes,
    );
}
