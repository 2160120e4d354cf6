#!/usr/bin/env python3
"""Compares what each kernel takes of a GPU's processor with sm_80.tsv: registers, bytes of shared memory, of stack and of
spills. A change of a kernel that costs registers, or makes some spill, is seen in review without a GPU.

    check.py BUILD_FOLDER NVCC_VERSION [--update]

The build leaves what ptxas said beside each object (keep_log.sh). --update writes the file anew.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("sm_80.tsv")
COLUMNS = "source\tkernel\tregisters\tshared\tstack\tspilled"
ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_80'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                   r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)", re.DOTALL)  # fmt: skip


def names_of(mangled):
    """Without result, parameters and the project's own namespaces: each_kernel<Map<Gelu, float, 1ul> >."""
    text = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    short = re.sub(r"\b(minima|cuda|ops|attention|detail|std)::|\(anonymous namespace\)::|^void ", "", text, flags=re.MULTILINE)
    for name in short.splitlines():
        depth = 0
        for end, letter in enumerate(name):
            depth += (letter == "<") - (letter == ">")
            if letter == "(" and depth == 0:
                break
        yield name[:end]


def kernels_of(build):
    rows = []
    for source in sorted([*ROOT.glob("core/**/*.cu"), *ROOT.glob("optim/**/*.cu")]):
        path = source.relative_to(ROOT)
        log = build / f"CMakeFiles/minima_{path.parts[0]}.dir/{path}.o.ptxas"
        if not log.exists():
            return None
        entries = ENTRY.findall(log.read_text())
        for name, (_, stack, stores, loads, registers, rest) in zip(names_of([e[0] for e in entries]), entries):
            shared = re.search(r"(\d+) bytes smem", rest)
            rows.append(f"{path}\t{name}\t{registers}\t{shared[1] if shared else 0}\t{stack}\t{int(stores) + int(loads)}")
    return sorted(rows)


def main():
    build, version, update = Path(sys.argv[1]), sys.argv[2], "--update" in sys.argv[3:]
    kept, *expected = FILE.read_text().splitlines() if FILE.exists() else [""]
    told = f"# nvcc {version}, sm_80, --fmad=false"
    if not version:
        print("skipped: this build has no CUDA backend")
        return 0
    if kept != told and not update:
        print(f"skipped: the file is of '{kept[2:]}', this build of '{told[2:]}'; registers differ between versions")
        return 0
    found = kernels_of(build)
    if not found:
        print("skipped: this build has no kernels for sm_80 (MINIMA_CUDA_ARCHITECTURES)")
        return 0
    if update:
        FILE.write_text("\n".join([told, COLUMNS, *found]) + "\n")
        print(f"{FILE}: {len(found)} kernels")
        return 0
    expected = expected[1:]
    for sign, rows, others in (("-", expected, found), ("+", found, expected)):
        for row in sorted(set(rows) - set(others)):
            print(sign, row.replace("\t", "  "))
    spilled = [row for row in found if not row.endswith("\t0")]
    for row in spilled:
        print("spills:", row.replace("\t", "  "))
    if expected != found:
        print(f"kernels differ from {FILE.name} ({COLUMNS.split(chr(9), 2)[2]}); where that is meant:\n"
              f"  python3 {Path(__file__)} {build} {version} --update")  # fmt: skip
    return 1 if spilled or expected != found else 0


if __name__ == "__main__":
    sys.exit(main())
