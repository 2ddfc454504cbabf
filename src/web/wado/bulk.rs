//! Bulk data (PS3.18 10.4.1.5) and pixel data (10.4.1.6): values at the URIs that metadata give, and all of a study, series or instance.

use super::frames::{self, FrameForm};
use crate::codec::pack_bits;
use crate::dicom::dataset::{Element, Extent, Value, unit};
use crate::dicom::image::Layout;
use crate::dicom::{DataSet, Tag, json, tags};
use crate::index::InstanceRow;
use crate::retrieve::Object;
use crate::web::accept::Offer;
use crate::web::asked::{Asked, CACHED, address};
use crate::web::multipart::{Boundary, Writer, body};
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
        let element = find(&object.data_set, &path).ok_or_else(|| Problem::unknown("this bulk data"))?;
        let bulk = Bulk::of(&object, element).ok_or_else(|| Problem::unknown("bulk data: the path names a sequence"))?;
        Ok::<_, Problem>((object, bulk))
    });
    let (object, bulk) = opened.await.map_err(task_failed)??;
    if !offer.multipart {
        return Ok(ranges::answer(&asked.headers, (OCTETS, &tag, bulk.length()), move |out, span| {
            bulk.write(&object, out, span)
        }));
    }
    let boundary = Boundary::of(&tag);
    let kind = format!("{offer}; boundary={boundary}");
    let body = body(move |out| {
        boundary.part(out, OCTETS, Some(&location))?;
        bulk.write(&object, out, (0, bulk.length()))?;
        boundary.end(out)
    });
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    Ok((fixed, body).into_response())
}

/// A value that goes out in pieces.
enum Bulk {
    Here(Vec<u8>),
    /// Where it is, and the width of the numbers that are to be reversed for little endian.
    There(Extent, usize),
}

impl Bulk {
    fn of(object: &Object, element: &Element) -> Option<Bulk> {
        match &element.value {
            Value::Bytes(bytes) => Some(Bulk::Here(bytes.clone())),
            Value::Deferred(extent) => Some(Bulk::There(*extent, if object.syntax.big_endian { unit(element.vr) } else { 1 })),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    fn length(&self) -> u64 {
        match self {
            Bulk::Here(bytes) => bytes.len() as u64,
            Bulk::There(extent, _) => extent.length,
        }
    }

    fn write(&self, object: &Object, out: &mut Writer, (from, length): (u64, u64)) -> io::Result<()> {
        match self {
            Bulk::Here(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                out.write_all(bytes.get(at(from)..at(from + length)).unwrap_or_default())
            }
            Bulk::There(extent, unit) => {
                for at in (0..length).step_by(1 << 20) {
                    out.write_all(&object.in_order(*extent, *unit, (from + at, (length - at).min(1 << 20)))?)?;
                }
                Ok(())
            }
        }
    }
}

fn find<'a>(data_set: &'a DataSet, path: &str) -> Option<&'a Element> {
    let (name, below) = path.split_once('/').map_or((path, None), |(name, below)| (name, Some(below)));
    let element = data_set.get(json::tag(name)?)?;
    match (below, &element.value) {
        (None, _) => Some(element),
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
            let Some(pixels) = Pixels::of(&object, form)? else { return Ok(None) };
            if let Pixels::Frames(layout) = &pixels {
                frames::bytes(&app, &object, 0, layout, form)?;
            }
            Ok::<_, Problem>(Some((object, pixels)))
        });
        // One value of known length: ranges of it can be had.
        if let Some((object, Pixels::Value(_, bulk))) = tried.await.map_err(task_failed)??
            && !offer.multipart
        {
            let length = bulk.length();
            let write = move |out: &mut Writer, span| bulk.write(&object, out, span);
            return Ok(ranges::answer(&asked.headers, (offer.media, &tag, length), write));
        }
    }
    let (url, boundary) = (asked.url(), Boundary::of(&tag));
    let kind = if offer.multipart { format!("{offer}; boundary={boundary}") } else { offer.media.to_string() };
    let body = body(move |out| {
        for (row, form) in rows.iter().zip(forms) {
            let address = address(&url, row);
            if what == What::All {
                write_others(&app, row, (&boundary, &address), out)?;
            }
            if let Some(form) = form {
                let into = if offer.multipart { Some((&boundary, format!("{address}/bulkdata"))) } else { None };
                write_pixels(&app, row, form, (what, into), out)?;
            }
        }
        if offer.multipart { boundary.end(out) } else { Ok(()) }
    });
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    Ok((fixed, body).into_response())
}

/// How the pixels of an object go out.
enum Pixels {
    /// As the value that they are, of the element with this tag: uncompressed integers, floats, doubles.
    Value(Tag, Bulk),
    /// Frame by frame.
    Frames(Layout),
}

