//! Bulk data (PS3.18 10.4.1.5) and pixel data (10.4.1.6): values at the URIs that metadata give, and all of a study, series or instance.

use super::frames::{self, FrameForm};
use crate::dicom::dataset::{Extent, Value};
use crate::dicom::{DataSet, Element, Tag, tags};
use crate::index::InstanceRow;
use crate::retrieve::{Object, describe};
use crate::web::accept::Offer;
use crate::web::asked::{Asked, CACHED, address};
use crate::web::multipart::{BOUNDARY, Writer, body, end, part};
use crate::web::problem::{Problem, task_failed};
use crate::web::ranges;
use crate::web::router::App;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::io::{self, Write};
use std::sync::Arc;

const OCTETS: &str = "application/octet-stream";
/// Shorter values stand in the metadata.
const INLINE: usize = 1024;

/// `GET …/bulkdata/{path}`: the value at a path of tags and item numbers, as metadata name it.
pub async fn value(
    asked: Asked,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    if path == "7FE00010" || path == "7fe00010" {
        return pixels(&asked, vec![row], true).await;
    }
    let accepted = asked.accepted()?;
    let (offer, _) = accepted.choose(&[Offer::many(OCTETS), Offer::one(OCTETS)])?;
    let tag = asked.tag(std::slice::from_ref(&row), &offer.to_string());
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let app = asked.app.clone();
    let location = format!("{}/bulkdata/{path}", asked.url_of(&row));
    let opened = tokio::task::spawn_blocking(move || {
        let object = app.opened.get(&app.store, &row)?;
        let bulk = Bulk::of(find(&object.data_set, &path).ok_or_else(|| Problem::unknown("this bulk data"))?)
            .ok_or_else(|| Problem::unknown("bulk data: the path names a sequence"))?;
        Ok::<_, Problem>((object, bulk))
    });
    let (object, bulk) = opened.await.map_err(task_failed)??;
    if !offer.multipart {
        return Ok(ranges::answer(&asked.headers, (OCTETS, &tag, bulk.length()), move |out, span| {
            bulk.write(&object, out, span)
        }));
    }
    let body = body(move |out| {
        part(out, OCTETS, Some(&location))?;
        let all = (0, bulk.length());
        bulk.write(&object, out, all)?;
        end(out)
    });
    Ok(multipart(&tag, body))
}

fn multipart(tag: &str, body: axum::body::Body) -> Response {
    let kind = format!("multipart/related; type=\"{OCTETS}\"; boundary={BOUNDARY}");
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag), (header::CACHE_CONTROL, CACHED)];
    (fixed, body).into_response()
}

/// A value that goes out in pieces.
enum Bulk {
    Here(Vec<u8>),
    There(Extent),
}

impl Bulk {
    fn of(value: &Value) -> Option<Bulk> {
        match value {
            Value::Bytes(bytes) => Some(Bulk::Here(bytes.clone())),
            Value::Deferred(extent) => Some(Bulk::There(*extent)),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    fn length(&self) -> u64 {
        match self {
            Bulk::Here(bytes) => bytes.len() as u64,
            Bulk::There(extent) => extent.length,
        }
    }

    fn write(&self, object: &Object, out: &mut Writer, (from, length): (u64, u64)) -> io::Result<()> {
        match self {
            Bulk::Here(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                out.write_all(bytes.get(at(from)..at(from + length)).unwrap_or_default())
            }
            Bulk::There(extent) => {
                for at in (0..length).step_by(1 << 20) {
                    out.write_all(&object.range(extent.offset + from + at, (length - at).min(1 << 20))?)?;
                }
                Ok(())
            }
        }
    }
}

fn find<'a>(data_set: &'a DataSet, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('/');
    let number = parts.next().filter(|t| t.len() == 8).and_then(|t| u32::from_str_radix(t, 16).ok())?;
    let [a, b, c, d] = number.to_be_bytes();
    let element = data_set.get(Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))?;
    match (parts.next(), &element.value) {
        (None, value) => Some(value),
        (Some(item), Value::Items(items)) => {
            find(items.get(item.parse::<usize>().ok()?)?, &parts.collect::<Vec<_>>().join("/"))
        }
        _ => None,
    }
}

/// `GET /studies/{study}/bulkdata`
pub async fn of_study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    all(&asked, rows).await
}

/// `GET …/series/{series}/bulkdata`
pub async fn of_series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    all(&asked, rows).await
}

/// `GET …/instances/{instance}/bulkdata`
pub async fn of_instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    all(&asked, vec![row]).await
}

/// `GET /studies/{study}/pixeldata`
pub async fn pixels_of_study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    pixels(&asked, rows, false).await
}

/// `GET …/series/{series}/pixeldata`
pub async fn pixels_of_series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    pixels(&asked, rows, false).await
}

/// `GET …/instances/{instance}/pixeldata`
pub async fn pixels_of_instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    pixels(&asked, vec![row], true).await
}

/// Pixel data of images: native ones as one part, compressed ones as one part a frame.
async fn pixels(asked: &Asked, rows: Vec<InstanceRow>, one: bool) -> Result<Response, Problem> {
    let rows: Vec<InstanceRow> = rows.into_iter().filter(|r| r.pixels_at.is_some()).collect();
    if rows.is_empty() {
        return Err(Problem::unknown("pixel data"));
    }
    parts(asked, rows, one, false).await
}

/// Bulk data other than pixel data, then these.
async fn all(asked: &Asked, rows: Vec<InstanceRow>) -> Result<Response, Problem> {
    parts(asked, rows, false, true).await
}

