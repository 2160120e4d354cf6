#!/usr/bin/env python3
"""The opponent of the README's optimizer-step claim: the public optimizers on DistilBERT's own shapes.

The README says how long one update of DistilBERT-base-cased (65,783,042 parameters in 104 tensors, two labels) takes in
`minima`. This is the side of PyTorch, `transformers`, `bitsandbytes` and `came-pytorch`: the same parameters and
fixed random gradients of scale 1e-3 for all; the first step, which allocates the state, is not timed. `clip` is
`clip_grad_norm_` alone, with a limit that changes no gradient but costs the same.

One JSON line for each optimizer:
    python bench/peer_optimizers.py --steps 20 [--optimizers adamw,came]
To alternate with another program in one sitting; prints "ready", then answers each line of standard input:
    python bench/peer_optimizers.py --serve
    list        a JSON list of names                   run adamw 20      20 steps, one JSON line
    quit        the end

What is not installed is left out of the list. MB = 2**20 bytes.
Needs: torch transformers; bitsandbytes and came-pytorch for their optimizers.
"""

import argparse
import importlib.util
import json
import math
from collections.abc import Callable

import torch
from torch import nn

from peer_pytorch import OPTIMIZERS, Stopwatch, decay_groups, peak_rss_mb
from turns import positive, serve

NEEDS = {"adamw8bit": "bitsandbytes", "came": "came_pytorch"}


class Bench:
    def __init__(self, lr: float, weight_decay: float, device: str) -> None:
        from transformers import DistilBertConfig, DistilBertForSequenceClassification

        self.lr, self.weight_decay, self.device = lr, weight_decay, device
        self.model: nn.Module = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=28996, num_labels=2))
        self.model.to(device)
        self.parameters = list(self.model.parameters())
        for p in self.parameters:
            p.grad = 1e-3 * torch.randn_like(p)
        self.made: dict[str, tuple[Callable[[], object], int]] = {}  # name → (step, bytes of state)

    def names(self) -> list[str]:
        return [name for name in (*OPTIMIZERS, "clip") if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]

    def make(self, name: str) -> tuple[Callable[[], object], int]:
        if name == "clip":
            return lambda: nn.utils.clip_grad_norm_(self.parameters, math.inf), 0
        optimizer = OPTIMIZERS[name](decay_groups(self.model, self.weight_decay), self.lr)
        optimizer.step()
        tensors = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
        return optimizer.step, sum({t.data_ptr(): t.nbytes for t in tensors}.values())  # shared code maps count once

    def run(self, name: str, steps: int) -> dict:
        if name not in self.names():
            raise ValueError(f"no optimizer named {name!r}; there are: {', '.join(self.names())}")
        if name not in self.made:
            self.made[name] = self.make(name)
        step, state_bytes = self.made[name]
        watch = Stopwatch()
        if self.device == "cuda":  # queued one behind the other, as behind a backward pass
            watch.time(lambda: [step() for _ in range(steps)])
            watch.ms = [watch.ms[0] / steps]
        else:
            for _ in range(steps):
                watch.time(step)
        return {
            "peer": "pytorch", "torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(), "optimizer": name, "tensors": len(self.parameters),
            "parameters": sum(p.numel() for p in self.parameters), "state_bytes": state_bytes, **watch.summary(),
            "peak_rss_mb": round(peak_rss_mb(), 1),
        }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time one update of DistilBERT-base-cased by the public optimizers.")
    parser.add_argument("--optimizers", help="names with commas between (default: all that are installed)")
    parser.add_argument("--steps", type=positive, default=20)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--device", default="cpu", help="as PyTorch calls it: cpu, cuda")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help="obey `list`, `run NAME N`, `quit` from standard input")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    bench = Bench(args.lr, args.weight_decay, args.device)

    def answer(words: list[str]) -> dict | list[str]:
        match words:
            case ["list"]:
                return bench.names()
            case ["run", name, steps]:
                return bench.run(name, positive(steps))
        raise ValueError(f"unknown line {' '.join(words)!r}; known: list, run NAME N, quit")

    if args.serve:
        serve(answer)
        return
    for name in args.optimizers.split(",") if args.optimizers else bench.names():
        print(json.dumps(bench.run(name, args.steps)), flush=True)


if __name__ == "__main__":
    main()
