//! Enhanced multi-frame objects, frame by frame: what each frame's functional groups (PS3.3 C.7.6.16) say, in the terms of classic
//! single-frame images. Reads headers only, never pixels.

use super::dataset::DataSet;
use super::{Attributes, Tag, levels, tags};

/// What functional groups call otherwise than classic images do.
const RENAMED: &[(Tag, Tag)] = &[
    (tags::FRAME_TYPE, tags::IMAGE_TYPE),
    (tags::EFFECTIVE_ECHO_TIME, tags::ECHO_TIME),
    (tags::INVERSION_TIMES, tags::INVERSION_TIME),
    (tags::FRAME_ACQUISITION_NUMBER, tags::ACQUISITION_NUMBER),
    (tags::TEMPORAL_POSITION_INDEX, tags::TEMPORAL_POSITION_IDENTIFIER),
    (tags::NOMINAL_CARDIAC_TRIGGER_DELAY_TIME, tags::TRIGGER_TIME),
    (tags::IN_STACK_POSITION_NUMBER, tags::INSTANCE_NUMBER),
];

/// What the top level says of the whole object and not of one frame.
const OF_THE_OBJECT: &[Tag] = &[tags::NUMBER_OF_FRAMES, tags::IMAGES_IN_ACQUISITION, tags::INSTANCE_NUMBER];

/// Bytes of an attribute's text that each frame may repeat.
const LONGEST_SHARED: usize = 256;

/// More frames than any examination has: what lies behind them is not read.
const MOST_FRAMES: usize = 50_000;

/// How many frames an object describes one by one; 0 for one that does not.
pub fn count(data_set: &DataSet) -> usize {
    data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len()
}

/// The attributes of one frame, counted from 0; none when the object does not describe it.
pub fn frame(data_set: &DataSet, whole: &Attributes, number: usize) -> Option<Attributes> {
    let groups = data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(number)?;
    let mut frame = flattened(groups);
    frame.fill_from(&shared(data_set, whole));
    Some(frame)
}

/// What holds for all frames.
fn shared(data_set: &DataSet, whole: &Attributes) -> Attributes {
    let mut shared = Attributes::default();
    if let Some(groups) = data_set.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first() {
        shared = flattened(groups);
    }
    shared.fill_from(&whole.only(|tag| !OF_THE_OBJECT.contains(&tag)));
    // Every frame gets a copy: a long text of the object would be there thousands of times.
    shared.brief(LONGEST_SHARED)
}

/// The attributes of each frame: its own groups, else the shared ones, else `whole`, those of the object.
pub fn frames(data_set: &DataSet, whole: &Attributes) -> Vec<Attributes> {
    let shared = shared(data_set, whole);
    let own = data_set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).iter().take(MOST_FRAMES);
    let frame = |groups: &DataSet| {
        let mut frame = flattened(groups);
        frame.fill_from(&shared);
        frame
    };
    own.map(frame).collect()
}

/// The kept attributes of all macros of one item.
fn flattened(groups: &DataSet) -> Attributes {
    let mut flat = Attributes::default();
    let wanted = |tag: Tag| levels::level_of(tag).is_some() || RENAMED.iter().any(|(from, _)| *from == tag);
    for group in &groups.elements {
        for item in groups.items(group.tag) {
            flat.fill_from(&Attributes::decode(item, wanted));
        }
    }
    for (from, to) in RENAMED {
        flat.rename(*from, *to);
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::dataset::Value;

    #[test]
    fn a_frame_repeats_short_attributes_of_the_object_and_no_long_ones() {
        let mut data_set = DataSet::default();
        let mut position = DataSet::default();
        position.put_text(tags::IMAGE_POSITION_PATIENT, VR::DS, "0\\0\\5");
        let mut groups = DataSet::default();
        groups.put(tags::PLANE_POSITION_SEQUENCE, VR::SQ, Value::Items(vec![position]));
        data_set.put(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, Value::Items(vec![groups.clone(), groups]));
        let mut whole = Attributes::default();
        whole.set(tags::SLICE_THICKNESS, VR::DS, vec!["5".into()]);
        whole.set(tags::DERIVATION_DESCRIPTION, VR::ST, vec!["x".repeat(60_000)]);
        whole.set(tags::NUMBER_OF_FRAMES, VR::IS, vec!["2".into()]);
        let frames = frames(&data_set, &whole);
        assert_eq!((frames.len(), count(&data_set)), (2, 2));
        for frame in &frames {
            assert_eq!(frame.floats(tags::IMAGE_POSITION_PATIENT), [0.0, 0.0, 5.0]);
            assert_eq!(frame.float(tags::SLICE_THICKNESS), Some(5.0));
            assert!(!frame.has(tags::DERIVATION_DESCRIPTION) && !frame.has(tags::NUMBER_OF_FRAMES));
        }
    }
}
