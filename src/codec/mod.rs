//! Frames out of stored pixel data. Compressed ones are decoded in worker processes with limits on memory and time, because a
//! codec can abort a process; a worker that dies costs one frame, never the node.

mod decode;
mod encode;
mod j2k;
pub mod jpeg;
mod jpegls;
mod native;
mod pool;
mod protocol;
mod reversible;
mod rle;
pub mod samples;
mod worker;

pub use j2k::{is_jpeg_2000, leaves_out};
pub use native::{native_frame, pack_bits, packed_bits_frame, planes};
pub use pool::{Limits, Pool};
pub use reversible::{STREAM_HEADER, loses, stream_loses};
pub use worker::run as run_worker;

use crate::dicom::image::Layout;

/// One decoded frame: samples interleaved by pixel, little endian.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Shape of these samples; it can differ from the header's (planar configuration, photometric interpretation).
    pub layout: Layout,
    /// The samples.
    pub bytes: Vec<u8>,
}

/// Why a frame cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing here decodes this transfer syntax.
    #[error("transfer syntax {0} is not decoded here")]
    Unsupported(String),
    /// The codec refused the bytes.
    #[error("the codec refused the frame: {0}")]
    Damaged(String),
    /// Fewer samples than the header promises.
    #[error("the pixel data are cut off: {got} of {wanted} bytes")]
    Short {
        /// Bytes there.
        got: u64,
        /// Bytes due.
        wanted: u64,
    },
    /// The worker died or was stopped over its limits.
    #[error("the decoder was stopped: {0}")]
    Stopped(String),
    /// Workers cannot be run at all: our fault.
    #[error("no decoder can be started: {0}")]
    NoWorker(String),
}

impl DecodeError {
    /// Whether trying again later may help.
    pub fn is_ours(&self) -> bool {
        matches!(self, DecodeError::NoWorker(_))
    }
}
