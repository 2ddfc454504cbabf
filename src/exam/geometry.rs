//! Slices in space (PS3.3 C.7.6.2): sorted along their normal, split into stacks of one orientation, one acquisition, one phase.

use super::finding::Place;
use crate::dicom::{Attributes, Uid, tags};
use std::collections::BTreeMap;

/// One slice.
#[derive(Debug, Clone)]
pub struct Slice {
    /// SOP Instance UID.
    pub uid: Uid,
    /// Which of the instance's frames, from 0.
    pub frame: u32,
    /// Row and column direction cosines.
    pub orientation: [f64; 6],
    /// Image Position (Patient), mm.
    pub position: [f64; 3],
    /// What must not be mixed when slices are counted: phase, echo, kernel, agent, size, image type, thickness.
    pub group: String,
    /// Frame of Reference UID.
    pub frame_of_reference: String,
    /// Pixel Spacing, mm, as written.
    pub spacing: String,
    /// Acquisition Number, Echo Time, Trigger Time. Sequential scanners count up the first slice by slice, gated ones have a trigger time for
    /// each: they part only slices that stand at one place.
    pub runs: [String; 3],
    /// Trigger Time, ms.
    pub trigger: Option<f64>,
    /// Gantry/Detector Tilt, degrees.
    pub tilt: Option<f64>,
    /// Slice Thickness, mm.
    pub thickness: Option<f64>,
    /// Instance Number.
    pub number: Option<i64>,
}

impl Slice {
    /// Echo Time, ms; none for one of nothing (0 where it was not measured).
    fn echo_ms(&self) -> Option<f64> {
        let [_, echo, _] = &self.runs;
        echo.parse::<f64>().ok().filter(|ms| *ms > 0.0)
    }
}

/// Which way a slice lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Plane {
    /// Across the body.
    #[default]
    Axial,
    /// From left to right.
    Sagittal,
    /// From front to back.
    Coronal,
}

/// Slices of one orientation and group, in order.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// The slices, along the normal.
    pub slices: Vec<Uid>,
    /// Which frame of its instance each is, from 0.
    pub frames: Vec<u32>,
    /// Where each stands across the normal: along rows and along columns, mm.
    pub across: Vec<(f64, f64)>,
    /// What its slices have in common; see [`Slice::group`].
    pub group: String,
    /// Their frame of reference.
    pub frame_of_reference: String,
    /// Their pixel spacing, as written.
    pub spacing: String,
    /// Position of each along the normal, mm.
    pub along: Vec<f64>,
    /// Instance Number of each, where it has one.
    pub numbers: Vec<Option<i64>>,
    /// Which way they lie.
    pub plane: Plane,
    /// Row and column direction cosines.
    pub orientation: [f64; 6],
    /// Gantry/Detector Tilt that the slices state, median, degrees.
    pub tilt: Option<f64>,
    /// The shortest and the longest echo time that the slices state, ms.
    pub echo_ms: Option<(f64, f64)>,
    /// Median distance of neighbours, mm; 0 for a single slice.
    pub step_mm: f64,
    /// Median slice thickness, mm.
    pub thickness_mm: Option<f64>,
    /// From the first edge to the last, mm.
    pub coverage_mm: f64,
}

impl Stack {
    /// First and last position along the normal, mm.
    pub fn ends(&self) -> Option<(f64, f64)> {
        Some((*self.along.first()?, *self.along.last()?))
    }

    /// Of each slice but the first: how far it is from the one before, mm; nothing of a stack that has no step.
    pub fn distances(&self) -> impl Iterator<Item = (Place, f64)> {
        let along = self.along.iter().zip(self.along.iter().skip(1)).enumerate();
        along.filter(|_| self.step_mm > 0.0).filter_map(|(n, (before, here))| Some((self.place(n + 1)?, here - before)))
    }

