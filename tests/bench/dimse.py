#!/usr/bin/env python3
"""C-FIND, C-MOVE and C-GET of Hutong beside Orthanc in the same run, and what loopback itself carries.

    tests/bench/dimse.py --shared ../shared --work /tmp/bench-dimse [--scale] [--rounds 1] [--only cmove]

Both get the same studies; each test is run on both, one after the other. --scale asks C-FIND again with 100,000 instances of 10,000 studies
more. Needs what web.py needs, and port 11119 free for the destination of C-MOVE.
"""
import json
import statistics
import subprocess
import sys
import time

import servers
from web import Kept, arguments, floor, store


def main():
    args = arguments()
    args.shared, args.work = args.shared.absolute(), args.work.absolute()
    args.work.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(args.shared / "bench"))
    import cfind
    import cstore
    import retrieve
    from common import load_manifest
    from runner import Bench
    data = args.data or args.work / "data"
    if not (data / "manifest.json").exists():
        subprocess.run([sys.executable, str(args.shared / "bench/generate.py"), "--out", str(data)], check=True, stdout=subprocess.DEVNULL)
    studies = load_manifest(str(data))
    targets = {"hutong": Kept(Bench, args, studies, *servers.hutong(args.hutong, args.work))}
    if "orthanc" in args.peers.split(","):
        targets["orthanc"] = Kept(Bench, args, studies, *servers.peer(args.shared, args.work, "orthanc", 14262))
    floors = []
    try:
        small = ("ct", "dr", "mr")
        for target in targets.values():
            store(target.bench, cstore, small)
        time.sleep(3)
        ct = [f for f in sorted((args.work / "hutong/objects").rglob("*.dcm")) if 500_000 < f.stat().st_size < 600_000]
        for _ in range(args.rounds):
            floors.append(floor(ct[:300], 4))
            for target in targets.values():
                cfind.tests(target.bench, small, "small")
                retrieve.tests(target.bench)
        if args.scale:
            for target in targets.values():
                store(target.bench, cstore, ("scale",))
            for _ in range(args.rounds):
                for target in targets.values():
                    cfind.tests(target.bench, ("scale",), "scale")
        print(f"floor.sendfile.c4: {statistics.median(floors):.0f} MB/s")
        summaries = {name: t.bench.summary() for name, t in targets.items()}
        for test, ours in summaries["hutong"].items():
            unit = "inst_s" if "inst_s" in ours else "p50_ms"
            row = {"hutong": ours[unit]["median"], "mb_s": ours.get("mb_s", {}).get("median"), "p99_ms": ours.get("p99_ms", {}).get("median")}
            peer = summaries.get("orthanc", {}).get(test, {}).get(unit, {}).get("median")
            if peer:
                row |= {"orthanc": peer, "ratio": round(row["hutong"] / peer if unit == "inst_s" else peer / row["hutong"], 2)}
            print(test, unit, json.dumps(row), flush=True)
        for name, target in targets.items():
            for test, why in target.bench.failures.items():
                print(f"{name} {test}: {why}")
    finally:
        for target in targets.values():
            servers.stop(target.server)


if __name__ == "__main__":
    main()
