//! The paper exchange.

use serde::{Deserialize, Serialize};

use crate::model::amount::Ratio;

/// How a paper exchange fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperSettings {
    /// Fee of a fill that takes liquidity, as a share of its notional.
    pub fee_taker_ratio: Ratio,
    /// Fee of a fill that gives liquidity, as a share of its notional. Negative is a rebate.
    pub fee_maker_ratio: Ratio,
    /// What a market order without a known quote pays beyond the last price, in basis points.
    pub slippage_bps: Ratio,
    /// Time between an order and its arrival at the exchange, in milliseconds.
    pub latency_ms: i64,
    /// Notional may reach equity x leverage.
    pub leverage: Ratio,
}
