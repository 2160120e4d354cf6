"""A training step of `minima train --precision` against PyTorch's torch.autocast on the CPU: loss and gradients.

    python tests/peers/autocast.py MINIMA

A small DistilBERT of random weights is made with transformers. One step of SGD with learning rate 1 from these weights
tells the gradient: the difference of the weights. In fp32 both must agree; in bf16 minima must be as near to fp32 as
torch.autocast is, and as near to torch.autocast, both within a factor of BOUND.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification
except ImportError:
    print("skipped: torch, transformers or safetensors is not installed for this Python (MINIMA_PYTHON names another)")
    sys.exit(0)

BOUND = 1.5
WORDS = ["good", "bad", "fine", "film", "plot", "the", "a", "was", "very", "not", "long", "short", "loud", "so"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS


def make_texts():
    torch.manual_seed(5)
    return [(i % 3, " ".join(WORDS[k] for k in torch.randint(len(WORDS), (4 + 5 * i % 23,)))) for i in range(48)]


def make_model(folder):
    torch.manual_seed(1)
    config = DistilBertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, dim=64, n_layers=3, n_heads=4,
                              hidden_dim=256, dropout=0, attention_dropout=0, seq_classif_dropout=0, num_labels=3,
                              initializer_range=0.1, pad_token_id=0)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "tokenizer_class": "DistilBertTokenizer"}))


def torch_step(folder, texts, dtype):
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").train()
    rows = [[2] + [VOCABULARY.index(word) for word in text.split()] + [3] for _, text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(ids, attention_mask=mask, labels=torch.tensor([label for label, _ in texts])).loss
    loss.backward()
    return loss.item(), {name: p.grad.float() for name, p in model.named_parameters()}


def minima_step(program, folder, work, precision):
    out = work / f"run-{precision}"
    subprocess.run([program, "train", "--data", work / "data", "--model", folder, "--optimizer", "sgd:lr=1:momentum=0",
                    "--steps", "1", "--batch", "48", "--clip", "0", "--dropout", "0", "--schedule", "constant",
                    "--warmup", "0", "--precision", precision, "--out", out, "--json"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before, after = load_file(folder / "model.safetensors"), load_file(out / "final" / "model.safetensors")
    lines = map(json.loads, open(out / "metrics.jsonl"))
    loss = next(line["loss"] for line in lines if "loss" in line)
    return loss, {name: before[name] - after[name] for name in before}


def distance(a, b):
    """The median over all tensors of |a − b| / |b|: the bias of the keys, whose gradient is 0 but for rounding, tells nothing."""
    return sorted(((a[name] - b[name]).norm() / b[name].norm()).item() for name in b)[len(b) // 2]


def main():
    program = str(Path(sys.argv[1]).resolve())
    texts = make_texts()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "data").mkdir()
        for split in ("train", "dev", "test"):
            (work / "data" / f"{split}.tsv").write_text("label\ttext\n" + "".join(f"{l}\t{t}\n" for l, t in texts))
        folder = work / "model"
        make_model(folder)
        exact_loss, exact = torch_step(folder, texts, None)
        torch_loss, torch_bf16 = torch_step(folder, texts, torch.bfloat16)
        losses, mine = {}, {}
        for precision in ("fp32", "bf16", "fp16"):
            losses[precision], mine[precision] = minima_step(program, folder, work, precision)
        usual = distance(torch_bf16, exact)
        print(f"loss: fp32 {exact_loss:.6f}; torch.autocast bf16 {torch_loss - exact_loss:+.2e}; minima "
              + ", ".join(f"{key} {loss - exact_loss:+.2e}" for key, loss in losses.items()))
        print(f"gradients, distance to torch's fp32: torch.autocast bf16 {usual:.2e}; minima "
              + ", ".join(f"{key} {distance(of, exact):.2e}" for key, of in mine.items()))
        between = distance(mine["bf16"], torch_bf16)
        print(f"minima's bf16 to torch.autocast's: {between:.2e}")
        assert abs(losses["fp32"] - exact_loss) < 1e-5 and distance(mine["fp32"], exact) < 1e-4
        assert distance(mine["bf16"], exact) < BOUND * usual and between < BOUND * usual
        # Three more bits; but a relu of the head that flips by rounding is an error of its own, so not an eighth.
        assert distance(mine["fp16"], exact) < distance(mine["bf16"], exact)
        assert abs(losses["bf16"] - exact_loss) < 4 * max(abs(torch_loss - exact_loss), 1e-3)


main()
