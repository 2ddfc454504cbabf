"""A modality's performed procedure step, sent by pynetdicom: the node expects what the modality says it made."""
import time

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, ModalityPerformedProcedureStep, StorageCommitmentPushModel

from conftest import Node


def associate(node):
    ae = AE(ae_title="INTEROP")
    ae.add_requested_context(ModalityPerformedProcedureStep)
    ae.add_requested_context(CTImageStorage)
    ae.add_requested_context(StorageCommitmentPushModel)
    told = [(evt.EVT_N_EVENT_REPORT, lambda event: (0x0000, None))]
    association = ae.associate("127.0.0.1", node.port, ae_title="HUTONG", evt_handlers=told)
    assert association.is_established
    return association


def begun(study):
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PerformedSeriesSequence = []
    step.Modality = "CT"
    return step


def ended(status, images):
    change = Dataset()
    change.PerformedProcedureStepStatus = status
    series = {}
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID = image.SOPClassUID
        item.ReferencedSOPInstanceUID = image.SOPInstanceUID
        series.setdefault(image.SeriesInstanceUID, []).append(item)
    change.PerformedSeriesSequence = []
    for uid, items in series.items():
        one = Dataset()
        one.SeriesInstanceUID = uid
        one.ReferencedImageSequence = items
        change.PerformedSeriesSequence.append(one)
    return change


def create(association, data, uid):
    return association.send_n_create(data, ModalityPerformedProcedureStep, uid)[0].Status


def change(association, data, uid):
    return association.send_n_set(data, ModalityPerformedProcedureStep, uid)[0].Status


def until(node, study, outcome):
    for _ in range(150):
        got = node.judged(study)
        if got["verdict"]["outcome"] == outcome:
            return got
        time.sleep(0.2)
    raise AssertionError(f"{outcome} is not reached: {got['verdict']}")


def test_the_last_slice_that_never_came_is_missed(node, phantoms):
    images = sorted((pydicom.dcmread(p) for p in (phantoms / "CtHead").iterdir()), key=lambda i: int(i.InstanceNumber))
    study, uid = images[0].StudyInstanceUID, generate_uid()
    association = associate(node)
    assert create(association, begun(study), uid) == 0x0000
    for image in images[:-1]:
        assert association.send_c_store(image).Status == 0x0000
    # Nothing else could tell: the stack has no gap, the numbers begin at 1.
    assert node.judged(study)["verdict"]["outcome"] == "accept"
    assert change(association, ended("COMPLETED", images), uid) == 0x0000
    got = until(node, study, "reject")
    missed = [f for f in got["verdict"]["findings"] if f["check"] == "C-07"]
    assert len(missed) == 1 and (missed[0]["measured"], missed[0]["threshold"]) == (29, 30)
    assert association.send_c_store(images[-1]).Status == 0x0000
    until(node, study, "accept")
    association.release()


def test_a_series_of_which_nothing_came_is_missed_and_survives_a_restart(node, phantoms):
    images = [pydicom.dcmread(p) for p in (phantoms / "CtChest").iterdir()]
    plain = [i for i in images if "ContrastBolusAgent" not in i]
    study, uid = images[0].StudyInstanceUID, generate_uid()
    association = associate(node)
    assert create(association, begun(study), uid) == 0x0000
    assert change(association, ended("COMPLETED", images), uid) == 0x0000
    for image in plain:
        assert association.send_c_store(image).Status == 0x0000
    association.release()
    verdict = node.judged(study)["verdict"]
    assert any(f["check"] == "C-07" and f["threshold"] == 62 for f in verdict["findings"]), verdict["findings"]
    journal = (node.place / "storage/journal.jsonl").read_text()
    assert journal.count('"event":"performed"') == 2


def test_images_of_another_patient_than_the_order_was_for_are_held(node, phantoms):
    images = [pydicom.dcmread(p) for p in (phantoms / "CtHead").iterdir()]
    association = associate(node)
    patient = images[0]
    for other, wrong in [({}, []), ({"PatientID": "SOMEBODY"}, ["患者ID"]), ({"PatientName": "Li^Si=李^四", "PatientSex": "F"}, ["患者姓名", "性别"])]:
        study, step = generate_uid(), begun("")
        step.ScheduledStepAttributesSequence[0].StudyInstanceUID = study
        step.ScheduledStepAttributesSequence[0].AccessionNumber = patient.AccessionNumber
        step.SpecificCharacterSet = patient.SpecificCharacterSet
        for keyword in ("PatientID", "PatientName", "PatientSex", "PatientBirthDate"):
            setattr(step, keyword, other.get(keyword, getattr(patient, keyword)))
        assert create(association, step, generate_uid()) == 0x0000
        series = generate_uid()
        for image in images:
            image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = study, series, generate_uid()
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            assert association.send_c_store(image).Status == 0x0000
        verdict = node.judged(study)["verdict"]
        held = [f for f in verdict["findings"] if f["check"] == "G-13"]
        assert [f["zh"].split("与检查申请")[0] for f in held] == wrong, verdict["findings"]
        assert verdict["outcome"] == ("reject" if wrong else "accept")
    association.release()
    journal = (node.place / "storage/journal.jsonl").read_text()
    assert "SOMEBODY" not in journal and "Li^Si" not in journal


