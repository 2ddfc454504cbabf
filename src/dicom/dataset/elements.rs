//! Looking into a data set, changing it, writing it (PS3.5 7.1).

use super::{DataSet, Element, ITEM, UNDEFINED, Value, has_long_length};
use crate::dicom::{Syntax, Tag, VR, tags};

impl DataSet {
    /// The element with this tag.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|e| e.tag == tag)
    }

    /// The bytes of a value that was read.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        match self.get(tag).map(|e| &e.value) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a sequence; none if it is absent.
    pub fn items(&self, tag: Tag) -> &[DataSet] {
        match self.get(tag).map(|e| &e.value) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// The items of a sequence, to change them; none if it is not there.
    pub fn items_mut(&mut self, tag: Tag) -> &mut [DataSet] {
        match self.elements.iter_mut().find(|e| e.tag == tag).map(|e| &mut e.value) {
            Some(Value::Items(items)) => items,
            _ => &mut [],
        }
    }

    /// A text value of the default repertoire (UIDs, codes, numbers), padding off. Names need [`super::charset`].
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text = String::from_utf8_lossy(self.bytes(tag)?).trim_matches(['\0', ' ']).to_string();
        (!text.is_empty()).then_some(text)
    }

    /// The first number of an unsigned short value.
    pub fn u16(&self, tag: Tag) -> Option<u16> {
        self.bytes(tag)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b))
    }

    /// Sets an element, in its place by tag order.
    pub fn put(&mut self, tag: Tag, vr: VR, value: Value) {
        let element = Element { tag, vr, value };
        match self.elements.binary_search_by(|e| e.tag.cmp(&tag)) {
            Ok(at) => {
                if let Some(slot) = self.elements.get_mut(at) {
                    *slot = element;
                }
            }
            Err(at) => self.elements.insert(at, element),
        }
    }

    /// Sets a text; it is padded to even length (PS3.5 6.2: NUL for UIDs, else a space).
    pub fn put_text(&mut self, tag: Tag, vr: VR, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == VR::UI { 0 } else { b' ' });
        }
        self.put(tag, vr, Value::Bytes(bytes));
    }

    /// Sets one unsigned short.
    pub fn put_u16(&mut self, tag: Tag, value: u16) {
        self.put(tag, VR::US, Value::Bytes(value.to_le_bytes().to_vec()));
    }

    /// Takes an element out.
    pub fn remove(&mut self, tag: Tag) {
        self.elements.retain(|e| e.tag != tag);
    }

    /// Writes Explicit VR Little Endian. Deferred values and fragments are left out: the caller writes pixels itself.
    pub fn write_explicit(&self, out: &mut Vec<u8>) {
        self.write_as(Syntax::EXPLICIT, out);
    }

    /// Writes in one of the three native syntaxes; values that lie elsewhere are left out. What is unknown stays little endian, as it
    /// came: nobody can tell where its numbers are.
    pub fn write_as(&self, syntax: Syntax, out: &mut Vec<u8>) {
        for Element { tag, vr, value } in &self.elements {
            match value {
                Value::Bytes(bytes) => {
                    let vr = fitting_vr(*vr, bytes.len());
                    header(syntax, out, *tag, vr, bytes.len());
                    let begin = out.len();
                    out.extend_from_slice(bytes);
                    if syntax.big_endian {
                        super::swap(out.get_mut(begin..).unwrap_or_default(), super::unit(vr));
                    }
                    out.extend((bytes.len() % 2 == 1).then_some(0));
                }
                Value::Items(items) => {
                    let mut content = Vec::new();
                    for item in items {
                        let mut bytes = Vec::new();
                        item.write_as(syntax, &mut bytes);
                        header(Syntax { explicit: false, ..syntax }, &mut content, ITEM, VR::UN, bytes.len());
                        content.extend_from_slice(&bytes);
                    }
                    header(syntax, out, *tag, VR::SQ, content.len());
                    out.extend_from_slice(&content);
                }
                Value::Deferred(_) | Value::Fragments(_) => {}
            }
        }
    }
}

/// A value too long for a short length field is written as UN (PS3.5 6.2.2).
fn fitting_vr(vr: VR, length: usize) -> VR {
    if length > 0xFFFE && !has_long_length(vr) { VR::UN } else { vr }
}

fn length32(length: usize) -> u32 {
    u32::try_from(length + length % 2).unwrap_or(UNDEFINED - 1)
}

/// Writes tag, representation and length of an element in Explicit VR Little Endian.
pub fn write_header(out: &mut Vec<u8>, tag: Tag, vr: VR, length: usize) {
    header(Syntax::EXPLICIT, out, tag, vr, length);
}

/// Writes tag, representation where it is written out, and length of an element (PS3.5 7.1.2, 7.1.3), or of an item.
pub fn header(syntax: Syntax, out: &mut Vec<u8>, tag: Tag, vr: VR, length: usize) {
    let short = |v: u16| if syntax.big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: u32| if syntax.big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
    out.extend_from_slice(&short(tag.0));
    out.extend_from_slice(&short(tag.1));
    if !syntax.explicit {
        out.extend_from_slice(&long(length32(length)));
        return;
    }
    out.extend_from_slice(vr.to_string().as_bytes());
    if has_long_length(vr) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&long(length32(length)));
    } else {
        out.extend_from_slice(&short(u16::try_from(length + length % 2).unwrap_or(0xFFFE)));
    }
}

/// Values of pixels, which have the sign of the pixels (PS3.5 A.1): implicit VR does not say it, and the dictionary cannot.
pub(super) const LIKE_PIXELS: &[Tag] = &[
    tags::SMALLEST_IMAGE_PIXEL_VALUE,
    tags::LARGEST_IMAGE_PIXEL_VALUE,
    tags::SMALLEST_PIXEL_VALUE_IN_SERIES,
    tags::LARGEST_PIXEL_VALUE_IN_SERIES,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
];

/// Gives values of pixels the representation of the pixels where their own is not written, or written as unknown.
pub(super) fn sign(data_set: &mut DataSet, explicit: bool) {
    let signed = data_set.bytes(tags::PIXEL_REPRESENTATION).is_some_and(|b| b.first() == Some(&1));
    sign_all(data_set, if signed { VR::SS } else { VR::US }, explicit);
}

fn sign_all(data_set: &mut DataSet, vr: VR, explicit: bool) {
    for element in &mut data_set.elements {
        match &mut element.value {
            Value::Items(items) => items.iter_mut().for_each(|item| sign_all(item, vr, explicit)),
            Value::Bytes(bytes)
                if bytes.len() == 2 && LIKE_PIXELS.contains(&element.tag) && (!explicit || element.vr == VR::UN) =>
            {
                element.vr = vr;
            }
            _ => {}
        }
    }
}
