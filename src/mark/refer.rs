//! References among the objects of a study, carried over to marked copies: key objects, presentation states, structured reports and
//! segmentations that name an image name its marked copy in the exchange view.
//!
//! Changes nothing but names. A presentation state that would move the mark out of its corner is not carried over.

use super::derive::CODE;
use crate::dicom::coded::{OWN_SCHEME, code};
use crate::dicom::dataset::{Element, Value, dictionary_vr};
use crate::dicom::{DataSet, Tag, Uid, VR, tags, uids};
use crate::procedure::catalogue::Mark;
use std::collections::HashMap;

/// Marked copies by the original's SOP Instance UID: the copy's own UID and its series.
pub type Copies = HashMap<String, (Uid, Uid)>;

/// Whether objects of a class refer to images in a way that is carried over (PS3.4 annex B): key object selections, presentation states,
/// reports of persons, segmentations. Dose reports are not: they go with the originals.
pub fn is_carried(sop_class: &str) -> bool {
    const OTHERS: &[&str] = &[
        uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
        uids::SEGMENTATION_STORAGE,
        uids::BASIC_TEXT_SR_STORAGE,
        uids::ENHANCED_SR_STORAGE,
        uids::COMPREHENSIVE_SR_STORAGE,
        uids::COMPREHENSIVE3_DSR_STORAGE,
    ];
    is_presentation(sop_class) || OTHERS.contains(&sop_class)
}

/// A presentation state of any kind.
fn is_presentation(sop_class: &str) -> bool {
    sop_class.starts_with("1.2.840.10008.5.1.4.1.1.11.")
}

/// Why a presentation state would show the mark elsewhere than in its corner, or not at all; none for other objects.
pub fn moves_the_mark(data_set: &DataSet) -> Option<&'static str> {
    if !is_presentation(&data_set.text(tags::SOP_CLASS_UID).unwrap_or_default()) {
        return None;
    }
    let number = |tag| data_set.u16(tag).unwrap_or(0);
    let stated = |tag| data_set.text(tag).is_some_and(|t| !t.trim().is_empty());
    if number(tags::IMAGE_ROTATION) != 0 || data_set.text(tags::IMAGE_HORIZONTAL_FLIP).as_deref() == Some("Y") {
        Some("it rotates or flips the image")
    } else if stated(tags::SHUTTER_SHAPE) {
        Some("its shutter may hide the corner")
    } else if data_set.items(tags::DISPLAYED_AREA_SELECTION_SEQUENCE).iter().any(crops) {
        Some("its displayed area does not begin at the top or does not reach the right edge")
    } else {
        None
    }
}

/// Whether a displayed area (C.10.4) leaves the upper right out: it begins below the first row, or magnifies.
fn crops(area: &DataSet) -> bool {
    let corner = |tag| {
        let bytes = area.bytes(tag)?.as_chunks::<4>().0;
        Some((i32::from_le_bytes(*bytes.first()?), i32::from_le_bytes(*bytes.get(1)?)))
    };
    let fits = area.text(tags::PRESENTATION_SIZE_MODE).is_some_and(|mode| mode == "SCALE TO FIT");
    let whole = corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER).is_some_and(|(x, y)| x <= 1 && y <= 1);
    let (width, height) = match corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER) {
        Some((x, y)) => (x, y),
        None => return true,
    };
    !(fits && whole && width > 1 && height > 1)
}

/// What came of the references of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// References that name a copy now.
    pub renamed: usize,
    /// References to objects that have no copy; they stay as they are.
    pub kept: usize,
}

/// Makes an object name the copies, and gives it names of its own. Pixel data stay where they are.
pub fn rename(data_set: &mut DataSet, copies: &Copies, own: (&Uid, &Uid)) -> Carried {
    let mut done = Carried::default();
    for element in &mut data_set.elements {
        in_element(element, copies, &mut done);
    }
    data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, own.0.as_str());
    data_set.put_text(tags::SERIES_INSTANCE_UID, VR::UI, own.1.as_str());
    let mut codes = data_set.items(tags::DERIVATION_CODE_SEQUENCE).to_vec();
    if data_set.get(tags::DERIVATION_CODE_SEQUENCE).is_some() {
        codes.push(code(CODE, OWN_SCHEME, "Refers to marked copies"));
        data_set.put(tags::DERIVATION_CODE_SEQUENCE, VR::SQ, Value::Items(codes));
    }
    done
}

/// Names of the object that refers to copies instead of originals.
pub fn names(sop_instance: &Uid, sha256: &str, series: &Uid, mark: &Mark) -> (Uid, Uid) {
    let look = mark.identity();
    (
        Uid::derived(&["hutong carried instance 1", sop_instance.as_str(), sha256, &look]),
        Uid::derived(&["hutong carried series 1", series.as_str(), &look]),
    )
}

