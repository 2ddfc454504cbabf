//! 互认情况统计: what was offered, looked at, used, not used and why (YB 五, FJ 四), from the journal.
//!
//! Never holds a patient: counts only, and small ones are left out of what is published.

use crate::journal::Event;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Counts under this are not published.
const SMALL: u64 = 5;

/// What is counted of one hospital, item or reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Exams that a reminder offered.
    pub offered: u64,
    /// Studies that were retrieved.
    pub viewed: u64,
    /// Used.
    pub accepted: u64,
    /// Not used.
    pub rejected: u64,
    /// Repeated after that.
    pub repeated: u64,
    /// The patient or the family refused a repetition.
    pub refused: u64,
}

/// A period's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// All together.
    pub total: Counts,
    /// By the hospital that made the exam.
    pub by_producer: BTreeMap<String, Counts>,
    /// By the hospital that used it or not.
    pub by_user: BTreeMap<String, Counts>,
    /// By item number.
    pub by_item: BTreeMap<String, Counts>,
    /// By department, with its hospital before it.
    pub by_department: BTreeMap<String, Counts>,
    /// By clinician, with the hospital before it.
    pub by_clinician: BTreeMap<String, Counts>,
    /// By the device that made the exam: model and station.
    pub by_device: BTreeMap<String, Counts>,
    /// By the month (in China) in which it was first offered or looked at, or decided: `2026-11`.
    pub by_month: BTreeMap<String, Counts>,
    /// Hours from the exam to its marked copies, the median; none where none was marked.
    pub hours_to_availability: Option<f64>,
    /// Rejections by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Used of all decided; none where nothing was.
    pub acceptance_rate: Option<f64>,
    /// Exams that were not made again.
    pub saved: u64,
}

/// Who decided what, as the journal has it.
#[derive(Clone)]
struct Decided {
    /// In the order of [`Collector::each`].
    keys: [String; 5],
    study: String,
    at_ms: i64,
    encounter: String,
    accepted: bool,
    repeated: bool,
    refused: bool,
    reasons: Vec<String>,
}

/// What is known of studies, by Study Instance UID; none of those that are here no more.
pub struct Studies<'a> {
    /// The device that made it.
    pub device: &'a dyn Fn(&str) -> Option<String>,
    /// When it was made, milliseconds since 1970.
    pub made: &'a dyn Fn(&str) -> Option<i64>,
    /// Whose it is, and what it shows.
    pub items: &'a dyn Fn(&str) -> Option<Made>,
}

/// The hospital that made a study, and its accepted items.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// Code of the hospital.
    pub producer: String,
    /// Item numbers.
    pub items: Vec<u32>,
}

/// The month of a moment, in China: `2026-11`.
fn month(at_ms: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1000)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let at = at.to_offset(time::macros::offset!(+8));
    format!("{:04}-{:02}", at.year(), u8::from(at.month()))
}

/// The clinician on whose behalf somebody asked; empty where none was named.
fn said(on_behalf: &BTreeMap<String, String>) -> String {
    on_behalf.get("clinician").cloned().unwrap_or_default()
}

/// Collects the events of the whole journal and counts those of a period: a correction takes the place of what it corrects, in its month too;
/// the first copies of a study are its first, however often it is marked again.
pub struct Collector {
    /// From when to when, milliseconds since 1970.
    period: std::ops::Range<i64>,
    statistics: Statistics,
    decided: BTreeMap<String, Decided>,
    /// Study, hospital, clinician: when first.
    viewed: BTreeMap<(String, String, String), i64>,
    /// Hospital, study and item: producer, clinician and month of the first offer.
    offered: BTreeMap<(String, String, u32), (String, String, String)>,
    /// By study: when it was marked first.
    marked: BTreeMap<String, i64>,
}

