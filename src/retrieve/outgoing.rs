//! A stored instance on its way to a peer by C-STORE: as it is, or transcoded without loss to what the peer takes.

use super::object::Object;
use super::{Copied, NoCopy, transcoded, transcoded_object};
use crate::codec::Pool;
use crate::dicom::{syntax, uids};
use crate::dimse::storescu::Outgoing;
use crate::index::InstanceRow;
use crate::store::Store;
use flate2::{Compression, read::DeflateEncoder};
use std::io::{Read, Seek, SeekFrom};

/// What every object with still pictures, or none, can be written in: native first, which every peer takes that keeps to PS3.5 10.1; for those
/// that take pictures compressed only, what loses nothing; then what is hardly used.
const PLAIN: &[&str] = &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
const PACKED: &[&str] = &[
    uids::JPEGLS_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG2000_LOSSLESS,
    uids::RLE_LOSSLESS,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::JPEG_LOSSLESS,
];
const RARE: &[&str] = &[uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, syntax::EXPLICIT_VR_BIG_ENDIAN];
const STILL: &[&[&str]] = &[PLAIN, PACKED, RARE];

/// Prepares an instance; nothing is opened yet.
pub fn outgoing<'a>(store: &'a Store, pool: &'a Pool, row: &'a InstanceRow) -> Outgoing<'a> {
    let open = move |wanted: &str| -> Result<Box<dyn Read + 'a>, String> {
        if wanted == row.transfer_syntax {
            let opened = Object::stored_file(store, row).and_then(|(mut file, at)| {
                let there = file.metadata()?.len();
                file.seek(SeekFrom::Start(at)).map(|_| (file, there.saturating_sub(at)))
            });
            let (file, there) = opened.map_err(|e| e.to_string())?;
            if there < row.length {
                return Err(format!("its stored file is cut off: {there} of {} bytes", row.length));
            }
            return Ok(Box::new(file.take(row.length)));
        }
        written(wanted, |output| transcoded(store, row, output, pool))
    };
    Outgoing {
        sop_class: row.sop_class.clone(),
        sop_instance: row.sop_instance.to_string(),
        transfer_syntax: row.transfer_syntax.clone(),
        others: others(&row.transfer_syntax),
        open: Box::new(open),
    }
}

/// What an object of a transfer syntax can be turned into for a peer that does not take it.
pub fn others(transfer_syntax: &str) -> &'static [&'static [&'static str]] {
    if syntax::is_video(transfer_syntax) { &[] } else { STILL }
}

/// An object that is no stored instance, in another transfer syntax; one of [`others`].
///
/// # Errors
/// It cannot be written so without loss.
pub fn rewritten<'a>(object: Object, wanted: &str, pool: &'a Pool) -> Result<Box<dyn Read + 'a>, String> {
    written(wanted, |output| transcoded_object(object, output, pool))
}

fn written<'a>(
    wanted: &str,
    copy: impl FnOnce(&'static str) -> Result<Copied<'a>, NoCopy>,
) -> Result<Box<dyn Read + 'a>, String> {
    let all = STILL.iter().copied().flatten();
    let output = all.copied().find(|uid| *uid == wanted).ok_or("it cannot be written in that transfer syntax")?;
    // A deflated data set is an explicit one, deflated as a whole (PS3.5 A.5).
    let deflated = syntax::Syntax::of(output).deflated;
    let output = if deflated { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { output };
    let copied = copy(output).map_err(|e| e.to_string())?;
    if copied.transfer_syntax != output {
        return Err("its samples cannot be written in that transfer syntax without loss".into());
    }
    Ok(if deflated { Box::new(DeflateEncoder::new(copied, Compression::fast())) } else { Box::new(copied) })
}
