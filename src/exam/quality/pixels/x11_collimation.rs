//! a radiograph whose anatomy takes a small part of the matrix, or, of a limb, runs along three borders and more: cut off. A trunk
//! fills its borders as a rule; what a collimator covers is no border.

use crate::exam::finding::{Finding, Level};
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

/// Judges one frame; `limb` where the item is of one.
pub(super) fn check(field: &Field, limb: bool, limits: &Pixels) -> Option<Finding> {
    if field.filled_box < limits.field_share {
        let finding = Finding::new(
            "X-11",
            Level::Warn,
            format!("解剖结构仅占图像的 {:.0}%，请核对照射野与裁剪", field.filled_box * 100.0),
            format!("the anatomy takes only {:.0} % of the image; check field and cropping", field.filled_box * 100.0),
        );
        return Some(finding.measured(field.filled_box, limits.field_share, "of image"));
    }
    (limb && field.touched >= limits.field_borders).then(|| {
        #[expect(clippy::cast_precision_loss, reason = "counts of borders")]
        let (touched, limit) = (field.touched as f64, limits.field_borders as f64);
        let finding = Finding::new(
            "X-11",
            Level::Warn,
            format!("肢体抵达图像的 {touched} 条边，可能被截断，请核对照射野"),
            format!("the limb runs along {touched} borders of the image: it may be cut off; check the field"),
        );
        finding.measured(touched, limit, "borders")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::LIMITS;
    use super::*;
    use crate::exam::quality::field::Kind;

    /// A structured ellipse in a dark surrounding.
    fn ellipse(half: (f64, f64)) -> Vec<i32> {
        let value = |i: usize| {
            let (x, y) = ((i % 640) as f64 - 320.0, (i / 640) as f64 - 320.0);
            let inside = (x / half.0).powi(2) + (y / half.1).powi(2) < 1.0;
            if inside { 2000 + (300.0 * (x / 15.0).sin() + 200.0 * (y / 9.0).cos()) as i32 } else { 0 }
        };
        (0..640 * 640).map(value).collect()
    }

    #[test]
    fn little_anatomy_and_a_limb_that_is_cut_off_are_told() {
        let limits = Pixels { field_borders: 3, ..LIMITS };
        let told = |samples: &[i32], limb: bool| {
            let field = Field::of(samples, 640, false, Kind::Projection).unwrap();
            check(&field, limb, &limits).map(|f| f.unit)
        };
        let unit = |text: &str| Some(text.to_string());
        assert_eq!(told(&ellipse((120.0, 120.0)), true), unit("of image"));
        assert_eq!(told(&ellipse((200.0, 900.0)), true), None, "a leg runs from end to end");
        assert_eq!(told(&ellipse((900.0, 900.0)), true), unit("borders"));
        assert_eq!(told(&ellipse((900.0, 900.0)), false), None, "a chest fills its borders");
    }
}
