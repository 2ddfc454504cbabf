//! The data set of a message as a stream of bytes. Never takes a part for the whole, and never waits for ever for one that drips.

use super::association::{Association, AssociationError, Next};
use std::io::{self, Read};
use std::time::Instant;

/// The bytes of one data set, across fragments and PDUs.
pub struct DataReader<'a> {
    association: &'a mut Association,
    context: u8,
    left: u32,
    last: bool,
    failed: bool,
    began: Instant,
    got: u64,
}

impl<'a> DataReader<'a> {
    pub(super) fn new(association: &'a mut Association, context: u8) -> DataReader<'a> {
        DataReader { association, context, left: 0, last: false, failed: false, began: Instant::now(), got: 0 }
    }
}

/// Bytes a second that a data set must bring on average: one that drips holds a place that others need.
const LEAST_RATE: u64 = 1024;

impl Read for DataReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            if self.last {
                return Ok(0);
            }
            if self.drips() {
                return Err(self.too_slowly());
            }
            let next = self.association.next_pdv().and_then(|next| match next {
                Next::Pdv(pdv) if !pdv.command && pdv.context == self.context => Ok(pdv),
                Next::Pdv(_) => Err(self.association.violation("a command fragment inside a data set")),
                Next::Release => Err(self.association.violation("A-RELEASE-RQ inside a data set")),
            });
            match next {
                Ok(pdv) => (self.left, self.last) = (pdv.length, pdv.last),
                Err(e) => return Err(self.over(e)),
            }
        }
        let room = buf.len().min(self.left as usize);
        let Some(room) = buf.get_mut(..room).filter(|r| !r.is_empty()) else {
            return Ok(0);
        };
        let got = match self.association.link.read(room) {
            Ok(0) => return Err(self.over(AssociationError::Closed)),
            Ok(got) => got,
            Err(e) => {
                let why = self.association.lost(e);
                return Err(self.over(why));
            }
        };
        self.left -= u32::try_from(got).unwrap_or(self.left);
        self.got += got as u64;
        if self.drips() {
            return Err(self.too_slowly());
        }
        Ok(got)
    }
}

impl DataReader<'_> {
    /// The association is over, and remembers why.
    fn over(&mut self, why: AssociationError) -> io::Error {
        self.failed = true;
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, why.to_string());
        self.association.broken = Some(why);
        error
    }

    fn too_slowly(&mut self) -> io::Error {
        let why = self.association.lost(io::ErrorKind::TimedOut.into());
        self.over(why)
    }

    /// Whether it has come too slowly for as long as a silent peer is waited for.
    fn drips(&self) -> bool {
        let elapsed = self.began.elapsed();
        elapsed > self.association.timeouts.network && self.got / LEAST_RATE < elapsed.as_secs()
    }

    /// Reads and drops the rest, so that the next message can be received.
    ///
    /// # Errors
    /// The connection fails.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(|_| ())
    }

    /// Whether the connection failed while reading: there is nobody left to answer.
    pub fn failed(&self) -> bool {
        self.failed
    }
}
