//! Writes the marked copies that a verdict asks for.

use super::reports::report_of;
use super::{JobError, Shop, send, withdraw};
use crate::dicom::stamp::Kind;
use crate::dicom::{Uid, tags, uids};
use crate::exam::finding::{Finding, Level};
use crate::exam::lifecycle::{Event, step};
use crate::exam::report::is_report;
use crate::exam::verdict::Verdict;
use crate::index::{InstanceRow, Job, Recognised, StudyRow, Transition};
use crate::ingest::{Announced, Failed, IngestError, now_ms};
use crate::journal::Event as Record;
use crate::mark::refer::{self, Copies, Copy};
use crate::mark::{Form, derive};
use crate::procedure::Region;
use crate::procedure::catalogue::{Mark, ReportRule};
use crate::retrieve::{NoCopy, ObjectError, carried, corner_of, marked_copy, refers, shades_of, source_of};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};

/// Does a render job. Each copy has a UID of its own that depends on the source alone: doing it twice changes nothing.
pub(super) fn run(shop: &Shop, job: &Job) -> Result<(), JobError> {
    let (Some(study), Some(verdict)) = (shop.index.study(&job.study)?, shop.index.verdict(&job.study)?) else {
        return Ok(shop.index.reschedule(job, None)?);
    };
    if study.revision != job.revision || verdict.revision != job.revision {
        return Ok(shop.index.reschedule(job, None)?);
    }
    let region = verdict.region.as_ref().and_then(|(code, edition)| shop.procedures.region(code, edition));
    let region = region.ok_or(JobError::NoRegion)?;
    let made = match copies(shop, job, &verdict, region) {
        Ok(made) => made,
        Err(RenderError::Ours(e)) => return Err(e),
        Err(RenderError::Never(why)) => return give_up(shop, job, &study, verdict, why),
        Err(RenderError::Images(why)) => return give_up(shop, job, &study, verdict, &why),
    };
    let Made { recognised, named, left_out, .. } = made;
    send::forward_judged(shop, &study, &verdict)?;
    // Into the journal before it happens: what is written twice after a crash is better than what is not written at all.
    let replaced = |copy: &Uid| {
        let row = shop.index.instance(copy).ok().flatten();
        let source = row.and_then(|row| if let Kind::Marked { source, .. } = row.kind { Some(source) } else { None });
        source.is_some_and(|source| named.contains_key(source.as_str()))
    };
    let lost = study.recognised.leaves_out(&recognised, replaced);
    if lost {
        withdraw::record(shop, &study, study.recognised.instances.saturating_sub(recognised.instances), "NOT_RECOGNISED");
    }
    let record = Record::Marked { study: job.study.to_string(), revision: job.revision, instances: recognised.instances };
    shop.journal.append(record, now_ms(), true)?;
    let applied = shop.index.transition(&Transition {
        study: job.study.clone(),
        revision: job.revision,
        state: step(study.state, Event::Rendered)?,
        verdict: (!left_out.is_empty()).then(|| verdict.with(left_out)),
        recognised: Some(recognised.clone()),
        done: Some(job.kind),
        next: None,
    })?;
    if applied {
        tracing::info!(study = %job.study, instances = recognised.instances, "marked copies are stored");
        withdraw::look_again(shop, &job.study)?;
    }
    Ok(())
}

/// What was written.
#[derive(Default)]
struct Made {
    recognised: Recognised,
    named: Copies,
    /// Of each series of the study.
    modalities: BTreeMap<Uid, String>,
    /// Objects that refer to images and were not carried over.
    left_out: Vec<Finding>,
}

