//! Decoded attributes: what a data set says, as UTF-8 text, ready for an index row, a query, a rule or JSON.

use super::charset::Charset;
use super::dataset::{DataSet, Value};
use super::{Tag, VR, json, tags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A decoded value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Decoded {
    /// Values as text, whatever the representation: numbers in decimal, tags as eight hexadecimal digits.
    Texts(Vec<String>),
    /// Items of a sequence.
    Items(Vec<Attributes>),
}

impl Decoded {
    /// Bytes of all texts in it.
    fn bytes(&self) -> usize {
        match self {
            Decoded::Texts(texts) => texts.iter().map(String::len).sum(),
            Decoded::Items(items) => items.iter().flat_map(|i| i.0.values()).map(|(_, value)| value.bytes()).sum(),
        }
    }
}

/// Attributes by tag. Bulk values (OB, OW, UN …) are not among them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes(BTreeMap<u32, ([u8; 2], Decoded)>);

fn key(tag: Tag) -> u32 {
    (u32::from(tag.0) << 16) | u32::from(tag.1)
}

impl Attributes {
    /// Decodes the elements that `wanted` names, with the character set that the data set states (items may state their own).
    pub fn decode(data_set: &DataSet, wanted: impl Fn(Tag) -> bool + Copy) -> Attributes {
        Attributes::decode_with(data_set, &wanted, &charset_of(data_set, &Charset::unstated()))
    }

    fn decode_with(data_set: &DataSet, wanted: &dyn Fn(Tag) -> bool, charset: &Charset) -> Attributes {
        let mut attributes = Attributes::default();
        for element in data_set.elements.iter().filter(|e| wanted(e.tag)) {
            let decoded = match &element.value {
                Value::Bytes(bytes) => match texts(element.vr, bytes, charset) {
                    Some(texts) => Decoded::Texts(texts),
                    None => continue,
                },
                Value::Items(items) => Decoded::Items(
                    items.iter().map(|item| Attributes::decode_with(item, &|_| true, &charset_of(item, charset))).collect(),
                ),
                Value::Deferred(_) | Value::Fragments(_) => continue,
            };
            attributes.0.insert(key(element.tag), (element.vr.to_bytes(), decoded));
        }
        attributes
    }

    /// All values of an attribute; empty when absent or a sequence.
    pub fn texts(&self, tag: Tag) -> &[String] {
        match self.0.get(&key(tag)) {
            Some((_, Decoded::Texts(texts))) => texts,
            _ => &[],
        }
    }

    /// The first value, if there is one that is not empty.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        self.texts(tag).first().map(String::as_str).filter(|t| !t.is_empty())
    }

    /// The first value as an integer.
    pub fn int(&self, tag: Tag) -> Option<i64> {
        self.text(tag)?.trim().parse().ok()
    }

    /// The first value as a finite number.
    pub fn float(&self, tag: Tag) -> Option<f64> {
        self.floats(tag).first().copied()
    }

    /// All values as finite numbers; empty when one of them is none.
    pub fn floats(&self, tag: Tag) -> Vec<f64> {
        let values: Option<Vec<f64>> =
            self.texts(tag).iter().map(|t| t.trim().parse().ok().filter(|v: &f64| v.is_finite())).collect();
        values.unwrap_or_default()
    }

    /// The items of a sequence.
    pub fn items(&self, tag: Tag) -> &[Attributes] {
        match self.0.get(&key(tag)) {
            Some((_, Decoded::Items(items))) => items,
            _ => &[],
        }
    }

    /// Whether the attribute is there, empty or not.
    pub fn has(&self, tag: Tag) -> bool {
        self.0.contains_key(&key(tag))
    }

    /// Sets text values.
    pub fn set(&mut self, tag: Tag, vr: VR, texts: Vec<String>) {
        self.0.insert(key(tag), (vr.to_bytes(), Decoded::Texts(texts)));
    }

    /// Sets the items of a sequence.
    pub fn set_items(&mut self, tag: Tag, items: Vec<Attributes>) {
        self.0.insert(key(tag), (VR::SQ.to_bytes(), Decoded::Items(items)));
    }

    /// Takes over the attributes of `other` that are not here yet.
    pub fn fill_from(&mut self, other: &Attributes) {
        for (k, v) in &other.0 {
            self.0.entry(*k).or_insert_with(|| v.clone());
        }
    }

    /// Those whose texts, items included, are at most so many bytes.
    pub fn brief(&self, most: usize) -> Attributes {
        let short = |value: &Decoded| value.bytes() <= most;
        Attributes(self.0.iter().filter(|(_, (_, value))| short(value)).map(|(k, v)| (*k, v.clone())).collect())
    }

    /// Moves an attribute to another tag, over what is there; nothing happens where it is absent.
    pub fn rename(&mut self, from: Tag, to: Tag) {
        if let Some(value) = self.0.remove(&key(from)) {
            self.0.insert(key(to), value);
        }
    }

    /// Keeps the attributes that `wanted` names.
    pub fn only(&self, wanted: impl Fn(Tag) -> bool) -> Attributes {
        Attributes(self.0.iter().filter(|(k, _)| wanted(tag_of(**k))).map(|(k, v)| (*k, v.clone())).collect())
    }

    /// All attributes by ascending tag.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, VR, &Decoded)> {
        self.0.iter().map(|(k, (vr, value))| (tag_of(*k), VR::from_binary(*vr).unwrap_or(VR::UN), value))
    }
}

