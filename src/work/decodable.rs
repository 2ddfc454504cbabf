//! G-01 and G-02: whether an object can be read and decoded, and its pixel data are as long as its header asks for.

use crate::codec::DecodeError;
use crate::dicom::image::Layout;
use crate::dicom::{syntax, uids};
use crate::exam::finding::{Finding, Level};
use crate::retrieve::Object;

/// G-02: more native pixel data than rows, columns and frames ask for; a byte of padding is none.
pub(super) fn longer_than_told(object: &Object, layout: &Layout) -> Option<Finding> {
    let length = object.native_length()?;
    let wanted = layout.total_bytes();
    (length > wanted + 1).then(|| {
        let finding = Finding::new(
            "G-02",
            Level::Warn,
            format!("像素数据多出 {} 字节，请核对行列数与帧数", length - wanted),
            format!("{} bytes more of pixel data than rows, columns and frames ask for; check them", length - wanted),
        );
        #[expect(clippy::cast_precision_loss, reason = "bytes of a file")]
        finding.measured(length as f64, wanted as f64, "bytes")
    })
}

/// G-01: a compressed transfer syntax, or one that nobody knows, and pixel data that are not compressed: a reader that believes the header
/// takes them for a code stream.
pub(super) fn native_under_another_syntax(object: &Object, transfer_syntax: &str) -> Option<Finding> {
    let native = [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        syntax::EXPLICIT_VR_BIG_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];
    object.native_length().filter(|_| !native.contains(&transfer_syntax)).map(|_| {
        let known = syntax::known(transfer_syntax).is_some();
        let level = if known { Level::Reject } else { Level::Review };
        let zh = format!("传输语法 {transfer_syntax} 与未压缩的像素数据不符，请由来源改正后重新发送");
        let en = format!(
            "the pixel data are not compressed, which transfer syntax {transfer_syntax} does not say; mend it at the source and send it again"
        );
        Finding::new("G-01", level, zh, en)
    })
}

/// G-02: a table of offsets that points beside the fragments, or to others than its frames: a viewer that goes by it shows other frames.
pub(super) fn offset_table(object: &Object, layout: &Layout) -> Option<Finding> {
    let wrong = object.offsets_are_wrong(layout.frames)?;
    let (zh, en) = (
        format!("帧偏移表有误（{wrong} 处），部分工作站可能显示错误的帧，请由来源改正后重新发送"),
        format!(
            "{wrong} entries of the table of frame offsets are wrong: some viewers show other frames; mend it at the source and send it again"
        ),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    Some(Finding::new("G-02", Level::Review, zh, en).measured(wrong as f64, 0.0, "frames"))
}

/// A video stream: beside still images it is left out of what is marked; alone a person decides.
pub(super) fn video(level: Level) -> Finding {
    Finding::new("G-01", level, "视频编码不加注互认标识", "a video stream is not marked")
}

/// What a frame that does not decode is.
pub(super) fn fault(error: &DecodeError, number: u32) -> Finding {
    let frame = number + 1;
    match error {
        DecodeError::Unsupported(ts) => Finding::new(
            "G-01",
            Level::Review,
            format!("本版本不能解码传输语法 {ts}，请人工处理"),
            format!("transfer syntax {ts} is not decoded by this version; decide by hand"),
        ),
        #[expect(clippy::cast_precision_loss, reason = "bytes of a file")]
        DecodeError::Short { got, wanted } => Finding::new(
            "G-02",
            Level::Reject,
            format!("像素数据不完整：应有 {wanted}，实有 {got} 字节，请重新发送"),
            format!("pixel data are cut off: {got} of {wanted} bytes; send it again"),
        )
        .measured(*got as f64, *wanted as f64, "bytes"),
        other => Finding::new(
            "G-01",
            Level::Reject,
            format!("第 {frame} 帧无法解码，请重新发送"),
            format!("frame {frame} does not decode ({other}); send it again"),
        ),
    }
}
