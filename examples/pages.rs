//! Writes the manual pages and the completions of the shells, for packages: `cargo run --example pages -- DIR`.
//!
//! They are made from the command line itself, by a program of its own, so that the shipped one does not carry them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clap_complete::Shell;

/// What the command line does not know: appended to `tradebus(1)`.
const MORE: &str = r#".SH "EXIT STATUS"
The codes of sysexits(3): 0 it was done, 1 the daemon refused the signal, 64 wrong arguments, 65 damaged data, 69 the
broker or the daemon does not answer, 70 a bug, 71 the system fails, 74 the output cannot be written, 75 something is in
use, 78 the configuration has problems.
.SH ENVIRONMENT
Each setting may be overridden: TRADEBUS_MQTT__BROKER is mqtt.broker.
.SH FILES
.TP
/etc/tradebus/tradebus.toml
The configuration.
.TP
/var/lib/tradebus
The store.
.TP
/usr/share/doc/tradebus
OPERATIONS.md, MQTT.md, CONFIGURATION.md and others.
"#;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: pages DIR");
        std::process::exit(64);
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let mut command = tradebus::cli::command();
    clap_mangen::generate_to(command.clone(), folder)?;
    File::options().append(true).open(folder.join("tradebus.1"))?.write_all(MORE.as_bytes())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "tradebus", folder)?;
    }
    Ok(())
}
