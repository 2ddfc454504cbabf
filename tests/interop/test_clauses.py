"""The clauses of PS3.18 that servers get wrong, one by one; their numbers are those of ../shared/DICOMWEB.md."""
import base64
import io
import json
import xml.etree.ElementTree as etree

import numpy
import PIL.Image
import pydicom
import pytest
from pydicom.uid import generate_uid

import pixels
from conftest import Node
from test_dimse import run
from web import Web, related

NATIVE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
XML = 'multipart/related; type="application/dicom+xml"'
LE = "1.2.840.10008.1.2.1"


class Filled:
    """A node with three phantoms, and with pictures of which the samples are known."""

    def __init__(self, place, phantoms):
        self.node = Node(place)
        self.web = Web(self.node.http)
        for name in ("CtHead", "Chest", "LookAlike"):
            code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(self.node.port),
                             str(phantoms / name))
            assert code == 0, said
        found = {s["00100020"]["Value"][0]: s["0020000D"]["Value"][0] for s in self.node.json("/dicom-web/studies")}
        self.head, self.chest = found["HT0002"], found["HT0001"]
        for study in found.values():
            self.node.judged(study)
        rows = self.node.json(f"/dicom-web/studies/{self.head}/instances?includefield=SeriesDescription")
        originals = [r for r in rows if "[" not in r["0008103E"]["Value"][0]]
        self.series = originals[0]["0020000E"]["Value"][0]
        self.instance = originals[0]["00080018"]["Value"][0]
        self.h = f"/dicom-web/studies/{self.head}"
        self.s = f"{self.h}/series/{self.series}"
        self.i = f"{self.s}/instances/{self.instance}"
        self.file = next(d for d in map(pydicom.dcmread, (phantoms / "CtHead").iterdir()) if d.SOPInstanceUID == self.instance)

    def add(self, d):
        """Stores a data set; its path below the node."""
        file = io.BytesIO()
        pydicom.dcmwrite(file, d, enforce_file_format=False)
        answer = self.web.ask("/dicom-web/studies", method="POST", body=file.getvalue(), Content_Type="application/dicom")
        assert answer.status == 200, answer.body
        return answer.json["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(self.node.http)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, phantoms):
    made = Filled(tmp_path_factory.mktemp("clauses"), phantoms)
    yield made
    made.node.stop()


@pytest.fixture(scope="module")
def web(filled):
    return filled.web


@pytest.fixture(scope="module")
def film(filled):
    """Six frames of 12 bits, each told from the others."""
    array = numpy.stack([pixels.scene(64, 96, 0, 4095, seed=n) for n in range(6)])
    d = pixels.fill(pixels.grey(12, False, "MONOCHROME2", rows=64, columns=96, frames=6), array)
    d.FrameTime = "200"
    return filled.add(d), array


def shown(body):
    return numpy.asarray(PIL.Image.open(io.BytesIO(body)).convert("L")).astype(int)


# Negotiation

def test_01_no_accept_header_is_406(web, filled):
    web.problem(406, filled.s, accept=None)
    web.problem(406, "/dicom-web/studies", accept=None)


def test_02_03_nothing_acceptable_is_406_and_unknown_types_are_passed_over(web, filled):
    for path in (filled.s, f"{filled.s}/metadata", f"{filled.i}/frames/1", f"{filled.i}/rendered", "/dicom-web/studies"):
        web.problem(406, path, accept="application/x-nothing, text/css;level=1")
    assert web.ask(f"{filled.i}/rendered", "application/x-nothing;v=1, image/png").kind == "image/png"


def test_04_the_weight_of_the_most_specific_range_counts(web, filled):
    assert web.ask(f"{filled.i}/rendered", "image/*;q=0.9, image/jpeg;q=0.1").kind in ("image/png", "image/gif", "image/jp2")
    assert web.ask(f"{filled.i}/rendered", "image/png;q=0.5, image/gif").kind == "image/gif"
    web.problem(406, f"{filled.i}/rendered", accept="*/*;q=0")


def test_05_dicom_and_rendered_types_together_are_400(web, filled):
    web.problem(400, filled.i, accept="application/dicom, image/jpeg")


def test_06_07_parameters_quoted_or_not_in_any_case(web, filled):
    for accept in ("multipart/related; type=application/dicom; transfer-syntax=*",
                   'Multipart/Related; Type="application/dicom"; Transfer-Syntax="*"',
                   f'multipart/related;type="application/dicom";transfer-syntax="{LE}"'):
        assert len(web.ask(filled.s, accept).parts) == 30
    web.problem(406, filled.s, accept=f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.50")


@pytest.mark.parametrize("kept", ["implicit", "be", "deflated"])
def test_08_retired_syntaxes_never_go_out(web, filled, tmp_path, kept):
    d = pixels.fill(pixels.grey(12, True, "MONOCHROME2", rows=32, columns=48), pixels.scene(32, 48, -2048, 2047))
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file = tmp_path / "x.dcm"
    d.save_as(file)
    out = tmp_path / "y.dcm"
    flag = {"implicit": "+ti", "be": "+tb", "deflated": "+td"}[kept]
    code, said = run("dcmconv", flag, str(file), str(out))
    assert code == 0, said
    path = filled.add(pydicom.dcmread(out))
    for asked in ("*", None, "1.2.840.10008.1.2"):
        accept = "application/dicom" + (f"; transfer-syntax={asked}" if asked else "")
        answer = web.ask(path, accept)
        if asked == "1.2.840.10008.1.2":
            assert answer.status == 406
            continue
        got = pydicom.dcmread(io.BytesIO(answer.body))
        assert got.file_meta.TransferSyntaxUID == LE or (kept == "deflated" and asked == "*")
        assert (got.pixel_array == d.pixel_array).all()


def test_10_a_single_part_for_several_objects_is_406(web, filled):
    web.problem(406, filled.h, accept="application/dicom")
    web.problem(406, filled.s, accept="application/dicom")
    web.problem(406, f"{filled.s}/rendered", accept="image/jpeg")
    assert web.ask(filled.i, "application/dicom").kind == "application/dicom"


def test_11_the_accept_parameter_wins(web, filled):
    assert web.ask(f"{filled.i}/rendered?accept=image%2Fpng", "image/gif").kind == "image/png"
    assert web.ask(f"{filled.i}?accept=application/dicom", DICOM).kind == "application/dicom"


def test_12_text_is_utf_8_or_not_at_all(web, filled):
    web.problem(406, f"{filled.i}/metadata?charset=gb18030")
    web.problem(406, "/dicom-web/studies", Accept_Charset="iso-8859-1")
    assert web.ask(f"{filled.i}/metadata", Accept_Charset="gb18030, utf-8;q=0.1").status == 200
    assert web.ask(f"{filled.i}/metadata", "application/dicom+json; charset=utf-8").status == 200


def test_13_json_is_utf_8_and_says_so(web, filled):
    told = web.ask(f"{filled.i}/metadata").json[0]
    assert told["00080005"]["Value"] == ["ISO_IR 192"] and told["00100010"]["Value"][0]["Ideographic"] == "王^小东"


# Multipart

def test_14_15_17_multipart_bodies_are_well_formed(web, filled):
    for path, accept in ((filled.s, DICOM), (f"{filled.i}/frames/1", OCTETS), (f"{filled.i}/metadata", XML)):
        answer = web.ask(path, accept)
        for headers, _ in answer.parts:
            assert headers["content-type"] and headers["content-location"].startswith(filled.node.http), headers
        assert ("Content-Length" in answer.headers) != ("Transfer-Encoding" in answer.headers)


def test_16_a_bulk_data_part_has_the_uri_of_the_metadata(web, filled):
    uri = web.ask(f"{filled.i}/metadata").json[0]["7FE00010"]["BulkDataURI"]
    (headers, body), = web.ask(uri, OCTETS).parts
    assert headers["content-location"] == uri and body == filled.file.PixelData
    assert web.ask(uri, "application/octet-stream").body == filled.file.PixelData


def test_18_compressed_frames_are_bare_one_a_part(web, filled, shared):
    d = pydicom.dcmread(shared / "data/series/MR_knee_Siemens_SAGT1_24_jpegll" / sorted(
        f.name for f in (shared / "data/series/MR_knee_Siemens_SAGT1_24_jpegll").iterdir())[0])
    path = filled.add(d)
    (headers, body), = web.ask(f"{path}/frames/1", f"{OCTETS}; transfer-syntax=*").parts
    assert headers["content-type"] == f"image/jpeg;transfer-syntax={d.file_meta.TransferSyntaxUID}"
    assert body.startswith(b"\xff\xd8") and body.rstrip(b"\0").endswith(b"\xff\xd9")
    assert pydicom.encaps.get_frame(d.PixelData, 0, number_of_frames=1) == body
    (headers, body), = web.ask(f"{path}/frames/1", 'multipart/related; type="image/jpeg"').parts
    assert headers["content-type"].startswith("image/jpeg")
    (headers, body), = web.ask(f"{path}/frames/1", OCTETS).parts
    assert headers["content-type"].endswith(LE) and body == d.pixel_array.tobytes()


# QIDO

def test_19_nothing_found_is_204_without_a_body(web):
    answer = web.ask("/dicom-web/studies?PatientID=nobody")
    assert answer.status == 204 and answer.body == b"" and "Content-Type" not in answer.headers


def test_20_21_what_is_left_is_counted_and_pages_fit_together(web, filled):
    everything = [r["00080018"]["Value"][0] for r in web.ask(f"{filled.s}/instances").json]
    assert len(everything) == 30
    paged = []
    for offset in range(0, 30, 7):
        answer = web.ask(f"{filled.s}/instances?limit=7&offset={offset}")
        paged += [r["00080018"]["Value"][0] for r in answer.json]
        left = 30 - offset - 7
        said = [w for w in answer.warnings if "additional results" in w]
        if left > 0:
            assert said == [f"299 {filled.node.http}/dicom-web: There are {left} additional results that can be requested"]
        else:
            assert not said
    assert paged == everything


def test_22_names_are_found_by_sound_and_without_accents(web):
    def found(query):
        return {s["00100020"]["Value"][0] for s in web.ask(f"/dicom-web/studies?{query}").json} if query else set()
    for name in ("wang%20xiaodong", "Xiaodong^Wang", "wxd", "W%C3%A0ng", "%E7%8E%8B%E5%B0%8F%E4%B8%9C", "wangxiaod"):
        answer = web.ask(f"/dicom-web/studies?PatientName={name}&fuzzymatching=true")
        assert answer.status == 200 and not answer.warnings, name
        assert "HT0002" in {s["00100020"]["Value"][0] for s in answer.json}, name
    assert web.ask("/dicom-web/studies?PatientName=wxd").status == 204
    assert web.ask("/dicom-web/studies?PatientName=%E6%B1%AA&fuzzymatching=true").status == 204


def test_22_empty_and_multiple_values(web, filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2"), pixels.scene(256, 256, 0, 255))
    d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    d.file_meta.MediaStorageSOPInstanceUID, d.PatientID = d.SOPInstanceUID, "EMPTY"
    path = filled.add(d)
    found = web.ask("/dicom-web/studies?AccessionNumber=%22%22&emptyvaluematching=true").json
    assert "EMPTY" in {s["00100020"]["Value"][0] for s in found} and all("Value" not in s["00080050"] for s in found)
    assert web.ask("/dicom-web/studies?AccessionNumber=%22%22").status == 204
    of = f"{path.rsplit('/', 1)[0]}?multiplevaluematching=true&ImageType="
    assert len(web.ask(of + "AXIAL%5CORIGINAL").json) == 1 and web.ask(of + "AXIAL%5CDERIVED").status == 204


def test_23_unknown_parameters_are_ignored_and_bad_values_are_400(web):
    assert web.ask("/dicom-web/studies?PatientID=HT0002&_=1700000000").status == 200
    for query in ("limit=many", "offset=-1", "fuzzymatching=perhaps", "emptyvaluematching=1", "StudyDate=today",
                  "StudyInstanceUID=1.2.x", "PatientID=1&00100020=2", "TimezoneOffsetFromUTC=8"):
        web.problem(400, f"/dicom-web/studies?{query}")
    web.problem(400, "/dicom-web/studies/1..2/series")


def test_24_every_required_key_matches(web, filled):
    study = web.ask(f"/dicom-web/studies?StudyInstanceUID={filled.head}&includefield=all").json[0]
    for key in ("00080020", "00080030", "00080050", "00080061", "00080090", "00100020", "0020000D", "00200010"):
        if study.get(key, {}).get("Value"):
            value = study[key]["Value"][0]
            value = value["Alphabetic"] if isinstance(value, dict) else value
            got = web.ask(f"/dicom-web/studies?{key}={value}")
            assert got.status == 200, key
            assert filled.head in [s["0020000D"]["Value"][0] for s in got.json], key
    series = web.ask(f"{filled.h}/series?SeriesInstanceUID={filled.series}&includefield=all").json[0]
    for key in ("00080060", "0020000E", "00200011"):
        got = web.ask(f"{filled.h}/series?{key}={series[key]['Value'][0]}").json
        assert filled.series in [s["0020000E"]["Value"][0] for s in got], key
    instance = web.ask(f"{filled.s}/instances?SOPInstanceUID={filled.instance}").json[0]
    for key in ("00080016", "00080018", "00200013"):
        got = web.ask(f"{filled.s}/instances?{key}={instance[key]['Value'][0]}").json
        assert filled.instance in [s["00080018"]["Value"][0] for s in got], key


def test_24_request_attributes_and_performed_steps(web, filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2"), pixels.scene(256, 256, 0, 255))
    d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    d.file_meta.MediaStorageSOPInstanceUID, d.PatientID = d.SOPInstanceUID, "STEP"
    d.PerformedProcedureStepStartDate, d.PerformedProcedureStepStartTime = "20260302", "101500"
    item = pydicom.Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = "SPS-77", "RP-5"
    d.RequestAttributesSequence = [item]
    filled.add(d)

    def found(query):
        answer = web.ask(f"/dicom-web/series?{query}")
        return [s["0020000E"]["Value"][0] for s in answer.json] if answer.status == 200 else []
    for query in ("RequestAttributesSequence.ScheduledProcedureStepID=SPS-*", "00400275.00401001=RP-5",
                  "PerformedProcedureStepStartDate=20260301-20260303&PerformedProcedureStepStartTime=1000-1100",
                  "PerformedProcedureStepStartDate=20260302"):
        assert d.SeriesInstanceUID in found(query), query
    assert d.SeriesInstanceUID not in found("00400275.00401001=RP-6")
    got = [s for s in web.ask("/dicom-web/series?PatientID=STEP").json][0]
    assert got["00400275"]["Value"][0]["00400009"]["Value"] == ["SPS-77"]


def test_25_26_27_return_keys_of_each_level(web, filled):
    study = web.ask(f"/dicom-web/studies?PatientID=HT0002&includefield=SeriesDescription,00200013").json[0]
    for key in ("00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010", "00100020",
                "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208"):
        assert key in study, key
    assert "0008103E" not in study and "00200013" not in study
    series = web.ask("/dicom-web/series?PatientID=HT0002").json[0]
    for key in ("00080060", "0020000E", "00200011", "00201209", "00081190", "00100020", "0020000D", "00080061"):
        assert key in series, key
    # The study's attributes come although the study is a key.
    series = web.ask(f"/dicom-web/series?StudyInstanceUID={filled.head}").json[0]
    assert "00100020" in series
    instance = web.ask("/dicom-web/instances?PatientID=HT0002&limit=1").json[0]
    for key in ("00080016", "00080018", "00200013", "00280010", "00280011", "00280100", "00081190", "00080060", "00100020"):
        assert key in instance, key
    assert "00100020" not in web.ask(f"{filled.s}/instances?limit=1").json[0]


def test_28_fields_to_include(web, filled):
    one = f"{filled.s}/instances?limit=1&includefield="
    for field, key in (("ImagePositionPatient", "00200032"), ("00200032", "00200032"), ("StudyDescription,KVP", "00180060"),
                       ("KVP%2CSliceThickness", "00180050"), ("all", "00200032"), ("PatientName", "00100010")):
        assert key in web.ask(one + field).json[0], field
    # Of what the index does not keep the metadata tell.
    assert "00020010" not in web.ask(one + "00020010").json[0]
    kept = web.ask(f"{filled.i}/metadata").json[0]
    beyond = next(k for k in kept if k[:4] in ("0018", "0008", "0010") and k not in web.ask(one + "all").json[0] and "Value" in kept[k])
    assert web.ask(f"{filled.s}/instances?SOPInstanceUID={filled.instance}&includefield={beyond}").json[0][beyond] == kept[beyond]


def test_29_ways_of_matching(web, filled):
    def patients(query):
        answer = web.ask(f"/dicom-web/studies?{query}")
        return sorted(s["00100020"]["Value"][0] for s in answer.json) if answer.status == 200 else []
    assert patients("PatientID=HT000?") == patients("PatientID=HT*") and "HT0002" in patients("PatientID=HT*")
    assert patients(f"StudyInstanceUID={filled.head},{filled.chest}") == ["HT0001", "HT0002"]
    assert patients(f"StudyInstanceUID={filled.head}%5C{filled.chest}") == ["HT0001", "HT0002"]
    assert "HT0002" in patients("PatientName=%E7%8E%8B*") and "HT0002" in patients("PatientName=wang*")
    study = web.ask("/dicom-web/studies?PatientID=HT0002").json[0]
    day, time = study["00080020"]["Value"][0], study["00080030"]["Value"][0][:6]
    assert "HT0002" in patients(f"StudyDate={day}-{day}&StudyTime={time}-{time}")
    assert "HT0002" in patients(f"StudyDate={day}-") and "HT0002" in patients(f"StudyDate=-{day}")
    assert "HT0002" not in patients(f"StudyDate={int(day) + 1}-")
    # Twelve hours to the west it was the day before, if it was in the morning here.
    early = time < "200000"
    assert ("HT0002" in patients(f"StudyDate={day}&TimezoneOffsetFromUTC=-1200")) != early
    assert patients("ModalitiesInStudy=CT&PatientID=HT0002") == ["HT0002"] and not patients("ModalitiesInStudy=MR&PatientID=HT0002")
    # A key that nothing is matched with is said.
    said = web.ask("/dicom-web/studies?Allergies=x").warnings
    assert any("Allergies" in w for w in said)


def test_30_answers_in_xml(web):
    parts = web.ask("/dicom-web/studies?PatientID=HT0002", XML).parts
    (headers, body), = parts
    root = etree.fromstring(body)
    assert headers["content-type"] == "application/dicom+xml" and root.tag == f"{NATIVE}NativeDicomModel"
    name = root.find(f".//{NATIVE}DicomAttribute[@keyword='PatientName']")
    assert name.get("tag") == "00100010" and name.get("vr") == "PN"
    assert name.find(f"{NATIVE}PersonName/{NATIVE}Ideographic/{NATIVE}FamilyName").text == "王"


def test_31_a_search_that_is_too_broad_is_413(tmp_path, phantoms):
    import os
    os.environ["HUTONG_HTTP__SEARCH_STUDIES"] = "2"
    try:
        node = Node(tmp_path)
    finally:
        del os.environ["HUTONG_HTTP__SEARCH_STUDIES"]
    try:
        code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port), str(phantoms))
        assert code == 0, said
        web = Web(node.http)
        web.problem(413, "/dicom-web/studies?StudyDescription=nothing")
        assert web.ask("/dicom-web/studies?PatientID=HT0002").status == 200
        assert web.ask("/dicom-web/studies?limit=1").status == 200
    finally:
        node.stop()


# JSON and XML

def test_32_33_34_the_json_model(web, filled, film):
    def walk(item):
        keys = list(item)
        assert keys == sorted(keys) and all(len(k) == 8 and k == k.upper() and not k.endswith("0000") for k in keys)
        for key, attribute in item.items():
            assert len({"Value", "BulkDataURI", "InlineBinary"} & set(attribute)) <= 1, key
            assert attribute.get("Value") != [], key
            for value in attribute.get("Value", []):
                if attribute["vr"] == "SQ":
                    walk(value)
                elif attribute["vr"] == "PN":
                    assert set(value) <= {"Alphabetic", "Ideographic", "Phonetic"}
                elif attribute["vr"] in ("US", "UL", "SS", "SL", "FL", "FD"):
                    assert isinstance(value, (int, float))
                elif attribute["vr"] == "AT":
                    assert len(value) == 8
    for path in (filled.i, film[0]):
        walk(web.ask(f"{path}/metadata").json[0])


def test_35_metadata_have_all_attributes_and_no_group_2(web, filled):
    told = web.ask(f"{filled.i}/metadata").json[0]
    assert not [k for k in told if k.startswith("0002")]
    assert {f"{e.tag:08X}" for e in filled.file} <= set(told)
    (_, body), = web.ask(f"{filled.i}/metadata", XML).parts
    tags = {e.get("tag") for e in etree.fromstring(body).iterfind(f"{NATIVE}DicomAttribute")}
    assert {f"{e.tag:08X}" for e in filled.file if not e.tag.is_private} <= tags


# Retrieve

def test_36_unknown_is_404(web, filled):
    for path in ("/dicom-web/studies/1.2.3", f"{filled.h}/series/1.2.3/metadata", f"{filled.s}/instances/1.2.3/rendered",
                 f"/dicom-web/studies/1.2.3/series/{filled.series}", f"{filled.i}/bulkdata/00880200", f"{filled.i}/bulkdata/x"):
        web.problem(404, path)


def test_38_58_ranges_and_entity_tags(web, filled):
    whole = web.ask(filled.i, "application/dicom")
    assert whole.headers["Accept-Ranges"] == "bytes" and int(whole.headers["Content-Length"]) == len(whole.body)
    part = web.ask(filled.i, "application/dicom", Range="bytes=100-1123")
    assert part.status == 206 and part.body == whole.body[100:1124]
    assert part.headers["Content-Range"] == f"bytes 100-1123/{len(whole.body)}"
    assert web.ask(filled.i, "application/dicom", Range="bytes=-10").body == whole.body[-10:]
    late = web.problem(416, filled.i, "application/dicom", Range=f"bytes={len(whole.body)}-")
    assert late.headers["Content-Range"] == f"bytes */{len(whole.body)}"
    tag = whole.headers["ETag"]
    assert web.ask(filled.i, "application/dicom", Range="bytes=0-9", If_Range='"other"').status == 200
    for path, accept in ((filled.i, "application/dicom"), (f"{filled.i}/metadata", "*/*"), (f"{filled.i}/rendered", "image/png"),
                         (f"{filled.i}/frames/1", "application/octet-stream"), (filled.s, DICOM)):
        first = web.ask(path, accept)
        again = web.ask(path, accept, If_None_Match=first.headers["ETag"])
        assert again.status == 304 and again.body == b"" and again.headers["ETag"].removeprefix("W/") == first.headers["ETag"].removeprefix("W/")
    assert web.ask(f"{filled.i}/rendered", "image/png").headers["ETag"] != web.ask(f"{filled.i}/rendered", "image/gif").headers["ETag"]
    assert tag.startswith('"')


def test_39_bulk_and_pixel_data_at_every_level(web, filled, film):
    for level in (filled.h, filled.s, filled.i):
        parts = web.ask(f"{level}/pixeldata", OCTETS).parts
        mine = [b for h, b in parts if filled.instance in h["content-location"]]
        assert mine == [filled.file.PixelData]
        assert any(filled.instance in h["content-location"] for h, _ in web.ask(f"{level}/bulkdata", OCTETS).parts)
    (_, body), = web.ask(f"{film[0]}/pixeldata", OCTETS).parts
    assert body == film[1].astype("<u2").tobytes()


def test_39_bulk_data_in_sequences(web, filled):
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2"), pixels.scene(256, 256, 0, 255))
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    icon = pydicom.Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 64, 64, bytes(range(256)) * 16
    icon["PixelData"].VR = "OW"
    d.IconImageSequence = [icon]
    path = filled.add(d)
    uri = web.ask(f"{path}/metadata").json[0]["00880200"]["Value"][0]["7FE00010"]["BulkDataURI"]
    assert web.ask(uri, "application/octet-stream").body == icon.PixelData
    assert web.ask(uri, "application/octet-stream", Range="bytes=4-7").body == icon.PixelData[4:8]
    found = {h["content-location"]: b for h, b in web.ask(f"{path}/bulkdata", OCTETS).parts}
    assert found[uri] == icon.PixelData and len(found) == 2


def test_40_lists_of_frames(web, film):
    path, array = film
    parts = web.ask(f"{path}/frames/5,2,5", OCTETS).parts
    assert [b for _, b in parts] == [array[n].astype("<u2").tobytes() for n in (4, 1, 4)]
    assert parts[0][0]["content-location"].endswith("/frames/5")
    for list_, status in (("7", 404), ("1,7", 404), ("0", 400), ("a", 400), ("1-3", 400), ("1,,2", 400)):
        web.problem(status, f"{path}/frames/{list_}")


@pytest.mark.parametrize("kind,syntax", [("image/jls", "1.2.840.10008.1.2.4.80"), ("image/jp2", "1.2.840.10008.1.2.4.90"),
                                         ("image/dicom-rle", "1.2.840.10008.1.2.5"), ("image/jphc", "1.2.840.10008.1.2.4.201"),
                                         ("image/jpeg", "1.2.840.10008.1.2.4.70")])
def test_frames_in_media_types_that_are_made(web, film, kind, syntax):
    for accept in (f'multipart/related; type="{kind}"', f'multipart/related; type="{kind}"; transfer-syntax={syntax}'):
        parts = web.ask(f"{film[0]}/frames/3,4", accept).parts
        assert [h["content-type"] for h, _ in parts] == [f"{kind};transfer-syntax={syntax}"] * 2
    if kind in ("image/jls", "image/jp2", "image/jpeg"):
        d = pixels.grey(12, False, "MONOCHROME2", rows=64, columns=96)
        d.file_meta.TransferSyntaxUID = syntax
        d.PixelData = pydicom.encaps.encapsulate([parts[0][1]])
        d["PixelData"].VR = "OB"
        d["PixelData"].is_undefined_length = True
        assert (d.pixel_array == film[1][2]).all()


def test_41_one_instance_as_one_part(web, filled):
    got = pydicom.dcmread(io.BytesIO(web.ask(filled.i, "application/dicom").body))
    assert got.PixelData == filled.file.PixelData


# Rendered

def test_42_pictures_of_every_format_show_the_same(web, filled):
    png = shown(web.ask(f"{filled.i}/rendered", "image/png").body)
    assert web.ask(f"{filled.i}/rendered").kind == "image/jpeg"
    for kind, off in (("image/gif", 0), ("image/jp2", 0), ("image/jpeg", 24)):
        answer = web.ask(f"{filled.i}/rendered", kind)
        assert answer.kind == kind and numpy.abs(shown(answer.body) - png).max() <= off, kind
    d = filled.file
    low = d.WindowCenter - 0.5 - (d.WindowWidth - 1) / 2
    hounsfield = d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept)
    expected = numpy.clip((hounsfield - low) / (d.WindowWidth - 1) * 255, 0, 255)
    assert numpy.abs(png - expected).max() <= 1


def test_42_a_film_as_animation_parts_and_picture(web, film):
    path, array = film
    moving = PIL.Image.open(io.BytesIO(web.ask(f"{path}/rendered", "image/gif").body))
    assert moving.n_frames == 6 and moving.info["duration"] == 200
    parts = web.ask(f"{path}/rendered", 'multipart/related; type="image/png"').parts
    assert len(parts) == 6
    for number in range(6):
        moving.seek(number)
        assert (numpy.asarray(moving.convert("L")) == shown(parts[number][1])).all()
    parts = web.ask(f"{path}/frames/2,1/rendered", 'multipart/related; type="image/png"').parts
    alone = web.ask(f"{path}/frames/2/rendered", "image/png")
    assert parts[0][1] == alone.body and parts[0][0]["content-location"].endswith("/frames/2/rendered")
    web.problem(404, f"{path}/frames/7/rendered")


def test_42_every_image_of_a_series_is_rendered(web, filled):
    parts = web.ask(f"{filled.s}/rendered", 'multipart/related; type="image/jpeg"').parts
    assert len(parts) == 30 and all(b.startswith(b"\xff\xd8") for _, b in parts)
    assert web.ask(f"{filled.h}/rendered?viewport=32,32").kind == "multipart/related"


def test_42_reports_as_pages_text_and_xml(web, filled, shared):
    path = filled.add(pydicom.dcmread(next((shared / "data/dr_headers").glob("*RDSR-Canon*.dcm"))))
    page = web.ask(f"{path}/rendered")
    assert page.kind == "text/html" and "charset=utf-8" in page.headers["Content-Type"] and b"<h1>" in page.body
    assert web.ask(f"{path}/rendered", "text/plain").kind == "text/plain"
    assert etree.fromstring(web.ask(f"{path}/rendered", "text/xml").body).tag.endswith("NativeDicomModel")
    web.problem(406, f"{path}/rendered", accept="image/png")
    web.problem(406, f"{path}/thumbnail")


def test_42_an_encapsulated_document_is_the_file_that_it_is(web, filled):
    d = pixels.base(1, 1)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
                    "PhotometricInterpretation"):
        delattr(d, keyword)
    pdf = b"%PDF-1.4\n% a page\n%%EOF"
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    d.MIMETypeOfEncapsulatedDocument, d.EncapsulatedDocumentLength = "application/pdf", len(pdf)
    d.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    path = filled.add(d)
    answer = web.ask(f"{path}/rendered", "application/pdf")
    assert answer.kind == "application/pdf" and answer.body == pdf


