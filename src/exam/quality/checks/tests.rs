use super::*;
use crate::dicom::{Attributes, Tag, Uid, VR, tags};
use crate::exam::classify::{Confidence, Recognised};
use crate::exam::facts::{InstanceInput, SeriesInput, study_facts};
use crate::exam::finding::Level;
use crate::procedure::{embedded::FILES, load};
use std::collections::BTreeSet;

/// What the checks say of one series of an item, with some attributes changed.
fn found(item: u32, modality: &str, syntax: &str, changes: &[(Tag, VR, &[&str])]) -> Vec<(String, Level)> {
    let procedures = load(FILES).map_err(|e| format!("{e:?}")).unwrap();
    let region = procedures.region_for("20260310").unwrap();
    let uid = Uid::derived(&["series"]);
    let mut series = Attributes::default();
    series.set(tags::MODALITY, VR::CS, vec![modality.into()]);
    let mut image = Attributes::default();
    let usual: [(Tag, VR, &[&str]); 14] = [
        (tags::ROWS, VR::US, &["2500"]),
        (tags::COLUMNS, VR::US, &["2048"]),
        (tags::BITS_ALLOCATED, VR::US, &["16"]),
        (tags::BITS_STORED, VR::US, &["12"]),
        (tags::HIGH_BIT, VR::US, &["11"]),
        (tags::IMAGER_PIXEL_SPACING, VR::DS, &["0.14", "0.14"]),
        (tags::PIXEL_SPACING, VR::DS, &["0.2", "0.2"]),
        (tags::EXPOSURE_INDEX, VR::DS, &["250"]),
        (tags::WINDOW_CENTER, VR::DS, &["2000"]),
        (tags::WINDOW_WIDTH, VR::DS, &["4000"]),
        (tags::RESCALE_SLOPE, VR::DS, &["1"]),
        (tags::RESCALE_INTERCEPT, VR::DS, &["-1024"]),
        (tags::PRESENTATION_INTENT_TYPE, VR::CS, &["FOR PRESENTATION"]),
        (tags::BURNED_IN_ANNOTATION, VR::CS, &["NO"]),
    ];
    for (tag, vr, values) in usual.iter().chain(changes) {
        image.set(*tag, *vr, values.iter().map(ToString::to_string).collect());
        series.set(*tag, *vr, values.iter().map(ToString::to_string).collect());
    }
    series.set(tags::MODALITY, VR::CS, vec![modality.into()]);
    let instance = Uid::derived(&["image"]);
    let input = SeriesInput {
        uid: &uid,
        attributes: &series,
        instances: vec![InstanceInput { uid: &instance, frame: 0, attributes: &image }],
    };
    let facts = study_facts(&Attributes::default(), &[input]);
    let recognised = [Recognised {
        item,
        side: None,
        series: BTreeSet::from([uid.clone()]),
        images: BTreeSet::new(),
        enhanced: BTreeSet::new(),
        because: vec![],
        assumed: vec![],
        confidence: Confidence::Stated,
    }];
    let exam = Exam {
        recognised: &recognised,
        region: Some(region),
        series: vec![Series {
            uid: &uid,
            facts: &facts.series[0],
            images: vec![Image { uid: &instance, attributes: &image, transfer_syntax: syntax }],
        }],
        limits: &procedures.quality,
        everything: false,
    };
    run(&exam).into_iter().map(|f| (f.check, f.level)).collect()
}

const NATIVE: &str = "1.2.840.10008.1.2.1";

#[test]
fn a_usual_radiograph_slice_or_mr_image_has_no_finding() {
    for (item, modality) in [(1, "DX"), (34, "CT"), (58, "MR")] {
        assert_eq!(found(item, modality, NATIVE, &[]), [], "{modality}");
    }
}

#[test]
fn only_a_frontal_view_of_an_item_without_a_side_can_be_mirrored() {
    let rows = |view: &'static [&'static str], row: &'static [&'static str], item| {
        let changes: [Change; 2] = [(tags::VIEW_POSITION, VR::CS, view), (tags::PATIENT_ORIENTATION, VR::CS, row)];
        found(item, "DX", NATIVE, &changes).iter().any(|(check, _)| check == "X-13")
    };
    assert!(rows(&["AP"], &["R", "F"], 1));
    assert!(!rows(&["PA"], &["L", "F"], 1));
    assert!(!rows(&["LL"], &["R", "F"], 1));
    assert!(!rows(&["PA"], &["R", "F"], 10));
}

/// Item, modality, transfer syntax, changed attributes; the check and level that must be among the findings.
type Case = (u32, &'static str, &'static str, &'static [Change], &'static str, Level);
type Change = (Tag, VR, &'static [&'static str]);

