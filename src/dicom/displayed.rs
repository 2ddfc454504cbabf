//! Which part of the matrix a viewer shows: display shutter and collimator (PS3.3 C.7.6.11, C.8.7.3), and what overlays draw over it.

use super::image::Layout;
use super::{Attributes, DataSet, Tag, VR, tags};

/// An area outside of which nothing is shown. Columns and rows are counted from 0.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Left, upper, right, lower; inclusive.
    Rectangle([i64; 4]),
    /// Column, row, radius.
    Circle([i64; 3]),
    /// Corners as column and row.
    Polygon(Vec<(i64, i64)>),
}

/// Tags of one module: shape, left, right, upper, lower, centre, radius, vertices.
type Module = [Tag; 8];

const SHUTTER: Module = [
    tags::SHUTTER_SHAPE,
    tags::SHUTTER_LEFT_VERTICAL_EDGE,
    tags::SHUTTER_RIGHT_VERTICAL_EDGE,
    tags::SHUTTER_UPPER_HORIZONTAL_EDGE,
    tags::SHUTTER_LOWER_HORIZONTAL_EDGE,
    tags::CENTER_OF_CIRCULAR_SHUTTER,
    tags::RADIUS_OF_CIRCULAR_SHUTTER,
    tags::VERTICES_OF_THE_POLYGONAL_SHUTTER,
];
const COLLIMATOR: Module = [
    tags::COLLIMATOR_SHAPE,
    tags::COLLIMATOR_LEFT_VERTICAL_EDGE,
    tags::COLLIMATOR_RIGHT_VERTICAL_EDGE,
    tags::COLLIMATOR_UPPER_HORIZONTAL_EDGE,
    tags::COLLIMATOR_LOWER_HORIZONTAL_EDGE,
    tags::CENTER_OF_CIRCULAR_COLLIMATOR,
    tags::RADIUS_OF_CIRCULAR_COLLIMATOR,
    tags::VERTICES_OF_THE_POLYGONAL_COLLIMATOR,
];

/// What is shown of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Displayed {
    shapes: Vec<Shape>,
    overlays: Vec<Overlay>,
}

/// An overlay plane (C.9.2) that stands in its own element.
#[derive(Debug, Clone, PartialEq)]
struct Overlay {
    /// First column and row in the image, from 0.
    origin: (i64, i64),
    columns: i64,
    rows: i64,
    bits: Vec<u8>,
    /// The first frame, from 0, that it is drawn on, and its number of planes, one a frame; none: one plane on every frame (C.9.2.1.4).
    frames: Option<(i64, i64)>,
}

/// Longest side of an overlay, pixels.
const SIDE: i64 = 65_535;
/// Most frames of an overlay.
const MOST_PLANES: i64 = 65_535;

impl Displayed {
    /// From an object's elements; shapes that no image can have are left out.
    pub fn of(data_set: &DataSet) -> Displayed {
        let wanted = |tag: Tag| SHUTTER.contains(&tag) || COLLIMATOR.contains(&tag) || (tag.0 & 0xFF00) == 0x6000;
        let values = Attributes::decode(data_set, wanted);
        let mut shapes: Vec<Shape> = [SHUTTER, COLLIMATOR].iter().flat_map(|module| shapes_of(&values, module)).collect();
        // Enhanced objects say it of their frames (C.8.19.6.12); the mark stands where every frame shows it.
        for groups in [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE] {
            for shutter in data_set.items(groups).iter().flat_map(|item| item.items(tags::FRAME_DISPLAY_SHUTTER_SEQUENCE)) {
                for shape in shapes_of(&Attributes::decode(shutter, wanted), &SHUTTER) {
                    if !shapes.contains(&shape) {
                        shapes.push(shape);
                    }
                }
            }
        }
        let groups = (0x6000u16..0x6020).step_by(2);
        Displayed { shapes, overlays: groups.filter_map(|group| overlay(data_set, &values, group)).collect() }
    }

    /// Whether overlays stand in bits of the samples that no sample uses (Overlay Bit Position, retired with PS3.3-2004); see [`Displayed::embed`].
    pub fn has_embedded(data_set: &DataSet) -> bool {
        !embedded(data_set).is_empty()
    }

