//! Orders, stops and executions of the fake, and the rows that it shows of them.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::now_ms;

/// 18 decimals, as the venue shows them.
pub(super) fn long(value: Decimal) -> String {
    format!("{value:.18}")
}

/// An order.
#[derive(Clone, Debug, PartialEq)]
pub struct FakeOrder {
    pub id: u64,
    pub client_id: String,
    pub pair: String,
    pub side: String,
    pub position_side: String,
    pub margin_mode: String,
    pub order_type: String,
    pub price: Decimal,
    pub size: Decimal,
    pub filled: Decimal,
    pub notional: Decimal,
    pub fee: Decimal,
    pub reduce_only: bool,
    pub state: &'static str,
    pub category: &'static str,
    pub algo_id: String,
    pub algo_client_id: String,
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl FakeOrder {
    pub fn is_open(&self) -> bool {
        matches!(self.state, "live" | "partially_filled")
    }

    pub fn sign(&self) -> Decimal {
        if self.side == "buy" { Decimal::ONE } else { Decimal::NEGATIVE_ONE }
    }

    pub fn row(&self) -> Value {
        let average = match self.filled.is_zero() {
            true => Decimal::ZERO,
            false => self.notional / self.filled,
        };
        json!({
            "instType": "SWAP", "instId": self.pair, "orderId": self.id.to_string(),
            "clientOrderId": if self.client_id.is_empty() { Value::Null } else { json!(self.client_id) },
            "price": long(self.price), "size": long(self.size), "orderType": self.order_type, "side": self.side,
            "positionSide": self.position_side, "marginMode": self.margin_mode, "filledSize": long(self.filled),
            "filledAmount": "0", "averagePrice": long(average), "state": self.state, "leverage": "3",
            "fee": long(self.fee), "pnl": "0", "orderCategory": self.category,
            "createTime": self.created_ms.to_string(), "updateTime": self.updated_ms.to_string(),
            "reduceOnly": self.reduce_only.to_string(), "algoId": self.algo_id,
            "algoClientOrderId": self.algo_client_id, "brokerId": "",
        })
    }
}

/// A stop.
#[derive(Clone, Debug, PartialEq)]
pub struct FakeStop {
    pub id: u64,
    pub client_id: String,
    pub pair: String,
    pub side: String,
    pub position_side: String,
    pub margin_mode: String,
    pub size: Decimal,
    pub stop_loss: Option<Decimal>,
    pub take_profit: Option<Decimal>,
    pub state: &'static str,
    pub created_ms: i64,
}

impl FakeStop {
    pub fn row(&self) -> Value {
        let shown = |price: Option<Decimal>| price.map_or(Value::Null, |price| json!(long(price)));
        json!({
            "instType": "SWAP", "instId": self.pair, "tpslId": self.id.to_string(), "algoId": self.id.to_string(),
            "clientOrderId": self.client_id, "size": self.size.normalize().to_string(),
            "orderType": "conditional", "side": self.side, "positionSide": self.position_side,
            "marginMode": self.margin_mode, "leverage": "3", "state": self.state,
            "tpTriggerPrice": shown(self.take_profit), "tpOrderPrice": "-1",
            "slTriggerPrice": shown(self.stop_loss), "slOrderPrice": "-1", "reduceOnly": "true",
            "createTime": self.created_ms.to_string(), "updateTime": now_ms().to_string(), "brokerId": "",
        })
    }

    /// Which trigger a last price touches.
    pub fn touched(&self, last: Decimal) -> Option<&'static str> {
        let closes_long = self.side == "sell";
        let loss = self.stop_loss.is_some_and(|at| if closes_long { last <= at } else { last >= at });
        let profit = self.take_profit.is_some_and(|at| if closes_long { last >= at } else { last <= at });
        match (loss, profit) {
            (true, _) => Some("sl"),
            (false, true) => Some("tp"),
            _ => None,
        }
    }
}

/// An execution.
#[derive(Clone, Debug, PartialEq)]
pub struct FakeFill {
    pub id: u64,
    pub order_id: u64,
    pub client_id: String,
    pub pair: String,
    pub side: String,
    pub position_side: String,
    pub price: Decimal,
    pub size: Decimal,
    pub fee: Decimal,
    pub time_ms: i64,
}

impl FakeFill {
    pub fn row(&self) -> Value {
        json!({
            "instId": self.pair, "tradeId": self.id.to_string(), "orderId": self.order_id.to_string(),
            "fillPrice": long(self.price), "fillSize": long(self.size), "fillPnl": "0", "side": self.side,
            "positionSide": self.position_side, "fee": long(self.fee), "ts": self.time_ms.to_string(), "brokerId": "",
        })
    }
}
