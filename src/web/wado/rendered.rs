//! Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.3): what people look at, at every level.

use super::text;
use crate::codec::DecodeError;
use crate::dicom::grey::Voi;
use crate::dicom::image::Layout;
use crate::dicom::{syntax, tags};
use crate::index::InstanceRow;
use crate::retrieve::look::{Annotation, LONGEST, Viewport, annotate, draw_overlays};
use crate::retrieve::pictures::{self, Animation, Format, QUALITY};
use crate::retrieve::render::picture;
use crate::retrieve::{Object, ObjectError};
use crate::web::accept::Offer;
use crate::web::asked::{Asked, CACHED, address};
use crate::web::multipart::{Boundary, body};
use crate::web::problem::{Problem, task_failed};
use crate::web::ranges;
use crate::web::router::App;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use image::DynamicImage;
use std::io::{self, Write};
use std::sync::Arc;

/// Pictures of a single frame (table 8.7.4-1): JPEG is the default, GIF and PNG are required.
const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/jp2"];
/// Frames of an animation; of more the client asks for those it wants.
const MOST_FRAMES: u32 = 2000;
/// Pixels of all pictures of one answer together.
const MOST_PIXELS: u64 = 1 << 31;
/// Longest sides of a thumbnail, pixels.
const THUMBNAIL: (u32, u32) = (128, 128);

/// Left, upper, right and lower edge as parts of the image.
pub type Region = [f64; 4];

/// How a picture is to look (8.3.5.1).
#[derive(Debug, Clone)]
pub struct Wanted {
    pub voi: Option<Voi>,
    /// Part of the image that is shown, each edge from 0 to 1 (WADO-URI); the viewport then is of that part.
    pub region: Option<Region>,
    pub viewport: Option<Viewport>,
    pub quality: u8,
    pub annotations: Vec<Annotation>,
    pub overlays: bool,
    pub icc: bool,
    /// Keywords that are not known, to be warned of.
    pub ignored: Vec<String>,
}

