"""The journal for auditors: DICOM audit messages to a syslog server over TLS, and FHIR AuditEvent."""
import base64
import json
import re
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ElementTree

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from test_exchange import ask, signer, started  # noqa: F401
from test_retrieve import certificates, free_port, until  # noqa: F401


class Syslog:
    """A syslog server over TLS (RFC 5425): octet counting, client certificates."""

    def __init__(self, folder, port):
        self.context = self.takes(folder)
        self.listening = socket.create_server(("127.0.0.1", port))
        self.messages, self.broken = [], []
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def takes(folder):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "node.pem", folder / "node.key")
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def serve(self):
        while True:
            try:
                plain, _ = self.listening.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(plain, server_side=True) as stream:
                    data = b""
                    while chunk := stream.recv(65536):
                        data += chunk
                while data:
                    length, _, rest = data.partition(b" ")
                    self.messages.append(rest[: int(length)].decode())
                    data = rest[int(length):]
            except (OSError, ValueError) as e:
                self.broken.append(e)

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


@pytest.mark.parametrize("how", ["refuses our certificate", "closes without reading"])
def test_what_a_server_has_not_read_is_not_counted_as_told(tmp_path, signer, phantoms, certificates, how):  # noqa: F811
    port = free_port()
    text = (f'[audit]\nsyslog = "localhost:{port}"\nauthorities = "{certificates}/ca.pem"\ncertificate = "{certificates}/good.pem"\n'
            f'key = "{certificates}/good.key"\n')
    server = Syslog(certificates, port) if how.startswith("refuses") else None
    if server:
        # It knows another authority.
        strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        strict.load_cert_chain(certificates / "node.pem", certificates / "node.key")
        strict.load_verify_locations(certificates / "other.pem")
        strict.verify_mode = ssl.CERT_REQUIRED
        server.context = strict
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "node.pem", certificates / "node.key")
        listening = socket.create_server(("127.0.0.1", port))

        def accept():
            while True:
                try:
                    plain, _ = listening.accept()
                    stream = context.wrap_socket(plain, server_side=True)
                    time.sleep(0.5)
                    stream.close()
                except (OSError, ValueError):
                    if listening.fileno() < 0:
                        return
        threading.Thread(target=accept, daemon=True).start()
    node = started(tmp_path, signer, phantoms, text, studies=())
    try:
        assert until(lambda: "audit messages cannot be sent" in (tmp_path / "log").read_text())
        assert not (tmp_path / "storage/outbox/audit/position.json").exists()
        if server:
            # As soon as it takes us, everything comes.
            server.context = Syslog.takes(certificates)
            assert until(lambda: {code(parsed(m)) for m in server.messages} >= {("110100", "E", "0")})
            server.close()
        else:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
    finally:
        node.stop()


def parsed(message):
    head, _, xml = message.partition("\ufeff")
    assert re.match(r"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z HUTONG hutong \d+ DICOM\+RFC3881 - $", head), head
    return ElementTree.fromstring(xml)


def code(message):
    event = message.find("EventIdentification")
    return event.find("EventID").get("csd-code"), event.get("EventActionCode"), event.get("EventOutcomeIndicator")


# PS3.15 A.5.1: what stands in which element, in which order.
ORDER = {"AuditMessage": ["EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification"],
         "EventIdentification": ["EventID", "EventTypeCode", "EventOutcomeDescription", "PurposeOfUse"],
         "ParticipantObjectIdentification": ["ParticipantObjectIDTypeCode", "ParticipantObjectName", "ParticipantObjectQuery", "ParticipantObjectDetail"]}


def check_form(message):
    for element in message.iter():
        if element.tag in ORDER:
            places = [ORDER[element.tag].index(child.tag) for child in element]
            assert places == sorted(places), ElementTree.tostring(message)
    assert message.findall("ActiveParticipant") and len(message.findall("AuditSourceIdentification")) == 1
    assert sum(p.get("UserIsRequestor") == "true" for p in message.findall("ActiveParticipant")) == 1


