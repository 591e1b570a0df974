//! A whole live daemon in one task on virtual time: the engine, its journal on disk, the real gateway, and the fake
//! venue over real HTTP and WebSocket.
//!
//! The test's runtime is paused, so that time jumps whenever nothing is left to do, and a day takes seconds. The
//! process "dies" by dropping everything; what is on disk then is what the next one starts from. Group commit and bus
//! are not here: the tests of the whole program have them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rust_decimal::Decimal;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tradebus::daemon::backoff;
use tradebus::daemon::clock::Clock;
use tradebus::daemon::feed::blofin::Access;
use tradebus::daemon::gateway::account::{Account, AccountSetup};
use tradebus::daemon::gateway::client::Client;
use tradebus::daemon::gateway::{Gateways, Incoming, PrivateLink};
use tradebus::engine::Engine;
use tradebus::engine::effect::{Effect, Update};
use tradebus::engine::event::Event;
use tradebus::engine::record::Record;
use tradebus::engine::settings::EngineSettings;
use tradebus::model::amount::{Money, Quantity};
use tradebus::model::ids::{StrategyId, Symbol};
use tradebus::model::market::PriceUpdate;
use tradebus::model::signal::SignalResult;
use tradebus::model::time::Timestamp;
use tradebus::model::trading::Dispatch;
use tradebus::store::disk::Disk;
use tradebus::store::record::encode_state;
use tradebus::store::{Ledger, LedgerError, StoreError};
use tradebus::venue::blofin::private::sign::Keys;

use crate::rig;
use crate::support::fake_blofin::{FakeAccount, FakeBlofin, begin_time, now_ms};

/// The only account, and what it is called here.
pub const KEY: &str = "world-api-key";
pub const SECRET: &str = "world-api-secret";
pub const PASSPHRASE: &str = "world-passphrase";
pub const ACCOUNT: &str = "main";
/// A pair of the venue that no strategy trades.
pub const UNTRADED: &str = "ADA-USDT";
/// Base units of a contract of the fake.
const CONTRACT: Decimal = Decimal::from_parts(1, 0, 0, false, 3);
/// How long a process may go on being told nothing before a stop gives up on it.
const LAST_ANSWER: Duration = Duration::from_millis(800);
const JOURNAL_FILE_BYTES: u64 = 1 << 26;

/// A disk for processes that die, not for power cuts: nothing is synced.
#[derive(Debug)]
struct Unsynced;

impl Disk for Unsynced {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&self, _: &File) -> std::io::Result<()> {
        Ok(())
    }

    fn cut(&self, file: &File, length: u64) -> std::io::Result<()> {
        file.set_len(length)
    }
}

/// What a process has and loses with its death.
struct Life {
    ledger: Ledger,
    gateways: Gateways,
    reports: mpsc::Receiver<Incoming>,
}

