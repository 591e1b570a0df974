//! How a broker with TLS is believed, and how it can believe us: read at the start, checked as far as that goes alone.
//!
//! Invariants: the broker's certificate is always verified, against `ca_file` or else the system's authorities, and
//! always for the host of its address. There is no setting that turns this off. See `trust`.
//!
//! Limits: files of 64 KiB for a key, 1 MiB for certificates. The end of validity is a warning, because a box without
//! a clock battery starts with a wrong time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

use super::Problem;
use super::reader::Table;
use super::secret::{read_secret, read_text};
use super::trust;
use crate::model::time::Timestamp;

/// The largest file of certificates: more than the authorities of any system.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;
/// A certificate that ends within it is worth a warning.
const SOON_DAYS: i64 = 14;
const DAY_MS: i64 = 86_400_000;

/// What a connection with TLS needs.
#[derive(Clone)]
pub struct Tls {
    /// For the handshake. Holds the key, so nothing of it is ever printed.
    pub client: Arc<ClientConfig>,
    /// The authority's certificates; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, where the broker wants one.
    pub client_certificate_file: Option<PathBuf>,
    /// Its key.
    pub client_key_file: Option<PathBuf>,
    /// The certificates of these files.
    pub certificates: Vec<Certificate>,
}

/// Until when a certificate of ours is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The key of the configuration that names its file.
    pub path: String,
    /// The end of its validity.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("ca_file", &self.ca_file)
            .field("client_certificate_file", &self.client_certificate_file)
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

/// What of these certificates is not valid any more at `now`, or soon will not be. The daemon runs with it: a clock
/// without a battery is wrong at a start, and the other side decides anyway.
pub(super) fn warnings(certificates: &[Certificate], now: Timestamp) -> Vec<Problem> {
    let text = |expires: Timestamp| match expires.since_ms(now) {
        ..=0 => Some(format!("the certificate expired on {expires}, or the clock is wrong; renew it")),
        left if left < SOON_DAYS * DAY_MS => {
            Some(format!("the certificate expires on {expires}, in {} days; renew it", left / DAY_MS))
        }
        _ => None,
    };
    let warning =
        |certificate: &Certificate| Some(Problem::new(certificate.path.as_str(), text(certificate.expires)?));
    certificates.iter().filter_map(warning).collect()
}

/// Reads the settings of TLS; `wanted` tells that the broker's address begins with `mqtts://`.
pub(super) fn read_tls(table: &Table, wanted: bool) -> Option<Tls> {
    let names = ["ca_file", "client_certificate_file", "client_key_file"];
    let [ca_file, client_certificate_file, client_key_file] = names.map(|name| table.file_path(name));
    if !wanted {
        let given = [&ca_file, &client_certificate_file, &client_key_file];
        for (name, _) in names.iter().zip(given).filter(|(_, file)| file.is_some()) {
            table.problem(name, "has no effect without TLS; write the broker as \"mqtts://host:8883\"");
        }
        return None;
    }
    let mut certificates = Vec::new();
    let roots = read_roots(table, ca_file.as_deref(), &mut certificates);
    let client = match (&client_certificate_file, &client_key_file) {
        (Some(certificate), Some(key)) => {
            Some((read_certificates(table, names[1], certificate)?, read_key(table, names[2], key)?))
        }
        (None, None) => None,
        (Some(_), None) => {
            table.problem(names[2], "is missing, but there is a client_certificate_file");
            return None;
        }
        (None, Some(_)) => {
            table.problem(names[1], "is missing, but there is a client_key_file");
            return None;
        }
    };
    let own = client.as_ref().and_then(|(chain, _)| chain.first());
    certificates.extend(own.and_then(|own| certificate(table, names[1], own)));
    let client = match trust::client(Arc::new(roots?), client) {
        Ok(client) => client,
        Err(Error::InconsistentKeys(_)) => {
            table.problem(names[2], "the key does not belong to client_certificate_file");
            return None;
        }
        Err(error) => {
            table.problem(names[1], format!("certificate and key cannot be used: {error}"));
            return None;
        }
    };
    let client = Arc::new(client);
    Some(Tls { client, ca_file, client_certificate_file, client_key_file, certificates })
}

fn read_roots(table: &Table, file: Option<&Path>, found: &mut Vec<Certificate>) -> Option<RootCertStore> {
    let Some(file) = file else {
        if let Ok(roots) = trust::system_roots() {
            return Some(roots);
        }
        let why = "needs certificates of authorities, and this system has none; \
                   install its package ca-certificates, or set mqtt.ca_file";
        table.problem("broker", why);
        return None;
    };
    read_authorities(table, file, found)
}

/// The authorities of `ca_file`, at least one.
pub(super) fn read_authorities(
    table: &Table,
    file: &Path,
    found: &mut Vec<Certificate>,
) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for one in read_certificates(table, "ca_file", file)? {
        found.extend(certificate(table, "ca_file", &one));
        if let Err(error) = roots.add(one) {
            table.problem("ca_file", format!("holds a certificate that cannot be used: {error}"));
            return None;
        }
    }
    Some(roots)
}

