"""Requests that nobody sends by accident: each gets its status, costs little, and leaves the node as it was."""
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy
import pydicom
import pytest
from pydicom.uid import generate_uid

import pixels
from conftest import Node
from web import Web, related


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("hostile"))
    node.web = Web(node.http)
    yield node
    assert node.web.ask("/healthz").status == 200
    log = (node.place / "log").read_text()
    assert "panicked" not in log, log[log.index("panicked") - 500:][:2000]
    node.stop()


def add(node, d):
    file = io.BytesIO()
    pydicom.dcmwrite(file, d, enforce_file_format=False)
    answer = node.web.ask("/dicom-web/studies", method="POST", body=file.getvalue(), Content_Type="application/dicom")
    assert answer.status == 200, answer.body
    return answer.json["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(node.http)


def memory(node):
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) >> 10


def raw(node, data, wait=10):
    """Bytes as they are; what comes back until the peer closes or says no more."""
    at = urlsplit(node.http)
    with socket.create_connection((at.hostname, at.port), timeout=wait) as link:
        try:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        got = b""
        try:
            while chunk := link.recv(65536):
                got += chunk
        except OSError:
            pass
        return got


def test_headers_and_lines_without_end(filled):
    line = b"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n"
    for bomb in (line + b"X: " + b"a" * 10_000_000 + b"\r\n\r\n", line + b"X: a\r\n" * 100_000 + b"\r\n",
                 b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", b"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAccept: " + b"a/b;q=1," * 200_000 + b"\r\n\r\n"):
        answer = raw(filled, bomb)
        assert not answer or answer.split()[1] in (b"400", b"414", b"431"), answer[:100]
    assert raw(filled, b"\0\1\2\3" * 1000)[:12] in (b"", b"HTTP/1.1 400")
    assert raw(filled, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000) is not None
    # Accept lists with many ranges are read once, not once for each offer and range.
    many = ", ".join(f"application/x{n};q=0.{n % 10}" for n in range(3000))
    begun = time.time()
    filled.web.problem(406, "/dicom-web/studies", accept=many)
    assert time.time() - begun < 5
    assert memory(filled) < 500


def test_paths_that_lead_elsewhere(filled):
    for path in ("/dicom-web/studies/..%2f..%2fetc%2fpasswd", "/dicom-web/studies/%2e%2e/series", "/dicom-web/studies/1.2/../../../healthz/x",
                 "/dicom-web/studies/1.2%00.3", "/dicom-web/studies/1.2/series/1.2/instances/1.2/bulkdata/..%2f..%2f",
                 f"/dicom-web/studies/{'1.' * 500}1", "/dicom-web/studies/1.2/series/%ff%fe", "/dicom-web/studies/01.2",
                 "/dicom-web/commitment-requests/..%2f..%2fx", "/wado?requestType=WADO&studyUID=../x&seriesUID=1&objectUID=1"):
        answer = filled.web.ask(path)
        assert answer.status in (400, 404), (path, answer.status)
        assert answer.kind == "application/problem+json", path


def test_pictures_of_absurd_size_are_refused_or_bounded(filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16), pixels.scene(16, 16, 0, 255))
    path = add(filled, d)
    for viewport in ("8192,8192", "99999999999,1", "1e9,1e9", "4294967296,1", "8,8,1e300,1e300,1,1", "8,8,0,0,1e300,1e300"):
        filled.web.problem(400, f"{path}/rendered?viewport={viewport}")
    assert filled.web.ask(f"{path}/rendered?viewport=8192,16", "image/png").status == 200
    assert filled.web.ask(f"{path}/rendered?viewport=8,8,0,0,1e8,1e8", "image/png").status == 200
    for frames in (",".join(["1"] * 20000), "4294967295", "18446744073709551616"):
        assert filled.web.ask(f"{path}/frames/{frames}/rendered", "image/png").status in (400, 404, 406, 414)
    assert memory(filled) < 700


def test_an_object_that_promises_more_than_it_has(filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16), pixels.scene(16, 16, 0, 255))
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.Rows = d.Columns = 65535
    d.NumberOfFrames = "2147483647"
    path = add(filled, d)
    for what in ("frames/1", "frames/2147483647", "rendered", "thumbnail", "pixeldata", "frames/7/rendered"):
        answer = filled.web.ask(f"{path}/{what}")
        assert answer.status in (404, 406), (what, answer.status, answer.body[:200])
    filled.web.problem(406, f"{path}/rendered", 'multipart/related; type="image/png"')
    assert filled.web.ask(f"{path}/metadata").status == 200
    assert memory(filled) < 700


def test_one_frame_of_ten_thousand_costs_one_frame(filled):
    frames = 10_000
    d = pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16, frames=2)
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.NumberOfFrames = frames
    picture = lambda n: (numpy.arange(256).reshape(16, 16) + n) % 256
    coded = pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16)
    d.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"
    # Two fragments a frame, so that the offset table is what tells frames apart.
    rle = pydicom.pixels.encoders.RLELosslessEncoder
    kinds = [rle.encode(picture(n).astype("u1"), rows=16, columns=16, samples_per_pixel=1, bits_allocated=8, bits_stored=8,
                        number_of_frames=1, photometric_interpretation="MONOCHROME2", pixel_representation=0) for n in range(8)]
    kinds = [k + b"\0" * (len(k) % 2) for k in kinds]
    body, offsets, at = b"", [], 0
    pieces = []
    for n in range(frames):
        offsets.append(at)
        k = kinds[n % 8]
        for part in (k[:64], k[64:]):
            pieces.append(b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part)
            at += 8 + len(part)
    table = b"".join(o.to_bytes(4, "little") for o in offsets)
    body = b"\xfe\xff\x00\xe0" + len(table).to_bytes(4, "little") + table + b"".join(pieces) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    d.PixelData = body
    d["PixelData"].VR = "OB"
    d["PixelData"].is_undefined_length = True
    path = add(filled, d)
    assert coded is not None
    first = filled.web.ask(f"{path}/frames/1", "application/octet-stream").body
    assert first == picture(0).astype("u1").tobytes()
    begun = time.time()
    for number in range(1, frames, 101):
        got = filled.web.ask(f"{path}/frames/{number}", "application/octet-stream").body
        assert got == picture((number - 1) % 8).astype("u1").tobytes(), number
    # A hundred frames in a few seconds: each would take as long if all of them were gone through.
    assert time.time() - begun < 20
    filled.web.problem(406, f"{path}/rendered", "image/gif")