/// Writes the copies of the images of accepted items, then what refers to them.
fn copies(shop: &Shop, job: &Job, verdict: &Verdict, region: &Region) -> Result<Made, RenderError> {
    let mark = &region.mark;
    let mut made = Made::default();
    if !mark.is_burnt() {
        return Ok(made);
    }
    let contents = shop.index.contents(&job.study).map_err(|e| RenderError::Ours(e.into()))?;
    let mut never = None;
    for (series, rows) in &contents {
        if let Some(modality) = series.attributes.text(tags::MODALITY) {
            made.modalities.insert(series.series.clone(), modality.to_string());
        }
        let single = verdict.accepted().any(|i| i.series.contains(&series.series) && !i.images.is_empty());
        for row in rows.iter().filter(|r| r.is_original() && verdict.marks(&series.series, &r.sop_instance)) {
            match render(shop, row, mark, job.revision) {
                Ok(()) => {}
                Err(RenderError::Never(why)) => {
                    made.left_out.push(not_marked(row, why));
                    never = Some(why);
                    continue;
                }
                Err(e) => return Err(e),
            }
            let side = |tag| row.attributes.int(tag).unwrap_or(0);
            let copy = Copy {
                instance: derive::instance_uid(&source_of(row), mark, Form::Burnt),
                series: derive::series_uid(&series.series, mark, Form::Burnt),
                size: (side(tags::COLUMNS), side(tags::ROWS)),
            };
            let copies = made.recognised.series.entry(copy.series.clone()).or_default();
            if single {
                copies.insert(copy.instance.clone());
            }
            made.recognised.instances += 1;
            made.recognised.modalities.extend(made.modalities.get(&series.series).cloned());
            made.named.insert(row.sop_instance.to_string(), copy);
        }
    }
    if let Some(why) = never.filter(|_| made.recognised.instances == 0) {
        return Err(RenderError::Never(why));
    }
    let originals = contents.iter().flat_map(|(_, rows)| rows).filter(|r| r.is_original());
    if !made.named.is_empty() {
        let carried = originals.filter(|r| refer::is_carried(&r.sop_class));
        let (released, held): (Vec<_>, Vec<_>) = carried.partition(|row| is_released(shop, row, region));
        made.left_out.extend(held.into_iter().map(held_back));
        carry(shop, job, released, mark, &mut made)?;
    }
    Ok(made)
}

/// Where a region publishes verified reports only, no other goes out beside a verified one.
fn is_released(shop: &Shop, row: &InstanceRow, region: &Region) -> bool {
    region.report != ReportRule::Verified || !is_report(&row.sop_class) || report_of(&shop.store, row).verified
}

/// Writes the objects that refer to copies, or to one another, with the copies' names; says which were left out and why.
fn carry(shop: &Shop, job: &Job, mut rows: Vec<&InstanceRow>, mark: &Mark, made: &mut Made) -> Result<(), RenderError> {
    let corner = |named: &str| {
        let row = shop.index.instance(&Uid::parse(named).ok()?).ok()??;
        corner_of(&shop.store, &row, mark, &shop.pool).ok()
    };
    let shades = |named: &str| {
        let row = shop.index.instance(&Uid::parse(named).ok()?).ok()??;
        shades_of(&shop.store, &row, &shop.pool).ok()?
    };
    let images = made.named.clone();
    let mut taken: Vec<&InstanceRow> = Vec::new();
    // What refers to something that is carried is carried too: until nothing more is found.
    loop {
        let before = taken.len();
        let mut rest = Vec::new();
        for row in rows {
            match refers(&shop.store, row, &made.named, &corner, &shades) {
                Ok(true) => {
                    // Its own name stands for the new one until all are known.
                    let copy = Copy { instance: row.sop_instance.clone(), series: row.series.clone(), size: (0, 0) };
                    made.named.insert(row.sop_instance.to_string(), copy);
                    taken.push(row);
                }
                Ok(false) => rest.push(row),
                Err(NoCopy::Object(ObjectError::Io(e))) => return Err(RenderError::Ours(e.into())),
                Err(why) => made.left_out.push(left_out(row, &why)),
            }
        }
        rows = rest;
        if taken.len() == before {
            break;
        }
    }
    // Other images, and other objects beside them, make other objects of them: their names depend on all there are.
    let all = refer::digest(&images, taken.iter().map(|row| &row.sop_instance));
    for row in &taken {
        let (instance, series) = refer::names(&row.sop_instance, &row.series, &all, mark);
        made.named.insert(row.sop_instance.to_string(), Copy { instance, series, size: (0, 0) });
    }
    for row in taken {
        let Some(own) = made.named.get(row.sop_instance.as_str()).cloned() else { continue };
        let known = shop.index.instance(&own.instance).map_err(|e| RenderError::Ours(e.into()))?;
        match known {
            Some(known) if !is_ours(&known, row) => {
                let why = NoCopy::Unsuitable("another object is stored under its UID".into());
                made.left_out.push(left_out(row, &why));
                continue;
            }
            Some(_) => {}
            None => match carried(&shop.store, row, &made.named) {
                Ok(bytes) => receive(shop, row, uids::EXPLICIT_VR_LITTLE_ENDIAN, job.revision, &mut Cursor::new(bytes))?,
                Err(NoCopy::Object(ObjectError::Io(e))) => return Err(RenderError::Ours(e.into())),
                Err(why) => {
                    made.left_out.push(left_out(row, &why));
                    continue;
                }
            },
        }
        made.recognised.series.entry(own.series).or_default().insert(own.instance);
        made.recognised.instances += 1;
        made.recognised.modalities.extend(made.modalities.get(&row.series).cloned());
    }
    Ok(())
}

