#!/usr/bin/env python3
"""Plants typical mistakes in a copy of the tree, one by one, and demands that the tests fail.

    ./run mutate            all those of optimizers (mutants.py), for the tests of optim
    ./run mutate came clip  those whose file or description contains one of the words
    ./run mutate --device   those of kernels (device_mutants.py), for the emulated device's; words may follow
    ./run mutate --races    races in kernels, for the same tests under ThreadSanitizer
    mutate.py --check       whether each text that a mistake replaces is there once: a test

  MINIMA_MUTATE=DIR  keep the copy and its build there, for the next call
  MINIMA_JOBS=N      compile so many files at once (default: one for each processor)

The copy is in a temporary folder and is built in its cheapest form: without
vector units, barely optimized. Only the reference files of tests/golden are used. Exit status 1: a mutant
survived (a test is missing), does not compile, or its text is no longer found exactly once.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import device_mutants
import mutants

ROOT = Path(__file__).resolve().parents[2]

# Not mistakes: what makes the copy cheap to compile.
CHEAP = [("core/cpu/simd.hpp", "&& !defined(__SANITIZE_ADDRESS__)", "&& 0")]


def write(path, text):
    """Only where it changes something: what is built from it stays."""
    if not path.exists() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def copy_tree(to):
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
                                check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        sys.exit("mutate: it copies the files that git lists, and needs git and a clone of the tree for that")
    names = {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}
    for left in [path for path in to.rglob("*") if path.is_file() and str(path.relative_to(to)) not in names]:
        left.unlink()  # of a kept copy: what the tree has no longer
    for name in names:
        text = (ROOT / name).read_bytes()
        for file, old, new in CHEAP:
            if name == file:
                text = text.replace(old.encode(), new.encode())
        write(to / name, text)


def replaced(text, old, new, where):
    if text.count(old) != 1:
        sys.exit(f"mutate: {where}: found {text.count(old)} times, not once; mend its entry:\n  {old}")
    return text.replace(old, new)


# Of each kind of mistakes: the program of tests, and with what it is built.
KINDS = {"optim": ("test_optim", "-DMINIMA_EMULATED=OFF"), "device": ("test_device", "-DMINIMA_EMULATED=ON"),
         "races": ("test_device", "-DMINIMA_SANITIZE=thread")}


class Copy:
    """The tree's copy, its build folder and the program of tests."""

    def __init__(self, folder, kind):
        self.tree, self.build = folder / "tree", folder / f"build-{kind}"
        self.program, option = KINDS[kind]
        copy_tree(self.tree)
        if (self.build / "build.ninja").exists():
            return
        ccache = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        subprocess.run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Cheap",
                        "-DCMAKE_CXX_FLAGS_CHEAP=-O1", "-DMINIMA_CUDA=OFF", option, *ccache],
                       check=True, stdout=subprocess.DEVNULL)

    def compile(self):
        """The compiler's words where it refuses."""
        jobs = os.environ.get("MINIMA_JOBS", str(os.cpu_count()))
        done = subprocess.run(["ninja", "-C", self.build, "-j", jobs, self.program], capture_output=True, text=True)
        return done.stdout if done.returncode else ""

    def test(self, case="*", limit=None):
        """The name of the first case that fails, of those meant; empty when all pass."""
        environment = dict(os.environ, MINIMA_REFERENCE=str(self.tree / "tests/golden"), OPENBLAS_NUM_THREADS="1")
        try:
            done = subprocess.run([self.build / "tests" / self.program, "--abort-after=1", "--no-colors", f"-tc={case}"],
                                  capture_output=True, text=True, errors="replace", timeout=limit, env=environment)
        except subprocess.TimeoutExpired:
            return "(it did not end in time)"
        if done.returncode == 0:
            if re.search(r"test cases:\s*0 ", done.stdout):
                sys.exit(f"mutate: {self.program} has no case '{case}'")
            return ""
        cases = re.findall(r"^TEST CASE:\s+(.*(?:\n  \S.*)*)", done.stdout, re.MULTILINE)
        return " ".join(cases[-1].split()) if cases else f"(it ended with {done.returncode})"


def check_texts(mistakes):
    for what, file, old, new, *_ in mistakes:
        replaced((ROOT / file).read_text(), old, new, f"{file} ({what})")


def main():
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    which = parser.add_mutually_exclusive_group()
    for option in ("device", "races", "check"):
        which.add_argument(f"--{option}", dest="kind", action="store_const", const=option)
    options = parser.parse_intermixed_args()
    kind, words = options.kind or "optim", options.words
    lists = {"races": device_mutants.RACES, "device": device_mutants.MUTANTS, "optim": [(*m, "*") for m in mutants.MUTANTS]}
    if kind == "check":
        return check_texts([m for mistakes in lists.values() for m in mistakes])
    known = lists[kind]
    chosen = [m for m in known if not words or any(w in m[0] or w in m[1] for w in words)]
    if not chosen:
        parser.error(f"no mutant has {' or '.join(map(repr, words))} in its file or description")
    check_texts(known)  # before the long part
    with tempfile.TemporaryDirectory(prefix="minima-mutate-") as folder:
        copy = Copy(Path(os.environ.get("MINIMA_MUTATE", folder)), kind)
        print(f"mutate: building the copy in {copy.build}", file=sys.stderr)
        trouble = copy.compile()
        if trouble:
            sys.exit(f"mutate: the tree as it is does not build\n{trouble[-3000:]}")
        begin = time.time()
        failed = copy.test(",".join(sorted({case for *_, case in known})))
        if failed:
            sys.exit(f"mutate: the tests fail on the tree as it is: {failed}")
        limit = 60 + 10 * (time.time() - begin)
        survivors = []
        print(f"{'mutant':<66}  {'s':>4}  caught by")
        for what, file, old, new, case in chosen:
            path = copy.tree / file
            begin, text = time.time(), path.read_text()
            path.write_text(replaced(text, old, new, file))
            trouble = copy.compile()
            caught = "" if trouble else copy.test(case, limit)
            path.write_text(text)
            if trouble:
                caught = "DOES NOT COMPILE\n" + trouble[-1500:]
            if trouble or not caught:
                survivors.append(what)
            print(f"{Path(file).name + ': ' + what:<66}  {time.time() - begin:4.0f}  {caught or 'SURVIVED'}",
                  flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants caught")
    for what in survivors:
        print(f"not caught: {what}")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
