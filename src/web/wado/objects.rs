//! Whole objects: a study, a series, an instance; as stored, or in another transfer syntax.

use crate::codec::Pool;
use crate::dicom::{part10, uids};
use crate::index::InstanceRow;
use crate::retrieve::{Object, WRITTEN, transcoded};
use crate::store::Store;
use crate::web::accept::{Accepted, Offer, Range};
use crate::web::asked::{Asked, CACHED, address};
use crate::web::multipart::{Boundary, Writer, body};
use crate::web::problem::{Problem, task_failed};
use crate::web::ranges;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::io::{self, Write};

const DICOM: &str = "application/dicom";

/// `GET /studies/{study}`
pub async fn study(asked: Asked, Path(study): Path<String>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, None, None).await?;
    objects(&asked, rows, &[Offer::many(DICOM)], &asked.accepted()?).await
}

/// `GET /studies/{study}/series/{series}`
pub async fn series(asked: Asked, Path((study, series)): Path<(String, String)>) -> Result<Response, Problem> {
    let rows = asked.rows(&study, Some(&series), None).await?;
    objects(&asked, rows, &[Offer::many(DICOM)], &asked.accepted()?).await
}

/// `GET /studies/{study}/series/{series}/instances/{instance}`
pub async fn instance(
    asked: Asked,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let row = asked.row(&study, &series, &instance).await?;
    objects(&asked, vec![row], &[Offer::many(DICOM), Offer::one(DICOM)], &asked.accepted()?).await
}

/// How an object goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is stored.
    Stored,
    /// Transcoded without loss to this syntax.
    As(&'static str),
}

impl Form {
    /// The transfer syntax that it goes out in.
    fn syntax(self, row: &InstanceRow) -> &str {
        match self {
            Form::Stored => &row.transfer_syntax,
            Form::As(uid) => uid,
        }
    }
}

const EXPLICIT: Form = Form::As(uids::EXPLICIT_VR_LITTLE_ENDIAN);

/// Implicit VR and Big Endian never go out (8.7.3); the default is Explicit VR Little Endian. The first of the ranges that can be served
/// decides.
///
/// # Errors
/// None can.
fn form_of(ranges: &[&Range], row: &InstanceRow) -> Result<Form, Problem> {
    let retired = matches!(
        row.transfer_syntax.as_str(),
        uids::IMPLICIT_VR_LITTLE_ENDIAN | crate::dicom::syntax::EXPLICIT_VR_BIG_ENDIAN | "1.2.840.113619.5.2"
    );
    let form = |wanted: Option<&str>| match wanted {
        Some("*") if retired => Some(EXPLICIT),
        Some("*") => Some(Form::Stored),
        Some(wanted) if wanted == row.transfer_syntax && !retired => Some(Form::Stored),
        None if row.transfer_syntax == uids::EXPLICIT_VR_LITTLE_ENDIAN => Some(Form::Stored),
        None => Some(EXPLICIT),
        Some(wanted) => WRITTEN.iter().find(|uid| **uid == wanted).map(|uid| Form::As(uid)),
    };
    ranges.iter().find_map(|range| form(range.transfer_syntax())).ok_or_else(|| {
        let known = WRITTEN.join(", ");
        Problem::unacceptable(format!("none of the transfer syntaxes asked for can be made here; ask for * or one of {known}"))
    })
}

/// Whether an object can go out so: its first frame is tried.
///
/// # Errors
/// It cannot, and why.
fn try_form(store: &Store, row: &InstanceRow, form: Form, pool: &Pool) -> Result<(), Problem> {
    let Form::As(wanted) = form else { return Ok(()) };
    let made = transcoded(store, row, wanted, pool)?.transfer_syntax;
    if made == wanted || row.pixels_at.is_none() {
        return Ok(());
    }
    Err(Problem::unacceptable(format!("its samples do not fit transfer syntax {wanted}; ask for 1.2.840.10008.1.2.1")))
}

