//! A BloFin to try out feeds without one: a made-up market, or recorded trades, on the loopback.
//!
//! `cargo run --example fake_blofin -- [PORT] [--keys KEY:SECRET:PASSPHRASE] [--tls FOLDER] [SYMBOL=FILE ...]`; then set
//! the addresses of `[venue.blofin]` to what it prints. With keys it has an account with 100,000 USDT, and orders fill at
//! its prices. With a folder it is also there as `https://localhost` on another port, with a certificate of an authority
//! that it makes there (`ca.pem`; `localhost.pem` and `localhost.key` suit a broker, too). A file is one of trades, as
//! `tradebus record` writes them; it is played at its own speed, again and again. Lines on standard input make it err:
//! `freeze`, `thaw`, `down`, `up`, `close`, `cut`, `drop N`, `repeat N`, `reorder N`, `delay N`, `garbage N`, `429`,
//! `403`, `500`, `raw TEXT`, `stats`. With keys also `account`, `lose` (the next order is carried out and not answered),
//! `before` (the connection is cut before), `refuse CODE`, `hand buy|sell CONTRACTS PAIR`, `liquidate` and `adl` likewise,
//! `funding AMOUNT PAIR`.

#[path = "../tests/support/certificates.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod certificates;
#[path = "../tests/support/fake_blofin/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod fake_blofin;
#[path = "../tests/support/tls_front.rs"]
mod tls_front;

use std::path::{Path, PathBuf};
use std::time::Duration;

use certificates::Certificates;
use fake_blofin::{FakeAccount, FakeBlofin, PrivateFault, RestFault, StreamFault};
use tls_front::TlsFront;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::time::sleep;
use tradebus::backtest::source::RecordingSource;
use tradebus::model::amount::{Price, parse_decimal};
use tradebus::model::ids::{FeedId, Symbol};
use tradebus::model::market::{MarketEvent, PriceUpdate};
use tradebus::model::time::Timestamp;
use tradebus::venue::synthetic::{SyntheticMarket, SyntheticSymbol};

/// Base units in a contract of the fake.
const CONTRACT_VALUE: &str = "0.001";
const PAIRS: [(&str, &str); 3] = [("BTC-USDT", "97000"), ("ETH-USDT", "3300"), ("SOL-USDT", "240")];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let mut arguments = std::env::args().skip(1).peekable();
    let port = arguments.next_if(|text| text.parse::<u16>().is_ok()).unwrap_or_else(|| "0".into());
    let keys = arguments.next_if(|text| text == "--keys").and_then(|_| arguments.next());
    let folder = arguments.next_if(|text| text == "--tls").and_then(|_| arguments.next()).map(PathBuf::from);
    let files: Vec<(PathBuf, Symbol)> = arguments
        .map(|text| {
            let (symbol, file) = text.split_once('=').expect("SYMBOL=FILE");
            (file.into(), Symbol::new(symbol).expect("a symbol"))
        })
        .collect();
    let pairs: Vec<&str> = match files.is_empty() {
        true => PAIRS.iter().map(|(pair, _)| *pair).collect(),
        false => files.iter().map(|(_, symbol)| symbol.as_str()).collect(),
    };
    let fake = FakeBlofin::listen(&format!("127.0.0.1:{port}"), &pairs).await;
    let _front = match &folder {
        Some(folder) => Some(tls_front(&fake, folder).await),
        None => {
            addresses("http", "ws", &format!("127.0.0.1:{}", fake.port));
            None
        }
    };
    let key = keys.as_ref().map(|keys| {
        let parts: Vec<&str> = keys.split(':').collect();
        let [key, secret, passphrase] = parts[..] else { panic!("--keys KEY:SECRET:PASSPHRASE") };
        fake.open_account(FakeAccount::new(key, secret, passphrase));
        key
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let feed = FeedId::new("fake").expect("a name");
        let events: Box<dyn Iterator<Item = MarketEvent>> = match files.is_empty() {
            true => Box::new(synthetic(feed)),
            false => {
                let source = RecordingSource::open(&files, feed).unwrap_or_else(|error| panic!("{error}"));
                Box::new(source.map(|event| event.unwrap_or_else(|error| panic!("{error}")).event))
            }
        };
        play(&fake, key, events, &mut lines).await;
    }
}

/// What to set.
fn addresses(rest: &str, stream: &str, host: &str) {
    println!(
        "[venue.blofin]\nrest_url = \"{rest}://{host}\"\nws_public_url = \"{stream}://{host}/ws/public\""
    );
    println!("ws_private_url = \"{stream}://{host}/ws/private\"");
}

