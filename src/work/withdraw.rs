//! Withdrawal (撤回): marked copies that must not be shown any more leave the exchange view at once, and the journal says why.
//!
//! Never deletes a copy: a verdict that recognises it again shows it again.

use super::{Shop, exam_date};
use crate::dicom::Uid;
use crate::exam::verdict::{ItemVerdict, NotAccredited, Outcome, Verdict};
use crate::exchange::entitled::devices;
use crate::exchange::register::{Exam, Hospital, Register};
use crate::index::{IndexError, Query, StudyRow, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the register's file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Studies that are looked at in one go.
const PAGE: usize = 2_000;

/// Follows the register until it is told to stop; the first look is at what changed while the node was down.
pub(super) fn follow(shop: &Shop, stopping: &AtomicBool) {
    let mut changed = Ok(true);
    while !stopping.load(Ordering::Relaxed) {
        match &changed {
            Ok(true) => {
                if let Err(e) = sweep(shop, stopping) {
                    tracing::error!(error = %e, "studies cannot be held against the register; it is tried again");
                    std::thread::sleep(LOOK);
                    continue;
                }
            }
            Ok(false) => {}
            Err(e) => tracing::error!(error = e, "exchange.register does not read; what it said before still holds"),
        }
        if shop.register.take_edited() {
            let digest = Sha256::digest(shop.register.text().unwrap_or_default());
            let digest = digest.iter().map(|b| format!("{b:02x}")).collect();
            if let Err(e) = shop.journal.append(Event::RegisterChanged { by: "file".into(), digest }, now_ms(), true) {
                tracing::error!(error = %e, "the journal cannot be written");
            }
        }
        let was_wrong = changed.is_err();
        std::thread::sleep(LOOK);
        changed = shop.register.reread();
        // A file that stays wrong is reported once.
        while was_wrong && changed.is_err() && !stopping.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            changed = shop.register.reread();
        }
    }
}

/// Holds every judged study against the register as it is now.
fn sweep(shop: &Shop, stopping: &AtomicBool) -> Result<(), IndexError> {
    let register = shop.register.current();
    for offset in (0..).step_by(PAGE) {
        let query = Query { offset, limit: PAGE, ..Query::all(View::House) };
        let page = shop.index.studies(&query)?;
        for study in &page.rows {
            if stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            let verdict = shop.index.verdict(&study.study)?.filter(|v| v.revision == study.revision);
            let Some(verdict) = verdict else { continue };
            match standing(shop, &register, study, &verdict)? {
                Standing::Lost(why) if study.recognised.instances > 0 => withdraw(shop, study, &why.code())?,
                // Copies that are being written now: the new verdict comes before or after them, and counts either way.
                Standing::Lost(_) if verdict.outcome == Outcome::Accept => shop.ingest.judge_again(&study.study, false)?,
                Standing::Gained => shop.ingest.judge_again(&study.study, false)?,
                Standing::Lost(_) | Standing::Same => {}
            }
        }
        if page.more == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// What the register means for a verdict.
enum Standing {
    /// An accepted item is not covered any more.
    Lost(NotAccredited),
    /// An item that was not covered is now.
    Gained,
    Same,
}

fn standing(shop: &Shop, register: &Register, study: &StudyRow, verdict: &Verdict) -> Result<Standing, IndexError> {
    let region = verdict.region.as_ref().and_then(|(code, edition)| shop.procedures.region(code, edition));
    let date = exam_date(study);
    let by_device = register.producer_of_all(&study.sources).is_ok_and(Hospital::is_assessed_by_device);
    let contents = if by_device { shop.index.contents(&study.study)? } else { Vec::new() };
    let covered = |item: &ItemVerdict| {
        let category = region.and_then(|r| r.item(item.number)).map_or("", |i| i.category.as_str());
        let devices = devices(contents.iter().map(|(series, _)| series), &item.series);
        let asked = Exam { category, item: item.number, devices: Some(&devices) };
        register.producer_of_all(&study.sources)?.accredited(asked, &date)
    };
    if let Some(why) = verdict.accepted().find_map(|i| covered(i).err()) {
        return Ok(Standing::Lost(why));
    }
    let uncovered = verdict.items.iter().filter(|i| i.grounds.iter().any(|g| NotAccredited::is_ground(&g.code)));
    Ok(if uncovered.into_iter().any(|i| covered(i).is_ok()) { Standing::Gained } else { Standing::Same })
}

/// Holds a study whose copies were just shown against the register as it is by now: it may have changed while they were written.
pub(super) fn look_again(shop: &Shop, study: &Uid) -> Result<(), IndexError> {
    let (Some(row), Some(verdict)) = (shop.index.study(study)?, shop.index.verdict(study)?) else { return Ok(()) };
    match standing(shop, &shop.register.current(), &row, &verdict)? {
        Standing::Lost(why) if row.recognised.instances > 0 => withdraw(shop, &row, &why.code()),
        _ => Ok(()),
    }
}

/// Takes a study's copies out of the exchange view and has it judged again.
pub(super) fn withdraw(shop: &Shop, study: &StudyRow, why: &str) -> Result<(), IndexError> {
    // Into the journal first: what is written twice after a crash in between is better than what is not written at all.
    record(shop, study, study.recognised.instances, why);
    shop.ingest.judge_again(&study.study, true)
}

/// Writes down that copies left the exchange view.
pub(super) fn record(shop: &Shop, study: &StudyRow, copies: u32, why: &str) {
    let event = Event::Withdrawn { study: study.study.to_string(), copies, why: why.into() };
    if let Err(e) = shop.journal.append(event, now_ms(), true) {
        tracing::error!(error = %e, "the journal cannot be written");
    }
    metrics::counter!("hutong_withdrawals_total").increment(1);
    tracing::info!(study = %study.study, copies, why, "marked copies were withdrawn");
}
