//! The Native DICOM Model in XML (PS3.19 A.1), from and to the JSON model: both say the same, so that each is read and written once.

use super::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

const NAMESPACE: &str = "http://dicom.nema.org/PS3.19/models/NativeDICOM";
/// Component groups of a name and components of a group (PS3.5 6.2.1).
const GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];
const COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];
/// Elements within elements.
const MAX_DEPTH: usize = 200;

/// An object of the JSON model as an XML document.
pub fn of_json(map: &Map<String, Json>) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = write!(out, "<NativeDicomModel xmlns=\"{NAMESPACE}\" xml:space=\"preserve\">");
    attributes(&mut out, map);
    out.push_str("</NativeDicomModel>\n");
    out
}

/// Text with what XML reserves escaped; what it cannot hold at all becomes a replacement character.
fn escaped(text: &str) -> String {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    let clean: String = text.chars().map(|c| if legal(c) { c } else { '\u{FFFD}' }).collect();
    // A carriage return would be read as a line feed.
    quick_xml::escape::escape(clean.as_str()).replace('\r', "&#13;")
}

fn attributes(out: &mut String, map: &Map<String, Json>) {
    for (name, attribute) in map {
        let number = u32::from_str_radix(name, 16).unwrap_or(0);
        let (group, element) = ((number >> 16) as u16, (number & 0xFFFF) as u16);
        let vr = attribute.get("vr").and_then(Json::as_str).unwrap_or("UN");
        let creator = (group % 2 == 1 && element > 0xFF)
            .then(|| map.get(&format!("{group:04X}00{:02X}", element >> 8)))
            .and_then(|c| c?.pointer("/Value/0")?.as_str());
        // A private attribute with a creator is named without its block (PS3.19 table A.1.5-2).
        let tag = if creator.is_some() { format!("{group:04X}00{:02X}", element & 0xFF) } else { name.clone() };
        let _ = write!(out, "<DicomAttribute tag=\"{tag}\" vr=\"{}\"", escaped(vr));
        if let Some(entry) = StandardDataDictionary.by_tag(Tag(group, element)) {
            let _ = write!(out, " keyword=\"{}\"", escaped(entry.alias()));
        }
        if let Some(creator) = creator {
            let _ = write!(out, " privateCreator=\"{}\"", escaped(creator));
        }
        out.push('>');
        value(out, attribute);
        out.push_str("</DicomAttribute>");
    }
}

fn value(out: &mut String, attribute: &Json) {
    if let Some(uri) = attribute.get("BulkDataURI").and_then(Json::as_str) {
        let _ = write!(out, "<BulkData uri=\"{}\"/>", escaped(uri));
    }
    if let Some(binary) = attribute.get("InlineBinary").and_then(Json::as_str) {
        let _ = write!(out, "<InlineBinary>{}</InlineBinary>", escaped(binary));
    }
    for (i, value) in attribute.get("Value").and_then(Json::as_array).into_iter().flatten().enumerate() {
        let number = i + 1;
        match value {
            Json::Object(item) if attribute.get("vr").and_then(Json::as_str) == Some("PN") => {
                let _ = write!(out, "<PersonName number=\"{number}\">");
                for group in GROUPS {
                    let Some(text) = item.get(group).and_then(Json::as_str) else { continue };
                    let _ = write!(out, "<{group}>");
                    for (name, component) in COMPONENTS.iter().zip(text.split('^')).filter(|(_, c)| !c.is_empty()) {
                        let _ = write!(out, "<{name}>{}</{name}>", escaped(component));
                    }
                    let _ = write!(out, "</{group}>");
                }
                out.push_str("</PersonName>");
            }
            Json::Object(item) => {
                let _ = write!(out, "<Item number=\"{number}\">");
                attributes(out, item);
                out.push_str("</Item>");
            }
            Json::Null => {
                let _ = write!(out, "<Value number=\"{number}\"></Value>");
            }
            Json::String(text) => {
                let _ = write!(out, "<Value number=\"{number}\">{}</Value>", escaped(text));
            }
            other => {
                let _ = write!(out, "<Value number=\"{number}\">{}</Value>", escaped(&other.to_string()));
            }
        }
    }
}

/// One element that is being read.
#[derive(Default)]
struct Open {
    name: String,
    number: usize,
    key: String,
    map: Map<String, Json>,
    values: Vec<(usize, Json)>,
    text: String,
}