    /// Adds the overlays that the samples of a frame (counted from 0) hold: native ones, little-endian, of 8 or 16 bits.
    pub fn embed(&mut self, data_set: &DataSet, layout: &Layout, samples: &[u8], number: u32) {
        let used = (layout.high_bit + 1).saturating_sub(layout.bits_stored)..=layout.high_bit;
        for bit in embedded(data_set).into_iter().filter(|bit| *bit < layout.bits_allocated && !used.contains(bit)) {
            let is_set: Vec<bool> = match layout.bits_allocated {
                8 => samples.iter().map(|b| b >> bit & 1 == 1).collect(),
                16 => samples.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b) >> bit & 1 == 1).collect(),
                _ => continue,
            };
            let pack = |eight: &[bool]| eight.iter().rev().fold(0u8, |byte, set| byte << 1 | u8::from(*set));
            self.overlays.push(Overlay {
                origin: (0, 0),
                columns: i64::from(layout.columns),
                rows: i64::from(layout.rows),
                bits: is_set.chunks(8).map(pack).collect(),
                frames: Some((i64::from(number), 1)),
            });
        }
    }

    /// Whether nothing restricts what is shown.
    pub fn is_all(&self) -> bool {
        self.shapes.is_empty() && self.overlays.is_empty()
    }

    /// Whether all of a box is shown.
    pub fn shows(&self, left: u32, upper: u32, width: u32, height: u32) -> bool {
        let (x0, y0) = (i64::from(left), i64::from(upper));
        let (x1, y1) = (x0 + i64::from(width) - 1, y0 + i64::from(height) - 1);
        // Corners are enough for what is convex; polygons that are not can cut an edge.
        let border = (0..=8).flat_map(|i| {
            let (x, y) = (x0 + (x1 - x0) * i / 8, y0 + (y1 - y0) * i / 8);
            [(x, y0), (x, y1), (x0, y), (x1, y)]
        });
        border.into_iter().all(|(x, y)| self.shapes.iter().all(|s| s.holds(x, y)))
    }

    /// Columns and rows, from 0, that overlays draw on, within a frame (counted from 0) of an image of a size.
    pub fn drawn(&self, columns: u32, rows: u32, number: u32) -> Vec<(u32, u32)> {
        let mut points = Vec::new();
        for o in &self.overlays {
            let Some(plane) = o.plane_on(number) else { continue };
            let ends = |first: i64, length: i64, most: u32| (-first).max(0)..length.min(i64::from(most) - first);
            for row in ends(o.origin.1, o.rows, rows) {
                for column in ends(o.origin.0, o.columns, columns).filter(|column| o.is_set(plane, *column, row)) {
                    let at = (u32::try_from(column + o.origin.0), u32::try_from(row + o.origin.1));
                    if let (Ok(x), Ok(y)) = at {
                        points.push((x, y));
                    }
                }
            }
        }
        points
    }

    /// Whether an overlay draws into a box, on whatever frame.
    pub fn is_drawn_over(&self, left: u32, upper: u32, width: u32, height: u32) -> bool {
        let (left, upper) = (i64::from(left), i64::from(upper));
        self.overlays.iter().any(|o| {
            let (x, y) = (left - o.origin.0, upper - o.origin.1);
            let columns = x.max(0)..(x + i64::from(width)).min(o.columns);
            let rows = y.max(0)..(y + i64::from(height)).min(o.rows);
            (0..o.frames.map_or(1, |(_, planes)| planes))
                .any(|plane| rows.clone().any(|row| columns.clone().any(|column| o.is_set(plane, column, row))))
        })
    }
}

impl Overlay {
    /// Which of its planes is drawn on a frame, from 0.
    fn plane_on(&self, number: u32) -> Option<i64> {
        let Some((first, planes)) = self.frames else { return Some(0) };
        Some(i64::from(number) - first).filter(|plane| (0..planes).contains(plane))
    }

    fn is_set(&self, plane: i64, column: i64, row: i64) -> bool {
        let at = usize::try_from((plane * self.rows + row) * self.columns + column).unwrap_or(usize::MAX);
        self.bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }
}

/// Bits of the samples that are overlays: those of groups with a bit position and without data of their own (PS3.5 8.1.2).
fn embedded(data_set: &DataSet) -> Vec<u32> {
    let group = |group: u16| {
        let bit = data_set.u16(Tag(group, 0x0102)).filter(|bit| *bit > 0)?;
        data_set.get(Tag(group, 0x3000)).is_none().then_some(u32::from(bit))
    };
    (0x6000u16..0x6020).step_by(2).filter_map(group).collect()
}

fn overlay(data_set: &DataSet, values: &Attributes, group: u16) -> Option<Overlay> {
    let side = |element| values.int(Tag(group, element)).filter(|n| (1..=SIDE).contains(n));
    let (rows, columns) = (side(0x0010)?, side(0x0011)?);
    let element = data_set.get(Tag(group, 0x3000)).filter(|e| matches!(e.vr, VR::OB | VR::OW | VR::UN))?;
    let bits = data_set.bytes(element.tag)?.to_vec();
    let origin: Vec<i64> = values.texts(Tag(group, 0x0050)).iter().filter_map(|t| t.parse().ok()).collect();
    let (row, column) = (origin.first().copied().unwrap_or(1), origin.get(1).copied().unwrap_or(1));
    let first = values.int(Tag(group, 0x0051)).unwrap_or(1) - 1;
    let planes = values.int(Tag(group, 0x0015)).filter(|planes| (1..=MOST_PLANES).contains(planes));
    // No more than there are data for, whatever is declared.
    let whole = i64::try_from(bits.len()).unwrap_or(i64::MAX).saturating_mul(8).div_euclid(rows * columns) + 1;
    let frames = planes.map(|planes| (first, planes.min(whole)));
    Some(Overlay { origin: (column - 1, row - 1), columns, rows, bits, frames })
}

