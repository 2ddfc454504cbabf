//! Who recognises whose exams (互认), and how strongly: the tiers of both regulations, the calendar months, the accreditation. Pure.
//!
//! Never decides: a person does (YB 四(二) “以接诊医师判断为标准”). Every answer says region, edition, item and reasons.

use super::register::{Exam, Hospital, Ownership};
use crate::exam::verdict::NotAccredited;
use crate::procedure::Region;
use serde::Serialize;
use std::collections::BTreeSet;

/// How strongly a hospital is to recognise an exam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// By agreement of the two (民营, YB 二), or of an exam that is not recent (YB 四(一)).
    Optional,
    /// 原则上应予认可: from a hospital of a higher level (FJ 二(三)).
    Principle,
    /// 应互相认可: between members, of one level, or of one group (YB 二, FJ 二(一)(二)).
    Must,
}

/// Why an exam is, or is not, to be recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A code.
    pub code: &'static str,
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

fn reason(code: &'static str, zh: impl Into<String>, en: impl Into<String>) -> Reason {
    Reason { code, zh: zh.into(), en: en.into() }
}

/// The policy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Region code.
    pub region: String,
    /// Edition of its list.
    pub edition: String,
    /// Item number.
    pub item: u32,
    /// Name of the item.
    pub name: String,
    /// How strongly; none: not to be recognised, and not to be shown.
    pub strength: Option<Strength>,
    /// Whether the exam is recent enough; an older one is shown and labelled.
    pub recent: bool,
    /// The last day on which it is, `YYYYMMDD`.
    pub recent_until: String,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// An exam whose recognition is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// Item number in the region's list.
    pub item: u32,
    /// Device Serial Numbers of the series that carry it; none where nobody has seen them yet.
    pub devices: Option<&'a BTreeSet<String>>,
    /// Day of the exam, `YYYYMMDD`.
    pub on: &'a str,
}

/// Whether `to` is to recognise an exam of `from`: an accepted item of a region's edition, looked at on `today` (`YYYYMMDD`).
pub fn recognised(from: &Hospital, to: &Hospital, region: &Region, made: Made<'_>, today: &str) -> Answer {
    let Made { item, devices, on: exam } = made;
    let known = region.item(item);
    let asked = Exam { category: known.map_or("", |i| i.category.as_str()), item, devices };
    let mut reasons = Vec::new();
    let strength = tier(from, to, today, &mut reasons)
        .filter(|_| is_within(region, [from, to], &mut reasons))
        .filter(|_| is_accredited(from, asked, exam, today, &mut reasons))
        .filter(|_| {
            let listed = known.is_some() && region.in_force(exam);
            if !listed {
                reasons.push(reason(
                    "NOT_LISTED",
                    "检查日期当日清单中无此项目",
                    "the item was not on the list on the exam date",
                ));
            }
            listed
        });
    let months = known.and_then(|i| i.validity_months).unwrap_or(region.validity_months);
    let recent_until = add_months(exam, months).unwrap_or_default();
    let recent = today <= recent_until.as_str();
    // YB 四(一) 近期（一般3个月内）: an older one is shown, and nobody is held to it.
    let strength = if recent { strength } else { strength.map(|_| Strength::Optional) };
    if strength.is_some() && !recent {
        reasons.push(reason("OLDER", format!("超过{months}个月"), format!("older than {months} months")));
    }
    Answer {
        region: region.code.clone(),
        edition: region.edition.clone(),
        item,
        name: known.map(|i| i.name.clone()).unwrap_or_default(),
        strength,
        recent,
        recent_until,
        reasons,
    }
}

