//! G-13: the patient of the images is the one that the order was for (检查申请), as the modality took it from its worklist. Only where a
//! performed procedure step told it; what the order leaves out is not compared.

use crate::dicom::dataset::DataSet;
use crate::dicom::{Attributes, Tag, tags};
use crate::exam::finding::{Finding, Level};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is compared.
const COMPARED: [(Tag, &str, &str, &str); 5] = [
    (tags::PATIENT_ID, "id", "患者ID", "Patient ID (0010,0020)"),
    (tags::PATIENT_NAME, "name", "患者姓名", "Patient's Name (0010,0010)"),
    (tags::PATIENT_SEX, "sex", "性别", "Patient's Sex (0010,0040)"),
    (tags::PATIENT_BIRTH_DATE, "birth", "出生日期", "Patient's Birth Date (0010,0030)"),
    (tags::ACCESSION_NUMBER, "accession", "检查号", "Accession Number (0008,0050)"),
];

/// Whom a study was ordered for. Kept in the data root beside the images, never in the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered(BTreeMap<String, String>);

impl Ordered {
    /// Of a performed procedure step (PS3.4 table F.7.2-1): the patient stands at its root, the order in the scheduled step of the study.
    pub fn of_step(step: &DataSet, study: &str) -> Ordered {
        let scheduled = step.items(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE).iter();
        let own = scheduled.filter(|item| item.text(tags::STUDY_INSTANCE_UID).is_some_and(|uid| uid.trim() == study));
        let text = |tag| step.text(tag).or_else(|| own.clone().find_map(|item| item.text(tag)));
        let told = COMPARED.iter().filter_map(|(tag, key, ..)| Some(((*key).to_string(), text(*tag)?.trim().to_string())));
        Ordered(told.filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// Compares the order with the study; attributes that the study lacks are another finding.
pub(super) fn check(study: &Attributes, ordered: &Ordered) -> Vec<Finding> {
    let other = |(tag, key, zh, en): &(Tag, &str, &'static str, &'static str)| {
        let (there, here) = (ordered.0.get(*key)?, study.text(*tag).filter(|t| !t.trim().is_empty())?);
        let same = if *tag == tags::PATIENT_NAME { same_name(there, here) } else { there.trim() == here.trim() };
        (!same).then_some((*zh, *en))
    };
    let differing: Vec<(&str, &str)> = COMPARED.iter().filter_map(other).collect();
    let told = differing.into_iter().map(|(zh, en)| {
        Finding::new(
            "G-13",
            Level::Reject,
            format!("{zh}与检查申请（工作列表）不一致，请核对是否为同一患者"),
            format!("{en} is not that of the order (worklist); check whether this is the same patient"),
        )
    });
    told.collect()
}

/// Whether two names have a component group in common: an order in characters and images in letters say nothing against each other.
fn same_name(a: &str, b: &str) -> bool {
    let group = |part: &str| part.chars().filter(|c| !matches!(c, '^' | ' ')).flat_map(char::to_lowercase).collect::<String>();
    let groups = |name: &str| name.split('=').map(group).collect::<Vec<String>>();
    let (a, b) = (groups(a), groups(b));
    let mut comparable = a.iter().zip(&b).filter(|(x, y)| !x.is_empty() && !y.is_empty()).peekable();
    let latin = |groups: &[String]| groups.concat().is_ascii();
    if latin(&a) != latin(&b) && (a.len() < 2 || b.len() < 2) {
        return true;
    }
    comparable.peek().is_none() || comparable.any(|(x, y)| x == y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_in_any_group_that_both_have() {
        for (a, b, same) in [
            ("Wang^XiaoDong", "WANG^XIAODONG", true),
            ("Wang^XiaoDong=王^小东", "Wang^Xiaodong", true),
            ("王小东", "Wang^XiaoDong", true),
            ("Li^Si", "Wang^XiaoDong", false),
            ("Li^Si=李^四", "Wang^XiaoDong=王^小东", false),
            ("王^小东", "李^四", false),
        ] {
            assert_eq!(same_name(a, b), same, "{a} {b}");
        }
    }
}
