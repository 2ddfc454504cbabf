//! Code sequence items (PS3.3 8.8), as we write them.

use super::dataset::{DataSet, Value};
use super::{Attributes, VR, tags};

/// Scheme of our own codes.
pub const OWN_SCHEME: &str = "99HUTONG";

/// The derivation code of marked copies (互认标识).
pub const MARKED: &str = "HR-MARK";

/// Whether an object says that it is a marked copy, ours or another node's.
pub fn says_marked(attributes: &Attributes) -> bool {
    let codes = attributes.items(tags::DERIVATION_CODE_SEQUENCE).iter();
    codes
        .into_iter()
        .any(|i| i.text(tags::CODE_VALUE) == Some(MARKED) && i.text(tags::CODING_SCHEME_DESIGNATOR) == Some(OWN_SCHEME))
}

/// A code of a scheme with its meaning.
pub fn code(value: &str, scheme: &str, meaning: &str) -> DataSet {
    let mut item = DataSet::default();
    item.put_text(tags::CODE_VALUE, VR::SH, value);
    item.put_text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    item.put_text(tags::CODE_MEANING, VR::LO, meaning);
    item
}

/// A sequence of one item.
pub fn one(item: DataSet) -> Value {
    Value::Items(vec![item])
}
