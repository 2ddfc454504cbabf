//! From stored samples to the findings of one series: every frame is decoded once, looked at by every check, and forgotten.

use super::{JobError, Shop};
use crate::codec::{DecodeError, Frame, samples};
use crate::dicom::displayed::Displayed;
use crate::dicom::image::Layout;
use crate::dicom::{Attributes, Uid, syntax, tags};
use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::exam::quality::field::Field;
use crate::exam::quality::lossy::{self, Stored};
use crate::exam::quality::perception::{self, Perceived};
use crate::exam::quality::pixels::{self, Content};
use crate::exam::quality::{calibrated, neighbours, slices};
use crate::index::InstanceRow;
use crate::mark::derive;
use crate::procedure::Quality;
use crate::retrieve::{Object, compression};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

/// What was seen of the frames of one series.
pub(super) struct Seen<'a> {
    modality: &'a str,
    limits: &'a Quality,
    slices: Vec<(Uid, slices::Measures)>,
    perceived: Vec<Perceived>,
    /// Of every frame of a slice: how much is in it.
    contents: HashMap<(Uid, u32), Content>,
    /// Coarse samplings of slices, to compare neighbours.
    coarse: HashMap<(Uid, u32), Vec<f32>>,
    /// Digest of the samples, and the first frame that has them.
    same: HashMap<u64, (Uid, u32)>,
    /// Faults of headers and compression that were told of one image: of the others they are the same.
    told: BTreeSet<(String, Level)>,
    /// One frame in so many is measured: medians over a series need no more.
    every: usize,
    /// Frames so far.
    frames: usize,
}

/// Frames of a series that are compared with each other.
const MOST_FRAMES: usize = 50_000;
/// Below this a CT sample is air, HU.
const AIR_BESIDE_BODY: f64 = -300.0;

