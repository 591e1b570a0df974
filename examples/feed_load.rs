//! A load of prices beside what it cannot be faster than: `scripts/feed-load`.
//!
//! A made-up BloFin in this process, a real mosquitto and a real `tradebus run` as its children. Every pair has ten
//! updates a second, trades and quotes in turn. The pairs of one strategy are published as ticks; from the moment in
//! which such an update is handed to the venue's socket until its tick is here is the time of an update. Beside it, ten
//! times a second, a message of ours to the broker and back. At the end nothing may be missing.
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/fake_blofin/mod.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod fake_blofin;
#[path = "../tests/support/mosquitto.rs"]
#[expect(dead_code, reason = "of the broker only the start is needed")]
mod mosquitto;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake_blofin::FakeBlofin;
use mosquitto::{Mosquitto, Setup};
use rumqttc::{
    AsyncClient, Broker, Event, Incoming, MqttOptions, NetworkOptions, Publish, PublishOptions, QoS,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

const SYMBOLS: usize = 20;
/// Of these symbols ticks are published.
const TICKED: usize = 2;
const STRATEGIES: usize = 10;
/// Updates of a symbol in a second.
const RATE: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(30);
const ECHO: &str = "echo";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, seconds] = arguments.as_slice() else {
        panic!("feed_load <tradebus> <folder for its store> <seconds>")
    };
    let seconds = seconds.parse().expect("a number of seconds");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(program, Path::new(folder), seconds));
}

fn pair(index: usize) -> String {
    format!("S{index:02}-USDT")
}

/// What is under way, and how long what came took.
#[derive(Default)]
struct Times {
    /// By symbol and price, which no two updates share.
    sent: BTreeMap<(String, String), Instant>,
    echoes_sent: BTreeMap<String, Instant>,
    ticks: Vec<Duration>,
    echoes: Vec<Duration>,
    quality: Option<Value>,
}

impl Times {
    fn take(&mut self, publish: &Publish) {
        let now = Instant::now();
        let (topic, text) =
            (String::from_utf8_lossy(&publish.topic), String::from_utf8_lossy(&publish.payload));
        if topic == ECHO {
            if let Some(sent) = self.echoes_sent.remove(text.as_ref()) {
                self.echoes.push(now - sent);
            }
        } else if let Some(symbol) = topic.strip_prefix("tradebus/tick/blofin/") {
            let tick: Value = serde_json::from_str(&text).expect("JSON");
            // A trade has a quantity, a quote has none; both are known by their price.
            let price = if tick["quantity"].is_null() { &tick["bid"] } else { &tick["last"] };
            if let Some(sent) = self.sent.remove(&(symbol.to_owned(), price.to_string())) {
                self.ticks.push(now - sent);
            }
        } else if topic == "tradebus/feed/blofin" {
            self.quality = serde_json::from_str(&text).ok();
        }
    }
}

async fn measure(program: &str, folder: &Path, seconds: u64) {
    let pairs: Vec<String> = (0..SYMBOLS).map(pair).collect();
    let fake = FakeBlofin::start(&pairs.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let folder = TempDir::new_in(folder).expect("a folder");
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port).await;
    pairs.iter().for_each(|pair| fake.trade(pair, "1", "1"));
    let daemon = Daemon::start(program, folder.path(), broker.port, &fake);
    timeout(PATIENCE, fake.until(|stats| stats.topics == 3 * SYMBOLS)).await.expect("subscriptions");
    let mut times = Times::default();
    let mut ticks = interval(Duration::from_secs(1) / (RATE * SYMBOLS as u32));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // The beginning is over: the snapshot, and whatever a first message costs.
    let warm_up = u64::from(RATE) * SYMBOLS as u64 * 5;
    let rounds = seconds * u64::from(RATE) * SYMBOLS as u64;
    let (mut began, mut used) = (Instant::now(), daemon.processor_s());
    let mut round = 0;
    while round < warm_up + rounds {
        tokio::select! {
            biased;
            publish = bus.inbox.recv() => times.take(&publish.expect("a connection")),
            _ = ticks.tick() => {
                if round == warm_up {
                    times = Times::default();
                    (began, used) = (Instant::now(), daemon.processor_s());
                }
                send(&fake, &mut times, &pairs[round as usize % SYMBOLS], round);
                if round.is_multiple_of(SYMBOLS as u64) {
                    let payload = format!("{round:0256}");
                    times.echoes_sent.insert(payload.clone(), Instant::now());
                    bus.client.try_publish(ECHO, payload, PublishOptions::at_most_once()).expect("room");
                }
                round += 1;
            }
        }
    }
    let lasted = began.elapsed().as_secs_f64();
    let processor = (daemon.processor_s() - used) / lasted * 100.0;
    // What is under way arrives, and then the feed's own word once more.
    let rest = async {
        while !times.sent.is_empty() || times.quality.is_none() {
            times.take(&bus.inbox.recv().await.expect("a connection"));
        }
    };
    let arrived = timeout(Duration::from_secs(70), rest).await.is_ok();
    report(&mut times, &daemon, &fake, processor, lasted);
    assert!(arrived, "{} updates never came", times.sent.len());
}

