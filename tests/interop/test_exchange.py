"""The exchange between hospitals: who gets in, what is shown to whom, reminders, decisions, figures, the public list."""
import hashlib
import http.server
import json
import os
import ssl
import statistics
import subprocess
import threading
import time
import urllib.error
import urllib.request

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conftest import PROGRAM, Node
from test_dimse import run
from test_retrieve import certificates, fingerprint, until  # noqa: F401

ROUND = """[[hospital.assessment]]
round = "2026-1"
passed = true
valid_from = "2000-01-01"
valid_to = "2099-12-31"
"""


def hospital(code, name, more="", assessed=True):
    return f'[[hospital]]\ncode = "{code}"\nname = "{name}"\n{more}\n' + (ROUND if assessed else "")


# Stands where a test puts the fingerprint of its certificate.
CERTIFICATE = "ce" * 32
REGISTER = (hospital("T1", "生产医院", 'ae_titles = ["STORESCU"]\nlevel = 2') + hospital("T2", "使用医院", 'ae_titles = ["OUTSIDE"]\nlevel = 2\ncertificates = ["%s"]' % CERTIFICATE)
            + hospital("T3", "未参加医院", "member = false") + hospital("T4", "未合格医院", assessed=False) + hospital("T5", "上级医院", "level = 3"))

KEYS = {"admin": ("admin", None), "ris": ("house", None), "t2": ("exchange", "T2"), "t3": ("exchange", "T3"), "t4": ("exchange", "T4"), "t5": ("exchange", "T5")}


def key_of(name):
    return f"secret-of-{name}"


def access(jwks, more=""):
    lines = [more]
    for name, (role, code) in KEYS.items():
        digest = hashlib.sha256(key_of(name).encode()).hexdigest()
        lines.append(f'[[access.key]]\nname = "{name}"\nsha256 = "{digest}"\nrole = "{role}"' + (f'\nhospital = "{code}"' if code else ""))
    lines.append(f'[[access.issuer]]\nissuer = "https://issuer.example"\naudience = "hutong"\njwks = "{jwks}"\n'
                 'scopes = {"hutong.exchange" = "exchange", "hutong.house" = "house"}\nhospitals = ["T2", "T3", "T99"]\n')
    return "\n".join(lines)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        kind = headers.get("Content-Type", "")
        self.json = json.loads(body) if "json" in kind and body else None


