"""Python's dicomweb-client against both roots."""
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