/// Objects as one of the offers.
///
/// # Errors
/// They cannot be had as the client accepts them.
pub async fn objects(
    asked: &Asked,
    rows: Vec<InstanceRow>,
    offers: &[Offer],
    accepted: &Accepted,
) -> Result<Response, Problem> {
    let (offer, ranges) = accepted.choose(offers)?;
    let forms = rows.iter().map(|row| form_of(&ranges, row)).collect::<Result<Vec<Form>, Problem>>()?;
    let tag = asked.tag(&rows, &format!("{offer} {forms:?}"));
    if let Some(unchanged) = asked.unchanged(&tag) {
        return Ok(unchanged);
    }
    // The first object is tried before the answer begins, so that what cannot be decoded or encoded is an honest 406.
    if let (Some(row), Some(form)) = (rows.first().cloned(), forms.first().copied()) {
        let app = asked.app.clone();
        tokio::task::spawn_blocking(move || try_form(&app.store, &row, form, &app.pool)).await.map_err(task_failed)??;
    }
    if !offer.multipart
        && let (Some(row), Some(form)) = (rows.first(), forms.first())
    {
        return Ok(single(asked, row.clone(), *form, &tag));
    }
    let (app, url, boundary) = (asked.app.clone(), asked.url(), Boundary::of(&tag));
    let known: Option<u64> = rows.iter().zip(&forms).map(|(row, form)| length_of(row, *form, &url, &boundary)).sum();
    let known = known.map(|known| known + boundary.tail().len() as u64);
    let kind = format!("multipart/related; type=\"{DICOM}\"; boundary={boundary}");
    let body = body(move |out| {
        for (row, form) in rows.iter().zip(forms) {
            boundary.part(out, &part_type(form.syntax(row)), Some(&address(&url, row)))?;
            write_object(&app.store, &app.pool, row, form, out)?;
        }
        boundary.end(out)
    });
    let fixed = [(header::CONTENT_TYPE, kind), (header::ETAG, tag), (header::CACHE_CONTROL, CACHED.to_string())];
    let length = known.map(|known| [(header::CONTENT_LENGTH, known.to_string())]);
    Ok(match length {
        Some(length) => (fixed, length, body).into_response(),
        None => (fixed, body).into_response(),
    })
}

fn part_type(transfer_syntax: &str) -> String {
    format!("{DICOM};transfer-syntax={transfer_syntax}")
}

/// Bytes of a part; none where they are only known when it is made.
fn length_of(row: &InstanceRow, form: Form, url: &str, boundary: &Boundary) -> Option<u64> {
    (form == Form::Stored).then(|| {
        let head = boundary.head(&part_type(&row.transfer_syntax), Some(&address(url, row)));
        (head.len() + meta(row, &row.transfer_syntax).len()) as u64 + row.length
    })
}

fn meta(row: &InstanceRow, transfer_syntax: &str) -> Vec<u8> {
    let meta = part10::Meta {
        sop_class: row.sop_class.clone(),
        sop_instance: row.sop_instance.clone(),
        transfer_syntax: transfer_syntax.into(),
        sending_aet: "HUTONG".into(),
        receiving_aet: String::new(),
    };
    meta.to_plain_bytes()
}

/// One object that is not in a multipart body: as stored, byte ranges of it can be had.
fn single(asked: &Asked, row: InstanceRow, form: Form, tag: &str) -> Response {
    let app = asked.app.clone();
    let kind = part_type(form.syntax(&row));
    if form != Form::Stored {
        let body = body(move |out| write_object(&app.store, &app.pool, &row, form, out));
        let fixed = [(header::CONTENT_TYPE, kind.as_str()), (header::ETAG, tag), (header::CACHE_CONTROL, CACHED)];
        return (fixed, body).into_response();
    }
    let head = meta(&row, &row.transfer_syntax);
    let total = head.len() as u64 + row.length;
    ranges::answer(&asked.headers, (&kind, tag, total), move |out, (from, length)| {
        let begin = usize::try_from(from).unwrap_or(usize::MAX).min(head.len());
        let end = usize::try_from(from + length).unwrap_or(usize::MAX).min(head.len());
        out.write_all(head.get(begin..end).unwrap_or_default())?;
        let left = length - (end - begin) as u64;
        out.copy(&Object::stored_file(&app.store, &row)?, from.saturating_sub(head.len() as u64), left)
    })
}

/// Writes an object as a file of PS3.10.
///
/// # Errors
/// It is gone or damaged, or the reader of the body is.
fn write_object(store: &Store, pool: &Pool, row: &InstanceRow, form: Form, out: &mut Writer) -> io::Result<()> {
    match form {
        Form::Stored => {
            out.write_all(&meta(row, &row.transfer_syntax))?;
            out.copy(&Object::stored_file(store, row)?, 0, row.length)
        }
        Form::As(wanted) => {
            let mut copy = transcoded(store, row, wanted, pool).map_err(io::Error::other)?;
            out.write_all(&meta(row, copy.transfer_syntax))?;
            io::copy(&mut copy, out).map(|_| ())
        }
    }
}
