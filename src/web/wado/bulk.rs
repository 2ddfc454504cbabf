//! Bulk data (PS3.18 10.4.1.5) and pixel data (10.4.1.6): values at the URIs that metadata give, and all of a study, series or instance.

use super::frames::{self, FrameForm};
use crate::dicom::dataset::{Extent, Value};
use crate::dicom::{DataSet, json, tags};
use crate::index::InstanceRow;
use crate::retrieve::Object;
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

/// `GET …/bulkdata/{path}`: the value at a path of tags and item numbers, as metadata name it.
pub async fn value(
    asked: Asked,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    if json::tag(&path) == Some(tags::PIXEL_DATA) {
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
        bulk.write(&object, out, (0, bulk.length()))?;
        end(out)
    });
    let kind = format!("{offer}; boundary={BOUNDARY}");
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    Ok((fixed, body).into_response())
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
    let (name, below) = path.split_once('/').map_or((path, None), |(name, below)| (name, Some(below)));
    let element = data_set.get(json::tag(name)?)?;
    match (below, &element.value) {
        (None, value) => Some(value),
        (Some(below), Value::Items(items)) => {
            let (item, path) = below.split_once('/')?;
            find(items.get(item.parse::<usize>().ok()?)?, path)
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
async fn pixels(asked: &Asked, rows: Vec<InstanceRow>, single: bool) -> Result<Response, Problem> {
    let rows: Vec<InstanceRow> = rows.into_iter().filter(|r| r.pixels_at.is_some()).collect();
    if rows.is_empty() {
        return Err(Problem::unknown("pixel data"));
    }
    let (offer, images) = forms(asked, &rows, single)?;
    parts(asked, rows, offer, images, What::Pixels).await
}

/// Bulk data other than pixel data, then these.
async fn all(asked: &Asked, rows: Vec<InstanceRow>) -> Result<Response, Problem> {
    let (offer, images) = forms(asked, &rows, false)?;
    parts(asked, rows, offer, images, What::All).await
}

/// Which bulk data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    All,
    Pixels,
}

/// How the frames of each instance go out; none for what is no image.
type Forms = Vec<Option<FrameForm>>;

fn forms(asked: &Asked, rows: &[InstanceRow], single: bool) -> Result<(Offer, Forms), Problem> {
    let accepted = asked.accepted()?;
    let offers = frames::offers(rows, single);
    let (offer, ranges) = accepted.choose(&offers)?;
    let form = |row: &InstanceRow| row.pixels_at.map(|_| FrameForm::of(offer.media, &ranges, row)).transpose();
    Ok((offer, rows.iter().map(form).collect::<Result<_, _>>()?))
}

async fn parts(asked: &Asked, rows: Vec<InstanceRow>, offer: Offer, forms: Forms, what: What) -> Result<Response, Problem> {
    let tag = asked.tag(&rows, &format!("{offer} {forms:?} {what:?}"));
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let app = asked.app.clone();
    // The first image is tried before the answer begins.
    if let Some((row, form)) = rows.iter().zip(&forms).find_map(|(row, form)| Some((row.clone(), (*form)?))) {
        let app = app.clone();
        let tried = tokio::task::spawn_blocking(move || {
            let object = app.opened.get(&app.store, &row)?;
            let layout = object.layout().map_err(|e| Problem::unacceptable(e.to_string()))?;
            frames::bytes(&app, &object, 0, &layout, form).map(|_| ())
        });
        tried.await.map_err(task_failed)??;
    }
    let url = asked.url();
    let kind = if offer.multipart { format!("{offer}; boundary={BOUNDARY}") } else { offer.media.to_string() };
    let body = body(move |out| {
        for (row, form) in rows.iter().zip(forms) {
            let address = address(&url, row);
            if what == What::All {
                write_others(&app, row, &address, out)?;
            }
            if let Some(form) = form {
                let location = format!("{address}/bulkdata/7FE00010");
                write_pixels(&app, row, form, Some(location).filter(|_| offer.multipart), out)?;
            }
        }
        if offer.multipart { end(out) } else { Ok(()) }
    });
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    Ok((fixed, body).into_response())
}

/// The frames of an image, in parts with a location, or bare without one.
fn write_pixels(app: &App, row: &InstanceRow, form: FrameForm, location: Option<String>, out: &mut Writer) -> io::Result<()> {
    let object = app.opened.get(&app.store, row).map_err(io::Error::other)?;
    let layout = object.layout().map_err(io::Error::other)?;
    for number in 0..layout.frames {
        if location.is_some() && (number == 0 || form != FrameForm::Native) {
            part(out, &form.part_type(row), location.as_deref())?;
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
        bulk.write(&object, out, (0, bulk.length()))?;
    }
    Ok(())
}

/// Every value that metadata give a URI for, but the pixels of the image itself.
fn collect(data_set: &DataSet, path: &str, found: &mut Vec<(String, Bulk)>) {
    for element in data_set.elements.iter().filter(|e| e.tag.0 > 2 && !(path.is_empty() && e.tag == tags::PIXEL_DATA)) {
        let here = format!("{path}{}", json::key(element.tag));
        if let Value::Items(items) = &element.value {
            for (i, item) in items.iter().enumerate() {
                collect(item, &format!("{here}/{i}/"), found);
            }
        } else if json::has_uri(element) {
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