impl Wanted {
    /// From the parameters of a request.
    ///
    /// # Errors
    /// The parameter that is wrong, and how it is right.
    pub fn of(asked: &Asked) -> Result<Wanted, Problem> {
        let quality = asked.parameter("quality")?.map(|text| {
            let number = text.parse::<u8>().ok().filter(|q| (1..=100).contains(q));
            number.ok_or_else(|| Problem::bad("quality is a whole number from 1 to 100"))
        });
        let viewport = asked.parameter("viewport")?.map(|text| Viewport::parse(text).map_err(Problem::bad));
        let (mut annotations, mut ignored) = (Vec::new(), Vec::new());
        if let Some(text) = asked.parameter("annotation")? {
            for keyword in text.split(',').map(str::trim) {
                match keyword {
                    "patient" => annotations.push(Annotation::Patient),
                    "technique" => annotations.push(Annotation::Technique),
                    "" => return Err(Problem::bad("annotation is a list of patient and technique")),
                    other => ignored.push(other.chars().filter(char::is_ascii_alphanumeric).take(32).collect()),
                }
            }
        }
        let flag = |name: &str| match asked.parameter(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad(format!("{name} is true or false"))),
        };
        let icc = match asked.parameter("iccprofile")? {
            None | Some("yes") => true,
            Some("no") => false,
            Some("srgb" | "adobergb" | "rommrgb") => {
                return Err(Problem::bad("iccprofile: colours are not converted here; ask for yes or no"));
            }
            Some(_) => return Err(Problem::bad("iccprofile is no, yes, srgb, adobergb or rommrgb")),
        };
        Ok(Wanted {
            voi: asked.parameter("window")?.map(window).transpose()?,
            region: None,
            viewport: viewport.transpose()?,
            quality: quality.transpose()?.unwrap_or(QUALITY),
            annotations,
            overlays: flag("overlays")?,
            icc,
            ignored,
        })
    }

    fn plain(viewport: Option<Viewport>) -> Wanted {
        let (annotations, ignored) = (Vec::new(), Vec::new());
        Wanted { voi: None, region: None, viewport, quality: QUALITY, annotations, overlays: false, icc: true, ignored }
    }

    /// A frame (counted from 0) as it is to look.
    ///
    /// # Errors
    /// It cannot be decoded, or the viewport lies outside of it.
    pub fn picture(&self, app: &App, object: &Object, number: u32) -> Result<DynamicImage, Problem> {
        let _turn = app.turns.take();
        let mut shown = picture(object, number, self.voi.clone(), &app.pool).map_err(unrendered)?;
        if self.overlays {
            shown = draw_overlays(shown, object, number, &app.pool).map_err(unrendered)?;
        }
        if let Some([x0, y0, x1, y1]) = self.region {
            let (width, height) = (f64::from(shown.width()), f64::from(shown.height()));
            let part = (Some((x1 - x0) * width), Some((y1 - y0) * height));
            let cut = Viewport { from: (x0 * width, y0 * height), part, ..Viewport::whole(LONGEST, LONGEST) };
            shown = cut.cut(&shown).map_err(Problem::bad)?;
        }
        if let Some(viewport) = &self.viewport {
            shown = viewport.show(&shown).map_err(Problem::bad)?;
        }
        if !self.annotations.is_empty() {
            shown = annotate(shown, &object.attributes_of(number), &self.annotations);
        }
        Ok(shown)
    }

    /// Refuses what would take too many pixels together.
    ///
    /// # Errors
    /// It would.
    fn affordable(&self, layout: &Layout, pictures: u64) -> Result<(), Problem> {
        let shown = self.viewport.as_ref().map_or(0, |v| u64::from(v.size.0) * u64::from(v.size.1));
        let each = shown.max(u64::from(layout.rows) * u64::from(layout.columns));
        if each.saturating_mul(pictures) <= MOST_PIXELS {
            return Ok(());
        }
        Err(Problem::unacceptable(format!(
            "{pictures} pictures of {each} pixels are too many at once; ask for fewer or smaller ones"
        )))
    }

    /// A picture's bytes.
    ///
    /// # Errors
    /// It cannot be encoded so.
    pub fn encoded(&self, app: &App, object: &Object, shown: &DynamicImage, media: &str) -> Result<Vec<u8>, Problem> {
        let _turn = app.turns.take();
        let icc = object.data_set.bytes(tags::ICC_PROFILE).filter(|_| self.icc);
        let bytes = match media {
            "image/png" => pictures::encode(shown, Format::Png),
            "image/gif" => pictures::encode(shown, Format::Gif),
            "image/jp2" => pictures::jp2(shown, &app.pool),
            _ => pictures::jpeg(shown, self.quality, icc),
        };
        bytes.map_err(|e| Problem::unacceptable(format!("it cannot be rendered so: {e}")))
    }

    /// A picture of an instance: of a frame (counted from 1), else of the middle one.
    ///
    /// # Errors
    /// There is no such frame, or no such picture of it.
    pub fn of_instance(&self, app: &App, row: &InstanceRow, frame: Option<u32>, media: &str) -> Result<Vec<u8>, Problem> {
        let object = app.opened.get(&app.store, row)?;
        let layout = object.layout().map_err(|e| no_image(&e))?;
        let number = frame.map_or(layout.frames / 2, |n| n - 1);
        if number >= layout.frames {
            return Err(Problem::unknown(&format!("frame {} of {}", number + 1, layout.frames)));
        }
        let shown = self.picture(app, &object, number)?;
        self.encoded(app, &object, &shown, media)
    }

    /// 299 for what was passed over (8.3.5.1.1).
    fn warn(&self, service: &str, response: &mut Response) {
        if self.ignored.is_empty() {
            return;
        }
        let list = self.ignored.join(",");
        let text = format!("299 {service}: \"The following annotation values are not supported: {list}\"");
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

/// `window=center,width,function` (8.3.5.1.4); all three are required.
pub fn window(text: &str) -> Result<Voi, Problem> {
    let wrong = || Problem::bad("window is center,width,function with function linear, linear-exact or sigmoid");
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [center, width, function] = parts.as_slice() else { return Err(wrong()) };
    let function = match *function {
        "linear" => "LINEAR",
        "linear-exact" => "LINEAR_EXACT",
        "sigmoid" => "SIGMOID",
        _ => return Err(wrong()),
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() <= 1e9).ok_or_else(wrong);
    Voi::window(function, number(center)?, number(width)?).ok_or_else(wrong)
}

/// Why there is no picture: the image cannot be had so (406), or we cannot do it now.
fn unrendered(error: DecodeError) -> Problem {
    if error.is_ours() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    }
    Problem::unacceptable(format!("it cannot be rendered: {error}"))
}

