//! a frontal radiograph whose rows run to the patient's right is shown mirrored: by convention the patient's left is on the
//! viewer's right (PS3.3 C.7.6.1.1.1), for AP and PA alike. Of items with a side nothing is said: hands lie as they must.

use super::Exam;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (item, carrying) in exam.items() {
        let projection = item.modality.iter().any(|m| m == "DX");
        for series in carrying.iter().filter(|_| projection && item.side.is_none()) {
            let mirrored = series.images.iter().find(|image| {
                let frontal = matches!(image.attributes.text(tags::VIEW_POSITION), Some("AP" | "PA"));
                let [along, down] =
                    [0, 1].map(|n| image.attributes.texts(tags::PATIENT_ORIENTATION).get(n).map_or("", String::as_str));
                // Beside the main direction others may be named: oblique as it may be, it does not run to the right or to the head.
                frontal && (along.starts_with(['R', 'A', 'P']) || down.starts_with(['H', 'A', 'P']))
            });
            findings.extend(mirrored.map(|image| {
                Finding::new(
                    "X-13",
                    Level::Review,
                    "图像可能颠倒：正位片的方向（0020,0020）不是向左、向足，请核对左右标记",
                    "the image may be mirrored or upside down: Patient Orientation (0020,0020) of a frontal view is not left and foot; check the side marker",
                )
                .in_series(series.uid)
                .at(image.uid)
            }));
        }
    }
    findings
}
