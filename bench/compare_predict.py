#!/usr/bin/env python3
"""The README's prediction speed: `minima predict` and PyTorch in turns, on the same texts, model and threads.

    python bench/compare_predict.py --model MINILM --data agnews/test.tsv [--rounds 5]

The README's figure is of all-MiniLM-L6-v2 fine-tuned on AG News, and 250 texts of each class of its test split. MINILM is a
model directory with a classifier, such as `minima train` writes. Ours is the whole program: start, loading, lines
in, labels out. PyTorch's model stays loaded, and its time is that of tokenizing (the `tokenizers` package), sorting by
length, running batches of 32 padded to their longest text, and putting the labels back in order. Both take --threads, and
both cut texts where the directory says. The first round warms up and does not count. Reported: medians over rounds of
sentences per second and of each round's ratio, and on how many texts the labels differ; it ends with 1 where they differ on
a text whose two logits are not equal within 1e-3.   Needs: torch transformers tokenizers.
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
from peer_text import directory_tokenizer, read_tsv


TIE = 1e-3  # between logits: rounding decides


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
        from transformers import AutoModelForSequenceClassification

        self.torch = torch
        torch.set_num_threads(args.threads)
        self.model = AutoModelForSequenceClassification.from_pretrained(args.model).eval()
        self.tokenizer = directory_tokenizer(args.model)
        self.texts, self.batch = texts, args.batch

    def labels(self) -> list[str]:
        torch = self.torch
        ids = [e.ids for e in self.tokenizer.encode_batch(self.texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        self.logits = torch.empty(len(ids), self.model.config.num_labels)
        with torch.inference_mode():
            for start in range(0, len(order), self.batch):
                chosen = order[start : start + self.batch]
                longest = max(len(ids[i]) for i in chosen)
                inputs = torch.zeros((len(chosen), longest), dtype=torch.long)  # whatever token fills up: the mask hides it
                mask = torch.zeros_like(inputs)
                for row, i in enumerate(chosen):
                    inputs[row, : len(ids[i])] = torch.tensor(ids[i])
                    mask[row, : len(ids[i])] = 1
                self.logits[chosen] = self.model(input_ids=inputs, attention_mask=mask).logits
        return [self.model.config.id2label[label] for label in self.logits.argmax(-1).tolist()]

    def margin(self, text: int, label: str) -> float:
        """By how much its logit is below the largest."""
        return float(self.logits[text].max() - self.logits[text, self.model.config.label2id[label]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "minima"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help=".tsv file, header label<TAB>text; the README's: 250 texts a class")
    parser.add_argument("--texts", type=int, help="the first N of them (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="of PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    texts = read_tsv(args.data, args.texts)[1]
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
    differing = [i for i, (a, b) in enumerate(zip(labels["minima"], labels["pytorch"], strict=True)) if a != b]
    result["labels_differ"] = len(differing)
    result["no_ties"] = sum(peers["pytorch"].margin(i, labels["minima"][i]) > TIE for i in differing)
    print(f"{len(texts)} texts: minima {result['minima']:.0f} sentences/s, PyTorch {result['pytorch']:.0f}, {result['ratio']:.2f} times; "
          f"labels differ on {result['labels_differ']}, of which {result['no_ties']} are no ties")  # fmt: skip
    print(json.dumps(result))
    sys.exit(result["no_ties"] > 0)


if __name__ == "__main__":
    main()
