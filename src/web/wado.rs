//! WADO-RS (PS3.18 10.4): objects, metadata, frames, bulk data and pictures, as streams.

use super::accept::{self, Range};
use super::multipart::{BOUNDARY, Writer, body, end, part};
use super::problem::{Problem, task_failed};
use super::router::{App, Root};
use crate::dicom::dataset::{Extent, Value};
use crate::dicom::grey::Voi;
use crate::dicom::image::Layout;
use crate::dicom::{DataSet, Tag, Uid, json as dicom_json, part10, uids};
use crate::exam::lifecycle::State;
use crate::index::{IndexError, InstanceRow, Query as Search, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::retrieve::render::{encode, picture};
use crate::retrieve::{Object, WRITTEN, transcoded};
use axum::extract::{ConnectInfo, Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use image::ImageFormat;
use serde_json::Value as Json;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

type Parameters = Query<Vec<(String, String)>>;

/// Values up to this length stand in metadata; longer ones are bulk data.
const INLINE: u64 = 1 << 16;

/// Everything a retrieve request comes with.
pub struct Asked {
    app: Arc<App>,
    root: Root,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    peer: String,
}

impl axum::extract::FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, app: &Arc<App>) -> Result<Asked, Problem> {
        let Query(query): Parameters = Query::try_from_uri(&parts.uri).map_err(|e| Problem::bad(e.body_text()))?;
        let root = parts.extensions.get::<Root>().copied().ok_or_else(|| Problem::unknown("this root"))?;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(String::new, |c| c.0.ip().to_string());
        Ok(Asked { app: app.clone(), root, headers: parts.headers.clone(), query, peer })
    }
}

impl Asked {
    fn url(&self) -> String {
        self.root.url(&self.app, &self.headers)
    }

    fn wants_bare(&self) -> bool {
        self.ranges().first().is_some_and(|r| r.media == "application/octet-stream")
    }

    fn ranges(&self) -> Vec<Range> {
        accept::ranges(&self.headers, &self.query)
    }

    /// The instances that a path names and this root shows.
    async fn rows(&self, study: &str, series: Option<&str>, instance: Option<&str>) -> Result<Vec<InstanceRow>, Problem> {
        let uid = |text: &str| Uid::parse(text).map_err(|e| Problem::bad(e.to_string()));
        let (study, series, instance) = (&uid(study)?, series.map(uid).transpose()?, instance.map(uid).transpose()?);
        let (series, instance) = (series.as_ref(), instance.as_ref());
        let search = Search {
            view: self.root.view,
            study: Some(study.clone()),
            series: series.cloned(),
            keys: vec![],
            offset: 0,
            limit: usize::MAX,
        };
        let app = self.app.clone();
        let page = tokio::task::spawn_blocking(move || app.index.instances(&search)).await.map_err(task_failed)??;
        let rows: Vec<InstanceRow> = page
            .rows
            .into_iter()
            .map(|(_, _, row)| row)
            .filter(|row| instance.is_none_or(|i| *i == row.sop_instance))
            .collect();
        if rows.is_empty() { Err(self.absent(study, series, instance).await?) } else { Ok(rows) }
    }

    /// Why this root shows nothing: copies that it showed once were withdrawn (410), or there never were any (404).
    async fn absent(&self, study: &Uid, series: Option<&Uid>, instance: Option<&Uid>) -> Result<Problem, Problem> {
        let unknown = Problem::unknown("what the path names");
        if self.root.view == View::House {
            return Ok(unknown);
        }
        let (app, study, series, instance) = (self.app.clone(), study.clone(), series.cloned(), instance.cloned());
        let withdrawn = tokio::task::spawn_blocking(move || -> Result<bool, IndexError> {
            // While images come the copies of before are not withdrawn: the verdict on all of them is awaited.
            let settled = app.journal.was_withdrawn(study.as_str())
                && app.index.study(&study)?.is_some_and(|s| matches!(s.state, State::Ready | State::Review));
            let contents = if settled { app.index.contents(&study)? } else { Vec::new() };
            let rows =
                contents.iter().filter(|(s, _)| series.as_ref().is_none_or(|u| *u == s.series)).flat_map(|(_, rows)| rows);
            Ok(rows.filter(|r| r.is_marked()).any(|r| instance.as_ref().is_none_or(|u| *u == r.sop_instance)))
        });
        let gone = || Problem::new(StatusCode::GONE, "the recognition was withdrawn; ask the hospital that produced the study");
        Ok(if withdrawn.await.map_err(task_failed)?? { gone() } else { unknown })
    }

    fn record(&self, rows: &[InstanceRow]) {
        let Some(first) = rows.first() else { return };
        let event = Event::Retrieved {
            view: format!("{:?}", self.root.view).to_lowercase(),
            study: first.study.to_string(),
            by: self.peer.clone(),
            instances: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        };
        if let Err(e) = self.app.journal.append(event, now_ms(), false) {
            tracing::error!(error = %e, "the journal cannot be written");
        }
    }
}

