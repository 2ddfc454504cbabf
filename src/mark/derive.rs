//! The attributes of the derived instance (PS3.3 C.7.6.1.1.3, C.12.4, C.7.6.1.1.5): a copy that says what it is, and of what.
//!
//! Deterministic: the same source and mark give the same bytes, on every node and at any time.

use super::Form;
use crate::codec::Frame;
use crate::dicom::charset::Charset;
use crate::dicom::coded::{ADDED, CARRIED, DESCRIBED, MARKED, OWN_NAME, OWN_SCHEME, code, one, says_marked};
use crate::dicom::dataset::{Element, Value, dictionary_vr};
use crate::dicom::{Attributes, DataSet, Syntax, Tag, Uid, VR, syntax, tags, uids};
use crate::procedure::catalogue::Mark;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};

/// What the derived instance is derived from.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// SOP class.
    pub sop_class: &'a str,
    /// Its name.
    pub sop_instance: &'a Uid,
    /// Whether it bears this name itself: files of no archive may have none, and then cannot be referred to.
    pub named: bool,
    /// Its series.
    pub series: &'a Uid,
    /// SHA-256 of its data set.
    pub sha256: &'a str,
    /// What its transfer syntax, as opposed to its attributes, lost.
    pub lost: Option<Lost>,
}

/// What an irreversible compression did (PS3.3 C.7.6.1.1.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lost {
    /// Defined term of the method.
    pub method: Option<&'static str>,
    /// Size before by size after.
    pub ratio: f64,
}

impl Lost {
    /// States the loss in a data set, where it is not stated yet; what is stated stays.
    pub fn state(&self, data_set: &mut DataSet) {
        let earlier = data_set.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01");
        data_set.put_text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        let silent = |data_set: &DataSet, tag| data_set.text(tag).is_none_or(|t| t.trim().is_empty());
        // A history without its method is the source's own fault; one that begins here is whole.
        if silent(data_set, tags::LOSSY_IMAGE_COMPRESSION_RATIO) && self.ratio.is_finite() {
            data_set.put_text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, &format!("{:.2}", self.ratio));
        }
        if let Some(method) = self.method.filter(|_| silent(data_set, tags::LOSSY_IMAGE_COMPRESSION_METHOD) && !earlier) {
            data_set.put_text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, method);
        }
    }
}

/// UID of the marked copy of an instance.
pub fn instance_uid(source: &Source<'_>, mark: &Mark, form: Form) -> Uid {
    Uid::derived(&["hutong mark instance 4", source.sop_instance.as_str(), source.sha256, &mark.identity(), form.name()])
}

/// UID of the series that holds the marked copies of a series.
pub fn series_uid(series: &Uid, mark: &Mark, form: Form) -> Uid {
    Uid::derived(&["hutong mark series 4", series.as_str(), &mark.identity(), form.name()])
}

/// Whether a data set is a marked copy, ours or another node's.
pub fn is_marked(data_set: &DataSet) -> bool {
    says_marked(&Attributes::decode(data_set, |tag| {
        matches!(tag, tags::DERIVATION_CODE_SEQUENCE | tags::DERIVATION_DESCRIPTION | tags::CONTRIBUTING_EQUIPMENT_SEQUENCE)
    }))
}

/// Turns the data set of a source into that of its marked copy. Pixel data are left out: they follow as `frame`s.
pub fn derive(data_set: &mut DataSet, source: &Source<'_>, mark: &Mark, form: Form, frame: &Frame, frames: u32) {
    drop_what_does_not_hold(data_set);
    data_set.put_text(tags::SOP_INSTANCE_UID, VR::UI, instance_uid(source, mark, form).as_str());
    data_set.put_text(tags::SERIES_INSTANCE_UID, VR::UI, series_uid(source.series, mark, form).as_str());
    no_longer_original(data_set, source.sop_class);
    image_type(data_set);
    if source.named {
        source_image(data_set, source);
    }
    derivation(data_set, form);
    contributing_equipment(data_set);
    description(data_set, mark);
    if form == Form::Burnt {
        burned_in(data_set, source.sop_class);
    }
    if let Some(lost) = &source.lost {
        lost.state(data_set);
    }
    pixel_attributes(data_set, frame, frames);
}

