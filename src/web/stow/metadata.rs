//! STOW-RS of metadata and bulk data (PS3.18 10.5.4): metadata are held in memory, bulk data go to nameless files, and each instance is
//! put together as a stream that ingest takes like any other.

use super::{Kind, MOST_PARTS, PATIENCE, Parts, Receiving, chunks_of, kind_of, pass_over, split_content_type};
use crate::dicom::dataset::write_header;
use crate::dicom::json::{Bulk, ReadError, to_data_set};
use crate::dicom::{DataSet, Tag, VR, tags, uids, xml};
use crate::ingest::{IngestError, Stored};
use crate::web::problem::{Problem, task_failed};
use crate::web::wado::frames::default_syntax;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// All metadata of a request, bytes.
const MOST_METADATA: usize = 64 << 20;
/// Longest bulk value within a sequence, and of one that is not streamed, bytes.
const IN_MEMORY: u64 = 1 << 20;

/// A bulk part that has come.
struct Part {
    file: File,
    length: u64,
    media: String,
    transfer_syntax: Option<String>,
}

/// Receives a multipart body of metadata and bulk data.
///
/// # Errors
/// It is malformed, too large, or stops coming.
pub async fn receive(receiving: &mut Receiving, parts: &mut Parts) -> Result<(), Problem> {
    let (mut objects, mut bulk, mut held, mut count) = (Vec::new(), HashMap::<String, Vec<Part>>::new(), 0usize, 0usize);
    while let Some(field) = parts.next().await? {
        count += 1;
        if count > MOST_PARTS {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too many parts in one request"));
        }
        let text =
            |name| field.headers().get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok()).unwrap_or("").to_string();
        let (media, parameters) = split_content_type(&text(header::CONTENT_TYPE));
        let location = text(header::CONTENT_LOCATION);
        match kind_of(&media) {
            Some(kind @ (Kind::Json | Kind::Xml)) => {
                let bytes = collect(chunks_of(field), MOST_METADATA - held).await?;
                held += bytes.len();
                objects.extend(objects_of(kind, &bytes)?);
            }
            Some(Kind::File) => {
                receiving.tally.fail_unnamed(0xC000);
                pass_over(field).await?;
            }
            None => {
                let transfer_syntax = parameters.iter().find(|(n, _)| n == "transfer-syntax").map(|(_, v)| v.clone());
                let (file, length) = spool(receiving, chunks_of(field)).await?;
                bulk.entry(location).or_default().push(Part { file, length, media, transfer_syntax });
            }
        }
    }
    store(receiving, objects, bulk).await
}

/// Receives metadata alone.
///
/// # Errors
/// As [`receive`].
pub async fn receive_single(receiving: &mut Receiving, kind: Kind, body: Body) -> Result<(), Problem> {
    let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
    let objects = objects_of(kind, &collect(chunks, MOST_METADATA).await?)?;
    store(receiving, objects, HashMap::new()).await
}

pub(super) async fn next(chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin)) -> Result<Option<Bytes>, Problem> {
    match tokio::time::timeout(PATIENCE, chunks.next()).await {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body stopped coming")),
        Ok(None) => Ok(None),
        Ok(Some(chunk)) => chunk.map(Some).map_err(|e| Problem::bad(format!("the body broke off: {e}"))),
    }
}

