//! The DICOM JSON model (PS3.18 annex F), from decoded attributes or from a data set.
//!
//! Long bulk values are never inlined: they become a `BulkDataURI`.

mod read;

pub use read::{Bulk, ReadError, to_data_set};

use super::attributes::{Decoded, charset_of, texts};
use super::charset::Charset;
use super::dataset::Value;
use super::{Attributes, DataSet, Element, Tag, VR};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::{Map, Value as Json, json};

/// The name of an attribute in JSON: eight hexadecimal digits.
pub fn key(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.0, tag.1)
}

/// The attribute of a name in JSON, the inverse of [`key`]; digits of either case are taken.
pub fn tag(name: &str) -> Option<Tag> {
    let number = (name.len() == 8).then(|| u32::from_str_radix(name, 16).ok()).flatten()?;
    let [a, b, c, d] = number.to_be_bytes();
    Some(Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The attribute that a query names, by [`key`] or by the keyword of PS3.6.
pub fn named(name: &str) -> Option<Tag> {
    tag(name).or_else(|| StandardDataDictionary.by_name(name).map(|entry| entry.tag()))
}

/// Its keyword, else its [`key`].
pub fn keyword(of: Tag) -> String {
    StandardDataDictionary.by_tag(of).map_or_else(|| key(of), |entry| entry.alias().to_string())
}

/// Decoded attributes as a JSON object, tags ascending.
pub fn of_attributes(attributes: &Attributes) -> Map<String, Json> {
    attributes.iter().map(|(tag, vr, value)| (key(tag), decoded(vr, value))).collect()
}

fn decoded(vr: VR, value: &Decoded) -> Json {
    match value {
        Decoded::Texts(texts) => of_texts(vr, texts),
        Decoded::Items(items) => {
            let items: Vec<Json> = items.iter().map(|item| Json::Object(of_attributes(item))).collect();
            if items.is_empty() { json!({"vr": "SQ"}) } else { json!({"vr": "SQ", "Value": items}) }
        }
    }
}

/// Text values of an attribute as JSON; empty ones have no `Value` (F.2.5).
pub fn of_texts(vr: VR, texts: &[String]) -> Json {
    if texts.iter().all(String::is_empty) {
        return json!({"vr": vr.to_string()});
    }
    let values: Vec<Json> = texts.iter().map(|text| one(vr, text)).collect();
    json!({"vr": vr.to_string(), "Value": values})
}

fn one(vr: VR, text: &str) -> Json {
    if text.is_empty() {
        return Json::Null;
    }
    match vr {
        VR::PN => person_name(text),
        VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD => number(text),
        _ => Json::String(text.to_string()),
    }
}

/// A number as it was written; what is no JSON number stays text (F.2.3 allows both).
fn number(text: &str) -> Json {
    let text = text.trim();
    if let Ok(integer) = text.parse::<i64>() {
        return json!(integer);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => json!(value),
        _ => Json::String(text.to_string()),
    }
}

fn person_name(text: &str) -> Json {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(text.split('='));
    Json::Object(groups.filter(|(_, g)| !g.is_empty()).map(|(name, group)| (name.to_string(), json!(group))).collect())
}

/// Binary values up to this length, bytes, stand in the JSON itself, as base64: what is shorter than a request for it.
const INLINE: usize = 1024;
/// Texts and numbers up to this length do.
const LONG: usize = 1 << 16;

/// Whether a value is not in the JSON but has a URI there. The one rule: whoever serves the URIs goes by it too.
pub fn has_uri(element: &Element) -> bool {
    let is_binary = |vr| texts(vr, &[], &Charset::unstated()).is_none();
    match &element.value {
        Value::Deferred(_) | Value::Fragments(_) => true,
        Value::Items(_) => false,
        Value::Bytes(bytes) if is_binary(element.vr) => bytes.len() > INLINE,
        // JSON has no number for what is none; its bytes can be had (F.2.3, F.2.6).
        Value::Bytes(bytes) if matches!(element.vr, VR::FL | VR::FD) => {
            let finite = |t: &String| t.parse::<f64>().is_ok_and(f64::is_finite);
            bytes.len() > LONG || !texts(element.vr, bytes, &Charset::unstated()).unwrap_or_default().iter().all(finite)
        }
        Value::Bytes(bytes) => bytes.len() > LONG,
    }
}

/// A whole data set as JSON; `bulk` gives the URI of a value that is not inlined, by the path of its tags.
pub fn of_data_set(data_set: &DataSet, bulk: &impl Fn(&str) -> String) -> Map<String, Json> {
    let mut map = object(data_set, &Charset::unstated(), "", bulk);
    // The character set must agree with what is written (F.2), also where the object states none.
    let foreign =
        |e: &Element| matches!(&e.value, Value::Bytes(b) if !b.is_ascii() && texts(e.vr, b, &Charset::unstated()).is_some());
    if data_set.get(super::tags::SPECIFIC_CHARACTER_SET).is_none() && data_set.elements.iter().any(foreign) {
        map.insert(key(super::tags::SPECIFIC_CHARACTER_SET), json!({"vr": "CS", "Value": ["ISO_IR 192"]}));
    }
    map
}

fn object(data_set: &DataSet, inherited: &Charset, path: &str, bulk: &impl Fn(&str) -> String) -> Map<String, Json> {
    let charset = charset_of(data_set, inherited);
    let mut map = Map::new();
    for element in data_set.elements.iter().filter(|e| e.tag.1 != 0 && e.tag.0 > 2) {
        let here = format!("{path}{}", key(element.tag));
        let json = match &element.value {
            _ if has_uri(element) => json!({"vr": element.vr.to_string(), "BulkDataURI": bulk(&here)}),
            Value::Deferred(_) | Value::Fragments(_) => continue,
            Value::Items(items) if items.is_empty() => json!({"vr": "SQ"}),
            Value::Items(items) => {
                let items: Vec<Json> = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Json::Object(object(item, &charset, &format!("{here}/{i}/"), bulk)))
                    .collect();
                json!({"vr": "SQ", "Value": items})
            }
            Value::Bytes(bytes) => match texts(element.vr, bytes, &charset) {
                // The JSON itself is UTF-8, whatever the object is (F.2).
                Some(_) if element.tag == super::tags::SPECIFIC_CHARACTER_SET => {
                    json!({"vr": "CS", "Value": ["ISO_IR 192"]})
                }
                Some(texts) => of_texts(element.vr, &texts),
                None if bytes.is_empty() => json!({"vr": element.vr.to_string()}),
                None => json!({"vr": element.vr.to_string(), "InlineBinary": BASE64.encode(bytes)}),
            },
        };
        map.insert(key(element.tag), json);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tags;

    #[test]
    fn a_name_has_its_groups_and_an_empty_value_has_none() {
        let mut a = Attributes::default();
        a.set(tags::PATIENT_NAME, VR::PN, vec!["Wang^XiaoDong=王^小东".into()]);
        a.set(tags::STUDY_TIME, VR::TM, vec![]);
        a.set(tags::SERIES_NUMBER, VR::IS, vec!["3".into()]);
        let json = Json::Object(of_attributes(&a));
        assert_eq!(json["00100010"]["Value"][0]["Ideographic"], "王^小东");
        assert!(json["00080030"].get("Value").is_none());
        assert_eq!(json["00200011"]["Value"][0], 3);
    }
}
