//! The life of a study over real time: quiet period, late images, restarts.

use crate::support::Node;
use hutong::phantom;
use serde_json::Value as Json;

fn count(node: &Node, path: &str) -> usize {
    node.json(path).as_array().unwrap().len()
}

#[test]
fn a_late_image_reopens_the_study_and_takes_the_mark_off_until_it_is_judged_again() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    let exchange = format!("/exchange/dicom-web/studies/{study}/instances");
    node.send(&images[..29]);
    let first = node.judged(&study);
    assert_eq!(first["verdict"]["outcome"], "accept");
    assert_eq!(count(&node, &exchange), 29);
    node.send(&images[29..]);
    assert_eq!(count(&node, &exchange), 0, "a study that is receiving shows on the exchange");
    let second = node.judged(&study);
    assert!(second["revision"].as_u64() > first["revision"].as_u64());
    assert_eq!(count(&node, &exchange), 30);
}

#[test]
fn a_slice_that_was_missing_turns_a_reject_into_an_accept() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    node.send(images.iter().enumerate().filter(|(n, _)| *n != 12).map(|(_, i)| i));
    let first = node.judged(&study);
    assert_eq!(first["verdict"]["outcome"], "reject");
    assert!(first["verdict"].to_string().contains("C-02"));
    assert_eq!(first["marked"], 0);
    node.send([&images[12]]);
    let second = node.judged(&study);
    assert_eq!((&second["verdict"]["outcome"], &second["marked"]), (&Json::from("accept"), &Json::from(30)));
}

#[test]
fn an_mr_study_with_one_slice_of_each_series_is_not_marked() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom::all().into_iter().find(|s| s.phantom == phantom::Phantom::MrLumbar).unwrap();
    let number = |i: &&phantom::Image| i.data_set.text(hutong::dicom::tags::INSTANCE_NUMBER).as_deref() == Some("7");
    node.send(study.images.iter().filter(number));
    let got = node.judged(study.uid.as_str());
    assert_eq!((&got["verdict"]["outcome"], &got["marked"]), (&Json::from("reject"), &Json::from(0)), "{got}");
    assert!(got["verdict"].to_string().contains("M-04"));
}

#[test]
fn a_deadline_survives_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "3s")]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images);
    assert_eq!(node.json(&format!("/api/v1/studies/{study}"))["state"], "receiving");
    node.kill();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "3s")]);
    assert_eq!(node.judged(&study)["verdict"]["outcome"], "accept");
}

#[test]
fn an_api_call_ends_the_quiet_period_at_once() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images);
    let client = reqwest::blocking::Client::new();
    assert_eq!(client.post(format!("{}/api/v1/studies/{study}/complete", node.http)).send().unwrap().status(), 202);
    assert_eq!(node.judged(&study)["verdict"]["outcome"], "accept");
}

#[test]
fn a_hospital_that_is_not_in_the_register_gets_no_mark() {
    let place = tempfile::tempdir().unwrap();
    let empty = place.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let node = Node::start(place.path(), &[("HUTONG_EXCHANGE__REGISTER", empty.to_str().unwrap())]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images);
    let got = node.judged(&study);
    assert_eq!((&got["verdict"]["outcome"], &got["marked"]), (&Json::from("review"), &Json::from(0)));
    assert!(got["verdict"].to_string().contains("HOSPITAL_UNKNOWN"));
}
