//! Whether the series of an item are complete (序列完整): one small file a check, named after its number.
//!
//! Positions of classic slices and of the frames of enhanced objects count alike; a check never decides what follows from its findings.

mod c01_one_space;
mod c02_missing;
mod c03_uneven;
mod c04_duplicate;
mod c05_gapped;
mod c06_numbers;
mod c07_announced;
mod c08_coverage;
mod c09_thickness;
mod m02_echoes;
mod m03_gaps;
mod m04_too_few;

use super::classify::Recognised;
use super::facts::{SeriesFacts, StudyFacts};
use super::finding::{Finding, Level};
use crate::procedure::catalogue::Completeness;
use crate::procedure::{Item, Region};
pub use c07_announced::fewer;

/// Checks every series of slices. Faults of series that carry no item only warn once there is an item: nothing of them is marked.
pub fn check(study: &StudyFacts, recognised: &[Recognised], region: Option<&Region>, limits: &Completeness) -> Vec<Finding> {
    let mut findings = c07_announced::of_acquisitions(study);
    let slices = study.series.iter().filter(|s| matches!(s.modality.as_str(), "CT" | "MR"));
    for series in slices.filter(|s| !is_localizer(s)) {
        let carried: Vec<&Item> =
            recognised.iter().filter(|r| r.series.contains(&series.uid)).filter_map(|r| region?.item(r.item)).collect();
        let extra = carried.is_empty() && !recognised.is_empty();
        let found = check_series(series, limits).into_iter();
        findings.extend(found.map(|f| if extra { Finding { level: f.level.min(Level::Warn), ..f } } else { f }));
    }
    for one in recognised {
        if let Some(item) = region.and_then(|r| r.item(one.item)) {
            findings.extend(c09_thickness::check(study, one, item));
            findings.extend(c08_coverage::check(study, one, item, limits));
        }
    }
    findings
}

fn is_localizer(series: &SeriesFacts) -> bool {
    series.image_type.iter().any(|t| t.trim() == "LOCALIZER")
}

