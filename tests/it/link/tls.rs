//! TLS with a private authority and client certificates, and everything that can be wrong about them.

use std::sync::{Arc, OnceLock};

use tradebus::config::{Config, Sources, Tls};
use tradebus::model::time::Timestamp;

use crate::mqtt_client::Rig;
use crate::support::certificates::Certificates;
use crate::support::mosquitto::{Mosquitto, Setup};

fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(Certificates::new)
}

/// `[mqtt]` for a broker with TLS. The words: an authority, a client, `-` for none.
fn text(broker: &str, ca: &str, client: &str) -> String {
    let path = |file: String| certificates().path(&file).display().to_string();
    let mut text = format!("[mqtt]\nbroker = \"{broker}\"\n");
    let mut line = |key: &str, name: &str, end: &str| {
        if name != "-" {
            text += &format!("{key} = {:?}\n", path(format!("{name}.{end}")));
        }
    };
    line("ca_file", ca, "pem");
    line("client_certificate_file", client, "pem");
    line("client_key_file", client, "key");
    text
}

fn config(ca: &str, client: &str) -> Config {
    let loaded = Config::load(&Sources::of_text(&text("mqtts://localhost", ca, client)));
    loaded.expect("a good configuration").config
}

fn tls(ca: &str, client: &str) -> Tls {
    config(ca, client).mqtt.tls.expect("TLS")
}

/// A client with these files that dials `host`.
fn rig(port: u16, host: &str, tls: Option<Tls>) -> Rig {
    Rig::with(port, |config| {
        config.host = host.to_owned();
        config.tls = tls.map(|tls| Arc::clone(&tls.client));
    })
}

#[tokio::test]
async fn a_private_authority_and_a_client_certificate() {
    let lines = certificates().listener("localhost", true);
    let broker = Mosquitto::start_with(Setup::default(), &lines);
    let mut rig = rig(broker.port, "localhost", Some(tls("ca", "client")));
    rig.status("connected", |status| status.connected).await;
    rig.outbox.event(1, "t/out/event", b"x".to_vec());
    rig.until("published", |outbox| outbox.acknowledged_through() == 1).await;
    let status = rig.status("the self-test", |status| status.round_trip.is_some()).await;
    assert_eq!(status.last_error, None);
    // Large messages are many records of TLS.
    rig.outbox.retained("t/out/large", vec![b'x'; 200_000], None);
    rig.until("published", |outbox| outbox.counters().retained_waiting == 0).await;
    assert!(rig.notices.try_recv().is_err());
}

/// Connects to `host` at a broker with this server's certificate (`-`: without TLS), and expects `word` in the error.
async fn check(server: &str, client_wanted: bool, host: &str, tls: Option<Tls>, word: &str) {
    let lines = if server == "-" { String::new() } else { certificates().listener(server, client_wanted) };
    let broker = Mosquitto::start_with(Setup::default(), &lines);
    let rig = rig(broker.port, host, tls);
    let status = rig.status(word, |status| status.last_error.is_some()).await;
    let error = status.last_error.expect("an error");
    assert!(error.contains(word) && !status.connected, "{server} {host}: {error}");
}

#[tokio::test]
async fn brokers_that_cannot_be_believed() {
    check("localhost", false, "localhost", Some(tls("other-ca", "-")), "set mqtt.ca_file").await;
    check("elsewhere", false, "localhost", Some(tls("ca", "-")), "for another host").await;
    check("localhost", false, "127.0.0.1", Some(tls("ca", "-")), "for another host").await;
    check("expired", false, "localhost", Some(tls("ca", "-")), "expired").await;
    check("-", false, "localhost", Some(tls("ca", "-")), "TLS").await;
}

#[tokio::test]
async fn clients_that_are_not_believed() {
    check("localhost", true, "localhost", Some(tls("ca", "-")), "client certificate").await;
    check("localhost", true, "localhost", Some(tls("ca", "stranger")), "client certificate").await;
    check("localhost", false, "localhost", None, "mqtts://").await;
}

#[tokio::test]
async fn a_refusal_is_an_alert_without_secrets() {
    let broker = Mosquitto::start_with(Setup::default(), &certificates().listener("localhost", true));
    let mut rig = rig(broker.port, "localhost", Some(tls("other-ca", "client")));
    let (code, text) = rig.notice("the refusal").await;
    assert_eq!(code, "mqtt_refused");
    assert!(!text.contains("BEGIN") && !text.contains(".key"), "{text}");
    let printed = format!("{:?}", tls("ca", "client"));
    assert!(!printed.contains("PrivateKey") && !printed.contains(".key"), "{printed}");
}

/// Problems of `[mqtt]` with `%` for the folder of the certificates.
fn check_problems(lines: &str, expected: &[&str]) {
    let folder = certificates().path("");
    let text = format!("[mqtt]\n{}", lines.replace('%', &folder.display().to_string()));
    let problems = Config::load(&Sources::of_text(&text)).expect_err("problems");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected, "{text}");
}

