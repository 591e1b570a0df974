//! Tests from outside the crate, in one binary.

#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/scenario.rs"]
mod scenario;

mod kpi;
mod properties;
mod scenarios;
