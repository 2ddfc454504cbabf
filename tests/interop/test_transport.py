"""HTTP/2 and TLS with curl and OpenSSL; cross-origin requests; the end of a node while somebody reads."""
import http.client
import json
import os
import ssl
import subprocess
import time
from urllib.parse import urlsplit

import pytest

from conftest import Node
from test_dimse import run
from web import Web


def node_with(place, **settings):
    names = {f"HUTONG_HTTP__{name.upper()}": json.dumps(value) for name, value in settings.items()}
    os.environ.update(names)
    try:
        return Node(place)
    finally:
        for name in names:
            del os.environ[name]


@pytest.fixture(scope="module")
def secure(tmp_path_factory, phantoms):
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, cwd=place, capture_output=True)
    node = node_with(place, tls_certificate=str(place / "cert.pem"), tls_key=str(place / "key.pem"))
    node.cert = place / "cert.pem"
    code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port), str(phantoms / "CtHead"))
    assert code == 0, said
    yield node
    node.stop()


def curl(*arguments):
    return subprocess.run(["curl", "-sS", *map(str, arguments)], capture_output=True, timeout=120)


def test_https_in_both_versions_of_http_and_of_tls(secure):
    assert secure.http.startswith("https://")
    for version, number in (("--http1.1", "1.1"), ("--http2", "2")):
        for tls in ("1.2", "1.3"):
            got = curl("--cacert", secure.cert, version, "--tls-max", tls, "-w", "%{http_version} %{http_code}", "-o", secure.place / "body",
                       f"{secure.http}/dicom-web/studies")
            assert got.stdout.decode() == f"{number} 200", (got.stdout, got.stderr)
    study = json.loads((secure.place / "body").read_text())[0]
    assert study["00081190"]["Value"][0].startswith(f"{secure.http}/dicom-web/")


def test_what_is_no_tls_is_turned_away_and_old_versions_too(secure):
    at = urlsplit(secure.http)
    plain = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/healthz")
        plain.getresponse()
    assert curl("--cacert", secure.cert, "--tls-max", "1.1", f"{secure.http}/healthz").returncode != 0
    assert curl(f"{secure.http}/healthz").returncode == 60, "a certificate that nobody vouches for is not taken by the client"
    assert curl("--cacert", secure.cert, f"{secure.http}/healthz").returncode == 0


def test_many_requests_at_a_time_on_one_connection(secure):
    study = json.loads(curl("--cacert", secure.cert, f"{secure.http}/dicom-web/studies").stdout)[0]["0020000D"]["Value"][0]
    rows = json.loads(curl("--cacert", secure.cert, f"{secure.http}/dicom-web/studies/{study}/instances").stdout)
    urls = [f"{r['00081190']['Value'][0]}/frames/1" for r in rows][:30]
    arguments = [a for n, url in enumerate(urls) for a in ("-o", secure.place / f"frame-{n}", url)]
    got = curl("--cacert", secure.cert, "--http2", "--parallel", "-H", "Accept: application/octet-stream", "-w", "%{http_code} %{num_connects}\n", *arguments)
    lines = got.stdout.decode().split("\n")[:-1]
    assert [line.split()[0] for line in lines] == ["200"] * len(urls), (lines, got.stderr)
    assert sum(int(line.split()[1]) for line in lines) < len(urls) / 2
    assert len({(secure.place / f"frame-{n}").stat().st_size for n in range(len(urls))}) == 1


def test_http_2_without_tls(secure, tmp_path):
    node = node_with(tmp_path)
    try:
        got = curl("--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", f"{node.http}/healthz", "-o", tmp_path / "body")
        assert got.stdout == b"2 200"
    finally:
        node.stop()


def test_a_certificate_that_does_not_read_stops_the_node_at_start(tmp_path):
    for certificate, key, word in (("no.pem", "no.key", "no.pem"), ("no.pem", None, "both")):
        env = {**os.environ, "HUTONG_STORAGE__ROOT": str(tmp_path / "s"), "HUTONG_DIMSE__PORT": "0", "HUTONG_HTTP__PORT": "0",
               "HUTONG_HTTP__TLS_CERTIFICATE": json.dumps(certificate)}
        if key:
            env["HUTONG_HTTP__TLS_KEY"] = json.dumps(key)
        from conftest import PROGRAM
        ran = subprocess.run([str(PROGRAM), "serve"], env=env, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert ran.returncode != 0 and "tls_certificate" in ran.stderr and word in ran.stderr, ran.stderr


def test_pages_of_allowed_origins_only(tmp_path):
    node = node_with(tmp_path, cors_origins=["https://viewer.example"], lenient_accept=True)
    try:
        web = Web(node.http)
        asked = dict(Origin="https://viewer.example", Access_Control_Request_Method="GET", Access_Control_Request_Headers="accept, authorization")
        leave = web.ask("/dicom-web/studies", method="OPTIONS", **asked)
        assert leave.status == 204 and leave.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
        assert "GET" in leave.headers["Access-Control-Allow-Methods"] and leave.headers["Access-Control-Allow-Headers"] == "accept, authorization"
        asked["Origin"] = "https://elsewhere.example"
        assert "Access-Control-Allow-Origin" not in web.ask("/dicom-web/studies", method="OPTIONS", **asked).headers
        answer = web.ask("/dicom-web/studies", Origin="https://viewer.example")
        assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example" and "origin" in answer.headers["Vary"].lower()
        assert "Access-Control-Allow-Origin" not in web.ask("/dicom-web/studies", Origin="null").headers
        # The switch of clause 1.
        assert web.ask("/dicom-web/studies", accept=None).status == 204
    finally:
        node.stop()


def test_a_node_that_stops_ends_what_is_under_way(tmp_path, phantoms):
    node = node_with(tmp_path)
    code, said = run("storescu", "-aet", "STORESCU", "-aec", "HUTONG", "+sd", "+r", "127.0.0.1", str(node.port), str(phantoms / "CtHead"))
    assert code == 0, said
    study = node.json("/dicom-web/studies")[0]["0020000D"]["Value"][0]
    at = urlsplit(node.http)
    link = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    link.request("GET", f"/dicom-web/studies/{study}", headers={"Accept": "*/*"})
    answer = link.getresponse()
    got = answer.read(100_000)
    node.process.terminate()
    time.sleep(0.5)
    got += answer.read()
    assert got.rstrip().endswith(b"--") and got.count(b"DICM") >= 30
    link.close()
    assert node.process.wait(60) == 0


def test_an_unknown_ssl_client_is_no_crash(secure):
    at = urlsplit(secure.http)
    context = ssl.create_default_context(cafile=str(secure.cert))
    link = http.client.HTTPSConnection(at.hostname, at.port, context=context, timeout=30)
    link.request("GET", "/healthz")
    assert link.getresponse().status == 200
