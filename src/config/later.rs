//! Keys of later versions. They are taken while they ask for nothing, so that a configuration can be written ahead;
//! asking for what is not built is a problem, never silence.

use super::reader::Table;

/// What problems say about a feature of a later version.
pub(super) const NOT_AVAILABLE: &str = "is not available in this version";
/// Venues that were shut down.
const VENUES_GONE: &[&str] = &["xeggex"];

/// Says that a venue no longer exists, if so.
pub(super) fn gone(venue: &str) -> Option<String> {
    let gone = VENUES_GONE.iter().any(|name| name.eq_ignore_ascii_case(venue));
    gone.then(|| format!("{venue:?} no longer exists: the exchange was shut down"))
}

/// Checks what `[venue.NAME]` has for live accounts.
pub(super) fn check(root: &Table) {
    for (_, venue) in root.named("venue") {
        // An address may hold a password, so it is not shown.
        if venue.text_maybe("ws_private_url").is_some() {
            venue.problem("ws_private_url", format!("live trading {NOT_AVAILABLE}; leave the key out"));
        }
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
