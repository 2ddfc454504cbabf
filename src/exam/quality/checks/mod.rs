//! The checks of series and images by their headers (检查过程规范、质量可靠): one small file each, named after its number.
//!
//! A check is a function of the examination that returns findings; it never decides what follows from them.

mod c10_field;
mod c10_matrix;
mod c11_rescale;
mod c12_kernel;
mod c13_common_range;
mod g03_bits;
mod g14_side;
mod g15_burned_in;
mod g17_class;
mod g17_quality_control;
mod m04_slices;
mod m05_resolution;
mod m10_both_hips;
pub mod x02_deviation;
mod x03_exposure;
mod x04_matrix;
mod x05_depth;
mod x13_mirrored;
mod x14_intent;
mod x15_photometric;
pub mod x15_window;

use super::{Exam, Image, Series};
use crate::exam::finding::{Finding, Level};

/// A check of the whole examination.
type Check = fn(&Exam<'_>) -> Vec<Finding>;

/// Every check with its number, in the order of docs/checks.md.
pub const ALL: &[(&str, Check)] = &[
    ("G-03", g03_bits::check),
    ("G-14", g14_side::check),
    ("G-15", g15_burned_in::check),
    ("G-17", g17_class::check),
    ("G-17", g17_quality_control::check),
    ("X-02", x02_deviation::check),
    ("X-03", x03_exposure::check),
    ("X-04", x04_matrix::check),
    ("X-05", x05_depth::check),
    ("X-13", x13_mirrored::check),
    ("X-14", x14_intent::check),
    ("X-15", x15_window::check),
    ("X-15", x15_photometric::check),
    ("C-10", c10_matrix::check),
    ("C-10", c10_field::check),
    ("C-11", c11_rescale::check),
    ("C-12", c12_kernel::check),
    ("C-13", c13_common_range::check),
    ("M-04", m04_slices::check),
    ("M-05", m05_resolution::check),
    ("M-10", m10_both_hips::check),
];

/// Runs every check. A fault of a series that carries no item only warns beside one that does: nothing of it is marked.
pub fn run(exam: &Exam<'_>) -> Vec<Finding> {
    let extra = |f: &Finding| !exam.recognised.is_empty() && f.series.as_ref().is_some_and(|s| !exam.carries(s));
    let weighed = |f: Finding| if extra(&f) { Finding { level: f.level.min(Level::Warn), ..f } } else { f };
    ALL.iter().flat_map(|(_, check)| check(exam)).map(weighed).collect()
}

/// Looks at every image that carries an item; the same fault of many images of a series is one finding, at the first of them.
fn each_image(exam: &Exam<'_>, modality: &[&str], look: impl Fn(&Series<'_>, &Image<'_>) -> Option<Finding>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for series in exam.carrying(modality) {
        let found = series.images.iter().filter_map(|i| look(series, i).map(|f| f.in_series(series.uid).at(i.uid)));
        for finding in found {
            let same = |f: &&Finding| f.check == finding.check && f.level == finding.level && f.series == finding.series;
            if !findings.iter().any(|f| same(&f)) {
                findings.push(finding);
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests;
