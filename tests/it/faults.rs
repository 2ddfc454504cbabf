//! Faults put into good studies, one at a time: `hutong check` must name each by its check, and find nothing in the good ones.

use crate::support::phantom_study;
use hutong::dicom::part10::Meta;
use hutong::dicom::{DataSet, Tag, Uid, VR, tags};
use hutong::phantom::{self, Image, Phantom};
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

pub fn check_files(files: &[Vec<u8>]) -> Json {
    let place = tempfile::tempdir().unwrap();
    for (n, bytes) in files.iter().enumerate() {
        std::fs::write(place.path().join(format!("{n:04}.dcm")), bytes).unwrap();
    }
    run(place.path())
}

fn run(place: &Path) -> Json {
    let output = Command::new(crate::support::PROGRAM).args(["check", "--json"]).arg(place).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Check numbers of the findings at a level and above, and the outcome of the one study.
pub fn said(json: &Json, levels: &[&str]) -> (Vec<String>, String) {
    let study = &json["studies"][0];
    let findings = study["findings"].as_array().unwrap().iter();
    let wanted = findings.filter(|f| levels.contains(&f["level"].as_str().unwrap()));
    let mut checks: Vec<String> = wanted.map(|f| f["check"].as_str().unwrap().to_string()).collect();
    checks.extend(study["verdict"]["refused"].as_array().unwrap().iter().map(|r| r["reason"].as_str().unwrap().to_string()));
    (checks, study["outcome"].as_str().unwrap().to_string())
}

fn number(image: &Image) -> i64 {
    image.data_set.text(tags::INSTANCE_NUMBER).unwrap().parse().unwrap()
}

fn put(image: &mut Image, tag: Tag, vr: VR, value: &str) {
    image.data_set.put_text(tag, vr, value);
}

/// Exchanges an attribute of two images.
fn swap(images: &mut [Image], a: usize, b: usize, tag: Tag, vr: VR) {
    let of = |d: &DataSet| String::from_utf8(d.bytes(tag).unwrap().to_vec()).unwrap();
    let (first, second) = (of(&images[a].data_set), of(&images[b].data_set));
    put(&mut images[a], tag, vr, &second);
    put(&mut images[b], tag, vr, &first);
}

/// Nine tenths of the samples, from the first.
fn zero(image: &mut Image) {
    let whole = std::mem::replace(&mut image.pixels, Box::new(Vec::new));
    image.pixels = Box::new(move || {
        let mut samples = whole();
        let end = samples.len() / 10 * 9;
        samples[..end].fill(0);
        samples
    });
}

type Fault = (&'static str, Phantom, fn(&mut Vec<Image>), &'static str, &'static [&'static str]);

const REJECT: &[&str] = &["reject"];
const HELD: &[&str] = &["review", "reject"];
const MARKED: &[&str] = &["accept"];