/// The tier of two hospitals.
fn tier(from: &Hospital, to: &Hospital, today: &str, reasons: &mut Vec<Reason>) -> Option<Strength> {
    if from.code == to.code {
        reasons.push(reason("OWN", "本院检查", "an exam of the hospital itself"));
        return Some(Strength::Must);
    }
    for (hospital, code) in [(from, "PRODUCER_NO_MEMBER"), (to, "USER_NO_MEMBER")] {
        if !hospital.is_member() {
            reasons.push(reason(code, format!("{}未参加互认", hospital.name), format!("{} takes no part", hospital.code)));
            return None;
        }
    }
    // YB 六(二) “将评价合格作为医疗机构参与互认的准入条件”: for taking part, not for producing alone.
    if !to.is_admitted(today) {
        let zh = format!("{}现无合格的质量评价", to.name);
        reasons.push(reason("USER_NOT_ACCREDITED", zh, format!("{} has passed no assessment for today", to.code)));
        return None;
    }
    if from.ownership == Ownership::Private || to.ownership == Ownership::Private {
        let agreed = to.recognises.contains(&from.code) || to.recognises.contains("*");
        let (code, zh, en) = if agreed {
            ("PRIVATE_AGREED", "与民营医疗机构约定互认", "agreed on with a private hospital")
        } else {
            ("PRIVATE_NOT_AGREED", "与民营医疗机构未约定互认", "not agreed on with a private hospital")
        };
        reasons.push(reason(code, zh, en));
        return agreed.then_some(Strength::Optional);
    }
    if !from.groups.is_disjoint(&to.groups) {
        reasons.push(reason("SAME_GROUP", "同一医疗集团或医共体", "of one group"));
        return Some(Strength::Must);
    }
    // Without levels the members of a district recognise each other, as Yubei says.
    if from.level == 0 || to.level == 0 || from.level == to.level {
        reasons.push(reason("SAME_LEVEL", "同级公立医疗机构", "public hospitals of one level"));
        return Some(Strength::Must);
    }
    if from.level > to.level {
        reasons.push(reason("HIGHER_LEVEL", "上级公立医疗机构，原则上应予认可", "of a higher level: in principle"));
        return Some(Strength::Principle);
    }
    if !from.district.is_empty() && from.district == to.district {
        reasons.push(reason("SAME_DISTRICT", "同一区县公立医疗机构", "public hospitals of one district"));
        return Some(Strength::Must);
    }
    reasons.push(reason("LOWER_LEVEL", "下级医疗机构，未规定认可", "of a lower level: not provided for"));
    None
}

/// A region's exchange is that of its district's hospitals, and of those that are named as members (YB 二). A hospital whose district nobody
/// wrote down is taken as one of them.
fn is_within(region: &Region, hospitals: [&Hospital; 2], reasons: &mut Vec<Reason>) -> bool {
    let outside = |h: &&&Hospital| {
        !region.district.is_empty() && !h.district.is_empty() && h.district != region.district && !h.is_named_member()
    };
    match hospitals.iter().find(outside) {
        Some(hospital) => {
            let zh = format!("{}不在{}，也未列为成员", hospital.name, region.district);
            reasons.push(reason(
                "OUTSIDE_REGION",
                zh,
                format!("{} is of another district and not named as a member", hospital.code),
            ));
            false
        }
        None => true,
    }
}

/// At the exam date, and not failed since (C4: revoked hospitals are not offered).
fn is_accredited(from: &Hospital, asked: Exam<'_>, exam: &str, today: &str, reasons: &mut Vec<Reason>) -> bool {
    match from.accredited(asked, exam) {
        Ok(()) => {}
        Err(NotAccredited::Failed) => {
            reasons.push(reason("FAILED", "检查当日质量评价不合格", "its assessment for the exam date was failed"));
            return false;
        }
        Err(_) => {
            reasons.push(reason("NOT_ASSESSED", "检查当日未参加质量评价", "no assessment speaks for the exam date"));
            return false;
        }
    }
    if from.has_failed(asked, today) {
        reasons.push(reason("REVOKED", "现质量评价不合格，暂停互认", "its present assessment was failed"));
        return false;
    }
    true
}

