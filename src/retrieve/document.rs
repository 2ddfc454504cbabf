//! Documents for people: structured reports (PS3.3 A.35) as a page or as text, encapsulated ones (A.45) as the file that they are.
//!
//! Never interprets: what a report says is shown in its order, under the names that it gives.

use crate::dicom::{Attributes, DataSet, Tag, tags};
use maud::{DOCTYPE, Markup, html};
use std::fmt::Write;

/// Items within items.
const MAX_DEPTH: usize = 64;

/// One line of a report.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// How deep it stands.
    pub depth: usize,
    /// What it is about; may be empty.
    pub name: String,
    /// What it says; empty for a heading.
    pub value: String,
}

/// A structured report as lines, its title first; none for another object.
pub fn report(data_set: &DataSet) -> Option<Vec<Line>> {
    data_set.get(tags::CONTENT_SEQUENCE).or_else(|| data_set.get(tags::VALUE_TYPE))?;
    let all = Attributes::decode(data_set, |_| true);
    let mut lines = vec![Line { depth: 0, name: meaning(&all, tags::CONCEPT_NAME_CODE_SEQUENCE), value: String::new() }];
    const HEAD: &[(&str, Tag)] = &[
        ("患者 Patient", tags::PATIENT_NAME),
        ("患者标识 Patient ID", tags::PATIENT_ID),
        ("出生日期 Birth date", tags::PATIENT_BIRTH_DATE),
        ("检查日期 Study date", tags::STUDY_DATE),
        ("检查 Study", tags::STUDY_DESCRIPTION),
        ("完成 Completion", tags::COMPLETION_FLAG),
        ("审核 Verification", tags::VERIFICATION_FLAG),
    ];
    let said = HEAD.iter().filter_map(|(name, tag)| Some((*name, all.text(*tag)?)));
    lines.extend(said.map(|(name, value)| Line { depth: 1, name: name.into(), value: value.into() }));
    items(&all, 1, &mut lines);
    Some(lines)
}

fn items(parent: &Attributes, depth: usize, lines: &mut Vec<Line>) {
    if depth > MAX_DEPTH {
        return;
    }
    for item in parent.items(tags::CONTENT_SEQUENCE) {
        lines.push(Line { depth, name: meaning(item, tags::CONCEPT_NAME_CODE_SEQUENCE), value: value(item) });
        items(item, depth + 1, lines);
    }
}

fn meaning(item: &Attributes, sequence: Tag) -> String {
    let code = item.items(sequence).first();
    code.and_then(|c| c.text(tags::CODE_MEANING).or_else(|| c.text(tags::CODE_VALUE))).unwrap_or("").to_string()
}

fn value(item: &Attributes) -> String {
    let text = |tag| item.texts(tag).join("\\");
    match item.text(tags::VALUE_TYPE).unwrap_or("") {
        "CONTAINER" => String::new(),
        "TEXT" => text(tags::TEXT_VALUE),
        "CODE" => meaning(item, tags::CONCEPT_CODE_SEQUENCE),
        "NUM" => match item.items(tags::MEASURED_VALUE_SEQUENCE).first() {
            Some(measured) => {
                let unit = measured.items(tags::MEASUREMENT_UNITS_CODE_SEQUENCE).first();
                let unit = unit.and_then(|u| u.text(tags::CODE_VALUE)).filter(|u| *u != "1").unwrap_or("");
                format!("{} {unit}", measured.text(tags::NUMERIC_VALUE).unwrap_or("")).trim().to_string()
            }
            None => meaning(item, tags::NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE),
        },
        "PNAME" => text(tags::PERSON_NAME).replace('^', " "),
        "DATE" => text(tags::DATE),
        "TIME" => text(tags::TIME),
        "DATETIME" => text(tags::DATE_TIME),
        "UIDREF" => text(tags::UID),
        "IMAGE" | "COMPOSITE" | "WAVEFORM" => {
            let referenced = item.items(tags::REFERENCED_SOP_SEQUENCE).first();
            referenced.and_then(|r| r.text(tags::REFERENCED_SOP_INSTANCE_UID)).unwrap_or("").to_string()
        }
        "SCOORD" | "SCOORD3D" | "TCOORD" => {
            format!("{} {}", text(tags::GRAPHIC_TYPE), text(tags::GRAPHIC_DATA)).trim().to_string()
        }
        other => other.to_string(),
    }
}

