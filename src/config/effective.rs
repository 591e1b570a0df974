//! The settings in force, as TOML. What it says loads to the same configuration again, secrets from the environment
//! apart, which show as `"(set)"`.

use std::fmt::Write;
use std::path::PathBuf;

use super::AddressRange;
use super::feed::{FeedClock, FeedConfig, FeedSource};
use super::http::HttpConfig;
use super::mqtt::{Broker, MqttConfig};
use super::schema::join;
use super::strategy::StrategyConfig;
use super::tradingview::TradingViewConfig;
use super::{AccountConfig, Config, LogFormat};
use crate::exchange::paper::PaperSettings;
use crate::model::amount::Ratio;
use crate::model::signal::Size;
use crate::risk::{Limits, OnDrawdown};
use crate::venue::blofin::private::request::margin_mode;

impl Config {
    /// Every setting with the value in force, for `check-config`. Shows no secret.
    pub fn effective_toml(&self) -> String {
        let mut out = Toml(String::new());
        out.text("instance", &self.instance);
        out.mqtt(&self.mqtt);
        out.table("store");
        out.text("path", self.store.path.to_string_lossy());
        out.text("engine", self.store.engine.as_str());
        out.bare("journal_file_kb_max", self.store.journal_file_bytes_max / 1024);
        out.bare("equity_interval_s", self.store.equity_interval_s);
        out.bare("equity_retention_days", self.store.equity_retention_days.unwrap_or(0));
        out.bare("signal_retention_days", self.store.signal_retention_days.unwrap_or(0));
        out.text("backup_dir", self.store.backup_dir.to_string_lossy());
        out.bare("backups_kept", self.store.backups_kept);
        out.http(&self.http);
        out.table("log");
        out.text(
            "format",
            match self.log.format {
                LogFormat::Auto => "auto",
                LogFormat::Human => "human",
                LogFormat::Json => "json",
            },
        );
        out.text("level", self.log.level.to_string().to_lowercase());
        self.feeds.iter().for_each(|feed| out.feed(feed));
        for (symbol, figures) in &self.instruments {
            out.table(&join("instrument", symbol.as_str()));
            out.number("tick_size", figures.tick_size);
            out.number("lot_size", figures.lot_size);
            out.number("size_min", figures.size_min);
            out.number("contract_value", figures.contract_value);
        }
        out.table("venue.blofin");
        out.text("environment", if self.blofin.is_demo { "demo" } else { "production" });
        out.text("rest_url", self.blofin.rest_url_given.as_deref().unwrap_or_default());
        out.text("ws_public_url", self.blofin.ws_public_url_given.as_deref().unwrap_or_default());
        out.text("ws_private_url", self.blofin.ws_private_url_given.as_deref().unwrap_or_default());
        let authorities = self.blofin.authorities.as_ref();
        out.text("ca_file", authorities.map(|own| own.file.to_string_lossy()).unwrap_or_default());
        for account in &self.accounts {
            out.account(account);
        }
        for (kind, settings) in &self.types {
            out.table(&format!("type.{kind}"));
            out.maybe("account", settings.account.as_ref(), Toml::text);
            out.limits(&format!("type.{kind}.limits"), &settings.limits);
        }
        out.limits("limits", &self.limits);
        out.paper("paper", &self.paper);
        self.strategies.iter().for_each(|strategy| out.strategy(strategy));
        out.0
    }
}

