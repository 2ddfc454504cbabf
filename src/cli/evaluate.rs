//! `hutong evaluate`: how well the classification does on a labelled table.

use anyhow::Context;
use hutong::exam::labelled::{self, Case};
use hutong::exam::score::{Score, ratio, score};
use hutong::procedure::{Procedures, embedded::FILES, load};
use std::path::PathBuf;
use std::process::ExitCode;

/// Scores a labelled set.
#[derive(clap::Args)]
pub struct Evaluate {
    /// 标注表 Table with the columns of the development set (case_id, Modality, StudyDescription, series_json, expected_items …)
    csv: PathBuf,
    /// 检查日期 Exam date that picks the edition, YYYYMMDD; today's list without it
    #[arg(long, default_value = "20260101")]
    date: String,
    /// 机器可读 The score as JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let table = std::fs::read(&self.csv).with_context(|| self.csv.display().to_string())?;
        let cases = labelled::read(&table).with_context(|| self.csv.display().to_string())?;
        let procedures: Procedures = load(FILES).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let region = procedures.region_for(&self.date).with_context(|| format!("no list is in force on {}", self.date))?;
        let score = score(&cases, region, &procedures);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&score)?);
        } else {
            print(&score, &cases);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(score: &Score, cases: &[Case]) {
    println!("{} rows, {} exact ({:.1}%)", score.rows, score.exact, 100.0 * ratio(score.exact, score.rows));
    println!("{} false marks, {} on none rows", score.false_marks, score.false_marks_on_none);
    for miss in &score.misses {
        let title = cases.iter().find(|c| c.id == miss.case_id).map_or("", |c| &c.title);
        println!("{} {title}: {:?} {:?} {} {}", miss.case_id, miss.expected, miss.got, miss.reason_code, miss.expected_reason_code);
    }
}
