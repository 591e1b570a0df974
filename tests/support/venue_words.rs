//! What a venue says, by words, and what it is asked, in short form.
//!
//! ```text
//! link up|down                     check uid=42 mode=net read_only=false environment=demo expires=MS leverage=SYM:3
//! skew MS                          balance AVAILABLE              funding ID SYMBOL AMOUNT
//! ack #1 v1                        refused #1 CODE [transient] [duplicate] [earlier]
//! notsent|unanswered|notfound #1   cancelrefused #1
//! order #1|- v1 SYMBOL SIDE QUANTITY STATUS filled= at= fee= category= stop=#2
//! fill t1 v1 SYMBOL SIDE QUANTITY PRICE FEE
//! stop #2|- v5 SYMBOL SIDE STATUS
//! snapshot available= pos=SYMBOL:1 order=#1:v1:SYMBOL:SIDE:QUANTITY:STATUS:filled:at:fee:category
//!          fill=t1:v1:SYMBOL:SIDE:QUANTITY:PRICE:FEE stop=#2:v5:SYMBOL:SIDE:STATUS
//! ```

use tradebus::engine::event::Event;
use tradebus::engine::live_state::LiveState;
use tradebus::model::ids::{AccountId, ClientOrderId, Symbol, VenueOrderId};
use tradebus::model::order::Side;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{
    AccountCheck, AccountReport, AccountSnapshot, Dispatch, Environment, OrderCategory, OrderState,
    PositionMode, PositionSide, StopState, VenueBalance, VenueFill, VenueFunding, VenueOrderStatus,
    VenuePosition, VenueRefusal, VenueReport, VenueRequest, VenueStopStatus,
};

use crate::rig;

struct Words<'a> {
    now: Timestamp,
    ids: &'a [(usize, &'a str)],
    live: &'a LiveState,
}

/// The event of `ACCOUNT WORD ARGUMENTS...`; `asked` is when the last snapshot was asked for.
pub fn event(
    now: Timestamp,
    asked: Timestamp,
    ids: &[(usize, &str)],
    live: &LiveState,
    words: &[&str],
) -> Event {
    let account = AccountId::new(words[0]).unwrap();
    let report = Words { now, ids, live }.report(asked, words[1], &words[2..]);
    Event::Venue(Box::new(AccountReport { account, report }))
}