/// Enhanced CT, MR and PET know no YES (C.8.13.1, C.8.15.2, C.8.22.2), and require the attribute: there what the source says stays. It speaks of
/// annotation that identifies the patient, which the mark does not.
fn burned_in(data_set: &mut DataSet, sop_class: &str) {
    const WITHOUT: &[&str] = &[
        uids::ENHANCED_CT_IMAGE_STORAGE,
        uids::ENHANCED_MR_IMAGE_STORAGE,
        uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
        uids::ENHANCED_PET_IMAGE_STORAGE,
        uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
        uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
        uids::LEGACY_CONVERTED_ENHANCED_PET_IMAGE_STORAGE,
    ];
    if !WITHOUT.contains(&sop_class) {
        data_set.put_text(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    }
}

/// What only original and mixed images of the enhanced MR kinds may say of their pulse sequence (C.8.13.4); the original keeps it.
const OF_ORIGINALS: &[Tag] = &[
    tags::MR_ACQUISITION_TYPE,
    tags::PULSE_SEQUENCE_NAME,
    tags::ECHO_PULSE_SEQUENCE,
    tags::BULK_MOTION_COMPENSATION_TECHNIQUE,
    tags::MULTIPLE_SPIN_ECHO,
    tags::MULTI_PLANAR_EXCITATION,
    tags::PHASE_CONTRAST,
    tags::TIME_OF_FLIGHT_CONTRAST,
    tags::ARTERIAL_SPIN_LABELING_CONTRAST,
    tags::STEADY_STATE_PULSE_SEQUENCE,
    tags::ECHO_PLANAR_PULSE_SEQUENCE,
    tags::SATURATION_RECOVERY,
    tags::SPECTRALLY_SELECTED_SUPPRESSION,
    tags::OVERSAMPLING_PHASE,
    tags::GEOMETRY_OF_K_SPACE_TRAVERSAL,
    tags::SEGMENTED_K_SPACE_TRAVERSAL,
    tags::RECTILINEAR_PHASE_ENCODE_REORDERING,
    tags::COVERAGE_OF_K_SPACE,
    tags::NUMBER_OF_K_SPACE_TRAJECTORIES,
];

fn no_longer_original(data_set: &mut DataSet, sop_class: &str) {
    let kinds = [uids::ENHANCED_MR_IMAGE_STORAGE, uids::ENHANCED_MR_COLOR_IMAGE_STORAGE];
    let was = data_set.text(tags::IMAGE_TYPE).unwrap_or_default();
    if kinds.contains(&sop_class) && ["ORIGINAL", "MIXED"].iter().any(|first| was.trim_start().starts_with(first)) {
        data_set.elements.retain(|e| !OF_ORIGINALS.contains(&e.tag));
    }
}

/// Smallest and Largest Image Pixel Value in Plane, retired.
const SMALLEST_IN_PLANE: Tag = Tag(0x0028, 0x0110);
const LARGEST_IN_PLANE: Tag = Tag(0x0028, 0x0111);

fn drop_what_does_not_hold(data_set: &mut DataSet) {
    let stale = |e: &Element| {
        e.tag.1 == 0
            || is_of_pixels(e.tag)
            || matches!(
                e.tag,
                tags::INSTANCE_CREATION_DATE
                    | tags::INSTANCE_CREATION_TIME
                    | tags::INSTANCE_CREATOR_UID
                    | tags::ICON_IMAGE_SEQUENCE
                    | tags::MAC_PARAMETERS_SEQUENCE
                    | tags::SMALLEST_PIXEL_VALUE_IN_SERIES
                    | tags::LARGEST_PIXEL_VALUE_IN_SERIES
                    | SMALLEST_IN_PLANE
                    | LARGEST_IN_PLANE
                    | tags::HISTOGRAM_SEQUENCE
            )
    };
    data_set.elements.retain(|e| !stale(e) && !is_bulk_of_pixels(e));
}

fn is_bulk_of_pixels(element: &Element) -> bool {
    matches!(element.value, Value::Deferred(_) | Value::Fragments(_))
}

/// Pixel data, what describes where their frames are, and what was signed or padded behind them: a copy has its own, or none.
pub fn is_of_pixels(tag: Tag) -> bool {
    tag.0 == tags::PIXEL_DATA.0 || tag.0 >= tags::DIGITAL_SIGNATURES_SEQUENCE.0
}

/// Puts right what holds in one place only and does not survive a copy: value representations that Implicit VR leaves to Pixel Representation
/// (`written` is how the data set was written; a stated one stays), and icons inside of sequences, whose pixels stay behind.
pub fn settle(data_set: &mut DataSet, written: Syntax) {
    let signed = data_set.u16(tags::PIXEL_REPRESENTATION) == Some(1);
    let below_zero = || {
        let intercept = Attributes::decode(data_set, |tag| tag == tags::RESCALE_INTERCEPT).float(tags::RESCALE_INTERCEPT);
        let modality_table = !data_set.items(tags::MODALITY_LUT_SEQUENCE).is_empty();
        !modality_table && (signed || intercept.is_some_and(|i| i < 0.0))
    };
    let vr = |signed| if signed { VR::SS } else { VR::US };
    // A VOI LUT takes what the modality transformation gives (C.11.2.1.1).
    let wanted = (!written.explicit).then(|| (vr(signed), vr(below_zero())));
    settle_all(data_set, wanted);
}

/// `wanted`: the representation of numbers like the samples, and of those like the modality's output; none to leave them.
fn settle_all(data_set: &mut DataSet, wanted: Option<(VR, VR)>) {
    for element in &mut data_set.elements {
        let ambiguous =
            || dicom_dictionary_std::StandardDataDictionary.by_tag(element.tag).is_some_and(|e| e.vr() == VirtualVr::Xs);
        if let Some((wanted, _)) = wanted
            && matches!(element.vr, VR::US | VR::SS)
            && dictionary_vr(element.tag) == VR::US
            && ambiguous()
        {
            element.vr = wanted;
        }
        let inside = if element.tag == tags::VOILUT_SEQUENCE { wanted.map(|(_, voi)| (voi, voi)) } else { wanted };
        if let Value::Items(items) = &mut element.value {
            for item in items {
                item.elements.retain(|e| e.tag != tags::ICON_IMAGE_SEQUENCE);
                settle_all(item, inside);
            }
        }
    }
}

fn image_type(data_set: &mut DataSet) {
    derived_type(data_set, tags::IMAGE_TYPE);
    // Enhanced objects say it of each frame too (C.8.16.1).
    for groups in [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE] {
        for item in data_set.items_mut(groups) {
            for element in &mut item.elements {
                let Value::Items(macros) = &mut element.value else { continue };
                let typed = macros.iter_mut().filter(|m| m.get(tags::FRAME_TYPE).is_some());
                typed.for_each(|one| derived_type(one, tags::FRAME_TYPE));
            }
        }
    }
}

fn derived_type(data_set: &mut DataSet, tag: Tag) {
    let old = data_set.text(tag).unwrap_or_default();
    let mut values: Vec<&str> = old.split('\\').map(str::trim).collect();
    if let Some(first) = values.first_mut() {
        *first = "DERIVED";
    }
    if values.len() < 2 {
        values.push("PRIMARY");
    }
    data_set.put_text(tag, VR::CS, &values.join("\\"));
}

fn source_image(data_set: &mut DataSet, source: &Source<'_>) {
    let mut item = DataSet::default();
    item.put_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, source.sop_class);
    item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, source.sop_instance.as_str());
    let purpose = code("121322", "DCM", "Source image for image processing operation");
    item.put(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, VR::SQ, one(purpose));
    // What the source itself was made of follows.
    let items = std::iter::once(item).chain(data_set.items(tags::SOURCE_IMAGE_SEQUENCE).iter().cloned()).collect();
    data_set.put(tags::SOURCE_IMAGE_SEQUENCE, VR::SQ, Value::Items(items));
}

