//! Requests in the documented shape, answers of every kind, and rows good and bad, as tables.

use serde_json::value::RawValue;

use super::answer::{self, Outcome};
use super::login::{login, subscribe};
use super::request::{self, List, Method, Request};
use super::sign::{Keys, Stamp};
use super::stream::{self, Frame};
use super::{Instruments, account, row};
use crate::model::amount::{Price, Quantity, parse_decimal};
use crate::model::ids::{ClientOrderId, Symbol, VenueOrderId};
use crate::model::instrument::Instrument;
use crate::model::order::{OrderType, Side};
use crate::model::time::Timestamp;
use crate::model::trading::{MarginMode, PlaceOrder, PlaceStop, PositionSide};
use secrecy::ExposeSecret;

const ID: &str = "abcdefghijklmnopqrstuvwxyz234567";

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn price(text: &str) -> Price {
    Price::new(parse_decimal(text).unwrap())
}

fn quantity(text: &str) -> Quantity {
    Quantity::new(parse_decimal(text).unwrap())
}

fn own() -> ClientOrderId {
    ClientOrderId::new(ID).unwrap()
}

fn bitcoin() -> Instrument {
    let lot = quantity("0.1");
    Instrument::new(symbol("BTC-USDT"), price("0.1"), lot, lot, quantity("0.001")).unwrap()
}

fn instruments() -> Instruments {
    [(symbol("BTC-USDT"), bitcoin())].into()
}

fn keys() -> Keys {
    Keys { api_key: "the-key".into(), secret: "secret".into(), passphrase: "open sesame".into() }
}

fn stamp() -> Stamp {
    Stamp { time: Timestamp::from_ms(1_700_000_000_000), nonce: "1700000000000".into() }
}

fn order() -> PlaceOrder {
    PlaceOrder {
        order_id: own(),
        instrument: bitcoin(),
        side: Side::Buy,
        order_type: OrderType::Market,
        quantity: quantity("0.0123"),
        reduce_only: false,
        margin_mode: MarginMode::Cross,
        position_side: PositionSide::Net,
        expires: Timestamp::from_ms(0),
    }
}

fn stop() -> PlaceStop {
    PlaceStop {
        stop_id: own(),
        instrument: bitcoin(),
        side: Side::Sell,
        quantity: quantity("0.01"),
        stop_loss: Some(price("95000")),
        take_profit: Some(price("99000.5")),
        margin_mode: MarginMode::Isolated,
        position_side: PositionSide::Long,
        expires: Timestamp::from_ms(0),
    }
}

#[track_caller]
fn shows(request: &Request, expected: &str) {
    let shown = format!("{} {} {}", request.method.as_str(), request.path, request.body);
    assert_eq!(shown.trim_end(), expected);
}

#[test]
fn orders_leave_as_documented() {
    let check = |order: &PlaceOrder, broker: Option<&str>, expected: &str| {
        let shown =
            request::place(order, broker).map_or_else(|error| error.to_string(), |request| request.body);
        assert_eq!(shown, expected);
    };
    check(
        &order(),
        None,
        r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"market","size":"12.3","reduceOnly":"false","clientOrderId":"abcdefghijklmnopqrstuvwxyz234567"}"#,
    );
    let limit = OrderType::Limit { price: price("97000.0") };
    let exit = PlaceOrder { side: Side::Sell, order_type: limit, reduce_only: true, ..order() };
    check(
        &PlaceOrder { margin_mode: MarginMode::Isolated, position_side: PositionSide::Long, ..exit.clone() },
        Some("broker7"),
        r#"{"instId":"BTC-USDT","marginMode":"isolated","positionSide":"long","side":"sell","orderType":"limit","price":"97000","size":"12.3","reduceOnly":"true","clientOrderId":"abcdefghijklmnopqrstuvwxyz234567","brokerId":"broker7"}"#,
    );
    // What does not fit the instrument is never bent until it does.
    let sized = |text| PlaceOrder { quantity: quantity(text), ..order() };
    let lots = " of BTC-USDT is not a positive number of whole lots of 0.0001";
    for text in ["0.01235", "0", "-0.0123", "0.00009"] {
        check(&sized(text), None, &format!("{text}{lots}"));
    }
    let dear =
        Instrument::new(symbol("BTC-USDT"), price("0.1"), quantity("0.1"), quantity("1"), quantity("0.001"));
    let small = PlaceOrder { instrument: dear.unwrap(), ..sized("0.0009") };
    check(&small, None, "0.0009 of BTC-USDT is below the minimum of 0.001");
    for text in ["97000.05", "0", "-0.1"] {
        let odd = PlaceOrder { order_type: OrderType::Limit { price: price(text) }, ..order() };
        let why = format!("a price of {text} for BTC-USDT is not a positive number of whole ticks of 0.1");
        check(&odd, None, &why);
    }
}

