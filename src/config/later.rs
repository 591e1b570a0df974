//! Venues of later versions, and venues that are gone: asking for one is a problem, never silence.

/// What problems say about a feature of a later version.
pub(super) const NOT_AVAILABLE: &str = "is not available in this version";
/// Venues that were shut down.
const VENUES_GONE: &[&str] = &["xeggex"];

/// Says that a venue no longer exists, if so.
pub(super) fn gone(venue: &str) -> Option<String> {
    let gone = VENUES_GONE.iter().any(|name| name.eq_ignore_ascii_case(venue));
    gone.then(|| format!("{venue:?} no longer exists: the exchange was shut down"))
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
