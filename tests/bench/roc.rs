//! How well the perceptual measures tell blurred and noisy frames from clean ones: over phantoms and the real images of ../shared.
//!
//! Two ways of judging: a measure by itself, pooled over a modality; and against the median of the other frames of its device and
//! series, as a calibrated node holds it against what is usual for device and item. The spread between patients is not in it: the sets
//! are too small. Shared by the test that holds the areas and the benchmark that draws the page.

use hutong::codec::{Limits, Pool, samples};
use hutong::dicom::part10::read_meta;
use hutong::dicom::tags;
use hutong::exam::facts::rule_modality;
use hutong::exam::geometry::median;
use hutong::exam::quality::perception::{Frame, Perceived};
use hutong::phantom;
use hutong::retrieve::Object;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// A clean frame.
pub struct Clean {
    /// Modality as rules name it.
    pub modality: String,
    /// Device and series.
    pub group: String,
    samples: Vec<i32>,
    columns: usize,
    background: Option<i32>,
    /// Range of values that can be stored.
    range: (i64, i64),
}

/// Every fifth slice and every radiograph of the phantoms, and of the real images that decode.
pub fn clean(program: &str, shared: Option<&Path>) -> Vec<Clean> {
    let limits = Limits { workers: 2, memory_mib: 1024, time: Duration::from_secs(60) };
    let pool = Pool::new(program.into(), limits);
    let place = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for study in phantom::all() {
        for (n, image) in study.images.iter().enumerate().filter(|(n, _)| n % 5 == 0 || study.images.len() < 5) {
            let path = place.path().join(format!("{}-{n}.dcm", study.uid));
            std::fs::write(&path, image.file()).unwrap();
            files.push(path);
        }
    }
    // Folders of damaged, derived and re-encoded copies are no clean images.
    for folder in ["series", "dr", "single_ct_mr", "media_cd", "ts/mister_ct_chest"] {
        let Some(shared) = shared else { break };
        let mut own: Vec<_> = hutong::store::walk(shared.join("data").join(folder)).map(Result::unwrap).collect();
        own.sort();
        let apart = own.len() > 20;
        files.extend(own.into_iter().enumerate().filter(|(n, _)| !apart || n % 3 == 0).map(|(_, p)| p));
    }
    files.iter().filter_map(|path| read(path, &pool)).collect()
}

fn read(path: &Path, pool: &Pool) -> Option<Clean> {
    let mut file = std::fs::File::open(path).ok()?;
    let meta = read_meta(&mut file).ok()?;
    let object = Object::read(file, &meta, 1 << 20).ok()?;
    let text = |tag| object.data_set.text(tag).unwrap_or_default();
    let modality = rule_modality(&text(tags::MODALITY)).to_string();
    let derived = text(tags::IMAGE_TYPE).contains("LOCALIZER");
    let layout = object.layout().ok()?;
    if !["DX", "CT", "MR"].contains(&modality.as_str()) || derived || layout.frames != 1 || !layout.is_grey() {
        return None;
    }
    let frame = object.frame(0, &layout, pool).ok()?;
    let number = |tag| text(tag).trim().parse::<f64>().ok();
    let background = match (modality.as_str(), number(tags::RESCALE_SLOPE), number(tags::RESCALE_INTERCEPT)) {
        ("CT", Some(slope), Some(intercept)) => Some(((-300.0 - intercept) / slope) as i32),
        _ => None,
    };
    let range = frame.layout.range();
    Some(Clean {
        group: format!("{} {}", text(tags::MANUFACTURER), text(tags::SERIES_INSTANCE_UID)),
        samples: samples::read(&frame),
        columns: layout.columns as usize,
        modality,
        background,
        range,
    })
}

/// What is done to a clean frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Gaussian, standard deviation in samples.
    Blur(f64),
    /// The noise that is there, so many times.
    Noise(f64),
}

pub const FAULTS: [Fault; 5] = [Fault::Blur(1.0), Fault::Blur(2.0), Fault::Blur(3.0), Fault::Noise(2.0), Fault::Noise(4.0)];

impl Fault {
    pub fn name(self) -> String {
        match self {
            Fault::Blur(sigma) => format!("模糊 blur σ={sigma}"),
            Fault::Noise(times) => format!("噪声 noise ×{times}"),
        }
    }
}

