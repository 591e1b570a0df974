//! Helpers of the integration tests.

pub mod bus;
pub mod certificates;
pub mod disk;
pub mod fake_blofin;
pub mod fake_broker;
pub mod ledger;
pub mod model_venue;
pub mod mosquitto;
pub mod program;
pub mod proxy;
pub mod random;
pub mod tls_front;
pub mod web;
