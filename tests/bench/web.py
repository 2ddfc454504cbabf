#!/usr/bin/env python3
"""DICOMweb of Hutong beside Orthanc in the same run: STOW-RS, QIDO-RS, metadata, studies, frames, rendered images.

    tests/bench/web.py --shared ../shared --work /tmp/bench-web [--scale] [--rounds 1] [--peers orthanc]

Both servers get the same studies over C-STORE; then each test is run on both, one after the other, so that a machine that gets slower
makes both slower. Medians are printed with their ratio. Whole studies are also compared with `sendfile` of the same stored files over
loopback: the floor. --scale adds 100,000 instances of 10,000 studies and asks the same questions again; it takes Orthanc minutes to load.
Needs the release build, pydicom, numpy, httpx, wrk and Orthanc.
"""
import argparse
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import servers


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", type=Path, default=Path("../shared"))
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--data", type=Path, help="what generate.py wrote; made in the work folder if it is missing")
    p.add_argument("--hutong", type=Path, default=Path("target/release/hutong"))
    p.add_argument("--peers", default="orthanc", help="empty: Hutong alone")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--scale", action="store_true")
    p.add_argument("--only", default="", help="tests whose name starts with one of these")
    return p.parse_args()


def store(bench, cstore, kinds, parallel=4):
    files = [(f, None) for s in bench.of_kind(*kinds) for f in s.files()]
    for at in range(0, len(files), 5000):
        part = files[at:at + 5000]
        share = -(-len(part) // parallel)
        cstore.run_raw(cstore.prepare_raw(bench, [part[i:i + share] for i in range(0, len(part), share)]))


def send_files(listener, files):
    while True:
        link, _ = listener.accept()
        for path in files:
            with open(path, "rb") as file:
                left, at = os.fstat(file.fileno()).st_size, 0
                while left:
                    sent = os.sendfile(link.fileno(), file.fileno(), at, left)
                    at, left = at + sent, left - sent
        link.close()


def floor(files, connections, seconds=5):
    """MB/s of sendfile over loopback into readers that throw everything away."""
    listener = socket.create_server(("127.0.0.1", 0))
    senders = [multiprocessing.Process(target=send_files, args=(listener, files), daemon=True) for _ in range(connections)]
    for s in senders:
        s.start()

    def read(total, until):
        buffer, got = bytearray(1 << 20), 0
        while time.time() < until:
            with socket.create_connection(listener.getsockname()) as link:
                while count := link.recv_into(buffer):
                    got += count
        total.put(got)
    total, start = multiprocessing.SimpleQueue(), time.time()
    readers = [multiprocessing.Process(target=read, args=(total, start + seconds)) for _ in range(connections)]
    for r in readers:
        r.start()
    got = sum(total.get() for _ in readers)
    took = time.time() - start
    for s in senders:
        s.terminate()
    listener.close()
    return got / took / 1e6


class Kept:
    """Collects the samples of one server under the rule of the shared harness."""

    def __init__(self, Bench, args, studies, server, port, aet, base):
        options = SimpleNamespace(host="127.0.0.1", port=port, aet=aet, calling_aet="BENCH", http_base=base, dicomweb_root="/dicom-web",
                                  only=args.only, attempts=2, quiet_wait=10, max_foreign=0.35, server_pid=server.pid, no_verify=True,
                                  instances=600, sink_aet="BENCHSINK", sink_port=11119)
        self.server, self.bench = server, Bench(options, studies)


def number(summary):
    for key in ("req_s", "inst_s"):
        if key in summary:
            return key, summary[key]["median"]
    return None, None


def main():
    args = arguments()
    args.shared, args.work = args.shared.absolute(), args.work.absolute()
    args.work.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(args.shared / "bench"))
    import cstore
    import qido
    import stow
    import wado
    from common import load_manifest
    from runner import Bench
    data = args.data or args.work / "data"
    if not (data / "manifest.json").exists():
        subprocess.run([sys.executable, str(args.shared / "bench/generate.py"), "--out", str(data)], check=True, stdout=subprocess.DEVNULL)
    studies = load_manifest(str(data))
    targets = {"hutong": Kept(Bench, args, studies, *servers.hutong(args.hutong, args.work))}
    if "orthanc" in args.peers.split(","):
        targets["orthanc"] = Kept(Bench, args, studies, *servers.peer(args.shared, args.work, "orthanc", 14262))
    floors = {}
    try:
        small = ("ct", "dr", "mr")
        for target in targets.values():
            store(target.bench, cstore, small)
        time.sleep(3)
        stored = sorted((args.work / "hutong/objects").rglob("*.dcm"))
        ct = [f for f in stored if f.stat().st_size > 500_000 and f.stat().st_size < 600_000]
        for _ in range(args.rounds):
            for connections in (1, 4):
                floors.setdefault(connections, []).append(floor(ct[:300], connections))
            for target in targets.values():
                wado.tests(target.bench)
                qido.tests(target.bench, small, "small")
                stow.one(target.bench, "ct", 4, 10, 600)
        if args.scale:
            for name, target in targets.items():
                start = time.time()
                store(target.bench, cstore, ("scale",))
                print(f"{name}: 100,000 instances loaded in {time.time() - start:.0f} s", flush=True)
            for _ in range(args.rounds):
                for target in targets.values():
                    qido.tests(target.bench, ("scale",), "scale")
        for connections, rates in floors.items():
            print(f"floor.sendfile.c{connections}: {statistics.median(rates):.0f} MB/s")
        summaries = {name: t.bench.summary() for name, t in targets.items()}
        for test, ours in summaries["hutong"].items():
            unit, rate = number(ours)
            row = {"hutong": rate, "p50_ms": ours.get("p50_ms", {}).get("median"), "p99_ms": ours.get("p99_ms", {}).get("median"),
                   "mb_s": ours.get("mb_s", {}).get("median")}
            peer = number(summaries.get("orthanc", {}).get(test, {}))[1]
            if peer:
                row |= {"orthanc": peer, "ratio": round(rate / peer, 2)}
            print(test, unit, json.dumps(row), flush=True)
        for name, target in targets.items():
            for test, why in target.bench.failures.items():
                print(f"{name} {test}: {why}")
    finally:
        for target in targets.values():
            servers.stop(target.server)


if __name__ == "__main__":
    main()
