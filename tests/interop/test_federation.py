"""A radiologist's node and other hospitals': three of them find each other's studies, fetch and verify them; a fourth is down, a fifth
slow, a sixth lies."""
import hashlib
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import PROGRAM
from test_exchange import CERTIFICATE, REGISTER, Exchange, access, ask, key_of, signer, started  # noqa: F401
from test_retrieve import Sink, certificates, fingerprint, free_port, until  # noqa: F401

# What the producer tells of a study in which a byte was changed on the way.
CHANGED = "not those that the manifest names"


class Liar(http.server.BaseHTTPRequestHandler):
    """The producer's exchange root, one byte of each object changed, or the end of it lost."""
    behind, cut = "", False

    def do_GET(self):
        request = urllib.request.Request(self.behind + self.path, headers={k: v for k, v in self.headers.items() if k not in ("Host", "Connection")})
        try:
            with urllib.request.urlopen(request) as answer:
                status, kind, body = answer.status, answer.headers.get("Content-Type"), answer.read()
        except urllib.error.HTTPError as e:
            status, kind, body = e.code, e.headers.get("Content-Type"), e.read()
        if "/instances/" in self.path:
            body = bytearray(body)
            if self.cut:
                del body[-2000:]
            else:
                body[-2000] ^= 1
        self.send_response(status)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(bytes(body))

    def log_message(self, *_):
        pass


class Fake(http.server.BaseHTTPRequestHandler):
    """A server that says what a test wants: `answers` by the end of the path."""
    answers = {}

    def do_GET(self):
        path = self.path.split("?")[0]
        found = [v for k, v in self.answers.items() if path.endswith(k)]
        body = found[0] if found else b""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/dicom" if path.split("/")[-2] == "instances" else "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def row(study, patient="HT0002", birth="19650712", **more):
    value = lambda vr, v: {"vr": vr, "Value": [v]}
    return {"0020000D": value("UI", study), "00100020": value("LO", patient), "00100030": value("DA", birth), "00080020": value("DA", "20260310"), **more}


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture(scope="module")
def producer(tmp_path_factory, signer, phantoms):  # noqa: F811
    node = started(tmp_path_factory.mktemp("producer"), signer, phantoms)
    yield node
    node.stop()


@pytest.fixture(scope="module")
def sink():
    made = Sink("WORKSTATION", ["1.2.840.10008.1.2.1"])
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def user(tmp_path_factory, signer, phantoms, producer, sink):  # noqa: F811
    place = tmp_path_factory.mktemp("user")
    for name in ("t2", "t4", "ris"):
        (place / f"{name}.key").write_text(key_of(name) + "\n")
    slow = socket.socket()
    slow.bind(("127.0.0.1", 0))
    slow.listen(50)
    handlers = {}
    at = {"T1": f"{producer.http}/exchange/dicom-web", "down": f"http://127.0.0.1:{free_port()}/dicom-web",
          "slow": f"http://127.0.0.1:{slow.getsockname()[1]}/dicom-web", "pacs": f"{producer.http}/dicom-web",
          "barred": f"{producer.http}/exchange/dicom-web"}
    for name, cut in (("liar", False), ("cutter", True)):
        at[name] = serve(type(name, (Liar,), {"behind": producer.http, "cut": cut})) + "/exchange/dicom-web"
    for name in ("fake", "outsider"):
        handlers[name] = type(name, (Fake,), {"answers": {}})
        at[name] = serve(handlers[name]) + "/dicom-web"
    hospitals = {"outsider": "T4", "fake": "T1", "pacs": "T4", "liar": "T1", "cutter": "T1", "barred": "T1"}
    keys = {"pacs": "ris", "barred": "t4"}
    lines = ['[exchange]\nhospital = "T2"\n']
    for name, url in at.items():
        lines.append(f'[[external]]\nname = "{name}"\nhospital = "{hospitals.get(name, name)}"\nurl = "{url}"\nseconds = 3\n'
                     f'api_key_file = "{place / keys.get(name, "t2")}.key"\n')
    lines.append(f'[[peer]]\naet = "WORKSTATION"\naddress = "127.0.0.1:{sink.port}"\n')
    node = started(place, signer, phantoms, "\n".join(lines), studies=())
    node.at, node.handlers = at, handlers
    yield node
    node.stop()
    slow.close()


