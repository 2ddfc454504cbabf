//! The mark as an overlay plane (PS3.3 C.9.2): beside the samples, which stay as they are. A viewer may hide it; the burnt mark is what counts.

use super::Placed;
use crate::dicom::{DataSet, Tag, VR, Value};

/// Adds the mark in the first overlay group that is free.
///
/// # Errors
/// All sixteen groups are taken.
pub fn add(data_set: &mut DataSet, placed: &Placed, rows: u32, columns: u32) -> Result<(), super::MarkError> {
    let taken = |group: u16| data_set.elements.iter().any(|e| e.tag.0 == group);
    let group = (0x6000..0x6020).step_by(2).find(|g| !taken(*g)).ok_or(super::MarkError::NoOverlay)?;
    let mut bits = vec![0u8; (rows as usize * columns as usize).div_ceil(8).next_multiple_of(2)];
    let covered = placed.mask.fill.iter().enumerate().filter(|(_, cover)| **cover >= 128);
    for at in covered.map(|(at, _)| at) {
        let (x, y) = (at % placed.mask.width as usize, at / placed.mask.width as usize);
        let bit = (placed.y as usize + y) * columns as usize + placed.x as usize + x;
        if let Some(byte) = bits.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    data_set.put_u16(Tag(group, 0x0010), short(rows));
    data_set.put_u16(Tag(group, 0x0011), short(columns));
    data_set.put_text(Tag(group, 0x0022), VR::LO, "Mutual recognition mark");
    data_set.put_text(Tag(group, 0x0040), VR::CS, "G");
    data_set.put(Tag(group, 0x0050), VR::SS, Value::Bytes(vec![1, 0, 1, 0]));
    data_set.put_u16(Tag(group, 0x0100), 1);
    data_set.put_u16(Tag(group, 0x0102), 0);
    data_set.put_text(Tag(group, 0x1500), VR::LO, "HR");
    // Planes of a multi-frame image hold for all its frames when they say nothing else.
    data_set.put(Tag(group, 0x3000), VR::OW, Value::Bytes(bits));
    Ok(())
}
