"""C-MOVE and C-GET with DCMTK and pynetdicom, storage commitment, forwarding, TLS, rights: both directions."""
import datetime
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
import warnings
from pathlib import Path

import numpy
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, UID, generate_uid)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import CTImageStorage, DigitalXRayImageStorageForPresentation, StorageCommitmentPushModel
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelGet as PATIENT_GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE
from pynetdicom.sop_class import Verification

from conftest import PROGRAM, Node
from test_dimse import run

COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sink:
    """A storage SCP of pynetdicom that keeps what comes, commits what it has, and can be told to misbehave."""

    def __init__(self, title, syntaxes, port=None, refuse=(), commits=True):
        self.kept, self.originators, self.events, self.asked = {}, set(), [], []
        self.title, self.port, self.refuse, self.commits = title, port or free_port(), set(refuse), commits
        ae = AE(ae_title=title)
        for context in (CTImageStorage, DigitalXRayImageStorageForPresentation):
            ae.add_supported_context(context, syntaxes)
        ae.add_supported_context(Verification)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_C_STORE, self.store), (evt.EVT_N_ACTION, self.action), (evt.EVT_N_EVENT_REPORT, self.event)]
        self.server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def store(self, event):
        if event.request.AffectedSOPInstanceUID in self.refuse:
            return 0xA700
        data = event.dataset
        data.file_meta = event.file_meta
        self.kept[str(data.SOPInstanceUID)] = data
        self.originators.add((event.request.MoveOriginatorApplicationEntityTitle, event.request.MoveOriginatorMessageID))
        return 0x0000

    def action(self, event):
        self.asked.append(event.action_information)
        if self.commits:
            threading.Thread(target=self.answer, args=(event.action_information, event.assoc.requestor)).start()
        return 0x0000, None

    def answer(self, asked, requestor):
        time.sleep(0.3)
        result = Dataset()
        result.TransactionUID = asked.TransactionUID
        here = [i for i in asked.ReferencedSOPSequence if i.ReferencedSOPInstanceUID in self.kept]
        gone = [i for i in asked.ReferencedSOPSequence if i.ReferencedSOPInstanceUID not in self.kept]
        result.ReferencedSOPSequence = here
        for item in gone:
            item.FailureReason = 0x0112
        if gone:
            result.FailedSOPSequence = gone
        ae = AE(ae_title=self.title)
        ae.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        association = ae.associate("127.0.0.1", self.report_to, ae_title="HUTONG", ext_neg=[role])
        assert association.is_established
        status, _ = association.send_n_event_report(result, 2 if gone else 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
        self.events.append(status.Status)
        association.release()

    def event(self, event):
        self.events.append((event.event_type, event.event_information))
        return 0x0000, None

    def stop(self):
        self.server.shutdown()


def configured(place, text, **settings):
    place.mkdir(parents=True, exist_ok=True)
    (place / "hutong.toml").write_text(text, encoding="utf-8")
    names = {f"HUTONG_{name.upper()}": value for name, value in settings.items()}
    os.environ.update(names)
    try:
        return Node(place)
    finally:
        for name in names:
            del os.environ[name]


def peers(*entries):
    return "\n".join("[[peer]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in e.items()) for e in entries) + "\n"


def until(check, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def ask(node, path, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(node.http + path, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read() or b"null")


ALL = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless, RLELossless]


@pytest.fixture(scope="module")
def sinks():
    made = {"ANY": Sink("ANY", ALL), "IMPLICIT": Sink("IMPLICIT", [ImplicitVRLittleEndian]), "OUTSIDE": Sink("OUTSIDE", ALL)}
    yield made
    for sink in made.values():
        sink.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory, phantoms, sinks):
    text = peers(
        {"aet": "ANY", "address": f"127.0.0.1:{sinks['ANY'].port}"},
        {"aet": "IMPLICIT", "address": f"127.0.0.1:{sinks['IMPLICIT'].port}"},
        {"aet": "OUTSIDE", "address": f"127.0.0.1:{sinks['OUTSIDE'].port}", "exchange": True},
        {"aet": "DEAD", "address": f"127.0.0.1:{free_port()}"},
        {"aet": "DCMTKDEST", "address": f"127.0.0.1:{DCMTK_PORT}"},
        {"aet": "STOREONLY", "rights": ["echo", "store"]},
        {"aet": "AWAY", "from": ["192.0.2.0/24"]},
        {"aet": "FEW", "max_associations": 1},
        {"aet": "SECRET", "passcode_sha256": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"},
    )
    made = configured(tmp_path_factory.mktemp("retrieve"), text)
    for name in ("CtHead", "Chest"):
        code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(made.port), str(phantoms / name))
        assert code == 0, said
    for study in made.json("/dicom-web/studies"):
        made.judged(study["0020000D"]["Value"][0])
    yield made
    made.stop()


DCMTK_PORT = free_port()


@pytest.fixture(scope="module")
def studies(node):
    return {s["00100020"]["Value"][0]: s["0020000D"]["Value"][0] for s in node.json("/dicom-web/studies?includefield=all")}


def identifier(level, **keys):
    query = Dataset()
    query.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(query, name, value)
    return query


def associate(node, model, calling="ASKER", more=(), roles=(), port=None, **options):
    ae = AE(ae_title=calling)
    ae.add_requested_context(model)
    for sop_class, syntaxes in more:
        ae.add_requested_context(sop_class, syntaxes)
    association = ae.associate("127.0.0.1", port or node.port, ae_title="HUTONG", ext_neg=list(roles), **options)
    return association


def move(node, query, to, calling="ASKER", model=MOVE, port=None, tls_args=None, **options):
    association = associate(node, model, calling, port=port, tls_args=tls_args)
    assert association.is_established
    answers = [(s, d) for s, d in association.send_c_move(query, to, model, **options)]
    association.release()
    return answers


def get(node, query, calling="ASKER", syntaxes=(ExplicitVRLittleEndian,), model=GET, classes=(CTImageStorage, DigitalXRayImageStorageForPresentation), port=None, tls_args=None):
    got = []

    def store(event):
        data = event.dataset
        data.file_meta = event.file_meta
        got.append(data)
        return 0x0000

    association = associate(node, model, calling, [(c, list(syntaxes)) for c in classes], [build_role(c, scp_role=True) for c in classes],
                            evt_handlers=[(evt.EVT_C_STORE, store)], port=port, tls_args=tls_args)
    assert association.is_established
    answers = [(s, d) for s, d in association.send_c_get(query, model)]
    association.release()
    return got, answers


def same(stored, sent):
    assert stored.SOPInstanceUID == sent.SOPInstanceUID and str(stored.PatientName) == str(sent.PatientName)
    assert numpy.array_equal(stored.pixel_array, sent.pixel_array)


def originals(phantoms, name):
    return {str(d.SOPInstanceUID): d for d in (pydicom.dcmread(p) for p in (phantoms / name).iterdir())}


def test_c_move_of_a_study_counts_and_names_who_asked(node, sinks, studies, phantoms):
    sink = sinks["ANY"]
    sink.kept.clear()
    answers = move(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "ANY", msg_id=77)
    last = answers[-1][0]
    # Thirty slices and their thirty marked copies.
    assert last.Status == 0 and last.NumberOfCompletedSuboperations == 60 and "NumberOfRemainingSuboperations" not in last
    assert [s.Status for s, _ in answers[:-1]] == [0xFF00] * 59
    assert [s.NumberOfRemainingSuboperations for s, _ in answers[:-1]] == list(range(59, 0, -1))
    assert sink.originators == {("ASKER", 77)}
    expected = originals(phantoms, "CtHead")
    assert len(sink.kept) == 60 and expected.keys() <= sink.kept.keys()
    for uid, data in expected.items():
        same(data, sink.kept[uid])


def test_c_move_by_series_and_image_and_to_a_peer_that_takes_implicit_only(node, sinks, studies, phantoms):
    sink = sinks["IMPLICIT"]
    expected = originals(phantoms, "CtHead")
    one = next(iter(expected.values()))
    answers = move(node, identifier("SERIES", StudyInstanceUID=studies["HT0002"], SeriesInstanceUID=one.SeriesInstanceUID), "IMPLICIT")
    assert answers[-1][0].Status == 0 and sink.kept.keys() == expected.keys()
    assert {str(d.file_meta.TransferSyntaxUID) for d in sink.kept.values()} == {str(ImplicitVRLittleEndian)}
    for uid, data in expected.items():
        same(data, sink.kept[uid])
    sink.kept.clear()
    wanted = list(expected)[:3]
    query = identifier("IMAGE", StudyInstanceUID=studies["HT0002"], SeriesInstanceUID=one.SeriesInstanceUID, SOPInstanceUID=wanted)
    assert move(node, query, "IMPLICIT")[-1][0].NumberOfCompletedSuboperations == 3 and sink.kept.keys() == set(wanted)


def test_what_is_asked_for_another_hospital_goes_there_marked_only(node, sinks, studies, phantoms):
    sink = sinks["OUTSIDE"]
    answers = move(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "OUTSIDE")
    assert answers[-1][0].NumberOfCompletedSuboperations == 30
    assert not sink.kept.keys() & originals(phantoms, "CtHead").keys()
    assert {d.BurnedInAnnotation for d in sink.kept.values()} == {"YES"}
    uid = next(iter(originals(phantoms, "CtHead")))
    assert move(node, identifier("IMAGE", SOPInstanceUID=uid), "OUTSIDE")[-1][0].NumberOfCompletedSuboperations == 0
    got, answers = get(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), calling="OUTSIDE")
    assert len(got) == 30 and {str(d.SOPInstanceUID) for d in got} == sink.kept.keys()


def test_refusals_of_c_move_say_why(node, sinks, studies):
    study = studies["HT0002"]
    for query, to, status, word in (
        (identifier("STUDY", StudyInstanceUID=study), "NOBODY", 0xA801, "NOBODY"),
        (identifier("STUDY", StudyInstanceUID=study), "STOREONLY", 0xA801, "address"),
        (identifier("STUDY", StudyInstanceUID=""), "ANY", 0xA900, "Study Instance UID"),
        (identifier("PLANET", StudyInstanceUID=study), "ANY", 0xA900, "Level"),
        (identifier("STUDY", StudyInstanceUID="1.2.*"), "ANY", 0xA900, "UID"),
        (identifier("STUDY", StudyInstanceUID=study), "DEAD", 0xA702, "DEAD"),
    ):
        last, data = move(node, query, to)[-1]
        assert last.Status == status and word in last.ErrorComment, (last, word)
        if to == "DEAD":
            assert last.NumberOfFailedSuboperations == 60 and len(data.FailedSOPInstanceUIDList) == 60
    assert move(node, identifier("STUDY", StudyInstanceUID="1.2.3"), "ANY")[-1][0].Status == 0


def test_an_instance_that_the_destination_refuses_is_named(node, sinks, studies, phantoms):
    sink = sinks["ANY"]
    refused = list(originals(phantoms, "CtHead"))[:2]
    sink.refuse = set(refused)
    try:
        last, data = move(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "ANY")[-1]
    finally:
        sink.refuse = set()
    assert (last.Status, last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (0xB000, 58, 2)
    assert set(data.FailedSOPInstanceUIDList) == set(refused) and "A700H" in last.ErrorComment


def test_c_move_can_be_cancelled(node, sinks, studies):
    association = associate(node, MOVE)
    seen = 0
    for status, _ in association.send_c_move(identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "ANY", MOVE, msg_id=9):
        seen += 1
        if seen == 1:
            association.send_c_cancel(9, context_id=association.accepted_contexts[0].context_id)
    assert status.Status == 0xFE00 and status.NumberOfRemainingSuboperations > 0, status
    assert association.is_established
    association.release()


class Deaf(Sink):
    """Takes an object and never says so."""

    def store(self, event):
        self.kept[str(event.request.AffectedSOPInstanceUID)] = None
        self.woken.wait(120)
        return 0x0000

    def __init__(self, *arguments):
        self.woken = threading.Event()
        super().__init__(*arguments)

    def stop(self):
        self.woken.set()
        super().stop()


def test_a_destination_that_does_not_answer_holds_neither_the_requester_nor_the_nodes_end(tmp_path, phantoms):
    deaf = Deaf("DEAF", ALL)
    text = peers({"aet": "ASKER", "rights": ["echo", "find", "retrieve"]}, {"aet": "DEAF", "address": f"127.0.0.1:{deaf.port}"}) + """
[[forward]]
name = "all"
to = ["DEAF"]
outcomes = ["accept", "review", "reject"]
"""
    node = configured(tmp_path, text)
    code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "127.0.0.1", str(node.port), str(phantoms / "Chest"))
    assert code == 0, said
    study = next(iter(originals(phantoms, "Chest").values())).StudyInstanceUID
    association = associate(node, MOVE)
    began, statuses = time.time(), []
    for status, _ in association.send_c_move(identifier("STUDY", StudyInstanceUID=study), "DEAF", MOVE, msg_id=9):
        statuses.append(status.Status)
        if len(statuses) == 1:
            association.send_c_cancel(9, context_id=association.accepted_contexts[0].context_id)
    # Told that it goes on although nothing has come back, and heard when it no longer wants it.
    assert statuses == [0xFF00, 0xFE00] and time.time() - began < 30, statuses
    association.release()
    until(lambda: [t for t in ask(node, "/api/v1/outbox")[1]["forward"] if t["to"] == "DEAF"])
    until(lambda: len(deaf.kept) >= 1)
    time.sleep(1)
    began = time.time()
    node.stop()
    assert time.time() - began < 20, "a forwarding task under way is left for the next start"
    deaf.stop()


def test_movescu_of_dcmtk_receives_itself(node, studies, tmp_path, phantoms):
    code, said = run("movescu", "-v", "-S", "-aet", "ASKER", "-aec", "HUTONG", "-aem", "DCMTKDEST", "+P", str(DCMTK_PORT), "-od", str(tmp_path), "127.0.0.1",
                     str(node.port), "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={studies['HT0002']}")
    assert code == 0, said
    got = {str(d.SOPInstanceUID): d for d in (pydicom.dcmread(p, force=True) for p in tmp_path.iterdir())}
    assert len(got) == 60
    for uid, data in originals(phantoms, "CtHead").items():
        assert got[uid].PixelData == data.PixelData


def test_getscu_of_dcmtk(node, studies, tmp_path, phantoms):
    for arguments in ((), ("+x=",), ("+xi",)):
        folder = tmp_path / ("d" + "".join(arguments).strip("+="))
        folder.mkdir()
        code, said = run("getscu", "-v", "-S", "-aet", "ASKER", "-aec", "HUTONG", *arguments, "-od", str(folder), "127.0.0.1", str(node.port), "-k",
                         "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={studies['HT0002']}")
        assert code == 0, said
        got = {str(d.SOPInstanceUID): d for d in (pydicom.dcmread(p, force=True) for p in folder.iterdir())}
        assert len(got) == 60
        for uid, data in originals(phantoms, "CtHead").items():
            same(data, got[uid])


def test_c_get_of_a_patient_and_by_roles_that_were_agreed_on(node, studies, phantoms):
    got, answers = get(node, identifier("PATIENT", PatientID="HT0001"), model=PATIENT_GET)
    expected = originals(phantoms, "Chest")
    assert answers[-1][0].Status == 0 and expected.keys() <= {str(d.SOPInstanceUID) for d in got}
    # Only CT is offered: the radiographs fail, by name, with the reason.
    got, answers = get(node, identifier("PATIENT", PatientID="HT0001"), model=PATIENT_GET, classes=(CTImageStorage,))
    last, data = answers[-1]
    assert not got and last.Status == 0xA702 and expected.keys() <= set(data.FailedSOPInstanceUIDList) and "context" in last.ErrorComment
    assert get(node, identifier("PATIENT", PatientID="HT*"), model=PATIENT_GET)[1][-1][0].Status == 0xA900


def test_c_get_without_the_role_sends_nothing_and_says_which_role_is_missing(node, studies):
    came = []
    association = associate(node, GET, more=[(CTImageStorage, [ExplicitVRLittleEndian])], evt_handlers=[(evt.EVT_C_STORE, lambda event: came.append(1) or 0)])
    *_, (last, data) = association.send_c_get(identifier("STUDY", StudyInstanceUID=studies["HT0002"]), GET)
    association.release()
    assert not came and last.Status == 0xA702 and "SCP role" in last.ErrorComment and len(data.FailedSOPInstanceUIDList) == 60, last


def test_a_stored_file_that_was_cut_off_never_goes_out_as_a_whole_one(tmp_path, phantoms):
    node = configured(tmp_path, "")
    try:
        run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "127.0.0.1", str(node.port), str(phantoms / "CtHead"))
        expected = originals(phantoms, "CtHead")
        node.judged(str(next(iter(expected.values())).StudyInstanceUID))
        cut = next(uid for uid in expected)
        (file,) = (p for p in (node.place / "storage/objects").rglob("*") if p.is_file() and cut in p.name)
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        got, answers = get(node, identifier("STUDY", StudyInstanceUID=str(expected[cut].StudyInstanceUID)))
        last, data = answers[-1]
        assert last.Status == 0xB000 and data.FailedSOPInstanceUIDList == cut, last
        assert "cut off" in last.ErrorComment and cut not in {str(d.SOPInstanceUID) for d in got}
        assert expected.keys() - {cut} <= {str(d.SOPInstanceUID) for d in got}
    finally:
        node.stop()


