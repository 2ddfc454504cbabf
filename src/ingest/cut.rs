//! Whether an object's pixels were cut off before they were sent. It is kept all the same; the sender is told.

use crate::dicom::{Header, Syntax, tags};

/// Whether the pixels that the header asks for are more than what follows it in a data set of so many bytes. Of compressed ones nobody knows
/// before they are decoded.
pub(super) fn is_cut(header: &Header, transfer_syntax: &str, length: u64) -> bool {
    let syntax = Syntax::of(transfer_syntax);
    let Some(at) = header.pixels_at.filter(|_| !syntax.encapsulated && !syntax.deflated) else { return false };
    let number = |tag| header.attributes.int(tag).and_then(|n| u64::try_from(n).ok());
    let shape = [tags::ROWS, tags::COLUMNS, tags::SAMPLES_PER_PIXEL, tags::BITS_ALLOCATED].map(number);
    let [Some(rows), Some(columns), Some(samples), Some(bits)] = shape else { return false };
    // Half-rate colour has two samples for three.
    let half = header.attributes.text(tags::PHOTOMETRIC_INTERPRETATION).is_some_and(|p| p.ends_with("_422"));
    let samples = if half { 2 } else { samples };
    let all = [rows, columns, samples, bits, number(tags::NUMBER_OF_FRAMES).unwrap_or(1)];
    let bits = all.into_iter().try_fold(1u64, u64::checked_mul).unwrap_or(u64::MAX);
    length < at.saturating_add(8).saturating_add(bits / 8)
}