def test_43_44_annotations(web, filled):
    plain = shown(web.ask(f"{filled.i}/rendered", "image/png").body)
    for keyword, corner in (("patient", (slice(0, 120), slice(0, 300))), ("technique", (slice(-200, None), slice(0, 300)))):
        marked = shown(web.ask(f"{filled.i}/rendered?annotation={keyword}", "image/png").body)
        changed = numpy.argwhere(marked != plain)
        assert len(changed) > 100 and (marked[corner] != plain[corner]).sum() == len(changed)
    odd = web.ask(f"{filled.i}/rendered?annotation=patient,colour", "image/png")
    assert odd.warnings == [f'299 {filled.node.http}/dicom-web: "The following annotation values are not supported: colour"'] or \
        odd.warnings == [f"299 {filled.node.http}/dicom-web: The following annotation values are not supported: colour"]
    web.problem(400, f"{filled.i}/rendered?annotation=")


def test_45_quality(web, filled):
    sizes = [len(web.ask(f"{filled.i}/rendered?quality={q}", "image/jpeg").body) for q in (5, 50, 95)]
    assert sizes == sorted(sizes) and sizes[0] * 2 < sizes[2]
    for quality in ("0", "101", "high", "-1", "1.5"):
        web.problem(400, f"{filled.i}/rendered?quality={quality}")


