//! Bodies of known length, whole or a byte range of them (RFC 9110 section 14).

use super::asked::CACHED;
use super::multipart::{Writer, body};
use super::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io;

/// First byte and number of bytes.
type Span = (u64, u64);

/// What of a body of `total` bytes a request wants: none for all of it.
///
/// # Errors
/// The range lies outside (416).
fn wanted(headers: &HeaderMap, total: u64, tag: &str) -> Result<Option<Span>, ()> {
    let text = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    let Some(range) = text(header::RANGE).and_then(|r| r.trim().strip_prefix("bytes=")) else { return Ok(None) };
    // Several ranges, and a range of another version: the whole body answers both.
    if range.contains(',') || text(header::IF_RANGE).is_some_and(|t| t != tag) {
        return Ok(None);
    }
    let Some((first, last)) = range.split_once('-') else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u64>();
    match (number(first), number(last)) {
        (Ok(first), _) if first >= total => Err(()),
        (Ok(first), Ok(last)) if last >= first => Ok(Some((first, last.min(total - 1) - first + 1))),
        (Ok(first), Err(_)) if last.trim().is_empty() => Ok(Some((first, total - first))),
        (Err(_), Ok(0)) if first.trim().is_empty() => Err(()),
        (Err(_), Ok(last)) if first.trim().is_empty() && total > 0 => Ok(Some((total - last.min(total), last.min(total)))),
        // What is no range is passed over.
        _ => Ok(None),
    }
}

/// Answers with a body of `total` bytes, of which `write` writes a part.
pub fn answer(
    headers: &HeaderMap,
    (content_type, tag, total): (&str, &str, u64),
    write: impl FnOnce(&mut Writer, Span) -> io::Result<()> + Send + 'static,
) -> Response {
    let Ok(span) = wanted(headers, total, tag) else {
        let problem =
            Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, format!("the range begins behind the {total} bytes there are"));
        return ([(header::CONTENT_RANGE, format!("bytes */{total}"))], problem).into_response();
    };
    let (from, length) = span.unwrap_or((0, total));
    let fixed = [
        (header::CONTENT_TYPE, content_type.to_string()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, tag.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_string()),
        (header::CACHE_CONTROL, CACHED.to_string()),
    ];
    let body = body(move |out| write(out, (from, length)));
    // A document from outside must not run as a page of ours.
    let sandbox = content_type.starts_with("text/");
    let sandbox =
        sandbox.then_some([(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; style-src 'unsafe-inline'")]);
    match span {
        None => (fixed, sandbox, body).into_response(),
        Some(_) => {
            let range = format!("bytes {from}-{}/{total}", from + length - 1);
            (StatusCode::PARTIAL_CONTENT, fixed, sandbox, [(header::CONTENT_RANGE, range)], body).into_response()
        }
    }
}

/// Answers with bytes that are in memory.
pub fn of_bytes(headers: &HeaderMap, content_type: &str, tag: &str, bytes: Vec<u8>) -> Response {
    let total = bytes.len() as u64;
    answer(headers, (content_type, tag, total), move |out, (from, length)| {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        io::Write::write_all(out, bytes.get(at(from)..at(from + length)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_what_is_none_is_passed_over() {
        let span = |range: &str, condition: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().unwrap());
            if !condition.is_empty() {
                headers.insert(header::IF_RANGE, condition.parse().unwrap());
            }
            wanted(&headers, 100, "\"t\"")
        };
        assert_eq!(span("bytes=0-9", ""), Ok(Some((0, 10))));
        assert_eq!(span("bytes=90-", ""), Ok(Some((90, 10))));
        assert_eq!(span("bytes=90-1000", "\"t\""), Ok(Some((90, 10))));
        assert_eq!(span("bytes=-5", ""), Ok(Some((95, 5))));
        assert_eq!(span("bytes=-500", ""), Ok(Some((0, 100))));
        assert_eq!((span("bytes=100-", ""), span("bytes=-0", "")), (Err(()), Err(())));
        for (range, condition) in
            [("bytes=0-1,5-6", ""), ("bytes=9-3", ""), ("items=0-1", ""), ("bytes=0-1", "\"old\""), ("bytes=x-", "")]
        {
            assert_eq!(span(range, condition), Ok(None), "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 100, ""), Ok(None));
    }
}
