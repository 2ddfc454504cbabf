//! C-ECHO (PS3.4 annex A).

use crate::dimse::{Command, Status};

/// Answers a C-ECHO-RQ.
pub fn answer(request: &Command) -> Command {
    request.response(Status::Success)
}
