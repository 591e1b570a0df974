//! Helpers of the integration tests.

pub mod bus;
pub mod certificates;
pub mod disk;
pub mod fake_blofin;
pub mod fake_broker;
pub mod fuzz;
pub mod ledger;
pub mod model_venue;
pub mod months;
pub mod mosquitto;
pub mod program;
pub mod proxy;
pub mod quiet;
pub mod random;
pub mod sim;
pub mod tls_front;
pub mod web;
