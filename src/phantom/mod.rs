//! Studies of people who do not exist, at clinical size, made by arithmetic alone: for the demo, the tests and the benchmarks.
//!
//! PURE and deterministic: the same study has the same bytes everywhere.

mod pictures;
mod studies;

pub use studies::{Expected, Phantom, Study, all, ct_head};

use crate::dicom::dataset::write_header;
use crate::dicom::part10::Meta;
use crate::dicom::{DataSet, VR, tags, uids};

/// One image: its attributes, and how its samples are made.
pub struct Image {
    /// Attributes without pixel data.
    pub data_set: DataSet,
    /// Makes the 16-bit samples.
    pub pixels: Box<dyn Fn() -> Vec<u16> + Send + Sync>,
}

impl Image {
    /// SOP Instance UID.
    pub fn sop_instance(&self) -> String {
        self.data_set.text(tags::SOP_INSTANCE_UID).unwrap_or_default()
    }

    /// The data set in Explicit VR Little Endian.
    pub fn data_set_bytes(&self) -> Vec<u8> {
        let samples = (self.pixels)();
        let mut bytes = Vec::with_capacity(samples.len() * 2 + 4096);
        self.data_set.write_explicit(&mut bytes);
        write_header(&mut bytes, tags::PIXEL_DATA, VR::OW, samples.len() * 2);
        bytes.extend(samples.into_iter().flat_map(u16::to_le_bytes));
        bytes
    }

    /// A file of PS3.10.
    pub fn file(&self) -> Vec<u8> {
        let uid = crate::dicom::Uid::parse(&self.sop_instance()).unwrap_or_else(|_| crate::dicom::Uid::derived(&["phantom"]));
        let meta = Meta {
            sop_class: self.data_set.text(tags::SOP_CLASS_UID).unwrap_or_default(),
            sop_instance: uid,
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
            sending_aet: "PHANTOM".into(),
            receiving_aet: String::new(),
        };
        let mut bytes = meta.to_plain_bytes();
        bytes.extend(self.data_set_bytes());
        bytes
    }
}