def test_c_get_can_be_cancelled(node, studies):
    seen = []
    association = associate(node, GET, more=[(CTImageStorage, [ExplicitVRLittleEndian])], roles=[build_role(CTImageStorage, scp_role=True)],
                            evt_handlers=[(evt.EVT_C_STORE, lambda event: seen.append(1) or 0)])
    for number, (status, _) in enumerate(association.send_c_get(identifier("STUDY", StudyInstanceUID=studies["HT0002"]), GET, msg_id=3)):
        if number == 2:
            association.send_c_cancel(3, context_id=association.accepted_contexts[0].context_id)
    assert status.Status == 0xFE00 and 0 < len(seen) < 60, (status, len(seen))
    association.release()


def test_our_own_commands_against_the_node(node, studies, tmp_path, phantoms):
    def hutong(*arguments, code=0):
        done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    address = f"127.0.0.1:{node.port}"
    assert "王^小东" in hutong("find", address, "--patient", "HT0002", "-k", "StudyTime")
    found = json.loads(hutong("find", address, "--name", "王*", "--json"))
    assert [m["0020000D"]["Value"][0] for m in found] == [studies["HT0002"]]
    series = json.loads(hutong("find", address, "--level", "series", "--study", studies["HT0002"], "--json"))
    assert len(series) == 2
    counts = json.loads(hutong("get", address, "--study", studies["HT0002"], "--out", str(tmp_path), "--json"))
    assert counts["completed"] == 60 and counts["failed"] == 0
    got = {p.stem: pydicom.dcmread(p) for p in tmp_path.iterdir()}
    for uid, data in originals(phantoms, "CtHead").items():
        same(data, got[uid])
    counts = json.loads(hutong("move", address, "--study", studies["HT0002"], "--to", "ANY", "--json"))
    assert counts["completed"] == 60
    assert json.loads(hutong("move", address, "--study", studies["HT0002"], "--to", "NOBODY", "--json", code=1))["status"] == "A801"
    # Named otherwise than by UID, the studies are looked for first.
    assert json.loads(hutong("move", address, "--name", "王*", "--patient", "HT0002", "--to", "ANY", "--json"))["completed"] == 60
    hutong("move", address, "--patient", "NOBODY", "--to", "ANY", code=2)
    assert json.loads(hutong("commit", address, str(phantoms / "CtHead"), "--json")) == {"instances": 30, "failed": []}
    stranger = pydicom.dcmread(next((phantoms / "CtHead").iterdir()))
    stranger.SOPInstanceUID = stranger.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    stranger.save_as(tmp_path / "stranger.dcm")
    assert json.loads(hutong("commit", address, str(tmp_path / "stranger.dcm"), "--json", code=1))["failed"]
    # What was not found, and what cannot be meant.
    assert json.loads(hutong("get", address, "--study", "1.2.3", "--out", str(tmp_path), "--json", code=1))["completed"] == 0
    for wrong in (("move", address, "--to", "ANY"), ("find", address, "--date", "2026-13"), ("find", address, "--date", "yesterday"),
                  ("echo", address, "--called", "NINETEENCHARACTERSX")):
        hutong(*wrong, code=2)
    assert json.loads(hutong("echo", address, "--json"))["status"] == "0000"


