//! HTTP as its users meet it: the built program, a real mosquitto, real sockets. The market is a recording on its own
//! clock, which stands still at its end, so that every answer is known to the last digit.

mod access;
mod commands;
mod figures;
mod hostile;
mod page;
mod schema;
mod secure;
mod stream;
mod webhook;

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::Program;
use crate::support::web::Web;

const TRADE: &str = "trade-token-of-your-file";
const ADMIN: &str = "admin-token-of-your-file";
const READ: &str = "read-token-of-your-file";
const KEY: &str = "key-of-the-strategy-tv1";
/// The end of the recording.
const NOW: &str = "2026-11-20T20:01:00.000Z";
const NOW_MS: i64 = 1_795_204_860_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    web: Web,
    bus: Bus,
    program: Program,
    folder: TempDir,
    _broker: Mosquitto,
}

impl Scene {
    /// With tokens to write with.
    async fn start() -> Scene {
        Scene::with(&format!("trade {TRADE}\nadmin {ADMIN}\n"), "").await
    }

    /// With these lines in the token file, and more keys of `[http]`.
    async fn with(tokens: &str, http: &str) -> Scene {
        let broker = Mosquitto::start(Setup::default());
        let bus = Bus::connect(broker.port, "ear").await;
        let folder = TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        write(&path("tokens"), tokens);
        write(&path("key"), KEY);
        let trades = [(0, "97000.5"), (20_000, "97010"), (40_000, "96990.1"), (60_000, "97020.2")];
        let line = |(number, (after_ms, price)): (usize, &(i64, &str))| {
            format!("{},{price},0.5,buy,{number}\n", NOW_MS - 60_000 + after_ms)
        };
        let lines: String = trades.iter().enumerate().map(line).collect();
        write(&path("trades.csv"), &format!("time_ms,price,quantity,taker_side,trade_id\n{lines}"));
        let tokens = if tokens.is_empty() { "" } else { "token_file = \"tokens\"\n" };
        let text = format!(
            "[mqtt]\nbroker = \"mqtt://127.0.0.1:{}\"\n[store]\npath = \"store\"\n[log]\nformat = \"human\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n{tokens}{http}\n[feed.tape]\nsource = \"recording\"\n\
             symbols = [\"BTC-USDT\"]\nfiles = [{{ path = \"trades.csv\", symbol = \"BTC-USDT\" }}]\nspeed = 0\n\
             clock = \"recorded\"\nprice_stale_after_ms = 120000\n[instrument.BTC-USDT]\ntick_size = 0.1\nlot_size = 0.00001\n\
             [strategy.alpha]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\n\
             [strategy.tv1]\ntype = \"tradingview\"\nsymbols = [\"BTC-USDT\"]\nkey_file = \"key\"\n\
             default_size = {{ equity_pct = 10 }}\n",
            broker.port
        );
        write(&path("tradebus.toml"), &text);
        let config = path("tradebus.toml").display().to_string();
        let mut program = Program::start(&["run", "--config", &config], &path("log"));
        let web = Web { port: port_of(&mut program).await };
        let mut scene = Scene { web, bus, program, folder, _broker: broker };
        let at_its_end = |price: Value| price["time"] == NOW;
        // Prices do not wait for the disk, the first states and figures do.
        let topics = [
            "strategy/alpha/kpi",
            "strategy/tv1/kpi",
            "type/external/kpi",
            "type/tradingview/kpi",
            "portfolio/kpi",
        ];
        scene
            .bus
            .until("the last price and the first figures", |heard| {
                heard.json("price/tape/BTC-USDT").is_some_and(at_its_end)
                    && topics.iter().all(|topic| heard.json(topic).is_some())
            })
            .await;
        scene
    }

    /// A file of the daemon.
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Waits until the history has taken over everything.
    async fn history(&self, token: &str) {
        let since = Instant::now();
        loop {
            let health = self.web.send("GET", "/api/v1/health", token, "").await.json();
            if health["query_lag"] == 0 && health["query_state"] == "ready" {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "the history is not there: {health}");
        }
    }

    /// A signal of `alpha` and its result.
    async fn signal(&self, id: &str, rest: &str) -> Value {
        let body = format!(r#"{{"id":"{id}","time":"{NOW}","symbol":"BTC-USDT",{rest}}}"#);
        let answer = self.web.send("POST", "/api/v1/strategies/alpha/signals", TRADE, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

/// The port that a daemon's HTTP listens at.
pub async fn port_of(program: &mut Program) -> u16 {
    program.says("HTTP address=127.0.0.1:", 1).await;
    let log = program.log();
    let digits = log.rsplit("HTTP address=127.0.0.1:").next().expect("a port");
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

/// The daemon says that it stops, and stops.
#[tokio::test]
async fn a_stop_ends_streams_and_the_interface() {
    let mut scene = Scene::start().await;
    let mut stream = scene.web.stream("/api/v1/stream", &[]).await.expect("a stream");
    stream.until("stream").await;
    scene.program.ask_to_stop();
    let (code, reason) = timeout(PATIENCE, stream.closed()).await.expect("timed out: the close");
    assert_eq!((code, reason.as_str()), (1001, "the daemon stops"));
    let ended = scene.program.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", scene.web.port)).await.is_err());
}

/// An occupied port is told by its key, and nothing else is touched.
#[tokio::test]
async fn an_occupied_port_is_a_named_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("tradebus.toml");
    let text = format!(
        "[mqtt]\nbroker = \"mqtt://127.0.0.1:1\"\n[store]\npath = \"store\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [feed.synthetic]\nsymbols = [\"BTC-USDT\"]\n"
    );
    write(&config, &text);
    let mut program =
        Program::start(&["run", "--config", &config.display().to_string()], &folder.path().join("log"));
    let ended = program.wait();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    let expected = format!("http.listen: 127.0.0.1:{port} is taken by another program");
    assert!(ended.log.contains(&expected), "{}", ended.log);
    assert!(!folder.path().join("store").exists());
}
