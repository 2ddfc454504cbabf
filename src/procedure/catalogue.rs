//! The shapes of `procedures/`: what a region, an item, a mark and the thresholds are.

use super::calibration::Calibration;
pub use super::mark::{Backdrop, Corner, Look, Mark, MarkStyle};
use super::vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};

/// A side of the body (侧别).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Left (左).
    Left,
    /// Right (右).
    Right,
    /// Both are required (双).
    Both,
    /// Either or both; the side is recorded.
    Any,
}

/// Whether intravascular contrast is part of the item (平扫 / 增强).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    /// No contrast series.
    Plain,
    /// Both phases; “普通扫描加增强扫描”.
    PlainAndEnhanced,
}

/// Posture an item asks for (体位).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posture {
    /// Standing is assumed unless something says otherwise (N-9).
    NotRecumbent,
    /// Must be said.
    Erect,
    /// Must be said.
    Recumbent,
}

/// Which series make an MR examination complete; `protocols.toml` beside the regions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The name that items refer to.
    pub id: String,
    /// Least number of series; of series with a weighting, where weightings are asked for.
    #[serde(default)]
    pub series: usize,
    /// Least number of different weightings (T1, T2, FLAIR, PD).
    #[serde(default)]
    pub weightings: usize,
    /// Least number of different planes.
    #[serde(default)]
    pub planes: usize,
    /// One series must be fat-suppressed.
    #[serde(default)]
    pub fat_suppressed: bool,
    /// Series that must all be there, each a list of alternatives such as `t1 sagittal`.
    #[serde(default)]
    pub needs: Vec<Vec<String>>,
}

/// Slice thickness limits, mm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thickness {
    /// Over this: a warning.
    pub warn: f64,
    /// Over this: not fit.
    pub reject: f64,
}

/// Age limits in completed months.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeMonths {
    /// At least.
    pub min: Option<u32>,
    /// At most.
    pub max: Option<u32>,
    /// Up to this, with a word for infants in the text, a person decides.
    pub review_max: Option<u32>,
}

/// One mutually recognised item (互认项目).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// 序号, as printed.
    pub number: u32,
    /// 类别, as printed.
    pub category: String,
    /// 部位, as printed; a label only (N-14).
    pub part: String,
    /// 项目中文名称, as printed.
    pub name: String,
    /// 项目释义, as printed.
    pub definition: String,
    /// DICOM modalities that may carry it.
    pub modality: Vec<String>,
    /// Concepts of `vocabulary/anatomy.toml`; one of them.
    pub region: Vec<String>,
    /// The side, if the item has one.
    pub side: Option<Side>,
    /// Views that must all be there; each is a list of alternatives.
    #[serde(default)]
    pub views: Vec<Vec<String>>,
    /// Posture.
    pub position: Option<Posture>,
    /// Age limits.
    pub age_months: Option<AgeMonths>,
    /// 近期 of this item, calendar months; none: the region's.
    pub validity_months: Option<u32>,
    /// Contrast, for CT and MR.
    pub contrast: Option<Contrast>,
    /// Least coverage along the table, mm (adult).
    pub coverage_mm: Option<f64>,
    /// Slice thickness.
    pub thickness_mm: Option<Thickness>,
    /// MR series rule: a protocol of `protocols.toml`.
    pub protocol: Option<String>,
    /// Procedure codes that name exactly this item, such as `LN 24648-8` or `RADLEX RPID16`.
    #[serde(default)]
    pub codes: Vec<String>,
    /// Items that this one includes.
    #[serde(default)]
    pub covers: Vec<u32>,
    /// How an error or gap of the print is read.
    pub note: Option<String>,
}

/// What a region wants of the report before an exam is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportRule {
    /// Images are offered with or without.
    #[default]
    Optional,
    /// There must be one.
    Present,
    /// One must be verified.
    Verified,
}

/// A coded reason not to recognise (不予互认).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The region's code.
    pub code: String,
    /// The class that regions share.
    pub class: String,
    /// As printed.
    pub text: String,
    /// Free text is mandatory.
    #[serde(default)]
    pub needs_text: bool,
}

