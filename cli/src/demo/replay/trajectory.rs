//! Recorded trajectories: JSON lines, a call and then its result, episode after episode.

use serde::Deserialize;
use serde_json::Value;

/// Longest recording that is read, in bytes.
const RECORDING_SIZE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One tool call with what the tool answered when it was recorded.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Step {
    /// Which conversation.
    pub(crate) episode: u64,
    /// The tool.
    pub(crate) tool: String,
    /// What it was called with.
    pub(crate) args: Value,
    /// What it answered.
    pub(crate) result: String,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrajectoryError {
    /// Too large to be one.
    #[error("more than {RECORDING_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// A line is not what it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The last call has no result.
    #[error("the last call has no result")]
    Unfinished,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    episode: u64,
    /// Which task of the benchmark it was; every trial of a task is an episode.
    #[serde(rename = "task")]
    _task: u64,
    #[serde(rename = "trial")]
    _trial: u64,
    seq: u64,
    kind: Kind,
    tool: String,
    args: Option<Value>,
    content: Option<String>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Call,
    Result,
}

/// Reads a recording. Every call must be followed by its own result.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, TrajectoryError> {
    if text.len() > RECORDING_SIZE_BYTES_MAX {
        return Err(TrajectoryError::TooLarge);
    }
    let mut steps = Vec::new();
    let mut call: Option<(Line, Value)> = None;
    for (number, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |reason: String| TrajectoryError::Line { line: number, reason };
        let mut line: Line = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        match (line.kind, line.args.take(), line.content.take(), call.take()) {
            (Kind::Call, Some(args), None, None) => {
                line.kind = Kind::Call;
                call = Some((line, args));
            }
            (Kind::Result, None, Some(result), Some((called, args))) => {
                let follows = (called.episode, &called.tool, called.seq.checked_add(1))
                    == (line.episode, &line.tool, Some(line.seq));
                if !follows {
                    return Err(wrong("a result that is not of the call before it".into()));
                }
                steps.push(Step { episode: line.episode, tool: line.tool, args, result });
            }
            (Kind::Call, Some(_), None, Some(_)) => {
                return Err(wrong("a call before the last one's result".into()));
            }
            (Kind::Result, None, Some(_), None) => return Err(wrong("a result without a call".into())),
            _ => return Err(wrong("a call has args, a result has content, and nothing else".into())),
        }
    }
    if call.is_some() { Err(TrajectoryError::Unfinished) } else { Ok(steps) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXTRACT: &str = include_str!("../../../tests/fixtures/airline-extract.jsonl");

    #[test]
    fn the_extract_is_read_whole() {
        let steps = parse(EXTRACT).unwrap();
        assert_eq!(steps.len() * 2, EXTRACT.lines().count());
        assert_eq!(steps.iter().filter(|step| step.tool == "cancel_reservation").count(), 7);
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let call = r#"{"episode":1,"task":1,"trial":0,"seq":0,"kind":"call","tool":"t","args":{}}"#;
        let result = r#"{"episode":1,"task":1,"trial":0,"seq":1,"kind":"result","tool":"t","content":""}"#;
        assert_eq!(parse(&format!("{call}\n\n{result}\n")).unwrap().len(), 1);
        assert!(matches!(parse(call), Err(TrajectoryError::Unfinished)));
        for bad in [
            format!("{call}\n{call}"),
            result.to_string(),
            format!("{call}\n{}", result.replace("\"t\"", "\"u\"")),
            format!("{call}\n{}", result.replace("\"seq\":1", "\"seq\":2")),
            call.replace("args", "content"),
            call.replace("\"task\"", "\"other\""),
            "[]".into(),
        ] {
            assert!(matches!(parse(&bad), Err(TrajectoryError::Line { .. })), "{bad}");
        }
    }
}
