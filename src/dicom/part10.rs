//! The file format (PS3.10 section 7): preamble and meta header. The data set after it is never touched here.

use super::dataset::{self, DataSet, Limits, Seeking, Value};
use super::stamp::{self, Stamp};
use super::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use super::{Syntax, Tag, Uid, VR, tags, uids};
use std::io::{Read, Seek, SeekFrom};

/// What goes into a meta header that Hutong writes.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Media Storage SOP Class UID, as the peer named it.
    pub sop_class: String,
    /// Media Storage SOP Instance UID.
    pub sop_instance: Uid,
    /// Transfer Syntax UID of the data set.
    pub transfer_syntax: String,
    /// AE title of the sender, (0002,0017).
    pub sending_aet: String,
    /// Our own AE title, (0002,0018).
    pub receiving_aet: String,
}

const PRIVATE_CREATOR: Tag = Tag(0x0002, 0x0100);
const PRIVATE_INFORMATION: Tag = Tag(0x0002, 0x0102);

impl Meta {
    /// Preamble and meta header with room for a [`Stamp`], which stands in the last [`stamp::LENGTH`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(true)
    }

    /// Preamble and meta header for the outside: without a stamp.
    pub fn to_plain_bytes(&self) -> Vec<u8> {
        self.write(false)
    }

    fn write(&self, stamped: bool) -> Vec<u8> {
        let mut ds = DataSet::default();
        ds.put(Tag(2, 1), VR::OB, Value::Bytes(vec![0, 1]));
        ds.put_text(tags::MEDIA_STORAGE_SOP_CLASS_UID, VR::UI, &self.sop_class);
        ds.put_text(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, VR::UI, self.sop_instance.as_str());
        ds.put_text(tags::TRANSFER_SYNTAX_UID, VR::UI, &self.transfer_syntax);
        ds.put_text(tags::IMPLEMENTATION_CLASS_UID, VR::UI, IMPLEMENTATION_CLASS_UID);
        ds.put_text(tags::IMPLEMENTATION_VERSION_NAME, VR::SH, IMPLEMENTATION_VERSION);
        ds.put_text(Tag(2, 0x0017), VR::AE, &self.sending_aet);
        if stamped {
            ds.put_text(Tag(2, 0x0018), VR::AE, &self.receiving_aet);
            ds.put_text(PRIVATE_CREATOR, VR::UI, stamp::CREATOR);
            ds.put(PRIVATE_INFORMATION, VR::OB, Value::Bytes(vec![b' '; stamp::LENGTH]));
        }
        let mut body = Vec::new();
        ds.write_explicit(&mut body);
        let mut file = vec![0u8; 128];
        file.extend_from_slice(b"DICM");
        dataset::write_header(&mut file, Tag(2, 0), VR::UL, 4);
        file.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
        file.extend_from_slice(&body);
        file
    }
}

/// A meta header as read from a file.
#[derive(Debug, Clone)]
pub struct FileMeta {
    /// Where the data set starts in the file.
    pub data_set_at: u64,
    /// Its transfer syntax.
    pub transfer_syntax: String,
    /// The stamp, if Hutong wrote the file.
    pub stamp: Option<Stamp>,
    /// AE title of the sender, if written.
    pub sending_aet: Option<String>,
    /// Media Storage SOP Instance UID, if written.
    pub sop_instance: Option<String>,
}