#[test]
fn each_fault_of_a_header_is_found_by_its_check() {
    let cases: &[Case] = &[
        (1, "DX", NATIVE, &[(tags::HIGH_BIT, VR::US, &["15"])], "G-03", Level::Warn),
        (
            12,
            "DX",
            NATIVE,
            &[(tags::LATERALITY, VR::CS, &["L"]), (tags::IMAGE_LATERALITY, VR::CS, &["R"])],
            "G-14",
            Level::Review,
        ),
        (1, "DX", NATIVE, &[(tags::BURNED_IN_ANNOTATION, VR::CS, &["YES"])], "G-15", Level::Warn),
        (1, "DX", NATIVE, &[(tags::DEVIATION_INDEX, VR::DS, &["-3.4"])], "X-02", Level::Review),
        (1, "CR", NATIVE, &[(tags::TARGET_EXPOSURE_INDEX, VR::DS, &["120"])], "X-02", Level::Warn),
        (
            1,
            "CR",
            NATIVE,
            &[(tags::TARGET_EXPOSURE_INDEX, VR::DS, &["80"]), (tags::DEVIATION_INDEX, VR::DS, &["0.2"])],
            "X-02",
            Level::Review,
        ),
        (1, "DX", NATIVE, &[(tags::EXPOSURE_INDEX, VR::DS, &["4000"])], "X-03", Level::Warn),
        (1, "DX", NATIVE, &[(tags::EXPOSURE_INDEX, VR::DS, &[])], "X-03", Level::Info),
        (1, "DX", NATIVE, &[(tags::ROWS, VR::US, &["1200"])], "X-04", Level::Warn),
        (1, "DX", NATIVE, &[(tags::IMAGER_PIXEL_SPACING, VR::DS, &["0.4", "0.4"])], "X-04", Level::Reject),
        (1, "DX", NATIVE, &[(tags::BITS_STORED, VR::US, &["8"]), (tags::HIGH_BIT, VR::US, &["7"])], "X-05", Level::Warn),
        (
            1,
            "DX",
            NATIVE,
            &[(tags::VIEW_POSITION, VR::CS, &["PA"]), (tags::PATIENT_ORIENTATION, VR::CS, &["R", "F"])],
            "X-13",
            Level::Review,
        ),
        (1, "DX", NATIVE, &[(tags::PRESENTATION_INTENT_TYPE, VR::CS, &["FOR PROCESSING"])], "X-14", Level::Reject),
        (34, "CT", NATIVE, &[(tags::ROWS, VR::US, &["200"])], "C-10", Level::Reject),
        (34, "CT", NATIVE, &[(tags::RESCALE_SLOPE, VR::DS, &["0"])], "C-11", Level::Reject),
        (36, "CT", NATIVE, &[(tags::CONVOLUTION_KERNEL, VR::SH, &["B31f"])], "C-12", Level::Warn),
        (58, "MR", NATIVE, &[(tags::PIXEL_SPACING, VR::DS, &["0.45", "1.1"])], "M-05", Level::Warn),
        (34, "CT", NATIVE, &[(tags::PIXEL_SPACING, VR::DS, &["5", "5"])], "C-10", Level::Reject),
        (34, "CT", NATIVE, &[(tags::RECONSTRUCTION_DIAMETER, VR::DS, &["250"])], "C-10", Level::Review),
        (59, "MR", NATIVE, &[(tags::COLUMNS, VR::US, &["256"])], "M-10", Level::Warn),
        // A knee wants finer pixels than a brain.
        (60, "MR", NATIVE, &[(tags::PIXEL_SPACING, VR::DS, &["0.9", "0.9"])], "M-05", Level::Warn),
        (58, "MR", NATIVE, &[(tags::ROWS, VR::US, &["200"]), (tags::COLUMNS, VR::US, &["240"])], "M-05", Level::Warn),
        (37, "CT", NATIVE, &[(tags::CONVOLUTION_KERNEL, VR::SH, &["B60s"])], "C-12", Level::Warn),
        (1, "DX", NATIVE, &[(tags::QUALITY_CONTROL_IMAGE, VR::CS, &["YES"])], "G-17", Level::Review),
        (34, "CT", NATIVE, &[(tags::WINDOW_WIDTH, VR::DS, &["0"])], "X-15", Level::Warn),
    ];
    for (item, modality, syntax, changes, check, level) in cases {
        let all = found(*item, modality, syntax, changes);
        assert!(all.contains(&((*check).to_string(), *level)), "{check} {modality} {changes:?}: {all:?}");
    }
}
