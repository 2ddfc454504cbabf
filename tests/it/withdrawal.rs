//! Withdrawal: what is overruled or not accredited any more answers 410 at once, is journalled, and comes back with a new verdict.

use crate::support::{Node, REGISTER, phantom_study};
use hutong::phantom::Phantom;
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

fn journal(place: &Path) -> String {
    std::fs::read_to_string(place.join("storage/journal.jsonl")).unwrap()
}

/// Waits until the study answers with a status on the exchange root.
fn answers(node: &Node, study: &str, status: u16) {
    let begun = Instant::now();
    let path = format!("/exchange/dicom-web/studies/{study}/metadata");
    loop {
        let got = node.get(&path, "application/dicom+json").status().as_u16();
        if got == status {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{got} instead of {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_rejecting_ruling_withdraws_the_copies_with_the_answer_itself() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::CtHead);
    let uid = study.uid.as_str();
    node.send(&study.images);
    assert_eq!(node.judged(uid)["verdict"]["outcome"], "accept");
    let listed = node.json(&format!("/exchange/dicom-web/studies/{uid}/instances"));
    let (series, instance) = (listed[0]["0020000E"]["Value"][0].clone(), listed[0]["00080018"]["Value"][0].clone());
    let paths = [
        format!("/exchange/dicom-web/studies/{uid}"),
        format!("/exchange/dicom-web/studies/{uid}/series/{}", series.as_str().unwrap()),
        format!(
            "/exchange/dicom-web/studies/{uid}/series/{}/instances/{}",
            series.as_str().unwrap(),
            instance.as_str().unwrap()
        ),
    ];
    paths.iter().for_each(|p| assert_eq!(node.get(p, "*/*").status(), 200, "{p}"));
    let ruling = json!({"item": 34, "outcome": "reject", "by": "王技师", "reason": "患者身份存疑"});
    assert_eq!(node.post(&format!("/api/v1/studies/{uid}/rulings"), &ruling).0, 202);
    // Not after a while: the first request that follows the answer.
    paths.iter().for_each(|p| assert_eq!(node.get(p, "*/*").status(), 410, "{p}"));
    assert_eq!(node.json(&format!("/exchange/dicom-web/studies?StudyInstanceUID={uid}")), json!([]));
    // What never was there is not gone, and the owner still sees everything.
    assert_eq!(node.get(&format!("{}/series/1.2.3", paths[0]), "*/*").status(), 404);
    assert_eq!(node.get(&format!("/exchange/dicom-web/studies/{uid}/series/1.2.3/instances/1.2"), "*/*").status(), 404);
    assert_eq!(node.get(&format!("/dicom-web/studies/{uid}/metadata"), "*/*").status(), 200);
    node.judged(uid);
    let written = journal(place.path());
    assert_eq!(written.matches("\"event\":\"withdrawn\"").count(), 1, "{written}");
    assert!(written.contains("\"why\":\"RULED\""));
    // A rebuilt index still knows that it was withdrawn: the journal does.
    let back = json!({"item": 34, "outcome": "accept", "by": "李主任", "reason": "身份已核实"});
    assert_eq!(node.post(&format!("/api/v1/studies/{uid}/rulings"), &back).0, 202);
    answers(&node, uid, 200);
    assert_eq!(node.get(&paths[2], "*/*").status(), 200, "the same copy again");
}

#[test]
fn a_revoked_accreditation_withdraws_and_a_restored_one_shows_again() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::CtHead);
    let uid = study.uid.as_str();
    node.send(&study.images);
    assert_eq!(node.judged(uid)["verdict"]["outcome"], "accept");
    answers(&node, uid, 200);
    let register = place.path().join("hospitals.toml");
    // A file that does not read changes nothing.
    std::fs::write(&register, "[[hospital]]\ncod = 1\n").unwrap();
    std::thread::sleep(Duration::from_secs(5));
    answers(&node, uid, 200);
    std::fs::write(&register, REGISTER.replace("passed = true", "passed = false")).unwrap();
    answers(&node, uid, 410);
    assert!(journal(place.path()).contains("\"why\":\"ASSESSMENT_FAILED\""));
    let begun = Instant::now();
    while node.judged(uid)["verdict"]["outcome"] != "reject" && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let verdict = node.judged(uid)["verdict"].to_string();
    assert!(verdict.contains("ASSESSMENT_FAILED"), "{verdict}");
    std::fs::write(&register, REGISTER).unwrap();
    answers(&node, uid, 200);
}

#[test]
fn an_accreditation_that_is_revoked_while_copies_are_written_shows_none() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::CtHead);
    let uid = study.uid.as_str();
    node.send(&study.images);
    let begun = Instant::now();
    // As soon as there is a verdict; the copies are under way then.
    while node.json_or_null(&format!("/api/v1/studies/{uid}"))["verdict"].is_null() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::write(place.path().join("hospitals.toml"), REGISTER.replace("passed = true", "passed = false")).unwrap();
    while node.judged(uid)["verdict"]["outcome"] != "reject" {
        assert!(begun.elapsed() < Duration::from_secs(60), "the revocation is lost");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_ne!(node.get(&format!("/exchange/dicom-web/studies/{uid}"), "*/*").status(), 200);
}

#[test]
fn copies_that_come_back_are_set_aside() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::CtHead);
    let uid = study.uid.as_str();
    node.send(&study.images);
    assert_eq!(node.judged(uid)["verdict"]["outcome"], "accept");
    let listed = node.json(&format!("/exchange/dicom-web/studies/{uid}/instances"));
    let url = listed[0]["00081190"]["Value"][0].as_str().unwrap().to_string();
    let mut copy = Vec::new();
    node.get(url.strip_prefix(&node.http).unwrap(), "application/dicom").read_to_end(&mut copy).unwrap();
    // Another archive gave it a name of its own.
    let old = listed[0]["00080018"]["Value"][0].as_str().unwrap();
    let new = format!("{}9", &old[..old.len() - 1]);
    // It compressed anew, and its derivation code replaced ours.
    let bytes: Vec<u8> = replaced(&replaced(&copy, old.as_bytes(), new.as_bytes()), b"HR-MARK", b"LOSSY90");
    assert_ne!(bytes, replaced(&copy, old.as_bytes(), new.as_bytes()));
    let client = reqwest::blocking::Client::new();
    let stored =
        client.post(format!("{}/dicom-web/studies", node.http)).header("Content-Type", "application/dicom").body(bytes).send();
    assert_eq!(stored.unwrap().status(), 200);
    std::thread::sleep(Duration::from_millis(300));
    let after = node.judged(uid);
    assert_eq!(after["instances"], 31);
    assert_eq!(after["verdict"]["outcome"], "accept", "{}", after["verdict"]["findings"]);
    assert!(after["verdict"]["findings"].to_string().contains("COPIES_RETURNED"));
    answers(&node, uid, 200);
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..out.len().saturating_sub(old.len()) {
        if out[at..].starts_with(old) {
            out[at..at + old.len()].copy_from_slice(new);
        }
    }
    out
}