/// Why a file is not DICOM.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Neither a meta header nor a data set that starts with group 0002 or 0008.
    #[error("not a DICOM file: neither the letters DICM at byte 128 nor a data set at the start")]
    NotDicom,
    /// A meta header without transfer syntax.
    #[error("the meta header names no Transfer Syntax UID (0002,0010)")]
    NoTransferSyntax,
    /// The meta header does not parse.
    #[error("the meta header is damaged: {0}")]
    Meta(#[from] dataset::ParseError),
    /// The file could not be read.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads the meta header. Files without one (old archives) are recognised by their first element.
///
/// # Errors
/// Not DICOM, or damaged.
pub fn read_meta<R: Read + Seek>(mut file: R) -> Result<FileMeta, FileError> {
    let total = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut head = [0u8; 132];
    let got = read_up_to(&mut file, &mut head)?;
    if got == head.len() && head.ends_with(b"DICM") {
        return meta_group(file, 132, total);
    }
    match head.first_chunk::<6>() {
        Some([0x02, 0x00, ..]) => meta_group(file, 0, total),
        Some([0x08, 0x00, _, _, vr1, vr2]) => {
            let explicit = vr1.is_ascii_uppercase() && vr2.is_ascii_uppercase();
            let transfer_syntax = if explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN };
            Ok(FileMeta {
                data_set_at: 0,
                transfer_syntax: transfer_syntax.into(),
                stamp: None,
                sending_aet: None,
                sop_instance: None,
            })
        }
        _ => Err(FileError::NotDicom),
    }
}

/// Reads group 0002 element by element: its group length is often wrong.
fn meta_group<R: Read + Seek>(mut file: R, start: u64, total: u64) -> Result<FileMeta, FileError> {
    let mut meta = DataSet::default();
    let mut at = start;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0u8; 12];
        let got = read_up_to(&mut file, &mut head)?;
        if got < 8 || head.first_chunk::<2>() != Some(&[0x02, 0x00]) {
            break;
        }
        let long = head.get(4..6).is_some_and(|vr| matches!(vr, b"OB" | b"UN" | b"OW" | b"UT" | b"SQ"));
        let length = if long {
            12 + u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]]))
        } else {
            8 + u64::from(u16::from_le_bytes([head[6], head[7]]))
        };
        if at + length > total {
            break;
        }
        file.seek(SeekFrom::Start(at))?;
        let mut element = Seeking(std::io::Cursor::new(read_exactly(&mut file, length)?));
        let limits = Limits { value: 1 << 16, stop_at_pixels: false, partial: false, total: Some(length) };
        meta.elements.extend(dataset::parse(&mut element, Syntax::EXPLICIT, limits)?.data_set.elements);
        at += length;
    }
    let transfer_syntax = meta.text(tags::TRANSFER_SYNTAX_UID).ok_or(FileError::NoTransferSyntax)?;
    let ours = meta.text(PRIVATE_CREATOR).as_deref() == Some(stamp::CREATOR);
    Ok(FileMeta {
        data_set_at: at,
        transfer_syntax,
        stamp: meta.bytes(PRIVATE_INFORMATION).filter(|_| ours).and_then(Stamp::from_bytes),
        sending_aet: meta.text(Tag(2, 0x0017)),
        sop_instance: meta.text(tags::MEDIA_STORAGE_SOP_INSTANCE_UID),
    })
}

fn read_exactly<R: Read>(file: &mut R, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_up_to<R: Read>(file: &mut R, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|r| !r.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::stamp::Kind;
    use std::io::Cursor;

    #[test]
    fn the_stamp_stands_in_the_last_bytes_of_the_meta_header() {
        let meta = Meta {
            sop_class: uids::CT_IMAGE_STORAGE.into(),
            sop_instance: Uid::parse("1.2.3").unwrap(),
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
            sending_aet: "CT1".into(),
            receiving_aet: "HUTONG".into(),
        };
        let stamp = Stamp { sha256: "0".repeat(64), length: 4, received_ms: 7, kind: Kind::Original };
        let mut bytes = meta.to_bytes();
        let at = bytes.len() - stamp::LENGTH;
        bytes[at..].copy_from_slice(&stamp.to_bytes());
        bytes.extend_from_slice(&[8, 0, 0, 0]);
        let read = read_meta(Cursor::new(&bytes)).unwrap();
        assert_eq!(read.stamp, Some(stamp));
        assert_eq!(read.data_set_at, bytes.len() as u64 - 4);
        assert_eq!(read.sending_aet.as_deref(), Some("CT1"));
    }

    #[test]
    fn a_text_file_is_not_dicom() {
        assert!(matches!(read_meta(Cursor::new(b"hello, this is no image".repeat(20))), Err(FileError::NotDicom)));
        assert!(matches!(read_meta(Cursor::new(b"")), Err(FileError::NotDicom)));
    }
}
