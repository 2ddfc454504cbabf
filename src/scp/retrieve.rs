//! C-MOVE and C-GET (PS3.4 C.4.2, C.4.3): the instances that an identifier names go out, over another association or over this one.
//!
//! Never sends what the requester, or the destination, is not shown; and never before the journal has it.

use super::asking::{self, Level};
use super::listener::Shared;
use crate::dicom::{Attributes, DataSet, Uid, VR, tags, uids};
use crate::dimse::storescu::{self, Answer, Hearer, Outgoing};
use crate::dimse::{Association, AssociationError, Command, Context, Field, Progress, Status, identifier};
use crate::index::{Index, IndexError, InstanceRow, Key, Query, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::peers::{Peer, Principal};
use crate::retrieve::outgoing;
use std::collections::BTreeMap;
use std::time::Duration;

/// Instances of one retrieval: sub-operations are counted in 16 bits (PS3.7 9.3.4.2).
const MOST: usize = 65_535;

/// One C-MOVE or C-GET.
struct Retrieval<'a> {
    shared: &'a Shared,
    caller: &'a Principal,
    context: &'a Context,
    request: &'a Command,
}

/// Why nothing is sent at all.
struct Refusal(Status, String);

impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Refusal {
        tracing::error!(error = %error, "the index failed in a retrieval");
        Refusal(Status::UnableToProcess, "the index failed".into())
    }
}

/// How sub-operations went.
#[derive(Default)]
struct Tally {
    progress: Progress,
    failed: Vec<String>,
    /// The first thing that went wrong.
    reason: Option<String>,
    cancelled: bool,
}

impl Tally {
    fn of(instances: usize) -> Tally {
        let remaining = u16::try_from(instances).unwrap_or(u16::MAX);
        Tally { progress: Progress { remaining, ..Progress::default() }, ..Tally::default() }
    }

    fn count(&mut self, instance: &str, answer: &Answer) {
        self.progress.remaining = self.progress.remaining.saturating_sub(1);
        match answer {
            Answer::Stored => self.progress.completed += 1,
            Answer::Warning(..) => self.progress.warning += 1,
            _ => {
                tracing::warn!(instance, why = %answer, "an instance was not sent");
                self.progress.failed += 1;
                self.failed.push(instance.into());
                self.reason.get_or_insert_with(|| answer.to_string());
            }
        }
    }

    /// What was not tried counts as failed.
    fn give_up(&mut self, rows: &[InstanceRow], why: &str) {
        let tried = rows.len().saturating_sub(usize::from(self.progress.remaining));
        self.failed.extend(rows.iter().skip(tried).map(|row| row.sop_instance.to_string()));
        self.progress.failed += std::mem::take(&mut self.progress.remaining);
        self.reason.get_or_insert_with(|| why.to_string());
    }

    fn status(&self) -> Status {
        let Progress { completed, failed, warning, .. } = self.progress;
        match () {
            () if self.cancelled => Status::Cancelled,
            () if failed == 0 && warning == 0 => Status::Success,
            () if completed == 0 && warning == 0 => Status::NothingSent,
            () => Status::SomeNotSent,
        }
    }
}

/// Answers a C-MOVE-RQ or C-GET-RQ whose data set has not been read yet.
///
/// # Errors
/// The association ended.
pub fn serve(
    shared: &Shared,
    caller: &Principal,
    association: &mut Association,
    context: &Context,
    request: &Command,
) -> Result<(), AssociationError> {
    let read = identifier(association, context)?;
    let retrieval = Retrieval { shared, caller, context, request };
    let is_move = request.field() == Field::MoveRq;
    let patient_root =
        [uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET]
            .contains(&context.abstract_syntax.as_str());
    let prepared = read
        .map_err(|why| Refusal(Status::UnableToProcess, why))
        .and_then(|identifier| retrieval.prepare(&identifier, patient_root, is_move));
    let (rows, destination) = match prepared {
        Ok(prepared) => prepared,
        Err(Refusal(status, why)) => {
            tracing::warn!(aet = caller.aet, why, "retrieval refused");
            return association.send(context.id, &request.response(status).with_comment(&why));
        }
    };
    metrics::counter!("hutong_retrieve_total").increment(1);
    let tally = match destination {
        Some(peer) => retrieval.to_another(association, &rows, &peer)?,
        None => retrieval.over_this(association, &rows)?,
    };
    retrieval.finish(association, &tally)
}

