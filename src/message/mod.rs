//! How tradebus speaks: pure text to model and back. Mirrors `docs/MQTT.md` one to one.

pub mod daemon;
pub mod discovery;
pub mod fields;
pub mod history;
pub mod json;
pub mod level;
pub mod reconcile;
pub mod record_view;
pub mod request;
pub mod signal;
pub mod topic;
pub mod tradingview;
pub mod view;