impl Clean {
    fn perceive(&self, samples: &[i32]) -> Perceived {
        Frame { samples, columns: self.columns, background: self.background, of_detector: false }.perceive()
    }

    fn spoilt(&self, fault: Fault, seed: u32) -> Vec<i32> {
        let end = |v: f64| (v.round() as i64).clamp(self.range.0, self.range.1) as i32;
        match fault {
            Fault::Blur(sigma) => blurred(&self.samples, self.columns, sigma).into_iter().map(end).collect(),
            Fault::Noise(times) => {
                // The noise that is there, measured apart from the measure under test: differences of neighbours along a row.
                let mut steps: Vec<f64> =
                    self.samples.windows(2).step_by(7).map(|w| f64::from((w[1] - w[0]).abs())).filter(|d| *d > 0.0).collect();
                steps.sort_by(f64::total_cmp);
                let own = 1.4826 * steps.get(steps.len() / 2).copied().unwrap_or(1.0) / 2f64.sqrt();
                let more = own * (times * times - 1.0).sqrt();
                let mut random = normal(seed);
                self.samples.iter().map(|v| end(f64::from(*v) + more * random())).collect()
            }
        }
    }
}

/// Numbers of a normal distribution, near enough: sums of twelve uniform ones.
fn normal(mut seed: u32) -> impl FnMut() -> f64 {
    move || {
        let mut uniform = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed >> 8) / f64::from(1u32 << 24) - 0.5
        };
        (0..12).map(|_| uniform()).sum()
    }
}

fn blurred(samples: &[i32], columns: usize, sigma: f64) -> Vec<f64> {
    let reach = (3.0 * sigma).ceil() as isize;
    let kernel: Vec<f64> = (-reach..=reach).map(|i| (-(i * i) as f64 / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = kernel.iter().sum();
    let rows = samples.len() / columns;
    let pass = |source: &[f64], step: usize, length: usize, position: &dyn Fn(usize) -> usize| -> Vec<f64> {
        (0..source.len())
            .map(|i| {
                let p = position(i) as isize;
                let at = |o: isize| {
                    let to = (p + o).clamp(0, length as isize - 1) - p;
                    source[(i as isize + to * step as isize) as usize]
                };
                (-reach..=reach).zip(&kernel).map(|(o, k)| k * at(o)).sum::<f64>() / sum
            })
            .collect()
    };
    let source: Vec<f64> = samples.iter().map(|v| f64::from(*v)).collect();
    let across = pass(&source, 1, columns, &|i| i % columns);
    pass(&across, columns, rows, &|i| i / columns)
}

/// One curve: a fault told from clean frames.
pub struct Curve {
    pub modality: String,
    pub fault: Fault,
    /// Against the other frames of its series; else the bare measure.
    pub calibrated: bool,
    pub frames: usize,
    pub groups: usize,
    pub area: f64,
    /// False alarms and hits, both from 0 to 1.
    pub points: Vec<(f64, f64)>,
}

/// All curves.
pub fn curves(clean: &[Clean], faults: &[Fault]) -> Vec<Curve> {
    let mut found = Vec::new();
    for modality in ["DX", "CT", "MR"] {
        let own: Vec<&Clean> = clean.iter().filter(|c| c.modality == modality).collect();
        for &fault in faults {
            let score = |p: &Perceived| match fault {
                Fault::Blur(_) => p.sharpness.map(|s| -s),
                Fault::Noise(_) => p.noise.filter(|n| *n > 0.0).map(f64::log2),
            };
            let pairs: Vec<(&str, f64, f64)> = own
                .iter()
                .enumerate()
                .filter_map(|(n, c)| {
                    let before = score(&c.perceive(&c.samples))?;
                    let after = score(&c.perceive(&c.spoilt(fault, n as u32 + 1)))?;
                    Some((c.group.as_str(), before, after))
                })
                .collect();
            let bare: Vec<(f64, f64)> = pairs.iter().map(|(_, b, a)| (*b, *a)).collect();
            found.push(curve(modality, fault, false, &bare, groups(&pairs)));
            let against = calibrated(&pairs);
            found.push(curve(modality, fault, true, &against, groups(&pairs)));
        }
    }
    found
}

fn groups(pairs: &[(&str, f64, f64)]) -> usize {
    pairs.iter().map(|(g, _, _)| *g).collect::<std::collections::BTreeSet<_>>().len()
}

/// Each frame against the median of the other clean frames of its group; groups of one frame have nothing to be held against.
fn calibrated(pairs: &[(&str, f64, f64)]) -> Vec<(f64, f64)> {
    let mut by_group: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    pairs.iter().for_each(|(group, before, after)| by_group.entry(group).or_default().push((*before, *after)));
    let mut against = Vec::new();
    for own in by_group.values().filter(|own| own.len() > 2) {
        for (n, (before, after)) in own.iter().enumerate() {
            let others = own.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, (b, _))| *b).collect();
            let usual = median(others).unwrap();
            against.push((before - usual, after - usual));
        }
    }
    against
}

