//! tradebus: prices, positions and strategy signals over MQTT, traded on paper or at BloFin.
//!
//! One pure engine decides, thin drivers feed it. Read in this order: `model` (what things are), `risk` (what is
//! allowed), `exchange` (how orders become fills), `engine` (what is decided), `message` (how tradebus speaks),
//! `store` (the truth about money), `daemon` (everything that waits). `docs/ARCHITECTURE.md` has the invariants.

pub mod backtest;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod exchange;
pub mod message;
pub mod model;
pub mod risk;
pub mod store;
pub mod venue;
