//! What a stored object's compression lost: what its code streams say, not its label.

use super::object::Object;
use crate::codec;
use crate::dicom::dataset::Value;
use crate::dicom::image::Layout;
use crate::dicom::{syntax, tags};
use crate::mark::derive::{self, Lost};

/// What the object's transfer syntax lost.
pub(super) fn lost(object: &Object, layout: &Layout) -> Option<Lost> {
    if !matches!(object.data_set.get(tags::PIXEL_DATA)?.value, Value::Fragments(_)) {
        return None;
    }
    let (loses, ratio) = compression(object, layout);
    let method = syntax::lossy_method(&object.transfer_syntax);
    derive::is_lossy(&object.transfer_syntax, &object.data_set, loses).then_some(Lost { method, ratio })
}

/// Whether an object's code streams lost something, where anybody can tell: one that did is enough.
fn stream_loses(object: &Object, layout: &Layout) -> Option<bool> {
    let Value::Fragments(fragments) = &object.data_set.get(tags::PIXEL_DATA)?.value else { return Some(false) };
    let mut streams =
        fragments.iter().skip(1).map(|f| object.range(f.offset, f.length.min(codec::STREAM_HEADER)).unwrap_or_default());
    let begins = streams.next().unwrap_or_default();
    let first = match codec::loses(&object.transfer_syntax, &begins) {
        told if told == Some(true) || !codec::is_jpeg_2000(&begins) => told,
        // Only the packets tell what was left out.
        told => object.compressed_frame(0, layout.frames).ok().flatten().and_then(|f| codec::leaves_out(&f)).or(told),
    };
    // What follows in a fragment of its own may be the rest of a frame, which says nothing.
    let later = |stream: Vec<u8>| codec::stream_loses(&stream) == Some(true);
    if first != Some(true) && streams.any(later) { Some(true) } else { first }
}

/// What a stored object's bytes tell of its compression: whether it lost something, where anybody can tell, and native over stored bytes.
pub fn compression(object: &Object, layout: &Layout) -> (Option<bool>, f64) {
    let native = (Some(false), 1.0);
    let Some(Value::Fragments(fragments)) = object.data_set.get(tags::PIXEL_DATA).map(|e| &e.value) else { return native };
    let bytes: u64 = fragments.iter().skip(1).map(|f| f.length).sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio of two digits")]
    let ratio = layout.total_bytes() as f64 / bytes.max(1) as f64;
    (stream_loses(object, layout), ratio)
}
