//! One study of each modality from socket to DICOMweb answer, on the phantoms.

use crate::support::{Node, PROGRAM, run};
use hutong::dicom::{Uid, tags};
use hutong::dimse::storescu::Answer;
use hutong::phantom::{self, Expected, Study};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::io::Read;

fn text(json: &Json, tag: &str) -> String {
    json[tag]["Value"][0].as_str().map(str::to_string).unwrap_or_else(|| json[tag]["Value"][0].to_string())
}

fn check_verdict(study: &Study, got: &Json) {
    let Expected { outcome, items, why } = &study.expected;
    let verdict = &got["verdict"];
    assert_eq!(verdict["outcome"], serde_json::to_value(outcome).unwrap(), "{:?} {verdict}", study.phantom);
    let accepted: Vec<u64> = verdict["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["outcome"] == "accept")
        .map(|i| i["number"].as_u64().unwrap())
        .collect();
    assert_eq!(accepted, items.iter().map(|n| u64::from(*n)).collect::<Vec<_>>(), "{:?}", study.phantom);
    if let Some(why) = why {
        assert!(verdict.to_string().contains(why), "{:?} does not say {why}: {verdict}", study.phantom);
    }
}

/// The exchange shows the marked copies of an accepted study and nothing else.
fn check_exchange(node: &Node, study: &Study, accepted: bool) {
    let uid = &study.uid;
    let found = node.json(&format!("/exchange/dicom-web/studies?StudyInstanceUID={uid}"));
    assert_eq!(found.as_array().unwrap().len(), usize::from(accepted), "{:?}", study.phantom);
    let originals: BTreeSet<String> = study.images.iter().map(|i| i.sop_instance()).collect();
    if !accepted {
        assert_eq!(node.get(&format!("/exchange/dicom-web/studies/{uid}"), "*/*").status(), 404);
        return;
    }
    let instances = node.json(&format!("/exchange/dicom-web/studies/{uid}/instances"));
    let instances = instances.as_array().unwrap();
    assert_eq!(instances.len(), study.images.len(), "{:?}", study.phantom);
    for instance in instances {
        assert!(!originals.contains(&text(instance, "00080018")), "an original shows on the exchange root");
    }
    assert_eq!(text(&found[0], "00201208"), instances.len().to_string());
    let (series, instance) = (text(&instances[0], "0020000E"), text(&instances[0], "00080018"));
    let base = format!("/exchange/dicom-web/studies/{uid}/series/{series}/instances/{instance}");
    let metadata = node.json(&format!("{base}/metadata"));
    assert_eq!(text(&metadata[0], "00280301"), "YES");
    assert_eq!(text(&metadata[0], "00080008"), "DERIVED");
    assert!(originals.contains(&text(&metadata[0]["00082112"]["Value"][0], "00081155")));
    let picture = node.get(&format!("{base}/rendered"), "image/png");
    assert_eq!(picture.headers()["content-type"], "image/png");
    let marked = image::load_from_memory(&picture.bytes().unwrap()).unwrap().to_luma8();
    check_picture(node, study, &marked, &text(&metadata[0]["00082112"]["Value"][0], "00081155"));
}

/// The marked picture differs from its source in the top right corner, where it is light, and nowhere else.
fn check_picture(node: &Node, study: &Study, marked: &image::GrayImage, source: &str) {
    let all = node.json(&format!("/dicom-web/studies/{}/instances?SOPInstanceUID={source}", study.uid));
    let series = text(&all[0], "0020000E");
    let path = format!("/dicom-web/studies/{}/series/{series}/instances/{source}/rendered", study.uid);
    let before = image::load_from_memory(&node.get(&path, "image/png").bytes().unwrap()).unwrap().to_luma8();
    assert_eq!(before.dimensions(), marked.dimensions());
    let (w, h) = before.dimensions();
    let mut changed = 0;
    let mut light = 0;
    for (x, y, pixel) in marked.enumerate_pixels() {
        if *pixel != *before.get_pixel(x, y) {
            changed += 1;
            assert!(x > w / 2 && y < h / 6, "{:?}: a pixel changed at {x},{y} of {w}x{h}", study.phantom);
        }
        light += u32::from(x > w / 2 && y < h / 6 && pixel.0[0] > 240);
    }
    assert!(changed > w * h / 2000 && light > w * h / 1000, "{:?}: {changed} changed, {light} light", study.phantom);
}

/// What the house root returns is, byte for byte, the data set that was sent.
fn check_house(node: &Node, study: &Study) {
    let image = &study.images[study.images.len() / 2];
    let series = image.data_set.text(tags::SERIES_INSTANCE_UID).unwrap();
    let path = format!("/dicom-web/studies/{}/series/{series}/instances/{}", study.uid, image.sop_instance());
    let mut body = Vec::new();
    node.get(&path, "application/dicom; transfer-syntax=*").read_to_end(&mut body).unwrap();
    assert!(body.ends_with(&image.data_set_bytes()), "{:?}: the original came back changed", study.phantom);
    let found = node.json(&format!("/dicom-web/studies?StudyInstanceUID={}&includefield=all", study.uid));
    assert_eq!(text(&found[0], "0020000D"), study.uid.as_str());
}

#[test]
fn each_phantom_goes_from_the_socket_to_its_verdict_and_to_the_exchange() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let studies = phantom::all();
    for study in &studies {
        let answers = node.send(&study.images);
        assert!(answers.iter().all(|a| *a == Answer::Stored), "{:?} {answers:?}", study.phantom);
    }
    for study in &studies {
        let got = node.judged(study.uid.as_str());
        check_verdict(study, &got);
        check_house(&node, study);
        check_exchange(&node, study, !study.expected.items.is_empty());
    }
    let names = node.json("/dicom-web/studies?PatientName=%E7%8E%8B*");
    assert_eq!(names[0]["00100010"]["Value"][0]["Ideographic"], "王^小东");
    assert_eq!(names.as_array().unwrap().len(), 1);
    // No patient in the log, whatever was said about their studies.
    let log = node.log();
    for secret in ["XiaoDong", "小东", "HT0002", "19650712"] {
        assert!(!log.contains(secret), "the log names a patient: {secret}");
    }
    let metrics = node.get("/metrics", "*/*").text().unwrap();
    assert!(metrics.contains("hutong_original_instances 246"), "{metrics}");
    assert_eq!(node.json("/healthz")["status"], "ok");
    let first = &studies[1];
    let root = node.root.clone();
    assert!(node.terminate(), "SIGTERM ends the node with success");
    let (ok, said) = run(&["explain", first.uid.as_str()], &root);
    assert!(ok && said.contains("头颅") && said.contains("head") && said.contains("Item 34"), "{said}");
    let (ok, said) = run(&["verify"], &root);
    assert!(ok && said.contains("chain"), "{said}");
}

