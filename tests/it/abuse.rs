//! A scripted peer that writes raw bytes: what a real one would never send, or only when it is broken. The right abort or status,
//! nothing kept that was not whole, other associations unharmed.

use crate::support::Node;
use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, UserVariableItem, read_pdu, write_pdu};
use hutong::dicom::{DataSet, VR, tags, uids};
use hutong::dimse::Command;
use hutong::phantom;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection on which an association was negotiated by hand.
struct Raw(TcpStream);

impl Raw {
    fn connect(node: &Node, syntax: &str) -> Raw {
        let mut stream = TcpStream::connect(&node.dicom).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        let context = |id, class: &str, syntax: &str| PresentationContextProposed {
            id,
            abstract_syntax: class.into(),
            transfer_syntaxes: vec![syntax.into()],
        };
        let request = Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "TESTSCU".into(),
            called_ae_title: "HUTONG".into(),
            application_context_name: "1.2.840.10008.3.1.1.1".into(),
            presentation_contexts: vec![
                context(1, uids::CT_IMAGE_STORAGE, syntax),
                context(3, uids::VERIFICATION, uids::IMPLICIT_VR_LITTLE_ENDIAN),
                context(5, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, uids::EXPLICIT_VR_LITTLE_ENDIAN),
                context(7, uids::STORAGE_COMMITMENT_PUSH_MODEL, uids::EXPLICIT_VR_LITTLE_ENDIAN),
                context(9, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, uids::EXPLICIT_VR_LITTLE_ENDIAN),
            ],
            user_variables: vec![UserVariableItem::MaxLength(1 << 14)],
        });
        write_pdu(&mut stream, &request).unwrap();
        let mut raw = Raw(stream);
        let answer = raw.pdu().unwrap();
        assert_eq!(answer[0], 0x02, "{answer:02X?}");
        raw
    }

    /// The next PDU; none when the connection ended.
    fn pdu(&mut self) -> Option<Vec<u8>> {
        let mut head = [0u8; 6];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        let mut bytes = head.to_vec();
        bytes.resize(6 + length, 0);
        self.0.read_exact(&mut bytes[6..]).ok()?;
        Some(bytes)
    }

    fn write(&mut self, bytes: &[u8]) {
        // The node may have closed its side already: that is what some of these tests are about.
        let _ = self.0.write_all(bytes);
    }

    /// Whether the node gives the association up with an A-ABORT of the provider (PS3.8 9.3.8), and closes.
    fn is_aborted(&mut self) -> bool {
        loop {
            match self.pdu() {
                Some(pdu) if pdu[0] == 0x07 => return pdu[8] == 2 && self.pdu().is_none(),
                Some(pdu) if pdu[0] == 0x04 => {}
                None | Some(_) => return false,
            }
        }
    }

    /// Status of the next response.
    fn status(&mut self) -> u16 {
        let pdu = self.pdu().expect("an answer");
        assert_eq!(pdu[0], 0x04, "{pdu:02X?}");
        let Some(Pdu::PData { data }) = read_pdu(pdu.as_slice(), 1 << 20, false).unwrap() else { panic!() };
        Command::parse(&data[0].data).unwrap().status().unwrap()
    }
}

/// A presentation data value.
fn pdv(context: u8, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u32 + 2).to_be_bytes().to_vec();
    out.extend_from_slice(&[context, flags]);
    out.extend_from_slice(bytes);
    out
}

