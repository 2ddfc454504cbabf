//! C-07: fewer images than the device announced: by a performed procedure step, or by what its acquisitions state.

use crate::exam::facts::{Acquisition, SeriesFacts, StudyFacts};
use crate::exam::finding::{Finding, Level};

/// Fewer objects than the performed procedure step names.
pub(super) fn of_a_procedure_step(series: &SeriesFacts) -> Option<Finding> {
    let (expected, here) = series.announced.filter(|(expected, here)| expected > here)?;
    Some(fewer(expected, here))
}

/// Acquisitions of which no series holds all images. A second reconstruction may have fewer: the images are there.
pub(super) fn of_acquisitions(study: &StudyFacts) -> Vec<Finding> {
    let all =
        || study.series.iter().filter(|s| !super::is_localizer(s)).flat_map(|s| s.acquisitions.iter().map(move |a| (s, a)));
    let short = all().filter(|(_, a)| a.here < a.stated);
    let elsewhere = |one: &Acquisition| all().any(|(_, other)| other.is_of(one) && other.here >= one.stated);
    short.filter(|(_, a)| !elsewhere(a)).map(|(series, a)| fewer(a.stated, a.here).in_series(&series.uid)).collect()
}

/// Fewer images than the modality says that it made.
pub fn fewer(expected: usize, here: usize) -> Finding {
    #[expect(clippy::cast_precision_loss, reason = "counts of images are far below 2^52")]
    let numbers = (here as f64, expected as f64);
    let finding = Finding::new(
        "C-07",
        Level::Reject,
        format!("设备声明 {expected} 幅，只收到 {here} 幅，请补传"),
        format!("the device announced {expected} images, {here} arrived; send the rest"),
    );
    finding.measured(numbers.0, numbers.1, "images")
}
