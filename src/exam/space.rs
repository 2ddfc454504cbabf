//! Whether the slices of a series stand in space as those of one scan do: blocks that go on from each other, none moved aside, one frame
//! of reference, one pixel spacing, one orientation (C-01, C-02); gaps of MR stacks (M-03).

use super::facts::SeriesFacts;
use super::finding::{Finding, Level};
use super::geometry::{Plane, Stack};
use crate::procedure::catalogue::Completeness;
use std::collections::BTreeSet;

/// Checks one series of slices.
pub fn check(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let mut findings = between_blocks(series, limits);
    findings.extend(series.stacks.iter().filter_map(|stack| moved_aside(stack, limits)));
    findings.extend(several_spaces(series));
    findings.extend(no_scale(series));
    findings.extend(mixed_orientations(series, limits));
    findings.extend(series.stacks.iter().filter_map(|stack| gaps_of_mr(series, stack, limits)));
    findings
}

/// C-02: slices missing where one block of a scan ends and the next, with another thickness, begins.
fn between_blocks(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    // All but image type and thickness, which come last: scanners add words to the type of a block.
    let kind = |s: &Stack| s.group.rsplitn(3, '|').nth(2).unwrap_or("").to_string();
    let mut blocks: Vec<&Stack> = series.stacks.iter().filter(|s| s.step_mm > 0.0).collect();
    blocks.sort_by(|a, b| a.along.first().unwrap_or(&0.0).total_cmp(b.along.first().unwrap_or(&0.0)));
    let mut findings = Vec::new();
    for (lower, upper) in blocks.iter().zip(blocks.iter().skip(1)) {
        let (Some((_, end)), Some((start, _))) = (lower.ends(), upper.ends()) else { continue };
        let comparable = lower.is_parallel_to(upper)
            && kind(lower) == kind(upper)
            && lower.frame_of_reference == upper.frame_of_reference
            && lower.spacing == upper.spacing;
        let usual = f64::midpoint(lower.step_mm, upper.step_mm);
        let limit = usual + (limits.gap_factor - 1.0) * lower.step_mm.min(upper.step_mm);
        let distance = start - end;
        if !comparable || distance <= limit {
            continue;
        }
        let missing = (distance / usual).round() - 1.0;
        let finding = Finding::new(
            "C-02",
            Level::Reject,
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

/// C-01: a slice that stands aside of the line that its neighbours make; a tilted gantry's stack is a line too.
fn moved_aside(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let placed: Vec<(f64, (f64, f64), &crate::dicom::Uid)> =
        stack.along.iter().zip(&stack.across).zip(&stack.slices).map(|((at, across), uid)| (*at, *across, uid)).collect();
    let line = |a: &(f64, (f64, f64), &crate::dicom::Uid), b: &(f64, (f64, f64), &crate::dicom::Uid), at: f64| {
        let share = if (b.0 - a.0).abs() < 1e-6 { 0.0 } else { (at - a.0) / (b.0 - a.0) };
        (a.1.0 + share * (b.1.0 - a.1.0), a.1.1 + share * (b.1.1 - a.1.1))
    };
    let mut worst: Option<(f64, &crate::dicom::Uid)> = None;
    for (n, here) in placed.iter().enumerate() {
        // At an end, the two next ones.
        let (a, b) = match (n.checked_sub(1).and_then(|p| placed.get(p)), placed.get(n + 1)) {
            (Some(a), Some(b)) => (a, b),
            (None, Some(b)) => (b, placed.get(n + 2)?),
            (Some(a), None) => (placed.get(n.checked_sub(2)?)?, a),
            (None, None) => return None,
        };
        let expected = line(a, b, here.0);
        let off = (here.1.0 - expected.0).hypot(here.1.1 - expected.1);
        if off > limits.aside_mm && worst.is_none_or(|(most, _)| off > most) {
            worst = Some((off, here.2));
        }
    }
    let (off, uid) = worst?;
    let finding = Finding::new(
        "C-01",
        Level::Review,
        format!("有层面偏离扫描轴线 {off:.0} mm，请核对位置信息"),
        format!("a slice stands {off:.0} mm aside of the line of its neighbours; check its position"),
    );
    Some(finding.at(uid).measured(off, limits.aside_mm, "mm"))
}

/// C-01: positions of several frames of reference cannot be compared; pixels of several sizes are no one series.
fn several_spaces(series: &SeriesFacts) -> Option<Finding> {
    let distinct =
        |of: fn(&Stack) -> &str| series.stacks.iter().map(of).filter(|t| !t.is_empty()).collect::<BTreeSet<_>>().len();
    let (zh, en) = if distinct(|s| &s.frame_of_reference) > 1 {
        (
            "同一序列内有多个参考坐标系，层面位置无法比较，请核对或分开发送",
            "the series has several frames of reference: positions cannot be compared",
        )
    } else if distinct(|s| &s.spacing) > 1 {
        (
            "同一序列内像素间距不一致，请核对或分开发送",
            "images of the series differ in Pixel Spacing; check them, or send them apart",
        )
    } else {
        return None;
    };
    Some(Finding::new("C-01", Level::Review, zh, en))
}

/// C-01: without a pixel spacing nothing can be measured.
fn no_scale(series: &SeriesFacts) -> Option<Finding> {
    series.stacks.iter().any(|s| s.spacing.is_empty()).then(|| {
        Finding::new(
            "C-01",
            Level::Review,
            "缺少像素间距（0028,0030），无法测量，请由来源补正",
            "Pixel Spacing (0028,0030) is missing: nothing can be measured; mend it at the source",
        )
    })
}

/// C-01: a CT series that mixes orientations, planes or tilts. Angled axial blocks are normal in MR of the spine; other MR stacks that are
/// tilted against each other are a warning.
fn mixed_orientations(series: &SeriesFacts, limits: &Completeness) -> Option<Finding> {
    let mut groups: Vec<(&Stack, usize)> = Vec::new();
    for stack in &series.stacks {
        let same = |other: &Stack| {
            other.orientation.iter().zip(&stack.orientation).all(|(a, b)| (a - b).abs() < limits.orientation_tolerance)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, slices)) => *slices += stack.slices.len(),
            None => groups.push((stack, stack.slices.len())),
        }
    }
    let ct = series.modality == "CT";
    if groups.len() < 2 || (!ct && groups.iter().all(|(s, _)| s.plane == Plane::Axial)) {
        return None;
    }
    let all: usize = groups.iter().map(|(_, n)| n).sum();
    let largest = groups.iter().map(|(_, n)| *n).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "numbers of slices are far below 2^52")]
    let share = largest as f64 / all as f64;
    let level = if ct && share < limits.main_stack_share { Level::Reject } else { Level::Warn };
    let finding = Finding::new(
        "C-01",
        level,
        format!("同一序列内混有 {} 个不同方向或倾角的图像，请分开发送", groups.len()),
        format!("the series mixes images of {} orientations or tilts; send them apart", groups.len()),
    );
    Some(finding.measured(share, limits.main_stack_share, "of slices"))
}

