//! G-07: one patient a study.

use super::Input;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(input: &Input<'_>) -> Option<Finding> {
    input.patients_differ.then(|| {
        Finding::new(
            "G-07",
            Level::Reject,
            "同一检查内患者标识、姓名或出生日期不一致，请核对是否混入他人图像",
            "identifier, name or birth date differ within the study: check whether somebody else's images are among them",
        )
    })
}
