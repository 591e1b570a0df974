//! What BloFin documents and what was recorded of its private side, read to the values that it documents.

use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;
use tradebus::model::amount::{Price, Quantity, parse_decimal};
use tradebus::model::ids::Symbol;
use tradebus::model::instrument::Instrument;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::{OrderState, StopState, VenueBalance, VenueFill, VenuePosition, VenueReport};
use tradebus::venue::blofin::private::answer::{Outcome, outcome};
use tradebus::venue::blofin::private::login::login;
use tradebus::venue::blofin::private::request::Method;
use tradebus::venue::blofin::private::sign::{Keys, Stamp};
use tradebus::venue::blofin::private::stream::{self, Frame};
use tradebus::venue::blofin::private::{Instruments, account, row};
use tradebus::venue::blofin::{Dropped, answer};

use super::{documented, folder, json, pushed, recorded};

/// The pairs of the payloads, a contract of each as the venue had them.
fn instruments() -> Instruments {
    let pairs = [
        ("BTC-USDT", "0.001", "0.1"),
        ("ETH-USDT", "0.01", "0.1"),
        ("BNB-USDT", "0.01", "1"),
        ("BCH-USDT", "0.1", "1"),
        ("LTC-USDT", "1", "0.01"),
    ];
    let number = |text| Quantity::new(parse_decimal(text).unwrap());
    let tick = Price::new(parse_decimal("0.01").unwrap());
    let one = |(name, contract, lot)| {
        let symbol = Symbol::new(name).unwrap();
        (symbol, Instrument::new(symbol, tick, number(lot), number(lot), number(contract)).unwrap())
    };
    pairs.map(one).into()
}

fn order(o: &OrderState) -> String {
    format!(
        "{} {} {:?} {:?} {}/{} {:?} {:?} avg {} fee {} {:?} {} {}",
        o.venue_order_id,
        o.symbol,
        o.side,
        o.position_side,
        o.filled_quantity,
        o.quantity,
        o.status,
        o.category,
        o.average_price.map_or("-".into(), |price| price.to_string()),
        o.fee.map_or("-".into(), |fee| fee.to_string()),
        o.order_id,
        o.venue_stop_id.map_or("-".into(), |id| id.to_string()),
        o.time.as_ms()
    )
}

fn stop(s: &StopState) -> String {
    let shown = |price: Option<Price>| price.map_or("-".into(), |price| price.to_string());
    let quantity = s.quantity.map_or("all".into(), |quantity| quantity.to_string());
    let (loss, profit) = (shown(s.stop_loss), shown(s.take_profit));
    format!("{} {} {:?} {quantity} {:?} sl {loss} tp {profit}", s.venue_order_id, s.symbol, s.side, s.status)
}

fn fill(f: &VenueFill) -> String {
    format!(
        "{} {} {} {:?} {:?} {} x {} fee {} {}",
        f.trade_id,
        f.venue_order_id,
        f.symbol,
        f.side,
        f.position_side,
        f.price,
        f.quantity,
        f.fee,
        f.time.as_ms()
    )
}

fn position(p: &VenuePosition) -> String {
    let shown = |price: Option<Price>| price.map_or("-".into(), |price| price.to_string());
    let (entry, end) = (shown(p.entry_price), shown(p.liquidation_price));
    format!("{} {:?} {} at {entry} ends {end} {}", p.symbol, p.position_side, p.quantity, p.time.as_ms())
}

fn balance(b: &VenueBalance) -> String {
    format!("{} {} {} {}", b.balance, b.equity, b.available, b.time.as_ms())
}

/// Reads the rows of an answer and shows each.
fn rows<T>(
    body: &str,
    read: impl Fn(&RawValue) -> Result<T, Dropped>,
    show: impl Fn(&T) -> String,
) -> Vec<String> {
    let rows = answer::rows(200, body).unwrap_or_else(|fault| panic!("{fault}: {body}"));
    let shown = |row: &&RawValue| read(row).map_or_else(|dropped| dropped.to_string(), |row| show(&row));
    rows.iter().map(shown).collect()
}

