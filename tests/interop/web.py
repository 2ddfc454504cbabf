"""Plain HTTP for the clause suite: what goes over the wire is what stands here, and answers are taken apart by hand."""
import email.parser
import email.policy
import http.client
import json
from urllib.parse import urlsplit


class Answer:
    def __init__(self, raw):
        self.status, self.headers, self.body = raw.status, raw.headers, raw.read()

    @property
    def kind(self):
        return (self.headers.get("Content-Type") or "").split(";")[0]

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def warnings(self):
        return self.headers.get_all("Warning") or []

    @property
    def parts(self):
        """(headers, bytes) of each part of a multipart body, by RFC 2046."""
        kind = self.headers["Content-Type"]
        message = email.parser.HeaderParser(policy=email.policy.HTTP).parsestr(f"Content-Type: {kind}\r\n\r\n")
        assert message.get_content_type() == "multipart/related", kind
        assert message.get_param("type"), kind
        mark = b"--" + message.get_param("boundary").encode()
        pieces = (b"\r\n" + self.body).split(b"\r\n" + mark)
        assert pieces[-1].startswith(b"--"), "the body is not closed"
        found = []
        for piece in pieces[1:-1]:
            head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            found.append(({name.lower(): value for name, value in lines}, body))
        return found


class Web:
    def __init__(self, base):
        self.base = base

    def ask(self, path, accept="*/*", method="GET", body=None, **headers):
        at = urlsplit(path if path.startswith("http") else self.base + path)
        connection = http.client.HTTPConnection(at.netloc, timeout=120)
        target = at.path + (f"?{at.query}" if at.query else "")
        connection.putrequest(method, target, skip_accept_encoding=True)
        if accept is not None:
            connection.putheader("Accept", accept)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())

    def problem(self, status, path, accept="*/*", **rest):
        """An answer that refuses, with a problem body that says so."""
        answer = self.ask(path, accept, **rest)
        assert answer.status == status, (answer.status, answer.body[:300])
        assert answer.kind == "application/problem+json", answer.kind
        assert answer.json["status"] == status and answer.json["detail"]
        return answer


def related(parts, kind):
    """A multipart/related body and its Content-Type."""
    mark = "b-0-u_n.d"
    body = b""
    for headers, data in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"\r\n--{mark}\r\n{lines}\r\n".encode() + data
    return body + f"\r\n--{mark}--\r\n".encode(), f'multipart/related; type="{kind}"; boundary="{mark}"'
