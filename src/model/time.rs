//! Points in time: milliseconds since the Unix epoch, UTC.
//!
//! Nothing here reads a clock. A `Timestamp` lies between 1970-01-01 and 9999-12-31; arithmetic stops at these ends
//! instead of wrapping, so an absurd clock cannot crash the engine.

use serde::{Deserialize, Serialize};

/// Milliseconds of a UTC day. There are no leap seconds in Unix time.
pub const DAY_MS: i64 = 86_400_000;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(0);
    /// 9999-12-31T00:00:00Z.
    pub const MAX: Timestamp = Timestamp(253_402_214_400_000);

    /// The nearest timestamp that is in range.
    pub fn from_ms(ms: i64) -> Timestamp {
        Timestamp(ms.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since the epoch.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// Days since the epoch; a day begins at 00:00 UTC.
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    /// The first millisecond of a day that [`Timestamp::day`] numbered.
    pub fn day_start(day: i64) -> Timestamp {
        Timestamp::from_ms(day.saturating_mul(DAY_MS))
    }

    /// Months since year 0, UTC: tells one calendar month from another.
    pub fn month(self) -> i64 {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => {
                let date = instant.to_zoned(jiff::tz::TimeZone::UTC).date();
                i64::from(date.year()) * 12 + i64::from(date.month())
            }
            Err(_) => 0,
        }
    }

    /// This time, `ms` milliseconds later (or earlier, when negative).
    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp::from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub fn since_ms(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// Reads RFC 3339 with a zone, such as `2026-11-20T20:00:05Z` or `2026-11-20T21:00:05.250+01:00`.
    /// Parts of a millisecond are cut off.
    ///
    /// # Errors
    /// When the text is not RFC 3339, has no zone, or lies outside 1970 to 9999.
    pub fn parse_rfc3339(text: &str) -> Result<Timestamp, TimeError> {
        let error = || TimeError { text: text.chars().take(64).collect() };
        let instant: jiff::Timestamp = text.parse().map_err(|_| error())?;
        let ms = instant.as_millisecond();
        if (Self::MIN.0..=Self::MAX.0).contains(&ms) { Ok(Timestamp(ms)) } else { Err(error()) }
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// A text that is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not RFC 3339 with a zone, such as 2026-11-20T20:00:05Z")]
pub struct TimeError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let check = |text: &str, expected: Option<&str>| {
            let shown = Timestamp::parse_rfc3339(text).ok().map(|t| t.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check("2026-11-20T20:00:05Z", Some("2026-11-20T20:00:05.000Z"));
        check("2026-11-20T21:00:05.2509+01:00", Some("2026-11-20T20:00:05.250Z"));
        check("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00.000Z"));
        check("1969-12-31T23:59:59Z", None);
        check("2026-11-20T20:00:05", None);
        check("2026-11-20", None);
        check("{{timenow}}", None);
        check("", None);
    }

    #[test]
    fn days_begin_at_midnight_utc() {
        let check = |ms: i64, day: i64| assert_eq!(Timestamp::from_ms(ms).day(), day, "{ms}");
        check(0, 0);
        check(DAY_MS - 1, 0);
        check(DAY_MS, 1);
        assert_eq!(Timestamp::day_start(1).as_ms(), DAY_MS);
        assert_eq!(Timestamp::day_start(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_ms(-5), Timestamp::MIN);
    }
}
