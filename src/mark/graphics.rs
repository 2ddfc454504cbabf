//! Graphics and texts of a presentation state (PS3.3 C.10.5) that a viewer would draw over the mark.
//!
//! Never opens an image: where its mark is, it is told.

use super::refer::Copies;
use crate::dicom::{DataSet, Tag, tags};

/// Columns and rows, from 0.
type Point = (f64, f64);

/// An upright rectangle: left, upper, right, lower.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area([f64; 4]);

/// Where the mark stands on an image, by the original's SOP Instance UID: left, upper, right, lower, in pixels, grown to the image's corner.
pub type Corner<'a> = dyn Fn(&str) -> Option<[f64; 4]> + 'a;

/// Whether a state draws into the corner that holds the mark of an image that it is for.
pub fn cover(state: &DataSet, copies: &Copies, corner: &Corner<'_>) -> bool {
    let every: Vec<&DataSet> =
        state.items(tags::REFERENCED_SERIES_SEQUENCE).iter().flat_map(|s| s.items(tags::REFERENCED_IMAGE_SEQUENCE)).collect();
    state.items(tags::GRAPHIC_ANNOTATION_SEQUENCE).iter().any(|annotation| {
        let own = annotation.items(tags::REFERENCED_IMAGE_SEQUENCE);
        let images = if own.is_empty() { every.clone() } else { own.iter().collect() };
        images.iter().any(|reference| {
            let named = reference.text(tags::REFERENCED_SOP_INSTANCE_UID).unwrap_or_default();
            let size = copies.get(named.trim()).map(|c| c.size);
            size.zip(corner(named.trim())).is_some_and(|(size, area)| draws_into(annotation, size, Area(area)))
        })
    })
}

fn draws_into(annotation: &DataSet, size: (i64, i64), area: Area) -> bool {
    let points = |item: &DataSet, data: Tag, units: Tag| points(item, data, units, size);
    let text = |item: &DataSet| {
        let at = |tag| points(item, tag, tags::BOUNDING_BOX_ANNOTATION_UNITS).first().copied();
        let ends = (at(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER), at(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER));
        match ends {
            (Some(first), Some(last)) => area.meets(Area::around(&[first, last])),
            // How large a text without a box is, and on which side of its anchor, is the viewer's choice.
            _ => points(item, tags::ANCHOR_POINT, tags::ANCHOR_POINT_ANNOTATION_UNITS).iter().any(|anchor| {
                area.meets(reach_of(&item.text(tags::UNFORMATTED_TEXT_VALUE).unwrap_or_default(), *anchor, size))
            }),
        }
    };
    let graphic = |item: &DataSet| {
        let drawn = outline(
            &item.text(tags::GRAPHIC_TYPE).unwrap_or_default(),
            points(item, tags::GRAPHIC_DATA, tags::GRAPHIC_ANNOTATION_UNITS),
        );
        if item.text(tags::GRAPHIC_FILLED).as_deref() == Some("Y") {
            return !drawn.is_empty() && area.meets(Area::around(&drawn));
        }
        drawn.first().is_some_and(|p| area.holds(*p))
            || drawn.windows(2).any(|ends| matches!(ends, [a, b] if area.is_crossed(*a, *b)))
    };
    let compound = |item: &DataSet| {
        let drawn = points(item, tags::GRAPHIC_DATA, tags::COMPOUND_GRAPHIC_UNITS);
        match (item.text(tags::COMPOUND_GRAPHIC_TYPE).unwrap_or_default().trim(), drawn.as_slice()) {
            // On and on in both directions (PS3.3 C.10.5.1.2.2).
            ("INFINITELINE", [a, b, ..]) => {
                let far = |from: &Point, to: &Point| (to.0 + FAR * (to.0 - from.0), to.1 + FAR * (to.1 - from.1));
                area.is_crossed(far(b, a), far(a, b))
            }
            ("CROSSHAIR", [(x, y), ..]) => {
                let Area([l, u, r, b]) = area;
                (l..=r).contains(x) || (u..=b).contains(y)
            }
            _ => !drawn.is_empty() && area.meets(Area::around(&drawn)),
        }
    };
    annotation.items(tags::TEXT_OBJECT_SEQUENCE).iter().any(text)
        || annotation.items(tags::GRAPHIC_OBJECT_SEQUENCE).iter().any(graphic)
        || annotation.items(tags::COMPOUND_GRAPHIC_SEQUENCE).iter().any(compound)
}

/// An infinite line goes on for so many times its points' distance: an image has fewer pixels.
const FAR: f64 = 1e5;

/// What a text without a box may take at most: a character a fortieth of the image's width, to either side, and a tenth up and down for each
/// of its lines.
fn reach_of(text: &str, (x, y): Point, (columns, rows): (i64, i64)) -> Area {
    let lines: Vec<&str> = text.lines().collect();
    let longest = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0).clamp(4, 1024);
    let across = longest as f64 * columns as f64 / 40.0;
    let down = lines.len().clamp(1, 64) as f64 * rows as f64 / 10.0;
    Area([x - across, y - down, x + across, y + down])
}