fn shapes_of(values: &Attributes, module: &Module) -> Vec<Shape> {
    let [shape, left, right, upper, lower, center, radius, vertices] = *module;
    let numbers = |tag| values.floats(tag).into_iter().map(round).collect::<Vec<i64>>();
    let number = |tag| numbers(tag).first().copied();
    let one = |name: &String| match name.trim() {
        "RECTANGULAR" => {
            // Edges are the first columns and rows that are hidden, counted from 1.
            let area = [number(left)?, number(upper)?, number(right)? - 2, number(lower)? - 2];
            let [x0, y0, x1, y1] = area;
            (x0 <= x1 && y0 <= y1).then_some(Shape::Rectangle(area))
        }
        "CIRCULAR" => {
            let [row, column] = numbers(center).try_into().ok()?;
            number(radius).filter(|r| *r > 0).map(|r| Shape::Circle([column - 1, row - 1, r]))
        }
        "POLYGONAL" => {
            let corners: Vec<(i64, i64)> = numbers(vertices).as_chunks::<2>().0.iter().map(|[r, c]| (c - 1, r - 1)).collect();
            (corners.len() >= 3).then_some(Shape::Polygon(corners))
        }
        _ => None,
    };
    values.texts(shape).iter().filter_map(one).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "clamped first")]
fn round(value: f64) -> i64 {
    value.clamp(-1e6, 1e6).round() as i64
}

impl Shape {
    fn holds(&self, x: i64, y: i64) -> bool {
        match self {
            Shape::Rectangle([left, upper, right, lower]) => (*left..=*right).contains(&x) && (*upper..=*lower).contains(&y),
            Shape::Circle([cx, cy, r]) => (x - cx).pow(2) + (y - cy).pow(2) <= r.pow(2),
            Shape::Polygon(corners) => {
                let next = corners.iter().cycle().skip(1);
                // Crossings of a ray to the right.
                let crossed = corners.iter().zip(next).filter(|((x0, y0), (x1, y1))| {
                    (*y0 > y) != (*y1 > y) && {
                        let along = (y - y0) * (x1 - x0);
                        let (here, rise) = ((x - x0) * (y1 - y0), y1 - y0);
                        if rise > 0 { here < along } else { here > along }
                    }
                });
                crossed.count() % 2 == 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Value;

    fn text(data_set: &mut DataSet, tag: Tag, vr: VR, text: &str) {
        data_set.put_text(tag, vr, text);
    }

    #[test]
    fn shutters_of_every_shape_hide_what_is_outside() {
        let mut d = DataSet::default();
        text(&mut d, tags::SHUTTER_SHAPE, VR::CS, "RECTANGULAR\\CIRCULAR\\POLYGONAL");
        text(&mut d, tags::SHUTTER_LEFT_VERTICAL_EDGE, VR::IS, "10");
        text(&mut d, tags::SHUTTER_RIGHT_VERTICAL_EDGE, VR::IS, "91");
        text(&mut d, tags::SHUTTER_UPPER_HORIZONTAL_EDGE, VR::IS, "0");
        text(&mut d, tags::SHUTTER_LOWER_HORIZONTAL_EDGE, VR::IS, "101");
        text(&mut d, tags::CENTER_OF_CIRCULAR_SHUTTER, VR::IS, "51\\51");
        text(&mut d, tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, "50");
        text(&mut d, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, VR::IS, "1\\1\\1\\101\\101\\101");
        let shown = Displayed::of(&d);
        assert_eq!(shown.shapes.len(), 3);
        assert!(shown.shows(60, 30, 10, 10));
        // Left of the rectangle; outside of the circle; below the triangle's diagonal.
        assert!(!shown.shows(5, 45, 10, 10) && !shown.shows(80, 5, 10, 10) && !shown.shows(30, 60, 10, 10));
        text(&mut d, tags::SHUTTER_RIGHT_VERTICAL_EDGE, VR::IS, "5");
        assert_eq!(Displayed::of(&d).shapes.len(), 2);
        assert!(Displayed::of(&DataSet::default()).is_all());
    }

    #[test]
    fn overlays_are_found_where_they_draw() {
        let mut d = DataSet::default();
        let short = |n: u16| Value::Bytes(n.to_le_bytes().to_vec());
        d.put(Tag(0x6002, 0x0010), VR::US, short(16));
        d.put(Tag(0x6002, 0x0011), VR::US, short(16));
        d.put(Tag(0x6002, 0x0050), VR::SS, Value::Bytes([3i16, 5].iter().flat_map(|n| n.to_le_bytes()).collect()));
        let mut bits = vec![0u8; 32];
        bits[2 * 2] = 0b10;
        d.put(Tag(0x6002, 0x3000), VR::OW, Value::Bytes(bits));
        let shown = Displayed::of(&d);
        // Column 1 and row 2 of the overlay, which begins at column 4 and row 2 of the image.
        assert!(shown.is_drawn_over(5, 4, 1, 1) && shown.is_drawn_over(0, 0, 20, 20));
        assert!(!shown.is_drawn_over(6, 4, 10, 10) && !shown.is_drawn_over(0, 0, 5, 20));
    }
}