/// Everything.
pub struct World {
    pub settings: EngineSettings,
    pub fake: FakeBlofin,
    pub engine: Engine,
    pub clock: Clock,
    /// Code, strategy and text of every alert, in order.
    pub alerts: Vec<(&'static str, Option<StrategyId>, String)>,
    /// What signals were answered, by their ids.
    pub results: BTreeMap<String, SignalResult>,
    /// It dies when so many more effects have happened.
    pub dies_after: Option<usize>,
    /// How long requests that were handed over still leave after that, in milliseconds.
    pub lingers_ms: u64,
    pub deaths: usize,
    /// Orders that left and were not answered yet, by when they were handed over.
    pub sent: usize,
    prices: BTreeMap<String, Decimal>,
    store: TempDir,
    life: Option<Life>,
    doomed: bool,
    count: u64,
}

/// Settings of strategies on the account: name, pair.
pub fn settings(strategies: &[(&str, &str)]) -> EngineSettings {
    let mut settings = rig::settings();
    rig::account(&mut settings, &[ACCOUNT, "leverage=10"]);
    for (id, symbol) in strategies {
        let steps = ["tick=0.1", "lot=0.1", "min=0.1", "contract=0.001", "stale_ms=60000"];
        rig::market(&mut settings, &[&[*symbol], &steps[..]].concat());
        let symbols = format!("symbols={symbol}");
        rig::strategy(&mut settings, &[id, &symbols, "account=main", "balance=100000", "leverage=100"]);
    }
    settings
}

impl World {
    /// A venue with an account, and a daemon that is up and compared. `change` meets the account first.
    pub async fn start(settings: EngineSettings, change: impl FnOnce(&mut FakeAccount)) -> World {
        backoff::fix_jitter(1);
        begin_time(rig::begin().as_ms());
        let traded = settings.markets.iter().map(|market| market.key.symbol.as_str());
        let pairs: Vec<&str> = traded.chain([UNTRADED]).collect();
        let fake = FakeBlofin::start(&pairs).await;
        fake.record_signed();
        let mut account = FakeAccount::new(KEY, SECRET, PASSPHRASE);
        change(&mut account);
        fake.open_account(account);
        let folder = std::path::Path::new("/dev/shm");
        let store = if folder.is_dir() { TempDir::new_in(folder) } else { TempDir::new() };
        let mut world = World {
            engine: Engine::new(settings.clone(), Default::default()),
            settings,
            fake,
            clock: Clock::steady(Timestamp::from_ms(now_ms())),
            alerts: Vec::new(),
            results: BTreeMap::new(),
            dies_after: None,
            lingers_ms: 0,
            deaths: 0,
            sent: 0,
            prices: BTreeMap::new(),
            store: store.expect("a temporary folder"),
            life: None,
            doomed: false,
            count: 0,
        };
        let pairs: Vec<Symbol> = world.settings.markets.iter().map(|market| market.key.symbol).collect();
        for symbol in pairs {
            world.price(symbol.as_str(), if symbol.as_str() == "BTC-USDT" { "10000" } else { "3000" });
        }
        world.rise();
        world.run_for(10_000).await;
        world
    }

    /// Starts a process on what is on disk.
    pub fn rise(&mut self) {
        // Another test's child has a copy of the lock until its own program begins.
        let (ledger, opening) = loop {
            match Ledger::open_on(self.store.path(), JOURNAL_FILE_BYTES, Box::new(Unsynced)) {
                Err(LedgerError::Store(StoreError::Locked { .. })) => std::thread::yield_now(),
                opened => break opened.expect("the store is whole"),
            }
        };
        self.engine = Engine::new(self.settings.clone(), opening.state);
        let (gateways, reports) = self.gateway();
        (self.life, self.doomed) = (Some(Life { ledger, gateways, reports }), false);
        self.handle(rig::start_event());
        for (pair, price) in self.prices.clone() {
            self.tell_price(&pair, price);
        }
    }

    fn gateway(&self) -> (Gateways, mpsc::Receiver<Incoming>) {
        let access =
            Access::new(&self.fake.rest_url(), &self.fake.ws_url(), None).expect("a way to the fake");
        let keys = Keys { api_key: KEY.into(), secret: SECRET.into(), passphrase: PASSPHRASE.into() };
        let chance = format!("{:020x}", self.deaths + 1);
        let client = Client::new(&self.fake.rest_url(), &access.tls(), keys, self.clock.clone(), chance);
        let link = PrivateLink { url: self.fake.ws_private_url(), tls: access.tls(), gate: access.gate() };
        let account = &self.settings.accounts[0];
        let mut symbols: Vec<Symbol> = self.settings.markets.iter().map(|market| market.key.symbol).collect();
        symbols.sort();
        let setup = AccountSetup {
            id: account.id,
            environment: account.environment,
            margin_mode: account.margin_mode,
            leverage: account.leverage,
            symbols,
            currency: "USDT".into(),
            broker_id: None,
        };
        let (sender, reports) = mpsc::channel(1_024);
        let mut gateways = Gateways::default();
        gateways.add(Account::new(setup, client.expect("a client"), access.rest(), sender), link);
        (gateways, reports)
    }

