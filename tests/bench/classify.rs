//! How many studies a minute one core classifies: `cargo bench --bench classify`. Over our own labelled sets, again and again.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use hutong::exam::classify::classify;
use hutong::exam::labelled::{self, Case};
use hutong::procedure::{embedded::FILES, load};
use std::path::Path;
use std::time::{Duration, Instant};

fn main() {
    let loading = Instant::now();
    let procedures = load(FILES).map_err(|e| format!("{e:?}")).unwrap();
    println!("procedures loaded in {} ms", loading.elapsed().as_millis());
    let region = procedures.region_for("20260310").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/labelled");
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let cases: Vec<Case> = files
        .filter(|f| f.extension().is_some_and(|e| e == "csv"))
        .flat_map(|f| labelled::read(&std::fs::read(f).unwrap()).unwrap())
        .collect();
    for modality in ["DX", "CR", "CT", "MR"] {
        let own: Vec<&Case> = cases.iter().filter(|c| c.study.series.first().is_some_and(|s| s.modality == modality)).collect();
        report(modality, &own, |case| classify(region, &procedures, &case.study).recognised.len());
    }
    let all: Vec<&Case> = cases.iter().collect();
    report("all", &all, |case| classify(region, &procedures, &case.study).recognised.len());
}

fn report(name: &str, cases: &[&Case], work: impl Fn(&Case) -> usize) {
    let begun = Instant::now();
    let (mut done, mut found) = (0u64, 0usize);
    while begun.elapsed() < Duration::from_secs(3) {
        for case in cases {
            found += work(case);
            done += 1;
        }
    }
    let per_minute = done as f64 / begun.elapsed().as_secs_f64() * 60.0;
    println!("{name:>4}: {:>9.0} studies a minute on one core ({} cases, {found} items)", per_minute, cases.len());
}