async fn collect(mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut chunks).await? {
        if bytes.len() + chunk.len() > most {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the metadata of one request are over 64 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Bulk data into a file that has no name and is gone when it is closed.
async fn spool(
    receiving: &Receiving,
    mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<(File, u64), Problem> {
    let failed = |e: &io::Error| match e.kind() {
        io::ErrorKind::StorageFull => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full"),
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("bulk data cannot be kept: {e}")),
    };
    let (store, reserve) = (receiving.app.store.clone(), receiving.app.reserve_bytes);
    let opened = tokio::task::spawn_blocking(move || {
        if store.free_bytes()? < reserve {
            return Err(io::ErrorKind::StorageFull.into());
        }
        tempfile::tempfile_in(store.scratch())
    });
    let mut file = opened.await.map_err(task_failed)?.map_err(|e| failed(&e))?;
    let mut length = 0u64;
    while let Some(chunk) = next(&mut chunks).await? {
        length += chunk.len() as u64;
        let written = tokio::task::spawn_blocking(move || file.write_all(&chunk).map(|()| file));
        file = written.await.map_err(task_failed)?.map_err(|e| failed(&e))?;
    }
    Ok((file, length))
}

/// Each object, or what is wrong with it.
fn objects_of(kind: Kind, bytes: &[u8]) -> Result<Vec<Map<String, Json>>, Problem> {
    if kind == Kind::Xml {
        return xml::to_json(bytes).map(|one| vec![one]).map_err(|e| Problem::bad(format!("the XML is not of the model: {e}")));
    }
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(one)) => Ok(vec![one]),
        Ok(Json::Array(all)) if all.iter().all(Json::is_object) => {
            Ok(all.into_iter().filter_map(|one| if let Json::Object(map) = one { Some(map) } else { None }).collect())
        }
        Ok(_) => Err(Problem::bad("the JSON is neither an object of the model nor an array of them")),
        Err(e) => Err(Problem::bad(format!("the JSON does not parse: {e}"))),
    }
}

async fn store(
    receiving: &mut Receiving,
    objects: Vec<Map<String, Json>>,
    mut bulk: HashMap<String, Vec<Part>>,
) -> Result<(), Problem> {
    for object in objects {
        let text = |tag: &str| object.get(tag).and_then(|a| a.pointer("/Value/0")?.as_str()).unwrap_or("").to_string();
        let (class, instance) = (text("00080016"), text("00080018"));
        let (ingest, sender, study) = (receiving.app.ingest.clone(), receiving.sender.clone(), receiving.study.clone());
        let work = move || {
            let put = assemble(&object, &mut bulk).map(|(mut reader, syntax): (Box<dyn Read>, String)| {
                ingest.receive_data_set(&sender, &syntax, study.as_ref(), &mut reader)
            });
            (put, bulk)
        };
        let (put, rest): (Result<Result<Stored, IngestError>, ReadError>, _) =
            tokio::task::spawn_blocking(work).await.map_err(task_failed)?;
        bulk = rest;
        match put {
            Ok(result) => receiving.tally.count(result),
            Err(why) => {
                tracing::warn!(error = %why, "metadata of a STOW-RS request were refused");
                if instance.is_empty() {
                    receiving.tally.fail_unnamed(0xC000)
                } else {
                    receiving.tally.fail(&class, &instance, 0xC000)
                }
            }
        }
    }
    Ok(())
}

