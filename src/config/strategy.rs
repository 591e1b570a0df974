//! `[strategy.ID]` and `[type.NAME]`, and which way a strategy's orders go.

use std::collections::BTreeMap;

use super::account::AccountConfig;
use super::feed::FeedConfig;
use super::market::{read_limits, read_paper, read_symbols};
use super::reader::Table;
use super::schema::{STRATEGY_TYPES, suggestion};
use super::tradingview::{TradingViewConfig, read_tradingview};
use crate::exchange::paper::PaperSettings;
use crate::model::amount::{Money, Quantity, Ratio};
use crate::model::ids::{FeedId, StrategyId, StrategyType, Symbol, VenueId};
use crate::model::signal::Size;
use crate::risk::Limits;

/// The most strategies.
const STRATEGIES_MAX: usize = 200;

/// A source of signals with its own ledger.
#[derive(Clone, Debug)]
pub struct StrategyConfig {
    /// Its id. No two differ only by case.
    pub id: StrategyId,
    /// Its type: `external`, `tradingview` or `aibot`.
    pub kind: StrategyType,
    /// Its own account; without one its type's counts.
    pub account: Option<String>,
    /// The feed it reads.
    pub feed: FeedId,
    /// Its symbols: at least one, all of the feed and of one quote currency.
    pub symbols: Vec<Symbol>,
    /// Whether every tick of its symbols is published.
    pub ticks: bool,
    /// Paper money at the start, in quote currency. Above zero.
    pub balance: Money,
    /// Size of a signal that names none.
    pub default_size: Option<Size>,
    /// Signals with a lower confidence (0 to 1) are refused.
    pub confidence_min: Option<Ratio>,
    /// The most new signals at once and in each minute after that: 1 to 1,000,000.
    pub signals_per_minute_max: u32,
    /// How alerts are taken; there when its type is `tradingview`.
    pub tradingview: Option<TradingViewConfig>,
    /// Its limits.
    pub limits: Limits,
    /// How its paper exchange fills.
    pub paper: PaperSettings,
}

/// What the strategies of a type share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeConfig {
    /// The account of strategies that name none.
    pub account: Option<String>,
    /// Limits of all of them together.
    pub limits: Limits,
}

/// Which way a strategy's orders go, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The strategy.
    pub strategy: StrategyId,
    /// `paper`, or a venue.
    pub venue: VenueId,
    /// The reason, for people.
    pub because: String,
}

impl super::Config {
    /// The route of each strategy, in their order.
    pub fn routes(&self) -> Vec<Route> {
        let route = |strategy: &StrategyConfig| {
            let (name, of_type) = match (&strategy.account, self.account_of_type(strategy)) {
                (Some(account), _) => (account, String::new()),
                (None, Some(account)) => (account, format!(" of type {}", strategy.kind)),
                (None, None) => {
                    let because = "it has no account".to_owned();
                    return Route { strategy: strategy.id, venue: super::engine::paper_venue(), because };
                }
            };
            let (venue, what) = match self.account_of(strategy) {
                Some(account) if self.blofin.is_demo => (account.venue, "has keys for demo trading"),
                Some(account) => (account.venue, "has keys: REAL MONEY"),
                None => (super::engine::paper_venue(), "has no keys"),
            };
            Route { strategy: strategy.id, venue, because: format!("account {name:?}{of_type} {what}") }
        };
        self.strategies.iter().map(route).collect()
    }

    /// The account with keys that a strategy trades at; `None` is paper.
    pub fn account_of(&self, strategy: &StrategyConfig) -> Option<&AccountConfig> {
        let name = strategy.account.as_ref().or_else(|| self.account_of_type(strategy))?;
        self.accounts.iter().find(|account| account.id.as_str() == name && account.keys.is_some())
    }

    fn account_of_type(&self, strategy: &StrategyConfig) -> Option<&String> {
        self.types.get(&strategy.kind).and_then(|kind| kind.account.as_ref())
    }
}

pub(super) fn read_types(root: &Table, accounts: &[AccountConfig]) -> BTreeMap<StrategyType, TypeConfig> {
    let mut types = BTreeMap::new();
    for (name, table) in root.named("type") {
        if !STRATEGY_TYPES.contains(&name.as_str()) {
            let near = suggestion(&name, STRATEGY_TYPES.iter().copied());
            let all = STRATEGY_TYPES.join(", ");
            table.reader.problem(&table.path, format!("{name:?} is not one of {all}{near}"));
        } else if let Ok(kind) = StrategyType::new(&name) {
            let account = read_account(&table, accounts);
            types.insert(kind, TypeConfig { account, limits: read_limits(&table.table("limits")) });
        }
    }
    types
}

fn read_account(table: &Table, accounts: &[AccountConfig]) -> Option<String> {
    let name = table.text_maybe("account")?;
    if !accounts.iter().any(|account| account.id.as_str() == name) {
        let near = suggestion(&name, accounts.iter().map(|account| account.id.as_str()));
        table.problem("account", format!("there is no [account.{name}]{near}"));
    }
    Some(name)
}

