//! From a settled study to its verdict.

use super::pixels::{self, Look, Picture, Seen};
use super::reports::reports;
use super::{JobError, Shop, aside, decodable, send, withdraw};
use crate::dicom::{Attributes, Uid, syntax, tags};
use crate::exam::classify::Classification;
use crate::exam::facts::StudyFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::exam::lifecycle::{Event, State, step};
use crate::exam::quality::calibrated::{self, Measure};
use crate::exam::quality::pixels::{g06_twice, m09_contrast};
use crate::exam::quality::{self, identity};
use crate::exam::report as exam_report;
use crate::exam::ruling::{self, Ruling};
use crate::exam::verdict::{self, Outcome, Verdict};
use crate::exam::{classify, complete};
use crate::exchange::entitled::devices;
use crate::exchange::register::Exam;
use crate::index::{InstanceRow, Job, JobKind, Recognised, SeriesRow, StudyRow, Transition};
use crate::ingest::{china_now, now_ms};
use crate::journal::Event as Record;
use crate::procedure::Region;
use crate::report::{self, Contents, Whole};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Does an assess job.
pub(super) fn run(shop: &Shop, job: &Job) -> Result<(), JobError> {
    let Some(study) = shop.index.study(&job.study)? else { return Ok(shop.index.reschedule(job, None)?) };
    if study.revision != job.revision {
        return Ok(());
    }
    // Settled first: a crash from here on finds the study settled and the job still there.
    let state = if study.state == State::Receiving { step(study.state, Event::Quiet)? } else { State::Settled };
    if !transition(shop, job, state, None, None, None)? {
        return Ok(());
    }
    let contents = shop.index.contents(&job.study)?;
    let known = shop.journal.known_of(job.study.as_str());
    let register = shop.register.current();
    let verdict = assess(shop, &study, &contents, &Scope::default())?;
    let state = step(state, Event::Assessed(verdict.outcome))?;
    let next = (verdict.outcome == Outcome::Accept).then(|| Job {
        kind: JobKind::Render,
        study: job.study.clone(),
        revision: job.revision,
        due_ms: now_ms(),
        attempts: 0,
    });
    let recognised = (verdict.outcome != Outcome::Accept).then(Recognised::default);
    if verdict.outcome != Outcome::Accept {
        send::forward_judged(shop, &study, &verdict)?;
    }
    let record = Record::Judged {
        study: job.study.to_string(),
        revision: job.revision,
        outcome: format!("{:?}", verdict.outcome).to_lowercase(),
        items: verdict.accepted().map(|i| i.number).collect(),
        procedures: verdict.procedures.clone(),
    };
    let outcome = verdict.outcome;
    let why: Vec<String> =
        verdict.items.iter().flat_map(|i| &i.grounds).chain(&verdict.grounds).map(|g| g.code.clone()).collect();
    if transition(shop, job, state, Some(verdict), recognised, Some(next))? {
        shop.journal.append(record, now_ms(), true)?;
        if outcome != Outcome::Accept && study.recognised.instances > 0 {
            withdraw::record(shop, &study, study.recognised.instances, &why.join(","));
        }
        metrics::counter!("hutong_verdicts_total", "outcome" => format!("{outcome:?}").to_lowercase()).increment(1);
        tracing::info!(study = %job.study, revision = job.revision, outcome = ?outcome, "verdict reached");
        // A ruling, a finished step or a register that came meanwhile asked for this job too, which is done now without it.
        let same = Arc::ptr_eq(&register, &shop.register.current());
        if !same || shop.journal.known_of(job.study.as_str()) != known {
            shop.ingest.judge_again(&job.study, false)?;
        }
    }
    Ok(())
}

/// Applies a step; `next` given means that the job is done.
fn transition(
    shop: &Shop,
    job: &Job,
    state: State,
    verdict: Option<Verdict>,
    recognised: Option<Recognised>,
    next: Option<Option<Job>>,
) -> Result<bool, crate::index::IndexError> {
    shop.index.transition(&Transition {
        study: job.study.clone(),
        revision: job.revision,
        state,
        verdict,
        recognised,
        done: next.is_some().then_some(job.kind),
        next: next.flatten(),
    })
}

/// How much of a study is looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Look at every image, not only at those that carry an item: for a person who asks what is wrong with files.
    pub everything: bool,
    /// Judge by the list in force on this day (`YYYYMMDD`) where none was on the exam date.
    pub otherwise: Option<String>,
}

