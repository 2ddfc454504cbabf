//! The real files of ../shared/data: every one is stored and returned as it came, or refused with a reason.

use crate::support::{Node, shared};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

fn files(folder: &str) -> Option<Vec<PathBuf>> {
    let root = shared()?.join("data").join(folder);
    Some(hutong::store::walk(root).map(Result::unwrap).filter(|p| p.extension().is_none_or(|e| e != "csv")).collect())
}

#[test]
fn real_files_are_stored_byte_for_byte_or_refused_with_a_reason() {
    let Some(files) = files("") else { return };
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
    let client = reqwest::blocking::Client::new();
    let (mut stored, mut refused) = (0, BTreeMap::new());
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let post = client.post(format!("{}/dicom-web/studies", node.http)).header("Content-Type", "application/dicom");
        let answer = post.body(bytes.clone()).send().unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().unwrap();
        if status != 200 {
            let reason = body["0008119A"]["Value"][0]["00081197"]["Value"][0]
                .as_u64()
                .or(body["00081198"]["Value"][0]["00081197"]["Value"][0].as_u64());
            assert!(status == 409 && reason.is_some(), "{}: {status} {body}", path.display());
            *refused.entry(reason.unwrap()).or_insert(0) += 1;
            continue;
        }
        stored += 1;
        let url = body["00081199"]["Value"][0]["00081190"]["Value"][0].as_str().unwrap();
        let got = client.get(url).header("Accept", "application/dicom; transfer-syntax=*").send().unwrap();
        let kind = got.status();
        let got = got.bytes().unwrap();
        // Implicit VR and Big Endian never go out as they are; everything else comes back byte for byte.
        let meta = hutong::dicom::part10::read_meta(std::io::Cursor::new(&bytes)).unwrap();
        let retired = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"].contains(&meta.transfer_syntax.as_str());
        assert!(kind.is_success() || retired, "{}: {kind}", path.display());
        if !retired {
            let at = usize::try_from(meta.data_set_at).unwrap();
            assert!(got.ends_with(&bytes[at..]), "{} came back changed", path.display());
        }
        let json = client.get(format!("{url}/metadata")).send().unwrap();
        assert!(json.status().is_success(), "{}", path.display());
    }
    println!("{stored} stored, refused by reason: {refused:?}");
    assert!(stored * 10 >= files.len() * 7, "{stored} of {}", files.len());
    assert_eq!(node.json("/healthz")["status"], "ok");
}

#[test]
fn real_studies_are_judged_and_none_is_marked_outside_its_item() {
    let Some(shared) = shared() else { return };
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(crate::support::PROGRAM)
        .args(["demo", "--json", "--quiet", "0.5", "--out"])
        .arg(place.path().join("out"))
        .arg(shared.join("data"))
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let studies = json["studies"].as_array().unwrap();
    assert!(studies.len() > 60, "{}", studies.len());
    for study in studies {
        let outcome = study["outcome"].as_str().unwrap();
        let items = study["items"].as_array().unwrap().len();
        let marked = study["urls"].as_array().unwrap().len();
        assert_eq!(outcome == "accept", items > 0 && marked > 0, "{study}");
        if outcome != "accept" {
            let verdict = &study["verdict"];
            let why = verdict["grounds"].as_array().unwrap().len() + verdict["items"].as_array().unwrap().len();
            assert!(why > 0, "a verdict without a reason: {study}");
        }
    }
    // A real chest radiograph with its view in the header is recognised.
    let chest = studies.iter().find(|s| s["patient_id"] == "C3L-00277").unwrap();
    assert_eq!(chest["items"], serde_json::json!([1]), "{chest}");
}
