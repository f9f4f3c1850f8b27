//! `--consistency`: what the answer to a check must be fresh by, or about when it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chancery_ledger::answer::Moment;

/// About when, and by what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Consistency {
    /// Now, proven under a nonce.
    #[default]
    Linearizable,
    /// At most so old, by the nodes' clocks.
    FreshWithin(Duration),
    /// The past.
    At(Moment),
}

impl FromStr for Consistency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        match text.split_once('=') {
            None if text == "linearizable" => Ok(Self::Linearizable),
            Some(("fresh-within", within)) => Ok(Self::FreshWithin(duration(within)?)),
            Some(("at-block", block)) => Ok(Self::At(Moment::Block(number(block)?))),
            Some(("at-time", time_ms)) => Ok(Self::At(Moment::Time(number(time_ms)?))),
            _ => Err("one of linearizable, fresh-within=250ms, at-block=N, at-time=MS".into()),
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => write!(f, "linearizable"),
            Self::FreshWithin(within) => write!(f, "fresh-within={}ms", within.as_millis()),
            Self::At(Moment::Block(block)) => write!(f, "at-block={block}"),
            Self::At(Moment::Time(time_ms)) => write!(f, "at-time={time_ms}"),
        }
    }
}

/// Milliseconds or seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 250ms or 2s");
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1_000),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(unit).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_parsed() {
        let all = [
            Consistency::Linearizable,
            Consistency::FreshWithin(Duration::from_millis(2_500)),
            Consistency::At(Moment::Block(7)),
            Consistency::At(Moment::Time(1_800_000_000_000)),
        ];
        for one in all {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert_eq!("fresh-within=2s".parse(), Ok(Consistency::FreshWithin(Duration::from_secs(2))));
        for text in [
            "",
            "fresh",
            "fresh-within",
            "fresh-within=",
            "fresh-within=2",
            "fresh-within=-1s",
            "at-block=",
            "at-block=-1",
            "at-time=now",
            "at-time=1.5",
            "linearizable=1",
            "fresh-within=99999999999999999999s",
        ] {
            assert!(text.parse::<Consistency>().is_err(), "{text}");
        }
    }
}
