//! The mark as a Grayscale Softcopy Presentation State (PS3.3 A.33.1) that refers to the images of one series: nothing in them changes.
//! A viewer may ignore it; the burnt mark is what counts.

use super::MarkError;
use super::layout::{Canvas, place};
use crate::dicom::coded::one;
use crate::dicom::grey::{Grey, Voi};
use crate::dicom::image::Layout;
use crate::dicom::{Attributes, DataSet, Element, Tag, Uid, VR, Value, levels, subject, tags, uids};
use crate::procedure::catalogue::Mark;

/// What a presentation state needs of an image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its series.
    pub series: Uid,
    study: Uid,
    sop_class: String,
    sop_instance: Uid,
    /// Patient and study, decoded: the state is written in UTF-8.
    attributes: Attributes,
    rows: u32,
    columns: u32,
    /// Box of the mark as fractions of the image: left, top, right, bottom.
    text: [f64; 4],
    inverse: bool,
    /// Centre, width and function.
    window: Option<(f64, f64, &'static str)>,
    rescale: (f64, f64),
    /// Of what the rescaled values are, such as HU.
    rescale_type: String,
    /// The display shutter (C.7.6.11), which the state would take away.
    shutter: Vec<Element>,
    /// Tables that take the place of rescaling and window (C.11.1, C.11.2), as the image has them.
    tables: Vec<Element>,
    /// How large its pixels are, or their shape (C.10.4).
    pixels: Pixels,
}

#[derive(Debug, Clone, PartialEq)]
enum Pixels {
    /// Row and column spacing, millimetres.
    Spacing(Vec<String>),
    /// Height to width.
    Ratio(Vec<String>),
}

impl Pixels {
    fn of(data_set: &DataSet, attributes: &Attributes) -> Pixels {
        let two = |texts: &[String]| texts.len() == 2 && texts.iter().all(|t| t.trim().parse::<f64>().is_ok_and(|n| n > 0.0));
        let spacing = [tags::PIXEL_SPACING, tags::IMAGER_PIXEL_SPACING].map(|tag| attributes.texts(tag).to_vec());
        let stated = Attributes::decode(data_set, |tag| tag == tags::PIXEL_ASPECT_RATIO);
        let ratio = stated.texts(tags::PIXEL_ASPECT_RATIO).to_vec();
        if let Some(spacing) = spacing.into_iter().find(|s| two(s)) {
            return Pixels::Spacing(spacing);
        }
        Pixels::Ratio(if two(&ratio) { ratio } else { vec!["1".into(), "1".into()] })
    }
}

impl Image {
    /// From an image's elements.
    ///
    /// # Errors
    /// It is no grey image with UIDs, or the mark has no room in it.
    pub fn of(data_set: &DataSet, mark: &Mark) -> Result<Image, MarkError> {
        let uid = |tag, name| data_set.text(tag).and_then(|t| Uid::parse(&t).ok()).ok_or(MarkError::Missing(name));
        let layout = Layout::of_data_set(data_set).map_err(|_| MarkError::Missing("the description of the pixels"))?;
        if !layout.is_grey() {
            return Err(MarkError::NotGrey(layout.photometric));
        }
        let attributes = Attributes::decode(data_set, |tag| levels::level_of(tag).is_some());
        let placed = place(mark, &Canvas::of(data_set, &attributes, layout.rows, layout.columns))?;
        let share = |n: u32, of: u32| f64::from(n) / f64::from(of);
        let (right, bottom) = (placed.x + placed.mask.width, placed.y + placed.mask.height);
        let grey = Grey::of(data_set, &attributes, &layout);
        let window = grey.voi.iter().find_map(|voi| match voi {
            Voi::Linear(center, width) => Some((*center, *width, "LINEAR")),
            Voi::LinearExact(center, width) => Some((*center, *width, "LINEAR_EXACT")),
            Voi::Sigmoid(center, width) => Some((*center, *width, "SIGMOID")),
            Voi::Table(_) => None,
        });
        let hounsfield = data_set.text(tags::MODALITY).as_deref() == Some("CT");
        let unit = attributes.text(tags::RESCALE_TYPE).unwrap_or(if hounsfield { "HU" } else { "US" }).to_string();
        let number = |tag, otherwise| attributes.float(tag).unwrap_or(otherwise);
        Ok(Image {
            series: uid(tags::SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)")?,
            study: uid(tags::STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)")?,
            sop_class: data_set.text(tags::SOP_CLASS_UID).unwrap_or_default(),
            sop_instance: uid(tags::SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)")?,
            rows: layout.rows,
            columns: layout.columns,
            text: [
                share(placed.x, layout.columns),
                share(placed.y, layout.rows),
                share(right, layout.columns),
                share(bottom, layout.rows),
            ],
            inverse: grey.inverse,
            window,
            rescale: (number(tags::RESCALE_SLOPE, 1.0), number(tags::RESCALE_INTERCEPT, 0.0)),
            rescale_type: unit,
            shutter: data_set.elements.iter().filter(|e| is_of_shutter(e.tag)).cloned().collect(),
            tables: [tags::MODALITY_LUT_SEQUENCE, tags::VOILUT_SEQUENCE]
                .iter()
                .filter(|tag| !data_set.items(**tag).is_empty())
                .filter_map(|tag| data_set.get(*tag).cloned())
                .collect(),
            pixels: Pixels::of(data_set, &attributes),
            attributes,
        })
    }

