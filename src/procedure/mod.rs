//! The knowledge in `procedures/`: regions, their items (互认项目), the vocabulary, the thresholds. Data in, checked values out.
//!
//! PURE: texts are handed in; nothing is read from disk here. Never contains the name of an item or a region itself.

pub mod calibration;
pub mod catalogue;
pub mod embedded;
pub mod load;
pub mod mark;
pub mod vocabulary;

pub use catalogue::{Contrast, Item, Mark, Posture, Procedures, Protocol, Quality, Region, Side};
pub use load::{LoadError, load};
pub use vocabulary::{Axis, Hit, Vocabulary};
