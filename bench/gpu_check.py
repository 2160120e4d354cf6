#!/usr/bin/env python3
"""Everything that only a GPU can tell, in one go; `./run gpu-check` builds for the GPU at hand and calls it.

    gpu_check.py BUILD_FOLDER [--out runs/gpu-check] [--data DIR --vocab vocab.txt] [--only tests,sanitizer,speed]

1. The device tests (tests/device) on the GPU, which hold it against the CPU: every op, every optimizer over every storage, a
   whole model.
2. The same under compute-sanitizer: memcheck, racecheck, initcheck, synccheck.
3. Speed: what the GPU reaches at most (a large fp32 product, a copy); training steps of DistilBERT-base with 64 texts of 128
   tokens and with 64 texts as long as SST-2's; one step of each optimizer on its 65.8 M weights. Where PyTorch and transformers
   (bitsandbytes, came-pytorch) are installed (MINIMA_PYTHON names their Python), they take turns with minima.

Texts and vocabulary are made here, of random words; their lengths in the second case are the twentieths of SST-2's training
texts, or --data and --vocab give the texts themselves. Written are OUT.json and OUT.md, a table; both name GPU, driver, date
and commit. Exit status: 0 all was done and passed, 1 something failed or could not be done.
"""

import argparse
import datetime
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_optimizers import PAIRS, Program
from compare_pytorch import HERE, Peer

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SST2 = (7, 10, 12, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 30, 32, 34, 36, 39, 43, 51)  # tokens, [CLS] and [SEP] counted
WORDS = 30_000
BASE = dict(dim=768, layers=6, heads=12, hidden=3072, batch=64)
PYTHON = os.environ.get("MINIMA_PYTHON", "python3")


def said_by(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def has(modules: str) -> bool:
    look = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))"
    return subprocess.run([PYTHON, "-c", look, *modules.split()], capture_output=True, check=False).returncode == 0


def about(build: Path) -> dict:
    name, driver, capability, memory = said_by(
        "nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader", "--id=0").split(", ")  # fmt: skip
    cache = (build / "CMakeCache.txt").read_text()
    nvcc = re.search(r"^CMAKE_CUDA_COMPILER:\w+=(.*)$", cache, re.MULTILINE)
    toolkit = re.search(r"V([\d.]+)", said_by(nvcc[1], "--version")) if nvcc else None
    if nvcc:  # compute-sanitizer lies beside it
        os.environ["PATH"] += os.pathsep + str(Path(nvcc[1]).parent)
    return {
        "gpu": name, "compute_capability": capability, "memory": memory, "driver": driver, "toolkit": toolkit[1] if toolkit else "unknown",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": said_by("git", "-C", str(HERE), "describe", "--always", "--dirty") or "unknown",
    }  # fmt: skip


# Tests

def run_tests(build: Path, tool: str | None = None) -> dict:
    """What became of the device tests, alone or under a tool of compute-sanitizer."""
    test = [str(build / "tests/test_device"), "--no-colors"]
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *test] if tool else test
    begin = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False,
                              env=dict(os.environ, MINIMA_TEST_DEVICE="cuda"))  # fmt: skip
    except OSError as error:
        return {"passed": False, "why": f"cannot be started: {error.strerror}"}
    result = {"passed": done.returncode == 0, "seconds": round(time.monotonic() - begin, 1)}
    counts = re.search(r"test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed", done.stdout)
    if counts:
        result |= {"cases": int(counts[1]), "failed": int(counts[3])}
    if done.returncode != 0:
        result["why"] = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
    return result


# Speed

def write_texts(folder: Path, lengths: tuple[int, ...]) -> None:
    """A data set of 6,400 texts of random words, as long in turn as `lengths` says, and its vocabulary."""
    words = [f"w{i}" for i in range(WORDS)]
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    draw = random.Random(1)
    texts = [" ".join(draw.choices(words, k=lengths[i % len(lengths)] - 2)) for i in range(6400)]
    draw.shuffle(texts)
    for split, part in (("train", texts), ("dev", texts[:64]), ("test", texts[:64])):
        (folder / f"{split}.tsv").write_text("label\ttext\n" + "".join(f"{i % 2}\t{t}\n" for i, t in enumerate(part)))


