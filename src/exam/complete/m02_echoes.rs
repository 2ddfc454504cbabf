//! M-02: slices of one MR stack that were measured with different echo or repetition times: two weightings in one series, neither of them whole.

use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let (shortest, longest) = stack.echo_ms?;
    (longest > limits.echo_factor * shortest).then(|| {
        let zh = format!("同一组层面的回波时间从 {shortest:.0} 到 {longest:.0} ms 不等，请按加权分开并补全后重新发送");
        let en = format!(
            "the slices of one stack have echo times of {shortest:.0} to {longest:.0} ms; part them by weighting and send each whole"
        );
        Finding::new("M-02", Level::Review, zh, en).measured(longest / shortest, limits.echo_factor, "times")
    })
}

/// The same of repetition times, which are the series'.
pub(super) fn repetitions(series: &SeriesFacts, limits: &Completeness) -> Option<Finding> {
    let (shortest, longest) = series.repetition_ms?;
    (longest > limits.repetition_factor * shortest).then(|| {
        let zh = format!("同一序列的重复时间从 {shortest:.0} 到 {longest:.0} ms 不等，请按加权分开并补全后重新发送");
        let en = format!(
            "the images of one series have repetition times of {shortest:.0} to {longest:.0} ms; part them by weighting and send each whole"
        );
        Finding::new("M-02", Level::Review, zh, en).measured(longest / shortest, limits.repetition_factor, "times")
    })
}
