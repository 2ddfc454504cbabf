//! A study's quality report (质量报告): for a person as a page, for other systems as a DICOM structured report.
//!
//! Says what a verdict found and shows where; it never judges, and names no patient on the page.

mod document;
mod page;
mod picture;
pub mod sheet;
mod whole;
mod written;

pub use document::{document, document_uid};
pub use page::{Input, page};
pub use whole::{Contents, Whole, facts, originals};
pub use written::{Verified, Written};