fn no_image(error: &ObjectError) -> Problem {
    Problem::unacceptable(format!("it cannot be rendered: {error}"))
}

/// `GET /studies/{study}/rendered`: all of its images.
pub async fn study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    several(&asked, rows).await
}

/// `GET …/series/{series}/rendered`
pub async fn series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    several(&asked, rows).await
}

/// `GET …/instances/{instance}/rendered`: pictures of an image, a page of a document.
pub async fn instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    if row.pixels_at.is_none() {
        return text::rendered(&asked, row).await;
    }
    if syntax::is_video(&row.transfer_syntax) {
        return video(&asked, row).await;
    }
    let frames = row.attributes.int(tags::NUMBER_OF_FRAMES).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    // What an object says of itself is not what it has: a list of all frames is made for so many at most.
    let frames = frames.min(MOST_FRAMES + 1);
    let offers = [singles(), if frames > 1 { parts() } else { Vec::new() }].concat();
    if asked.accepted()?.choose(&offers)?.0.multipart {
        if frames > MOST_FRAMES {
            return Err(Problem::unacceptable(format!(
                "over {MOST_FRAMES} frames are too many at once; ask for frames/{{list}}/rendered"
            )));
        }
        return list_of_frames(&asked, row, (1..=frames).collect()).await;
    }
    one(&asked, row, None).await
}

/// `GET …/frames/{list}/rendered`
pub async fn frames(
    asked: Asked,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let numbers = super::frames::numbers(&list)?;
    let row = asked.row(&study, &series, &instance).await?;
    match numbers.as_slice() {
        [number] => one(&asked, row, Some(*number)).await,
        _ => list_of_frames(&asked, row, numbers).await,
    }
}

fn singles() -> Vec<Offer> {
    PICTURES.iter().map(|media| Offer::one(media)).collect()
}

fn parts() -> Vec<Offer> {
    PICTURES.iter().map(|media| Offer::many(media)).collect()
}

/// One picture: of the frame asked for, of the only one, or of all as an animation; else of the middle one.
async fn one(asked: &Asked, row: InstanceRow, frame: Option<u32>) -> Result<Response, Problem> {
    let accepted = asked.accepted()?;
    let wanted = Wanted::of(asked)?;
    let (offer, _) = accepted.choose(&singles())?;
    let tag = asked.tag(std::slice::from_ref(&row), offer.media);
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let (app, kept, url) = (asked.app.clone(), wanted.clone(), asked.url());
    let made = tokio::task::spawn_blocking(move || {
        if frame.is_none() && offer.media == "image/gif" {
            let object = app.opened.get(&app.store, &row)?;
            let layout = object.layout().map_err(|e| no_image(&e))?;
            let frames = layout.frames;
            if frames > 1 {
                wanted.affordable(&layout, u64::from(frames))?;
                return animation(&app, &object, frames, &wanted).map(Made::Stream);
            }
        }
        wanted.of_instance(&app, &row, frame, offer.media).map(Made::Bytes)
    });
    let mut response = match made.await.map_err(task_failed)?? {
        Made::Bytes(bytes) => ranges::of_bytes(&asked.headers, offer.media, &tag, bytes),
        Made::Stream(body) => ([(header::CONTENT_TYPE, offer.media), (header::ETAG, tag.as_str())], body).into_response(),
    };
    kept.warn(&url, &mut response);
    Ok(response)
}

enum Made {
    Bytes(Vec<u8>),
    Stream(axum::body::Body),
}

