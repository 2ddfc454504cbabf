//! Modality Performed Procedure Step (PS3.4 annex F): what the modality says it has made, series by series. Kept in the journal; a
//! finished step tells the completeness checks how many objects to expect (C-07). Whom it was ordered for (G-13) is kept beside the images;
//! the journal never has a patient's data.

use crate::dicom::dataset::{self, DataSet, Limits, Streaming};
use crate::dicom::{Syntax, Uid, tags};
use crate::dimse::{Command, Context, DataReader, Status};
use crate::exam::quality::identity::Ordered;
use crate::ingest::{Ingest, now_ms};
use crate::journal::{Event, Journal, Step};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// Longest data set of a step, bytes: a step names UIDs by the thousand, no pixels.
const LONGEST: u64 = 16 << 20;

/// Answers N-CREATE-RQ and N-SET-RQ. None when the connection broke meanwhile.
pub fn answer(
    ingest: &Ingest,
    store: &Store,
    journal: &Journal,
    context: &Context,
    peer: &str,
    request: &Command,
    mut data: DataReader<'_>,
) -> Option<Command> {
    let limits = Limits { value: 1 << 16, stop_at_pixels: false, partial: false, total: None };
    let read = dataset::parse(&mut Streaming::new(&mut data, LONGEST), Syntax::of(&context.transfer_syntax), limits);
    if data.failed() {
        return None;
    }
    data.finish().ok()?;
    let refused = |status: Status, why: &str| {
        tracing::warn!(peer, status = format!("{:04X}", status.code()), why, "performed procedure step refused");
        Some(request.response(status).with_comment(why))
    };
    let Ok(parsed) = read else { return refused(Status::ProcessingFailure, "the data set cannot be read") };
    let Some(uid) = request.any_sop_instance().and_then(|uid| Uid::parse(&uid).ok()) else {
        return refused(Status::InvalidInstance, "SOP Instance UID is missing or malformed");
    };
    let known = journal.step(uid.as_str());
    let step = if request.is_create() { create(&parsed.data_set, known) } else { set(&parsed.data_set, known) };
    let step = match step {
        Ok(step) => step,
        Err((status, why)) => return refused(status, why),
    };
    let (studies, done): (Vec<String>, bool) = (step.studies().cloned().collect(), step.is_final());
    // Before the step itself: the images come as soon as it is answered.
    let ordered = |study: &String| store.orders().save(study, &Ordered::of_step(&parsed.data_set, study));
    if request.is_create()
        && let Err(e) = studies.iter().try_for_each(ordered)
    {
        tracing::error!(error = %e, "whom a step was ordered for cannot be kept");
        return refused(Status::ProcessingFailure, "the step cannot be kept; send it again");
    }
    if let Err(e) = journal.append(Event::Performed { uid: uid.to_string(), step }, now_ms(), true) {
        tracing::error!(error = %e, "the journal cannot be written");
        return refused(Status::ProcessingFailure, "the step cannot be kept; send it again");
    }
    for study in studies.iter().filter(|_| done).filter_map(|study| Uid::parse(study).ok()) {
        if let Err(e) = ingest
            .judge_again(&study, false)
            .and_then(|()| ingest.settle(&study, &|here| journal.announced(study.as_str(), here)))
        {
            tracing::warn!(study = %study, error = %e, "a finished step does not lead to another judgement");
        }
    }
    Some(request.response(Status::Success))
}

type Refusal = (Status, &'static str);

/// A new step: it must begin in progress (PS3.4 F.7.2.1.2).
fn create(data: &DataSet, known: Option<Step>) -> Result<Step, Refusal> {
    if known.is_some() {
        return Err((Status::DuplicateStep, "this step was created before"));
    }
    let status = data.text(tags::PERFORMED_PROCEDURE_STEP_STATUS).unwrap_or_default();
    if status.trim() != "IN PROGRESS" {
        return Err((Status::InvalidValue, "a step is created with the status IN PROGRESS"));
    }
    let scheduled = data.items(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE);
    let named = scheduled.iter().filter_map(|item| item.text(tags::STUDY_INSTANCE_UID)).filter_map(|uid| Uid::parse(&uid).ok());
    let mut studies = named.map(|uid| uid.to_string()).collect::<BTreeSet<_>>().into_iter();
    let Some(study) = studies.next() else {
        return Err((Status::MissingAttribute, "Study Instance UID of the scheduled step is missing"));
    };
    let (series, instances) = series(data);
    Ok(Step { study, others: studies.collect(), status: status.trim().into(), series, instances })
}

/// A change of a step in progress; a final one changes no more (PS3.4 F.7.2.2.2).
fn set(data: &DataSet, known: Option<Step>) -> Result<Step, Refusal> {
    let Some(mut step) = known else { return Err((Status::NoSuchInstance, "this step was never created")) };
    if step.is_final() {
        return Err((Status::ProcessingFailure, "the step is final and may no longer be updated"));
    }
    if let Some(status) = data.text(tags::PERFORMED_PROCEDURE_STEP_STATUS) {
        if !["IN PROGRESS", "COMPLETED", "DISCONTINUED"].contains(&status.trim()) {
            return Err((Status::InvalidValue, "no status of a performed procedure step"));
        }
        step.status = status.trim().into();
    }
    if !data.items(tags::PERFORMED_SERIES_SEQUENCE).is_empty() {
        (step.series, step.instances) = series(data);
    }
    Ok(step)
}

/// How many images each series was said to have, and which.
fn series(data: &DataSet) -> (BTreeMap<String, usize>, BTreeMap<String, BTreeSet<String>>) {
    let (mut found, mut named) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for item in data.items(tags::PERFORMED_SERIES_SEQUENCE) {
        let Some(uid) = item.text(tags::SERIES_INSTANCE_UID).and_then(|uid| Uid::parse(&uid).ok()) else { continue };
        // Dose reports and the like are often sent elsewhere: only images are waited for.
        let images = item.items(tags::REFERENCED_IMAGE_SEQUENCE);
        *found.entry(uid.to_string()).or_default() += images.len();
        let uids =
            images.iter().filter_map(|i| i.text(tags::REFERENCED_SOP_INSTANCE_UID)).filter_map(|t| Uid::parse(t.trim()).ok());
        named.entry(uid.to_string()).or_default().extend(uids.map(|uid| uid.to_string()));
    }
    (found, named)
}