impl Retrieval<'_> {
    /// What is to be sent, and where.
    fn prepare(
        &self,
        identifier: &Attributes,
        patient_root: bool,
        is_move: bool,
    ) -> Result<(Vec<InstanceRow>, Option<Peer>), Refusal> {
        let destination = is_move.then(|| self.destination()).transpose()?;
        // Originals never leave for another hospital because somebody of the house asks for it.
        let exchange = self.caller.exchange || destination.as_ref().is_some_and(|peer| peer.exchange);
        let view = if exchange { View::Exchange } else { View::House };
        let level = asking::level(identifier, patient_root).map_err(|why| Refusal(Status::DataSetMismatch, why))?;
        let mut rows = rows(&*self.shared.index, view, level, identifier)?;
        if view == View::Exchange {
            self.keep_what_is_shown(&mut rows, destination.as_ref())?;
        }
        if rows.len() > MOST {
            return Err(Refusal(Status::UnableToCount, format!("over {MOST} instances: retrieve series by series")));
        }
        self.record(view, &rows, destination.as_ref())?;
        Ok((rows, destination))
    }

    /// Only what the policy grants the hospital that asks, and the one that it is sent to.
    fn keep_what_is_shown(&self, rows: &mut Vec<InstanceRow>, destination: Option<&Peer>) -> Result<(), Refusal> {
        let asks = Some(self.caller.aet.as_str()).filter(|_| self.caller.exchange);
        let gets = destination.filter(|peer| peer.exchange).map(|peer| peer.aet.as_str());
        for aet in asks.into_iter().chain(gets) {
            let only = self.shared.shown_to(aet);
            let mut granted: BTreeMap<Uid, bool> = BTreeMap::new();
            for row in rows.iter() {
                if !granted.contains_key(&row.study) {
                    let study = self.shared.index.study(&row.study)?;
                    let allowed = study.map_or(Ok(false), |study| only.allows(&study))?;
                    granted.insert(row.study.clone(), allowed);
                }
            }
            rows.retain(|row| granted.get(&row.study) == Some(&true));
        }
        Ok(())
    }

    fn destination(&self) -> Result<Peer, Refusal> {
        let aet = self.request.move_destination().unwrap_or_default();
        let unknown = |why: &str| Refusal(Status::UnknownDestination, format!("{aet}: {why}"));
        let peer = self.shared.peers.get(&aet).ok_or_else(|| unknown("no [[peer]] of this name is configured"))?;
        if peer.address.is_none() {
            return Err(unknown("its [[peer]] has no address"));
        }
        Ok(peer)
    }

    fn record(&self, view: View, rows: &[InstanceRow], destination: Option<&Peer>) -> Result<(), Refusal> {
        let mut studies: Vec<(&Uid, u32)> = Vec::new();
        for row in rows {
            match studies.last_mut().filter(|(study, _)| *study == &row.study) {
                Some((_, count)) => *count += 1,
                None => studies.push((&row.study, 1)),
            }
        }
        let by = match destination {
            Some(peer) if peer.aet != self.caller.aet => format!("{} for {}", self.caller.aet, peer.aet),
            _ => self.caller.aet.clone(),
        };
        let register = self.shared.entitled.register.current();
        // Who gets it: what the house sends to another hospital is that one's.
        let gets = destination.filter(|peer| peer.exchange).map_or(&self.caller.aet, |peer| &peer.aet);
        let hospital = register.hospital_of_aet(gets).map_or_else(String::new, |h| h.code.clone());
        if rows.is_empty() && self.caller.exchange {
            let event = Event::Denied { by: self.caller.aet.clone(), why: "nothing shown of what a retrieval named".into() };
            self.append(event)?;
        }
        for (study, instances) in studies {
            let view = format!("{view:?}").to_lowercase();
            let (study, by, on_behalf) = (study.to_string(), by.clone(), Default::default());
            let event = Event::Retrieved { view, study, by, hospital: hospital.clone(), instances, on_behalf };
            self.append(event)?;
        }
        Ok(())
    }

    fn append(&self, event: Event) -> Result<(), Refusal> {
        self.shared.journal.append(event, now_ms(), false).map_err(|e| {
            tracing::error!(error = %e, "the journal cannot be written");
            Refusal(Status::UnableToProcess, "the retrieval cannot be recorded".into())
        })
    }

    fn pending(&self, tally: &Tally) -> Command {
        self.request.response(Status::Pending).with_progress(tally.progress, true)
    }

    /// C-GET: by sub-operations on the requester's own association.
    fn over_this(&self, association: &mut Association, rows: &[InstanceRow]) -> Result<Tally, AssociationError> {
        let mut tally = Tally::of(rows.len());
        for (number, row) in rows.iter().enumerate() {
            let mut object = outgoing(&self.shared.store, &self.shared.pool, row);
            let message_id = u16::try_from(number % 65_535).unwrap_or(0) + 1;
            let mut cancelled = false;
            let mut other = |command: &Command| {
                cancelled |= self.is_cancel(command);
                command.field() == Field::CancelRq
            };
            let answer = storescu::store(association, &mut object, message_id, None, &mut other, &mut || true)?;
            tally.count(row.sop_instance.as_str(), &answer);
            if cancelled || association.is_cancelled(self.request.message_id(), Duration::ZERO)? {
                tally.cancelled = tally.progress.remaining > 0;
            }
            if tally.cancelled {
                return Ok(tally);
            }
            association.send(self.context.id, &self.pending(&tally))?;
        }
        Ok(tally)
    }

    fn is_cancel(&self, command: &Command) -> bool {
        command.field() == Field::CancelRq && command.responded_to() == self.request.message_id()
    }

    /// C-MOVE: by associations to the destination.
    fn to_another(&self, association: &mut Association, rows: &[InstanceRow], peer: &Peer) -> Result<Tally, AssociationError> {
        let mut objects: Vec<Outgoing<'_>> =
            rows.iter().map(|row| outgoing(&self.shared.store, &self.shared.pool, row)).collect();
        let to = match self.shared.calls.to(peer) {
            Ok(to) => to,
            Err(why) => {
                let mut tally = Tally::of(rows.len());
                tally.give_up(rows, &why);
                return Ok(tally);
            }
        };
        let originator = Some((self.caller.aet.as_str(), self.request.message_id()));
        let mut requester =
            Requester { retrieval: self, association, tally: Tally::of(rows.len()), rows, waited: 0, ended: None };
        let sent = storescu::send(&to, &mut objects, originator, &mut requester);
        let Requester { mut tally, ended, .. } = requester;
        if let Some(e) = ended {
            return Err(e);
        }
        if let Err(e) = sent
            && !tally.cancelled
        {
            tracing::warn!(destination = peer.aet, error = %e, "C-MOVE: the destination failed");
            tally.give_up(rows, &format!("{}: {e}", peer.aet));
        }
        Ok(tally)
    }

    /// Tells the requester of progress, and hears whether it wants to go on.
    fn tell(&self, association: &mut Association, tally: &mut Tally, pending: bool) -> Result<bool, AssociationError> {
        if association.is_cancelled(self.request.message_id(), Duration::ZERO)? {
            tally.cancelled = tally.progress.remaining > 0;
            return Ok(false);
        }
        if pending && tally.progress.remaining > 0 {
            association.send(self.context.id, &self.pending(tally))?;
        }
        Ok(true)
    }

    fn finish(&self, association: &mut Association, tally: &Tally) -> Result<(), AssociationError> {
        let status = tally.status();
        let mut response = self.request.response(status).with_progress(tally.progress, status == Status::Cancelled);
        if let Some(reason) = &tally.reason {
            response = response.with_comment(reason);
        }
        if tally.failed.is_empty() {
            return association.send(self.context.id, &response);
        }
        let mut failed = DataSet::default();
        failed.put_text(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, &tally.failed.join("\\"));
        let mut bytes = Vec::new();
        failed.write_as(crate::dicom::Syntax::of(&self.context.transfer_syntax), &mut bytes);
        association.send_with_data(self.context.id, &response.with_data_set(), &mut bytes.as_slice())
    }
}

