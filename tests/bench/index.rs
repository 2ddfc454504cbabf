//! Searches in an index of ten thousand, a hundred thousand and a million studies: their cost must grow with the answer, not with the archive.
//!
//! `cargo bench --bench index -- 1000000` (default 100,000)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use hutong::dicom::stamp::Kind;
use hutong::dicom::{Attributes, Uid, VR, levels, tags};
use hutong::index::{Index, InstanceRow, Key, Matching, Query, SledIndex, View};
use std::time::Instant;

const SURNAMES: &[(&str, &str)] =
    &[("Wang", "王"), ("Li", "李"), ("Zhang", "张"), ("Liu", "刘"), ("Chen", "陈"), ("Yang", "杨"), ("Shan", "单")];

fn study(number: u64) -> (InstanceRow, Attributes) {
    let (latin, han) = SURNAMES[(number % 7) as usize];
    let given = char::from_u32(0x4E00 + (number % 5000) as u32).unwrap();
    let day = number % 28 + 1;
    let month = number / 28 % 12 + 1;
    let year = 2015 + number / 336 % 12;
    let mut all = Attributes::default();
    for (tag, vr, value) in [
        (tags::STUDY_INSTANCE_UID, VR::UI, format!("1.2.{number}")),
        (tags::PATIENT_ID, VR::LO, format!("P{number:08}")),
        (tags::ACCESSION_NUMBER, VR::SH, format!("A{number:08}")),
        (tags::PATIENT_NAME, VR::PN, format!("{latin}^G{}={han}^{given}", number % 5000)),
        (tags::STUDY_DATE, VR::DA, format!("{year}{month:02}{day:02}")),
        (tags::STUDY_TIME, VR::TM, format!("{:06}", number % 86_400)),
        (tags::STUDY_DESCRIPTION, VR::LO, "头颅CT平扫".into()),
        (tags::MODALITY, VR::CS, if number.is_multiple_of(3) { "CT" } else { "DX" }.into()),
    ] {
        all.set(tag, vr, vec![value]);
    }
    let uid = |text: String| Uid::parse(&text).unwrap();
    let row = InstanceRow {
        study: uid(format!("1.2.{number}")),
        series: uid(format!("1.2.{number}.1")),
        sop_instance: uid(format!("1.2.{number}.1.1")),
        sop_class: "1.2.840.10008.5.1.4.1.1.2".into(),
        transfer_syntax: "1.2.840.10008.1.2.1".into(),
        sha256: "0".repeat(64),
        length: 10,
        received_ms: 0,
        sender: "CT1".into(),
        kind: Kind::Original,
        pixels_at: Some(1),
        attributes: all.only(|t| levels::level_of(t) == Some(levels::Level::Instance)),
    };
    (row, all)
}

fn main() {
    let most: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(100_000);
    let place = tempfile::tempdir().unwrap();
    let index = SledIndex::open(&place.path().join("index")).unwrap().index;
    let mut filled = 0;
    for size in [10_000, 100_000, 1_000_000].into_iter().filter(|s| *s <= most) {
        let begun = Instant::now();
        while filled < size {
            let (rows, names): (Vec<_>, Vec<_>) = (filled..filled + 500).map(study).unzip();
            index.commit(&rows, &names, i64::MAX).unwrap();
            filled += 500;
        }
        println!("{size} studies, filled in {:.0} s", begun.elapsed().as_secs_f64());
        let some = size / 2;
        let query = |keys: &[(hutong::dicom::Tag, String)]| Query {
            keys: keys.iter().map(|(t, p)| Key::of(*t, p.as_str())).collect(),
            limit: 100,
            ..Query::all(View::House)
        };
        let fuzzy = |name: &str| Query {
            matching: Matching { fuzzy: true, ..Matching::default() },
            ..query(&[(tags::PATIENT_NAME, name.into())])
        };
        let (_, known) = study(some);
        let text = |tag| known.text(tag).unwrap().to_string();
        for (name, query) in [
            ("patient", query(&[(tags::PATIENT_ID, text(tags::PATIENT_ID))])),
            ("accession", query(&[(tags::ACCESSION_NUMBER, text(tags::ACCESSION_NUMBER))])),
            ("newest 100", query(&[])),
            ("day, CT", query(&[(tags::STUDY_DATE, text(tags::STUDY_DATE)), (tags::MODALITIES_IN_STUDY, "CT".into())])),
            ("whole name", query(&[(tags::PATIENT_NAME, text(tags::PATIENT_NAME))])),
            ("fuzzy name", fuzzy(&format!("wang g{}", some % 5000))),
            ("name by its end", query(&[(tags::PATIENT_NAME, format!("*G{}", some % 5000))])),
        ] {
            let mut times: Vec<f64> = (0..9)
                .map(|_| {
                    let begun = Instant::now();
                    std::hint::black_box(index.studies(&query).unwrap());
                    begun.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("  {name:16} {:8.2} ms, {} found", times[4], index.studies(&query).unwrap().rows.len());
        }
    }
}