    /// A slice as a finding names it: the frame too, where its instance has several in the stack.
    pub fn place(&self, slice: usize) -> Option<Place> {
        let (instance, frame) = (self.slices.get(slice)?, self.frames.get(slice).copied().unwrap_or(0));
        let neighbour = |n: Option<usize>| n.and_then(|n| self.slices.get(n)) == Some(instance);
        let several = frame > 0 || neighbour(slice.checked_sub(1)) || neighbour(slice.checked_add(1));
        Some(Place { instance: instance.clone(), frame: several.then(|| frame.saturating_add(1)) })
    }

    /// How far the slices go aside for each millimetre along their normal, along rows and along columns: medians, for one slice that stands
    /// aside is another fault.
    pub fn slope(&self) -> Option<(f64, f64)> {
        let places = || self.along.iter().zip(&self.across);
        let steps = || places().zip(places().skip(1)).filter(|((a, _), (b, _))| **b - **a > SAME_PLACE_MM);
        let x = median(steps().map(|((a, from), (b, to))| (to.0 - from.0) / (b - a)).collect())?;
        let y = median(steps().map(|((a, from), (b, to))| (to.1 - from.1) / (b - a)).collect())?;
        Some((x, y))
    }

    /// Angle between the normal of the slices and the line that they stand along, degrees: that of a tilted gantry, else nearly none.
    pub fn shear_degrees(&self) -> Option<f64> {
        let (x, y) = self.slope()?;
        (self.slices.len() > 2).then(|| x.hypot(y).atan().to_degrees())
    }

    /// Whether two stacks lie the same way.
    pub fn is_parallel_to(&self, other: &Stack) -> bool {
        self.orientation.iter().zip(&other.orientation).all(|(a, b)| (a - b).abs() < SAME_ORIENTATION)
    }

    /// Whether this one goes on where a range ends, with no more than a step and a half between.
    pub fn continues(&self, range: (f64, f64), step_mm: f64) -> bool {
        let reach = 1.5 * self.step_mm.max(step_mm);
        self.ends().is_some_and(|(low, high)| low - range.1 <= reach && range.0 - high <= reach)
    }
}

/// Slices closer than this stand at one place.
const SAME_PLACE_MM: f64 = 1e-3;
/// Neighbours closer than this share of the thickness are one slice.
const SAME_SLICE: f64 = 0.05;
/// Orientations closer than this are one.
const SAME_ORIENTATION: f64 = 1e-3;

/// The slice of a frame (counted from 0) of an instance; none when it has no position, or axes that are none.
pub fn slice(uid: &Uid, frame: u32, attributes: &Attributes) -> Option<Slice> {
    let orientation: [f64; 6] = attributes.floats(tags::IMAGE_ORIENTATION_PATIENT).try_into().ok()?;
    let position: [f64; 3] = attributes.floats(tags::IMAGE_POSITION_PATIENT).try_into().ok()?;
    let parts = [tags::TEMPORAL_POSITION_IDENTIFIER, tags::CONVOLUTION_KERNEL, tags::CONTRAST_BOLUS_AGENT, tags::ROWS];
    let mut group: Vec<String> = parts.iter().map(|t| attributes.texts(*t).join("/")).collect();
    group.push(attributes.texts(tags::IMAGE_TYPE).join("/"));
    let thickness = attributes.float(tags::SLICE_THICKNESS).filter(|t| *t > 0.0);
    // A thin block beside a thick one has a step of its own.
    group.push(thickness.map_or(String::new(), |t| format!("{t:.1}")));
    normal(&orientation)?;
    // A spacing of nothing is none.
    let spacing = attributes.floats(tags::PIXEL_SPACING);
    let spacing = if spacing.len() == 2 && spacing.iter().all(|s| s.is_finite() && *s > 0.0) { spacing } else { Vec::new() };
    let spacing = spacing.iter().map(|s| format!("{s:.4}")).collect::<Vec<_>>().join("/");
    let frame_of_reference = attributes.text(tags::FRAME_OF_REFERENCE_UID).unwrap_or("").to_string();
    let number = attributes.int(tags::INSTANCE_NUMBER);
    let runs = [tags::ACQUISITION_NUMBER, tags::ECHO_TIME, tags::TRIGGER_TIME].map(|t| attributes.texts(t).join("/"));
    Some(Slice {
        uid: uid.clone(),
        frame,
        orientation,
        position,
        group: group.join("|"),
        frame_of_reference,
        spacing,
        runs,
        trigger: attributes.float(tags::TRIGGER_TIME),
        tilt: attributes.float(tags::GANTRY_DETECTOR_TILT),
        thickness,
        number,
    })
}