#[test]
fn a_rebuilt_index_gives_the_same_answers() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let studies = phantom::all();
    for study in studies.iter().filter(|s| s.images.len() < 40) {
        node.send(&study.images);
        node.judged(study.uid.as_str());
    }
    let questions = [
        "/dicom-web/studies?includefield=all",
        "/dicom-web/series?includefield=all",
        "/dicom-web/instances?includefield=all&limit=5000",
        "/exchange/dicom-web/instances?includefield=all&limit=5000",
        "/dicom-web/studies?PatientID=HT0002",
        "/dicom-web/studies?StudyDate=20260101-20261231&ModalitiesInStudy=DX",
    ];
    // Two nodes listen on different ports: their URLs are not part of the answer.
    let ask = |node: &Node| questions.map(|q| node.json(q).to_string().replace(&node.http, "URL"));
    let before = ask(&node);
    assert!(before.iter().all(|a| a.len() > 100), "{before:?}");
    let root = node.root.clone();
    assert!(node.terminate());
    let (ok, said) = run(&["rebuild"], &root);
    assert!(ok, "{said}");
    let node = Node::start(place.path(), &[]);
    for study in studies.iter().filter(|s| s.images.len() < 40) {
        node.judged(study.uid.as_str());
    }
    let after = ask(&node);
    for ((q, a), b) in questions.iter().zip(before).zip(after) {
        assert_eq!(a, b, "{q}");
    }
}