/// A study taken apart for judging.
struct Case<'a> {
    shop: &'a Shop,
    scope: &'a Scope,
    originals: &'a Contents,
    whole: &'a [Whole],
    region: Option<&'a Region>,
    facts: StudyFacts,
    classification: Classification,
    /// Series that a person names for an item: they are looked at like those that carry one.
    ruled: BTreeSet<Uid>,
}

/// Judges a study as it is stored now.
///
/// # Errors
/// Decoders cannot be run: the verdict must wait.
pub fn assess(shop: &Shop, study: &StudyRow, contents: &Contents, scope: &Scope) -> Result<Verdict, JobError> {
    let (originals, set_aside) = aside::set_aside(report::originals(contents));
    let exam = exam_date(study);
    let otherwise = || scope.otherwise.clone().filter(|_| shop.procedures.region_for(&exam).is_none());
    let date = otherwise().unwrap_or(exam);
    let region = shop.procedures.region_for(&date);
    let whole: Vec<Whole> = originals.iter().map(|(series, rows)| Whole::read(&shop.store, series, rows)).collect();
    let mut facts = report::facts(study, &originals, &whole);
    let journal = &shop.journal;
    let uid = study.study.as_str();
    let here = |uid: &str| originals.iter().any(|(series, _)| series.series.as_str() == uid);
    for ((series, _), known) in originals.iter().zip(&mut facts.series) {
        known.repetition_ms = series.said.repetition_ms();
    }
    let absent = announce(&mut facts, &originals, journal.announced(uid, here), &journal.named(uid));
    let classification = region.map(|r| classify::classify(r, &shop.procedures, &facts)).unwrap_or_default();
    let (rulings, contents) = (rulings(shop, &study.study), digest(&originals));
    let accepting = |r: &&Ruling| r.outcome == Outcome::Accept;
    let ruled = ruling::standing(&rulings, &contents).into_iter().filter(accepting).flat_map(|r| r.series.clone()).collect();
    let case = Case { shop, scope, originals: &originals, whole: &whole, region, facts, classification, ruled };
    let mut findings = case.by_headers(study);
    findings.extend(absent);
    findings.extend(missed(shop, &study.study, &originals)?);
    findings.extend(set_aside);
    if let Some(region) = region {
        findings.extend(exam_report::check(&reports(&shop.store, &originals), &case.classification.recognised, region));
    }
    findings.extend(originals.iter().filter_map(|(series, _)| mixed(series)));
    let (by_pixels, measures) = case.by_pixels()?;
    findings.extend(by_pixels);
    let register = shop.register.current();
    let producer = register.producer_of_all(&study.sources);
    let hospital = producer.as_ref().ok().copied();
    let accredited = |one: &classify::Recognised| {
        let category = region.and_then(|r| r.item(one.item)).map_or("", |i| i.category.as_str());
        let devices = devices(originals.iter().map(|(series, _)| series), &one.series);
        producer?.accredited(Exam { category, item: one.item, devices: Some(&devices) }, &date)
    };
    Ok(verdict::judge(verdict::Input {
        study: &study.study,
        revision: study.revision,
        region,
        procedures: &shop.procedures.digest,
        hospital: hospital.map(|h| h.code.clone()),
        classification: case.classification,
        findings,
        accredited: &accredited,
        measures,
        contents,
        rulings: &rulings,
    }))
}

