#!/usr/bin/env python3
"""The README's accuracy of small encoders that were pre-trained on a data set's own training text.

    python bench/pretrain_accuracy.py --data DIR [--sets sst2,trec,agnews,subj] [--seeds 3] [--out runs/accuracy]

For each set and seed: `minima pretrain` on the texts of DIR/SET/train.tsv, then `minima train --model` on their labels. The
settings of each set stand below; they were chosen on dev. What the same program has made of the same data by the same command is
not made again: the name of a folder holds the hash of all three. Test accuracy in %, mean ± deviation over the seeds, beside
TF-IDF + logistic regression where scikit-learn is installed (1- and 2-grams, sublinear, C chosen on dev).
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from peer_text import read_tsv
from turns import HERE, positive, require_programs

PRETRAIN = "--dim 128 --layers 2 --heads 4 --hidden 256 --dropout 0 --mask-rate 0.3 --lr 2e-3"
FINE_TUNE = "--dropout 0.3 --word-dropout 0.15 --pooling mean --lr 5e-4"
SETTINGS = {  # of pre-training, of fine-tuning
    "sst2": ("--vocabulary 4000 --epochs 40", "--epochs 6"),
    "trec": ("--vocabulary 3000 --epochs 80", "--epochs 20"),
    "agnews": ("--vocabulary 6000 --epochs 20", "--epochs 6"),
    "subj": ("--vocabulary 6000 --epochs 25", "--epochs 6"),
}


class Runner:
    """Runs verbs of one program on one data set, each in a folder of its own."""

    def __init__(self, minima: str, data: Path, options: list[str], out: Path) -> None:
        self.minima, self.out = minima, out
        self.common = ["--data", str(data), *options, "--watch", "0", "--json"]
        self.bytes = [Path(minima).read_bytes(), *(file.read_bytes() for file in sorted(data.iterdir()) if file.is_file())]

    def run(self, name: str, verb: str, options: list[str]) -> dict:
        """The JSON that the verb prints."""
        command = [self.minima, verb, *self.common, *options]
        key = hashlib.sha256()
        for part in [json.dumps(command).encode(), *self.bytes]:
            key.update(hashlib.sha256(part).digest())
        folder = self.out / f"{name}-{verb}-{key.hexdigest()[:12]}"
        record = folder / "answer.json"
        if not record.exists():
            shutil.rmtree(folder, ignore_errors=True)  # it did not come to its end
            print(" ".join(command), file=sys.stderr)
            started = time.monotonic()
            result = subprocess.run([*command, "--out", str(folder)], stdout=subprocess.PIPE)
            if result.returncode != 0:
                sys.exit(result.returncode)  # it has said why
            record.write_text(json.dumps(json.loads(result.stdout) | {"wall_seconds": time.monotonic() - started}))
        return json.loads(record.read_text())


def tfidf(data: Path) -> float | None:
    """Test accuracy in %; None without scikit-learn."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    (labels, texts), dev, test = (read_tsv(data / f"{name}.tsv") for name in ("train", "dev", "test"))
    words = TfidfVectorizer(token_pattern=r"(?u)\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True)
    x = words.fit_transform(texts)
    models = [LogisticRegression(C=c, max_iter=2000).fit(x, labels) for c in (1, 3, 10, 30, 100, 300)]
    best = max(models, key=lambda model: model.score(words.transform(dev[1]), dev[0]))
    return 100 * best.score(words.transform(test[1]), test[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "minima"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets, each with train.tsv, dev.tsv, test.tsv")
    parser.add_argument("--sets", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--threads", default="0")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    args = parser.parse_args()
    sets = args.sets.split(",")
    if unknown := set(sets) - set(SETTINGS):
        parser.error(f"'{min(unknown)}' is none of {', '.join(SETTINGS)}")
    require_programs(Path(args.minima).parent, Path(args.minima).name)
    for file in (args.data / name / f"{split}.tsv" for name in sets for split in ("train", "dev", "test")):
        if not file.is_file():
            parser.error(f"--data: there is no {file}")

    rows = {}
    for name in sets:
        runs = []
        pretrain, fine_tune = SETTINGS[name]
        for seed in range(1, args.seeds + 1):
            runner = Runner(args.minima, args.data / name, ["--seed", str(seed), "--threads", args.threads], args.out)
            first = runner.run(f"{name}-{seed}", "pretrain", f"{PRETRAIN} {pretrain}".split())
            second = runner.run(f"{name}-{seed}", "train", [*f"{FINE_TUNE} {fine_tune} --model".split(), first["model"]])
            runs.append({
                "seed": seed, "dev": 100 * second["dev"]["accuracy"], "test": 100 * second["test"]["accuracy"],
                "parameters": first["parameters"], "seconds": first["wall_seconds"] + second["wall_seconds"],
            })  # fmt: skip
            print(f"{name}, seed {seed}: dev {runs[-1]['dev']:.1f}, test {runs[-1]['test']:.1f}, {runs[-1]['seconds']:.0f} s", file=sys.stderr)
        rows[name] = {"runs": runs, "tfidf": tfidf(args.data / name)}

    def figure(values: list[float]) -> str:
        return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"

    print("| | parameters | dev | test | TF-IDF | minutes |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        runs, counted = row["runs"], row["tfidf"]
        print(f"| {name} | {runs[0]['parameters']:,} | {figure([r['dev'] for r in runs])} | {figure([r['test'] for r in runs])} | "
              f"{'no scikit-learn' if counted is None else f'{counted:.1f}'} | {max(r['seconds'] for r in runs) / 60:.1f} |")  # fmt: skip
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
