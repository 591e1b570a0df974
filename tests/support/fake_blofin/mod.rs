//! A BloFin that is not one: instruments, tickers, trades and marks over REST, the public stream over WebSocket, and
//! accounts with orders, stops and positions over both, on one free port of the loopback. It says what it is told to
//! say, enforces the documented limits, and errs on demand.
//!
//! What breaks a limit is refused as the venue would, and kept in [`Stats::violations`].

mod account;
mod faults;
mod hand;
mod market;
mod private_rest;
mod private_rules;
mod private_stream;
mod record;
mod rest;
mod stream;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use account::FakeAccount;
pub use faults::{Chaos, PrivateFault, RestFault, StreamFault};
pub use market::FakeMarket;
use private_stream::PrivateOrder;

/// Requests a minute and in five minutes that the venue allows.
pub const RATES: [(u64, usize); 2] = [(60, 500), (300, 1_500)];
/// The largest subscription frame.
pub const SUBSCRIBE_BYTES_MAX: usize = 4_096;
/// How long a connection may be silent.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Answered requests by path.
    pub requests: BTreeMap<String, usize>,
    /// WebSocket connections that were accepted.
    pub connections: usize,
    /// WebSocket connections that are open.
    pub open: usize,
    /// Topics that are subscribed to now, over all connections.
    pub topics: usize,
    /// Pings that were answered, or would have been.
    pub pings: usize,
    /// Data frames that left.
    pub frames: usize,
    /// Reasons in close frames of clients.
    pub closed_because: Vec<String>,
    /// Private connections that were accepted.
    pub private_connections: usize,
    /// Private connections that are open.
    pub private_open: usize,
    /// Private connections that are logged in and subscribed.
    pub private_subscribed: usize,
    /// Requests for a sell that came in.
    pub sells: usize,
    /// Private data frames that left.
    pub private_frames: usize,
    /// Limits that a client broke.
    pub violations: Vec<String>,
}

impl Stats {
    /// All answered requests.
    pub fn requests_total(&self) -> usize {
        self.requests.values().sum()
    }
}

/// A frame for all subscribers of a topic, or an order to the connections.
#[derive(Clone, Debug)]
enum Order {
    Push {
        channel: String,
        pair: String,
        frame: String,
    },
    /// As it is, whatever is subscribed to.
    Raw(String),
    Close {
        with_frame: bool,
    },
}

#[derive(Default)]
struct State {
    markets: BTreeMap<String, FakeMarket>,
    stream_faults: VecDeque<StreamFault>,
    rest_faults: VecDeque<RestFault>,
    requested: VecDeque<Instant>,
    connected: Option<Instant>,
    clients: Vec<mpsc::UnboundedSender<Order>>,
    trade_id: u64,
    /// By their keys.
    accounts: BTreeMap<String, FakeAccount>,
    /// For the next requests that change something; `None` lets one pass.
    private_faults: VecDeque<Option<PrivateFault>>,
    private_clients: Vec<mpsc::UnboundedSender<PrivateOrder>>,
    /// Private frames that are lost next, and that come twice next.
    private_lost: usize,
    private_repeated: usize,
    /// Logins that are refused next.
    logins_refused: usize,
    /// How far the clock in the headers of answers is ahead.
    ahead_ms: i64,
    /// Faults by chance.
    chaos: Option<Chaos>,
    /// Every signed request that came in, if they are kept: method, target and body.
    signed: Option<Vec<String>>,
}

struct Shared {
    state: Mutex<State>,
    stats: watch::Sender<Stats>,
    /// Nothing leaves the stream while this is true, not even a pong.
    frozen: watch::Sender<bool>,
    /// Connections are refused while this is true.
    down: watch::Sender<bool>,
    /// Nobody listens while this is true, as if the venue had no address.
    absent: watch::Sender<bool>,
    /// Streams are refused while this is true, REST answers.
    no_streams: watch::Sender<bool>,
    /// REST answers nothing while this is true, but takes requests.
    held: watch::Sender<bool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the fake's state")
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        self.stats.send_modify(change);
    }

    /// Tells the private streams what is new.
    fn push_private(&self) {
        let mut state = self.state();
        let mut news = Vec::new();
        for (key, account) in &mut state.accounts {
            news.extend(account.news.drain(..).map(|(channel, row)| (key.clone(), channel, row)));
        }
        for (key, channel, row) in news {
            let order = PrivateOrder::Push { key, channel, row };
            state.private_clients.retain(|client| client.send(order.clone()).is_ok());
        }
    }

    fn violated(&self, what: String) {
        self.count(|stats| stats.violations.push(what));
    }
}

