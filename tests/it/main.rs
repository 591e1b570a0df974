//! One integration binary: each module is one edge of the system, or one kind of proof.

#[path = "../support/chance.rs"]
mod chance;
#[path = "../support/live_simulation.rs"]
mod live_simulation;
#[path = "../support/live_world.rs"]
mod live_world;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/scenario.rs"]
mod scenario;
#[path = "../support/stops.rs"]
mod stops;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/venue_words.rs"]
mod venue_words;

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
mod gateway;
mod golden_stores;
mod http;
mod kpi;
mod link;
mod live;
mod months;
mod mqtt_client;
mod node_red;
mod operations;
mod pages;
mod parity;
mod poison;
mod promises;
mod properties;
mod requests;
mod scenarios;
mod signal_rate;
mod simulation;
mod tidy;
mod tradingview;
