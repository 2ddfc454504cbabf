//! The stamp of a stored file: what must be known of it that its data set does not say, kept inside its own meta header.
//!
//! It stands in Private Information (0002,0102), padded to a fixed length, because the digest is known only after the last
//! byte went by. So a file carries the proof of its own integrity, and the index can be made again from files alone.

use super::Uid;
use serde::{Deserialize, Serialize};

/// Names the creator of the private information, (0002,0100).
pub const CREATOR: &str = "2.25.249021532871520934875230498523049587232";
/// Room for the stamp, in bytes.
pub const LENGTH: usize = 512;

/// Whether a file came from outside or was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// As received; never changed.
    Original,
    /// A marked copy (互认标识) that this node derived.
    Marked {
        /// The instance it was derived from.
        source: Uid,
        /// The study revision whose verdict it belongs to.
        revision: u64,
    },
    /// A quality report that this node wrote.
    Report {
        /// The study revision whose verdict it is about.
        revision: u64,
    },
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// SHA-256 of the data set, hexadecimal.
    pub sha256: String,
    /// Bytes of the data set.
    pub length: u64,
    /// When the last byte came, milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// Where it is from.
    pub kind: Kind,
}

impl Stamp {
    /// The fixed-length form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.resize(LENGTH, b' ');
        bytes
    }

    /// Reads it back; none when it is not a stamp.
    pub fn from_bytes(bytes: &[u8]) -> Option<Stamp> {
        serde_json::from_slice(bytes.trim_ascii_end()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stamp_fits_its_room() {
        let stamp = Stamp {
            sha256: "f".repeat(64),
            length: u64::MAX,
            received_ms: i64::MIN,
            kind: Kind::Marked { source: Uid::parse(&"1".repeat(64)).unwrap(), revision: u64::MAX },
        };
        let bytes = stamp.to_bytes();
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(Stamp::from_bytes(&bytes), Some(stamp));
    }
}