impl Collector {
    /// Counts from one moment to another.
    pub fn new(period: std::ops::Range<i64>) -> Collector {
        Collector {
            period,
            statistics: Statistics::default(),
            decided: BTreeMap::new(),
            viewed: BTreeMap::new(),
            offered: BTreeMap::new(),
            marked: BTreeMap::new(),
        }
    }

    /// Takes an event, in the journal's order.
    pub fn take(&mut self, at_ms: i64, event: &Event) {
        let now = self.period.contains(&at_ms);
        match event {
            Event::Marked { study, .. } => drop(self.marked.entry(study.clone()).or_insert(at_ms)),
            // An exam that is offered again is one exam.
            Event::Offered { hospital, producer, study, item, on_behalf, .. } if now && hospital != producer => {
                let by = (producer.clone(), said(on_behalf), month(at_ms));
                self.offered.entry((hospital.clone(), study.clone(), *item)).or_insert(by);
            }
            // Frame by frame is one look.
            // The owner's own people are no other hospital.
            Event::Retrieved { view, study, hospital, on_behalf, .. } if now && view == "exchange" && !hospital.is_empty() => {
                self.viewed.entry((study.clone(), hospital.clone(), said(on_behalf))).or_insert(at_ms);
            }
            Event::Decided {
                id,
                corrects,
                study,
                hospital,
                producer,
                item,
                department,
                clinician,
                encounter,
                accepted,
                repeated,
                refused,
                reasons,
                ..
            } => {
                // What was entered by mistake is put right where it was.
                let corrected = corrects.as_ref().and_then(|old| self.decided.remove(old));
                let at_ms = corrected.map_or(at_ms, |old| old.at_ms);
                let under = |name: &str| format!("{hospital}/{name}");
                let keys = [producer.clone(), hospital.clone(), item.to_string(), under(department), under(clinician)];
                let decided = Decided {
                    keys,
                    study: study.clone(),
                    at_ms,
                    encounter: encounter.clone(),
                    accepted: *accepted,
                    repeated: *repeated,
                    refused: *refused,
                    reasons: reasons.clone(),
                };
                self.decided.insert(id.clone(), decided);
            }
            _ => {}
        }
    }

    /// What reminders offered and hospitals looked at, of each exam once for each hospital, and for each clinician.
    fn offered_and_viewed(&mut self, studies: &Studies<'_>) {
        for ((hospital, study, item), (producer, clinician, month)) in std::mem::take(&mut self.offered) {
            self.statistics.by_month.entry(month).or_default().offered += 1;
            self.each(&[producer, hospital.clone(), item.to_string()], |c| c.offered += 1);
            self.also(studies, &study, &hospital, &clinician, |c| c.offered += 1);
        }
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        let mut viewed: Vec<_> = std::mem::take(&mut self.viewed).into_iter().collect();
        viewed.sort_by_key(|(_, at)| *at);
        for ((study, hospital, clinician), at) in viewed {
            if !seen.insert((study.clone(), hospital.clone())) {
                self.by_clinician(&hospital, &clinician, |c| c.viewed += 1);
                continue;
            }
            let Made { producer, items } = (studies.items)(&study).unwrap_or_default();
            let s = &mut self.statistics;
            s.total.viewed += 1;
            s.by_month.entry(month(at)).or_default().viewed += 1;
            s.by_producer.entry(producer).or_default().viewed += 1;
            s.by_user.entry(hospital.clone()).or_default().viewed += 1;
            for item in items {
                s.by_item.entry(item.to_string()).or_default().viewed += 1;
            }
            self.also(studies, &study, &hospital, &clinician, |c| c.viewed += 1);
        }
        // What is known of no hospital any more stands in the total alone.
        self.statistics.by_producer.remove("");
    }

    fn also(&mut self, studies: &Studies<'_>, study: &str, hospital: &str, clinician: &str, count: impl Fn(&mut Counts)) {
        if let Some(device) = (studies.device)(study) {
            count(self.statistics.by_device.entry(device).or_default());
        }
        self.by_clinician(hospital, clinician, count);
    }