def find(user, **wanted):
    answer = ask(user, "/api/v1/external/searches", "ris", "POST", wanted)
    assert answer.status == 200, answer.body
    return {n["node"]: n for n in answer.json["nodes"]}


def retrieve(user, node, study, **more):
    answer = ask(user, "/api/v1/external/retrievals", "ris", "POST", {"node": node, "study": study, **more})
    assert answer.status == 202, answer.body
    path = f"/api/v1/external/retrievals/{answer.json['id']}"
    ended = lambda: (lambda job: job if job["stage"] in ("done", "given-up") or job["attempts"] > 0 else None)(ask(user, path, "ris").json)
    return until(ended)


def study_of(producer, patient):
    return ask(producer, f"/dicom-web/studies?PatientID={patient}", "admin").json[0]["0020000D"]["Value"][0]


def test_all_nodes_are_asked_at_once_and_each_says_what_it_has_or_why_not(user, producer):
    began = time.monotonic()
    found = find(user, patient_id="HT0002", nodes=["T1", "down", "slow", "pacs", "barred"])
    assert time.monotonic() - began < 10, "the slow one has its time and the others do not wait one after another"
    (head,) = found["T1"]["studies"]
    assert found["T1"]["status"] == "ok" and head["study"] == study_of(producer, "HT0002") and head["marked"] == "certain" and not head["here"]
    (item,) = head["items"]
    assert item["certain"] and item["number"] == 34 and item["strength"] == ("must" if item["recent"] else "optional") and item["reasons"]
    assert item["recent"] == (time.strftime("%Y%m%d") <= item["recent_until"])
    assert (head["hospital"], head["modalities"], head["instances"]) == ("T1", ["CT"], 30)
    # A server that knows no manifest (here one that shows originals and copies): descriptions are all there is, and said to be no more than that.
    (same,) = found["pacs"]["studies"]
    assert same["marked"] == "stated" and {i["certain"] for i in same["items"]} == {False} and 34 in [i["number"] for i in same["items"]]
    assert found["down"]["status"] == found["slow"]["status"] == "failed" and found["slow"]["why"] and found["down"]["why"]
    assert found["barred"]["studies"] == [], "a hospital without an assessment is shown nothing"
    assert [s["study"] for s in find(user, name="Wang^XiaoDong", birth_date="19650712", nodes=["T1"])["T1"]["studies"]] == [head["study"]]


def test_nobody_is_asked_without_a_patient_or_by_another_hospital(user):
    for wanted in ({}, {"patient_id": "HT*"}, {"name": "Wang"}, {"patient_id": "HT0002", "nodes": ["nowhere"]}, {"patient": "x"}):
        assert ask(user, "/api/v1/external/searches", "ris", "POST", wanted).status == 400, wanted
    for who, status in (("t2", 403), (None, 401)):
        assert ask(user, "/api/v1/external/searches", who, "POST", {"patient_id": "HT0002"}).status == status
        assert ask(user, "/api/v1/external", who).status == status
    for wanted in ({"node": "T9", "study": "1.2"}, {"node": "T1", "study": "../x"}, {"node": "T1", "study": "1.2", "forward_to": "NOBODY"}):
        assert ask(user, "/api/v1/external/retrievals", "ris", "POST", wanted).status == 400, wanted
    journal = (user.place / "storage/journal.jsonl").read_text()
    assert '"view":"external"' in journal and "HT0002" not in journal and "Wang" not in journal


def answers(user, name, **said):
    user.handlers[name].answers.clear()
    user.handlers[name].answers.update({k.replace("__", "/"): v for k, v in said.items()})


def test_a_server_that_matches_by_less_shows_no_other_patient(user):
    answers(user, "fake", **{"/studies": [row("1.2.3"), row("1.2.4", patient="OTHER"), row("1.2.5", birth="19990101")]})
    found = find(user, patient_id="HT0002", nodes=["fake"])["fake"]
    assert [s["study"] for s in found["studies"]] == ["1.2.3", "1.2.5"] and found["status"] == "partial" and "other patients" in found["why"]
    found = find(user, name="Wang^XiaoDong", birth_date="19650712", nodes=["fake"])["fake"]
    assert [(s["study"], s["birth_date"]) for s in found["studies"]] == [("1.2.3", "19650712"), ("1.2.4", "19650712")]


