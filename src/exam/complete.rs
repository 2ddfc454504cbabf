//! Whether the series of an item are complete (序列完整): gaps, duplicates, uneven or mixed slices, coverage, thickness, counts.

use super::classify::Recognised;
use super::facts::{Acquisition, SeriesFacts, StudyFacts};
use super::finding::{Finding, Level};
use super::geometry::{Plane, Stack};
use super::space;
use crate::procedure::catalogue::Completeness;
use crate::procedure::{Item, Region};
use std::collections::BTreeSet;

/// Checks every series of slices. Faults of series that carry no item only warn once there is an item: nothing of them is marked.
pub fn check(study: &StudyFacts, recognised: &[Recognised], region: Option<&Region>, limits: &Completeness) -> Vec<Finding> {
    let mut findings = fewer_than_stated(study);
    let localizer = |s: &&SeriesFacts| s.image_type.iter().any(|t| t.trim() == "LOCALIZER");
    let slices = study.series.iter().filter(|s| matches!(s.modality.as_str(), "CT" | "MR"));
    for series in slices.filter(|s| !localizer(s)) {
        let carried: Vec<&Item> =
            recognised.iter().filter(|r| r.series.contains(&series.uid)).filter_map(|r| region?.item(r.item)).collect();
        let extra = carried.is_empty() && !recognised.is_empty();
        let found = check_series(series, limits).into_iter();
        findings.extend(found.map(|f| if extra { Finding { level: f.level.min(Level::Warn), ..f } } else { f }));
    }
    for one in recognised {
        if let Some(item) = region.and_then(|r| r.item(one.item)) {
            findings.extend(check_thicknesses(study, one, item));
            findings.extend(check_coverage(study, one, item, limits));
        }
    }
    findings
}

fn check_series(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let mut findings: Vec<Finding> = series.stacks.iter().flat_map(|stack| check_stack(stack, limits)).collect();
    findings.extend(too_few(series));
    findings.extend(space::check(series, limits));
    findings.extend(unplaced(series));
    findings.extend(fewer_than_announced(series));
    findings.extend(instance_numbers(series));
    findings.extend(series.stacks.iter().filter_map(|stack| out_of_order(series, stack)));
    findings.into_iter().map(|f| f.in_series(&series.uid)).collect()
}

/// C-02, C-03, C-04, C-05.
fn check_stack(stack: &Stack, limits: &Completeness) -> Vec<Finding> {
    let mut findings = Vec::new();
    let step = stack.step_mm;
    if step <= 0.0 {
        return findings;
    }
    let mut uneven = 0usize;
    let neighbours = stack.along.windows(2).zip(stack.slices.windows(2));
    for (positions, uids) in neighbours {
        let distance = positions.last().unwrap_or(&0.0) - positions.first().unwrap_or(&0.0);
        let after = uids.last();
        if distance > limits.gap_factor * step {
            let missing = (distance / step).round() - 1.0;
            let finding = Finding::new(
                "C-02",
                Level::Reject,
                format!("缺少 {missing} 层：相邻两层相距 {distance:.1} mm，本序列层距 {step:.1} mm；请补传或重建"),
                format!(
                    "{missing} slices are missing: two neighbours are {distance:.1} mm apart, the step is {step:.1} mm; send them again"
                ),
            );
            findings.extend(after.map(|uid| finding.at(uid).measured(distance, limits.gap_factor * step, "mm")));
        } else if distance < limits.duplicate_share * step {
            let finding = Finding::new(
                "C-04",
                Level::Warn,
                "两层位于同一位置，请核对是否重复",
                "two slices stand at the same position; check for duplicates",
            );
            findings.extend(after.map(|uid| finding.at(uid).measured(distance, limits.duplicate_share * step, "mm")));
        } else if (distance - step).abs() > limits.uneven_mm.max(limits.uneven_share * step) {
            uneven += 1;
        }
    }
    if uneven > 0 {
        findings.push(Finding::new(
            "C-03",
            Level::Warn,
            format!("有 {uneven} 处层距不均匀，请核对是否缺层或重复"),
            format!("the distance between slices is uneven in {uneven} places; check for missing or repeated slices"),
        ));
    }
    let axial = stack.plane == Plane::Axial;
    if let Some(thickness) =
        stack.thickness_mm.filter(|t| axial && step > t + limits.gap_mm && step <= limits.gapped_factor * t)
    {
        let finding = Finding::new(
            "C-05",
            Level::Warn,
            format!("层距 {step:.1} mm 大于层厚 {thickness:.1} mm，层间有间隙，建议连续重建后重新发送"),
            format!(
                "the step of {step:.1} mm leaves gaps between slices of {thickness:.1} mm; send a contiguous reconstruction"
            ),
        );
        findings.push(finding.measured(step, thickness + limits.gap_mm, "mm"));
    }
    if let Some(thickness) = stack.thickness_mm.filter(|t| step > limits.gapped_factor * t && axial) {
        let finding = Finding::new(
            "C-05",
            Level::Reject,
            format!("层距 {step:.1} mm 超过层厚 {thickness:.1} mm 的 {} 倍：间隔扫描，请重建连续层面", limits.gapped_factor),
            format!(
                "the step of {step:.1} mm is over {} times the thickness of {thickness:.1} mm: a gapped scan; send a contiguous one",
                limits.gapped_factor
            ),
        );
        findings.push(finding.measured(step, limits.gapped_factor * thickness, "mm"));
    }
    findings
}

