//! Code sequence items (PS3.3 8.8), as we write them.

use super::dataset::{DataSet, Value};
use super::{VR, tags};

/// Scheme of our own codes.
pub const OWN_SCHEME: &str = "99HUTONG";

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
