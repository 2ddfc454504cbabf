//! References among the objects of a study, carried over to marked copies: key objects, presentation states, structured reports and
//! segmentations that name an image name its marked copy in the exchange view.
//!
//! Changes nothing but names. A presentation state that would move the mark out of its corner, or draw over it, is not carried over.

use super::graphics::{self, Corner};
use crate::dicom::dataset::{Element, Value};
use crate::dicom::grey::{Grey, Table, Voi};
use crate::dicom::image::Layout;
use crate::dicom::{Attributes, DataSet, Tag, Uid, VR, tags, uids};
use crate::procedure::catalogue::Mark;
use std::collections::{BTreeSet, HashMap};

/// What stands for an original in the exchange view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its SOP Instance UID.
    pub instance: Uid,
    /// Its series.
    pub series: Uid,
    /// Columns and rows of an image; zero for what is none.
    pub size: (i64, i64),
}

/// Copies by the original's SOP Instance UID.
pub type Copies = HashMap<String, Copy>;

/// What all copies are, in short; `carried` are the objects, by their own names, that are carried over with them.
pub fn digest<'a>(copies: &'a Copies, carried: impl IntoIterator<Item = &'a Uid>) -> String {
    let mut all: Vec<&str> = copies.values().map(|c| c.instance.as_str()).collect();
    all.extend(carried.into_iter().map(Uid::as_str));
    all.sort_unstable();
    Uid::derived(&all).to_string()
}

/// Whether objects of a class refer to images in a way that is carried over (PS3.4 annex B): key object selections, presentation states,
/// reports of persons, segmentations. Dose reports are not: they go with the originals.
pub fn is_carried(sop_class: &str) -> bool {
    // Structured reports of every kind, key object selections among them.
    const REPORTS: &str = "1.2.840.10008.5.1.4.1.1.88.";
    const DOSES: &[&str] = &[
        uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
        uids::RADIOPHARMACEUTICAL_RADIATION_DOSE_SR_STORAGE,
        uids::PATIENT_RADIATION_DOSE_SR_STORAGE,
        uids::ENHANCED_X_RAY_RADIATION_DOSE_SR_STORAGE,
    ];
    // Segmentation, Label Map and Surface Segmentation, RT Structure Set.
    const SEGMENTS: &[&str] = &[
        uids::SEGMENTATION_STORAGE,
        uids::LABEL_MAP_SEGMENTATION_STORAGE,
        uids::SURFACE_SEGMENTATION_STORAGE,
        uids::RT_STRUCTURE_SET_STORAGE,
    ];
    is_presentation(sop_class)
        || is_document(sop_class)
        || SEGMENTS.contains(&sop_class)
        || (sop_class.starts_with(REPORTS) && !DOSES.contains(&sop_class))
}

/// A report as a document, which names no images: it goes with the copies as it is.
pub fn is_document(sop_class: &str) -> bool {
    matches!(sop_class, uids::ENCAPSULATED_PDF_STORAGE | uids::ENCAPSULATED_CDA_STORAGE | uids::BASIC_TEXT_SR_STORAGE)
}

/// A presentation state of any kind.
fn is_presentation(sop_class: &str) -> bool {
    sop_class.starts_with("1.2.840.10008.5.1.4.1.1.11.")
}