pub(super) fn read_strategies(
    root: &Table,
    feeds: &[FeedConfig],
    accounts: &[AccountConfig],
    paper: &PaperSettings,
) -> Vec<StrategyConfig> {
    let tables = root.named("strategy");
    if tables.len() > STRATEGIES_MAX {
        root.problem("strategy", format!("there are {}; at most {STRATEGIES_MAX} are taken", tables.len()));
    }
    let mut strategies: Vec<StrategyConfig> = Vec::new();
    for (name, table) in &tables {
        let id = match StrategyId::new(name) {
            Ok(id) => id,
            Err(error) => {
                table.reader.problem(&table.path, error.to_string());
                continue;
            }
        };
        if let Some(other) = strategies.iter().find(|other| other.id.as_str().eq_ignore_ascii_case(name)) {
            table.reader.problem(&table.path, format!("differs from {:?} only by case", other.id));
        }
        strategies.extend(read_strategy(id, table, feeds, accounts, paper));
    }
    strategies
}

/// Reads one strategy; `None` when it has no type or no feed, which is noted.
fn read_strategy(
    id: StrategyId,
    table: &Table,
    feeds: &[FeedConfig],
    accounts: &[AccountConfig],
    paper: &PaperSettings,
) -> Option<StrategyConfig> {
    let kind = table.word_maybe("type");
    if kind.is_none() {
        table.problem("type", format!("is missing; write one of {}", STRATEGY_TYPES.join(", ")));
    }
    let feed = read_feed(table, feeds);
    let symbols = read_symbols(table, feed.map_or(&[], |feed| &feed.symbols));
    check_symbols(table, &symbols, feed);
    let account = read_account(table, accounts);
    let balance = Money::new(table.number("balance"));
    let ticks = table.flag("ticks");
    let confidence_min = table.number_maybe("confidence_min").map(Ratio::new);
    let signals_per_minute_max = u32::try_from(table.integer("signals_per_minute_max")).unwrap_or(u32::MAX);
    let tradingview = read_tradingview(table, kind, feed, &symbols);
    let default_size = read_size(table);
    let limits = read_limits(&table.table("limits"));
    let paper = read_paper(&table.table("paper"), Some(paper));
    Some(StrategyConfig {
        id,
        kind: StrategyType::new(kind?).ok()?,
        account,
        feed: feed?.id,
        symbols,
        ticks,
        balance,
        default_size,
        confidence_min,
        signals_per_minute_max,
        tradingview,
        limits,
        paper,
    })
}

fn read_feed<'a>(table: &Table, feeds: &'a [FeedConfig]) -> Option<&'a FeedConfig> {
    let all = || feeds.iter().map(|feed| feed.id.to_string()).collect::<Vec<_>>().join(", ");
    let Some(name) = table.text_maybe("feed") else {
        match feeds {
            [only] => return Some(only),
            [] => table.problem("feed", "is missing, and there is no feed"),
            _ => table.problem("feed", format!("is missing, and there are several: {}", all())),
        }
        return None;
    };
    let found = feeds.iter().find(|feed| feed.id.as_str() == name);
    if found.is_none() {
        let near = suggestion(&name, feeds.iter().map(|feed| feed.id.as_str()));
        table.problem("feed", format!("there is no [feed.{name}]{near}"));
    }
    found
}

fn check_symbols(table: &Table, symbols: &[Symbol], feed: Option<&FeedConfig>) {
    // A feed without symbols has a problem of its own, which says enough.
    let feed = feed.filter(|feed| !feed.symbols.is_empty());
    for symbol in symbols {
        let Some(feed) = feed.filter(|feed| !feed.symbols.contains(symbol)) else { continue };
        let text = format!("\"{symbol}\" is not in feed.{}.symbols", feed.id);
        table
            .problem("symbols", text + &suggestion(symbol.as_str(), feed.symbols.iter().map(Symbol::as_str)));
    }
    if let [first, rest @ ..] = symbols
        && let Some(other) = rest.iter().find(|other| other.quote() != first.quote())
    {
        let text = format!("\"{first}\" and \"{other}\" have different quote currencies; a strategy has one");
        table.problem("symbols", text);
    }
}

fn read_size(table: &Table) -> Option<Size> {
    let size = table.table("default_size");
    let quantity = size.number_maybe("quantity").map(|n| Size::Quantity(Quantity::new(n)));
    let notional = size.number_maybe("notional").map(|n| Size::Notional(Money::new(n)));
    let equity = size.number_maybe("equity_pct").map(|n| Size::EquityPct(Ratio::new(n)));
    let risk = size.number_maybe("risk_pct").map(|n| Size::RiskPct(Ratio::new(n)));
    let mut given = [quantity, notional, equity, risk].into_iter().flatten();
    let first = given.next();
    if table.has("default_size") && (first.is_none() || given.next().is_some()) {
        table.problem("default_size", "must have exactly one of quantity, notional, equity_pct, risk_pct");
    }
    first
}