    pub fn lives(&self) -> bool {
        self.life.is_some()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One event: its records reach the disk, then what they protect leaves; or the process dies in between.
    pub fn handle(&mut self, event: Event) {
        if self.life.is_none() || self.doomed {
            return;
        }
        let mut effects = Vec::new();
        self.engine.handle(self.clock.now(), event, &mut effects);
        rig::check_stops(&self.engine);
        let (mut records, mut sends) = (Vec::new(), Vec::new());
        let count = effects.len();
        for effect in effects {
            match effect {
                Effect::Persist(record) => records.push(record),
                Effect::Send(dispatch) => sends.push(*dispatch),
                Effect::Publish(Update::Alert(alert)) => {
                    self.alerts.push((alert.code, alert.strategy, alert.text));
                }
                Effect::Reply { result: Some(result), .. } => {
                    let id = result.id.as_ref().map(ToString::to_string).unwrap_or_default();
                    self.results.insert(id, result);
                }
                _ => {}
            }
        }
        let lasts = match self.dies_after {
            Some(left) if left < count => {
                (self.dies_after, self.doomed) = (None, true);
                left
            }
            Some(left) => {
                self.dies_after = Some(left - count);
                count
            }
            None => count,
        };
        self.commit(&records, sends, lasts);
    }

    /// Only `lasts` effects happen: all records at once, and then one request after the other.
    fn commit(&mut self, records: &[Record], sends: Vec<Dispatch>, lasts: usize) {
        let Some(life) = &mut self.life else { return };
        if lasts < records.len() {
            return;
        }
        if !records.is_empty() {
            let first = life.ledger.last_sequence() + 1;
            life.ledger.append(first, records).expect("the disk takes it");
        }
        for dispatch in sends.into_iter().take(lasts - records.len()) {
            self.sent += 1;
            life.gateways.dispatcher.send(dispatch);
        }
    }

    /// Lets time pass.
    pub async fn run_for(&mut self, ms: u64) {
        let end = Instant::now() + Duration::from_millis(ms);
        loop {
            if self.doomed {
                sleep(Duration::from_millis(std::mem::take(&mut self.lingers_ms))).await;
                self.die().await;
            }
            let due =
                self.engine.next_wakeup().map(|due| due.since_ms(self.clock.now()).max(0).unsigned_abs());
            let Some(life) = &mut self.life else { return sleep_until(end).await };
            tokio::select! {
                biased;
                report = life.reports.recv() => {
                    let report = report.expect("a gateway").unwrap_or_else(|error| panic!("{error}"));
                    self.handle(Event::Venue(Box::new(report)));
                }
                () = sleep(Duration::from_millis(due.unwrap_or_default())), if due.is_some() => {
                    self.handle(Event::Wakeup);
                }
                () = sleep_until(end) => return,
            }
        }
    }

    /// Lets minutes pass in which prices are confirmed and do not move.
    pub async fn quiet(&mut self, minutes: u64) {
        for _ in 0..minutes * 3 {
            self.run_for(20_000).await;
            self.confirm();
        }
    }

    /// The feed confirms all prices.
    pub fn confirm(&mut self) {
        for (pair, _) in self.prices.clone() {
            self.handle(rig::market_event(self.now(), &pair, PriceUpdate::Confirmed));
        }
    }

    /// Lets time pass until something holds, at most half an hour.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        for _ in 0..18_000 {
            if holds(self) {
                return;
            }
            self.run_for(100).await;
        }
        panic!("{what} did not come; alerts: {:?}", self.alerts);
    }

    /// The process is gone, in the middle of whatever it did.
    pub async fn die(&mut self) {
        (self.life, self.doomed, self.dies_after) = (None, false, None);
        self.deaths += 1;
        // Its connections break.
        sleep(Duration::from_millis(1)).await;
    }

    /// An orderly stop, with a checkpoint.
    pub async fn stop(&mut self) {
        if let Some(life) = &mut self.life {
            life.gateways.stop(LAST_ANSWER).await;
        }
        self.handle(Event::Shutdown);
        if let Some(life) = self.life.as_mut().filter(|_| !self.doomed) {
            let state = self.engine.state();
            life.ledger.checkpoint(state.sequence, &encode_state(state)).expect("the disk takes it");
        }
        self.die().await;
    }

    /// Moves a price: at the venue, and as our feed tells it.
    pub fn price(&mut self, pair: &str, price: &str) {
        let price: Decimal = price.parse().expect("a price");
        self.prices.insert(pair.to_owned(), price);
        let step = Decimal::new(1, 1);
        self.fake.quote(pair, &(price - step).to_string(), &(price + step).to_string());
        self.fake.trade(pair, &price.to_string(), "1");
        self.tell_price(pair, price);
    }

    fn tell_price(&mut self, pair: &str, price: Decimal) {
        let price = rig::price(&price.to_string());
        self.handle(rig::trade(self.now(), pair, price, rig::quantity("1")));
    }

    /// The last price.
    pub fn last(&self, pair: &str) -> Decimal {
        self.prices[pair]
    }