/// An XML document as an object of the JSON model.
///
/// # Errors
/// What is not of the model, and where.
pub fn to_json(xml: &[u8]) -> Result<Map<String, Json>, String> {
    let mut reader = Reader::from_reader(xml);
    let mut stack: Vec<Open> = vec![Open::default()];
    loop {
        let place = reader.buffer_position();
        let at = |what: &dyn std::fmt::Display| format!("byte {place}: {what}");
        match reader.read_event().map_err(|e| at(&e))? {
            Event::Start(start) => stack.push(open(&start).map_err(|e| at(&e))?),
            Event::Empty(start) => {
                stack.push(open(&start).map_err(|e| at(&e))?);
                close(&mut stack).map_err(|e| at(&e))?;
            }
            Event::End(_) => close(&mut stack).map_err(|e| at(&e))?,
            Event::Text(text) => {
                let text = text.decode().map_err(|e| at(&e))?;
                stack.last_mut().map(|open| open.text.push_str(&text)).unwrap_or_default();
            }
            Event::CData(text) => {
                let text = text.decode().map_err(|e| at(&e))?;
                stack.last_mut().map(|open| open.text.push_str(&text)).unwrap_or_default();
            }
            Event::GeneralRef(name) => {
                let c = match name.resolve_char_ref().map_err(|e| at(&e))? {
                    Some(c) => c.to_string(),
                    None => {
                        let name = name.decode().map_err(|e| at(&e))?;
                        let known = quick_xml::escape::resolve_predefined_entity(&name);
                        known.ok_or_else(|| at(&"an entity that is not predefined"))?.to_string()
                    }
                };
                stack.last_mut().map(|open| open.text.push_str(&c)).unwrap_or_default();
            }
            // No entities of its own: they are how a small document grows without bound.
            Event::DocType(_) => return Err(at(&"a document type declaration is not allowed")),
            Event::Eof => break,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
        }
        if stack.len() > MAX_DEPTH {
            return Err(at(&"elements are nested too deep"));
        }
    }
    match stack.pop() {
        Some(root) if stack.is_empty() && root.name.is_empty() && root.key == "read" => Ok(root.map),
        _ => Err("the document is no whole NativeDicomModel".into()),
    }
}

fn open(start: &BytesStart<'_>) -> Result<Open, String> {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    let attribute = |wanted: &str| -> Result<Option<String>, String> {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| e.to_string())?;
            if attribute.key.as_ref() == wanted.as_bytes() {
                let raw = String::from_utf8_lossy(&attribute.value).into_owned();
                return quick_xml::escape::unescape(&raw).map(|v| Some(v.into_owned())).map_err(|e| e.to_string());
            }
        }
        Ok(None)
    };
    let mut open = Open { name, ..Open::default() };
    if let Some(number) = attribute("number")? {
        open.number =
            number.parse().ok().filter(|n| (1..=1_000_000).contains(n)).ok_or("number is not a whole number from 1")?;
    }
    match open.name.as_str() {
        "DicomAttribute" => {
            let tag = attribute("tag")?.ok_or("a DicomAttribute has no tag")?.to_uppercase();
            open.key = tag;
            if let Some(vr) = attribute("vr")? {
                open.map.insert("vr".into(), json!(vr));
            }
            if let Some(creator) = attribute("privateCreator")? {
                open.text = creator;
            }
        }
        "BulkData" => open.text = attribute("uri")?.or(attribute("uuid")?).ok_or("BulkData has no uri")?,
        _ => {}
    }
    Ok(open)
}

fn close(stack: &mut Vec<Open>) -> Result<(), String> {
    let (Some(mut done), Some(parent)) = (stack.pop(), stack.last_mut()) else { return Err("an end without a start".into()) };
    let number = if done.number == 0 { parent.values.len() + 1 } else { done.number };
    match done.name.as_str() {
        "NativeDicomModel" => {
            parent.map = done.map;
            parent.key = "read".into();
        }
        "DicomAttribute" => {
            done.values.sort_by_key(|(number, _)| *number);
            let mut values: Vec<Json> = Vec::new();
            for (number, value) in done.values {
                // What is not written has no value, and those after it keep their place.
                values.resize_with(values.len().max((number - 1).min(65_535)), || Json::Null);
                values.push(value);
            }
            if !values.is_empty() {
                done.map.insert("Value".into(), Json::Array(values));
            }
            if done.map.get("vr").and_then(Json::as_str) == Some("SQ") && !done.map.contains_key("Value") {
                done.map.insert("Value".into(), json!([]));
            }
            let creator = done.text.trim().to_string();
            let key = in_block(&mut parent.map, &done.key, &creator)?;
            parent.map.insert(key, Json::Object(done.map));
        }
        "Item" => parent.values.push((number, Json::Object(done.map))),
        "Value" if done.text.is_empty() => parent.values.push((number, Json::Null)),
        "Value" => parent.values.push((number, Json::String(done.text))),
        "PersonName" => parent.values.push((number, Json::Object(done.map))),
        "InlineBinary" => {
            let text: String = done.text.split_whitespace().collect();
            parent.map.insert("InlineBinary".into(), Json::String(text));
        }
        "BulkData" => drop(parent.map.insert("BulkDataURI".into(), Json::String(done.text))),
        name if GROUPS.contains(&name) => {
            let part = |wanted: &&str| done.map.get(*wanted).and_then(Json::as_str).unwrap_or("").to_string();
            let text = COMPONENTS.iter().map(part).collect::<Vec<_>>().join("^");
            parent.map.insert(name.into(), json!(text.trim_end_matches('^')));
        }
        name if COMPONENTS.contains(&name) => drop(parent.map.insert(name.into(), Json::String(done.text))),
        other => return Err(format!("<{other}> is not of the Native DICOM Model")),
    }
    // Space between elements is no value.
    if matches!(parent.name.as_str(), "NativeDicomModel" | "Item" | "PersonName") {
        parent.text.clear();
    }
    Ok(())
}

