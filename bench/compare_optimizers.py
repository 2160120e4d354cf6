#!/usr/bin/env python3
"""The README's optimizer-step table: minima and the public optimizers in turns, on DistilBERT-base-cased's shapes.

    cmake --build build --target bench_optimizers
    python bench/compare_optimizers.py [--rounds 9] [--steps 3] [--only adamw,adamw8bit]

Two programs stay loaded, bench_optimizers and bench/peer_optimizers.py; each optimizer of the one and its peer run a few steps
in turn, round after round, so that whatever else the machine does meets all of them alike. The first round warms up and does
not count; a round in which another process took more than --busy of a core is repeated. Reported are medians over rounds of
each round's median step and of each round's ratios: the peer's time to ours, and ours to our AdamW's. `of limit` is the time
that the bytes a step must read and write take at the measured bandwidth, over ours.
Needs: torch, transformers; bitsandbytes and came-pytorch for their optimizers (bench/peer_optimizers.py).
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from turns import HERE, Peer, seconds_elsewhere

# Ours, and the peers that compute the same.
PAIRS = {
    "adamw": ["adamw", "adamw-foreach"],
    "sgd:momentum=0.9": ["sgd"],
    "adamw8bit": ["adamw8bit"],
    "adafactor": ["adafactor"],
    "adafactor-torch": ["adafactor-torch"],
    "came": ["came"],
    "lion": [],
    "adapm": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "bench_optimizers"))
    parser.add_argument("--threads", default="2", help="of the peers; minima takes every core")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of each optimizer in a round")
    parser.add_argument("--only", help="names with commas between, of minima's optimizers; adamw is always there")
    parser.add_argument("--busy", type=float, default=0.1, help="cores that others may use in a round that counts")
    options = parser.parse_args()

    ours = Peer([options.minima, "--serve"])
    theirs = Peer([sys.executable, str(HERE / "peer_optimizers.py"), "--threads", options.threads, "--serve"])
    wanted = set(options.only.split(",")) | {"adamw"} if options.only else set(PAIRS)
    there = set(ours.ask("list")), set(theirs.ask("list"))
    pairs = {name: [p for p in peers if p in there[1]] for name, peers in PAIRS.items() if name in wanted & there[0]}

    def round_of(steps: int) -> tuple[dict, dict, float]:
        """Milliseconds of ours and of theirs, and how many cores other processes kept busy."""
        before = seconds_elsewhere([ours, theirs])
        minima, peers, clock = {}, {}, 0.0
        for name, counterparts in pairs.items():
            minima[name] = ours.ask(f"run {name} {steps}")
            clock += sum(minima[name]["ms"]) / 1e3
            for peer in counterparts:
                peers[peer] = theirs.ask(f"run {peer} {steps}")
                clock += sum(peers[peer]["ms"]) / 1e3
        return minima, peers, (seconds_elsewhere([ours, theirs]) - before) / clock

    round_of(1)  # warms up
    rounds = []
    tries = 0
    while len(rounds) < options.rounds and tries < 4 * options.rounds:
        tries += 1
        minima, peers, busy = round_of(options.steps)
        bandwidth = ours.ask("bandwidth")["gb_s"]
        print(f"round {tries}: others used {busy:.2f} cores{'' if busy <= options.busy else ', left out'}", file=sys.stderr)
        if busy <= options.busy:
            rounds.append((minima, peers, bandwidth))
    if not rounds:
        sys.exit("no round was quiet enough; stop other programs, or raise --busy")

    def median(value) -> float:
        return statistics.median(value(*each) for each in rounds)

    bandwidth = median(lambda _m, _p, gb_s: gb_s)
    about = next(iter(rounds[-1][0].values()))
    result = {"threads": about["threads"], "vector_unit": about["vector_unit"], "rounds": len(rounds), "bandwidth_gb_s": bandwidth, "optimizers": {}}
    print(f"{'':18} {'ms':>8} {'of limit':>9} {'to adamw':>9} {'state MB':>9} {'temporary MB':>13}   {'peer':16} {'ms':>8} {'times ours':>11}")
    for name, counterparts in pairs.items():
        last = rounds[-1][0][name]
        ms = median(lambda m, _p, _b: m[name]["median_ms"])
        row = {
            "ms": ms,
            "of_limit": last["least_bytes"] / bandwidth / 1e6 / ms,
            "to_adamw": median(lambda m, _p, _b: m[name]["median_ms"] / m["adamw"]["median_ms"]),
            "state_bytes": last["state_bytes"],
            "temporary_bytes": last["temporary_bytes"],
            "peers": {},
        }  # fmt: skip
        for peer in counterparts:
            row["peers"][peer] = {
                "ms": median(lambda _m, p, _b: p[peer]["median_ms"]),
                "times_ours": median(lambda m, p, _b: p[peer]["median_ms"] / m[name]["median_ms"]),
            }
        result["optimizers"][name] = row
        left = (f"{name:18} {ms:8.2f} {100 * row['of_limit']:8.0f}% {row['to_adamw']:9.2f} {row['state_bytes'] / 2**20:9.1f} "
                f"{row['temporary_bytes'] / 2**20:13.2f}")  # fmt: skip
        for peer, p in row["peers"].items() or [("-", None)]:
            right = f"{peer:16}" + (f" {p['ms']:8.1f} {p['times_ours']:10.2f}x" if p else "")
            print(f"{left}   {right}".rstrip())
            left = " " * len(left)
    print(f"bandwidth {bandwidth:.1f} GB/s, {result['threads']} threads, {result['vector_unit']}, {len(rounds)} rounds")
    print(json.dumps(result))
    for program in (ours, theirs):
        program.quit()


if __name__ == "__main__":
    main()
