//! The recognition mark (互认标识) as a region wants it: its text, where it stands, how it is drawn. Draws nothing itself.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How the mark (互认标识) looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// 互认范围.
    pub range: String,
    /// 互认标识.
    pub sign: String,
    /// Between the two.
    pub separator: String,
    /// In the image, in the work list, or both.
    pub style: MarkStyle,
    /// Where it stands.
    pub corner: Corner,
    /// How large and on what it is drawn.
    #[serde(default)]
    pub look: Look,
}

/// How a burnt mark is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Look {
    /// Height of a Chinese character, percent of the image's shorter side; never less than 12 rows.
    pub size_percent: f64,
    /// Distance from the edges, percent of that height.
    pub margin_percent: f64,
    /// What keeps the letters apart from the image.
    pub backdrop: Backdrop,
    /// A font (TTF or OTF) inside the procedures folder instead of the bundled one.
    pub font: Option<String>,
    /// The file, read.
    #[serde(skip)]
    pub font_file: Option<FontFile>,
}

/// A font file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FontFile {
    /// Its bytes.
    pub bytes: std::sync::Arc<[u8]>,
    /// Their SHA-256.
    digest: String,
}

impl FontFile {
    /// Of bytes.
    pub fn new(bytes: Vec<u8>) -> FontFile {
        let digest = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        FontFile { bytes: bytes.into(), digest }
    }
}

impl Look {
    /// Which font it is: empty for the bundled one.
    pub fn font_digest(&self) -> &str {
        self.font_file.as_ref().map_or("", |f| &f.digest)
    }
}

impl Default for Look {
    fn default() -> Look {
        Look { size_percent: 5.5, margin_percent: 33.0, backdrop: Backdrop::Outline, font: None, font_file: None }
    }
}

/// What a mark stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backdrop {
    /// A dark line around each letter; the image shows between them.
    Outline,
    /// A dark box.
    Box,
}

/// Where a mark shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkStyle {
    /// Burnt into the pixels.
    BurnText,
    /// A sign in lists only.
    ListSymbol,
    /// Burnt into the pixels, and a sign in lists.
    Both,
}

/// A corner of the displayed image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corner {
    /// 右上角.
    TopRight,
    /// 左上角.
    TopLeft,
    /// 右下角.
    BottomRight,
    /// 左下角.
    BottomLeft,
}

impl Corner {
    /// Whether it is at the left; at the bottom.
    pub fn sides(self) -> (bool, bool) {
        match self {
            Corner::TopRight => (false, false),
            Corner::TopLeft => (true, false),
            Corner::BottomRight => (false, true),
            Corner::BottomLeft => (true, true),
        }
    }
}

impl Mark {
    /// The text, as it stands in the image.
    pub fn text(&self) -> String {
        format!("{}{}{}", self.range, self.separator, self.sign)
    }

    /// Whether it goes into the pixels.
    pub fn is_burnt(&self) -> bool {
        self.style != MarkStyle::ListSymbol
    }

    /// Everything that the pixels of a copy depend on, as text: copies that differ have different names.
    pub fn identity(&self) -> String {
        let Look { size_percent, margin_percent, backdrop, .. } = &self.look;
        let font = self.look.font_digest();
        format!("{}|{:?}|{size_percent}|{margin_percent}|{backdrop:?}|{font}", self.text(), self.corner)
    }

    /// What cannot be drawn; none when all is well.
    pub fn fault(&self) -> Option<&'static str> {
        let within = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
        if self.range.trim().is_empty() || self.sign.trim().is_empty() || self.text().chars().count() > 16 {
            Some("`range` and `sign` must both say something, and have at most 16 characters together")
        } else if self.text().contains(['\\', '\u{1b}']) || self.text().chars().any(char::is_control) {
            // It stands in Series Description, where a backslash parts values (PS3.5 6.2).
            Some("`range`, `separator` and `sign` must not hold a backslash or control characters")
        } else if !within(self.look.size_percent, 2.0, 20.0) {
            Some("`size_percent` must be between 2 and 20")
        } else if !within(self.look.margin_percent, 0.0, 300.0) {
            Some("`margin_percent` must be between 0 and 300")
        } else {
            None
        }
    }
}
