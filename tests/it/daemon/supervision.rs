//! What systemd hears: a real datagram socket stands in its place.

use std::path::Path;
use std::time::Duration;

use tokio::net::UnixDatagram;

use super::edges::send;
use super::ready;
use crate::support::bus::Bus;
use crate::support::mosquitto::{Mosquitto, Setup};
use crate::support::program::{Program, Site};

const PATIENCE: Duration = Duration::from_secs(30);
const FLAT: &str = r#""symbol":"BTC-USDT","action":"flat""#;
/// Microseconds.
const WATCHDOG: &str = "40000";

/// The socket of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("a socket");
        Manager { socket, path: path.display().to_string() }
    }

    fn start(&self, site: &Site, watchdog: &[(&str, &str)]) -> Program {
        let environment = [&[("NOTIFY_SOCKET", self.path.as_str())], watchdog].concat();
        Program::start_under(&environment, &["run", "--config", &site.config()], &site.path("log"))
    }

    /// The next word.
    async fn word(&self) -> String {
        let mut buffer = [0; 4_096];
        let heard = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
        let length = heard.expect("systemd hears nothing").expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    /// The next word that is no sign of life, and how many of those came before it.
    async fn word_but_watchdog(&self) -> (String, usize) {
        let mut alive = 0;
        loop {
            match self.word().await {
                word if word == "WATCHDOG=1\n" => alive += 1,
                word => return (word, alive),
            }
        }
    }
}

#[tokio::test]
async fn ready_is_said_when_signals_are_answered_and_stopping_once() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    let manager = Manager::listen(&site.path("notify"));
    let mut program = manager.start(&site, &[]);
    assert_eq!(manager.word().await, "READY=1\nSTATUS=trading\n");
    assert_eq!(send(&mut bus, "first", FLAT).await["status"], "unchanged");
    program.ask_to_stop();
    assert_eq!(manager.word().await, "STOPPING=1\n");
    assert_eq!(program.wait().code, Some(0));
    assert!(manager.socket.try_recv(&mut [0; 16]).is_err(), "nothing more, and no sign of life unasked");
}

#[tokio::test]
async fn the_loop_says_that_it_lives_while_it_runs() {
    let broker = Mosquitto::start(Setup::default());
    let mut bus = Bus::connect(broker.port, "ear").await;
    let site = Site::new(broker.port);
    let manager = Manager::listen(&site.path("notify"));
    let mut program = manager.start(&site, &[("WATCHDOG_USEC", WATCHDOG)]);
    let (word, _) = manager.word_but_watchdog().await;
    assert_eq!(word, "READY=1\nSTATUS=trading\n");
    ready(&mut bus, 1).await;
    for _ in 0..3 {
        assert_eq!(manager.word().await, "WATCHDOG=1\n");
    }
    program.ask_to_stop();
    assert_eq!(manager.word_but_watchdog().await.0, "STOPPING=1\n");
    assert_eq!(program.wait().code, Some(0));
    assert!(manager.socket.try_recv(&mut [0; 16]).is_err(), "no sign of life after the loop's end");

    // For another process than ours: nobody waits for our signs of life.
    let watchdog = [("WATCHDOG_USEC", WATCHDOG), ("WATCHDOG_PID", "1")];
    let mut program = manager.start(&site, &watchdog);
    assert_eq!(manager.word().await, "READY=1\nSTATUS=trading\n");
    ready(&mut bus, 2).await;
    program.ask_to_stop();
    assert_eq!(manager.word().await, "STOPPING=1\n");
    assert_eq!(program.wait().code, Some(0));
}

#[tokio::test]
async fn a_broker_that_is_away_does_not_keep_the_service_from_starting() {
    let mut broker = Mosquitto::start(Setup::default());
    broker.stop();
    let site = Site::new(broker.port);
    let manager = Manager::listen(&site.path("notify"));
    let mut program = manager.start(&site, &[]);
    let word = manager.word().await;
    assert_eq!(word, "READY=1\nSTATUS=trading; the broker cannot be reached yet\n");
    program.ask_to_stop();
    assert_eq!(manager.word().await, "STOPPING=1\n");
    assert_eq!(program.wait().code, Some(0));
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let site = Site::new(1);
    site.write("[mqtt]\nbroker = \"mqtt://127.0.0.1:1\"\nqos = 2\n");
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket.set_nonblocking(true).expect("it does not block");
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("text"))];
    let mut program =
        Program::start_under(&environment, &["run", "--config", &site.config()], &site.path("log"));
    assert_eq!(program.wait().code, Some(78));
    assert!(socket.recv(&mut [0; 16]).is_err(), "systemd was told something");
}
