//! C-STORE (PS3.4 annex B): the table from what ingest says to what the peer is told.

use crate::dicom::stamp::Kind;
use crate::dimse::{Command, Context, DataReader, Status};
use crate::ingest::{Announced, Failed, Ingest, IngestError, Refused, now_ms};
use crate::journal::{Event, Journal};

/// Takes the data set of a C-STORE-RQ and answers it. None when the connection broke meanwhile.
pub fn answer(
    ingest: &Ingest,
    journal: &Journal,
    context: &Context,
    peer: &str,
    request: &Command,
    mut data: DataReader<'_>,
) -> Option<Command> {
    let (class, instance) = (request.sop_class().unwrap_or_default(), request.sop_instance().unwrap_or_default());
    let result = if class != context.abstract_syntax {
        Err(Refused::Mismatch("SOP Class UID of the presentation context").into())
    } else {
        let announced = Announced {
            transfer_syntax: &context.transfer_syntax,
            identity: Some((&class, &instance)),
            sender: peer,
            kind: Kind::Original,
        };
        ingest.receive(&announced, &mut data)
    };
    if data.failed() {
        return None;
    }
    data.finish().ok()?;
    Some(match result {
        Ok(_) => request.response(Status::Success),
        Err(error) => {
            if let IngestError::Refused(Refused::Conflict(key, _)) = &error {
                let event = Event::Conflict {
                    study: key.study.to_string(),
                    instance: key.sop_instance.to_string(),
                    sender: peer.to_string(),
                };
                if let Err(e) = journal.append(event, now_ms(), false) {
                    tracing::error!(error = %e, "the journal cannot be written");
                }
            }
            let status = status_of(&error);
            metrics::counter!("hutong_store_refused_total", "status" => format!("{:04X}", status.code())).increment(1);
            tracing::warn!(peer, instance, status = format!("{:04X}", status.code()), error = %error, "C-STORE refused");
            request.response(status).with_comment(&error.to_string())
        }
    })
}

fn status_of(error: &IngestError) -> Status {
    match error {
        IngestError::Refused(refused) => match refused {
            Refused::Conflict(..) => Status::DuplicateInstance,
            Refused::Mismatch(_) | Refused::OtherStudy(..) => Status::DataSetMismatch,
            Refused::NotUnderstood(_) | Refused::NotAFile(_) => Status::CannotUnderstand,
            Refused::TooLarge(_) => Status::OutOfResources,
        },
        IngestError::Failed(failed) => match failed {
            Failed::NoSpace => Status::OutOfResources,
            Failed::Disk(_) | Failed::Index(_) | Failed::Stream(_) | Failed::Stopping => Status::ProcessingFailure,
        },
    }
}