/// M-04: a stack of one or two slices has no step to check anything against.
fn too_few(series: &SeriesFacts) -> Option<Finding> {
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

/// C-07: fewer objects than the performed procedure step names.
fn fewer_than_announced(series: &SeriesFacts) -> Option<Finding> {
    let (expected, here) = series.announced.filter(|(expected, here)| expected > here)?;
    Some(fewer(expected, here))
}

/// C-07: acquisitions of which no series holds all images. A second reconstruction may have fewer: the images are there.
fn fewer_than_stated(study: &StudyFacts) -> Vec<Finding> {
    let localizer = |s: &&SeriesFacts| s.image_type.iter().any(|t| t.trim() == "LOCALIZER");
    let all = || study.series.iter().filter(|s| !localizer(s)).flat_map(|s| s.acquisitions.iter().map(move |a| (s, a)));
    let short = all().filter(|(_, a)| a.here < a.stated);
    let elsewhere = |one: &Acquisition| all().any(|(_, other)| other.is_of(one) && other.here >= one.stated);
    short.filter(|(_, a)| !elsewhere(a)).map(|(series, a)| fewer(a.stated, a.here).in_series(&series.uid)).collect()
}

/// C-07: fewer images than the modality says that it made.
pub fn fewer(expected: usize, here: usize) -> Finding {
    #[expect(clippy::cast_precision_loss, reason = "counts of images are far below 2^52")]
    let numbers = (here as f64, expected as f64);
    let finding = Finding::new(
        "C-07",
        Level::Reject,
        format!("设备声明 {expected} 幅，只收到 {here} 幅，请补传"),
        format!("the device announced {expected} images, {here} arrived; send the rest"),
    );
    finding.measured(numbers.0, numbers.1, "images")
}

/// C-06: instance numbers that do not run along the stack with its positions: two positions were exchanged, or nobody numbered them.
fn out_of_order(series: &SeriesFacts, stack: &Stack) -> Option<Finding> {
    let known: Vec<i64> = stack.numbers.iter().flatten().copied().collect();
    // Interleaved phases and echoes are numbered across stacks: only the direction must not change within one.
    let turns = |up: bool| known.windows(2).filter(|w| matches!(w, [a, b] if (a < b) != up)).count();
    let wrong = turns(true).min(turns(false));
    let unnumbered = stack.numbers.len() - known.len();
    if wrong == 0 && (unnumbered == 0 || stack.numbers.is_empty()) {
        return None;
    }
    Some(
        Finding::new(
            "C-06",
            Level::Warn,
            format!("图像编号与空间位置顺序不一致（{wrong} 处），{unnumbered} 幅无编号，请核对"),
            format!("instance numbers and positions run against each other in {wrong} places, {unnumbered} images have no number; check them"),
        )
        .in_series(&series.uid),
    )
}

/// C-06: holes in the numbering while the geometry is clean.
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
    Some(Finding::new(
        "C-06",
        Level::Warn,
        format!("图像编号不连续：起始 {first}，缺 {holes} 个，重复 {doubles} 个"),
        format!("instance numbers start at {first}, {holes} are missing, {doubles} repeated"),
    ))
}

