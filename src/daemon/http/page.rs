//! Answers: JSON with a tag of its content, packed when the asker can unpack it.

use std::io::Write;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// Smaller answers are not worth packing.
const PACKED_BYTES_MIN: usize = 1_024;

/// An answer with a 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    content_type: &'static str,
    body: Bytes,
}

impl Page {
    pub fn json(body: impl Into<Bytes>) -> Page {
        Page { content_type: "application/json", body: body.into() }
    }

    pub fn text(content_type: &'static str, body: impl Into<Bytes>) -> Page {
        Page { content_type, body: body.into() }
    }

    /// The response to a request with these headers: nothing new, or the whole, packed or not.
    pub fn answer(self, asked: &HeaderMap) -> Response {
        let tag = format!("W/\"{}\"", &HEXLOWER.encode(&Sha256::digest(&self.body))[..16]);
        let mut response = if knows(asked, &tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if self.body.len() >= PACKED_BYTES_MIN && unpacks(asked) {
            let mut response = Body::from(packed(&self.body)).into_response();
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            Body::from(self.body).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

fn knows(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| matches!(known.trim(), known if known == tag || known == &tag[2..]))
}

fn unpacks(asked: &HeaderMap) -> bool {
    let taken = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    taken.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // A vector takes all.
    let _ = packer.write_all(body);
    packer.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_tagged_and_packed() {
        let answer = |body: &str, name: axum::http::HeaderName, value: &str| {
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            Page::json(body.to_owned()).answer(&headers)
        };
        let long = "x".repeat(PACKED_BYTES_MIN);
        let is_packed = |body: &str, accept: &str| {
            answer(body, ACCEPT_ENCODING, accept).headers().contains_key(CONTENT_ENCODING)
        };
        assert!(is_packed(&long, "gzip"));
        assert!(is_packed(&long, "br, GZIP;q=0.5"));
        assert!(!is_packed(&long, "gzip;q=0"));
        assert!(!is_packed(&long, "br"));
        assert!(!is_packed("{}", "gzip"));
        let tag = answer("{}", ACCEPT_ENCODING, "").headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(answer("{}", IF_NONE_MATCH, &tag).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("{}", IF_NONE_MATCH, &format!("\"a\", {tag}")).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("[]", IF_NONE_MATCH, &tag).status(), StatusCode::OK);
    }
}
