//! DICOM as plain values: UIDs, data sets, text, headers, frames.
//!
//! PURE: nothing here opens a file, a socket or a clock; readers and writers are passed in. Bytes are kept as they came, so
//! that a text in a wrong character set or a private element survives every copy.

pub mod attributes;
pub mod charset;
pub mod coded;
pub mod dataset;
pub mod displayed;
pub mod grey;
pub mod header;
pub mod image;
pub mod json;
pub mod levels;
pub mod multiframe;
pub mod names;
pub mod palette;
pub mod part10;
pub mod phi;
pub mod stamp;
pub mod subject;
pub mod syntax;
pub mod title;
pub mod uid;
pub mod xml;

pub use attributes::Attributes;
pub use dataset::{DataSet, Element, ParseError, Value};
pub use dicom_core::{Tag, VR};
pub use dicom_dictionary_std::{tags, uids};
pub use header::Header;
pub use phi::Phi;
pub use syntax::Syntax;
pub use title::check_title;
pub use uid::Uid;