def test_46_viewport(web, filled):
    whole = shown(web.ask(f"{filled.i}/rendered", "image/png").body)
    rows, columns = whole.shape
    assert shown(web.ask(f"{filled.i}/rendered?viewport=100,400", "image/png").body).shape == (round(100 * rows / columns), 100)
    cut = shown(web.ask(f"{filled.i}/rendered?viewport=40,40,50,60,40,40", "image/png").body)
    assert (cut == whole[60:100, 50:90]).all()
    flipped = shown(web.ask(f"{filled.i}/rendered?viewport=40%2C40,50,60,-40,-40", "image/png").body)
    assert (flipped == whole[60:100, 50:90][::-1, ::-1]).all()
    for viewport in ("40", "0,40", "-4,40", "a,b", "100000,100000", f"40,40,{columns},0,5,5", "1,1,1,1,1,1,1", "10,10,0,0,0,0"):
        web.problem(400, f"{filled.i}/rendered?viewport={viewport}")


def test_47_window(web, filled):
    d = filled.file
    hounsfield = d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept)
    got = shown(web.ask(f"{filled.i}/rendered?window=50,400,linear-exact", "image/png").body)
    assert numpy.abs(got - numpy.clip((hounsfield - 50) / 400 + 0.5, 0, 1) * 255).max() <= 1
    got = shown(web.ask(f"{filled.i}/rendered?window=50,400,sigmoid", "image/png").body)
    assert numpy.abs(got - 255 / (1 + numpy.exp(-4 * (hounsfield - 50) / 400))).max() <= 1
    for window in ("50,400", "50,400,cubic", "a,400,linear", "50,0,linear", "50,-3,linear", "NaN,400,linear", "1,2,3,4"):
        web.problem(400, f"{filled.i}/rendered?window={window}")


