//! Authorities, servers and clients for TLS, made at test time: no key is ever in the repository.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// Files in a temporary folder: `NAME.pem` and `NAME.key` for each of `ca`, `localhost` (a server), `elsewhere` (a
/// server of another host), `expired` (a server whose time is over), `client`; `other-ca` and `stranger` (a client of
/// it); `old-ca`, which has expired.
pub struct Certificates(TempDir);

impl Certificates {
    pub fn new() -> Self {
        let made = Self(TempDir::new().expect("a temporary folder"));
        let ca = made.authority("ca", 2099);
        let other = made.authority("other-ca", 2099);
        made.authority("old-ca", 2021);
        made.leaf("localhost", "localhost", 2099, &ca);
        made.leaf("elsewhere", "elsewhere.example", 2099, &ca);
        made.leaf("expired", "localhost", 2021, &ca);
        made.leaf("client", "client", 2099, &ca);
        made.leaf("stranger", "client", 2099, &other);
        made
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Lines of a mosquitto listener with this server's certificate.
    pub fn listener(&self, server: &str, client_wanted: bool) -> String {
        let path = |file: String| self.path(&file).display().to_string();
        format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate {client_wanted}\n",
            path("ca.pem".into()),
            path(format!("{server}.pem")),
            path(format!("{server}.key")),
        )
    }

    fn authority(&self, name: &str, until: i32) -> Issuer<'static, KeyPair> {
        let mut params = params(&[], name, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        self.write(name, &params.self_signed(&key).expect("a certificate").pem(), &key);
        Issuer::new(params, key)
    }

    fn leaf(&self, name: &str, host: &str, until: i32, issuer: &Issuer<'_, KeyPair>) {
        let mut params = params(&[host], name, until);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        self.write(name, &params.signed_by(&key, issuer).expect("a certificate").pem(), &key);
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(&format!("{name}.pem")), certificate).expect("a certificate");
        let path = self.path(&format!("{name}.key"));
        std::fs::write(&path, key.serialize_pem()).expect("a key");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its permissions");
    }
}

fn params(hosts: &[&str], name: &str, until: i32) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}
