//! Frames (PS3.18 10.4.1.4): decoded, as stored, or encoded anew; in the order asked for.

use crate::codec::Frame;
use crate::dicom::image::Layout;
use crate::dicom::{syntax, uids};
use crate::index::InstanceRow;
use crate::retrieve::{Object, WRITTEN};
use crate::web::accept::{Offer, Range};
use crate::web::asked::{Asked, CACHED};
use crate::web::multipart::{Boundary, body};
use crate::web::problem::{Problem, task_failed};
use crate::web::ranges;
use crate::web::router::App;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::io::{self, Write};

const OCTETS: &str = "application/octet-stream";

/// The media type of a frame in a transfer syntax, and the transfer syntaxes that have it (PS3.18 tables 8.7.3-2 to -5); the first is its
/// default.
const MEDIA: &[(&str, &[&str])] = &[
    (
        "image/jpeg",
        &[
            uids::JPEG_LOSSLESS_SV1,
            uids::JPEG_BASELINE8_BIT,
            uids::JPEG_EXTENDED12_BIT,
            uids::JPEG_LOSSLESS,
            "1.2.840.10008.1.2.4.53",
            "1.2.840.10008.1.2.4.55",
        ],
    ),
    ("image/dicom-rle", &[uids::RLE_LOSSLESS]),
    ("image/jls", &[uids::JPEGLS_LOSSLESS, uids::JPEGLS_NEAR_LOSSLESS]),
    ("image/jp2", &[uids::JPEG2000_LOSSLESS, uids::JPEG2000]),
    ("image/jpx", &[uids::JPEG2000MC_LOSSLESS, uids::JPEG2000MC]),
    ("image/jphc", &[uids::HTJ2K_LOSSLESS, uids::HTJ2K_LOSSLESS_RPCL, uids::HTJ2K]),
    ("image/jxl", &[uids::JPEGXL_LOSSLESS, uids::JPEGXLJPEG_RECOMPRESSION, uids::JPEGXL]),
];

fn media_of(transfer_syntax: &str) -> &'static str {
    MEDIA.iter().find(|(_, all)| all.contains(&transfer_syntax)).map_or(OCTETS, |(media, _)| media)
}

/// The transfer syntax that a media type stands for when none is named; none for octets.
pub fn default_syntax(media: &str) -> Option<&'static str> {
    MEDIA.iter().find(|(m, _)| *m == media).and_then(|(_, all)| all.first().copied())
}

/// How a frame goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameForm {
    /// Its samples, little endian.
    Native,
    /// As it is stored, compressed.
    Stored,
    /// Encoded without loss.
    As(&'static str),
}

impl FrameForm {
    /// The first of the ranges that can be served decides.
    ///
    /// # Errors
    /// None can.
    pub fn of(media: &str, ranges: &[&Range], row: &InstanceRow) -> Result<FrameForm, Problem> {
        let compressed = is_compressed(row);
        let stored = row.transfer_syntax.as_str();
        let encoded = |wanted: &str| WRITTEN.iter().skip(1).find(|uid| **uid == wanted).map(|uid| FrameForm::As(uid));
        let form = |wanted: Option<&str>| match (media, wanted) {
            (OCTETS, None | Some(uids::EXPLICIT_VR_LITTLE_ENDIAN)) => Some(FrameForm::Native),
            (_, Some("*")) if compressed => Some(FrameForm::Stored),
            (OCTETS, Some("*")) => Some(FrameForm::Native),
            (_, Some(wanted)) if compressed && wanted == stored => Some(FrameForm::Stored),
            (OCTETS, Some(wanted)) => encoded(wanted),
            (media, Some(wanted)) if wanted != "*" => encoded(wanted).filter(|_| media_of(wanted) == media),
            (media, _) => {
                // Whatever the media type has of its own: what is stored, else what can be made.
                let all = MEDIA.iter().find(|(m, _)| *m == media)?.1;
                if all.contains(&stored) { Some(FrameForm::Stored) } else { encoded(all.first()?) }
            }
        };
        ranges.iter().find_map(|range| form(range.transfer_syntax())).ok_or_else(|| {
            let stored = media_of(stored);
            Problem::unacceptable(format!(
                "a frame can be had as application/octet-stream, {stored}, image/jls, image/jpeg (lossless), image/jp2, image/jphc and image/dicom-rle"
            ))
        })
    }

    /// The Content-Type of a part.
    pub fn part_type(self, row: &InstanceRow) -> String {
        let syntax = match self {
            FrameForm::Native => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            FrameForm::Stored => &row.transfer_syntax,
            FrameForm::As(uid) => uid,
        };
        format!("{};transfer-syntax={syntax}", if self == FrameForm::Native { OCTETS } else { media_of(syntax) })
    }
}

fn is_compressed(row: &InstanceRow) -> bool {
    syntax::Syntax::of(&row.transfer_syntax).encapsulated
}

