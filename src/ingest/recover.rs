//! From files back to the index: after a crash the few that were under way, after a loss all of them.

use super::{Failed, key_of, now_ms, read_header, row_of};
use crate::dicom::Attributes;
use crate::dicom::part10::read_meta;
use crate::index::{Index, InstanceRow};
use crate::store::{Published, Store, digest};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Reads a stored file again, for the index.
///
/// # Errors
/// It is not one of ours, or damaged.
pub fn read_back(path: &Path) -> Result<(InstanceRow, Attributes), String> {
    read_open(std::fs::File::open(path).map_err(|e| e.to_string())?)
}

fn read_open(file: std::fs::File) -> Result<(InstanceRow, Attributes), String> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let meta = read_meta(&mut reader).map_err(|e| e.to_string())?;
    let stamp = meta.stamp.ok_or("the file has no stamp of Hutong")?;
    reader.seek(SeekFrom::Start(meta.data_set_at)).map_err(|e| e.to_string())?;
    let (_, _, header) = read_header(&meta.transfer_syntax, &mut reader).map_err(|e| e.to_string())?;
    let row = row_of(&header, &stamp, &meta.transfer_syntax, meta.sending_aet.as_deref().unwrap_or(""));
    Ok((row, header.attributes))
}

/// Finishes what a crash interrupted: drafts that are whole get their name and their index row, all others are taken away.
///
/// # Errors
/// The disk or the index fails.
pub fn recover(store: &Store, index: &dyn Index, quiet: Duration) -> Result<usize, Failed> {
    let mut recovered = 0;
    for draft in store.leftovers().map_err(Failed::Disk)? {
        // A disk that fails now must not cost a draft: it may be the only durable name of an acknowledged object.
        let mut file = std::fs::File::open(&draft).map_err(Failed::Disk)?;
        io::copy(&mut file, &mut io::sink()).map_err(Failed::Disk)?;
        if let Ok((row, attributes)) = read_back(&draft) {
            let known = index.instance(&row.sop_instance)?;
            let ours = known.as_ref().is_none_or(|k| k.sha256 == row.sha256);
            // The stamp is written last: a draft whose bytes do not fit it was never whole.
            if ours && is_whole(&draft).map_err(Failed::Disk)? {
                let key = key_of(&row);
                let published = store.adopt(&draft, &key).map_err(Failed::Disk)?;
                // Another draft of the same UID may have taken the name: its bytes are what is stored.
                let there = store.open_object(&key).map_err(Failed::Disk)?.1.stamp;
                let same = published == Published::New || there.is_some_and(|s| s.sha256 == row.sha256);
                if known.is_none() && same {
                    let settle_ms = now_ms() + i64::try_from(quiet.as_millis()).unwrap_or(0);
                    index.commit(&[row], &[attributes], settle_ms)?;
                    recovered += 1;
                }
            }
        }
        std::fs::remove_file(&draft).map_err(Failed::Disk)?;
    }
    Ok(recovered)
}

/// Whether a stored file holds the bytes that its stamp says.
///
/// # Errors
/// The disk fails.
pub fn is_whole(path: &Path) -> io::Result<bool> {
    let file = std::fs::File::open(path)?;
    let Ok(meta) = read_meta(BufReader::new(&file)) else { return Ok(false) };
    let Some(stamp) = &meta.stamp else { return Ok(false) };
    let (length, sha256) = digest(file, meta.data_set_at)?;
    Ok(length == stamp.length && sha256 == stamp.sha256)
}

/// Fills an empty index from the files. Returns how many were indexed, and those that could not be, with the reason.
///
/// # Errors
/// The index fails.
pub fn rebuild(
    store: &Store,
    index: &dyn Index,
    quiet: Duration,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Vec<String>), Failed> {
    let settle_ms = now_ms() + i64::try_from(quiet.as_millis()).unwrap_or(0);
    let (mut done, mut failed) = (0u64, Vec::new());
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    let mut flush = |rows: &mut Vec<InstanceRow>, names: &mut Vec<Attributes>| {
        index.commit(rows, names, settle_ms)?;
        done += rows.len() as u64;
        progress(done);
        rows.clear();
        names.clear();
        Ok::<(), Failed>(())
    };
    for path in store.files() {
        let path = path.map_err(Failed::Disk)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        match read_back(&path) {
            Ok((row, _)) if store.path(&key_of(&row)) != path => failed.push(format!("{name}: it is not where it belongs")),
            Ok((row, _)) if index.instance(&row.sop_instance)?.is_some() => {}
            Ok((row, attributes)) => {
                rows.push(row);
                names.push(attributes);
                if rows.len() >= 200 {
                    flush(&mut rows, &mut names)?;
                }
            }
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    if !rows.is_empty() {
        flush(&mut rows, &mut names)?;
    }
    Ok((done, failed))
}
