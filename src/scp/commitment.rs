//! Storage Commitment (PS3.4 annex J), both ways: peers ask whether we keep what they sent, and tell us whether they keep what we sent.
//!
//! Never says that something is kept that was not read from the disk to its last byte, and never forgets to answer.

use super::listener::Shared;
use crate::dicom::{Attributes, Uid, tags};
use crate::dimse::commitment::{self, FAILURES_EXIST, INSTANCE, REQUEST};
use crate::dimse::{Association, AssociationError, Command, Context, Status, identifier};
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::outbox::Report;
use crate::peers::Principal;
use crate::retrieve::commitment::results;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

/// Instances in one request.
const MOST: usize = 100_000;

/// Results that were told on the association that they were asked on, and are not answered yet, oldest first.
#[derive(Default)]
pub struct Told(RefCell<VecDeque<String>>);

impl Told {
    /// The peer has answered to the oldest.
    pub fn answered(&self, shared: &Shared, answer: &Command) {
        let Some(id) = self.0.borrow_mut().pop_front() else { return };
        match answer.status() {
            Some(0) => kept(shared.outbox.reported(&id)),
            status => {
                let why = format!("it refused the result: status {:04X}H", status.unwrap_or(0xFFFF));
                kept(shared.outbox.give_up_report(&id, &why));
            }
        }
    }

    /// The association has ended; what was not answered can be told nowhere else.
    pub fn ended(&self, shared: &Shared) {
        for id in self.0.borrow_mut().drain(..) {
            tracing::warn!(result = id, "a peer left before it took the result of its storage commitment");
            let why = "it left before it took the result, and has no [[peer]] entry with an address to tell it at";
            kept(shared.outbox.give_up_report(&id, why));
        }
    }
}

/// Answers an N-ACTION-RQ whose data set has not been read yet. A peer whose address is known is told the result on an association of
/// its own, others on this one.
///
/// # Errors
/// The association ended.
pub fn request(
    shared: &Shared,
    caller: &Principal,
    association: &mut Association,
    context: &Context,
    request: &Command,
    told: &Told,
) -> Result<(), AssociationError> {
    let refuse = |association: &mut Association, status: Status, why: &str| {
        tracing::warn!(aet = caller.aet, why, "storage commitment refused");
        association.send(context.id, &request.response(status).with_comment(why))
    };
    if !request.has_data() {
        return refuse(association, Status::MissingAttribute, "N-ACTION-RQ without a data set");
    }
    let information = match identifier(association, context)? {
        Ok(information) => information,
        Err(why) => return refuse(association, Status::ProcessingFailure, &why),
    };
    if request.action_type() != Some(REQUEST) {
        return refuse(association, Status::NoSuchAction, "only action 1, request storage commitment, is served");
    }
    if request.any_sop_instance().as_deref() != Some(INSTANCE) {
        return refuse(association, Status::NoSuchInstance, "the instance must be 1.2.840.10008.1.20.1.1");
    }
    let called_back = shared.peers.get(&caller.aet).is_some_and(|peer| peer.address.is_some());
    let report = match wanted(&information, &caller.aet) {
        Ok(report) => Report { here: !called_back, ..report },
        Err((status, why)) => return refuse(association, status, &why),
    };
    if let Err(e) = shared.outbox.add_report(report.clone()) {
        tracing::error!(error = %e, "a commitment request cannot be kept");
        return refuse(association, Status::ProcessingFailure, "the request cannot be kept; send it again");
    }
    association.send(context.id, &request.response(Status::Success))?;
    note_missing(shared, &report);
    if called_back { Ok(()) } else { tell_here(shared, association, context, &report, told) }
}

/// Objects noted of one request: enough to say that a study is short.
const NOTED: usize = 1_000;