    /// The next token.
    pub fn token(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Sends a signal made of these fields, and gives its id.
    pub fn signal(&mut self, strategy: &str, fields: &str) -> String {
        let token = self.token();
        let (id, time) = (format!("n{token}"), self.now().as_ms());
        let json = format!(r#"{{"id":"{id}","time":{time},{fields}}}"#);
        self.handle(rig::signal_event(token, strategy, &json, false));
        id
    }

    /// Sends a signal about a pair that must not be refused.
    pub fn trade(&mut self, strategy: &str, pair: &str, fields: &str) {
        let id = self.signal(strategy, &format!(r#""symbol":"{pair}",{fields}"#));
        let result = &self.results[&id];
        assert!(result.outcome.refusal().is_none(), "{result:?}");
    }

    /// What a strategy holds, signed.
    pub fn held(&self, strategy: &str, pair: &str) -> Decimal {
        let ledger = &self.engine.state().strategies[&StrategyId::new(strategy).unwrap()];
        let position = ledger.positions.get(&Symbol::new(pair).unwrap());
        position.map_or(Decimal::ZERO, |position| position.quantity.value())
    }

    /// What the venue holds, signed, both sides together.
    pub fn held_there(&self, pair: &str) -> Decimal {
        let account = self.fake.account(KEY);
        let held = account.positions.iter().filter(|((known, _), _)| known == pair);
        held.map(|(_, held)| held.contracts * CONTRACT).sum()
    }

    /// Whether an alert with this code was told.
    pub fn told(&self, code: &str) -> bool {
        self.alerts.iter().any(|(known, ..)| *known == code)
    }

    /// Every record on disk, in order.
    pub fn records(&self) -> Vec<Record> {
        let life = self.life.as_ref().expect("a process");
        let last = life.ledger.last_sequence();
        let records = life.ledger.read(1, last as usize).expect("the journal can be read");
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Quantity, money and fees of all strategies of the pair are those of the venue's fills, to the last digit.
    pub fn check_ledgers(&self, pair: &str) {
        let (mut quantity, mut spent, mut fees) = (Decimal::ZERO, Money::ZERO, Money::ZERO);
        for fill in self.fake.account(KEY).fills.iter().filter(|fill| fill.pair == pair) {
            let sign = if fill.side == "buy" { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
            quantity += fill.size * CONTRACT * sign;
            let base = Quantity::new(fill.size * CONTRACT);
            let notional = tradebus::model::amount::Price::new(fill.price).times(base);
            spent += if fill.side == "buy" { notional } else { -notional };
            fees += Money::new(fill.fee).rounded();
        }
        let symbol = Symbol::new(pair).unwrap();
        let (mut held, mut booked, mut paid) = (Decimal::ZERO, Money::ZERO, Money::ZERO);
        for strategy in self.settings.strategies.iter().filter(|strategy| strategy.account.is_some()) {
            if !strategy.markets.contains_key(&symbol) {
                continue;
            }
            let ledger = &self.engine.state().strategies[&strategy.id];
            let position = ledger.positions.get(&symbol);
            held += position.map_or(Decimal::ZERO, |position| position.quantity.value());
            booked += position.map_or(Money::ZERO, |position| position.cost) - ledger.realized_pnl;
            paid += ledger.fees;
            let differences = self.engine.state().live.differences(strategy.id);
            // An exit whose rival was filled unheard took from another strategy: in one figure, but on two sides.
            let sum: Decimal = differences.iter().map(|d| (d.venue - d.ledger).value()).sum();
            let told = self.is_beside() && sum.is_zero() && self.told("exit_overshot");
            assert!(differences.is_empty() || told, "{}: {differences:?}", strategy.id);
        }
        assert_eq!((held, paid, booked), (quantity, fees, spent), "{pair}: position, fees, money");
    }

    /// Whether the account keeps long and short positions beside each other.
    pub fn is_beside(&self) -> bool {
        self.fake.account(KEY).position_mode == "long_short_mode"
    }

    /// What the daemon did against the venue's rules. What a process did that is gone, the next one cannot know.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = self.fake.stats().violations;
        let of_death = |violation: &String| {
            violation.starts_with("two new connections") || violation.contains("too many requests of a user")
        };
        violations.retain(|violation| self.deaths == 0 || !of_death(violation));
        violations
    }
}
