//! What another hospital must never see.

use crate::support::Node;
use hutong::dicom::Uid;
use hutong::dicom::{VR, tags};
use hutong::dimse::storescu::Answer;
use hutong::mark::Form;
use hutong::mark::derive::{Source, instance_uid, series_uid};
use hutong::phantom;
use hutong::procedure::catalogue::{Corner, Look, Mark, MarkStyle};
use sha2::{Digest, Sha256};

fn mark() -> Mark {
    Mark {
        range: "渝北".into(),
        sign: "HR".into(),
        separator: " ".into(),
        style: MarkStyle::BurnText,
        corner: Corner::TopRight,
        look: Look::default(),
    }
}

#[test]
fn an_original_that_claims_a_marked_series_is_judged_and_never_shown() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images);
    assert_eq!(node.judged(&study)["marked"], 30);
    // The UID of the marked series can be worked out by anybody.
    let series = Uid::parse(&images[0].data_set.text(tags::SERIES_INSTANCE_UID).unwrap()).unwrap();
    let mut intruder = phantom::ct_head(1, None, "头颅CT平扫", "HEAD").remove(0);
    intruder.data_set.put_text(tags::SERIES_INSTANCE_UID, VR::UI, series_uid(&series, &mark(), Form::Burnt).as_str());
    intruder.data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4.5.6");
    assert_eq!(node.send([&intruder]), [Answer::Stored]);
    node.judged(&study);
    let shown = node.json(&format!("/exchange/dicom-web/studies/{study}/instances")).to_string();
    assert!(!shown.contains("1.2.3.4.5.6"), "an unmarked original shows on the exchange");
    let path = format!(
        "/exchange/dicom-web/studies/{study}/series/{}/instances/1.2.3.4.5.6",
        series_uid(&series, &mark(), Form::Burnt)
    );
    assert_eq!(node.get(&path, "application/dicom").status(), 404);
}

#[test]
fn the_exchange_is_told_the_modalities_of_what_it_is_shown_only() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "2s")]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    // A radiograph that is no item of the study.
    let mut other = phantom::ct_head(1, None, "头颅CT平扫", "SCOUT").remove(0);
    for (tag, vr, value) in [
        (tags::MODALITY, VR::CS, "DX"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.9"),
        (tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.9.1"),
    ] {
        other.data_set.put_text(tag, vr, value);
    }
    assert_eq!(node.send([&other]), [Answer::Stored]);
    node.send(&images);
    assert_eq!(node.judged(&study)["marked"], 30);
    let modalities = |root: &str| {
        let found = node.json(&format!("{root}/studies?StudyInstanceUID={study}&includefield=ModalitiesInStudy"));
        found[0]["00080061"]["Value"].clone()
    };
    assert_eq!(modalities("/exchange/dicom-web"), serde_json::json!(["CT"]));
    assert_eq!(modalities("/dicom-web").as_array().map(Vec::len), Some(2));
    let by = |modality: &str| {
        let path = format!("/exchange/dicom-web/studies?StudyInstanceUID={study}&ModalitiesInStudy={modality}");
        node.get(&path, "application/dicom+json").status().as_u16()
    };
    assert_eq!((by("CT"), by("DX")), (200, 204));
}

#[test]
fn an_object_stored_under_the_uid_of_a_copy_is_not_taken_for_the_copy() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "2s")]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    let uid = Uid::parse(&images[3].sop_instance()).unwrap();
    let series = Uid::parse(&images[3].data_set.text(tags::SERIES_INSTANCE_UID).unwrap()).unwrap();
    let sha256: String = Sha256::digest(images[3].data_set_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let source = Source { sop_class: "", sop_instance: &uid, named: true, series: &series, sha256: &sha256, lost: None };
    let mut fake = phantom::ct_head(1, None, "眼眶CT平扫", "HEAD").remove(0);
    fake.data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, instance_uid(&source, &mark(), Form::Burnt).as_str());
    assert_eq!(node.send([&fake]), [Answer::Stored]);
    node.send(&images);
    let got = node.judged(&study);
    assert_eq!(got["verdict"]["outcome"], "review", "{got}");
    assert!(got["verdict"].to_string().contains("MARK_FAILED"));
    assert_eq!(node.get(&format!("/exchange/dicom-web/studies/{study}"), "*/*").status(), 404);
}

#[test]
fn images_from_two_hospitals_in_one_study_wait_for_a_person() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images[..20]);
    let mut other = node.requested();
    other.calling = "ELSEWHERE".into();
    let (answers, ended) = crate::support::send_all(&other, images[20..].iter().map(crate::support::outgoing).collect());
    assert!(ended.is_ok() && answers.iter().all(|a| *a == Answer::Stored), "{answers:?}");
    let got = node.judged(&study);
    assert_eq!((&got["verdict"]["outcome"], &got["marked"]), (&"review".into(), &0.into()), "{got}");
}
