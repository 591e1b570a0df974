//! Lines of a recording of all events of a feed ([`RecordingKind::Events`]).
//!
//! | event | value_1 | value_2 | value_3 | value_4 |
//! | --- | --- | --- | --- | --- |
//! | `trade` | price | base units | taker: `buy`, `sell` or empty | |
//! | `quote` | bid | base units at the bid | ask | base units at the ask |
//! | `candle` | close | | | |
//! | `mark` | mark price | | | |
//! | `confirmed` | | | | |
//! | `instrument` | tick size | lot size, contracts | smallest order, contracts | base units in a contract |

use super::RecordingKind;
use crate::model::market::{Arrival, PriceUpdate};
use crate::model::order::Side;

/// The first line of a file, with its end.
pub fn header() -> String {
    RecordingKind::Events.columns().join(",") + "\n"
}

/// The line of an event, with its end. Numbers are written as they are, so nothing is lost.
pub fn line(arrival: &Arrival) -> String {
    let (at, time) = (arrival.at.as_ms(), arrival.event.time.as_ms());
    let event = match arrival.event.update {
        PriceUpdate::Trade { price, quantity, taker } => {
            format!("trade,{price},{quantity},{},", taker.map_or("", Side::as_str))
        }
        PriceUpdate::Quote { bid, bid_quantity, ask, ask_quantity } => {
            format!("quote,{bid},{bid_quantity},{ask},{ask_quantity}")
        }
        PriceUpdate::Candle { close } => format!("candle,{close},,,"),
        PriceUpdate::Mark { price } => format!("mark,{price},,,"),
        PriceUpdate::Confirmed => "confirmed,,,,".to_owned(),
        PriceUpdate::Instrument { tick_size, lot_size, size_min, contract_value } => {
            format!("instrument,{tick_size},{lot_size},{size_min},{contract_value}")
        }
    };
    format!("{at},{time},{event}\n")
}
