"""GDCM's gdcmscu, and the real files of every character set through the node and back, both directions."""
import json
import socket
import subprocess
import time

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import Verification

from conftest import PROGRAM
from test_dimse import run
from test_retrieve import configured, free_port, originals, peers


@pytest.fixture(scope="module")
def node(tmp_path_factory, phantoms):
    port = free_port()
    made = configured(tmp_path_factory.mktemp("gdcm"), peers({"aet": "GDCMSCU", "address": f"127.0.0.1:{port}"}))
    made.back = port
    yield made
    made.stop()


def gdcm(node, *arguments):
    """What it says. GDCM 3.0 of Debian aborts itself when an association is released, with DCMTK's storescp too: its exit code says nothing."""
    code, said = run("stdbuf", "-o0", "/usr/bin/gdcmscu", "--aetitle", "GDCMSCU", "--call", "HUTONG", "-H", "127.0.0.1", "-p", str(node.port), *arguments)
    assert code in (0, -6), said
    return said


def test_gdcmscu_echoes_stores_finds_and_moves(node, phantoms, tmp_path):
    assert "Status" in gdcm(node, "-D", "--echo") and "rejected" not in (node.place / "log").read_text()
    gdcm(node, "--store", "-r", "-i", str(phantoms / "CtHead"))
    expected = originals(phantoms, "CtHead")
    study = str(next(iter(expected.values())).StudyInstanceUID)
    assert len(node.json("/dicom-web/instances?limit=1000")) == 30
    # It aborts before it shows its matches; what it says of the status is what can be had.
    for query in (("--patientroot", "--patient", "--key", "10,20=HT*", "--key", "10,10="), ("--studyroot", "--study", "--key", f"20,d={study}", "--key", "8,1030=")):
        assert "C-Find was successful" in gdcm(node, "-D", "--find", *query)
    gdcm(node, "--move", "--studyroot", "--study", "--key", f"20,d={study}", "--port-scp", str(node.back), "-o", str(tmp_path))
    # Whether it has written its files before it aborts is chance; what it took, it told the node.
    journal = (node.place / "storage/journal.jsonl").read_text()
    assert '"event":"retrieved"' in journal and '"by":"GDCMSCU"' in journal
    # It closes when it aborts itself, with the last of them in its hands.
    unsent = [line for line in (node.place / "log").read_text().splitlines() if "was not sent" in line]
    assert all("the peer closed the connection" in line for line in unsent) and len(unsent) < 3, unsent
    got = {str(d.SOPInstanceUID): d for d in (pydicom.dcmread(p, force=True) for p in tmp_path.iterdir()) if "SOPInstanceUID" in d}
    for uid in got.keys() & expected.keys():
        assert got[uid].PixelData == expected[uid].PixelData


def named(data_set):
    """The name as pydicom decodes it, without what it leaves of escape sequences."""
    return str(data_set.PatientName)


def test_every_character_set_goes_through_and_is_found_in_it(tmp_path, shared):
    """Stored as they are, found by the name in their own characters, answered in them, fetched back with the same bytes."""
    node = configured(tmp_path, "")
    files = {}
    for path in sorted((shared / "data/charset").glob("*.dcm")):
        d = pydicom.dcmread(path, force=True)
        if "SOPInstanceUID" in d and "StudyInstanceUID" in d and str(d.SOPInstanceUID) not in files:
            files[str(d.SOPInstanceUID)] = (path, d)
    assert len(files) >= 10
    try:
        done = subprocess.run([str(PROGRAM), "send", f"127.0.0.1:{node.port}", *[str(p) for p, _ in files.values()], "--json"], capture_output=True, text=True, timeout=120)
        stored = {i["00080018"]["Value"][0] for i in node.json("/dicom-web/instances?limit=1000")}
        report = json.loads(done.stdout)
        assert len(stored) == report["stored"] >= 10, report
        classes = sorted({str(files[uid][1].SOPClassUID) for uid in stored})
        fetched, found, answered = {}, 0, 0

        def keep(event):
            data = event.dataset
            fetched[str(data.SOPInstanceUID)] = bytes(data.get_item("PatientName").value if data.is_original_encoding else b"")
            return 0

        ae = AE(ae_title="ASKER")
        ae.add_requested_context(FIND)
        ae.add_requested_context(GET)
        for sop_class in classes:
            ae.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG", ext_neg=[build_role(c, scp_role=True) for c in classes],
                                   evt_handlers=[(evt.EVT_C_STORE, keep)])
        assert association.is_established
        for uid in stored:
            d = files[uid][1]
            query = Dataset()
            if "SpecificCharacterSet" in d:
                query.SpecificCharacterSet = d.SpecificCharacterSet
            query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", d.StudyInstanceUID
            query.PatientName = d.get("PatientName", "")
            match = [m for s, m in association.send_c_find(query, FIND) if s.Status == 0xFF00]
            assert len(match) == 1, uid
            found += 1
            # In the characters that were asked in, or, where these cannot say it, in UTF-8.
            assert named(match[0]) == named(d), (uid, match[0].get("SpecificCharacterSet"))
            answered += 1
            retrieve = Dataset()
            retrieve.QueryRetrieveLevel, retrieve.StudyInstanceUID = "STUDY", d.StudyInstanceUID
            last = [s for s, _ in association.send_c_get(retrieve, GET)][-1]
            assert last.Status == 0, (uid, last)
        association.release()
        assert found == answered == len(stored), (found, answered)
        assert fetched.keys() == stored
        for uid, name in fetched.items():
            original = pydicom.dcmread(files[uid][0], force=True).get_item("PatientName")
            if name and original is not None:
                assert name.rstrip(b" \0") == bytes(original.value or b"").rstrip(b" \0"), uid
    finally:
        node.stop()


def test_a_host_that_opens_connections_and_says_nothing_keeps_no_other_out(node):
    silent = []
    try:
        for _ in range(120):
            silent.append(socket.create_connection(("127.0.0.1", node.port), timeout=5))
        ae = AE(ae_title="GDCMSCU")
        ae.add_requested_context(Verification)
        for address in ("127.0.0.2", "127.0.0.3"):
            association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG", bind_address=(address, 0))
            assert association.is_established, address
            assert association.send_c_echo().Status == 0x0000
            association.release()
    finally:
        for one in silent:
            one.close()
    until_served = ae.associate("127.0.0.1", node.port, ae_title="HUTONG")
    for _ in range(20):
        if until_served.is_established:
            break
        time.sleep(0.2)
        until_served = ae.associate("127.0.0.1", node.port, ae_title="HUTONG")
    assert until_served.is_established
    until_served.release()
