//! Signatures: base64 of the hex text of HMAC-SHA256 over path, method, time, nonce and body, without separators.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::request::{Method, Request};
use crate::model::time::Timestamp;

/// What stands in place of a secret in a text.
const HIDDEN: &str = "(hidden)";

/// What proves whose account it is. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The API key.
    pub api_key: SecretString,
    /// Signs; used as the text that it is.
    pub secret: SecretString,
    /// Chosen when the key was made.
    pub passphrase: SecretString,
}

/// What makes each request another one: the venue takes a nonce once, and a time within 60 s of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it is signed.
    pub time: Timestamp,
    /// Letters, digits and hyphens.
    pub nonce: String,
}

impl Keys {
    /// The headers of a request, besides its content type.
    pub fn headers(&self, request: &Request, stamp: &Stamp) -> [(&'static str, SecretString); 5] {
        let time = stamp.time.as_ms().to_string();
        let sign = self.signature(&request.path, request.method, stamp, &request.body);
        [
            ("ACCESS-KEY", self.api_key.clone()),
            ("ACCESS-SIGN", sign.into()),
            ("ACCESS-TIMESTAMP", time.into()),
            ("ACCESS-NONCE", stamp.nonce.clone().into()),
            ("ACCESS-PASSPHRASE", self.passphrase.clone()),
        ]
    }

    /// The signature of a request: `path` with its query as it leaves, `body` as it leaves.
    pub fn signature(&self, path: &str, method: Method, stamp: &Stamp, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        let time = stamp.time.as_ms().to_string();
        for part in [path, method.as_str(), &time, &stamp.nonce, body] {
            mac.update(part.as_bytes());
        }
        let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        data_encoding::BASE64.encode(hex.as_bytes())
    }

    /// A text of the venue without our secrets, should it repeat one.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [&self.secret, &self.passphrase, &self.api_key] {
            let secret = secret.expose_secret();
            // A short one may be part of any word; hiding that would tell it.
            if secret.len() >= 4 && text.contains(secret) {
                text = text.replace(secret, HIDDEN);
            }
        }
        text
    }
}