    fn by_clinician(&mut self, hospital: &str, clinician: &str, count: impl Fn(&mut Counts)) {
        if !clinician.is_empty() {
            count(self.statistics.by_clinician.entry(format!("{hospital}/{clinician}")).or_default());
        }
    }

    /// Counts in all, and by producer, user, item, department, clinician, as far as there are keys.
    fn each(&mut self, keys: &[String], count: impl Fn(&mut Counts)) {
        let s = &mut self.statistics;
        count(&mut s.total);
        let by = [&mut s.by_producer, &mut s.by_user, &mut s.by_item, &mut s.by_department, &mut s.by_clinician];
        for (counts, key) in by.into_iter().zip(keys) {
            count(counts.entry(key.clone()).or_default());
        }
    }

    /// The figures.
    pub fn finish(mut self, studies: &Studies<'_>) -> Statistics {
        let (device, made) = (studies.device, studies.made);
        self.offered_and_viewed(studies);
        let mut known = BTreeSet::new();
        let mut repeated = BTreeMap::new();
        let mut all: Vec<Decided> = std::mem::take(&mut self.decided).into_values().collect();
        all.sort_by_key(|d| d.at_ms);
        all.retain(|d| self.period.contains(&d.at_ms));
        for decided in all {
            let [producer, user, item, _, clinician] = &decided.keys;
            // A hospital's own exam is recognised by nobody else.
            if producer == user {
                continue;
            }
            // The same exam, used in an encounter by a clinician and sent again, is one decision; an exam saved is one exam of one encounter.
            let exam = (user.clone(), decided.study.clone(), item.clone(), decided.encounter.clone());
            if !known.insert((exam.clone(), clinician.clone(), decided.accepted, decided.repeated, decided.reasons.clone())) {
                continue;
            }
            *repeated.entry(exam).or_insert(false) |= decided.repeated;
            let count = |c: &mut Counts| {
                c.accepted += u64::from(decided.accepted);
                c.rejected += u64::from(!decided.accepted);
                c.repeated += u64::from(decided.repeated);
                c.refused += u64::from(decided.refused);
            };
            self.each(&decided.keys, count);
            count(self.statistics.by_month.entry(month(decided.at_ms)).or_default());
            if let Some(device) = device(&decided.study) {
                count(self.statistics.by_device.entry(device).or_default());
            }
            for reason in &decided.reasons {
                *self.statistics.reasons.entry(reason.clone()).or_default() += 1;
            }
        }
        let Counts { accepted, rejected, .. } = self.statistics.total;
        #[expect(clippy::cast_precision_loss, reason = "a rate of counts")]
        let rate = (accepted + rejected > 0).then(|| accepted as f64 / (accepted + rejected) as f64);
        self.statistics.acceptance_rate = rate;
        let hours = |(study, at): (&String, &i64)| Some((*at - made(study)?) as f64 / 3_600_000.0);
        let marked = self.marked.iter().filter(|(_, at)| self.period.contains(at));
        let mut hours: Vec<f64> = marked.filter_map(hours).filter(|h| *h >= 0.0).collect();
        hours.sort_by(f64::total_cmp);
        self.statistics.hours_to_availability = hours.get(hours.len() / 2).copied();
        self.statistics.saved = repeated.values().filter(|repeated| !**repeated).count() as u64;
        self.statistics
    }
}

