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
        // Stored with a warning: its pixels were cut off.
        if !matches!(status, 200 | 202) {
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
    let said = |study: &serde_json::Value| {
        let numbers = |list: &serde_json::Value| list.as_array().unwrap().iter().map(|i| i["number"].clone()).collect();
        let items: serde_json::Value = numbers(&study["verdict"]["items"]);
        let reasons = study["verdict"]["refused"].as_array().unwrap().iter();
        (items, reasons.map(|r| r["reason"].as_str().unwrap().to_string()).collect::<Vec<_>>())
    };
    for (uid, items, reason) in RADIOGRAPHER {
        let study = studies.iter().find(|s| s["study"] == *uid).unwrap_or_else(|| panic!("{uid} is not among the files"));
        let (got, reasons) = said(study);
        assert_eq!(got, serde_json::json!(items), "{uid}: {reasons:?}");
        assert!(reason.is_empty() || reasons.iter().any(|r| r == reason), "{uid}: {reasons:?}, not {reason}");
    }
}

/// What a radiographer says of real studies, by their headers: Study Instance UID, items, reason.
const RADIOGRAPHER: &[(&str, &[u32], &str)] = &[
    // DX "XR CHEST 2 VIEWS AP OR PA+LAT", the PA alone is here.
    ("1.3.6.1.4.1.14519.5.2.1.2857.3273.184862055846930271614754681036", &[1], ""),
    // DX THORAX of a child of five, no view in the header: L\F is PA and AP alike.
    ("1.2.826.0.1.3680043.8.498.54401662452014863547255413372440461885", &[], "VIEW_UNKNOWN"),
    // CR "Chest PA PA", two of them.
    ("1.3.51.0.7.11986030739.15242.20106.39861.48967.23056.44420", &[1], ""),
    // DX "Abdomen" AP: erect or supine is not said.
    ("1.3.6.1.4.1.5962.99.1.2282339064.1266597797.1479751121656.24.0", &[], "POSITION_UNKNOWN"),
    // CR of the cervical spine: two obliques of unknown side and a lateral.
    ("1.3.6.1.4.1.5962.1.1.0.0.0.1196527414.5534.0.1", &[], "VIEW_MISSING"),
    // CR of the distal tibia, AP only.
    ("1.3.6.1.4.1.5962.1.2.11.20040826185059.5457", &[], "VIEW_MISSING"),
    // CT: one slice of a head; four of "CT, HEAD/BRAIN WO CONTRAST"; five a phase of "ABDOMEN/PELVIS W AND W/O"; a chest of parts.
    ("1.2.392.200036.9123.100.11.15002200303521616157144527203339851", &[], "SERIES_INCOMPLETE"),
    ("1.2.840.113619.2.1.2.139348932.602501178", &[], "SERIES_INCOMPLETE"),
    ("1.3.6.1.4.1.14519.5.2.1.7085.2626.192997540292073877946622133586", &[], "SERIES_INCOMPLETE"),
    ("1.2.840.113619.2.30.1.1762295590.1623.978668949.886", &[], "SERIES_INCOMPLETE"),
    // MR "MEMBRE INF^GENOU", sagittal T1 only; lumbar T2 only; "BRAIN SELLA", a localizer.
    ("1.2.826.0.1.3680043.2.406.337572.20171", &[], "SERIES_INCOMPLETE"),
    ("1.2.392.200036.9123.100.12.12.20110.90180107110521403805821752", &[], "SERIES_INCOMPLETE"),
    ("1.2.840.113619.2.5.1762583153.215519.978957063.78", &[], "SERIES_INCOMPLETE"),
    // MR "Brain-MRA" and "Carotids"; "MRT Oberbauch".
    ("1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.1", &[], "NOT_ON_LIST"),
    ("1.3.6.1.4.1.5962.1.1.0.0.0.1196533885.18148.0.427", &[], "NOT_ON_LIST"),
    ("1.2.276.0.50.192168001092.11156604.14547392.4", &[], "NOT_ON_LIST"),
    // A presentation state; ultrasound.
    ("2.25.245024227622037252846545170152806126304", &[], "NO_IMAGES"),
    ("1.3.46.670589.14.1000.210.4.199999.20110525182825.1.0", &[], "MODALITY_NOT_ACCEPTED"),
    // CT with neither text nor body part.
    ("1.3.6.1.4.1.5962.1.2.1.20040119072730.12322", &[], "BODYPART_UNKNOWN"),
];