/// `GET /studies/{study}`
pub async fn study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    objects(&asked, rows, false).await
}

/// `GET /studies/{study}/series/{series}`
pub async fn series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    objects(&asked, rows, false).await
}

/// `GET /studies/{study}/series/{series}/instances/{instance}`
pub async fn instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), Some(&instance)).await?;
    objects(&asked, rows, true).await
}

/// How an object goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Stored,
    /// Decoded and written in one of the syntaxes of [`WRITTEN`].
    As(&'static str),
}

const EXPLICIT: Form = Form::As(uids::EXPLICIT_VR_LITTLE_ENDIAN);

/// Implicit VR and Big Endian never go out (8.7.3); the default is Explicit VR Little Endian.
fn form_of(range: &Range, row: &InstanceRow) -> Result<Form, Problem> {
    let retired = matches!(
        row.transfer_syntax.as_str(),
        uids::IMPLICIT_VR_LITTLE_ENDIAN | crate::dicom::syntax::EXPLICIT_VR_BIG_ENDIAN | "1.2.840.113619.5.2"
    );
    match range.parameter("transfer-syntax") {
        Some("*") if retired => Ok(EXPLICIT),
        Some("*") => Ok(Form::Stored),
        Some(wanted) if wanted == row.transfer_syntax && !retired => Ok(Form::Stored),
        None if row.transfer_syntax == uids::EXPLICIT_VR_LITTLE_ENDIAN => Ok(Form::Stored),
        None => Ok(EXPLICIT),
        Some(wanted) => match WRITTEN.iter().find(|uid| **uid == wanted) {
            Some(uid) => Ok(Form::As(uid)),
            None => {
                let known = WRITTEN.join(", ");
                Err(Problem::unacceptable(format!("transfer syntax {wanted} cannot be made here; ask for * or one of {known}")))
            }
        },
    }
}

async fn objects(asked: &Asked, rows: Vec<InstanceRow>, single_allowed: bool) -> Result<Response, Problem> {
    let (_, range) = accept::choose(&asked.ranges(), &["application/dicom"])?;
    let single = range.media == "application/dicom";
    if single && !single_allowed {
        return Err(Problem::unacceptable("several objects need multipart/related; type=\"application/dicom\""));
    }
    let forms: Result<Vec<Form>, Problem> = rows.iter().map(|r| form_of(&range, r)).collect();
    let forms = forms?;
    // The first object is tried before the answer begins, so that what cannot be decoded or encoded is an honest 406.
    if let (Some(row), Some(Form::As(wanted))) = (rows.first(), forms.first().copied()) {
        let (app, row) = (asked.app.clone(), row.clone());
        let tried = tokio::task::spawn_blocking(move || {
            let has_pixels = row.pixels_at.is_some();
            transcoded(&app.store, &row, wanted, &app.pool).map(|copy| copy.transfer_syntax == wanted || !has_pixels)
        });
        if !tried.await.map_err(task_failed)?? {
            return Err(Problem::unacceptable(format!(
                "its samples do not fit transfer syntax {wanted}; ask for 1.2.840.10008.1.2.1"
            )));
        }
    }
    asked.record(&rows);
    let (app, url) = (asked.app.clone(), asked.url());
    let content_type = if single {
        "application/dicom".to_string()
    } else {
        format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}")
    };
    let body = body(move |out| {
        for (row, form) in rows.iter().zip(forms) {
            if !single {
                let location = format!("{url}/studies/{}/series/{}/instances/{}", row.study, row.series, row.sop_instance);
                part(out, "application/dicom", &location)?;
            }
            write_object(&app, row, form, out)?;
        }
        if single { Ok(()) } else { end(out) }
    });
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

fn write_object(app: &App, row: &InstanceRow, form: Form, out: &mut Writer) -> io::Result<()> {
    let meta = |transfer_syntax: &str| part10::Meta {
        sop_class: row.sop_class.clone(),
        sop_instance: row.sop_instance.clone(),
        transfer_syntax: transfer_syntax.into(),
        sending_aet: "HUTONG".into(),
        receiving_aet: String::new(),
    };
    match form {
        Form::Stored => {
            out.write_all(&meta(&row.transfer_syntax).to_plain_bytes())?;
            io::copy(&mut Object::stored_bytes(&app.store, row)?, out)?;
        }
        Form::As(wanted) => {
            let mut copy = transcoded(&app.store, row, wanted, &app.pool).map_err(io::Error::other)?;
            out.write_all(&meta(copy.transfer_syntax).to_plain_bytes())?;
            io::copy(&mut copy, out)?;
        }
    }
    Ok(())
}