fn append(data_set: &mut DataSet, sequence: Tag, item: DataSet) {
    let mut items = data_set.items(sequence).to_vec();
    items.push(item);
    data_set.put(sequence, VR::SQ, Value::Items(items));
}

fn derivation(data_set: &mut DataSet, form: Form) {
    append(data_set, tags::DERIVATION_CODE_SEQUENCE, code(MARKED, OWN_SCHEME, form.meaning()));
    let own = match form {
        Form::Burnt => format!("{DESCRIBED} burned in, all other pixels unchanged"),
        Form::Overlay => format!("{DESCRIBED} as an overlay, all pixels unchanged"),
    };
    extend(data_set, tags::DERIVATION_DESCRIPTION, VR::ST, 1024, "; ", &[&own]);
}

/// Adds the first of some texts that the data set's character set can write behind a value, which is cut where both are too long.
fn extend(data_set: &mut DataSet, tag: Tag, vr: VR, most: usize, between: &str, texts: &[&str]) {
    let charset = Charset::from_terms(&data_set.text(tags::SPECIFIC_CHARACTER_SET).unwrap_or_default());
    let raw = data_set.bytes(tag).unwrap_or_default().trim_ascii_end();
    let old = charset.decode(raw);
    let old = old.trim_end_matches([' ', '\0']);
    let Some((text, added)) = texts.iter().find_map(|t| charset.encode(t).map(|bytes| (*t, bytes))) else { return };
    let room = most.saturating_sub(text.chars().count() + between.chars().count());
    let kept: String = old.chars().take(room).collect();
    let kept = kept.trim_end();
    let whole = if kept.is_empty() { text.to_string() } else { format!("{kept}{between}{text}") };
    // What was there may not be what its character set says: then it stays byte for byte, cut nowhere.
    let as_it_is = || {
        let fits = raw.len() + between.len() + added.len() <= most;
        if fits { [raw, between.as_bytes(), &added].concat() } else { raw.to_vec() }
    };
    let mut bytes = charset.encode(&whole).filter(|_| !old.contains('\u{FFFD}')).unwrap_or_else(as_it_is);
    if bytes.len() % 2 == 1 {
        bytes.push(b' ');
    }
    data_set.put(tag, vr, Value::Bytes(bytes));
}