#[test]
fn stops_leave_as_documented() {
    let check = |stop: &PlaceStop, expected: &str| {
        let shown =
            request::place_stop(stop, None).map_or_else(|error| error.to_string(), |request| request.body);
        assert_eq!(shown, expected);
    };
    check(
        &stop(),
        r#"{"instId":"BTC-USDT","marginMode":"isolated","positionSide":"long","side":"sell","tpTriggerPrice":"99000.5","tpOrderPrice":"-1","slTriggerPrice":"95000","slOrderPrice":"-1","size":"10","reduceOnly":"true","clientOrderId":"abcdefghijklmnopqrstuvwxyz234567"}"#,
    );
    check(
        &PlaceStop { take_profit: None, ..stop() },
        r#"{"instId":"BTC-USDT","marginMode":"isolated","positionSide":"long","side":"sell","slTriggerPrice":"95000","slOrderPrice":"-1","size":"10","reduceOnly":"true","clientOrderId":"abcdefghijklmnopqrstuvwxyz234567"}"#,
    );
    check(
        &PlaceStop { take_profit: None, stop_loss: None, ..stop() },
        "a protective stop has neither a stop loss nor a take profit",
    );
}

#[test]
fn the_rest_leaves_as_documented() {
    let (pair, theirs) = (symbol("BTC-USDT"), VenueOrderId::new("28150801").unwrap());
    shows(
        &request::cancel(own(), Some(theirs), pair),
        r#"POST /api/v1/trade/cancel-order {"instId":"BTC-USDT","orderId":"28150801"}"#,
    );
    shows(
        &request::cancel(own(), None, pair),
        r#"POST /api/v1/trade/cancel-order {"instId":"BTC-USDT","clientOrderId":"abcdefghijklmnopqrstuvwxyz234567"}"#,
    );
    shows(
        &request::cancel_stop(own(), Some(theirs), pair),
        r#"POST /api/v1/trade/cancel-tpsl [{"instId":"BTC-USDT","tpslId":"28150801"}]"#,
    );
    let detail = "detail?instId=BTC-USDT&clientOrderId=abcdefghijklmnopqrstuvwxyz234567";
    shows(&request::order(own(), pair), &format!("GET /api/v1/trade/order-{detail}"));
    shows(&request::stop(own(), pair), &format!("GET /api/v1/trade/order-tpsl-{detail}"));
    shows(
        &request::order_by_venue_id(theirs, pair),
        "GET /api/v1/trade/order-detail?instId=BTC-USDT&orderId=28150801",
    );
    let page = |list, after, expected: &str| shows(&request::page(list, after), expected);
    page(List::Orders, None, "GET /api/v1/trade/orders-pending?limit=100");
    page(List::Stops, Some("7"), "GET /api/v1/trade/orders-tpsl-pending?limit=100&after=7");
    page(List::Fills(5, None), None, "GET /api/v1/trade/fills-history?limit=100&begin=5");
    let path = "GET /api/v1/trade/fills-history?limit=100&begin=5&instId=BTC-USDT&after=7";
    page(List::Fills(5, Symbol::new("BTC-USDT").ok()), Some("7"), path);
    page(List::OrdersEnded, Some("7"), "GET /api/v1/trade/orders-history?limit=100&after=7");
    page(List::Funding(5, 9), None, "GET /api/v1/account/funding-fees?limit=100&begin=5&end=9");
    let pairs = [pair, symbol("ETH-USDT")];
    shows(
        &request::leverages(&pairs, MarginMode::Cross),
        "GET /api/v1/account/batch-leverage-info?instId=BTC-USDT%2CETH-USDT&marginMode=cross",
    );
    shows(
        &request::set_leverage(pair, 3, MarginMode::Cross, None),
        r#"POST /api/v1/account/set-leverage {"instId":"BTC-USDT","leverage":"3","marginMode":"cross"}"#,
    );
    shows(
        &request::set_leverage(pair, 3, MarginMode::Isolated, Some(PositionSide::Short)),
        r#"POST /api/v1/account/set-leverage {"instId":"BTC-USDT","leverage":"3","marginMode":"isolated","positionSide":"short"}"#,
    );
    for (request, path) in [
        (request::positions(), "account/positions"),
        (request::balance(), "account/balance"),
        (request::api_key(), "user/query-apikey"),
        (request::position_mode_get(), "account/position-mode"),
    ] {
        shows(&request, &format!("GET /api/v1/{path}"));
    }
}