def test_audit_messages_reach_the_server_and_wait_while_it_is_down(tmp_path, signer, phantoms, certificates):  # noqa: F811
    port = free_port()
    text = (f'[audit]\nsyslog = "localhost:{port}"\nauthorities = "{certificates}/ca.pem"\ncertificate = "{certificates}/good.pem"\n'
            f'key = "{certificates}/good.key"\n')
    node = started(tmp_path, signer, phantoms, text, studies=("CtHead",))
    study = ask(node, "/dicom-web/studies", "admin").json[0]["0020000D"]["Value"][0]
    try:
        # Nobody listens yet: nothing of the node waits for that.
        assert ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", "t2", X_Purpose_Of_Use="TREATMENT").status == 200
        assert ask(node, f"/exchange/dicom-web/studies/{study}/metadata", "t2").status == 200
        assert ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", X_Api_Key="guess").status == 401
        assert ask(node, "/api/v1/peers/OTHER", "admin", "PUT", {"rights": ["echo"]}).status in (200, 201, 204)
        server = Syslog(certificates, port)
        wanted = {("110112", "E", "0"), ("110104", "R", "0"), ("110114", "E", "4"), ("110113", "E", "0"), ("110100", "E", "0"), ("110103", "C", "0")}
        got = lambda: [parsed(m) for m in server.messages]
        assert until(lambda: wanted <= {code(m) for m in got()}), {code(m) for m in got()}
        for message in got():
            check_form(message)
        queries = [m for m in got() if code(m)[0] == "110112"]
        (query,) = [m for m in queries if m.find("EventIdentification/PurposeOfUse") is not None]
        assert query.find("EventIdentification/PurposeOfUse").get("csd-code") == "TREATMENT"
        details = {d.get("type"): base64.b64decode(d.get("value")).decode() for d in query.iter("ParticipantObjectDetail")}
        assert details == {"view": "exchange", "keys": "PatientID"} and "HT0002" not in "".join(server.messages)
        (moved,) = [m for m in got() if code(m)[0] == "110104"]
        assert moved.find("ParticipantObjectIdentification").get("ParticipantObjectID") == study
        requestor = [p for p in moved.findall("ActiveParticipant") if p.get("UserIsRequestor") == "true"][0]
        assert requestor.get("UserID").startswith("key t2") and requestor.get("NetworkAccessPointID") == "127.0.0.1"
        # Down, and up again: what happened meanwhile comes, and nothing twice.
        server.close()
        before = len(server.messages)
        assert ask(node, f"/exchange/dicom-web/studies/{study}/metadata", "t2").status == 200
        again = Syslog(certificates, port)
        assert until(lambda: again.messages)
        assert [code(parsed(m)) for m in again.messages] == [("110104", "R", "0")] and len(server.messages) == before
        again.close()
    finally:
        node.stop()


def test_the_journal_is_read_as_fhir_audit_events_by_the_administrator_only(tmp_path, signer, phantoms):  # noqa: F811
    node = started(tmp_path, signer, phantoms, studies=("CtHead",))
    try:
        ask(node, "/exchange/dicom-web/studies?PatientID=HT0002", "t2", X_Purpose_Of_Use="TREATMENT")
        path = "/api/v1/fhir/AuditEvent"
        assert [ask(node, path, who).status for who in ("t2", "ris", None)] == [403, 403, 401]
        events = [e["resource"] for e in ask(node, path, "admin").json["entry"]]
        for event in events:
            AuditEvent.parse_obj(event) if hasattr(AuditEvent, "parse_obj") else AuditEvent.model_validate(event)
        assert {e["type"]["code"] for e in events} >= {"110100", "110103", "110112", "110114"}
        (query,) = [e for e in events if e["type"]["code"] == "110112" and "purposeOfEvent" in e]
        assert query["purposeOfEvent"] == [{"text": "TREATMENT"}] and query["agent"][0]["who"]["display"].startswith("key t2")
        # Page by page, each once.
        pages, next_page = [], path + "?_count=2"
        while next_page:
            bundle = ask(node, next_page, "admin").json
            pages += [e["resource"]["id"] for e in bundle.get("entry", [])]
            link = [link["url"] for link in bundle.get("link", [])]
            next_page = "/api/v1/fhir/" + link[0] if link else None
        assert pages[: len(events)] == [e["id"] for e in events] and len(set(pages)) == len(pages)
        assert "entry" not in ask(node, path + "?date=lt2020-01-01", "admin").json
        assert [ask(node, path + q, "admin").status for q in ("?date=2020", "?_count=x", "?patient=1")] == [400] * 3
        assert "HT0002" not in json.dumps(events)
    finally:
        node.stop()