def test_our_own_commands_against_dcmtk_and_pynetdicom(sinks, tmp_path, phantoms):
    done = subprocess.run([str(PROGRAM), "send", f"127.0.0.1:{sinks['ANY'].port}", "--called", "ANY", str(phantoms / "CtHead"), "--json"],
                          capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["stored"] == 30, done.stderr
    assert subprocess.run([str(PROGRAM), "echo", f"127.0.0.1:{sinks['ANY'].port}", "--called", "ANY"], timeout=60).returncode == 0


def test_our_own_commands_against_dcmqrscp_of_dcmtk(tmp_path, phantoms):
    """Its archive is filled, searched, read by C-GET and told to send by C-MOVE."""
    port, back = free_port(), free_port()
    (tmp_path / "db").mkdir()
    (tmp_path / "qr.cfg").write_text(f"""NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
back = (BACK, localhost, {back})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QR {tmp_path}/db RW (200, 1024mb) ANY
AETable END
""")
    server = subprocess.Popen(["dcmqrscp", "-c", str(tmp_path / "qr.cfg")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    came = {}
    ae = AE(ae_title="BACK")
    ae.add_supported_context(CTImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    keep = lambda event: came.update({str(event.dataset.SOPInstanceUID): event.dataset}) or 0
    receiver = ae.start_server(("127.0.0.1", back), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])

    def hutong(*arguments):
        done = subprocess.run([str(PROGRAM), arguments[0], f"127.0.0.1:{port}", "--called", "QR", "--json", *arguments[1:]], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        assert hutong("echo")["status"] == "0000"
        assert hutong("send", str(phantoms / "CtHead"))["stored"] == 30
        expected = originals(phantoms, "CtHead")
        study = str(next(iter(expected.values())).StudyInstanceUID)
        assert [m["0020000D"]["Value"][0] for m in hutong("find", "--patient", "HT0002")] == [study]
        assert len(hutong("find", "--level", "image", "--study", study, "--series", str(next(iter(expected.values())).SeriesInstanceUID), "-k", "SOPInstanceUID")) == 30
        assert hutong("get", "--study", study, "--out", str(tmp_path / "got"))["completed"] == 30
        for path in (tmp_path / "got").iterdir():
            same(expected[path.stem], pydicom.dcmread(path))
        assert hutong("move", "--study", study, "--to", "BACK")["completed"] == 30
        assert came.keys() == expected.keys() and all(came[uid].PixelData == expected[uid].PixelData for uid in came)
    finally:
        server.kill()
        receiver.shutdown()


def test_files_are_sent_in_what_the_peer_takes_and_warnings_are_no_failures(tmp_path, phantoms):
    source = sorted((phantoms / "CtHead").glob("*.dcm"))[0]
    code, said = run("dcmcjpeg", str(source), str(tmp_path / "lossless.dcm"))
    assert code == 0, said
    before = pydicom.dcmread(source)

    class Warns(Sink):
        def store(self, event):
            super().store(event)
            return 0xB000

    sink = Warns("WARNS", [ImplicitVRLittleEndian])
    done = subprocess.run([str(PROGRAM), "send", f"127.0.0.1:{sink.port}", "--called", "WARNS", str(tmp_path / "lossless.dcm"), "--json"],
                          capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    sink.stop()
    assert done.returncode == 0 and said["stored"] == 1 and not said["failures"] and "B000" in said["warnings"][0], (said, done.stderr)
    (kept,) = sink.kept.values()
    assert kept.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian and (kept.pixel_array == before.pixel_array).all()


def test_a_peer_that_limits_its_answers_is_asked_day_by_day(tmp_path, phantoms):
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
    today = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).date()
    held = {}
    for name, day in (("Chest", today), ("SideConflict", today - datetime.timedelta(days=1))):
        for data in originals(phantoms, name).values():
            data.StudyDate = day.strftime("%Y%m%d")
            held.setdefault(str(data.StudyInstanceUID), []).append(data)
    asked = []

    def found(event):
        wanted = str(event.identifier.StudyDate)
        asked.append(wanted)
        for uid, images in held.items():
            if "-" not in wanted and images[0].StudyDate != wanted:
                continue
            match = Dataset()
            match.QueryRetrieveLevel, match.StudyInstanceUID, match.StudyDate = "STUDY", uid, images[0].StudyDate
            match.NumberOfStudyRelatedInstances = len(images)
            yield 0xFF00, match
            if "-" in wanted:
                yield 0xA700, None
                return

    def moved(event):
        images = held[str(event.identifier.StudyInstanceUID)]
        yield "127.0.0.1", node.port
        yield len(images)
        for image in images:
            yield 0xFF00, image

    ae = AE(ae_title="ARCHIVE")
    for context in (FIND, MOVE):
        ae.add_supported_context(context)
    ae.requested_contexts = [build_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, found), (evt.EVT_C_MOVE, moved)])
    text = peers({"aet": "ARCHIVE", "address": f"127.0.0.1:{server.server_address[1]}", "rights": ["echo", "store"]}) + """
[[pull]]
name = "all"
from = "ARCHIVE"
every_minutes = 1
days = 2
by = "move"
"""
    node = configured(tmp_path, text)
    try:
        here = lambda: {s["0020000D"]["Value"][0] for s in node.json("/dicom-web/studies") or []}
        until(lambda: here() == set(held), 60)
        assert "-" in asked[0] and sorted(asked[1:4]) == [(today - datetime.timedelta(days=n)).strftime("%Y%m%d") for n in (2, 1, 0)]
    finally:
        node.stop()
        server.shutdown()


def test_storage_commitment_on_the_same_association(node, phantoms):
    uids = list(originals(phantoms, "CtHead"))
    events, answered = [], threading.Event()

    def event(event):
        events.append((event.event_type, event.event_information))
        answered.set()
        return 0x0000, None

    association = associate(node, StorageCommitmentPushModel, evt_handlers=[(evt.EVT_N_EVENT_REPORT, event)])
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = [item(CTImageStorage, uid) for uid in (*uids, "1.2.3.4")] + [item("1.2.840.10008.5.1.4.1.1.4", uids[0])]
    status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    assert status.Status == 0 and answered.wait(20)
    kind, told = events[0]
    assert kind == 2 and told.TransactionUID == asked.TransactionUID
    assert {i.ReferencedSOPInstanceUID for i in told.ReferencedSOPSequence} == set(uids)
    assert {(i.ReferencedSOPInstanceUID, i.FailureReason) for i in told.FailedSOPSequence} == {("1.2.3.4", 0x0112), (uids[0], 0x0119)}
    empty = Dataset()
    empty.TransactionUID = generate_uid()
    assert association.send_n_action(empty, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)[0].Status == 0x0120
    assert association.send_n_action(asked, 5, StorageCommitmentPushModel, COMMITMENT_INSTANCE)[0].Status == 0x0123
    association.release()


def item(sop_class, instance):
    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, instance
    return one


def test_storage_commitment_is_told_on_a_new_association_after_a_restart(tmp_path, phantoms):
    port = free_port()
    text = peers({"aet": "MODALITY", "address": f"127.0.0.1:{port}"})
    node = configured(tmp_path, text)
    files = sorted((phantoms / "CtHead").iterdir())[:3]
    code, said = run("storescu", "-aet", "MODALITY", "-aec", "HUTONG", "127.0.0.1", str(node.port), *map(str, files))
    assert code == 0, said
    uids = [str(pydicom.dcmread(f).SOPInstanceUID) for f in files]
    association = associate(node, StorageCommitmentPushModel, "MODALITY")
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = [item(CTImageStorage, uid) for uid in uids]
    assert association.send_n_action(asked, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)[0].Status == 0
    association.release()
    # Nobody listens there yet: it is tried, and kept; a person may have it tried at once, or drop it.
    until(lambda: [r for r in ask(node, "/api/v1/outbox")[1]["commitment_results"] if r["attempts"] > 0 and r["last_error"]])
    (waiting,) = ask(node, "/api/v1/outbox")[1]["commitment_results"]
    status, again = ask(node, f"/api/v1/outbox/{waiting['id']}/retry", "POST")
    assert status == 200 and again["attempts"] == 0 and again["transaction"] == asked.TransactionUID
    association = associate(node, StorageCommitmentPushModel, "MODALITY")
    other = Dataset()
    other.TransactionUID, other.ReferencedSOPSequence = generate_uid(), asked.ReferencedSOPSequence
    assert association.send_n_action(other, 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)[0].Status == 0
    association.release()
    dropped = f"MODALITY-{other.TransactionUID}"
    until(lambda: [r for r in ask(node, "/api/v1/outbox")[1]["commitment_results"] if r["id"] == dropped and r["attempts"] > 0])
    assert ask(node, f"/api/v1/outbox/{dropped}", "DELETE")[0] == 204 and ask(node, f"/api/v1/outbox/{dropped}", "DELETE")[0] == 404
    node.stop()
    # A file that is damaged meanwhile is not confirmed.
    victim = next(p for p in (tmp_path / "storage/objects").rglob("*.dcm") if uids[0] in p.name)
    os.chmod(victim, 0o644)
    with open(victim, "r+b") as f:
        f.seek(-10, 2)
        f.write(b"damaged")
    sink = Sink("MODALITY", ALL, port)
    node = configured(tmp_path, text)
    try:
        kind, told = until(lambda: sink.events and sink.events[0], 60)
        assert kind == 2 and told.TransactionUID == asked.TransactionUID
        assert [i.ReferencedSOPInstanceUID for i in told.FailedSOPSequence] == [uids[0]]
        assert {i.ReferencedSOPInstanceUID for i in told.ReferencedSOPSequence} == set(uids[1:])
        until(lambda: not ask(node, "/api/v1/outbox")[1]["commitment_results"])
    finally:
        node.stop()
        sink.stop()


def test_forwarding_by_verdict_survives_a_restart_and_waits_for_commitment(tmp_path, phantoms):
    port = free_port()
    text = peers({"aet": "PACS", "address": f"127.0.0.1:{port}", "commits": True},
                 {"aet": "OUTSIDE", "address": f"127.0.0.1:{port}", "exchange": True}) + """
[[forward]]
name = "accepted"
to = ["PACS"]
outcomes = ["accept"]
items = [34]
send = "marked"
[[forward]]
name = "radiographs"
to = ["PACS"]
modalities = ["DX"]
[[forward]]
name = "wrong"
to = ["OUTSIDE"]
modalities = ["CT"]
"""
    node = configured(tmp_path, text)
    code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "127.0.0.1", str(node.port), str(phantoms / "CtHead"))
    assert code == 0, said
    tasks = lambda: {t["rule"]: t for t in ask(node, "/api/v1/outbox")[1]["forward"]}
    until(lambda: tasks().get("accepted", {}).get("attempts"))
    wrong = until(lambda: tasks().get("wrong", {}).get("stage") == "dead" and tasks()["wrong"])
    assert "originals never go" in wrong["last_error"] and "radiographs" not in tasks()
    node.stop()
    sink = Sink("PACS", ALL, port, commits=False)
    node = configured(tmp_path, text)
    sink.report_to = node.port
    try:
        assert "accepted" in tasks()
        ask(node, f"/api/v1/outbox/{tasks()['accepted']['id']}/retry", "POST")
        asked = until(lambda: sink.asked and sink.asked[0])
        assert len(sink.kept) == 30 and {d.BurnedInAnnotation for d in sink.kept.values()} == {"YES"}
        # Sent, but not done: the peer has not said that it keeps them.
        time.sleep(1)
        assert tasks()["accepted"]["stage"] == "committing"
        lost = str(asked.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        del sink.kept[lost]
        sink.answer(asked, None)
        assert until(lambda: tasks()["accepted"]["stage"] == "waiting")
        assert lost not in tasks()["accepted"]["sent"] and sink.events == [0]
        sink.commits = True
        ask(node, f"/api/v1/outbox/{tasks()['accepted']['id']}/retry", "POST")
        until(lambda: "accepted" not in tasks())
        assert len(sink.kept) == 30 and lost in sink.kept
        journal = (tmp_path / "storage/journal.jsonl").read_text()
        assert '"event":"forwarded"' in journal and '"rule":"accepted"' in journal
        status, _ = ask(node, f"/api/v1/outbox/{tasks()['wrong']['id']}", "DELETE")
        assert status == 204 and not tasks()
        # By hand, originals.
        study = str(next(iter(originals(phantoms, "CtHead").values())).StudyInstanceUID)
        assert ask(node, f"/api/v1/studies/{study}/send", "POST", {"to": "PACS"})[0] == 202
        until(lambda: not tasks())
        assert len(sink.kept) == 60
        assert ask(node, f"/api/v1/studies/{study}/send", "POST", {"to": "NOBODY"})[0] == 400
    finally:
        node.stop()
        sink.stop()


def rejected(node, calling):
    """pynetdicom sometimes shows the rejection that it was sent, and then says that it aborted: asked again until it tells."""
    for _ in range(10):
        association = associate(node, Verification, calling)
        assert not association.is_established
        if association.is_rejected:
            return association
    raise AssertionError("never rejected")


def test_who_may_what(node, studies):
    association = associate(node, MOVE, "STOREONLY", more=[(CTImageStorage, [ExplicitVRLittleEndian]), (Verification, None)])
    assert {c.abstract_syntax for c in association.accepted_contexts} == {CTImageStorage, Verification}
    association.release()
    away = rejected(node, "AWAY")
    assert (away.acceptor.primitive.result, away.acceptor.primitive.result_source, away.acceptor.primitive.diagnostic) == (1, 1, 3)
    first = associate(node, Verification, "FEW")
    second = rejected(node, "FEW")
    assert first.is_established
    refusal = second.acceptor.primitive
    assert (refusal.result, refusal.result_source, refusal.diagnostic) == (2, 3, 2), "transient, by the provider, local limit exceeded"
    first.release()
    until(lambda: (lambda a: a.is_established and (a.release() or True))(associate(node, Verification, "FEW")))
    log = (node.place / "log").read_text()
    associate(node, Verification, "AWAY"), associate(node, Verification, "AWAY")
    assert (node.place / "log").read_text().count("AWAY") == log.count("AWAY") == 1


def test_a_passcode_is_asked_for_where_it_is_configured(node):
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    def identity(passcode):
        one = UserIdentityNegotiation()
        one.user_identity_type, one.primary_field, one.secondary_field = 2, b"user", passcode
        one.positive_response_requested = True
        return one

    assert rejected(node, "SECRET").acceptor.primitive.diagnostic == 1
    assert not associate(node, Verification, "SECRET", roles=[identity(b"wrong")]).is_established
    good = associate(node, Verification, "SECRET", roles=[identity(b"password")])
    assert good.is_established and good.acceptor.user_identity is not None
    good.release()


def test_the_asynchronous_window_and_extended_negotiation_are_answered(node):
    from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, SOPClassExtendedNegotiation
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 9, 9
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = FIND, b"\x01\x01\x01\x00\x01"
    association = associate(node, FIND, roles=[window, extended])
    assert association.acceptor.asynchronous_operations == (1, 1)
    assert association.acceptor.sop_class_extended == {FIND: b"\x01\x01\x01\x00\x00"}
    # Fuzzy matching was agreed on: pinyin finds the Chinese name.
    query = identifier("STUDY", PatientName="xiaodong wang", PatientID="")
    assert [d.PatientID for s, d in association.send_c_find(query, FIND) if s.Status == 0xFF00] == ["HT0002"]
    association.release()
    association = associate(node, FIND)
    assert [d for s, d in association.send_c_find(query, FIND) if s.Status == 0xFF00] == []
    association.release()


def test_peers_are_changed_while_the_node_runs(node, sinks, studies):
    assert ask(node, "/api/v1/peers/LATER")[0] == 404
    assert move(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "LATER")[-1][0].Status == 0xA801
    assert ask(node, "/api/v1/peers/LATER", "PUT", {"address": "nowhere"})[0] == 400
    assert ask(node, "/api/v1/peers/LATER", "PUT", {"adress": "a:1"})[0] == 400
    status, peer = ask(node, "/api/v1/peers/LATER", "PUT", {"address": f"127.0.0.1:{sinks['ANY'].port}"})
    assert status == 201 and peer["aet"] == "LATER" and set(peer["rights"]) == {"echo", "store", "find", "retrieve", "commit"}
    # The sink does not check what it is called.
    assert move(node, identifier("STUDY", StudyInstanceUID=studies["HT0002"]), "LATER")[-1][0].Status == 0
    assert "LATER" in {p["aet"] for p in ask(node, "/api/v1/peers")[1]}
    assert ask(node, "/api/v1/peers/LATER", "DELETE")[0] == 204 and ask(node, "/api/v1/peers/LATER")[0] == 404
    journal = (node.place / "storage/journal.jsonl").read_text()
    assert journal.count('"event":"peer-changed"') == 2
    assert '"by":"ASKER for ANY"' in journal and '"by":"OUTSIDE"' in journal


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, certificates by it, and a stranger's."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    for authority in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "30", "-subj", f"/CN={authority}",
                "-addext", "basicConstraints=critical,CA:TRUE")
    for name, authority in (("node", "ca"), ("good", "ca"), ("second", "ca"), ("stranger", "other")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "30",
                "-extfile", "ext")
    return folder


def fingerprint(folder, name):
    done = subprocess.run(["openssl", "x509", "-in", str(folder / f"{name}.pem"), "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True, text=True)
    return done.stdout.split("=")[1].strip().replace(":", "").lower()


def client_context(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    return context


def tls_version(port, certificates, version):
    """What is spoken when only one version is offered; none where it is refused."""
    context = client_context(certificates)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as secured:
            return secured.version()
    except OSError:
        return None


def test_tls_with_certificates_of_both_sides(tmp_path, phantoms, certificates):
    port, dcmtk_port = free_port(), free_port()
    text = f"""
[dimse]
clear = false
tls_port = {port}
tls_certificate = "{certificates}/node.pem"
tls_key = "{certificates}/node.key"
tls_authorities = "{certificates}/ca.pem"
unknown_callers = []
""" + peers({"aet": "GOOD", "tls": True, "certificate": fingerprint(certificates, "good")},
            {"aet": "DCMTK", "tls": True, "address": f"localhost:{dcmtk_port}"})
    node = configured(tmp_path, text)
    files = [str(p) for p in sorted((phantoms / "CtHead").iterdir())[:3]]

    def tls(name, authority="ca"):
        return ["+tls", str(certificates / f"{name}.key"), str(certificates / f"{name}.pem"), "+cf", str(certificates / f"{authority}.pem")]

    def send(aet, *arguments):
        return run("storescu", "-v", "-aet", aet, "-aec", "HUTONG", *arguments, "127.0.0.1", str(port), *files)

    receiver = None
    try:
        code, said = send("GOOD", *tls("good"))
        assert code == 0 and len(node.json("/dicom-web/instances")) == 3, said
        for profile in ("+py", "+px", "+pz"):  # non-downgrading, plain and extended BCP 195
            code, said = run("echoscu", "-aet", "GOOD", "-aec", "HUTONG", *tls("good"), profile, "127.0.0.1", str(port))
            assert code == 0, (profile, said)
        code, said = send("GOOD", *tls("second"))
        assert code != 0 and "Calling AE Title Not Recognized" in said, said
        assert send("GOOD", *tls("stranger"))[0] != 0, "a certificate of an authority that nobody knows"
        assert send("GOOD", "+tla", "+cf", str(certificates / "ca.pem"))[0] != 0, "no certificate"
        assert send("GOOD")[0] != 0, "in the clear"
        assert send("DCMTK", *tls("second"))[0] == 0
        # The other direction: the node calls a storage SCP over TLS, by C-MOVE and from our command line.
        got = tmp_path / "got"
        got.mkdir()
        receiver = subprocess.Popen(["/usr/bin/storescp", *tls("second"), "-od", str(got), str(dcmtk_port)], stderr=subprocess.DEVNULL)
        study = str(pydicom.dcmread(files[0]).StudyInstanceUID)
        time.sleep(0.5)
        ours = ["--tls-authorities", str(certificates / "ca.pem"), "--tls-certificate", str(certificates / "good.pem"), "--tls-key", str(certificates / "good.key")]
        done = subprocess.run([str(PROGRAM), "move", f"localhost:{port}", "--calling", "GOOD", *ours, "--tls-check-name", "--study", study, "--to", "DCMTK", "--json"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and json.loads(done.stdout)["completed"] >= 3, done.stdout + done.stderr
        assert len(list(got.iterdir())) >= 3
        # Query, C-MOVE and C-GET over TLS; and older protocols are refused.
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        code, said = run("findscu", "-aet", "GOOD", "-aec", "HUTONG", *tls("good"), *keys, "127.0.0.1", str(port))
        assert code == 0 and study in said, said
        shutil.rmtree(got)
        got.mkdir()
        secured = {"tls_args": (client_context(certificates), None), "port": port}
        assert move(node, identifier("STUDY", StudyInstanceUID=study), "DCMTK", "GOOD", **secured)[-1][0].Status == 0
        assert len(list(got.iterdir())) >= 3
        fetched, answers = get(node, identifier("STUDY", StudyInstanceUID=study), "GOOD", **secured)
        assert answers[-1][0].Status == 0 and len(fetched) >= 3
        assert not (tls_version(port, certificates, ssl.TLSVersion.TLSv1_1)), "BCP 195 knows no TLS 1.1"
        assert tls_version(port, certificates, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert tls_version(port, certificates, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        wrong = ["--tls-authorities", str(certificates / "other.pem"), "--tls-certificate", str(certificates / "good.pem"), "--tls-key", str(certificates / "good.key")]
        done = subprocess.run([str(PROGRAM), "echo", f"localhost:{port}", "--calling", "GOOD", *wrong], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "certificate" in done.stderr, done.stderr
        # A caller that says nothing does not keep anybody out.
        with socket.create_connection(("127.0.0.1", port)):
            assert send("GOOD", *tls("good"))[0] == 0
    finally:
        if receiver:
            receiver.kill()
        node.stop()


def test_every_transfer_syntax_goes_out_as_it_is_or_turned_into_what_the_peer_takes(tmp_path, shared):
    """The real files through the node to a peer that takes only Implicit VR Little Endian, and to one that takes all."""
    got_plain, got_stored = {}, {}

    def keep(where):
        def store(event):
            data = event.dataset
            data.file_meta = event.file_meta
            where[str(data.SOPInstanceUID)] = data
            return 0
        return store

    files = {}
    for path in sorted((shared / "data/ts").rglob("*.dcm")):
        d = pydicom.dcmread(path, force=True)
        if "SOPInstanceUID" in d and "TransferSyntaxUID" in d.get("file_meta", {}) and str(d.SOPInstanceUID) not in files and "SOPClassUID" in d:
            files[str(d.SOPInstanceUID)] = (path, d)
    classes = sorted({str(d.SOPClassUID) for _, d in files.values()})
    syntaxes = sorted({str(d.file_meta.TransferSyntaxUID) for _, d in files.values()})
    entities = []
    packed = {f"1.2.840.10008.1.2.{which}": {} for which in ("4.80", "4.90", "5", "4.70", "4.57", "4.201", "4.202", "1.99", "2")}
    for title, where, taken in (("PLAIN", got_plain, [ImplicitVRLittleEndian]), ("STORED", got_stored, syntaxes),
                                *((uid.split(".10008.")[1], where, [uid]) for uid, where in packed.items())):
        ae = AE(ae_title=title)
        for sop_class in classes:
            ae.add_supported_context(sop_class, taken)
        entities.append((title, ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep(where))])))
    text = peers(*({"aet": title, "address": f"127.0.0.1:{server.server_address[1]}"} for title, server in entities))
    node = configured(tmp_path, text)
    try:
        for path, _ in files.values():
            request = urllib.request.Request(node.http + "/dicom-web/studies", data=path.read_bytes(), method="POST",
                                             headers={"Content-Type": "application/dicom", "Accept": "application/dicom+json"})
            try:
                urllib.request.urlopen(request).read()
            except urllib.error.HTTPError:
                pass
        here = {i["00080018"]["Value"][0]: i for i in node.json("/dicom-web/instances?limit=10000")}
        assert len(here) >= 50
        report = {}
        for title in ("PLAIN", "STORED"):
            for uid in here:
                query = identifier("IMAGE", StudyInstanceUID=here[uid]["0020000D"]["Value"][0], SeriesInstanceUID=here[uid]["0020000E"]["Value"][0], SOPInstanceUID=uid)
                last, _ = move(node, query, title)[-1]
                if last.Status != 0:
                    report[title, uid] = (str(files[uid][1].file_meta.TransferSyntaxUID), last.get("ErrorComment", ""))
        stored = [k for k in report if k[0] == "STORED"]
        assert not stored, [report[k] for k in stored]
        # A peer that takes pictures in one other form only gets them so, with the same samples.
        def native(samples, signed):
            return [uid for uid in here if str(files[uid][1].file_meta.TransferSyntaxUID) in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
                    and files[uid][1].get("BitsAllocated") in (8, 16) and files[uid][1].get("SamplesPerPixel") == samples
                    and files[uid][1].get("PixelRepresentation") == signed][:2]
        kinds = [native(1, 0), native(1, 1), native(3, 0)]
        assert all(kinds), kinds
        # HTJ2K's encoder is not trusted with colours.
        native = [(uid, kind == kinds[2]) for kind in kinds for uid in kind]
        for syntax, where in packed.items():
            for uid, colour in native:
                query = identifier("IMAGE", StudyInstanceUID=here[uid]["0020000D"]["Value"][0], SeriesInstanceUID=here[uid]["0020000E"]["Value"][0], SOPInstanceUID=uid)
                last, _ = move(node, query, syntax.split(".10008.")[1])[-1]
                if colour and syntax in ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202") and last.Status != 0:
                    assert "without loss" in last.ErrorComment, last
                    continue
                assert last.Status == 0, (syntax, uid, last)
                assert where[uid].file_meta.TransferSyntaxUID == syntax
                assert (where[uid].pixel_array == files[uid][1].pixel_array).all(), (syntax, uid)
        # What cannot be turned: videos, and what is not decoded here; each says so.
        assert len(got_plain) >= 0.8 * len(here), report
        assert all(comment for _, comment in report.values()), report
        compared = 0
        for uid, data in got_plain.items():
            assert str(data.file_meta.TransferSyntaxUID) == str(ImplicitVRLittleEndian)
            original = files[uid][1]
            if "PixelData" not in original:
                continue
            try:
                expected = original.pixel_array
            except Exception:
                continue
            if not numpy.array_equal(expected, data.pixel_array):
                # A lossy codec may round otherwise, and a sub-sampled colour image is compared in the marking tests.
                assert UID(original.file_meta.TransferSyntaxUID) not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless), uid
                assert "YBR" in original.PhotometricInterpretation or numpy.abs(expected.astype(int) - data.pixel_array.astype(int)).max() <= 2, (uid, original.file_meta.TransferSyntaxUID)
            compared += 1
        assert compared >= 30, compared
    finally:
        node.stop()
        for _, server in entities:
            server.shutdown()
