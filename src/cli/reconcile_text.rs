//! The plan of `reconcile`, and what was done of it, as people read it.

use serde_json::Value;

use super::output::Align::{Left, Right};
use super::output::{Align, table};
use super::payload::{self, field};
use super::reconcile::{Booking, Choice, Done, choice, list, order_ids};

const PAIRS: [(&str, Align); 8] = [
    ("symbol", Left),
    ("side", Left),
    ("venue", Right),
    ("ledgers", Right),
    ("difference", Right),
    ("standing", Left),
    ("strategies", Left),
    ("accept would", Left),
];
const ORDERS: [(&str, Align); 6] = [
    ("venue_order_id", Left),
    ("order_id", Left),
    ("symbol", Left),
    ("side", Left),
    ("quantity", Right),
    ("filled_quantity", Right),
];
const STOPS: [(&str, Align); 7] = [
    ("venue_order_id", Left),
    ("order_id", Left),
    ("symbol", Left),
    ("side", Left),
    ("quantity", Right),
    ("stop_loss", Right),
    ("take_profit", Right),
];

/// Every account, parted by a line.
pub fn accounts(accounts: &[Value]) -> String {
    match accounts {
        [] => "no strategy trades at a venue: there is nothing to compare\n".to_owned(),
        some => some.iter().map(account).collect::<Vec<_>>().join("\n"),
    }
}

fn account(account: &Value) -> String {
    let compared = match (account.get("compared"), field(account, "compared_at").as_str()) {
        (_, "-") => "not compared yet".to_owned(),
        (Some(Value::Bool(true)), time) => format!("compared {time}"),
        (_, time) => format!("compared {time}, not settled yet"),
    };
    let mut text =
        format!("account {} at {}, {compared}\n", field(account, "account"), field(account, "venue"));
    let rows: Vec<Vec<String>> = list(account, "pairs").map(pair).collect();
    match rows.is_empty() {
        true => text.push_str("nothing was held on either side\n"),
        false => text.push_str(&table(&PAIRS, rows)),
    }
    for (what, key, header) in
        [("orders", "unknown_orders", &ORDERS[..]), ("stops", "unknown_stops", &STOPS[..])]
    {
        let values: Vec<Value> = list(account, key).cloned().collect();
        if !values.is_empty() {
            let keys: Vec<&str> = header.iter().map(|(key, _)| *key).collect();
            text.push_str(&format!("{what} of others, which tradebus leaves alone:\n"));
            text.push_str(&table(header, payload::rows(&values, &keys)));
        }
    }
    let told =
        ["unknown_orders", "unknown_stops"].map(|key| list(account, key).count()).iter().sum::<usize>();
    let known = field(account, "unknown").parse::<usize>().unwrap_or_default();
    if known > told {
        text.push_str(&format!("and {} more orders and stops of others\n", known - told));
    }
    text
}

fn pair(pair: &Value) -> Vec<String> {
    let held = |strategy: &Value| format!("{} {}", field(strategy, "strategy"), field(strategy, "quantity"));
    let strategies: Vec<String> = list(pair, "strategies").map(held).collect();
    let accept = match (field(pair, "standing").as_str(), choice(pair, None)) {
        ("unconfirmed", _) => "nothing before the next comparison".to_owned(),
        ("foreign", _) => "nothing: no strategy trades it".to_owned(),
        ("equal", _) => "-".to_owned(),
        (_, Choice::Nothing) => "nothing: no strategy can take it".to_owned(),
        (_, Choice::Book(bookings)) => wishes(&bookings),
        (_, Choice::Unclear(candidates)) => format!("need --strategy: {}", wishes(&candidates)),
    };
    let strategies = if strategies.is_empty() { "-".to_owned() } else { strategies.join(", ") };
    let cells = ["symbol", "position_side", "venue_quantity", "ledger_quantity", "difference", "standing"];
    cells.iter().map(|key| field(pair, key)).chain([strategies, accept]).collect()
}

/// `alpha buy 0.005 at 97000, beta sell 1 at 97000`.
fn wishes(bookings: &[Booking]) -> String {
    let wish = |booking: &Booking| {
        let side = if booking.quantity.is_sign_negative() { "sell" } else { "buy" };
        let price = match booking.price.as_str() {
            "-" => "once there is a price".to_owned(),
            price => format!("at {price}"),
        };
        format!("{} {side} {} {price}", booking.strategy, booking.quantity.abs().normalize())
    };
    bookings.iter().map(wish).collect::<Vec<_>>().join(", ")
}

