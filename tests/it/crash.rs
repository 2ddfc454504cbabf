//! The process killed at each step of an object's path, restarted, compared: nothing acknowledged is lost, nothing invented.

use crate::support::{Node, run};
use hutong::dimse::storescu::Answer;
use hutong::phantom::{self, Image};
use std::collections::BTreeSet;

/// Sends until the node dies; the SOP instances that were acknowledged.
fn send_until_dead(node: &Node, images: &[Image]) -> BTreeSet<String> {
    let (answers, result) = node.try_send(images);
    assert!(result.is_err(), "the node did not die");
    images.iter().zip(&answers).filter(|(_, a)| **a == Answer::Stored).map(|(i, _)| i.sop_instance()).collect()
}

fn stored(node: &Node) -> BTreeSet<String> {
    let found = node.json("/dicom-web/instances?limit=5000");
    found.as_array().unwrap().iter().map(|i| i["00080018"]["Value"][0].as_str().unwrap().to_string()).collect()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_invented_wherever_the_node_dies() {
    let images = phantom::ct_head(12, None, "头颅CT平扫", "HEAD");
    let sent: BTreeSet<String> = images.iter().map(Image::sop_instance).collect();
    for point in ["written", "synced", "published", "indexed"] {
        for passage in [1, 6] {
            let place = tempfile::tempdir().unwrap();
            let crash = format!("{point}:{passage}");
            let node = Node::start(place.path(), &[("HUTONG_TEST_CRASH", &crash), ("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
            let acknowledged = send_until_dead(&node, &images);
            assert_eq!(acknowledged.len(), passage - 1, "{crash}");
            node.wait_for_end();
            let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "1h")]);
            let there = stored(&node);
            assert!(acknowledged.is_subset(&there), "{crash}: lost {:?}", acknowledged.difference(&there));
            assert!(there.is_subset(&sent), "{crash}: invented");
            assert!(
                there.len() <= acknowledged.len() + 1,
                "{crash}: {} objects for {} acknowledged",
                there.len(),
                acknowledged.len()
            );
            assert_eq!(std::fs::read_dir(node.root.join("drafts")).unwrap().count(), 0, "{crash}: a draft was left");
            // The sender tries again, as senders do.
            assert!(node.send(&images).iter().all(|a| *a == Answer::Stored), "{crash}");
            assert_eq!(stored(&node), sent, "{crash}");
            let root = node.root.clone();
            assert!(node.terminate());
            let (ok, said) = run(&["verify"], &root);
            assert!(ok && said.contains("12"), "{crash}: {said}");
        }
    }
}

#[test]
fn a_node_killed_while_it_judges_and_marks_ends_with_the_same_result() {
    let images = phantom::ct_head(30, None, "头颅CT平扫", "HEAD");
    let study = images[0].data_set.text(hutong::dicom::tags::STUDY_INSTANCE_UID).unwrap();
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_STUDY__QUIET_PERIOD", "10ms")]);
    node.send(&images);
    node.kill();
    // Marked copies pass the same points: the process dies while it stores one.
    for crash in ["published:3", "indexed:9", "written:4"] {
        if let Some(node) =
            Node::try_start(place.path(), &[("HUTONG_TEST_CRASH", crash), ("HUTONG_STUDY__QUIET_PERIOD", "10ms")])
        {
            node.wait_for_end();
        }
    }
    let node = Node::start(place.path(), &[]);
    let got = node.judged(&study);
    assert_eq!(got["verdict"]["outcome"], "accept");
    assert_eq!(got["marked"], 30);
    let marked = node.json(&format!("/exchange/dicom-web/studies/{study}/instances"));
    assert_eq!(marked.as_array().unwrap().len(), 30);
}

#[test]
fn an_index_that_does_not_open_is_put_aside_and_made_again() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(5, None, "头颅CT平扫", "HEAD");
    node.send(&images);
    let before = stored(&node);
    let root = node.root.clone();
    node.kill();
    for entry in std::fs::read_dir(root.join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"not a database any more").unwrap();
        }
    }
    let node = Node::start(place.path(), &[]);
    assert_eq!(stored(&node), before);
    assert!(std::fs::read_dir(&root).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().contains("damaged")));
}

#[test]
fn below_the_reserve_objects_are_refused_with_a700_and_the_node_recovers() {
    let place = tempfile::tempdir().unwrap();
    let images = phantom::ct_head(2, None, "头颅CT平扫", "HEAD");
    let huge = (1u64 << 40).to_string();
    let node = Node::start(place.path(), &[("HUTONG_STORAGE__RESERVE_MIB", &huge)]);
    let answers = node.send(&images);
    for answer in &answers {
        let Answer::Refused(0xA700, Some(comment)) = answer else { panic!("{answers:?}") };
        assert!(comment.contains("reserve"), "{comment}");
    }
    assert_eq!(node.get("/healthz", "*/*").status(), 503);
    assert!(node.terminate());
    let node = Node::start(place.path(), &[]);
    assert_eq!(node.send(&images), [Answer::Stored, Answer::Stored]);
}
