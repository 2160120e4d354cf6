#!/usr/bin/env python3
"""The same fine-tuning in plain PyTorch: what the README's accuracy of `minima train --model DIR` is measured against.

    python bench/peer_finetune.py --model MINILM --data sst2 --epochs 3 --lr 1e-4 --seeds 3

The classifier is transformers' own for the model directory's config.json, its encoder from the checkpoint and its head new
(first token, pooler, dropout, linear). As in `minima train`: AdamW without decay on biases and layer norms, the rate rising
over the first 10 % of the steps and falling linearly to 0, gradients clipped to norm 1, batches of 32, dropout as in
config.json, the directory's tokenizer and greatest length, the epoch that is best on dev (of equals the one of lower loss). Different are the random numbers and the batches:
bucketed by length within windows of 32 batches (bench/peer_pytorch.py), for speed.

A line a seed on standard error; one JSON document on standard output.   Needs: torch transformers tokenizers.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from peer_pytorch import OPTIMIZERS, Example, batches, decay_groups, read_examples
from peer_text import directory_tokenizer
from turns import positive


def padded(batch: list[Example]) -> tuple[dict[str, Tensor], Tensor]:
    ids = pad_sequence([e.ids for e in batch], batch_first=True)  # whatever token fills up: the mask hides it
    lengths = torch.tensor([len(e.ids) for e in batch])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}, torch.tensor([e.label for e in batch])


@torch.no_grad()
def evaluate(model: nn.Module, examples: list[Example]) -> tuple[float, float]:
    """Accuracy in %, and mean cross-entropy."""
    model.eval()
    right, loss = 0, 0.0
    by_length = sorted(examples, key=lambda e: len(e.ids))
    for i in range(0, len(by_length), 64):
        inputs, labels = padded(by_length[i : i + 64])
        logits = model(**inputs).logits
        right += int((logits.argmax(-1) == labels).sum())
        loss += float(cross_entropy(logits, labels, reduction="sum"))
    model.train()
    return 100 * right / len(examples), loss / len(examples)


def run(args: argparse.Namespace, splits: dict[str, list[Example]], seed: int) -> dict:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    start = time.perf_counter()
    labels = 1 + max(e.label for e in splits["train"])
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=labels).train()
    optimizer = OPTIMIZERS[args.optimizer](decay_groups(model, 0.01), args.lr)
    per_epoch = -(-len(splits["train"]) // args.batch)
    total = args.epochs * per_epoch
    warmup = max(1, round(0.1 * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / warmup, (total - step) / max(1, total - warmup))
    )
    stream = batches(splits["train"], args.batch, True, seed)
    epochs = []
    for epoch in range(args.epochs):
        for batch in itertools.islice(stream, per_epoch):
            inputs, targets = padded(batch)
            cross_entropy(model(**inputs).logits, targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        dev, dev_loss = evaluate(model, splits["dev"])
        test, test_loss = evaluate(model, splits["test"])
        epochs.append({"dev": dev, "dev_loss": dev_loss, "test": test, "test_loss": test_loss})
        print(f"seed {seed}, epoch {epoch + 1}: dev {dev:.2f} %, test {test:.2f} %, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    best = max(epochs, key=lambda e: (e["dev"], -e["dev_loss"]))
    return {"seed": seed, "dev": best["dev"], "test": best["test"], "epochs": epochs, "seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model directory: config.json, tokenizer, model.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--rows", type=positive, help="of the training split (default: all)")
    parser.add_argument("--epochs", type=positive, default=3)
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="adamw")
    parser.add_argument("--max-length", type=positive, help="tokens of a text (default: what the directory says)")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--seeds", type=positive, default=1)
    parser.add_argument("--threads", type=positive, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = directory_tokenizer(args.model, args.max_length)
    splits = {name: read_examples(args.data / f"{name}.tsv", tokenizer, args.rows if name == "train" else None) for name in ("train", "dev", "test")}
    runs = [run(args, splits, args.seed + i) for i in range(args.seeds)]
    tests = [r["test"] for r in runs]
    error = statistics.stdev(tests) / len(tests) ** 0.5 if len(tests) > 1 else None
    print(json.dumps({"optimizer": args.optimizer, "lr": args.lr, "epochs": args.epochs, "rows": args.rows, "torch": torch.__version__,
                      "dev": statistics.fmean(r["dev"] for r in runs), "test": statistics.fmean(tests), "standard_error": error, "runs": runs}))  # fmt: skip


if __name__ == "__main__":
    main()
