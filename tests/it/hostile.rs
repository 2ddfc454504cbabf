//! Objects that are damaged or made to do damage: refused or kept with a finding; the node lives.

use crate::support::{Node, raw, send_all};
use hutong::dicom::dataset::write_header;
use hutong::dicom::{VR, tags, uids};
use hutong::dimse::storescu::{Answer, Outgoing};
use hutong::phantom;

fn answer(node: &Node, object: Outgoing<'_>) -> Answer {
    let (mut answers, ended) = send_all(&node.requested(), vec![object]);
    ended.unwrap();
    answers.remove(0)
}

#[test]
fn a_data_set_that_lies_about_its_lengths_is_refused_with_the_tag() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let image = &phantom::ct_head(1, None, "头颅CT平扫", "HEAD")[0];
    let mut bytes = Vec::new();
    image.data_set.write_explicit(&mut bytes);
    write_header(&mut bytes, tags::ICC_PROFILE, VR::OB, 0x7FFF_FFF0);
    bytes.extend_from_slice(b"short");
    let Answer::Refused(0xC000, Some(comment)) = answer(&node, raw(image, bytes)) else { panic!() };
    assert!(comment.contains("0028,2000"), "{comment}");
    let Answer::Refused(0xA900, Some(comment)) =
        answer(&node, Outgoing { sop_instance: "1.2.3.4".into(), ..raw(image, image.data_set_bytes()) })
    else {
        panic!()
    };
    assert!(comment.contains("SOP Instance UID"), "{comment}");
}

#[test]
fn truncated_pixels_are_kept_and_rejected_by_the_verdict() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images[1..]);
    let mut cut = images[0].data_set_bytes();
    cut.truncate(cut.len() - 1000);
    assert_eq!(answer(&node, raw(&images[0], cut)), Answer::Stored);
    let got = node.judged(&study);
    assert_eq!(got["verdict"]["outcome"], "reject");
    assert!(got["verdict"].to_string().contains("G-02"), "{got}");
    assert_eq!(got["marked"], 0);
}

#[test]
fn a_code_stream_that_eats_memory_or_kills_its_decoder_costs_one_finding() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_CODEC__MEMORY_MIB", "300"), ("HUTONG_CODEC__SECONDS", "5")]);
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(tags::STUDY_INSTANCE_UID).unwrap();
    node.send(&images[1..]);
    // A well-formed RLE header of a frame that needs 512 MiB: more than the decoder may have, so it is killed.
    let mut stream = 2u32.to_le_bytes().to_vec();
    [64u32, 2048].iter().for_each(|n| stream.extend_from_slice(&n.to_le_bytes()));
    stream.resize(4096, 0x81);
    let mut data_set = images[0].data_set.clone();
    data_set.put_u16(tags::ROWS, 16_000);
    data_set.put_u16(tags::COLUMNS, 16_000);
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    write_header(&mut bytes, tags::PIXEL_DATA, VR::OB, 0);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&[0xFF; 4]);
    for fragment in [&[][..], &stream] {
        bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        bytes.extend_from_slice(&u32::try_from(fragment.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(fragment);
    }
    bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let object = Outgoing { transfer_syntax: uids::RLE_LOSSLESS.into(), ..raw(&images[0], bytes) };
    assert_eq!(answer(&node, object), Answer::Stored);
    let got = node.judged(&study);
    assert_eq!(got["verdict"]["outcome"], "reject");
    let findings = got["verdict"]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["check"] == "G-01"), "{findings:?}");
    assert_eq!(node.json("/healthz")["status"], "ok");
    let metrics = node.get("/metrics", "*/*").text().unwrap();
    assert!(metrics.contains("hutong_decoder_deaths_total"), "no decoder died: {metrics}");
}

#[test]
fn requests_that_make_no_sense_get_their_status() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    for (path, status) in [
        ("/dicom-web/studies/..%2F..%2Fetc", 400),
        ("/dicom-web/studies/1.2.3", 404),
        ("/dicom-web/studies?limit=many", 400),
        ("/dicom-web/studies?StudyDate=20260101&StudyDate=20260102", 400),
        ("/dicom-web/studies?NoSuchKey=1", 204),
        ("/dicom-web/nothing", 404),
        ("/exchange/dicom-web/studies", 204),
        ("/api/v1/studies/abc", 400),
    ] {
        let answer = node.get(path, "*/*");
        assert_eq!(answer.status(), status, "{path}");
        if status >= 400 && !path.contains("..") {
            let body: serde_json::Value = answer.json().unwrap();
            assert_eq!(body["status"], status, "{path}");
            assert!(body["detail"].as_str().is_some_and(|d| !d.is_empty()), "{path}");
        }
    }
}

#[test]
fn memory_stays_flat_while_a_large_object_comes_in() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
    let image = &phantom::ct_head(1, None, "头颅CT平扫", "HEAD")[0];
    let mut data_set = image.data_set.clone();
    let frames = 1200u32;
    data_set.put_text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string());
    let mut head = Vec::new();
    data_set.write_explicit(&mut head);
    write_header(&mut head, tags::PIXEL_DATA, VR::OW, frames as usize * 512 * 512 * 2);
    let length = u64::from(frames) * 512 * 512 * 2;
    let peak = || {
        let pid = std::fs::read_dir("/proc").unwrap().flatten().find_map(|e| {
            let cmd = std::fs::read_to_string(e.path().join("environ")).ok()?;
            let exe = std::fs::read_link(e.path().join("exe")).ok()?;
            (exe.ends_with("hutong") && cmd.contains(&*node.root.to_string_lossy())).then(|| e.path())
        });
        let status = std::fs::read_to_string(pid.unwrap().join("status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap().to_string();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    let object = Outgoing {
        open: Box::new(move |_| {
            let body = std::io::Read::take(std::io::repeat(7), length);
            Ok(Box::new(std::io::Read::chain(std::io::Cursor::new(head.clone()), body)) as Box<dyn std::io::Read>)
        }),
        ..raw(image, Vec::new())
    };
    assert_eq!(answer(&node, object), Answer::Stored);
    let grown = peak().saturating_sub(before);
    assert!(grown < 40_000, "the node grew by {grown} KiB for an object of {} MiB", length >> 20);
}
