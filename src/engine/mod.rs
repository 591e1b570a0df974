//! What is decided: the single writer.

pub mod kpi;
pub mod settings;
