//! The facts of a study that rules look at, taken from its attributes once.

use super::geometry::{self, Stack};
use crate::dicom::{Attributes, Uid, tags};

/// The modality that rules are written for: CR and the legacy value DR are read as DX (N-24).
pub fn rule_modality(modality: &str) -> &str {
    match modality.trim() {
        "CR" | "DR" => "DX",
        other => other,
    }
}

/// A code with its meaning (PS3.3 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// Coding Scheme Designator, such as `SCT`.
    pub scheme: String,
    /// Code Value, long or URN ones too.
    pub value: String,
    /// Code Meaning, in whatever language.
    pub meaning: String,
}

/// A text about the whole study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyText {
    /// The attribute's name.
    pub from: &'static str,
    /// The text.
    pub text: String,
}

/// A study.
#[derive(Debug, Clone, Default)]
pub struct StudyFacts {
    /// Study Description, the requested procedure's and the procedure codes' meanings: texts that say the same.
    pub texts: Vec<StudyText>,
    /// Procedure Code Sequence, and the Requested Procedure Code Sequence of the request.
    pub codes: Vec<Code>,
    /// Age in completed months on the study date.
    pub age_months: Option<u32>,
    /// Agents that are known for the study only, not for which series.
    pub agents: Vec<String>,
    /// The series.
    pub series: Vec<SeriesFacts>,
}

/// A series.
#[derive(Debug, Clone)]
pub struct SeriesFacts {
    /// Series Instance UID.
    pub uid: Uid,
    /// Modality (0008,0060).
    pub modality: String,
    /// SOP classes of its objects; empty when not known.
    pub sop_classes: Vec<String>,
    /// Series Description.
    pub description: String,
    /// Protocol Name and Performed Procedure Step Description.
    pub protocol: String,
    /// Body Part Examined.
    pub body_part: String,
    /// Laterality (0020,0060).
    pub laterality: String,
    /// The images in it; empty when only their number is known.
    pub images: Vec<ImageFacts>,
    /// Number of images (frames of multi-frame objects).
    pub count: usize,
    /// Values of Image Type, all images.
    pub image_type: Vec<String>,
    /// Values of Contrast/Bolus Agent and meanings of its code sequence.
    pub agents: Vec<String>,
    /// Values of Contrast/Bolus Route, codes of its sequence as meanings.
    pub routes: Vec<String>,
    /// Contrast/Bolus Agent Phase (0018,9344), such as `PRE_CONTRAST`, `PORTAL_VENOUS` (采集期相).
    pub phases: Vec<String>,
    /// Anatomic Region Sequence of the series' images.
    pub region_codes: Vec<Code>,
    /// Patient Position (0018,5100), such as `HFS`.
    pub patient_position: String,
    /// Acquisition Contrast (0008,9209) of enhanced MR, such as `T1`.
    pub acquisition_contrast: Vec<String>,
    /// The stacks of slices, largest first.
    pub stacks: Vec<Stack>,
    /// Instance numbers, as they are.
    pub numbers: Vec<i64>,
    /// The acquisitions that say how many images they have (Images in Acquisition, 0020,1002).
    pub acquisitions: Vec<Acquisition>,
    /// Objects that the modality's performed procedure step announced for the series, and those that are here; none where no finished step
    /// names it.
    pub announced: Option<(usize, usize)>,
    /// The least and the greatest repetition time of its images, ms; what its row has kept of all of them.
    pub repetition_ms: Option<(f64, f64)>,
    /// Scanning Sequence (0018,0020) is SE alone.
    pub spin_echo: bool,
    /// Repetition, echo and inversion time, ms.
    pub times_ms: (Option<f64>, Option<f64>, Option<f64>),
}

impl SeriesFacts {
    /// The largest stack.
    pub fn stack(&self) -> Option<&Stack> {
        self.stacks.first()
    }

    /// What the largest stack and those that continue it cover, mm: a head is often made of a thin and a thick block.
    pub fn coverage_mm(&self) -> Option<f64> {
        Some(self.joined()?.0)
    }

    /// First and last position of the largest stack with those that continue it, along its normal, mm.
    pub fn ends(&self) -> Option<(f64, f64)> {
        Some(self.joined()?.1)
    }

    fn joined(&self) -> Option<(f64, (f64, f64))> {
        let largest = self.stack()?;
        let alike = self.stacks.iter().skip(1).filter(|s| s.plane == largest.plane && s.is_parallel_to(largest));
        let mut blocks: Vec<&Stack> = alike.collect();
        let (mut covered, mut ends) = (largest.coverage_mm, largest.ends()?);
        while let Some(at) = blocks.iter().position(|b| b.continues(ends, largest.step_mm)) {
            let (low, high) = blocks.swap_remove(at).ends()?;
            let joined = (ends.0.min(low), ends.1.max(high));
            covered += (joined.1 - joined.0) - (ends.1 - ends.0);
            ends = joined;
        }
        Some((covered, ends))
    }
}

