"""Programs that take turns, so that whatever else the machine does meets all of them alike. And what the scripts share that
call them: numbers of their command lines, and what a record says of its making."""

import contextlib
import datetime
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failed(SystemExit):
    """Why a program has no answer: the last line of what it wrote to standard error. Ends a script that does not catch it."""


def require_programs(folder: Path, *names: str) -> None:
    """Ends the script where one has not been built."""
    if missing := [name for name in names if not os.access(folder / name, os.X_OK)]:
        sys.exit(f"{folder} has no {' and no '.join(missing)}: cmake --build {folder} --target {' '.join(missing)}, or name another folder")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{value} is not a positive number")
    return value


def limit_threads(count: str) -> None:
    """Of libraries in the programs that are started from now on, which have threads of their own: OpenMP's, and `tokenizers`."""
    os.environ.update(OMP_NUM_THREADS=count, RAYON_NUM_THREADS=count)


def said_by(*command: str) -> str:
    """What a program prints; nothing where it fails, or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def made_now() -> dict[str, str]:
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "commit": said_by("git", "-C", str(HERE), "describe", "--always", "--dirty") or "unknown"}  # fmt: skip


def serve(answer: Callable[[list[str]], object]) -> None:
    """Is such a program as Peer starts: answers lines of words until `quit` or the end of input; a bad line gets an error and
    changes nothing."""
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            return
        try:
            reply = answer(words)
        except ValueError as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), flush=True)


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

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_error) -> None:
        self.quit()

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

    def spread(self) -> None:
        """Gives each thread a core: while others keep all of them busy, the system may leave two threads on one."""
        cores = sorted(os.sched_getaffinity(0))
        threads = sorted(int(name) for name in os.listdir(f"/proc/{self.process.pid}/task"))
        for i, thread in enumerate(threads):
            os.sched_setaffinity(thread, {cores[i % len(cores)]})

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


def seconds_elsewhere(peers: list[Peer]) -> float:
    """Processor time that all but these, this script, and programs that it has waited for, have had so far."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    all_seconds = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return all_seconds - sum(usage.ru_utime + usage.ru_stime for usage in own) - sum(peer.processor_seconds() for peer in peers)


def busy_elsewhere(peers: list[Peer], work) -> tuple[object, float]:
    """What work() gives, and how many cores others used meanwhile."""
    start, before = time.monotonic(), seconds_elsewhere(peers)
    result = work()
    return result, (seconds_elsewhere(peers) - before) / (time.monotonic() - start)


def in_turns(peers: list[Peer], calls: dict[Hashable, Callable[[int], dict]], rounds: int, steps: int, busy: float, patience: float = 0) -> list[dict]:
    """What the calls give, round after round: of some steps each, by the peers or programs that they start. The first round warms
    up and does not count. One in which others used more than `busy` of a core is repeated, until twice as many are done as are
    asked for; then the least busy are taken. Each waits until the others are quiet, `patience` seconds at most."""
    for peer in peers:
        peer.await_ready()
    done: list[tuple[float, dict]] = []
    for turn in range(1 + 2 * rounds):
        end = time.monotonic() + patience
        while turn > 0 and time.monotonic() < end and busy_elsewhere(peers, lambda: time.sleep(2))[1] > busy:
            pass
        answers, others = busy_elsewhere(peers, lambda: {name: call(steps) for name, call in calls.items()})
        if turn == 0:
            continue
        print(f"round {turn}: others used {others:.2f} cores", file=sys.stderr, flush=True)
        done.append((others, answers))
        if sum(used <= busy for used, _ in done) == rounds:
            break
    done.sort(key=lambda each: each[0])
    return [answers | {"others": used} for used, answers in done[:rounds]]
