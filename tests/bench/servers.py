"""Servers to measure: Hutong on a fresh data root, and the peers that ../shared/bench/peer.py starts."""
import os
import shutil
import signal
import subprocess
import sys
import time


# Where the harness receives what C-MOVE sends.
SINK = """
[[peer]]
aet = "BENCHSINK"
address = "127.0.0.1:11119"
"""


def hutong(program, work):
    """Process, DICOM port, AE title and HTTP address."""
    root = work / "hutong"
    (work / "hutong.toml").write_text(SINK)
    shutil.rmtree(root, ignore_errors=True)
    env = {**os.environ, "HUTONG_STORAGE__ROOT": str(root), "HUTONG_DIMSE__PORT": "0", "HUTONG_HTTP__PORT": "0",
           "HUTONG_STUDY__QUIET_PERIOD": "24h", "HUTONG_LOG__FILTER": "warn"}
    server = subprocess.Popen([str(program.absolute()), "serve"], env=env, stdout=subprocess.PIPE, text=True, cwd=work,
                              stderr=open(work / "hutong.log", "a"))
    words = server.stdout.readline().split()
    return server, int(words[1].rsplit(":", 1)[1]), "HUTONG", words[-1]


def peer(shared, work, name, port):
    """As for Hutong; the HTTP port is the one after the DICOM port."""
    command = [sys.executable, str(shared / "bench/peer.py"), name, "--dir", str(work / name), "--fresh", "--port", str(port),
               "--http-port", str(port + 1), "--no-gdcm"]
    # pynetdicom brings programs of the same names: Debian's are meant.
    env = {**os.environ, "PATH": f"/usr/sbin:/usr/bin:/bin:{os.environ['PATH']}"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    server.stdout.readline()
    time.sleep(4)
    return server, port, name.upper(), f"http://127.0.0.1:{port + 1}"


def stop(server):
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
