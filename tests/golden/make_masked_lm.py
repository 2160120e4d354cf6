"""Makes tests/golden/model/masked_lm: a tiny masked language model of each architecture, its loss and gradients.

    python3 tests/golden/make_masked_lm.py tests/golden/model/masked_lm

Per architecture X: X.json (config.json), X.safetensors: the parameters as `save_pretrained` names them, `batch.input_ids`
and `batch.attention_mask` i64 [4, 9], `rows` and `targets` i64 [M] (rows of the batch without its padding), `logits` [M, V],
`loss` [1], `grad.<parameter>`. Computed by transformers in float64 from float32 parameters, rounded to float32. Dropout is 0.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

target = Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
MODELS = {
    "distilbert": (DistilBertForMaskedLM, DistilBertConfig(
        vocab_size=37, max_position_embeddings=12, dim=8, n_heads=2, n_layers=2, hidden_dim=12, dropout=0.0, attention_dropout=0.0)),
    "bert": (BertForMaskedLM, BertConfig(
        vocab_size=37, max_position_embeddings=12, hidden_size=8, num_attention_heads=2, num_hidden_layers=2, intermediate_size=12,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}  # fmt: skip
LENGTHS = [9, 3, 6, 4]

for name, (make, config) in MODELS.items():
    torch.manual_seed(11)
    model = make(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(target / name)
    (target / name / "config.json").rename(target / f"{name}.json")
    parameters = load_file(target / name / "model.safetensors")
    for file in (target / name).iterdir():
        file.unlink()
    (target / name).rmdir()

    ids = torch.randint(5, config.vocab_size, (len(LENGTHS), max(LENGTHS)))
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    labels = torch.where((torch.rand(ids.shape) < 0.4) & (mask == 1), torch.randint(0, config.vocab_size, ids.shape), -100)
    labels[1] = -100  # a text of which nothing is hidden
    model = model.double().eval()
    out = model(input_ids=ids * mask, attention_mask=mask, labels=labels)
    out.loss.backward()
    kept = labels[mask == 1]
    tensors = {**parameters, "batch.input_ids": ids * mask, "batch.attention_mask": mask,
               "batch.labels": torch.zeros(len(LENGTHS), dtype=torch.int64),
               "rows": (kept != -100).nonzero()[:, 0], "targets": kept[kept != -100],
               "logits": out.logits[labels != -100], "loss": out.loss.reshape(1)}  # fmt: skip
    gradients = dict(model.named_parameters())
    for key in parameters:
        tensors[f"grad.{key}"] = gradients[key].grad
    save_file({k: (v.float() if v.is_floating_point() else v).detach().contiguous() for k, v in tensors.items()}, target / f"{name}.safetensors")
    print(name, sorted(parameters), float(out.loss), len(kept[kept != -100]))
