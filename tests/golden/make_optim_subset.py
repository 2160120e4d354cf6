#!/usr/bin/env python3
"""Cuts a small subset out of the reference set's optimizer cases, for machines without that set.

    python tests/golden/make_optim_subset.py REFERENCE/optim

Writes tests/golden/optim: the chosen cases' files as they are, and a manifest that lists only them.
"""

import json
import shutil
import sys
from pathlib import Path

CASES = ["sgd_nesterov_wd", "adamw_amsgrad", "hf_adafactor_bf16", "hf_adafactor_wd_rel_beta1",
         "adamw8bit_exact_small"]
FILES = ["quant_maps.safetensors", "clip_grad_norm.safetensors", "lr_schedules.json"]


def main() -> None:
    source = Path(sys.argv[1])
    target = Path(__file__).parent / "optim"
    target.mkdir(exist_ok=True)
    manifest = json.loads((source / "cases.json").read_text())
    manifest["cases"] = [case for case in manifest["cases"] if case["name"] in CASES]
    del manifest["quant_pairs"]  # large
    (target / "cases.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for name in [case["file"] for case in manifest["cases"]] + FILES:
        shutil.copyfile(source / name, target / name)


if __name__ == "__main__":
    main()