/// A region with one edition of its item list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Short name.
    pub code: String,
    /// District whose hospitals take part (YB 二); empty: of any.
    #[serde(default)]
    pub district: String,
    /// Edition of the list.
    pub edition: String,
    /// Name.
    pub name: String,
    /// The document.
    pub source: String,
    /// Whether studies are judged by it.
    pub enabled: bool,
    /// First day in force, YYYY-MM-DD.
    pub valid_from: String,
    /// Last day in force, if it has ended.
    pub valid_to: Option<String>,
    /// 近期: how long a study is offered, calendar months.
    pub validity_months: u32,
    /// Whether an exam is offered without its report.
    #[serde(default)]
    pub report: ReportRule,
    /// The mark.
    pub mark: Mark,
    /// Coded exceptions.
    #[serde(default, rename = "exception")]
    pub exceptions: Vec<Exception>,
    /// The items, from `items.toml` beside it.
    #[serde(skip)]
    pub items: Vec<Item>,
}

impl Region {
    /// Whether the edition is in force on a day (`YYYYMMDD`).
    pub fn in_force(&self, date: &str) -> bool {
        let digits = |text: &str| text.replace('-', "");
        date.len() == 8
            && digits(&self.valid_from).as_str() <= date
            && self.valid_to.as_ref().is_none_or(|to| date <= digits(to).as_str())
    }

    /// An item by number.
    pub fn item(&self, number: u32) -> Option<&Item> {
        self.items.iter().find(|item| item.number == number)
    }
}

/// Thresholds; see `procedures/quality.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Of series.
    pub completeness: Completeness,
    /// Of frames.
    pub pixels: Pixels,
    /// Of identity and dates.
    pub identity: Identity,
    /// Of irreversible compression.
    pub compression: Compression,
    /// Of exposure.
    pub exposure: Exposure,
    /// Of matrix, spacing and bits.
    pub resolution: Resolution,
    /// Usual numbers of slices, by MR protocol.
    pub slices: Vec<Slices>,
    /// Reconstructions of a CT that are usual.
    pub kernels: Vec<Kernels>,
    /// Of CT numbers.
    pub hounsfield: Hounsfield,
    /// Of perceptual measures.
    pub perception: Perception,
}

/// Thresholds of perceptual measures that need no calibration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Perception {
    pub frames_a_series: usize,
    pub misfit_warn: f64,
    pub misfit_gain: f64,
    pub misfit_reach: usize,
    pub contrast_ratio: f64,
    pub contrast_alike: f64,
    pub contrast_words: Vec<String>,
}

/// Thresholds of CT numbers, HU.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Hounsfield {
    pub air_tolerance: f64,
    pub soft_low: f64,
    pub soft_high: f64,
    pub noise_warn_head: f64,
    pub noise_warn_body: f64,
    pub odd_slice: f64,
    pub rim_warn: f64,
    pub metal_warn: f64,
    pub below_share: f64,
    pub dense_share: f64,
    pub metal_hu: f64,
    pub rim_hu: f64,
    pub below_hu: f64,
    pub dense_hu: f64,
    pub slope_least: f64,
    pub slope_most: f64,
}

/// Thresholds of irreversible compression, as ratios.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Compression {
    pub ratio_warn_dr: f64,
    pub ratio_warn_ct: f64,
    pub ratio_warn_mr: f64,
    pub ratio_reject: f64,
}

/// Thresholds of exposure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Exposure {
    pub deviation_warn: f64,
    pub deviation_review: f64,
    pub index_low: f64,
    pub index_high: f64,
}

/// Thresholds of matrix, spacing and bits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Resolution {
    pub dr_side_warn: f64,
    pub dr_chest_side_warn: f64,
    pub dr_side_reject: f64,
    pub dr_pitch_least: f64,
    pub dr_pitch_warn: f64,
    pub dr_pitch_reject: f64,
    pub dr_bits_warn: f64,
    pub ct_side_warn: f64,
    pub field_least_mm: f64,
    pub field_most_mm: f64,
    pub field_factor: f64,
    pub ct_side_reject: f64,
    pub mr_side_warn: f64,
    pub mr_phase_side_warn: f64,
    pub mr_spacing_warn: f64,
    pub mr_fine_spacing_warn: f64,
    pub mr_fine_protocols: Vec<String>,
    pub both_sides_field_mm: f64,
}

