//! Rate limits in the form `1000/5m`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// A maximum number of requests in a period of time: `1000/5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The number of requests.
    pub count: NonZeroU32,
    /// The period.
    pub per: Duration,
}

/// A text that is not a [`RateLimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rate limit (accepted: requests/time, such as 1000/5m or 200/5s)")]
pub struct RateLimitError(String);

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || RateLimitError(text.chars().take(40).collect());
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        // `1000/m` means one minute.
        let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
            humantime::parse_duration(per)
        } else {
            humantime::parse_duration(&format!("1{per}"))
        }
        .map_err(|_| wrong())?;
        if per < Duration::from_millis(1) || per > Duration::from_hours(24) {
            return Err(wrong());
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = humantime::format_duration(self.per).to_string();
        write!(f, "{}/{}", self.count, per.replace(' ', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_and_shown() {
        for (text, shown) in [
            ("1000/5m", "1000/5m"),
            (" 200 / 5s ", "200/5s"),
            ("60/m", "60/1m"),
            ("1/1h 30m", "1/1h30m"),
            ("3/300s", "3/5m"),
        ] {
            assert_eq!(
                text.parse::<RateLimit>().unwrap().to_string(),
                shown,
                "{text}"
            );
        }
        for text in [
            "",
            "1000",
            "0/5m",
            "-1/5m",
            "x/5m",
            "1000/0s",
            "1000/x",
            "1000/9days",
            "1/5m/2",
        ] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
    }
}
