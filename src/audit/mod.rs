//! The journal as audit trail for others: DICOM audit messages (PS3.15 A.5) to a syslog server, and FHIR AuditEvent to be read.
//!
//! Never holds more than the journal: no patient. Never loses a record: what the syslog server has not taken is sent when it does again.

mod fhir;
mod message;
mod syslog;

pub use fhir::resource;
pub use message::{Told, of};
pub use syslog::{Follower, Settings};