/// The media types that frames of instances can be had as; without multipart too for a single one.
pub fn offers(rows: &[InstanceRow], single: bool) -> Vec<Offer> {
    let mut media = vec![OCTETS];
    media.extend(rows.iter().filter(|r| is_compressed(r)).map(|r| media_of(&r.transfer_syntax)));
    media.extend(WRITTEN.iter().skip(1).map(|uid| media_of(uid)));
    let mut offers = Vec::new();
    for media in media {
        for offer in [Offer::many(media), Offer::one(media)] {
            if !offers.contains(&offer) && (offer.multipart || single) {
                offers.push(offer);
            }
        }
    }
    offers
}

/// The bytes of a frame, counted from 0.
///
/// # Errors
/// It cannot be decoded or encoded.
pub fn bytes(app: &App, object: &Object, number: u32, layout: &Layout, form: FrameForm) -> Result<Vec<u8>, Problem> {
    let _turn = app.turns.take();
    let refused = |e: crate::codec::DecodeError| Problem::from(crate::retrieve::NoCopy::Decode(e));
    let frame = || -> Result<Frame, Problem> { object.frame(number, layout, &app.pool).map_err(refused) };
    match form {
        FrameForm::Native => object.described_frame(number, layout, &app.pool).map_err(refused),
        FrameForm::As(uid) => app.pool.encode(&frame()?, uid).map_err(refused),
        FrameForm::Stored => {
            let found = object.compressed_frame(number, layout.frames).map_err(refused)?;
            found.ok_or_else(|| Problem::unacceptable("its pixel data are not compressed"))
        }
    }
}

/// Frame numbers from 1, with commas between.
///
/// # Errors
/// They are none.
pub fn numbers(list: &str) -> Result<Vec<u32>, Problem> {
    // Digits alone: a sign would parse too.
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let numbers: Option<Vec<u32>> = list.split(',').map(|n| number(n.trim())).collect();
    let numbers = numbers.filter(|n| !n.contains(&0));
    numbers.ok_or_else(|| Problem::bad("frames are numbers from 1, with commas between"))
}

/// `GET …/frames/{list}`
pub async fn frames(
    asked: Asked,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
) -> Result<Response, Problem> {
    let numbers = numbers(&list)?;
    let row = asked.row(&study, &series, &instance).await?;
    let accepted = asked.accepted()?;
    let offers = offers(std::slice::from_ref(&row), numbers.len() == 1);
    let (offer, ranges) = accepted.choose(&offers)?;
    let form = FrameForm::of(offer.media, &ranges, &row)?;
    let tag = asked.tag(std::slice::from_ref(&row), &format!("{offer} {form:?}"));
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    let app = asked.app.clone();
    let (base, kind, wanted) = (format!("{}/frames", asked.url_of(&row)), form.part_type(&row), row.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let object = app.opened.get(&app.store, &wanted)?;
        let layout = object.layout().map_err(|_| Problem::unknown("a frame: the object is no image"))?;
        if let Some(number) = numbers.iter().find(|n| **n > layout.frames) {
            return Err(Problem::unknown(&format!("frame {number} of {}", layout.frames)));
        }
        // The first one is made before the answer begins, so that what cannot be decoded is an honest 406.
        let first = bytes(&app, &object, numbers.first().map_or(0, |n| n - 1), &layout, form)?;
        Ok((app, object, layout, numbers, first))
    });
    let (app, object, layout, numbers, first) = opened.await.map_err(task_failed)??;
    if !offer.multipart {
        return Ok(ranges::of_bytes(&asked.headers, &kind, &tag, first));
    }
    let boundary = Boundary::of(&tag);
    let multipart = format!("{offer}; boundary={boundary}");
    let body = body(move |out| {
        let mut first = Some(first);
        for number in numbers {
            let bytes = match first.take() {
                Some(bytes) => bytes,
                None => bytes(&app, &object, number - 1, &layout, form).map_err(|e| io::Error::other(e.to_string()))?,
            };
            boundary.part(out, &kind, Some(&format!("{base}/{number}")))?;
            out.write_all(&bytes)?;
        }
        boundary.end(out)
    });
    let fixed = [(header::CONTENT_TYPE, multipart.as_str()), (header::ETAG, tag.as_str()), (header::CACHE_CONTROL, CACHED)];
    Ok((fixed, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_frames_are_numbers_from_one() {
        assert_eq!(numbers("3,1, 3").unwrap(), [3, 1, 3]);
        for list in ["0", "", "1,,2", "1-3", "-1", "99999999999", "+1"] {
            assert!(numbers(list).is_err(), "{list}");
        }
    }

    #[test]
    fn every_compressed_syntax_that_is_written_has_a_media_type() {
        assert!(WRITTEN.iter().skip(1).all(|uid| media_of(uid) != OCTETS));
    }
}
