//! What things are: values only, made once and not changed in place. Imports nothing of ours.

pub mod amount;
pub mod ids;
pub mod instrument;
pub mod kpi;
pub mod live;
pub mod market;
pub mod order;
pub mod position;
pub mod report;
pub mod signal;
pub mod stop;
pub mod time;
pub mod trading;
pub mod units;