fn curve(modality: &str, fault: Fault, calibrated: bool, pairs: &[(f64, f64)], groups: usize) -> Curve {
    let mut limits: Vec<f64> = pairs.iter().flat_map(|(b, a)| [*b, *a]).collect();
    limits.sort_by(|a, b| b.total_cmp(a));
    let share =
        |over: &dyn Fn(&(f64, f64)) -> bool| pairs.iter().filter(|p| over(p)).count() as f64 / pairs.len().max(1) as f64;
    let mut points = vec![(0.0, 0.0)];
    points.extend(limits.iter().map(|limit| (share(&|p| p.0 >= *limit), share(&|p| p.1 >= *limit))));
    // The area by counting pairs: a tie is half a hit.
    let wins = pairs.iter().flat_map(|(b, _)| {
        pairs.iter().map(move |(_, a)| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        })
    });
    let area = wins.sum::<f64>() / (pairs.len() * pairs.len()).max(1) as f64;
    Curve { modality: modality.into(), fault, calibrated, frames: pairs.len(), groups, area, points }
}

/// The page: a table of areas, and the curves.
pub fn page(curves: &[Curve]) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\"><title>感知指标的 ROC · ROC of the perceptual measures</title>\n\
         <style>body{font:15px/1.5 sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}\
         td,th{border:1px solid #999;padding:.2rem .6rem;text-align:right}th:first-child,td:first-child{text-align:left}\
         figure{display:inline-block;margin:.6rem}figcaption{text-align:center;font-size:13px}</style>\n\
         <h1>感知指标的 ROC · ROC of the perceptual measures</h1>\n\
         <p>由 <code>cargo bench --bench perception</code> 生成。Generated by <code>cargo bench --bench perception</code>: each clean frame (phantoms \
         and the real images of <code>../shared/data</code>) beside the same frame with a fault. “单用 bare”: the measure by itself, pooled over all \
         devices of a modality. “校准 calibrated”: against the median of the other clean frames of the same device and series; \
         the spread between patients, which a calibrated node has in its percentiles, is not in it.</p>\n<table><tr><th>故障 fault<th>模态 modality<th>单用 bare<th>帧 frames<th>设备与序列 series<th>校准 \
         calibrated<th>帧 frames</tr>\n",
    );
    for bare in curves.iter().filter(|c| !c.calibrated) {
        let held = curves.iter().find(|c| c.calibrated && c.fault == bare.fault && c.modality == bare.modality);
        let (area, frames) = held.filter(|h| h.frames > 0).map_or(("—".into(), 0), |h| (format!("{:.3}", h.area), h.frames));
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{:.3}<td>{}<td>{}<td>{area}<td>{frames}</tr>",
            bare.fault.name(),
            bare.modality,
            bare.area,
            bare.frames,
            bare.groups
        );
    }
    out.push_str("</table>\n");
    for curve in curves.iter().filter(|c| c.frames > 0) {
        let points: Vec<String> =
            curve.points.iter().map(|(x, y)| format!("{:.1},{:.1}", 10.0 + 160.0 * x, 170.0 - 160.0 * y)).collect();
        let kind = if curve.calibrated { "校准 calibrated" } else { "单用 bare" };
        let _ = writeln!(
            out,
            "<figure><svg width=\"180\" height=\"180\"><path d=\"M10 10V170H170\" fill=\"none\" stroke=\"#555\"/>\
             <path d=\"M10 170L170 10\" stroke=\"#bbb\" stroke-dasharray=\"4\"/>\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/></svg>\
             <figcaption>{} {}<br>{kind} · AUC {:.3}</figcaption></figure>",
            points.join(" "),
            curve.modality,
            curve.fault.name(),
            curve.area
        );
    }
    out.push_str("</html>\n");
    out
}
