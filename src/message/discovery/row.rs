//! What a row of the table can say, and the short forms to say it with.
//!
//! Home Assistant's rules that the short forms keep: a state class or a unit only on numbers, `enum` never with either,
//! prices and equity are measurements, sums that can fall again are `total` and never `total_increasing`.

/// One entity. Texts may hold `$id`, `$feed` and `$symbol`, which the loop fills in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The kind of entity.
    pub platform: &'static str,
    /// Names it within its device, for ever: changing it makes another entity at every user.
    pub key: &'static str,
    /// Its name, without the device's.
    pub name: &'static str,
    /// Its state topic below the base; empty when it has none.
    pub topic: &'static str,
    /// How its state is read from the payload.
    pub value: Value,
    /// Device class, or empty.
    pub class: &'static str,
    /// State class, or empty.
    pub state_class: &'static str,
    /// `diagnostic`, `config` or empty.
    pub category: &'static str,
    /// Material design icon without its prefix, or empty when the device class has one.
    pub icon: &'static str,
    /// Whether it is unavailable when nothing came for [`super::EXPIRE_S`].
    pub expires: bool,
    /// Topic below the base that it sends to, or empty.
    pub command: &'static str,
    /// More keys, with values that are JSON already.
    pub more: &'static [(&'static str, &'static str)],
}

/// How a state is read from a payload. All but `Count` and `Template` turn `null` into "unknown".
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// The payload as it is.
    Payload,
    /// A word or a time.
    Word(&'static str),
    /// A whole number.
    Count(&'static str),
    /// Quote money.
    Money(&'static str),
    /// A price, to the digits of the tick.
    Price(&'static str),
    /// The same, unknown while the payload says `stale`.
    Fresh(&'static str),
    /// Base units, to the digits of the lot.
    Quantity(&'static str),
    /// A number without a unit.
    Ratio(&'static str),
    /// A share, shown in percent.
    Share(&'static str),
    /// A percentage.
    Percent(&'static str),
    /// Bytes, shown in megabytes.
    Megabytes(&'static str),
    /// Anything else.
    Template(&'static str),
}

const BLANK: Row = Row {
    platform: "",
    key: "",
    name: "",
    topic: "",
    value: Value::Payload,
    class: "",
    state_class: "",
    category: "",
    icon: "",
    expires: false,
    command: "",
    more: &[],
};

impl Row {
    /// A sensor of a number that goes up and down.
    pub const fn number(
        key: &'static str,
        name: &'static str,
        topic: &'static str,
        value: Value,
        icon: &'static str,
    ) -> Row {
        Row { platform: "sensor", key, name, topic, value, icon, state_class: "measurement", ..BLANK }
    }

    /// A sensor of a word.
    pub const fn word(
        key: &'static str,
        name: &'static str,
        topic: &'static str,
        value: Value,
        icon: &'static str,
    ) -> Row {
        Row { platform: "sensor", key, name, topic, value, icon, ..BLANK }
    }

    /// Any other entity.
    pub const fn other(
        platform: &'static str,
        key: &'static str,
        name: &'static str,
        topic: &'static str,
        value: Value,
        icon: &'static str,
    ) -> Row {
        Row { platform, key, name, topic, value, icon, ..BLANK }
    }

    /// It adds up over the whole life, and may fall again.
    pub const fn total(mut self) -> Row {
        self.state_class = "total";
        self
    }

    /// It counts up and begins again at 0 when the daemon starts.
    pub const fn counter(mut self) -> Row {
        self.state_class = "total_increasing";
        self
    }

    /// With a device class, which brings its own icon.
    pub const fn class(mut self, class: &'static str) -> Row {
        self.class = class;
        self
    }

    /// It tells about the daemon's health.
    pub const fn diagnostic(mut self) -> Row {
        self.category = "diagnostic";
        self
    }

    /// It is live: without news it becomes unavailable.
    pub const fn expires(mut self) -> Row {
        self.expires = true;
        self
    }

    /// It sends to this topic.
    pub const fn commands(mut self, topic: &'static str) -> Row {
        self.command = topic;
        self
    }

    /// With more keys.
    pub const fn more(mut self, more: &'static [(&'static str, &'static str)]) -> Row {
        self.more = more;
        self
    }
}
