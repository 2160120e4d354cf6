#!/usr/bin/env python3
"""What training costs as sizes grow, and that memory does not grow with the data where they are streamed.

    cmake --build build --target minima bench_train_step
    python bench/scaling.py [--quick] [--build build] [--out FILE]

Steps of bench_train_step on texts of random words, made here, one size at a time around dim 256, 4 layers, 4 heads, 1,024, vocabulary
30,522 and 32 texts of 32 tokens; the length also at a constant number of tokens, which leaves attention alone as what can grow.
Then files of labelled texts, up to 1 GB, through `minima data` and `minima tokenize`, which stream, and the package list of this Debian
(`data debian`, `train --data debian`) where it has one. Least of some steps' milliseconds; peak MB (2**20 bytes) of the process.

`exponent` is that of the last two points: 1 is linear. FILE.md has the table, FILE.svg the plots, FILE.json all of it.
Needs: matplotlib, for the plots alone.
"""

import argparse
import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from peer_text import write_random_texts
from turns import HERE, Peer, made_now, require_programs

WORDS = 30_000
START = {"dim": 256, "layers": 4, "heads": 4, "hidden": 1024, "batch": 32, "threads": 2, "length": 32, "vocabulary": 30_522}


@dataclass
class Sweep:
    what: str  # changes
    unit: str  # of time, and of `work` below
    points: list[dict] = field(default_factory=list)  # size, time, peak_mb

    def add(self, size: float, time_taken: float, peak_mb: float) -> None:
        self.points.append({"size": size, "time": time_taken, "peak_mb": peak_mb})
        print(f"{self.what} {size:g}: {time_taken:.2f} {self.unit}, {peak_mb:.0f} MB", file=sys.stderr, flush=True)

    def exponent(self, key: str) -> float | None:
        if len(self.points) < 2:
            return None
        a, b = self.points[-2:]
        return math.log(b[key] / a[key]) / math.log(b["size"] / a["size"])


# Training steps

def steps(options: argparse.Namespace, **sizes: int) -> tuple[float, float]:
    """The least of some steps' milliseconds, and the peak in MB."""
    s = START | sizes
    with tempfile.TemporaryDirectory() as home:
        data = Path(home, "texts")
        write_random_texts(data, 256, (s["length"],), s["vocabulary"] - 5)
        words = [str(s[name]) for name in ("dim", "layers", "heads", "hidden", "batch", "threads")]
        with Peer([str(options.build / "bench_train_step"), str(data), str(data / "vocab.txt"), *words]) as peer:
            peer.run(2)
            peer.spread()
            answers = [peer.run(1) for _ in range(2 if options.quick else 8)]
    return min(answer["median_ms"] for answer in answers), answers[-1]["peak_rss_mb"]


