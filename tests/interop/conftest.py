"""A Hutong node in a process of its own, with the phantoms in it, for foreign clients."""
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

PROGRAM = Path(os.environ.get("HUTONG", Path(__file__).parents[2] / "target/debug/hutong")).absolute()

REGISTER = """
[[hospital]]
code = "T1"
name = "测试医院"
ae_titles = ["INTEROP", "STORESCU", "DCMSEND", "PYNETDICOM", "ORTHANC"]
[[hospital.assessment]]
round = "2026-1"
passed = true
valid_from = "2000-01-01"
valid_to = "2099-12-31"

[[hospital]]
code = "T2"
name = "另一医院"
ae_titles = ["OUTSIDE"]
[[hospital.assessment]]
round = "2026-1"
passed = true
valid_from = "2000-01-01"
valid_to = "2099-12-31"
"""


class Node:
    register = REGISTER
    quiet = "1s"

    def __init__(self, place):
        self.place = place
        (place / "hospitals.toml").write_text(self.register, encoding="utf-8")
        env = {**os.environ, "HUTONG_STORAGE__ROOT": str(place / "storage"), "HUTONG_DIMSE__PORT": "0",
               "HUTONG_HTTP__PORT": "0", "HUTONG_STUDY__QUIET_PERIOD": self.quiet, "HUTONG_STORAGE__RESERVE_MIB": "64",
               "HUTONG_EXCHANGE__REGISTER": str(place / "hospitals.toml")}
        self.process = subprocess.Popen([str(PROGRAM), "serve"], env=env, stdout=subprocess.PIPE, text=True, cwd=place,
                                        stderr=open(place / "log", "w"))
        words = self.process.stdout.readline().split()
        self.port = int(words[1].rsplit(":", 1)[1])
        self.http = words[-1]

    @classmethod
    def again(cls, node):
        """The same data root, started once more."""
        return cls(node.place)

    def json(self, path, accept="application/dicom+json, application/json"):
        request = urllib.request.Request(self.http + path, headers={"Accept": accept})
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
            return json.loads(body) if body else []

    def judged(self, study):
        for _ in range(300):
            try:
                got = self.json(f"/api/v1/studies/{study}")
                if got["state"] in ("ready", "review") and got["verdict_is_current"]:
                    return got
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"study {study} is not judged")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0


@pytest.fixture()
def node(tmp_path):
    running = Node(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Files of the phantom studies, written by a demo node's own store: folder by modality."""
    folder = tmp_path_factory.mktemp("phantoms")
    subprocess.run([str(PROGRAM), "phantoms", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="session")
def shared():
    folder = Path(__file__).parents[3] / "shared"
    if not folder.is_dir():
        assert os.environ.get("CI") != "true", "../shared must be there with CI=true"
        pytest.skip("../shared is absent")
    return folder
