"""Python's dicomweb-client against both roots."""
import io
import urllib.request

import numpy
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from test_dimse import run


@pytest.fixture()
def filled(node, phantoms):
    for name in ("CtHead", "Chest", "LookAlike"):
        code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port), str(phantoms / name))
        assert code == 0, said
    for study in node.json("/dicom-web/studies"):
        node.judged(study["0020000D"]["Value"][0])
    return node


def test_search_retrieve_and_store(filled, phantoms):
    house = DICOMwebClient(f"{filled.http}/dicom-web")
    studies = house.search_for_studies(search_filters={"PatientID": "HT0002"})
    assert len(studies) == 1
    study = studies[0]["0020000D"]["Value"][0]
    series = house.search_for_series(study)
    originals = [s for s in series if s["00201209"]["Value"][0] == 30 and "[" not in s["0008103E"]["Value"][0]]
    uid = originals[0]["0020000E"]["Value"][0]
    files = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, sorted((phantoms / "CtHead").iterdir()))}
    got = house.retrieve_series(study, uid)
    assert len(got) == 30
    for one in got:
        assert one.PixelData == files[str(one.SOPInstanceUID)].PixelData
    instance = str(got[0].SOPInstanceUID)
    frames = house.retrieve_instance_frames(study, uid, instance, [1])
    assert frames[0] == files[instance].PixelData
    metadata = house.retrieve_instance_metadata(study, uid, instance)
    assert metadata["00100010"]["Value"][0]["Ideographic"] == "王^小东"
    # Everything the file says is in the metadata, bulk data by URI.
    told = {f"{e.tag:08X}" for e in files[instance]}
    assert told <= set(metadata), told - set(metadata)
    assert house.retrieve_instance_rendered(study, uid, instance, media_types=("image/png",))[:4] == b"\x89PNG"
    answer = house.store_instances(list(files.values())[:2])
    assert len(answer.ReferencedSOPSequence) == 2


def test_all_that_the_client_can_do(filled, phantoms):
    house = DICOMwebClient(f"{filled.http}/dicom-web")
    study = house.search_for_studies(search_filters={"PatientID": "HT0002"}, fields=["StudyDescription"], limit=1)[0]["0020000D"]["Value"][0]
    assert house.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "wang xiaodong"})
    assert len(house.search_for_studies(get_remaining=True, limit=1)) == 3
    series = house.search_for_series(study, search_filters={"Modality": "CT"})[0]["0020000E"]["Value"][0]
    instances = house.search_for_instances(study, series, fields=["00280010"], get_remaining=True)
    assert len(instances) == 30 and len(house.search_for_instances(study)) == 60
    uid = instances[0]["00080018"]["Value"][0]
    for metadata, count in ((house.retrieve_study_metadata(study), 60), (house.retrieve_series_metadata(study, series), 30)):
        assert len(metadata) == count and all("7FE00010" in m for m in metadata)
    one = house.retrieve_instance(study, series, uid)
    uri = house.retrieve_instance_metadata(study, series, uid)["7FE00010"]["BulkDataURI"]
    assert house.retrieve_bulkdata(uri)[0] == one.PixelData
    assert b"".join(next(iter(house.iter_bulkdata(uri))) for _ in range(1)) == one.PixelData
    assert len(list(house.iter_study(study))) == 60 and len(list(house.iter_series(study, series))) == 30
    assert list(house.iter_instance_frames(study, series, uid, [1])) == [one.PixelData]
    for media, start in (("image/png", b"\x89PNG"), ("image/jpeg", b"\xff\xd8"), ("image/gif", b"GIF8"), ("image/jp2", b"\0\0\0\x0cjP")):
        assert house.retrieve_instance_frames_rendered(study, series, uid, [1], media_types=(media,)).startswith(start)
    got = house.retrieve_instance_rendered(study, series, uid, media_types=("image/png",), params={"window": "40,80,linear", "viewport": "64,64"})
    assert got.startswith(b"\x89PNG")
    compressed = house.retrieve_instance_frames(study, series, uid, [1], media_types=(("image/jls", "1.2.840.10008.1.2.4.80"),))
    assert compressed[0].startswith(b"\xff\xd8")
    assert len(house.store_instances([one]).ReferencedSOPSequence) == 1


def test_another_hospital_sees_marked_copies_only(filled):
    peer = DICOMwebClient(f"{filled.http}/exchange/dicom-web")
    studies = peer.search_for_studies()
    names = {s["00100020"]["Value"][0] for s in studies}
    assert names == {"HT0001", "HT0002"}, names
    for study in studies:
        got = peer.retrieve_study(study["0020000D"]["Value"][0])
        assert got
        for one in got:
            assert one.ImageType[0] == "DERIVED" and one.BurnedInAnnotation == "YES"
            corner = one.pixel_array[: one.Rows // 8, one.Columns // 2:]
            assert numpy.ptp(corner) > 0


def test_everything_outside_the_mark_is_bit_identical(filled):
    house = DICOMwebClient(f"{filled.http}/dicom-web")
    peer = DICOMwebClient(f"{filled.http}/exchange/dicom-web")
    for study in peer.search_for_studies():
        uid = study["0020000D"]["Value"][0]
        originals = {str(d.SOPInstanceUID): d for d in house.retrieve_study(uid)}
        for marked in peer.retrieve_study(uid):
            source = originals[str(marked.SourceImageSequence[0].ReferencedSOPInstanceUID)]
            before, after = source.pixel_array, marked.pixel_array
            changed = numpy.argwhere(before != after)
            assert len(changed) > 100
            assert changed[:, 0].max() < source.Rows / 8 and changed[:, 1].min() > source.Columns / 2


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"])
def test_objects_come_in_any_lossless_syntax_that_is_asked_for(filled, phantoms, syntax):
    house = DICOMwebClient(f"{filled.http}/dicom-web")
    study = house.search_for_studies(search_filters={"PatientID": "HT0002"})[0]["0020000D"]["Value"][0]
    original = pydicom.dcmread(next((phantoms / "CtHead").iterdir()))
    # The client itself knows no HTJ2K.
    url = f"{filled.http}/dicom-web/studies/{study}/series/{original.SeriesInstanceUID}/instances/{original.SOPInstanceUID}"
    asked = urllib.request.Request(url, headers={"Accept": f"application/dicom; transfer-syntax={syntax}"})
    got = pydicom.dcmread(io.BytesIO(urllib.request.urlopen(asked).read()))
    assert got.file_meta.TransferSyntaxUID == syntax and got["PixelData"].is_undefined_length
    assert (got.pixel_array == original.pixel_array).all()
    assert got.SOPInstanceUID == original.SOPInstanceUID


def test_a_lossy_or_unknown_syntax_is_not_made(filled):
    house = DICOMwebClient(f"{filled.http}/dicom-web")
    study = house.search_for_studies(search_filters={"PatientID": "HT0002"})[0]["0020000D"]["Value"][0]
    with pytest.raises(Exception, match="406"):
        house.retrieve_study(study, media_types=(("application/dicom", "1.2.840.10008.1.2.4.50"),))