/// All frames as an animated GIF, written as they are made.
fn animation(app: &Arc<App>, object: &Arc<Object>, frames: u32, wanted: &Wanted) -> Result<axum::body::Body, Problem> {
    if frames > MOST_FRAMES {
        return Err(Problem::unacceptable(format!(
            "{frames} frames are too many for an animation; ask for frames/{{list}}/rendered"
        )));
    }
    let first = wanted.picture(app, object, 0)?;
    let attributes = object.data_set.text(tags::FRAME_TIME).and_then(|t| t.trim().parse::<f64>().ok());
    let rate = || object.data_set.text(tags::CINE_RATE).and_then(|t| t.trim().parse::<f64>().ok()).filter(|r| *r > 0.0);
    let ms = attributes.or_else(|| rate().map(|r| 1000.0 / r)).filter(|ms| ms.is_finite()).unwrap_or(100.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let delay = (ms / 10.0).round().clamp(2.0, 500.0) as u16;
    let (app, object, wanted) = (app.clone(), object.clone(), wanted.clone());
    Ok(body(move |out| {
        let mut animation = Animation::start(out, &first, delay)?;
        animation.add(&first)?;
        for number in 1..frames {
            let shown = wanted.picture(&app, &object, number).map_err(|e| io::Error::other(e.to_string()))?;
            animation.add(&shown)?;
        }
        Ok(())
    }))
}

/// Pictures of the images of a study or series, each a part; images that cannot be rendered are left out.
async fn several(asked: &Asked, rows: Vec<InstanceRow>) -> Result<Response, Problem> {
    let rows = pictured(rows)?;
    let accepted = asked.accepted()?;
    let wanted = Wanted::of(asked)?;
    let (offer, _) = accepted.choose(&parts())?;
    let tag = asked.tag(&rows, &offer.to_string());
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let (app, kept, url) = (asked.app.clone(), wanted.clone(), asked.url());
    // A single image is made before the answer begins, so that what cannot be rendered is an honest 406; of many some are left out.
    if let [only] = rows.as_slice() {
        let (app, only, wanted) = (app.clone(), only.clone(), wanted.clone());
        let tried = tokio::task::spawn_blocking(move || wanted.of_instance(&app, &only, None, offer.media));
        tried.await.map_err(task_failed)??;
    }
    let (base, boundary) = (url.clone(), Boundary::of(&tag));
    let kind = format!("{offer}; boundary={boundary}");
    let body = body(move |out| {
        for row in &rows {
            match wanted.of_instance(&app, row, None, offer.media) {
                Ok(bytes) => {
                    boundary.part(out, offer.media, Some(&format!("{}/rendered", address(&base, row))))?;
                    out.write_all(&bytes)?;
                }
                Err(e) => tracing::info!(instance = %row.sop_instance, why = %e, "an image is left out of a rendered series"),
            }
        }
        boundary.end(out)
    });
    let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    let mut response = (fixed, body).into_response();
    kept.warn(&url, &mut response);
    Ok(response)
}

/// Several frames, each a part.
async fn list_of_frames(asked: &Asked, row: InstanceRow, numbers: Vec<u32>) -> Result<Response, Problem> {
    let accepted = asked.accepted()?;
    let wanted = Wanted::of(asked)?;
    let (offer, _) = accepted.choose(&parts())?;
    let (app, kept, url) = (asked.app.clone(), wanted.clone(), asked.url_of(&row));
    let opened = tokio::task::spawn_blocking(move || {
        let object = app.opened.get(&app.store, &row)?;
        let layout = object.layout().map_err(|e| no_image(&e))?;
        wanted.affordable(&layout, numbers.len() as u64)?;
        match numbers.iter().find(|n| **n > layout.frames) {
            Some(number) => Err(Problem::unknown(&format!("frame {number} of {}", layout.frames))),
            None => {
                wanted.picture(&app, &object, numbers.first().map_or(0, |n| n - 1))?;
                Ok((app, object, numbers, wanted))
            }
        }
    });
    let (app, object, numbers, wanted) = opened.await.map_err(task_failed)??;
    let boundary = Boundary::random();
    let kind = format!("{offer}; boundary={boundary}");
    let body = body(move |out| {
        for number in numbers {
            let failed = |e: Problem| io::Error::other(e.to_string());
            let shown = wanted.picture(&app, &object, number - 1).map_err(failed)?;
            let bytes = wanted.encoded(&app, &object, &shown, offer.media).map_err(failed)?;
            boundary.part(out, offer.media, Some(&format!("{url}/frames/{number}/rendered")))?;
            out.write_all(&bytes)?;
        }
        boundary.end(out)
    });
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    kept.warn(&asked.url(), &mut response);
    Ok(response)
}

/// A video as it is stored, when its stream is a file that players know.
async fn video(asked: &Asked, row: InstanceRow) -> Result<Response, Problem> {
    let app = asked.app.clone();
    let held = row.clone();
    let found = tokio::task::spawn_blocking(move || {
        let object = app.opened.get(&app.store, &held)?;
        let stream = object.compressed_frame(0, 1).map_err(unrendered)?.unwrap_or_default();
        Ok::<_, Problem>(stream)
    });
    let stream = found.await.map_err(task_failed)??;
    let media = match stream.get(..12) {
        Some([_, _, _, _, b'f', b't', b'y', b'p', ..]) => "video/mp4",
        Some([0, 0, 1, 0xBA | 0xB3, ..]) => "video/mpeg",
        _ => {
            return Err(Problem::unacceptable(
                "its video stream is in no container that a browser plays; get the object itself",
            ));
        }
    };
    asked.accepted()?.choose(&[Offer::one(media)])?;
    let tag = asked.tag(std::slice::from_ref(&row), media);
    Ok(ranges::of_bytes(&asked.headers, media, &tag, stream))
}

/// `GET /studies/{study}/thumbnail`
pub async fn study_thumbnail(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    thumbnail(&asked, representative(rows)?, None).await
}

/// `GET …/series/{series}/thumbnail`
pub async fn series_thumbnail(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    thumbnail(&asked, representative(rows)?, None).await
}

/// `GET …/instances/{instance}/thumbnail`
pub async fn instance_thumbnail(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    thumbnail(&asked, representative(vec![row])?, None).await
}

/// `GET …/frames/{frame}/thumbnail`
pub async fn frame_thumbnail(
    asked: Asked,
    Path((study, series, instance, frame)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    let number = frame.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| Problem::bad("a frame is a number from 1"))?;
    thumbnail(&asked, row, Some(number)).await
}

/// Those that pictures can be made of; at least one.
fn pictured(rows: Vec<InstanceRow>) -> Result<Vec<InstanceRow>, Problem> {
    let is_picture = |r: &InstanceRow| r.pixels_at.is_some() && !syntax::is_video(&r.transfer_syntax);
    let images: Vec<InstanceRow> = rows.into_iter().filter(is_picture).collect();
    if images.is_empty() { Err(Problem::unacceptable("there is no image to render")) } else { Ok(images) }
}

/// The image in the middle.
fn representative(rows: Vec<InstanceRow>) -> Result<InstanceRow, Problem> {
    let mut images = pictured(rows)?;
    Ok(images.swap_remove(images.len() / 2))
}

/// One small picture that names nobody (10.4.3.3.4): only the viewport is the client's choice.
async fn thumbnail(asked: &Asked, row: InstanceRow, frame: Option<u32>) -> Result<Response, Problem> {
    let accepted = asked.accepted()?;
    let (offer, _) = accepted.choose(&singles())?;
    let viewport = match asked.parameter("viewport")? {
        Some(text) if text.matches(',').count() > 1 => return Err(Problem::bad("the viewport of a thumbnail is vw,vh")),
        Some(text) => Viewport::parse(text).map_err(Problem::bad)?,
        None => Viewport::whole(THUMBNAIL.0, THUMBNAIL.1),
    };
    let tag = asked.tag(std::slice::from_ref(&row), offer.media);
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let app = asked.app.clone();
    let made = tokio::task::spawn_blocking(move || Wanted::plain(Some(viewport)).of_instance(&app, &row, frame, offer.media));
    let bytes = made.await.map_err(task_failed)??;
    Ok(ranges::of_bytes(&asked.headers, offer.media, &tag, bytes))
}