#[test]
fn signatures() {
    // The venue's own vector.
    let stamp_of = |nonce: &str| Stamp { nonce: nonce.into(), ..stamp() };
    let official = stamp_of("123e4567-e89b-12d3-a456-426614174000");
    assert_eq!(
        keys().signature("/api/v1/test", Method::Get, &official, ""),
        "ZTQ2N2RhODY4OTExZjc1NjQyMDVhODVhZmIxOTFhYTk1OTkxODE1ZWZjNGJhNGZmOWQ1YTA2NGQ4YTE3NGUwNw=="
    );
    let frame = login(&keys(), &stamp());
    assert_eq!(
        frame.expose_secret(),
        r#"{"op":"login","args":[{"apiKey":"the-key","passphrase":"open sesame","timestamp":"1700000000000","sign":"NjFiNWMxNmQzNDdmYjM3OTliMzc0OTI2MjZmMGFkNGU3Y2FmNzczYzYzN2FhYjllNDI2MmE3YTFjNzYzOGMxOA==","nonce":"1700000000000"}]}"#
    );
    let headers = keys().headers(&request::positions(), &stamp());
    let shown: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}={}", value.expose_secret())).collect();
    assert_eq!(shown[0], "ACCESS-KEY=the-key");
    assert_eq!(
        shown[2..],
        ["ACCESS-TIMESTAMP=1700000000000", "ACCESS-NONCE=1700000000000", "ACCESS-PASSPHRASE=open sesame"]
    );
    assert_eq!(headers[1].1.expose_secret().len(), 88);
    // Nothing of it is shown by chance.
    let shown = format!("{:?} {headers:?} {frame:?}", keys());
    assert!(!shown.contains("the-key") && !shown.contains("sesame") && !shown.contains("NjFi"), "{shown}");
    assert_eq!(keys().scrub("the-key and open sesame"), "(hidden) and (hidden)");
    assert_eq!(
        subscribe(),
        r#"{"op":"subscribe","args":[{"channel":"orders"},{"channel":"orders-algo"},{"channel":"positions"},{"channel":"account"}]}"#
    );
}

