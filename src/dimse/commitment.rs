//! The messages of storage commitment (PS3.4 annex J): asking, telling the result, reading it.

use super::{Association, AssociationError, Command, Context, Incoming};
use crate::dicom::{Attributes, DataSet, Syntax, VR, Value, tags, uids};
use std::collections::BTreeSet;

/// The one instance of the SOP class (PS3.4 J.3.5).
pub const INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Action Type ID of a request.
pub const REQUEST: u16 = 1;
/// Event Type ID when all is kept.
pub const ALL_KEPT: u16 = 1;
/// Event Type ID when something is not.
pub const FAILURES_EXIST: u16 = 2;

/// What is kept of a request, and what is not, with the Failure Reason (PS3.3 C.14.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// SOP class and instance.
    pub kept: Vec<(String, String)>,
    /// The same, and why.
    pub failed: Vec<(String, String, u16)>,
}

fn item(class: &str, instance: &str) -> DataSet {
    let mut item = DataSet::default();
    item.put_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class);
    item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance);
    item
}

fn written(data_set: &DataSet, context: &Context) -> Vec<u8> {
    let mut bytes = Vec::new();
    data_set.write_as(Syntax::of(&context.transfer_syntax), &mut bytes);
    bytes
}

/// Asks a peer to commit instances; it has taken the request when this returns.
///
/// # Errors
/// It refuses, or the association ended.
pub fn ask(
    association: &mut Association,
    context: &Context,
    transaction: &str,
    instances: &[(String, String)],
) -> Result<(), AssociationError> {
    let mut information = DataSet::default();
    information.put_text(tags::TRANSACTION_UID, VR::UI, transaction);
    let items = instances.iter().map(|(class, instance)| item(class, instance)).collect();
    information.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, Value::Items(items));
    let request = Command::action(1, uids::STORAGE_COMMITMENT_PUSH_MODEL, INSTANCE, REQUEST);
    association.send_with_data(context.id, &request, &mut written(&information, context).as_slice())?;
    answered(association, "N-ACTION")
}

/// Tells the peer the result; it has taken it when this returns.
///
/// # Errors
/// It refuses, or the association ended.
pub fn tell(
    association: &mut Association,
    context: &Context,
    transaction: &str,
    outcome: &Outcome,
    aet: &str,
) -> Result<(), AssociationError> {
    say(association, context, transaction, outcome, aet)?;
    answered(association, "N-EVENT-REPORT")
}

/// Sends the result and does not wait for the answer: the peer may have a request of its own under way.
///
/// # Errors
/// The association ended.
pub fn say(
    association: &mut Association,
    context: &Context,
    transaction: &str,
    outcome: &Outcome,
    aet: &str,
) -> Result<(), AssociationError> {
    let mut information = DataSet::default();
    information.put_text(tags::TRANSACTION_UID, VR::UI, transaction);
    information.put_text(tags::RETRIEVE_AE_TITLE, VR::AE, aet);
    if !outcome.kept.is_empty() {
        let kept = outcome.kept.iter().map(|(class, instance)| item(class, instance)).collect();
        information.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, Value::Items(kept));
    }
    if !outcome.failed.is_empty() {
        let one = |(class, instance, reason): &(String, String, u16)| {
            let mut item = item(class, instance);
            item.put_u16(tags::FAILURE_REASON, *reason);
            item
        };
        information.put(tags::FAILED_SOP_SEQUENCE, VR::SQ, Value::Items(outcome.failed.iter().map(one).collect()));
    }
    let event = if outcome.failed.is_empty() { ALL_KEPT } else { FAILURES_EXIST };
    let request = Command::event_report(1, uids::STORAGE_COMMITMENT_PUSH_MODEL, INSTANCE, event);
    association.send_with_data(context.id, &request, &mut written(&information, context).as_slice())
}

/// Instances that a result says are kept. What it does not name is not: a result that lists only part of what was asked, or whose failures
/// do not read, confirms no more than it says.
pub fn kept(information: &Attributes) -> BTreeSet<String> {
    let named = |tag| information.items(tag).iter().filter_map(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID));
    let failed: BTreeSet<&str> = named(tags::FAILED_SOP_SEQUENCE).map(str::trim).collect();
    named(tags::REFERENCED_SOP_SEQUENCE).map(str::trim).filter(|uid| !failed.contains(uid)).map(str::to_string).collect()
}

fn answered(association: &mut Association, what: &str) -> Result<(), AssociationError> {
    match association.receive()? {
        Incoming::Message(context, answer) => {
            if answer.has_data() {
                association.data(context.id).finish()?;
            }
            match answer.status() {
                Some(0) => Ok(()),
                status => {
                    Err(AssociationError::Refused(what.into(), status.unwrap_or(0xFFFF), answer.comment().unwrap_or_default()))
                }
            }
        }
        Incoming::Released | Incoming::Stopping => Err(AssociationError::Closed),
    }
}
