//! The DICOM upper layer and message exchange (PS3.8, PS3.7) for both roles.
//!
//! Messages are assembled here from PDUs (command and data fragments may share one); dicom-ul reads and writes the
//! association PDUs. Blocking: an association owns a thread, and the kernel's socket buffer is the back-pressure.

mod accept;
mod association;
mod command;
pub mod commitment;
mod connect;
mod data;
mod identifier;
mod link;
pub mod queryscu;
pub mod storescu;
mod tls;

pub use crate::dicom::check_title;
pub use accept::{Accepted, Decision, Identity, Policy, Rejection, Roles, accept};
pub use association::{Association, AssociationError, Context, Incoming};
pub use command::{Command, Field, Progress, Status};
pub use connect::{PLAIN, Proposal, Requested, connect, connect_for};
pub use data::DataReader;
pub use identifier::identifier;
pub use link::{Link, Stream, Timeouts};
pub use tls::{ClientTls, Own, ServerTls, TlsStream, fingerprint, roots};
