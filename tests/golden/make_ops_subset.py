"""Cuts the small golden subset of operation cases that the repository carries.

    python3 tests/golden/make_ops_subset.py REFERENCE/model/ops tests/golden/model/ops

Takes the cases of ops.json in their order, skips those of more than 14,000 bytes of tensors, and
keeps the first two of each op. Values are copied bit for bit. They were computed with torch 2.15.0
(CPU, one thread) in float64 from float32 inputs and rounded to float32.
"""

import json
import struct
import sys
from collections import Counter
from pathlib import Path

CASE_BYTES, CASES_PER_OP = 14000, 2

source, target = Path(sys.argv[1]), Path(sys.argv[2])
blob = (source / "ops.safetensors").read_bytes()
header_size = struct.unpack("<Q", blob[:8])[0]
entries = json.loads(blob[8 : 8 + header_size])
data = blob[8 + header_size :]


def tensors_of(case):
    return {name: entry for name, entry in entries.items() if name.startswith(case["name"] + "/")}


def size_of(entry):
    begin, end = entry["data_offsets"]
    return end - begin


kept, taken = [], Counter()
for case in json.loads((source / "ops.json").read_text()):
    if taken[case["op"]] < CASES_PER_OP and sum(map(size_of, tensors_of(case).values())) <= CASE_BYTES:
        taken[case["op"]] += 1
        kept.append(case)

# 8-byte elements first, so that all stay aligned
chosen = sorted(
    (item for case in kept for item in tensors_of(case).items()),
    key=lambda item: (item[1]["dtype"] != "I64", item[0]),
)
header, body = {}, b""
for name, entry in chosen:
    begin, end = entry["data_offsets"]
    header[name] = entry | {"data_offsets": [len(body), len(body) + end - begin]}
    body += data[begin:end]
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)

target.mkdir(parents=True, exist_ok=True)
(target / "ops.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
(target / "ops.json").write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n")
print(f"{len(kept)} cases, {len(text) + len(body)} bytes of tensors")