/// Who asked for a C-MOVE: hears of every object, and now and then while the destination is silent.
struct Requester<'a> {
    retrieval: &'a Retrieval<'a>,
    association: &'a mut Association,
    tally: Tally,
    rows: &'a [InstanceRow],
    /// Seconds without an answer of the destination.
    waited: u32,
    /// The requester's own association ended.
    ended: Option<AssociationError>,
}

/// Seconds of silence after which the requester is told again how things stand.
const REMINDED: u32 = 5;

impl Requester<'_> {
    fn kept(&mut self, told: Result<bool, AssociationError>) -> bool {
        told.unwrap_or_else(|e| {
            self.ended = Some(e);
            false
        })
    }
}

impl Hearer for Requester<'_> {
    fn answered(&mut self, number: usize, answer: &Answer) -> bool {
        self.waited = 0;
        let instance = self.rows.get(number).map_or("", |row| row.sop_instance.as_str());
        self.tally.count(instance, answer);
        let told = self.retrieval.tell(self.association, &mut self.tally, true);
        self.kept(told)
    }

    fn waiting(&mut self) -> bool {
        self.waited += 1;
        let told = self.retrieval.tell(self.association, &mut self.tally, self.waited.is_multiple_of(REMINDED));
        self.kept(told)
    }
}

