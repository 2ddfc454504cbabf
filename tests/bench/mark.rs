//! What marking costs: frames a second from file to file, beside reading and writing the same bytes, in turns so that noise meets both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use hutong::codec::{Limits, Pool};
use hutong::dicom::part10::read_meta;
use hutong::dicom::{Uid, uids};
use hutong::mark::Form;
use hutong::mark::derive::Source;
use hutong::phantom::{self, Phantom};
use hutong::procedure::{Mark, embedded::FILES, load};
use hutong::retrieve::{Object, marked};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn floor(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    File::create(to).unwrap().write_all(&bytes).unwrap();
}

fn mark_file(from: &Path, to: &Path, mark: &Mark, output: &'static str, pool: &Pool) {
    let meta = read_meta(&mut BufReader::new(File::open(from).unwrap())).unwrap();
    let object = Object::read(File::open(from).unwrap(), &meta, 1 << 28).unwrap();
    let (name, series) = (Uid::derived(&["bench"]), Uid::derived(&["bench series"]));
    let source = Source { sop_class: "1.2", sop_instance: &name, named: true, series: &series, sha256: "", lost: None };
    let mut copy = marked(object, source, mark, Form::Burnt, output, pool).unwrap();
    let mut out = File::create(to).unwrap();
    std::io::copy(&mut copy, &mut out).unwrap();
}

/// Both in turns for four seconds: seconds for one of each.
fn beside(mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let begun = Instant::now();
    let (mut spent, mut spent_other, mut times) = (Duration::ZERO, Duration::ZERO, 0u32);
    while begun.elapsed() < Duration::from_secs(4) {
        let at = Instant::now();
        one();
        spent += at.elapsed();
        let at = Instant::now();
        other();
        spent_other += at.elapsed();
        times += 1;
    }
    (spent.as_secs_f64() / f64::from(times), spent_other.as_secs_f64() / f64::from(times))
}

fn main() {
    let mark = load(FILES).map_err(|e| format!("{e:?}")).unwrap().region_for("20260310").unwrap().mark.clone();
    let place = tempfile::tempdir().unwrap();
    let (native, out) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, place.path().join("out.dcm"));
    let program = PathBuf::from(env!("CARGO_BIN_EXE_hutong"));
    let pool = Pool::new(program, Limits { workers: 1, memory_mib: 2048, time: Duration::from_secs(30) });
    let studies = phantom::all();
    let mut sources: Vec<(String, PathBuf)> = Vec::new();
    for (name, which) in [("CT 512 x 512 native", Phantom::CtHead), ("DX 2500 x 3000 native", Phantom::Chest)] {
        let study = studies.iter().find(|s| s.phantom == which).unwrap();
        let path = place.path().join(format!("{which:?}.dcm"));
        std::fs::write(&path, study.images[0].file()).unwrap();
        let compressed = place.path().join(format!("{which:?}.jpeg.dcm"));
        let made = std::process::Command::new("dcmcjpeg").arg("+e1").arg(&path).arg(&compressed).status();
        sources.push((name.to_string(), path));
        if made.is_ok_and(|s| s.success()) {
            sources.push((name.replace("native", "JPEG lossless"), compressed));
        }
    }
    println!("{:<44} {:>9} {:>12} {:>12} {:>7}", "source, copy", "a second", "ms marking", "ms copying", "ratio");
    for (name, path) in &sources {
        for (output, short) in [
            (native, "native"),
            (uids::JPEGLS_LOSSLESS, "JPEG-LS"),
            (uids::RLE_LOSSLESS, "RLE"),
            (uids::HTJ2K_LOSSLESS, "HTJ2K"),
            (uids::JPEG2000_LOSSLESS, "JPEG 2000"),
        ] {
            if output != native && !name.contains("native") {
                continue;
            }
            let (marking, copying) = beside(|| mark_file(path, &out, &mark, output, &pool), || floor(path, &out));
            let label = format!("{name}, {short}");
            println!(
                "{label:<44} {:>9.1} {:>12.3} {:>12.3} {:>7.2}",
                1.0 / marking,
                marking * 1000.0,
                copying * 1000.0,
                marking / copying
            );
        }
    }
    // The bytes that went by are real ones.
    let mut last = Vec::new();
    File::open(&out).unwrap().read_to_end(&mut last).unwrap();
    assert!(last.len() > 10_000);
}
