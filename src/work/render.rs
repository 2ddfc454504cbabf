//! Writes the marked copies that a verdict asks for.

use super::{JobError, Shop, withdraw};
use crate::dicom::stamp::Kind;
use crate::dicom::uids;
use crate::exam::lifecycle::{Event, State, step};
use crate::exam::verdict::Verdict;
use crate::index::{InstanceRow, Job, Recognised, Transition};
use crate::ingest::{Announced, Failed, IngestError, now_ms};
use crate::journal::Event as Record;
use crate::mark::{Form, derive};
use crate::procedure::catalogue::Mark;
use crate::retrieve::{NoCopy, ObjectError, marked_copy};

/// Does a render job. Each copy has a UID of its own that depends on the source alone: doing it twice changes nothing.
pub(super) fn run(shop: &Shop, job: &Job) -> Result<(), JobError> {
    let (Some(study), Some(verdict)) = (shop.index.study(&job.study)?, shop.index.verdict(&job.study)?) else {
        return Ok(shop.index.reschedule(job, None)?);
    };
    if study.revision != job.revision || verdict.revision != job.revision {
        return Ok(shop.index.reschedule(job, None)?);
    }
    let region = verdict
        .region
        .as_ref()
        .and_then(|(code, edition)| shop.procedures.regions.iter().find(|r| r.code == *code && r.edition == *edition));
    let region = region.ok_or(JobError::NoRegion)?;
    let mut recognised = Recognised::default();
    if region.mark.is_burnt() {
        for (series, rows) in &shop.index.contents(&job.study)? {
            let single = verdict.accepted().any(|i| i.series.contains(&series.series) && !i.images.is_empty());
            for row in rows.iter().filter(|r| r.is_original() && verdict.marks(&series.series, &r.sop_instance)) {
                match render(shop, row, &region.mark, job.revision) {
                    Ok(()) => {}
                    Err(RenderError::Ours(e)) => return Err(e),
                    Err(RenderError::Images(why)) => return give_up(shop, job, study.state, verdict.clone(), &why),
                }
                let copies =
                    recognised.series.entry(derive::series_uid(&series.series, &region.mark, Form::Burnt)).or_default();
                if single {
                    copies.insert(derive::instance_uid(&source_of(row), &region.mark, Form::Burnt));
                }
                recognised.instances += 1;
            }
        }
    }
    let applied = shop.index.transition(&Transition {
        study: job.study.clone(),
        revision: job.revision,
        state: step(study.state, Event::Rendered)?,
        verdict: None,
        recognised: Some(recognised.clone()),
        done: Some(job.kind),
        next: None,
    })?;
    if applied {
        let record = Record::Marked { study: job.study.to_string(), revision: job.revision, instances: recognised.instances };
        shop.journal.append(record, now_ms(), true)?;
        let gone = study.recognised.series.keys().filter(|s| !recognised.series.contains_key(s)).count();
        if gone > 0 {
            let copies = study.recognised.instances.saturating_sub(recognised.instances);
            withdraw::record(shop, &study, copies, "NOT_RECOGNISED");
        }
        tracing::info!(study = %job.study, instances = recognised.instances, "marked copies are stored");
    }
    Ok(())
}

/// The images themselves cannot be marked: nothing is recognised, and a person decides.
fn give_up(shop: &Shop, job: &Job, state: State, verdict: Verdict, why: &str) -> Result<(), JobError> {
    tracing::warn!(study = %job.study, why, "a mark cannot be burnt; the study waits for a person");
    shop.index.transition(&Transition {
        study: job.study.clone(),
        revision: job.revision,
        state: step(state, Event::Unmarkable)?,
        verdict: Some(verdict.unmarkable(why)),
        recognised: Some(Recognised::default()),
        done: Some(job.kind),
        next: None,
    })?;
    Ok(())
}

fn source_of(row: &InstanceRow) -> derive::Source<'_> {
    derive::Source {
        sop_class: &row.sop_class,
        sop_instance: &row.sop_instance,
        named: true,
        series: &row.series,
        sha256: &row.sha256,
        lost: None,
    }
}

enum RenderError {
    /// To be tried again.
    Ours(JobError),
    /// Trying again will not help.
    Images(String),
}

fn render(shop: &Shop, row: &InstanceRow, mark: &Mark, revision: u64) -> Result<(), RenderError> {
    let uid = derive::instance_uid(&source_of(row), mark, Form::Burnt);
    if let Some(known) = shop.index.instance(&uid).map_err(|e| RenderError::Ours(e.into()))? {
        let ours =
            matches!(&known.kind, Kind::Marked { source, .. } if *source == row.sop_instance) && known.study == row.study;
        // Whoever sent an object under the copy's UID has not made it the copy.
        return if ours {
            Ok(())
        } else {
            Err(RenderError::Images("another object is stored under the UID of the marked copy".into()))
        };
    }
    match write(shop, row, mark, revision, shop.output) {
        // A later frame that the wanted syntax cannot hold: the whole copy without compression.
        Err(RenderError::Images(_)) if shop.output != uids::EXPLICIT_VR_LITTLE_ENDIAN => {
            write(shop, row, mark, revision, uids::EXPLICIT_VR_LITTLE_ENDIAN)
        }
        other => other,
    }
}

fn write(shop: &Shop, row: &InstanceRow, mark: &Mark, revision: u64, output: &'static str) -> Result<(), RenderError> {
    let mut copy = marked_copy(&shop.store, row, mark, output, &shop.pool).map_err(|e| match e {
        NoCopy::Decode(e) if e.is_ours() => RenderError::Ours(e.into()),
        NoCopy::Object(ObjectError::Io(e)) => RenderError::Ours(e.into()),
        other => RenderError::Images(other.to_string()),
    })?;
    let announced = Announced {
        transfer_syntax: copy.transfer_syntax,
        identity: None,
        sender: "HUTONG",
        kind: Kind::Marked { source: row.sop_instance.clone(), revision },
    };
    match shop.ingest.receive(&announced, &mut copy) {
        Ok(_) => Ok(()),
        Err(IngestError::Refused(e)) => Err(RenderError::Images(e.to_string())),
        // A later frame that does not decode ends the stream; the first one was tried before.
        Err(IngestError::Failed(Failed::Stream(e))) => Err(RenderError::Images(e.to_string())),
        Err(IngestError::Failed(e)) => Err(RenderError::Ours(e.into())),
    }
}
