//! Would this order fill at this price? Pessimistic on purpose: touching is not filling.

use crate::exchange::{Available, MarketView};
use crate::model::amount::{Price, Ratio};
use crate::model::market::PriceUpdate;
use crate::model::order::Side;
use rust_decimal::Decimal;

/// The price that a market order gets now: the ask for a buy, the bid for a sell when known, else the last price
/// worsened by `slippage_bps`; on the tick, rounded against the taker. `None` without any price.
pub fn taker_price(side: Side, market: &MarketView<'_>, slippage_bps: Ratio) -> Option<Price> {
    let quoted = match side {
        Side::Buy => market.ask,
        Side::Sell => market.bid,
    };
    if quoted.is_some() {
        return quoted;
    }
    let share = slippage_bps.value() / Decimal::from(10_000);
    let factor = match side {
        Side::Buy => Decimal::ONE + share,
        Side::Sell => Decimal::ONE - share,
    };
    market.last.map(|last| market.instrument.round_price_against(Price::new(last.value() * factor), side))
}

/// The price that the order of a touched stop gets now: as [`taker_price`], but never better than the last price, which
/// may have left a quote of some seconds ago behind.
pub fn stopped_price(side: Side, market: &MarketView<'_>, slippage_bps: Ratio) -> Option<Price> {
    let price = taker_price(side, market, slippage_bps)?;
    Some(match (side, market.last) {
        (Side::Buy, Some(last)) => price.max(last),
        (Side::Sell, Some(last)) => price.min(last),
        (_, None) => price,
    })
}

/// The price of an update that may touch a stop. A quote does only where the market knows no last price.
pub fn trigger_price(update: &PriceUpdate, market: &MarketView<'_>) -> Option<Price> {
    match *update {
        PriceUpdate::Trade { price, .. } => Some(price),
        PriceUpdate::Candle { close } => Some(close),
        PriceUpdate::Quote { .. } if market.last.is_none() => market.trigger(),
        PriceUpdate::Quote { .. }
        | PriceUpdate::Mark { .. }
        | PriceUpdate::Confirmed
        | PriceUpdate::Instrument { .. } => None,
    }
}

/// Whether an order with this limit may fill at `price`.
pub fn within_limit(side: Side, limit: Price, price: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

/// What an update offers to a resting order: something only when the market traded through its limit.
pub fn traded_through(side: Side, limit: Price, update: &PriceUpdate) -> Option<Available> {
    let available = match *update {
        PriceUpdate::Trade { price, quantity, .. } => Available { price, quantity: Some(quantity) },
        PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity } => match side {
            Side::Buy => Available { price: ask, quantity: Some(ask_quantity) },
            Side::Sell => Available { price: bid, quantity: Some(bid_quantity) },
        },
        PriceUpdate::Candle { close } => Available { price: close, quantity: None },
        PriceUpdate::Mark { .. } | PriceUpdate::Confirmed | PriceUpdate::Instrument { .. } => return None,
    };
    let through = match side {
        Side::Buy => available.price < limit,
        Side::Sell => available.price > limit,
    };
    through.then_some(available)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::amount::{Quantity, parse_decimal};
    use crate::model::ids::Symbol;
    use crate::model::instrument::Instrument;

    fn price(text: &str) -> Price {
        Price::new(parse_decimal(text).unwrap())
    }

    #[test]
    fn takers_pay_the_quote_or_the_slippage() {
        let instrument = Instrument::plain(Symbol::new("BTC-USDT").unwrap());
        let check = |side, last: &str, bid: &str, ask: &str, expected: &str| {
            let known = |text: &str| (!text.is_empty()).then(|| price(text));
            let market = MarketView {
                instrument: &instrument,
                last: known(last),
                bid: known(bid),
                ask: known(ask),
                updates: 1,
                from_candle: false,
            };
            let got = taker_price(side, &market, Ratio::new(Decimal::TWO)).map(|p| p.to_string());
            assert_eq!(got.unwrap_or_default(), expected);
        };
        check(Side::Buy, "100", "99", "101", "101");
        check(Side::Sell, "100", "99", "101", "99");
        check(Side::Buy, "100", "", "", "100.02");
        check(Side::Sell, "100", "", "", "99.98");
        check(Side::Buy, "100", "99", "", "100.02");
        check(Side::Buy, "", "", "", "");
    }

    #[test]
    fn resting_orders_fill_only_when_traded_through() {
        let check = |side, limit: &str, traded: &str, expected: bool| {
            let update = PriceUpdate::Trade {
                price: price(traded),
                quantity: Quantity::new(Decimal::ONE),
                taker: None,
            };
            assert_eq!(traded_through(side, price(limit), &update).is_some(), expected, "{limit} {traded}");
        };
        check(Side::Buy, "100", "100.01", false);
        check(Side::Buy, "100", "100", false);
        check(Side::Buy, "100", "99.99", true);
        check(Side::Sell, "100", "99.99", false);
        check(Side::Sell, "100", "100", false);
        check(Side::Sell, "100", "100.01", true);
    }
}
