//! Helpers of the integration tests.

pub mod mosquitto;
pub mod proxy;
