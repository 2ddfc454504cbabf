//! Rulings: a person overrules a rejection and settles a review, with a name and a reason, for the images that were seen.

use crate::support::{Node, phantom_study, run};
use hutong::dicom::{VR, tags};
use hutong::phantom::{Phantom, Study};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

/// Waits until the verdict has an outcome and the study is at rest.
fn comes_to(node: &Node, study: &str, outcome: &str) -> Json {
    let begun = Instant::now();
    loop {
        let got = node.judged(study);
        if got["verdict"]["outcome"] == outcome {
            return got;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{outcome} is not reached: {got}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn shown(node: &Node, study: &str) -> usize {
    node.json(&format!("/exchange/dicom-web/studies?StudyInstanceUID={study}")).as_array().unwrap().len()
}

fn path(study: &Study) -> String {
    format!("/api/v1/studies/{}/rulings", study.uid)
}

#[test]
fn a_rejection_is_overruled_and_the_ruling_outlives_the_index_but_not_a_late_image() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::MissingSlice);
    let uid = study.uid.as_str();
    node.send(&study.images);
    let before = node.judged(uid);
    assert_eq!(before["verdict"]["outcome"], "reject");
    let ruling = json!({"item": 34, "outcome": "accept", "by": "李主任", "reason": "缺层位于颅顶外，不影响诊断",
        "contents": before["verdict"]["contents"]});
    let (status, answer) = node.post(&path(&study), &ruling);
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["ruling"]["overruled"], json!(["C-02", "C-06"]));
    let after = comes_to(&node, uid, "accept");
    assert_eq!(after["verdict"]["rulings"][0]["by"], "李主任");
    assert!(after["verdict"]["items"][0]["grounds"].to_string().contains("不影响诊断"));
    assert_eq!(shown(&node, uid), 1);
    assert!(node.get("/metrics", "*/*").text().unwrap().contains("hutong_rulings_total{outcome=\"accept\"} 1"));

    // The index is made again from the files; the journal still knows.
    node.kill();
    std::fs::remove_dir_all(place.path().join("storage/index")).unwrap();
    let node = Node::start(place.path(), &[]);
    comes_to(&node, uid, "accept");
    assert_eq!(shown(&node, uid), 1);
    let journal = std::fs::read_to_string(place.path().join("storage/journal.jsonl")).unwrap();
    assert_eq!(journal.matches("\"event\":\"ruled\"").count(), 1);

    // Taken back: the last ruling stands.
    let back = json!({"item": 34, "outcome": "reject", "by": "王技师", "reason": "复看后缺层累及脑实质"});
    assert_eq!(node.post(&path(&study), &back).0, 202);
    comes_to(&node, uid, "reject");
    assert_eq!(shown(&node, uid), 0);
    assert_eq!(node.post(&path(&study), &ruling).0, 202);
    comes_to(&node, uid, "accept");

    // Nobody has ruled about the study with one image more.
    let mut late = phantom_study(Phantom::MissingSlice).images.remove(0);
    late.data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4.5.6");
    node.send([&late]);
    let voided = comes_to(&node, uid, "reject");
    assert_eq!(voided["verdict"]["rulings"], json!([]));
    let (status, answer) = node.post(&path(&study), &ruling);
    assert_eq!(status, 409, "a ruling on what was seen before: {answer}");
    let (ok, said) = {
        assert!(node.terminate());
        run(&["verify"], &place.path().join("storage"))
    };
    assert!(ok, "{said}");
}