/// The instances that an identifier names, in the order of studies, series and instance numbers.
fn rows(index: &dyn Index, view: View, level: Level, identifier: &Attributes) -> Result<Vec<InstanceRow>, Refusal> {
    let uids_of = |tag| -> Result<Vec<Uid>, Refusal> {
        let wrong = |_| Refusal(Status::DataSetMismatch, format!("{tag} holds what is no UID"));
        identifier.texts(tag).iter().map(|t| t.trim()).filter(|t| !t.is_empty()).map(|t| Uid::parse(t).map_err(wrong)).collect()
    };
    let needed = |tag, name: &str| {
        let found = uids_of(tag)?;
        if found.is_empty() { Err(Refusal(Status::DataSetMismatch, format!("{name} {tag} is missing"))) } else { Ok(found) }
    };
    let studies = match level {
        Level::Patient => studies_of_patient(index, view, identifier)?,
        Level::Study => needed(tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
        Level::Series | Level::Image => uids_of(tags::STUDY_INSTANCE_UID)?,
    };
    let mut found = Vec::new();
    match level {
        Level::Patient | Level::Study => {
            for study in &studies {
                found.extend(index.named(view, study, None, None)?);
            }
        }
        Level::Series => {
            for series in needed(tags::SERIES_INSTANCE_UID, "Series Instance UID")? {
                for study in studies_or(&studies, || studies_with(index, view, &series))? {
                    found.extend(index.named(view, &study, Some(&series), None)?);
                }
            }
        }
        Level::Image => {
            let series = uids_of(tags::SERIES_INSTANCE_UID)?;
            for instance in needed(tags::SOP_INSTANCE_UID, "SOP Instance UID")? {
                let Some(row) = index.instance(&instance)? else { continue };
                let wanted =
                    (studies.is_empty() || studies.contains(&row.study)) && (series.is_empty() || series.contains(&row.series));
                if wanted {
                    found.extend(index.named(view, &row.study, Some(&row.series), Some(&instance))?);
                }
            }
        }
    }
    // What is named twice goes out once.
    let mut known = std::collections::BTreeSet::new();
    found.retain(|row| known.insert(row.sop_instance.clone()));
    Ok(found)
}

fn studies_or(named: &[Uid], found: impl FnOnce() -> Result<Vec<Uid>, IndexError>) -> Result<Vec<Uid>, IndexError> {
    if named.is_empty() { found() } else { Ok(named.to_vec()) }
}

/// A relational retrieval names no study (PS3.4 C.4.2.2.2).
fn studies_with(index: &dyn Index, view: View, series: &Uid) -> Result<Vec<Uid>, IndexError> {
    let keys = vec![Key::of(tags::SERIES_INSTANCE_UID, series.to_string())];
    let page = index.series(&Query { keys, limit: 1, ..Query::all(view) })?;
    Ok(page.rows.into_iter().map(|(study, _)| study.study).collect())
}

fn studies_of_patient(index: &dyn Index, view: View, identifier: &Attributes) -> Result<Vec<Uid>, Refusal> {
    let patient = identifier.text(tags::PATIENT_ID).map(str::trim).unwrap_or_default();
    if patient.is_empty() || patient.contains(['*', '?']) {
        return Err(Refusal(Status::DataSetMismatch, "Patient ID (0010,0020) must be one value without wildcards".into()));
    }
    let query = Query { keys: vec![Key::of(tags::PATIENT_ID, patient)], ..Query::all(view) };
    Ok(index.studies(&query)?.rows.into_iter().map(|row| row.study).collect())
}