impl Statistics {
    /// Rows for a table: what is counted, of whom, and the counts. `published` leaves persons out and says of small numbers only that
    /// they are small.
    pub fn rows(&self, published: bool) -> Vec<Vec<String>> {
        let show = |n: u64| if published && n > 0 && n < SMALL { format!("<{SMALL}") } else { n.to_string() };
        let row = |group: &str, name: &str, c: &Counts| {
            let counts = [c.offered, c.viewed, c.accepted, c.rejected, c.repeated, c.refused].map(show);
            [group.to_string(), name.to_string()].into_iter().chain(counts).collect::<Vec<_>>()
        };
        let mut rows = vec![row("total", "", &self.total)];
        let mut groups = vec![
            ("producer", &self.by_producer),
            ("user", &self.by_user),
            ("item", &self.by_item),
            ("device", &self.by_device),
            ("month", &self.by_month),
        ];
        if !published {
            groups.extend([("department", &self.by_department), ("clinician", &self.by_clinician)]);
        }
        for (group, counts) in groups {
            let mut own: Vec<Vec<String>> = counts.iter().map(|(name, c)| row(group, name, c)).collect();
            if published {
                (2..HEADS.len()).for_each(|column| hide_another(&mut own, column));
            }
            rows.extend(own);
        }
        let none = || vec![String::new(); 3];
        let figure = |name: &str, value: String| {
            let head = vec!["figure".to_string(), name.to_string(), value];
            head.into_iter().chain(vec![String::new(); HEADS.len() - 3]).collect::<Vec<_>>()
        };
        let decided = self.total.accepted + self.total.rejected;
        // A rate of few tells what the few were.
        let t = &self.total;
        let small = |n: u64| n > 0 && n < SMALL;
        let tells = [t.accepted, t.rejected, t.repeated, decided - self.saved.min(decided)].into_iter().any(small);
        let rate = self.acceptance_rate.filter(|_| !published || (decided >= SMALL && !tells));
        rows.extend(rate.map(|rate| figure("acceptance_rate", format!("{rate:.3}"))));
        // Beside the sums it would tell the small number that was left out.
        rows.extend((!published || !tells).then(|| figure("saved", show(self.saved))));
        rows.extend(self.hours_to_availability.map(|hours| figure("hours_to_availability", format!("{hours:.1}"))));
        rows.extend(self.reasons.iter().map(|(code, n)| {
            let head = vec!["reason".to_string(), code.clone()];
            head.into_iter().chain(none()).chain([show(*n), String::new(), String::new()]).collect()
        }));
        rows
    }
}

/// The heads of [`Statistics::rows`].
pub const HEADS: [&str; 8] = ["group", "name", "offered", "viewed", "accepted", "rejected", "repeated", "refused"];