/// A P-DATA-TF of presentation data values.
fn p_data(pdvs: &[Vec<u8>]) -> Vec<u8> {
    let body = pdvs.concat();
    let mut out = vec![4, 0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

const COMMAND: u8 = 1;
const LAST: u8 = 2;

fn store(image: &phantom::Image) -> Vec<u8> {
    Command::store_request(1, uids::CT_IMAGE_STORAGE, &image.sop_instance()).to_bytes()
}

fn echo_works(node: &Node) {
    let mut raw = Raw::connect(node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    raw.write(&p_data(&[pdv(3, COMMAND | LAST, &Command::request(0x0030, 1, uids::VERIFICATION, false).to_bytes())]));
    assert_eq!(raw.status(), 0);
}

fn associations(node: &Node) -> String {
    let metrics = node.get("/metrics", "*/*").text().unwrap();
    metrics.lines().find(|l| l.starts_with("hutong_associations ")).unwrap_or("").to_string()
}

/// PDUs of a command and its data set.
type Grouping = dyn Fn(&[u8], &[u8]) -> Vec<Vec<u8>>;

#[test]
fn fragments_come_in_any_grouping_and_the_object_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(4, None, "头颅CT平扫", "HEAD");
    let groupings: [&Grouping; 4] = [
        // Command and data in one PDU.
        &|command, data| {
            let (head, tail) = data.split_at(1000);
            let rest = tail.chunks(60_000).collect::<Vec<_>>();
            let last = rest.len() - 1;
            let mut pdus = vec![p_data(&[pdv(1, COMMAND | LAST, command), pdv(1, 0, head)])];
            pdus.extend(rest.iter().enumerate().map(|(n, c)| p_data(&[pdv(1, if n == last { LAST } else { 0 }, c)])));
            pdus
        },
        // The command byte by byte, and many small values in a PDU.
        &|command, data| {
            let last = command.len() - 1;
            let mut pdus: Vec<Vec<u8>> = command
                .iter()
                .enumerate()
                .map(|(n, b)| p_data(&[pdv(1, COMMAND | if n == last { LAST } else { 0 }, &[*b])]))
                .collect();
            let values: Vec<Vec<u8>> = data.chunks(777).map(|c| pdv(1, 0, c)).collect();
            pdus.extend(values.chunks(50).map(p_data));
            pdus.push(p_data(&[pdv(1, LAST, &[])]));
            pdus
        },
        // Empty values in between.
        &|command, data| {
            let mut pdus = vec![p_data(&[pdv(1, COMMAND, &[]), pdv(1, COMMAND | LAST, command)])];
            pdus.extend(
                data.chunks(100_001).flat_map(|c| [p_data(&[pdv(1, 0, &[])]), p_data(&[pdv(1, 0, c), pdv(1, 0, &[])])]),
            );
            pdus.push(p_data(&[pdv(1, LAST, &[])]));
            pdus
        },
        // All of it at once, which is more than the node takes at a time.
        &|command, data| {
            vec![p_data(&[pdv(1, COMMAND | LAST, command)]), p_data(&[pdv(1, 0, &data[..100]), pdv(1, LAST, &data[100..])])]
        },
    ];
    for (image, grouping) in images.iter().zip(groupings) {
        let mut raw = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let data = image.data_set_bytes();
        let pdus = grouping(&store(image), &data);
        if pdus.iter().any(|p| p.len() > 1 << 18) {
            pdus.iter().for_each(|p| raw.write(p));
            assert!(raw.is_aborted(), "a PDU over the announced length");
            continue;
        }
        pdus.iter().for_each(|p| raw.write(p));
        assert_eq!(raw.status(), 0);
        let uid = image.sop_instance();
        let file = hutong::store::walk(node.root.join("objects"))
            .map(Result::unwrap)
            .find(|p| p.to_string_lossy().contains(&uid))
            .unwrap();
        assert!(std::fs::read(file).unwrap().ends_with(&data));
    }
    echo_works(&node);
}

#[test]
fn pdus_that_break_the_protocol_are_aborted_and_leave_nothing() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_DIMSE__NETWORK_TIMEOUT", "2")]);
    let images = phantom::ct_head(1, None, "头颅CT平扫", "HEAD");
    let (command, data) = (store(&images[0]), images[0].data_set_bytes());
    let begun = p_data(&[pdv(1, COMMAND | LAST, &command), pdv(1, 0, &data[..5000])]);
    let over = |n: u32| [&[4u8, 0][..], &n.to_be_bytes(), &[0; 64]].concat();
    let attempts: Vec<(&str, Vec<u8>)> = vec![
        ("a PDU over the announced length", over(1 << 20)),
        ("a gigantic PDU", over(u32::MAX)),
        ("an unknown PDU type", [&[0x42u8, 0][..], &4u32.to_be_bytes(), &[0; 4]].concat()),
        ("a second association request", [&[0x01u8, 0][..], &4u32.to_be_bytes(), &[0; 4]].concat()),
        ("a value longer than its PDU", p_data(&[vec![0, 0, 1, 0, 1, 3, 0]])),
        ("a value shorter than its header", p_data(&[vec![0, 0, 0, 1, 1, 3]])),
        ("a PDU with room for no value", p_data(&[vec![0, 0, 0]])),
        ("a context that nobody agreed on", p_data(&[pdv(99, COMMAND | LAST, &command)])),
        ("data before any command", p_data(&[pdv(1, LAST, &data[..100])])),
        ("a command inside the data", [begun.clone(), p_data(&[pdv(1, COMMAND | LAST, &command)])].concat()),
        ("data in another context", [begun.clone(), p_data(&[pdv(3, LAST, &data[5000..6000])])].concat()),
        ("a release inside the data", [begun.clone(), vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0]].concat()),
        ("a gigantic release", [&[5u8, 0][..], &u32::MAX.to_be_bytes(), &[0; 64]].concat()),
        ("silence inside the header of a PDU", vec![4, 0, 0]),
        ("silence inside a command", p_data(&[pdv(1, COMMAND, &command[..20])])),
        ("silence inside the header of a value", vec![4, 0, 0, 0, 0, 20, 0, 0]),
        ("a command that is no command set", p_data(&[pdv(1, COMMAND | LAST, &[0xFF; 40])])),
        ("a command of 64 KiB and more", p_data(&[pdv(1, COMMAND, &[0; 60_000]), pdv(1, COMMAND, &[0; 60_000])])),
        ("silence inside the data", begun),
    ];
    for (what, bytes) in attempts {
        let mut raw = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let started = Instant::now();
        raw.write(&bytes);
        assert!(raw.is_aborted() && started.elapsed() < Duration::from_secs(15), "{what}");
        echo_works(&node);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(std::fs::read_dir(node.root.join("drafts")).unwrap().count(), 0);
    assert_eq!(node.get("/dicom-web/instances", "*/*").status(), 204);
    assert_eq!(node.send(&images).len(), 1);
}

#[test]
fn data_sets_that_lie_get_a_status_and_the_association_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(2, None, "头颅CT平扫", "HEAD");
    let (good, explicit) = (store(&images[0]), images[0].data_set_bytes());
    let message = |command: &[u8], data: &[u8]| {
        let mut bytes = p_data(&[pdv(1, COMMAND | LAST, command)]);
        let chunks: Vec<&[u8]> = data.chunks(60_000).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            bytes.extend(p_data(&[pdv(1, if n + 1 == chunks.len() { LAST } else { 0 }, chunk)]));
        }
        bytes
    };
    // Explicit VR in a context of Implicit VR.
    let mut raw = Raw::connect(&node, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    raw.write(&message(&good, &explicit));
    assert_eq!(raw.status(), 0xC000);
    raw.write(&p_data(&[pdv(3, COMMAND | LAST, &Command::request(0x0030, 2, uids::VERIFICATION, false).to_bytes())]));
    assert_eq!(raw.status(), 0, "the association goes on");
    let mut raw = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut nested = Vec::new();
    for _ in 0..2000 {
        nested.extend_from_slice(&[
            0x40, 0, 0x75, 2, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF,
        ]);
    }
    let wrong_class = Command::store_request(1, uids::MR_IMAGE_STORAGE, &images[0].sop_instance()).to_bytes();
    let other_uid = Command::store_request(1, uids::CT_IMAGE_STORAGE, "1.2.3").to_bytes();
    let path = Command::store_request(1, uids::CT_IMAGE_STORAGE, "../../etc").to_bytes();
    for (what, command, data, status) in [
        ("another class than the context's", &wrong_class, explicit.clone(), 0xA900),
        ("another instance than the data set's", &other_uid, explicit.clone(), 0xA900),
        ("a path as UID", &path, explicit.clone(), 0xA900),
        ("nothing", &good, vec![0; 2], 0xC000),
        ("nested 2,000 deep", &good, nested, 0xC000),
        ("random bytes", &good, (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(), 0xC000),
    ] {
        raw.write(&message(command, &data));
        assert_eq!(format!("{:04X}", raw.status()), format!("{status:04X}"), "{what}");
    }
    let bad_move = Command::move_request(9, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, "X").to_bytes();
    raw.write(&p_data(&[pdv(5, COMMAND | LAST, &bad_move), pdv(5, LAST, &[0xAB; 33])]));
    assert_eq!(raw.status(), 0xC001);
    let action = Command::action(9, uids::STORAGE_COMMITMENT_PUSH_MODEL, "1.2.840.10008.1.20.1.1", 1).to_bytes();
    raw.write(&p_data(&[pdv(7, COMMAND | LAST, &action), pdv(7, LAST, &[0xAB; 33])]));
    assert_eq!(raw.status(), 0x0110);
    // A message that nobody serves, with data.
    raw.write(&p_data(&[pdv(7, COMMAND | LAST, &bad_move), pdv(7, LAST, &[0; 16])]));
    assert_eq!(raw.status(), 0x0211);
    raw.write(&message(&store(&images[1]), &images[1].data_set_bytes()));
    assert_eq!(raw.status(), 0, "and a good object is stored on the same association");
    let kept = node.json("/dicom-web/instances");
    assert_eq!(kept.as_array().unwrap().len(), 1);
    assert_eq!(kept[0]["00080018"]["Value"][0], images[1].data_set.text(tags::SOP_INSTANCE_UID).unwrap());
}

#[test]
fn a_query_ends_at_its_cancellation() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[]);
    let images = phantom::ct_head(120, None, "头颅CT平扫", "HEAD");
    assert_eq!(node.send(&images).len(), 120);
    let mut keys = DataSet::default();
    keys.put_text(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "IMAGE");
    for tag in [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID] {
        keys.put_text(tag, VR::UI, &images[0].data_set.text(tag).unwrap());
    }
    keys.put_text(tags::SOP_INSTANCE_UID, VR::UI, "");
    keys.elements.sort_by_key(|e| e.tag);
    let mut identifier = Vec::new();
    keys.write_explicit(&mut identifier);
    let query = Command::query(0x0020, 7, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND).to_bytes();
    let find = p_data(&[pdv(9, COMMAND | LAST, &query), pdv(9, LAST, &identifier)]);
    let cancel = |message| p_data(&[pdv(9, COMMAND | LAST, &Command::cancel(message).to_bytes())]);
    let mut raw = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut answers = |bytes: &[u8]| {
        raw.write(bytes);
        let mut matches = 0;
        loop {
            match raw.status() {
                0xFF00 => {
                    matches += 1;
                    // The match itself.
                    assert_eq!(raw.pdu().unwrap()[0], 4);
                }
                last => return (matches, last),
            }
        }
    };
    // Both are there before the first answer: what happens does not depend on who is faster.
    let (matches, last) = answers(&[find.clone(), cancel(7)].concat());
    assert!(last == 0xFE00 && (1..120).contains(&matches), "{matches} {last:04X}");
    assert_eq!(answers(&find), (120, 0), "the association goes on");
    assert_eq!(answers(&[find.clone(), cancel(8)].concat()), (120, 0), "another message was cancelled");
}