fn in_element(element: &mut Element, copies: &Copies, done: &mut Carried) {
    let Value::Items(items) = &mut element.value else { return };
    let mut all = Vec::with_capacity(items.len());
    for mut item in std::mem::take(items) {
        let before = *done;
        for inner in &mut item.elements {
            in_element(inner, copies, done);
        }
        if let Some(named) = item.text(tags::REFERENCED_SOP_INSTANCE_UID) {
            match copies.get(named.trim()) {
                Some((copy, _)) => {
                    item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, copy.as_str());
                    done.renamed += 1;
                }
                None => done.kept += 1,
            }
        }
        let lists = item.get(tags::SERIES_INSTANCE_UID).is_some() && done.renamed > before.renamed;
        if lists { all.extend(by_series(item, copies)) } else { all.push(item) }
    }
    *items = all;
}

/// An item that lists objects of one series (C.17.2, C.11.11), its references renamed already: once for each series they are in now.
fn by_series(item: DataSet, copies: &Copies) -> Vec<DataSet> {
    let series_of = |reference: &DataSet| {
        let named = reference.text(tags::REFERENCED_SOP_INSTANCE_UID)?;
        copies.values().find(|(copy, _)| copy.as_str() == named.trim()).map(|(_, series)| series.clone())
    };
    const LISTS: [Tag; 2] = [tags::REFERENCED_SOP_SEQUENCE, tags::REFERENCED_IMAGE_SEQUENCE];
    let listed: Vec<&DataSet> = LISTS.iter().flat_map(|tag| item.items(*tag)).collect();
    let mut groups: Vec<Option<Uid>> = listed.iter().map(|r| series_of(r)).collect();
    groups.sort();
    groups.dedup();
    let mut out = Vec::new();
    for group in groups {
        let mut one = item.clone();
        for tag in LISTS {
            if item.get(tag).is_some() {
                let mine = item.items(tag).iter().filter(|r| series_of(r) == group).cloned().collect();
                one.put(tag, dictionary_vr(tag), Value::Items(mine));
            }
        }
        if let Some(series) = group {
            one.put_text(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        }
        out.push(one);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uid: &str) -> DataSet {
        let mut item = DataSet::default();
        item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid);
        item
    }

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    #[test]
    fn references_follow_into_the_series_of_the_copies_and_others_stay() {
        let copies: Copies = [("1.1", "9.1"), ("1.2", "9.2")].map(|(a, b)| (a.into(), (uid(b), uid("8.1")))).into();
        let mut series = DataSet::default();
        series.put_text(tags::SERIES_INSTANCE_UID, VR::UI, "7.1");
        let listed = ["1.1", "1.2", "1.3"].map(reference).to_vec();
        series.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, Value::Items(listed));
        let mut study = DataSet::default();
        study.put(tags::REFERENCED_SERIES_SEQUENCE, VR::SQ, Value::Items(vec![series]));
        let mut ds = DataSet::default();
        ds.put(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, VR::SQ, Value::Items(vec![study]));
        let done = rename(&mut ds, &copies, (&uid("5.1"), &uid("5.2")));
        assert_eq!(done, Carried { renamed: 2, kept: 1 });
        let lists = ds.items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE)[0].items(tags::REFERENCED_SERIES_SEQUENCE);
        let shown: Vec<(String, Vec<String>)> = lists
            .iter()
            .map(|l| {
                let named = l.items(tags::REFERENCED_SOP_SEQUENCE).iter();
                let named = named.filter_map(|r| r.text(tags::REFERENCED_SOP_INSTANCE_UID)).collect();
                (l.text(tags::SERIES_INSTANCE_UID).unwrap(), named)
            })
            .collect();
        assert_eq!(shown, [("7.1".into(), vec!["1.3".into()]), ("8.1".into(), vec!["9.1".to_string(), "9.2".to_string()])]);
        assert_eq!(ds.text(tags::SOP_INSTANCE_UID).as_deref(), Some("5.1"));
    }

    #[test]
    fn presentation_states_that_turn_or_crop_are_known() {
        let mut ds = DataSet::default();
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE);
        assert_eq!(moves_the_mark(&ds), None);
        let longs = |a: i32, b: i32| Value::Bytes([a, b].iter().flat_map(|n| n.to_le_bytes()).collect());
        let mut area = DataSet::default();
        area.put_text(tags::PRESENTATION_SIZE_MODE, VR::CS, "SCALE TO FIT");
        area.put(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, longs(1, 1));
        area.put(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, longs(512, 512));
        ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(vec![area.clone()]));
        assert_eq!(moves_the_mark(&ds), None);
        area.put(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, longs(1, 100));
        ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(vec![area]));
        assert!(moves_the_mark(&ds).is_some());
        ds.remove(tags::DISPLAYED_AREA_SELECTION_SEQUENCE);
        ds.put_u16(tags::IMAGE_ROTATION, 90);
        assert_eq!(moves_the_mark(&ds), Some("it rotates or flips the image"));
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_SR_STORAGE);
        assert_eq!(moves_the_mark(&ds), None);
    }
}
