//! C-01: the slices of a series stand in space as those of one scan do: each has a place, none stands aside, one frame of reference, one pixel
//! spacing, one orientation.

use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::{Plane, Stack, same_spacing};
use crate::procedure::catalogue::Completeness;
use std::collections::BTreeSet;

/// Everything that C-01 asks of one series.
pub(super) fn check(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let aside = |stack| moved_aside(stack, limits).or_else(|| jumps_aside(stack, limits));
    let mut findings: Vec<Finding> = series.stacks.iter().filter_map(aside).collect();
    findings.extend(blocks_aside(series, limits));
    findings.extend(series.stacks.iter().filter_map(|stack| sheared(series.modality == "CT", stack, limits)));
    findings.extend(turned(series));
    findings.extend(several_spaces(series));
    findings.extend(no_scale(series));
    findings.extend(no_frame_of_reference(series));
    findings.extend(mixed_orientations(series, limits));
    findings.extend(unplaced(series));
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
    Some(aside(uid, off, limits))
}

fn aside<'a>(place: impl Into<Place> + 'a, off: f64, limits: &Completeness) -> Finding {
    let finding = Finding::new(
        "C-01",
        Level::Review,
        format!("有层面偏离扫描轴线 {off:.0} mm，请核对位置信息"),
        format!("a slice stands {off:.0} mm aside of the line of its neighbours; check its position"),
    );
    finding.at(place).measured(off, limits.aside_mm, "mm")
}

/// C-01: from one slice to the next the stack goes on beside the line that its steps make.
fn jumps_aside(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let (x, y) = stack.slope()?;
    let places = || stack.along.iter().zip(&stack.across);
    let off = places().zip(places().skip(1)).map(|((a, from), (b, to))| {
        let step = b - a;
        (to.0 - from.0 - x * step).hypot(to.1 - from.1 - y * step)
    });
    let (n, most) = off.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, off)| *off > limits.aside_mm)?;
    Some(aside(stack.place(n + 1)?, most, limits))
}

/// C-01: a block of a scan, of another thickness or kernel, that goes on beside the line of the one before it.
fn blocks_aside(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let mut blocks: Vec<&Stack> = series.stacks.iter().filter(|s| s.step_mm > 0.0).collect();
    blocks.sort_by(|a, b| a.along.first().unwrap_or(&0.0).total_cmp(b.along.first().unwrap_or(&0.0)));
    let mut findings = Vec::new();
    for (lower, upper) in blocks.iter().zip(blocks.iter().skip(1)) {
        let (Some((_, end)), Some((start, _)), Some((x, y))) = (lower.ends(), upper.ends(), lower.slope()) else { continue };
        let (Some(from), Some(to), Some(place)) = (lower.across.last(), upper.across.first(), upper.place(0)) else { continue };
        let gap = start - end;
        let follows = gap > 0.0 && gap < MOST_BETWEEN_BLOCKS * (lower.step_mm + upper.step_mm);
        // Phases and agents are scans of their own; kernel, image type and thickness come last or vary within one.
        let phase = |s: &Stack| [0, 2].map(|n| s.group.split('|').nth(n).unwrap_or("").to_string());
        let comparable = lower.frame_of_reference == upper.frame_of_reference && phase(lower) == phase(upper);
        if !follows || !comparable || !lower.is_parallel_to(upper) || lower.spacing != upper.spacing {
            continue;
        }
        let off = (to.0 - from.0 - x * gap).hypot(to.1 - from.1 - y * gap);
        if off > limits.aside_mm {
            findings.push(aside(place, off, limits));
        }
    }
    findings
}

/// Of the sum of their steps: blocks that are farther apart need not stand in line.
const MOST_BETWEEN_BLOCKS: f64 = 2.0;

/// C-01: slices whose orientation and line of positions do not belong together. The gantry of a CT tilts, so far and as it says.
fn sheared(ct: bool, stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let shear = stack.shear_degrees()?;
    let stated = stack.tilt.map(f64::abs).filter(|tilt| ct && *tilt > 0.0);
    let most = if ct { limits.tilt_most } else { limits.shear_mr };
    let limit = stated.map_or(most, |tilt| (tilt + limits.tilt_tolerance).min(most));
    // A stack that was resampled to stand upright keeps the tilt in its header.
    let falls_short = shear >= 1.0 && stated.is_some_and(|tilt| shear < tilt - limits.tilt_tolerance);
    (shear > limit || falls_short).then(|| {
        let zh = format!("层面方向与排列方向相差 {shear:.0}°，与机架倾角不符，请核对方向和位置信息");
        let en = format!(
            "the slices are turned by {shear:.0} degrees against the line they stand along, which no gantry tilt explains; check \
             orientation and positions"
        );
        Finding::new("C-01", Level::Review, zh, en).measured(shear, limit, "degrees")
    })
}

