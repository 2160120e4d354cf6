#!/usr/bin/env python3
"""The README's optimizer-step table: minima and the public optimizers in turns, on DistilBERT-base-cased's shapes.

    cmake --build build --target bench_optimizers
    python bench/compare_optimizers.py [--rounds 9] [--steps 3] [--only adamw,adamw8bit]

Two programs stay loaded, bench_optimizers and bench/peer_optimizers.py; each optimizer of the one and its peer run a few steps
in turn, on the same number of threads, round after round (bench/turns.py), so that whatever else the machine does meets all of
them alike. Reported are medians over rounds of each round's median step and of each round's ratios: the peer's time to ours, and
ours to our AdamW's. `of limit` is the time that the bytes a step must read and write take at the measured bandwidth, over ours.
The last line is all of it in JSON, as bench/results keeps it (... | tail -1 > FILE).
Needs: torch, transformers; bitsandbytes and came-pytorch for their optimizers (bench/peer_optimizers.py).
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from turns import HERE, Peer, in_turns, limit_threads, made_now, positive, require_programs

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minima", type=Path, default=HERE.parent / "build" / "bench_optimizers")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--steps", type=positive, default=3, help="of each optimizer in a round")
    parser.add_argument("--only", default=",".join(PAIRS), help="names with commas between; adamw is always there")
    parser.add_argument("--busy", type=float, default=0.1, help="cores that others may use in a round that counts")
    options = parser.parse_args()
    wanted = {"adamw", *options.only.split(",")}
    if unknown := wanted - set(PAIRS):
        parser.error(f"'{min(unknown)}' is none of {', '.join(PAIRS)}")
    require_programs(options.minima.parent, options.minima.name)
    limit_threads(options.threads)

    pairs = {name: peers for name, peers in PAIRS.items() if name in wanted}

    def step_of(program: Peer, name: str):
        return lambda steps: program.ask(f"run {name} {steps}")

    our_command = [str(options.minima), "--serve", "--threads", options.threads]
    their_command = [sys.executable, str(HERE / "peer_optimizers.py"), "--threads", options.threads, "--serve"]
    with Peer(our_command) as ours, Peer(their_command) as theirs:
        there = theirs.ask("list")
        calls = {"bandwidth": lambda _steps: ours.ask("bandwidth")}
        for name, peers in pairs.items():
            calls |= {(program, each): step_of(program, each) for program, each in [(ours, name), *((theirs, peer) for peer in peers if peer in there)]}
        rounds = in_turns([ours, theirs], calls, options.rounds, options.steps, options.busy)

    def median(value) -> float:
        return statistics.median(map(value, rounds))

    def ratio(one, other) -> float:
        return median(lambda r: r[one]["median_ms"] / r[other]["median_ms"])

    bandwidth = median(lambda r: r["bandwidth"]["gb_s"])
    result = {**made_now(), "threads": rounds[-1][ours, "adamw"]["threads"], "vector_unit": rounds[-1][ours, "adamw"]["vector_unit"], "rounds": len(rounds),
              "others_cores": max(r["others"] for r in rounds), "bandwidth_gb_s": bandwidth, "optimizers": {}}  # fmt: skip
    print(f"{'':18} {'ms':>8} {'of limit':>9} {'to adamw':>9} {'state MB':>9} {'temporary MB':>13}   {'peer':16} {'ms':>8} {'times ours':>11}")
    for name, peers in pairs.items():
        key = ours, name
        ms, last = median(lambda r: r[key]["median_ms"]), rounds[-1][key]  # noqa: B023
        row = result["optimizers"][name] = {
            "ms": ms, "of_limit": last["least_bytes"] / bandwidth / 1e6 / ms, "to_adamw": ratio(key, (ours, "adamw")),
            "state_bytes": last["state_bytes"], "temporary_bytes": last["temporary_bytes"], "peers": {},
        }  # fmt: skip
        left = (f"{name:18} {ms:8.2f} {100 * row['of_limit']:8.0f}% {row['to_adamw']:9.2f} {row['state_bytes'] / 2**20:9.1f} "
                f"{row['temporary_bytes'] / 2**20:13.2f}")  # fmt: skip
        for peer in peers:
            told = row["peers"][peer] = {"error": "not installed"}
            if peer in there:
                told = row["peers"][peer] = {"ms": median(lambda r: r[theirs, peer]["median_ms"]), "times_ours": ratio((theirs, peer), key)}  # noqa: B023
            right = told.get("error") or f"{told['ms']:8.1f} {told['times_ours']:10.2f}x"
            print(f"{left}   {peer:16} {right}")
            left = " " * len(left)
        if not peers:
            print(f"{left}   -")
    print(f"bandwidth {bandwidth:.1f} GB/s, {result['threads']} threads, {result['vector_unit']}, {len(rounds)} rounds in which others used "
          f"{result['others_cores']:.2f} cores at most")  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