/// The data set as a stream, and its transfer syntax. Bulk data are used up.
fn assemble(object: &Map<String, Json>, bulk: &mut HashMap<String, Vec<Part>>) -> Result<(Box<dyn Read>, String), ReadError> {
    let mut inline = |uri: &str| {
        let part = bulk.get_mut(uri).filter(|parts| parts.len() == 1)?.first_mut()?;
        if part.length > IN_MEMORY || !is_native(part) {
            return None;
        }
        part.file.seek(SeekFrom::Start(0)).ok()?;
        let mut bytes = Vec::new();
        part.file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let (data_set, open) = to_data_set(object, &mut inline)?;
    let mut pieces: Vec<Box<dyn Read>> = Vec::new();
    let mut syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN.to_string();
    let mut rest = data_set;
    let wide =
        crate::dicom::Attributes::decode(&rest, |t| t == tags::BITS_ALLOCATED).int(tags::BITS_ALLOCATED).unwrap_or(8) > 8;
    for Bulk { tag, vr, uri } in open {
        let wrong = |what: &str| ReadError { at: crate::dicom::json::key(tag), what: what.into() };
        let parts = bulk.remove(&uri).ok_or_else(|| wrong("no part of the request has the Content-Location that it names"))?;
        let after = rest.elements.split_off(rest.elements.partition_point(|e| e.tag < tag));
        pieces.push(written(std::mem::replace(&mut rest, DataSet { elements: after })));
        let vr = if tag == tags::PIXEL_DATA { if wide { VR::OW } else { VR::OB } } else { vr };
        if parts.iter().all(is_native) {
            pieces.extend(native(tag, vr, parts).map_err(|e| wrong(&e))?);
        } else {
            syntax = syntax_of(&parts)
                .filter(|_| tag == tags::PIXEL_DATA)
                .ok_or_else(|| wrong("its media type says of no transfer syntax how it is compressed"))?;
            pieces.extend(encapsulated(parts).map_err(|e| wrong(&e))?);
        }
    }
    pieces.push(written(rest));
    let whole = pieces.into_iter().reduce(|a, b| Box::new(a.chain(b))).unwrap_or_else(|| Box::new(io::empty()));
    Ok((whole, syntax))
}

fn is_native(part: &Part) -> bool {
    let native = part.transfer_syntax.as_deref().is_none_or(|s| s == uids::EXPLICIT_VR_LITTLE_ENDIAN);
    default_syntax(&part.media).is_none() && native
}

/// The one transfer syntax that all parts have.
fn syntax_of(parts: &[Part]) -> Option<String> {
    let one = |p: &Part| {
        let stated = p.transfer_syntax.clone();
        stated.or_else(|| of_jpeg(p).or_else(|| default_syntax(&p.media)).map(str::to_string))
    };
    let first = one(parts.first()?)?;
    let known = crate::dicom::syntax::known(&first).is_some();
    (known && parts.iter().all(|p| one(p).as_deref() == Some(&first))).then_some(first)
}

/// The transfer syntax of a JPEG by its start of frame: who sends image/jpeg and no transfer syntax seldom means lossless, which would be
/// the default.
fn of_jpeg(part: &Part) -> Option<&'static str> {
    let mut head = vec![0u8; 1 << 16];
    let got = (part.media == "image/jpeg").then(|| part.file.read_at(&mut head, 0).ok()).flatten()?;
    head.truncate(got);
    let mut at = 2;
    loop {
        let [0xFF, marker, high, low] = *head.get(at..)?.first_chunk::<4>()? else { return None };
        match marker {
            0xC0 => return Some(uids::JPEG_BASELINE8_BIT),
            0xC1 => return Some(uids::JPEG_EXTENDED12_BIT),
            0xC3 => return Some(uids::JPEG_LOSSLESS_SV1),
            0xC2 | 0xDA => return None,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

fn written(data_set: DataSet) -> Box<dyn Read> {
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    Box::new(Cursor::new(bytes))
}

fn rewound(mut part: Part) -> Result<Box<dyn Read>, String> {
    part.file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    Ok(Box::new(io::BufReader::with_capacity(1 << 16, part.file)))
}

/// What makes a length even.
fn padding(length: u64) -> Box<dyn Read> {
    Box::new(io::repeat(0).take(length % 2))
}

fn native(tag: Tag, vr: VR, parts: Vec<Part>) -> Result<Vec<Box<dyn Read>>, String> {
    // Frames of uncompressed pixel data may come one by one; within a value only its end is padded.
    let total: u64 = parts.iter().map(|p| p.length).sum();
    let length = usize::try_from(total + total % 2).ok().filter(|n| *n < u32::MAX as usize);
    let mut head = Vec::new();
    write_header(&mut head, tag, vr, length.ok_or("its value is over 4 GiB")?);
    let mut pieces: Vec<Box<dyn Read>> = vec![Box::new(Cursor::new(head))];
    for part in parts {
        pieces.push(rewound(part)?);
    }
    pieces.push(padding(total));
    Ok(pieces)
}

/// Frames as fragments, with an empty basic offset table (PS3.5 A.4).
fn encapsulated(parts: Vec<Part>) -> Result<Vec<Box<dyn Read>>, String> {
    let mut head = vec![0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    head.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    let mut pieces: Vec<Box<dyn Read>> = vec![Box::new(Cursor::new(head))];
    for part in parts {
        let length = part.length;
        let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
        item.extend_from_slice(&u32::try_from(length + length % 2).map_err(|_| "a frame is over 4 GiB")?.to_le_bytes());
        pieces.extend([Box::new(Cursor::new(item)) as Box<dyn Read>, rewound(part)?, padding(length)]);
    }
    pieces.push(Box::new(Cursor::new(vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0])));
    Ok(pieces)
}
