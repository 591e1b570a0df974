//! Why a row of the venue is not taken, and how often that was so.

/// Letters of a value that are told.
const VALUE_LETTERS_MAX: usize = 60;
/// Letters that these may take when they are escaped.
const SHOWN_LETTERS_MAX: usize = 120;

/// Why a row is dropped. A new reason changes `docs/MQTT.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Not JSON of the documented shape, a missing field, or a text that is not a number.
    Malformed,
    /// A price of 0 or below.
    PriceNotPositive,
    /// A size of 0 or below.
    SizeNotPositive,
    /// A bid above the ask.
    Crossed,
    /// More than [`FUTURE_MS_MAX`](super::translate::FUTURE_MS_MAX) ahead of our clock, or more than
    /// [`PAST_MS_MAX`](super::translate::PAST_MS_MAX) behind it.
    TimeFarOff,
    /// Older than what the symbol has already.
    OutOfOrder,
    /// A trade that was taken before.
    Repeated,
    /// A symbol that was not asked for.
    UnknownSymbol,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 8] = [
        DropReason::Malformed,
        DropReason::PriceNotPositive,
        DropReason::SizeNotPositive,
        DropReason::Crossed,
        DropReason::TimeFarOff,
        DropReason::OutOfOrder,
        DropReason::Repeated,
        DropReason::UnknownSymbol,
    ];

    /// The word on the bus and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::PriceNotPositive => "price_not_positive",
            DropReason::SizeNotPositive => "size_not_positive",
            DropReason::Crossed => "crossed",
            DropReason::TimeFarOff => "time_far_off",
            DropReason::OutOfOrder => "out_of_order",
            DropReason::Repeated => "repeated",
            DropReason::UnknownSymbol => "unknown_symbol",
        }
    }

    /// Whether it says that what the venue sent is wrong. A repetition and an older row are what a link does after a
    /// reconnect, and harmless.
    pub fn is_fault(self) -> bool {
        !matches!(self, DropReason::OutOfOrder | DropReason::Repeated)
    }
}

/// A row that is not taken: why, and the field and value that a person would look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// Field and value, cut to what fits a log line.
    pub detail: String,
}

impl Dropped {
    /// A row that is not taken because of `value` in `field`.
    pub fn new(reason: DropReason, field: &str, value: &str) -> Dropped {
        // Shown as it may be written to a terminal, which can make ten letters of one.
        let mut room = SHOWN_LETTERS_MAX;
        let fits = |letter: &char| {
            let width = letter.escape_debug().count();
            let fits = width <= room;
            room = room.saturating_sub(width);
            fits
        };
        let value: String = value.chars().take(VALUE_LETTERS_MAX).take_while(fits).collect();
        Dropped { reason, detail: format!("{field} {value:?}") }
    }
}

/// How often each reason occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Counts one.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How often a reason occurred.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All that say that what came is wrong.
    pub fn faults(&self) -> u64 {
        DropReason::ALL.into_iter().filter(|reason| reason.is_fault()).map(|reason| self.of(reason)).sum()
    }

    /// Each reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().map(|reason| (reason, self.of(reason))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_as_far_as_it_fits() {
        let check = |value: &str, expected: &str| {
            assert_eq!(Dropped::new(DropReason::Malformed, "f", value).detail, format!("f \"{expected}\""));
        };
        check("x", "x");
        check(&"x".repeat(61), &"x".repeat(60));
        check(&"\"".repeat(61), &"\\\"".repeat(60));
        check(&"\u{202e}".repeat(60), &"\\u{202e}".repeat(15));
    }
}
