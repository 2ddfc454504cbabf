//! From stored samples to the findings of one series: every frame is decoded once, looked at by every check, and forgotten. Images are looked
//! at side by side, and what was seen is put together in their order: the findings never depend on which thread was faster.

use super::{JobError, Shop, decodable};
use crate::codec::{Frame, samples};
use crate::dicom::displayed::Displayed;
use crate::dicom::{Attributes, Uid, syntax, tags};
use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::Stack;
use crate::exam::quality::checks::x15_window;
use crate::exam::quality::field::{Field, Kind};
use crate::exam::quality::hounsfield::{self, c11_gross};
use crate::exam::quality::perception::{self, Perceived};
use crate::exam::quality::pixels::c18_blank::Content;
use crate::exam::quality::pixels::g16_lossy::Stored;
use crate::exam::quality::pixels::{
    self, band, c16_neighbours, c18_blank, g03_bits_used, g06_twice, g16_lossy, hole, snow, x07_clipped, x12_dead_lines,
};
use crate::index::InstanceRow;
use crate::mark::derive;
use crate::procedure::Quality;
use crate::retrieve::{Object, compression};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the images of one series are looked at with.
pub(super) struct Look<'a> {
    pub shop: &'a Shop,
    /// Modality of the series.
    pub modality: &'a str,
    pub limits: &'a Quality,
    /// The items are of a limb.
    pub limb: bool,
    /// One frame in so many is measured: medians over a series need no more.
    pub every: usize,
}

/// An image to look at.
pub(super) struct Picture<'a> {
    pub row: &'a InstanceRow,
    /// Its header.
    pub image: &'a Attributes,
    /// Describes each frame where the header does.
    pub frames: &'a [Attributes],
    /// Frames of the series before it.
    pub before: usize,
}

/// What was seen of one image by itself.
#[derive(Default)]
pub(super) struct Looked {
    findings: Vec<Finding>,
    /// Faults of headers and compression: of the other images of the series they are the same.
    of_series: Vec<Finding>,
    frames: Vec<FrameSeen>,
}

/// What was seen of one frame.
#[derive(Default)]
struct FrameSeen {
    findings: Vec<Finding>,
    /// Of its samples; none for one of one grey.
    digest: Option<u64>,
    /// How much is in a slice.
    content: Option<Content>,
    /// Coarse sampling of a slice, to compare neighbours.
    coarse: Option<Vec<f32>>,
    hounsfield: Option<hounsfield::Measures>,
    /// Of every CT slice.
    gross: Option<c11_gross::Gross>,
    perceived: Option<Perceived>,
}

/// Frames of a series that are compared with each other.
const MOST_FRAMES: usize = 50_000;
/// Below this a CT sample is air, HU.
const AIR_BESIDE_BODY: f64 = -300.0;

/// Samples along the side of a tile in which noise is looked for ([`snow`]).
const SAMPLES_OF_PROJECTION: usize = 24;
const SAMPLES_OF_SLICE: usize = 12;

/// One frame in so many is measured of a series of so many frames.
pub(super) fn every(frames: usize, limits: &Quality) -> usize {
    frames.div_ceil(limits.perception.frames_a_series.max(1)).max(1)
}