fn client_tested(folder: &Path, name: &str) -> String {
    json(folder, &format!("jkorf/rest/Futures/{name}.json"))["response"].to_string()
}

const OPEN_ORDERS: [&str; 2] = [
    "29531103 ETH-USDT Buy Net 0/0.01 Live Normal avg - fee 0 None 11756185 1697031292788",
    "29530845 ETH-USDT Buy Net 0/0.02 Live Normal avg - fee 0 None - 1697031251430",
];
const CLOSED_ORDERS: [&str; 2] = [
    "29419717 ETH-USDT Buy Net 0/0.01 Cancelled Normal avg - fee 0 None 11756185 1697014607770",
    "29419496 ETH-USDT Buy Net 0/0.02 Cancelled Normal avg - fee 0 None - 1697010227577",
];
const STOP: &str = "2411 ETH-USDT Sell 0.01 Live sl 1222 tp 1666";
const FILLS: [&str; 2] = [
    "7772187 28697026 ETH-USDT Buy Long 1587.8 x 0.02 fee 0.190536 1696853354238",
    "7772186 28697025 ETH-USDT Buy Short 1587.8 x 0.01 fee 0.095268 1696853354224",
];
const POSITIONS: [&str; 2] = [
    "ETH-USDT Net 0.01 at 1591.8 ends 1066.104078762307 1695352782372",
    "BCH-USDT Net -29 at 1890 ends 3418227.59954225948 1695090016931",
];
const BALANCE: &str = "10013119.885958415234 10014042.988958415234 9996399.470869115970 1697021343571";

#[test]
fn orders_stops_and_fills() {
    let Some(folder) = folder() else { return };
    let all = instruments();
    let orders = |body: String| rows(&body, |row| row::order(row, &all), order);
    let stops = |body: String| rows(&body, |row| row::stop(row, &all), stop);
    let fills = |body: String| rows(&body, |row| row::fill(row, &all), fill);
    let docs = |section| documented(&folder, section, "Response Example");
    assert_eq!(orders(docs("GET Active Orders")), OPEN_ORDERS);
    assert_eq!(orders(docs("GET Order Detail")), OPEN_ORDERS[..1]);
    let closed = orders(docs("GET Order History"));
    assert_eq!(closed[0], CLOSED_ORDERS[0]);
    assert_eq!(orders(client_tested(&folder, "Trading/GetOpenOrders")), OPEN_ORDERS);
    assert_eq!(orders(client_tested(&folder, "Trading/GetOrder")), OPEN_ORDERS[..1]);
    assert_eq!(orders(client_tested(&folder, "Trading/GetClosedOrders")), closed);
    assert_eq!(
        orders(recorded(&folder, "GET trade/orders-history")),
        ["2075628533 LTC-USDT Buy Net 1/1 Filled Normal avg 68.11 fee 0.040866 None - 1706891359098"]
    );
    assert_eq!(
        orders(recorded(&folder, "GET trade/orders-pending")),
        ["2075704519 LTC-USDT Buy Net 0/1 Live Normal avg - fee 0 None - 1707222888960"]
    );
    assert_eq!(stops(docs("GET Active TPSL Orders")), [STOP]);
    assert_eq!(stops(docs("GET TPSL Order Detail")), [STOP]);
    assert_eq!(stops(client_tested(&folder, "Trading/GetOpenTpSlOrders")), [STOP]);
    assert_eq!(stops(client_tested(&folder, "Trading/GetTpSlOrder")), [STOP]);
    let ended = [
        "2101 ETH-USDT Sell 0.01 Cancelled sl - tp 1661.1",
        "1482 ETH-USDT Sell 0.01 Cancelled sl - tp 1661.1",
    ];
    assert_eq!(stops(docs("GET TPSL Order History")), ended);
    assert_eq!(stops(client_tested(&folder, "Trading/GetClosedTpSlOrders")), ended);
    assert_eq!(fills(docs("GET Trade History")), FILLS);
    assert_eq!(fills(client_tested(&folder, "Trading/GetUserTrades")), FILLS);
    assert_eq!(
        fills(recorded(&folder, "GET trade/fills-history")),
        ["1440847 2075705202 LTC-USDT Buy Net 67.85 x 1 fee 0.04071 1707224678878"]
    );
}

