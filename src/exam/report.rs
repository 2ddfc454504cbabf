//! The study's report (检查报告) as part of the exam: whether there is one, whether a physician verified it, and whether it speaks of the
//! item's side.
//!
//! Never reads a report for what it found: only the words for sides count here.

use super::classify::Recognised;
use super::finding::{Finding, Level};
use crate::dicom::{Uid, uids};
use crate::procedure::catalogue::ReportRule;
use crate::procedure::{Region, Side};

/// A report of the study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// SOP Instance UID.
    pub uid: Uid,
    /// Verification Flag (0040,A493) is VERIFIED.
    pub verified: bool,
    /// Its text, where it is a structured report.
    pub text: String,
}

/// Whether objects of a class are reports: structured ones of persons, PDF, CDA.
pub fn is_report(sop_class: &str) -> bool {
    const CLASSES: &[&str] = &[
        uids::BASIC_TEXT_SR_STORAGE,
        uids::ENHANCED_SR_STORAGE,
        uids::COMPREHENSIVE_SR_STORAGE,
        uids::COMPREHENSIVE3_DSR_STORAGE,
        uids::ENCAPSULATED_PDF_STORAGE,
        uids::ENCAPSULATED_CDA_STORAGE,
    ];
    CLASSES.contains(&sop_class)
}

/// Runs the checks.
pub fn check(reports: &[Report], recognised: &[Recognised], region: &Region) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = region.report;
    if !recognised.is_empty() && wanted != ReportRule::Optional && reports.is_empty() {
        findings.push(Finding::new(
            "REPORT_MISSING",
            Level::Review,
            "尚无检查报告，本区域要求报告齐全后方可互认",
            "there is no report yet; this region wants one before the exam is offered",
        ));
    } else if !recognised.is_empty() && wanted == ReportRule::Verified && !reports.iter().any(|r| r.verified) {
        findings.push(Finding::new(
            "REPORT_UNVERIFIED",
            Level::Review,
            "检查报告尚未审核，本区域要求审核后方可互认",
            "the report is not verified yet; this region wants that before the exam is offered",
        ));
    }
    let sides = recognised.iter().filter_map(|one| one.side.or_else(|| region.item(one.item)?.side));
    let sides: Vec<Side> = sides.filter(|side| matches!(side, Side::Left | Side::Right)).collect();
    for report in reports {
        let told = said(&report.text);
        let contradicts = |side: &Side| told.is_some_and(|told| told != *side);
        // A study of both sides may have a report on each.
        if !sides.is_empty() && sides.iter().all(contradicts) {
            findings.push(
                Finding::new(
                    "REPORT_SIDE",
                    Level::Review,
                    "检查报告只提到另一侧，请核对侧别",
                    "the report speaks of the other side only; check the side",
                )
                .at(&report.uid),
            );
        }
    }
    findings
}

/// The one side that a text speaks of; none for no side, or both.
fn said(text: &str) -> Option<Side> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let has = |character: char, word: &str| text.contains(character) || words.contains(&word);
    match (has('左', "left"), has('右', "right")) {
        (true, false) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::{embedded, load};

    #[test]
    fn a_region_may_want_a_verified_report_and_a_report_must_speak_of_the_right_side() {
        let procedures = load(embedded::FILES).unwrap();
        let mut region = procedures.region_for("20260310").unwrap().clone();
        let left = region.items.iter().find(|i| i.side == Some(Side::Left)).unwrap().number;
        let none = region.items.iter().find(|i| i.side.is_none()).unwrap().number;
        let recognised = |item| {
            vec![Recognised {
                item,
                side: None,
                series: [].into(),
                images: [].into(),
                enhanced: [].into(),
                because: vec![],
                assumed: vec![],
                confidence: super::super::classify::Confidence::Stated,
            }]
        };
        let report = |verified, text: &str| Report { uid: Uid::derived(&["r"]), verified, text: text.into() };
        let codes = |region: &Region, reports: &[Report], item| {
            check(reports, &recognised(item), region).into_iter().map(|f| f.check).collect::<Vec<_>>()
        };
        assert_eq!(codes(&region, &[], none), Vec::<String>::new());
        assert_eq!(codes(&region, &[report(false, "右肩关节未见异常")], left), ["REPORT_SIDE"]);
        assert_eq!(codes(&region, &[report(false, "RIGHT shoulder")], left), ["REPORT_SIDE"]);
        for fine in ["左肩关节未见异常", "左肩；右侧对照", "肩关节", "bright"] {
            assert_eq!(codes(&region, &[report(false, fine)], left), Vec::<String>::new(), "{fine}");
        }
        assert_eq!(codes(&region, &[report(false, "右肺")], none), Vec::<String>::new());
        region.report = ReportRule::Verified;
        assert_eq!(codes(&region, &[], none), ["REPORT_MISSING"]);
        assert_eq!(codes(&region, &[report(false, "")], none), ["REPORT_UNVERIFIED"]);
        assert_eq!(codes(&region, &[report(false, ""), report(true, "")], none), Vec::<String>::new());
        region.report = ReportRule::Present;
        assert_eq!(codes(&region, &[report(false, "")], none), Vec::<String>::new());
        assert!(check(&[], &[], &region).is_empty(), "no item, no report");
    }
}