/// `GET …/metadata` of a study.
pub async fn study_metadata(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    metadata(&asked, rows)
}

/// `GET …/metadata` of a series.
pub async fn series_metadata(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    metadata(&asked, rows)
}

/// `GET …/metadata` of an instance.
pub async fn instance_metadata(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), Some(&instance)).await?;
    metadata(&asked, rows)
}

fn metadata(asked: &Asked, rows: Vec<InstanceRow>) -> Result<Response, Problem> {
    accept::choose(&asked.ranges(), &["application/dicom+json", "application/json"])?;
    let (app, url) = (asked.app.clone(), asked.url());
    let body = body(move |out| {
        out.write_all(b"[")?;
        for (i, row) in rows.iter().enumerate() {
            if i > 0 {
                out.write_all(b",")?;
            }
            let object = Object::open(&app.store, row, INLINE).map_err(io::Error::other)?;
            let base = format!("{url}/studies/{}/series/{}/instances/{}", row.study, row.series, row.sop_instance);
            let json = dicom_json::of_data_set(&object.data_set, &|path| format!("{base}/bulkdata/{path}"));
            serde_json::to_writer(&mut *out, &Json::Object(json)).map_err(io::Error::other)?;
        }
        out.write_all(b"]")
    });
    Ok(([(header::CONTENT_TYPE, "application/dicom+json")], body).into_response())
}

/// `GET …/bulkdata/{path}`: the value at a path of tags and item numbers, as metadata names it.
pub async fn bulkdata(
    asked: Asked,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let row = one(asked.rows(&study, Some(&series), Some(&instance)).await?)?;
    let app = asked.app.clone();
    let location = format!("{}/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}", asked.url());
    let opened = tokio::task::spawn_blocking(move || {
        let object = Object::open(&app.store, &row, INLINE)?;
        let bulk = match find(&object.data_set, &path).ok_or_else(|| Problem::unknown("this bulk data"))? {
            Value::Bytes(bytes) => Bulk::Here(bytes.clone()),
            Value::Deferred(extent) => Bulk::Range(*extent),
            Value::Fragments(_) => {
                let layout = object.layout()?;
                object.frame(0, &layout, &app.pool).map_err(|e| Problem::unacceptable(e.to_string()))?;
                Bulk::Frames((0..layout.frames).collect(), layout)
            }
            Value::Items(_) => return Err(Problem::bad("the path names a sequence")),
        };
        Ok((app, object, bulk))
    });
    let (app, object, bulk) = opened.await.map_err(task_failed)??;
    Ok(octets(asked.wants_bare(), move |out, begin| {
        begin(out, &location)?;
        match bulk {
            Bulk::Here(bytes) => out.write_all(&bytes),
            Bulk::Range(extent) => {
                for at in (0..extent.length).step_by(1 << 20) {
                    out.write_all(&object.range(extent.offset + at, (extent.length - at).min(1 << 20))?)?;
                }
                Ok(())
            }
            Bulk::Frames(numbers, layout) => numbers
                .into_iter()
                .try_for_each(|n| out.write_all(&object.frame(n, &layout, &app.pool).map_err(io::Error::other)?.bytes)),
        }
    }))
}

/// A value that goes out in pieces.
enum Bulk {
    Here(Vec<u8>),
    Range(Extent),
    Frames(Vec<u32>, Layout),
}

fn find<'a>(data_set: &'a DataSet, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('/');
    let number = u32::from_str_radix(parts.next()?, 16).ok()?;
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

/// `GET …/frames/{list}`: decoded frames as octets, in the order asked for.
pub async fn frames(
    asked: Asked,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    accept::choose(&asked.ranges(), &["application/octet-stream"])?;
    let numbers: Result<Vec<u32>, _> = list.split(',').map(|n| n.trim().parse::<u32>()).collect();
    let numbers = numbers
        .ok()
        .filter(|n| !n.contains(&0))
        .ok_or_else(|| Problem::bad("frames are numbers from 1, with commas between"))?;
    let row = one(asked.rows(&study, Some(&series), Some(&instance)).await?)?;
    asked.record(std::slice::from_ref(&row));
    let app = asked.app.clone();
    let base = format!("{}/studies/{study}/series/{series}/instances/{instance}/frames", asked.url());
    let opened = tokio::task::spawn_blocking(move || {
        let object = Object::open(&app.store, &row, INLINE)?;
        let layout = object.layout().map_err(|_| Problem::unknown("a frame: the object is no image"))?;
        if let Some(number) = numbers.iter().find(|n| **n > layout.frames) {
            return Err(Problem::unknown(&format!("frame {number} of {}", layout.frames)));
        }
        // The first one is tried before the answer begins.
        let first = numbers.first().map_or(0, |n| n - 1);
        object.frame(first, &layout, &app.pool).map_err(|e| Problem::unacceptable(e.to_string()))?;
        Ok((app, object, layout, numbers))
    });
    let (app, object, layout, numbers) = opened.await.map_err(task_failed)??;
    Ok(octets(asked.wants_bare() && numbers.len() == 1, move |out, begin| {
        for number in numbers {
            let frame = object.frame(number - 1, &layout, &app.pool).map_err(io::Error::other)?;
            begin(out, &format!("{base}/{number}"))?;
            out.write_all(&frame.bytes)?;
        }
        Ok(())
    }))
}

