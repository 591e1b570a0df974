//! Helpers of the integration tests.

pub mod bus;
pub mod ledger;
pub mod mosquitto;
pub mod program;
pub mod proxy;
pub mod random;
pub mod web;