/// The same over TLS, for whoever believes the authority that is left in the folder.
async fn tls_front(fake: &FakeBlofin, folder: &Path) -> TlsFront {
    let made = Certificates::new();
    std::fs::create_dir_all(folder).expect("a folder");
    for file in ["ca.pem", "localhost.pem", "localhost.key"] {
        std::fs::copy(made.path(file), folder.join(file)).expect("a file of the folder");
    }
    let front = TlsFront::start(fake.port, &made.path("localhost.pem")).await;
    addresses("https", "wss", &format!("localhost:{}", front.port));
    println!("ca_file = {:?}", folder.join("ca.pem"));
    front
}

fn synthetic(feed: FeedId) -> SyntheticMarket {
    let price = |text: &str| Price::new(parse_decimal(text).expect("a price"));
    let symbols = PAIRS.map(|(pair, start)| SyntheticSymbol {
        symbol: Symbol::new(pair).expect("a symbol"),
        price_start: price(start),
        volatility_daily_ratio: 0.03,
        spread_bps: 1.0,
        interval_ms_mean: 100.0,
        tick_size: price("0.1"),
    });
    SyntheticMarket::new(feed, 1, &symbols, Timestamp::from_ms(fake_blofin::now_ms())).expect("a market")
}

/// Plays events at the distances of their times, and does what standard input says.
async fn play(
    fake: &FakeBlofin,
    key: Option<&str>,
    events: impl Iterator<Item = MarketEvent>,
    lines: &mut Lines<BufReader<Stdin>>,
) {
    let mut shift_ms = None;
    for event in events {
        let time_ms = event.time.as_ms();
        let shift_ms = *shift_ms.get_or_insert_with(|| fake_blofin::now_ms() - time_ms);
        loop {
            let wait_ms = u64::try_from(time_ms + shift_ms - fake_blofin::now_ms()).unwrap_or(0);
            tokio::select! {
                biased;
                () = sleep(Duration::from_millis(wait_ms)) => break,
                Ok(Some(line)) = lines.next_line() => match key.filter(|key| obey_account(fake, key, &line)) {
                    Some(_) => {}
                    None => obey(fake, &line),
                },
            }
        }
        say(fake, &event);
    }
}

fn say(fake: &FakeBlofin, event: &MarketEvent) {
    let pair = event.symbol.as_str();
    match event.update {
        PriceUpdate::Trade { price, quantity, .. } => {
            let contracts = quantity.value() / parse_decimal(CONTRACT_VALUE).expect("a number");
            fake.trade(pair, &price.to_string(), &contracts.round_dp(6).normalize().to_string());
        }
        PriceUpdate::Quote { bid, ask, .. } => {
            fake.quote(pair, &bid.to_string(), &ask.to_string());
            fake.mark(pair, &bid.to_string());
        }
        _ => {}
    }
}

/// What concerns the account; `false` when the line does not.
fn obey_account(fake: &FakeBlofin, key: &str, line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["account"] => println!("{:#?}", fake.account(key)),
        ["lose"] => fake.private_faults([Some(PrivateFault::Drop)]),
        ["before"] => fake.private_faults([Some(PrivateFault::CutBefore)]),
        ["refuse", code] => fake.private_faults([Some(PrivateFault::Refuse(code.to_owned().leak()))]),
        ["hand", side, contracts, pair] => fake.foreign_order(key, pair, side, contracts, "normal"),
        ["liquidate", side, contracts, pair] => {
            fake.foreign_order(key, pair, side, contracts, "full_liquidation");
        }
        ["adl", side, contracts, pair] => fake.foreign_order(key, pair, side, contracts, "adl"),
        ["funding", amount, pair] => fake.pay_funding(key, pair, amount),
        _ => return false,
    }
    true
}

fn obey(fake: &FakeBlofin, line: &str) {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let count = rest.parse().unwrap_or(1);
    match word {
        "freeze" => fake.freeze(true),
        "thaw" => fake.freeze(false),
        "down" => fake.down(true),
        "up" => fake.down(false),
        "close" => fake.close(true),
        "cut" => fake.close(false),
        "drop" => fake.stream_fault(StreamFault::Drop(count)),
        "repeat" => fake.stream_fault(StreamFault::Repeat(count)),
        "reorder" => fake.stream_fault(StreamFault::Reorder(count)),
        "delay" => fake.stream_fault(StreamFault::Delay(count)),
        "garbage" => fake.stream_fault(StreamFault::Garbage(count)),
        "429" => fake.rest_fault(RestFault::TooMany),
        "403" => fake.rest_fault(RestFault::Banned),
        "500" => fake.rest_fault(RestFault::Code500),
        "raw" => fake.send_raw(rest.to_owned()),
        "stats" => println!("{:?}", fake.stats()),
        "" => {}
        other => println!("{other:?} is not a word that this fake knows"),
    }
}
