"""Objects that refer to marked images: in the exchange view they refer to the copies."""
import io
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from pydicom.sequence import Sequence
from pynetdicom import AE

from conftest import Node
from test_dimse import run
from test_objects import faults, fetch


def sent(node, folder, *objects):
    """Sends objects by storescu, each in its syntax; the study as it is judged then."""
    folder.mkdir()
    for n, d in enumerate(objects):
        d.save_as(folder / f"{n:03}.dcm", enforce_file_format=True)
    done, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "-R", "127.0.0.1", str(node.port), str(folder))
    assert done == 0, said
    return node.judged(objects[0].StudyInstanceUID)


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def of_study(image, sop_class, modality, name):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[name])
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                    "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName", "InstitutionName"):
        if keyword in image:
            setattr(d, keyword, image[keyword].value)
    d.SOPClassUID, d.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    d.SeriesInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[name, "series"])
    d.Modality, d.SeriesNumber, d.InstanceNumber, d.Manufacturer = modality, 77, 1, "TEST"
    return d


def reference(image):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


def key_objects(images):
    d = of_study(images[0], "1.2.840.10008.5.1.4.1.1.88.59", "KO", "ko")
    d.ContentDate, d.ContentTime = "20260310", "101500"
    d.ReferencedPerformedProcedureStepSequence = Sequence()
    d.ValueType, d.ContinuityOfContent = "CONTAINER", "SEPARATE"
    d.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    d.ContentTemplateSequence = [template]
    listed = Dataset()
    listed.SeriesInstanceUID = images[0].SeriesInstanceUID
    listed.ReferencedSOPSequence = [reference(i) for i in images]
    evidence = Dataset()
    evidence.StudyInstanceUID = images[0].StudyInstanceUID
    evidence.ReferencedSeriesSequence = [listed]
    d.CurrentRequestedProcedureEvidenceSequence = [evidence]
    d.ContentSequence = []
    for image in images:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
        item.ReferencedSOPSequence = [reference(image)]
        d.ContentSequence.append(item)
    return d


def presentation(images, name, rotation, area_to=None):
    d = of_study(images[0], "1.2.840.10008.5.1.4.1.1.11.1", "PR", name)
    d.ContentLabel, d.ContentDescription, d.ContentCreatorName = "TEST", "", ""
    d.PresentationCreationDate, d.PresentationCreationTime = "20260310", "101500"
    listed = Dataset()
    listed.SeriesInstanceUID = images[0].SeriesInstanceUID
    listed.ReferencedImageSequence = [reference(i) for i in images]
    d.ReferencedSeriesSequence = [listed]
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = area_to or [images[0].Columns, images[0].Rows]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    d.DisplayedAreaSelectionSequence = [area]
    if rotation:
        d.ImageHorizontalFlip, d.ImageRotation = "N", rotation
    d.PresentationLUTShape = "IDENTITY"
    return d


def drawn_over(state, *points):
    """The state with a line along points, columns and rows from 1."""
    line = Dataset()
    line.GraphicAnnotationUnits, line.GraphicDimensions, line.GraphicType, line.GraphicFilled = "PIXEL", 2, "POLYLINE", "N"
    line.NumberOfGraphicPoints, line.GraphicData = len(points) // 2, [float(p) for p in points]
    annotation, layer = Dataset(), Dataset()
    annotation.GraphicLayer, annotation.GraphicObjectSequence = "LINES", [line]
    layer.GraphicLayer, layer.GraphicLayerOrder = "LINES", 1
    state.GraphicAnnotationSequence, state.GraphicLayerSequence = [annotation], [layer]
    return state


