"""The real DCMTK and pynetdicom against the node."""
import subprocess

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification


def run(program, *arguments):
    # pynetdicom installs programs of the same names: Debian's DCMTK is meant.
    command = [f"/usr/bin/{program}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def instances(node):
    return node.json("/dicom-web/instances?limit=10000")


def test_echoscu(node):
    code, said = run("echoscu", "-v", "-aec", "HUTONG", "127.0.0.1", str(node.port))
    assert code == 0 and "Success" in said, said


def test_echoscu_with_a_wrong_title_is_told_why(node):
    code, said = run("echoscu", "-v", "-aec", "WRONG", "127.0.0.1", str(node.port))
    assert code != 0 and "Called AE Title Not Recognized" in said, said


def test_storescu_sends_a_study_and_it_is_marked(node, phantoms):
    code, said = run("storescu", "-v", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port),
                     str(phantoms / "CtHead"))
    assert code == 0, said
    found = instances(node)
    assert len(found) == 30
    got = node.judged(found[0]["0020000D"]["Value"][0])
    assert got["verdict"]["outcome"] == "accept" and got["marked"] == 30


def test_storescu_is_told_of_a_conflict(node, phantoms, tmp_path):
    original = sorted((phantoms / "CtHead").iterdir())[0]
    other = pydicom.dcmread(original)
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other.dcm")
    send = ("storescu", "-v", "-aec", "HUTONG", "127.0.0.1", str(node.port))
    assert run(*send, str(original))[0] == 0
    code, said = run(*send, str(tmp_path / "other.dcm"))
    assert "0xc111" in said or "CannotUnderstand" in said, said
    assert len(instances(node)) == 1


def test_dcmsend_sends_every_transfer_syntax_as_it_is(node, shared):
    files = sorted(str(p) for p in (shared / "data/ts").rglob("*.dcm") if "JLSL_RGB" not in p.name)
    code, said = run("dcmsend", "-v", "-aet", "DCMSEND", "-aec", "HUTONG", "-nh", "-nuc", "127.0.0.1", str(node.port), *files)
    stored = len(instances(node))
    # Some files share their UIDs on purpose: those are refused as conflicts. dcmsend mixes some others up and is told A900H.
    assert "NOT sent" in said and stored >= 50, f"{stored} of {len(files)}\n{said[-2000:]}"
    kept = {str(pydicom.dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID)
            for p in (node.place / "storage/objects").rglob("*.dcm")}
    sent = {str(pydicom.dcmread(f, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID")) for f in files}
    assert len(kept) >= 12 and kept <= sent, kept


def test_pynetdicom_stores_and_the_bytes_come_back(node, phantoms):
    entity = AE(ae_title="PYNETDICOM")
    entity.add_requested_context(Verification)
    entity.add_requested_context(CTImageStorage, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    association = entity.associate("127.0.0.1", node.port, ae_title="HUTONG")
    assert association.is_established
    assert association.send_c_echo().Status == 0
    files = sorted((phantoms / "CtHead").iterdir())[:3]
    for file in files:
        assert association.send_c_store(pydicom.dcmread(file)).Status == 0
    association.release()
    assert len(instances(node)) == 3


def test_pynetdicom_with_implicit_little_endian_is_stored_and_served_explicit(node, phantoms):
    entity = AE(ae_title="PYNETDICOM")
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2")
    association = entity.associate("127.0.0.1", node.port, ae_title="HUTONG")
    sent = pydicom.dcmread(sorted((phantoms / "CtHead").iterdir())[0])
    sent.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    sent["PixelData"].VR = "OW"
    sent._is_implicit_VR = True
    sent.set_original_encoding(True, True)
    assert association.send_c_store(sent).Status == 0
    association.release()
    url = instances(node)[0]["00081190"]["Value"][0]
    import urllib.request
    request = urllib.request.Request(url, headers={"Accept": "application/dicom"})
    import io
    got = pydicom.dcmread(io.BytesIO(urllib.request.urlopen(request).read()))
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert got.PixelData == sent.PixelData and got.PatientName == sent.PatientName