/// The normal of an orientation; none when the cosines are not two orthogonal unit vectors.
pub fn normal(o: &[f64; 6]) -> Option<[f64; 3]> {
    let [a, b, c, d, e, f] = *o;
    let unit = |x: f64, y: f64, z: f64| ((x * x + y * y + z * z).sqrt() - 1.0).abs() < SAME_ORIENTATION;
    if !unit(a, b, c) || !unit(d, e, f) || (a * d + b * e + c * f).abs() > SAME_ORIENTATION {
        return None;
    }
    let n = [b * f - c * e, c * d - a * f, a * e - b * d];
    let length = (n[0] * n[0] + n[1] * n[1] + n[2] * n[2]).sqrt();
    Some(n.map(|x| x / length))
}

/// Splits slices into stacks.
pub fn stacks(slices: &[Slice]) -> Vec<Stack> {
    let mut groups: Vec<(&Slice, Vec<&Slice>)> = Vec::new();
    for slice in slices {
        let same = |first: &Slice| {
            first.group == slice.group
                && same_spacing(&first.spacing, &slice.spacing)
                && first.frame_of_reference == slice.frame_of_reference
                && first.orientation.iter().zip(&slice.orientation).all(|(a, b)| (a - b).abs() < SAME_ORIENTATION)
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, members)) => members.push(slice),
            None => groups.push((slice, vec![slice])),
        }
    }
    let parts = groups.into_iter().flat_map(|(first, members)| parted(first, members)).collect();
    joined(parts).iter().filter_map(|m| stack(m)).collect()
}

/// Whether two spacings, as written, are one but for rounding; one that says nothing is no other's.
pub fn same_spacing(a: &str, b: &str) -> bool {
    let numbers = |text: &str| text.split('/').map(|t| t.parse::<f64>().ok()).collect::<Option<Vec<f64>>>();
    let close = |a: &f64, b: &f64| (a - b).abs() <= SAME_SPACING * a.abs();
    a == b || numbers(a).zip(numbers(b)).is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| close(a, b)))
}

/// Spacings that differ by this share are written with other digits.
const SAME_SPACING: f64 = 1e-3;

/// Joins parts that differ in words only (image type, agent, kernel, rounding of the thickness) and of which each fills the places that the
/// others leave: one stack, described in two ways. Phases and echoes stand at the same places, blocks one behind the other.
fn joined(mut parts: Vec<Vec<&Slice>>) -> Vec<Vec<&Slice>> {
    let mut n = 0;
    while n < parts.len() {
        let other = (n + 1..parts.len()).find(|m| parts.get(n).zip(parts.get(*m)).is_some_and(|(a, b)| interleave(a, b)));
        match other {
            Some(other) => {
                let more = parts.swap_remove(other);
                if let Some(part) = parts.get_mut(n) {
                    part.extend(more);
                }
                n = 0;
            }
            None => n += 1,
        }
    }
    parts
}

