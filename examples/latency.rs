//! From a signal to its result, beside what it cannot be faster than: `scripts/latency`.
//!
//! A real mosquitto and a real `tradebus run`, both children of this program, so that they share its cores. Each round
//! measures in turn: one message of 256 bytes to a subscription of our own with QoS 1, one append of as many bytes as a
//! signal adds to the journal with `sync_data` on the file system of the store, and one signal that turns a paper
//! position around, until its result.
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/mosquitto.rs"]
#[expect(dead_code, reason = "of the broker only the start is needed")]
mod mosquitto;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mosquitto::{Mosquitto, Setup};
use rumqttc::{
    AsyncClient, Broker, Event, Incoming, MqttOptions, NetworkOptions, Publish, PublishOptions, QoS,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tradebus::model::time::Timestamp;

const ECHO_BYTES: usize = 256;
/// Rounds before the first that counts.
const WARM_UP: usize = 100;
/// Between two rounds, so that what follows a result is over.
const PAUSE: Duration = Duration::from_millis(3);
const PATIENCE: Duration = Duration::from_secs(10);
const ECHO: &str = "echo";
const SIGNAL: &str = "tradebus/strategy/bench/signal";
const RESULT: &str = "tradebus/strategy/bench/signal/result";
const PRICE: &str = "tradebus/price/synthetic/BTC-USDT";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, rounds] = arguments.as_slice() else {
        panic!("latency <tradebus> <folder on the file system to measure> <rounds>")
    };
    let rounds = rounds.parse().expect("a number of rounds");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(program, Path::new(folder), rounds));
}

async fn measure(program: &str, folder: &Path, rounds: usize) {
    let folder = TempDir::new_in(folder).expect("a folder");
    let broker = Mosquitto::start(Setup::default());
    let _daemon = Daemon::start(program, folder.path(), broker.port);
    let mut bus = Bus::connect(broker.port).await;
    let mut file = File::create(folder.path().join("append")).expect("a file");
    let mut echoes = Vec::new();
    let mut syncs = Vec::new();
    let mut signals = Vec::new();
    let journal_before = journal_bytes(folder.path());
    let mut append = vec![7; ECHO_BYTES];
    for round in 0..rounds + WARM_UP {
        if round == WARM_UP {
            append.resize((journal_bytes(folder.path()) - journal_before) / WARM_UP, 7);
        }
        let echo = bus.echo(round).await;
        let started = Instant::now();
        file.write_all(&append).and_then(|()| file.sync_data()).expect("a write");
        let sync = started.elapsed();
        let signal = bus.signal(round).await;
        if round >= WARM_UP {
            echoes.push(echo);
            syncs.push(sync);
            signals.push(signal);
        }
        sleep(PAUSE).await;
    }
    let floor: Vec<f64> =
        [0.5, 0.99].map(|share| quantile(&mut echoes, share) + quantile(&mut syncs, share)).into();
    for (what, times) in
        [("round trip", &mut echoes), ("fsync", &mut syncs), ("signal to result", &mut signals)]
    {
        println!("{what}: median {:.0} us, p99 {:.0} us", quantile(times, 0.5), quantile(times, 0.99));
    }
    let ratio = |share, floor| quantile(&mut signals.clone(), share) / floor;
    println!("{rounds} rounds, {} bytes of journal each, signal / (round trip + fsync):", append.len());
    println!("  median / median {:.2} (budget 1.5)", ratio(0.5, floor[0]));
    println!("  p99 / median {:.2} (budget 3)", ratio(0.99, floor[0]));
    println!("  p99 / p99 {:.2}", ratio(0.99, floor[1]));
}

/// What the journal has grown to, in bytes.
fn journal_bytes(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder.join("store/journal")).expect("a journal");
    files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len() as usize).sum()
}

/// In microseconds.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
}

struct Daemon(Child);

impl Daemon {
    fn start(program: &str, folder: &Path, port: u16) -> Daemon {
        let text = format!(
            r#"
[mqtt]
broker = "mqtt://127.0.0.1:{port}"
[http]
listen = ""
[store]
path = "{}"
[feed.synthetic]
symbols = ["BTC-USDT"]
start_prices = {{ BTC-USDT = 97000 }}
[instrument.BTC-USDT]
tick_size = 0.1
lot_size = 0.0001
[strategy.bench]
type = "external"
signals_per_minute_max = 1000000
symbols = ["BTC-USDT"]
balance = 100000000
"#,
            folder.join("store").display()
        );
        let path = folder.join("tradebus.toml");
        std::fs::write(&path, text).expect("a configuration");
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&path);
        if std::env::var_os("LATENCY_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Daemon(command.spawn().expect("the built program"))
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
    /// Subscribes, and waits for the first price.
    async fn connect(port: u16) -> Bus {
        let mut options = MqttOptions::new("latency", Broker::tcp("127.0.0.1", port));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(64).build();
        let (sender, inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                if let Event::Incoming(Incoming::Publish(publish)) =
                    event_loop.poll().await.expect("a connection")
                {
                    let _ = sender.send(publish);
                }
            }
        });
        let mut bus = Bus { client, inbox };
        for topic in [ECHO, RESULT, PRICE] {
            bus.client.try_subscribe(topic, QoS::AtLeastOnce).expect("room");
        }
        bus.until(PRICE, "").await;
        bus
    }

    async fn echo(&mut self, round: usize) -> Duration {
        let payload = format!("{round:0width$}", width = ECHO_BYTES);
        self.publish(ECHO, &payload, ECHO, &payload).await
    }

    async fn signal(&mut self, round: usize) -> Duration {
        let action = if round.is_multiple_of(2) { "long" } else { "short" };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
        let time = Timestamp::from_ms(i64::try_from(time).expect("a time"));
        let payload = format!(
            r#"{{"id":"round-{round}","time":"{time}","symbol":"BTC-USDT","action":"{action}","quantity":0.01}}"#
        );
        let answer = format!(r#"{{"id":"round-{round}","status":"filled""#);
        self.publish(SIGNAL, &payload, RESULT, &answer).await
    }

    /// From the publish to the next message on the other topic, which must begin with `answer`.
    async fn publish(&mut self, topic: &str, payload: &str, answers: &str, answer: &str) -> Duration {
        let started = Instant::now();
        let options = PublishOptions::at_least_once();
        self.client.try_publish(topic, payload.to_owned(), options).expect("room");
        self.until(answers, answer).await;
        started.elapsed()
    }

    async fn until(&mut self, topic: &str, answer: &str) {
        let wanted = async {
            loop {
                let publish = self.inbox.recv().await.expect("a connection");
                if publish.topic == topic.as_bytes() {
                    let text = String::from_utf8_lossy(&publish.payload);
                    assert!(text.starts_with(answer), "{topic}: {text} instead of {answer}");
                    return;
                }
            }
        };
        timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("nothing came on {topic}"));
    }
}
