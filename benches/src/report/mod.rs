//! The results: a table for people, everything as JSON, and plots.

mod markdown;
mod plots;
mod verdicts;

use std::fs;
use std::path::Path;

use crate::fault::{BenchError, Result};
use crate::measures::Measured;

/// Writes the tables and plots again from what `results.json` in `folder` holds.
pub(crate) fn again(folder: &Path) -> Result<()> {
    let path = folder.join("results.json");
    let text = fs::read_to_string(&path).map_err(BenchError::at(&path))?;
    write(folder, &serde_json::from_str(&text).map_err(BenchError::of("report"))?)
}

/// Writes all of it into `folder`, and the table to standard output.
pub(crate) fn write(folder: &Path, measured: &Measured) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(BenchError::at(&path))
    };
    let json = serde_json::to_string_pretty(measured).map_err(BenchError::of("report"))?;
    put("results.json", &json)?;
    for (name, plot) in plots::all(measured) {
        put(&name, &plot)?;
    }
    let text = markdown::text(measured);
    put("results.md", &text)?;
    println!("{text}");
    Ok(())
}