/// Every check of one series of slices.
fn check_series(series: &SeriesFacts, limits: &Completeness) -> Vec<Finding> {
    let mut findings = c01_one_space::check(series, limits);
    findings.extend(c02_missing::check(series, limits));
    for stack in &series.stacks {
        findings.extend(c03_uneven::check(stack, limits));
        findings.extend(c04_duplicate::check(stack, limits));
        if series.modality == "MR" {
            findings.extend(m02_echoes::check(stack, limits));
            findings.extend(m03_gaps::check(stack, limits));
        } else {
            findings.extend(c05_gapped::check(stack, limits));
        }
    }
    if series.modality == "MR" {
        findings.extend(m02_echoes::repetitions(series, limits));
    }
    findings.extend(c06_numbers::check(series));
    findings.extend(c07_announced::of_a_procedure_step(series));
    findings.extend(m04_too_few::check(series));
    findings.into_iter().map(|f| f.in_series(&series.uid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exam::facts::tests::series_of;
    use crate::exam::geometry::{Plane, Stack};

    fn limits() -> Completeness {
        crate::procedure::load(crate::procedure::embedded::FILES).unwrap().quality.completeness
    }

    fn stack(first: f64, step: f64, count: u32, thickness: f64) -> Stack {
        let along: Vec<f64> = (0..count).map(|n| first + f64::from(n) * step).collect();
        Stack {
            slices: (0..count).map(|n| crate::dicom::Uid::derived(&[&format!("{first} {n}")])).collect(),
            frames: vec![0; count as usize],
            // A tilted gantry: each slice a little aside of the one before.
            across: along.iter().map(|z| (0.0, 0.05 * z)).collect(),
            along,
            group: format!("||{thickness:.1}"),
            frame_of_reference: "1.2.3".into(),
            spacing: "1/1".into(),
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            step_mm: step,
            thickness_mm: Some(thickness),
            ..Stack::default()
        }
    }

    fn checks(modality: &str, stacks: Vec<Stack>) -> Vec<(String, Level)> {
        let series = SeriesFacts { modality: modality.into(), patient_position: "HFS".into(), ..series_of(stacks) };
        check_series(&series, &limits()).into_iter().map(|f| (f.check, f.level)).collect()
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
        let kernel = |name: &str, s: Stack| Stack { group: format!("|{name}||512||{}", s.step_mm), ..s };
        let kernels = vec![kernel("H30", thin()), kernel("H60", stack(45.5, 7.0, 8, 7.0))];
        assert_eq!(checks("CT", kernels), [("C-02".to_string(), Level::Review)], "slices lost where the kernel changes");
    }

    #[test]
    fn every_second_slice_of_a_contiguous_scan_is_missed() {
        assert_eq!(checks("CT", vec![stack(0.0, 5.0, 20, 5.0)]), []);
        assert_eq!(checks("CT", vec![stack(0.0, 10.0, 10, 5.0)]), [("C-05".to_string(), Level::Reject)]);
    }

    #[test]
    fn echoes_of_two_weightings_are_no_stack() {
        let echoes = |ends| checks("MR", vec![Stack { echo_ms: Some(ends), ..stack(0.0, 5.0, 20, 5.0) }]);
        assert_eq!(echoes((98.0, 104.0)), []);
        assert_eq!(echoes((20.0, 110.0)), [("M-02".to_string(), Level::Review)]);
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
        let lean = |share: f64, tilt| {
            let whole = stack(0.0, 4.0, 10, 4.0);
            Stack { across: whole.along.iter().map(|z| (0.0, share * z)).collect(), tilt, ..whole }
        };
        // A slice that leans by 0.84 stands 40 degrees off the line.
        assert_eq!(checks("CT", vec![lean(0.84, None)]), review);
        assert_eq!(checks("CT", vec![lean(0.36, None)]), [], "a tilted gantry");
        assert_eq!(checks("CT", vec![lean(0.36, Some(-20.0))]), []);
        assert_eq!(checks("CT", vec![lean(0.36, Some(5.0))]), review, "not as far as that");
        assert_eq!(checks("CT", vec![lean(0.0, Some(20.0))]), [], "resampled");
        assert_eq!(checks("MR", vec![lean(0.36, None)]), review);
        let facing = |orientation| Stack { orientation, ..stack(0.0, 4.0, 10, 4.0) };
        assert_eq!(checks("CT", vec![facing([0.0, 1.0, 0.0, 1.0, 0.0, 0.0])]), review, "axes exchanged");
        assert_eq!(checks("CT", vec![facing([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0])]), review, "mirrored");
        assert_eq!(checks("CT", vec![facing([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])]), review, "turned, of a patient on the back");
        assert_eq!(checks("CT", vec![facing([-1.0, 0.0, 0.0, 0.0, -1.0, 0.0])]), [], "prone");
        let lying = SeriesFacts {
            modality: "CT".into(),
            patient_position: "HFDL".into(),
            ..series_of(vec![facing([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])])
        };
        assert_eq!(check_series(&lying, &limits()), []);
        assert_eq!(checks("MR", vec![stack(0.0, 8.6, 10, 3.3)]), [("M-03".to_string(), Level::Reject)]);
        assert_eq!(checks("MR", vec![stack(0.0, 5.0, 10, 3.3)]), [("M-03".to_string(), Level::Warn)]);
        let tilted =
            Stack { orientation: [1.0, 0.0, 0.0, 0.0, 0.996, -0.087], plane: Plane::Sagittal, ..stack(90.0, 4.0, 3, 4.0) };
        let beside = |tilted: Stack, whole| checks("MR", vec![stack(0.0, 4.0, whole, 4.0), tilted]);
        assert_eq!(beside(tilted.clone(), 10), review, "a stack in parts");
        assert_eq!(beside(tilted, 18), [("C-01".to_string(), Level::Warn)], "a few slices beside a whole one");
    }
}
