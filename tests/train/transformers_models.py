"""What transformers makes of model directories:

transformers_models.py make MODELS.json      a list of {"folder", "tokenizer", "config", "shards"}: draws a model of that
    config and saves it as transformers does, whole or in shards, with the tokenizer of another folder
transformers_models.py logits TEXTS.json DIR...     loads each directory as any user does and writes DIR/logits.safetensors
    for the texts (a list of [text] or [text, pair]). Fails when a weight is missing or left over, or when the labels have
    no names of their own
"""
import inspect
import json
import os
import sys

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, logging

logging.set_verbosity_error()
logging.disable_progress_bar()


def make(models: list[dict]) -> None:
    torch.manual_seed(1)
    for one in models:
        config = {key: value for key, value in one["config"].items() if not key.startswith("minima_")}
        config["id2label"] = {int(i): name for i, name in config["id2label"].items()}
        model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(**config))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # biases and layer norms, too
        model.save_pretrained(one["folder"], **({"max_shard_size": "50KB"} if one["shards"] else {}))
        AutoTokenizer.from_pretrained(one["tokenizer"]).save_pretrained(one["folder"])


def logits(texts: list[list[str]], folder: str) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info.get(problem), (folder, problem, info[problem])
    assert model.config.id2label == {0: "one", 1: "two", 2: "three"}, model.config.id2label
    longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    result = []
    with torch.no_grad():
        for begin in range(0, len(texts), 50):
            batch = tokenizer(*map(list, zip(*texts[begin:begin + 50], strict=True)), padding=True, truncation=True,
                              return_tensors="pt", max_length=longest)
            assert batch.keys() <= inspect.signature(model.forward).parameters.keys(), (folder, batch.keys())
            result.append(model.eval()(**batch).logits)
    return torch.cat(result)


command, file, *folders = sys.argv[1:]
with open(file, encoding="utf-8") as opened:
    given = json.load(opened)
if command == "make":
    make(given)
for folder in folders:
    # Texts alone and pairs are batches of their own.
    parts = [logits([text for text in given if len(text) == count], folder) for count in (1, 2)]
    save_file({"single": parts[0], "pair": parts[1]}, f"{folder}/logits.safetensors")
