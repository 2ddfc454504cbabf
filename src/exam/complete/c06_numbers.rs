//! C-06: instance numbers with holes or repeats, none, or against the order of positions. Only a warning: positions count slices.

use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use std::collections::BTreeSet;

pub(super) fn check(series: &SeriesFacts) -> Vec<Finding> {
    let along = series.stacks.iter().filter_map(out_of_order);
    instance_numbers(series).into_iter().chain(along).collect()
}

/// Instance numbers that do not run along the stack with its positions: two positions were exchanged, or nobody numbered them.
fn out_of_order(stack: &Stack) -> Option<Finding> {
    let known: Vec<i64> = stack.numbers.iter().flatten().copied().collect();
    // Interleaved phases and echoes are numbered across stacks: only the direction must not change within one.
    let turns = |up: bool| known.windows(2).filter(|w| matches!(w, [a, b] if (a < b) != up)).count();
    let wrong = turns(true).min(turns(false));
    let unnumbered = stack.numbers.len() - known.len();
    if wrong == 0 && (unnumbered == 0 || stack.numbers.is_empty()) {
        return None;
    }
    let finding = Finding::new(
        "C-06",
        Level::Warn,
        format!("图像编号与空间位置顺序不一致（{wrong} 处），{unnumbered} 幅无编号，请核对"),
        format!(
            "instance numbers and positions run against each other in {wrong} places, {unnumbered} images have no number; check them"
        ),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
    Some(finding.measured((wrong + unnumbered) as f64, 0.0, "slices"))
}

/// Holes in the numbering while the geometry is clean.
fn instance_numbers(series: &SeriesFacts) -> Option<Finding> {
    let distinct: BTreeSet<i64> = series.numbers.iter().copied().collect();
    let (first, last) = (distinct.first()?, distinct.last()?);
    let span = usize::try_from(last.checked_sub(*first)?).ok()?.checked_add(1)?;
    let (holes, doubles) = (span.saturating_sub(distinct.len()), series.numbers.len() - distinct.len());
    let starts_late = *first > 1;
    // Scanners that number across series leave large holes: those say nothing.
    if (holes == 0 && doubles == 0 && !starts_late) || holes > distinct.len() {
        return None;
    }
    let finding = Finding::new(
        "C-06",
        Level::Warn,
        format!("图像编号不连续：起始 {first}，缺 {holes} 个，重复 {doubles} 个；请核对是否漏传"),
        format!(
            "instance numbers start at {first}, {holes} are missing, {doubles} repeated; check whether images were left behind"
        ),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
    Some(finding.measured((holes + doubles) as f64, 0.0, "slices"))
}
