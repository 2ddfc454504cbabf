"""Faults put into whole examinations of items: a head in CT, a knee in MR made of one real series thrice, a chest of two views. Each must be named
and keep the item from being accepted as it was."""
import copy
import glob
import json
import subprocess

import numpy
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import generate_uid

from conftest import PROGRAM
from test_faults import HEAD, KNEE, check, load, put


def renamed(images, series, description, **values):
    """Copies as a series of their own."""
    images = copy.deepcopy(images)
    for d in images:
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        d.SeriesInstanceUID, d.SeriesDescription = series, description
        for key, value in values.items():
            setattr(d, key, value)
    return images


@pytest.fixture(scope="module")
def knee(shared):
    """Sagittal T1, sagittal T2 and coronal PD, pixels changed a little so that none is another's copy."""
    whole = load(glob.glob(str(shared / "data/series" / KNEE / "*")), "右膝关节MRI平扫")
    for d in whole:
        d.Laterality, d.BodyPartExamined, d.ProtocolName = "R", "KNEE", "knee"
        d.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    rng = numpy.random.default_rng(2)
    t1 = renamed(whole, "1.2.9.1", "SAG T1", RepetitionTime="600", EchoTime="12", ScanOptions="")
    t2 = renamed(whole, "1.2.9.2", "SAG T2 FS", RepetitionTime="4000", EchoTime="85", ScanOptions="FS")
    pd = renamed(whole, "1.2.9.3", "COR PD FS", RepetitionTime="2800", EchoTime="30", ScanOptions="FS")
    for n, d in enumerate(pd):
        d.ImageOrientationPatient, d.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [-80, -60 + 4 * n, 80]
        d.SliceThickness = d.SpacingBetweenSlices = 4
    for d in t2 + pd:
        put(d, numpy.clip(d.pixel_array.astype(int) + rng.integers(0, 6, d.pixel_array.shape), 0, 4095))
    return t1 + t2 + pd


def ahead(images, name):
    return [d for d in images if d.SeriesDescription == name]


def plane_of_another(images):
    for d, like in zip(ahead(images, "COR PD FS"), ahead(images, "SAG T1")):
        d.ImageOrientationPatient, d.ImagePositionPatient = like.ImageOrientationPatient, like.ImagePositionPatient


def nothing_but_noise(images):
    rng = numpy.random.default_rng(5)
    for d in ahead(images, "SAG T2 FS"):
        put(d, numpy.hypot(rng.normal(0, 30, d.pixel_array.shape), rng.normal(0, 30, d.pixel_array.shape)).round())


def other_times(images):
    for d in ahead(images, "SAG T1")[:12]:
        d.RepetitionTime = "4000"


def pictures_of_another(images):
    for d, like in list(zip(ahead(images, "SAG T2 FS"), ahead(images, "SAG T1")))[:11]:
        d.PixelData = like.PixelData


@pytest.mark.parametrize("spoil,wanted,outcome", [
    (plane_of_another, None, "review"), (nothing_but_noise, ("C-18", "reject"), "reject"), (other_times, ("M-02", "review"), "review"),
    (pictures_of_another, ("G-06", "warn"), "accept"),
])
def test_faults_of_a_knee(knee, tmp_path, spoil, wanted, outcome):
    clean, before = check(knee, tmp_path / "x")
    assert before == "accept", clean
    images = copy.deepcopy(knee)
    spoil(images)
    found, after = check(images, tmp_path / "x")
    assert after == outcome and (wanted is None or wanted in found - clean), (found - clean, after)


@pytest.fixture(scope="module")
def head(shared):
    return load(glob.glob(str(shared / "data/series" / HEAD / "*")), "头颅CT平扫")


def run_length(images):
    for d in images:
        d.compress(pydicom.uid.RLELossless, generate_instance_uid=False)


def damaged(at, how):
    def spoil(images):
        run_length(images)
        d = images[14]
        data = bytearray(next(generate_frames(d.PixelData, number_of_frames=1)))
        how(data, int(len(data) * at))
        d.PixelData = encapsulate([bytes(data)])
    return spoil


def overwrite(count):
    def change(data, at):
        data[at : at + count] = numpy.random.default_rng(1).integers(0, 256, count, dtype=numpy.uint8).tobytes()
    return change


def insert(data, at):
    data[at:at] = bytes(range(200))


def fewer_rows(images):
    run_length(images)
    for d in images:
        d.Rows = 400


def fewer_columns(images):
    run_length(images)
    for d in images:
        d.Columns = 500


def beside(images):
    for d in images[14:]:
        x, y, z = map(float, d.ImagePositionPatient)
        d.ImagePositionPatient = [x + 12, y, z]


def beside_within(images):
    for d in images[5:14]:
        x, y, z = map(float, d.ImagePositionPatient)
        d.ImagePositionPatient = [x + 8, y, z]


def each(**values):
    def spoil(images):
        for d in images:
            for key, value in values.items():
                setattr(d, key, value)
    return spoil


def first_half(**values):
    return lambda images: each(**values)(images[:14])


def captured(images):
    each(SOPClassUID=pydicom.uid.SecondaryCaptureImageStorage)(images)
    for d in images:
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID


