//! Whether the images are fit (图像清晰、质量可靠): identity and dates from headers, gross faults from pixels.
//!
//! Only deterministic faults reject. One file per family of checks; thresholds come from `procedures/quality.toml`.

pub mod identity;
pub mod pixels;