/// Lines as text, indented.
pub fn plain(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "{}{}", "  ".repeat(line.depth), joined(line));
    }
    out
}

fn joined(line: &Line) -> String {
    match (line.name.is_empty(), line.value.is_empty()) {
        (false, false) => format!("{}: {}", line.name, line.value),
        _ => format!("{}{}", line.name, line.value),
    }
}

/// Lines as a page.
pub fn page(lines: &[Line]) -> String {
    let title = lines.first().map_or("", |l| l.name.as_str());
    let line = |line: &Line| -> Markup {
        html! {
            p style=(format!("margin:.2em 0 .2em {}em", 1.5 * f64::from(u32::try_from(line.depth).unwrap_or(0)))) {
                @if line.value.is_empty() { b { (line.name) } }
                @else {
                    @if !line.name.is_empty() { span style="color:#555" { (line.name) ": " } }
                    span style="white-space:pre-wrap" { (line.value) }
                }
            }
        }
    };
    let markup = html! {
        (DOCTYPE)
        html lang="zh" {
            head { meta charset="utf-8"; title { (title) } }
            body style="font-family:sans-serif;max-width:60em;margin:2em auto" {
                h1 { (title) }
                @for one in lines.iter().skip(1) { (line(one)) }
            }
        }
    };
    markup.into_string()
}

/// The tag of an encapsulated document, its length without padding, and its media type; none for another object.
pub fn encapsulated(data_set: &DataSet) -> Option<(&'static str, Option<u64>)> {
    data_set.get(tags::ENCAPSULATED_DOCUMENT)?;
    let length = Attributes::decode(data_set, |t| t == tags::ENCAPSULATED_DOCUMENT_LENGTH);
    let length = length.int(tags::ENCAPSULATED_DOCUMENT_LENGTH).and_then(|n| u64::try_from(n).ok());
    let media = match data_set.text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT).unwrap_or_default().to_lowercase().as_str() {
        "application/pdf" => "application/pdf",
        "text/xml" | "application/xml" => "text/xml",
        "model/stl" => "model/stl",
        "model/obj" => "model/obj",
        "model/mtl" => "model/mtl",
        _ => "application/octet-stream",
    };
    Some((media, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{VR, Value};

    fn code(meaning: &str) -> Value {
        let mut item = DataSet::default();
        item.put_text(tags::CODE_VALUE, VR::SH, "mm");
        item.put_text(tags::CODE_MEANING, VR::LO, meaning);
        Value::Items(vec![item])
    }

    #[test]
    fn a_report_is_told_in_its_order_and_escaped() {
        let mut measured = DataSet::default();
        measured.put_text(tags::NUMERIC_VALUE, VR::DS, "4.5");
        measured.put(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, VR::SQ, code("millimetre"));
        let mut number = DataSet::default();
        number.put_text(tags::VALUE_TYPE, VR::CS, "NUM");
        number.put(tags::CONCEPT_NAME_CODE_SEQUENCE, VR::SQ, code("Diameter"));
        number.put(tags::MEASURED_VALUE_SEQUENCE, VR::SQ, Value::Items(vec![measured]));
        let mut text = DataSet::default();
        text.put_text(tags::VALUE_TYPE, VR::CS, "TEXT");
        text.put_text(tags::TEXT_VALUE, VR::UT, "<b>clear</b>");
        text.put(tags::CONTENT_SEQUENCE, VR::SQ, Value::Items(vec![number]));
        let mut root = DataSet::default();
        root.put_text(tags::VALUE_TYPE, VR::CS, "CONTAINER");
        root.put(tags::CONCEPT_NAME_CODE_SEQUENCE, VR::SQ, code("Chest report"));
        root.put_text(tags::PATIENT_ID, VR::LO, "7");
        root.put(tags::CONTENT_SEQUENCE, VR::SQ, Value::Items(vec![text]));
        let lines = report(&root).unwrap();
        assert_eq!(plain(&lines), "Chest report\n  患者标识 Patient ID: 7\n  <b>clear</b>\n    Diameter: 4.5 mm\n");
        assert!(page(&lines).contains("&lt;b&gt;clear&lt;/b&gt;") && !page(&lines).contains("<b>clear"));
        assert_eq!(report(&DataSet::default()), None);
    }
}