#[test]
fn problems_that_are_told_before_the_start() {
    const TLS: &str = "broker = \"mqtts://localhost\"\nca_file = \"%/ca.pem\"\n";
    let check = |lines: &str, expected: &[&str]| check_problems(&format!("{TLS}{lines}"), expected);
    check_problems(
        "broker = \"mqtts://h\"\nca_file = \"%/none.pem\"",
        &["mqtt.ca_file: the file does not exist"],
    );
    check_problems(
        "broker = \"mqtts://h\"\nca_file = \"%\"",
        &["mqtt.ca_file: the file cannot be read: Is a directory (os error 21)"],
    );
    check_problems(
        "broker = \"mqtts://h\"\nca_file = \"%/ca.key\"",
        &["mqtt.ca_file: the file holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"],
    );
    check(
        "client_certificate_file = \"%/client.pem\"",
        &["mqtt.client_key_file: is missing, but there is a client_certificate_file"],
    );
    check(
        "client_key_file = \"%/client.key\"",
        &["mqtt.client_certificate_file: is missing, but there is a client_key_file"],
    );
    check(
        "client_certificate_file = \"%/client.pem\"\nclient_key_file = \"%/stranger.key\"",
        &["mqtt.client_key_file: the key does not belong to client_certificate_file"],
    );
    check(
        "client_certificate_file = \"%/client.pem\"\nclient_key_file = \"%/client.pem\"",
        &["mqtt.client_key_file: the file holds no private key in PEM, or one with a passphrase"],
    );
    check(
        "client_certificate_file = \"%/client.pem\"\nclient_key_file = \"hunter2\"",
        &["mqtt.client_key_file: the file does not exist"],
    );
    check_problems(
        "broker = \"mqtt://h\"\nca_file = \"%/ca.pem\"\nclient_key_file = \"%/client.key\"",
        &[
            "mqtt.ca_file: has no effect without TLS; write the broker as \"mqtts://host:8883\"",
            "mqtt.client_key_file: has no effect without TLS; write the broker as \"mqtts://host:8883\"",
        ],
    );
    check_problems(
        "broker = \"mqtts://a..b\"",
        &["mqtt.broker: \"mqtts://a..b\" names no host that a certificate could be for"],
    );
}

#[test]
fn certificates_that_end_are_warned_of() {
    let check = |ca: &str, client: &str, now: &str, expected: &[&str]| {
        let now = Timestamp::parse_rfc3339(now).expect("a time");
        let config = config(ca, client);
        let lines: Vec<String> = config.certificate_warnings(now).iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected, "{now}");
    };
    check("ca", "client", "2026-11-21T00:00:00Z", &[]);
    let over = "the certificate expired on 2021-01-01T00:00:00.000Z, or the clock is wrong; renew it";
    check("old-ca", "client", "2026-11-21T00:00:00Z", &[&format!("mqtt.ca_file: {over}")]);
    let soon = "the certificate expires on 2099-01-01T00:00:00.000Z, in 13 days; renew it";
    check(
        "ca",
        "client",
        "2098-12-18T12:00:00Z",
        &[&format!("mqtt.ca_file: {soon}"), &format!("mqtt.client_certificate_file: {soon}")],
    );
    check("ca", "-", "2098-12-18T00:00:00Z", &[]);
}

/// As systemd gives a credential: a file of mode 0400, named by the environment.
#[test]
fn a_credential_of_systemd() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("mqtt_password");
    std::fs::write(&file, "hunter2\n").expect("a password");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).expect("its permissions");
    let mut sources = Sources::of_text("[mqtt]\nbroker = \"mqtt://h\"\nusername = \"u\"\n");
    sources.environment.push(("TRADEBUS_MQTT__PASSWORD_FILE".into(), file.display().to_string()));
    let loaded = Config::load(&sources).expect("a good configuration");
    assert!(loaded.warnings.iter().all(|warning| !warning.path.starts_with("mqtt")), "{:?}", loaded.warnings);
    let password = loaded.config.mqtt.password.expect("a password");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&password.value), "hunter2");
}

#[test]
fn a_key_that_everyone_reads_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let own = Certificates::new();
    let key = own.path("client.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("its permissions");
    let text = format!(
        "[mqtt]\nbroker = \"mqtts://localhost\"\nca_file = {:?}\nclient_certificate_file = {:?}\nclient_key_file = {key:?}\n",
        own.path("ca.pem"),
        own.path("client.pem"),
    );
    let loaded = Config::load(&Sources::of_text(&text)).expect("a good configuration");
    let warned = loaded.warnings.iter().any(|warning| warning.path == "mqtt.client_key_file");
    assert!(warned, "{:?}", loaded.warnings);
    let again = Config::load(&Sources::of_text(&loaded.config.effective_toml())).expect("the same again");
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
}