#[test]
fn half_open_and_slow_callers_go_away_by_themselves_and_keep_nobody_out() {
    let place = tempfile::tempdir().unwrap();
    let limits = [
        ("HUTONG_DIMSE__ASSOCIATION_TIMEOUT", "2"),
        ("HUTONG_DIMSE__NETWORK_TIMEOUT", "2"),
        ("HUTONG_DIMSE__IDLE_TIMEOUT", "2"),
        ("HUTONG_DIMSE__MAX_ASSOCIATIONS", "8"),
    ];
    let node = Node::start(place.path(), &limits);
    // Eight may be silent from one address; a caller counts until just after it has its answer, so two of those may overlap.
    let silent: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(&node.dicom).unwrap()).collect();
    let mut idle: Vec<Raw> = (0..6).map(|_| Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN)).collect();
    // One sends its request byte by byte, slower than the timer: 256 bytes are promised, and none of them is wrong.
    let mut slow = TcpStream::connect(&node.dicom).unwrap();
    slow.write_all(&[1, 0, 0, 0, 1, 0]).unwrap();
    let begun = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let closed = loop {
        let gone = slow.write_all(&[0]).is_err() || matches!(slow.read(&mut [0; 16]), Ok(0));
        if gone || begun.elapsed() > Duration::from_secs(20) {
            break gone;
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    assert!(closed, "a slow request is given up");
    // Another sends a data set byte by byte, each in time.
    let mut drip = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let store = Command::store_request(1, uids::CT_IMAGE_STORAGE, "1.2.3.4").to_bytes();
    drip.write(&p_data(&[pdv(1, COMMAND | LAST, &store)]));
    drip.0.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let begun = Instant::now();
    let ended = loop {
        let gone = drip.0.write_all(&p_data(&[pdv(1, 0, &[8])])).is_err() || drip.0.read(&mut [0; 64]).is_ok();
        if gone || begun.elapsed() > Duration::from_secs(20) {
            break gone;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(ended, "a data set that drips is given up");
    // So is a command that does, a byte in each fragment, and a data set of nothing but empty fragments.
    let echo = Command::request(0x0030, 1, uids::VERIFICATION, false).to_bytes();
    let mut bytes = echo.iter().cycle();
    for (what, in_data) in [("a command", false), ("empty fragments", true)] {
        let mut next = || if in_data { pdv(1, 0, &[]) } else { pdv(1, COMMAND, &[*bytes.next().unwrap_or(&0)]) };
        let mut drip = Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        if in_data {
            drip.write(&p_data(&[pdv(1, COMMAND | LAST, &store)]));
        }
        drip.0.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let begun = Instant::now();
        let ended = loop {
            let gone = drip.0.write_all(&p_data(&[next()])).is_err() || drip.0.read(&mut [0; 64]).is_ok();
            if gone || begun.elapsed() > Duration::from_secs(20) {
                break gone;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        assert!(ended, "{what} that drip are given up");
    }
    assert!(idle.iter_mut().all(Raw::is_aborted));
    let images = phantom::ct_head(1, None, "头颅CT平扫", "HEAD");
    assert_eq!(node.send(&images).len(), 1);
    drop(silent);
    let until = Instant::now() + Duration::from_secs(10);
    while associations(&node) != "hutong_associations 0" && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(associations(&node), "hutong_associations 0");
}

#[test]
fn over_the_limit_callers_are_told_so() {
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(place.path(), &[("HUTONG_DIMSE__MAX_ASSOCIATIONS", "2")]);
    let held = [Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN), Raw::connect(&node, uids::EXPLICIT_VR_LITTLE_ENDIAN)];
    let mut to = node.requested();
    to.proposals = vec![hutong::dimse::Proposal::new(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];
    let refused = hutong::dimse::connect(&to).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("limit"), "{refused}");
    drop(held);
    let until = Instant::now() + Duration::from_secs(10);
    while hutong::dimse::connect(&to).is_err() {
        assert!(Instant::now() < until, "a place that was given back is not taken again");
        std::thread::sleep(Duration::from_millis(100));
    }
}