#[test]
fn a_review_is_settled_either_way() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::SideConflict);
    let uid = study.uid.as_str();
    node.send(&study.images);
    assert_eq!(node.judged(uid)["state"], "review");
    let none = json!({"item": null, "outcome": "reject", "by": "李主任", "reason": "左右无法核实"});
    assert_eq!(node.post(&path(&study), &none).0, 202);
    comes_to(&node, uid, "reject");
    let series: Vec<String> = study.images.iter().map(|i| i.data_set.text(tags::SERIES_INSTANCE_UID).unwrap()).collect();
    let right = json!({"item": 14, "outcome": "accept", "by": "李主任", "reason": "电话核实为右膝", "series": series});
    let (status, answer) = node.post(&path(&study), &right);
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["ruling"]["overruled"], json!(["LATERALITY_CONFLICT"]));
    let got = comes_to(&node, uid, "accept");
    assert_eq!(got["verdict"]["items"][0]["number"], 14);
    assert_eq!(shown(&node, uid), 1);
}

#[test]
fn that_a_study_holds_no_item_takes_its_marks_away() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::CtHead);
    let uid = study.uid.as_str();
    node.send(&study.images);
    comes_to(&node, uid, "accept");
    assert_eq!(shown(&node, uid), 1);
    let none = json!({"item": null, "outcome": "reject", "by": "李主任", "reason": "申请单开错"});
    let (status, answer) = node.post(&path(&study), &none);
    assert_eq!((status, &answer["ruling"]["overruled"]), (202, &json!(["ITEM 34"])));
    comes_to(&node, uid, "reject");
    assert_eq!(shown(&node, uid), 0);
    // What is ruled later stands.
    let again = json!({"item": 34, "outcome": "accept", "by": "李主任", "reason": "核对无误"});
    assert_eq!(node.post(&path(&study), &again).0, 202);
    comes_to(&node, uid, "accept");
    assert_eq!(node.post(&path(&study), &none).0, 202);
    comes_to(&node, uid, "reject");
}

#[test]
fn what_no_ruling_can_be_is_refused_and_says_why() {
    let place = tempfile::tempdir().unwrap();
    // A hospital that nobody knows.
    let empty = place.path().join("nobody.toml");
    std::fs::write(&empty, "").unwrap();
    let node = Node::start(place.path(), &[("HUTONG_EXCHANGE__REGISTER", empty.to_str().unwrap())]);
    let study = phantom_study(Phantom::CtHead);
    node.send(&study.images);
    node.judged(study.uid.as_str());
    let good = json!({"item": 34, "outcome": "accept", "by": "李主任", "reason": "已看"});
    let with = |key: &str, value: Json| {
        let mut other = good.clone();
        other[key] = value;
        other
    };
    let cases = [
        (with("by", json!("  ")), 422, "by"),
        (with("reason", json!("")), 422, "reason"),
        (with("reason", json!("长".repeat(1001))), 422, "reason"),
        (with("outcome", json!("review")), 422, "outcome"),
        (with("outcome", json!("maybe")), 422, "outcome"),
        (with("item", json!(null)), 422, "item"),
        (with("item", json!(999)), 422, "999"),
        (json!({"item": 36, "outcome": "reject", "by": "a", "reason": "b"}), 422, "series"),
        (json!({"item": 36, "outcome": "accept", "by": "a", "reason": "b", "series": ["1.2.3"]}), 409, "HOSPITAL_UNKNOWN"),
        (json!({"item": 36, "outcome": "reject", "by": "a", "reason": "b", "series": ["1.2.3"]}), 422, "1.2.3"),
        (json!({"item": 36, "outcome": "accept", "by": "a", "reason": "b", "series": ["../x"]}), 400, "series"),
        (with("colour", json!("red")), 422, "colour"),
        (with("contents", json!("other")), 409, "images"),
        (good.clone(), 409, "HOSPITAL_UNKNOWN"),
    ];
    for (body, expected, says) in cases {
        let (status, answer) = node.post(&path(&study), &body);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(status == expected && detail.contains(says), "{body}: {status} {answer}");
    }
    assert_eq!(node.post("/api/v1/studies/1.2.3/rulings", &good).0, 404);
    assert_eq!(node.judged(study.uid.as_str())["verdict"]["rulings"], json!([]));
    let journal = std::fs::read_to_string(place.path().join("storage/journal.jsonl")).unwrap();
    assert!(!journal.contains("ruled"));
}
