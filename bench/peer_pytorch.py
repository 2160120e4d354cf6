#!/usr/bin/env python3
"""The opponent of the README's training-speed claim: the same classifier, trained by plain PyTorch.

The README says how fast `minima` trains a small text classifier on a CPU next to PyTorch. This is PyTorch's side: DistilBERT
as `transformers` builds it (SDPA attention, train mode) or, with --model, what a model directory holds, fused AdamW without decay on biases and layer norms, gradients
clipped to norm 1. Texts are tokenized before the clock starts. A timed step is everything from a list of token ids to new
weights: pad, forward, backward, clip, update, zero_grad. For a GPU batches are padded before the clock starts, in pinned
memory, as a DataLoader's workers would; a batch without padding has no mask, which allows faster attention.

`--precision tf32` is torch's "high" precision of fp32 products, `bf16` its autocast; `--compile` takes torch.compile.

One JSON line on standard output:
    python bench/peer_pytorch.py --data sst2 --vocab vocab.txt --batching bucketed
To alternate with another program in one sitting; prints "ready", then answers each line of standard input:
    python bench/peer_pytorch.py --data sst2 --vocab vocab.txt --serve
    run 20      20 further steps, one JSON line        quit      the end

Batching: `bucketed` sorts by length within windows of 32 batches of a shuffled epoch, then shuffles the batches; `padded`
takes random batches. Both pad to the longest text of the batch. Batches differ in length: compare sentences or tokens per
second over many steps, not the minimum. `cores_busy_elsewhere` above 0.1 spoils a measurement. MB = 2**20 bytes.
Needs: torch transformers tokenizers; bitsandbytes and came-pytorch only for their optimizers.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from peer_text import directory_tokenizer, read_tsv
from turns import positive, seconds_elsewhere, serve

WINDOW = 32  # batches sorted together when bucketed
T = TypeVar("T")


# Optimizers, by the names that minima gives them

Groups = list[dict]
Make = Callable[[Groups, float], torch.optim.Optimizer]


def adafactor(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=lr, scale_parameter=False, relative_step=False, warmup_init=False)


def adamw8bit(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(groups, lr=lr)


def came(groups: Groups, lr: float) -> torch.optim.Optimizer:
    from came_pytorch import CAME

    return CAME(groups, lr=lr)


OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, fused=True),
    "adamw-foreach": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, foreach=True),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9, fused=True),
    "adafactor": adafactor,
    "adafactor-torch": lambda groups, lr: torch.optim.Adafactor(groups, lr=lr),
    "adamw8bit": adamw8bit,
    "came": came,
}


def decay_groups(model: nn.Module, weight_decay: float) -> Groups:
    """Matrices decay; biases and layer norms, which are the vectors of this model, do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


# Data

@dataclass
class Example:
    ids: Tensor
    label: int


def read_examples(file: Path, tokenizer, rows: int | None = None) -> list[Example]:
    labels, texts = read_tsv(file, rows)
    return [Example(torch.tensor(e.ids), int(label)) for e, label in zip(tokenizer.encode_batch(texts), labels)]