/// C-09 and M-03: the thinnest series of a plane is held to the item's thickness; thicker ones beside it are a warning.
fn check_thicknesses(study: &StudyFacts, one: &Recognised, item: &Item) -> Vec<Finding> {
    let Some(limits) = item.thickness_mm else { return Vec::new() };
    let carrying: Vec<(&SeriesFacts, &Stack)> =
        study.series.iter().filter(|s| one.series.contains(&s.uid)).filter_map(|s| Some((s, s.stack()?))).collect();
    let check = |series: &SeriesFacts| if series.modality == "MR" { "M-03" } else { "C-09" };
    let mut findings = Vec::new();
    for (series, stack) in &carrying {
        let Some(thickness) = stack.thickness_mm else {
            let finding = Finding::new(
                check(series),
                Level::Review,
                "未说明层厚，无法核对，请人工确认",
                "Slice Thickness (0018,0050) is not stated; decide by hand",
            );
            findings.push(finding.in_series(&series.uid));
            continue;
        };
        let (level, limit) = match thickness {
            t if t > limits.reject + 0.01 => (Level::Reject, limits.reject),
            t if t > limits.warn + 0.01 => (Level::Warn, limits.warn),
            _ => continue,
        };
        // Of MR each weighting is looked at by itself; of CT a thick copy beside a thin one shows nothing less.
        let thinner = |(other, s): &(&SeriesFacts, &Stack)| {
            other.agents == series.agents && s.plane == stack.plane && s.thickness_mm.is_some_and(|t| t <= limits.reject + 0.01)
        };
        let beside = series.modality == "CT" && carrying.iter().any(thinner);
        let finding = Finding::new(
            check(series),
            if beside { Level::Warn } else { level },
            format!("层厚 {thickness:.1} mm，超过 {limit:.1} mm，请重建薄层后重新发送"),
            format!("the slices are {thickness:.1} mm thick, over {limit:.1} mm; reconstruct thinner ones"),
        );
        findings.push(finding.in_series(&series.uid).measured(thickness, limit, "mm"));
    }
    findings
}

/// C-08: the longest series of the item.
fn check_coverage(study: &StudyFacts, one: &Recognised, item: &Item, limits: &Completeness) -> Option<Finding> {
    let wanted = item.coverage_mm?;
    let child =
        study.age_months.and_then(|age| limits.child_coverage.iter().find(|c| age < c.under_months)).map_or(1.0, |c| c.factor);
    let wanted = wanted * child;
    let series = study.series.iter().filter(|s| one.series.contains(&s.uid));
    let longest = series.filter_map(|s| s.coverage_mm().map(|mm| (mm, &s.uid))).max_by(|a, b| a.0.total_cmp(&b.0))?;
    let level = match longest.0 {
        c if c < wanted * limits.coverage_reject_share => Level::Reject,
        c if c < wanted => Level::Warn,
        _ => return None,
    };
    let finding = Finding::new(
        "C-08",
        level,
        format!("扫描范围 {:.0} mm，项目建议不少于 {wanted:.0} mm，请补充范围或说明", longest.0),
        format!("{:.0} mm are covered, {wanted:.0} mm are usual for the item; complete the range or say why", longest.0),
    );
    Some(finding.in_series(longest.1).measured(longest.0, wanted, "mm"))
}