def test_48_thumbnails_at_every_level_name_nobody(web, filled, film):
    for path in (filled.h, filled.s, filled.i, film[0], f"{film[0]}/frames/2"):
        answer = web.ask(f"{path}/thumbnail")
        assert answer.kind == "image/jpeg" and max(PIL.Image.open(io.BytesIO(answer.body)).size) == 128
    assert max(PIL.Image.open(io.BytesIO(web.ask(f"{filled.s}/thumbnail?viewport=64,64", "image/png").body)).size) == 64
    same = web.ask(f"{filled.i}/thumbnail", "image/png").body
    assert web.ask(f"{filled.i}/thumbnail?annotation=patient", "image/png").body == same
    web.problem(400, f"{filled.i}/thumbnail?viewport=64,64,1,1,9,9")
    web.problem(404, f"{film[0]}/frames/7/thumbnail")
    browser = "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    assert web.ask(f"{filled.i}/thumbnail", browser).kind == "image/jpeg"


# STOW

def file_of(d):
    out = io.BytesIO()
    pydicom.dcmwrite(out, d, enforce_file_format=False)
    return out.getvalue()


def fresh(**attributes):
    d = pixels.fill(pixels.grey(12, False, "MONOCHROME2", rows=48, columns=64), pixels.scene(48, 64, 0, 4095))
    d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
    for name, value in attributes.items():
        setattr(d, name, value)
    return d


