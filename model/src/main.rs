//! Searches for longer than the tests do, and prints the table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chancery_model::random::Budget;
use chancery_model::sabotage::{Outcome, Row, rows};

const USAGE: &str = "usage: chancery-model [--minutes N] [--seed N] [--row TEXT] [--trace]

  --minutes N   how long all rows together may take (1)
  --seed N      where the random runs begin (1)
  --row TEXT    only rows whose name contains TEXT
  --trace       print the shortest counterexample of each row, event by event";

/// Steps between two looks at the clock.
const STEPS: u64 = 1_000_000;

struct Arguments {
    minutes: u32,
    seed: u64,
    row: String,
    trace: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.name.contains(&arguments.row)).collect();
    // INVARIANT: there are fewer rows than a u32 holds.
    let share = Duration::from_secs(60) * arguments.minutes / u32::try_from(rows.len().max(1)).unwrap_or(1);
    println!("| rule | what was changed | steps | counterexamples | shortest | seconds | |");
    println!("|---|---|---|---|---|---|---|");
    let mut wrong = 0;
    for row in &rows {
        let began = Instant::now();
        let outcome = search(row, arguments.seed, share);
        let as_expected = row.must_find == (outcome.counterexamples > 0);
        wrong += u32::from(!as_expected);
        print(row, &outcome, began.elapsed(), as_expected, arguments.trace);
    }
    if wrong > 0 {
        eprintln!("{wrong} rows are not as they must be");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Searches under one seed after another until the time is over.
fn search(row: &Row, seed: u64, share: Duration) -> Outcome {
    let began = Instant::now();
    let budget = Budget { steps_max: STEPS, first_only: false };
    let mut total = row.run(seed, budget);
    for seed in seed.wrapping_add(1).. {
        if row.is_exhaustive() || began.elapsed() >= share {
            break;
        }
        let more = row.run(seed, budget);
        total.steps += more.steps;
        total.counterexamples += more.counterexamples;
        let shorter = |known: &Outcome| match (&known.shortest, &more.shortest) {
            (Some(known), Some(new)) => new.events.len() < known.events.len(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if shorter(&total) {
            total.shortest = more.shortest;
        }
    }
    total
}

fn print(row: &Row, outcome: &Outcome, took: Duration, as_expected: bool, trace: bool) {
    let shortest = match &outcome.shortest {
        Some(shortest) if shortest.run.is_some() => format!("{} events", shortest.events.len()),
        _ => String::new(),
    };
    let verdict = if as_expected { "" } else { "**NOT AS IT MUST BE**" };
    println!(
        "| {} | {} | {} | {} | {shortest} | {}.{} | {verdict} |",
        row.rule,
        row.name,
        outcome.steps,
        outcome.counterexamples,
        took.as_secs(),
        took.subsec_millis() / 100,
    );
    if let Some(shortest) = outcome.shortest.as_ref().filter(|_| trace || !as_expected) {
        println!("\n    {}", shortest.violation);
        for event in &shortest.events {
            println!("      {event}");
        }
        println!();
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { minutes: 1, seed: 1, row: String::new(), trace: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--minutes" => arguments.minutes = words.next()?.parse().ok()?,
            "--seed" => arguments.seed = words.next()?.parse().ok()?,
            "--row" => arguments.row = words.next()?,
            "--trace" => arguments.trace = true,
            _ => return None,
        }
    }
    Some(arguments)
}