/// A running fake.
pub struct FakeBlofin {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

impl FakeBlofin {
    /// Listens on a free port, with these pairs. Each has 0.001 base units in a contract, lots of 0.1 and ticks of 0.1.
    pub async fn start(pairs: &[&str]) -> FakeBlofin {
        FakeBlofin::listen("127.0.0.1:0", pairs).await
    }

    /// Listens there.
    pub async fn listen(address: &str, pairs: &[&str]) -> FakeBlofin {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            stats: watch::channel(Stats::default()).0,
            frozen: watch::channel(false).0,
            down: watch::channel(false).0,
            absent: watch::channel(false).0,
            no_streams: watch::channel(false).0,
            held: watch::channel(false).0,
        });
        let markets = pairs.iter().map(|pair| ((*pair).to_owned(), FakeMarket::new(pair)));
        shared.state().markets = markets.collect();
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&shared)));
        FakeBlofin { port, shared, _task: task }
    }

    /// What `rest_url` is set to.
    pub fn rest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `ws_public_url` is set to.
    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws/public", self.port)
    }

    /// A trade of so many contracts, now: over the stream, and in answers from now on. No two of a pair have the same
    /// time, so that it can be told which one is newer.
    pub fn trade(&self, pair: &str, price: &str, contracts: &str) {
        let last = self.shared.state().markets.get(pair).expect("a pair of the fake").traded_ms;
        self.trade_at(pair, price, contracts, now_ms().max(last + 1));
    }

    /// A trade at a time.
    pub fn trade_at(&self, pair: &str, price: &str, contracts: &str, time_ms: i64) {
        let row = {
            let mut state = self.shared.state();
            state.trade_id += 1;
            let id = state.trade_id;
            let market = state.markets.get_mut(pair).expect("a pair of the fake");
            let row = market.trade(id, price, contracts, time_ms);
            let (touch, steps) = (market.touch(), market.steps());
            state.accounts.values_mut().for_each(|account| account.traded(pair, touch, steps));
            row
        };
        self.shared.push_private();
        self.push("trades", pair, &format!("[{row}]"));
    }

    /// The best bid and ask, a contract each, now.
    pub fn quote(&self, pair: &str, bid: &str, ask: &str) {
        let row =
            self.shared.state().markets.get_mut(pair).expect("a pair of the fake").quote(bid, ask, now_ms());
        self.push("books5", pair, &row);
    }

    /// The mark price, now.
    pub fn mark(&self, pair: &str, price: &str) {
        let row =
            self.shared.state().markets.get_mut(pair).expect("a pair of the fake").mark(price, now_ms());
        self.push("mark-price-candle1m", pair, &format!("[{row}]"));
    }

    /// Changes a field of an instrument.
    pub fn set_instrument(&self, pair: &str, field: &str, value: &str) {
        let mut state = self.shared.state();
        let market = state.markets.get_mut(pair).expect("a pair of the fake");
        market.instrument.insert(field.to_owned(), value.to_owned());
    }

    /// The stream errs like this, once for each frame that the fault names; faults wait for each other.
    pub fn stream_fault(&self, fault: StreamFault) {
        self.shared.state().stream_faults.push_back(fault);
    }

    /// The next request is answered like this; several wait for each other.
    pub fn rest_fault(&self, fault: RestFault) {
        self.shared.state().rest_faults.push_back(fault);
    }

    /// Nothing leaves the stream any more, or it goes on.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.send_replace(frozen);
    }

    /// Connections, also those for REST, are closed at once, or taken again.
    pub fn down(&self, down: bool) {
        self.shared.down.send_replace(down);
        if down {
            self.close(false);
        }
    }

    /// No connection can be made any more and those that are open break, or it listens again.
    pub fn absent(&self, absent: bool) {
        self.shared.absent.send_replace(absent);
    }

    /// New streams are closed at once, or taken again; REST goes on.
    pub fn refuse_streams(&self, refused: bool) {
        self.shared.no_streams.send_replace(refused);
    }

    /// Requests wait for their answers, or get them.
    pub fn hold_rest(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Closes the stream that is open for longest, without a word.
    pub fn close_first(&self) {
        let mut state = self.shared.state();
        state.clients.retain(|client| !client.is_closed());
        if let Some(client) = state.clients.first() {
            let _ = client.send(Order::Close { with_frame: false });
        }
    }

    /// Closes all streams, with a close frame or without a word.
    pub fn close(&self, with_frame: bool) {
        self.order(Order::Close { with_frame });
        let clients = std::mem::take(&mut self.shared.state().private_clients);
        clients.iter().for_each(|client| drop(client.send(PrivateOrder::Close)));
    }

    /// Sends any text over all streams.
    pub fn send_raw(&self, frame: String) {
        self.order(Order::Raw(frame));
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats.borrow().clone()
    }

    /// Waits until what happened is as wanted.
    pub async fn until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        let mut stats = self.shared.stats.subscribe();
        stats.wait_for(wanted).await.expect("the fake lives").clone()
    }

    fn push(&self, channel: &str, pair: &str, data: &str) {
        let arg = format!("{{\"channel\":\"{channel}\",\"instId\":\"{pair}\"}}");
        let frame = format!("{{\"arg\":{arg},\"data\":{data}}}");
        self.order(Order::Push { channel: channel.to_owned(), pair: pair.to_owned(), frame });
    }

    fn order(&self, order: Order) {
        self.shared.state().clients.retain(|client| client.send(order.clone()).is_ok());
    }
}

