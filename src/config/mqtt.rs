//! `[mqtt]`: the broker and what is published to it.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::reader::Table;
use super::schema::BROKER_DEFAULT;
use super::secret::{Secret, read_secret};
use crate::message::discovery::birth_topic;
use crate::model::amount::Ratio;

/// The port of a broker whose address names none.
const PORT_DEFAULT: u16 = 1883;
/// The most bytes of a topic prefix.
const TOPIC_BYTES_MAX: usize = 64;

/// The bus.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Where the broker is.
    pub broker: Broker,
    /// Where the embedded broker listens: an address of the loopback, and not port 0.
    pub embedded_listen: SocketAddr,
    /// The user, when the broker asks for one.
    pub username: Option<String>,
    /// The user's password. There is a user when there is a password.
    pub password: Option<Secret>,
    /// What our topics begin with: levels without wildcards, no `/` at either end.
    pub base_topic: String,
    /// What discovery topics begin with; `None` turns discovery off.
    pub discovery_prefix: Option<String>,
    /// Where Home Assistant says that it started; `None` when discovery is off.
    pub birth_topic: Option<String>,
    /// How long the broker keeps our session while we are away, in seconds: 60 to 604,800.
    pub session_expiry_s: u32,
    /// The shortest time between two publications of a price or a state, in milliseconds: 100 to 60,000.
    pub price_interval_ms: i64,
    /// The smallest change of a price that is published, in basis points: 0 to 1000.
    pub price_deadband_bps: Ratio,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// Ours, in this process, on the loopback address.
    Embedded,
    /// One reached over TCP.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port, not 0.
        port: u16,
    },
}

pub(super) fn read_mqtt(table: &Table) -> MqttConfig {
    let broker = read_broker(table);
    let mut mqtt = MqttConfig {
        embedded_listen: read_listen(table),
        username: table.text_maybe("username"),
        password: read_password(table),
        base_topic: read_topic(table, "base_topic").unwrap_or_else(|| {
            table.problem("base_topic", "is empty; it must be a topic such as \"tradebus\"");
            String::new()
        }),
        discovery_prefix: read_topic(table, "discovery_prefix"),
        birth_topic: read_topic(table, "birth_topic"),
        session_expiry_s: u32::try_from(table.integer("session_expiry_s")).unwrap_or(u32::MAX),
        price_interval_ms: table.integer("price_interval_ms"),
        price_deadband_bps: Ratio::new(table.number("price_deadband_bps")),
        broker,
    };
    if mqtt.password.is_some() && mqtt.username.is_none() {
        table.problem("username", "is empty, but there is a password");
    }
    if mqtt.broker == Broker::Embedded && mqtt.username.is_some() {
        table.problem(
            "username",
            "the embedded broker asks for no user; leave it empty, or use another broker",
        );
    }
    if mqtt.discovery_prefix.as_ref() == Some(&mqtt.base_topic) {
        table.problem(
            "discovery_prefix",
            format!("{:?} is also base_topic; they must differ", mqtt.base_topic),
        );
    }
    let own = format!("{}/", mqtt.base_topic);
    if mqtt.birth_topic.as_ref().is_some_and(|topic| topic.starts_with(&own)) {
        table.problem("birth_topic", format!("is below base_topic {:?}, which is ours", mqtt.base_topic));
    }
    let given = mqtt.birth_topic.take();
    mqtt.birth_topic =
        mqtt.discovery_prefix.as_deref().map(|prefix| given.unwrap_or_else(|| birth_topic(prefix)));
    mqtt
}

fn read_broker(table: &Table) -> Broker {
    let text = table.text("broker");
    if text == "embedded" {
        if !cfg!(feature = "embedded-broker") {
            table.problem("broker", format!("\"embedded\" is not in this build; use {BROKER_DEFAULT:?}"));
        }
        return Broker::Embedded;
    }
    parse_broker(&text).unwrap_or_else(|why| {
        table.problem("broker", why);
        Broker::Embedded
    })
}

/// Reads `mqtt://host:port`. The texts of problems leave out addresses that may hold a password.
fn parse_broker(text: &str) -> Result<Broker, String> {
    const FORM: &str = "write \"mqtt://host:1883\" or \"embedded\"";
    if text.contains('@') {
        return Err("has a user in it; use mqtt.username and mqtt.password_file".to_owned());
    }
    if text.starts_with("mqtts://") || text.starts_with("ssl://") {
        return Err(format!(
            "{text:?} needs TLS, which is not available in this version; use \"mqtt://host:1883\""
        ));
    }
    let form = || format!("{text:?} is not a broker; {FORM}");
    let address = text.strip_prefix("mqtt://").ok_or_else(form)?;
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or_else(form)?,
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(form());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT_DEFAULT,
        None => return Err(form()),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(format!("{text:?} has no port from 1 to 65535")),
            Ok(port) => port,
        },
    };
    Ok(Broker::Tcp { host: host.to_owned(), port })
}

fn read_listen(table: &Table) -> SocketAddr {
    let text = table.text("embedded_listen");
    let stand_in = SocketAddr::from(([127, 0, 0, 1], PORT_DEFAULT));
    let why = match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_loopback() => {
            "is not an address of the loopback, and anyone who reaches the embedded broker may trade; \
             use \"127.0.0.1:1883\", or another broker"
        }
        Ok(address) if address.port() == 0 => "has port 0; use one from 1 to 65535",
        Ok(address) => return address,
        Err(_) => "is not an address; write \"127.0.0.1:1883\"",
    };
    table.problem("embedded_listen", format!("{text:?} {why}"));
    stand_in
}

fn read_password(table: &Table) -> Option<Secret> {
    let file = table.file_path("password_file");
    let text = table.text_maybe("password");
    if text.is_some() && !table.is_from_environment("password") {
        table.problem(
            "password",
            "a password may not stand here; use password_file, or TRADEBUS_MQTT__PASSWORD in the environment",
        );
    }
    match (file, text) {
        (Some(_), Some(_)) => {
            table.problem("password", "password_file is given too; give one of them");
            None
        }
        (Some(file), None) => match read_secret(&file) {
            Ok((secret, readable)) => {
                if readable {
                    table
                        .warning("password_file", "everyone on this machine can read the file; chmod 600 it");
                }
                Some(secret)
            }
            Err(why) => {
                table.problem("password_file", why);
                None
            }
        },
        (None, text) => text.map(|text| Secret { value: SecretString::from(text), file: None }),
    }
}

/// A topic prefix; `None` when it is empty.
fn read_topic(table: &Table, name: &str) -> Option<String> {
    let topic = table.text_maybe(name)?;
    let why = if topic.contains(['+', '#']) {
        "has a wildcard"
    } else if topic.starts_with('/') || topic.ends_with('/') || topic.contains("//") {
        "has an empty level; leave out the \"/\" at its ends"
    } else if topic.starts_with('$') {
        "begins with \"$\", which is the broker's"
    } else if topic.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "has a space or a control character"
    } else if topic.len() > TOPIC_BYTES_MAX {
        "has more than 64 bytes"
    } else {
        return Some(topic);
    };
    table.problem(name, format!("{topic:?} {why}"));
    Some(topic)
}