/// The whole tag of an attribute: a private one is written without its block, which is that of its creator among its siblings, or the first
/// that is free.
fn in_block(siblings: &mut Map<String, Json>, tag: &str, creator: &str) -> Result<String, String> {
    let number = (tag.len() == 8).then(|| u32::from_str_radix(tag, 16).ok()).flatten().ok_or(format!("{tag} is no tag"))?;
    if creator.is_empty() || (number >> 16) % 2 == 0 || number & 0xFF00 != 0 {
        return Ok(tag.into());
    }
    let block = siblings.iter().find_map(|(key, value)| {
        let key = u32::from_str_radix(key, 16).ok()?;
        let is_creator = key >> 16 == number >> 16 && key & 0xFF00 == 0 && key & 0xFF >= 0x10;
        (is_creator && value.pointer("/Value/0")?.as_str()? == creator).then_some(key & 0xFF)
    });
    let group = number >> 16;
    let free = |n: &u32| !siblings.contains_key(&format!("{group:04X}00{n:02X}"));
    let block = match block.or_else(|| (0x10..=0xFF).find(free)) {
        Some(block) => block,
        None => return Err(format!("{tag}: its group has no free block")),
    };
    siblings.entry(format!("{group:04X}00{block:02X}")).or_insert_with(|| json!({"vr": "LO", "Value": [creator]}));
    Ok(format!("{:08X}", (number & 0xFFFF_00FF) | (block << 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let json = json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", null, "AXIAL"]},
            "00090010": {"vr": "LO", "Value": ["ACME & \"Co\" <1>"]},
            "00091001": {"vr": "UT", "Value": ["a\r\nb & c"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]},
            "00100030": {"vr": "DA"},
            "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {}]},
            "00880200": {"vr": "OB", "InlineBinary": "AQI="},
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/y?a=1&b=2"},
        });
        let xml = of_json(json.as_object().unwrap());
        assert!(xml.contains("tag=\"00090001\" vr=\"UT\" privateCreator=\"ACME &amp; &quot;Co&quot; &lt;1&gt;\""), "{xml}");
        assert_eq!(Json::Object(to_json(xml.as_bytes()).unwrap()), json);
        // Without an element of its own a creator gets a block.
        let alone = "<NativeDicomModel><DicomAttribute tag=\"00090001\" vr=\"LO\" privateCreator=\"ACME\"><Value number=\"1\">x</Value></DicomAttribute></NativeDicomModel>";
        let json = Json::Object(to_json(alone.as_bytes()).unwrap());
        assert_eq!((&json["00090010"]["Value"][0], &json["00091001"]["Value"][0]), (&json!("ACME"), &json!("x")));
    }

    #[test]
    fn what_is_not_of_the_model_is_an_error() {
        for xml in [
            "",
            "<NativeDicomModel>",
            "<html></html>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><NativeDicomModel/>",
            "<NativeDicomModel><DicomAttribute vr=\"PN\"/></NativeDicomModel>",
            "<NativeDicomModel><DicomAttribute tag=\"zz\" vr=\"PN\"/></NativeDicomModel>",
            "<NativeDicomModel><DicomAttribute tag=\"00100010\" vr=\"LO\"><Value number=\"0\">&x;</Value></DicomAttribute></NativeDicomModel>",
        ] {
            assert!(to_json(xml.as_bytes()).is_err(), "{xml}");
        }
        assert!(to_json("<Item>".repeat(100_000).as_bytes()).is_err());
    }
}
