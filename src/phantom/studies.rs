//! The phantom studies: four that are recognised and three that must be refused.

use super::{Image, pictures};
use crate::dicom::dataset::Value;
use crate::dicom::{DataSet, Tag, Uid, VR, tags, uids};
use crate::exam::verdict::Outcome;

/// What a node that knows the phantoms' hospital must conclude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// For the study.
    pub outcome: Outcome,
    /// Items that are accepted.
    pub items: Vec<u32>,
    /// A reason code or check number that must be given when it is refused.
    pub why: Option<&'static str>,
}

/// Which study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phantom {
    /// DX chest PA and lateral, 2500 × 3000.
    Chest,
    /// CT head plain.
    CtHead,
    /// CT chest plain and enhanced.
    CtChest,
    /// MR lumbar spine: sagittal T1, T2, axial T2.
    MrLumbar,
    /// CT head with a slice missing in the middle.
    MissingSlice,
    /// CT of the orbits: looks like a head, is not on the list.
    LookAlike,
    /// DX knee whose header says right and whose text says left.
    SideConflict,
}

/// A phantom study.
pub struct Study {
    /// Which.
    pub phantom: Phantom,
    /// Study Instance UID.
    pub uid: Uid,
    /// What must come of it.
    pub expected: Expected,
    /// Its images.
    pub images: Vec<Image>,
}

/// All phantom studies.
pub fn all() -> Vec<Study> {
    use Phantom::{Chest, CtChest, CtHead, LookAlike, MissingSlice, MrLumbar, SideConflict};
    [Chest, CtHead, CtChest, MrLumbar, MissingSlice, LookAlike, SideConflict].into_iter().map(study).collect()
}

fn study(phantom: Phantom) -> Study {
    let expected = |outcome, items: &[u32], why| Expected { outcome, items: items.to_vec(), why };
    let accept = |items: &[u32]| expected(Outcome::Accept, items, None);
    let (expected, images) = match phantom {
        Phantom::Chest => (accept(&[2]), chest()),
        Phantom::CtHead => (accept(&[34]), ct_head(30, None, "头颅CT平扫", "HEAD")),
        Phantom::CtChest => (accept(&[49]), ct_chest()),
        Phantom::MrLumbar => (accept(&[58]), mr_lumbar()),
        Phantom::MissingSlice => {
            (expected(Outcome::Reject, &[], Some("C-02")), ct_head(30, Some(14), "头颅CT平扫 缺层", "HEAD"))
        }
        Phantom::LookAlike => (expected(Outcome::Reject, &[], Some("NOT_ON_LIST")), ct_head(18, None, "眼眶CT平扫", "HEAD")),
        Phantom::SideConflict => (expected(Outcome::Review, &[], Some("LATERALITY_CONFLICT")), knee()),
    };
    let uid = images.first().and_then(|i| i.data_set.text(tags::STUDY_INSTANCE_UID)).unwrap_or_default();
    let uid = Uid::parse(&uid).unwrap_or_else(|_| Uid::derived(&["phantom"]));
    Study { phantom, uid, expected, images }
}

/// Who and what; texts in Chinese, written in the character set named.
struct About<'a> {
    key: &'a str,
    patient: (&'a str, &'a str, &'a str),
    modality: &'a str,
    sop_class: &'a str,
    description: &'a str,
    body_part: &'a str,
    charset: &'a str,
}

