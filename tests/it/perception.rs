//! Perceptual measures tell blur and noise from clean frames; a calibrated node warns, and rejects only when it may.

#[path = "../bench/roc.rs"]
mod roc;

use crate::faults::{check_files, said};
use crate::support::{Node, PROGRAM, phantom_study, run, shared};
use hutong::phantom::{Image, Phantom};
use roc::Fault;
use std::process::Command;

/// Issue 4: an area of at least 0.95 for a blur of σ ≥ 2 and noise × 4. Noise differs between devices by more than that, so that it is
/// told against what is usual for the device; blur is told by itself.
#[test]
fn blur_and_noise_are_told_from_clean_frames() {
    let clean = roc::clean(PROGRAM, shared().as_deref());
    assert!(clean.len() >= 40, "{} frames", clean.len());
    let curves = roc::curves(&clean, &[Fault::Blur(2.0), Fault::Noise(4.0)]);
    let mut held = 0;
    for curve in curves.iter().filter(|c| c.frames > 0) {
        let by_itself = curve.modality == "DX" || curve.fault == Fault::Blur(2.0);
        if curve.calibrated || by_itself {
            held += 1;
            assert!(curve.area >= 0.95, "{} {} {}: {}", curve.modality, curve.fault.name(), curve.calibrated, curve.area);
        }
    }
    assert!(held >= 7, "{held} curves");
    // The page under docs/ is of the same making, and of all faults.
    let made = roc::page(&curves);
    assert_eq!(made.matches("<polyline").count(), curves.iter().filter(|c| c.frames > 0).count());
    let page = include_str!("../../docs/perceptual-metrics.html");
    for fault in roc::FAULTS {
        assert!(page.contains(&fault.name()), "{}: run cargo bench --bench perception", fault.name());
    }
}

/// The study whose images are blurred by averaging squares of five samples.
fn blurred(images: Vec<Image>, columns: usize) -> Vec<Image> {
    let blur = move |source: Vec<u16>| -> Vec<u16> {
        let rows = source.len() / columns;
        let at = |x: usize, y: usize| u32::from(source[y.min(rows - 1) * columns + x.min(columns - 1)]);
        (0..source.len())
            .map(|i| {
                let (x, y) = (i % columns, i / columns);
                let sum: u32 = (0..25).map(|k| at((x + k % 5).saturating_sub(2), (y + k / 5).saturating_sub(2))).sum();
                u16::try_from(sum / 25).unwrap()
            })
            .collect()
    };
    images.into_iter().map(|i| Image { data_set: i.data_set, pixels: Box::new(move || blur((i.pixels)())) }).collect()
}

fn head() -> Vec<Image> {
    phantom_study(Phantom::CtHead).images
}

#[test]
fn a_calibrated_device_is_warned_of_blur_and_rejects_it_when_it_may() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    node.send(&head());
    let study = phantom_study(Phantom::CtHead).uid;
    let measures = node.judged(study.as_str())["verdict"]["measures"].clone();
    assert!(measures.as_array().unwrap().iter().any(|m| m["measure"] == "sharpness" && m["items"][0] == 34), "{measures}");
    assert!(node.terminate());
    let root = place.path().join("storage");
    let (ok, said_few) = run(&["calibrate"], &root);
    assert!(!ok && said_few.contains("100"), "{said_few}");
    // A copy of the built-in procedures, with the calibration beside them.
    let procedures = place.path().join("procedures");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("procedures");
    assert!(Command::new("cp").arg("-r").arg(source).arg(&procedures).status().unwrap().success());
    let file = procedures.join("calibration.toml");
    let (ok, said_all) = run(&["calibrate", "--least", "1", "--out", file.to_str().unwrap()], &root);
    assert!(ok, "{said_all}");
    let files: Vec<Vec<u8>> = blurred(head(), 512).iter().map(Image::file).collect();
    let clean: Vec<Vec<u8>> = head().iter().map(Image::file).collect();
    assert_eq!(said(&check_files(&files), &["warn", "reject"]).0, Vec::<String>::new(), "not calibrated, not judged");
    let calibrated = |files: &[Vec<u8>]| {
        let folder = tempfile::tempdir().unwrap();
        files.iter().enumerate().for_each(|(n, bytes)| std::fs::write(folder.path().join(format!("{n}.dcm")), bytes).unwrap());
        let mut command = Command::new(PROGRAM);
        command.args(["check", "--json"]).arg(folder.path()).env("HUTONG_PROCEDURES__ROOT", &procedures);
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        (said(&json, &["warn"]), said(&json, &["reject"]).0)
    };
    assert_eq!(calibrated(&clean), ((vec![], "accept".into()), vec![]));
    assert_eq!(calibrated(&files), ((vec!["C-16".into()], "accept".into()), vec![]));
    let text = std::fs::read_to_string(&file).unwrap().replace("reject = false", "reject = true");
    std::fs::write(&file, text).unwrap();
    assert_eq!(calibrated(&files), ((vec![], "reject".into()), vec!["C-16".to_string()]));
}