MANIFEST = {"hospital": "T1", "region": "yubei", "edition": "2023-1", "mark": "渝北 HR", "items": [34], "objects": []}


def test_what_a_manifest_claims_is_not_believed(user):
    study = "1.2.3.77"
    answers(user, "outsider", **{"/studies": [row(study)], f"/studies/{study}/manifest": MANIFEST})
    found = find(user, patient_id="HT0002", nodes=["outsider"])["outsider"]
    (said,) = found["studies"]
    assert said["hospital"] == "T4" and said["marked"] != "certain" and not any(i["certain"] for i in said["items"]) and "another hospital" in found["why"]
    many = {**MANIFEST, "hospital": "T4", "items": list(range(1_000_000))}
    answers(user, "outsider", **{"/studies": [row(study)], f"/studies/{study}/manifest": many})
    found = find(user, patient_id="HT0002", nodes=["outsider"])["outsider"]
    assert "more items" in found["why"] and not any(i["certain"] for s in found["studies"] for i in s["items"])


def objects(user, producer, study, count, change=lambda d: None):
    """Files of marked copies of the producer's, changed, and the list of them."""
    import io
    import pydicom
    manifest = ask(producer, f"/exchange/dicom-web/studies/{study_of(producer, 'HT0002')}/manifest", "t2").json
    listed, files = [], {}
    for n, one in enumerate(manifest["objects"][:count]):
        path = f"/exchange/dicom-web/studies/{study_of(producer, 'HT0002')}/series/{one['series']}/instances/{one['instance']}"
        d = pydicom.dcmread(io.BytesIO(ask(producer, path, "t2", Accept="application/dicom; transfer-syntax=*").body))
        d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = study, f"{study}.1", f"{study}.1.{n + 1}"
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        change(d)
        out = io.BytesIO()
        d.save_as(out, enforce_file_format=True)
        files[f"/instances/{d.SOPInstanceUID}"] = out.getvalue()
        listed.append({"series": d.SeriesInstanceUID, "instance": d.SOPInstanceUID})
    return listed, files


def digested(listed, files):
    import io
    import pydicom
    for one in listed:
        data = files[f"/instances/{one['instance']}"]
        at = 132 + 12 + pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
        one["sha256"] = hashlib.sha256(data[at:]).hexdigest()
    return listed


@pytest.mark.parametrize("claim,why", [
    ({"items": []}, "names no item"), ({"items": [99]}, "not on the list"), ({"region": "nowhere"}, "not known here"),
    ({"hospital": "T1"}, "not of T4"), ({}, "NotAssessed"), ({"cut": True}, "digests of 0 of 3"),
])
def test_a_hospital_without_an_assessment_cannot_talk_itself_in(user, producer, claim, why):
    study = "1.2.3.88"
    listed, files = objects(user, producer, study, 3)
    listed = listed if claim.pop("cut", False) else digested(listed, files)
    answers(user, "outsider", **files, **{f"/studies/{study}/manifest": {**MANIFEST, "hospital": "T4", "objects": listed, **claim}})
    job = retrieve(user, "outsider", study)
    assert job["stage"] == "given-up" and why in job["last_error"], job
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404


