#!/usr/bin/env python3
"""The opponents of the README's prediction speed: a fine-tuned classifier in PyTorch or ONNX Runtime.

The model stays loaded. A timed run tokenizes all texts (the `tokenizers` package; cut where the directory says), sorts them by
length, takes batches padded to their longest text, and puts the logits back in order. ONNX Runtime runs the graph that
`torch.onnx.export` makes of the same model, in fp32, with every optimization that it knows.

Prints "ready", then answers each line of standard input:
    python bench/peer_predict.py --model DIR --data test.tsv --engine pytorch|onnx
    run N       labels all texts N times, one JSON line      quit        the end
Needs: torch transformers tokenizers; onnx, onnxscript and onnxruntime for the latter.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from peer_pytorch import peak_rss_mb
from peer_text import directory_tokenizer, read_tsv
from turns import positive, serve

Forward = Callable[[Tensor, Tensor], Tensor]  # ids, mask → logits


def exported(model: torch.nn.Module, threads: int) -> Forward:
    import onnxruntime

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    example = torch.ones((2, 8), dtype=torch.long)
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("longest")}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        torch.onnx.export(Logits().eval(), (example, example), file, input_names=["input_ids", "attention_mask"], output_names=["logits"],
                          dynamic_shapes=(sizes, sizes), dynamo=True, verbose=False)  # fmt: skip
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: torch.from_numpy(session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0])


def predict(texts: list[str], tokenizer, forward: Forward, batch: int) -> Tensor:
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts = []
    for start in range(0, len(order), batch):
        chosen = [ids[i] for i in order[start : start + batch]]
        inputs = torch.zeros((len(chosen), max(map(len, chosen))), dtype=torch.long)  # whatever token fills up: the mask hides it
        mask = torch.zeros_like(inputs)
        for row, text in enumerate(chosen):
            inputs[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        parts.append(forward(inputs, mask))
    logits = torch.cat(parts)
    return torch.empty_like(logits).index_copy_(0, torch.tensor(order), logits)


@torch.inference_mode()
def main() -> None:
    from transformers import AutoModelForSequenceClassification

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="model directory with a classifier")
    parser.add_argument("--data", type=Path, required=True, help=".tsv file, header label<TAB>text")
    parser.add_argument("--engine", choices=["pytorch", "onnx"], required=True)
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--threads", type=positive, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    texts = read_tsv(args.data)[1]
    tokenizer = directory_tokenizer(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model).eval()
    if args.engine == "pytorch":
        forward: Forward = lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits  # noqa: E731
    else:
        with torch.inference_mode(False):
            forward = exported(model, args.threads)

    def answer(words: list[str]) -> dict:
        if len(words) != 2 or words[0] != "run":
            raise ValueError(f"unknown line {' '.join(words)!r}; known: run N, quit")
        times = positive(words[1])
        start = time.perf_counter()
        for _ in range(times):
            logits = predict(texts, tokenizer, forward, args.batch)
        seconds = time.perf_counter() - start
        return {"sentences_per_s": times * len(texts) / seconds, "peak_rss_mb": peak_rss_mb(), "logits": logits.tolist(),
                "names": [model.config.id2label[i] for i in range(logits.shape[1])]}  # fmt: skip

    serve(answer)


if __name__ == "__main__":
    main()