impl About<'_> {
    fn text(&self, data_set: &mut DataSet, tag: Tag, vr: VR, text: &str) {
        if self.charset == "GB18030" {
            let mut bytes = encoding_rs::GB18030.encode(text).0.into_owned();
            if bytes.len() % 2 == 1 {
                bytes.push(b' ');
            }
            data_set.put(tag, vr, Value::Bytes(bytes));
        } else {
            data_set.put_text(tag, vr, text);
        }
    }

    /// The attributes of one image.
    fn image(&self, series: u32, number: u32, series_text: &str, size: (u32, u32)) -> DataSet {
        let mut ds = DataSet::default();
        let (name, id, birth) = self.patient;
        let (series_name, number_text) = (series.to_string(), number.to_string());
        let study = Uid::derived(&["phantom study", self.key]);
        ds.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, self.charset);
        ds.put_text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY");
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, self.sop_class);
        ds.put_text(
            tags::SOP_INSTANCE_UID,
            VR::UI,
            Uid::derived(&["phantom image", self.key, &series_name, &number_text]).as_str(),
        );
        for (tag, value) in [(tags::STUDY_DATE, "20260310"), (tags::SERIES_DATE, "20260310"), (tags::CONTENT_DATE, "20260310")]
        {
            ds.put_text(tag, VR::DA, value);
        }
        for tag in [tags::STUDY_TIME, tags::SERIES_TIME, tags::CONTENT_TIME] {
            ds.put_text(tag, VR::TM, "093000");
        }
        ds.put_text(tags::ACCESSION_NUMBER, VR::SH, &format!("ACC{id}"));
        ds.put_text(tags::MODALITY, VR::CS, self.modality);
        ds.put_text(tags::MANUFACTURER, VR::LO, "Hutong phantom");
        self.text(&mut ds, tags::INSTITUTION_NAME, VR::LO, "互通示范医院");
        ds.put_text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        self.text(&mut ds, tags::STUDY_DESCRIPTION, VR::LO, self.description);
        self.text(&mut ds, tags::SERIES_DESCRIPTION, VR::LO, series_text);
        ds.put_text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Phantom 1");
        self.text(&mut ds, tags::PATIENT_NAME, VR::PN, name);
        ds.put_text(tags::PATIENT_ID, VR::LO, id);
        ds.put_text(tags::PATIENT_BIRTH_DATE, VR::DA, birth);
        ds.put_text(tags::PATIENT_SEX, VR::CS, "O");
        ds.put_text(tags::BODY_PART_EXAMINED, VR::CS, self.body_part);
        ds.put_text(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
        ds.put_text(tags::SERIES_INSTANCE_UID, VR::UI, Uid::derived(&["phantom series", self.key, &series_name]).as_str());
        ds.put_text(tags::STUDY_ID, VR::SH, "1");
        ds.put_text(tags::SERIES_NUMBER, VR::IS, &series_name);
        ds.put_text(tags::INSTANCE_NUMBER, VR::IS, &number_text);
        ds.put_u16(tags::SAMPLES_PER_PIXEL, 1);
        ds.put_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        for (tag, value) in [(tags::ROWS, size.1), (tags::COLUMNS, size.0)] {
            ds.put_u16(tag, u16::try_from(value).unwrap_or(u16::MAX));
        }
        for (tag, value) in
            [(tags::BITS_ALLOCATED, 16), (tags::BITS_STORED, 12), (tags::HIGH_BIT, 11), (tags::PIXEL_REPRESENTATION, 0)]
        {
            ds.put_u16(tag, value);
        }
        ds
    }
}

fn numbers(values: &[f64]) -> String {
    values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join("\\")
}

fn window(ds: &mut DataSet, center: &str, width: &str) {
    ds.put_text(tags::WINDOW_CENTER, VR::DS, center);
    ds.put_text(tags::WINDOW_WIDTH, VR::DS, width);
}