impl<'a> Seen<'a> {
    /// Of a series of so many frames.
    pub(super) fn of(modality: &'a str, frames: usize, limits: &'a Quality) -> Seen<'a> {
        Seen {
            modality,
            limits,
            slices: Vec::new(),
            perceived: Vec::new(),
            contents: HashMap::new(),
            coarse: HashMap::new(),
            same: HashMap::new(),
            told: BTreeSet::new(),
            every: frames.div_ceil(limits.perception.frames_a_series.max(1)).max(1),
            frames: 0,
        }
    }

    /// What was measured of its frames.
    pub(super) fn perceived(&self) -> &[Perceived] {
        &self.perceived
    }

    /// What its frames say together.
    pub(super) fn judge(&self, stacks: &[Stack], head: bool) -> Vec<Finding> {
        let limits = &self.limits.pixels;
        let mut judged = slices::judge(&self.slices, head, &self.limits.hounsfield);
        let contents: Vec<Content> = self.contents.values().copied().collect();
        judged.extend(pixels::mostly_blank(&contents, limits));
        for stack in stacks {
            let own = stack.slices.iter().zip(&stack.frames);
            let contents = own.filter_map(|(uid, frame)| Some((uid.clone(), *self.contents.get(&(uid.clone(), *frame))?)));
            judged.extend(pixels::emptied(&contents.collect::<Vec<_>>(), limits));
            judged.extend(neighbours::misfits(stack, &self.coarse, self.limits.perception.misfit_warn));
        }
        judged.extend(calibrated::dead_lines(self.modality, &self.perceived));
        judged
    }

    /// G-01, G-02, G-03, G-16 and the pixel checks of one image, of which `frames` describes each frame where the header does.
    pub(super) fn instance(
        &mut self,
        shop: &Shop,
        row: &InstanceRow,
        image: &Attributes,
        frames: &[Attributes],
    ) -> Result<Vec<Finding>, JobError> {
        let about = |finding: Finding| finding.in_series(&row.series).at(&row.sop_instance);
        let fault = |check: &str, level, zh: String, en: String| Ok(vec![about(Finding::new(check, level, zh, en))]);
        if syntax::is_video(&row.transfer_syntax) {
            return fault("G-01", Level::Review, "视频编码不能打标".into(), "a video stream is not marked".into());
        }
        let object = match Object::open(&shop.store, row, 1 << 20) {
            Ok(object) => object,
            Err(e) => {
                return fault(
                    "G-01",
                    Level::Reject,
                    "文件损坏，无法读取，请重新发送".into(),
                    format!("the object cannot be read: {e}; send it again"),
                );
            }
        };
        if derive::is_marked(&object.data_set) {
            return fault(
                "ALREADY_MARKED",
                Level::Reject,
                "图像已带互认标识，不再重复加注".into(),
                "it carries a recognition mark already and is not marked again".into(),
            );
        }
        let layout = match object.layout() {
            Ok(layout) => layout,
            Err(e) => return fault("G-01", Level::Reject, format!("像素描述无效：{e}"), e.to_string()),
        };
        let mut findings = Vec::new();
        let (loses, ratio) = compression(&object, &layout);
        let lossy = lossy::judge(Stored { loses, ratio }, self.modality, image, &self.limits.compression);
        findings.extend(lossy.and_then(|f| self.once(f)).map(about));
        findings.extend(longer_than_told(&object, &layout).and_then(|f| self.once(f)).map(about));
        for number in 0..layout.frames {
            let frame = match object.frame(number, &layout, &shop.pool) {
                Ok(frame) => frame,
                Err(e) if e.is_ours() => return Err(e.into()),
                Err(e) => {
                    findings.push(about(fault_of_decoding(&e, number)));
                    return Ok(findings);
                }
            };
            if !frame.layout.is_grey() {
                findings.push(about(in_colour()));
                return Ok(findings);
            }
            if number == 0 && !Displayed::has_embedded(&object.data_set) {
                findings.extend(beyond_its_bits(&frame, image).and_then(|f| self.once(f)).map(about));
            }
            let own = usize::try_from(number).ok().and_then(|n| frames.get(n)).unwrap_or(image);
            let mut found = self.frame(&frame, (row.sop_instance.clone(), number), own);
            // The same fault of many frames of an object is one finding.
            found.retain(|f| !findings.iter().any(|known: &Finding| known.check == f.check && known.level == f.level));
            findings.extend(found.into_iter().map(about));
        }
        Ok(findings)
    }

    /// A finding that holds for the whole series, the first time only.
    fn once(&mut self, finding: Finding) -> Option<Finding> {
        self.told.insert((finding.check.clone(), finding.level)).then_some(finding)
    }

    fn frame(&mut self, frame: &Frame, key: (Uid, u32), attributes: &Attributes) -> Vec<Finding> {
        let values = samples::read(frame);
        let mut found: Vec<Finding> = self.twice(&values, &key).into_iter().collect();
        let projection = rule_modality(self.modality) == "DX";
        self.measure(&values, &frame.layout, &key.0, attributes, projection);
        let Ok(columns) = usize::try_from(frame.layout.columns) else { return found };
        let dark_is_high = frame.layout.is_inverted() || attributes.text(tags::PRESENTATION_LUT_SHAPE) == Some("INVERSE");
        let field = Field::of(&values, columns, dark_is_high);
        let limits = &self.limits.pixels;
        if projection {
            let statistics = pixels::FrameStatistics::of(&values, frame.layout.range());
            found.extend(statistics.iter().flat_map(|s| pixels::judge(s, field.as_ref(), limits)));
            return found;
        }
        if self.contents.len() < MOST_FRAMES {
            let deviation = field.map_or(0.0, |f| f.deviation);
            self.contents.insert(key.clone(), Content { uniform: pixels::uniform_share(&values, columns), deviation });
            self.coarse.extend(neighbours::sampling(&values, columns).map(|c| (key, c)));
        }
        let blank = pixels::blank(&values);
        if blank.is_none() {
            found.extend(field.as_ref().and_then(|f| pixels::clipped(f, limits)));
            found.extend(field.as_ref().filter(|_| self.modality == "CT").and_then(|f| pixels::noise_alone(f, limits)));
        }
        found.extend(blank);
        found
    }

    /// G-06: the samples of another frame of the series. A frame of one grey is another finding.
    fn twice(&mut self, samples: &[i32], key: &(Uid, u32)) -> Option<Finding> {
        if pixels::blank(samples).is_some() {
            return None;
        }
        let mut hasher = std::hash::DefaultHasher::new();
        // A seventeenth of them tells images apart as well, at no cost beside decoding.
        samples.iter().step_by(17).for_each(|s| s.hash(&mut hasher));
        let first = self.same.entry(hasher.finish()).or_insert_with(|| key.clone());
        (first != key).then(|| {
            let (uid, frame) = (&first.0, first.1 + 1);
            Finding::new(
                "G-06",
                Level::Warn,
                format!("像素与图像 {uid}（第 {frame} 帧）完全相同，请核对是否重复"),
                format!("its pixels are those of {uid}, frame {frame}; check for duplicates"),
            )
        })
    }

    fn measure(&mut self, samples: &[i32], layout: &Layout, instance: &Uid, attributes: &Attributes, projection: bool) {
        let Ok(columns) = usize::try_from(layout.columns) else { return };
        let looked_at = self.frames.is_multiple_of(self.every.max(1));
        self.frames += 1;
        if !looked_at {
            return;
        }
        let units = hounsfield(self.modality, attributes);
        if let Some((slope, intercept)) = units {
            let measures = slices::Slice { samples, columns, slope, intercept }.measure();
            self.slices.push((instance.clone(), measures));
        }
        let background = units.and_then(|(slope, intercept)| perception::stored(AIR_BESIDE_BODY, slope, intercept));
        self.perceived.push(perception::Frame { samples, columns, background, of_detector: projection }.perceive());
    }
}

