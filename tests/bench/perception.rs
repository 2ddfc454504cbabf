//! Draws docs/perceptual-metrics.html: ROC curves of the perceptual measures; and says how many frames a second they measure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "roc.rs"]
mod roc;

use std::path::Path;
use std::time::Instant;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = here.join("../shared");
    let clean = roc::clean(env!("CARGO_BIN_EXE_hutong"), shared.is_dir().then_some(shared.as_path()));
    let begun = Instant::now();
    let curves = roc::curves(&clean, &roc::FAULTS);
    for curve in curves.iter().filter(|c| c.frames > 0) {
        println!(
            "{:<3} {:<24} {:<11} AUC {:.3} ({} frames, {} series)",
            curve.modality,
            curve.fault.name(),
            if curve.calibrated { "calibrated" } else { "bare" },
            curve.area,
            curve.frames,
            curve.groups
        );
    }
    println!("{} clean frames, {:.0} s with all faults", clean.len(), begun.elapsed().as_secs_f64());
    std::fs::write(here.join("docs/perceptual-metrics.html"), roc::page(&curves)).unwrap();
}
