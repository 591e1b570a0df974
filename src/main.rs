//! The `tradebus` command: catches panics, and leaves the rest to `tradebus::cli`.

use std::process::ExitCode;

/// `EX_SOFTWARE` of sysexits.
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        // It prints as two lines, and a log line is one.
        let text = panic.to_string().replace('\n', " ");
        if tracing::dispatcher::has_been_set() {
            tracing::error!("internal error: {text}");
        } else {
            eprintln!("error: internal: {text}");
        }
    }));
    std::panic::catch_unwind(tradebus::cli::main).unwrap_or_else(|_| ExitCode::from(INTERNAL))
}
