//! The recognition mark (互认标识): where it stands, its glyphs, burning it into samples, and the derived instance around it.
//!
//! Never changes a sample outside the mark's box, never writes a value the image cannot store. A glyph that the font lacks is an
//! error: a mark is whole or not there.

pub mod burn;
pub mod derive;
pub mod glyphs;
pub mod layout;
pub mod tone;

pub use burn::burn;
pub use glyphs::Face;
pub use layout::Placed;

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
    /// Samples of this width are not marked.
    #[error("samples of {0} bits allocated are not marked")]
    Bits(u32),
}