/// Whether two parts together are one stack of even steps, and neither of them is by itself.
fn interleave(a: &[&Slice], b: &[&Slice]) -> bool {
    let (Some(first), Some(other)) = (a.first(), b.first()) else { return false };
    let rows = |s: &Slice| s.group.split('|').nth(3).unwrap_or("").to_string();
    let temporal = |s: &Slice| s.group.split('|').next().unwrap_or("").to_string();
    let thickness = |s: &Slice| s.thickness.unwrap_or(0.0);
    let alike = first.frame_of_reference == other.frame_of_reference
        && same_spacing(&first.spacing, &other.spacing)
        && rows(first) == rows(other)
        && temporal(first) == temporal(other)
        && (thickness(first) - thickness(other)).abs() <= SAME_THICKNESS * thickness(first).max(thickness(other))
        && first.orientation.iter().zip(&other.orientation).all(|(a, b)| (a - b).abs() < SAME_ORIENTATION);
    let Some(n) = normal(&first.orientation).filter(|_| alike) else { return false };
    let along = |slices: &mut dyn Iterator<Item = &&Slice>| {
        let mut along: Vec<f64> = slices.map(|s| s.position.iter().zip(n).map(|(p, n)| p * n).sum()).collect();
        along.sort_by(f64::total_cmp);
        along
    };
    let (own, others) = (along(&mut a.iter()), along(&mut b.iter()));
    let within = |inner: &[f64], outer: &[f64]| {
        inner.iter().any(|at| outer.first().is_some_and(|low| at > low) && outer.last().is_some_and(|high| at < high))
    };
    // What is whole by itself is a stack by itself: a phase that stands half a step beside another.
    let gapped = |along: &[f64]| {
        let steps = steps(along);
        let usual = median(steps.clone()).unwrap_or(0.0);
        steps.iter().any(|s| *s > 1.5 * usual) || (thickness(first) > 0.0 && usual > 1.25 * thickness(first))
    };
    let together = steps(&along(&mut a.iter().chain(b)));
    // It may lack slices, which other checks tell.
    let Some(step) = median(together.clone()).filter(|step| *step > SAME_PLACE_MM) else { return false };
    let even = together.iter().filter(|s| (*s - step).abs() < 0.1 * step).count() * 5 >= together.len() * 4;
    let doubled = together.iter().any(|s| *s < 0.5 * step);
    (within(&own, &others) || within(&others, &own)) && even && !doubled && (gapped(&own) || gapped(&others))
}

fn steps(along: &[f64]) -> Vec<f64> {
    along.iter().zip(along.iter().skip(1)).map(|(a, b)| b - a).collect()
}

/// Thicknesses that differ by less than this share are one that was rounded.
const SAME_THICKNESS: f64 = 0.05;

/// Parts slices where they stand at one place otherwise: the runs of a dynamic scan, echoes, phases of the heart; not the steps of a
/// sequential scan, nor slices that have a trigger time each.
fn parted<'a>(first: &'a Slice, members: Vec<&'a Slice>) -> Vec<Vec<&'a Slice>> {
    let Some(n) = normal(&first.orientation) else { return vec![members] };
    let at = |s: &Slice| s.position.iter().zip(n).map(|(p, n)| p * n).sum::<f64>();
    let doubled = |slices: &[&Slice]| {
        let mut along: Vec<f64> = slices.iter().map(|s| at(s)).collect();
        along.sort_by(f64::total_cmp);
        along.windows(2).any(|w| matches!(w, [a, b] if b - a < SAME_PLACE_MM))
    };
    if !doubled(&members) {
        return vec![members];
    }
    let by = |which: [bool; 3]| {
        let mut runs: BTreeMap<[&str; 3], Vec<&Slice>> = BTreeMap::new();
        for slice in &members {
            let [a, b, c] =
                [0, 1, 2].map(|i| slice.runs.get(i).filter(|_| which.get(i) == Some(&true)).map_or("", String::as_str));
            runs.entry([a, b, c]).or_default().push(slice);
        }
        runs.into_values().collect::<Vec<_>>()
    };
    let whole = |runs: &Vec<Vec<&Slice>>| runs.len() > 1 && runs.iter().all(|run| run.len() > 1);
    let (acquisition, echo, trigger) = ([true, false, false], [false, true, false], [false, false, true]);
    let ways = [acquisition, echo, trigger, [true, true, false], [false, true, true], [true, true, true]];
    let clean = ways.into_iter().map(by).find(|runs| whole(runs) && runs.iter().all(|run| !doubled(run)));
    // Echoes are stacks of their own even where one of them holds a slice twice.
    let echoes = || [echo, trigger].into_iter().map(by).find(whole);
    clean.or_else(|| by_rank(&members, &at)).or_else(echoes).unwrap_or_else(|| vec![members])
}