#[test]
fn outcomes() {
    let check = |status: u16, body: &str, expected: &str| {
        let shown = match answer::outcome(status, body) {
            Outcome::Taken(id) => format!("taken {}", id.map(|id| id.to_string()).unwrap_or_default()),
            Outcome::Refused(refusal) => format!(
                "refused {}{}{}",
                refusal.code,
                if refusal.duplicate { " duplicate" } else { "" },
                if refusal.transient { " transient" } else { "" },
            ),
            Outcome::KeptAway(refusal) => format!("kept away {}", refusal.code),
            Outcome::Unclear(_) => "unclear".to_owned(),
        };
        assert_eq!(shown.trim_end(), expected, "{status} {body}");
    };
    let order = |outer: &str, inner: &str| {
        format!(
            r#"{{"code":{outer},"msg":"","data":[{{"orderId":"1","clientOrderId":"","msg":"m","code":{inner}}}]}}"#
        )
    };
    check(200, &order("\"0\"", "\"0\""), "taken 1");
    check(200, &order("0", "0"), "taken 1");
    check(200, &order("\"2\"", "\"0\""), "taken 1");
    check(200, &order("\"0\"", "null"), "taken 1");
    check(200, &order("\"0\"", "\"103003\""), "refused 103003");
    check(200, &order("\"1\"", "\"102002\""), "refused 102002 duplicate");
    check(200, &order("1", "102022"), "refused 102022");
    // A failure and a success at once.
    check(400, &order("\"0\"", "\"0\""), "unclear");
    check(400, &order("\"2\"", "\"103003\""), "unclear");
    check(400, &order("\"1\"", "\"103003\""), "refused 103003");
    // A failure inside the venue hides whether the order is there.
    check(200, &order("\"1\"", "\"103013\""), "unclear");
    check(200, &order("\"0\"", "500"), "unclear");
    check(200, &order("\"1\"", "\"0\""), "unclear");
    check(200, r#"{"code":500,"data":{},"msg":"Internal Server Error"}"#, "unclear");
    check(200, r#"{"code":"103013","msg":""}"#, "unclear");
    check(502, "<html>", "unclear");
    check(504, &order("\"0\"", "\"0\""), "unclear");
    check(200, r#"{"code":"0","msg":"success","data":[]}"#, "unclear");
    check(200, r#"{"code":"0","data":[{"orderId":"#, "unclear");
    check(200, "", "unclear");
    // A nonce of ours comes twice only if somebody doubled the request.
    check(200, r#"{"code":152407,"msg":""}"#, "unclear");
    // Refused before it was looked at.
    check(200, r#"{"code":"152002","msg":"Parameter bar error."}"#, "refused 152002");
    check(200, r#"{"code":"1","msg":"All operations failed"}"#, "refused 1");
    check(401, "<html>", "refused 401");
    check(429, "", "kept away 429");
    check(200, r#"{"code":"429","msg":"slow down"}"#, "kept away 429");
    check(403, "<html>forbidden</html>", "kept away 403");
    // A stop that cannot be cancelled because it is gone.
    let gone = r#"{"code":"0","msg":"success","data":[{"tpslId":"1009","clientOrderId":null,"code":"500",
        "msg":"Cancel failed as the order has been filled, triggered, canceled or does not exist."}]}"#;
    check(200, gone, "refused 500 transient");
    check(
        200,
        r#"{"code":"0","msg":"x","data":{"tpslId":"1012","clientOrderId":null,"code":"0","msg":null}}"#,
        "taken 1012",
    );
    let long = answer::refusal("1234567890123456789", &"x\n".repeat(900));
    assert_eq!((long.code.len(), long.text.len()), (16, 200));
}

#[track_caller]
fn reads<T: std::fmt::Debug>(
    read: impl Fn(&RawValue) -> Result<T, super::super::Dropped>,
    row: &str,
    expected: &str,
) {
    let raw = RawValue::from_string(row.into()).unwrap();
    let shown = read(&raw).map_or_else(|dropped| dropped.to_string(), |_| "read".into());
    assert_eq!(shown, expected, "{row}");
}

#[test]
fn broken_rows_are_named() {
    let all = instruments();
    let order = format!(
        r#"{{"orderId":"1","clientOrderId":"{ID}","instId":"BTC-USDT","side":"buy","size":"10","filledSize":"2.5",
        "averagePrice":"97000.123456789012345678","fee":"0.01","state":"partially_filled","updateTime":"5"}}"#
    );
    let check = |from: &str, to: &str, expected: &str| {
        reads(|row| row::order(row, &all), &order.replace(from, to), expected);
    };
    check("", "", "read");
    check("BTC-USDT", "XRP-USDT", r#"unknown_symbol: instId "XRP-USDT""#);
    check("partially_filled", "resting", r#"malformed: state "resting""#);
    check("\"2.5\"", "\"-2.5\"", r#"size_not_positive: filledSize "-0.0025""#);
    check("\"2.5\"", "\"2.5x\"", r#"malformed: filledSize "2.5x""#);
    check("\"2.5\"", "\"0.00000000001\"", r#"malformed: filledSize "0.00000000000001""#);
    check("buy", "hold", r#"malformed: side "hold""#);
    check("\"5\"", "\"soon\"", r#"malformed: createTime "missing""#);
    check("\"orderId\":\"1\"", "\"orderId\":null", r#"malformed: orderId "missing""#);
    let raw = RawValue::from_string(order).unwrap();
    let read = row::order(&raw, &all).unwrap();
    assert_eq!(read.order_id, Some(own()));
    assert_eq!(read.average_price.unwrap().to_string(), "97000.123456789012");
    assert_eq!(
        (read.quantity.to_string(), read.filled_quantity.to_string()),
        ("0.01".into(), "0.0025".into())
    );
    let fill = r#"{"instId":"BTC-USDT","tradeId":"9","orderId":"1","fillPrice":"97000.5","fillSize":"1","side":"sell","fee":"0.05","ts":"5"}"#;
    let check = |from: &str, to: &str, expected: &str| {
        reads(|row| row::fill(row, &all), &fill.replace(from, to), expected);
    };
    check("", "", "read");
    check("97000.5", "97000.123456789012345678", r#"malformed: fillPrice "97000.123456789012345678""#);
    check("97000.5", "0", r#"price_not_positive: fillPrice "0""#);
    check("\"1\",\"side\"", "\"0\",\"side\"", r#"size_not_positive: fillSize "0""#);
    check("\"fee\":\"0.05\"", "\"fee\":\"\"", r#"malformed: fee "missing""#);
    check("\"fee\":\"0.05\"", "\"fee\":\"0.050000000000000001\"", "read");
    let position = r#"{"instId":"BTC-USDT","positionSide":"short","positions":"3","updateTime":"5"}"#;
    let raw = RawValue::from_string(position.into()).unwrap();
    assert_eq!(account::position(&raw, &all).unwrap().quantity.to_string(), "-0.003");
    reads(account::position_mode, r#"{"positionMode":"hedge"}"#, r#"malformed: positionMode "hedge""#);
    let key = r#"{"uid":"1","readOnly":1,"ips":[],"expireTime":"1597026383085"}"#;
    let raw = RawValue::from_string(key.into()).unwrap();
    let info = account::key_info(&raw).unwrap();
    assert_eq!((info.read_only, info.ip_bound), (true, false));
}

#[test]
fn frames() {
    let check = |frame: &str, expected: &str| {
        let shown = match stream::read(frame) {
            Ok(Frame::Data { channel, rows }) => {
                let reports = stream::reports(channel, &rows, &instruments(), "USDT");
                let bad: Vec<String> =
                    reports.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
                format!("{} rows of {} {}", rows.len(), channel.as_str(), bad.join(","))
            }
            other => format!("{other:?}"),
        };
        assert_eq!(shown.trim_end(), expected, "{frame}");
    };
    check("pong", "Ok(Pong)");
    check(r#"{"event":"login","code":"0","msg":""}"#, "Ok(LoggedIn)");
    check(r#"{"event":"login","code":0}"#, "Ok(LoggedIn)");
    check(
        r#"{"event":"error","code":"60009","msg":"Login failed."}"#,
        r#"Ok(Error { code: "60009", text: "Login failed." })"#,
    );
    check(r#"{"event":"subscribe","arg":{"channel":"orders-algo"}}"#, "Ok(Subscribed(AlgoOrders))");
    check(r#"{"event":"subscribe","arg":{"channel":"new"}}"#, "Ok(Other)");
    check(r#"{"arg":{"channel":"positions"},"data":[]}"#, "0 rows of positions");
    check(
        r#"{"arg":{"channel":"positions"},"data":[{"instId":"BTC-USDT"}]}"#,
        r#"1 rows of positions malformed: positions "missing""#,
    );
    check(r#"{"arg":{"channel":"account"},"data":{"ts":"5","details":[]}}"#, "1 rows of account");
    check("{", r#"Err(Dropped { reason: Malformed, detail: "frame \"{\"" })"#);
}