/// An object of an accepted series that is of a kind that never carries a mark: only the others are offered.
fn not_marked(row: &InstanceRow, why: &str) -> Finding {
    let zh = "该对象（截图、视频、文档等）不加注互认标识，不随标注副本提供";
    let en = format!("an object of the series carries no mark and is not offered: {why}");
    Finding::new("NOT_MARKED", Level::Info, zh, en).in_series(&row.series).at(&row.sop_instance)
}

fn held_back(row: &InstanceRow) -> Finding {
    let zh = "该报告尚未审核，本区域只提供已审核的报告，不随标注副本提供";
    let en = "a report that is not verified is not offered: this region publishes verified ones only";
    Finding::new("REPORT_HELD", Level::Info, zh, en).in_series(&row.series).at(&row.sop_instance)
}

fn left_out(row: &InstanceRow, why: &NoCopy) -> Finding {
    let zh = "引用图像的对象（关键图像、显示状态、报告或分割）未随标注副本提供，请使用原始对象";
    let en = format!("an object that refers to images is not offered with the marked copies: {why}");
    Finding::new("REFERENCE_LEFT_OUT", Level::Info, zh, en).at(&row.sop_instance)
}

/// Whether a stored object is what this node made of a row; whoever sent an object under the copy's UID has not made it the copy.
fn is_ours(known: &InstanceRow, row: &InstanceRow) -> bool {
    matches!(&known.kind, Kind::Marked { source, .. } if *source == row.sop_instance) && known.study == row.study
}

fn receive(
    shop: &Shop,
    row: &InstanceRow,
    transfer_syntax: &str,
    revision: u64,
    data: &mut dyn Read,
) -> Result<(), RenderError> {
    let kind = Kind::Marked { source: row.sop_instance.clone(), revision };
    let announced = Announced { transfer_syntax, identity: None, sender: "HUTONG", kind };
    match shop.ingest.receive(&announced, data) {
        Ok(_) => Ok(()),
        Err(IngestError::Refused(e)) => Err(RenderError::Images(e.to_string())),
        // A later frame that does not decode ends the stream; the first one was tried before.
        Err(IngestError::Failed(Failed::Stream(e))) => Err(RenderError::Images(e.to_string())),
        Err(IngestError::Failed(e)) => Err(RenderError::Ours(e.into())),
    }
}

/// The images themselves cannot be marked: nothing is recognised, and a person decides.
fn give_up(shop: &Shop, job: &Job, study: &StudyRow, verdict: Verdict, why: &str) -> Result<(), JobError> {
    tracing::warn!(study = %job.study, why, "a mark cannot be burnt; the study waits for a person");
    let verdict = verdict.unmarkable(why);
    send::forward_judged(shop, study, &verdict)?;
    // Copies of an earlier revision were shown until now.
    if study.recognised.instances > 0 {
        withdraw::record(shop, study, study.recognised.instances, "NOT_MARKABLE");
    }
    shop.index.transition(&Transition {
        study: job.study.clone(),
        revision: job.revision,
        state: step(study.state, Event::Unmarkable)?,
        verdict: Some(verdict),
        recognised: Some(Recognised::default()),
        done: Some(job.kind),
        next: None,
    })?;
    Ok(())
}

enum RenderError {
    /// To be tried again.
    Ours(JobError),
    /// Trying again will not help.
    Images(String),
    /// Not of a kind that is marked.
    Never(&'static str),
}

fn render(shop: &Shop, row: &InstanceRow, mark: &Mark, revision: u64) -> Result<(), RenderError> {
    let uid = derive::instance_uid(&source_of(row), mark, Form::Burnt);
    if let Some(known) = shop.index.instance(&uid).map_err(|e| RenderError::Ours(e.into()))? {
        return if is_ours(&known, row) {
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
        NoCopy::Never(why) => RenderError::Never(why),
        other => RenderError::Images(other.to_string()),
    })?;
    receive(shop, row, copy.transfer_syntax, revision, &mut copy)
}
