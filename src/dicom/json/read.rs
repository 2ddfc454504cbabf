//! From the DICOM JSON model (PS3.18 annex F) to a data set: what STOW-RS receives as metadata.
//!
//! Never guesses: an attribute that is not of the model is an error that names it. The text is UTF-8 afterwards, and says so.

use super::tag;
use crate::dicom::attributes::bytes_of;
use crate::dicom::{DataSet, Element, Tag, VR, Value, tags};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json};

/// Sequences within sequences.
const MAX_DEPTH: usize = 64;

/// What is wrong with an attribute of the model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("attribute {at}: {what}")]
pub struct ReadError {
    /// Its path.
    pub at: String,
    /// What is wrong.
    pub what: String,
}

/// A value that stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// The attribute; at the top level of the data set.
    pub tag: Tag,
    /// Its representation.
    pub vr: VR,
    /// Where.
    pub uri: String,
}

/// Reads an object of the model. Values that stand elsewhere are asked of `bulk`; those of the top level that it does not give are
/// returned, so that they can be added as a stream.
///
/// # Errors
/// The attribute that is no such thing.
pub fn to_data_set(
    map: &Map<String, Json>,
    bulk: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<(DataSet, Vec<Bulk>), ReadError> {
    let mut reader = Reader { bulk, open: Vec::new() };
    let mut data_set = reader.object(map, "", 0)?;
    data_set.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    Ok((data_set, reader.open))
}

struct Reader<'a> {
    bulk: &'a mut dyn FnMut(&str) -> Option<Vec<u8>>,
    open: Vec<Bulk>,
}

impl Reader<'_> {
    fn object(&mut self, map: &Map<String, Json>, path: &str, depth: usize) -> Result<DataSet, ReadError> {
        let mut data_set = DataSet::default();
        for (name, attribute) in map {
            let at = format!("{path}{name}");
            let wrong = |what: &str| ReadError { at: at.clone(), what: what.into() };
            if depth > MAX_DEPTH {
                return Err(wrong("sequences are nested too deep"));
            }
            let tag = tag(name).ok_or_else(|| wrong("its name is not eight hexadecimal digits"))?;
            // Group lengths and the meta header are written anew.
            if tag.1 == 0 || tag.0 <= 2 {
                continue;
            }
            let vr = attribute.get("vr").and_then(Json::as_str).filter(|vr| vr.len() == 2);
            let vr = vr.and_then(|vr| VR::from_binary(*vr.as_bytes().first_chunk::<2>()?));
            let vr = vr.ok_or_else(|| wrong("vr is missing, or none of PS3.5 table 6.2-1"))?;
            if let Some(value) = self.value(attribute, tag, vr, &at, depth)? {
                data_set.elements.push(Element { tag, vr, value });
            }
        }
        data_set.elements.sort_by_key(|e| e.tag);
        Ok(data_set)
    }

    fn value(&mut self, json: &Json, tag: Tag, vr: VR, at: &str, depth: usize) -> Result<Option<Value>, ReadError> {
        let wrong = |what: String| ReadError { at: at.into(), what };
        let kinds = ["Value", "BulkDataURI", "InlineBinary"].iter().filter(|k| json.get(**k).is_some()).count();
        if kinds > 1 {
            return Err(wrong("it has more than one of Value, BulkDataURI and InlineBinary".into()));
        }
        if let Some(text) = json.get("InlineBinary") {
            // The example of F.4 has an array around it.
            let text = text.get(0).unwrap_or(text);
            let bytes =
                text.as_str().and_then(|t| BASE64.decode(t).ok()).ok_or_else(|| wrong("InlineBinary is not base64".into()))?;
            return Ok(Some(Value::Bytes(even(bytes, 0))));
        }
        if let Some(uri) = json.get("BulkDataURI") {
            let uri = uri.as_str().ok_or_else(|| wrong("BulkDataURI is not a string".into()))?;
            return match (self.bulk)(uri) {
                Some(bytes) => Ok(Some(Value::Bytes(even(bytes, 0)))),
                None if depth == 0 => {
                    self.open.push(Bulk { tag, vr, uri: uri.into() });
                    Ok(None)
                }
                None => Err(wrong(format!("no part of the request has the Content-Location {uri}"))),
            };
        }
        let values = match json.get("Value") {
            None | Some(Json::Null) => &Vec::new(),
            Some(Json::Array(values)) => values,
            Some(_) => return Err(wrong("Value is not an array".into())),
        };
        if vr == VR::SQ {
            let items = values.iter().enumerate().map(|(i, item)| match item {
                Json::Object(map) => self.object(map, &format!("{at}/{i}/"), depth + 1),
                Json::Null => Ok(DataSet::default()),
                _ => Err(wrong("an item is not an object".into())),
            });
            return Ok(Some(Value::Items(items.collect::<Result<_, _>>()?)));
        }
        let bytes = encoded(vr, values).map_err(wrong)?;
        if bytes.len() > 65534 && !matches!(vr, VR::UC | VR::UR | VR::UT | VR::SV | VR::UV) {
            return Err(wrong(format!("its value is longer than a {vr} may be")));
        }
        Ok(Some(Value::Bytes(bytes)))
    }
}