    /// What a state can say of one kind of image only: its rescaling and window. Images that differ in it need a state each.
    pub fn presentation(&self) -> String {
        let Image { rescale, rescale_type, window, inverse, tables, pixels, shutter, .. } = self;
        format!("{rescale:?} {rescale_type} {window:?} {inverse} {tables:?} {pixels:?} {shutter:?}")
    }

    fn reference(&self) -> DataSet {
        let mut item = DataSet::default();
        item.put_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &self.sop_class);
        item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, self.sop_instance.as_str());
        item
    }
}

/// The presentation state for the images of one series. `written` is date (`YYYYMMDD`) and time (`HHMMSS`); an empty list gives an
/// empty data set.
pub fn presentation(mark: &Mark, images: &[&Image], written: (&str, &str)) -> DataSet {
    let mut ds = DataSet::default();
    let Some(first) = images.first() else { return ds };
    let names: Vec<&str> = images.iter().map(|i| i.sop_instance.as_str()).collect();
    let look = mark.identity();
    let identity = [&["hutong mark presentation 3", look.as_str()], names.as_slice()].concat();
    ds.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE);
    ds.put_text(tags::SOP_INSTANCE_UID, VR::UI, Uid::derived(&identity).as_str());
    let series = Uid::derived(&["hutong mark presentation series 1", first.study.as_str(), &mark.identity()]);
    subject::repeat(&mut ds, &first.attributes);
    ds.put_text(tags::STUDY_INSTANCE_UID, VR::UI, first.study.as_str());
    ds.put_text(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
    ds.put_text(tags::MODALITY, VR::CS, "PR");
    ds.put_text(tags::LATERALITY, VR::CS, "");
    ds.put_text(tags::SERIES_NUMBER, VR::IS, "9902");
    ds.put_text(tags::SERIES_DESCRIPTION, VR::LO, &format!("[{}]", mark.text()));
    ds.put_text(tags::MANUFACTURER, VR::LO, "Hutong");
    ds.put_text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Hutong exchange node");
    ds.put_text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
    ds.put_text(tags::DEVICE_SERIAL_NUMBER, VR::LO, "1");
    ds.put_text(tags::INSTANCE_NUMBER, VR::IS, "1");
    ds.put_text(tags::CONTENT_LABEL, VR::CS, "HR MARK");
    ds.put_text(tags::CONTENT_DESCRIPTION, VR::LO, &mark.text());
    ds.put_text(tags::CONTENT_CREATOR_NAME, VR::PN, "");
    ds.put_text(tags::PRESENTATION_CREATION_DATE, VR::DA, written.0);
    ds.put_text(tags::PRESENTATION_CREATION_TIME, VR::TM, written.1);
    let references = |images: &[&Image]| Value::Items(images.iter().map(|i| i.reference()).collect());
    let mut listed = DataSet::default();
    listed.put_text(tags::SERIES_INSTANCE_UID, VR::UI, first.series.as_str());
    listed.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, references(images));
    ds.put(tags::REFERENCED_SERIES_SEQUENCE, VR::SQ, one(listed));
    areas(&mut ds, images);
    annotations(&mut ds, mark, images);
    let table = |tag| first.tables.iter().find(|e| e.tag == tag);
    if let Some(element) = table(tags::MODALITY_LUT_SEQUENCE) {
        ds.put(tags::MODALITY_LUT_SEQUENCE, VR::SQ, element.value.clone());
    } else if first.rescale != (1.0, 0.0) {
        ds.put_text(tags::RESCALE_SLOPE, VR::DS, &first.rescale.0.to_string());
        ds.put_text(tags::RESCALE_INTERCEPT, VR::DS, &first.rescale.1.to_string());
        ds.put_text(tags::RESCALE_TYPE, VR::LO, &first.rescale_type);
    }
    if let Some(element) = table(tags::VOILUT_SEQUENCE) {
        let mut voi = DataSet::default();
        // One table, as C.11.8 has it; viewers open an image with its first.
        let mut first = DataSet::default();
        if let Value::Items(items) = &element.value {
            let parts = [tags::LUT_DESCRIPTOR, tags::LUT_EXPLANATION, tags::LUT_DATA];
            let kept = items.iter().take(1).flat_map(|item| &item.elements).filter(|e| parts.contains(&e.tag));
            first.elements.extend(kept.cloned());
        }
        voi.put(tags::VOILUT_SEQUENCE, VR::SQ, one(first));
        ds.put(tags::SOFTCOPY_VOILUT_SEQUENCE, VR::SQ, one(voi));
    } else if let Some((center, width, function)) = first.window {
        let mut voi = DataSet::default();
        voi.put_text(tags::WINDOW_CENTER, VR::DS, &center.to_string());
        voi.put_text(tags::WINDOW_WIDTH, VR::DS, &width.to_string());
        if function != "LINEAR" {
            voi.put_text(tags::VOILUT_FUNCTION, VR::CS, function);
        }
        ds.put(tags::SOFTCOPY_VOILUT_SEQUENCE, VR::SQ, one(voi));
    }
    for element in &first.shutter {
        ds.put(element.tag, element.vr, element.value.clone());
    }
    if !first.shutter.is_empty() && ds.get(tags::SHUTTER_PRESENTATION_VALUE).is_none() {
        ds.put_u16(tags::SHUTTER_PRESENTATION_VALUE, 0);
    }
    ds.put_text(tags::PRESENTATION_LUT_SHAPE, VR::CS, if first.inverse { "INVERSE" } else { "IDENTITY" });
    ds
}