/// Notes in the facts how many objects the modality announced; a finding for each series of which none came.
fn announce(
    facts: &mut StudyFacts,
    originals: &Contents,
    mut announced: BTreeMap<String, usize>,
    named: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Finding> {
    for (series, (_, rows)) in facts.series.iter_mut().zip(originals) {
        let Some(expected) = announced.remove(series.uid.as_str()) else { continue };
        // By name where the step names them all: another image in the place of a lost one does not make up for it.
        let names = named.get(series.uid.as_str()).filter(|names| names.len() >= expected);
        let is_named = |row: &&InstanceRow| names.is_none_or(|names| names.contains(row.sop_instance.as_str()));
        series.announced = Some((expected, rows.iter().filter(is_named).count()));
    }
    announced.values().filter(|n| **n > 0).map(|n| complete::fewer(*n, 0)).collect()
}

/// C-07: objects that the sender asked to have committed and that are still not here.
fn missed(shop: &Shop, study: &Uid, originals: &Contents) -> Result<Option<Finding>, JobError> {
    let mut missing = 0;
    for uid in shop.journal.missed(study.as_str()).iter().filter_map(|uid| Uid::parse(uid).ok()) {
        missing += usize::from(shop.index.instance(&uid)?.is_none());
    }
    let here = originals.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    Ok((missing > 0).then(|| complete::fewer(here + missing, here)))
}

/// Images of one series that say different things: rules go by what the first one says, so a person must look.
fn mixed(series: &SeriesRow) -> Option<Finding> {
    let named = series.said.mixed();
    (!named.is_empty()).then(|| {
        Finding::new(
            "SERIES_MIXED",
            Level::Review,
            format!("同一序列的图像属性不一致（{}），请核对或分成不同序列发送", named.join("、")),
            format!("images of one series differ in {}; check them, or send them as series of their own", named.join(", ")),
        )
        .in_series(&series.series)
    })
}

/// Images of which nobody says what device made them.
fn is_without_modality(series: &SeriesRow, rows: &[InstanceRow]) -> bool {
    series.attributes.text(tags::MODALITY).is_none() && rows.iter().any(|row| row.attributes.has(tags::ROWS))
}

/// One digest for all original images of a study, whatever order they came in.
fn digest(originals: &Contents) -> String {
    let rows = originals.iter().flat_map(|(_, rows)| rows);
    let mut lines: Vec<String> = rows.map(|r| format!("{} {}\n", r.sop_instance, r.sha256)).collect();
    lines.sort();
    Sha256::digest(lines.concat()).iter().map(|b| format!("{b:02x}")).collect()
}

/// What the journal says that persons ruled.
fn rulings(shop: &Shop, study: &Uid) -> Vec<Ruling> {
    let read = |(at_ms, ruling): (i64, serde_json::Value)| {
        serde_json::from_value::<Ruling>(ruling).ok().map(|ruling| Ruling { at_ms, ..ruling })
    };
    shop.journal.rulings(study.as_str()).into_iter().filter_map(read).collect()
}

impl Case<'_> {
    /// Identity, completeness and the checks of headers.
    fn by_headers(&self, study: &StudyRow) -> Vec<Finding> {
        let limits = &self.shop.procedures.quality;
        let recognised = &self.classification.recognised;
        let today = today();
        let dates = [
            tags::SERIES_DATE,
            tags::ACQUISITION_DATE,
            tags::CONTENT_DATE,
            tags::ACQUISITION_DATE_TIME,
            tags::FRAME_ACQUISITION_DATE_TIME,
            tags::FRAME_REFERENCE_DATE_TIME,
        ];
        let own = |whole: &Whole| -> BTreeSet<String> {
            let all = std::iter::once(&whole.attributes).chain(&whole.images);
            // Of a date with a time the date.
            let day = |text: &str| text.trim().chars().filter(|c| *c != '.').take(8).collect::<String>();
            all.flat_map(|a| dates.iter().filter_map(|tag| a.text(*tag)).map(day)).filter(|d| !d.is_empty()).collect()
        };
        let of_series = self.originals.iter().flat_map(|(series, _)| series.said.series_dates());
        let dates = self.whole.iter().flat_map(own).chain(of_series).collect();
        let register = self.shop.register.current();
        let patient = identity::Input {
            study: &study.attributes,
            said: &study.said,
            without_modality: self.originals.iter().filter(|(s, rows)| is_without_modality(s, rows)).count(),
            today: &today,
            hospital_known: register.producer_of_all(&study.sources).is_ok(),
            // Damaged notes are no order: then there is nothing to compare with.
            ordered: self.shop.store.orders().read(study.study.as_str()).ok().flatten(),
            dates,
        };
        let mut findings = identity::check(&patient, &limits.identity);
        findings.extend(complete::check(&self.facts, recognised, self.region, &limits.completeness));
        let described = self.originals.iter().zip(self.whole).zip(&self.facts.series);
        let series = described.map(|(((series, rows), whole), facts)| quality::Series {
            uid: &series.series,
            facts,
            images: rows.iter().zip(&whole.images).map(|(row, attributes)| header_of(row, attributes)).collect(),
        });
        let everything = self.scope.everything;
        let exam = quality::Exam { recognised, region: self.region, series: series.collect(), limits, everything };
        findings.extend(quality::checks::run(&exam));
        findings
    }

    /// The checks of pixels, of the images that carry an item or of all; and what was measured of them.
    fn by_pixels(&self) -> Result<(Vec<Finding>, Vec<Measure>), JobError> {
        let procedures = &self.shop.procedures;
        let (mut all, mut measured, mut frames_of) = (Vec::new(), Vec::new(), Vec::new());
        for (((series, rows), whole), facts) in self.originals.iter().zip(self.whole).zip(&self.facts.series) {
            let mut findings: Vec<Finding> = Vec::new();
            let carried = self.classification.recognised.iter().filter(|r| r.series.contains(&series.series));
            let carries = |row: &InstanceRow| {
                let own = carried.clone().any(|r| r.images.is_empty() || r.images.contains(&row.sop_instance));
                own || self.ruled.contains(&series.series) || (self.scope.everything && row.attributes.has(tags::ROWS))
            };
            let modality = series.attributes.text(tags::MODALITY).unwrap_or("");
            let frames = |n: usize| whole.frames.get(n).map_or(&[][..], Vec::as_slice);
            let count: usize = (0..rows.len()).map(|n| frames(n).len().max(1)).sum();
            let limits = &procedures.quality;
            let items: Vec<u32> = carried.clone().map(|r| r.item).collect();
            let of = |wanted: &dyn Fn(&String) -> bool| {
                items.iter().filter_map(|item| self.region?.item(*item)).any(|item| item.region.iter().any(wanted))
            };
            let limb = of(&|concept| limits.pixels.limbs.contains(concept));
            let look = Look { shop: self.shop, modality, limits, limb, every: pixels::every(count, limits) };
            let mut before = 0;
            let mut pictures = Vec::new();
            let own: Vec<(usize, &InstanceRow)> = rows.iter().enumerate().filter(|(_, row)| carries(row)).collect();
            let is_video = |row: &InstanceRow| syntax::is_video(&row.transfer_syntax);
            let stills = own.iter().any(|(_, row)| !is_video(row));
            let videos = own.iter().filter(|(_, row)| is_video(row)).count();
            let is_still = |uid: &Uid| own.iter().any(|(_, row)| row.sop_instance == *uid && !is_video(row));
            // In the place of a slice, or of many of them, it is no addition.
            let replaces = |uid: &Uid| {
                let inside = |stack: &Stack| {
                    let at = stack.slices.iter().position(|slice| slice == uid);
                    at.is_some_and(|n| stack.slices.iter().take(n).any(is_still) && stack.slices.iter().skip(n).any(is_still))
                };
                videos * 10 > own.len() || facts.stacks.iter().any(inside)
            };
            for (n, row) in own.iter().copied() {
                if stills && is_video(row) {
                    let level = if replaces(&row.sop_instance) { Level::Reject } else { Level::Info };
                    findings.push(decodable::video(level).in_series(&row.series).at(&row.sop_instance));
                    continue;
                }
                let image = whole.images.get(n).unwrap_or(&row.attributes);
                pictures.push(Picture { row, image, frames: frames(n), before });
                before += frames(n).len().max(1);
            }
            let mut seen = Seen::of(modality, limits);
            for (picture, looked) in pictures.iter().zip(look.at_all(&pictures)) {
                findings.extend(seen.take(picture.row, looked?));
            }
            let judged = seen.judge(&facts.stacks, of(&|concept| concept == "head"));
            findings.extend(judged.into_iter().map(|f| f.in_series(&series.series)));
            let measures = calibrated::measures(&series.series, &series.attributes, &items, seen.perceived(), &whole.images);
            findings.extend(calibrated::judge(modality, &measures, &procedures.calibration));
            measured.extend(measures);
            // Of a series that carries no item nothing is marked: beside one that does its faults only warn.
            let extra = items.is_empty() && !self.classification.recognised.is_empty() && !self.ruled.contains(&series.series);
            let weighed = |f: Finding| if extra { Finding { level: f.level.min(Level::Warn), ..f } } else { f };
            all.extend(findings.into_iter().map(weighed));
            frames_of.push((series.series.clone(), seen.into_frames()));
        }
        let mut findings = all;
        findings.extend(g06_twice::shared(&frames_of));
        let recognised = &self.classification.recognised;
        findings.extend(m09_contrast::check(recognised, &self.facts.series, &measured, &procedures.quality.perception));
        Ok((findings, measured))
    }
}

fn header_of<'a>(row: &'a InstanceRow, attributes: &'a Attributes) -> quality::Image<'a> {
    quality::Image { uid: &row.sop_instance, attributes, transfer_syntax: &row.transfer_syntax }
}

/// The exam date, which picks the edition: `YYYYMMDD` however it was written; empty where there is none.
pub fn exam_date(study: &StudyRow) -> String {
    study.attributes.text(tags::STUDY_DATE).unwrap_or("").chars().filter(char::is_ascii_digit).collect()
}

/// Today: `YYYYMMDD`.
pub fn today() -> String {
    china_now().0
}
