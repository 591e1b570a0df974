//! How orders become fills: one exchange object for each strategy, behind one trait.

pub mod paper;