/// What every radiograph says (PS3.3 A.26).
fn radiograph(about: &About<'_>, number: u32, text: &str, view: &str, side: &str, size: (u32, u32)) -> DataSet {
    let mut ds = about.image(number, 1, text, size);
    ds.put_text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\");
    ds.put_text(tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION");
    ds.put_text(tags::VIEW_POSITION, VR::CS, view);
    ds.put_text(tags::IMAGE_LATERALITY, VR::CS, side);
    ds.put_text(tags::PATIENT_ORIENTATION, VR::CS, if view == "LL" { "A\\F" } else { "L\\F" });
    ds.put_text(tags::IMAGER_PIXEL_SPACING, VR::DS, "0.140\\0.140");
    ds.put_text(tags::PIXEL_INTENSITY_RELATIONSHIP, VR::CS, "LOG");
    ds.put(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, VR::SS, Value::Bytes(vec![1, 0]));
    ds.put_text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    ds.put_text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    ds.put_text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    ds.put_text(tags::RESCALE_INTERCEPT, VR::DS, "0");
    ds.put_text(tags::RESCALE_SLOPE, VR::DS, "1");
    ds.put_text(tags::RESCALE_TYPE, VR::LO, "US");
    ds.put_text(tags::DETECTOR_TYPE, VR::CS, "DIRECT");
    ds.put(tags::ACQUISITION_CONTEXT_SEQUENCE, VR::SQ, Value::Items(vec![]));
    ds.put(tags::ANATOMIC_REGION_SEQUENCE, VR::SQ, Value::Items(vec![]));
    window(&mut ds, "2000", "3600");
    ds
}

fn chest() -> Vec<Image> {
    let about = About {
        key: "chest",
        patient: ("Hu^Yi=胡^一", "HT0001", "19710305"),
        modality: "DX",
        sop_class: uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
        description: "胸部站立正侧位",
        body_part: "CHEST",
        charset: "ISO_IR 192",
    };
    let size = (2500, 3000);
    vec![
        Image {
            data_set: radiograph(&about, 1, "胸部后前位", "PA", "U", size),
            pixels: Box::new(move || pictures::chest_pa(size.0, size.1)),
        },
        Image {
            data_set: radiograph(&about, 2, "胸部左侧位", "LL", "U", size),
            pixels: Box::new(move || pictures::chest_lateral(size.0, size.1)),
        },
    ]
}

fn knee() -> Vec<Image> {
    let about = About {
        key: "knee",
        patient: ("Tong^Er=童^二", "HT0007", "19800917"),
        modality: "DX",
        sop_class: uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
        description: "左膝关节正侧位",
        body_part: "KNEE",
        charset: "GB18030",
    };
    let size = (1500, 2000);
    let image = |number, text: &str, view: &str, lateral| Image {
        data_set: radiograph(&about, number, text, view, "R", size),
        pixels: Box::new(move || pictures::joint(size.0, size.1, lateral)),
    };
    vec![image(1, "膝关节正位", "AP", false), image(2, "膝关节侧位", "LL", true)]
}

/// What every slice says (PS3.3 C.7.6.2).
fn place(ds: &mut DataSet, orientation: [f64; 6], position: [f64; 3], spacing: f64, thickness: f64, frame: &str) {
    ds.put_text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &numbers(&orientation));
    ds.put_text(tags::IMAGE_POSITION_PATIENT, VR::DS, &numbers(&position));
    ds.put_text(tags::PIXEL_SPACING, VR::DS, &numbers(&[spacing, spacing]));
    ds.put_text(tags::SLICE_THICKNESS, VR::DS, &format!("{thickness:.1}"));
    ds.put_text(tags::FRAME_OF_REFERENCE_UID, VR::UI, Uid::derived(&["phantom frame", frame]).as_str());
    ds.put_text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    ds.put_text(tags::PATIENT_POSITION, VR::CS, "HFS");
}

const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
const SAGITTAL: [f64; 6] = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];