@pytest.mark.parametrize("body,kind", [
    (b"--b\r\n" * 50_000 + b"--b--\r\n", 'multipart/related; type="application/dicom"; boundary=b'),
    (b"--b\r\n" + b"X-H: " + b"a" * 2_000_000 + b"\r\n\r\nx\r\n--b--\r\n", 'multipart/related; type="application/dicom"; boundary=b'),
    (b"--b\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n", 'multipart/related; type="application/dicom"; boundary=b'),
    (b"-" * 3_000_000, 'multipart/related; type="application/dicom"; boundary=b'),
    (b"[" * 200_000, "application/dicom+json"),
    (b'{"00400275":{"vr":"SQ","Value":[' * 5000, "application/dicom+json"),
    (b'<NativeDicomModel>' + b'<DicomAttribute tag="00400275" vr="SQ"><Item number="1">' * 5000, "application/dicom+xml"),
    (b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><NativeDicomModel>&d;</NativeDicomModel>', "application/dicom+xml"),
    (b'<NativeDicomModel><DicomAttribute tag="00100010" vr="LO"><Value number="4000000000">x</Value></DicomAttribute></NativeDicomModel>', "application/dicom+xml"),
])
def test_bodies_that_are_traps(filled, body, kind):
    begun = time.time()
    answer = filled.web.ask("/dicom-web/studies", method="POST", body=body, Content_Type=kind)
    assert answer.status in (400, 409, 413), (answer.status, answer.body[:300])
    assert time.time() - begun < 20 and memory(filled) < 700


def test_a_sequence_nested_as_deep_as_json_allows(filled):
    deep = {"00080018": {"vr": "UI", "Value": ["1.2.3"]}}
    for _ in range(60):
        deep = {"00400275": {"vr": "SQ", "Value": [deep]}}
    answer = filled.web.ask("/dicom-web/studies", method="POST", body=json.dumps(deep).encode(), Content_Type="application/dicom+json")
    assert answer.status in (400, 409)


def test_clients_that_go_away_or_dawdle_hold_nobody_up(filled):
    at = urlsplit(filled.http)
    links = []
    for n in range(200):
        link = socket.create_connection((at.hostname, at.port))
        link.sendall(b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: 1000000\r\n\r\nabc" if n % 2 else b"GET / HTT")
        links.append(link)
    begun = time.time()
    assert filled.web.ask("/dicom-web/studies?PatientID=x").status == 204
    assert time.time() - begun < 5
    for link in links:
        link.close()
    drafts = filled.place / "storage/drafts"
    for _ in range(100):
        if not any(drafts.iterdir()):
            break
        time.sleep(0.1)
    assert not any(drafts.iterdir()), "what came in part is gone"


def test_a_body_that_breaks_off_stores_nothing(filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2"), pixels.scene(256, 256, 0, 255))
    d.StudyInstanceUID = generate_uid()
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file = io.BytesIO()
    pydicom.dcmwrite(file, d, enforce_file_format=False)
    body, kind = related([({"Content-Type": "application/dicom"}, file.getvalue())], "application/dicom")
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    raw(filled, head + body[:-2000])
    assert filled.web.ask(f"/dicom-web/studies?StudyInstanceUID={d.StudyInstanceUID}").status == 204


def test_an_upload_that_stalls_is_not_taken_for_whole(filled):
    d = pixels.fill(pixels.grey(16, False, "MONOCHROME2", rows=512, columns=512), pixels.scene(512, 512, 0, 65535))
    d.StudyInstanceUID = generate_uid()
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file = io.BytesIO()
    pydicom.dcmwrite(file, d, enforce_file_format=False)
    body, at = file.getvalue(), urlsplit(filled.http)
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((at.hostname, at.port), timeout=120) as link:
        link.sendall(head + body[:400_000])  # over the beginning that is read for the header
        assert b" 408 " in link.recv(65536)[:20]
    assert filled.web.ask(f"/dicom-web/studies?StudyInstanceUID={d.StudyInstanceUID}").status == 204
    assert add(filled, d), "the whole object is taken afterwards"


def test_schemathesis_finds_no_answer_that_the_document_does_not_know(filled, phantoms):
    from test_dimse import run
    code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(filled.port), str(phantoms / "CtHead"))
    assert code == 0, said
    tool = Path(sys.executable).parent / "schemathesis"
    ran = subprocess.run([str(tool), "run", f"{filled.http}/openapi.json", "--max-examples", "25", "--seed", "20261124",
                          "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
                          "--header", "Accept: */*", "--phases", "examples,coverage,fuzzing", "--no-color"],
                         capture_output=True, text=True, cwd=filled.place)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
