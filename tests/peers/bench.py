"""The scripts of bench/ that compare programs and keep records: what they must notice, on models of a second.

    python tests/peers/bench.py MINIMA

speed.py's prediction ends well where both programs give the same labels (a cased model, texts longer than it takes) and ends
with 1 where one label is another; pretrain_accuracy.py uses what is recorded only for the same program, command and data;
peer_finetune.py trains the directory's model with its own tokenizer; compare_optimizers.py gives both programs the same threads,
says which public optimizers it lacks, and ends one program where the other fails.
"""

import json
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError:
    print("skipped: torch and transformers are not installed for this Python (MINIMA_PYTHON names another)")
    sys.exit(0)

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["US Rates Rise", "us rates rise", "The May Report", "may the report", "A Long Text " * 30, "a long text " * 30]


def script(name: str, *arguments: object, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *flags, ROOT / "bench" / name, *map(str, arguments)], capture_output=True, text=True)


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def splits(folder: Path, rows: int) -> Path:
    """Texts whose label is whether they begin with a capital letter."""
    folder.mkdir(parents=True)
    lines = [f"{int(text[0].isupper())}\t{text.strip()}\n" for text in (TEXTS * rows)[:rows]]
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text("label\ttext\n" + "".join(lines))
    return folder


def check_predict(minima: str, home: Path) -> Path:
    data = splits(home / "agnews", 60)
    subprocess.run([minima, "train", "--data", data, "--model", "tiny", "--pooling", "first", "--cased", "--max-length", "24",
                    "--epochs", "3", "--lr", "5e-3", "--threads", "1", "--out", home / "run"], check=True, capture_output=True)  # fmt: skip
    model = home / "run" / "final"
    options = ["--only", "predict", "--model", model, "--data", home, "--threads", 1, "--rounds", 1, "--busy", 99]
    same = script("speed.py", "--minima", minima, *options)
    assert same.returncode == 0, same.stderr
    result = json.loads(same.stdout.splitlines()[-1])["rows"]["predict"]
    assert result["labels_differ"] == 0, result
    assert f"other programs on {result['others_cores']:.2f} cores" in same.stdout, same.stdout
    wrong = program(home / "wrong", f"""import subprocess, sys
said = subprocess.run(["{minima}", *sys.argv[1:]], stdout=subprocess.PIPE, check=True).stdout.decode()
if sys.argv[1] == "predict":
    labels = said.split()
    labels[3] = str(1 - int(labels[3]))
    said = "\\n".join(labels)
print(said)
""")
    other = script("speed.py", "--minima", wrong, *options)
    assert other.returncode == 1, other
    assert json.loads(other.stdout.splitlines()[-1])["rows"]["predict"]["no_ties"] == 1, other.stdout
    nothing = script("speed.py", "--minima", minima, "--only", "predict", "--data", home, flags=("-S",))  # no packages
    assert nothing.returncode == 2 and "--minilm names no directory" in nothing.stderr, nothing.stderr
    return model


def check_finetune(model: Path, home: Path) -> None:
    """Capitals tell the label, and an uncased tokenizer would not see them."""
    options = ["--model", model, "--data", home / "agnews", "--threads", 1, "--epochs", 1, "--lr", "1e-6"]
    done = script("peer_finetune.py", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == 100, done.stdout
    refused = script("peer_finetune.py", *options, "--max-length", 25)
    assert refused.returncode == 1 and "takes 24 tokens" in refused.stderr, refused.stderr


def check_records(home: Path) -> None:
    calls = home / "calls"
    pretend = program(home / "pretend", f"""import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True)
with open("{calls}", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
print(json.dumps({{"model": str(out / "final"), "parameters": 7, "dev": {{"accuracy": 0.5}}, "test": {{"accuracy": 0.25}}}}))
""")
    data = splits(home / "sets" / "trec", 24)

    def new_calls(seeds: int = 1) -> int:
        before = len(calls.read_text().splitlines()) if calls.exists() else 0
        done = script("pretrain_accuracy.py", "--minima", pretend, "--data", data.parent, "--sets", "trec", "--seeds", seeds,
                      "--out", home / "records")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [run["test"] for run in json.loads(done.stdout.splitlines()[-1])["trec"]["runs"]] == [25.0] * seeds
        return len(calls.read_text().splitlines()) - before

    assert new_calls() == 2
    assert new_calls() == 0
    assert new_calls(seeds=2) == 2
    (data / "train.tsv").write_text((data / "train.tsv").read_text() + "0\tone more\n")
    assert new_calls() == 2
    pretend.write_text(pretend.read_text() + "# another version\n")
    assert new_calls() == 2
    for record in (home / "records").glob("*/answer.json"):
        shutil.rmtree(record.parent)
    assert new_calls() == 2


def check_optimizers(home: Path) -> None:
    """Of two programs that pretend: on each thread ours is twice as fast, and of the public optimizers AdamW alone is there."""
    shutil.copytree(ROOT / "bench", home / "bench")
    body = f"""import os, sys
sys.path.insert(0, {str(ROOT / "bench")!r})
from turns import serve
threads = int(sys.argv[sys.argv.index("--threads") + 1])
assert os.environ["OMP_NUM_THREADS"] == os.environ["RAYON_NUM_THREADS"] == str(threads)
def answer(words):
    if words == ["list"]:
        return ["adamw", "adamw-foreach"]
    if words == ["bandwidth"]:
        return {{"gb_s": 10}}
    return {{"threads": threads, "median_ms": (8 if "pretend" in sys.argv[0] else 16) / threads, "vector_unit": "none",
            "state_bytes": 1, "temporary_bytes": 0, "least_bytes": 20_000_000}}
serve(answer)
"""
    (home / "bench" / "peer_optimizers.py").write_text(body)
    ours = program(home / "pretend_optimizers", body)
    compare = home / "bench" / "compare_optimizers.py"
    done = script(compare, "--minima", ours, "--threads", 4, "--rounds", 1, "--busy", 99, "--only", "adamw8bit")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["threads"] == 4 and set(result["optimizers"]) == {"adamw", "adamw8bit"}, result
    adamw = result["optimizers"]["adamw"]
    assert adamw["ms"] == 2 and adamw["of_limit"] == 1 and adamw["peers"]["adamw"]["times_ours"] == 2, adamw
    assert result["optimizers"]["adamw8bit"]["peers"] == {"adamw8bit": {"error": "not installed"}}, result
    assert "adamw8bit        not installed" in done.stdout, done.stdout
    refused = script(compare, "--minima", ours, "--only", "adamw9bit")
    assert refused.returncode == 2 and "'adamw9bit' is none of adamw," in refused.stderr, refused.stderr
    (home / "bench" / "peer_optimizers.py").write_text("raise SystemExit('no torch')")
    heard = home / "heard"
    listener = program(home / "listener", f"import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n    open('{heard}', 'w').write(line)\n")
    failed = script(compare, "--minima", listener)
    assert failed.returncode == 1 and "no torch" in failed.stderr and heard.read_text() == "quit\n", failed.stderr


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = check_predict(str(Path(sys.argv[1]).resolve()), Path(folder))
        check_finetune(model, Path(folder))
        check_records(Path(folder))
        check_optimizers(Path(folder))
    print("the scripts notice what they must")


main()
