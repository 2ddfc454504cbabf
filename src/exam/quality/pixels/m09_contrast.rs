//! M-09: what should be bright after contrast is not brighter than before: T1 before and after, of one plane and one weighting. Bright parts
//! are held against the usual signal of the same series, so the receiver's gain counts for nothing.

use crate::exam::classify::Recognised;
use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::quality::calibrated::Measure;
use crate::procedure::catalogue::Perception;

/// Judges every item that has an enhanced phase; nothing where no two series can be compared.
pub fn check(recognised: &[Recognised], series: &[SeriesFacts], measured: &[Measure], limits: &Perception) -> Vec<Finding> {
    let bright = |s: &SeriesFacts| measured.iter().find(|m| m.series == s.uid && m.measure == "bright").map(|m| m.value);
    let mut findings = Vec::new();
    for one in recognised.iter().filter(|one| !one.enhanced.is_empty()) {
        let own = |after: bool| {
            let is = move |s: &&SeriesFacts| one.series.contains(&s.uid) && one.enhanced.contains(&s.uid) == after;
            series.iter().filter(|s| s.modality == "MR" && is_t1(s)).filter(is)
        };
        let pairs = own(true).flat_map(|after| own(false).map(move |before| (after, before)));
        let ratios = pairs.filter(|(after, before)| are_alike(after, before, limits)).filter_map(|(after, before)| {
            let ratio = bright(after)? / bright(before)?;
            Some((ratio, after))
        });
        // One pair in which contrast shows is enough.
        let Some((ratio, after)) = ratios.max_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
        if ratio <= limits.contrast_ratio {
            let finding = Finding::new(
                "M-09",
                Level::Warn,
                "增强前后信号几乎无变化，未见对比剂强化，请核对是否注射对比剂或序列标注有误",
                "hardly any signal is brighter after contrast than before; check injection and names of the series",
            );
            findings.push(finding.in_series(&after.uid).measured(ratio, limits.contrast_ratio, "of signal"));
        }
    }
    findings
}

/// T1 by its times; inversion recovery is another weighting.
fn is_t1(series: &SeriesFacts) -> bool {
    matches!(series.times_ms, (Some(tr), Some(te), None) if tr < 800.0 && te < 30.0)
}

/// Whether two series show the same but for contrast.
fn are_alike(a: &SeriesFacts, b: &SeriesFacts, limits: &Perception) -> bool {
    let near =
        |x: Option<f64>, y: Option<f64>| x.zip(y).is_some_and(|(x, y)| (x - y).abs() <= limits.contrast_alike * x.max(y));
    let words = |s: &SeriesFacts| {
        let text = format!("{} {}", s.description, s.protocol).to_lowercase();
        limits.contrast_words.iter().any(|word| text.contains(word.as_str()))
    };
    let plane = |s: &SeriesFacts| s.stack().map(|s| s.plane);
    near(a.times_ms.0, b.times_ms.0)
        && near(a.times_ms.1, b.times_ms.1)
        && plane(a).is_some()
        && plane(a) == plane(b)
        && words(a) == words(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;
    use crate::exam::facts::tests::series_of;
    use crate::exam::geometry::Stack;
    use std::collections::BTreeSet;

    #[test]
    fn contrast_that_does_not_show_is_told_and_series_of_another_kind_are_not_compared() {
        let limits = crate::procedure::load(crate::procedure::embedded::FILES).unwrap().quality.perception;
        let series = |name: &str, tr: f64, description: &str| SeriesFacts {
            uid: Uid::derived(&[name]),
            modality: "MR".into(),
            description: description.into(),
            times_ms: (Some(tr), Some(10.0), None),
            ..series_of(vec![Stack::default()])
        };
        let measure = |name: &str, value: f64| Measure {
            series: Uid::derived(&[name]),
            device: String::new(),
            items: vec![64],
            measure: "bright".into(),
            value,
        };
        let (before, after) = (Uid::derived(&["before"]), Uid::derived(&["after"]));
        let one = Recognised {
            item: 64,
            side: None,
            series: BTreeSet::from([before, after.clone()]),
            images: BTreeSet::new(),
            enhanced: BTreeSet::from([after.clone()]),
            because: vec![],
            assumed: vec![],
            confidence: crate::exam::classify::Confidence::Stated,
        };
        let told = |plain: SeriesFacts, enhanced: SeriesFacts, bright: f64| {
            let measured = [measure("before", 2.0), measure("after", bright)];
            check(std::slice::from_ref(&one), &[plain, enhanced], &measured, &limits)
                .into_iter()
                .map(|f| (f.check, f.series))
                .collect::<Vec<_>>()
        };
        let plain = || series("before", 500.0, "t1 tra");
        let finding = vec![("M-09".to_string(), Some(after))];
        assert_eq!(told(plain(), series("after", 520.0, "t1 tra +C"), 2.05), finding);
        assert_eq!(told(plain(), series("after", 520.0, "t1 tra +C"), 2.6), vec![]);
        assert_eq!(told(plain(), series("after", 520.0, "t1 fs tra +C"), 2.0), vec![]);
        assert_eq!(told(plain(), series("after", 2000.0, "t1 tra +C"), 2.0), vec![]);
    }
}
