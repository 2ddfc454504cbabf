//! UIDs (PS3.5 section 9). The only type that may become a file name; it never holds anything but digits and dots.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The root under which Hutong names itself (a UUID-derived root, PS3.5 B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.249021532871520934875230498523049587231";
/// Implementation Version Name (0002,0013), at most 16 characters.
pub const IMPLEMENTATION_VERSION: &str =
    concat!("HUTONG_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"));

/// A UID of 1 to 64 digits and dots that starts and ends with a digit and has no empty component.
///
/// Leading zeros in a component are against PS3.5 9.1 but common in the field, and harmless: they are accepted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(Box<str>);

/// Why a text is not a UID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    /// Nothing but padding.
    #[error("the UID is empty")]
    Empty,
    /// PS3.5 allows 64 characters.
    #[error("the UID has {0} characters, 64 are allowed")]
    TooLong(usize),
    /// Only digits and single dots between them are allowed.
    #[error("the UID has a character or an empty component that is not allowed (digits and single dots only)")]
    Malformed,
}

impl Uid {
    /// Reads a UID, padding (NUL, space) at the end taken off.
    ///
    /// # Errors
    /// Anything but 1 to 64 digits and single dots.
    pub fn parse(text: &str) -> Result<Uid, UidError> {
        let text = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
        if text.is_empty() {
            return Err(UidError::Empty);
        }
        if text.len() > 64 {
            return Err(UidError::TooLong(text.chars().count()));
        }
        let well_formed = text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        if !well_formed {
            return Err(UidError::Malformed);
        }
        Ok(Uid(text.into()))
    }

    /// A UID that depends on the parts alone: the same parts give the same UID on every node (PS3.5 B.2, UUID version 8).
    pub fn derived(parts: &[&str]) -> Uid {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut number = digest.iter().take(16).fold(0u128, |n, byte| (n << 8) | u128::from(*byte));
        number = (number & !(0xF << 76)) | (0x8 << 76);
        number = (number & !(0x3 << 62)) | (0x2 << 62);
        Uid(format!("2.25.{number}").into())
    }

    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;
    fn try_from(text: String) -> Result<Uid, UidError> {
        Uid::parse(&text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> String {
        uid.0.into()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Uid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_that_could_leave_its_folder_is_refused() {
        for bad in ["", "..", "../1", "1..2", "1/2", "1.2.", ".1", "1.a", "1\\2", "1 2", "1.2\n"] {
            assert!(Uid::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Uid::parse(&"1".repeat(65)).is_err());
        assert_eq!(Uid::parse("1.2.840.10008\0").map(|u| u.to_string()), Ok("1.2.840.10008".to_string()));
    }

    #[test]
    fn derived_uids_depend_on_the_parts_and_their_borders_only() {
        assert_eq!(Uid::derived(&["a", "b"]), Uid::derived(&["a", "b"]));
        assert_ne!(Uid::derived(&["a", "b"]), Uid::derived(&["ab", ""]));
        assert!(Uid::derived(&["x"]).as_str().len() <= 64);
        assert!(Uid::parse(IMPLEMENTATION_CLASS_UID).is_ok() && IMPLEMENTATION_CLASS_UID.len() <= 64);
    }
}