fn contributing_equipment(data_set: &mut DataSet) {
    let purpose = code("109103", "DCM", "Modifying Equipment");
    contributed(data_set, ADDED, purpose);
}

/// Says that references of an object were changed to marked copies, so that it is known again when it comes back.
pub fn carried(data_set: &mut DataSet) {
    contributed(data_set, "References name marked copies", code(CARRIED, OWN_SCHEME, "Carried over to marked copies"));
}

fn contributed(data_set: &mut DataSet, what: &str, purpose: DataSet) {
    let mut item = DataSet::default();
    item.put_text(tags::MANUFACTURER, VR::LO, OWN_NAME);
    item.put_text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Hutong exchange node");
    item.put_text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
    item.put_text(tags::CONTRIBUTION_DESCRIPTION, VR::ST, what);
    item.put(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, VR::SQ, one(purpose));
    append(data_set, tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, item);
}

/// Adds the mark's text; only the Latin sign where the data set's character set cannot write Chinese.
fn description(data_set: &mut DataSet, mark: &Mark) {
    let texts = [format!("[{}]", mark.text()), format!("[{}]", mark.sign)];
    extend(data_set, tags::SERIES_DESCRIPTION, VR::LO, 64, " ", &texts.each_ref().map(String::as_str));
}

/// Makes the pixel description that of a decoded frame.
pub fn pixel_attributes(data_set: &mut DataSet, frame: &Frame, frames: u32) {
    let l = &frame.layout;
    let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    data_set.put_u16(tags::SAMPLES_PER_PIXEL, short(l.samples));
    data_set.put_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, &l.photometric);
    if l.samples > 1 {
        data_set.put_u16(tags::PLANAR_CONFIGURATION, 0);
    }
    data_set.put_u16(tags::BITS_ALLOCATED, short(l.bits_allocated));
    data_set.put_u16(tags::BITS_STORED, short(l.bits_stored));
    data_set.put_u16(tags::HIGH_BIT, short(l.high_bit));
    data_set.put_u16(tags::PIXEL_REPRESENTATION, u16::from(l.signed));
    if data_set.get(tags::NUMBER_OF_FRAMES).is_some() || frames > 1 {
        data_set.put_text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string());
    }
    // True only if it covers every frame; a single frame's extremes are known here.
    for (tag, largest) in [(tags::SMALLEST_IMAGE_PIXEL_VALUE, false), (tags::LARGEST_IMAGE_PIXEL_VALUE, true)] {
        if data_set.get(tag).is_none() {
            continue;
        }
        let values = crate::codec::samples::read(frame);
        let extreme = if largest { values.iter().max() } else { values.iter().min() };
        let vr = if l.signed { VR::SS } else { VR::US };
        match extreme.filter(|_| frames == 1 && l.bits_stored <= 16) {
            Some(value) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 16 bits are stored")]
                data_set.put(tag, vr, Value::Bytes((*value as u16).to_le_bytes().to_vec()));
            }
            None => data_set.remove(tag),
        }
    }
}

/// Whether decoding gives other samples than the encoder was given. `loses` is what can be told from the code stream ([`crate::codec::loses`]).
pub fn is_lossy(transfer_syntax: &str, data_set: &DataSet, loses: Option<bool>) -> bool {
    let may_lose = syntax::known(transfer_syntax).is_some_and(|k| !k.lossless);
    let stated = data_set.text(tags::LOSSY_IMAGE_COMPRESSION);
    match loses {
        Some(true) => true,
        // JPEG 2000, HTJ2K, JPEG-LS and JPEG XL of the general syntaxes may be lossless all the same, or have left out layers.
        Some(false) => may_lose && stated.as_deref() == Some("01"),
        None => may_lose && stated.as_deref() != Some("00"),
    }
}