impl Look<'_> {
    /// Looks at every image, on as many threads as there are processors; the answers are in the order of the images.
    pub(super) fn at_all(&self, pictures: &[Picture<'_>]) -> Vec<Result<Looked, JobError>> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(pictures.len());
        let next = AtomicUsize::new(0);
        let take = || {
            let mut own = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                match pictures.get(n) {
                    Some(picture) => own.push((n, self.at(picture))),
                    None => return own,
                }
            }
        };
        let mut all: Vec<(usize, Result<Looked, JobError>)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
            let mut all = take();
            for other in others {
                match other.join() {
                    Ok(own) => all.extend(own),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        });
        all.sort_by_key(|(n, _)| *n);
        all.into_iter().map(|(_, looked)| looked).collect()
    }

    /// G-01, G-02, G-03, G-16 and the pixel checks of one image.
    fn at(&self, picture: &Picture<'_>) -> Result<Looked, JobError> {
        let (row, image) = (picture.row, picture.image);
        let mut looked = Looked::default();
        let object = match self.open(row) {
            Ok(object) => object,
            Err(fault) => return Ok(Looked { findings: vec![*fault], ..looked }),
        };
        let layout = match object.layout() {
            Ok(layout) => layout,
            Err(e) => {
                let fault = Finding::new("G-01", Level::Reject, format!("像素描述无效：{e}"), e.to_string());
                return Ok(Looked { findings: vec![fault], ..looked });
            }
        };
        let (loses, ratio) = compression(&object, &layout);
        looked.of_series.extend(g16_lossy::check(Stored { loses, ratio }, self.modality, image, &self.limits.compression));
        looked.of_series.extend(decodable::longer_than_told(&object, &layout));
        looked.findings.extend(decodable::offset_table(&object, &layout));
        looked.findings.extend(decodable::native_under_another_syntax(&object, &row.transfer_syntax));
        for number in 0..layout.frames {
            let frame = match object.frame(number, &layout, &self.shop.pool) {
                Ok(frame) => frame,
                Err(e) if e.is_ours() => return Err(e.into()),
                Err(e) => {
                    let fault = decodable::fault(&e, number);
                    looked.findings.push(if layout.frames > 1 { fault.in_frame(number.saturating_add(1)) } else { fault });
                    return Ok(looked);
                }
            };
            if !frame.layout.is_grey() {
                looked.findings.push(x15_window::in_colour());
                return Ok(looked);
            }
            if number == 0 && !Displayed::has_embedded(&object.data_set) {
                looked.of_series.extend(g03_bits_used::check(
                    &frame.bytes,
                    &frame.layout,
                    image,
                    self.limits.pixels.beyond_share,
                ));
            }
            let n = usize::try_from(number).unwrap_or(usize::MAX);
            let own = picture.frames.get(n).unwrap_or(image);
            let is_measured = picture.before.saturating_add(n).is_multiple_of(self.every.max(1));
            let seen = self.frame(&frame, own, is_measured);
            let coarse = seen.coarse.filter(|_| n < MOST_FRAMES);
            looked.frames.push(FrameSeen { coarse, ..seen });
        }
        Ok(looked)
    }

    /// Opens an object that has pixels to judge; otherwise what is wrong with it.
    fn open(&self, row: &InstanceRow) -> Result<Object, Box<Finding>> {
        let fault = |check: &str, level, zh: &str, en: String| Box::new(Finding::new(check, level, zh, en));
        if syntax::is_video(&row.transfer_syntax) {
            return Err(Box::new(decodable::video(Level::Review)));
        }
        let object = Object::open(&self.shop.store, row, 1 << 20).map_err(|e| {
            let en = format!("the object cannot be read: {e}; send it again");
            fault("G-01", Level::Reject, "文件损坏，无法读取，请重新发送", en)
        })?;
        if derive::is_marked(&object.data_set) {
            let en = "it carries a recognition mark already and is not marked again".into();
            return Err(fault("ALREADY_MARKED", Level::Reject, "图像已带互认标识，不再重复加注", en));
        }
        Ok(object)
    }

    fn frame(&self, frame: &Frame, attributes: &Attributes, is_measured: bool) -> FrameSeen {
        let values = samples::read(frame);
        let mut seen = FrameSeen { digest: g06_twice::digest(&values), ..FrameSeen::default() };
        let projection = rule_modality(self.modality) == "DX";
        let Ok(columns) = usize::try_from(frame.layout.columns) else { return seen };
        if is_measured {
            self.measure(&mut seen, &values, columns, attributes);
        }
        let dark_is_high = frame.layout.is_inverted() || attributes.text(tags::PRESENTATION_LUT_SHAPE) == Some("INVERSE");
        let kind = if projection { Kind::Projection } else { Kind::Slice };
        let field = Field::of(&values, columns, dark_is_high, kind);
        let limits = &self.limits.pixels;
        if projection {
            let statistics = pixels::FrameStatistics::of(&values, frame.layout.range());
            seen.findings.extend(statistics.iter().flat_map(|s| pixels::judge(s, field.as_ref(), self.limb, limits)));
            if !seen.findings.iter().any(|f| f.check == "X-06") {
                seen.findings.extend(self.cut_off("X-06", &values, columns, limits.band_share_dr));
                seen.findings.extend(field.as_ref().and_then(|f| band::out_of_step("X-06", f, limits)));
                let noisy = snow::share(&values, columns, SAMPLES_OF_PROJECTION, limits.noise_correlation);
                seen.findings.extend(snow::check("X-06", noisy, limits));
            }
            return seen;
        }
        let deviation = field.map_or(0.0, |f| f.deviation);
        seen.coarse = c16_neighbours::sampling(&values, columns);
        let padding = attributes.int(tags::PIXEL_PADDING_VALUE);
        seen.gross = rescale(self.modality, attributes)
            .and_then(|units| c11_gross::of(&values, columns, units, padding, &self.limits.hounsfield));
        let air = seen.gross.is_some_and(|g| c18_blank::is_air(g.mean));
        let noise = field.is_some_and(|f| f.correlation < limits.noise_correlation);
        let content = Content { uniform: c18_blank::uniform_share(&values, columns), deviation, air, noise };
        seen.content = Some(content);
        let blank = c18_blank::blank(&values);
        if blank.is_none() {
            seen.findings.extend(field.as_ref().and_then(|f| x07_clipped::check(f, limits)));
            let ct = field.as_ref().filter(|_| self.modality == "CT");
            seen.findings.extend(ct.and_then(|f| c18_blank::noise_alone(f, &content, limits)));
            seen.findings.extend(field.as_ref().and_then(|f| c18_blank::riddled(f, limits)));
            seen.findings.extend(self.cut_off("C-18", &values, columns, limits.band_share));
            seen.findings.extend(field.as_ref().and_then(|f| band::out_of_step("C-18", f, limits)));
            if !noise {
                let noisy = snow::share(&values, columns, SAMPLES_OF_SLICE, limits.noise_correlation);
                seen.findings.extend(snow::check("C-18", noisy, limits));
            }
        }
        seen.findings.extend(blank);
        seen
    }

    /// Rows, or another rectangle, of one value where anatomy was.
    fn cut_off(&self, check: &str, values: &[i32], columns: usize, edge_share: f64) -> Option<Finding> {
        let limits = band::Limits { edge_share, inner_rows: self.limits.pixels.band_rows };
        let rows = band::fault(values, columns, limits).map(|band| band::finding(check, band, edge_share));
        rows.or_else(|| {
            let limits = hole::Limits { share: self.limits.pixels.hole_share, edge_share: self.limits.pixels.hole_edge_share };
            Some(hole::finding(check, hole::fault(values, columns, limits)?, limits))
        })
    }

    fn measure(&self, seen: &mut FrameSeen, samples: &[i32], columns: usize, attributes: &Attributes) {
        let units = rescale(self.modality, attributes);
        let slice =
            |(slope, intercept)| hounsfield::Slice { samples, columns, slope, intercept }.measure(&self.limits.hounsfield);
        seen.hounsfield = units.map(slice);
        let background = units.and_then(|(slope, intercept)| perception::stored(AIR_BESIDE_BODY, slope, intercept));
        let of_detector = rule_modality(self.modality) == "DX";
        seen.perceived = Some(perception::Frame { samples, columns, background, of_detector }.perceive());
    }
}

