//! `hutong calibrate`: freezes what is usual for the perceptual measures, from the accepted studies of a data root at rest.
//!
//! Writes a file and changes nothing else: a person looks at it, and puts it into the procedures.

use super::Common;
use anyhow::Context;
use hutong::exam::quality::calibrated::{Measure, calibrate};
use hutong::exam::verdict::Outcome;
use hutong::index::{Index, Query, SledIndex, View};
use hutong::work::today;
use std::path::PathBuf;
use std::process::ExitCode;

/// Freezes percentiles by device and item.
#[derive(clap::Args)]
pub struct Calibrate {
    #[command(flatten)]
    common: Common,
    /// 最少检查数 Studies that a device and item must have
    #[arg(long, default_value_t = 100)]
    least: usize,
    /// 写入文件 File to write; put it into the procedures folder as calibration.toml
    #[arg(long, value_name = "FILE", default_value = "calibration.toml")]
    out: PathBuf,
}

impl Calibrate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = self.common.load()?.storage.root.join("index");
        anyhow::ensure!(folder.exists(), "{}: there is no index; is storage.root right?", folder.display());
        let index =
            SledIndex::open_existing(&folder).context("stop the running node first, or take a copy of its data root")?;
        let all = Query::all(View::House);
        let mut studies = Vec::new();
        for row in index.studies(&all)?.rows {
            let verdict = index.verdict(&row.study)?.filter(|v| v.outcome == Outcome::Accept);
            studies.extend(verdict.map(|verdict| accepted(&verdict)));
        }
        let calibration = calibrate(&studies, self.least, &today());
        anyhow::ensure!(
            !calibration.usual.is_empty(),
            "没有设备和项目达到 {} 例  no device and item has {} accepted studies ({} in all); --least lowers the bound",
            self.least,
            self.least,
            studies.len()
        );
        let text = toml::to_string(&calibration)?;
        std::fs::write(&self.out, format!("{HEAD}\n{text}")).with_context(|| self.out.display().to_string())?;
        println!("{} 组，来自 {} 例检查  groups from studies: {}", calibration.usual.len(), studies.len(), self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}

const HEAD: &str = "# Written by `hutong calibrate`. Look at it, then put it into the procedures folder as calibration.toml.\n\
                    # `reject = true` lets a measure beyond the 1st or 99th percentile reject instead of warn.";

/// The measures of the items that were accepted.
fn accepted(verdict: &hutong::exam::verdict::Verdict) -> Vec<Measure> {
    let numbers: Vec<u32> = verdict.accepted().map(|i| i.number).collect();
    let of_accepted =
        |m: &Measure| Measure { items: m.items.iter().copied().filter(|i| numbers.contains(i)).collect(), ..m.clone() };
    verdict.measures.iter().map(of_accepted).collect()
}
