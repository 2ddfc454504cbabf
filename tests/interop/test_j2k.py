"""JPEG 2000 in the many ways OpenJPEG can write it (by Pillow): `hutong check` takes every one for whole, finds what was written over, and
tells layers that were left out of a stream that calls itself lossless."""
import io
import itertools
import json
import subprocess

import numpy
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate

from conftest import PROGRAM

WAYS = list(itertools.product(
    ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL"), (False, True), (None, (100, 130)), (None, (64, 64), (128, 256)), ((64, 64), (32, 16)), (1, 6)))
# Every way is written in its turn; together they meet every pair of options.
TAKEN = WAYS[::7] + WAYS[3::11]


def picture():
    rng = numpy.random.default_rng(4)
    y, x = numpy.mgrid[0:300, 0:260]
    body = numpy.hypot(x - 130, y - 150) < 110
    return (numpy.where(body, 1040 + 200 * numpy.sin(x / 9) * numpy.cos(y / 13), 24) + rng.normal(0, 12, x.shape)).clip(0, 4095).astype("uint16")


def stream(way, **more):
    progression, irreversible, tile, precinct, block, resolutions = way
    options = {"progression": progression, "irreversible": irreversible, "codeblock_size": block, "num_resolutions": resolutions, "no_jp2": True}
    options |= {"tile_size": tile} if tile else {}
    options |= {"precinct_size": precinct} if precinct else {}
    out = io.BytesIO()
    Image.fromarray(picture()).save(out, "JPEG2000", **options | more)
    return out.getvalue()


def judged(folder, streams, syntax):
    """The findings about each of the streams, by its place."""
    for n, data in enumerate(streams):
        d = pydicom.dcmread(folder.parent / "one.dcm") if (folder.parent / "one.dcm").exists() else image(folder.parent)
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{n + 1}"
        # A series each: of one series the same fault is told once.
        d.SeriesInstanceUID = f"1.2.3.2.{n + 1}"
        d.file_meta.TransferSyntaxUID = syntax
        d.PixelData = encapsulate([data])
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
        folder.mkdir(exist_ok=True)
        d.save_as(folder / f"{n:03}.dcm", enforce_file_format=True)
    done = subprocess.run([PROGRAM, "check", "--json", folder], capture_output=True, text=True, timeout=240)
    studies = json.loads(done.stdout)
    studies = studies if isinstance(studies, list) else studies["studies"]
    found = [[] for _ in streams]
    for finding in (f for study in studies for f in study["findings"]):
        if finding["check"] in ("G-01", "G-16") and finding["instance"]:
            found[int(finding["instance"].rsplit(".", 1)[1]) - 1].append(finding)
    return found


def image(folder):
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = pydicom.uid.CTImageStorage
    d.SOPInstanceUID, d.StudyInstanceUID, d.SeriesInstanceUID = "1.2.3.4.1", "1.2.3.1", "1.2.3.2"
    d.Modality, d.PatientID, d.PatientName, d.StudyDate, d.LossyImageCompression = "CT", "P1", "Wang^Li", "20260310", "00"
    d.ImageOrientationPatient, d.PixelSpacing, d.SliceThickness = [1, 0, 0, 0, 1, 0], [1, 1], 5
    d.RescaleSlope, d.RescaleIntercept = 1, -1024
    d.Rows, d.Columns = picture().shape
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
    d.BitsAllocated, d.BitsStored, d.HighBit = 16, 16, 15
    d.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000
    d.PixelData = encapsulate([b"\0"])
    d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
    d.save_as(folder / "one.dcm", enforce_file_format=True)
    return d


def test_every_way_of_writing_is_whole(tmp_path):
    streams = [stream(way) for way in TAKEN]
    found = judged(tmp_path / "whole", streams, pydicom.uid.JPEG2000)
    assert [(way, f) for way, found in zip(TAKEN, found) for f in found if f["check"] == "G-01"] == []


@pytest.mark.parametrize("tame", [False, True])
def test_what_was_written_over_is_found(tmp_path, tame):
    rng = numpy.random.default_rng(3)

    def spoilt(data):
        data = bytearray(data)
        begin, end = len(data) // 4, len(data) * 3 // 4
        with_ = rng.integers(0, 256, end - begin, dtype=numpy.uint8)
        if tame:
            with_[with_ == 255] = 0
        data[begin:end] = with_.tobytes()
        return bytes(data)

    # One packet for the whole of a picture holds nothing by which bytes that could be there are told.
    ways = [way for way in TAKEN if not tame or way[5] > 1]
    found = judged(tmp_path / "spoilt", [spoilt(stream(way)) for way in ways], pydicom.uid.JPEG2000)
    missed = [way for way, found in zip(ways, found) if not any(f["check"] == "G-01" and f["level"] == "reject" for f in found)]
    assert missed == []


def test_layers_left_out_of_a_lossless_stream_are_told(tmp_path):
    ways = [way for way in TAKEN if not way[1] and way[5] > 1]
    lossy = [stream(way, quality_mode="rates", quality_layers=[20, 8]) for way in ways]
    whole = [stream(way, quality_mode="rates", quality_layers=[20, 8, 0]) for way in ways]
    for name, streams, expected in (("lossy", lossy, True), ("whole", whole, False)):
        found = judged(tmp_path / name, streams, pydicom.uid.JPEG2000Lossless)
        told = [any(f["check"] == "G-16" and f["level"] == "reject" for f in found) for found in found]
        assert [way for way, told in zip(ways, told) if told != expected] == [], name
        assert not any(f["check"] == "G-01" for found in found for f in found), name