/// What the sender believes to have sent and what never came makes its study incomplete (C-07), where the rest says which study it is.
fn note_missing(shared: &Shared, report: &Report) {
    let (mut studies, mut missing) = (BTreeSet::new(), Vec::new());
    for (_, instance) in &report.wanted {
        let Ok(uid) = Uid::parse(instance) else { continue };
        match shared.index.instance(&uid) {
            Ok(Some(row)) => drop(studies.insert(row.study)),
            Ok(None) if missing.len() < NOTED => missing.push(instance.clone()),
            Ok(None) => {}
            Err(e) => return tracing::error!(error = %e, "the index failed in a storage commitment"),
        }
    }
    let mut only = studies.into_iter();
    let (Some(study), None, false) = (only.next(), only.next(), missing.is_empty()) else { return };
    tracing::warn!(study = %study, instances = missing.len(), "a sender asks to commit objects that never came");
    let event = Event::Missed { study: study.to_string(), instances: missing };
    if let Err(e) = shared.journal.append(event, now_ms(), true) {
        return tracing::error!(error = %e, "the journal cannot be written");
    }
    if let Err(e) = shared.ingest.judge_again(&study, false) {
        tracing::error!(error = %e, "the study is not judged again");
    }
}

fn wanted(information: &Attributes, aet: &str) -> Result<Report, (Status, String)> {
    let transaction = information.text(tags::TRANSACTION_UID).and_then(|t| Uid::parse(t.trim()).ok());
    let missing = |what: &str| (Status::MissingAttribute, what.to_string());
    let transaction = transaction.ok_or_else(|| missing("Transaction UID (0008,1195) is missing or malformed"))?;
    let items = information.items(tags::REFERENCED_SOP_SEQUENCE);
    if items.len() > MOST {
        return Err((Status::OutOfResources, format!("more than {MOST} instances in one request")));
    }
    let text = |item: &Attributes, tag| item.text(tag).map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
    let one =
        |item: &Attributes| Some((text(item, tags::REFERENCED_SOP_CLASS_UID)?, text(item, tags::REFERENCED_SOP_INSTANCE_UID)?));
    let wanted: Option<Vec<(String, String)>> = items.iter().map(one).collect();
    let wanted = wanted.filter(|w| !w.is_empty());
    let wanted = wanted.ok_or_else(|| missing("Referenced SOP Sequence (0008,1199) needs class and instance of each item"))?;
    Ok(Report::new(transaction.to_string(), aet, wanted, now_ms()))
}

fn tell_here(
    shared: &Shared,
    association: &mut Association,
    context: &Context,
    report: &Report,
    told: &Told,
) -> Result<(), AssociationError> {
    let result = match results(&shared.store, &*shared.index, &report.wanted) {
        Ok(result) => result,
        Err(e) => {
            tracing::error!(error = %e, "the index failed in a storage commitment");
            kept(shared.outbox.give_up_report(&report.id(), "the index failed; ask again"));
            // The peer would wait in vain: it hears that this association is over, and asks again.
            association.abort();
            return Err(AssociationError::Io(std::io::Error::other(e)));
        }
    };
    told.0.borrow_mut().push_back(report.id());
    commitment::say(association, context, &report.transaction, &result, &shared.calls.aet)
}

fn kept(result: std::io::Result<()>) {
    if let Err(e) = result {
        tracing::error!(error = %e, "the outbox cannot be written");
    }
}

/// Answers an N-EVENT-REPORT-RQ: a peer tells what it keeps of what we sent it.
///
/// # Errors
/// The association ended.
pub fn event(
    shared: &Shared,
    association: &mut Association,
    context: &Context,
    request: &Command,
) -> Result<(), AssociationError> {
    let information = if request.has_data() { identifier(association, context)? } else { Err("no data set".into()) };
    let status = match information {
        Err(why) => {
            tracing::warn!(aet = association.peer_aet, why, "a storage commitment result does not read");
            Status::ProcessingFailure
        }
        Ok(information) => {
            let transaction = information.text(tags::TRANSACTION_UID).map(str::trim).unwrap_or_default().to_string();
            let keeps = commitment::kept(&information);
            if request.event_type() == Some(FAILURES_EXIST) {
                tracing::warn!(aet = association.peer_aet, instances = keeps.len(), "the peer has committed these only");
            }
            match shared.outbox.committed(&association.peer_aet, &transaction, &keeps, now_ms()) {
                Ok(true) => Status::Success,
                Ok(false) => {
                    tracing::warn!(aet = association.peer_aet, transaction, "nobody waits for this storage commitment result");
                    Status::Success
                }
                Err(e) => {
                    tracing::error!(error = %e, "the outbox cannot be written");
                    Status::ProcessingFailure
                }
            }
        }
    };
    association.send(context.id, &request.response(status))
}