/// A projection image.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// SOP Instance UID.
    pub uid: Uid,
    /// View Position (0018,5101).
    pub view_position: String,
    /// View Code Sequence with its modifiers.
    pub view_codes: Vec<Code>,
    /// Image Laterality (0020,0062), else Frame Laterality (0020,9072).
    pub laterality: String,
    /// Patient Orientation (0020,0020): where rows and columns run.
    pub orientation: Vec<String>,
    /// Anatomic Region Sequence with its modifiers.
    pub region_codes: Vec<Code>,
    /// Patient Orientation Code Sequence with its modifiers (PS3.16 CID 19, 20): erect, recumbent, supine …
    pub posture_codes: Vec<Code>,
}

/// One instance with its attributes.
pub struct InstanceInput<'a> {
    /// SOP Instance UID.
    pub uid: &'a Uid,
    /// Which of its frames, from 0.
    pub frame: u32,
    /// Instance-level attributes.
    pub attributes: &'a Attributes,
}

/// A series with its instances.
pub struct SeriesInput<'a> {
    /// Series Instance UID.
    pub uid: &'a Uid,
    /// Series-level attributes.
    pub attributes: &'a Attributes,
    /// Its instances.
    pub instances: Vec<InstanceInput<'a>>,
}

/// Takes the facts of a study.
pub fn study_facts(study: &Attributes, series: &[SeriesInput<'_>]) -> StudyFacts {
    const REQUESTED: &str = "Requested Procedure Description";
    let named = |from, text: Option<&str>| StudyText { from, text: text.unwrap_or("").to_string() };
    let mut texts = vec![
        named("Study Description", study.text(tags::STUDY_DESCRIPTION)),
        named(REQUESTED, study.text(tags::REQUESTED_PROCEDURE_DESCRIPTION)),
    ];
    let mut codes = codes(study, &[tags::PROCEDURE_CODE_SEQUENCE]);
    for request in series.iter().flat_map(|s| s.attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE)) {
        texts.push(named(REQUESTED, request.text(tags::REQUESTED_PROCEDURE_DESCRIPTION)));
        codes.extend(self::codes(request, &[tags::REQUESTED_PROCEDURE_CODE_SEQUENCE]));
    }
    texts.extend(codes.iter().map(|c| named("Procedure Code Sequence", Some(&c.meaning))));
    texts.retain(|t| !t.text.trim().is_empty());
    StudyFacts {
        texts: distinct(texts),
        codes: distinct(codes),
        age_months: age_months(study),
        agents: vec![],
        series: series.iter().map(series_facts).collect(),
    }
}

fn series_facts(series: &SeriesInput<'_>) -> SeriesFacts {
    let own = |tag| series.attributes.text(tag).unwrap_or("").to_string();
    let number = |tag| series.attributes.float(tag);
    let first = |tag| series.instances.iter().find_map(|i| i.attributes.float(tag));
    let all = |tag| {
        let mut values: Vec<String> = series.instances.iter().flat_map(|i| i.attributes.texts(tag).to_vec()).collect();
        values.sort();
        values.dedup();
        values
    };
    let coded = |tag| distinct(series.instances.iter().flat_map(|i| codes(i.attributes, &[tag])));
    // A code without its meaning is still an agent.
    let named = |c: Code| if c.meaning.trim().is_empty() { format!("{} {}", c.scheme, c.value) } else { c.meaning };
    let meanings = |tag| coded(tag).into_iter().map(named).filter(|m| !m.trim().is_empty());
    let positions: Vec<_> = series.instances.iter().filter_map(|i| geometry::slice(i.uid, i.frame, i.attributes)).collect();
    SeriesFacts {
        uid: series.uid.clone(),
        modality: own(tags::MODALITY),
        sop_classes: all(tags::SOP_CLASS_UID),
        description: own(tags::SERIES_DESCRIPTION),
        protocol: join([
            own(tags::PROTOCOL_NAME),
            own(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION),
            join(codes(series.attributes, &[tags::SERIES_DESCRIPTION_CODE_SEQUENCE]).into_iter().map(|c| c.meaning)),
        ]),
        body_part: own(tags::BODY_PART_EXAMINED),
        laterality: own(tags::LATERALITY),
        images: series.instances.iter().map(image_facts).collect(),
        count: series
            .instances
            .iter()
            .map(|i| i.attributes.int(tags::NUMBER_OF_FRAMES).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1))
            .fold(0, usize::saturating_add),
        image_type: all(tags::IMAGE_TYPE),
        agents: distinct(all(tags::CONTRAST_BOLUS_AGENT).into_iter().chain(meanings(tags::CONTRAST_BOLUS_AGENT_SEQUENCE))),
        routes: distinct(
            all(tags::CONTRAST_BOLUS_ROUTE).into_iter().chain(meanings(tags::CONTRAST_BOLUS_ADMINISTRATION_ROUTE_SEQUENCE)),
        ),
        phases: all(tags::CONTRAST_BOLUS_AGENT_PHASE),
        region_codes: coded(tags::ANATOMIC_REGION_SEQUENCE),
        patient_position: own(tags::PATIENT_POSITION),
        acquisition_contrast: all(tags::ACQUISITION_CONTRAST),
        stacks: {
            let mut stacks = geometry::stacks(&positions);
            stacks.sort_by_key(|s| std::cmp::Reverse(s.slices.len()));
            stacks
        },
        numbers: series.instances.iter().filter_map(|i| i.attributes.int(tags::INSTANCE_NUMBER)).collect(),
        acquisitions: acquisitions(&series.instances),
        announced: None,
        repetition_ms: None,
        spin_echo: series.attributes.texts(tags::SCANNING_SEQUENCE).iter().map(|t| t.trim()).eq(["SE"]),
        times_ms: (number(tags::REPETITION_TIME), first(tags::ECHO_TIME), number(tags::INVERSION_TIME)),
    }
}