/// Why a presentation state would show the mark elsewhere than in its corner, or not at all; none for other objects.
pub fn spoils_the_mark(data_set: &DataSet, copies: &Copies, corner: &Corner<'_>) -> Option<&'static str> {
    if !is_presentation(&data_set.text(tags::SOP_CLASS_UID).unwrap_or_default()) {
        return None;
    }
    let number = |tag| data_set.u16(tag).unwrap_or(0);
    let stated = |tag| data_set.text(tag).is_some_and(|t| !t.trim().is_empty());
    if !data_set.items(tags::MASK_SUBTRACTION_SEQUENCE).is_empty() {
        Some("it shows the image by subtraction, which would take the mark away")
    } else if number(tags::IMAGE_ROTATION) != 0 || data_set.text(tags::IMAGE_HORIZONTAL_FLIP).as_deref() == Some("Y") {
        Some("it rotates or flips the image")
    } else if stated(tags::SHUTTER_SHAPE) {
        Some("its shutter may hide the corner")
    } else if data_set.elements.iter().any(|e| (e.tag.0 & 0xFF00) == 0x6000) {
        Some("its overlay may hide the corner")
    } else if data_set.items(tags::DISPLAYED_AREA_SELECTION_SEQUENCE).iter().any(|area| crops(area, data_set, copies)) {
        Some("its displayed area does not show the whole image fitted to the screen")
    } else if graphics::cover(data_set, copies, corner) {
        Some("its graphics or texts lie over the mark")
    } else {
        None
    }
}

/// Whether a displayed area (C.10.4) shows less than the whole of each image that it is for, or shows it enlarged.
fn crops(area: &DataSet, state: &DataSet, copies: &Copies) -> bool {
    let corner = |tag| {
        let bytes = area.bytes(tag)?.as_chunks::<4>().0;
        Some((i64::from(i32::from_le_bytes(*bytes.first()?)), i64::from(i32::from_le_bytes(*bytes.get(1)?))))
    };
    let (Some(first), Some(last)) =
        (corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER), corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER))
    else {
        return true;
    };
    // Without a list of its own it is for all images of the state.
    let own = area.items(tags::REFERENCED_IMAGE_SEQUENCE);
    let series = state.items(tags::REFERENCED_SERIES_SEQUENCE).iter().flat_map(|s| s.items(tags::REFERENCED_IMAGE_SEQUENCE));
    let images: Vec<&DataSet> = if own.is_empty() { series.collect() } else { own.iter().collect() };
    let named = images.iter().filter_map(|r| copies.get(r.text(tags::REFERENCED_SOP_INSTANCE_UID)?.trim()));
    let fits = area.text(tags::PRESENTATION_SIZE_MODE).is_some_and(|mode| mode == "SCALE TO FIT");
    !fits || first.0 > 1 || first.1 > 1 || named.into_iter().any(|c| last.0 < c.size.0 || last.1 < c.size.1)
}

/// Of the mark on an image, by the original's SOP Instance UID: a light and a dark stored value, and how samples are stored.
pub type Shades<'a> = dyn Fn(&str) -> Option<(i64, i64, Layout)> + 'a;

/// Images of a state that are looked at: a state is for images of one kind.
const LOOKED_AT: usize = 3;
/// Least contrast of the mark under a state's window, of the way from black to white.
const SEEN: f64 = 0.1;

/// Whether a window or table of a presentation state (C.11.8, C.11.6) shows the mark as one grey with what is around it.
pub fn hides_the_mark(state: &DataSet, copies: &Copies, shades: &Shades<'_>) -> bool {
    let series = state.items(tags::REFERENCED_SERIES_SEQUENCE);
    let all = || series.iter().flat_map(|s| s.items(tags::REFERENCED_IMAGE_SEQUENCE));
    // The last table of all: from shades to shades.
    let last = state.items(tags::PRESENTATION_LUT_SEQUENCE).first().and_then(|item| Table::of(item, (0.0, 1.0)));
    let seen = |shade: f64| last.as_ref().map_or(shade, |table| table.of_shade(shade));
    // Without a window the table alone decides, over all that can be stored.
    let none = [DataSet::default()];
    let items = state.items(tags::SOFTCOPY_VOILUT_SEQUENCE);
    let items = if items.is_empty() && last.is_some() { &none[..] } else { items };
    items.iter().any(|item| {
        let own = item.items(tags::REFERENCED_IMAGE_SEQUENCE);
        let named: Vec<&DataSet> = if own.is_empty() { all().collect() } else { own.iter().collect() };
        let named = named.iter().filter_map(|r| r.text(tags::REFERENCED_SOP_INSTANCE_UID));
        let images = named.filter(|uid| copies.contains_key(uid.trim())).take(LOOKED_AT);
        let mut shown = item.clone();
        for tag in [tags::MODALITY_LUT_SEQUENCE, tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT] {
            shown.elements.extend(state.get(tag).cloned());
        }
        let attributes = Attributes::decode(&shown, |_| true);
        images.filter_map(|uid| shades(uid.trim())).any(|(light, dark, layout)| {
            let grey = Grey::of(&shown, &attributes, &layout);
            let (least, most) = layout.range();
            let spanning = || last.is_some().then(|| grey.spanning(least, most));
            let shade = |voi: &Voi, value| seen(grey.shade(voi, value));
            grey.voi.first().cloned().or_else(spanning).is_some_and(|voi| (shade(&voi, light) - shade(&voi, dark)).abs() < SEEN)
        })
    })
}