def ask(node, path, who=None, method="GET", body=None, context=None, **headers):
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers.setdefault("Accept", "application/dicom+json, application/json;q=0.9, */*;q=0.1")
    if data is not None:
        headers.setdefault("Content-Type", "application/json")
    if who:
        headers["X-Api-Key"] = key_of(who)
    request = urllib.request.Request(node.http + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as e:
        return Answer(e.code, e.headers, e.read())


def offered(answer):
    """Recent exams and older ones: the phantoms get old."""
    assert answer.status == 200, answer.body
    assert all(c["recent"] for c in answer.json["candidates"]) and not any(c["recent"] for c in answer.json["older"])
    return answer.json["candidates"] + answer.json["older"]


class Signer:
    """An issuer's keys, made here."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def jwks(self):
        one = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key())) | {"kid": "r1", "use": "sig", "alg": "RS256"}
        two = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key())) | {"kid": "e1", "use": "sig", "alg": "ES256"}
        return json.dumps({"keys": [one, two]})

    def token(self, key=None, algorithm="RS256", kid="r1", **claims):
        now = int(time.time())
        all_claims = {"iss": "https://issuer.example", "aud": "hutong", "sub": "viewer-7", "exp": now + 300, "nbf": now - 5, "scope": "openid hutong.exchange",
                      "hospital": "T2", "purpose_of_use": "TREATMENT", "clinician": "dr-li"} | claims
        return jwt.encode({k: v for k, v in all_claims.items() if v is not None}, key or (self.rsa if algorithm[0] in "RP" else self.ec), algorithm=algorithm,
                          headers={"kid": kid})


@pytest.fixture(scope="module")
def signer():
    return Signer()


class Exchange(Node):
    register = REGISTER

    def json(self, path, accept="application/dicom+json, application/json"):
        return ask(self, path, "admin", Accept=accept).json or []


def started(place, signer, phantoms, more="", studies=("CtHead", "Chest", "LookAlike")):
    place.mkdir(parents=True, exist_ok=True)
    (place / "jwks.json").write_text(signer.jwks())
    (place / "hutong.toml").write_text(access(place / "jwks.json", more), encoding="utf-8")
    node = Exchange(place)
    for name in studies:
        code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port), str(phantoms / name))
        assert code == 0, said
    for study in node.json("/dicom-web/studies"):
        node.judged(study["0020000D"]["Value"][0])
    return node


@pytest.fixture(scope="module")
def node(tmp_path_factory, signer, phantoms):
    made = started(tmp_path_factory.mktemp("exchange"), signer, phantoms, "[access]\nfailures = 100000\n")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def studies(node):
    found = ask(node, "/dicom-web/studies?includefield=all", "admin").json
    return {s["00100020"]["Value"][0]: s["0020000D"]["Value"][0] for s in found}


HOUSE = ["/dicom-web/studies", "/dicom-web/studies/{study}", "/dicom-web/studies/{study}/metadata", "/dicom-web/studies/{study}/rendered", "/dicom-web/instances", "/metrics",
         "/openapi.json", "/wado?requestType=WADO&studyUID={study}&seriesUID=1.2&objectUID=1.2", "/api/v1/studies/{study}", "/api/v1/studies/{study}/report"]
ADMIN = ["/api/v1/peers", "/api/v1/outbox", "/api/v1/statistics", "/api/v1/register", "/nothing", "/dicom-webx/../api/v1/peers"]


def test_nobody_gets_anything_without_credentials_but_health_and_the_public_list(node, studies):
    for path in HOUSE + ADMIN + ["/exchange/dicom-web/studies?PatientID=HT0002", "/exchange/reminders", "/exchange/cds-services"]:
        answer = ask(node, path.format(study=studies["HT0002"]))
        assert answer.status == 401 and b"HT000" not in answer.body, (path, answer.status)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), path
    assert ask(node, "/healthz").status == 200
    listed = ask(node, "/public/items.json").json
    assert [r["code"] for r in listed["regions"]] == ["yubei"] and len(listed["regions"][0]["items"]) == 67
    assert {h["code"] for h in listed["hospitals"]} == {"T1", "T2", "T5"} and "HT000" not in json.dumps(listed)
    page = ask(node, "/public/items", Accept="text/html")
    assert "渝北 HR" in page.body.decode() and "头部" in page.body.decode() and page.headers["Content-Type"].startswith("text/html")
    assert ask(node, "/public/items.csv").body.decode().count("\n") == 68
    assert ask(node, "/public/../api/v1/peers").status in (401, 404)


def test_roles_keep_to_their_paths(node, studies):
    for path in HOUSE + ADMIN:
        path = path.format(study=studies["HT0002"])
        assert ask(node, path, "t2").status == 403, path
    for path in ADMIN:
        assert ask(node, path, "ris").status in (403, 404) and (path == ADMIN[-1] or ask(node, path, "ris").status == 403), path
    assert ask(node, f"/api/v1/studies/{studies['HT0002']}/rulings", "ris", "POST", {}).status == 403
    assert ask(node, "/dicom-web/studies", "ris").status == 200
    assert ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", "ris").status == 200
    assert ask(node, "/api/v1/peers", "admin").status == 200


def test_tokens(node, signer, studies):
    path = "/exchange/dicom-web/studies?PatientID=HT0002"

    def status(token, where=path):
        return ask(node, where, Authorization=f"Bearer {token}").status

    now = int(time.time())
    assert status(signer.token()) == 200
    assert status(signer.token(algorithm="ES256", kid="e1")) == 200 and status(signer.token(algorithm="PS256")) == 200
    assert status(signer.token(exp=now - 30)) == 200, "clocks differ by less than a minute"
    assert status(signer.token(scope="hutong.house", hospital=None), "/dicom-web/studies") == 200
    assert status(signer.token(), "/dicom-web/studies") == 403
    stranger = Signer()
    public = signer.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    whole = signer.token()
    head, payload, signature = whole.split(".")
    none = jwt.encode({"iss": "https://issuer.example", "aud": "hutong", "exp": now + 99, "scope": "hutong.admin"}, None, algorithm="none")
    import base64
    forged = base64.urlsafe_b64encode(json.dumps({"iss": "https://issuer.example", "aud": "hutong", "exp": now + 99, "scope": "hutong.admin"}).encode()).rstrip(b"=").decode()
    hs = hashlib.sha256  # a token signed with the public key as if it were a secret
    import hmac
    hs_head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "r1", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    hs_signature = base64.urlsafe_b64encode(hmac.new(public, f"{hs_head}.{forged}".encode(), hs).digest()).rstrip(b"=").decode()
    bad = {
        "expired": signer.token(exp=now - 120), "not yet": signer.token(nbf=now + 300), "audience": signer.token(aud="other"), "no audience": signer.token(aud=None),
        "issuer": signer.token(iss="https://evil.example"), "no expiry": signer.token(exp=None), "no scope": signer.token(scope="openid"), "no hospital": signer.token(hospital=None),
        "stranger's key": stranger.token(), "none": none, "cut": f"{head}.{payload}.", "swapped": f"{head}.{forged}.{signature}", "confusion": f"{hs_head}.{forged}.{hs_signature}",
        "garbage": "a.b.c", "long": "a." * 20000, "kid": signer.token(kid="../../etc/passwd"), "no admin scope": signer.token(scope="hutong.admin", hospital=None), "not its hospital": signer.token(hospital="T5"), "no member": signer.token(hospital="T3"), "nobody": signer.token(hospital="T99"),
    }
    for name, token in bad.items():
        answer = ask(node, path, Authorization=f"Bearer {token}")
        assert answer.status == 401, (name, answer.status)
        assert answer.json["detail"] == "say who you are: certificate, token or key", "it is not said why"
    assert ask(node, path, Authorization="Basic dDI6c2VjcmV0").status == 401
    assert ask(node, path, Authorization=f"Bearer {whole}", X_Api_Key="wrong").status == 401
    journal = (node.place / "storage/journal.jsonl").read_text()
    assert '"event":"denied"' in journal and whole not in journal and key_of("t2") not in (node.place / "log").read_text() + journal


def test_each_hospital_sees_what_the_policy_grants(node, studies):
    seen = lambda who, patient="HT0002": ask(node, f"/exchange/dicom-web/studies?PatientID={patient}", who)
    assert seen("t2").status == 200 and len(seen("t2").json) == 1
    assert seen("t3").status == 401, "it takes no part"
    assert seen("t4").status == 204, "it has passed no assessment"
    # A hospital of a higher level is not bound to a lower one's exams.
    assert seen("t5").status == 204
    study = studies["HT0002"]
    for path in ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata", "/pixeldata", "/series", "/instances"):
        got = {who: ask(node, f"/exchange/dicom-web/studies/{study}{path}", who, Accept="*/*") for who in ("t2", "t4", "t5")}
        assert got["t2"].status == 200, (path, got["t2"].status)
        assert got["t4"].status in (204, 404) and got["t5"].status == got["t4"].status and not (got["t4"].status == 204 and got["t4"].body), path
        unknown = ask(node, f"/exchange/dicom-web/studies/1.2.3.4{path}", "t4", Accept="*/*")
        assert (unknown.status, unknown.body) == (got["t4"].status, got["t4"].body), "what is hidden looks like what is not there"
    # An original.
    original = [i for i in ask(node, f"/dicom-web/studies/{study}/instances?includefield=all", "admin").json
                if "[" not in i.get("0008103E", {}).get("Value", [""])[0]][0]
    series, instance = original["0020000E"]["Value"][0], original["00080018"]["Value"][0]
    assert ask(node, f"/exchange/dicom-web/studies/{study}/series/{series}/instances/{instance}", "t2", Accept="*/*").status == 404
    assert ask(node, f"/exchange/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}", "t2", Accept="*/*").status == 404


def test_nobody_browses(node, studies):
    for query in ("", "?StudyDate=20200101-", "?PatientName=W*", "?PatientID=*", "?PatientID=HT*", "?ModalitiesInStudy=CT", "?PatientBirthDate=19700101", "?limit=1", "?PatientID=%22%22",
                  "?PatientID=", "?00100020=HT%3F", "?PatientName=*a*&PatientBirthDate=19700203", "?PatientName=Wang*&PatientBirthDate=-", "?PatientName=Wang*&PatientBirthDate=19000101-"):
        for level in ("studies", "series", "instances"):
            answer = ask(node, f"/exchange/dicom-web/{level}{query}", "t2")
            assert answer.status in (400, 403) and b"HT000" not in answer.body, (level, query, answer.status)
    birth = ask(node, "/dicom-web/studies?PatientID=HT0002&includefield=all", "admin").json[0]["00100030"]["Value"][0]
    accession = ask(node, "/dicom-web/studies?PatientID=HT0002&includefield=all", "admin").json[0]["00080050"]["Value"][0]
    for name in ("Wang^XiaoDong", "wang^xiaodong", "Xiaodong%20Wang&fuzzymatching=true"):
        assert len(ask(node, f"/exchange/dicom-web/studies?PatientName={name}&PatientBirthDate={birth}", "t2").json) == 1, name
    # A part of a name beside the birth date names nobody, and accession numbers are counted up.
    for query in (f"PatientName=Wang*&PatientBirthDate={birth}", f"PatientName=W*&PatientBirthDate={birth}", f"AccessionNumber={accession}"):
        assert ask(node, f"/exchange/dicom-web/studies?{query}", "t2").status == 403, query
    for name in ("W", "wang", "xiao", "wxd", "%5E", "%3D"):
        answer = ask(node, f"/exchange/dicom-web/studies?PatientName={name}&PatientBirthDate={birth}&fuzzymatching=true", "t2")
        assert answer.status in (204, 403), (name, answer.status)
        reminder = ask(node, "/exchange/reminders", "t2", "POST", {"patient": {"name": urllib.parse.unquote(name), "birth_date": birth}})
        assert offered(reminder) == [], name
    whole = {"name": "王小东", "birth_date": birth}
    for patient, count in ((whole, 1), ({**whole, "id": "HT0002"}, 1), ({**whole, "id": "HT0001"}, 0), ({"id": "HT0002", "name": "张三"}, 0), ({"id": "HT0002", "birth_date": "19990101"}, 0)):
        reminder = offered(ask(node, "/exchange/reminders", "t2", "POST", {"patient": patient}))
        assert len(reminder) == count and all(c["patient"]["id"] == "HT0002" for c in reminder), patient
    assert ask(node, f"/exchange/dicom-web/series?StudyInstanceUID={studies['HT0002']}", "t2").status == 200
    # Header smuggling: what a proxy might send makes nobody of the house.
    for headers in ({"X_Forwarded_Prefix": "/dicom-web"}, {"X_Original_URL": "/dicom-web/studies"}, {"X_Rewrite_URL": "/api/v1/peers"}, {"X_HTTP_Method_Override": "DELETE"},
                    {"Forwarded": "for=127.0.0.1;host=internal"}):
        assert ask(node, "/exchange/dicom-web/studies", "t2", **headers).status == 403


def test_what_is_hidden_takes_as_long_as_what_is_not_there(node, studies):
    def median(uid):
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            ask(node, f"/exchange/dicom-web/studies/{uid}/metadata", "t4")
            times.append(time.perf_counter() - begun)
        return statistics.median(times)
    # No bound is asserted on time: both must be of one order, which a file that is read would break.
    hidden, unknown = median(studies["HT0002"]), median("1.2.3.4.5")
    assert hidden < 20 * unknown + 0.05


def test_queries_and_retrievals_are_journalled_with_on_whose_behalf(node, signer, studies):
    ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", Authorization=f"Bearer {signer.token(encounter='E77')}", X_Purpose_Of_Use="RESEARCH", X_Clinician="liar")
    ask(node, f"/exchange/dicom-web/studies/{studies['HT0002']}/metadata", "t2", X_Purpose_Of_Use="TREATMENT", X_Encounter="E78")
    ask(node, f"/exchange/dicom-web/studies/{studies['HT0002']}/rendered", "t2", X_Purpose_Of_Use="TREATMENT", X_Encounter="E78", Accept="image/jpeg")
    lines = [json.loads(line) for line in (node.place / "storage/journal.jsonl").read_text().splitlines()]
    queried = [line for line in lines if line["event"] == "queried" and line.get("for", {}).get("encounter") == "E77"][0]
    assert queried["keys"] == ["PatientID"] and queried["by"].startswith("token viewer-7") and queried["matches"] == 1
    assert queried["for"] == {"purpose": "TREATMENT", "clinician": "dr-li", "encounter": "E77"}, "what the token says counts"
    retrieved = [line for line in lines if line["event"] == "retrieved" and line.get("for", {}).get("encounter") == "E78"]
    assert retrieved and retrieved[0]["by"].startswith("key t2") and retrieved[0]["view"] == "exchange"
    # What is read by other ways, and what another hospital asked for and was not shown.
    study = studies["HT0002"]
    ask(node, "/dicom-web/studies?PatientID=HT0002", "ris")
    ask(node, f"/api/v1/studies/{study}", "ris")
    ask(node, f"/api/v1/studies/{study}/report", "ris")
    ask(node, "/exchange/decisions/0123", "t2")
    ask(node, f"/exchange/dicom-web/studies/{study}/metadata", "t5")
    ask(node, "/exchange/fhir/ImagingStudy?modality=CT", "t5")
    ask(node, f"/exchange/dicom-web/studies/{study}/manifest", "t2")
    lines = [json.loads(line) for line in (node.place / "storage/journal.jsonl").read_text().splitlines()]
    told = {(line["event"], line.get("view"), line["by"].split(" ")[1]) for line in lines if line["event"] in ("queried", "denied") and " " in line["by"]}
    assert told >= {("queried", "house", "ris"), ("queried", "verdict", "ris"), ("queried", "report", "ris"), ("queried", "decisions", "t2"),
                    ("denied", None, "t5"), ("queried", "exchange", "t2")}, told
    whys = [line["why"] for line in lines if line["event"] == "denied" and line["by"].startswith("key t5")]
    assert any(study in why for why in whys) and any("FHIR" in why for why in whys), whys
    assert "HT0002" not in (node.place / "storage/journal.jsonl").read_text(), "no patient in the journal"


def test_reminders(node, studies):
    def remind(who="t2", **body):
        return ask(node, "/exchange/reminders", who, "POST", body)

    answer = remind(patient={"id": "HT0002"}, item=34, encounter="E99")
    one, = offered(answer)
    assert (one["study"], one["item"], one["hospital"], one["institution"]) == (studies["HT0002"], 34, "T1", "生产医院")
    # Nobody is held to an exam that is over the region's months; it is shown and labelled.
    assert one["strength"] == ("must" if one["recent"] else "optional") and one["recent"] == (time.strftime("%Y%m%d") <= one["recent_until"])
    assert ("OLDER" in {r["code"] for r in one["reasons"]}) != one["recent"] and ("超过近期时限" in one["text"]) != one["recent"]
    assert one["region"] == "yubei" and one["edition"] and one["recent_until"] and "予互认" in one["text"] and one["reasons"]
    assert (one["mark"], one["quality"]["outcome"], one["report"]) == ("渝北 HR", "accept", "none")
    assert '"encounter":"E99"' in (node.place / "storage/journal.jsonl").read_text()
    assert offered(remind(patient={"id": "HT0002"}))[0]["item"] == 34
    assert offered(remind(patient={"id": "HT0002"}, item=1)) == []
    # Frontal and lateral chest (2) includes the frontal one (1).
    assert [c["item"] for c in offered(remind(patient={"id": "HT0001"}, item=1))] == [2]
    birth = ask(node, "/dicom-web/studies?PatientID=HT0002&includefield=all", "admin").json[0]["00100030"]["Value"][0]
    for name in ("王小东", "wang xiaodong", "Wang^XiaoDong"):
        assert len(offered(remind(patient={"name": name, "birth_date": f"{birth[:4]}-{birth[4:6]}-{birth[6:]}"}))) == 1, name
    assert offered(remind(patient={"id": "nobody"})) == []
    assert offered(remind("t4", patient={"id": "HT0002"})) == []
    assert offered(remind("ris", patient={"id": "HT0002"}, hospital="T2"))
    assert remind("ris", patient={"id": "HT0002"}, hospital="T99").status == 400
    assert remind("t2", patient={"id": "HT0002"}, hospital="T5").status == 403
    for body in ({}, {"patient": {}}, {"patient": {"id": "HT*"}}, {"patient": {"name": "王"}}, {"patient": {"name": "王", "birth_date": "-"}}, {"patient": {"id": "HT0002"}, "item": 999}, {"patient": {"id": "x"}, "odd": 1}):
        assert ask(node, "/exchange/reminders", "t2", "POST", body).status == 400, body
    begun = time.perf_counter()
    for _ in range(20):
        remind(patient={"id": "HT0002"}, item=34)
    print("a reminder:", (time.perf_counter() - begun) / 20)


def test_cds_hooks(node, studies):
    services = ask(node, "/exchange/cds-services", "t2").json["services"]
    assert {s["hook"] for s in services} == {"order-select", "order-sign"} and all(s["prefetch"]["patient"] for s in services)
    call = {"hook": "order-select", "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
            "context": {"userId": "Practitioner/1", "patientId": "p", "selections": ["ServiceRequest/1"],
                        "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "ServiceRequest", "id": "1", "code": {"text": "头颅CT"}}}]}},
            "prefetch": {"patient": {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:x", "value": "HT0002"}]}}}
    card, = ask(node, "/exchange/cds-services/recognised-exams-order-select", "t2", "POST", call).json["cards"]
    assert len(card["summary"]) <= 140 and card["indicator"] in ("info", "warning") and card["source"]["label"] and studies["HT0002"] in card["links"][0]["url"]
    assert ask(node, "/exchange/cds-services/recognised-exams-order-sign", "t2", "POST", call).status == 404
    assert ask(node, "/exchange/cds-services/recognised-exams-order-select", "t2", "POST", {**call, "prefetch": {}}).status == 400


def test_fhir_for_ehrs(node, studies):
    """Judged by the models of an independent library."""
    from fhir.resources.R4B.bundle import Bundle
    from fhir.resources.R4B.capabilitystatement import CapabilityStatement
    from fhir.resources.R4B.endpoint import Endpoint
    from fhir.resources.R4B.imagingstudy import ImagingStudy
    from fhir.resources.R4B.operationoutcome import OperationOutcome
    from fhir.resources.R4B.patient import Patient

    def got(path, who="t2", status=200):
        answer = ask(node, f"/exchange/fhir/{path}", who, Accept="application/fhir+json")
        assert answer.status == status and answer.headers["Content-Type"].startswith("application/fhir+json"), (path, answer.status, answer.body)
        return answer.json

    study = studies["HT0002"]
    CapabilityStatement.model_validate(got("metadata"))
    for query in ("ImagingStudy?patient.identifier=HT0002", f"ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:{study}", "ImagingStudy?patient=Patient/" + "HT0002".encode().hex()):
        bundle = Bundle.model_validate(got(query))
        assert bundle.total == 1 and bundle.entry[0].resource.id == study, query
    one = ImagingStudy.model_validate(got(f"ImagingStudy/{study}"))
    assert (one.numberOfInstances, one.numberOfSeries, one.modality[0].code, one.procedureCode[0].coding[0].code) == (30, 1, "CT", "34")
    assert len(one.series[0].instance) == 30 and one.series[0].instance[0].sopClass.code == "urn:oid:1.2.840.10008.5.1.4.1.1.2"
    shown = {i["00080018"]["Value"][0] for i in ask(node, f"/exchange/dicom-web/studies/{study}/instances", "t2").json}
    assert {i.uid for i in one.series[0].instance} == shown
    patient = Patient.model_validate(got(one.subject.reference))
    assert patient.identifier[0].value == "HT0002" and {n.text for n in patient.name} == {"Wang XiaoDong", "王 小东"} and patient.birthDate
    endpoint = Endpoint.model_validate(got(one.endpoint[0].reference))
    assert ask(node, endpoint.address.replace(node.http, "") + f"/studies/{study}/metadata", "t2").status == 200
    assert Bundle.model_validate(got("Patient?identifier=HT0002")).total == 1
    reference = "HT0002".encode().hex()
    for query, total in {
        f"ImagingStudy?subject=Patient/{reference}": 1, f"ImagingStudy?subject:Patient.identifier=HT0002&modality=CT,MR": 1, f"ImagingStudy?_id={study}": 1,
        f"ImagingStudy?_id={study}&modality=MR": 0, f"ImagingStudy?_id={study}&started=gt2026-03-10": 0, f"ImagingStudy?_id={study}&started=ge2026-03&status=available": 1,
        f"Patient?_id={reference}": 1, f"ImagingStudy?patient={reference}&_count=0": 1,
    }.items():
        bundle = Bundle.model_validate(got(query))
        assert (bundle.total, len(bundle.entry or [])) == (total, 0 if "_count=0" in query else total) and bundle.link[0].relation == "self", query
    # What is not known narrows nothing: it is refused, unless the client takes that.
    for query in (f"ImagingStudy?_id={study}&bodysite=HEAD", f"ImagingStudy?_id={study}&started=soon", f"ImagingStudy?_id={study}&identifier=urn:oid:1.2"):
        OperationOutcome.model_validate(got(query, status=400))
    lenient = ask(node, f"/exchange/fhir/ImagingStudy?_id={study}&bodysite=HEAD", "t2", Prefer="handling=lenient")
    assert lenient.status == 200 and "bodysite" in lenient.json["link"][0]["url"]
    # By POST no identifier stands in an address.
    def by_form(body):
        return ask(node, "/exchange/fhir/ImagingStudy/_search", "t2", "POST", body, Content_Type="application/x-www-form-urlencoded")

    posted = by_form(b"patient.identifier=HT0002")
    assert posted.status == 200 and Bundle.model_validate(posted.json).total == 1 and by_form(b"modality=CT").status == 403
    # Nobody browses, and what is not granted is not there.
    for query in ("ImagingStudy", "ImagingStudy?patient.identifier=", "ImagingStudy?patient.identifier=HT*", "Patient", "ImagingStudy?modality=CT"):
        OperationOutcome.model_validate(got(query, status=403))
    assert got("ImagingStudy?patient.identifier=HT0002", "t5")["total"] == 0
    for path in (f"ImagingStudy/{study}", "Patient/" + "HT0002".encode().hex()):
        assert got(path, "t5", 404) == got(path.split("/")[0] + "/1.2.3", "t5", 404)
    # A pattern is no patient, and an accession number names nobody.
    for pattern in ("*", "HT*", "HT000?"):
        assert got("Patient/" + pattern.encode().hex(), status=404)["resourceType"] == "OperationOutcome", pattern
    accession = ask(node, f"/dicom-web/studies?StudyInstanceUID={study}&includefield=all", "admin").json[0]["00080050"]["Value"][0]
    OperationOutcome.model_validate(got(f"ImagingStudy?identifier={accession}", status=403))
    assert got(f"ImagingStudy?identifier={accession}&patient.identifier=HT0002")["total"] == 1
    assert got(f"ImagingStudy?identifier=other&patient.identifier=HT0002")["total"] == 0
    for path in ("ImagingStudy/..%2F..%2Fapi", "Observation/1", "Patient/zz", "Endpoint/other"):
        OperationOutcome.model_validate(got(path, status=404))


def test_decisions_and_figures_counted_by_hand(tmp_path, signer, phantoms):
    node = started(tmp_path, signer, phantoms, studies=("CtHead", "Chest"))
    try:
        found = node.json("/dicom-web/studies?includefield=all")
        study = {s["00100020"]["Value"][0]: s["0020000D"]["Value"][0] for s in found}
        head, chest = study["HT0002"], study["HT0001"]

        def decide(who="t2", key=None, **body):
            headers = {"Idempotency_Key": key} if key else {}
            return ask(node, "/exchange/decisions", who, "POST", {"clinician": "李", "encounter": "M1", "department": "神经内科", **body}, **headers)

        accepted = decide(key="k1", study=head, item=34, choice="accept", result="颅内未见异常")
        assert accepted.status == 201
        record = accepted.json["record"]
        assert (record["exam"]["institution"], record["exam"]["hospital"], record["exam"]["region"], len(record["exam"]["contents"])) == ("生产医院", "T1", "yubei", 64)
        assert "予以互认" in accepted.json["medical_record"] and "颅内未见异常" in accepted.json["medical_record"]
        again = decide(key="k1", study=head, item=34, choice="accept", result="颅内未见异常")
        assert again.status == 200 and again.json["id"] == accepted.json["id"]
        assert decide(key="k1", study=head, item=34, choice="accept", result="别的").status == 409
        missing = decide(study=head, item=34, choice="reject")
        assert missing.status == 422 and all(word in missing.json["detail"] for word in ("reasons", "informed_by", "consent"))
        rejected = decide(study=head, item=34, choice="reject", reasons=["YB-E08"], informed_by="王", consent={"given": True, "person": "patient"}, repeated=True,
                          basis="症状加重", signature="doc-1")
        assert rejected.status == 201 and "复查依据：症状加重" in rejected.json["medical_record"]
        refused = decide(study=chest, item=2, choice="reject", clinician="张", reasons=["YB-E01", "YB-E10"], text="待查", informed_by="王",
                         consent={"given": False, "person": "子"}, signature="doc-2")
        assert refused.status == 201
        # A correction: the rejection was entered by mistake.
        corrected = decide(study=chest, item=2, choice="accept", clinician="张", result="双肺清晰", corrects=refused.json["id"])
        assert corrected.status == 201
        assert decide(study=head, item=34, choice="accept", result="x", corrects="0" * 32).status == 400
        assert decide(study=chest, item=2, choice="accept", result="y", corrects=refused.json["id"]).status == 409, "corrected before"
        for who, body in (("t4", {"study": head}), ("t5", {"study": head}), ("t2", {"study": "1.2.3"}), ("t2", {"study": head, "item": 1})):
            assert decide(who, **{"item": 34, "choice": "accept", "result": "x", **body}).status == 404, (who, body)
        assert ask(node, f"/exchange/decisions/{accepted.json['id']}", "t2").json["record"] == record
        assert ask(node, f"/exchange/decisions/{accepted.json['id']}", "t5").status == 404
        assert ask(node, "/exchange/decisions/..%2F..%2Fjournal", "t2").status == 404
        for _ in range(3):
            ask(node, "/exchange/reminders", "t2", "POST", {"patient": {"id": "HT0002"}})
        for frame in (1, 2):
            ask(node, f"/exchange/dicom-web/studies/{head}/metadata", "t2")
            ask(node, f"/exchange/dicom-web/studies/{head}/rendered", "t2", Accept="image/jpeg")
        figures = ask(node, "/api/v1/statistics", "admin").json
        decided = sum(c["accepted"] + c["rejected"] for c in figures["by_device"].values())
        assert decided == figures["total"]["accepted"] + figures["total"]["rejected"] > 0 and "?" not in figures["by_device"]
        assert figures["hours_to_availability"] > 0
        assert figures["total"] == {"offered": 1, "viewed": 1, "accepted": 2, "rejected": 1, "repeated": 1, "refused": 0}, "offered three times, one exam"
        for group, name in (("by_producer", "T1"), ("by_user", "T2"), ("by_item", "34")):
            assert (figures[group][name]["offered"], figures[group][name]["viewed"]) == (1, 1), (group, figures[group])
        assert sum(c["viewed"] for c in figures["by_device"].values()) == 1 and figures["by_item"]["2"]["viewed"] == 0
        assert figures["reasons"] == {"YB-E08": 1} and figures["saved"] == 1 and abs(figures["acceptance_rate"] - 2 / 3) < 1e-9
        assert figures["by_clinician"]["T2/李"]["rejected"] == 1 and figures["by_item"]["2"]["accepted"] == 1 and figures["by_producer"]["T1"]["accepted"] == 2
        assert ask(node, "/api/v1/statistics?from=2020-01-01&to=2020-12-31", "admin").json["total"]["accepted"] == 0
        assert ask(node, "/api/v1/statistics?from=2020", "admin").status == 400
        table = ask(node, "/api/v1/statistics?format=csv&published=true", "admin").body.decode()
        assert table.startswith("group,name,offered") and "李" not in table and "<5" in table
        assert "acceptance_rate" not in table, "of three decisions"
        assert "figure,acceptance_rate,0.667" in ask(node, "/api/v1/statistics?format=csv", "admin").body.decode()
        journal = (tmp_path / "storage/journal.jsonl").read_text()
        assert "颅内未见异常" not in journal and journal.count('"event":"decided"') == 4
        # Tampering is found at the exact record.
        verify = lambda: subprocess.run([str(PROGRAM), "journal", "verify"], cwd=tmp_path, capture_output=True, text=True,
                                        env={**os.environ, "HUTONG_STORAGE__ROOT": str(tmp_path / "storage")})
        assert verify().returncode == 0
        lines = journal.splitlines()
        at = next(n for n, line in enumerate(lines) if '"event":"decided"' in line)
        (tmp_path / "storage/journal.jsonl").write_text("\n".join(lines[:at] + [lines[at].replace('"accepted":true', '"accepted":false')] + lines[at + 1:]) + "\n")
        done = verify()
        assert done.returncode == 1 and f"line {at + 1}" in done.stderr, done.stderr
        (tmp_path / "storage/journal.jsonl").write_text("\n".join(lines[:at] + lines[at + 1:]) + "\n")
        assert f"line {at + 1}" in verify().stderr, "taken out"
        (tmp_path / "storage/journal.jsonl").write_text(journal)
        # A record that was altered beside the node is not shown for what was written.
        (paper,) = (tmp_path / "storage/decisions").rglob(f"{accepted.json['id']}*")
        paper.write_text(paper.read_text().replace("颅内未见异常", "颅内占位"))
        altered = ask(node, f"/exchange/decisions/{accepted.json['id']}", "t2")
        assert altered.status == 500 and "altered" in altered.json["detail"] and "占位" not in altered.body.decode()
        paper.write_text(paper.read_text().replace("颅内占位", "颅内未见异常"))
        assert ask(node, f"/exchange/decisions/{accepted.json['id']}", "t2").status == 200
        # A crash between the record and the journal: whoever sends the decision again brings it into the journal.
        node.stop()
        assert journal.splitlines()[at].count(accepted.json["id"]) == 1
        rest = [line for line in (tmp_path / "storage/journal.jsonl").read_text().splitlines()[:at]]
        (tmp_path / "storage/journal.jsonl").write_text("\n".join(rest) + "\n")
        (tmp_path / "storage/journal.tip").unlink()
        node = Exchange(tmp_path)
        again = decide(key="k1", study=head, item=34, choice="accept", result="颅内未见异常")
        assert again.status == 200 and again.json["id"] == accepted.json["id"]
        assert accepted.json["id"] in (tmp_path / "storage/journal.jsonl").read_text() and verify().returncode == 0
    finally:
        node.stop()


def test_a_revoked_hospital_is_out_at_once(tmp_path, signer, phantoms):
    node = started(tmp_path, signer, phantoms, studies=("CtHead",))
    try:
        study = node.json("/dicom-web/studies")[0]["0020000D"]["Value"][0]
        seen = lambda who: ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", who).status
        token = signer.token()
        assert seen("t2") == 200 and ask(node, f"/exchange/dicom-web/studies/{study}", Authorization=f"Bearer {token}", Accept="*/*").status == 200
        shown = ask(node, "/api/v1/register", "admin")
        assert shown.status == 200 and "T1" in shown.headers["X-Too-Few-Rounds"]
        text = shown.body.decode()
        out = text.replace('ae_titles = ["OUTSIDE"]', 'ae_titles = ["OUTSIDE"]\nmember = false').encode()
        put = lambda body, tag, who="admin": ask(node, "/api/v1/register", who, "PUT", body, If_Match=tag, Content_Type="application/toml")
        assert put(out, '"stale"').status == 412 and put(b"[[hospital]]\ncod = 1\n", shown.headers["ETag"]).status == 422
        assert put(out, shown.headers["ETag"], "ris").status == 403 and ask(node, "/api/v1/register", "admin", "PUT", out).status == 428
        changed = put(out, shown.headers["ETag"])
        assert changed.status == 200
        assert seen("t2") == 401
        # The token that was good a moment ago is of no use.
        assert ask(node, f"/exchange/dicom-web/studies/{study}", Authorization=f"Bearer {token}", Accept="*/*").status == 401
        assert put(text.encode(), changed.headers["ETag"]).status == 200 and seen("t2") == 200
        # The producer fails its assessment: its copies leave the exchange, for everybody.
        failed = text.replace("passed = true", "passed = false", 1).encode()
        assert put(failed, ask(node, "/api/v1/register", "admin").headers["ETag"]).status == 200
        assert ask(node, f"/exchange/dicom-web/studies/{study}", "t2", Accept="*/*").status in (404, 410)
        until(lambda: ask(node, f"/exchange/dicom-web/studies/{study}", "ris", Accept="*/*").status == 410, 60)
        journal = (tmp_path / "storage/journal.jsonl").read_text()
        assert journal.count('"event":"register-changed"') == 3 and '"event":"withdrawn"' in journal
        assert len(list(tmp_path.glob("hospitals.before-*.toml"))) == 3
        # Whoever edits the file beside the node leaves a record too.
        (tmp_path / "hospitals.toml").write_text(text, encoding="utf-8")
        assert until(lambda: '"by":"file"' in (tmp_path / "storage/journal.jsonl").read_text())
        assert (tmp_path / "storage/journal.jsonl").read_text().count('"event":"register-changed"') == 4
    finally:
        node.stop()


def test_guessing_is_locked_out(tmp_path, signer, phantoms):
    node = started(tmp_path, signer, phantoms, "[access]\nfailures = 5\nlockout_seconds = 3\nrequests_per_minute = 30\n", studies=())
    try:
        guess = lambda: ask(node, "/exchange/dicom-web/studies?PatientID=x", X_Api_Key="guess").status
        assert [guess() for _ in range(5)] == [401] * 5
        locked = ask(node, "/exchange/dicom-web/studies?PatientID=x", X_Api_Key="guess")
        assert locked.status == 429 and locked.headers["Retry-After"]
        time.sleep(3.2)
        assert guess() == 401
        assert [ask(node, "/exchange/dicom-web/studies?PatientID=x", "t2").status for _ in range(31)] == [204] * 30 + [429]
    finally:
        node.stop()


def test_keys_are_fetched_from_the_issuer_and_again_when_it_changes_them(tmp_path, signer):
    """A small issuer over HTTP: it publishes its keys, is away for a while, and publishes others."""
    published, asked = {"text": signer.jwks(), "status": 200}, []

    class Issuer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(published["status"])
            self.end_headers()
            self.wfile.write(published["text"].encode())

        def log_message(self, *_):
            pass

    issuer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=issuer.serve_forever, daemon=True).start()
    text = access(tmp_path / "keys.json").replace("[[access.issuer]]", f'[[access.issuer]]\njwks_url = "http://127.0.0.1:{issuer.server_port}/keys"')
    (tmp_path / "hutong.toml").write_text(text, encoding="utf-8")
    node = Exchange(tmp_path)

    def status(token):
        return ask(node, "/exchange/dicom-web/studies?PatientID=x", Authorization=f"Bearer {token}").status

    def until_asked(count):
        for _ in range(200):
            if len(asked) >= count:
                return time.sleep(0.5)
            time.sleep(0.1)
        raise AssertionError(asked)

    try:
        until_asked(1)
        assert status(signer.token()) == 204 and json.loads((tmp_path / "keys.json").read_text())["keys"][0]["kid"] == "r1"
        # Another key: unknown at first; the token makes the node ask, and what comes is no key set.
        other = Signer()
        published.update(text="<html>", status=200)
        new = other.token(kid="r2")
        assert status(new) == 401
        until_asked(2)
        assert status(signer.token()) == 204, "the last good set holds"
        published.update(text=other.jwks().replace('"r1"', '"r2"'))
        assert status(new) == 401
        until_asked(3)
        assert status(new) == 204 and status(signer.token()) == 401, "the old key is gone"
        assert "r2" in (tmp_path / "keys.json").read_text() and new not in (tmp_path / "log").read_text()
    finally:
        node.stop()
        issuer.shutdown()
    (tmp_path / "hutong.toml").write_text(text.replace("http://127.0.0.1", "http://issuer.example"), encoding="utf-8")
    done = subprocess.run([str(PROGRAM), "serve"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HUTONG_STORAGE__ROOT": str(tmp_path / "s")})
    assert done.returncode != 0 and "jwks_url begins with https://" in done.stderr


def test_a_certificate_is_a_hospital(tmp_path, signer, phantoms, certificates):  # noqa: F811
    text = (f'[http]\ntls_certificate = "{certificates}/node.pem"\ntls_key = "{certificates}/node.key"\ntls_client_authorities = "{certificates}/ca.pem"\n')

    class Secure(Exchange):
        register = REGISTER.replace(CERTIFICATE, fingerprint(certificates, "good"))

    (tmp_path / "jwks.json").write_text(signer.jwks())
    (tmp_path / "hutong.toml").write_text(access(tmp_path / "jwks.json", text))
    node = Secure(tmp_path)
    try:
        node.http = node.http.replace("http://", "https://").replace("127.0.0.1", "localhost")

        def status(name, path="/exchange/dicom-web/studies?PatientID=x", who=None):
            context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
            if name:
                context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
            return ask(node, path, who, context=context).status

        assert status("good") == 204 and status("good", "/dicom-web/studies") == 403
        assert status("second") == 401, "of the authority, and of no hospital"
        with pytest.raises(OSError):
            status("stranger")
        assert status(None) == 401 and status(None, who="t2") == 204
    finally:
        node.stop()


def test_beyond_loopback_nobody_starts_without_asking_who(tmp_path):
    env = {**os.environ, "HUTONG_STORAGE__ROOT": str(tmp_path / "s"), "HUTONG_HTTP__BIND": "0.0.0.0", "HUTONG_HTTP__PORT": "0", "HUTONG_DIMSE__PORT": "0"}
    done = subprocess.run([str(PROGRAM), "serve"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "access.key" in done.stderr and "allow_open" in done.stderr
    made = subprocess.run([str(PROGRAM), "access-key", "ris", "--role", "exchange", "--hospital", "T2"], capture_output=True, text=True).stdout
    key = made.split("once: ")[1].split()[0]
    assert hashlib.sha256(key.encode()).hexdigest() in made and len(key) == 64
