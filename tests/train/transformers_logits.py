"""The logits that transformers gives for some texts: transformers_logits.py TEXTS.json DIR...

Loads each model directory as any user does, and writes DIR/logits.safetensors. Fails when a weight
is missing or left over, or when the labels have no names of their own.
"""
import json
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging

logging.set_verbosity_error()
texts = json.load(open(sys.argv[1], encoding="utf-8"))
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info.get(problem), (folder, problem, info[problem])
    assert model.config.id2label == {0: "one", 1: "two", 2: "three"}, model.config.id2label
    model.eval()
    logits = []
    with torch.no_grad():
        for begin in range(0, len(texts), 50):
            batch = tokenizer(texts[begin:begin + 50], padding=True, truncation=True, return_tensors="pt",
                              max_length=min(tokenizer.model_max_length, model.config.max_position_embeddings))
            logits.append(model(**batch).logits)
    save_file({"logits": torch.cat(logits)}, f"{folder}/logits.safetensors")
