//! One integration binary: each module is one edge of the system, or one kind of proof.

#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/scenario.rs"]
mod scenario;
#[path = "../support/mod.rs"]
mod support;

mod config;
mod discovery;
mod feeds;
mod kpi;
mod mqtt_client;
mod poison;
mod properties;
mod scenarios;
mod tradingview;