/// Usual number of slices of an MR protocol.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Slices {
    pub protocol: String,
    pub least: usize,
    #[serde(default)]
    pub sagittal_only: bool,
}

/// Regions of the body of which one convolution kernel alone shows too little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// Concepts of the regions.
    pub regions: Vec<String>,
    /// The windows that are usual, Chinese.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

/// Thresholds of completeness checks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Completeness {
    pub gap_factor: f64,
    pub uneven_share: f64,
    pub uneven_mm: f64,
    pub duplicate_share: f64,
    pub orientation_tolerance: f64,
    pub gapped_factor: f64,
    pub aside_mm: f64,
    pub tilt_most: f64,
    pub tilt_tolerance: f64,
    pub shear_mr: f64,
    pub mr_gap_warn: f64,
    pub mr_gap_reject: f64,
    pub echo_factor: f64,
    pub repetition_factor: f64,
    pub gap_mm: f64,
    pub main_stack_share: f64,
    pub main_stack_whole: f64,
    pub coverage_reject_share: f64,
    pub coverage_item_share: f64,
    pub common_range_share: f64,
    pub slices_reject_share: f64,
    pub child_coverage: Vec<ChildCoverage>,
}

/// Coverage is less in children.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct ChildCoverage {
    pub under_months: u32,
    pub factor: f64,
}

/// Thresholds of pixel checks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Pixels {
    pub blank_share: f64,
    pub entropy_bits: f64,
    pub clipped_warn: f64,
    pub clipped_reject: f64,
    pub range_warn: f64,
    pub range_reject: f64,
    pub partly_blank: f64,
    pub blank_series: f64,
    pub faint_share: f64,
    pub mode_share: f64,
    pub mode_review: f64,
    pub band_share_dr: f64,
    pub band_share: f64,
    pub band_rows: usize,
    pub hole_share: f64,
    pub hole_edge_share: f64,
    pub row_correlation: f64,
    pub empty_lines: f64,
    pub noise_correlation: f64,
    pub gaps_share: f64,
    pub snow_share: f64,
    pub beyond_share: f64,
    pub air_series: f64,
    pub around_review: f64,
    pub field_share: f64,
    pub field_borders: usize,
    pub limbs: Vec<String>,
}

/// Thresholds of identity checks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained in procedures/quality.toml")]
pub struct Identity {
    pub earliest_year: i32,
    pub future_days: i64,
    pub apart_days: i64,
    pub placeholders: Vec<String>,
}

/// Everything in `procedures/`.
#[derive(Debug, Clone)]
pub struct Procedures {
    /// The regions, enabled or not.
    pub regions: Vec<Region>,
    /// The words.
    pub vocabulary: Vocabulary,
    /// The MR protocols.
    pub protocols: Vec<Protocol>,
    /// The thresholds.
    pub quality: Quality,
    /// What is usual by device; empty until it is calibrated.
    pub calibration: Calibration,
    /// SHA-256 over all files, hexadecimal; goes into every verdict.
    pub digest: String,
}

impl Procedures {
    /// An MR protocol by name.
    pub fn protocol(&self, id: &str) -> Option<&Protocol> {
        self.protocols.iter().find(|p| p.id == id)
    }

    /// A region's edition by their codes.
    pub fn region(&self, code: &str, edition: &str) -> Option<&Region> {
        self.regions.iter().find(|r| r.code == code && r.edition == edition)
    }

    /// The edition that judges a study of this day (`YYYYMMDD`).
    pub fn region_for(&self, date: &str) -> Option<&Region> {
        self.regions.iter().filter(|r| r.enabled).find(|r| r.in_force(date))
    }
}