/// What came of the references of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// References that name a copy now.
    pub renamed: usize,
    /// References to objects that have no copy; they stay as they are.
    pub kept: usize,
}

/// Whether an object refers to any of the copies' originals.
pub fn refers(data_set: &DataSet, copies: &Copies) -> bool {
    let mut probe = data_set.clone();
    let mut done = Carried::default();
    probe.elements.iter_mut().for_each(|e| in_element(e, copies, &mut done));
    done.renamed > 0
}

/// Makes an object name the copies, and gives it names of its own. Pixel data stay where they are; signatures of what it was are dropped.
pub fn rename(data_set: &mut DataSet, copies: &Copies, own: &Copy) -> Carried {
    let mut done = Carried::default();
    for element in &mut data_set.elements {
        in_element(element, copies, &mut done);
    }
    data_set.elements.retain(|e| !matches!(e.tag, tags::DIGITAL_SIGNATURES_SEQUENCE | tags::MAC_PARAMETERS_SEQUENCE));
    data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, own.instance.as_str());
    data_set.put_text(tags::SERIES_INSTANCE_UID, VR::UI, own.series.as_str());
    done
}

/// Names of the object that refers to copies instead of originals; `all` is the [`digest`] of the copies.
pub fn names(sop_instance: &Uid, series: &Uid, all: &str, mark: &Mark) -> (Uid, Uid) {
    let look = mark.identity();
    (
        Uid::derived(&["hutong carried instance 3", sop_instance.as_str(), all, &look]),
        Uid::derived(&["hutong carried series 3", series.as_str(), &look]),
    )
}

/// Lists of references inside an item that names their series (C.17.2, C.11.11, C.12.4).
const LISTS: [Tag; 3] = [tags::REFERENCED_SOP_SEQUENCE, tags::REFERENCED_IMAGE_SEQUENCE, tags::REFERENCED_INSTANCE_SEQUENCE];

fn in_element(element: &mut Element, copies: &Copies, done: &mut Carried) {
    let Value::Items(items) = &mut element.value else { return };
    let mut all = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        let listed = item.get(tags::SERIES_INSTANCE_UID).is_some() && LISTS.iter().any(|tag| !item.items(*tag).is_empty());
        let parts = if listed { by_series(item, copies) } else { vec![item] };
        for mut part in parts {
            part.elements.iter_mut().for_each(|inner| in_element(inner, copies, done));
            if let Some(named) = part.text(tags::REFERENCED_SOP_INSTANCE_UID) {
                match copies.get(named.trim()) {
                    Some(copy) => {
                        part.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, copy.instance.as_str());
                        done.renamed += 1;
                    }
                    None => done.kept += 1,
                }
            }
            // A content item of an SR that is a UID (C.18.6).
            if let Some(copy) = part.text(tags::UID).and_then(|uid| copies.get(uid.trim())) {
                part.put_text(tags::UID, VR::UI, copy.instance.as_str());
            }
            all.push(part);
        }
    }
    *items = all;
}

