//! Keys of later versions. They are taken while they ask for nothing, so that a configuration can be written ahead;
//! asking for what is not built is a problem, never silence.

use super::reader::Table;
use super::schema::HTTP_LISTEN_DEFAULT;

/// What problems say about a feature of a later version.
pub(super) const NOT_AVAILABLE: &str = "is not available in this version";
/// Venues that were shut down.
const VENUES_GONE: &[&str] = &["xeggex"];

/// Says that a venue no longer exists, if so.
pub(super) fn gone(venue: &str) -> Option<String> {
    let gone = VENUES_GONE.iter().any(|name| name.eq_ignore_ascii_case(venue));
    gone.then(|| format!("{venue:?} no longer exists: the exchange was shut down"))
}

/// Checks `[http]`.
pub(super) fn check(root: &Table) {
    let http = root.table("http");
    let listen = http.text("listen");
    if !listen.is_empty() && listen != HTTP_LISTEN_DEFAULT {
        http.problem("listen", format!("{listen:?}: HTTP {NOT_AVAILABLE}; leave the key out"));
    }
    if http.text_maybe("token_file").is_some() {
        http.problem("token_file", format!("HTTP {NOT_AVAILABLE}; leave the key out"));
    }
}

/// Notes a venue that no version of the design knows.
pub(super) fn check_venue(reader: &super::reader::Reader, path: &str, name: &str) {
    if let Some(why) = gone(name) {
        reader.problem(path, why);
    } else if matches!(name, "okx" | "binance") {
        reader.problem(path, format!("{name:?} {NOT_AVAILABLE}; use \"blofin\""));
    } else if name != "blofin" {
        reader.problem(path, format!("{name:?} is not a venue; use \"blofin\""));
    }
}
