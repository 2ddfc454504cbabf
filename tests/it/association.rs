//! The upper layer against callers of every kind.

use crate::support::Node;
use hutong::dicom::uids;
use hutong::dimse::{AssociationError, Command, Incoming, Proposal, connect};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn proposal(class: &str, syntaxes: &[&str]) -> Proposal {
    Proposal::new(class, syntaxes)
}

#[test]
fn contexts_are_decided_one_by_one_and_a_wrong_called_title_is_rejected() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let mut to = node.requested();
    to.proposals = vec![
        proposal(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
        proposal(uids::CT_IMAGE_STORAGE, &[uids::JPEGLS_LOSSLESS, uids::IMPLICIT_VR_LITTLE_ENDIAN]),
        proposal(uids::CT_IMAGE_STORAGE, &["1.2.3.4.5"]),
        proposal("1.3.12.2.1107.5.9.1", &[uids::EXPLICIT_VR_LITTLE_ENDIAN]),
        proposal(uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]),
    ];
    let mut association = connect(&to).unwrap();
    let taken: Vec<(u8, &str)> = association.contexts.iter().map(|c| (c.id, c.transfer_syntax.as_str())).collect();
    // The caller's first choice counts; the private class is taken; the unknown syntax and the unserved class are not.
    assert_eq!(taken, [(1, uids::IMPLICIT_VR_LITTLE_ENDIAN), (3, uids::JPEGLS_LOSSLESS), (7, uids::EXPLICIT_VR_LITTLE_ENDIAN)]);
    association.send(1, &Command::request(0x0030, 9, uids::VERIFICATION, false)).unwrap();
    let Incoming::Message(_, response) = association.receive().unwrap() else { panic!() };
    assert_eq!(response.status(), Some(0));
    association.release().unwrap();
    to.called = "SOMEBODY".into();
    let Err(AssociationError::Rejected(why)) = connect(&to) else { panic!("accepted under another title") };
    assert!(why.contains("called AE title"), "{why}");
}

#[test]
fn another_version_of_the_protocol_is_rejected_with_its_reason() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    for version in [0u8, 2] {
        let mut stream = TcpStream::connect(&node.dicom).unwrap();
        let mut request = vec![1, 0, 0, 0, 0, 0, 0, version, 0, 0];
        request.extend(format!("{:<16}{:<16}", "HUTONG", "TESTSCU").bytes());
        request.extend([0; 32]);
        let name = b"1.2.840.10008.3.1.1.1";
        request.extend([0x10, 0, 0, u8::try_from(name.len()).unwrap()]);
        request.extend(name);
        request.extend([0x50, 0, 0, 8, 0x51, 0, 0, 4, 0, 0, 0x40, 0]);
        let length = u32::try_from(request.len() - 6).unwrap().to_be_bytes();
        request[2..6].copy_from_slice(&length);
        stream.write_all(&request).unwrap();
        let mut answer = [0u8; 10];
        stream.read_exact(&mut answer).unwrap();
        // Permanent, by the provider of the association services, protocol version not supported.
        assert_eq!((answer[0], &answer[7..10]), (3, &[1u8, 2, 2][..]), "version {version}");
    }
}