def post(web, parts, kind="application/dicom", path="/dicom-web/studies", accept="application/dicom+json"):
    body, content_type = related(parts, kind)
    return web.ask(path, accept, method="POST", body=body, Content_Type=content_type)


FILE = {"Content-Type": "application/dicom"}


def test_49_50_statuses_and_reasons(web):
    good, other = fresh(), fresh()
    answer = post(web, [(FILE, file_of(good)), (FILE, file_of(other))])
    assert answer.status == 200 and len(answer.json["00081199"]["Value"]) == 2 and "00081198" not in answer.json
    mixed = post(web, [(FILE, file_of(fresh())), (FILE, b"this is no DICOM file" * 20), (FILE, file_of(fresh()))])
    assert mixed.status == 202 and len(mixed.json["00081199"]["Value"]) == 2
    assert mixed.json["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    none = post(web, [(FILE, b"no file"), (FILE, b"")])
    assert none.status == 409 and len(none.json["0008119A"]["Value"]) == 2
    changed = fresh(SOPInstanceUID=good.SOPInstanceUID, StudyInstanceUID=good.StudyInstanceUID, SeriesInstanceUID=good.SeriesInstanceUID)
    changed.PatientComments = "other bytes"
    conflict = post(web, [(FILE, file_of(changed))])
    failed, = conflict.json["00081198"]["Value"]
    assert conflict.status == 409 and failed["00081197"]["Value"] == [0x0111]
    assert failed["00081150"]["Value"] == [good.SOPClassUID] and failed["00081155"]["Value"] == [good.SOPInstanceUID]
    elsewhere = post(web, [(FILE, file_of(fresh()))], path="/dicom-web/studies/1.2.3")
    assert elsewhere.status == 409 and elsewhere.json["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    stored = post(web, [(FILE, file_of(good))], path=f"/dicom-web/studies/{good.StudyInstanceUID}")
    assert stored.status == 200 and stored.json["00081190"]["Value"][0].endswith(good.StudyInstanceUID)
    assert stored.headers["Content-Location"].endswith(f"/studies/{good.StudyInstanceUID}")


def test_49_what_is_no_request_is_400_or_415(web):
    ask = lambda body, kind: web.problem(400, "/dicom-web/studies", method="POST", body=body, Content_Type=kind)
    ask(b"--x--", 'multipart/related; type="application/dicom"')
    ask(b"--x\r\nContent-Type: application/dicom\r\n\r\nabc", 'multipart/related; type="application/dicom"; boundary=x')
    ask(b"--x--\r\n", 'multipart/related; type="application/dicom"; boundary=x')
    ask(b"{", "application/dicom+json")
    ask(b"<NativeDicomModel>", "application/dicom+xml")
    ask(b"x", f'multipart/related; type="application/dicom"; boundary={"b" * 71}')
    for kind in ("text/plain", "multipart/form-data; boundary=x", 'multipart/related; type="image/jpeg"; boundary=x', ""):
        web.problem(415, "/dicom-web/studies", method="POST", body=b"x", Content_Type=kind)
    web.problem(405, "/exchange/dicom-web/studies", method="POST", body=b"x", Content_Type="application/dicom")


@pytest.mark.parametrize("model", ["json", "xml"])
def test_53_metadata_with_bulk_data(web, filled, model, tmp_path):
    d = fresh(PatientName="Zhang^San=张^三", PatientComments="a < b & c")
    meta = json.loads(d.to_json(bulk_data_threshold=1024, bulk_data_element_handler=lambda e: "bulk-1"))
    if model == "json":
        parts = [({"Content-Type": "application/dicom+json"}, json.dumps([meta]).encode())]
    else:
        parts = [({"Content-Type": "application/dicom+xml"}, xml_of(meta))]
    parts.append(({"Content-Type": f"application/octet-stream;transfer-syntax={LE}", "Content-Location": "bulk-1"}, d.PixelData))
    answer = post(web, parts, kind=f"application/dicom+{model}")
    assert answer.status == 200, answer.body
    got = pydicom.dcmread(io.BytesIO(web.ask(answer.json["00081199"]["Value"][0]["00081190"]["Value"][0], "application/dicom").body))
    assert (got.pixel_array == d.pixel_array).all() and str(got.PatientName) == "Zhang^San=张^三"
    assert got.PatientComments == "a < b & c" and got.SpecificCharacterSet == "ISO_IR 192"
    for element in d:
        if element.tag not in (0x7FE00010, 0x00080005):
            assert got[element.tag].value == element.value, element
    file = tmp_path / "got.dcm"
    got.save_as(file)
    code, said = run("dcmdump", str(file))
    assert code == 0, said


def xml_of(meta):
    """The native model of a JSON object, written by another hand than the server's."""
    root = etree.Element("NativeDicomModel", {"xmlns": NATIVE.strip("{}"), "xml:space": "preserve"})

    def put(parent, item):
        for tag, attribute in item.items():
            node = etree.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": attribute["vr"], "keyword": pydicom.datadict.keyword_for_tag(tag)})
            if "BulkDataURI" in attribute:
                etree.SubElement(node, "BulkData", {"uri": attribute["BulkDataURI"]})
            if "InlineBinary" in attribute:
                etree.SubElement(node, "InlineBinary").text = attribute["InlineBinary"]
            for number, value in enumerate(attribute.get("Value", []), 1):
                if attribute["vr"] == "SQ":
                    put(etree.SubElement(node, "Item", {"number": str(number)}), value)
                elif attribute["vr"] == "PN":
                    name = etree.SubElement(node, "PersonName", {"number": str(number)})
                    for group, text in value.items():
                        outer = etree.SubElement(name, group)
                        for part, word in zip(("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"), text.split("^")):
                            if word:
                                etree.SubElement(outer, part).text = word
                elif value is not None:
                    etree.SubElement(node, "Value", {"number": str(number)}).text = str(value)
    put(root, meta)
    return etree.tostring(root, encoding="utf-8")


def test_53_compressed_bulk_data_keep_their_syntax(web, shared):
    source = pydicom.dcmread(sorted((shared / "data/series/MR_knee_Siemens_SAGT1_24_jpegll").iterdir())[1])
    frame = pydicom.encaps.get_frame(source.PixelData, 0, number_of_frames=1)
    source.SOPInstanceUID, source.StudyInstanceUID = generate_uid(), generate_uid()
    expected = source.pixel_array
    meta = json.loads(source.to_json(bulk_data_threshold=1024, bulk_data_element_handler=lambda e: f"at-{e.tag:08X}"))
    meta["7FE00010"] = {"vr": "OB", "BulkDataURI": "at-7FE00010"}
    bulk = [({"Content-Type": "application/octet-stream", "Content-Location": f"at-{e.tag:08X}"}, e.value) for e in source
            if "BulkDataURI" in meta[f"{e.tag:08X}"] and e.tag != 0x7FE00010]
    parts = [({"Content-Type": "application/dicom+json"}, json.dumps([meta]).encode()), *bulk,
             ({"Content-Type": "image/jpeg", "Content-Location": "at-7FE00010"}, frame)]
    answer = post(web, parts, kind="application/dicom+json")
    assert answer.status == 200, answer.body
    url = answer.json["00081199"]["Value"][0]["00081190"]["Value"][0]
    got = pydicom.dcmread(io.BytesIO(web.ask(url, "application/dicom; transfer-syntax=*").body))
    assert got.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID and (got.pixel_array == expected).all()


def test_53_metadata_that_are_wrong_spoil_only_themselves(web):
    good, lost, bad = fresh(), fresh(), fresh()
    handler = lambda e: "here"
    metas = [json.loads(x.to_json(bulk_data_threshold=1024, bulk_data_element_handler=handler)) for x in (good, lost, bad)]
    metas[1]["7FE00010"]["BulkDataURI"] = "nowhere"
    metas[2]["00280010"] = {"vr": "US", "Value": [100000]}
    parts = [({"Content-Type": "application/dicom+json"}, json.dumps(metas).encode()),
             ({"Content-Type": "application/octet-stream", "Content-Location": "here"}, good.PixelData)]
    answer = post(web, parts, kind="application/dicom+json")
    assert answer.status == 202, answer.body
    assert [i["00081155"]["Value"][0] for i in answer.json["00081198"]["Value"]] == [lost.SOPInstanceUID, bad.SOPInstanceUID]
    assert [i["00081155"]["Value"][0] for i in answer.json["00081199"]["Value"]] == [good.SOPInstanceUID]


def test_53_answers_in_xml(web):
    answer = post(web, [(FILE, file_of(fresh()))], accept=XML)
    (_, body), = answer.parts
    assert answer.status == 200 and etree.fromstring(body).find(f"{NATIVE}DicomAttribute[@tag='00081199']") is not None


# Other

def test_55_capabilities(web, filled):
    wadl = web.ask("/dicom-web/", method="OPTIONS")
    assert wadl.status == 200 and wadl.kind == "application/vnd.sun.wadl+xml"
    space = "{http://wadl.dev.java.net/2009/02}"
    root = etree.fromstring(wadl.body)
    base = root.find(f"{space}resources").get("base")
    ids = {m.get("id") for m in root.iter(f"{space}method")}
    assert base == f"{filled.node.http}/dicom-web" and {"StoreInstances", "RetrieveBulkData", "RetrieveFrames"} <= ids
    asked = web.ask("/exchange/dicom-web", "application/json", method="OPTIONS")
    assert asked.kind == "application/json" and b"StoreInstances" not in asked.body and b"RetrieveFrames" in asked.body
    assert web.ask(filled.s, method="OPTIONS").headers["Allow"] == "GET,HEAD"


def test_56_a_method_that_is_not_there_is_405(web, filled):
    answer = web.problem(405, f"{filled.s}/metadata", method="DELETE")
    assert answer.headers["Allow"] == "GET,HEAD"


def test_57_storage_commitment(web, filled):
    transaction = generate_uid()
    item = lambda c, i: {"00081150": {"vr": "UI", "Value": [c]}, "00081155": {"vr": "UI", "Value": [i]}}
    kept, gone = item(str(filled.file.SOPClassUID), filled.instance), item(str(filled.file.SOPClassUID), "1.2.3.4")
    other = item("1.2.840.10008.5.1.4.1.1.7", filled.instance)
    body = json.dumps({"00081199": {"vr": "SQ", "Value": [kept, gone, other]}}).encode()
    path = f"/dicom-web/commitment-requests/{transaction}"
    ask = lambda b=body: web.ask(path, "application/dicom+json", method="POST", body=b, Content_Type="application/dicom+json")
    answer = ask()
    assert answer.status == 200, answer.body
    assert answer.json["00081199"]["Value"] == [kept]
    assert [i["00081197"]["Value"][0] for i in answer.json["00081198"]["Value"]] == [0x0112, 0x0119]
    assert web.ask(path).json == answer.json
    web.problem(409, path, "application/dicom+json", method="POST", body=body, Content_Type="application/dicom+json")
    web.problem(404, f"/dicom-web/commitment-requests/{generate_uid()}")
    fresh_path = f"/dicom-web/commitment-requests/{generate_uid()}"
    web.problem(400, fresh_path, method="POST", body=b"{}", Content_Type="application/dicom+json")
    web.problem(415, fresh_path, method="POST", body=body, Content_Type="text/plain")
    by_study = {"00081110": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": [filled.head]}, "00081115": {"vr": "SQ", "Value": [
        {"0020000E": {"vr": "UI", "Value": [filled.series]}, "00081112": {"vr": "SQ", "Value": [kept]}}]}}]}}
    got = web.ask(fresh_path, method="POST", body=json.dumps(by_study).encode(), Content_Type="application/dicom+json")
    assert got.json["00081199"]["Value"] == [kept]