fn venue_id(text: &str) -> VenueOrderId {
    VenueOrderId::new(text).unwrap()
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn side(text: &str) -> Side {
    if text == "buy" { Side::Buy } else { Side::Sell }
}

impl Words<'_> {
    fn id(&self, text: &str) -> ClientOrderId {
        let number: usize = text.strip_prefix('#').unwrap().parse().unwrap();
        let found = self.ids.iter().find(|(known, _)| *known == number);
        ClientOrderId::new(found.unwrap_or_else(|| panic!("{text}: no order")).1).unwrap()
    }

    /// When the last sending of an order or a stop expires, or an `earlier` one.
    fn sending(&self, words: &[&str]) -> Timestamp {
        let id = self.id(words[0]);
        let order = self.live.orders.get(&id).map(|live| live.note.expires);
        let stop = self.live.stops.get(&id).map(|live| live.expires);
        let last = order.or(stop).unwrap_or(self.now);
        last.plus_ms(if words.contains(&"earlier") { -1 } else { 0 })
    }

    fn report(&self, asked: Timestamp, word: &str, rest: &[&str]) -> VenueReport {
        match word {
            "link" => VenueReport::Link { up: rest[0] == "up", text: String::new() },
            "check" => VenueReport::Check(Box::new(check(rest))),
            "skew" => VenueReport::Skew { ms: rest[0].parse().unwrap() },
            "balance" => VenueReport::Balance(self.balance(rest[0])),
            "funding" => VenueReport::Funding(VenueFunding {
                id: rest[0].into(),
                symbol: symbol(rest[1]),
                amount: rig::money(rest[2]),
                time: self.now,
            }),
            "ack" => VenueReport::Acknowledged {
                order_id: self.id(rest[0]),
                venue_order_id: Some(venue_id(rest[1])),
            },
            "refused" => VenueReport::Refused {
                order_id: self.id(rest[0]),
                expires: self.sending(rest),
                refusal: refusal(&rest[1..]),
            },
            "cancelrefused" => {
                VenueReport::CancelRefused { order_id: self.id(rest[0]), refusal: refusal(&["1000"]) }
            }
            "notsent" => VenueReport::NotSent {
                order_id: self.id(rest[0]),
                expires: self.sending(rest),
                text: "no connection".into(),
            },
            "unanswered" => VenueReport::Unanswered { order_id: self.id(rest[0]) },
            "notfound" => VenueReport::NotFound { order_id: self.id(rest[0]), asked: self.now },
            "order" => VenueReport::Order(Box::new(self.order(rest))),
            "fill" => VenueReport::Fills(vec![self.fill(rest)]),
            "stop" => VenueReport::Stop(Box::new(self.stop(rest))),
            "snapshot" => VenueReport::Snapshot(Box::new(self.snapshot(asked, rest))),
            other => panic!("{other}: no word of a venue"),
        }
    }

    fn balance(&self, available: &str) -> VenueBalance {
        let money = rig::money(available);
        VenueBalance { balance: money, equity: money, available: money, time: self.now }
    }

    fn order(&self, words: &[&str]) -> OrderState {
        let mut state = OrderState {
            order_id: (words[0] != "-").then(|| self.id(words[0])),
            stop_id: None,
            venue_order_id: venue_id(words[1]),
            venue_stop_id: None,
            symbol: symbol(words[2]),
            side: side(words[3]),
            position_side: PositionSide::Net,
            category: OrderCategory::Normal,
            status: match words[5] {
                "live" => VenueOrderStatus::Live,
                "partly" => VenueOrderStatus::PartlyFilled,
                "filled" => VenueOrderStatus::Filled,
                _ => VenueOrderStatus::Cancelled,
            },
            quantity: rig::quantity(words[4]),
            filled_quantity: rig::quantity("0"),
            average_price: None,
            fee: None,
            time: self.now,
        };
        for (name, value) in rig::pairs(&words[6..]) {
            match name {
                "filled" => state.filled_quantity = rig::quantity(value),
                "at" => state.average_price = Some(rig::price(value)),
                "fee" => state.fee = Some(rig::money(value)),
                "stop" => state.stop_id = Some(self.id(value)),
                "category" => state.category = category(value),
                _ => panic!("{name}: nothing of an order"),
            }
        }
        state
    }

    fn fill(&self, words: &[&str]) -> VenueFill {
        VenueFill {
            trade_id: venue_id(words[0]),
            venue_order_id: venue_id(words[1]),
            symbol: symbol(words[2]),
            side: side(words[3]),
            position_side: PositionSide::Net,
            quantity: rig::quantity(words[4]),
            price: rig::price(words[5]),
            fee: rig::money(words[6]),
            time: self.now,
        }
    }

    fn stop(&self, words: &[&str]) -> StopState {
        StopState {
            stop_id: (words[0] != "-").then(|| self.id(words[0])),
            venue_order_id: venue_id(words[1]),
            symbol: symbol(words[2]),
            side: side(words[3]),
            status: match words[4] {
                "live" => VenueStopStatus::Live,
                "triggered" => VenueStopStatus::Triggered,
                "failed" => VenueStopStatus::Failed,
                _ => VenueStopStatus::Cancelled,
            },
            quantity: None,
            stop_loss: None,
            take_profit: None,
            time: self.now,
        }
    }

    fn snapshot(&self, asked: Timestamp, words: &[&str]) -> AccountSnapshot {
        let mut snapshot = AccountSnapshot {
            asked,
            positions: Vec::new(),
            orders: Vec::new(),
            stops: Vec::new(),
            fills: Vec::new(),
            orders_ended: Vec::new(),
            balance: self.balance("1000000"),
        };
        for (name, value) in rig::pairs(words) {
            let parts: Vec<&str> = value.split(':').collect();
            match name {
                "available" => snapshot.balance = self.balance(value),
                "pos" => snapshot.positions.push(VenuePosition {
                    symbol: symbol(parts[0]),
                    position_side: PositionSide::Net,
                    quantity: rig::quantity(parts[1]),
                    entry_price: None,
                    liquidation_price: None,
                    time: self.now,
                }),
                "fill" => snapshot.fills.push(self.fill(&parts)),
                "stop" => snapshot.stops.push(self.stop(&parts)),
                "order" => {
                    let mut state = self.order(&parts[..6]);
                    if let [_, _, _, _, _, _, filled, at, fee, rest @ ..] = parts.as_slice() {
                        state.filled_quantity = rig::quantity(filled);
                        state.average_price = Some(rig::price(at));
                        state.fee = Some(rig::money(fee));
                        rest.iter().for_each(|word| state.category = category(word));
                    }
                    let open =
                        matches!(state.status, VenueOrderStatus::Live | VenueOrderStatus::PartlyFilled);
                    if open { &mut snapshot.orders } else { &mut snapshot.orders_ended }.push(state);
                }
                _ => panic!("{name}: nothing of a snapshot"),
            }
        }
        snapshot
    }
}