/// Shape, edges, centre, radius, vertices and value of a shutter.
fn is_of_shutter(tag: Tag) -> bool {
    tag.0 == 0x0018 && (0x1600..=0x1622).contains(&tag.1)
}

/// When a state was written, as far as it says: its images' day and time, so that the same images make the same state.
pub fn written(images: &[&Image]) -> (String, String) {
    let own = |image: &&Image| {
        let text = |tags: [Tag; 2]| tags.iter().find_map(|tag| image.attributes.text(*tag)).map(str::to_string);
        let date = text([tags::CONTENT_DATE, tags::STUDY_DATE])?;
        Some((date, text([tags::CONTENT_TIME, tags::STUDY_TIME]).unwrap_or_else(|| "000000".into())))
    };
    images.iter().filter_map(own).max().unwrap_or_else(|| ("19700101".into(), "000000".into()))
}

/// The whole of each image is shown (C.10.4).
fn areas(ds: &mut DataSet, images: &[&Image]) {
    let area = |image: &&Image| {
        let mut item = DataSet::default();
        item.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, one(image.reference()));
        item.put(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, longs(&[1, 1]));
        item.put(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, longs(&[image.columns, image.rows]));
        item.put_text(tags::PRESENTATION_SIZE_MODE, VR::CS, "SCALE TO FIT");
        match &image.pixels {
            Pixels::Spacing(s) => item.put_text(tags::PRESENTATION_PIXEL_SPACING, VR::DS, &s.join("\\")),
            Pixels::Ratio(r) => item.put_text(tags::PRESENTATION_PIXEL_ASPECT_RATIO, VR::IS, &r.join("\\")),
        }
        item
    };
    ds.put(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, VR::SQ, Value::Items(images.iter().map(area).collect()));
}

/// The text in its box (C.10.5), in a layer of its own (C.10.7).
fn annotations(ds: &mut DataSet, mark: &Mark, images: &[&Image]) {
    let annotation = |image: &&Image| {
        let [left, top, right, bottom] = image.text;
        let mut text = DataSet::default();
        text.put_text(tags::BOUNDING_BOX_ANNOTATION_UNITS, VR::CS, "DISPLAY");
        text.put_text(tags::UNFORMATTED_TEXT_VALUE, VR::ST, &mark.text());
        text.put(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, VR::FL, floats(&[left, top]));
        text.put(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, VR::FL, floats(&[right, bottom]));
        text.put_text(tags::BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION, VR::CS, "RIGHT");
        let mut item = DataSet::default();
        item.put(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, one(image.reference()));
        item.put_text(tags::GRAPHIC_LAYER, VR::CS, "HR MARK");
        item.put(tags::TEXT_OBJECT_SEQUENCE, VR::SQ, one(text));
        item
    };
    ds.put(tags::GRAPHIC_ANNOTATION_SEQUENCE, VR::SQ, Value::Items(images.iter().map(annotation).collect()));
    let mut layer = DataSet::default();
    layer.put_text(tags::GRAPHIC_LAYER, VR::CS, "HR MARK");
    layer.put_text(tags::GRAPHIC_LAYER_ORDER, VR::IS, "1");
    ds.put(tags::GRAPHIC_LAYER_SEQUENCE, VR::SQ, one(layer));
}

fn longs(values: &[u32]) -> Value {
    Value::Bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "fractions of an image")]
fn floats(values: &[f64]) -> Value {
    Value::Bytes(values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect())
}
