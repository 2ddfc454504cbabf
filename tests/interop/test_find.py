"""C-FIND with DCMTK's findscu and pynetdicom: levels, keys, character sets, cancelling."""
import datetime
import json
import os
import re

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelFind as PATIENT
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as STUDY

import pixels
from conftest import Node
from test_clauses import file_of
from test_dimse import run
from test_retrieve import peers
from web import Web


@pytest.fixture(scope="module")
def node(tmp_path_factory, phantoms):
    place = tmp_path_factory.mktemp("find")
    rights = {"rights": ["echo", "find"]}
    (place / "hutong.toml").write_text(peers({"aet": "ASKER", **rights}, {"aet": "FINDSCU", **rights}, {"aet": "OUTSIDE", "exchange": True}))
    names = {"HUTONG_DIMSE__UNKNOWN_CALLERS": json.dumps(["echo", "store"])}
    os.environ.update(names)
    try:
        made = Node(place)
    finally:
        for name in names:
            del os.environ[name]
    for name in ("CtHead", "Chest", "LookAlike"):
        code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(made.port), str(phantoms / name))
        assert code == 0, said
    web = Web(made.http)
    for n in range(300):
        d = pixels.fill(pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16), pixels.scene(16, 16, 0, 255))
        d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
        d.file_meta.MediaStorageSOPInstanceUID, d.PatientID, d.PatientName = d.SOPInstanceUID, f"MANY{n // 2:03}", f"Many^{n}=众^多"
        item = Dataset()
        item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS-{n}", f"RP-{n}"
        d.RequestAttributesSequence = [item]
        assert web.ask("/dicom-web/studies", method="POST", body=file_of(d), Content_Type="application/dicom").status == 200
    for study in made.json("/dicom-web/studies?PatientID=HT*"):
        made.judged(study["0020000D"]["Value"][0])
    yield made
    made.stop()


def find(node, model=STUDY, calling="ASKER", status_only=False, extended=b"", **keys):
    ae = AE(ae_title=calling)
    ae.add_requested_context(model)
    asked = SOPClassExtendedNegotiation()
    asked.sop_class_uid, asked.service_class_application_information = model, extended
    association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG", ext_neg=[asked] if extended else None)
    if not association.is_established:
        assert not association.accepted_contexts and association.rejected_contexts
        return None  # no context was accepted
    query = Dataset()
    if "SpecificCharacterSet" not in keys:
        query.SpecificCharacterSet = "ISO_IR 192"
    for name, value in keys.items():
        setattr(query, name, value)
    found, last = [], None
    for status, match in association.send_c_find(query, model):
        last = status
        if status and status.Status in (0xFF00, 0xFF01):
            found.append(match)
    association.release()
    assert status_only or last.Status == 0x0000, last
    return (found, last) if status_only else found


def test_findscu_of_dcmtk_at_every_level(node):
    for level, keys in (("STUDY", ("PatientID=HT0002", "StudyInstanceUID")), ("SERIES", ("PatientID=HT0002", "Modality=CT", "SeriesInstanceUID")),
                        ("IMAGE", ("PatientID=HT0002", "InstanceNumber=3", "SOPInstanceUID"))):
        arguments = [a for key in (f"QueryRetrieveLevel={level}", *keys) for a in ("-k", key)]
        for model in ("-S", "-P"):
            code, said = run("findscu", "-v", model, "-aet", "FINDSCU", "-aec", "HUTONG", "127.0.0.1", str(node.port), *arguments)
            assert code == 0 and "Success" in said and "HT0002" in said, said
    code, said = run("findscu", "-v", "-P", "-aet", "FINDSCU", "-aec", "HUTONG", "127.0.0.1", str(node.port), "-k", "QueryRetrieveLevel=PATIENT",
                     "-k", "PatientID=HT*", "-k", "PatientName")
    assert code == 0 and len(re.findall(r"PatientID", said)) >= 3, said
    # Numbers in the byte order that was agreed.
    for order in ("-xe", "-xb", "-xi"):
        code, said = run("findscu", "-d", "-S", order, "-aet", "FINDSCU", "-aec", "HUTONG", "127.0.0.1", str(node.port), "-k", "QueryRetrieveLevel=IMAGE",
                         "-k", "PatientID=HT0002", "-k", "InstanceNumber=3", "-k", "Rows")
        assert code == 0 and re.search(r"\(0028,0010\) US 512 ", said), said