def batches(examples: list[Example], size: int, bucketed: bool, seed: int) -> Iterator[list[Example]]:
    """Epoch after epoch, without end."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(examples, len(examples))
        if bucketed:
            window = WINDOW * size
            windows = [sorted(order[i : i + window], key=lambda e: len(e.ids)) for i in range(0, len(order), window)]
            order = [example for window in windows for example in window]
        epoch = [order[i : i + size] for i in range(0, len(order), size)]
        rng.shuffle(epoch)
        yield from epoch


# Models

def vocabulary_tokenizer(args: argparse.Namespace):
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(args.vocab), lowercase=True)
    tokenizer.enable_truncation(args.max_length)
    return tokenizer


def from_scratch(args: argparse.Namespace, labels: int) -> nn.Module:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    return DistilBertForSequenceClassification(DistilBertConfig(
        vocab_size=sum(1 for _ in args.vocab.open(encoding="utf-8")),
        dim=args.dim, n_layers=args.layers, n_heads=args.heads, hidden_dim=args.hidden,
        dropout=args.dropout, attention_dropout=args.dropout, seq_classif_dropout=args.dropout,
        num_labels=labels, attn_implementation="sdpa",
    ))  # fmt: skip


def pretrained(args: argparse.Namespace, labels: int) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=labels, attn_implementation="sdpa")


# Training

class Trainer:
    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        examples = read_examples(args.data / "train.tsv", directory_tokenizer(args.model, args.max_length) if args.model else vocabulary_tokenizer(args))
        labels = 1 + max(e.label for e in examples)
        self.device = torch.device(args.device)
        self.narrow = args.precision == "bf16"
        torch.set_float32_matmul_precision("high" if args.precision == "tf32" else "highest")
        self.model = (pretrained(args, labels) if args.model else from_scratch(args, labels)).train().to(self.device)
        self.forward = torch.compile(self.model, mode=args.compile) if args.compile else self.model
        self.optimizer = OPTIMIZERS[args.optimizer](decay_groups(self.model, 0.01), args.lr)
        warmup = max(1, args.warmup_steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda t: min(1.0, (t + 1) / warmup))
        self.batches = batches(examples, args.batch, args.batching == "bucketed", args.seed)
        self.longest = sorted(examples, key=lambda e: len(e.ids))[-args.batch :]
        self.describe = {
            "peer": "pytorch", "torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
            "device": args.device, "threads": torch.get_num_threads(), "batching": args.batching, "optimizer": args.optimizer,
            "precision": args.precision, "compiled": args.compile or "no", "batch": args.batch,
            "parameters": sum(p.numel() for p in self.model.parameters()),
        }

    def padded(self, batch: list[Example]) -> dict[str, Tensor]:
        ids = pad_sequence([e.ids for e in batch], batch_first=True)  # [PAD] is 0
        lengths = torch.tensor([len(e.ids) for e in batch])
        tensors = {"input_ids": ids, "labels": torch.tensor([e.label for e in batch])}
        on_gpu = self.device.type == "cuda"
        if not on_gpu or lengths.min() < ids.shape[1]:
            tensors["attention_mask"] = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {name: tensor.pin_memory() if on_gpu else tensor for name, tensor in tensors.items()}

    def step(self, batch: dict[str, Tensor]) -> float:
        """One optimizer step; its loss."""
        there = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.narrow):
            loss = self.forward(**there).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item()

    def warm_up(self, steps: int) -> None:
        """Untimed steps; the first takes the longest batch, so that no timed step waits for fresh memory."""
        for i in range(steps):
            self.step(self.padded(next(self.batches) if i else self.longest))

    def run(self, steps: int) -> dict:
        watch = Stopwatch()
        losses, sentences, tokens, slots = [], 0, 0, 0
        for _ in range(steps):
            batch = next(self.batches)
            before = self.padded(batch) if self.device.type == "cuda" else None
            losses.append(watch.time(lambda: self.step(before or self.padded(batch))))
            sentences += len(batch)
            tokens += sum(len(e.ids) for e in batch)
            slots += len(batch) * max(len(e.ids) for e in batch)
        seconds = sum(watch.ms) / 1e3
        return {
            **watch.summary(), "sentences_per_s": round(sentences / seconds, 1), "tokens_per_s": round(tokens / seconds, 1),
            "padded_share": round(1 - tokens / slots, 4), "tokens_per_step": round(tokens / steps, 1),
            "loss_first": round(losses[0], 4), "loss_last": round(losses[-1], 4), "peak_rss_mb": round(peak_rss_mb(), 1),
            "peak_device_mb": torch.cuda.max_memory_allocated() / 2**20 if self.device.type == "cuda" else 0.0,
        }


# Shared with peer_optimizers.py

class Stopwatch:
    """Times calls one by one, and sees how much the rest of the machine computed meanwhile."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.start, self.elsewhere = time.perf_counter(), seconds_elsewhere([])

    def time(self, call: Callable[[], T]) -> T:
        finish_gpu()
        start = time.perf_counter()
        result = call()
        finish_gpu()
        self.ms.append(1e3 * (time.perf_counter() - start))
        return result

    def summary(self) -> dict:
        other = (seconds_elsewhere([]) - self.elsewhere) / (time.perf_counter() - self.start)
        return {
            "steps": len(self.ms), "median_ms": round(statistics.median(self.ms), 3),
            "mean_ms": round(statistics.fmean(self.ms), 3), "min_ms": round(min(self.ms), 3),
            "ms": [round(t, 3) for t in self.ms],
            "cores_busy_elsewhere": round(max(0.0, other), 2),  # above 0.1 the times say little
        }


def finish_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_rss_mb() -> float:
    """Of this process; getrusage would count the one that has started it, too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time training steps of a DistilBERT classifier in plain PyTorch.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv, header label<TAB>text")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--vocab", type=Path, help="uncased WordPiece vocabulary, one entry a line, of a model from scratch")
    model.add_argument("--model", type=Path, help="model directory, to be fine-tuned; it has sizes and dropout of its own")
    parser.add_argument("--dim", type=positive, default=256)
    parser.add_argument("--layers", type=positive, default=4)
    parser.add_argument("--heads", type=positive, default=4)
    parser.add_argument("--hidden", type=positive, default=1024)
    parser.add_argument("--max-length", type=positive, default=128)
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--device", default="cpu", help="as PyTorch calls it: cpu, cuda")
    parser.add_argument("--steps", type=positive, default=60, help="timed steps")
    parser.add_argument("--warmup-steps", type=int, default=10, help="untimed steps before, in which the rate rises")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--compile", nargs="?", const="default", help="take torch.compile, in this mode of its")
    parser.add_argument("--batching", choices=["bucketed", "padded"], default="bucketed")
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="adamw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help="obey `run N` and `quit` from standard input")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    trainer = Trainer(args)
    trainer.warm_up(args.warmup_steps)

    def answer(words: list[str]) -> dict:
        if len(words) != 2 or words[0] != "run":
            raise ValueError(f"unknown line {' '.join(words)!r}; known: run N, quit")
        return {**trainer.describe, **trainer.run(positive(words[1]))}

    if args.serve:
        serve(answer)
    else:
        print(json.dumps(answer(["run", str(args.steps)])))


if __name__ == "__main__":
    main()
