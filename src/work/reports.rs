//! The reports of a study as they are stored: structured ones, CDA and PDF; whether they are verified, and their words.
//!
//! Never reads a report for what it found. A PDF says neither whether it is verified nor, without being drawn, what stands in it.

use crate::dicom::{Attributes, tags, uids};
use crate::exam::report::{Report, is_report};
use crate::index::InstanceRow;
use crate::report::Contents;
use crate::retrieve::Object;
use crate::store::Store;

/// Longest value of a report that is read, bytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// The study's reports.
pub(super) fn reports(store: &Store, originals: &Contents) -> Vec<Report> {
    let rows = originals.iter().flat_map(|(_, rows)| rows).filter(|r| is_report(&r.sop_class));
    rows.map(|row| report_of(store, row)).collect()
}

/// One report. One that cannot be read says nothing, and is not verified by more than its header.
pub(super) fn report_of(store: &Store, row: &InstanceRow) -> Report {
    let object = Object::open(store, row, LONGEST_TEXT).ok();
    let mut text = String::new();
    let mut verified = row.attributes.text(tags::VERIFICATION_FLAG).map(str::trim) == Some("VERIFIED");
    if let Some(object) = object {
        text_of(&Attributes::decode(&object.data_set, |_| true), &mut text);
        if row.sop_class == uids::ENCAPSULATED_CDA_STORAGE
            && let Some(document) = object.data_set.bytes(tags::ENCAPSULATED_DOCUMENT)
        {
            let document = String::from_utf8_lossy(document);
            text.push_str(&words(&document));
            // CDA R2 4.2.2.8: who has signed it legally has verified it.
            verified |= document.contains("<legalAuthenticator");
        }
    }
    Report { uid: row.sop_instance.clone(), verified, text }
}

fn text_of(item: &Attributes, text: &mut String) {
    if let Some(value) = item.text(tags::TEXT_VALUE) {
        text.push_str(value);
        text.push('\n');
    }
    item.items(tags::CONTENT_SEQUENCE).iter().for_each(|inner| text_of(inner, text));
}

/// What stands between the tags of an XML document.
fn words(document: &str) -> String {
    let parts = document.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
    parts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn the_words_of_a_document_stand_between_its_tags() {
        assert_eq!(words("<?xml version=\"1.0\"?><a b=\"c\"><t>左膝</t> <t> 未见异常\n</t></a>"), "左膝\n未见异常");
        assert_eq!(words("no document"), "");
    }
}