def test_study_keys_and_what_is_counted(node):
    one, = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyInstanceUID="", ModalitiesInStudy="", NumberOfStudyRelatedSeries="",
                NumberOfStudyRelatedInstances="", PatientName="", StudyDate="", AccessionNumber="", RetrieveAETitle="", InstanceAvailability="")
    assert one.ModalitiesInStudy == "CT" and one.NumberOfStudyRelatedInstances == 60 and one.NumberOfStudyRelatedSeries == 2
    assert one.RetrieveAETitle == "HUTONG" and one.InstanceAvailability == "ONLINE" and one.QueryRetrieveLevel == "STUDY"
    assert "StudyTime" not in one and "PatientBirthDate" not in one, "only what was asked for"
    day = one.StudyDate
    ids = lambda **keys: {m.PatientID for m in find(node, QueryRetrieveLevel="STUDY", **{"PatientID": "", **keys})}
    assert ids(PatientName="王*") == ids(PatientName="wang^xiao*") == {"HT0002"}
    assert "HT0002" in ids(StudyDate=f"{day}-") and "HT0002" not in ids(StudyDate=f"{int(day) + 1}-")
    assert ids(StudyDate=f"{day}-{day}", StudyTime="000000-235959", PatientID="HT0002") == {"HT0002"}
    assert "HT0001" in ids(ModalitiesInStudy="DX", PatientID="HT*") and "HT0002" not in ids(ModalitiesInStudy="DX", PatientID="HT*")
    assert ids(StudyInstanceUID=[one.StudyInstanceUID, "1.2.3"]) == {"HT0002"}
    assert ids(PatientID="nobody") == set()


def test_series_images_and_items(node):
    study = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyInstanceUID="")[0].StudyInstanceUID
    series = find(node, QueryRetrieveLevel="SERIES", StudyInstanceUID=study, SeriesInstanceUID="", Modality="", NumberOfSeriesRelatedInstances="")
    assert [s.NumberOfSeriesRelatedInstances for s in series] == [30, 30]
    images = find(node, QueryRetrieveLevel="IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series[0].SeriesInstanceUID, SOPInstanceUID="",
                  InstanceNumber="", Rows="")
    assert len(images) == 30 and sorted(i.InstanceNumber for i in images) == list(range(1, 31)) and images[0].Rows > 0
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = "SPS-17", ""
    one, = find(node, QueryRetrieveLevel="SERIES", PatientID="", RequestAttributesSequence=[item])
    assert one.PatientID == "MANY008" and one.RequestAttributesSequence[0].RequestedProcedureID == "RP-17"


def test_names_match_by_group_and_fuzzily_with_wildcards(node):
    ids = lambda name, extended=b"": {m.PatientID for m in find(node, QueryRetrieveLevel="STUDY", PatientID="HT*", PatientName=name, extended=extended)}
    for name in ("=王*", "Wang^XiaoDong=王^小东", "王^*", "*dong", "?ang^XiaoDong"):
        assert ids(name) == {"HT0002"}, name
        assert ids(name, b"\0\0\1\0\0") == {"HT0002"}, ("fuzzy", name)
    assert ids("=赵*") == ids("wangx") == set() and ids("wangx", b"\0\0\1\0\0") == {"HT0002"}, "by the joined words, where that was agreed on"


def test_dates_and_times_are_moments_only_where_that_was_agreed_on(node):
    one, = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyDate="", StudyTime="")
    day, hour = int(one.StudyDate), int(one.StudyTime[:2])
    # Two days, and hours of the day that the study's is none of.
    keys = {"StudyDate": f"{day - 1}-{day + 1}", "StudyTime": f"{(hour + 2) % 24:02}0000-{(hour + 2) % 24:02}5959"}
    ids = lambda extended: {m.PatientID for m in find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", extended=extended, **keys)}
    assert ids(b"") == set() and ids(b"\0\1\0\0\0") == {"HT0002"}


def test_answers_are_in_the_zone_that_was_asked_for(node):
    here, = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyDate="", StudyTime="")
    there, = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyDate="", StudyTime="", TimezoneOffsetFromUTC="+0000", extended=b"\0\0\0\1\0")
    moment = lambda m: datetime.datetime.strptime(m.StudyDate + m.StudyTime[:6], "%Y%m%d%H%M%S")
    assert there.TimezoneOffsetFromUTC == "+0000" and moment(here) - moment(there) == datetime.timedelta(hours=8)


def test_items_whole_and_keys_deep_inside(node):
    one, = find(node, QueryRetrieveLevel="SERIES", PatientID="MANY008", StudyInstanceUID="", RequestAttributesSequence=[Dataset()])[:1]
    assert one.RequestAttributesSequence[0].ScheduledProcedureStepID.startswith("SPS-")
    code, item = Dataset(), Dataset()
    code.CodeValue = "NOBODY"
    item.ScheduledProtocolCodeSequence = [code]
    assert find(node, QueryRetrieveLevel="SERIES", PatientID="", RequestAttributesSequence=[item]) == []


def test_sop_classes_and_counts_of_the_whole_patient(node):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    found = {m.PatientID: m.SOPClassesInStudy for m in find(node, QueryRetrieveLevel="STUDY", PatientID="HT*", SOPClassesInStudy=ct)}
    assert "HT0002" in found and "HT0001" not in found and all(ct in classes for classes in found.values()), found
    study = find(node, QueryRetrieveLevel="STUDY", PatientID="MANY003", StudyInstanceUID="")[0].StudyInstanceUID
    one, = find(node, PATIENT, QueryRetrieveLevel="PATIENT", PatientID="MANY003", StudyInstanceUID=study, NumberOfPatientRelatedStudies="",
                NumberOfPatientRelatedInstances="")
    assert (one.NumberOfPatientRelatedStudies, one.NumberOfPatientRelatedInstances) == (2, 2)


