//! M-04: a stack of one or two slices has no step to check anything against.

use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(series: &SeriesFacts) -> Option<Finding> {
    let slices = series.stack().map_or(0, |s| if s.step_mm > 0.0 { s.slices.len() } else { 0 });
    // Slices without a position, multi-frame objects among them, are another finding.
    (slices < 3 && series.stack().is_some()).then(|| {
        Finding::new(
            "M-04",
            Level::Review,
            "序列层数过少，无法核对是否完整，请人工确认",
            "the series has too few slices to tell whether it is complete; decide by hand",
        )
    })
}