#[test]
fn the_account_itself() {
    let Some(folder) = folder() else { return };
    let all = instruments();
    let docs = |section| documented(&folder, section, "Response Example");
    let positions = |body: String| rows(&body, |row| account::position(row, &all), position);
    let balances = |body: String| rows(&body, |row| account::balance(row, "USDT"), balance);
    assert_eq!(positions(docs("GET Positions")), POSITIONS);
    assert_eq!(positions(client_tested(&folder, "Trading/GetPositions")), POSITIONS);
    assert_eq!(
        positions(recorded(&folder, "GET account/positions")),
        ["LTC-USDT Net 1 at 67.85 ends 6.588863861975 1707224678837"]
    );
    let digits = BALANCE.replace("9996399.470869115970", "9996399.47086911597");
    assert_eq!(balances(docs("GET Futures Account Balance")), [digits.as_str()]);
    assert_eq!(balances(client_tested(&folder, "Account/GetBalances")), [digits.as_str()]);
    assert_eq!(
        balances(recorded(&folder, "GET account/balance")),
        ["61.338743775652 61.338743775652 61.338743775652 1707224258236"]
    );
    let modes = |body: String| rows(&body, account::position_mode, |mode| format!("{mode:?}"));
    assert_eq!(modes(docs("GET Position Mode")), ["Net"]);
    assert_eq!(modes(client_tested(&folder, "Account/GetPositionMode")), ["Net"]);
    let levers = |body: String| rows(&body, account::leverage, |(pair, times)| format!("{pair} {times}"));
    assert_eq!(levers(docs("GET Multiple Leverage")), ["BTC-USDT 50", "ETH-USDT 3"]);
    assert_eq!(levers(client_tested(&folder, "Account/GetLeverage")), ["BTC-USDT 50", "ETH-USDT 3"]);
    assert_eq!(levers(client_tested(&folder, "Account/SetLeverage")), ["BTC-USDT 100"]);
    let key = json(&folder, "jkorf/rest/Account/GetApiKeyInfo.json")["response"].to_string();
    let info = rows(&key, account::key_info, |info| {
        format!("{} {} {} {}", info.uid, info.read_only, info.ip_bound, info.expires.unwrap().as_ms())
    });
    assert_eq!(info, ["YOUR_USER_ID false true 1597026383085"]);
}

#[test]
fn answers_to_what_changes_something() {
    let Some(folder) = folder() else { return };
    let show = |body: String| match outcome(200, &body) {
        Outcome::Taken(id) => format!("taken {}", id.map(|id| id.to_string()).unwrap_or_default()),
        Outcome::Refused(refusal) => format!("{}: {}", refusal.code, refusal.text),
        other => format!("{other:?}"),
    };
    let gone = "500: Cancel failed as the order has been filled, triggered, canceled or does not exist.";
    for (section, expected) in [
        ("Place Order", "taken 28150801"),
        ("Place Multiple Orders", "taken 22617453"),
        ("Place TPSL Order", "taken 1012"),
        ("Cancel Order", "taken 1012"),
        ("Cancel TPSL Order", gone),
        ("Cancel Multiple Orders", "taken 22619976"),
    ] {
        assert_eq!(show(documented(&folder, section, "Response Example")), expected, "{section}");
    }
    for (name, expected) in [
        ("PlaceOrder", "taken 28150801"),
        ("PlaceTpSlOrder", "taken 1012"),
        ("CancelOrder", "taken 1012"),
        ("CancelTpSlOrder", "taken 1009"),
    ] {
        assert_eq!(show(client_tested(&folder, &format!("Trading/{name}"))), expected, "{name}");
    }
    for (call, expected) in [
        ("POST trade/order", "taken 1000147281717"),
        ("POST trade/order-tpsl", "taken 10008676376"),
        (
            "POST trade/order (rejected; from ccxt blofin.ts comments)",
            "103003: Order failed. Insufficient USDT margin in account",
        ),
        ("any GET (bad parameter; from ccxt comments)", "152002: Parameter bar error."),
    ] {
        assert_eq!(show(recorded(&folder, call)), expected, "{call}");
    }
    let failed = recorded(&folder, "any (server error; from ccxt comments)");
    assert!(matches!(outcome(200, &failed), Outcome::Unclear(_)));
}

