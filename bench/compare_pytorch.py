#!/usr/bin/env python3
"""The README's training-speed table: minima and PyTorch in turns, on the same data, model, batch and threads.

    cmake --build build --target bench_train_step
    python bench/compare_pytorch.py --data DIR --vocab vocab.txt [--sizes 256,4,4,1024] [--rounds 7] [--steps 31]

The rows of the table: the default sizes and 768,6,12,3072 (DistilBERT) on SST-2; 384,6,12,1536 (MiniLM's) on TREC.

Three programs stay loaded (minima; PyTorch with length-bucketed batches; PyTorch with random batches padded to the longest)
and run a few steps each, round after round, so that whatever else the machine does meets all of them alike. The first round
warms up and does not count; a round in which another process took more than --busy of a core is repeated. Reported: the
median over rounds of sentences per second, and the median of each round's ratio.
Needs: torch, transformers, tokenizers (bench/peer_pytorch.py).
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failed(SystemExit):
    """Why a program has no answer: the last line of what it wrote to standard error. Ends a script that does not catch it."""


class Peer:
    """A program that says "ready" and then answers each line with one of JSON. Starting one does not wait for it."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None):
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                            start_new_session=True, env=dict(os.environ, **(environment or {})))  # fmt: skip
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        self.begin, self.is_ready = time.monotonic(), False
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put("")  # the end

    def next_line(self, seconds: float | None) -> str:
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            raise Failed(f"no answer within {seconds:.0f} s" if self.is_ready else f"not ready after {time.monotonic() - self.begin:.0f} s") from None
        if line == "" and self.process.wait() is not None:
            self.errors.seek(0)
            said = [text.strip() for text in self.errors if text.strip()]
            raise Failed(said[-1][:300] if said else f"ended with status {self.process.returncode} and said nothing")
        return line

    def await_ready(self, seconds: float | None = None) -> None:
        end = time.monotonic() + (seconds or 0)
        while not self.is_ready:
            left = None if seconds is None else max(0.01, end - time.monotonic())
            self.is_ready = self.next_line(left) == "ready"

    def ask(self, line: str, seconds: float | None = None):
        self.await_ready(seconds)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended, and the next line says so
        answer = json.loads(self.next_line(seconds))
        if isinstance(answer, dict) and "error" in answer:
            raise Failed(f"{line}: {answer['error']}")
        return answer

    def run(self, steps: int, seconds: float | None = None) -> dict:
        return self.ask(f"run {steps}", seconds)

    def quit(self) -> None:
        """Waits for its end, after which it holds no memory of a GPU."""
        try:
            self.process.communicate("quit\n", timeout=20)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self.kill()
            self.process.wait()

    def kill(self) -> None:
        """With all that it has started: torch.compile's compilers would take the processor from who is measured next."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def busy_seconds() -> float:
    """Processor time that all processes together have used."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(peer: Peer, steps: int) -> tuple[dict, float]:
    """One answer, and how many cores other processes kept busy meanwhile."""
    start, all_before, own_before = time.monotonic(), busy_seconds(), own_seconds(peer.process.pid)
    answer = peer.run(steps)
    others = (busy_seconds() - all_before) - (own_seconds(peer.process.pid) - own_before)
    return answer, others / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--minima", default=str(HERE.parent / "build" / "bench_train_step"))
    parser.add_argument("--sizes", default="256,4,4,1024", help="dim,layers,heads,hidden")
    parser.add_argument("--batch", default="32")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--steps", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", type=float, default=0.1, help="cores that others may use in a round that counts")
    options = parser.parse_args()

    dim, layers, heads, hidden = options.sizes.split(",")
    torch = [sys.executable, str(HERE / "peer_pytorch.py"), "--data", options.data, "--vocab", options.vocab, "--dim", dim,
             "--layers", layers, "--heads", heads, "--hidden", hidden, "--batch", options.batch, "--threads", options.threads,
             "--serve", "--batching"]  # fmt: skip
    peers = {
        "minima": Peer([options.minima, options.data, options.vocab, dim, layers, heads, hidden, options.batch, options.threads]),
        "PyTorch bucketed": Peer(torch + ["bucketed"]),
        "PyTorch padded": Peer(torch + ["padded"]),
    }
    for peer in peers.values():
        peer.run(options.steps)  # warms up

    speeds: dict[str, list[float]] = {name: [] for name in peers}
    answers: dict[str, dict] = {}
    tries = 0
    while len(speeds["minima"]) < options.rounds and tries < 4 * options.rounds:
        tries += 1
        rounds = {name: measured(peer, options.steps) for name, peer in peers.items()}
        busiest = max(others for _, others in rounds.values())
        print(f"round {tries}: others used {busiest:.2f} cores{'' if busiest <= options.busy else ', left out'}", file=sys.stderr)
        if busiest > options.busy:
            continue
        for name, (answer, _) in rounds.items():
            speeds[name].append(answer["sentences_per_s"])
            answers[name] = answer
    if not speeds["minima"]:
        sys.exit("no round was quiet enough; stop other programs, or raise --busy")

    result = {"sizes": options.sizes, "batch": options.batch, "threads": options.threads, "rounds": len(speeds["minima"])}
    limits = peers["minima"].ask("limits")
    print(f"{options.sizes}, {len(speeds['minima'])} rounds of {options.steps} steps; this machine: {limits['peak_gflops']:.0f} GFLOP/s, "
          f"of products {limits['product_gflops']:.0f}; memory {limits['memory_gb_s']:.0f} GB/s")  # fmt: skip
    print(f"{'':18} {'sentences/s':>12} {'min':>8} {'max':>8} {'minima is':>10} {'peak MB':>8}")
    for name, values in speeds.items():
        ratio = statistics.median(m / v for m, v in zip(speeds["minima"], values))
        print(f"{name:18} {statistics.median(values):12.1f} {min(values):8.1f} {max(values):8.1f} {ratio:9.2f}x {answers[name]['peak_rss_mb']:8.0f}")
        result[name] = {"sentences_per_s": statistics.median(values), "minima_ratio": ratio, "peak_rss_mb": answers[name]["peak_rss_mb"]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
