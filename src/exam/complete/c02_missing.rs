//! C-02: slices missing inside a stack, and where one block of a scan ends and the next begins.

use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

/// Which part of [`Stack::group`] is the kernel.
const KERNEL: usize = 1;

/// Both kinds of gaps of one series.
pub(super) fn check(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let mut findings: Vec<Finding> = series.stacks.iter().flat_map(|stack| inside(stack, limits)).collect();
    findings.extend(between_blocks(series, limits));
    findings
}

/// Neighbours that are farther apart than the step of their stack.
fn inside(stack: &Stack, limits: &Completeness) -> Vec<Finding> {
    let step = stack.step_mm;
    let limit = limits.gap_factor * step;
    let apart = stack.distances().filter(|(_, distance)| *distance > limit);
    let told = apart.map(|(after, distance)| {
        let missing = (distance / step).round() - 1.0;
        Finding::new(
            "C-02",
            Level::Reject,
            format!("缺少 {missing} 层：相邻两层相距 {distance:.1} mm，本序列层距 {step:.1} mm；请补传或重建"),
            format!(
                "{missing} slices are missing: two neighbours are {distance:.1} mm apart, the step is {step:.1} mm; send them again"
            ),
        )
        .at(after)
        .measured(distance, limit, "mm")
    });
    told.collect()
}

/// Slices missing where one block of a scan ends and the next, with another thickness, begins.
fn between_blocks(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    // All but image type and thickness, which come last: scanners add words to the type of a block.
    let kind = |s: &Stack| s.group.rsplitn(3, '|').nth(2).unwrap_or("").to_string();
    // Phase, kernel, agent, rows: another phase or agent is another scan, whatever it covers; another kernel may be a block's.
    let scan = |s: &Stack| {
        kind(s).split('|').enumerate().filter(|(n, _)| *n != KERNEL).map(|(_, p)| p.to_string()).collect::<Vec<_>>()
    };
    let mut blocks: Vec<&Stack> = series.stacks.iter().filter(|s| s.step_mm > 0.0).collect();
    blocks.sort_by(|a, b| a.along.first().unwrap_or(&0.0).total_cmp(b.along.first().unwrap_or(&0.0)));
    let mut findings = Vec::new();
    for (lower, upper) in blocks.iter().zip(blocks.iter().skip(1)) {
        let (Some((_, end)), Some((start, _))) = (lower.ends(), upper.ends()) else { continue };
        let comparable = lower.is_parallel_to(upper)
            && scan(lower) == scan(upper)
            && lower.frame_of_reference == upper.frame_of_reference
            && lower.spacing == upper.spacing;
        let usual = f64::midpoint(lower.step_mm, upper.step_mm);
        let limit = usual + (limits.gap_factor - 1.0) * lower.step_mm.min(upper.step_mm);
        let distance = start - end;
        if !comparable || distance <= limit {
            continue;
        }
        // Between a thin and a thick block even one may be less than the mean of both.
        let missing = ((distance / usual).round() - 1.0).max(1.0);
        // Blocks of two kernels may be two reconstructions of two regions.
        let level = if kind(lower) == kind(upper) { Level::Reject } else { Level::Review };
        let finding = Finding::new(
            "C-02",
            level,
            format!("两段扫描之间缺少约 {missing:.0} 层：相距 {distance:.1} mm，应约 {usual:.1} mm；请补传或分开发送"),
            format!(
                "about {missing:.0} slices are missing between two blocks: they are {distance:.1} mm apart, {usual:.1} mm are \
                 usual; send them again, or the blocks as series of their own"
            ),
        );
        findings.extend(upper.slices.first().map(|uid| finding.at(uid).measured(distance, limit, "mm")));
    }
    findings
}
