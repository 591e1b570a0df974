//! `[venue.blofin]`: where BloFin is.

use std::sync::Arc;

use super::later::check_venue;
use super::reader::Table;
use super::tls::read_authorities;
use super::trust::Authorities;
use crate::venue::blofin::private::{WS_PRIVATE_URL, WS_PRIVATE_URL_DEMO};
use crate::venue::blofin::request::{REST_URL, REST_URL_DEMO, WS_PUBLIC_URL, WS_PUBLIC_URL_DEMO};

/// Where BloFin is.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// Whether it is the environment with play money, which has prices of its own.
    pub is_demo: bool,
    /// Instead of the environment's address, such as that of a proxy.
    pub rest_url_given: Option<String>,
    /// Instead of the environment's address of the public stream.
    pub ws_public_url_given: Option<String>,
    /// Instead of the environment's address of the private stream.
    pub ws_private_url_given: Option<String>,
    /// Whom its certificate must be from; `None`: one of the authorities that the system trusts.
    pub authorities: Option<Authorities>,
}

impl VenueConfig {
    /// Whether keys may go to its REST address: with TLS, or within this machine.
    pub fn is_rest_private(&self) -> bool {
        let address = self.rest_url();
        address.starts_with("https://") || is_loopback(address.trim_start_matches("http://"))
    }

    /// Where REST answers, without a path.
    pub fn rest_url(&self) -> &str {
        self.rest_url_given.as_deref().unwrap_or(if self.is_demo { REST_URL_DEMO } else { REST_URL })
    }

    /// Where the public stream is.
    pub fn ws_public_url(&self) -> &str {
        let own = if self.is_demo { WS_PUBLIC_URL_DEMO } else { WS_PUBLIC_URL };
        self.ws_public_url_given.as_deref().unwrap_or(own)
    }

    /// Where the private stream is.
    pub fn ws_private_url(&self) -> &str {
        let own = if self.is_demo { WS_PRIVATE_URL_DEMO } else { WS_PRIVATE_URL };
        self.ws_private_url_given.as_deref().unwrap_or(own)
    }
}

/// Reads `[venue.blofin]`; notes venues that there are not.
pub(super) fn read_venue(root: &Table) -> VenueConfig {
    for (name, venue) in root.named("venue") {
        check_venue(venue.reader, &venue.path, &name);
    }
    let mut found = VenueConfig {
        is_demo: false,
        rest_url_given: None,
        ws_public_url_given: None,
        ws_private_url_given: None,
        authorities: None,
    };
    if let Some((_, venue)) = root.named("venue").into_iter().find(|(name, _)| name == "blofin") {
        found.is_demo = venue.word("environment") == "demo";
        found.rest_url_given = read_address(&venue, "rest_url", ["https://", "http://"]);
        found.ws_public_url_given = read_address(&venue, "ws_public_url", ["wss://", "ws://"]);
        found.ws_private_url_given = read_address(&venue, "ws_private_url", ["wss://", "ws://"]);
        found.authorities = venue.file_path("ca_file").and_then(|file| {
            let roots = Arc::new(read_authorities(&venue, &file, &mut Vec::new())?);
            Some(Authorities { file, roots })
        });
    }
    found
}

/// An address that begins with one of two schemes, the encrypted one first. It is not shown when it is wrong, because
/// it may hold a password.
fn read_address(table: &Table, key: &str, schemes: [&str; 2]) -> Option<String> {
    let text = table.text_maybe(key)?;
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && rest.chars().all(allowed) && text.len() <= 256)
    else {
        let wanted =
            format!("is not an address; it must begin with {:?}, without a user or a query", schemes[0]);
        table.problem(key, wanted);
        return None;
    };
    if text.starts_with(schemes[1]) && !is_loopback(rest) {
        // The passphrase is in every login, so there is nothing to warn of: it would be given away.
        match key {
            "ws_private_url" => table.problem(key, "is not encrypted, and leads beyond this machine"),
            _ => table.warning(key, "is not encrypted: whoever is on the way can change prices"),
        }
    }
    Some(text)
}

/// Whether an address without its scheme leads to this machine.
fn is_loopback(address: &str) -> bool {
    let host = address.split('/').next().unwrap_or_default();
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let is_number = name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    name == "localhost" || name == "[::1]" || is_number
}