/// The images of one acquisition in one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acquisition {
    /// Acquisition Number; empty for the steps of a sequential scanner, which are one.
    pub number: String,
    /// How many images it is said to have; several values: the largest.
    pub stated: usize,
    /// How many are in this series.
    pub here: usize,
    /// First and last Acquisition Time, seconds of the day.
    pub span: Option<(f64, f64)>,
}

impl Acquisition {
    fn add(&mut self, other: &Acquisition) {
        self.stated = self.stated.max(other.stated);
        self.here += other.here;
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (one, other) => one.or(other),
        };
    }

    /// Whether these may be other images of the same acquisition: another reconstruction.
    pub fn is_of(&self, other: &Acquisition) -> bool {
        let together = |a: (f64, f64), b: (f64, f64)| a.0 <= b.1 && b.0 <= a.1;
        self.number == other.number && self.span.zip(other.span).is_none_or(|(a, b)| together(a, b))
    }
}

/// Images that one step of a sequential scanner makes.
const MOST_IN_A_STEP: usize = 4;

fn acquisitions(instances: &[InstanceInput<'_>]) -> Vec<Acquisition> {
    let mut by_number: std::collections::BTreeMap<String, Acquisition> = std::collections::BTreeMap::new();
    for InstanceInput { attributes, .. } in instances {
        let number = attributes.texts(tags::ACQUISITION_NUMBER).join("/");
        let stated = attributes.int(tags::IMAGES_IN_ACQUISITION).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let span = attributes.text(tags::ACQUISITION_TIME).and_then(seconds).map(|t| (t, t));
        let one = Acquisition { number: number.clone(), stated, here: 1, span };
        by_number.entry(number.clone()).or_insert_with(|| Acquisition { number, ..Acquisition::default() }).add(&one);
    }
    let mut all: Vec<Acquisition> = by_number.into_values().collect();
    let parts = concatenations(instances);
    // Steps of a sequential scanner, a few images each, that all state how many the whole scan has.
    let steps = all.iter().all(|a| a.here == 1) || all.iter().all(|a| a.here <= MOST_IN_A_STEP && a.stated > MOST_IN_A_STEP);
    if all.len() > 1 && steps {
        let mut whole = Acquisition::default();
        all.iter().for_each(|step| whole.add(step));
        all = vec![whole];
    }
    all.retain(|a| a.stated > 0);
    all.extend(parts);
    all
}

/// Objects that are parts of a larger one (PS3.3 C.7.6.16.2.2.4): how many there are to be, and how many are here.
fn concatenations(instances: &[InstanceInput<'_>]) -> Vec<Acquisition> {
    let mut whole: std::collections::BTreeMap<String, (usize, std::collections::BTreeSet<&Uid>)> =
        std::collections::BTreeMap::new();
    for InstanceInput { attributes, uid, .. } in instances {
        let total = attributes.int(tags::IN_CONCATENATION_TOTAL_NUMBER).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        if let Some(name) = attributes.text(tags::CONCATENATION_UID).filter(|_| total > 1) {
            let (stated, here) = whole.entry(format!("concatenation {name}")).or_default();
            *stated = total.max(*stated);
            here.insert(uid);
        }
    }
    let one = |(number, (stated, here)): (String, (usize, std::collections::BTreeSet<&Uid>))| Acquisition {
        number,
        stated,
        here: here.len(),
        span: None,
    };
    whole.into_iter().map(one).collect()
}

/// Seconds of the day of a DICOM time.
fn seconds(text: &str) -> Option<f64> {
    let text: String = text.chars().filter(|c| *c != ':').collect();
    let two = |at: usize| text.get(at..at + 2).and_then(|t| t.parse::<f64>().ok());
    let rest = text.get(4..).and_then(|t| t.trim().parse::<f64>().ok()).unwrap_or(0.0);
    Some(two(0)? * 3600.0 + two(2).unwrap_or(0.0) * 60.0 + rest)
}

fn image_facts(instance: &InstanceInput<'_>) -> ImageFacts {
    let own = |tag| instance.attributes.text(tag).unwrap_or("").to_string();
    ImageFacts {
        uid: instance.uid.clone(),
        view_position: own(tags::VIEW_POSITION),
        view_codes: codes(instance.attributes, &[tags::VIEW_CODE_SEQUENCE, tags::VIEW_MODIFIER_CODE_SEQUENCE]),
        laterality: instance
            .attributes
            .text(tags::IMAGE_LATERALITY)
            .or_else(|| instance.attributes.text(tags::FRAME_LATERALITY))
            .unwrap_or("")
            .to_string(),
        orientation: instance.attributes.texts(tags::PATIENT_ORIENTATION).to_vec(),
        region_codes: codes(instance.attributes, &[tags::ANATOMIC_REGION_SEQUENCE, tags::ANATOMIC_REGION_MODIFIER_SEQUENCE]),
        posture_codes: codes(
            instance.attributes,
            &[tags::PATIENT_ORIENTATION_CODE_SEQUENCE, tags::PATIENT_ORIENTATION_MODIFIER_CODE_SEQUENCE],
        ),
    }
}

/// The codes along a path of sequences: those of the first, and of each nested one inside it.
fn codes(attributes: &Attributes, path: &[crate::dicom::Tag]) -> Vec<Code> {
    let Some((first, rest)) = path.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    for item in attributes.items(*first) {
        let value = [tags::CODE_VALUE, tags::LONG_CODE_VALUE, tags::URN_CODE_VALUE].into_iter().find_map(|t| item.text(t));
        found.push(Code {
            scheme: item.text(tags::CODING_SCHEME_DESIGNATOR).unwrap_or("").to_string(),
            value: value.unwrap_or("").to_string(),
            meaning: item.text(tags::CODE_MEANING).unwrap_or("").to_string(),
        });
        found.extend(codes(item, rest));
    }
    found
}

fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn join(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(" | ")
}

/// Completed months of age on the study date: from the birth date, else from Patient's Age (0010,1010).
pub fn age_months(study: &Attributes) -> Option<u32> {
    let from_dates = || {
        let birth = date(study.text(tags::PATIENT_BIRTH_DATE)?)?;
        let exam = date(study.text(tags::STUDY_DATE)?)?;
        let months = (exam.0 - birth.0) * 12 + (exam.1 - birth.1) - i64::from(exam.2 < birth.2);
        u32::try_from(months).ok()
    };
    from_dates().or_else(|| age_of_string(study.text(tags::PATIENT_AGE)?))
}

/// Completed months of an age string such as `045Y`, `008M`, `003W`, `015D` (PS3.5 AS).
pub fn age_of_string(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u32 = number.trim().parse().ok()?;
    match unit {
        "Y" => number.checked_mul(12),
        "M" => Some(number),
        "W" => Some(number / 4),
        "D" => Some(number / 30),
        _ => None,
    }
}

/// Year, month, day of a DICOM date; the old form with dots is read too.
pub fn date(text: &str) -> Option<(i64, i64, i64)> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() != 8 {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|t| t.parse::<i64>().ok());
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    (year > 0 && (1..=days).contains(&day)).then_some((year, month, day))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dicom::VR;

    /// A series of nothing but stacks.
    pub(crate) fn series_of(stacks: Vec<Stack>) -> SeriesFacts {
        let uid = Uid::derived(&["series"]);
        let attributes = Attributes::default();
        let input = SeriesInput { uid: &uid, attributes: &attributes, instances: vec![] };
        SeriesFacts { stacks, ..series_facts(&input) }
    }

    #[test]
    fn age_counts_completed_months_and_the_birth_date_wins() {
        let mut a = Attributes::default();
        a.set(tags::PATIENT_AGE, VR::AS, vec!["045Y".into()]);
        assert_eq!(age_months(&a), Some(540));
        a.set(tags::PATIENT_BIRTH_DATE, VR::DA, vec!["20230311".into()]);
        a.set(tags::STUDY_DATE, VR::DA, vec!["20260310".into()]);
        assert_eq!(age_months(&a), Some(35));
        assert_eq!(age_of_string("015D"), Some(0));
        assert_eq!(age_of_string("Y"), None);
        assert_eq!(date("20260230"), None);
        assert_eq!(date("2024.02.29"), Some((2024, 2, 29)));
    }
}