/// C-01: axial slices are seen from the feet and lie upright in the gantry: rows run from side to side, of a patient on the side from front
/// to back; other planes stand on their feet. Cosines that say otherwise belong to exchanged or mirrored axes, which change the sides. MR
/// of limbs is turned as the limb lies.
fn turned(series: &SeriesFacts) -> Option<Finding> {
    let ct = series.modality == "CT";
    let position = series.patient_position.trim();
    let upright = ct && !position.is_empty() && !position.ends_with(['L', 'R']);
    let (zh, en) = series.stacks.iter().find_map(|stack| {
        let [a, b, c, d, e, _] = stack.orientation;
        match stack.plane {
            Plane::Axial if a * e - b * d < 0.0 => Some(("横断面由头侧观察", "the axial slices are seen from the head")),
            Plane::Axial if upright && b.abs() > a.abs() => {
                Some(("横断面旋转了 90°", "the axial slices are turned by a quarter"))
            }
            Plane::Sagittal | Plane::Coronal if c.abs() > a.abs().max(b.abs()) => {
                Some(("图像横置", "the rows of the images run from head to feet"))
            }
            _ => None,
        }
    })?;
    let zh = format!("按图像方向（0020,0037），{zh}，左右可能颠倒，请核对方向信息");
    let en = format!("by Image Orientation (0020,0037) {en}: sides may be wrong; check the orientation");
    Some(Finding::new("C-01", if ct { Level::Review } else { Level::Warn }, zh, en))
}

/// C-01: positions of several frames of reference cannot be compared; pixels of several sizes are no one series.
fn several_spaces(series: &SeriesFacts) -> Option<Finding> {
    let distinct =
        |of: fn(&Stack) -> &str| series.stacks.iter().map(of).filter(|t| !t.is_empty()).collect::<BTreeSet<_>>().len();
    let spacings = || series.stacks.iter().map(|s| &s.spacing).filter(|t| !t.is_empty());
    let differ = spacings().next().is_some_and(|first| spacings().any(|other| !same_spacing(first, other)));
    let (zh, en) = if distinct(|s| &s.frame_of_reference) > 1 {
        (
            "同一序列内有多个参考坐标系，层面位置无法比较，请核对或分开发送",
            "the series has several frames of reference: positions cannot be compared",
        )
    } else if differ {
        (
            "同一序列内像素间距不一致，请核对或分开发送",
            "images of the series differ in Pixel Spacing; check them, or send them apart",
        )
    } else {
        return None;
    };
    Some(Finding::new("C-01", Level::Review, zh, en))
}

/// C-01: positions without a frame of reference are of no one knows which space.
fn no_frame_of_reference(series: &SeriesFacts) -> Option<Finding> {
    let unnamed = !series.stacks.is_empty() && series.stacks.iter().all(|s| s.frame_of_reference.is_empty());
    unnamed.then(|| {
        Finding::new(
            "C-01",
            Level::Warn,
            "缺少参考坐标系 UID（0020,0052），与其他序列的位置无法比较，请由来源补正",
            "Frame of Reference UID (0020,0052) is missing: positions cannot be compared with other series; mend it at the source",
        )
    })
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
    // A few slices beside a whole stack are a warning; a stack in parts is whole in none of them.
    let level = match share {
        s if s >= limits.main_stack_whole => Level::Warn,
        s if ct && s < limits.main_stack_share => Level::Reject,
        _ => Level::Review,
    };
    let finding = Finding::new(
        "C-01",
        level,
        format!("同一序列内混有 {} 个不同方向或倾角的图像，请分开发送", groups.len()),
        format!("the series mixes images of {} orientations or tilts; send them apart", groups.len()),
    );
    Some(finding.measured(share, limits.main_stack_share, "of slices"))
}

/// Slices without a position cannot be counted.
fn unplaced(series: &SeriesFacts) -> Option<Finding> {
    let placed: usize = series.stacks.iter().map(|s| s.slices.len()).sum();
    // Enhanced multi-frame objects keep positions per frame: one object, many frames.
    let objects = series.images.len();
    (placed < objects).then(|| {
        Finding::new(
            "C-01",
            Level::Review,
            format!("{objects} 幅图像中有 {} 幅没有有效的空间位置，无法核对完整性", objects - placed),
            format!("{} of {objects} images have no valid position in space: completeness cannot be told", objects - placed),
        )
    })
}
