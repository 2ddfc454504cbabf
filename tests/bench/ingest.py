#!/usr/bin/env python3
"""Ingest rate of Hutong against the floor of the same machine in the same run, and against Orthanc and DCMTK's storescp.

    tests/bench/ingest.py --shared ../shared --work /tmp/bench-work [--fill 300000] [--peers orthanc,storescp]

The floor (shared/bench/floor.py) sends the same bytes over loopback and writes and syncs each to a file of its own. Rounds are
interleaved, medians are printed as ratios: a machine that gets slower in the middle makes both slower. Needs the release
build, pydicom, numpy, httpx, and for the peers Orthanc and DCMTK.
"""
import argparse
import json
import os
import shutil
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
    p.add_argument("--hutong", type=Path, default=Path("target/release/hutong"))
    p.add_argument("--peers", default="orthanc,storescp", help="comma-separated, may be empty")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--ct", type=int, default=640, help="CT slices (512 KiB) a round")
    p.add_argument("--tiny", type=int, default=3200, help="images of 12 KB a round")
    p.add_argument("--fill", type=int, default=0, help="then store so many tiny images, and report the rate as it fills")
    return p.parse_args()


class Target:
    """One server, and the sender of the shared harness."""

    def __init__(self, cstore, studies, server, port, aet):
        self.cstore, self.server = cstore, server
        self.bench = SimpleNamespace(host="127.0.0.1", port=port, aet=aet, args=SimpleNamespace(calling_aet="BENCH"),
                                     of_kind=lambda *kinds: [s for s in studies if s.kind in kinds])

    def rate(self, kind, parallel, total):
        plan, _ = self.cstore.shares(self.bench, kind, parallel, total)
        state = self.cstore.prepare_raw(self.bench, plan)
        os.sync()
        time.sleep(0.5)
        return self.cstore.run_raw(state)


def main():
    args = arguments()
    args.shared = args.shared.absolute()
    args.work = args.work.absolute()
    args.work.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(args.shared / "bench"))
    import cstore
    import floor
    from common import load_manifest
    data = args.work / "data"
    if not (data / "manifest.json").exists():
        subprocess.run([sys.executable, str(args.shared / "bench/generate.py"), "--out", str(data), "--ct-studies", "8",
                        "--ct-slices", "100", "--dr-studies", "1", "--mr-studies", "1", "--scale-studies", "3000",
                        "--scale-instances", "10"], check=True, stdout=subprocess.DEVNULL)
    studies = load_manifest(str(data))
    blobs = {"ct": [f.read_bytes() for s in studies if s.kind == "ct" for f in s.files()][:args.ct],
             "scale": [f.read_bytes() for s in studies if s.kind == "scale" for f in s.files()][:args.tiny]}
    targets = {"hutong": Target(cstore, studies, *servers.hutong(args.hutong, args.work)[:3])}
    for n, name in enumerate(x for x in args.peers.split(",") if x):
        targets[name] = Target(cstore, studies, *servers.peer(args.shared, args.work, name, 14242 + 10 * n)[:3])
    results = {}
    try:
        for _ in range(args.rounds):
            for kind, total in (("ct", args.ct), ("scale", args.tiny)):
                for parallel in (1, 8):
                    key = f"{kind}.p{parallel}"
                    folder = floor.fresh(args.work / "floor")
                    got = floor.once(blobs[kind], "fsync", parallel, folder)
                    results.setdefault(key, {}).setdefault("floor", []).append(got["inst_s"])
                    for name, target in targets.items():
                        try:
                            got = target.rate(kind, parallel, total)
                            results[key].setdefault(name, []).append(got["inst_s"])
                        except Exception as error:
                            print(f"{name} {key}: {error}", file=sys.stderr)
                    shutil.rmtree(args.work / "floor", ignore_errors=True)
        summary = {key: {name: round(statistics.median(v), 1) for name, v in row.items()} for key, row in results.items()}
        for key, row in summary.items():
            ratios = {f"hutong/{name}": round(row["hutong"] / rate, 2) for name, rate in row.items() if name != "hutong"}
            print(key, json.dumps(row), json.dumps(ratios), flush=True)
        filled, started = 0, time.time()
        while filled < args.fill:
            got = targets["hutong"].rate("scale", 8, 20000)
            filled += 20000
            print(f"filled {filled}: {got['inst_s']:.0f} inst/s, response p99 {got['rsp_p99_ms']} ms, {time.time() - started:.0f} s", flush=True)
    finally:
        for target in targets.values():
            servers.stop(target.server)


if __name__ == "__main__":
    main()