fn category(word: &str) -> OrderCategory {
    match word {
        "liquidation" => OrderCategory::Liquidation,
        "adl" => OrderCategory::AutoDeleverage,
        "sl" => OrderCategory::StopLoss,
        "tp" => OrderCategory::TakeProfit,
        other => panic!("{other}: no category"),
    }
}

fn refusal(words: &[&str]) -> VenueRefusal {
    VenueRefusal {
        code: words[0].into(),
        text: "no".into(),
        duplicate: words.contains(&"duplicate"),
        transient: words.contains(&"transient"),
    }
}

fn check(words: &[&str]) -> AccountCheck {
    let mut check = AccountCheck {
        uid: "42".into(),
        environment: Environment::Demo,
        read_only: false,
        expires: None,
        ip_bound: true,
        position_mode: PositionMode::Net,
        leverages: Vec::new(),
    };
    for (name, value) in rig::pairs(words) {
        match name {
            "uid" => check.uid = value.into(),
            "mode" if value == "net" => check.position_mode = PositionMode::Net,
            "mode" => check.position_mode = PositionMode::LongShort,
            "read_only" => check.read_only = value == "true",
            "environment" if value == "production" => check.environment = Environment::Production,
            "environment" => check.environment = Environment::Demo,
            "expires" => check.expires = Some(Timestamp::from_ms(value.parse().unwrap())),
            "leverage" => {
                let (name, leverage) = value.split_once(':').unwrap();
                check.leverages.push((symbol(name), leverage.parse().unwrap()));
            }
            _ => panic!("{name}: nothing of a check"),
        }
    }
    check
}

/// What is asked, in one line.
pub fn line(dispatch: &Dispatch) -> String {
    let account = dispatch.account;
    let text = match &dispatch.request {
        VenueRequest::Place(place) => {
            let reduce = if place.reduce_only { " reduce_only" } else { "" };
            let price = place.order_type.price().map_or(String::new(), |price| format!(" {price}"));
            let (id, side, position) = (place.order_id, place.side.as_str(), place.position_side);
            format!("place {id} {side} {}{price}{reduce} {position:?}", place.quantity)
        }
        VenueRequest::Cancel { order_id, .. } => format!("cancel {order_id}"),
        VenueRequest::Lookup { order_id, .. } => format!("look up {order_id}"),
        VenueRequest::PlaceStop(stop) => {
            let prices = [stop.stop_loss, stop.take_profit];
            let prices = prices.map(|price| price.map_or("-".to_string(), |price| price.to_string()));
            format!(
                "place stop {} {} {} {}",
                stop.stop_id,
                stop.side.as_str(),
                stop.quantity,
                prices.join("/")
            )
        }
        VenueRequest::CancelStop { stop_id, .. } => format!("cancel stop {stop_id}"),
        VenueRequest::LookupStop { stop_id, .. } => format!("look up stop {stop_id}"),
        VenueRequest::Snapshot { fills_after, .. } => {
            let known =
                fills_after.iter().filter_map(|(symbol, id)| Some(format!("{symbol}:{}", id.as_ref()?)));
            let known: Vec<String> = known.collect();
            format!("snapshot after {}", if known.is_empty() { "-".into() } else { known.join(" ") })
        }
    };
    format!("{account} is asked: {text}")
}
