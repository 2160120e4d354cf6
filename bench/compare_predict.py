#!/usr/bin/env python3
"""The README's prediction speed: `minima predict` and PyTorch in turns, on the same texts, model and threads.

    python bench/compare_predict.py --model MINILM --data agnews/test.tsv [--rounds 5]

MINILM is a model directory with a classifier, such as `minima train` writes. Ours is the whole program: start, loading, lines
in, labels out. PyTorch's model stays loaded, and its time is that of tokenizing (the `tokenizers` package), sorting by
length, running batches of 32 padded to their longest text, and putting the labels back in order. Both take --threads. The
first round warms up and does not count. Reported: medians over rounds of sentences per second and of each round's ratio, and
on how many texts the labels differ.   Needs: torch transformers tokenizers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from compare_pytorch import HERE, busy_seconds


def read_texts(file: Path) -> list[str]:
    return [line.split("\t", 1)[1] for line in file.read_text(encoding="utf-8").removesuffix("\n").split("\n")[1:]]


class Ours:
    def __init__(self, args: argparse.Namespace, texts: list[str]) -> None:
        self.command = [args.minima, "predict", str(args.model), "--threads", str(args.threads)]
        self.input = ("\n".join(texts) + "\n").encode()

    def labels(self) -> list[str]:
        result = subprocess.run(self.command, input=self.input, stdout=subprocess.PIPE, check=True)
        return result.stdout.decode().splitlines()


class Theirs:
    def __init__(self, args: argparse.Namespace, texts: list[str]) -> None:
        import torch
        from tokenizers import BertWordPieceTokenizer
        from transformers import AutoModelForSequenceClassification

        self.torch = torch
        torch.set_num_threads(args.threads)
        self.model = AutoModelForSequenceClassification.from_pretrained(args.model).eval()
        self.tokenizer = BertWordPieceTokenizer(str(args.model / "vocab.txt"), lowercase=True)
        self.tokenizer.enable_truncation(self.model.config.max_position_embeddings)
        self.texts, self.batch = texts, args.batch

    def labels(self) -> list[str]:
        torch = self.torch
        ids = [e.ids for e in self.tokenizer.encode_batch(self.texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        labels = [""] * len(ids)
        with torch.inference_mode():
            for start in range(0, len(order), self.batch):
                chosen = order[start : start + self.batch]
                longest = max(len(ids[i]) for i in chosen)
                inputs = torch.zeros((len(chosen), longest), dtype=torch.long)  # [PAD] is 0
                mask = torch.zeros_like(inputs)
                for row, i in enumerate(chosen):
                    inputs[row, : len(ids[i])] = torch.tensor(ids[i])
                    mask[row, : len(ids[i])] = 1
                for i, label in zip(chosen, self.model(input_ids=inputs, attention_mask=mask).logits.argmax(-1).tolist()):
                    labels[i] = self.model.config.id2label[label]
        return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "minima"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help=".tsv file, header label<TAB>text")
    parser.add_argument("--texts", type=int, help="the first N of them (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="of PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    texts = read_texts(args.data)[: args.texts]
    peers = {"minima": Ours(args, texts), "pytorch": Theirs(args, texts)}
    rates, labels = {name: [] for name in peers}, {}
    for turn in range(args.rounds + 1):
        for name, peer in peers.items():
            start, busy = time.perf_counter(), busy_seconds()
            labels[name] = peer.labels()
            seconds = time.perf_counter() - start
            if turn > 0:
                rates[name].append(len(texts) / seconds)
                print(f"round {turn}, {name}: {rates[name][-1]:.0f} sentences/s, {(busy_seconds() - busy) / seconds:.2f} cores busy in all", file=sys.stderr)
    result = {name: statistics.median(values) for name, values in rates.items()}
    result["ratio"] = statistics.median(ours / theirs for ours, theirs in zip(rates["minima"], rates["pytorch"]))
    result["labels_differ"] = sum(a != b for a, b in zip(labels["minima"], labels["pytorch"], strict=True))
    print(f"{len(texts)} texts: minima {result['minima']:.0f} sentences/s, PyTorch {result['pytorch']:.0f}, {result['ratio']:.2f} times; "
          f"labels differ on {result['labels_differ']}")  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
