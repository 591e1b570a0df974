//! The topics, built and recognised. `docs/MQTT.md` lists each one; a test compares.

use crate::model::ids::{FeedId, StrategyId, StrategyType, Symbol};

/// Every topic below the base, with the words that stand for its variable parts.
pub const ALL: [&str; 27] = [
    "daemon/state",
    "daemon/info",
    "daemon/health",
    "daemon/alert",
    "daemon/level",
    "daemon/level/set",
    "daemon/probe",
    "daemon/request/<op>",
    "daemon/response/<op>",
    "price/<feed>/<symbol>",
    "tick/<feed>/<symbol>",
    "feed/<feed>",
    "strategy/<id>/state",
    "strategy/<id>/position/<symbol>",
    "strategy/<id>/kpi",
    "strategy/<id>/order",
    "strategy/<id>/fill",
    "strategy/<id>/trade",
    "strategy/<id>/signal",
    "strategy/<id>/signal/result",
    "strategy/<id>/tradingview",
    "strategy/<id>/level/set",
    "tradingview",
    "type/<type>/state",
    "type/<type>/kpi",
    "portfolio/state",
    "portfolio/kpi",
];

/// Builds topics below one base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    base: String,
}

/// What a message from the broker is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// A signal for this strategy.
    Signal(&'a str),
    /// A TradingView alert for this strategy, or for the one that it names itself.
    Alert(Option<&'a str>),
    /// A level for the daemon (`None`) or this strategy.
    Level(Option<&'a str>),
    /// A request for this operation.
    Request(&'a str),
}

impl Topics {
    /// Topics below `base`, which has no slash at its ends and no wildcard.
    pub fn new(base: &str) -> Topics {
        Topics { base: base.to_string() }
    }

    /// `<base>/<rest>`.
    pub fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.base)
    }

    /// The price of a market.
    pub fn price(&self, feed: FeedId, symbol: Symbol) -> String {
        format!("{}/price/{feed}/{symbol}", self.base)
    }

    /// The ticks of a market.
    pub fn tick(&self, feed: FeedId, symbol: Symbol) -> String {
        format!("{}/tick/{feed}/{symbol}", self.base)
    }

    /// A feed's connection.
    pub fn feed(&self, feed: FeedId) -> String {
        format!("{}/feed/{feed}", self.base)
    }

    /// Something of a strategy: `state`, `kpi`, `order`, `fill`, `trade`, `signal/result`.
    pub fn strategy(&self, strategy: &str, what: &str) -> String {
        format!("{}/strategy/{strategy}/{what}", self.base)
    }

    /// A strategy's position.
    pub fn position(&self, strategy: StrategyId, symbol: Symbol) -> String {
        format!("{}/strategy/{strategy}/position/{symbol}", self.base)
    }

    /// `state` or `kpi` of a type.
    pub fn kind(&self, kind: StrategyType, what: &str) -> String {
        format!("{}/type/{kind}/{what}", self.base)
    }

    /// What the daemon subscribes to.
    pub fn commands(&self) -> Vec<String> {
        [
            "strategy/+/signal",
            "strategy/+/tradingview",
            "tradingview",
            "strategy/+/level/set",
            "daemon/level/set",
            "daemon/request/+",
        ]
        .iter()
        .map(|filter| self.at(filter))
        .collect()
    }

    /// The entry of [`ALL`] that a topic belongs to.
    pub fn kind_of(&self, topic: &str) -> Option<&'static str> {
        let rest = topic.strip_prefix(&self.base)?.strip_prefix('/')?;
        let fits = |pattern: &&&str| {
            let mut levels = rest.split('/');
            let same = |part: &str| levels.next().is_some_and(|level| part.starts_with('<') || part == level);
            pattern.split('/').all(same) && levels.next().is_none()
        };
        ALL.iter().find(fits).copied()
    }

    /// What a topic is about; `None` when it is none of ours.
    pub fn inbound<'a>(&self, topic: &'a str) -> Option<Inbound<'a>> {
        let rest = topic.strip_prefix(&self.base)?.strip_prefix('/')?;
        // No honest broker delivers such a topic, and an answer would have to be published on one.
        if rest.contains(|letter: char| letter.is_control() || matches!(letter, '+' | '#')) {
            return None;
        }
        let levels: Vec<&str> = rest.split('/').collect();
        match levels.as_slice() {
            ["strategy", id, "signal"] => Some(Inbound::Signal(id)),
            ["strategy", id, "tradingview"] => Some(Inbound::Alert(Some(id))),
            ["tradingview"] => Some(Inbound::Alert(None)),
            ["strategy", id, "level", "set"] => Some(Inbound::Level(Some(id))),
            ["daemon", "level", "set"] => Some(Inbound::Level(None)),
            ["daemon", "request", op] => Some(Inbound::Request(op)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_topics() {
        let topics = Topics::new("home/tradebus");
        let check =
            |topic: &str, expected: Option<&str>| assert_eq!(topics.kind_of(topic), expected, "{topic}");
        check("home/tradebus/strategy/tv1/fill", Some("strategy/<id>/fill"));
        check("home/tradebus/strategy/tv1/position/BTC-USDT", Some("strategy/<id>/position/<symbol>"));
        check("home/tradebus/daemon/probe", Some("daemon/probe"));
        check("home/tradebus/strategy/tv1", None);
        check("home/tradebus/strategy/tv1/fill/x", None);
        check("homeassistant/device/x/config", None);
    }

    #[test]
    fn recognises_commands_only() {
        let topics = Topics::new("home/tradebus");
        let check = |topic: &str, expected: Option<Inbound<'_>>| {
            assert_eq!(topics.inbound(topic), expected, "{topic}");
        };
        check("home/tradebus/strategy/tv1/signal", Some(Inbound::Signal("tv1")));
        check("home/tradebus/strategy/tv1/tradingview", Some(Inbound::Alert(Some("tv1"))));
        check("home/tradebus/tradingview", Some(Inbound::Alert(None)));
        check("home/tradebus/strategy/tv1/tradingview/x", None);
        check("home/tradebus/strategy/tv1/level/set", Some(Inbound::Level(Some("tv1"))));
        check("home/tradebus/daemon/level/set", Some(Inbound::Level(None)));
        check("home/tradebus/daemon/request/kpis", Some(Inbound::Request("kpis")));
        check("home/tradebus/daemon/response/kpis", None);
        check("home/tradebus/strategy/tv1/signal/result", None);
        check("home/tradebusx/daemon/level/set", None);
        check("tradebus/daemon/level/set", None);
        for name in ["a\0b", "\u{1}", "+", "#", "a\u{7f}"] {
            check(&format!("home/tradebus/strategy/{name}/signal"), None);
        }
    }
}