def segmentation(images, sop_class="1.2.840.10008.5.1.4.1.1.66.4"):
    d = of_study(images[0], sop_class, "SEG", f"seg {sop_class}")
    listed = Dataset()
    listed.SeriesInstanceUID = images[0].SeriesInstanceUID
    listed.ReferencedInstanceSequence = [reference(i) for i in images]
    d.ReferencedSeriesSequence = [listed]
    d.Rows, d.Columns, d.NumberOfFrames = images[0].Rows, images[0].Columns, len(images)
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
    d.BitsAllocated, d.BitsStored, d.HighBit = 1, 1, 0
    d.PerFrameFunctionalGroupsSequence = []
    for image in images:
        derivation, groups = Dataset(), Dataset()
        derivation.SourceImageSequence = [reference(image)]
        groups.DerivationImageSequence = [derivation]
        d.PerFrameFunctionalGroupsSequence.append(groups)
    d.PixelData = bytes(range(256)) * (len(images) * image.Rows * image.Columns // 8 // 256)
    d["PixelData"].VR = "OB"
    return d


def test_segmentations_and_objects_that_name_carried_ones_follow_too(node, phantoms, tmp_path):
    files = sorted((phantoms / "CtHead").glob("*.dcm"))
    images = [pydicom.dcmread(f, stop_before_pixels=True) for f in files[3:6]]
    folder = tmp_path / "send"
    folder.mkdir()
    for f in files[:-1]:
        (folder / f.name).write_bytes(f.read_bytes())
    state = presentation(images, "upright", 0)
    # Key objects that name a presentation state and an image that comes later.
    late = pydicom.dcmread(files[-1], stop_before_pixels=True)
    keys = key_objects([images[0], late])
    listed = Dataset()
    listed.SeriesInstanceUID, listed.ReferencedSOPSequence = state.SeriesInstanceUID, [reference(state)]
    keys.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.append(listed)
    cropped = presentation(images, "cropped", 0, [images[0].Columns // 2, images[0].Rows // 2])
    width, height = images[0].Columns, images[0].Rows
    drawn_over(state, 0.3 * width, 0.5 * height, 0.4 * width, 0.6 * height)
    covering = drawn_over(presentation(images, "covering", 0), 0.5 * width, 0.5 * height, 0.95 * width, 0.03 * height)
    # A table that makes one grey of all shades.
    flat = presentation(images, "flat", 0)
    if "PresentationLUTShape" in flat:
        del flat.PresentationLUTShape
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 10], (512).to_bytes(2, "little") * 256
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    flat.PresentationLUTSequence = [table]
    labels = segmentation(images, "1.2.840.10008.5.1.4.1.1.66.7")
    labels.BitsAllocated = labels.BitsStored = 8
    labels.HighBit, labels.PixelData = 7, bytes(len(images) * images[0].Rows * images[0].Columns)
    surface = segmentation(images, "1.2.840.10008.5.1.4.1.1.66.5")
    del surface.PixelData
    sources = {"seg": segmentation(images), "labels": labels, "surface": surface, "state": state, "keys": keys, "cropped": cropped,
               "covering": covering, "flat": flat}
    for name, d in sources.items():
        # DCMTK knows no label maps.
        where = folder if name != "labels" else tmp_path
        d.save_as(where / f"zz_{name}.dcm", enforce_file_format=True)

    def send(what):
        done, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "-R", "127.0.0.1", str(node.port), str(what))
        assert done == 0, said
        return node.judged(images[0].StudyInstanceUID)

    def shown():
        rows = node.json(f"/exchange/dicom-web/studies/{images[0].StudyInstanceUID}/instances")
        return [pydicom.dcmread(io.BytesIO(fetch(row["00081190"]["Value"][0]))) for row in rows]

    send(folder)
    ae = AE(ae_title="STORESCU")
    ae.add_requested_context(labels.SOPClassUID, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG")
    assert association.send_c_store(tmp_path / "zz_labels.dcm").Status == 0
    association.release()
    last = tmp_path / "late"
    last.mkdir()
    (last / files[-1].name).write_bytes(files[-1].read_bytes())
    judged = send(last)
    assert judged["verdict"]["outcome"] == "accept", judged["verdict"]
    left_out = [f["instance"] for f in judged["verdict"]["findings"] if f["check"] == "REFERENCE_LEFT_OUT"]
    assert sorted(left_out) == sorted(str(d.SOPInstanceUID) for d in (cropped, covering, flat))
    view = shown()
    copies = {c.SourceImageSequence[0].ReferencedSOPInstanceUID: c for c in view if c.Modality == "CT"}
    assert len(copies) == len(files)
    segs, (pr,), (ko,) = ([c for c in view if c.Modality == m] for m in ("SEG", "PR", "KO"))
    wanted = [copies[i.SOPInstanceUID].SOPInstanceUID for i in images]
    segs = {str(seg.SOPClassUID)[-4:]: seg for seg in segs}
    assert set(segs) == {"66.4", "66.5", "66.7"}
    for seg in segs.values():
        (listed,) = seg.ReferencedSeriesSequence
        assert [r.ReferencedSOPInstanceUID for r in listed.ReferencedInstanceSequence] == wanted
        assert listed.SeriesInstanceUID == copies[images[0].SOPInstanceUID].SeriesInstanceUID
        frames = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in seg.PerFrameFunctionalGroupsSequence]
        assert [f.ReferencedSOPInstanceUID for f in frames] == wanted
    assert segs["66.4"].PixelData == sources["seg"].PixelData and segs["66.4"].BitsAllocated == 1
    assert segs["66.7"].PixelData == labels.PixelData and "PixelData" not in segs["66.5"]
    named = {r.ReferencedSOPInstanceUID for s in ko.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
             for r in s.ReferencedSOPSequence}
    assert named == {copies[images[0].SOPInstanceUID].SOPInstanceUID, copies[late.SOPInstanceUID].SOPInstanceUID, pr.SOPInstanceUID}


def report(images, name, text, verified):
    d = of_study(images[0], "1.2.840.10008.5.1.4.1.1.88.11", "SR", name)
    d.ContentDate, d.ContentTime = "20260310", "110000"
    d.ReferencedPerformedProcedureStepSequence = Sequence()
    d.ValueType, d.ContinuityOfContent = "CONTAINER", "SEPARATE"
    d.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging report")]
    d.CompletionFlag, d.VerificationFlag = "COMPLETE", "VERIFIED" if verified else "UNVERIFIED"
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = [code("121071", "DCM", "Finding")]
    d.ContentSequence = [item]
    return d


def until_code(node, study, code):
    for _ in range(100):
        verdict = node.judged(study)["verdict"]
        if code in {f["check"] for f in verdict["findings"]}:
            return verdict
        time.sleep(0.2)
    raise AssertionError(verdict["findings"])


def test_a_region_that_wants_a_verified_report_waits_for_it_and_offers_it(tmp_path, phantoms):
    procedures = tmp_path / "procedures"
    shutil.copytree(Path(__file__).parents[2] / "procedures", procedures)
    region = procedures / "yubei-2023/region.toml"
    region.write_text(region.read_text(encoding="utf-8").replace("validity_months = 3", 'validity_months = 3\nreport = "verified"'), encoding="utf-8")
    (tmp_path / "hutong.toml").write_text(f'[procedures]\nroot = "{procedures}"\n')
    node = Node(tmp_path)
    try:
        files = sorted((phantoms / "CtHead").glob("*.dcm"))
        images = [pydicom.dcmread(f) for f in files]
        study = images[0].StudyInstanceUID

        def send(name, *objects):
            return sent(node, tmp_path / name, *objects)["verdict"]

        codes = lambda verdict: {f["check"] for f in verdict["findings"]}
        verdict = send("images", *images)
        assert verdict["outcome"] == "review" and "REPORT_MISSING" in codes(verdict)
        # By the API, as text: first without, then with somebody who verified it.
        (tmp_path / "api").mkdir()
        study_url = f"{node.http}/api/v1/studies/{study}/reports"

        def told(body):
            request = urllib.request.Request(study_url, data=json.dumps(body).encode(), method="POST", headers={"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as e:
                return e.code, json.loads(e.read())

        assert told({"findings": " "})[0] == 400 and told({"text": "x"})[0] == 400
        status, made = told({"findings": "脑实质未见异常密度影", "impression": "头颅CT平扫未见异常"})
        assert status == 201 and told({"findings": "脑实质未见异常密度影", "impression": "头颅CT平扫未见异常"}) == (200, made)
        until_code(node, study, "REPORT_UNVERIFIED")
        stored = pydicom.dcmread(io.BytesIO(fetch(f"{node.http}/dicom-web/studies/{study}/series/"
                                                  + node.json(f"/dicom-web/studies/{study}/instances?SOPInstanceUID={made['instance']}")[0]["0020000E"]["Value"][0]
                                                  + f"/instances/{made['instance']}")))
        assert [i.TextValue for i in stored.ContentSequence] == ["脑实质未见异常密度影", "头颅CT平扫未见异常"] and stored.PatientID == images[0].PatientID
        named = [r.ReferencedSOPInstanceUID for s in stored.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence for r in s.ReferencedSOPSequence]
        assert sorted(named) == sorted(i.SOPInstanceUID for i in images)
        stored.save_as(tmp_path / "api/report.dcm", enforce_file_format=True)
        assert not faults(tmp_path / "api/report.dcm")
        assert told({"findings": "x", "verified": {"by": "", "organization": "T1"}})[0] == 400
        first = report(images, "first", "头颅未见异常", False)
        verdict = send("draft", first)
        assert verdict["outcome"] == "review" and "REPORT_UNVERIFIED" in codes(verdict)
        second = report(images, "second", "头颅未见异常", True)
        assert send("final", second)["outcome"] == "accept"
        shown = [pydicom.dcmread(io.BytesIO(fetch(row["00081190"]["Value"][0])))
                 for row in node.json(f"/exchange/dicom-web/studies/{study}/instances?Modality=SR")]
        # Drafts stay behind.
        assert [(r.VerificationFlag, r.ContentSequence[0].TextValue) for r in shown] == [("VERIFIED", "头颅未见异常")]
        bundle = node.json(f"/exchange/fhir/DiagnosticReport?identifier=urn:dicom:uid%7Curn:oid:{study}", accept="application/fhir+json")
        resources = [DiagnosticReport.model_validate(e["resource"]) for e in bundle["entry"]]
        assert sorted(r.status for r in resources) == ["final"]
        final = [e["resource"] for e in bundle["entry"] if e["resource"]["status"] == "final"][0]
        assert pydicom.dcmread(io.BytesIO(fetch(final["presentedForm"][0]["url"]))).VerificationFlag == "VERIFIED"
        assert node.json(f"/exchange/fhir/DiagnosticReport/{final['id']}", accept="application/fhir+json") == final
        status, made = told({"findings": "复核：未见异常", "verified": {"by": "Li^Si=李^四", "organization": "第一人民医院"}})
        assert status == 201
        (row,) = node.json(f"/dicom-web/studies/{study}/instances?SOPInstanceUID={made['instance']}")
        checked = pydicom.dcmread(io.BytesIO(fetch(row["00081190"]["Value"][0])))
        assert checked.VerificationFlag == "VERIFIED" and str(checked.VerifyingObserverSequence[0].VerifyingObserverName) == "Li^Si=李^四"
        checked.save_as(tmp_path / "api/verified.dcm", enforce_file_format=True)
        assert not faults(tmp_path / "api/verified.dcm")
    finally:
        node.stop()


def test_what_comes_later_is_named_and_what_cannot_be_marked_takes_the_copies_away(node, phantoms, tmp_path):
    files = sorted((phantoms / "CtHead").glob("*.dcm"))
    images = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    state = presentation(images[3:6], "later", 0)
    keys = key_objects([images[3]])
    listed = Dataset()
    listed.SeriesInstanceUID, listed.ReferencedSOPSequence = state.SeriesInstanceUID, [reference(state)]
    keys.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.append(listed)

    def send(name, *objects):
        return sent(node, tmp_path / name, *objects)

    def shown():
        rows = node.json(f"/exchange/dicom-web/studies/{images[0].StudyInstanceUID}/instances")
        return rows, [pydicom.dcmread(io.BytesIO(fetch(row["00081190"]["Value"][0]))) for row in rows]

    def withdrawals():
        lines = (node.place / "storage/journal.jsonl").read_text().splitlines()
        return [line for line in lines if '"withdrawn"' in line.lower() and str(images[0].StudyInstanceUID) in line]

    before = len(withdrawals())
    assert send("first", *(pydicom.dcmread(f) for f in files), keys)["verdict"]["outcome"] == "accept"
    # A window under which nothing can be told apart, the mark neither.
    black = presentation(images[3:6], "black", 0)
    window = Dataset()
    window.WindowCenter, window.WindowWidth = 30000, 2
    black.SoftcopyVOILUTSequence = [window]
    judged = send("second", state, black)
    left_out = [f for f in judged["verdict"]["findings"] if f["check"] == "REFERENCE_LEFT_OUT"]
    assert [f["instance"] for f in left_out] == [str(black.SOPInstanceUID)] and "window" in left_out[0]["en"], left_out
    rows, view = shown()
    assert len(withdrawals()) == before, "what another object takes the place of is not withdrawn"
    # What was carried over is known when somebody sends it back, under whatever name.
    (carried,) = (c for c in view if c.Modality == "KO")
    carried.SOPInstanceUID = carried.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    assert any(f["check"] == "COPIES_RETURNED" for f in send("returned", carried)["verdict"]["findings"])
    rows, view = shown()
    (pr,), (ko,) = ([c for c in view if c.Modality == m] for m in ("PR", "KO"))
    named = {r.ReferencedSOPInstanceUID for s in ko.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
             for r in s.ReferencedSOPSequence}
    assert pr.SOPInstanceUID in named and state.SOPInstanceUID not in named
    # An image of the series on which no mark can be seen: all copies go, and whoever asks is told so.
    closed = pydicom.dcmread(files[5])
    closed.SOPInstanceUID = closed.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    closed.ImagePositionPatient = [*closed.ImagePositionPatient[:2], closed.ImagePositionPatient[2] + 0.1]
    closed.InstanceNumber = 99
    closed.ShutterShape, closed.CenterOfCircularShutter, closed.RadiusOfCircularShutter = "CIRCULAR", [10, 10], 4
    assert send("third", closed)["verdict"]["outcome"] != "accept"
    with pytest.raises(urllib.error.HTTPError) as gone:
        fetch(rows[0]["00081190"]["Value"][0])
    assert gone.value.code == 410
    journal = (node.place / "storage/journal").read_text() if (node.place / "storage/journal").is_file() else "".join(
        p.read_text() for p in sorted((node.place / "storage").rglob("*journal*")) if p.is_file())
    assert '"withdrawn"' in journal.lower()


def test_key_objects_and_presentation_states_name_the_copies(node, phantoms, tmp_path):
    files = sorted((phantoms / "CtHead").glob("*.dcm"))
    images = [pydicom.dcmread(f, stop_before_pixels=True) for f in files[3:6]]
    folder = tmp_path / "send"
    folder.mkdir()
    for f in files:
        (folder / f.name).write_bytes(f.read_bytes())
    sources = {"ko": key_objects(images), "upright": presentation(images, "upright", 0), "turned": presentation(images, "turned", 90)}
    for name, d in sources.items():
        d.save_as(folder / f"zz_{name}.dcm", enforce_file_format=True)
    done, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "-R", "127.0.0.1", str(node.port), str(folder))
    assert done == 0, said
    study = images[0].StudyInstanceUID
    judged = node.judged(study)
    assert judged["verdict"]["outcome"] == "accept", judged["verdict"]
    left_out = [f for f in judged["verdict"]["findings"] if f["check"] == "REFERENCE_LEFT_OUT"]
    assert [f["instance"] for f in left_out] == [str(sources["turned"].SOPInstanceUID)]
    assert "rotates" in left_out[0]["en"]
    shown = [pydicom.dcmread(io.BytesIO(fetch(row["00081190"]["Value"][0])))
             for row in node.json(f"/exchange/dicom-web/studies/{study}/instances")]
    copies = {c.SourceImageSequence[0].ReferencedSOPInstanceUID: c for c in shown if "PixelData" in c}
    assert len(copies) == len(files)
    others = {c.Modality: c for c in shown if "PixelData" not in c}
    assert set(others) == {"KO", "PR"}, others.keys()
    wanted = {copies[i.SOPInstanceUID].SOPInstanceUID for i in images}
    series = copies[images[0].SOPInstanceUID].SeriesInstanceUID
    (listed,) = others["KO"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == series and {r.ReferencedSOPInstanceUID for r in listed.ReferencedSOPSequence} == wanted
    assert {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in others["KO"].ContentSequence} == wanted
    (listed,) = others["PR"].ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == series and {r.ReferencedSOPInstanceUID for r in listed.ReferencedImageSequence} == wanted
    # Nothing in the exchange view names an original but as the source of a copy.
    originals = {str(pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in files}
    for c in others.values():
        assert not originals & {str(e.value) for e in c.iterall() if e.VR == "UI"}
    for modality, source in (("KO", "ko"), ("PR", "upright")):
        (tmp_path / "copy.dcm").write_bytes(b"")
        others[modality].save_as(tmp_path / "copy.dcm", enforce_file_format=True)
        assert not faults(tmp_path / "copy.dcm") - faults(folder / f"zz_{source}.dcm")
    # Originals stay as they were sent.
    ko = sources["ko"]
    house = node.json(f"/dicom-web/studies/{study}/instances?SOPInstanceUID={ko.SOPInstanceUID}")
    again = pydicom.dcmread(io.BytesIO(fetch(house[0]["00081190"]["Value"][0])))
    assert again.CurrentRequestedProcedureEvidenceSequence == ko.CurrentRequestedProcedureEvidenceSequence


def test_a_video_beside_the_slices_stays_behind_and_the_slices_are_offered(node, phantoms, tmp_path):
    images = [pydicom.dcmread(f) for f in sorted((phantoms / "CtHead").glob("*.dcm"))]
    video = pydicom.dcmread(sorted((phantoms / "CtHead").glob("*.dcm"))[4])
    video.SOPInstanceUID = video.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    video.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    video.PixelData = pydicom.encaps.encapsulate([bytes(4096)])
    video["PixelData"].VR, video["PixelData"].is_undefined_length = "OB", True
    step = images[1].ImagePositionPatient[2] - images[0].ImagePositionPatient[2]
    video.ImagePositionPatient = [*images[0].ImagePositionPatient[:2], max((i.ImagePositionPatient[2] for i in images)) + abs(step)]
    video.InstanceNumber = len(images) + 1
    ae = AE(ae_title="STORESCU")
    ae.add_requested_context(video.SOPClassUID, video.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG")
    assert association.send_c_store(video).Status == 0x0000
    association.release()
    study = images[0].StudyInstanceUID
    sent(node, tmp_path / "slices", *images)
    shown = []
    for _ in range(100):
        shown = node.json(f"/exchange/dicom-web/studies/{study}/instances")
        if len(shown) == len(images):
            break
        time.sleep(0.2)
    assert len(shown) == len(images), node.judged(study)
    got = node.judged(study)["verdict"]
    told = [f for f in got["findings"] if f.get("instance") == video.SOPInstanceUID]
    assert {(f["check"], f["level"]) for f in told} >= {("G-01", "info"), ("NOT_MARKED", "info")}, told
    assert got["outcome"] == "accept", got["findings"]
