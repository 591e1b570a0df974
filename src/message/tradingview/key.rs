//! The key of a strategy's alerts: known only as its SHA-256, never printed, compared in constant time.

use sha2::{Digest, Sha256};

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertKey([u8; 32]);

impl AlertKey {
    /// The fewest characters of a key: a shorter one could be guessed.
    pub const LENGTH_MIN: usize = 16;

    /// The key of a text, which is not kept.
    pub fn new(text: &str) -> AlertKey {
        AlertKey(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether `text` is the key. Takes the same time wherever they differ, because all bytes of both digests are
    /// looked at.
    pub fn matches(&self, text: &str) -> bool {
        self.is(&AlertKey::new(text))
    }

    /// Whether it is one of these.
    pub(super) fn is_among(&self, keys: &[&AlertKey]) -> bool {
        keys.iter().any(|key| self.is(key))
    }

    fn is(&self, other: &AlertKey) -> bool {
        let differences = self.0.iter().zip(&other.0).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(differences) == 0
    }
}

impl std::fmt::Debug for AlertKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlertKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_matches() {
        let key = AlertKey::new("correct horse");
        let check = |text: &str, expected: bool| assert_eq!(key.matches(text), expected, "{text:?}");
        check("correct horse", true);
        check("correct horse ", false);
        check("Correct horse", false);
        check("", false);
        assert_eq!(format!("{key:?}"), "AlertKey(***)");
    }
}