/// One feed as it stands in a file.
pub(super) fn feed_toml(feed: &FeedConfig) -> String {
    let mut out = Toml(String::new());
    out.feed(feed);
    out.0
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    // JSON escapes all that TOML wants escaped but DEL.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

struct Toml(String);

impl Toml {
    fn line(&mut self, line: std::fmt::Arguments) {
        self.0.write_fmt(line).expect("a String takes all");
        self.0.push('\n');
    }

    fn table(&mut self, path: &str) {
        self.line(format_args!("\n[{path}]"));
    }

    fn text(&mut self, name: &str, text: impl AsRef<str>) {
        self.line(format_args!("{name} = {}", quoted(text.as_ref())));
    }

    /// A number: bare where TOML keeps it exactly, else in quotes.
    fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        let text = number.to_string();
        let exact = text.bytes().filter(u8::is_ascii_digit).count() <= 15;
        if exact { self.bare(name, text) } else { self.text(name, text) }
    }

    fn bare(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format_args!("{name} = {value}"));
    }

    fn texts<T: std::fmt::Display>(&mut self, name: &str, texts: &[T]) {
        let texts: Vec<String> = texts.iter().map(|text| quoted(&text.to_string())).collect();
        self.bare(name, format_args!("[{}]", texts.join(", ")));
    }

    fn maybe<T>(&mut self, name: &str, value: Option<T>, write: fn(&mut Toml, &str, T)) {
        if let Some(value) = value {
            write(self, name, value);
        }
    }

    fn account(&mut self, account: &AccountConfig) {
        self.table(&join("account", account.id.as_str()));
        self.text("venue", account.venue.as_str());
        let Some(keys) = &account.keys else { return };
        let names = ["api_key", "api_secret", "passphrase"];
        for (name, key) in names.into_iter().zip([&keys.api_key, &keys.api_secret, &keys.passphrase]) {
            match &key.file {
                Some(file) => self.text(&format!("{name}_file"), file.to_string_lossy()),
                None => self.text(name, "(set)"),
            }
        }
        self.text("margin_mode", margin_mode(account.margin_mode));
        self.bare("leverage", account.leverage);
        self.bare("dead_man_after_s", account.dead_man_after_s);
        self.bare("clock_skew_max_ms", account.clock_skew_max_ms);
        self.text("broker_id", account.broker_id.as_deref().unwrap_or_default());
    }

    fn http(&mut self, http: &HttpConfig) {
        self.table("http");
        self.text("listen", http.listen.map(|listen| listen.to_string()).unwrap_or_default());
        let file = http.token_file.as_ref().map(|file| file.to_string_lossy());
        self.text("token_file", file.as_deref().unwrap_or_default());
        self.texts("hosts", &http.hosts);
        let shown = |ranges: &[AddressRange]| ranges.iter().map(AddressRange::to_string).collect::<Vec<_>>();
        self.texts("trusted_proxies", &shown(&http.trusted_proxies));
        self.texts("webhook_from", &shown(&http.webhook_from));
        let tls = http.tls.as_ref();
        let file = tls.map(|tls| tls.certificate_file.to_string_lossy());
        self.text("certificate_file", file.as_deref().unwrap_or_default());
        let file = tls.map(|tls| tls.key_file.to_string_lossy());
        self.text("key_file", file.as_deref().unwrap_or_default());
    }

    fn mqtt(&mut self, mqtt: &MqttConfig) {
        self.table("mqtt");
        match &mqtt.broker {
            Broker::Embedded => self.text("broker", "embedded"),
            broker @ Broker::Tcp { .. } => self.text("broker", broker.to_string()),
        }
        self.text("embedded_listen", mqtt.embedded_listen.to_string());
        self.text("username", mqtt.username.as_deref().unwrap_or_default());
        match mqtt.password.as_ref().map(|password| password.file.as_ref()) {
            Some(Some(file)) => self.text("password_file", file.to_string_lossy()),
            Some(None) => self.text("password", "(set)"),
            None => self.text("password_file", ""),
        }
        let tls = mqtt.tls.as_ref();
        let mut file = |name, path: Option<&PathBuf>| {
            self.text(name, path.map(|path| path.to_string_lossy()).unwrap_or_default());
        };
        file("ca_file", tls.and_then(|tls| tls.ca_file.as_ref()));
        file("client_certificate_file", tls.and_then(|tls| tls.client_certificate_file.as_ref()));
        file("client_key_file", tls.and_then(|tls| tls.client_key_file.as_ref()));
        self.text("base_topic", &mqtt.base_topic);
        self.text("discovery_prefix", mqtt.discovery_prefix.as_deref().unwrap_or_default());
        self.text("birth_topic", mqtt.birth_topic.as_deref().unwrap_or_default());
        self.bare("session_expiry_s", mqtt.session_expiry_s);
        self.bare("price_interval_ms", mqtt.price_interval_ms);
        self.number("price_deadband_bps", mqtt.price_deadband_bps);
    }

    fn feed(&mut self, feed: &FeedConfig) {
        self.table(&format!("feed.{}", feed.id));
        let source = match feed.source {
            FeedSource::Recording { .. } => "recording",
            FeedSource::Synthetic { .. } => "synthetic",
            FeedSource::Blofin { .. } => "blofin",
        };
        self.text("source", source);
        self.texts("symbols", &feed.symbols);
        self.bare("price_stale_after_ms", feed.price_stale_after_ms);
        match &feed.source {
            FeedSource::Recording { files, speed, clock, repeat } => {
                self.number("speed", speed);
                self.text("clock", if *clock == FeedClock::Wall { "wall" } else { "recorded" });
                self.bare("repeat", repeat);
                for file in files {
                    self.line(format_args!("\n[[feed.{}.files]]", feed.id));
                    self.text("path", file.path.to_string_lossy());
                    self.text("symbol", file.symbol.as_str());
                }
            }
            FeedSource::Blofin { poll_only, standby, interval_ms } => {
                self.text("mode", if *poll_only { "poll" } else { "stream" });
                self.bare("standby", standby);
                self.bare("interval_ms", interval_ms);
            }
            FeedSource::Synthetic { seed, interval_ms, volatility_pct, spread_bps, start_prices } => {
                self.bare("seed", seed);
                self.bare("interval_ms", interval_ms);
                self.number("volatility_pct", volatility_pct);
                self.number("spread_bps", spread_bps);
                self.table(&format!("feed.{}.start_prices", feed.id));
                for (symbol, price) in start_prices {
                    self.number(&join("", symbol.as_str()), price);
                }
            }
        }
    }

    fn tradingview(&mut self, path: &str, alerts: &TradingViewConfig) {
        let file = alerts.key.as_ref().and_then(|key| key.file.as_ref());
        self.maybe("key_file", file.map(|file| file.to_string_lossy()), Toml::text);
        self.bare("key_required", alerts.key_required);
        self.texts("accept_from", &alerts.accept_from);
        self.bare("contracts_as_size", alerts.contracts_as_size);
        self.maybe::<Ratio>("price_deviation_max_pct", alerts.price_deviation_max_pct, Toml::number);
        self.table(&format!("{path}.overrides"));
        for (name, symbol) in &alerts.overrides {
            self.text(&join("", name), symbol.as_str());
        }
    }

    fn limits(&mut self, path: &str, limits: &Limits) {
        self.table(path);
        self.maybe("order_notional_max", limits.order_notional_max, Toml::number);
        self.maybe("position_notional_max", limits.position_notional_max, Toml::number);
        self.maybe("leverage_max", limits.leverage_max, Toml::number);
        self.maybe("orders_per_minute_max", limits.orders_per_minute_max, Toml::bare);
        self.maybe("daily_loss_max", limits.daily_loss_max, Toml::number);
        self.maybe("drawdown_max_pct", limits.drawdown_max_pct, Toml::number);
        if limits.drawdown_max_pct.is_some() || limits.on_drawdown != OnDrawdown::default() {
            let word = if limits.on_drawdown == OnDrawdown::Flatten { "flatten" } else { "reduce" };
            self.text("on_drawdown", word);
        }
    }

    fn paper(&mut self, path: &str, paper: &PaperSettings) {
        self.table(path);
        self.number("fee_taker_ratio", paper.fee_taker_ratio);
        self.number("fee_maker_ratio", paper.fee_maker_ratio);
        self.number("slippage_bps", paper.slippage_bps);
        self.bare("latency_ms", paper.latency_ms);
        self.number("leverage", paper.leverage);
    }

    fn strategy(&mut self, strategy: &StrategyConfig) {
        let path = format!("strategy.{}", strategy.id);
        self.table(&path);
        self.text("type", strategy.kind.as_str());
        self.maybe("account", strategy.account.as_ref(), Toml::text);
        self.text("feed", strategy.feed.as_str());
        self.texts("symbols", &strategy.symbols);
        self.bare("ticks", strategy.ticks);
        self.number("balance", strategy.balance);
        self.maybe::<Ratio>("confidence_min", strategy.confidence_min, Toml::number);
        self.bare("signals_per_minute_max", strategy.signals_per_minute_max);
        if let Some(alerts) = &strategy.tradingview {
            self.tradingview(&path, alerts);
        }
        if let Some(size) = strategy.default_size {
            self.table(&format!("{path}.default_size"));
            match size {
                Size::Quantity(n) => self.number("quantity", n),
                Size::Notional(n) => self.number("notional", n),
                Size::EquityPct(n) => self.number("equity_pct", n),
                Size::RiskPct(n) => self.number("risk_pct", n),
            }
        }
        self.limits(&format!("{path}.limits"), &strategy.limits);
        self.paper(&format!("{path}.paper"), &strategy.paper);
    }
}
