//! The suite that every index backend passes.

use hutong::dicom::stamp::Kind;
use hutong::dicom::{Attributes, Uid, VR, levels, tags};
use hutong::index::{Index, InstanceRow, Job, JobKind, Key, Query, SledIndex, State, Transition, View};

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn instance(study: u32, series: u32, number: u32, patient: &str, date: &str) -> (InstanceRow, Attributes) {
    let mut all = Attributes::default();
    for (tag, value) in [
        (tags::STUDY_INSTANCE_UID, format!("1.{study}")),
        (tags::PATIENT_ID, patient.to_string()),
        (tags::PATIENT_NAME, format!("Name^{patient}=王^{patient}")),
        (tags::STUDY_DATE, date.to_string()),
        (tags::MODALITY, "CT".to_string()),
        (tags::SERIES_NUMBER, series.to_string()),
        (tags::INSTANCE_NUMBER, number.to_string()),
    ] {
        all.set(tag, VR::LO, vec![value]);
    }
    let row = InstanceRow {
        study: uid(&format!("1.{study}")),
        series: uid(&format!("1.{study}.{series}")),
        sop_instance: uid(&format!("1.{study}.{series}.{number}")),
        sop_class: "1.2.840.10008.5.1.4.1.1.2".into(),
        transfer_syntax: "1.2.840.10008.1.2.1".into(),
        sha256: "0".repeat(64),
        length: 10,
        received_ms: i64::from(number),
        sender: "CT1".into(),
        kind: Kind::Original,
        pixels_at: Some(1),
        attributes: all.only(|t| levels::level_of(t) == Some(levels::Level::Instance)),
    };
    (row, all)
}

fn query(keys: &[(hutong::dicom::Tag, &str)]) -> Query {
    let keys = keys.iter().map(|(t, v)| Key::of(*t, *v)).collect();
    Query { keys, limit: 100, ..Query::all(View::House) }
}

