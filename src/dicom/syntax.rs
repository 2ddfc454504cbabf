//! Transfer syntaxes (PS3.5 section 10, PS3.6 table A-1): how a data set is written, and what may be done with its pixels.

use super::uids;

/// Explicit VR Big Endian, retired and still sent.
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Deflated Image Frame Compression.
pub const DEFLATED_FRAME: &str = "1.2.840.10008.1.2.8.1";

/// How the elements of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// Value representations are written out.
    pub explicit: bool,
    /// Numbers have their most significant byte first (retired).
    pub big_endian: bool,
    /// The whole data set is deflated (PS3.5 A.5).
    pub deflated: bool,
    /// Pixel data come in fragments.
    pub encapsulated: bool,
}

impl Syntax {
    /// Implicit VR Little Endian, the default; commands are written so (PS3.7 6.3.1).
    pub const IMPLICIT: Syntax = Syntax { explicit: false, big_endian: false, deflated: false, encapsulated: false };
    /// Explicit VR Little Endian.
    pub const EXPLICIT: Syntax = Syntax { explicit: true, big_endian: false, deflated: false, encapsulated: false };

    /// The encoding of a transfer syntax UID. Unknown and private ones are taken as encapsulated Explicit VR Little Endian,
    /// as PS3.5 10.3 asks of every syntax since the three native ones.
    pub fn of(uid: &str) -> Syntax {
        match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Syntax::IMPLICIT,
            // Private GE syntax: implicit VR little endian data set with big endian pixels.
            "1.2.840.113619.5.2" => Syntax::IMPLICIT,
            uids::EXPLICIT_VR_LITTLE_ENDIAN | "1.2.840.10008.1.2.1.98" => Syntax::EXPLICIT,
            EXPLICIT_VR_BIG_ENDIAN => Syntax { big_endian: true, ..Syntax::EXPLICIT },
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Syntax { deflated: true, ..Syntax::EXPLICIT },
            _ => Syntax { encapsulated: true, ..Syntax::EXPLICIT },
        }
    }
}

/// One row of the table of transfer syntaxes.
pub struct Known {
    /// Its UID.
    pub uid: &'static str,
    /// Decoding it loses nothing that was in the encoder's input.
    pub lossless: bool,
    /// It holds a video stream; single frames cannot be cut out of it here.
    pub video: bool,
}

const fn row(uid: &'static str, lossless: bool, video: bool) -> Known {
    Known { uid, lossless, video }
}