/// Parts slices by the order of their trigger times at each place, which differ a little from place to place; none where two are alike.
fn by_rank<'a>(members: &[&'a Slice], at: &dyn Fn(&Slice) -> f64) -> Option<Vec<Vec<&'a Slice>>> {
    let mut placed: Vec<(f64, f64, &Slice)> =
        members.iter().map(|s| Some((at(s), s.trigger?, *s))).collect::<Option<Vec<_>>>()?;
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut phases: Vec<Vec<&Slice>> = Vec::new();
    for place in placed.chunk_by_mut(|a, b| b.0 - a.0 < SAME_PLACE_MM) {
        place.sort_by(|a, b| a.1.total_cmp(&b.1));
        if place.windows(2).any(|w| matches!(w, [a, b] if a.1 >= b.1)) {
            return None;
        }
        for (rank, (_, _, slice)) in place.iter().enumerate() {
            match phases.get_mut(rank) {
                Some(phase) => phase.push(slice),
                None => phases.push(vec![slice]),
            }
        }
    }
    Some(phases)
}

fn stack(members: &[&Slice]) -> Option<Stack> {
    let first = members.first()?;
    let n = normal(&first.orientation)?;
    let dot = |p: &[f64; 3]| p[0] * n[0] + p[1] * n[1] + p[2] * n[2];
    let mut placed: Vec<(f64, &Slice)> = members.iter().map(|s| (dot(&s.position), *s)).collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let along: Vec<f64> = placed.iter().map(|(at, _)| *at).collect();
    let steps: Vec<f64> = along.windows(2).map(|w| w.last().unwrap_or(&0.0) - w.first().unwrap_or(&0.0)).collect();
    let thickness_mm = median(placed.iter().filter_map(|(_, s)| s.thickness).collect());
    // Duplicates must not pull the median to zero, nor those that were moved by a hair.
    let least = (thickness_mm.unwrap_or(0.0) * SAME_SLICE).max(1e-3);
    let step_mm = median(steps.iter().copied().filter(|s| *s > least).collect()).unwrap_or(0.0);
    let extent = along.last().unwrap_or(&0.0) - along.first().unwrap_or(&0.0);
    let largest = |i: usize| n.iter().enumerate().all(|(j, x)| j == i || x.abs() <= n.get(i).map_or(0.0, |y| y.abs()));
    let plane = if largest(2) {
        Plane::Axial
    } else if largest(0) {
        Plane::Sagittal
    } else {
        Plane::Coronal
    };
    let [a, b, c, d, e, f] = first.orientation;
    let across = |p: &[f64; 3]| (p[0] * a + p[1] * b + p[2] * c, p[0] * d + p[1] * e + p[2] * f);
    Some(Stack {
        slices: placed.iter().map(|(_, s)| s.uid.clone()).collect(),
        frames: placed.iter().map(|(_, s)| s.frame).collect(),
        across: placed.iter().map(|(_, s)| across(&s.position)).collect(),
        group: first.group.clone(),
        frame_of_reference: first.frame_of_reference.clone(),
        spacing: first.spacing.clone(),
        along,
        echo_ms: ends(placed.iter().filter_map(|(_, s)| s.echo_ms())),
        tilt: median(placed.iter().filter_map(|(_, s)| s.tilt).collect()),
        numbers: placed.iter().map(|(_, s)| s.number).collect(),
        plane,
        orientation: first.orientation,
        step_mm,
        thickness_mm,
        coverage_mm: extent + thickness_mm.unwrap_or(step_mm),
    })
}

/// The least and the most.
fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, v| Some(ends.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    (middle < values.len()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests;
