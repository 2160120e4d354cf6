#!/usr/bin/env python3
"""Demands that a program of tests has run every kernel that it holds on the emulated device.

    kernels.py PROGRAM LOG      LOG: what it wrote to MINIMA_EMULATED_KERNELS
"""
import re
import subprocess
import sys
from pathlib import Path

# Those for GPUs, minima::cuda::, may stand beside them in the program.
KERNEL = re.compile(r"(?:void )?(minima::emulated::(?:\w+::|\(anonymous namespace\)::)*\w+_kernel\b.*)")
RUN = "minima::emulated::run(minima::emulated::Kernel const&)"


def main():
    program, log = sys.argv[1:]
    if not Path(log).exists():
        sys.exit(f"{log} is missing: did {program} run?")
    run, *ran = (int(line, 16) for line in Path(log).read_text().split())
    symbols = []
    for line in subprocess.run(["nm", "-C", program], capture_output=True, text=True, check=True).stdout.splitlines():
        found = re.match(r"([0-9a-f]+) [tTwW] (.*)", line)
        if found:
            symbols.append((found[2], int(found[1], 16)))
    moved = run - dict(symbols)[RUN]  # where the program was loaded
    kernels = [(found[1], at) for name, at in symbols if "[clone" not in name and "{lambda" not in name and (found := KERNEL.fullmatch(name))]
    idle = sorted(name for name, at in kernels if at + moved not in ran)
    for name in idle:
        print("never ran:", name.replace("minima::", "").replace("emulated::", ""))
    print(f"{len(kernels) - len(idle)} of {len(kernels)} kernels ran")
    sys.exit(0 if kernels and not idle else 1)


if __name__ == "__main__":
    main()
