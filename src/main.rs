//! The `tradebus` command.

fn main() {}
