//! Plots, as SVG: bars and curves, drawn by hand, since two kinds are all there are.

use std::fmt::Write;

use super::verdicts;
use crate::floor::composed::Side;
use crate::load::Sample;
use crate::measures::{Measured, median};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 290.0;
const BAR: f64 = 20.0;
const GAP: f64 = 8.0;
const TOP: f64 = 44.0;

const OURS: &str = "#1b6ca8";
const OURS_TOO: &str = "#8fbfe0";
const THEIRS: &str = "#c8553d";
const THEIRS_TOO: &str = "#eab0a2";
const FLOOR: &str = "#5a6b5d";
const FLOOR_TOO: &str = "#b5c2b7";

/// Each with its file's name.
pub(super) fn all(measured: &Measured) -> Vec<(String, String)> {
    vec![
        ("throughput.svg".into(), throughput(measured)),
        ("cpu.svg".into(), cpu(measured)),
        ("latency.svg".into(), latency(measured)),
    ]
}

struct Bar {
    label: String,
    /// Value and colour of each part.
    parts: Vec<(f64, &'static str)>,
    words: String,
}

fn throughput(measured: &Measured) -> String {
    let rows = [
        ("chancery/check", "Chancery: proven check", OURS),
        ("chancery/check-session", "Chancery: the same over a session", OURS),
        ("etcd/get", "etcd: linearizable get", THEIRS),
        ("chancery/authorize", "Chancery: recorded decision", OURS),
        ("chancery/grant", "Chancery: grant", OURS),
        ("chancery/revoke", "Chancery: revocation", OURS),
        ("etcd/put", "etcd: put", THEIRS),
        ("chancery/mix", "Chancery: 95 checks, 5 changes", OURS),
        ("etcd/mix", "etcd: 95 gets, 5 puts", THEIRS),
    ];
    let bars = rows.into_iter().filter_map(|(what, label, colour)| {
        let rate = measured.median(what, |sample| sample.per_second)?;
        Some(Bar { label: label.into(), parts: vec![(rate, colour)], words: format!("{rate:.0}") })
    });
    bar_chart("Operations a second, closed loop", bars.collect())
}

fn cpu(measured: &Measured) -> String {
    let floors = verdicts::floors(measured);
    let rows = [
        ("chancery/check", "Chancery: proven check", (OURS, OURS_TOO)),
        ("chancery/check-session", "Chancery: the same over a session", (OURS, OURS_TOO)),
        ("etcd/get", "etcd: linearizable get", (THEIRS, THEIRS_TOO)),
        ("chancery/grant", "Chancery: grant", (OURS, OURS_TOO)),
        ("chancery/revoke", "Chancery: revocation", (OURS, OURS_TOO)),
        ("chancery/authorize", "Chancery: recorded decision", (OURS, OURS_TOO)),
        ("etcd/put", "etcd: put", (THEIRS, THEIRS_TOO)),
    ];
    let mut bars = Vec::new();
    for (what, label, (node_colour, client_colour)) in rows {
        let nodes = measured.median(what, |sample| sample.node_cpu_us);
        let client = measured.median(what, |sample| sample.client_cpu_us);
        let (Some(nodes), Some(client)) = (nodes, client) else { continue };
        let words = format!("{nodes:.0} + {client:.0}");
        bars.push(Bar {
            label: label.into(),
            parts: vec![(nodes, node_colour), (client, client_colour)],
            words,
        });
        if let Some((_, floor)) = floors.iter().find(|(name, _)| *name == what) {
            let (nodes, client) = (floor.cpu_us(Side::Node), floor.cpu_us(Side::Client));
            let words = format!("{nodes:.0} + {client:.0}");
            bars.push(Bar {
                label: "its floor".into(),
                parts: vec![(nodes, FLOOR), (client, FLOOR_TOO)],
                words,
            });
        }
    }
    bar_chart("CPU time of an operation, µs: nodes (dark) and client (light)", bars)
}

fn bar_chart(title: &str, bars: Vec<Bar>) -> String {
    let of = |bar: &Bar| bar.parts.iter().map(|(value, _)| value).sum::<f64>();
    let most = bars.iter().map(of).fold(1.0, f64::max);
    #[allow(clippy::cast_precision_loss, reason = "some bars")]
    let height = TOP + bars.len() as f64 * (BAR + GAP) + GAP;
    let mut svg = begin(title, height);
    let mut y = TOP;
    for bar in &bars {
        let mut x = LABELS;
        text(&mut svg, (LABELS - 8.0, y + 15.0), "end", &bar.label);
        for (value, colour) in &bar.parts {
            let width = value / most * (WIDTH - LABELS - 110.0);
            let _ = writeln!(
                svg,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#
            );
            x += width;
        }
        text(&mut svg, (x + 6.0, y + 15.0), "start", &bar.words);
        y += BAR + GAP;
    }
    svg + "</svg>\n"
}

fn latency(measured: &Measured) -> String {
    let rows = [
        ("chancery/check-half-load", "Chancery: proven check, open loop", OURS, ""),
        ("etcd/get-half-load", "etcd: linearizable get, open loop", THEIRS, ""),
        ("chancery/grant-alone", "Chancery: grant, one caller", OURS, "6 3"),
        ("etcd/put-alone", "etcd: put, one caller", THEIRS, "6 3"),
    ];
    let (left, right, top, bottom) = (60.0, WIDTH - 20.0, TOP + 90.0, 440.0);
    // Parts of a hundred as nines, milliseconds as powers of ten from 0.1 to 1,000.
    let x = |part: f64| left + -((1.0 - part / 100.0).log10()) / 3.0 * (right - left);
    let y = |ms: f64| bottom - (ms.clamp(0.1, 1_000.0).log10() + 1.0) / 4.0 * (bottom - top);
    let mut svg = begin(
        "Latency, ms, from the intended beginning on: medians over the turns at each percentile",
        bottom + 36.0,
    );
    for ms in [0.1, 1.0, 10.0, 100.0, 1_000.0] {
        let at = y(ms);
        let _ =
            writeln!(svg, r##"<line x1="{left}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#ddd"/>"##);
        text(&mut svg, (left - 6.0, at + 4.0), "end", &format!("{ms}"));
    }
    for part in [0.0, 50.0, 90.0, 99.0, 99.9] {
        text(&mut svg, (x(part), bottom + 20.0), "middle", &format!("{part} %"));
    }
    let mut legend = TOP;
    for (what, label, colour, dashes) in rows {
        let Some(samples) = measured.samples.get(what) else { continue };
        let points: Vec<_> =
            curve(samples).iter().map(|(part, us)| format!("{:.1},{:.1}", x(*part), y(us / 1e3))).collect();
        let style = format!(r#"fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}""#);
        let _ = writeln!(svg, r#"<polyline points="{}" {style}/>"#, points.join(" "));
        let _ =
            writeln!(svg, r#"<line x1="{left}" y1="{legend}" x2="{}" y2="{legend}" {style}/>"#, left + 40.0);
        text(&mut svg, (left + 48.0, legend + 4.0), "start", label);
        legend += 20.0;
    }
    svg + "</svg>\n"
}

/// At each percentile the median over the turns.
fn curve(samples: &[Sample]) -> Vec<(f64, f64)> {
    let Some(first) = samples.first() else { return Vec::new() };
    let parts = first.latency.curve.iter().enumerate();
    let at = parts.filter_map(|(place, (part, _))| {
        let values = samples.iter().filter_map(|sample| sample.latency.curve.get(place).map(|(_, us)| *us));
        Some((*part, median(values)?))
    });
    at.collect()
}

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (12.0, 24.0), "start", title);
    svg
}

/// Words, which are this program's own and have nothing that XML gives a meaning to.
fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#);
}
