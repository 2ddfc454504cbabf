"""A real Orthanc on both ends: it stores, queries, moves and asks for commitment here, and is stored to, queried, moved from and asked."""
import io
import json
import subprocess
import urllib.request
from pathlib import Path

import pydicom
import pytest

from conftest import PROGRAM, Node
from test_retrieve import configured, free_port, originals, peers, until

ORTHANC = "/usr/sbin/Orthanc"


class Orthanc:
    def __init__(self, folder, dicom, http, hutong):
        self.port, self.http = dicom, f"http://127.0.0.1:{http}"
        settings = {"Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [], "HttpPort": http,
                    "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
                    "DicomModalities": {"hutong": {"AET": "HUTONG", "Host": "127.0.0.1", "Port": hutong, "AllowStorageCommitment": True},
                                        "scu": {"AET": "HUTONGSCU", "Host": "127.0.0.1", "Port": 1}}}
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=open(folder / "orthanc.log", "w"))
        until(lambda: self.alive())

    def alive(self):
        try:
            return self.ask("/system")
        except OSError:
            return None

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.http + path, data=data, method=method)) as answer:
            return json.loads(answer.read() or b"null")

    def instances(self):
        return {self.ask(f"/instances/{i}/simplified-tags")["SOPInstanceUID"]: i for i in self.ask("/instances")}

    def clear(self):
        for study in self.ask("/studies"):
            self.ask(f"/studies/{study}", method="DELETE")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    place = tmp_path_factory.mktemp("orthanc")
    port, web = free_port(), free_port()
    node = configured(place, peers({"aet": "ORTHANC", "address": f"127.0.0.1:{port}", "commits": True}))
    orthanc = Orthanc(place, port, web, node.port)
    yield node, orthanc
    orthanc.process.terminate()
    orthanc.process.wait(30)
    node.stop()


RULE = """
[[pull]]
name = "ct"
from = "ORTHANC"
every_minutes = 1
days = 20000
modalities = ["CT"]
by = "%s"
"""


@pytest.mark.parametrize("by", ["get", "move"])
def test_what_a_pacs_has_is_fetched_by_rule_and_by_hand(tmp_path, phantoms, by):
    port, web = free_port(), free_port()
    node = configured(tmp_path, peers({"aet": "ORTHANC", "address": f"127.0.0.1:{port}"}) + RULE % by)
    orthanc = Orthanc(tmp_path, port, web, node.port)
    try:
        expected = {}
        for name in ("CtHead", "Chest"):
            expected[name] = originals(phantoms, name)
            for file in (phantoms / name).iterdir():
                urllib.request.urlopen(urllib.request.Request(orthanc.http + "/instances", data=file.read_bytes())).read()
        stored = lambda: {i["00080018"]["Value"][0] for i in node.json("/dicom-web/instances?limit=1000")}
        node.stop()
        node = Node.again(node)
        orthanc.ask("/modalities/hutong", {"AET": "HUTONG", "Host": "127.0.0.1", "Port": node.port}, "PUT")
        until(lambda: expected["CtHead"].keys() <= stored(), 60)
        until(lambda: not node.json("/api/v1/outbox")["pull"])
        assert not expected["Chest"].keys() & stored(), "the rule is for CT"
        study = str(next(iter(expected["Chest"].values())).StudyInstanceUID)
        request = urllib.request.Request(f"{node.http}/api/v1/peers/ORTHANC/pull", data=json.dumps({"study": study, "by": by}).encode(), method="POST")
        assert urllib.request.urlopen(request).status == 202
        until(lambda: expected["Chest"].keys() <= stored(), 60)
        judged = node.judged(study)
        assert judged["verdict"]["outcome"] == "accept", "its sender is the peer that it was fetched from"
    finally:
        orthanc.process.terminate()
        orthanc.process.wait(30)
        node.stop()