/// Opens a part, or does nothing when the answer is a single bare one.
type Begin = fn(&mut Writer, &str) -> io::Result<()>;

/// Octets, each part begun by `write`; bare when a single one was asked for bare.
fn octets(bare: bool, write: impl FnOnce(&mut Writer, Begin) -> io::Result<()> + Send + 'static) -> Response {
    if bare {
        let body = body(move |out| write(out, |_, _| Ok(())));
        return ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response();
    }
    const KIND: &str = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
    let body = body(move |out| {
        write(out, |out, location| part(out, KIND, location))?;
        end(out)
    });
    let content_type = format!("multipart/related; type=\"application/octet-stream\"; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// `GET …/rendered` of a study: its middle image.
pub async fn study_rendered(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    rendered(&asked, middle(rows)?, None).await
}

/// `GET …/rendered` of a series: its middle image.
pub async fn series_rendered(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    rendered(&asked, middle(rows)?, None).await
}

/// `GET …/rendered` of an instance.
pub async fn instance_rendered(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = one(asked.rows(&study, Some(&series), Some(&instance)).await?)?;
    rendered(&asked, row, None).await
}

/// `GET …/frames/{frame}/rendered`
pub async fn frame_rendered(
    asked: Asked,
    Path((study, series, instance, frame)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let row = one(asked.rows(&study, Some(&series), Some(&instance)).await?)?;
    let number = frame.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| Problem::bad("a frame is a number from 1"))?;
    rendered(&asked, row, Some(number)).await
}

fn one(rows: Vec<InstanceRow>) -> Result<InstanceRow, Problem> {
    rows.into_iter().next().ok_or_else(|| Problem::unknown("what the path names"))
}

fn middle(rows: Vec<InstanceRow>) -> Result<InstanceRow, Problem> {
    let images: Vec<InstanceRow> = rows.into_iter().filter(|r| r.pixels_at.is_some()).collect();
    let middle = images.len() / 2;
    images.into_iter().nth(middle).ok_or_else(|| Problem::unacceptable("there is no image to render"))
}

async fn rendered(asked: &Asked, row: InstanceRow, frame: Option<u32>) -> Result<Response, Problem> {
    let (media, _) = accept::choose(&asked.ranges(), &["image/jpeg", "image/png", "image/gif"])?;
    let format = match media {
        "image/png" => ImageFormat::Png,
        "image/gif" => ImageFormat::Gif,
        _ => ImageFormat::Jpeg,
    };
    let window = asked.query.iter().find(|(name, _)| name == "window").map(|(_, v)| window(v)).transpose()?;
    asked.record(std::slice::from_ref(&row));
    let app = asked.app.clone();
    let bytes = tokio::task::spawn_blocking(move || {
        let object = Object::open(&app.store, &row, 1 << 22)?;
        let layout = object.layout().map_err(|e| Problem::unacceptable(format!("it cannot be rendered: {e}")))?;
        let number = frame.map_or(layout.frames / 2, |n| n - 1);
        if number >= layout.frames {
            return Err(Problem::unknown(&format!("frame {} of {}", number + 1, layout.frames)));
        }
        let picture = picture(&object, number, window, &app.pool)
            .map_err(|e| Problem::unacceptable(format!("it cannot be rendered: {e}")))?;
        encode(&picture, format).map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
    });
    let bytes = bytes.await.map_err(task_failed)??;
    Ok(([(header::CONTENT_TYPE, media)], bytes).into_response())
}

/// `window=center,width,function` (8.3.5.1.4); all three are required.
fn window(text: &str) -> Result<Voi, Problem> {
    let wrong = || Problem::bad("window is center,width,function with function linear, linear-exact or sigmoid");
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [center, width, function] = parts.as_slice() else { return Err(wrong()) };
    let function = match *function {
        "linear" => "LINEAR",
        "linear-exact" => "LINEAR_EXACT",
        "sigmoid" => "SIGMOID",
        _ => return Err(wrong()),
    };
    let (center, width) = (center.parse().map_err(|_| wrong())?, width.parse().map_err(|_| wrong())?);
    Voi::window(function, center, width).filter(|_| width <= 1e9).ok_or_else(wrong)
}