/// Every transfer syntax the storage SCP takes. The caller's order decides which of them is used: a caller that has to compress
/// because we preferred so loses time at best.
pub const TABLE: &[Known] = &[
    row(uids::JPEGLS_LOSSLESS, true, false),
    row(uids::JPEG2000_LOSSLESS, true, false),
    row(uids::HTJ2K_LOSSLESS, true, false),
    row(uids::HTJ2K_LOSSLESS_RPCL, true, false),
    row(uids::JPEGXL_LOSSLESS, true, false),
    row(uids::JPEG_LOSSLESS_SV1, true, false),
    row(uids::JPEG_LOSSLESS, true, false),
    row(uids::RLE_LOSSLESS, true, false),
    row(DEFLATED_FRAME, true, false),
    row(uids::JPEG_BASELINE8_BIT, false, false),
    row(uids::JPEG_EXTENDED12_BIT, false, false),
    row(uids::JPEGLS_NEAR_LOSSLESS, false, false),
    row(uids::JPEG2000, false, false),
    row(uids::JPEG2000MC_LOSSLESS, true, false),
    row(uids::JPEG2000MC, false, false),
    row(uids::HTJ2K, false, false),
    row(uids::JPEGXLJPEG_RECOMPRESSION, false, false),
    row(uids::JPEGXL, false, false),
    row("1.2.840.10008.1.2.4.52", false, false), // retired JPEG processes of old archives
    row("1.2.840.10008.1.2.4.53", false, false),
    row("1.2.840.10008.1.2.4.54", false, false),
    row("1.2.840.10008.1.2.4.55", false, false),
    row("1.2.840.10008.1.2.4.56", false, false),
    row("1.2.840.10008.1.2.4.58", true, false),
    row("1.2.840.10008.1.2.4.59", false, false),
    row("1.2.840.10008.1.2.4.60", false, false),
    row("1.2.840.10008.1.2.4.61", false, false),
    row("1.2.840.10008.1.2.4.62", false, false),
    row("1.2.840.10008.1.2.4.63", false, false),
    row("1.2.840.10008.1.2.4.64", false, false),
    row("1.2.840.10008.1.2.4.65", true, false),
    row("1.2.840.10008.1.2.4.66", true, false),
    row("1.2.840.10008.1.2.4.94", true, false), // JPIP referenced
    row("1.2.840.10008.1.2.4.95", true, false),
    row("1.2.840.10008.1.2.4.204", true, false),
    row("1.2.840.10008.1.2.4.205", true, false),
    row("1.2.840.10008.1.2.4.100", false, true), // MPEG2
    row("1.2.840.10008.1.2.4.100.1", false, true),
    row("1.2.840.10008.1.2.4.101", false, true),
    row("1.2.840.10008.1.2.4.101.1", false, true),
    row("1.2.840.10008.1.2.4.102", false, true), // MPEG-4 AVC/H.264
    row("1.2.840.10008.1.2.4.102.1", false, true),
    row("1.2.840.10008.1.2.4.103", false, true),
    row("1.2.840.10008.1.2.4.103.1", false, true),
    row("1.2.840.10008.1.2.4.104", false, true),
    row("1.2.840.10008.1.2.4.104.1", false, true),
    row("1.2.840.10008.1.2.4.105", false, true),
    row("1.2.840.10008.1.2.4.105.1", false, true),
    row("1.2.840.10008.1.2.4.106", false, true),
    row("1.2.840.10008.1.2.4.106.1", false, true),
    row("1.2.840.10008.1.2.4.107", false, true), // HEVC/H.265
    row("1.2.840.10008.1.2.4.108", false, true),
    row("1.2.840.10008.1.2.7.1", true, true), // SMPTE ST 2110
    row("1.2.840.10008.1.2.7.2", true, true),
    row("1.2.840.10008.1.2.7.3", true, true),
    row(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, true, false),
    row(uids::EXPLICIT_VR_LITTLE_ENDIAN, true, false),
    row("1.2.840.10008.1.2.1.98", true, false), // Encapsulated Uncompressed Explicit VR Little Endian
    row(EXPLICIT_VR_BIG_ENDIAN, true, false),
    row("1.2.840.113619.5.2", true, false),
    row(uids::IMPLICIT_VR_LITTLE_ENDIAN, true, false),
];

/// The row of a transfer syntax, if it is known.
pub fn known(uid: &str) -> Option<&'static Known> {
    TABLE.iter().find(|row| row.uid == uid)
}

/// The defined term of Lossy Image Compression Method (0028,2114) for a transfer syntax that can lose something (PS3.3 C.7.6.1.1.5.1).
pub fn lossy_method(uid: &str) -> Option<&'static str> {
    match uid {
        uids::JPEGLS_NEAR_LOSSLESS => Some("ISO_14495_1"),
        uids::JPEG2000 => Some("ISO_15444_1"),
        uids::JPEG2000MC => Some("ISO_15444_2"),
        uids::HTJ2K => Some("ISO_15444_15"),
        uids::JPEGXL => Some("ISO_18181_1"),
        _ if known(uid).is_some_and(|row| !row.lossless && !row.video) => Some("ISO_10918_1"),
        _ => None,
    }
}

/// Whether the pixels are a video stream.
pub fn is_video(uid: &str) -> bool {
    known(uid).is_some_and(|row| row.video)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_names_each_syntax_once() {
        let distinct: HashSet<_> = TABLE.iter().map(|row| row.uid).collect();
        assert_eq!(distinct.len(), TABLE.len());
    }

    #[test]
    fn every_transfer_syntax_of_the_dictionary_that_can_hold_an_image_is_taken() {
        use dicom_core::dictionary::{UidDictionary, UidType};
        for row in TABLE.iter().filter(|r| r.uid.starts_with("1.2.840.10008.1.2.4.")) {
            // The retired ones are in no current dictionary; what is there must be a transfer syntax.
            if let Some(entry) = dicom_dictionary_std::StandardSopClassDictionary.by_uid(row.uid) {
                assert_eq!(entry.r#type, UidType::TransferSyntax);
            }
        }
    }
}