def train_steps(build: Path, data: Path, vocab: Path, rounds: int = 5, steps: int = 20) -> dict:
    """Medians over rounds in which minima and PyTorch take turns; the first round warms up."""
    programs = {"minima": Peer([str(build / "bench_train_step"), str(data), str(vocab), *map(str, BASE.values())])}
    if has("torch transformers tokenizers"):
        programs["PyTorch"] = Peer([PYTHON, str(HERE / "peer_pytorch.py"), "--device", "cuda", "--data", str(data), "--vocab", str(vocab),
                                    *(x for key, value in BASE.items() for x in (f"--{key}", str(value))), "--serve"])  # fmt: skip
    answers: dict[str, list[dict]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            answer = program.run(steps)
            if number > 0:
                answers[name].append(answer)
    result = {
        name: {key: statistics.median(a[key] for a in list_) for key in ("median_ms", "sentences_per_s", "tokens_per_s")}
        for name, list_ in answers.items()
    }
    result["minima"]["peak_device_mb"] = answers["minima"][-1]["peak_device_mb"]
    for program in programs.values():
        program.process.communicate("quit\n")
    return result


def optimizer_steps(build: Path, rounds: int = 5, steps: int = 10) -> dict:
    ours = Program([str(build / "bench_optimizers"), "--serve"])
    theirs = None
    if has("torch transformers"):
        theirs = Program([PYTHON, str(HERE / "peer_optimizers.py"), "--device", "cuda", "--serve"])
    there = set(theirs.ask("list")) if theirs else set()
    bandwidth = ours.ask("bandwidth")["gb_s"]
    result = {}
    for name, peers in PAIRS.items():
        peers = [peer for peer in peers if peer in there]
        ms: dict[str, list[float]] = {key: [] for key in (name, *peers)}
        for number in range(rounds + 1):
            answer = ours.ask(f"run {name} {steps}")
            for key, told in [(name, answer), *((peer, theirs.ask(f"run {peer} {steps}")) for peer in peers)]:
                if number > 0:
                    ms[key].append(told["median_ms"])
        own = statistics.median(ms[name])
        result[name] = {
            "ms": own, "state_bytes": answer["state_bytes"], "of_limit": answer["least_bytes"] / bandwidth / 1e6 / own,
            "peers": {peer: statistics.median(ms[peer]) for peer in peers},
        }  # fmt: skip
    for program in filter(None, (ours, theirs)):
        program.process.communicate("quit\n")
    return result


def speed(build: Path, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory(prefix="minima-gpu-check-") as folder:
        fixed, varied = Path(folder, "fixed"), Path(folder, "varied")
        for texts, lengths in ((fixed, (128,)), (varied, SST2)):
            texts.mkdir()
            write_texts(texts, lengths)
        probe = Peer([str(build / "bench_train_step"), str(fixed), str(fixed / "vocab.txt"), "64", "1", "1", "64", "8"])
        limits = probe.ask("limits")
        probe.process.communicate("quit\n")
        data, vocab = options.data or varied, options.vocab or varied / "vocab.txt"
        return {
            "limits": limits,
            "training": {
                "64 texts of 128 tokens": train_steps(build, fixed, fixed / "vocab.txt"),
                "64 texts as long as SST-2's" if data == varied else f"64 texts of {data.name}": train_steps(build, data, vocab),
            },
            "optimizers": optimizer_steps(build),
        }


# Report

def markdown(result: dict) -> str:
    lines = ["# " + "{gpu}, driver {driver}, CUDA {toolkit}, {date}, commit {commit}".format(**result["about"]), ""]
    lines += ["| device tests | | cases | s |", "|---|---|---|---|"]
    for name, row in result["tests"].items():
        lines.append(f"| {name} | {'passed' if row['passed'] else 'FAILED'} | {row.get('cases', '')} | {row.get('seconds', '')} |")
    if "speed" not in result:
        return "\n".join(lines) + "\n"
    told = result["speed"]
    lines += ["", "At most: fp32 products {product_gflops:.0f} GFLOP/s, copies {memory_gb_s:.0f} GB/s.".format(**told["limits"]), ""]
    lines += ["| training step, DistilBERT-base, fp32 | | ms | texts/s | tokens/s | times minima's |", "|---|---|---|---|---|---|"]
    for case, programs in told["training"].items():
        for name, row in programs.items():
            lines.append(f"| {case} | {name} | {row['median_ms']:.2f} | {row['sentences_per_s']:.0f} | {row['tokens_per_s']:.0f} | "
                         f"{programs['minima']['sentences_per_s'] / row['sentences_per_s']:.2f} |")  # fmt: skip
    lines += ["", "| optimizer step, 65.8 M weights | ms | of the copy's limit | state, MB | the public one's ms |", "|---|---|---|---|---|"]
    for name, row in told["optimizers"].items():
        peers = ", ".join(f"{peer} {ms:.2f}" for peer, ms in row["peers"].items()) or "–"
        lines.append(f"| {name} | {row['ms']:.2f} | {100 * row['of_limit']:.0f} % | {row['state_bytes'] / 2**20:.1f} | {peers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"))
    parser.add_argument("--data", type=Path, help="a folder of labelled texts in place of the made ones")
    parser.add_argument("--vocab", type=Path, help="its uncased vocab.txt")
    parser.add_argument("--only", default="tests,sanitizer,speed", help="of these, with commas between")
    options = parser.parse_args()
    if (options.data is None) != (options.vocab is None):
        parser.error("--data and --vocab go together")
    parts = options.only.split(",")
    if not said_by("nvidia-smi", "-L"):
        sys.exit("gpu-check: no GPU here (nvidia-smi -L lists none); nothing was checked")
    os.environ["MINIMA_BENCH_DEVICE"] = "cuda"

    result: dict = {"about": about(options.build), "tests": {}}
    for name in ("alone" if "tests" in parts else None, *(TOOLS if "sanitizer" in parts else ())):
        if name is None:
            continue
        print(f"gpu-check: device tests, {name}", file=sys.stderr, flush=True)
        row = result["tests"][name] = run_tests(options.build, None if name == "alone" else name)
        if not row["passed"]:
            print(row["why"], file=sys.stderr)
    if "speed" in parts:
        print("gpu-check: speed", file=sys.stderr, flush=True)
        result["speed"] = speed(options.build, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))
    print(f"gpu-check: {options.out}.json and .md", file=sys.stderr)
    sys.exit(0 if all(row["passed"] for row in result["tests"].values()) else 1)


if __name__ == "__main__":
    main()