/// So many calendar months later; the last day of a shorter month (11-30 and three months: 02-28).
pub fn add_months(day: &str, months: u32) -> Option<String> {
    let number = |range: std::ops::Range<usize>| day.get(range)?.parse::<u32>().ok();
    let (year, month, date) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let total = year.checked_mul(12)?.checked_add(month.checked_sub(1)?)?.checked_add(months)?;
    let (year, month) = (total / 12, total % 12 + 1);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    Some(format!("{year:04}{month:02}{:02}", date.min(last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::register::Register;
    use crate::procedure::{embedded, load};

    const TOML: &str = r#"
        [[hospital]]
        code = "A"
        name = "甲"
        level = 3
        groups = ["g"]
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital.assessment]]
        round = "2"
        passed = false
        valid_from = "2026-09-01"
        valid_to = "2026-12-31"
        categories = ["MR"]
        [[hospital]]
        code = "B"
        name = "乙"
        level = 2
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital]]
        code = "C"
        name = "丙"
        level = 3
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-03-15"
        valid_to = "2026-12-31"
        [[hospital]]
        code = "D"
        name = "丁"
        level = 1
        groups = ["g", "h"]
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital]]
        code = "P"
        name = "民"
        ownership = "private"
        member = true
        recognises = ["A"]
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital]]
        code = "F"
        name = "远"
        level = 3
        district = "福州市"
        [[hospital.assessment]]
        round = "1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital]]
        code = "U"
        name = "未"
        level = 3
        [[hospital]]
        code = "N"
        name = "外"
        member = false
    "#;

    fn ask(from: &str, to: &str, item: u32, exam: &str, today: &str) -> Answer {
        let register = Register::parse(TOML).unwrap();
        let procedures = load(embedded::FILES).unwrap();
        let region = procedures.regions.iter().find(|r| r.code == "yubei").unwrap();
        recognised(
            register.hospital(from).unwrap(),
            register.hospital(to).unwrap(),
            region,
            Made { item, devices: None, on: exam },
            today,
        )
    }

    #[test]
    fn the_tiers_of_both_regulations() {
        for (from, to, strength, code) in [
            ("A", "A", Some(Strength::Must), "OWN"),
            ("A", "C", Some(Strength::Must), "SAME_LEVEL"),
            ("A", "B", Some(Strength::Principle), "HIGHER_LEVEL"),
            ("B", "A", None, "LOWER_LEVEL"),
            ("A", "D", Some(Strength::Must), "SAME_GROUP"),
            ("A", "P", Some(Strength::Optional), "PRIVATE_AGREED"),
            ("B", "P", None, "PRIVATE_NOT_AGREED"),
            ("A", "N", None, "USER_NO_MEMBER"),
            ("A", "U", None, "USER_NOT_ACCREDITED"),
            ("A", "F", None, "SAME_LEVEL"),
            ("C", "A", None, "SAME_LEVEL"),
        ] {
            let answer = ask(from, to, 34, "20260301", "20260401");
            assert_eq!((answer.strength, answer.reasons[0].code), (strength, code), "{from} {to} {answer:?}");
        }
        assert_eq!(ask("A", "F", 34, "20260301", "20260401").reasons[1].code, "OUTSIDE_REGION");
        let old = ask("A", "C", 34, "20260301", "20260701");
        assert_eq!((old.strength, old.recent), (Some(Strength::Optional), false), "nobody is held to an old one: {old:?}");
        let never = ask("C", "A", 34, "20260301", "20260401");
        assert!(never.reasons.iter().any(|r| r.code == "NOT_ASSESSED"), "{never:?}");
    }

    #[test]
    fn accreditation_counts_on_the_exam_date_and_now() {
        let mr = |exam, today| ask("A", "C", 54, exam, today);
        assert!(mr("20260301", "20260401").strength.is_some());
        let revoked = mr("20260801", "20260915");
        assert!(revoked.strength.is_none() && revoked.reasons.iter().any(|r| r.code == "REVOKED"));
        assert!(mr("20260905", "20260915").reasons.iter().any(|r| r.code == "FAILED"));
        assert!(ask("A", "C", 34, "20260905", "20260915").strength.is_some(), "CT did not fail");
        assert!(ask("A", "C", 99, "20260905", "20260915").reasons.iter().any(|r| r.code == "NOT_LISTED"));
        assert!(ask("A", "A", 34, "20230105", "20230106").strength.is_none(), "before the list");
    }

    #[test]
    fn three_calendar_months_inclusive() {
        for (exam, until) in
            [("20251130", "20260228"), ("20231130", "20240229"), ("20260115", "20260415"), ("20261231", "20270331")]
        {
            assert_eq!(add_months(exam, 3).as_deref(), Some(until));
        }
        assert_eq!(add_months("2026", 3), None);
        assert!(ask("A", "C", 34, "20260115", "20260415").recent);
        let procedures = load(embedded::FILES).unwrap();
        let mut region = procedures.region_for("20260115").unwrap().clone();
        region.items.iter_mut().filter(|i| i.number == 34).for_each(|i| i.validity_months = Some(1));
        let register = Register::parse(TOML).unwrap();
        let [from, to] = ["A", "C"].map(|code| register.hospital(code).unwrap());
        let until = |item| recognised(from, to, &region, Made { item, devices: None, on: "20260115" }, "20260301").recent_until;
        assert_eq!([until(34), until(35)], ["20260215", "20260415"], "an item's own window");
        let older = ask("A", "C", 34, "20260115", "20260416");
        assert!(
            !older.recent && older.strength.is_some() && older.reasons.iter().any(|r| r.code == "OLDER" && r.zh == "超过3个月")
        );
    }
}
