//! An independent reference of the books, written from the contract: what fills make of a strategy's money.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

/// The default fees, which every test has.
const FEE_TAKER_RATIO: Decimal = Decimal::from_parts(6, 0, 0, false, 4);
const FEE_MAKER_RATIO: Decimal = Decimal::from_parts(2, 0, 0, false, 4);

/// One position: signed quantity, signed cost, and what happened since it opened.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Holding {
    pub quantity: Decimal,
    pub cost: Decimal,
    pub realized_pnl: Decimal,
    pub fees: Decimal,
}

/// One strategy.
#[derive(Debug, Default, PartialEq)]
pub struct Books {
    pub realized_pnl: Decimal,
    pub fees: Decimal,
    pub holdings: BTreeMap<String, Holding>,
}

/// A number of a payload, exactly as it is written there.
pub fn number(value: &Value) -> Decimal {
    let text = value.as_number().unwrap_or_else(|| panic!("{value} is not a number")).to_string();
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Money has 8 decimals, rounded half to even.
fn money(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven)
}

impl Books {
    /// Adds a `fill` event, and holds what it says against what must be.
    pub fn fill(&mut self, fill: &Value) {
        let symbol = fill["symbol"].as_str().expect("a symbol");
        let (quantity, price, fee) =
            (number(&fill["quantity"]), number(&fill["price"]), number(&fill["fee"]));
        assert!(quantity > Decimal::ZERO && price > Decimal::ZERO, "{fill}");
        let ratio = if fill["liquidity"] == "maker" { FEE_MAKER_RATIO } else { FEE_TAKER_RATIO };
        assert_eq!(fee, money(money(price * quantity) * ratio), "{fill}");
        let signed = if fill["side"] == "buy" { quantity } else { -quantity };
        let holding = self.holdings.entry(symbol.to_owned()).or_default();
        let before = holding.quantity;
        let reduces = !before.is_zero() && before.is_sign_positive() != signed.is_sign_positive();
        let closing = if reduces { quantity.min(before.abs()) } else { Decimal::ZERO };
        let opening = quantity - closing;
        if before.is_zero() {
            *holding = Holding::default();
        }
        let mut realized = Decimal::ZERO;
        if reduces {
            // A part takes its share of the cost; the last part takes all, so that nothing remains.
            let cost = match closing == before.abs() {
                true => holding.cost,
                false => money(holding.cost * closing / before.abs()),
            };
            let part = if before.is_sign_positive() { closing } else { -closing };
            realized = money(price * part) - cost;
            holding.quantity -= part;
            holding.cost -= cost;
            holding.realized_pnl += realized;
        }
        let fee_close = if reduces && !opening.is_zero() { money(fee * closing / quantity) } else { fee };
        if reduces && !opening.is_zero() {
            *holding = Holding { fees: fee - fee_close, ..Holding::default() };
        } else {
            holding.fees += fee;
        }
        if !opening.is_zero() {
            let part = if signed.is_sign_positive() { opening } else { -opening };
            holding.quantity += part;
            holding.cost += money(price * part);
        }
        let event_type = match (before.is_zero(), reduces, opening.is_zero(), holding.quantity.is_zero()) {
            (true, ..) => "open",
            (_, false, ..) => "increase",
            (.., false, _) => "flip",
            (.., true) => "close",
            _ => "reduce",
        };
        assert_eq!(fill["event_type"], event_type, "{fill}");
        assert_eq!(number(&fill["position_quantity"]), holding.quantity, "{fill}");
        assert_eq!(number(&fill["realized_pnl"]), realized, "{fill}");
        self.realized_pnl += realized;
        self.fees += fee;
    }
}
