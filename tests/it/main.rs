//! One integration binary: each module is one edge of the system, or one kind of proof.

#[path = "../support/chance.rs"]
mod chance;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/scenario.rs"]
mod scenario;
#[path = "../support/mod.rs"]
mod support;

mod absence;
mod blofin;
mod cli;
mod config;
mod daemon;
mod deploy;
mod discovery;
mod examples;
mod feeds;
mod fuzz;
mod kpi;
mod link;
mod mqtt_client;
mod operations;
mod parity;
mod poison;
mod promises;
mod properties;
mod scenarios;
mod signal_rate;
mod simulation;
mod tidy;
mod tradingview;
