#!/usr/bin/env python3
"""The README's tokenizing speed: minima and the PyPI package `tokenizers` in turns, on the same texts, one thread each.

    cmake --build build --target bench_tokenize
    python bench/compare_tokenizers.py --vocab vocab.txt --data agnews/original.csv [--cased] [--rounds 7]

The texts are all columns but the first of a CSV file without a header, joined by a space. `tokenizers` is asked in three
ways: encode_batch, encode_batch_fast (no offsets) and encode one text at a time; its threads are switched off. minima
gives ids, types, masks and offsets, as encode does. Reported: the median over rounds of texts per second, and the median
of each round's ratio. Seconds are those that the process has used of a processor, so that other programs do not count.
The sums of all ids must agree. Needs: tokenizers.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from turns import HERE, Peer, positive, require_programs

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
try:
    from tokenizers import Tokenizer, __version__, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
except ImportError as error:
    sys.exit(f"compare_tokenizers.py: {error}; pip install tokenizers")


def bert(vocab: str, lower: bool) -> Tokenizer:
    tokenizer = Tokenizer(WordPiece.from_file(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sep, cls = tokenizer.token_to_id("[SEP]"), tokenizer.token_to_id("[CLS]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--cased", action="store_true")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--program", type=Path, default=HERE.parent / "build" / "bench_tokenize")
    options = parser.parse_args()
    for option, file in (("--vocab", options.vocab), ("--data", options.data)):
        if not Path(file).is_file():
            parser.error(f"{option}: there is no file {file}")
    require_programs(options.program.parent, options.program.name)

    peer = bert(options.vocab, not options.cased)
    with open(options.data, newline="", encoding="utf-8") as file:
        texts = [" ".join(row[1:]).replace("\n", " ").replace("\r", " ") for row in csv.reader(file)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(text + "\n" for text in texts)
        file.flush()
        program = Peer([str(options.program), options.vocab, file.name, *(["cased"] if options.cased else [])])
        program.await_ready()

    def timed(work) -> dict:
        start = time.process_time()
        encodings = work()
        return {"seconds": time.process_time() - start, "sum": sum(i * (at + 1) for e in encodings for at, i in enumerate(e.ids))}

    ways = {
        "minima": lambda: program.ask("encode"),
        "encode_batch": lambda: timed(lambda: peer.encode_batch(texts)),
        "encode_batch_fast": lambda: timed(lambda: peer.encode_batch_fast(texts)),
        "encode": lambda: timed(lambda: [peer.encode(text) for text in texts]),
    }
    seconds = {name: [] for name in ways}
    with program:
        for turn in range(options.rounds + 1):
            answers = {name: way() for name, way in ways.items()}
            for name, answer in answers.items():
                if answer["sum"] != answers["minima"]["sum"]:
                    sys.exit(f"{name} gives other ids")
                if turn > 0:  # the first round warms up
                    seconds[name].append(answer["seconds"])

    print(f"{len(texts)} texts, one thread, seconds of processor time, tokenizers {__version__}; median of {options.rounds} rounds")
    print(f"{'':20}{'texts/s':>10}{'minima is':>12}")
    for name, values in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(values, seconds["minima"]))
        rate = len(texts) / statistics.median(values)
        print(f"{name:20}{rate:10.0f}" + (f"{ratio:10.1f} x" if name != "minima" else ""))
    print(json.dumps({name: len(texts) / statistics.median(values) for name, values in seconds.items()}))


if __name__ == "__main__":
    main()
