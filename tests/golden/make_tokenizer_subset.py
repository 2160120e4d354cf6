"""Cuts the small golden subset of the tokenizer's reference that the repository carries.

    python3 tests/golden/make_tokenizer_subset.py REFERENCE/tokenizer tests/golden/tokenizer

Takes the two small vocabularies, eight cases of every group, spread over it, and the pairs of
invented texts; sentences of public data sets stay out. The values were computed with transformers
5.23.0 and tokenizers 0.23.3.
"""

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

CASES_PER_GROUP, CASE_BYTES = 8, 1500
INVENTED = ("how are you", "a only", "[MASK] a", "short", "a much longer", "one two three")

source, target = Path(sys.argv[1]), Path(sys.argv[2])
target.mkdir(parents=True, exist_ok=True)


def read(name):
    return [json.loads(line) for line in (source / name).read_text().splitlines()]


def write(name, cases):
    lines = (json.dumps(case, separators=(",", ":")) for case in cases)
    (target / name).write_text("".join(line + "\n" for line in lines if len(line) <= CASE_BYTES))


for name in ("vocab-uncased-8k.txt", "vocab-cased-8k.txt"):
    shutil.copyfile(source / name, target / name)

groups = defaultdict(list)
for case in read("cases.jsonl"):
    del case["uncased30k"]  # its vocabulary is too large
    groups[case["group"]].append(case)
del groups["data"]
write("cases.jsonl", (group[i * len(group) // CASES_PER_GROUP]
                      for group in groups.values() for i in range(CASES_PER_GROUP)))
write("pairs.jsonl", (pair for pair in read("pairs.jsonl")
                      if pair["vocab"] == "cased8k" and pair["a"].startswith(INVENTED)))
