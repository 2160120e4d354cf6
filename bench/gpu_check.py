#!/usr/bin/env python3
"""Everything that only a GPU can tell, in one go; `./run gpu-check` builds it, for every GPU, and calls it.

    gpu_check.py BUILD_FOLDER [--out runs/gpu-check] [--only tests,limits,fixed,varied,optimizers,sanitizer] [--seconds 240]

tests       the device tests (tests/device) on the GPU, which hold it against the CPU: every op, every optimizer over every
            storage, a whole model
limits      what the GPU reaches at most: products of 8192 x 8192 in fp32, TF32 and bf16, a copy
fixed       training steps of DistilBERT-base with 64 texts of 128 tokens, in the three precisions
varied      the same with 64 texts as long as SST-2's
optimizers  a step of each optimizer on its 65.8 M weights
sanitizer   the device tests under compute-sanitizer: memcheck, racecheck, initcheck, synccheck; some of the cases

`speed` stands for the four parts in the middle, which end --seconds after they have begun: with fewer rounds where time is
short. The programs of a precision are started together, then they take turns. torch.compile has no part in `varied`: it
would compile anew for length after length. OUT.json and OUT.md, a table, are written
after each part; both name GPU, driver, date and commit. A program that fails has its error's last line there.

BUILD_FOLDER needs no more than bench_train_step, bench_optimizers, tests/test_device and CMakeCache.txt. PyTorch and
transformers are those of MINIMA_PYTHON (python3); bitsandbytes and came-pytorch are taken where it finds them, for which their
folder may be named in PYTHONPATH. Texts and vocabulary are made here, of random words; their lengths in `varied` are the
twentieths of SST-2's training texts, or --data and --vocab give the texts themselves.

Exit status: 0 all that is minima's was done, and its tests passed; 1 otherwise. Goals that are missed change nothing there.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_optimizers import PAIRS
from peer_text import write_random_texts
from turns import HERE, Failed, Peer, made_now, positive, said_by

SPEED = ("limits", "fixed", "varied", "optimizers")
PARTS = ("tests", *SPEED, "sanitizer")
# The tools, and the cases of the device tests that each is shown. Racecheck is the slowest by far.
SLOW = "every optimizer*,state made*,the norm of more*,low-rank*"
TOOLS = {
    "memcheck": "*",
    "racecheck": "every op on*,attention*,ops over several warps*,the gradient of a table*,the norm* clipping*,a training pass*",
    "initcheck": "*",
    "synccheck": "*",
}
SST2 = (7, 10, 12, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 30, 32, 34, 36, 39, 43, 51)  # tokens, [CLS] and [SEP] counted
WORDS = 30_000
PYTHON = os.environ.get("MINIMA_PYTHON", "python3")
PRECISIONS = ("bf16", "fp32", "tf32")
DISTILBERT = "768,6,12,3072"
OURS, REPLAYED, EAGER, COMPILED = "minima", "minima --round-tokens 64", "PyTorch", "PyTorch, torch.compile"


class Clock:
    def __init__(self, seconds: float):
        self.begin, self.seconds = time.monotonic(), seconds

    def left(self, share: float = 1) -> float:
        """Seconds until that share of the time is over."""
        return max(0.0, self.begin + share * self.seconds - time.monotonic())


def say(text: str) -> None:
    print(f"gpu-check: {text}", file=sys.stderr, flush=True)


def about(options: argparse.Namespace) -> dict:
    asked = said_by("nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader", "--id=0")
    name, driver, capability, memory = (asked.split(", ") + 4 * ["unknown"])[:4] if asked else 4 * ["unknown"]
    cache = options.build / "CMakeCache.txt"
    nvcc = re.search(r"^CMAKE_CUDA_COMPILER:\w+=(.*)$", cache.read_text(), re.MULTILINE) if cache.exists() else None
    compiler = nvcc[1] if nvcc else "nvcc"
    for folder in (Path(compiler).parent, "/usr/local/cuda/bin"):  # compute-sanitizer lies beside it
        os.environ["PATH"] += os.pathsep + str(folder)
    toolkit = re.search(r"V([\d.]+)", said_by(compiler, "--version"))
    return {
        "gpu": name, "compute_capability": capability, "memory": memory, "driver": driver, "toolkit": toolkit[1] if toolkit else "unknown",
        **made_now(), **({"commit": options.commit} if options.commit else {}),
    }  # fmt: skip


# Tests

def run_tests(build: Path, seconds: float, tool: str | None = None, cases: str = "*", without: str = "") -> dict:
    """What became of the device tests, alone or under a tool of compute-sanitizer."""
    command = [str(build / "tests/test_device"), "--no-colors", "--duration", f"--test-case={cases}"]
    command += [f"--test-case-exclude={without}"] if without else []
    if tool:
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *command]
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                                       env=dict(os.environ, MINIMA_TEST_DEVICE=os.environ["MINIMA_BENCH_DEVICE"]))  # fmt: skip
        except OSError as error:
            return {"passed": False, "why": f"{command[0]}: {error.strerror}"}
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        output.seek(0)
        lines = output.read().splitlines()
    done = sum(bool(re.match(r"[\d.]+ s: ", line)) for line in lines)
    found = [line for line in lines if re.search(r"ERROR:|FATAL|^========= (?!COMPUTE-SANITIZER|ERROR SUMMARY: 0|RACECHECK SUMMARY: 0)", line)]
    in_time = status == 0 or (status is None and tool is not None and not found)  # a tool takes as long as it is given
    result = {"passed": in_time and done > 0, "seconds": round(time.monotonic() - begin, 1), "cases": done}
    if status is None:
        result["stopped"] = f"after {seconds:.0f} s"
    if done == 0:
        lines.append(f"no case has ended; those asked for: {cases}")
    if not result["passed"]:
        result["why"] = "\n".join(found[:20] + lines[-40:])
    return result


# Speed

def steps_of(options: argparse.Namespace, program: str, precision: str, data: Path, vocab: Path) -> Peer:
    """The program that takes training steps."""
    sizes = [*options.sizes.split(","), options.batch]
    if program in (OURS, REPLAYED):
        return Peer([str(options.build / "bench_train_step"), str(data), str(vocab), *sizes, "2", precision, "64" if program == REPLAYED else "0"])
    names = ("--dim", "--layers", "--heads", "--hidden", "--batch")
    compiled = ["--compile", options.compile] if program == COMPILED else []
    return Peer([PYTHON, str(HERE / "peer_pytorch.py"), "--device", options.device, "--data", str(data), "--vocab", str(vocab),
                 *(word for pair in zip(names, sizes) for word in pair), "--batching", "padded", "--precision", precision, *compiled, "--serve"],
                {"TORCHINDUCTOR_COMPILE_THREADS": "4"})  # fmt: skip


def take_turns(programs: dict, options: argparse.Namespace, ready: float, clock: Clock, share: float) -> dict:
    """For each program, the answers of rounds in which they take turns, or why there are none; the first round warms up.
    Each has `ready` seconds for its start."""
    peers, answers, errors = {}, {key: [] for key in programs}, {}

    def attempt(key, call) -> None:
        try:
            call()
        except (Failed, ValueError) as error:
            errors[key] = str(error)
            say(f"{' '.join(key)}: {error}")

    try:
        for key, start in programs.items():
            attempt(key, lambda: peers.update({key: start()}))
        end = time.monotonic() + ready
        for key, peer in peers.items():
            attempt(key, lambda: peer.await_ready(max(1.0, end - time.monotonic())))
        for number in range(options.rounds + 1):
            for key, peer in peers.items():
                if key in errors or (number > 1 and clock.left(share) == 0):
                    continue
                attempt(key, lambda: answers[key].append(peer.run(options.steps if number > 0 else 5, 60)))
    finally:
        for peer in peers.values():
            peer.quit()
    return {key: {"error": errors[key]} if key in errors else answers[key][1:] for key in programs}


def training(programs: tuple[str, ...], options: argparse.Namespace, data: Path, vocab: Path, clock: Clock, begin: float, end: float) -> list[dict]:
    """A row for each precision and program: medians over rounds. The precisions one after the other, for PyTorch's step depends
    on the processor, which a dozen programs would share. All take from `begin` to `end` of the time, as shares of it."""
    rows = []
    precisions = options.precisions.split(",")
    for number, precision in enumerate(precisions):
        share = begin + (end - begin) * (number + 1) / len(precisions)
        starts = {(name, precision): lambda name=name: steps_of(options, name, precision, data, vocab) for name in programs}  # noqa: B023
        for (program, _), told in take_turns(starts, options, 0.7 * clock.left(share), clock, share).items():
            row = {"program": program, "precision": precision}
            if isinstance(told, dict):
                rows.append(row | told)
                continue
            for key in ("median_ms", "sentences_per_s", "tokens_per_s", "gflops"):
                if key in told[0]:
                    row[key] = statistics.median(answer[key] for answer in told)
            rows.append(row | {"rounds": len(told), "peak_device_mb": told[-1]["peak_device_mb"]})
    for row in rows:
        ours = next((r for r in rows if r["program"] == OURS and r["precision"] == row["precision"]), {})
        if "sentences_per_s" in row and "sentences_per_s" in ours:
            row["minima_is"] = ours["sentences_per_s"] / row["sentences_per_s"]
    return rows


def optimizer_steps(options: argparse.Namespace, clock: Clock) -> dict:
    result: dict = {"peers": "", "copy_gb_s": 0.0, "rows": {}}
    running: list[Peer] = []

    def started(*command: str) -> Peer:
        running.append(Peer([*command, "--serve"]))
        return running[-1]

    try:
        ours = started(str(options.build / "bench_optimizers"))
        result["copy_gb_s"] = ours.ask("bandwidth", 120)["gb_s"]
        try:
            theirs = started(PYTHON, str(HERE / "peer_optimizers.py"), "--device", options.device)
            there = set(theirs.ask("list", max(30.0, clock.left(0.8))))
        except (Failed, ValueError) as error:
            there, result["peers"] = set(), str(error)
            say(f"the public optimizers: {error}")
        for name, peers in PAIRS.items():
            own, public = [], {}  # a public optimizer may have minima's name
            failed = {} if result["peers"] else {peer: "not installed" for peer in peers if peer not in there}
            for number in range(options.rounds + 1):
                if number > 1 and clock.left() == 0:
                    break
                answer = ours.ask(f"run {name} {options.steps}", 60)
                if number > 0:
                    own.append(answer["median_ms"])
                for peer in there.intersection(peers) - failed.keys():
                    try:
                        told = theirs.ask(f"run {peer} {options.steps}", 60)["median_ms"]
                        if number > 0:
                            public.setdefault(peer, []).append(told)
                    except (Failed, ValueError) as error:
                        failed[peer] = str(error)
            ms = statistics.median(own)
            result["rows"][name] = {
                "ms": ms, "state_bytes": answer["state_bytes"], "of_limit": answer["least_bytes"] / result["copy_gb_s"] / 1e6 / ms,
                "peers": {peer: statistics.median(times) for peer, times in public.items()}, "failed": failed,
            }  # fmt: skip
    except (Failed, ValueError) as error:
        result["error"] = str(error)
        say(f"optimizers: {error}")
    finally:
        for program in running:
            program.quit()
    return result


def limits(options: argparse.Namespace, data: Path) -> dict:
    try:
        with Peer([str(options.build / "bench_train_step"), str(data), str(data / "vocab.txt"), "64", "1", "1", "64", "8"]) as probe:
            return probe.ask("limits", 120)
    except (Failed, ValueError) as error:
        say(f"limits: {error}")
        return {"error": str(error)}


# Report

def goals(result: dict) -> list[tuple[str, str, float | None, bool]]:
    """What is aimed at: goal, wanted, found, met."""
    found = []

    def rows(part: str, precision: str, *programs: str) -> list[dict]:
        return [r for r in result.get(part, []) if r["precision"] == precision and r["program"] in programs and "error" not in r]

    def speed(part: str, precision: str, *programs: str) -> float | None:
        return max((row["sentences_per_s"] for row in rows(part, precision, *programs)), default=None)

    def add(goal: str, wanted: str, above: float | None, below: float | None) -> None:
        value = None if above is None or not below else above / below
        limit = float(wanted.split()[1])
        found.append((goal, wanted, value, value is not None and (value >= limit if wanted[0] == "≥" else value <= limit)))

    batch = result.get("batch", 64)
    for precision in PRECISIONS:
        add(f"times torch.compile, {batch} x 128, {precision}", "≥ 1.3", speed("fixed", precision, OURS, REPLAYED), speed("fixed", precision, COMPILED))
    for precision in PRECISIONS:
        add(f"times PyTorch's default loop, SST-2's lengths, {precision}", "≥ 3", speed("varied", precision, OURS, REPLAYED), speed("varied", precision, EAGER))
    reached = max((row["gflops"] for row in rows("fixed", "bf16", OURS, REPLAYED)), default=None)
    add(f"of the bf16 product's rate, {batch} x 128, bf16", "≥ 0.45", reached, result.get("limits", {}).get("bf16_gflops"))
    steps = result.get("optimizers", {}).get("rows", {})
    add("AdamW's step, of the copy's rate", "≥ 0.85", steps.get("adamw", {}).get("of_limit"), 1)
    add("8-bit AdamW's time over AdamW's", "≤ 0.7", steps.get("adamw8bit", {}).get("ms"), steps.get("adamw", {}).get("ms"))
    return found


def table(head: str, rows: list[tuple]) -> list[str]:
    names = [name.strip() for name in head.split("|")]
    cells = lambda row: "| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |"  # noqa: E731
    return ["", cells(names), "|" + "---|" * len(names), *map(cells, rows)]


def markdown(result: dict) -> str:
    lines = ["# " + "{gpu}, driver {driver}, CUDA {toolkit}, {date}, commit {commit}".format(**result["about"])]
    if any(part in result for part in SPEED):
        lines += table("goal | wanted | found | ", [(goal, wanted, "not measured" if value is None else f"{value:.2f}",
                                                    "" if value is None else "met" if met else "**missed**")
                                                   for goal, wanted, value, met in goals(result)])  # fmt: skip
    if told := result.get("limits"):
        lines += ["", f"At most: {told['error']}" if "error" in told else "At most: " + ", ".join(
            f"{key.replace('product_gflops', 'fp32_gflops').replace('_gflops', '')} products {value / 1000:.1f} TFLOP/s"
            if key.endswith("gflops") else f"copies {value:.0f} GB/s" for key, value in told.items()) + "."]  # fmt: skip
    batch, sizes = result.get("batch", 64), result.get("sizes", DISTILBERT)
    of_model = "" if sizes == DISTILBERT else f", model {sizes}"
    for part, case in (("fixed", f"{batch} x 128{of_model}"), ("varied", f"{batch} texts as long as SST-2's{of_model}")):
        if part in result:
            lines += table(f"training step, {case} | precision | ms | texts/s | tokens/s | minima is, times | peak, MB | TFLOP/s", [
                (row["program"], row["precision"], row["error"]) + 5 * ("",) if "error" in row else
                (row["program"], row["precision"], f"{row['median_ms']:.2f}", f"{row['sentences_per_s']:.0f}", f"{row['tokens_per_s']:.0f}",
                 f"{row['minima_is']:.2f}" if "minima_is" in row else "", f"{row['peak_device_mb']:.0f}",
                 f"{row['gflops'] / 1000:.1f}" if "gflops" in row else "") for row in result[part]])  # fmt: skip
    if told := result.get("optimizers"):
        lines += table("optimizer step, 65.8 M weights | ms | of the copy's rate | state, MB | the public one's ms", [
            (name, f"{row['ms']:.3f}", f"{100 * row['of_limit']:.0f} %", f"{row['state_bytes'] / 2**20:.1f}",
             ", ".join([f"{peer} {ms:.3f}" for peer, ms in row["peers"].items()] + [f"{peer}: {why}" for peer, why in row["failed"].items()]))
            for name, row in told["rows"].items()])  # fmt: skip
        lines += [f"\n{why}" for why in (told["peers"], told.get("error")) if why]
    if result["tests"]:
        lines += table("device tests | | cases | s", [
            (name, ("passed" if row["passed"] else "FAILED") + (f", stopped {row['stopped']}" if "stopped" in row else ""),
             row.get("cases", ""), row.get("seconds", "")) for name, row in result["tests"].items()])  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=lambda folder: Path(folder).resolve())
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"))
    parser.add_argument("--only", default=",".join(PARTS), help="of these, with commas between; speed for all that are not tests")
    parser.add_argument("--seconds", type=float, default=240, help="of the parts of speed together")
    parser.add_argument("--rounds", type=positive, default=5, help="in which the programs take turns (5)")
    parser.add_argument("--steps", type=positive, default=20, help="of each program in a round")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="of the training steps, with commas between")
    parser.add_argument("--compile", default="default", help="torch.compile's mode: default, reduce-overhead, max-autotune")
    parser.add_argument("--data", type=Path, help="a folder of labelled texts in place of the made ones")
    parser.add_argument("--vocab", type=Path, help="its uncased vocab.txt")
    parser.add_argument("--cases", help="of the device tests under compute-sanitizer, as doctest takes them: 'a training*,ops*'")
    parser.add_argument("--tools", default=",".join(TOOLS), help="of compute-sanitizer, with commas between")
    parser.add_argument("--tool-seconds", type=float, default=180, help="after which one is stopped; cases that had ended count")
    parser.add_argument("--commit", help="where the sources are no checkout")
    parser.add_argument("--device", default="cuda", help="cpu tries the script out")
    parser.add_argument("--sizes", default=DISTILBERT, help="dim,layers,heads,hidden of the model")
    parser.add_argument("--batch", default="64", help="texts")
    options = parser.parse_args()
    if (options.data is None) != (options.vocab is None):
        parser.error("--data and --vocab go together")
    parts = options.only.replace("speed", ",".join(SPEED)).split(",")
    tools = options.tools.split(",")
    for words, known in ((parts, PARTS), (tools, TOOLS)):
        if unknown := set(words) - set(known):
            parser.error(f"'{min(unknown)}' is none of {', '.join(known)}")
    if options.device == "cuda" and not said_by("nvidia-smi", "-L"):
        sys.exit("gpu-check: no GPU here (nvidia-smi -L lists none); nothing was checked")
    os.environ["MINIMA_BENCH_DEVICE"] = options.device

    result: dict = {"about": about(options), "batch": options.batch, "sizes": options.sizes, "tests": {}}
    options.out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(result))

    def test(name: str, *arguments, **more) -> None:
        say(f"device tests, {name}")
        row = result["tests"][name] = run_tests(options.build, *arguments, **more)
        if not row["passed"]:
            print(row["why"], file=sys.stderr)
        save()

    if "tests" in parts:
        test("alone", 600)
    with tempfile.TemporaryDirectory(prefix="minima-gpu-check-") as folder:
        fixed, varied = Path(folder, "fixed"), Path(folder, "varied")
        for texts, lengths in ((fixed, (128,)), (varied, SST2)):
            write_random_texts(texts, 6400, lengths, WORDS)
        data, vocab = options.data or varied, options.vocab or varied / "vocab.txt"
        clock = Clock(options.seconds)
        measure = {
            "limits": lambda: limits(options, fixed),
            "fixed": lambda: training((OURS, REPLAYED, COMPILED, EAGER), options, fixed, fixed / "vocab.txt", clock, 0.05, 0.65),
            "varied": lambda: training((OURS, REPLAYED, EAGER), options, data, vocab, clock, 0.65, 0.9),
            "optimizers": lambda: optimizer_steps(options, clock),
        }  # fmt: skip
        for part in SPEED:
            if part in parts:
                say(part)
                result[part] = measure[part]()
                save()
    for tool in tools if "sanitizer" in parts else ():
        test(tool, options.tool_seconds, tool, options.cases or TOOLS[tool], "" if options.cases else SLOW)
    save()
    print(markdown(result))
    say(f"{options.out}.json and .md")
    own = [row for part in ("fixed", "varied") for row in result.get(part, []) if row["program"] in (OURS, REPLAYED)]
    own += [result.get("limits", {}), result.get("optimizers", {})]
    sys.exit(0 if all(row["passed"] for row in result["tests"].values()) and not any("error" in row for row in own) else 1)


if __name__ == "__main__":
    main()
