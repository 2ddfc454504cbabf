//! How slices make stacks, and what makes none.

use super::*;

fn slices(z: &[f64]) -> Vec<Slice> {
    z.iter()
        .enumerate()
        .map(|(i, z)| Slice {
            uid: Uid::derived(&[&i.to_string()]),
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            position: [0.0, 0.0, *z],
            frame: 0,
            group: String::new(),
            frame_of_reference: String::new(),
            spacing: String::new(),
            runs: Default::default(),
            trigger: None,
            tilt: None,
            thickness: Some(5.0),
            number: None,
        })
        .collect()
}

#[test]
fn a_stack_is_sorted_and_measured_whatever_order_it_came_in() {
    let stack = stacks(&slices(&[10.0, 0.0, 5.0, 15.0])).remove(0);
    assert_eq!((stack.along.clone(), stack.step_mm, stack.coverage_mm), (vec![0.0, 5.0, 10.0, 15.0], 5.0, 20.0));
    assert_eq!(stack.plane, Plane::Axial);
}

#[test]
fn the_steps_of_a_sequential_scan_are_one_stack_and_the_runs_of_a_dynamic_one_are_not() {
    let mut steps = slices(&[0.0, 5.0, 10.0, 15.0]);
    steps.iter_mut().enumerate().for_each(|(i, s)| s.runs[0] = i.to_string());
    let counts = |slices: &[Slice]| stacks(slices).iter().map(|s| s.slices.len()).collect::<Vec<_>>();
    assert_eq!(counts(&steps), [4]);
    let mut runs = slices(&[0.0, 5.0, 10.0, 0.0, 5.0, 10.0]);
    runs.iter_mut().enumerate().for_each(|(i, s)| s.runs[0] = (i / 3).to_string());
    assert_eq!(counts(&runs), [3, 3]);
    // Two echoes in two acquisitions each.
    let mut both = slices(&[0.0, 5.0, 0.0, 5.0, 0.0, 5.0, 0.0, 5.0]);
    both.iter_mut().enumerate().for_each(|(i, s)| (s.runs[0], s.runs[1]) = ((i / 4).to_string(), (i / 2 % 2).to_string()));
    assert_eq!(counts(&both), [2, 2, 2, 2]);
}

#[test]
fn trigger_times_part_what_stands_at_one_place_only() {
    let counts = |slices: &[Slice]| stacks(slices).iter().map(|s| s.slices.len()).collect::<Vec<_>>();
    let gated = |z: &[f64], times: &[f64]| {
        let mut all = slices(z);
        all.iter_mut().zip(times).for_each(|(s, t)| (s.trigger, s.runs[2]) = (Some(*t), t.to_string()));
        all
    };
    assert_eq!(counts(&gated(&[0.0, 5.0, 10.0, 15.0], &[1.0, 2.0, 3.0, 4.0])), [4], "a time for each slice");
    assert_eq!(counts(&gated(&[0.0, 5.0, 10.0, 0.0, 5.0, 10.0], &[1.0, 1.0, 1.0, 90.0, 90.0, 90.0])), [3, 3]);
    assert_eq!(counts(&gated(&[0.0, 5.0, 10.0, 0.0, 5.0, 10.0], &[1.0, 2.0, 1.5, 90.0, 91.0, 92.0])), [3, 3], "a cine");
    assert_eq!(counts(&gated(&[0.0, 5.0, 10.0, 5.0], &[1.0, 2.0, 3.0, 2.0])), [4], "a slice twice");
}

#[test]
fn slices_doubled_by_a_hair_do_not_make_the_step() {
    let stack = stacks(&slices(&[0.0, 0.01, 5.0, 5.01, 10.0, 10.01])).remove(0);
    assert!((stack.step_mm - 4.99).abs() < 1e-9, "{}", stack.step_mm);
}

#[test]
fn blocks_that_go_on_from_each_other_are_covered_together() {
    let blocks = |second: &[f64]| {
        let mut all = slices(&[0.0, 5.0, 10.0, 15.0]);
        let mut more = slices(second);
        more.iter_mut().for_each(|s| s.group = "thick".into());
        all.extend(more);
        let mut found = stacks(&all);
        found.sort_by_key(|s| std::cmp::Reverse(s.slices.len()));
        crate::exam::facts::tests::series_of(found).coverage_mm()
    };
    assert_eq!(blocks(&[20.0, 30.0]), Some(35.0));
    assert_eq!(blocks(&[60.0, 70.0]), Some(20.0));
}

#[test]
fn words_that_differ_from_slice_to_slice_make_no_stacks_of_their_own() {
    let counts = |slices: &[Slice]| stacks(slices).iter().map(|s| s.slices.len()).collect::<Vec<_>>();
    let named = |z: &[f64], odd: &dyn Fn(usize) -> bool| {
        let mut all = slices(z);
        all.iter_mut().enumerate().for_each(|(n, s)| {
            s.group = format!("||{}|512|ORIGINAL|5.0", if odd(n) { "NONE" } else { "" });
        });
        all
    };
    let z: Vec<f64> = (0..10).map(|n| f64::from(n) * 5.0).collect();
    assert_eq!(counts(&named(&z, &|n| n % 2 == 1)), [10], "by turns");
    assert_eq!(counts(&named(&z, &|n| n == 4)), [10], "one of them");
    assert_eq!(counts(&named(&z, &|n| n > 4)), [5, 5], "blocks stay blocks");
    let twice: Vec<f64> = z.iter().chain(&z).copied().collect();
    assert_eq!(counts(&named(&twice, &|n| n > 9)), [10, 10], "phases stand at the same places");
    let without: Vec<f64> = z.iter().copied().filter(|z| (*z - 25.0).abs() > 0.1).collect();
    let found = stacks(&named(&without, &|n| n % 2 == 1));
    assert_eq!(found.iter().map(|s| s.slices.len()).collect::<Vec<_>>(), [9], "one is missing, which C-02 tells");
    let mut spaced = slices(&z);
    spaced.iter_mut().enumerate().for_each(|(n, s)| s.spacing = ["0.4500/0.4500", "0.4501/0.4501"][n % 2].into());
    assert_eq!(counts(&spaced), [10]);
    assert!(!same_spacing("0.45/0.45", "0.46/0.46") && !same_spacing("", "1/1") && same_spacing("", ""));
}

#[test]
fn orientations_are_not_mixed() {
    let mut all = slices(&[0.0, 5.0, 10.0]);
    all[1].orientation = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];
    let planes: Vec<_> = stacks(&all).iter().map(|s| (s.plane, s.slices.len())).collect();
    assert_eq!(planes, [(Plane::Axial, 2), (Plane::Sagittal, 1)]);
    assert_eq!(normal(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]), None);
    assert_eq!(normal(&[1.0, 0.0, 0.0, 0.087, 0.996, 0.0]), None, "axes that are not at right angles");
}