def test_57_a_damaged_file_is_not_committed(web, filled):
    d = fresh()
    path = filled.add(d)
    assert path
    file = next(filled.node.place.rglob(f"{d.SOPInstanceUID}.dcm"))
    file.chmod(0o600)
    raw = bytearray(file.read_bytes())
    raw[-100] ^= 0xFF
    file.write_bytes(raw)
    body = json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": [d.SOPClassUID]},
                                                           "00081155": {"vr": "UI", "Value": [d.SOPInstanceUID]}}]}}).encode()
    answer = web.ask(f"/dicom-web/commitment-requests/{generate_uid()}", method="POST", body=body, Content_Type="application/dicom+json")
    assert "00081199" not in answer.json and answer.json["00081198"]["Value"][0]["00081197"]["Value"] == [0x0110]


# WADO-URI (section 9)

def test_wado_uri(web, filled, film):
    base = f"/wado?requestType=WADO&studyUID={filled.head}&seriesUID={filled.series}&objectUID={filled.instance}"
    assert web.ask(base).kind == "image/jpeg"
    got = web.ask(f"{base}&contentType=application/dicom")
    assert got.kind == "application/dicom" and pydicom.dcmread(io.BytesIO(got.body)).PixelData == filled.file.PixelData
    got = web.ask(f"{base}&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.80")
    assert pydicom.dcmread(io.BytesIO(got.body)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80"
    png = shown(web.ask(f"{filled.i}/rendered?window=50,400,linear", "image/png").body)
    assert (shown(web.ask(f"{base}&contentType=image/png&windowCenter=50&windowWidth=400").body) == png).all()
    half = shown(web.ask(f"{base}&contentType=image/png&windowCenter=50&windowWidth=400&region=0.5,0,1,0.5").body)
    assert (half == png[:png.shape[0] // 2, png.shape[1] // 2:]).all()
    assert shown(web.ask(f"{base}&contentType=image/png&rows=100&columns=50").body).shape[1] == 50
    ids = film[0].split("/")
    movie = f"/wado?requestType=WADO&studyUID={ids[3]}&seriesUID={ids[5]}&objectUID={ids[7]}&contentType=image/png"
    assert web.ask(f"{movie}&frameNumber=2").body == web.ask(f"{film[0]}/frames/2/rendered", "image/png").body
    for more in ("&windowCenter=3", "&frameNumber=0", "&frameNumber=7", "&rows=0", "&rows=8192&columns=8192", "&region=0,0,2,1", "&imageQuality=500",
                 "&contentType=image/png", "&presentationUID=1.2"):
        web.problem(400, movie + more)
    web.problem(400, "/wado?requestType=WADO&studyUID=1.2")
    web.problem(400, base.replace("=WADO", "=OTHER"))
    web.problem(404, base.replace(filled.instance, "1.2.3"))
    web.problem(406, f"{base}&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.50")
    web.problem(404, base.replace("/wado", "/exchange/wado"))


# Around it

def test_addresses_are_those_that_the_client_can_reach(web, filled):
    def url(**headers):
        return web.ask(f"{filled.h}/series?limit=1", **headers).json[0]["00081190"]["Value"][0]
    assert url(Forwarded='for=1.1.1.1;proto=https;host="pacs.example.org"').startswith("https://pacs.example.org/dicom-web/")
    assert url(X_Forwarded_Proto="https", X_Forwarded_Host="b.example:8443", X_Forwarded_Prefix="/x").startswith("https://b.example:8443/x/dicom-web/")
    assert "<" not in url(X_Forwarded_Host="<script>")


def test_text_is_compressed_and_images_are_not(web, filled):
    import gzip
    packed = web.ask(f"{filled.s}/metadata", Accept_Encoding="gzip, br")
    plain = web.ask(f"{filled.s}/metadata")
    assert packed.headers["Content-Encoding"] in ("gzip", "br") and len(packed.body) * 5 < len(plain.body)
    assert gzip.decompress(web.ask(f"{filled.s}/metadata", Accept_Encoding="gzip").body) == plain.body
    assert "Content-Encoding" not in web.ask(f"{filled.i}/frames/1", Accept_Encoding="gzip").headers


def test_requests_are_numbered(web, filled):
    assert web.ask(filled.h, DICOM, X_Request_Id="mine-7").headers["X-Request-Id"] == "mine-7"
    ids = {web.ask("/healthz").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3
    assert web.ask("/healthz", X_Request_Id="a b\tc").headers["X-Request-Id"] != "a b\tc"


def test_inline_values_are_those_of_the_file(web, filled):
    d = fresh()
    d.add(pydicom.DataElement(0x00420011, "OB", b"\1\2\3\4"))
    path = filled.add(d)
    assert base64.b64decode(web.ask(f"{path}/metadata").json[0]["00420011"]["InlineBinary"]) == b"\1\2\3\4"


def test_the_openapi_document_names_what_is_there(web, filled):
    document = web.ask("/openapi.json").json
    uids = {"study": filled.head, "series": filled.series, "instance": filled.instance, "frames": "1", "path": "7FE00010", "transaction": "1.2.3"}
    seen = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = web.ask("/dicom-web" + path.format(**uids), method=method.upper(), body=b"" if method == "post" else None)
            assert answer.status in map(int, operation["responses"]), (method, path, answer.status, answer.body[:200])
            assert b"no such resource" not in answer.body and answer.status != 405, path
            seen += 1
    assert seen == 32


def test_the_exchange_root_has_the_same_resources_and_shows_copies_only(web, filled):
    """Every way to an original is closed on the exchange root, and every way to a copy is open."""
    root = f"/exchange/dicom-web/studies/{filled.head}"
    copies = {r["00080018"]["Value"][0]: r["0020000E"]["Value"][0] for r in web.ask(f"{root}/instances").json}
    assert filled.instance not in copies and len(copies) == 30
    for way in ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata", "/bulkdata/7FE00010", "/pixeldata", "/frames/1",
                "/frames/1/rendered", "/frames/1/thumbnail"):
        web.problem(404, f"{root}/series/{filled.series}/instances/{filled.instance}{way}")
        web.problem(404, f"{root}/series/{next(iter(copies.values()))}/instances/{filled.instance}{way}")
        copy, series = next(iter(copies.items()))
        assert web.ask(f"{root}/series/{series}/instances/{copy}{way}").status == 200, way
    for way in ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata", "/pixeldata"):
        web.problem(404, f"{root}/series/{filled.series}{way}")
    # Whole studies: what is in them is of the copies, whatever form it has.
    for way, accept in (("", DICOM), ("/pixeldata", OCTETS), ("/bulkdata", OCTETS), ("/rendered", 'multipart/related; type="image/png"')):
        named = [h["content-location"] for h, _ in web.ask(f"{root}{way}", accept).parts]
        assert named and not [n for n in named if filled.instance in n or filled.series in n], way
    told = web.ask(f"{root}/metadata").json
    assert {m["00080018"]["Value"][0] for m in told} == set(copies)
    for query in (f"instances?SOPInstanceUID={filled.instance}", f"series?SeriesInstanceUID={filled.series}", "studies?PatientID=HT0003"):
        assert web.ask(f"/exchange/dicom-web/{query}").status == 204, query
    web.problem(404, "/exchange/dicom-web/commitment-requests/1.2.3")


# What is shown: pydicom applies the same tables

def made_visible(d, frame=0):
    """Eight bits a channel as PS3.4 N.2 says it, by pydicom's own tables and numpy."""
    array = d.pixel_array if int(d.get("NumberOfFrames") or 1) == 1 else d.pixel_array[frame]
    if d.PhotometricInterpretation == "PALETTE COLOR":
        shown = pydicom.pixels.apply_color_lut(array, d).astype(float)
        return shown / (65535 if shown.max() > 255 else 255) * 255
    if d.SamplesPerPixel == 3:
        return array.astype(float) / ((1 << d.BitsStored) - 1) * 255
    values = pydicom.pixels.apply_modality_lut(array, d)
    if "VOILUTSequence" in d:
        # By hand: pydicom takes a table of 8 bits in words for one of bytes.
        lut = d.VOILUTSequence[0]
        table = numpy.frombuffer(lut.LUTData, "<u2").astype(float)
        index = numpy.clip(numpy.rint(values).astype("int64") - int(lut.LUTDescriptor[1]), 0, len(table) - 1)
        shown = table[index] / ((1 << int(lut.LUTDescriptor[2])) - 1) * 255
    else:
        center, width = float(d.WindowCenter), float(d.WindowWidth)
        shown = numpy.clip(((values - (center - 0.5)) / (width - 1) + 0.5), 0, 1) * 255
    inverse = d.PhotometricInterpretation == "MONOCHROME1" or d.get("PresentationLUTShape") == "INVERSE"
    return 255 - shown if inverse else shown


FORMATS = {
    "8 bit": lambda: pixels.grey(8, False, "MONOCHROME2"),
    "12 bit signed": lambda: pixels.grey(12, True, "MONOCHROME2"),
    "16 bit": lambda: pixels.grey(16, False, "MONOCHROME2"),
    "monochrome 1": lambda: pixels.grey(12, False, "MONOCHROME1"),
    "modality lut": lambda: pixels.with_tables(True, False),
    "voi lut": lambda: pixels.with_tables(False, True),
    "both luts": lambda: pixels.with_tables(True, True),
    "palette": lambda: pixels.palette(8, 16),
    "rgb": lambda: pixels.colour("RGB"),
    "rgb planar": lambda: pixels.colour("RGB", planar=1),
    "inverse": lambda: inverted(),
}


def inverted():
    d = pixels.grey(12, False, "MONOCHROME2")
    d.PresentationLUTShape = "INVERSE"
    return d


@pytest.mark.parametrize("name", FORMATS)
def test_rendered_pictures_are_those_of_the_standard(web, filled, name):
    d = FORMATS[name]()
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = filled.add(d)
    got = numpy.asarray(PIL.Image.open(io.BytesIO(web.ask(f"{path}/rendered", "image/png").body))).astype(float)
    expected = made_visible(d)
    if expected.ndim == 2 and got.ndim == 3:
        got = got[..., 0]
    assert got.shape == expected.shape and numpy.abs(got - expected).max() <= 1.5, numpy.abs(got - expected).max()


@pytest.mark.parametrize("in_bits", (False, True))
def test_overlays_are_drawn_by_choice(web, filled, in_bits):
    d = pixels.overlay(in_bits)
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = filled.add(d)
    plain, drawn = (shown(web.ask(f"{path}/rendered{q}", "image/png").body) for q in ("", "?overlays=true"))
    assert (drawn[200:220, 30:200] == 255).all()
    drawn[200:220, 30:200] = plain[200:220, 30:200]
    assert (drawn == plain).all()
    web.problem(400, f"{path}/rendered?overlays=perhaps")


def test_an_image_without_a_window_gets_a_sensible_one(web, filled):
    d = pixels.grey(12, False, "MONOCHROME2")
    del d.WindowCenter, d.WindowWidth
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    values = numpy.frombuffer(d.PixelData, "<u2").copy()
    values[:40] = 4095  # a few bright ones must not make all others dark
    d.PixelData = values.tobytes()
    got = shown(web.ask(f"{filled.add(d)}/rendered", "image/png").body)
    assert got.std() > 40 and (got == 255).mean() < 0.2 and (got == 0).mean() < 0.3
    ct = pixels.fill(pixels.base(64, 64, bits=16, signed=1), numpy.tile(numpy.arange(-1000, 1048, 32), (64, 1)))
    ct.Modality, ct.RescaleSlope, ct.RescaleIntercept, ct.SOPInstanceUID = "CT", "1", "0", generate_uid()
    ct.file_meta.MediaStorageSOPInstanceUID = ct.SOPInstanceUID
    got = shown(web.ask(f"{filled.add(ct)}/rendered", "image/png").body)[0]
    hounsfield = numpy.arange(-1000, 1048, 32)
    assert (got[hounsfield <= -160] == 0).all() and (got[hounsfield >= 240] == 255).all() and 110 < got[numpy.abs(hounsfield - 40).argmin()] < 145


def test_a_colour_profile_goes_along(web, filled):
    d = pixels.colour("RGB")
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    import PIL.ImageCms
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    d.ICCProfile = profile + b"\0" * (len(profile) % 2)
    path = filled.add(d)
    carried = lambda query: PIL.Image.open(io.BytesIO(web.ask(f"{path}/rendered{query}", "image/jpeg").body)).info.get("icc_profile")
    assert carried("").rstrip(b"\0") == profile.rstrip(b"\0") and carried("?iccprofile=yes") and carried("?iccprofile=no") is None
    for value in ("srgb", "maybe"):
        web.problem(400, f"{path}/rendered?iccprofile={value}")
