//! `/metrics` in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::page::Page;
use super::params::Params;
use super::routes::Answered;
use super::state::ask_health;
use super::{Limits, Shared};
use crate::daemon::figures::{Counts, Times};
use crate::message::daemon::Health;

/// What Prometheus asks for.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answered requests by the class of their status.
#[derive(Debug, Default)]
pub struct Requests {
    classes: [AtomicU64; 5],
    refused: AtomicU64,
}

impl Requests {
    pub fn answered(&self, status: StatusCode) {
        if let Some(class) = self.classes.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection was beyond the limit.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

pub async fn metrics(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Answered {
    Params::read(query.as_deref(), &[])?;
    let health = ask_health(&shared).await?;
    let mut text = Text(String::with_capacity(8 * 1024));
    write_daemon(&mut text, &health);
    write_trading(&mut text, &shared.context.figures.counts());
    let Limits { streams, .. } = shared.context.limits;
    text.gauge("http_streams", "Open streams.", streams - shared.streams.available_permits());
    text.head("http_requests_total", "counter", "Answered requests by the class of their status.");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&shared.requests.classes) {
        text.labelled("http_requests_total", &[("status", class)], count.load(Ordering::Relaxed));
    }
    let refused = shared.requests.refused.load(Ordering::Relaxed);
    text.counter("http_connections_refused_total", "Connections beyond the limit.", refused);
    Ok(Page::text(CONTENT_TYPE, text.0).answer(&asked))
}

fn write_daemon(text: &mut Text, health: &Health) {
    text.head("info", "gauge", "The version.");
    text.labelled("info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(bytes) = health.memory_bytes {
        text.gauge("memory_bytes", "Resident memory.", bytes);
    }
    text.gauge("store_commits_waiting", "Batches that wait for the disk.", health.commits_waiting);
    text.counter("store_commits_total", "Group commits.", health.commits);
    text.counter("store_bytes_written_total", "Bytes written to the journal.", health.bytes_written);
    text.counter("store_records_total", "Records in the journal.", health.records);
    text.gauge("query_lag_records", "Records that the history has not taken over yet.", health.query_lag);
    text.gauge("query_ready", "Whether the history answers.", u8::from(health.query_state == "ready"));
    text.gauge("mqtt_events_waiting", "Events that wait for the broker.", health.events_waiting);
    text.gauge("mqtt_retained_waiting", "Retained topics that wait for the broker.", health.retained_waiting);
    text.gauge(
        "mqtt_transient_waiting",
        "Alerts and ticks that wait for the broker.",
        health.transient_waiting,
    );
    text.counter("mqtt_published_total", "Messages that were published.", health.published);
    text.counter("mqtt_dropped_total", "Messages that were given up.", health.dropped);
    text.counter("mqtt_reconnects_total", "Connections to the broker after the first.", health.reconnects);
    text.gauge("signals_remembered", "Signals that are remembered.", health.signals_remembered);
    text.head("feed_age_seconds", "gauge", "Time since the last message of a feed.");
    for (feed, age_ms) in &health.feed_ages_ms {
        if let Some(age_ms) = age_ms {
            let (whole, rest) = (age_ms / 1_000, age_ms % 1_000);
            text.labelled("feed_age_seconds", &[("feed", feed.as_str())], format_args!("{whole}.{rest:03}"));
        }
    }
}

fn write_trading(text: &mut Text, counts: &Counts) {
    text.head("signals_total", "counter", "Answered signals by status and reason.");
    for (status, reason, count) in &counts.signals {
        text.labelled("signals_total", &[("status", status), ("reason", reason)], count);
    }
    text.counter("signals_repeated_total", "Answers that were given again.", counts.repeated);
    text.counter("order_changes_total", "Changes of orders.", counts.orders);
    text.counter("fills_total", "Fills.", counts.fills);
    text.counter("trades_total", "Closed trades.", counts.trades);
    let help = "From the receipt of a command to its answer, which is on disk.";
    text.histogram("command_seconds", help, &counts.answered);
    text.histogram("engine_event_seconds", "What the engine takes for an event.", &counts.handled);
    let help = "What the disk takes for a group of records: written and synced.";
    text.histogram("store_flush_seconds", help, &counts.flushed);
}

/// The text as it grows. Labels are names and words of ours, which need no escapes.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP tradebus_{name} {help}"));
        self.line(format_args!("# TYPE tradebus_{name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.labelled(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.labelled(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Times) {
        self.head(name, "histogram", help);
        let (bucket, mut sum) = (format!("{name}_bucket"), 0);
        for (count, bound) in times.counts.iter().zip(times.bounds_ns) {
            sum += count;
            let bound = seconds(*bound);
            self.labelled(&bucket, &[("le", bound.trim_end_matches('0').trim_end_matches('.'))], sum);
        }
        let all: u64 = times.counts.iter().sum();
        self.labelled(&bucket, &[("le", "+Inf")], all);
        self.labelled(&format!("{name}_sum"), &[], seconds(times.total_ns));
        self.labelled(&format!("{name}_count"), &[], all);
    }

    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("tradebus_{name}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments) {
        // A text takes all.
        let _ = writeln!(self.0, "{line}");
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}