#[test]
fn the_same_bytes_again_are_success_and_other_bytes_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(2, None, "头颅CT平扫", "HEAD");
    assert_eq!(node.send(&images), [Answer::Stored, Answer::Stored]);
    assert_eq!(node.send(&images), [Answer::Stored, Answer::Stored]);
    let mut other = images[0].data_set_bytes();
    *other.last_mut().unwrap() ^= 1;
    let (answers, ended) = crate::support::send_all(&node.requested(), vec![crate::support::raw(&images[0], other)]);
    ended.unwrap();
    let Answer::Refused(0xC111, Some(comment)) = &answers[0] else { panic!("{answers:?}") };
    assert!(comment.contains("stored already"), "{comment}");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    assert_eq!(node.json(&format!("/dicom-web/studies/{study}/instances")).as_array().unwrap().len(), 2);
    let series = images[0].data_set.text(tags::SERIES_INSTANCE_UID).unwrap();
    let path = format!("/dicom-web/studies/{study}/series/{series}/instances/{}", images[0].sop_instance());
    let body = node.get(&path, "application/dicom").bytes().unwrap();
    assert!(body.ends_with(&images[0].data_set_bytes()), "the first copy was touched");
}

#[test]
fn stow_takes_good_parts_and_names_bad_ones() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(2, None, "头颅CT平扫", "HEAD");
    let post = |parts: &[&[u8]], path: &str| {
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(b"\r\n--B0\r\nContent-Type: application/dicom\r\n\r\n");
            body.extend_from_slice(part);
        }
        body.extend_from_slice(b"\r\n--B0--\r\n");
        let client = reqwest::blocking::Client::new();
        let answer = client
            .post(format!("{}{path}", node.http))
            .header("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=B0")
            .body(body)
            .send()
            .unwrap();
        (answer.status().as_u16(), answer.json::<Json>().unwrap())
    };
    let (status, body) = post(&[&images[0].file(), b"this is no DICOM file at all"], "/dicom-web/studies");
    assert_eq!(status, 202, "{body}");
    assert_eq!(text(&body["00081199"]["Value"][0], "00081155"), images[0].sop_instance());
    assert_eq!(body["0008119A"]["Value"][0]["00081197"]["Value"][0], 0xC000);
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    assert_eq!(post(&[&images[1].file()], &format!("/dicom-web/studies/{study}")).0, 200);
    let (status, body) = post(&[&images[1].file()], "/dicom-web/studies/1.2.3");
    assert_eq!((status, &body["00081198"]["Value"][0]["00081197"]["Value"][0]), (409, &Json::from(0xA900)));
    let client = reqwest::blocking::Client::new();
    let stow = |kind: &str| {
        client.post(format!("{}/dicom-web/studies", node.http)).header("Content-Type", kind).body("x").send().unwrap()
    };
    assert_eq!(stow("text/plain").status(), 415);
    assert_eq!(stow("multipart/related; type=\"application/dicom\"").status(), 400);
    // Another hospital does not store here.
    let exchange = client.post(format!("{}/exchange/dicom-web/studies", node.http)).body("x").send().unwrap();
    assert_eq!(exchange.status(), 405);
}

#[test]
fn demo_prints_json_and_writes_pictures() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("pictures");
    let output = std::process::Command::new(PROGRAM)
        .args(["demo", "--json", "--quiet", "0.5", "--out"])
        .arg(&out)
        .current_dir(place.path())
        .output()
        .unwrap();
    let json: Json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success());
    let studies = json["studies"].as_array().unwrap();
    let expected = phantom::all();
    assert_eq!(studies.len(), expected.len());
    for study in &expected {
        let shown = studies.iter().find(|s| s["study"] == study.uid.as_str()).unwrap();
        assert_eq!(shown["items"], serde_json::to_value(&study.expected.items).unwrap());
        for picture in shown["pictures"].as_array().unwrap() {
            image::open(place.path().join(picture.as_str().unwrap())).unwrap();
        }
    }
    assert!(Uid::parse(studies[0]["study"].as_str().unwrap()).is_ok());
}
