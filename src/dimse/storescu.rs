//! C-STORE as SCU: sends objects as they are, over as many associations as their SOP classes and transfer syntaxes need.

use super::{AssociationError, Command, Proposal, Requested, connect};
use std::io::Read;

/// An object to send.
pub struct Outgoing {
    /// SOP class.
    pub sop_class: String,
    /// SOP Instance UID.
    pub sop_instance: String,
    /// Its transfer syntax.
    pub transfer_syntax: String,
    /// Opens its data set.
    pub open: Box<dyn FnMut() -> std::io::Result<Box<dyn Read>> + Send>,
}

/// What the peer said to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Stored,
    /// Stored with a warning status (Bxxx).
    Warning(u16, Option<String>),
    /// Refused with a status.
    Refused(u16, Option<String>),
    /// The peer takes no presentation context for it.
    NoContext,
    /// It could not be read here.
    Unreadable(String),
}

/// Sends all objects in order; `report` hears of each. Returns at the first failure of the connection.
///
/// # Errors
/// No association, or it broke.
pub fn send(to: &Requested, objects: &mut [Outgoing], report: &mut dyn FnMut(usize, &Answer)) -> Result<(), AssociationError> {
    let mut start = 0;
    while start < objects.len() {
        let (proposals, end) = proposals_from(objects, start);
        let mut association = connect(&Requested { proposals, ..to.clone() })?;
        for (number, object) in objects.iter_mut().enumerate().take(end).skip(start) {
            let context = association
                .contexts
                .iter()
                .find(|c| c.abstract_syntax == object.sop_class && c.transfer_syntax == object.transfer_syntax)
                .cloned();
            let Some(context) = context else {
                report(number, &Answer::NoContext);
                continue;
            };
            let mut data = match (object.open)() {
                Ok(data) => data,
                Err(e) => {
                    report(number, &Answer::Unreadable(e.to_string()));
                    continue;
                }
            };
            let message_id = u16::try_from(number % 65_535).unwrap_or(0) + 1;
            let request = Command::store_request(message_id, &object.sop_class, &object.sop_instance);
            association.send_with_data(context.id, &request, &mut data)?;
            let answer = match association.receive()? {
                super::Incoming::Message(_, response) => response,
                _ => return Err(AssociationError::Closed),
            };
            let comment = answer.comment();
            report(
                number,
                &match answer.status() {
                    Some(0) => Answer::Stored,
                    Some(status) if status >> 12 == 0xB => Answer::Warning(status, comment),
                    status => Answer::Refused(status.unwrap_or(0xFFFF), comment),
                },
            );
        }
        association.release()?;
        start = end;
    }
    Ok(())
}

/// Presentation contexts for the objects from `start` on, as many as one association can hold.
fn proposals_from(objects: &[Outgoing], start: usize) -> (Vec<Proposal>, usize) {
    let mut proposals: Vec<Proposal> = Vec::new();
    for (number, object) in objects.iter().enumerate().skip(start) {
        let proposal =
            Proposal { abstract_syntax: object.sop_class.clone(), transfer_syntaxes: vec![object.transfer_syntax.clone()] };
        if proposals.contains(&proposal) {
            continue;
        }
        if proposals.len() == 128 {
            return (proposals, number);
        }
        proposals.push(proposal);
    }
    (proposals, objects.len())
}
