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
    assert answer.status in (200, 202), answer.body
    return answer.json["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(node.http)


def fresh():
    d = pixels.fill(pixels.grey(16, False, "MONOCHROME2"), pixels.scene(256, 256, 0, 65535))
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.SeriesInstanceUID = generate_uid()
    return d


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


def part_of(d, boundary):
    file = io.BytesIO()
    pydicom.dcmwrite(file, d, enforce_file_format=False)
    return f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file.getvalue()


def test_what_came_before_a_body_broke_off_is_told(filled):
    """One bad part spoils only itself: the good one is stored, and the answer says so."""
    one, two = fresh(), fresh()
    body = part_of(one, "b") + part_of(two, "b")[:-400]
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    answer = filled.web.ask("/dicom-web/studies", method="POST", body=body, Content_Type=kind)
    assert answer.status == 202, answer.body
    assert [i["00081155"]["Value"][0] for i in answer.json["00081199"]["Value"]] == [one.SOPInstanceUID]
    assert answer.json["0008119A"]["Value"], answer.json
    assert filled.web.ask(f"/dicom-web/instances?SOPInstanceUID={two.SOPInstanceUID}").status == 204


def test_pixels_that_were_cut_off_are_stored_with_a_warning_and_described(filled):
    d = fresh()
    file = io.BytesIO()
    pydicom.dcmwrite(file, d, enforce_file_format=False)
    answer = filled.web.ask("/dicom-web/studies", method="POST", body=file.getvalue()[:-400], Content_Type="application/dicom")
    (item,) = answer.json["00081199"]["Value"]
    assert (answer.status, item["00081196"]["Value"]) == (202, [0xB007]), answer.body
    url = item["00081190"]["Value"][0]
    assert "BulkDataURI" in filled.web.ask(f"{url}/metadata").json[0]["7FE00010"]
    assert filled.web.ask(f"{url}/frames/1", "application/octet-stream").status == 406


def test_a_stored_value_cannot_end_a_part(filled):
    """Whoever knows the boundary of an answer cannot know that of the answer that holds what he stores."""
    first = fresh()
    url = add(filled, first)
    seen = filled.web.ask(url, 'multipart/related; type="application/dicom"').headers["Content-Type"].split("boundary=")[1]
    evil = fresh()
    hidden = io.BytesIO()
    pydicom.dcmwrite(hidden, fresh(), enforce_file_format=False)
    evil.add_new(0x00090010, "LO", "EVIL")
    evil.add_new(0x00091001, "OB", f"\r\n--{seen}\r\nContent-Type: application/dicom\r\n\r\n".encode() + hidden.getvalue())
    answer = filled.web.ask(add(filled, evil), 'multipart/related; type="application/dicom"; transfer-syntax=*')
    assert len(answer.parts) == 1 and seen.encode() in answer.body


def test_a_part_whose_headers_do_not_end_and_a_coded_body_are_refused(filled):
    before = memory(filled)
    endless = b"--b\r\nContent-Type: application/dicom\r\nX: " + b"x" * (64 << 20)
    head = f'POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: {len(endless)}\r\nContent-Type: multipart/related; type="application/dicom"; boundary=b\r\n\r\n'
    got = raw(filled, head.encode() + endless)
    # Who writes on may miss the answer: the connection is closed.
    assert got[:12] in (b"", b"HTTP/1.1 400") and memory(filled) - before < 48, (got[:100], memory(filled) - before)
    coded = filled.web.ask("/dicom-web/studies", method="POST", body=b"x", Content_Type="application/dicom", Content_Encoding="gzip")
    assert coded.status == 415


def test_a_small_deflated_file_that_is_large_does_not_fill_memory(filled):
    d = fresh()
    d.NumberOfFrames, d.Rows, d.Columns, d.BitsAllocated, d.BitsStored, d.HighBit = 300, 1024, 1024, 16, 16, 15
    d.PixelData = bytes(300 * 1024 * 1024 * 2)
    d.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    url = add(filled, d)
    before = memory(filled)
    for frame in (1, 150, 300):
        assert len(filled.web.ask(f"{url}/frames/{frame}", "application/octet-stream").body) == 2 << 20
    assert memory(filled) - before < 200, memory(filled) - before


def test_pictures_of_many_frames_are_bounded_together(filled):
    d = fresh()
    url = add(filled, d)
    many = ",".join(["1"] * 3000)
    kind = 'multipart/related; type="image/jpeg"'
    assert filled.web.ask(f"{url}/frames/{many}/rendered?viewport=4000,4000", kind).status == 406
    assert len(filled.web.ask(f"{url}/frames/1,1,1/rendered?viewport=400,400", kind).parts) == 3


def test_streams_that_nobody_reads_keep_nobody_out(filled):
    """HTTP/2 connections that ask for much and open no window."""
    frame = lambda kind, flags, stream, load: len(load).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + load
    url = add(filled, fresh())
    path = (url + "/frames/" + ",".join(["1"] * 400)).encode()

    def text(value):
        head, rest = [min(len(value), 127)], len(value) - 127
        while len(value) >= 127:
            head.append(rest % 128 + (128 if rest >= 128 else 0))
            rest //= 128
            if head[-1] < 128:
                break
        return bytes(head) + value

    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"), (b"accept", b'multipart/related; type="application/octet-stream"')]
    headers = b"".join(b"\0" + text(n) + text(v) for n, v in fields)
    at = urlsplit(filled.http)
    links = []
    for _ in range(40):
        link = socket.create_connection((at.hostname, at.port))
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, (4).to_bytes(2, "big") + (0).to_bytes(4, "big")))
        link.sendall(b"".join(frame(1, 5, 1 + 2 * n, headers) for n in range(32)))
        links.append(link)
    time.sleep(2)
    # 1,280 streams ask for a body at a time: searches and metadata are answered all the same.
    assert filled.web.ask("/dicom-web/studies?limit=1").status == 200
    # Retrievals are refused or served, and served again as soon as those who do not read have been dropped.
    until = time.time() + 30
    while (status := filled.web.ask(f"{url}/metadata").status) != 200:
        assert status == 503 and time.time() < until, status
        time.sleep(0.5)
    assert memory(filled) < 2000, memory(filled)
    for link in links:
        link.close()


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
