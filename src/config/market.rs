//! `[instrument.SYMBOL]`, `[paper]` and `[limits]`, and what a symbol looks like.

use std::collections::BTreeMap;

use super::feed::FeedConfig;
use super::reader::Table;
use super::schema::nearest;
use super::value::constant;
use crate::exchange::paper::PaperSettings;
use crate::model::amount::{AMOUNT_DECIMALS, Money, Price, Quantity, Ratio};
use crate::model::ids::Symbol;
use crate::risk::{Limits, OnDrawdown};

/// Figures of a pair, all above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentConfig {
    /// The smallest step of a price, in quote currency.
    pub tick_size: Price,
    /// The smallest step of a size, in contracts.
    pub lot_size: Quantity,
    /// The smallest order, in contracts.
    pub size_min: Quantity,
    /// Base units in a contract.
    pub contract_value: Quantity,
}

pub(super) fn read_instruments(root: &Table, feeds: &[FeedConfig]) -> BTreeMap<Symbol, InstrumentConfig> {
    let mut instruments = BTreeMap::new();
    for (name, table) in root.named("instrument") {
        let symbol = match parse_symbol(&name) {
            Ok(symbol) => symbol,
            Err(why) => {
                table.reader.problem(&table.path, why);
                continue;
            }
        };
        if !feeds.iter().any(|feed| feed.symbols.contains(&symbol)) {
            table.reader.warning(&table.path, "no feed has this symbol, so the figures are not used");
        } else if feeds.iter().all(|feed| feed.is_venue() || !feed.symbols.contains(&symbol)) {
            table
                .reader
                .warning(&table.path, "the venue tells the figures of this symbol, so these are not used");
        }
        let lot_size = table.number("lot_size");
        let instrument = InstrumentConfig {
            tick_size: Price::new(table.number("tick_size")),
            lot_size: Quantity::new(lot_size),
            size_min: Quantity::new(table.number_maybe("size_min").unwrap_or(lot_size)),
            contract_value: Quantity::new(table.number("contract_value")),
        };
        let lot = lot_size * instrument.contract_value.value();
        if lot.normalize().scale() > AMOUNT_DECIMALS {
            table.problem(
                "lot_size",
                format!("lot_size x contract_value is {lot}: at most 12 decimals are kept"),
            );
        }
        instruments.insert(symbol, instrument);
    }
    instruments
}

/// Reads `[paper]`; what is missing comes from `base`, or else from the defaults.
pub(super) fn read_paper(table: &Table, base: Option<&PaperSettings>) -> PaperSettings {
    let ratio = |name: &str, base: Option<Ratio>| match base {
        Some(base) if !table.has(name) => base,
        _ => Ratio::new(table.number(name)),
    };
    PaperSettings {
        fee_taker_ratio: ratio("fee_taker_ratio", base.map(|b| b.fee_taker_ratio)),
        fee_maker_ratio: ratio("fee_maker_ratio", base.map(|b| b.fee_maker_ratio)),
        slippage_bps: ratio("slippage_bps", base.map(|b| b.slippage_bps)),
        latency_ms: match base {
            Some(base) if !table.has("latency_ms") => base.latency_ms,
            _ => table.integer("latency_ms"),
        },
        leverage: ratio("leverage", base.map(|b| b.leverage)),
    }
}

pub(super) fn read_limits(table: &Table) -> Limits {
    let money = |name: &str| table.number_maybe(name).map(Money::new);
    let ratio = |name: &str| table.number_maybe(name).map(Ratio::new);
    let orders = table.integer_maybe("orders_per_minute_max");
    if table.has("on_drawdown") && !table.has("drawdown_max_pct") {
        table.warning("on_drawdown", "has no effect without drawdown_max_pct");
    }
    Limits {
        order_notional_max: money("order_notional_max"),
        position_notional_max: money("position_notional_max"),
        leverage_max: ratio("leverage_max"),
        orders_per_minute_max: orders.and_then(|orders| u32::try_from(orders).ok()),
        daily_loss_max: money("daily_loss_max"),
        drawdown_max_pct: ratio("drawdown_max_pct"),
        on_drawdown: match table.word("on_drawdown") {
            "reduce" => OnDrawdown::Reduce,
            _ => OnDrawdown::Flatten,
        },
    }
}

/// Reads `BASE-QUOTE`, optionally with `.SPOT` or `.PERP` behind it.
///
/// # Errors
/// Why the text is not a symbol.
pub(super) fn parse_symbol(text: &str) -> Result<Symbol, String> {
    let error = || {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is not a symbol; write BASE-QUOTE in capitals, such as \"BTC-USDT\"")
    };
    let currency = |part: &str| {
        part.chars().all(|c| c.is_ascii_alphanumeric()) && part.chars().any(|c| c.is_ascii_alphabetic())
    };
    let pair = text.strip_suffix(".SPOT").or_else(|| text.strip_suffix(".PERP")).unwrap_or(text);
    match pair.split_once('-') {
        Some((base, quote)) if currency(base) && currency(quote) => Symbol::new(text).map_err(|_| error()),
        _ => Err(error()),
    }
}

/// Reads a list of symbols. Notes those that are none, and repeated ones.
pub(super) fn read_symbols(table: &Table, near: &[Symbol]) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::new();
    if table.is_blank("symbols") {
        table.problem("symbols", "names no pair; write them like [\"BTC-USDT\"]");
    }
    for (path, text) in table.texts("symbols") {
        match parse_symbol(&text) {
            Ok(symbol) if symbols.contains(&symbol) => {
                table.reader.problem(&path, format!("{text:?} is in the list already"));
            }
            Ok(symbol) => symbols.push(symbol),
            Err(why) => {
                let like = nearest(&text, near.iter().map(Symbol::as_str));
                let like = like.map(|like| format!("; did you mean {like:?}?")).unwrap_or_default();
                table.reader.problem(&path, why + &like);
            }
        }
    }
    symbols
}

/// A price of the schema.
pub(super) fn price(text: &str) -> Price {
    Price::new(constant(text))
}
