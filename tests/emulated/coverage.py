#!/usr/bin/env python3
"""Which lines of device code the tests have run on the emulated device, by file. Status 1 where fewer than 95 % have.

    coverage.py BUILD_FOLDER      built with -DMINIMA_COVERAGE=ON, its tests have run (./run coverage)

A device line is one in the body of a function marked __global__, __device__ or MINIMA_HD that an object made of a .cu
file has code of: kernels, and what they call in headers. It counts as run when any instance of a template has run it.
Code that only nvcc sees is not among them.
"""
import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAST = 95  # per cent
MARK = re.compile(r"\b(?:__global__|__device__|MINIMA_HD)\b")


def end_of(text, at, stop):
    """Behind the first of the characters `stop` that is in no brackets; from `at` on."""
    depth = 0
    for at in range(at, len(text)):
        if depth == 0 and text[at] in stop:
            return at + 1
        depth += (text[at] in "([{") - (text[at] in ")]}")
    return len(text)


def device_lines(path):
    text = re.sub(r"//.*|^[ \t]*#.*", "", path.read_text(), flags=re.MULTILINE)
    lines = set()
    for mark in MARK.finditer(text):
        begin = end_of(text, mark.end(), "{;")
        if text[begin - 1] == "{":
            first, last = (text.count("\n", 0, at) + 1 for at in (begin, end_of(text, begin, "}")))
            lines.update(range(first, last + 1))
    return lines


def counts_of(build):
    """file → line → how often it ran, of all objects made of .cu files."""
    counts = defaultdict(lambda: defaultdict(int))
    notes = sorted(build.glob("CMakeFiles/*.dir/emulated/**/*.gcno"))
    for note in notes:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["gcov", "--json-format", note], cwd=folder, check=True, capture_output=True)
            (report,) = Path(folder).glob("*.gcov.json.gz")
            found = json.loads(gzip.open(report).read())
        for file in found["files"]:
            path = (Path(found["current_working_directory"]) / file["file"]).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(build):
                for line in file["lines"]:
                    counts[path][line["line_number"]] += line["count"]
    return counts


def main():
    counts = counts_of(Path(sys.argv[1]).resolve())
    total = ran = 0
    print("  lines   not run")
    for path, lines in sorted(counts.items()):
        lines = {line: lines[line] for line in device_lines(path) & set(lines)}
        missed = sorted(line for line, count in lines.items() if count == 0)
        total, ran = total + len(lines), ran + len(lines) - len(missed)
        if lines:
            where = "   at " + ", ".join(map(str, missed)) if missed else ""
            print(f"{len(lines):7} {len(missed):9}   {path.relative_to(ROOT)}{where}")
    if not total:
        sys.exit("coverage: no device code; was it built with -DMINIMA_COVERAGE=ON, and did its tests run?")
    print(f"{ran} of {total} lines of device code ran: {100 * ran / total:.1f} %; at least {LEAST} % must")
    sys.exit(0 if 100 * ran >= LEAST * total else 1)


if __name__ == "__main__":
    main()