def training(options: argparse.Namespace) -> list[Sweep]:
    quick = options.quick

    def sweep(what: str, values: list[int], sizes) -> Sweep:
        result = Sweep(what, "ms a step")
        for value in values[::2] if quick and len(values) > 2 else values:
            result.add(value, *steps(options, **sizes(value)))
        return result

    return [
        sweep("texts of a batch", [4, 8, 16, 32, 64], lambda n: {"batch": n}),
        sweep("tokens of a text", [16, 32, 64, 128, 256], lambda n: {"length": n, "batch": 16}),
        sweep("tokens of a text, 4,096 a batch", [32, 64, 128, 256, 512], lambda n: {"length": n, "batch": 4096 // n}),
        sweep("layers", [1, 2, 4, 8, 12], lambda n: {"layers": n}),
        sweep("dim, hidden 4 times as much, heads of 64", [64, 128, 256, 512, 768], lambda n: {"dim": n, "heads": n // 64, "hidden": 4 * n}),
        sweep("entries of the vocabulary", [4_000, 8_000, 16_000, 32_000, 64_000], lambda n: {"vocabulary": n}),
        sweep("threads", list(range(1, (os.cpu_count() or 1) + 1)), lambda n: {"threads": n}),
    ]


# Data

def measured(command: list[str]) -> tuple[float, float, bytes]:
    """Seconds and peak MB of a program, and what it printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: ended with status {status}")
        output.seek(0)
        return seconds, usage.ru_maxrss / 1024, output.read()


def write_rows(file: Path, megabytes: int) -> None:
    """A .tsv of rows of about 240 bytes, no two of them equal."""
    draw = random.Random(1)
    words = [f"word{i}" for i in range(WORDS)]
    texts = [" ".join(draw.choices(words, k=24)) for _ in range(4096)]
    size, row = 0, 0
    with file.open("w") as out:
        out.write("label\ttext\n")
        while size < megabytes << 20:
            block = "".join(f"{i % 4}\t{i} {texts[i % len(texts)]}\n" for i in range(row, row + 10_000))
            out.write(block)
            size += len(block)
            row += 10_000


def streaming(options: argparse.Namespace) -> list[Sweep]:
    data, tokenize = Sweep("MB of a file, `minima data`", "s"), Sweep("MB of a file, `minima tokenize`", "s")
    minima = str(options.build / "minima")
    with tempfile.TemporaryDirectory() as home:
        vocab, file = Path(home, "vocab.txt"), Path(home, "rows.tsv")
        vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(WORDS)), *"0123456789", *(f"##{d}" for d in range(10))]) + "\n")
        for megabytes in (4, 32) if options.quick else (1, 10, 100, 1000):
            write_rows(file, megabytes)
            data.add(megabytes, *measured([minima, "data", str(file), "--json"])[:2])
            shell = f"exec '{minima}' tokenize --vocab '{vocab}' --json < '{file}' > /dev/null"
            tokenize.add(megabytes, *measured(["/bin/sh", "-c", shell])[:2])
    return [data, tokenize]


def debian(options: argparse.Namespace) -> dict | None:
    """What the package list of this system takes: to be read, and to be trained on."""
    minima = str(options.build / "minima")
    try:
        seconds, peak, said = measured([minima, "data", "debian", "--json"])
    except SystemExit as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as home:
        train = [minima, "train", "--data", "debian", "--steps", "40", "--watch", "0", "--out", home + "/run"]
        train_seconds, train_peak, _ = measured(train)
    return {"rows": json.loads(said)["rows"], "data_s": seconds, "data_mb": peak,
            "train_40_steps_s": train_seconds, "train_mb": train_peak}  # fmt: skip


# Report

def markdown(result: dict, sweeps: list[Sweep]) -> str:
    lines = [f"{result['processor']}, {result['date']}, commit {result['commit']}", "", "| what grows | time (peak MB) | exponent of time, of memory |", "|---|---|---|"]
    for sweep in sweeps:
        cells = ", ".join(f"{p['size']:,g}: {p['time']:.4g} ({p['peak_mb']:.0f})" for p in sweep.points)
        exponents = [sweep.exponent(key) for key in ("time", "peak_mb")]
        lines.append(f"| {sweep.what}; {sweep.unit} | {cells} | {', '.join('–' if e is None else f'{e:.2f}' for e in exponents)} |")
    if told := result["debian"]:
        lines += ["", f"This Debian's package list, {told['rows']:,} texts: `data debian` {told['data_s']:.1f} s, {told['data_mb']:.0f} MB; 40 steps of `train --data debian`, "
                  f"loading and evaluation included, {told['train_40_steps_s']:.0f} s, {told['train_mb']:.0f} MB."]  # fmt: skip
    return "\n".join(lines) + "\n"


def plot(sweeps: list[Sweep], file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "minima", "font.size": 8})
    from matplotlib import pyplot

    columns = 3
    figure, axes = pyplot.subplots(-(-len(sweeps) // columns), columns, figsize=(10, 2.6 * -(-len(sweeps) // columns)), layout="constrained")
    for axis in axes.flat[len(sweeps) :]:
        axis.remove()
    for sweep, axis in zip(sweeps, axes.flat):
        sizes, times = [p["size"] for p in sweep.points], [p["time"] for p in sweep.points]
        axis.loglog(sizes, times, "o-", label=sweep.unit)
        axis.loglog(sizes, [times[-1] * size / sizes[-1] for size in sizes], ":", color="gray", label="linear")
        axis.loglog(sizes, [p["peak_mb"] for p in sweep.points], "s--", color="tab:green", label="peak MB")
        axis.set_title(sweep.what)
        axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axis.minorticks_off()
    axes.flat[0].legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, files of up to 32 MB: two minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"), help="FILE.md, FILE.svg and FILE.json")
    options = parser.parse_args()
    require_programs(options.build, "minima", "bench_train_step")
    # Not after all has been measured.
    if not importlib.util.find_spec("matplotlib"):
        sys.exit("scaling.py: draws with matplotlib, which is missing: pip install matplotlib")
    options.out.parent.mkdir(parents=True, exist_ok=True)

    about = json.loads(subprocess.run([options.build / "minima", "doctor", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    result = {**made_now(), "processor": f"{about['processor']}, {about['vector_unit']}, {about['cores']} cores", "debian": debian(options)}
    sweeps = [*training(options), *streaming(options)]
    result["sweeps"] = [asdict(sweep) for sweep in sweeps]
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(result, sweeps))
    plot(sweeps, options.out.with_suffix(".svg"))
    print(markdown(result, sweeps))


if __name__ == "__main__":
    main()