fn tag_of(key: u32) -> Tag {
    let [a, b, c, d] = key.to_be_bytes();
    Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// The character set that a data set or item states, else the one of its parent.
pub fn charset_of(data_set: &DataSet, inherited: &Charset) -> Charset {
    match data_set.bytes(tags::SPECIFIC_CHARACTER_SET) {
        Some(bytes) => Charset::from_terms(&String::from_utf8_lossy(bytes)),
        None => inherited.clone(),
    }
}

/// The values of an element as text; none for bulk representations.
pub fn texts(vr: VR, bytes: &[u8], charset: &Charset) -> Option<Vec<String>> {
    let numbers = |texts: Vec<String>| Some(texts);
    match vr {
        // A code string is plain ASCII by the standard; where it is not, it is Chinese in the object's character set.
        VR::LO | VR::SH | VR::PN | VR::UC | VR::CS => Some(split(&charset.decode(bytes))),
        VR::LT | VR::ST | VR::UT => Some(vec![charset.decode(bytes).trim_end_matches([' ', '\0']).to_string()]),
        VR::AE | VR::AS | VR::DA | VR::DS | VR::DT | VR::IS | VR::TM | VR::UI => Some(split(&String::from_utf8_lossy(bytes))),
        VR::UR => Some(vec![String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_string()]),
        VR::US => numbers(each(bytes, |b| u16::from_le_bytes(b).to_string())),
        VR::SS => numbers(each(bytes, |b| i16::from_le_bytes(b).to_string())),
        VR::UL => numbers(each(bytes, |b| u32::from_le_bytes(b).to_string())),
        VR::SL => numbers(each(bytes, |b| i32::from_le_bytes(b).to_string())),
        VR::UV => numbers(each(bytes, |b| u64::from_le_bytes(b).to_string())),
        VR::SV => numbers(each(bytes, |b| i64::from_le_bytes(b).to_string())),
        VR::FL => numbers(each(bytes, |b| f32::from_le_bytes(b).to_string())),
        VR::FD => numbers(each(bytes, |b| f64::from_le_bytes(b).to_string())),
        VR::AT => numbers(each(bytes, |[a, b, c, d]: [u8; 4]| {
            format!("{:04X}{:04X}", u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
        })),
        _ => None,
    }
}

/// The bytes of numbers and tags that stand as texts, the inverse of [`texts`]; none for other representations.
///
/// # Errors
/// The first text that is no such number or tag.
pub fn bytes_of(vr: VR, texts: &[String]) -> Option<Result<Vec<u8>, String>> {
    macro_rules! all {
        ($kind:ty) => {
            each_to(texts, |t| t.parse::<$kind>().ok().map(|n| n.to_le_bytes().to_vec()))
        };
    }
    Some(match vr {
        VR::US => all!(u16),
        VR::SS => all!(i16),
        VR::UL => all!(u32),
        VR::SL => all!(i32),
        VR::UV => all!(u64),
        VR::SV => all!(i64),
        VR::FL => all!(f32),
        VR::FD => all!(f64),
        VR::AT => each_to(texts, |t| json::tag(t).map(|t| [t.0.to_le_bytes(), t.1.to_le_bytes()].concat())),
        _ => return None,
    })
}

fn each_to(texts: &[String], one: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let all: Result<Vec<Vec<u8>>, String> = texts.iter().map(|t| one(t.trim()).ok_or_else(|| t.clone())).collect();
    all.map(|all| all.concat())
}

fn split(text: &str) -> Vec<String> {
    let text = text.trim_end_matches('\0');
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split('\\').map(|v| v.trim_matches([' ', '\0']).to_string()).collect()
}

fn each<const N: usize>(bytes: &[u8], show: impl Fn([u8; N]) -> String) -> Vec<String> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| show(*chunk)).collect()
}
