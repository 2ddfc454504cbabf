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
pub use layout::Placed;

/// Why no mark can be burnt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// The bundled font has no such character.
    #[error("the font has no glyph for {0:?} (U+{code:04X}); choose another mark text", code = u32::from(*.0))]
    NoGlyph(char),
    /// The image is too small for a legible mark.
    #[error("an image of {0}x{1} is too small for a legible mark")]
    TooSmall(u32, u32),
    /// The colours of the palette do not allow it.
    #[error("the palette has no two colours that stand out against each other")]
    NoContrast,
    /// Samples of this width are not marked.
    #[error("samples of {0} bits allocated are not marked")]
    Bits(u32),
}
