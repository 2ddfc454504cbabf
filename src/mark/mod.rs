//! The recognition mark (互认标识): where it stands, its glyphs, burning it into samples, and the derived instance around it.
//!
//! Never changes a sample outside the mark's box, never writes a value the image cannot store. A glyph that the font lacks is an
//! error: a mark is whole or not there.

pub mod burn;
pub mod derive;
pub mod glyphs;
pub mod graphics;
pub mod gsps;
pub mod layout;
pub mod plane;
pub mod refer;
pub mod tone;

pub use burn::burn;
pub use glyphs::Face;
pub use layout::Placed;

use crate::dicom::image::is_for_processing;
use crate::dicom::{DataSet, tags, uids};

/// How the mark gets onto a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Into the samples.
    Burnt,
    /// As an overlay plane; the samples stay as they are.
    Overlay,
}

impl Form {
    /// As it enters names.
    fn name(self) -> &'static str {
        match self {
            Form::Burnt => "burnt",
            Form::Overlay => "overlay",
        }
    }

    /// As the derivation code means it.
    fn meaning(self) -> &'static str {
        match self {
            Form::Burnt => "Mutual recognition mark burned in",
            Form::Overlay => "Mutual recognition mark as overlay",
        }
    }
}

/// Why an object is never marked, whatever its series is; none when it may be. Localizers show a plan, captures show a screen, and
/// the rest is no image (requirement D8).
pub fn never_marked(data_set: &DataSet) -> Option<&'static str> {
    // Label Map Segmentation.
    const LABELS: &str = "1.2.840.10008.5.1.4.1.1.66.7";
    const DERIVED_OBJECTS: &[&str] =
        &[uids::SEGMENTATION_STORAGE, LABELS, uids::RT_DOSE_STORAGE, uids::RT_IMAGE_STORAGE, uids::PARAMETRIC_MAP_STORAGE];
    // Pages that scanners store as images: protocols, dose sheets, reports.
    const PAGES: &[&str] = &["SCREEN SAVE", "CT_SOM5 PROT", "CSA REPORT", "DOSE_INFO", "PATIENT PROTOCOL", "REPORT"];
    // VL Whole Slide Microscopy, and its confocal kinds.
    const SLIDES: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
    let class = data_set.text(tags::SOP_CLASS_UID).unwrap_or_default();
    let types = data_set.text(tags::IMAGE_TYPE).unwrap_or_default();
    let is = |wanted: &str| types.split('\\').any(|t| t.trim() == wanted);
    if data_set.get(tags::PIXEL_DATA).is_none() {
        Some("it holds no image")
    } else if class == uids::SECONDARY_CAPTURE_IMAGE_STORAGE || class.starts_with("1.2.840.10008.5.1.4.1.1.7.") {
        Some("a secondary capture")
    } else if PAGES.iter().any(|page| is(page)) {
        Some("a page (screen save, protocol, dose sheet), no image of the examination")
    } else if matches!(data_set.text(tags::MODALITY).as_deref().map(str::trim), Some("DOC" | "SR" | "KO" | "PR")) {
        Some("a document by its modality")
    } else if class.starts_with(SLIDES) {
        Some("a slide, whose frames are tiles of one image")
    } else if DERIVED_OBJECTS.contains(&class.as_str()) {
        Some("a derived object (segmentation, dose, map), no image of the examination")
    } else if ["LOCALIZER", "SCOUT", "TOPOGRAM"].into_iter().any(is) {
        Some("a localizer")
    } else if is_for_processing(&class, data_set.text(tags::PRESENTATION_INTENT_TYPE).as_deref()) {
        Some("a raw image for processing, none to look at")
    } else {
        None
    }
}

/// Why no mark can be burnt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// The bundled font has no such character.
    #[error("the font has no glyph for {0:?} (U+{code:04X}); choose another mark text", code = u32::from(*.0))]
    NoGlyph(char),
    /// The configured font cannot be read.
    #[error("{0} is no font; give mark.look.font a TTF or OTF file inside the procedures folder")]
    Font(String),
    /// A shutter or collimator leaves no room.
    #[error("no part of the image that a viewer shows has room for a legible mark")]
    Hidden,
    /// The image is too small for a legible mark.
    #[error("an image of {0}x{1} is too small for a legible mark")]
    TooSmall(u32, u32),
    /// Palette or lookup tables do not allow it.
    #[error("no two values stand out against each other in every window, lookup table or palette of the image")]
    NoContrast,
    /// A retired colour space, or one that contradicts the number of samples.
    #[error("photometric interpretation {0} with such samples is not marked")]
    Colours(String),
    /// A presentation state of greys for an image of colours.
    #[error("a grayscale presentation state is for grey images, this one is {0}; burn the mark or use an overlay")]
    NotGrey(String),
    /// Sixteen overlays are there already.
    #[error("all overlay groups (6000 to 601E) are taken")]
    NoOverlay,
    /// An attribute that a presentation state needs.
    #[error("{0} is missing or no UID")]
    Missing(&'static str),
    /// Samples of this width are not marked.
    #[error("samples of {0} bits allocated are not marked")]
    Bits(u32),
}