/// Rescale slope and intercept of a CT image; none for other modalities and where the header has none.
fn hounsfield(modality: &str, image: &Attributes) -> Option<(f64, f64)> {
    (modality == "CT").then_some(())?;
    Some((image.float(tags::RESCALE_SLOPE)?, image.float(tags::RESCALE_INTERCEPT)?))
}

/// G-02: more native pixel data than rows, columns and frames ask for; a byte of padding is none.
fn longer_than_told(object: &Object, layout: &Layout) -> Option<Finding> {
    let length = object.native_length()?;
    let wanted = layout.total_bytes();
    (length > wanted + 1).then(|| {
        Finding::new(
            "G-02",
            Level::Warn,
            format!("像素数据多出 {} 字节，请核对行列数与帧数", length - wanted),
            format!("{} bytes more of pixel data than rows, columns and frames ask for; check them", length - wanted),
        )
    })
}

/// G-03: samples that use more bits than are stored, padding apart: a viewer cuts them.
fn beyond_its_bits(frame: &Frame, image: &Attributes) -> Option<Finding> {
    let l = &frame.layout;
    if l.bits_allocated != 16 || l.bits_stored >= 16 || l.high_bit + 1 != l.bits_stored {
        return None;
    }
    let padding = image.int(tags::PIXEL_PADDING_VALUE);
    let unused = 16 - l.bits_stored;
    let beyond = |word: u16| {
        let extended = (((word << unused).cast_signed()) >> unused).cast_unsigned();
        let fits = word >> l.bits_stored == 0 || (l.signed && word == extended);
        let pads = padding == Some(i64::from(word)) || padding == Some(i64::from(word.cast_signed()));
        !fits && !pads
    };
    let words = frame.bytes.as_chunks::<2>().0.iter().step_by(7).map(|b| u16::from_le_bytes(*b));
    (words.filter(|w| beyond(*w)).count() > 0).then(|| {
        Finding::new(
            "G-03",
            Level::Warn,
            format!("有像素值超出声明的 {} 位，显示可能有误，请核对设备设置", l.bits_stored),
            format!(
                "samples do not fit into the {} bits that are stored: they may be shown wrong; check the device",
                l.bits_stored
            ),
        )
    })
}

/// a radiograph or slice in colour is a picture of one; no check looks into it.
fn in_colour() -> Finding {
    Finding::new(
        "X-15",
        Level::Review,
        "彩色图像，无法核对像素质量，请人工确认是否为原始采集",
        "an image in colour: its pixels are not checked; decide by hand whether it is an acquisition",
    )
}

fn fault_of_decoding(error: &DecodeError, number: u32) -> Finding {
    let frame = number + 1;
    match error {
        DecodeError::Unsupported(ts) => Finding::new(
            "G-01",
            Level::Review,
            format!("本版本不能解码传输语法 {ts}，请人工处理"),
            format!("transfer syntax {ts} is not decoded by this version; decide by hand"),
        ),
        DecodeError::Short { got, wanted } => Finding::new(
            "G-02",
            Level::Reject,
            format!("像素数据不完整：应有 {wanted}，实有 {got} 字节，请重新发送"),
            format!("pixel data are cut off: {got} of {wanted} bytes; send it again"),
        ),
        other => Finding::new(
            "G-01",
            Level::Reject,
            format!("第 {frame} 帧无法解码，请重新发送"),
            format!("frame {frame} does not decode ({other}); send it again"),
        ),
    }
}