async fn parts(asked: &Asked, rows: Vec<InstanceRow>, bare: bool, others: bool) -> Result<Response, Problem> {
    let accepted = asked.accepted()?;
    let offers: Vec<Offer> = frames::offers(&rows, bare);
    let (offer, ranges) = accepted.choose(&offers)?;
    let forms = rows.iter().filter(|r| r.pixels_at.is_some()).map(|row| FrameForm::of(offer.media, &ranges, row));
    forms.collect::<Result<Vec<_>, Problem>>()?;
    let tag = asked.tag(&rows, &format!("{offer} {others}"));
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let ranges: Vec<crate::web::accept::Range> = ranges.into_iter().cloned().collect();
    let (app, media) = (asked.app.clone(), offer.media);
    // The first image is tried before the answer begins.
    if let Some(row) = rows.iter().find(|r| r.pixels_at.is_some()).cloned() {
        let (app, ranges) = (app.clone(), ranges.clone());
        let tried = tokio::task::spawn_blocking(move || {
            let form = FrameForm::of(media, &ranges.iter().collect::<Vec<_>>(), &row)?;
            let object = app.opened.get(&app.store, &row)?;
            match object.layout() {
                Ok(layout) => frames::bytes(&app, &object, 0, &layout, form).map(|_| ()),
                Err(e) => Err(Problem::unacceptable(e.to_string())),
            }
        });
        tried.await.map_err(task_failed)??;
    }
    asked.record(&rows);
    let url = asked.url();
    if !offer.multipart {
        let body =
            body(move |out| rows.first().map_or(Ok(()), |row| write_pixels(&app, row, &url, (media, &ranges), out, false)));
        return Ok(([(header::CONTENT_TYPE, media), (header::ETAG, tag.as_str())], body).into_response());
    }
    let body = body(move |out| {
        for row in &rows {
            if others {
                write_others(&app, row, &address(&url, row), out)?;
            }
            if row.pixels_at.is_some() {
                write_pixels(&app, row, &url, (media, &ranges), out, true)?;
            }
        }
        end(out)
    });
    let kind = format!("{offer}; boundary={BOUNDARY}");
    Ok(([(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str())], body).into_response())
}

fn write_pixels(
    app: &Arc<App>,
    row: &InstanceRow,
    url: &str,
    (media, ranges): (&str, &[crate::web::accept::Range]),
    out: &mut Writer,
    parts: bool,
) -> io::Result<()> {
    let form = FrameForm::of(media, &ranges.iter().collect::<Vec<_>>(), row).map_err(|e| io::Error::other(e.to_string()))?;
    let object = app.opened.get(&app.store, row).map_err(io::Error::other)?;
    let layout = object.layout().map_err(io::Error::other)?;
    let location = format!("{}/bulkdata/7FE00010", address(url, row));
    let together = form == FrameForm::Native;
    for number in 0..layout.frames {
        if parts && (number == 0 || !together) {
            part(out, &form.part_type(row), Some(&location))?;
        }
        let bytes = frames::bytes(app, &object, number, &layout, form).map_err(|e| io::Error::other(e.to_string()))?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn write_others(app: &App, row: &InstanceRow, address: &str, out: &mut Writer) -> io::Result<()> {
    let object = app.opened.get(&app.store, row).map_err(io::Error::other)?;
    let mut found = Vec::new();
    collect(&object.data_set, "", &mut found);
    for (path, bulk) in found {
        part(out, OCTETS, Some(&format!("{address}/bulkdata/{path}")))?;
        let all = (0, bulk.length());
        bulk.write(&object, out, all)?;
    }
    Ok(())
}

/// Every value that metadata give a URI for, but the pixels of the image itself.
fn collect(data_set: &DataSet, path: &str, found: &mut Vec<(String, Bulk)>) {
    let is_bulk = |e: &Element| {
        use crate::dicom::VR;
        let kind = matches!(e.vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN);
        let most = if kind { INLINE } else { usize::try_from(describe::VALUE_LIMIT).unwrap_or(usize::MAX) };
        matches!(&e.value, Value::Deferred(_)) || matches!(&e.value, Value::Bytes(b) if b.len() > most)
    };
    for element in data_set.elements.iter().filter(|e| e.tag.0 > 2 && !(path.is_empty() && e.tag == tags::PIXEL_DATA)) {
        let here = format!("{path}{}", crate::dicom::json::key(element.tag));
        if let Value::Items(items) = &element.value {
            for (i, item) in items.iter().enumerate() {
                collect(item, &format!("{here}/{i}/"), found);
            }
        } else if is_bulk(element) {
            found.extend(Bulk::of(&element.value).map(|bulk| (here, bulk)));
        }
    }
}

/// An encapsulated document as the file that it is.
///
/// # Errors
/// It is not where it must be.
pub fn span_of_document(
    headers: &axum::http::HeaderMap,
    tag: &str,
    object: Arc<Object>,
    media: &str,
    length: Option<u64>,
) -> Result<Response, Problem> {
    let found = object.data_set.get(tags::ENCAPSULATED_DOCUMENT).and_then(|e| Bulk::of(&e.value));
    let bulk = found.ok_or_else(|| Problem::unacceptable("its document is not where it must be"))?;
    // The padding to an even length is no part of the document.
    let total = length.filter(|n| *n <= bulk.length()).unwrap_or_else(|| bulk.length());
    Ok(ranges::answer(headers, (media, tag, total), move |out, span| bulk.write(&object, out, span)))
}