/// What is done to which study, the check or reason that must be named, and what the study may come to.
const FAULTS: &[Fault] = &[
    ("a middle slice dropped", Phantom::CtHead, |i| drop(i.remove(14)), "C-02", REJECT),
    ("five slices dropped", Phantom::CtHead, |i| drop(i.drain(10..15)), "C-02", REJECT),
    ("every second slice dropped", Phantom::CtHead, |i| i.retain(|x| number(x) % 2 == 0), "C-05", REJECT),
    ("the first slice dropped", Phantom::CtHead, |i| i.retain(|x| number(x) > 1), "C-06", MARKED),
    ("most slices dropped", Phantom::CtHead, |i| i.truncate(10), "SERIES_INCOMPLETE", HELD),
    ("two positions swapped", Phantom::CtHead, |i| swap(i, 5, 20, tags::IMAGE_POSITION_PATIENT, VR::DS), "C-06", MARKED),
    (
        "two slices at one place",
        Phantom::CtHead,
        |i| {
            let first = String::from_utf8(i[7].data_set.bytes(tags::IMAGE_POSITION_PATIENT).unwrap().to_vec()).unwrap();
            put(&mut i[8], tags::IMAGE_POSITION_PATIENT, VR::DS, &first);
        },
        "C-04",
        REJECT,
    ),
    (
        "half of the slices tilted by five degrees",
        Phantom::CtHead,
        |i| {
            for image in i.iter_mut().filter(|x| number(x) % 2 == 0) {
                put(image, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0.99619\\-0.08716");
            }
        },
        "C-01",
        HELD,
    ),
    ("positions missing", Phantom::CtHead, |i| put(&mut i[3], tags::IMAGE_POSITION_PATIENT, VR::DS, ""), "C-01", HELD),
    (
        "numbers missing",
        Phantom::CtHead,
        |i| i.iter_mut().for_each(|x| put(x, tags::INSTANCE_NUMBER, VR::IS, "")),
        "C-06",
        MARKED,
    ),
    (
        "rescale missing",
        Phantom::CtHead,
        |i| i.iter_mut().for_each(|x| put(x, tags::RESCALE_SLOPE, VR::DS, "")),
        "C-11",
        REJECT,
    ),
    (
        "an exam of the future",
        Phantom::CtHead,
        |i| i.iter_mut().for_each(|x| put(x, tags::STUDY_DATE, VR::DA, "20990101")),
        "G-12",
        REJECT,
    ),
    (
        "born after the exam",
        Phantom::CtHead,
        |i| {
            i.iter_mut().for_each(|x| put(x, tags::PATIENT_BIRTH_DATE, VR::DA, "20270101"));
        },
        "G-12",
        REJECT,
    ),
    ("another patient among them", Phantom::CtHead, |i| put(&mut i[4], tags::PATIENT_ID, VR::LO, "SOMEBODY"), "G-07", REJECT),
    (
        "a placeholder for a name",
        Phantom::CtHead,
        |i| i.iter_mut().for_each(|x| put(x, tags::PATIENT_NAME, VR::PN, "TEST")),
        "G-09",
        HELD,
    ),
    ("burnt-in text", Phantom::CtHead, |i| put(&mut i[0], tags::BURNED_IN_ANNOTATION, VR::CS, "YES"), "G-15", MARKED),
    (
        "fewer than announced",
        Phantom::CtHead,
        |i| i.iter_mut().for_each(|x| put(x, tags::IMAGES_IN_ACQUISITION, VR::IS, "99")),
        "C-07",
        REJECT,
    ),
    ("a missing view", Phantom::Chest, |i| drop(i.remove(0)), "VIEW_MISSING", HELD),
    ("the wrong side, which is this phantom's own fault", Phantom::SideConflict, |_| {}, "LATERALITY_CONFLICT", HELD),
    (
        "two sides in one series",
        Phantom::SideConflict,
        |i| {
            let series = i[0].data_set.text(tags::SERIES_INSTANCE_UID).unwrap();
            for (image, side) in i.iter_mut().zip(["L", "R"]) {
                image.data_set.remove(tags::IMAGE_LATERALITY);
                put(image, tags::SERIES_INSTANCE_UID, VR::UI, &series);
                put(image, tags::LATERALITY, VR::CS, side);
                put(image, tags::STUDY_DESCRIPTION, VR::LO, "KNEE AP LAT");
            }
        },
        "SERIES_MIXED",
        HELD,
    ),
    (
        "half of a series of another region",
        Phantom::CtHead,
        |i| i.iter_mut().skip(15).for_each(|x| put(x, tags::BODY_PART_EXAMINED, VR::CS, "ORBIT")),
        "SERIES_MIXED",
        HELD,
    ),
    (
        "what only the last image says of the study",
        Phantom::Chest,
        |i| put(&mut i[1], tags::STUDY_DESCRIPTION, VR::LO, "胸部站立正侧位 外院片"),
        "REVIEW_CONFLICT",
        HELD,
    ),
    (
        "a picture in colour",
        Phantom::Chest,
        |i| {
            for (tag, value) in [(tags::SAMPLES_PER_PIXEL, 3), (tags::PLANAR_CONFIGURATION, 0), (tags::BITS_ALLOCATED, 8)] {
                i[0].data_set.put_u16(tag, value);
            }
            i[0].data_set.put_u16(tags::BITS_STORED, 8);
            i[0].data_set.put_u16(tags::HIGH_BIT, 7);
            put(&mut i[0], tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
            i[0].pixels = Box::new(|| vec![0; 2500 * 3000 * 3 / 2]);
        },
        "X-15",
        HELD,
    ),
    (
        "phases of different ranges, the plain one with the agent NONE",
        Phantom::CtChest,
        |i| {
            let plain = |x: &Image| x.data_set.text(tags::CONTRAST_BOLUS_AGENT).is_none();
            i.retain(|x| if plain(x) { number(x) <= 46 } else { number(x) > 16 });
            i.iter_mut().filter(|x| plain(x)).for_each(|x| put(x, tags::CONTRAST_BOLUS_AGENT, VR::LO, "NONE"));
        },
        "C-13",
        HELD,
    ),
    (
        "an echo with slices missing beside a whole one",
        Phantom::MrLumbar,
        |i| {
            let whole = phantom_study(Phantom::MrLumbar)
                .images
                .into_iter()
                .filter(|x| x.data_set.text(tags::SERIES_NUMBER).as_deref() == Some("2"));
            for (n, mut image) in whole.enumerate().filter(|(n, _)| !(5..8).contains(n)) {
                put(&mut image, tags::ECHO_TIME, VR::DS, "44");
                put(&mut image, tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.{n}"));
                i.push(image);
            }
        },
        "C-02",
        REJECT,
    ),
    (
        "contrast without plain",
        Phantom::CtChest,
        |i| {
            i.retain(|x| x.data_set.text(tags::CONTRAST_BOLUS_AGENT).is_some());
        },
        "CONTRAST_ONLY",
        HELD,
    ),
    ("a blank frame", Phantom::CtHead, |i| i[9].pixels = Box::new(|| vec![0; 512 * 512]), "C-18", REJECT),
    (
        "the pixels of two slices exchanged",
        Phantom::CtHead,
        |i| {
            let (a, b) = ((i[3].pixels)(), (i[22].pixels)());
            i[3].pixels = Box::new(move || b.clone());
            i[22].pixels = Box::new(move || a.clone());
        },
        "C-16",
        &["review"],
    ),
    (
        "the pixels of another slice",
        Phantom::CtHead,
        |i| {
            let other = (i[7].pixels)();
            i[8].pixels = Box::new(move || other.clone());
        },
        "G-06",
        MARKED,
    ),
    ("nine tenths of a frame zeroed", Phantom::CtHead, |i| zero(&mut i[12]), "C-18", REJECT),
    ("nine tenths of an MR frame zeroed", Phantom::MrLumbar, |i| zero(&mut i[20]), "C-18", REJECT),
    ("nine tenths of a radiograph zeroed", Phantom::Chest, |i| zero(&mut i[0]), "X-06", REJECT),
    (
        "a radiograph for processing",
        Phantom::Chest,
        |i| put(&mut i[0], tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PROCESSING"),
        "X-14",
        REJECT,
    ),
    ("a radiograph of one grey", Phantom::Chest, |i| i[0].pixels = Box::new(|| vec![900; 2500 * 3000]), "X-06", REJECT),
    (
        "a clipped radiograph",
        Phantom::Chest,
        |i| {
            let pixels = std::mem::replace(&mut i[0].pixels, Box::new(Vec::new));
            i[0].pixels = Box::new(move || pixels().into_iter().map(|v| if v > 1500 { 4095 } else { v }).collect());
        },
        "X-07",
        REJECT,
    ),
    (
        "one MR series missing",
        Phantom::MrLumbar,
        |i| {
            let series = i[0].data_set.text(tags::SERIES_INSTANCE_UID);
            i.retain(|x| x.data_set.text(tags::SERIES_INSTANCE_UID) != series);
        },
        "SERIES_INCOMPLETE",
        HELD,
    ),
];

#[test]
fn good_studies_have_no_finding_that_holds_them() {
    for which in [Phantom::Chest, Phantom::CtHead, Phantom::CtChest, Phantom::MrLumbar] {
        let files: Vec<Vec<u8>> = phantom_study(which).images.iter().map(Image::file).collect();
        let json = check_files(&files);
        assert_eq!(said(&json, &["review", "reject"]), (vec![], "accept".to_string()), "{which:?}");
        assert_eq!(json["refused_files"], serde_json::json!([]));
    }
}

#[test]
fn every_fault_is_named_by_its_check() {
    let mut missed = Vec::new();
    for (what, which, spoil, expected, outcomes) in FAULTS {
        let mut images = phantom_study(*which).images;
        spoil(&mut images);
        let files: Vec<Vec<u8>> = images.iter().map(Image::file).collect();
        let (checks, outcome) = said(&check_files(&files), &["warn", "review", "reject"]);
        if !checks.iter().any(|c| c == expected) || !outcomes.contains(&outcome.as_str()) {
            missed.push(format!("{what}: {expected} not among {checks:?}, {outcome}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn faults_of_files_are_laid_at_their_study() {
    let images = phantom_study(Phantom::CtHead).images;
    let files: Vec<Vec<u8>> = images.iter().map(Image::file).collect();
    // The same identifier with other pixels; the same file twice; a file that ends early.
    let mut other = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    other[3].pixels = Box::new(|| vec![7; 512 * 512]);
    let mut same_name: Vec<Vec<u8>> = files.clone();
    same_name.push(other[3].file());
    let twice: Vec<Vec<u8>> = files.iter().chain(&files[..1]).cloned().collect();
    let mut short = files.clone();
    let cut = short[12].len() - 100_001;
    short[12].truncate(cut);
    for (what, files, expected, level, outcome) in [
        ("conflict", same_name, "G-05", "reject", "reject"),
        ("twice", twice, "G-04", "info", "accept"),
        ("short", short, "G-02", "reject", "reject"),
    ] {
        let json = check_files(&files);
        let (checks, got) = said(&json, &[level]);
        assert!(checks.iter().any(|c| c == expected) && got == outcome, "{what}: {checks:?} {got}");
    }
}

/// Another instance of an image.
fn beside(image: &Image, name: &str) -> Image {
    let mut other = phantom_study(Phantom::Chest).images.remove(0);
    other.data_set = image.data_set.clone();
    put(&mut other, tags::SOP_INSTANCE_UID, VR::UI, Uid::derived(&["beside", name]).as_str());
    other
}

#[test]
fn what_stands_beside_the_images_that_count_spoils_nothing() {
    let found = |json: &serde_json::Value, code: &str| json.to_string().contains(code);
    // The raw image of a view that is there for presentation too.
    let mut chest = phantom_study(Phantom::Chest).images;
    chest.iter_mut().for_each(|i| put(i, tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION"));
    let mut raw = beside(&chest[0], "raw");
    put(&mut raw, tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PROCESSING");
    chest.push(raw);
    let json = check_files(&chest.iter().map(Image::file).collect::<Vec<_>>());
    assert_eq!(said(&json, &["warn", "review", "reject"]), (vec![], "accept".into()));
    assert!(found(&json, "RAW_ASIDE"));
    // A localizer in the series of slices.
    let mut head = phantom_study(Phantom::CtHead).images;
    let mut plan = phantom_study(Phantom::CtHead).images.remove(0);
    put(&mut plan, tags::SOP_INSTANCE_UID, VR::UI, Uid::derived(&["beside", "plan"]).as_str());
    put(&mut plan, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
    head.push(plan);
    let json = check_files(&head.iter().map(Image::file).collect::<Vec<_>>());
    assert_eq!(said(&json, &["warn", "review", "reject"]), (vec![], "accept".into()));
    assert!(found(&json, "LOCALIZERS_ASIDE"));
}

/// The image as eight-bit JPEG baseline in a file; `stated` says that it is irreversibly compressed, and how much.
fn lossy(image: &Image, stated: Option<&str>, quality: u8) -> Vec<u8> {
    let samples: Vec<u8> = (image.pixels)().into_iter().map(|v| u8::try_from(v >> 4).unwrap_or(u8::MAX)).collect();
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality);
    encoder.encode(&samples, 512, 512, image::ExtendedColorType::L8).unwrap();
    if jpeg.len() % 2 == 1 {
        jpeg.push(0);
    }
    let mut ds = image.data_set.clone();
    for (tag, value) in [(tags::BITS_ALLOCATED, 8), (tags::BITS_STORED, 8), (tags::HIGH_BIT, 7)] {
        ds.put_u16(tag, value);
    }
    ds.put_text(tags::RESCALE_SLOPE, VR::DS, "16");
    if let Some(ratio) = stated {
        ds.put_text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        ds.put_text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, ratio);
    }
    let meta = Meta {
        sop_class: ds.text(tags::SOP_CLASS_UID).unwrap(),
        sop_instance: Uid::parse(&image.sop_instance()).unwrap(),
        transfer_syntax: "1.2.840.10008.1.2.4.50".into(),
        sending_aet: "PHANTOM".into(),
        receiving_aet: String::new(),
    };
    let mut file = meta.to_plain_bytes();
    ds.write_explicit(&mut file);
    let item = |length: usize| [&[0xFE, 0xFF, 0x00, 0xE0][..], &u32::try_from(length).unwrap().to_le_bytes()].concat();
    file.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    file.extend(item(0));
    file.extend(item(jpeg.len()));
    file.extend(jpeg);
    file.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    file
}

#[test]
fn irreversible_compression_that_hides_is_rejected_and_a_stated_one_is_weighed() {
    let images = phantom_study(Phantom::CtHead).images;
    let judged = |stated: Option<&str>, quality: u8| {
        let files: Vec<Vec<u8>> = images.iter().map(|i| lossy(i, stated, quality)).collect();
        let json = check_files(&files);
        let levels = |level: &str| said(&json, &[level]).0.iter().filter(|c| *c == "G-16").count();
        (levels("warn"), levels("reject"), said(&json, &[]).1)
    };
    let outcome = |(_, _, outcome): &(usize, usize, String)| outcome.clone();
    let hidden = judged(None, 30);
    assert!(hidden.1 > 0 && outcome(&hidden) == "reject", "{hidden:?}");
    let mild = judged(Some("6"), 100);
    assert!(mild.1 == 0 && outcome(&mild) == "accept", "{mild:?}");
    let strong = judged(Some("12"), 100);
    assert!(strong.0 > 0 && strong.1 == 0 && outcome(&strong) == "accept", "{strong:?}");
    let gross = judged(Some("45"), 97);
    assert!(gross.1 > 0 && outcome(&gross) == "reject", "{gross:?}");
    // The bytes say another thing than the header.
    let files: Vec<Vec<u8>> = images.iter().map(|i| lossy(i, Some("4"), 1)).collect();
    let (checks, outcome) = said(&check_files(&files), &["review"]);
    assert!(checks.iter().any(|c| c == "G-16") && outcome != "accept", "{checks:?} {outcome}");
}

/// One image of many tiny frames must not cost more than an image: the same fault of its frames is one finding.
#[test]
fn a_hundred_thousand_frames_are_one_finding() {
    let mut images = phantom_study(Phantom::CtHead).images;
    let mut many = phantom_study(Phantom::CtHead).images.remove(0);
    many.data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4");
    many.data_set.put_text(tags::NUMBER_OF_FRAMES, VR::IS, "100000");
    many.data_set.put_u16(tags::ROWS, 1);
    many.data_set.put_u16(tags::COLUMNS, 1);
    many.pixels = Box::new(|| vec![0; 100_000]);
    images.push(many);
    let json = check_files(&images.iter().map(Image::file).collect::<Vec<_>>());
    let findings = json["studies"][0]["findings"].as_array().unwrap();
    assert!(findings.len() < 20, "{} findings", findings.len());
    assert_eq!(json["studies"][0]["outcome"], "reject");
}