fn suite(index: &dyn Index) {
    for (study, patient, date) in [(1, "A1", "20260101"), (2, "A2", "20260301"), (3, "B1", "2026.02.01")] {
        let rows: Vec<_> = (1..=3).map(|n| instance(study, 1, n, patient, date)).collect();
        let (rows, names): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        index.commit(&rows, &names, 1000).unwrap();
    }
    let found = |q: &Query| index.studies(q).unwrap().rows.iter().map(|s| s.study.to_string()).collect::<Vec<_>>();
    // Newest first; by identifier, prefix, name group, range.
    assert_eq!(found(&query(&[])), ["1.2", "1.3", "1.1"]);
    assert_eq!(found(&query(&[(tags::PATIENT_ID, "A*")])), ["1.2", "1.1"]);
    assert_eq!(found(&query(&[(tags::PATIENT_NAME, "王*B1")])), ["1.3"]);
    assert_eq!(found(&query(&[(tags::STUDY_DATE, "20260115-20260215")])), ["1.3"]);
    assert_eq!(found(&query(&[(tags::STUDY_DATE, "-20260201")])), ["1.3", "1.1"]);
    // The form of old objects, in what is stored and in what is asked.
    assert_eq!(found(&query(&[(tags::STUDY_DATE, "20260201")])), ["1.3"]);
    assert_eq!(found(&query(&[(tags::STUDY_DATE, "2026.02.01")])), ["1.3"]);
    assert_eq!(found(&query(&[(tags::STUDY_DATE, "2026.03.01-2026.03.31")])), ["1.2"]);
    assert_eq!(found(&query(&[(tags::STUDY_INSTANCE_UID, "1.1,1.2")])).len(), 2);
    assert_eq!(found(&query(&[(tags::MODALITY, "MR")])), Vec::<String>::new());
    // Pages lose and repeat nothing.
    let page = |offset| index.studies(&Query { offset, limit: 1, ..query(&[]) }).unwrap();
    let pages: Vec<_> = (0..3).flat_map(|n| page(n).rows).map(|s| s.study.to_string()).collect();
    assert_eq!(pages, ["1.2", "1.3", "1.1"]);
    assert_eq!((page(0).more, page(1).more, page(2).more), (2, 1, 0));
    // The same order and the same counts whether rows are looked at or not.
    for keys in [&[][..], &[(tags::STUDY_DATE, "20260101-20260228")]] {
        for offset in 0..4 {
            let quick = index.studies(&Query { offset, limit: 1, ..query(keys) }).unwrap();
            let looked = [keys, &[(tags::PATIENT_SEX, "*"), (tags::PATIENT_ID, "?*")]].concat();
            let slow = index.studies(&Query { offset, limit: 1, ..query(&looked) }).unwrap();
            assert_eq!((quick.rows, quick.more), (slow.rows, slow.more), "{keys:?} {offset}");
        }
    }
    // Names by their words and by pinyin; not without being asked.
    let fuzzy = |name: &str| Query {
        matching: hutong::index::Matching { fuzzy: true, ..Default::default() },
        ..query(&[(tags::PATIENT_NAME, name)])
    };
    assert_eq!(found(&fuzzy("wang b1")), ["1.3"]);
    assert_eq!(found(&fuzzy("b1 NAME")), ["1.3"]);
    assert_eq!(found(&query(&[(tags::PATIENT_NAME, "wang")])), Vec::<String>::new());
    let few = index.studies(&Query { examined: 2, ..query(&[(tags::PATIENT_SEX, "F")]) });
    assert!(matches!(few, Err(hutong::index::IndexError::TooBroad)));
    let numbers = index.instances(&Query { study: Some(uid("1.1")), ..query(&[]) }).unwrap().rows;
    assert_eq!(
        numbers.iter().map(|(_, _, i)| i.sop_instance.to_string()).collect::<Vec<_>>(),
        ["1.1.1.1", "1.1.1.2", "1.1.1.3"]
    );
    assert_eq!(index.counts().unwrap().originals, 9);
    // A job a study, moved by later instances, void for older revisions.
    let job = index.due(2000, 10).unwrap().into_iter().find(|j| j.study == uid("1.1")).unwrap();
    assert_eq!((job.kind, job.revision), (JobKind::Assess, 3));
    let (late, all) = instance(1, 1, 4, "A1", "20260101");
    index.commit(&[late], &[all], 9000).unwrap();
    assert!(index.due(2000, 10).unwrap().iter().all(|j| j.study != uid("1.1")));
    let transition = |revision| Transition {
        study: uid("1.1"),
        revision,
        state: State::Settled,
        verdict: None,
        recognised: None,
        done: None,
        next: None,
    };
    assert!(!index.transition(&transition(3)).unwrap());
    assert!(index.transition(&transition(4)).unwrap());
    assert_eq!(index.study(&uid("1.1")).unwrap().unwrap().state, State::Settled);
    let newer = index.due(i64::MAX, 10).unwrap().into_iter().find(|j| j.study == uid("1.1")).unwrap();
    index.reschedule(&job, None).unwrap();
    assert!(index.due(i64::MAX, 10).unwrap().contains(&newer), "an old job took a newer one away");
    index.reschedule(&newer, Some(Job { due_ms: 1, attempts: 1, ..newer.clone() })).unwrap();
    assert_eq!(index.due(2, 10).unwrap().len(), 1);
    // A study of two patients says so.
    let (mixed, all) = instance(1, 1, 5, "OTHER", "20260101");
    index.commit(&[mixed], &[all], 9000).unwrap();
    assert!(index.study(&uid("1.1")).unwrap().unwrap().said.differs("PatientID"));
    // Nothing shows to the exchange before it is recognised.
    assert_eq!(index.studies(&Query { view: View::Exchange, ..query(&[]) }).unwrap().rows.len(), 0);
}

#[test]
fn sled_passes_the_suite_and_keeps_it_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let opened = SledIndex::open(&path).unwrap();
    assert!(opened.must_rebuild);
    // Until somebody says that it holds every file, it is made again: a rebuild may have been interrupted.
    drop(opened);
    let opened = SledIndex::open(&path).unwrap();
    assert!(opened.must_rebuild);
    opened.index.mark_complete().unwrap();
    suite(&opened.index);
    let counts = opened.index.counts().unwrap();
    drop(opened);
    let again = SledIndex::open(&path).unwrap();
    assert!(!again.must_rebuild);
    assert_eq!(again.index.counts().unwrap(), counts);
}