@pytest.mark.parametrize("spoil,wanted,outcome", [
    (damaged(0.2, overwrite(60_000)), "G-01 G-02", "reject"), (damaged(0.5, overwrite(2000)), "G-01 G-02", "reject"),
    (damaged(0.3, insert), "G-01 G-02", "reject"), (fewer_rows, "G-01", "reject"), (fewer_columns, "G-01", "reject"),
    (beside, "C-01", "review"), (beside_within, "C-01", "review"), (captured, "G-17", "reject"),
    (first_half(PatientPosition="FFS"), "SERIES_MIXED", "review"), (first_half(Manufacturer="Another", DeviceSerialNumber="9"), "SERIES_MIXED", "review"),
    (each(PatientID="TEST"), "G-09", "review"),
])
def test_faults_of_a_head(head, tmp_path, spoil, wanted, outcome):
    images = copy.deepcopy(head)
    spoil(images)
    found, after = check(images, tmp_path / "x")
    assert after == outcome and any(c in wanted.split() for c, _ in found), (found, after)


def test_run_lengths_of_a_whole_head_are_accepted(head, tmp_path):
    images = copy.deepcopy(head)
    run_length(images)
    found, outcome = check(images, tmp_path / "x")
    assert outcome == "accept" and not found, found


def test_a_dose_sheet_beside_a_head_rejects_nothing(head, tmp_path):
    sheet = renamed(head[:1], "1.2.7.7", "Dose Report", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])[0]
    sheet.SOPClassUID = sheet.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    page = numpy.zeros(sheet.pixel_array.shape, int)
    page[40:300:20, 30:400] = 3000
    put(sheet, page)
    found, outcome = check([*head, sheet], tmp_path / "x")
    assert outcome == "accept" and not {f for f in found if f[1] in ("reject", "review")}, (found, outcome)


def test_a_table_of_offsets_that_points_elsewhere_is_told(shared, tmp_path):
    d = pydicom.dcmread(next((shared / "data/enhanced").glob("*001.dcm")), force=True)
    frames = [bytes([n, 2 * n] * 40) for n in range(int(d.NumberOfFrames))]
    d.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless

    def told(pixels, **more):
        d.PixelData = pixels
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
        for key, value in more.items():
            setattr(d, key, value)
        (tmp_path / "t").mkdir(exist_ok=True)
        d.save_as(tmp_path / "t" / "1.dcm", enforce_file_format=True)
        ran = subprocess.run([PROGRAM, "check", "--json", tmp_path / "t"], capture_output=True, text=True)
        return any("offsets" in f["en"] for s in json.loads(ran.stdout)["studies"] for f in s["findings"])

    good = encapsulate(frames, has_bot=True)
    table = list(numpy.frombuffer(good[8 : 8 + 4 * len(frames)], "<u4"))
    assert not told(good) and not told(encapsulate(frames, has_bot=False))
    for wrong in (table[::-1], [table[1], table[0], *table[2:]], [t + 3 for t in table], [0] * len(table)):
        assert told(good[:8] + numpy.array(wrong, "<u4").tobytes() + good[8 + 4 * len(frames) :]), wrong
    pixels, offsets, lengths = encapsulate_extended(frames)
    swapped = numpy.frombuffer(offsets, "<u8")[::-1].tobytes()
    assert not told(pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    assert told(pixels, ExtendedOffsetTable=swapped, ExtendedOffsetTableLengths=lengths)


@pytest.fixture(scope="module")
def chest(shared):
    (d,) = load([shared / "data/dr/Chinlinlee__1000.dcm"], "胸部正侧位")
    return d


def test_a_copy_of_the_frontal_view_is_no_lateral_one(chest, tmp_path):
    lateral = copy.deepcopy(chest)
    lateral.SOPInstanceUID = lateral.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    lateral.InstanceNumber, lateral.ViewPosition = 2, "LL"
    found, outcome = check([chest, lateral], tmp_path / "x")
    assert ("G-06", "review") in found and outcome != "accept", (found, outcome)


@pytest.mark.parametrize("share", [50, 60, 70])
def test_a_radiograph_that_was_cut_off_below_is_told(chest, tmp_path, share):
    clean, _ = check([chest], tmp_path / "x")
    image = copy.deepcopy(chest)
    put(image, numpy.maximum(image.pixel_array, numpy.percentile(image.pixel_array, share)).astype(image.pixel_array.dtype))
    found, _ = check([image], tmp_path / "x")
    assert any(c == "X-07" and level in ("review", "reject") for c, level in found - clean), found - clean


def test_a_radiograph_without_or_with_another_scale_and_upside_down_is_told(chest, tmp_path):
    chest = copy.deepcopy(chest)
    chest.StudyDescription = "胸部正位"
    clean, _ = check([chest], tmp_path / "x")
    for values, wanted in (
        ({"ImagerPixelSpacing": [0.00017, 0.00017], "PixelSpacing": [0.00017, 0.00017]}, ("X-04", "review")),
        ({"PatientOrientation": ["L", "H"], "ViewPosition": "PA"}, ("X-13", "review")),
    ):
        image = copy.deepcopy(chest)
        each(**values)([image])
        found, _ = check([image], tmp_path / "x")
        assert wanted in found - clean, (values, found - clean)