impl Pixels {
    /// None of an object without any.
    fn of(object: &Object, form: FrameForm) -> Result<Option<Pixels>, Problem> {
        const FLOATS: [Tag; 2] = [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
        if object.data_set.get(tags::PIXEL_DATA).is_none() {
            let float = FLOATS.iter().find_map(|tag| Some((*tag, object.data_set.get(*tag)?)));
            return Ok(float.and_then(|(tag, element)| Some(Pixels::Value(tag, Bulk::of(object, element)?))));
        }
        let layout = object.layout().map_err(|e| Problem::unacceptable(e.to_string()))?;
        let native = object.native_pixels(&layout).filter(|_| form == FrameForm::Native);
        Ok(Some(match native {
            Some((extent, unit)) => Pixels::Value(tags::PIXEL_DATA, Bulk::There(extent, unit)),
            None => Pixels::Frames(layout),
        }))
    }
}

/// The pixels of an image, in parts with a location, or bare without one.
fn write_pixels(
    app: &App,
    row: &InstanceRow,
    form: FrameForm,
    (what, into): (What, Option<(&Boundary, String)>),
    out: &mut Writer,
) -> io::Result<()> {
    let object = app.opened.get(&app.store, row).map_err(io::Error::other)?;
    let failed = |e: Problem| io::Error::other(e.to_string());
    let begin = |tag: Tag, kind: &str, out: &mut Writer| match &into {
        Some((boundary, place)) => boundary.part(out, kind, Some(&format!("{place}/{}", json::key(tag)))),
        None => Ok(()),
    };
    let layout = match Pixels::of(&object, form).map_err(failed)? {
        // Floats are among the other bulk data.
        Some(Pixels::Value(tag, _)) if what == What::All && tag != tags::PIXEL_DATA => return Ok(()),
        Some(Pixels::Value(tag, bulk)) => {
            begin(tag, &FrameForm::Native.part_type(row), out)?;
            return bulk.write(&object, out, (0, bulk.length()));
        }
        Some(Pixels::Frames(layout)) => layout,
        None => return Ok(()),
    };
    if form == FrameForm::Native && layout.bits_allocated == 1 {
        // The bits of all frames follow each other (PS3.5 8.1.1).
        begin(tags::PIXEL_DATA, &form.part_type(row), out)?;
        let frame = |n| object.frame(n, &layout, &app.pool).map(|f| f.bytes).map_err(|e| io::Error::other(e.to_string()));
        let samples = (0..layout.frames).map(frame).collect::<io::Result<Vec<_>>>()?.concat();
        return out.write_all(&pack_bits(&samples));
    }
    for number in 0..layout.frames {
        if number == 0 || form != FrameForm::Native {
            begin(tags::PIXEL_DATA, &form.part_type(row), out)?;
        }
        out.write_all(&frames::bytes(app, &object, number, &layout, form).map_err(failed)?)?;
    }
    Ok(())
}

fn write_others(app: &App, row: &InstanceRow, (boundary, address): (&Boundary, &str), out: &mut Writer) -> io::Result<()> {
    let object = app.opened.get(&app.store, row).map_err(io::Error::other)?;
    let mut found = Vec::new();
    collect(&object, &object.data_set, "", &mut found);
    for (path, bulk) in found {
        boundary.part(out, OCTETS, Some(&format!("{address}/bulkdata/{path}")))?;
        bulk.write(&object, out, (0, bulk.length()))?;
    }
    Ok(())
}

/// Every value that metadata give a URI for, but the pixels of the image itself.
fn collect(object: &Object, data_set: &DataSet, path: &str, found: &mut Vec<(String, Bulk)>) {
    for element in data_set.elements.iter().filter(|e| e.tag.0 > 2 && !(path.is_empty() && e.tag == tags::PIXEL_DATA)) {
        let here = format!("{path}{}", json::key(element.tag));
        if let Value::Items(items) = &element.value {
            for (i, item) in items.iter().enumerate() {
                collect(object, item, &format!("{here}/{i}/"), found);
            }
        } else if json::has_uri(element) {
            found.extend(Bulk::of(object, element).map(|bulk| (here, bulk)));
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
    let found = object.data_set.get(tags::ENCAPSULATED_DOCUMENT).and_then(|e| Bulk::of(&object, e));
    let bulk = found.ok_or_else(|| Problem::unacceptable("its document is not where it must be"))?;
    // The padding to an even length is no part of the document.
    let total = length.filter(|n| *n <= bulk.length()).unwrap_or_else(|| bulk.length());
    Ok(ranges::answer(headers, (media, tag, total), move |out, span| bulk.write(&object, out, span)))
}
