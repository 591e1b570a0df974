//! How a connection is asked for.

use rumqttc::{
    AckMode, Broker, LastWill, LastWillProperties, MqttOptions, PersistedAckMode, PersistedSession, QoS,
    RetainForwardRule, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilterInput,
    ValidatedTopic, ValidatedTopicFilter,
};
use secrecy::ExposeSecret;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

use super::dial::{Heard, dial};
use super::{INFO, MqttConfig, MqttError, PROBE, STATE};

/// Publishes without acknowledgement; the crate's default would allocate 16 MB.
pub(super) const IN_FLIGHT_MAX: u16 = 64;
/// Inbound messages without acknowledgement.
pub(super) const RECEIVE_MAX: u16 = 256;
const PACKET_BYTES_MAX: u32 = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A restart within it does not show as `offline`.
const WILL_DELAY_S: u32 = 5;

/// Refuses what would fail, or panic, only at the first connection.
pub(super) fn check(config: &MqttConfig) -> Result<(), MqttError> {
    let wrong = |text: String| Err(MqttError::Config(text));
    if config.host.is_empty() || config.port == 0 {
        return wrong("the broker's host or port is missing".into());
    }
    if config.client_id.is_empty() {
        return wrong("the client id is empty".into());
    }
    if config.keep_alive_s == 0 {
        return wrong("keep_alive_s must be at least 1".into());
    }
    if config.password.is_some() && config.username.is_none() {
        return wrong("there is a password without a user name".into());
    }
    if let Err(error) = ValidatedTopic::new(config.topics.at(STATE)) {
        return wrong(error.to_string());
    }
    match config.command_filters.iter().find_map(|filter| ValidatedTopicFilter::new(filter.as_str()).err()) {
        Some(error) => wrong(error.to_string()),
        None => Ok(()),
    }
}

/// The options of one connection, and what will be heard on it.
pub(super) fn options(config: &MqttConfig) -> (MqttOptions, Heard) {
    let mut options =
        MqttOptions::new(config.client_id.as_str(), Broker::tcp(config.host.as_str(), config.port));
    let heard = dial(&mut options, &config.host, config.tls.as_ref());
    let will = LastWillProperties {
        delay_interval: Some(WILL_DELAY_S),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(config.session_expiry_s))
        .set_session_store(NothingInFlight)
        .set_keep_alive(config.keep_alive_s)
        .set_connect_timeout(CONNECT_TIMEOUT)
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_receive_maximum(Some(RECEIVE_MAX))
        // All that one event leads to leaves with one write.
        .set_max_request_batch(usize::from(IN_FLIGHT_MAX))
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_ack_mode(AckMode::Manual)
        .set_last_will(LastWill::new(config.topics.at(STATE), "offline", QoS::AtLeastOnce, true, Some(will)));
    if let Some(username) = &config.username {
        let password = config.password.as_ref().map_or("", |password| password.expose_secret());
        options.set_credentials(username.clone(), password.to_owned());
    }
    (options, heard)
}

/// All filters, or those among them that `wanted` names. Of commands, retained copies are delivered and stay marked as
/// such, so that they can be refused and cleared; our own publishes do not come back. Only the self-test's shall, and
/// must not wait in our session while we are away; nor must the info, which another daemon may have left.
pub(super) fn filters(config: &MqttConfig, wanted: &[String]) -> Vec<SubscribeFilterInput> {
    let (probe, info) = (config.topics.at(PROBE), config.topics.at(INFO));
    let filter = |filter: &String| {
        if *filter == probe {
            return SubscribeFilterInput::new(filter.as_str(), QoS::AtMostOnce)
                .retain_forward_rule(RetainForwardRule::Never);
        }
        if *filter == info {
            // Only the copy that was there before us is marked as retained.
            return SubscribeFilterInput::new(filter.as_str(), QoS::AtMostOnce)
                .no_local(true)
                .retain_forward_rule(RetainForwardRule::OnEverySubscribe);
        }
        SubscribeFilterInput::new(filter.as_str(), QoS::AtLeastOnce)
            .no_local(true)
            .preserve_retain(true)
            .retain_forward_rule(RetainForwardRule::OnEverySubscribe)
    };
    wanted.iter().map(filter).collect()
}

/// The client side of the session, which is always empty at a connect: we use QoS 1 only, whose packet ids the broker
/// does not remember, and the outbox sends everything unacknowledged again.
///
/// Without it the crate either rejects a session that the broker kept, or (`AllowBrokerOnly`) accepts it and then
/// rejects every subscribe and every QoS 1 publish on that connection.
#[derive(Debug)]
struct NothingInFlight;

type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(IN_FLIGHT_MAX),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::topic::Topics;

    fn config() -> MqttConfig {
        MqttConfig {
            host: "localhost".into(),
            port: 1883,
            client_id: "tradebus".into(),
            username: Some("user".into()),
            password: Some("secret".into()),
            command_filters: vec!["base/+/set".into()],
            tls: None,
            topics: Topics::new("base"),
            session_expiry_s: 86_400,
            keep_alive_s: 15,
        }
    }

    fn check_refused(change: impl Fn(&mut MqttConfig), word: &str) {
        let mut config = config();
        change(&mut config);
        let text = check(&config).expect_err(word).to_string();
        assert!(text.contains(word), "{text}");
    }

    #[test]
    fn unusable_configurations() {
        assert!(check(&config()).is_ok());
        check_refused(|config| config.host.clear(), "host");
        check_refused(|config| config.client_id.clear(), "client id");
        check_refused(|config| config.keep_alive_s = 0, "keep_alive_s");
        check_refused(|config| config.username = None, "user name");
        check_refused(|config| config.topics = Topics::new("a/#"), "a/#");
        check_refused(|config| config.command_filters.push("a/#/b".into()), "a/#/b");
    }

    #[test]
    fn passwords_do_not_print() {
        assert!(!format!("{:?}", config()).contains("secret"));
    }
}
