//! Why a connection ended, in words: what a person has to do is in them, secrets are not.

use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, Error as PacketError, StateError};
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::dial::Heard;

const NOT_MQTT_5: &str = "the broker does not speak MQTT 5, which tradebus needs; \
                          use mosquitto 1.6 or later, or another broker of MQTT 5";
/// The reason "session taken over".
const TAKEN_OVER: u8 = 0x8E;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another client connected with our id.
    TakenOver,
    /// The broker was reached and nothing changes until somebody changes a setting.
    Refused(String),
    /// The broker closed an accepted connection without a reason, as mosquitto 2.0 also does at a takeover.
    Closed,
    /// Anything else: the network, a broker that is away or busy.
    Other(String),
}

impl Fault {
    /// What happened, from the crate's word and what was heard on the connection.
    #[must_use]
    pub fn new(error: &ConnectionError, heard: &Heard) -> Self {
        if heard.is_mqtt_3() {
            return Self::Refused(NOT_MQTT_5.into());
        }
        if heard.is_tls() {
            return Self::Refused("the broker speaks TLS on this port; write mqtts://".into());
        }
        match error {
            ConnectionError::ConnectionRefused(code) => refused(*code),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code
            {
                DisconnectReasonCode::SessionTakenOver => Self::TakenOver,
                code => Self::Other(format!("the broker disconnected us: {}", words(code))),
            },
            ConnectionError::MqttState(StateError::ConnectionAborted) => closed(heard),
            ConnectionError::Io(error)
            | ConnectionError::MqttState(
                StateError::Io(error) | StateError::Deserialization(PacketError::Io(error)),
            ) => of_socket(error, heard),
            ConnectionError::NotConnAck(_) => Self::Refused(NOT_MQTT_5.into()),
            ConnectionError::Timeout(_) => Self::Other("no answer from the broker within 5 s".into()),
            error => Self::Other(error.to_string()),
        }
    }

    /// The words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::TakenOver => "another client connected with our client id".into(),
            Self::Closed => "the broker closed the connection".into(),
            Self::Refused(text) | Self::Other(text) => text.clone(),
        }
    }
}

/// A reason code of the crate as words: `NotAuthorized` is `not authorized`.
pub(super) fn words(code: impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words.replace("qo s", "qos")
}

fn refused(code: ConnectReturnCode) -> Fault {
    use ConnectReturnCode as Code;
    let text = match code {
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => NOT_MQTT_5,
        Code::BadUserNamePassword => {
            "the broker refuses the user name or password; check mqtt.username and mqtt.password_file"
        }
        Code::NotAuthorized => {
            "the broker refuses us (not authorized): a wrong user name or password, or it does not admit this \
             user, client id or certificate"
        }
        Code::Banned => "the broker has banned us",
        Code::ClientIdentifierNotValid | Code::BadClientId => {
            "the broker does not accept our client id; change instance"
        }
        Code::UseAnotherServer | Code::ServerMoved => {
            "the broker sends us to another server; set mqtt.broker to that one"
        }
        Code::BadAuthenticationMethod => "the broker wants an authentication that tradebus does not have",
        Code::RetainNotSupported => "the broker does not keep retained messages, which tradebus needs",
        Code::QoSNotSupported => "the broker does not deliver with QoS 1, which tradebus needs",
        // The rest may pass by itself.
        code => return Fault::Other(format!("the broker refuses the connection: {}", words(code))),
    };
    Fault::Refused(text.into())
}

fn closed(heard: &Heard) -> Fault {
    match heard.short_disconnect() {
        Some(TAKEN_OVER) => Fault::TakenOver,
        Some(code) => Fault::Other(format!("the broker disconnected us with reason {code:#04x}")),
        None if heard.is_silence() && heard.is_encrypted() => Fault::Refused(
            "the broker closed the connection right after the TLS handshake; likely it wants a client certificate, or \
             one of another authority"
                .into(),
        ),
        None if heard.is_silence() => Fault::Other(
            "the broker closed the connection without an answer: it is starting or full, does not speak MQTT 5, or \
             wants TLS (mqtts://)"
                .into(),
        ),
        None => Fault::Closed,
    }
}

fn of_socket(error: &io::Error, heard: &Heard) -> Fault {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return Fault::Refused(of_tls(error));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof if error.to_string().contains("handshake") => Fault::Other(
            "the broker closed the connection during the TLS handshake; does this port speak TLS?".into(),
        ),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => closed(heard),
        _ => Fault::Other(error.to_string()),
    }
}

fn of_tls(error: &TlsError) -> String {
    use AlertDescription as Alert;
    use CertificateError as Bad;
    match error {
        TlsError::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => "the broker's certificate is from an authority that is not known here; \
                                   set mqtt.ca_file to that authority's certificate"
                .into(),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("the broker's certificate is for another host: {bad}")
            }
            Bad::Expired | Bad::ExpiredContext { .. } => format!("the broker's certificate expired: {bad}"),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("the broker's certificate is not valid yet, or this machine's clock is wrong: {bad}")
            }
            bad => format!("the broker's certificate cannot be accepted: {bad}"),
        },
        TlsError::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure) => {
            "the broker wants a client certificate, or one of another authority; set \
             mqtt.client_certificate_file and mqtt.client_key_file"
                .into()
        }
        TlsError::AlertReceived(alert) => {
            format!("the broker does not accept our client certificate or TLS: {}", words(alert))
        }
        TlsError::InvalidMessage(_) => "the broker does not speak TLS on this port; write mqtt://".into(),
        error => format!("TLS: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: ConnectionError, word: &str, is_refusal: bool) {
        let fault = Fault::new(&error, &Heard::default());
        assert!(fault.text().contains(word), "{error:?}: {}", fault.text());
        assert_eq!(matches!(fault, Fault::Refused(_)), is_refusal, "{fault:?}");
    }

    #[test]
    fn refusals_of_brokers() {
        use ConnectReturnCode as Code;
        for (code, word, is_refusal) in [
            (Code::BadUserNamePassword, "user name or password", true),
            (Code::NotAuthorized, "not authorized", true),
            (Code::Banned, "banned", true),
            (Code::UnsupportedProtocolVersion, "does not speak MQTT 5", true),
            (Code::UseAnotherServer, "another server", true),
            (Code::ServerMoved, "another server", true),
            (Code::ClientIdentifierNotValid, "client id", true),
            (Code::QuotaExceeded, "quota exceeded", false),
            (Code::ServerBusy, "server busy", false),
            (Code::ServerUnavailable, "server unavailable", false),
            (Code::ConnectionRateExceeded, "connection rate exceeded", false),
        ] {
            check(ConnectionError::ConnectionRefused(code), word, is_refusal);
        }
    }

    #[test]
    fn failures_of_tls() {
        let check =
            |error: TlsError, word: &str| check(ConnectionError::Io(io::Error::other(error)), word, true);
        check(CertificateError::UnknownIssuer.into(), "mqtt.ca_file");
        check(CertificateError::NotValidForName.into(), "another host");
        check(CertificateError::Expired.into(), "expired");
        check(CertificateError::NotValidYet.into(), "clock");
        check(CertificateError::Revoked.into(), "cannot be accepted");
        check(TlsError::AlertReceived(AlertDescription::CertificateRequired), "wants a client certificate");
        check(TlsError::AlertReceived(AlertDescription::UnknownCA), "does not accept our client certificate");
    }

    #[test]
    fn reason_codes_in_words() {
        assert_eq!(words(DisconnectReasonCode::SessionTakenOver), "session taken over");
        assert_eq!(words(ConnectReturnCode::QoSNotSupported), "qos not supported");
    }
}