/// An item that lists objects of one series: once for each series that they are in when they are renamed.
fn by_series(item: DataSet, copies: &Copies) -> Vec<DataSet> {
    let series_of =
        |reference: &DataSet| copies.get(reference.text(tags::REFERENCED_SOP_INSTANCE_UID)?.trim()).map(|c| c.series.clone());
    let groups: BTreeSet<Option<Uid>> = LISTS.iter().flat_map(|tag| item.items(*tag)).map(series_of).collect();
    let one = |group: Option<Uid>| {
        let mut one = item.clone();
        for tag in LISTS.into_iter().filter(|tag| item.get(*tag).is_some()) {
            let mine = item.items(tag).iter().filter(|r| series_of(r) == group).cloned().collect();
            one.put(tag, VR::SQ, Value::Items(mine));
        }
        if let Some(series) = group {
            one.put_text(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
        }
        one
    };
    groups.into_iter().map(one).collect()
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
        let copy = |b: &str| Copy { instance: uid(b), series: uid("8.1"), size: (512, 512) };
        let copies: Copies = [("1.1", "9.1"), ("1.2", "9.2")].map(|(a, b)| (a.into(), copy(b))).into();
        let mut series = DataSet::default();
        series.put_text(tags::SERIES_INSTANCE_UID, VR::UI, "7.1");
        let listed = ["1.1", "1.2", "1.3"].map(reference).to_vec();
        series.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, Value::Items(listed));
        let mut study = DataSet::default();
        study.put(tags::REFERENCED_SERIES_SEQUENCE, VR::SQ, Value::Items(vec![series]));
        let mut ds = DataSet::default();
        ds.put(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, VR::SQ, Value::Items(vec![study]));
        let done = rename(&mut ds, &copies, &Copy { instance: uid("5.1"), series: uid("5.2"), size: (0, 0) });
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
    fn a_window_that_shows_nothing_of_the_mark_is_known() {
        let layout = Layout {
            rows: 512,
            columns: 512,
            samples: 1,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            signed: false,
            photometric: "MONOCHROME2".into(),
            planar: false,
            frames: 1,
        };
        let copy = Copy { instance: uid("9.1"), series: uid("8.1"), size: (512, 512) };
        let copies: Copies = [("1.1".to_string(), copy)].into();
        let hides = |center: &str, width: &str| {
            let mut voi = DataSet::default();
            voi.put_text(tags::WINDOW_CENTER, VR::DS, center);
            voi.put_text(tags::WINDOW_WIDTH, VR::DS, width);
            voi.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, Value::Items(vec![reference("1.1")]));
            let mut ds = DataSet::default();
            ds.put(tags::SOFTCOPY_VOILUT_SEQUENCE, VR::SQ, Value::Items(vec![voi]));
            hides_the_mark(&ds, &copies, &|_| Some((3000, 100, layout.clone())))
        };
        assert!(!hides("1500", "3000") && !hides("1000", "200"));
        assert!(hides("9000", "2") && hides("1500", "60000"));
    }

    #[test]
    fn presentation_states_that_turn_or_crop_are_known() {
        let mut ds = DataSet::default();
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE);
        let copy = Copy { instance: uid("9.1"), series: uid("8.1"), size: (512, 512) };
        let copies: Copies = [("1.1".to_string(), copy)].into();
        let spoils = |ds: &DataSet| spoils_the_mark(ds, &copies, &|_| None);
        assert_eq!(spoils(&ds), None);
        let longs = |a: i32, b: i32| Value::Bytes([a, b].iter().flat_map(|n| n.to_le_bytes()).collect());
        let mut area = DataSet::default();
        area.put_text(tags::PRESENTATION_SIZE_MODE, VR::CS, "SCALE TO FIT");
        area.put(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, longs(1, 1));
        area.put(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, longs(512, 512));
        ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(vec![area.clone()]));
        assert_eq!(spoils(&ds), None);
        // Smaller than the image that it is for.
        area.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, Value::Items(vec![reference("1.1")]));
        area.put(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, longs(256, 256));
        ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(vec![area.clone()]));
        assert!(spoils(&ds).is_some());
        area.put(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, longs(512, 512));
        area.put(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, longs(1, 100));
        ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(vec![area]));
        assert!(spoils(&ds).is_some());
        ds.remove(tags::DISPLAYED_AREA_SELECTION_SEQUENCE);
        ds.put_u16(tags::IMAGE_ROTATION, 90);
        assert_eq!(spoils(&ds), Some("it rotates or flips the image"));
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_SR_STORAGE);
        assert_eq!(spoils(&ds), None);
    }
}