def test_patients_are_one_each(node):
    found = find(node, PATIENT, QueryRetrieveLevel="PATIENT", PatientID="MANY*", PatientName="", NumberOfPatientRelatedStudies="")
    assert len(found) == 150 and {m.NumberOfPatientRelatedStudies for m in found} == {2}


@pytest.mark.parametrize("terms", ["GB18030", "GBK", "ISO_IR 192", "\\ISO 2022 IR 58", "ISO_IR 100", ""])
def test_answers_come_in_the_requesters_characters_if_they_can(node, terms):
    one, = find(node, QueryRetrieveLevel="STUDY", PatientID="HT0002", PatientName="", StudyDescription="", SpecificCharacterSet=terms.split("\\"))
    expected = "ISO_IR 192" if terms in ("ISO_IR 100", "") else terms
    said = one.SpecificCharacterSet
    assert ("\\".join(said) if isinstance(said, (list, pydicom.multival.MultiValue)) else said) == expected
    # pydicom leaves the escape sequences of IR 58 standing, those of the standard's own example too.
    assert str(one.PatientName).replace("\x1b$)A", "").endswith("王^小东") and "CT" in one.StudyDescription


def test_a_name_that_gbk_has_no_bytes_for_is_answered_in_utf_8(node):
    web = Web(node.http)
    d = pixels.fill(pixels.grey(8, False, "MONOCHROME2", rows=16, columns=16), pixels.scene(16, 16, 0, 255))
    d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    d.file_meta.MediaStorageSOPInstanceUID, d.PatientID, d.SpecificCharacterSet = d.SOPInstanceUID, "RARE1", "ISO_IR 192"
    d.PatientName = "Wang^Ji=王^𠮷"
    assert web.ask("/dicom-web/studies", method="POST", body=file_of(d), Content_Type="application/dicom").status == 200
    one, = find(node, QueryRetrieveLevel="STUDY", PatientID="RARE1", PatientName="", SpecificCharacterSet="GBK")
    assert one.SpecificCharacterSet == "ISO_IR 192" and str(one.PatientName).endswith("王^𠮷")


def test_a_query_in_gb18030_finds_chinese_names(node):
    found = find(node, QueryRetrieveLevel="STUDY", PatientID="HT*", PatientName="王*", SpecificCharacterSet="GB18030")
    assert [m.PatientID for m in found] == ["HT0002"]


def test_what_is_no_query_is_refused_with_a_reason(node):
    for keys, status in (({"PatientID": ""}, 0xA900), ({"QueryRetrieveLevel": "PATIENT"}, 0xA900), ({"QueryRetrieveLevel": "PLANET"}, 0xA900)):
        _, last = find(node, status_only=True, **keys)
        assert last.Status == status and last.ErrorComment, last
    found, last = find(node, status_only=True, QueryRetrieveLevel="STUDY", PatientID="HT0002", Allergies="")
    assert len(found) == 1 and found[0].Allergies in (None, "") and last.Status == 0
    code, said = run("findscu", "-v", "-S", "-aet", "FINDSCU", "-aec", "HUTONG", "127.0.0.1", str(node.port), "-k", "QueryRetrieveLevel=STUDY",
                     "-k", "PatientID=HT0002", "-k", "Allergies")
    assert code == 0 and "WarningUnsupportedOptionalKeys" in said, said


def test_who_may_ask_and_what_he_sees(node):
    assert find(node, calling="STRANGER", QueryRetrieveLevel="STUDY") is None
    _, last = find(node, calling="OUTSIDE", status_only=True, QueryRetrieveLevel="STUDY", PatientID="", NumberOfStudyRelatedInstances="")
    assert last.Status == 0xA900 and "patient" in last.ErrorComment, "another hospital does not browse"
    seen = [m for p in ("HT0001", "HT0002", "MANY001") for m in
            find(node, calling="OUTSIDE", QueryRetrieveLevel="STUDY", PatientID=p, NumberOfStudyRelatedInstances="")]
    assert {m.PatientID: m.NumberOfStudyRelatedInstances for m in seen} == {"HT0001": 2, "HT0002": 30}
    study = find(node, calling="ASKER", QueryRetrieveLevel="STUDY", PatientID="HT0002", StudyInstanceUID="")[0].StudyInstanceUID
    series = find(node, calling="OUTSIDE", QueryRetrieveLevel="SERIES", StudyInstanceUID=study, SeriesDescription="", SeriesInstanceUID="")
    assert len(series) == 1 and "[" in series[0].SeriesDescription
