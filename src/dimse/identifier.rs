//! The data sets of messages other than objects: identifiers of queries, information of actions and events.

use super::{Association, AssociationError, Context};
use crate::dicom::dataset::{self, Limits, Streaming};
use crate::dicom::{Attributes, Syntax};

/// Longest one, bytes.
const LONGEST: u64 = 16 << 20;

/// Reads the data set that follows a command; what is wrong with it is said inside.
///
/// # Errors
/// The association ended.
pub fn identifier(association: &mut Association, context: &Context) -> Result<Result<Attributes, String>, AssociationError> {
    let limits = Limits { value: LONGEST, stop_at_pixels: false, partial: false, total: None };
    let mut data = association.data(context.id);
    let read = dataset::parse(&mut Streaming::new(&mut data, LONGEST), Syntax::of(&context.transfer_syntax), limits);
    if data.failed() || data.finish().is_err() {
        return Err(association.why_broken());
    }
    Ok(read.map(|parsed| Attributes::decode(&parsed.data_set, |_| true)).map_err(|e| e.to_string()))
}
