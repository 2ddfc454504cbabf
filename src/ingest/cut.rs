//! Whether an object's pixels were cut off before they were sent. It is kept all the same; the sender is told.

use crate::dicom::image::Layout;
use crate::dicom::{Header, Syntax};

/// Whether the pixels that the header asks for are more than what follows it in a data set of so many bytes. Of compressed ones nobody knows
/// before they are decoded.
pub(super) fn is_cut(header: &Header, transfer_syntax: &str, length: u64) -> bool {
    let syntax = Syntax::of(transfer_syntax);
    let native = header.pixels_at.filter(|_| !syntax.encapsulated && !syntax.deflated);
    let wanted = native.and_then(|at| Some((at, Layout::of(&header.attributes).ok()?.total_bytes())));
    // Tag and length take eight bytes at least.
    wanted.is_some_and(|(at, bytes)| length < at.saturating_add(8).saturating_add(bytes))
}
