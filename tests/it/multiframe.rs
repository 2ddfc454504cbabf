//! Enhanced multi-frame objects are classified and counted like classic ones, frame by frame.

use crate::faults::{check_files, said};
use crate::support::{phantom_study, shared};
use hutong::dicom::dataset::Value;
use hutong::dicom::{DataSet, Tag, VR, tags, uids};
use hutong::phantom::{Image, Phantom};

/// One macro of functional groups: a sequence of one item with attributes moved from an image.
fn group(of: &DataSet, sequence: Tag, moved: &[(Tag, VR)]) -> (Tag, DataSet) {
    let mut item = DataSet::default();
    for (tag, vr) in moved {
        if let Some(bytes) = of.bytes(*tag) {
            item.put(*tag, *vr, Value::Bytes(bytes.to_vec()));
        }
    }
    (sequence, item)
}

fn groups(macros: Vec<(Tag, DataSet)>) -> DataSet {
    let mut item = DataSet::default();
    for (tag, content) in macros {
        item.put(tag, VR::SQ, Value::Items(vec![content]));
    }
    item
}

/// The slices of one series as one enhanced CT or MR object (PS3.3 A.38, A.36).
fn enhanced(slices: Vec<Image>, sop_class: &str) -> Image {
    let first = &slices[0].data_set;
    let mut whole = first.clone();
    let shared = groups(vec![
        group(first, tags::PLANE_ORIENTATION_SEQUENCE, &[(tags::IMAGE_ORIENTATION_PATIENT, VR::DS)]),
        group(first, tags::PIXEL_MEASURES_SEQUENCE, &[(tags::PIXEL_SPACING, VR::DS), (tags::SLICE_THICKNESS, VR::DS)]),
        group(first, tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, &[(tags::REPETITION_TIME, VR::DS)]),
    ]);
    let frame = |(n, image): (usize, &Image)| {
        let mut content = DataSet::default();
        content.put(tags::IN_STACK_POSITION_NUMBER, VR::UL, Value::Bytes((n as u32 + 1).to_le_bytes().to_vec()));
        let mut echo = DataSet::default();
        if let Some(time) = image.data_set.text(tags::ECHO_TIME) {
            echo.put(tags::EFFECTIVE_ECHO_TIME, VR::FD, Value::Bytes(time.parse::<f64>().unwrap().to_le_bytes().to_vec()));
        }
        let rescale = [(tags::RESCALE_INTERCEPT, VR::DS), (tags::RESCALE_SLOPE, VR::DS), (tags::RESCALE_TYPE, VR::LO)];
        groups(vec![
            (tags::FRAME_CONTENT_SEQUENCE, content),
            group(&image.data_set, tags::PLANE_POSITION_SEQUENCE, &[(tags::IMAGE_POSITION_PATIENT, VR::DS)]),
            group(&image.data_set, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &rescale),
            (tags::MR_ECHO_SEQUENCE, echo),
        ])
    };
    let frames: Vec<DataSet> = slices.iter().enumerate().map(frame).collect();
    let moved = [
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::IMAGE_POSITION_PATIENT,
        tags::PIXEL_SPACING,
        tags::SLICE_THICKNESS,
        tags::RESCALE_INTERCEPT,
        tags::RESCALE_SLOPE,
        tags::RESCALE_TYPE,
        tags::REPETITION_TIME,
        tags::ECHO_TIME,
    ];
    moved.iter().for_each(|tag| whole.remove(*tag));
    whole.put_text(tags::SOP_CLASS_UID, VR::UI, sop_class);
    whole.put_text(tags::NUMBER_OF_FRAMES, VR::IS, &slices.len().to_string());
    whole.put(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, Value::Items(vec![shared]));
    whole.put(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, Value::Items(frames));
    Image { data_set: whole, pixels: Box::new(move || slices.iter().flat_map(|s| (s.pixels)()).collect()) }
}

/// The verdict's outcome, its findings from `warn` on, and its items.
fn judged(images: &[Image]) -> (String, Vec<String>, serde_json::Value) {
    let json = check_files(&images.iter().map(Image::file).collect::<Vec<_>>());
    let (checks, outcome) = said(&json, &["warn", "review", "reject"]);
    (outcome, checks, json["studies"][0]["items"].clone())
}

