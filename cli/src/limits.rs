//! How bounds and requirements of knowledge are written on the command line.

use chancery_ledger::command::{Bound, BoundKind, Identifier, Name, Per, Requirement, Template};

use crate::grant::parse_duration;

/// Parses `NAME:KIND:LIMIT[:PER]`, where KIND is `count`, `sum/ARGUMENT`, `rate/DURATION` or `concurrency`, and
/// PER is `grant`, `agent` or `key/NAME`.
pub(crate) fn parse_bound(text: &str) -> Result<Bound, String> {
    let mut fields = text.splitn(4, ':');
    let mut field = |what: &str| {
        fields.next().ok_or_else(|| format!("{what} is missing: a bound is NAME:KIND:LIMIT[:PER]"))
    };
    let name = identifier("name", field("the name")?)?;
    let kind = parse_kind(field("the kind")?)?;
    let limit = field("the limit")?;
    let limit = limit.parse().map_err(|_| format!("the limit {limit:?} is no whole number"))?;
    let per = fields.next().map_or(Ok(Per::Grant), parse_per)?;
    Ok(Bound { name, kind, limit, per })
}

fn parse_kind(text: &str) -> Result<BoundKind, String> {
    let wrong = || format!("{text:?} is not count, sum/ARGUMENT, rate/DURATION or concurrency");
    match text.split_once('/') {
        None if text == "count" => Ok(BoundKind::Count),
        None if text == "concurrency" => Ok(BoundKind::Concurrency),
        Some(("sum", argument)) => Ok(BoundKind::Sum { argument: identifier("argument", argument)? }),
        Some(("rate", window)) => {
            let window_ms = u64::try_from(parse_duration(window)?.as_millis()).map_err(|_| wrong())?;
            Ok(BoundKind::Rate { window_ms })
        }
        _ => Err(wrong()),
    }
}

fn parse_per(text: &str) -> Result<Per, String> {
    match text.split_once('/') {
        None if text == "grant" => Ok(Per::Grant),
        None if text == "agent" => Ok(Per::Agent),
        Some(("key", key)) => Name::new(key).map(Per::Key).map_err(|error| format!("the key {error}")),
        _ => Err(format!("{text:?} is not grant, agent or key/NAME")),
    }
}

fn identifier(what: &str, text: &str) -> Result<Identifier, String> {
    Identifier::new(text).map_err(|error| format!("the {what} {text:?} {error}"))
}

/// Parses `SOURCE@AGE`.
pub(crate) fn parse_requirement(text: &str) -> Result<Requirement, String> {
    let wrong = || format!("{text:?} is not SOURCE@AGE, such as 'reservation/{{args.id}}@10m'");
    let (source, age) = text.rsplit_once('@').ok_or_else(wrong)?;
    let source = Template::new(source).map_err(|error| format!("the source {error}"))?;
    let max_age_ms = u64::try_from(parse_duration(age)?.as_millis()).map_err(|_| wrong())?;
    Ok(Requirement { source, max_age_ms })
}

/// A bound as it is written.
pub(crate) fn bound_words(bound: &Bound) -> String {
    let kind = match &bound.kind {
        BoundKind::Count | BoundKind::Concurrency => bound.kind.name().to_string(),
        BoundKind::Sum { argument } => format!("sum/{argument}"),
        BoundKind::Rate { window_ms } => format!("rate/{}", duration_words(*window_ms)),
    };
    let per = match &bound.per {
        Per::Grant => "grant".to_string(),
        Per::Agent => "agent".to_string(),
        Per::Key(key) => format!("key/{key}"),
    };
    format!("{}:{kind}:{}:{per}", bound.name, bound.limit)
}

/// A requirement as it is written.
pub(crate) fn requirement_words(requirement: &Requirement) -> String {
    format!("{}@{}", requirement.source, duration_words(requirement.max_age_ms))
}

/// A duration in its greatest whole unit.
pub(crate) fn duration_words(ms: u64) -> String {
    for (unit_ms, unit) in [(86_400_000, 'd'), (3_600_000, 'h'), (60_000, 'm'), (1_000, 's')] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms} ms")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for text in [
            "refunds:count:5:grant",
            "certificates:sum/amount:50000:key/desk/budget",
            "cancellations:rate/1h:3:agent",
            "open:concurrency:2:key/a:b",
        ] {
            assert_eq!(bound_words(&parse_bound(text).unwrap()), text);
        }
        assert_eq!(parse_bound("a:count:1").unwrap().per, Per::Grant);
        for text in [
            "",
            "a",
            "a:count",
            "a:count:x",
            "a:count:-1",
            "a-b:count:1",
            "a:sum:1",
            "a:sum/:1",
            "a:sum/x y:1",
            "a:rate:1",
            "a:rate/1:1",
            "a:counts:1",
            "a:count:1:me",
            "a:count:1:key/",
            "a:count:1:grant/x",
        ] {
            assert!(parse_bound(text).is_err(), "{text}");
        }
    }

    #[test]
    fn requirements_have_an_age() {
        let read = parse_requirement("reservation/{args.id}@10m").unwrap();
        assert_eq!((read.source.as_str(), read.max_age_ms), ("reservation/{args.id}", 600_000));
        assert_eq!(requirement_words(&read), "reservation/{args.id}@10m");
        assert_eq!(parse_requirement("ada@example.com@1h").unwrap().source.as_str(), "ada@example.com");
        for text in ["", "policy", "policy@", "@1h", "{x}@1h", "policy@1"] {
            assert!(parse_requirement(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_told_in_whole_units() {
        for (ms, words) in
            [(1_500, "1500 ms"), (90_000, "90s"), (3_600_000, "1h"), (172_800_000, "2d"), (0, "0 ms")]
        {
            assert_eq!(duration_words(ms), words);
        }
    }
}
