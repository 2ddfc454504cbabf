//! The quality report: a page that shows the fault, and a structured report that is stored with the study and is no image of it.

use crate::support::{Node, PROGRAM, phantom_study};
use hutong::phantom::{Image, Phantom, Study};
use std::process::Command;

#[test]
fn the_page_draws_missing_slices_and_tints_saturated_samples() {
    let place = tempfile::tempdir().unwrap();
    let (files, pages) = (place.path().join("files"), place.path().join("pages"));
    std::fs::create_dir(&files).unwrap();
    let mut images = phantom_study(Phantom::MissingSlice).images;
    let mut chest = phantom_study(Phantom::Chest).images;
    let whole = std::mem::replace(&mut chest[0].pixels, Box::new(Vec::new));
    chest[0].pixels = Box::new(move || whole().into_iter().map(|v| if v > 1500 { 4095 } else { v }).collect());
    images.extend(chest);
    for (n, image) in images.iter().map(Image::file).enumerate() {
        std::fs::write(files.join(format!("{n}.dcm")), image).unwrap();
    }
    let output = Command::new(PROGRAM).arg("check").arg(&files).arg("--html").arg(&pages).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let page = |s: &Study| std::fs::read_to_string(pages.join(format!("{}.html", s.uid))).unwrap();
    let head = page(&phantom_study(Phantom::MissingSlice));
    assert_eq!(head.matches("class=\"missing\"").count(), 1, "one slice is missing");
    assert!(head.contains("C-02") && head.contains("缺少 1 层") && head.contains("data:image/png;base64,"));
    let chest = page(&phantom_study(Phantom::Chest));
    assert!(chest.contains("X-07"));
    let red = pictures(&chest).iter().map(|p| p.pixels().filter(|p| p.0[0] > 150 && p.0[1] < 90).count()).max().unwrap();
    assert!(red > 1000, "{red} red pixels");
    // A good study's pages have none of it.
    assert!(!chest.contains("class=\"missing\"") && !head.contains("胡") && !chest.contains("胡^一"));
}

/// The pictures inside a page.
fn pictures(page: &str) -> Vec<image::RgbImage> {
    use base64::Engine;
    let encoded = page.split("data:image/png;base64,").skip(1).filter_map(|rest| rest.split('"').next());
    encoded
        .map(|text| base64::engine::general_purpose::STANDARD.decode(text).unwrap())
        .map(|png| image::load_from_memory(&png).unwrap().into_rgb8())
        .collect()
}

#[test]
fn the_report_is_stored_once_and_changes_nothing_of_the_study() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let study = phantom_study(Phantom::MissingSlice);
    let uid = study.uid.as_str();
    node.send(&study.images);
    let before = node.judged(uid);
    let path = format!("/api/v1/studies/{uid}/report");
    let page = node.get(&path, "text/html").text().unwrap();
    assert!(page.contains("不予标注 reject") && page.contains("C-02"));
    assert_eq!(node.json(&path)["outcome"], "reject");
    let (status, first) = node.post(&path, &serde_json::Value::Null);
    assert_eq!(status, 201, "{first}");
    let (status, again) = node.post(&path, &serde_json::Value::Null);
    assert_eq!((status, &again), (200, &first));
    let after = node.judged(uid);
    assert_eq!(
        (&after["revision"], &after["verdict"], &after["instances"]),
        (&before["revision"], &before["verdict"], &before["instances"])
    );
    let found = node.json(&format!("/dicom-web/studies?StudyInstanceUID={uid}&includefield=all"));
    assert_eq!(found[0]["00080061"]["Value"], serde_json::json!(["CT", "SR"]));
    assert_eq!(found[0]["00201208"]["Value"][0], study.images.len() + 1);
    let series = node.json(&format!("/dicom-web/studies/{uid}/series?Modality=SR"));
    let series = series[0]["0020000E"]["Value"][0].as_str().unwrap();
    let instance = first["instance"].as_str().unwrap();
    let stored = node
        .get(&format!("/dicom-web/studies/{uid}/series/{series}/instances/{instance}"), "application/dicom; transfer-syntax=*");
    let file = place.path().join("report.dcm");
    std::fs::write(&file, stored.bytes().unwrap()).unwrap();
    // A witness that knows nothing of us.
    if let Ok(said) = Command::new("dciodvfy").arg(&file).output() {
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("EnhancedSR") && !said.contains("Error"), "{said}");
    } else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "dciodvfy must be there with CI=true");
    }
    // The index is made again: the report is still no image of the study.
    node.kill();
    std::fs::remove_dir_all(place.path().join("storage/index")).unwrap();
    let node = Node::start(place.path(), &[]);
    let rebuilt = node.judged(uid);
    assert_eq!(
        (&rebuilt["verdict"]["contents"], &rebuilt["instances"]),
        (&before["verdict"]["contents"], &before["instances"])
    );
}

#[test]
fn a_report_of_an_unknown_or_unjudged_study_says_so() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
    assert_eq!(node.get("/api/v1/studies/1.2.3/report", "text/html").status(), 404);
    assert_eq!(node.get("/api/v1/studies/..x/report", "text/html").status(), 400);
    let study = phantom_study(Phantom::SideConflict);
    node.send(&study.images);
    let path = format!("/api/v1/studies/{}/report", study.uid);
    assert_eq!(node.get(&path, "text/html").status(), 409);
    assert_eq!(node.post(&path, &serde_json::Value::Null).0, 409);
}