fn even(mut bytes: Vec<u8>, padding: u8) -> Vec<u8> {
    if bytes.len() % 2 == 1 {
        bytes.push(padding);
    }
    bytes
}

fn encoded(vr: VR, values: &[Json]) -> Result<Vec<u8>, String> {
    if matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN) {
        let none = Err(format!("a {vr} has InlineBinary or BulkDataURI, never Value"));
        return if values.is_empty() { Ok(Vec::new()) } else { none };
    }
    let one = |value: &Json| text(vr, value).ok_or_else(|| format!("{value} is no value of a {vr}"));
    let texts = values.iter().map(one).collect::<Result<Vec<String>, String>>()?;
    if let Some(numbers) = bytes_of(vr, &texts) {
        return numbers.map_err(|wrong| format!("{wrong} is nothing that a {vr} can hold"));
    }
    let may_hold_backslash = matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR);
    if texts.len() > 1 && may_hold_backslash {
        return Err(format!("a {vr} has one value only"));
    }
    if !may_hold_backslash && texts.iter().any(|t| t.contains('\\')) {
        return Err(format!("a value of a {vr} holds a backslash"));
    }
    Ok(even(texts.join("\\").into_bytes(), if vr == VR::UI { 0 } else { b' ' }))
}

fn is_number(vr: VR) -> bool {
    matches!(vr, VR::IS | VR::DS) || (vr != VR::AT && bytes_of(vr, &[]).is_some())
}

fn text(vr: VR, value: &Json) -> Option<String> {
    match value {
        Json::Null => Some(String::new()),
        Json::String(text) => Some(text.clone()),
        Json::Number(number) if is_number(vr) => Some(number.to_string()),
        Json::Object(groups) if vr == VR::PN => {
            let group = |name: &str| groups.get(name).map_or(Some(""), Json::as_str);
            let name = [group("Alphabetic")?, group("Ideographic")?, group("Phonetic")?].join("=");
            Some(name.trim_end_matches('=').to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::json::of_data_set;
    use serde_json::json;

    fn read(json: &Json) -> Result<(DataSet, Vec<Bulk>), ReadError> {
        to_data_set(json.as_object().unwrap(), &mut |uri| (uri == "here").then(|| vec![1, 2, 3]))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let json = json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]},
            "00100030": {"vr": "DA"},
            "00180050": {"vr": "DS", "Value": [2.5]},
            "00200013": {"vr": "IS", "Value": [7]},
            "00280010": {"vr": "US", "Value": [512]},
            "00280034": {"vr": "IS", "Value": [1, 2]},
            "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {}]},
            "00720026": {"vr": "AT", "Value": ["00100010"]},
            "00880200": {"vr": "OB", "InlineBinary": "AQI="},
        });
        let (data_set, open) = read(&json).unwrap();
        assert_eq!((Json::Object(of_data_set(&data_set, &|_| String::new())), open), (json, vec![]));
    }

    #[test]
    fn bulk_values_are_filled_in_or_named() {
        let json = json!({"00880200": {"vr": "OB", "BulkDataURI": "here"}, "7FE00010": {"vr": "OW", "BulkDataURI": "there"}});
        let (data_set, open) = read(&json).unwrap();
        assert_eq!(data_set.bytes(Tag(0x88, 0x200)), Some(&[1, 2, 3, 0][..]));
        assert_eq!(open, [Bulk { tag: tags::PIXEL_DATA, vr: VR::OW, uri: "there".into() }]);
    }

    #[test]
    fn what_is_not_of_the_model_is_named() {
        for (json, at) in [
            (json!({"PatientName": {"vr": "PN"}}), "PatientName"),
            (json!({"00100010": {"vr": "XX"}}), "00100010"),
            (json!({"00280010": {"vr": "US", "Value": [70000]}}), "00280010"),
            (json!({"00280010": {"vr": "US", "Value": 5}}), "00280010"),
            (
                json!({"00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["a\\b"]}}]}}),
                "00400275/0/00400009",
            ),
            (
                json!({"00400275": {"vr": "SQ", "Value": [{"00880200": {"vr": "OB", "BulkDataURI": "gone"}}]}}),
                "00400275/0/00880200",
            ),
            (json!({"00880200": {"vr": "OB", "InlineBinary": "AQI=", "BulkDataURI": "here"}}), "00880200"),
            (json!({"00880200": {"vr": "OB", "InlineBinary": "?"}}), "00880200"),
            (json!({"7FE00010": {"vr": "OW", "Value": [1]}}), "7FE00010"),
        ] {
            assert_eq!(read(&json).unwrap_err().at, at);
        }
    }
}