#[test]
fn a_request_that_crosses_a_commitment_result_is_answered() {
    let place = tempfile::tempdir().unwrap();
    let rights = [("HUTONG_DIMSE__UNKNOWN_CALLERS", r#"["echo", "store", "commit"]"#)];
    let node = Node::start(place.path(), &rights);
    let images = hutong::phantom::ct_head(1, None, "头颅CT平扫", "HEAD");
    assert_eq!(node.send(&images).len(), 1);
    let mut to = node.requested();
    to.proposals = vec![proposal(uids::VERIFICATION, &[uids::EXPLICIT_VR_LITTLE_ENDIAN])];
    let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
    let (mut association, context) = hutong::dimse::connect_for(to, class, hutong::dimse::Roles::USUAL).unwrap();
    let echo = association.contexts.iter().find(|c| c.abstract_syntax == uids::VERIFICATION).cloned().unwrap();
    let wanted = [(uids::CT_IMAGE_STORAGE.to_string(), images[0].sop_instance())];
    hutong::dimse::commitment::ask(&mut association, &context, "1.2.3.4.5", &wanted).unwrap();
    // Before anything is read: the result is on its way by now.
    association.send(echo.id, &Command::request(0x0030, 9, uids::VERIFICATION, false)).unwrap();
    let (mut told, mut echoed) = (false, false);
    for _ in 0..2 {
        let Incoming::Message(context, message) = association.receive().unwrap() else { panic!() };
        if message.event_type().is_some() {
            association.data(context.id).finish().unwrap();
            association.send(context.id, &message.response(hutong::dimse::Status::Success)).unwrap();
            told = true;
        } else {
            assert_eq!((message.responded_to(), message.status()), (9, Some(0)));
            echoed = true;
        }
    }
    assert!(told && echoed);
    association.send(echo.id, &Command::request(0x0030, 10, uids::VERIFICATION, false)).unwrap();
    let Incoming::Message(_, response) = association.receive().unwrap() else { panic!() };
    assert_eq!(response.status(), Some(0));
    association.release().unwrap();
    // It took the result: nothing is left to be told.
    assert_eq!(node.json("/api/v1/outbox")["commitment_results"], serde_json::json!([]));
}

#[test]
fn callers_that_are_not_listed_are_rejected() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("hutong.toml"), "[[peer]]\naet = \"CT1\"\n").unwrap();
    let node = Node::start(place.path(), &[("HUTONG_DIMSE__UNKNOWN_CALLERS", "[]")]);
    let mut to = node.requested();
    to.proposals = vec![proposal(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];
    assert!(matches!(connect(&to), Err(AssociationError::Rejected(why)) if why.contains("calling AE title")));
    to.calling = "CT1".into();
    connect(&to).unwrap().release().unwrap();
}

#[test]
fn a_caller_that_breaks_off_in_the_middle_of_an_object_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = hutong::phantom::ct_head(1, None, "头颅CT平扫", "HEAD");
    struct Breaking(std::io::Cursor<Vec<u8>>);
    impl Read for Breaking {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.0.position() > 300_000 {
                return Err(std::io::Error::other("the modality was switched off"));
            }
            self.0.read(buf)
        }
    }
    let mut to = node.requested();
    to.proposals = vec![proposal(uids::CT_IMAGE_STORAGE, &[uids::EXPLICIT_VR_LITTLE_ENDIAN])];
    let mut association = connect(&to).unwrap();
    let request = Command::store_request(1, uids::CT_IMAGE_STORAGE, &images[0].sop_instance());
    let mut data = Breaking(std::io::Cursor::new(images[0].data_set_bytes()));
    assert!(association.send_with_data(1, &request, &mut data).is_err());
    drop(association);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_dir(node.root.join("drafts")).unwrap().count(), 0);
    assert_eq!(node.get("/dicom-web/instances", "*/*").status(), 204);
    assert_eq!(node.send(&images).len(), 1);
}

#[test]
fn abuse_of_the_port_costs_the_caller_its_connection_and_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_DIMSE__ASSOCIATION_TIMEOUT", "2"), ("HUTONG_DIMSE__NETWORK_TIMEOUT", "2")]);
    let attempts: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x01, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1],
        &[0x04, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 3],
        &[0x01, 0, 0, 0, 0, 4, 0, 1, 0, 0],
        &[0x99; 64],
        &[0x01, 0, 0, 0, 1, 0],
    ];
    for attempt in attempts {
        let mut stream = TcpStream::connect(&node.dicom).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(attempt).unwrap();
        let (mut answer, begun) = (Vec::new(), std::time::Instant::now());
        // The node closes the connection, with or without an A-ABORT; a time-out here means that it did not.
        let _ = stream.read_to_end(&mut answer);
        assert!(begun.elapsed() < Duration::from_secs(9), "the connection was left open");
        assert!(answer.is_empty() || answer[0] == 0x07 || answer[0] == 0x03, "{attempt:02X?} {answer:02X?}");
    }
    let images = hutong::phantom::ct_head(1, None, "头颅CT平扫", "HEAD");
    assert_eq!(node.send(&images).len(), 1);
}