def test_no_part_of_a_study_is_stored(user, producer):
    study = "1.2.3.99"
    listed, files = objects(user, producer, study, 3)
    good = {**MANIFEST, "objects": digested(listed, files)}
    job = None
    # One of its objects bears the name of another one that is here.
    first = "1.2.3.98"
    others, other_files = objects(user, producer, first, 1, lambda d: setattr(d, "SOPInstanceUID", f"{study}.1.3"))
    answers(user, "fake", **other_files, **{f"/studies/{first}/manifest": {**MANIFEST, "objects": digested(others, other_files)}})
    assert retrieve(user, "fake", first)["stage"] == "done"
    before = (user.place / "storage/journal.jsonl").read_text().count('"event":"external"')
    answers(user, "fake", **files, **{f"/studies/{study}/manifest": good})
    job = retrieve(user, "fake", study)
    assert job["stage"] == "given-up" and "another object is stored here" in job["last_error"], job
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404
    assert (user.place / "storage/journal.jsonl").read_text().count('"event":"external"') == before
    # An object named twice; another patient than was named; a list that says that there is more.
    study = "1.2.3.97"
    listed, files = objects(user, producer, study, 2)
    answers(user, "fake", **files, **{f"/studies/{study}/manifest": {**MANIFEST, "objects": digested(listed, files) * 2}})
    assert "twice" in retrieve(user, "fake", study)["last_error"]
    answers(user, "fake", **files, **{f"/studies/{study}/manifest": {**MANIFEST, "objects": digested(listed, files)}})
    job = retrieve(user, "fake", study, patient_id="HT0009")
    assert job["stage"] == "given-up" and "another patient" in job["last_error"]
    number = {"00201208": {"vr": "IS", "Value": [7]}}
    instances = [{"0020000E": {"vr": "UI", "Value": [o["series"]]}, "00080018": {"vr": "UI", "Value": [o["instance"]]}} for o in listed]
    answers(user, "fake", **files, **{"/studies": [row(study, **number)], f"/studies/{study}/instances": instances})
    assert "says that there are others" in retrieve(user, "fake", study)["last_error"]
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404


def stored(node, root, study, who):
    rows = ask(node, f"{root}/studies/{study}/instances?includefield=all", who).json or []
    return {r["00080018"]["Value"][0] for r in rows}


@pytest.mark.parametrize("liar,why", [("liar", CHANGED), ("cutter", "broke off")])
def test_what_was_changed_on_the_way_is_not_taken(user, producer, liar, why):
    study = study_of(producer, "HT0002")
    job = retrieve(user, liar, study)
    assert job["stage"] != "done" and why in job["last_error"], job
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404
    assert not [p for p in (user.place / "storage/drafts").iterdir()]
    while ask(user, f"/api/v1/external/retrievals/{job['id']}", "admin", "DELETE").status != 204:
        time.sleep(0.2)


def test_a_hospital_without_an_assessment_gets_nothing_and_is_told_no_more(user, producer):
    study = study_of(producer, "HT0002")
    job = retrieve(user, "barred", study)
    assert job["stage"] == "given-up" and "it" in job["last_error"]
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404
    # The same answer as for a study that there is not.
    other = retrieve(user, "barred", "1.2.3.4.5")
    assert other["last_error"] == job["last_error"]


def test_a_study_is_fetched_verified_stored_forwarded_and_never_marked_again(user, producer, sink):
    study = study_of(producer, "HT0002")
    job = retrieve(user, "T1", study, forward_to="WORKSTATION")
    assert job["stage"] == "done" and job["fetched"] == job["total"] == 30, job
    assert [said.split(" ")[0] for said in job["verified"]] == ["digests", "the", "hospital"] and "[34]" in job["verified"][2]
    copies = stored(producer, "/exchange/dicom-web", study, "t2")
    assert len(copies) == 30 and stored(user, "/dicom-web", study, "ris") == copies
    judged = user.judged(study)
    assert judged["verdict"]["outcome"] == "reject" and not [i for i in judged["verdict"]["items"] if i["outcome"] == "accept"]
    assert ask(user, f"/exchange/dicom-web/studies/{study}/metadata", "admin").status == 404
    # The object is what the producer has, byte for byte.
    manifest = ask(producer, f"/exchange/dicom-web/studies/{study}/manifest", "t2").json
    assert (manifest["hospital"], manifest["items"], manifest["mark"]) == ("T1", [34], "渝北 HR")
    one = manifest["objects"][7]
    path = f"/studies/{study}/series/{one['series']}/instances/{one['instance']}"
    accept = 'application/dicom; transfer-syntax=*'
    ours, theirs = (ask(n, root + path, who, Accept=accept).body for n, root, who in ((user, "/dicom-web", "ris"), (producer, "/exchange/dicom-web", "t2")))
    at = [body.index(b"DICM") for body in (ours, theirs)]
    tail = min(len(ours) - at[0], len(theirs) - at[1]) - 1200
    assert ours[-tail:] == theirs[-tail:] and hashlib.sha256(ours[-tail:]).digest()
    assert until(lambda: set(sink.kept) == copies)
    journal = [json.loads(line) for line in (user.place / "storage/journal.jsonl").read_text().splitlines()]
    (said,) = [r for r in journal if r.get("event") == "external" and r["study"] == study]
    assert (said["study"], said["node"], said["hospital"], said["instances"]) == (study, "T1", "T1", 30)
    assert any(r.get("event") == "retrieved" and r["study"] == study and "t2" in r["by"]
               for r in map(json.loads, (producer.place / "storage/journal.jsonl").read_text().splitlines()))
    assert find(user, patient_id="HT0002", nodes=["T1"])["T1"]["studies"][0]["here"]
    # Once more changes nothing; from another node it is refused.
    assert retrieve(user, "T1", study)["stage"] == "done" and stored(user, "/dicom-web", study, "ris") == copies
    other = retrieve(user, "pacs", study)
    assert other["stage"] == "given-up" and "not from there" in other["last_error"]


