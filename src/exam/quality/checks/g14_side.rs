//! G-14: Laterality of the series against Image Laterality. Sides in texts are held against both by the classification, for items with a
//! side; this is for the others (髋关节, 胸部 …), whose mark would carry the contradiction along.

use super::Exam;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for series in exam.carrying(&[]) {
        let stated = series.facts.laterality.trim();
        for image in &series.facts.images {
            let own = image.laterality.trim();
            let opposite = matches!((stated, own), ("L", "R") | ("R", "L"));
            if opposite {
                let finding = Finding::new(
                    "G-14",
                    Level::Review,
                    format!("序列侧别 {stated} 与图像侧别 {own} 矛盾，请核对左右"),
                    format!(
                        "Laterality {stated} of the series and Image Laterality {own} contradict each other; check the side"
                    ),
                );
                findings.push(finding.in_series(series.uid).at(&image.uid));
            }
        }
    }
    findings
}