/// Where one small number of a column was left out, the sum would tell it: the least of the others is left out too.
fn hide_another(rows: &mut [Vec<String>], column: usize) {
    let small = format!("<{SMALL}");
    let hidden = rows.iter().filter(|row| row.get(column) == Some(&small)).count();
    let number = |row: &Vec<String>| row.get(column).and_then(|text| text.parse::<u64>().ok()).filter(|n| *n > 0);
    let least = rows.iter().enumerate().filter_map(|(n, row)| Some((number(row)?, n))).min();
    if let (1, Some((_, n))) = (hidden, least)
        && let Some(cell) = rows.get_mut(n).and_then(|row| row.get_mut(column))
    {
        *cell = "*".into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(id: &str, corrects: Option<&str>, clinician: &str, accepted: bool, reasons: &[&str]) -> Event {
        Event::Decided {
            id: id.into(),
            corrects: corrects.map(Into::into),
            study: "1.2".into(),
            hospital: "B".into(),
            producer: "A".into(),
            item: 34,
            department: "神经内科".into(),
            clinician: clinician.into(),
            encounter: id.into(),
            by: String::new(),
            accepted,
            repeated: !accepted,
            refused: false,
            reasons: reasons.iter().map(|r| (*r).to_string()).collect(),
            digest: String::new(),
        }
    }

    fn on_behalf(clinician: &str) -> BTreeMap<String, String> {
        [("clinician", clinician)].into_iter().filter(|(_, c)| !c.is_empty()).map(|(k, c)| (k.into(), c.into())).collect()
    }

    fn looked(view: &str, hospital: &str, clinician: &str) -> Event {
        Event::Retrieved {
            view: view.into(),
            study: "1.2".into(),
            by: format!("key {hospital} 10.0.0.1"),
            hospital: hospital.into(),
            instances: 1,
            on_behalf: on_behalf(clinician),
        }
    }

    fn offered(clinician: &str) -> Event {
        Event::Offered {
            hospital: "B".into(),
            producer: "A".into(),
            study: "1.2".into(),
            item: 34,
            by: "key".into(),
            on_behalf: on_behalf(clinician),
        }
    }

    #[test]
    fn counted_by_hand() {
        let mut collector = Collector::new(0..i64::MAX);
        for event in [
            decided("1", None, "李", true, &[]),
            decided("2", None, "李", false, &["YB-E01", "YB-E08"]),
            decided("3", None, "张", false, &["YB-E01"]),
            decided("4", Some("3"), "张", true, &[]),
            looked("exchange", "B", "李"),
            looked("exchange", "B", "李"),
            looked("exchange", "B", "张"),
            looked("exchange", "C", ""),
            looked("house", "", ""),
            offered("李"),
            offered("张"),
        ] {
            collector.take(7_200_000, &event);
        }
        // Half past midnight in China on the first of the next month;
        collector.take(2_651_400_000, &decided("5", None, "李", true, &[]));
        collector.take(9_000_000, &Event::Marked { study: "1.2".into(), revision: 1, instances: 1 });
        collector.take(99_000_000, &Event::Marked { study: "1.2".into(), revision: 2, instances: 1 });
        let s = collector.finish(&Studies {
            device: &|study| (study == "1.2").then(|| "CT-7".to_string()),
            made: &|_| Some(1_800_000),
            items: &|_| Some(Made { producer: "A".into(), items: vec![34, 36] }),
        });
        // Two hospitals looked at it; at B two clinicians did, and it was offered there once.
        let viewed = |counts: &BTreeMap<String, Counts>, key: &str| (counts[key].offered, counts[key].viewed);
        assert_eq!((s.total.offered, s.total.viewed), (1, 2));
        assert_eq!([viewed(&s.by_user, "B"), viewed(&s.by_user, "C")], [(1, 1), (0, 1)]);
        assert_eq!([viewed(&s.by_producer, "A"), viewed(&s.by_device, "CT-7")], [(1, 2), (1, 2)]);
        assert_eq!([viewed(&s.by_item, "34"), viewed(&s.by_item, "36")], [(1, 2), (0, 2)]);
        assert_eq!([viewed(&s.by_clinician, "B/李"), viewed(&s.by_clinician, "B/张")], [(1, 1), (0, 1)]);
        assert_eq!((s.by_device["CT-7"].accepted, s.hours_to_availability), (3, Some(2.0)));
        let month = |name: &str| {
            (s.by_month[name].offered, s.by_month[name].viewed, s.by_month[name].accepted, s.by_month[name].rejected)
        };
        assert_eq!([month("1970-01"), month("1970-02")], [(1, 2, 2, 1), (0, 0, 1, 0)]);
        assert_eq!((s.total.accepted, s.total.rejected, s.total.repeated), (3, 1, 1));
        assert_eq!((s.by_clinician["B/李"].rejected, s.by_clinician["B/张"].accepted), (1, 1));
        assert_eq!(s.reasons, BTreeMap::from([("YB-E01".to_string(), 1), ("YB-E08".to_string(), 1)]));
        assert_eq!((s.saved, s.acceptance_rate.map(|r| (r * 100.0).round())), (3, Some(75.0)));
        let published = s.rows(true);
        assert!(published.iter().all(|r| r[0] != "clinician") && published[0][4] == "<5" && published[0][2] == "<5");
        assert!(published.iter().all(|r| r[1] != "acceptance_rate"), "a rate of three decisions");
        assert!(s.rows(false).contains(&["figure", "acceptance_rate", "0.750", "", "", "", "", ""].map(String::from).to_vec()));
    }
}