/// What `--accept` did, a line for each booking.
pub fn done(done: &Done) -> String {
    let mut text = String::new();
    for (booking, answer) in &done.answers {
        text.push_str(&format!("{} {}: ", booking.strategy, booking.symbol));
        let (ids, answer) = (order_ids(answer), payload::read(answer));
        if answer["status"] != "ok" {
            text.push_str(&format!("refused, {}: {}", field(&answer, "reason"), field(&answer, "detail")));
        } else if ids.is_empty() {
            text.push_str("nothing was left to book");
        }
        let booked = |id: &String| match done.orders.get(id).map(|order| payload::read(order)) {
            Some(order) => format!(
                "booked {} {} at {} (order {id})",
                field(&order, "side"),
                field(&order, "filled_quantity"),
                field(&order, "average_price")
            ),
            None => format!("booked (order {id})"),
        };
        text.push_str(&ids.iter().map(booked).collect::<Vec<_>>().join(", "));
        text.push('\n');
    }
    for candidates in &done.unclear {
        let symbol = candidates.first().map_or("", |booking| booking.symbol.as_str());
        text.push_str(&format!(
            "{symbol}: nothing was booked, because several strategies trade it; name one with --strategy ({})\n",
            wishes(candidates)
        ));
    }
    if text.is_empty() {
        text.push_str("there was nothing to accept\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PLAN: &str = r#"[{"account":"main","venue":"blofin","compared":true,"compared_at":"2026-11-20T20:00:05.000Z","pairs":[
        {"symbol":"BTC-USDT","position_side":"net","venue_quantity":0.025,"ledger_quantity":0.02,"difference":0.005,
         "standing":"differs","strategies":[{"strategy":"a","quantity":0.02,"accepts":0.005,"price":97000.5}]},
        {"symbol":"ETH-USDT","position_side":"net","venue_quantity":1,"ledger_quantity":1.4,"difference":-0.4,
         "standing":"differs","strategies":[{"strategy":"a","quantity":0.9,"accepts":-0.4,"price":3000},
         {"strategy":"b","quantity":0.5,"accepts":-0.4,"price":null}]},
        {"symbol":"SOL-USDT","position_side":"net","venue_quantity":0,"ledger_quantity":3,"difference":-3,
         "standing":"differs","strategies":[{"strategy":"a","quantity":2,"accepts":-2,"price":150},
         {"strategy":"b","quantity":1,"accepts":-1,"price":150}]},
        {"symbol":"XRP-USDT","position_side":"net","venue_quantity":5,"ledger_quantity":0,"difference":5,
         "standing":"foreign","strategies":[]}],
        "unknown_orders":[{"venue_order_id":"v1","order_id":null,"symbol":"BTC-USDT","side":"sell","quantity":2,"filled_quantity":0}],
        "unknown_stops":[],"unknown":3},
        {"account":"two","venue":"blofin","compared":false,"compared_at":null,"pairs":[],"unknown_orders":[],
         "unknown_stops":[],"unknown":0}]"#;

    #[test]
    fn a_plan_in_words() {
        let plan = payload::read(PLAN);
        assert_eq!(
            accounts(plan.as_array().unwrap()),
            "account main at blofin, compared 2026-11-20T20:00:05.000Z\n\
             symbol    side  venue  ledgers  difference  standing  strategies    accept would\n\
             BTC-USDT  net   0.025     0.02       0.005  differs   a 0.02        a buy 0.005 at 97000.5\n\
             ETH-USDT  net       1      1.4        -0.4  differs   a 0.9, b 0.5  \
             need --strategy: a sell 0.4 at 3000, b sell 0.4 once there is a price\n\
             SOL-USDT  net       0        3          -3  differs   a 2, b 1      a sell 2 at 150, b sell 1 at 150\n\
             XRP-USDT  net       5        0           5  foreign   -             nothing: no strategy trades it\n\
             orders of others, which tradebus leaves alone:\n\
             venue_order_id  order_id  symbol    side  quantity  filled_quantity\n\
             v1              -         BTC-USDT  sell         2                0\n\
             and 2 more orders and stops of others\n\
             \n\
             account two at blofin, not compared yet\n\
             nothing was held on either side\n"
        );
        assert_eq!(accounts(&[]), "no strategy trades at a venue: there is nothing to compare\n");
    }

    #[test]
    fn what_was_done_in_words() {
        let plan = payload::read(PLAN);
        let pairs: Vec<&Value> = list(&plan[0], "pairs").collect();
        let (Choice::Book(mut bookings), Choice::Unclear(unclear)) =
            (choice(pairs[0], None), choice(pairs[1], None))
        else {
            panic!("one is clear, one is not")
        };
        let Choice::Book(more) = choice(pairs[2], None) else { panic!("all that differs") };
        bookings.extend(more);
        let answers = [
            r#"{"status":"ok","data":{"orders":["x"]}}"#,
            r#"{"status":"error","reason":"no_price","detail":"none","data":null}"#,
            r#"{"status":"ok","data":{"orders":[]}}"#,
        ];
        let answers = bookings.into_iter().zip(answers.map(String::from)).collect();
        let order = r#"{"side":"buy","filled_quantity":0.005,"average_price":97000.5}"#;
        let orders = BTreeMap::from([("x".to_owned(), order.to_owned())]);
        assert_eq!(
            done(&Done { answers, orders, unclear: vec![unclear] }),
            "a BTC-USDT: booked buy 0.005 at 97000.5 (order x)\n\
             a SOL-USDT: refused, no_price: none\n\
             b SOL-USDT: nothing was left to book\n\
             ETH-USDT: nothing was booked, because several strategies trade it; name one with --strategy \
             (a sell 0.4 at 3000, b sell 0.4 once there is a price)\n"
        );
        let nothing = Done { answers: Vec::new(), orders: BTreeMap::new(), unclear: Vec::new() };
        assert_eq!(done(&nothing), "there was nothing to accept\n");
    }
}
