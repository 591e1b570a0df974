//! The daemon and its commands at a broker with the files of `deploy/mosquitto`, over TLS, each with its own user.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use crate::deploy::Broker;
use crate::support::certificates::Certificates;
use crate::support::program::{Program, Site};

/// The shipped configuration with its lines of TLS in force, on this port.
fn with_tls(config: &str, certificates: &Certificates, port: u16) -> String {
    let file = |name: &str| certificates.path(name).display().to_string();
    let config = config
        .replace("#listener 8883 0.0.0.0", &format!("listener {port} 127.0.0.1"))
        .replace("#cafile /etc/mosquitto/certs/ca.crt", &format!("cafile {}", file("ca.pem")))
        .replace("#certfile /etc/mosquitto/certs/server.crt", &format!("certfile {}", file("localhost.pem")))
        .replace("#keyfile /etc/mosquitto/certs/server.key", &format!("keyfile {}", file("localhost.key")));
    assert_eq!(
        config.matches(&format!("{}/", certificates.path("").display()).replace("//", "/")).count(),
        3
    );
    config
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Arguments of one user at the broker.
fn link(port: u16, user: &str, password: &Path, certificates: &Certificates) -> Vec<String> {
    let settings = [
        format!("mqtt.broker=mqtts://localhost:{port}"),
        format!("mqtt.ca_file={}", certificates.path("ca.pem").display()),
        format!("mqtt.username={user}"),
        format!("mqtt.password_file={}", password.display()),
    ];
    settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
}

#[tokio::test]
async fn the_daemon_and_its_commands_live_with_the_shipped_files() {
    let certificates = Certificates::new();
    let port = free_port();
    let broker = Broker::start_with(|config| with_tls(&config, &certificates, port));
    let site = Site::new(broker.port);
    let config = site.config();
    let run = |command: &[&str], user: &str, log: &str| {
        let password = site.path(user);
        std::fs::write(&password, format!("{user}\n")).expect("a password");
        let link = link(port, user, &password, &certificates);
        let arguments = command.iter().copied().chain(["--config", &config]);
        Program::start(&arguments.chain(link.iter().map(String::as_str)).collect::<Vec<_>>(), &site.path(log))
    };
    let mut daemon = run(&["run"], "daemon", "daemon.log");
    let mut ear = broker.client("mosquitto_sub", "dashboard");
    ear.args(["-C", "1", "-W", "30", "-t", "tradebus/price/tape/BTC-USDT"]).stdout(Stdio::null());
    assert!(ear.status().expect("mosquitto_sub").success(), "no price: {}", daemon.log());

    let signal = ["signal", "alpha", "long", "BTC-USDT", "--quantity", "0.01"];
    let ended = run(&signal, "strategy", "signal.log").wait();
    assert!(ended.code == Some(0) && ended.log.contains("filled"), "{ended:?}");
    let ended = run(&["positions"], "dashboard", "positions.log").wait();
    assert!(ended.code == Some(0) && ended.log.contains("0.01"), "{ended:?}");
    // A reader cannot trade: the broker says so, and so does the command.
    let ended = run(&signal, "dashboard", "refused.log").wait();
    assert!(ended.code == Some(69) && ended.log.contains("refuse"), "{ended:?}");

    daemon.says("mqtt self-test passed", 1).await;
    let log = daemon.log();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("mqtt:")).collect();
    assert!(complaints.is_empty(), "the daemon may do everything that it does: {complaints:?}");
}