/// M-03: what lies between the slices and is not seen, over their thickness.
fn gaps_of_mr(series: &SeriesFacts, stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let thickness = stack.thickness_mm.filter(|_| series.modality == "MR" && stack.step_mm > 0.0)?;
    let gap = (stack.step_mm - thickness) / thickness;
    let (level, limit) = match gap {
        g if g > limits.mr_gap_reject + 0.01 => (Level::Reject, limits.mr_gap_reject),
        g if g > limits.mr_gap_warn + 0.01 => (Level::Warn, limits.mr_gap_warn),
        _ => return None,
    };
    let finding = Finding::new(
        "M-03",
        level,
        format!("层间隔为层厚的 {:.0}%（层距 {:.1} mm，层厚 {thickness:.1} mm），请核对是否缺层", gap * 100.0, stack.step_mm),
        format!(
            "the gap is {:.0} % of the thickness (step {:.1} mm, thickness {thickness:.1} mm); check for missing slices",
            gap * 100.0,
            stack.step_mm
        ),
    );
    Some(finding.measured(gap, limit, "of thickness"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exam::facts::tests::series_of;

    fn limits() -> Completeness {
        crate::procedure::load(crate::procedure::embedded::FILES).unwrap().quality.completeness
    }

    fn stack(first: f64, step: f64, count: u32, thickness: f64) -> Stack {
        let along: Vec<f64> = (0..count).map(|n| first + f64::from(n) * step).collect();
        Stack {
            slices: (0..count).map(|n| crate::dicom::Uid::derived(&[&format!("{first} {n}")])).collect(),
            frames: vec![0; count as usize],
            // A tilted gantry: each slice a little aside of the one before.
            across: along.iter().map(|z| (0.0, 0.3 * z)).collect(),
            along,
            group: format!("||{thickness:.1}"),
            spacing: "1".into(),
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            step_mm: step,
            thickness_mm: Some(thickness),
            ..Stack::default()
        }
    }

    fn checks(modality: &str, stacks: Vec<Stack>) -> Vec<(String, Level)> {
        let series = SeriesFacts { modality: modality.into(), ..series_of(stacks) };
        check(&series, &limits()).into_iter().map(|f| (f.check, f.level)).collect()
    }

    #[test]
    fn blocks_go_on_from_each_other_or_slices_are_missing() {
        let thin = || stack(0.0, 4.0, 10, 4.0);
        assert_eq!(checks("CT", vec![thin(), stack(41.5, 7.0, 8, 7.0)]), []);
        let gap = ("C-02".to_string(), Level::Reject);
        assert_eq!(checks("CT", vec![thin(), stack(45.5, 7.0, 8, 7.0)]), vec![gap.clone()]);
        assert_eq!(checks("CT", vec![stack(48.5, 7.0, 8, 7.0), thin()]), vec![gap]);
        let contrast = Stack { group: "agent||7.0".into(), ..stack(90.0, 7.0, 8, 7.0) };
        assert_eq!(checks("CT", vec![thin(), contrast]), [], "another phase is no block of the same scan");
    }

    #[test]
    fn what_does_not_stand_as_one_scan_does_is_told() {
        let review = [("C-01".to_string(), Level::Review)];
        for at in [0, 5, 9] {
            let mut aside = stack(0.0, 4.0, 10, 4.0);
            aside.across[at].0 += 40.0;
            assert_eq!(checks("CT", vec![aside]), review, "{at}");
        }
        let other = Stack { frame_of_reference: "1.3".into(), ..stack(40.0, 4.0, 10, 4.0) };
        assert_eq!(checks("MR", vec![Stack { frame_of_reference: "1.2".into(), ..stack(0.0, 4.0, 10, 4.0) }, other]), review);
        assert_eq!(checks("MR", vec![Stack { spacing: String::new(), ..stack(0.0, 4.0, 10, 4.0) }]), review);
        assert_eq!(checks("MR", vec![stack(0.0, 5.0, 10, 4.0)]), []);
        assert_eq!(checks("MR", vec![stack(0.0, 8.6, 10, 3.3)]), [("M-03".to_string(), Level::Reject)]);
        assert_eq!(checks("MR", vec![stack(0.0, 5.0, 10, 3.3)]), [("M-03".to_string(), Level::Warn)]);
        let tilted =
            Stack { orientation: [1.0, 0.0, 0.0, 0.0, 0.996, -0.087], plane: Plane::Sagittal, ..stack(90.0, 4.0, 3, 4.0) };
        assert_eq!(checks("MR", vec![stack(0.0, 4.0, 10, 4.0), tilted]), [("C-01".to_string(), Level::Warn)]);
    }
}