#[test]
fn an_enhanced_ct_is_judged_like_its_slices() {
    let good = enhanced(phantom_study(Phantom::CtHead).images, uids::ENHANCED_CT_IMAGE_STORAGE);
    assert_eq!(judged(&[good]), ("accept".into(), vec![], serde_json::json!([34])));
    let mut holed = phantom_study(Phantom::CtHead).images;
    holed.remove(14);
    let (outcome, checks, _) = judged(&[enhanced(holed, uids::ENHANCED_CT_IMAGE_STORAGE)]);
    assert!(outcome == "reject" && checks.contains(&"C-02".to_string()), "{outcome} {checks:?}");
    let mut short = phantom_study(Phantom::CtHead).images;
    short.truncate(9);
    let (outcome, checks, items) = judged(&[enhanced(short, uids::ENHANCED_CT_IMAGE_STORAGE)]);
    assert!(outcome == "reject" && checks.contains(&"SERIES_INCOMPLETE".to_string()), "{outcome} {checks:?} {items}");
}

#[test]
fn a_finding_names_the_frame_it_is_about() {
    let frames_of = |check: &str, image: &Image| {
        let json = check_files(&[image.file()]);
        let findings = json["studies"][0]["findings"].as_array().unwrap().clone();
        findings.iter().filter(|f| f["check"] == check).map(|f| f["frame"].clone()).collect::<Vec<_>>()
    };
    let mut holed = phantom_study(Phantom::CtHead).images;
    holed.remove(14);
    assert_eq!(frames_of("C-02", &enhanced(holed, uids::ENHANCED_CT_IMAGE_STORAGE)), [serde_json::json!(15)]);
    let mut blank = enhanced(phantom_study(Phantom::CtHead).images, uids::ENHANCED_CT_IMAGE_STORAGE);
    let whole = std::mem::replace(&mut blank.pixels, Box::new(Vec::new));
    blank.pixels = Box::new(move || {
        let mut samples = whole();
        samples[6 * 512 * 512..7 * 512 * 512].fill(0);
        samples
    });
    assert!(frames_of("C-18", &blank).contains(&serde_json::json!(7)));
    let classic: Vec<Vec<u8>> = phantom_study(Phantom::CtHead).images.iter().take(20).map(Image::file).collect();
    let json = check_files(&classic);
    assert!(json["studies"][0]["findings"].as_array().unwrap().iter().all(|f| f.get("frame").is_none()));
}

/// Texts say nothing: weighting comes from the frames' own times, planes from their orientation.
#[test]
fn an_enhanced_mr_is_judged_by_the_times_and_planes_of_its_frames() {
    let mut all = phantom_study(Phantom::MrLumbar).images;
    let series = |image: &Image| image.data_set.text(tags::SERIES_NUMBER).unwrap();
    let mut objects = Vec::new();
    while let Some(number) = all.first().map(series) {
        let (mut own, rest): (Vec<Image>, Vec<Image>) = all.into_iter().partition(|i| series(i) == number);
        own.iter_mut().for_each(|i| i.data_set.put_text(tags::SERIES_DESCRIPTION, VR::LO, "scan"));
        objects.push(enhanced(own, uids::ENHANCED_MR_IMAGE_STORAGE));
        all = rest;
    }
    assert_eq!(objects.len(), 3);
    let (outcome, checks, items) = judged(&objects);
    assert_eq!((outcome.as_str(), &items), ("accept", &serde_json::json!([58])), "{checks:?}");
    objects.remove(0);
    let (outcome, checks, _) = judged(&objects);
    assert!(outcome == "reject" && checks.contains(&"SERIES_INCOMPLETE".to_string()), "{outcome} {checks:?}");
}

/// Objects of a real scanner: eight slices of a head each, which is no complete brain, but every one has its place.
#[test]
fn real_enhanced_objects_have_their_slices_counted() {
    let Some(shared) = shared() else { return };
    for name in ["icometrix__001.dcm", "icometrix__IM-0001-0001-0001.dcm", "icometrix__IM-0001-0170-0001.dcm"] {
        let json = check_files(&[std::fs::read(shared.join("data/enhanced").join(name)).unwrap()]);
        let findings = json["studies"][0]["findings"].to_string();
        assert!(!findings.contains("没有有效的空间位置"), "{name}: {findings}");
        assert!(!findings.contains("M-04") || !findings.contains("层数过少"), "{name}: {findings}");
    }
}

#[test]
fn groups_of_more_frames_than_there_are_count_for_nothing() {
    let mut lying = enhanced(phantom_study(Phantom::CtHead).images, uids::ENHANCED_CT_IMAGE_STORAGE);
    lying.data_set.put_text(tags::NUMBER_OF_FRAMES, VR::IS, "2");
    let whole = std::mem::replace(&mut lying.pixels, Box::new(Vec::new));
    lying.pixels = Box::new(move || whole().into_iter().take(2 * 512 * 512).collect());
    let (outcome, checks, _) = judged(&[lying]);
    assert!(outcome != "accept", "{checks:?}");
}
