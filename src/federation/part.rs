//! The one part of a multipart answer (RFC 2046), read as a stream.
//!
//! Never takes an answer that broke off for a whole one: its end is the boundary, not the end of the connection.

use std::io::{self, BufRead, Read};

/// Longest head of a part, bytes.
const HEAD: usize = 16 << 10;
/// Bytes that are read ahead.
const AHEAD: usize = 1 << 16;

/// The body of the first part.
pub struct Part<R> {
    inner: R,
    delimiter: Vec<u8>,
    ahead: Vec<u8>,
    at: usize,
    source_ended: bool,
    ended: bool,
}

/// The boundary that a media type states.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    // A boundary may hold what would end other parameters only inside of quotes.
    let at = parameters.to_ascii_lowercase().find("boundary=")?;
    let value = parameters.get(at + "boundary=".len()..)?.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([';', ' ']).next()?,
    };
    (!value.is_empty() && value.len() <= 70).then(|| value.to_string())
}

impl<R: BufRead> Part<R> {
    /// Reads up to the body of the first part.
    ///
    /// # Errors
    /// There is none.
    pub fn first(mut inner: R, boundary: &str) -> io::Result<Part<R>> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
        let opening = format!("--{boundary}");
        let mut read = 0;
        let mut line = Vec::new();
        let mut next = |inner: &mut R, line: &mut Vec<u8>| -> io::Result<()> {
            line.clear();
            read += inner.by_ref().take(HEAD as u64).read_until(b'\n', line)?;
            if line.is_empty() || read > HEAD { Err(wrong("the multipart answer holds no part")) } else { Ok(()) }
        };
        while line.trim_ascii_end() != opening.as_bytes() {
            next(&mut inner, &mut line)?;
        }
        while !line.trim_ascii_end().is_empty() || line.is_empty() {
            next(&mut inner, &mut line)?;
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Ok(Part { inner, delimiter, ahead: Vec::new(), at: 0, source_ended: false, ended: false })
    }

    fn fill(&mut self) -> io::Result<()> {
        self.ahead.drain(..self.at);
        self.at = 0;
        while self.ahead.len() < AHEAD && !self.source_ended {
            let chunk = self.inner.fill_buf()?;
            let got = chunk.len();
            self.ahead.extend_from_slice(chunk);
            self.inner.consume(got);
            self.source_ended = got == 0;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Part<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ended || buf.is_empty() {
            return Ok(0);
        }
        if self.ahead.len() - self.at <= self.delimiter.len() {
            self.fill()?;
        }
        let rest = self.ahead.get(self.at..).unwrap_or_default();
        let found = rest.windows(self.delimiter.len()).position(|w| w == self.delimiter);
        let safe = match found {
            Some(at) => at,
            None if self.source_ended => return Err(io::ErrorKind::UnexpectedEof.into()),
            // What may be the beginning of the boundary waits.
            None => rest.len().saturating_sub(self.delimiter.len() - 1),
        };
        if safe == 0 {
            self.ended = true;
            return Ok(0);
        }
        let count = safe.min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut part = Part::first(io::BufReader::with_capacity(chunk, text), "xyz")?;
        let mut all = Vec::new();
        part.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn the_part_is_what_stands_between_the_boundaries_and_a_broken_one_is_an_error() {
        let long: Vec<u8> = (0..200_000u32).flat_map(|n| [b'\r', b'\n', b'-', b'-', b'x', (n % 251) as u8]).collect();
        for body in [&b"abc"[..], b"", b"\r\n--xy", b"a\r\n--x\r\n-", &long] {
            for chunk in [1, 7, 8192] {
                let whole =
                    [b"preamble\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n", body, b"\r\n--xyz--\r\n"].concat();
                assert_eq!(read(&whole, chunk).unwrap(), body, "{chunk}");
                let broken = &whole[..whole.len() - 9];
                assert!(read(broken, chunk).is_err());
            }
            if body.len() > 1000 {
                break;
            }
        }
        assert!(read(b"no part at all", 8).is_err());
        assert!(read(b"--xyz\r\nContent-Type: x", 8).is_err());
    }

    #[test]
    fn boundaries_are_found_quoted_or_not() {
        for (text, found) in [
            ("multipart/related; type=\"application/dicom\"; boundary=abc", Some("abc")),
            ("Multipart/Related;boundary=\"a b;c\"; type=x", Some("a b;c")),
            ("multipart/related; boundary=abc; type=x", Some("abc")),
            ("application/dicom", None),
            ("multipart/related; boundary=", None),
        ] {
            assert_eq!(boundary(text).as_deref(), found, "{text}");
        }
    }
}