/// The next update of a pair. Only those of the first pairs come back as ticks.
fn send(fake: &FakeBlofin, times: &mut Times, pair: &str, round: u64) {
    let step = round / SYMBOLS as u64;
    let price = 1_000 + step;
    if pair < self::pair(TICKED).as_str() {
        times.sent.insert((pair.to_owned(), price.to_string()), Instant::now());
    }
    if step.is_multiple_of(2) {
        fake.trade(pair, &price.to_string(), "1");
    } else {
        fake.quote(pair, &price.to_string(), &(price + 1).to_string());
    }
}

fn report(times: &mut Times, daemon: &Daemon, fake: &FakeBlofin, processor: f64, lasted: f64) {
    println!("{SYMBOLS} symbols x {RATE} updates/s, {STRATEGIES} strategies, {lasted:.0} s");
    for (what, times) in
        [("exchange to MQTT", &mut times.ticks), ("bare broker, there and back", &mut times.echoes)]
    {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len().saturating_sub(1) as f64 * share) as usize;
            times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        let shown = [at(0.5), at(0.99), at(0.999), at(1.0)];
        println!(
            "{what}: median {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms ({} messages)",
            shown[0],
            shown[1],
            shown[2],
            shown[3],
            times.len()
        );
    }
    println!(
        "processor {processor:.2} % of one core (budget 3); memory {:.1} MB, at most {:.1} MB (budget 16)",
        daemon.memory_mb("VmRSS"),
        daemon.memory_mb("VmHWM")
    );
    let stats = fake.stats();
    println!(
        "updates without an end: {}; feed: {}",
        times.sent.len(),
        times.quality.clone().unwrap_or_default()
    );
    println!(
        "venue: {} connections, {} requests, limits broken: {:?}",
        stats.connections,
        stats.requests_total(),
        stats.violations
    );
}

struct Daemon(Child);

impl Daemon {
    fn start(program: &str, folder: &Path, port: u16, fake: &FakeBlofin) -> Daemon {
        let symbols: Vec<String> = (0..SYMBOLS).map(|index| format!("{:?}", pair(index))).collect();
        let mut text = format!(
            "[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\n[store]\npath = \"{}\"\n[http]\nlisten = \"\"\n\
             [venue.blofin]\nrest_url = \"{}\"\nws_public_url = \"{}\"\n[feed.blofin]\nsymbols = [{}]\n",
            folder.join("store").display(),
            fake.rest_url(),
            fake.ws_url(),
            symbols.join(", ")
        );
        for (index, own) in symbols.chunks(SYMBOLS / STRATEGIES).enumerate() {
            text += &format!(
                "[strategy.s{index}]\ntype = \"external\"\nsymbols = [{}]\nticks = {}\n",
                own.join(", "),
                index * own.len() < TICKED
            );
        }
        let path = folder.join("tradebus.toml");
        std::fs::write(&path, text).expect("a configuration");
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&path);
        if std::env::var_os("FEED_LOAD_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Daemon(command.spawn().expect("the built program"))
    }

    /// Processor time so far, in the hundredths that Linux counts.
    fn processor_s(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    }

    fn memory_mb(&self, key: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = text.lines().find(|line| line.starts_with(key)).expect("a line");
        let kb: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        kb * 1024.0 / 1e6
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The client; a task of its own polls it, because its event loop must not be cancelled.
struct Bus {
    client: AsyncClient,
    inbox: mpsc::UnboundedReceiver<Publish>,
}

impl Bus {
    async fn connect(port: u16) -> Bus {
        let mut options = MqttOptions::new("feed-load", Broker::tcp("127.0.0.1", port));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(64).build();
        let (sender, inbox) = mpsc::unbounded_channel();
        for topic in [ECHO, "tradebus/tick/#", "tradebus/feed/blofin"] {
            client.try_subscribe(topic, QoS::AtMostOnce).expect("room");
        }
        tokio::spawn(async move {
            loop {
                if let Event::Incoming(Incoming::Publish(publish)) =
                    event_loop.poll().await.expect("a connection")
                {
                    let _ = sender.send(publish);
                }
            }
        });
        Bus { client, inbox }
    }
}