fn ct(ds: &mut DataSet, center: &str, width: &str) {
    ds.put_text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    ds.put_text(tags::KVP, VR::DS, "120");
    ds.put_text(tags::ACQUISITION_NUMBER, VR::IS, "1");
    ds.put_text(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    ds.put_text(tags::RESCALE_SLOPE, VR::DS, "1");
    ds.put_text(tags::RESCALE_TYPE, VR::LO, "HU");
    window(ds, center, width);
}

/// A CT of the head with `slices` of 5 mm; one may be left out.
pub fn ct_head(slices: u32, without: Option<u32>, description: &str, body_part: &str) -> Vec<Image> {
    let about = About {
        key: description,
        patient: match description {
            "头颅CT平扫" => ("Wang^XiaoDong=王^小东", "HT0002", "19650712"),
            "眼眶CT平扫" => ("Li^Si=李^四", "HT0006", "19920420"),
            _ => ("Zhao^Wu=赵^五", "HT0005", "19580101"),
        },
        modality: "CT",
        sop_class: uids::CT_IMAGE_STORAGE,
        description,
        body_part,
        charset: "GB18030",
    };
    let kept = (0..slices).filter(|n| Some(*n) != without);
    kept.map(|n| {
        let mut ds = about.image(2, n + 1, "轴位 5mm", (512, 512));
        ct(&mut ds, "40", "100");
        place(&mut ds, AXIAL, [-120.0, -120.0, f64::from(n) * 5.0], 0.469, 5.0, description);
        #[expect(clippy::cast_precision_loss, reason = "a few dozen slices")]
        let z = n as f32 / slices.max(2) as f32;
        Image { data_set: ds, pixels: Box::new(move || pictures::ct_head(512, z, n)) }
    })
    .collect()
}

fn ct_chest() -> Vec<Image> {
    let about = About {
        key: "ct chest",
        patient: ("Zhang^San=张^三", "HT0003", "19490828"),
        modality: "CT",
        sop_class: uids::CT_IMAGE_STORAGE,
        description: "胸部CT平扫+增强",
        body_part: "CHEST",
        charset: "ISO_IR 192",
    };
    let slice = |series: u32, text: &str, agent: Option<&str>, n: u32| {
        let mut ds = about.image(series, n + 1, text, (512, 512));
        ct(&mut ds, "40", "400");
        place(&mut ds, AXIAL, [-180.0, -180.0, f64::from(n) * 5.0], 0.703, 5.0, "ct chest");
        if let Some(agent) = agent {
            about.text(&mut ds, tags::CONTRAST_BOLUS_AGENT, VR::LO, agent);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few dozen slices")]
        let z = n as f32 / 62.0;
        let contrast = agent.is_some();
        Image { data_set: ds, pixels: Box::new(move || pictures::ct_chest(512, z, contrast, n + 100 * series)) }
    };
    let plain = (0..62).map(|n| slice(2, "胸部平扫 5mm", None, n));
    let enhanced = (0..62).map(|n| slice(3, "胸部增强 5mm", Some("碘海醇"), n));
    plain.chain(enhanced).collect()
}

fn mr_lumbar() -> Vec<Image> {
    let about = About {
        key: "mr lumbar",
        patient: ("Chen^Yulan=陈^玉兰", "HT0004", "19770216"),
        modality: "MR",
        sop_class: uids::MR_IMAGE_STORAGE,
        description: "腰椎磁共振平扫",
        body_part: "LSPINE",
        charset: "GB18030",
    };
    let t1 = pictures::Weighting { fat: 1.0, water: 0.25 };
    let t2 = pictures::Weighting { fat: 0.7, water: 1.0 };
    let slice = |series: u32, text: &str, n: u32, count: u32, times: (&str, &str), sagittal: bool, weighting| {
        let mut ds = about.image(series, n + 1, text, (384, 384));
        ds.put_text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M");
        ds.put_text(tags::SCANNING_SEQUENCE, VR::CS, "SE");
        ds.put_text(tags::SEQUENCE_VARIANT, VR::CS, "SK");
        ds.put_text(tags::SCAN_OPTIONS, VR::CS, "");
        ds.put_text(tags::MR_ACQUISITION_TYPE, VR::CS, "2D");
        ds.put_text(tags::REPETITION_TIME, VR::DS, times.0);
        ds.put_text(tags::ECHO_TIME, VR::DS, times.1);
        ds.put_text(tags::ECHO_TRAIN_LENGTH, VR::IS, "1");
        let step = f64::from(n) * 4.4;
        if sagittal {
            place(&mut ds, SAGITTAL, [-26.4 + step, -140.0, 140.0], 0.729, 4.0, "mr lumbar");
        } else {
            place(&mut ds, AXIAL, [-100.0, -100.0, -30.0 + step], 0.521, 4.0, "mr lumbar");
        }
        window(&mut ds, "700", "1400");
        #[expect(clippy::cast_precision_loss, reason = "a few dozen slices")]
        let z = n as f32 / count as f32;
        let seed = n + 1000 * series;
        let pixels: Box<dyn Fn() -> Vec<u16> + Send + Sync> = if sagittal {
            Box::new(move || pictures::mr_spine_sagittal(384, z, weighting, seed))
        } else {
            Box::new(move || pictures::mr_spine_axial(384, z, weighting, seed))
        };
        Image { data_set: ds, pixels }
    };
    let first = (0..13).map(|n| slice(2, "t1_tse_sag", n, 13, ("550", "11"), true, t1));
    let second = (0..13).map(|n| slice(3, "t2_tse_sag", n, 13, ("3200", "98"), true, t2));
    let third = (0..15).map(|n| slice(4, "t2_tse_tra", n, 15, ("3400", "101"), false, t2));
    first.chain(second).chain(third).collect()
}