/// All certificates of a PEM file, at least one.
pub(super) fn read_certificates(
    table: &Table,
    name: &str,
    file: &Path,
) -> Option<Vec<CertificateDer<'static>>> {
    let read = read_text(file, CERTIFICATES_BYTES_MAX).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    });
    let read = read.and_then(|text| {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        certificates.map_err(|error| format!("the file is not PEM: {error}"))
    });
    match read {
        Ok(certificates) if certificates.is_empty() => {
            table.problem(name, "the file holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
            None
        }
        Ok(certificates) => Some(certificates),
        Err(why) => {
            table.problem(name, why);
            None
        }
    }
}

pub(super) fn read_key(table: &Table, name: &str, file: &Path) -> Option<PrivateKeyDer<'static>> {
    let (secret, readable) = match read_secret(file) {
        Ok(read) => read,
        Err(why) => {
            table.problem(name, why);
            return None;
        }
    };
    if readable {
        table.warning(name, "everyone on this machine can read the file; chmod 600 it");
    }
    let key = PrivateKeyDer::from_pem_slice(secret.value.expose_secret().as_bytes());
    if key.is_err() {
        table.problem(name, "the file holds no private key in PEM, or one with a passphrase");
    }
    key.ok()
}

pub(super) fn certificate(table: &Table, name: &str, der: &CertificateDer) -> Option<Certificate> {
    let expires = expires(der)?;
    Some(Certificate { path: table.path_of(name), expires })
}

/// The end of a certificate's validity. `None` when it is not X.509 as RFC 5280 has it.
///
/// Certificate and TBSCertificate are sequences; version (`[0]`, optional), serial number, algorithm and issuer stand
/// before the validity, which is a sequence of two times.
fn expires(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xA0;
    let certificate = Der::inside(certificate, SEQUENCE)?;
    let mut rest = Der::inside(certificate, SEQUENCE)?;
    let first = Der::first(rest)?;
    let skipped = if first.tag == VERSION { 4 } else { 3 };
    for _ in 0..skipped {
        rest = Der::first(rest)?.rest;
    }
    let not_before = Der::first(Der::inside(rest, SEQUENCE)?)?;
    let not_after = Der::first(not_before.rest)?;
    time(not_after.tag, std::str::from_utf8(not_after.content).ok()?)
}

/// `YYMMDDhhmmssZ` (tag 23, 1950 to 2049) or `YYYYMMDDhhmmssZ` (tag 24).
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let full = match (tag, digits.len()) {
        (23, 12) => format!("{}{digits}", if &digits[..2] < "50" { "20" } else { "19" }),
        (24, 14) => digits.to_owned(),
        _ => return None,
    };
    let (date, clock) = full.split_at(8);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    );
    Timestamp::parse_rfc3339(&rfc3339).ok()
}

/// One value of a DER encoding, and what follows it.
struct Der<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    /// The content of the first value, if it has this tag.
    fn inside(bytes: &'a [u8], tag: u8) -> Option<&'a [u8]> {
        Der::first(bytes).filter(|der| der.tag == tag).map(|der| der.content)
    }

    fn first(bytes: &'a [u8]) -> Option<Der<'a>> {
        let (tag, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match *length {
            short @ 0..=0x7F => (usize::from(short), rest),
            // So many bytes of length follow; two are enough for 64 KiB.
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Der { tag: *tag, content, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_time(tag: u8, text: &str, expected: Option<&str>) {
        assert_eq!(time(tag, text).map(|time| time.to_string()).as_deref(), expected, "{tag} {text}");
    }

    #[test]
    fn ends_of_validity() {
        check_time(23, "261121062538Z", Some("2026-11-21T06:25:38.000Z"));
        check_time(23, "990101000000Z", Some("1999-01-01T00:00:00.000Z"));
        check_time(24, "20990101000000Z", Some("2099-01-01T00:00:00.000Z"));
        // RFC 5280 writes "never" so; it is beyond our range, and nothing to warn of.
        check_time(24, "99991231235959Z", None);
        check_time(23, "20990101000000Z", None);
        check_time(24, "261121062538Z", None);
        check_time(23, "261321062538Z", None);
        check_time(23, "2611210625Z", None);
        check_time(23, "é61121062538Z", None);
        check_time(23, "261121062538+", None);
        check_time(12, "261121062538Z", None);
    }

    /// Not before 2020, not after 2030; with and without a version, and cut at every byte.
    #[test]
    fn certificates_reduced_to_their_validity() {
        let times = b"\x17\x0d200101000000Z\x17\x0d300101000000Z";
        let validity = [&[0x30, times.len() as u8], times.as_slice()].concat();
        let before = [0x02, 1, 7, 0x30, 0, 0x30, 0];
        for version in [&[][..], &[0xA0, 3, 2, 1, 2]] {
            let body = [version, &before, &validity].concat();
            let inner = [&[0x30, 0x81, body.len() as u8], body.as_slice()].concat();
            let whole = [&[0x30, 0x82, 0, inner.len() as u8], inner.as_slice()].concat();
            assert_eq!(expires(&whole).unwrap().to_string(), "2030-01-01T00:00:00.000Z");
            for end in 0..whole.len() {
                assert_eq!(expires(&whole[..end]), None, "{end}");
            }
        }
    }
}