/// Both protocols on one port: the path tells which.
async fn accept(mut listener: TcpListener, shared: Arc<Shared>) {
    let address = listener.local_addr().expect("its address");
    let mut absent = shared.absent.subscribe();
    let mut connections = JoinSet::new();
    loop {
        if *absent.borrow_and_update() {
            drop(listener);
            connections.shutdown().await;
            if absent.wait_for(|absent| !absent).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.expect("the port that it had");
        }
        let socket = tokio::select! {
            biased;
            _ = absent.changed() => continue,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => return,
            },
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _ = socket.set_nodelay(true);
            let mut down = shared.down.subscribe();
            tokio::select! {
                _ = down.wait_for(|down| *down) => {}
                () = serve(socket, &shared) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, shared: &Arc<Shared>) {
    let mut head = [0; 9];
    while let Ok(count) = socket.peek(&mut head).await {
        match &head[..count] {
            b"GET /ws/p" => break,
            [] => return,
            head if b"GET /ws/p".starts_with(head) => tokio::task::yield_now().await,
            _ => return rest::serve(socket, shared).await,
        }
    }
    let mut head = [0; 10];
    while let Ok(count) = socket.peek(&mut head).await {
        match &head[..count] {
            b"GET /ws/pu" => return stream::serve(socket, shared).await,
            b"GET /ws/pr" => return private_stream::serve(socket, shared).await,
            [] => return,
            _ => tokio::task::yield_now().await,
        }
    }
}

thread_local! {
    /// When the time of the fakes of this thread began, and what it was then.
    static BEGAN: Cell<Option<(Instant, i64)>> = const { Cell::new(None) };
}

/// From now on the time of this thread's fakes begins at `ms` and goes on with tokio's timers.
pub fn begin_time(ms: i64) {
    BEGAN.set(Some((Instant::now(), ms)));
}

/// The time of the system, which the venue has too, unless [`begin_time`] set another.
#[expect(clippy::disallowed_methods, reason = "a venue has a clock of its own")]
pub fn now_ms() -> i64 {
    let (passed, begun_ms) = match BEGAN.get() {
        Some((began, ms)) => (began.elapsed(), ms),
        None => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            (now.expect("after 1970"), 0)
        }
    };
    begun_ms + i64::try_from(passed.as_millis()).expect("before the end of time")
}