def test_steps_out_of_order_are_refused_in_the_protocols_terms(node):
    study, uid = generate_uid(), generate_uid()
    association = associate(node)
    assert change(association, ended("COMPLETED", []), uid) == 0x0112
    wrong = begun(study)
    wrong.PerformedProcedureStepStatus = "COMPLETED"
    assert create(association, wrong, uid) == 0x0106
    nowhere = begun(study)
    del nowhere.ScheduledStepAttributesSequence
    assert create(association, nowhere, uid) == 0x0120
    assert create(association, begun(study), uid) == 0x0000
    assert create(association, begun(study), uid) == 0x0111
    strange = Dataset()
    strange.PerformedProcedureStepStatus = "PERHAPS"
    assert change(association, strange, uid) == 0x0106
    assert change(association, ended("DISCONTINUED", []), uid) == 0x0000
    assert change(association, ended("COMPLETED", []), uid) == 0x0110
    association.release()


def test_a_finished_step_settles_its_study_and_none_waits_for_quiet(tmp_path, phantoms, monkeypatch):
    monkeypatch.setattr(Node, "quiet", "1h")
    node = Node(tmp_path)
    try:
        images = sorted((pydicom.dcmread(p) for p in (phantoms / "CtHead").iterdir()), key=lambda i: int(i.InstanceNumber))
        study, uid = images[0].StudyInstanceUID, generate_uid()
        association = associate(node)
        assert create(association, begun(study), uid) == 0x0000
        for image in images:
            assert association.send_c_store(image).Status == 0x0000
        time.sleep(1.5)
        assert node.json(f"/api/v1/studies/{study}")["state"] == "receiving"
        assert change(association, ended("COMPLETED", images), uid) == 0x0000
        assert node.judged(study)["verdict"]["outcome"] == "accept"
        association.release()
    finally:
        node.stop()


def test_one_step_for_two_studies_settles_both_and_charges_neither_with_the_other(tmp_path, phantoms, monkeypatch):
    """One acquisition for two orders (PS3.4 F.7.2.1): the step does not say which series is of which study."""
    monkeypatch.setattr(Node, "quiet", "1h")
    node = Node(tmp_path)
    try:
        head, chest = ([pydicom.dcmread(p) for p in (phantoms / name).iterdir()] for name in ("CtHead", "CtChest"))
        studies, uid = [head[0].StudyInstanceUID, chest[0].StudyInstanceUID], generate_uid()
        step = begun(studies[0])
        other = Dataset()
        other.StudyInstanceUID = studies[1]
        step.ScheduledStepAttributesSequence.append(other)
        association = associate(node)
        assert create(association, step, uid) == 0x0000
        for image in head + chest:
            assert association.send_c_store(image).Status == 0x0000
        assert change(association, ended("COMPLETED", head + chest), uid) == 0x0000
        association.release()
        for study in studies:
            verdict = node.judged(study)["verdict"]
            assert verdict["outcome"] == "accept" and "C-07" not in {f["check"] for f in verdict["findings"]}, verdict["findings"]
    finally:
        node.stop()


def test_objects_that_were_to_be_committed_and_never_came_are_missed(node, phantoms):
    images = sorted((pydicom.dcmread(p) for p in (phantoms / "CtHead").iterdir()), key=lambda i: int(i.InstanceNumber))
    study = images[0].StudyInstanceUID
    association = associate(node)
    for image in images[:-2]:
        assert association.send_c_store(image).Status == 0x0000
    assert node.judged(study)["verdict"]["outcome"] == "accept"
    request = Dataset()
    request.TransactionUID, request.ReferencedSOPSequence = generate_uid(), []
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    assert status.Status == 0x0000
    missed = [f for f in until(node, study, "reject")["verdict"]["findings"] if f["check"] == "C-07"]
    assert [(f["measured"], f["threshold"]) for f in missed] == [(28, 30)]
    for image in images[-2:]:
        assert association.send_c_store(image).Status == 0x0000
    until(node, study, "accept")
    association.release()