#[test]
fn the_stream() {
    let Some(folder) = folder() else { return };
    let show = |report: &VenueReport| match report {
        VenueReport::Order(o) => order(o),
        VenueReport::Stop(s) => stop(s),
        VenueReport::Position(p) => position(p),
        VenueReport::Balance(b) => balance(b),
        other => format!("{other:?}"),
    };
    let check = |frame: &str, expected: &[&str]| {
        let Ok(Frame::Data { channel, rows }) = stream::read(frame) else { panic!("{frame}") };
        let reports = stream::reports(channel, &rows, &instruments(), "USDT");
        let shown: Vec<String> =
            reports.iter().map(|r| r.as_ref().map_or_else(ToString::to_string, show)).collect();
        assert_eq!(shown, expected);
    };
    let order = "28334314 BTC-USDT Sell Net 0/0.01 Live Normal avg - fee 0 None - 1696760245973";
    let stops = [
        "11779982 BTC-USDT Buy 0.1 Live sl - tp 73000",
        // One with another kind of trigger.
        "11779984 BTC-USDT Buy 0.1 Live sl - tp -",
    ];
    let position = "BNB-USDT Net -1 at 130.06 ends 107929.699398660166 1695795726484";
    let docs = |section| documented(&folder, section, "Push Data Example");
    check(&docs("WS Order Channel"), &[order]);
    check(&docs("WS Algo Orders Channel"), &stops);
    check(&docs("WS Account Channel"), &["1 1 0 1597026383085"]);
    check(&docs("WS Positions Channel"), &[position]);
    for (name, expected) in [
        ("Orders", vec![order]),
        ("TriggerOrders", stops.to_vec()),
        ("Balances", vec!["1 1 0 1597026383085"]),
    ] {
        let frames = pushed(&folder, name);
        assert!(matches!(stream::read(&frames[0]), Ok(Frame::LoggedIn)), "{name}");
        assert!(matches!(stream::read(&frames[1]), Ok(Frame::Subscribed(_))), "{name}");
        check(&frames[2], &expected);
    }
    check(&pushed(&folder, "Positions2")[2], &["ETH-USDT Net 0.01 at 2326.2 ends - 1770107493329"]);
    let failure = documented(&folder, "WebSocket Authentication", "Failure Response Example");
    assert!(matches!(stream::read(&failure), Ok(Frame::Error { code, .. }) if code == "60009"));
}

#[test]
fn signing_vectors() {
    let Some(folder) = folder() else { return };
    let vectors = json(&folder, "../signing_vectors.json");
    let vectors = vectors["blofin"].as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let word = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let keys = Keys { api_key: "k".into(), secret: word("secret").into(), passphrase: "p".into() };
        let time = Timestamp::from_ms(word("timestamp").parse().unwrap());
        let stamp = Stamp { time, nonce: word("nonce") };
        if vector["kind"] == "ws_login" {
            use secrecy::ExposeSecret;
            let frame: Value = serde_json::from_str(login(&keys, &stamp).expose_secret()).unwrap();
            assert_eq!(frame["args"][0]["sign"], vector["signature"]);
            continue;
        }
        let method = if vector["method"] == "POST" { Method::Post } else { Method::Get };
        assert_eq!(keys.signature(&word("path"), method, &stamp, &word("body")), word("signature"));
    }
}
