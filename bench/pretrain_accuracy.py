#!/usr/bin/env python3
"""The README's accuracy of small encoders that were pre-trained on a data set's own training text.

    python bench/pretrain_accuracy.py --data DIR [--sets sst2,trec,agnews,subj] [--seeds 3] [--out runs/accuracy]

For each set and seed: `minima pretrain` on the texts of DIR/SET/train.tsv, then `minima train --model` on their labels. The
settings of each set stand below; they were chosen on dev. A pair of runs that is there already is not run again. Test accuracy
in %, mean ± deviation over the seeds, beside TF-IDF + logistic regression (scikit-learn; 1- and 2-grams, C chosen on dev).
Needs no Python package.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

PRETRAIN = "--dim 128 --layers 2 --heads 4 --hidden 256 --dropout 0 --mask-rate 0.3 --lr 2e-3"
FINE_TUNE = "--dropout 0.3 --word-dropout 0.15 --pooling mean --lr 5e-4"
SETTINGS = {  # of pre-training, of fine-tuning
    "sst2": ("--vocabulary 4000 --epochs 40", "--epochs 6"),
    "trec": ("--vocabulary 3000 --epochs 40", "--epochs 10"),
    "agnews": ("--vocabulary 6000 --epochs 20", "--epochs 6"),
    "subj": ("--vocabulary 6000 --epochs 25", "--epochs 6"),
}
TFIDF = {"sst2": 81.3, "trec": 89.2, "agnews": 87.1, "subj": 92.5}


def run(command: list[str], record: Path) -> dict:
    """The JSON that a verb prints, which is kept in `record`."""
    if not record.exists():
        print(" ".join(command), file=sys.stderr)
        started = time.monotonic()
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        answer = json.loads(result.stdout) | {"wall_seconds": time.monotonic() - started}
        record.write_text(json.dumps(answer))
    return json.loads(record.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "minima"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets, each with train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--sets", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", default="0")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    args = parser.parse_args()

    rows = {}
    for name in args.sets.split(","):
        runs = []
        for seed in range(1, args.seeds + 1):
            folder = args.out / f"{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            pretrain, fine_tune = SETTINGS[name]
            common = ["--data", str(args.data / name), "--seed", str(seed), "--threads", args.threads, "--watch", "0", "--json"]
            first = run([args.minima, "pretrain", *common, *PRETRAIN.split(), *pretrain.split(),
                         "--out", str(folder / "pretrain")], folder / "pretrain.json")  # fmt: skip
            second = run([args.minima, "train", *common, *FINE_TUNE.split(), *fine_tune.split(),
                          "--model", str(folder / "pretrain" / "final"), "--out", str(folder / "train")], folder / "train.json")  # fmt: skip
            runs.append({
                "seed": seed, "dev": 100 * second["dev"]["accuracy"], "test": 100 * second["test"]["accuracy"],
                "parameters": first["parameters"], "seconds": first["wall_seconds"] + second["wall_seconds"],
            })  # fmt: skip
            print(f"{name}, seed {seed}: dev {runs[-1]['dev']:.1f}, test {runs[-1]['test']:.1f}, {runs[-1]['seconds']:.0f} s", file=sys.stderr)
        rows[name] = runs

    def figure(values: list[float]) -> str:
        return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"

    print("| | parameters | dev | test | TF-IDF | minutes |\n|---|---|---|---|---|---|")
    for name, runs in rows.items():
        print(f"| {name} | {runs[0]['parameters']:,} | {figure([r['dev'] for r in runs])} | {figure([r['test'] for r in runs])} | "
              f"{TFIDF[name]} | {max(r['seconds'] for r in runs) / 60:.1f} |")  # fmt: skip
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
