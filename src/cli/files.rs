//! DICOM files named on a command line.

use hutong::codec::Pool;
use hutong::dicom::dataset::{Limits, Seeking, parse};
use hutong::dicom::part10::{FileError, read_meta};
use hutong::dicom::{Syntax, tags};
use hutong::dimse::storescu::Outgoing;
use hutong::retrieve::{Object, others, rewritten};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Every file below the paths, in order; linked files too. A linked folder inside of one is not entered, which is said: it may be above it.
pub fn below(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        anyhow::ensure!(path.exists(), "{}: there is no such file or folder", path.display());
        if path.is_dir() { in_folder(path, &mut files)? } else { files.push(path.clone()) }
    }
    Ok(files)
}

fn in_folder(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let named = |e: std::io::Error, path: &Path| anyhow::anyhow!("{}: {e}", path.display());
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries: Vec<PathBuf> = entries.map_err(|e| named(e, folder))?.iter().map(std::fs::DirEntry::path).collect();
    entries.sort();
    for path in entries {
        let kind = std::fs::metadata(&path).map_err(|e| named(e, &path))?;
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && path.is_symlink() {
            eprintln!("{}: 未进入链接的文件夹 a linked folder is not entered; name it itself", path.display());
        } else if kind.is_dir() {
            in_folder(&path, files)?;
        }
    }
    Ok(())
}

/// Writes every phantom study to a folder of its own.
pub fn write_phantoms(folder: &Path) -> anyhow::Result<std::process::ExitCode> {
    for study in hutong::phantom::all() {
        let place = folder.join(format!("{:?}", study.phantom));
        std::fs::create_dir_all(&place)?;
        for (n, image) in study.images.iter().enumerate() {
            std::fs::write(place.join(format!("{n:04}.dcm")), image.file())?;
        }
        println!("{} {}", place.display(), study.images.len());
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// The SOP Instance UID that the header of a file names.
pub fn named_by_header(path: &Path) -> Option<String> {
    read_meta(BufReader::new(File::open(path).ok()?)).ok()?.sop_instance
}

/// The study that a file claims to belong to, however damaged it is.
pub fn study_of(path: &Path) -> Option<hutong::dicom::Uid> {
    let mut reader = BufReader::new(File::open(path).ok()?);
    let meta = read_meta(&mut reader).ok()?;
    reader.seek(SeekFrom::Start(meta.data_set_at)).ok()?;
    let limits = Limits { value: 1 << 16, stop_at_pixels: true, partial: true, total: None };
    let parsed = parse(&mut Seeking(reader), Syntax::of(&meta.transfer_syntax), limits).ok()?;
    hutong::dicom::Uid::parse(&parsed.data_set.text(tags::STUDY_INSTANCE_UID)?).ok()
}

/// Longest value that is carried over into another transfer syntax, bytes.
const LONGEST: u64 = 1 << 28;

/// Reads what sending needs to know of a file. With decoders it is turned into what the peer takes, where that loses nothing.
///
/// # Errors
/// It is no DICOM object, with the reason.
pub fn outgoing<'a>(path: &Path, pool: Option<&'a Pool>) -> Result<Outgoing<'a>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut reader = BufReader::new(file);
    let meta = read_meta(&mut reader).map_err(|e: FileError| e.to_string())?;
    reader.seek(SeekFrom::Start(meta.data_set_at)).map_err(|e| e.to_string())?;
    let syntax = Syntax::of(&meta.transfer_syntax);
    let limits = Limits { value: 1 << 16, stop_at_pixels: true, partial: true, total: Some(length - meta.data_set_at) };
    let data_set = if syntax.deflated {
        let inflated = flate2::read::DeflateDecoder::new(reader);
        parse(&mut hutong::dicom::dataset::Streaming::new(inflated, 1 << 26), syntax, Limits { total: None, ..limits })
    } else {
        parse(&mut Seeking(reader), syntax, limits)
    };
    let data_set = data_set.map_err(|e| e.to_string())?.data_set;
    let need = |tag, name: &str| data_set.text(tag).ok_or_else(|| format!("{name} {tag} is missing"));
    let (owned, at) = (path.to_path_buf(), meta.data_set_at);
    let stored = meta.transfer_syntax.clone();
    let known = meta.clone();
    Ok(Outgoing {
        sop_class: need(tags::SOP_CLASS_UID, "SOP Class UID")?,
        sop_instance: need(tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
        transfer_syntax: meta.transfer_syntax,
        others: if pool.is_some() { others(&stored) } else { &[] },
        open: Box::new(move |wanted| {
            if let Some(pool) = pool.filter(|_| wanted != stored) {
                let object = File::open(&owned)
                    .map_err(|e| e.to_string())
                    .and_then(|file| Object::read(file, &known, LONGEST).map_err(|e| e.to_string()))?;
                return rewritten(object, wanted, pool);
            }
            let opened = File::open(&owned).and_then(|mut file| file.seek(SeekFrom::Start(at)).map(|_| file));
            let file = opened.map_err(|e| e.to_string())?;
            Ok(Box::new(BufReader::with_capacity(1 << 18, file)) as Box<dyn Read>)
        }),
    })
}
