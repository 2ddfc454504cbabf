//! A stored instance on its way to a peer by C-STORE: as it is, or transcoded without loss to what the peer takes.

use super::object::Object;
use super::{Copied, NoCopy, transcoded, transcoded_object};
use crate::codec::Pool;
use crate::dicom::{syntax, uids};
use crate::dimse::storescu::Outgoing;
use crate::index::InstanceRow;
use crate::store::Store;
use std::io::{Read, Seek, SeekFrom};

/// What every object with still pictures, or none, can be written in: native first, which every peer takes that keeps to PS3.5 10.1; for those
/// that take pictures compressed only, what loses nothing.
const PLAIN: &[&str] = &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
const PACKED: &[&str] = &[uids::JPEGLS_LOSSLESS, uids::JPEG2000_LOSSLESS, uids::RLE_LOSSLESS, uids::HTJ2K_LOSSLESS];
const STILL: &[&[&str]] = &[PLAIN, PACKED];

/// Prepares an instance; nothing is opened yet.
pub fn outgoing<'a>(store: &'a Store, pool: &'a Pool, row: &'a InstanceRow) -> Outgoing<'a> {
    let open = move |wanted: &str| -> Result<Box<dyn Read + 'a>, String> {
        if wanted == row.transfer_syntax {
            let opened =
                Object::stored_file(store, row).and_then(|(mut file, at)| file.seek(SeekFrom::Start(at)).map(|_| file));
            let file = opened.map_err(|e| e.to_string())?;
            return Ok(Box::new(file.take(row.length)));
        }
        let output = output(wanted)?;
        written(transcoded(store, row, output, pool), output)
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
    let output = output(wanted)?;
    written(transcoded_object(object, output, pool), output)
}

fn output(wanted: &str) -> Result<&'static str, String> {
    let all = STILL.iter().copied().flatten();
    all.copied().find(|uid| *uid == wanted).ok_or_else(|| "it cannot be written in that transfer syntax".into())
}

fn written<'a>(copied: Result<Copied<'a>, NoCopy>, output: &str) -> Result<Box<dyn Read + 'a>, String> {
    let copied = copied.map_err(|e| e.to_string())?;
    if copied.transfer_syntax != output {
        return Err("its samples cannot be written in that transfer syntax without loss".into());
    }
    Ok(Box::new(copied))
}