/// Points of an element as columns and rows of an image. Fractions are of the displayed area, which is the whole image here.
fn points(item: &DataSet, data: Tag, units: Tag, (columns, rows): (i64, i64)) -> Vec<Point> {
    let numbers: Vec<f64> =
        item.bytes(data).unwrap_or_default().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
    let fractions = item.text(units).as_deref() == Some("DISPLAY");
    let place = |[x, y]: &[f64; 2]| if fractions { (x * columns as f64, y * rows as f64) } else { (x - 0.5, y - 0.5) };
    numbers.as_chunks::<2>().0.iter().map(place).collect()
}

/// The line that a graphic type is drawn along.
fn outline(kind: &str, points: Vec<Point>) -> Vec<Point> {
    const STEPS: u32 = 64;
    let around = |center: Point, one: Point, other: Point| {
        let at = |step| {
            let (sin, cos) = (f64::from(step) * std::f64::consts::TAU / f64::from(STEPS)).sin_cos();
            (center.0 + one.0 * cos + other.0 * sin, center.1 + one.1 * cos + other.1 * sin)
        };
        (0..=STEPS).map(at).collect()
    };
    let half = |a: Point, b: Point| ((b.0 - a.0) / 2.0, (b.1 - a.1) / 2.0);
    match (kind, points.as_slice()) {
        ("CIRCLE", [center, edge]) => {
            let radius = (edge.0 - center.0).hypot(edge.1 - center.1);
            around(*center, (radius, 0.0), (0.0, radius))
        }
        ("ELLIPSE", [a, b, c, d]) => around(((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0), half(*a, *b), half(*c, *d)),
        _ => points,
    }
}

impl Area {
    fn around(points: &[Point]) -> Area {
        let start = Area([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY]);
        points.iter().fold(start, |Area([l, u, r, b]), (x, y)| Area([l.min(*x), u.min(*y), r.max(*x), b.max(*y)]))
    }

    fn holds(self, (x, y): Point) -> bool {
        let Area([l, u, r, b]) = self;
        (l..=r).contains(&x) && (u..=b).contains(&y)
    }

    fn meets(self, Area([l, u, r, b]): Area) -> bool {
        let Area([left, upper, right, lower]) = self;
        l <= right && r >= left && u <= lower && b >= upper
    }

    /// Whether a line from one point to another passes through (Liang and Barsky's clipping).
    fn is_crossed(self, from: Point, to: Point) -> bool {
        let Area([l, u, r, b]) = self;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let sides = [(-dx, from.0 - l), (dx, r - from.0), (-dy, from.1 - u), (dy, b - from.1)];
        let (mut enters, mut leaves) = (0.0f64, 1.0f64);
        for (step, room) in sides {
            if step == 0.0 {
                if room < 0.0 {
                    return false;
                }
            } else if step < 0.0 {
                enters = enters.max(room / step);
            } else {
                leaves = leaves.min(room / step);
            }
        }
        enters <= leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{Uid, VR, Value};
    use crate::mark::refer::Copy;

    fn floats(values: &[f32]) -> Value {
        Value::Bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A state with one annotation for an image of 512 columns and rows.
    fn state(sequence: Tag, object: DataSet) -> DataSet {
        let mut named = DataSet::default();
        named.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.1");
        let mut annotation = DataSet::default();
        annotation.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, Value::Items(vec![named]));
        annotation.put(sequence, VR::SQ, Value::Items(vec![object]));
        let mut state = DataSet::default();
        state.put(tags::GRAPHIC_ANNOTATION_SEQUENCE, VR::SQ, Value::Items(vec![annotation]));
        state
    }

    fn graphic(kind: &str, filled: bool, values: &[f32]) -> DataSet {
        let mut object = DataSet::default();
        object.put_text(tags::GRAPHIC_ANNOTATION_UNITS, VR::CS, "PIXEL");
        object.put_text(tags::GRAPHIC_TYPE, VR::CS, kind);
        object.put_text(tags::GRAPHIC_FILLED, VR::CS, if filled { "Y" } else { "N" });
        object.put(tags::GRAPHIC_DATA, VR::FL, floats(values));
        state(tags::GRAPHIC_OBJECT_SEQUENCE, object)
    }

    #[test]
    fn what_would_lie_over_the_mark_is_known_and_what_passes_by_is_not() {
        let uid = |t: &str| Uid::parse(t).unwrap();
        let copies = [("1.1".to_string(), Copy { instance: uid("9.1"), series: uid("8.1"), size: (512, 512) })].into();
        let at_the_top = |_: &str| Some([440.0, 0.0, 512.0, 45.0]);
        let at_the_bottom = |_: &str| Some([0.0, 467.0, 72.0, 512.0]);
        let all = [1.0, 1.0, 512.0, 1.0, 512.0, 512.0, 1.0, 512.0, 1.0, 1.0];
        for (what, state, covers) in [
            ("an arrow at a lesion", graphic("POLYLINE", false, &[100.0, 200.0, 140.0, 240.0]), false),
            ("a line into the corner", graphic("POLYLINE", false, &[100.0, 200.0, 500.0, 10.0]), true),
            ("a line through the corner", graphic("POLYLINE", false, &[400.0, -50.0, 600.0, 60.0]), true),
            ("a diagonal that passes by", graphic("POLYLINE", false, &[200.0, 0.0, 512.0, 400.0]), false),
            ("a frame around the image", graphic("POLYLINE", false, &all), true),
            ("a filled triangle over all", graphic("POLYLINE", true, &[1.0, 1.0, 512.0, 1.0, 256.0, 512.0]), true),
            ("a circle around the middle", graphic("CIRCLE", false, &[256.0, 256.0, 256.0, 20.0]), false),
            ("a disc that wide", graphic("CIRCLE", true, &[256.0, 256.0, 256.0, 20.0]), true),
            ("an ellipse in the corner", graphic("ELLIPSE", false, &[470.0, 25.0, 505.0, 25.0, 488.0, 5.0, 488.0, 45.0]), true),
            ("a point in the corner", graphic("POINT", false, &[490.0, 20.0]), true),
            ("nothing", graphic("POLYLINE", false, &[]), false),
        ] {
            assert_eq!(cover(&state, &copies, &at_the_top), covers, "{what}");
        }
        let text = |corners: [f32; 4]| {
            let mut object = DataSet::default();
            object.put_text(tags::BOUNDING_BOX_ANNOTATION_UNITS, VR::CS, "DISPLAY");
            object.put(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, VR::FL, floats(&corners[..2]));
            object.put(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, VR::FL, floats(&corners[2..]));
            state(tags::TEXT_OBJECT_SEQUENCE, object)
        };
        assert!(cover(&text([0.85, 0.0, 1.0, 0.1]), &copies, &at_the_top));
        assert!(!cover(&text([0.0, 0.9, 0.3, 1.0]), &copies, &at_the_top));
        let mut anchored = DataSet::default();
        anchored.put_text(tags::ANCHOR_POINT_ANNOTATION_UNITS, VR::CS, "PIXEL");
        anchored.put(tags::ANCHOR_POINT, VR::FL, floats(&[400.0, 30.0]));
        assert!(cover(&state(tags::TEXT_OBJECT_SEQUENCE, anchored), &copies, &at_the_top));
        assert!(cover(&text([0.0, 0.9, 0.3, 1.0]), &copies, &at_the_bottom));
        assert!(!cover(&text([0.85, 0.0, 1.0, 0.1]), &copies, &at_the_bottom));
        let compound = |kind: &str, values: &[f32]| {
            let mut object = DataSet::default();
            object.put_text(tags::COMPOUND_GRAPHIC_UNITS, VR::CS, "PIXEL");
            object.put_text(tags::COMPOUND_GRAPHIC_TYPE, VR::CS, kind);
            object.put(tags::GRAPHIC_DATA, VR::FL, floats(values));
            state(tags::COMPOUND_GRAPHIC_SEQUENCE, object)
        };
        let long = |text: &str| {
            let mut object = DataSet::default();
            object.put_text(tags::ANCHOR_POINT_ANNOTATION_UNITS, VR::CS, "PIXEL");
            object.put(tags::ANCHOR_POINT, VR::FL, floats(&[200.0, 30.0]));
            object.put_text(tags::UNFORMATTED_TEXT_VALUE, VR::ST, text);
            state(tags::TEXT_OBJECT_SEQUENCE, object)
        };
        for (what, state, covers) in [
            ("an infinite line towards the corner", compound("INFINITELINE", &[256.0, 256.0, 268.0, 244.0]), true),
            ("an infinite line away from it", compound("INFINITELINE", &[256.0, 256.0, 256.0, 300.0]), false),
            ("a ruler that ends before it", compound("RULER", &[100.0, 200.0, 200.0, 100.0]), false),
            ("a cross hair in its row", compound("CROSSHAIR", &[256.0, 20.0, 266.0, 20.0]), true),
            ("a cross hair elsewhere", compound("CROSSHAIR", &[256.0, 256.0, 266.0, 256.0]), false),
            ("a long text from the middle", long("a text as long as the way to the corner"), true),
            ("a short text in the middle", long("short"), false),
        ] {
            assert_eq!(cover(&state, &copies, &at_the_top), covers, "{what}");
        }
        assert!(!cover(&graphic("POINT", false, &[490.0, 20.0]), &[].into(), &at_the_top), "the image has no copy");
    }
}