def test_what_does_not_verify_is_taken_only_when_somebody_says_so(user, producer):
    study = study_of(producer, "HT0001")
    job = retrieve(user, "pacs", study)
    assert job["stage"] == "given-up" and "carry no recognition mark" in job["last_error"] and "no assessment" in job["last_error"], job
    assert ask(user, f"/dicom-web/studies/{study}/metadata", "ris").status == 404
    job = retrieve(user, "pacs", study, unverified=True)
    assert job["stage"] == "done" and any("taken all the same" in said for said in job["verified"]), job
    judged = user.judged(study)["verdict"]
    assert judged["outcome"] != "accept"
    assert ask(user, f"/exchange/dicom-web/studies/{study}/metadata", "admin").status == 404


def test_the_command_line_finds_and_fetches(user, producer):
    study = study_of(producer, "HT0001")
    port = user.http.rsplit(":", 1)[1]
    env = {**os.environ, "HUTONG_API_KEY": key_of("ris"), "HUTONG_HTTP__PORT": port}

    def hutong(*arguments):
        return subprocess.run([str(PROGRAM), "external", *arguments], capture_output=True, text=True, env=env, cwd=user.place)

    done = hutong("find", "--patient", "HT0001", "--node", "T1", "--node", "down")
    assert done.returncode == 2 and study in done.stdout and "胸部" in done.stdout and "down: failed" in done.stderr, done
    done = hutong("find", "--patient", "HT0001", "--node", "T1", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["studies"] == 1
    done = hutong("retrieve", study, "--node", "T1")
    assert done.returncode == 1 and "not from there" in done.stdout, done
    assert hutong("find").returncode == 2
    assert "retrievals" in json.loads(hutong("list").stdout)


def test_certificates_of_both_sides_and_no_others(tmp_path, signer, phantoms, certificates):  # noqa: F811
    folder = certificates
    class Secure(Exchange):
        register = REGISTER.replace(CERTIFICATE, fingerprint(folder, "good"))

    place = tmp_path / "a"
    place.mkdir()
    text = f'[http]\ntls_certificate = "{folder}/node.pem"\ntls_key = "{folder}/node.key"\ntls_client_authorities = "{folder}/ca.pem"\n'
    (place / "jwks.json").write_text(signer.jwks())
    (place / "hutong.toml").write_text(access(place / "jwks.json", text), encoding="utf-8")
    producer = Secure(place)
    url = producer.http.replace("http://", "https://").replace("127.0.0.1", "localhost") + "/exchange/dicom-web"
    lines = ['[exchange]\nhospital = "T2"\n']
    for name, own, authority in (("good", "good", "ca"), ("stranger", "stranger", "ca"), ("nobody", None, "ca"), ("wrong", "good", "other")):
        mine = f'certificate = "{folder}/{own}.pem"\nkey = "{folder}/{own}.key"\n' if own else ""
        lines.append(f'[[external]]\nname = "{name}"\nhospital = "T1"\nurl = "{url}"\nauthorities = "{folder}/{authority}.pem"\n{mine}')
    user = started(tmp_path / "b", signer, phantoms, "\n".join(lines), studies=())
    try:
        found = find(user, patient_id="HT0002")
        assert {n: a["status"] for n, a in found.items()} == {"good": "ok", "stranger": "failed", "nobody": "failed", "wrong": "failed"}, found
    finally:
        user.stop()
        producer.stop()