def hutong(*arguments, code=0):
    done = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_orthanc_as_client(both, phantoms):
    node, orthanc = both
    files = sorted((phantoms / "CtHead").iterdir())
    for file in files:
        with urllib.request.urlopen(urllib.request.Request(orthanc.http + "/instances", data=file.read_bytes())) as answer:
            assert answer.status == 200
    assert orthanc.ask("/modalities/hutong/echo", {}) == {}
    study = orthanc.ask("/studies")[0]
    sent = orthanc.ask("/modalities/hutong/store", {"Resources": [study], "Synchronous": True, "StorageCommitment": False})
    assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (30, 0), sent
    expected = originals(phantoms, "CtHead")
    uid = str(next(iter(expected.values())).StudyInstanceUID)
    node.judged(uid)
    # It asks whether all is kept, and is told on an association of its own.
    asked = orthanc.ask("/modalities/hutong/storage-commitment", {"Resources": [study]})
    report = until(lambda: (r := orthanc.ask(asked["Path"]))["Status"] != "Pending" and r)
    assert report["Status"] == "Success" and len(report["Success"]) == 30, report["Status"]
    # It queries and moves back, marked copies too.
    orthanc.clear()
    query = orthanc.ask("/modalities/hutong/query", {"Level": "Study", "Query": {"PatientID": "HT0002", "StudyInstanceUID": ""}})
    answers = orthanc.ask(f"{query['Path']}/answers?expand&simplify")
    assert [a["StudyInstanceUID"] for a in answers] == [uid]
    orthanc.ask(f"{query['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    back = orthanc.instances()
    assert len(back) == 60 and expected.keys() <= back.keys()
    one = next(iter(expected))
    with urllib.request.urlopen(f"{orthanc.http}/instances/{back[one]}/file") as answer:
        assert pydicom.dcmread(io.BytesIO(answer.read())).PixelData == expected[one].PixelData


def test_character_sets_and_transfer_syntaxes_go_to_orthanc_and_come_back(both, shared, tmp_path):
    """Both ways over the real files: what Orthanc takes it gives back byte for byte, and the node takes from it."""
    node, orthanc = both
    called = (f"127.0.0.1:{orthanc.port}", "--called", "ORTHANC")
    orthanc.clear()
    folders = (shared / "data/charset", shared / "data/ts/derived_ct_chest")
    sent = json.loads(hutong("send", *called, *map(str, folders), "--json", code=1))
    # Two without a SOP class; Orthanc aborts over JPIP, and the rest goes on.
    failed = sorted(Path(f.split(": ")[0]).name for f in sent["failures"])
    assert failed == ["jpip_94.dcm", "pydicom__chrSQEncoding.dcm", "pydicom__chrSQEncoding1.dcm"], sent["failures"]
    assert sent["stored"] == sent["files"] - 3
    files = [pydicom.dcmread(p, force=True) for folder in folders for p in folder.glob("*.dcm")]
    there = orthanc.instances()
    names, kept = 0, 0
    for uid in there:
        with urllib.request.urlopen(f"{orthanc.http}/instances/{there[uid]}/file") as answer:
            back = pydicom.dcmread(io.BytesIO(answer.read()))
        sources = [d for d in files if d.get("SOPInstanceUID") == uid]
        assert back.get("PatientName") in [d.get("PatientName") for d in sources], uid
        as_sent = [d.get("PixelData") for d in sources if d.file_meta.TransferSyntaxUID == back.file_meta.TransferSyntaxUID]
        if as_sent:
            assert back.get("PixelData") in as_sent, uid
            kept += 1
        else:
            # What this Orthanc does not know went decoded.
            assert not back.file_meta.TransferSyntaxUID.is_compressed and back.pixel_array.shape == (back.Rows, back.Columns)
        names += "PatientName" in back and not str(back.PatientName).isascii()
    assert names >= 8 and kept >= 20, (names, kept, len(there))
    # And from Orthanc to the node, with its own client.
    counted = sum(orthanc.ask("/modalities/hutong/store", {"Resources": [study], "Synchronous": True})["InstancesCount"] for study in orthanc.ask("/studies"))
    here = {i["00080018"]["Value"][0] for i in node.json("/dicom-web/instances?limit=10000")}
    assert counted == len(there) and there.keys() <= here, there.keys() - here


def test_orthanc_as_server(both, phantoms, tmp_path):
    node, orthanc = both
    address = f"127.0.0.1:{orthanc.port}"
    called = (address, "--called", "ORTHANC")
    orthanc.clear()
    hutong("echo", *called)
    assert json.loads(hutong("send", *called, str(phantoms / "CtHead"), "--json"))["stored"] == 30
    found = json.loads(hutong("find", *called, "--patient", "HT0002", "--json"))
    uid = found[0]["0020000D"]["Value"][0]
    assert found[0]["00100010"]["Value"][0].get("Alphabetic") and len(found) == 1
    counts = json.loads(hutong("get", *called, "--study", uid, "--out", str(tmp_path), "--json"))
    assert counts["completed"] == 30
    expected = originals(phantoms, "CtHead")
    for file in tmp_path.iterdir():
        assert pydicom.dcmread(file).PixelData == expected[file.stem].PixelData
    assert json.loads(hutong("move", *called, "--study", uid, "--to", "HUTONG", "--json"))["completed"] == 30
    # Forwarded, and done only when Orthanc has said that it keeps all.
    orthanc.clear()
    request = urllib.request.Request(f"{node.http}/api/v1/studies/{uid}/send", data=json.dumps({"to": "ORTHANC", "send": "both"}).encode(), method="POST")
    urllib.request.urlopen(request).read()
    outbox = lambda: node.json("/api/v1/outbox")["forward"]
    until(lambda: not outbox(), 60)
    assert len(orthanc.instances()) == 60
