//! A stored study as rules see it: its originals, and each frame of an enhanced object as an image of its own.

use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, multiframe, tags};
use crate::exam::facts::{InstanceInput, SeriesInput, StudyFacts, StudyText, study_facts};
use crate::index::{InstanceRow, SeriesRow, StudyRow};
use crate::retrieve::Object;
use crate::store::Store;

/// The series of a study with their instances.
pub type Contents = Vec<(SeriesRow, Vec<InstanceRow>)>;

/// What came from outside. By instance, not by series: whatever series an original claims to belong to, it counts.
pub fn originals(contents: &Contents) -> Contents {
    let own = |rows: &[InstanceRow]| rows.iter().filter(|r| r.is_original()).cloned().collect::<Vec<_>>();
    contents.iter().map(|(s, rows)| (s.clone(), own(rows))).filter(|(_, rows)| !rows.is_empty()).collect()
}

/// A series with its frames.
pub struct Whole {
    /// The series' attributes, with those that its frames share and the top level does not have.
    pub attributes: Attributes,
    /// For each row: its frames; empty for a classic image.
    pub frames: Vec<Vec<Attributes>>,
    /// For each row: its attributes, with those of its first frame where the object as a whole is silent.
    pub images: Vec<Attributes>,
}

impl Whole {
    /// An object that does not open is a finding of the pixel checks; here it counts as it is indexed.
    pub fn read(store: &Store, series: &SeriesRow, rows: &[InstanceRow]) -> Whole {
        let frames: Vec<Vec<Attributes>> = rows.iter().map(|row| frames_of(store, row)).collect();
        let mut attributes = series.attributes.clone();
        for frame in frames.iter().filter_map(|f| f.first()) {
            attributes.fill_from(&frame.only(|tag| level_of(tag) == Some(Level::Series)));
        }
        let image = |(row, frames): (&InstanceRow, &Vec<Attributes>)| {
            let mut image = row.attributes.clone();
            frames.first().into_iter().for_each(|first| image.fill_from(first));
            image
        };
        let images = rows.iter().zip(&frames).map(image).collect();
        Whole { attributes, frames, images }
    }
}

fn frames_of(store: &Store, row: &InstanceRow) -> Vec<Attributes> {
    let stated = row.attributes.int(tags::NUMBER_OF_FRAMES).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 1);
    let (Some(stated), Ok(object)) = (stated, Object::open(store, row, 1 << 16)) else { return Vec::new() };
    // Groups for more or fewer frames than there are pixels say nothing of them: the image has no place, and goes to review.
    if multiframe::count(&object.data_set) == stated {
        multiframe::frames(&object.data_set, &row.attributes)
    } else {
        Vec::new()
    }
}

/// The facts of a study.
pub fn facts(study: &StudyRow, originals: &Contents, whole: &[Whole]) -> StudyFacts {
    let pairs = originals.iter().zip(whole);
    let inputs: Vec<SeriesInput<'_>> = pairs.map(|((series, rows), whole)| input(series, rows, whole)).collect();
    let mut facts = study_facts(&study.attributes, &inputs);
    // What another image calls the study counts as well: it may say what the first one does not.
    let known = |text: &String| facts.texts.iter().any(|t| t.text == *text);
    let more: Vec<StudyText> = study
        .descriptions
        .iter()
        .filter(|text| !known(text))
        .map(|text| StudyText { from: "Study Description", text: text.clone() })
        .collect();
    facts.texts.extend(more);
    facts
}

fn input<'a>(series: &'a SeriesRow, rows: &'a [InstanceRow], whole: &'a Whole) -> SeriesInput<'a> {
    SeriesInput {
        uid: &series.series,
        attributes: &whole.attributes,
        instances: rows.iter().zip(&whole.frames).flat_map(|(row, frames)| instances(row, frames)).collect(),
    }
}

fn instances<'a>(row: &'a InstanceRow, frames: &'a [Attributes]) -> Vec<InstanceInput<'a>> {
    let input = |(frame, attributes)| InstanceInput { uid: &row.sop_instance, frame, attributes };
    if frames.is_empty() { vec![input((0, &row.attributes))] } else { (0..).zip(frames).map(input).collect() }
}
