//! One integration binary: each module is one edge of the system.

#[path = "../support/mod.rs"]
mod support;

mod mqtt_client;