/// What was seen of the frames of one series together, image by image in their order.
pub(super) struct Seen<'a> {
    modality: &'a str,
    limits: &'a Quality,
    slices: Vec<(Place, hounsfield::Measures)>,
    /// Objects of several frames.
    of_frames: BTreeSet<Uid>,
    perceived: Vec<Perceived>,
    /// Of every frame of a slice: how much is in it.
    contents: HashMap<(Uid, u32), Content>,
    /// Coarse samplings of slices, to compare neighbours.
    coarse: HashMap<(Uid, u32), Vec<f32>>,
    /// CT numbers of every slice, roughly.
    gross: HashMap<(Uid, u32), c11_gross::Gross>,
    /// Frames that may come twice.
    same: g06_twice::Known,
    /// Faults that were told of one image: of the others they are the same.
    told: BTreeSet<(String, Level)>,
}

impl<'a> Seen<'a> {
    /// Of a series.
    pub(super) fn of(modality: &'a str, limits: &'a Quality) -> Seen<'a> {
        Seen {
            modality,
            limits,
            slices: Vec::new(),
            of_frames: BTreeSet::new(),
            perceived: Vec::new(),
            contents: HashMap::new(),
            coarse: HashMap::new(),
            gross: HashMap::new(),
            same: g06_twice::Known::default(),
            told: BTreeSet::new(),
        }
    }

    /// What was measured of its frames.
    pub(super) fn perceived(&self) -> &[Perceived] {
        &self.perceived
    }

    /// Takes what was seen of one image; its findings. The same fault of many frames of an object is one finding.
    pub(super) fn take(&mut self, row: &InstanceRow, looked: Looked) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            looked.of_series.into_iter().filter(|f| self.told.insert((f.check.clone(), f.level))).collect();
        if looked.frames.len() > 1 {
            self.of_frames.insert(row.sop_instance.clone());
        }
        for (number, frame) in (0u32..).zip(looked.frames) {
            let key = (row.sop_instance.clone(), number);
            let place = self.place(&row.sop_instance, number);
            let twice = frame.digest.and_then(|digest| self.same.check(digest, &key));
            for finding in twice.into_iter().chain(frame.findings) {
                if !findings.iter().any(|known| known.check == finding.check && known.level == finding.level) {
                    findings.push(finding.at(&place));
                }
            }
            self.slices.extend(frame.hounsfield.map(|measures| (place, measures)));
            self.perceived.extend(frame.perceived);
            if self.contents.len() < MOST_FRAMES {
                self.contents.extend(frame.content.map(|content| (key.clone(), content)));
                self.coarse.extend(frame.coarse.map(|coarse| (key.clone(), coarse)));
                self.gross.extend(frame.gross.map(|gross| (key, gross)));
            }
        }
        findings.extend(looked.findings);
        findings.into_iter().map(|f| f.in_series(&row.series).at(&row.sop_instance)).collect()
    }

    /// The digests of its frames.
    pub(super) fn into_frames(self) -> g06_twice::Known {
        self.same
    }

    /// What its frames say together.
    pub(super) fn judge(&self, stacks: &[Stack], head: bool) -> Vec<Finding> {
        let limits = &self.limits.pixels;
        let mut judged = hounsfield::judge(&self.slices, head, &self.limits.hounsfield);
        let contents: Vec<Content> = self.contents.values().copied().collect();
        judged.extend(c18_blank::mostly_blank(&contents, limits));
        judged.extend(c18_blank::mostly_noise(&contents, limits));
        judged.extend(c18_blank::mostly_air(&self.gross.values().map(|g| g.mean).collect::<Vec<f64>>(), limits));
        let mut gross: Vec<(Place, c11_gross::Gross)> =
            self.gross.iter().map(|((uid, frame), g)| (self.place(uid, *frame), *g)).collect();
        gross.sort_by(|a, b| a.0.cmp(&b.0));
        let impossible = c11_gross::of_series(&gross, &self.limits.hounsfield);
        let shifted = |stack: &Stack| c11_gross::shifted(&self.in_order(stack, &self.gross), &self.limits.hounsfield);
        // Where all is impossible nothing is odd.
        judged.extend(stacks.iter().filter(|_| impossible.is_none()).flat_map(shifted));
        judged.extend(impossible);
        for stack in stacks {
            judged.extend(c18_blank::emptied(&self.in_order(stack, &self.contents), open_ends(stack, stacks), limits));
            judged.extend(c16_neighbours::misfits(stack, &self.coarse, &self.limits.perception));
        }
        judged.extend(self.same.mostly());
        judged.extend(x12_dead_lines::check(self.modality, &self.perceived));
        judged
    }

    /// A frame, counted from 0, as a finding names it.
    fn place(&self, instance: &Uid, frame: u32) -> Place {
        Place { instance: instance.clone(), frame: self.of_frames.contains(instance).then(|| frame.saturating_add(1)) }
    }

    /// What was seen of the slices of a stack, in its order.
    fn in_order<T: Copy>(&self, stack: &Stack, seen: &HashMap<(Uid, u32), T>) -> Vec<(Place, T)> {
        let own = stack.slices.iter().zip(&stack.frames);
        own.filter_map(|(uid, frame)| Some((self.place(uid, *frame), *seen.get(&(uid.clone(), *frame))?))).collect()
    }
}

/// At which ends of a stack no other of the series goes on: first and last.
fn open_ends(stack: &Stack, all: &[Stack]) -> (bool, bool) {
    let Some((first, last)) = stack.ends() else { return (false, false) };
    let ends = || all.iter().filter_map(Stack::ends);
    (!ends().any(|(other, _)| other < first), !ends().any(|(_, other)| other > last))
}

/// Rescale slope and intercept of a CT image; none for other modalities and where the header has none.
fn rescale(modality: &str, image: &Attributes) -> Option<(f64, f64)> {
    (modality == "CT").then_some(())?;
    Some((image.float(tags::RESCALE_SLOPE)?, image.float(tags::RESCALE_INTERCEPT)?))
}
