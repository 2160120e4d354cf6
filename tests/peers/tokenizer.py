"""`minima tokenize` against the PyPI package `tokenizers` on random Unicode: ids, tokens, offsets, types.

    python tests/peers/tokenizer.py MINIMA [CASES [SEED]]

Vocabularies are made of pieces of random text; every combination of the normalizer's options, other prefixes and word
lengths, and added tokens come from a tokenizer.json that the package itself wrote. Texts hold letters of many scripts,
combining marks, ideographs, emoji with joiners, controls, spaces of every kind, special tokens and, as bytes, sequences
that are not UTF-8. A line of standard input is a text, so no text holds a line feed.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
except ImportError:
    print("skipped: the package tokenizers is not installed for this Python (MINIMA_PYTHON names another)")
    sys.exit(0)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RANGES = [(0x20, 0x7F)] * 6 + [
    (0x00, 0x20), (0x7F, 0x250), (0x300, 0x370), (0x370, 0x600), (0x590, 0x900), (0x900, 0xE00), (0xE00, 0x1200),
    (0x1AB0, 0x1B00), (0x1D00, 0x2000), (0x2000, 0x2070), (0x2E00, 0x3100), (0x3400, 0x3420), (0x4E00, 0x4E40),
    (0xA640, 0xAC00), (0xAC00, 0xAC40), (0xF900, 0xFB50), (0xFE00, 0x10000), (0x10000, 0x11700), (0x16A00, 0x17000),
    (0x1D100, 0x1D200), (0x1D400, 0x1D800), (0x1E000, 0x1E950), (0x1F300, 0x1FB00), (0x20000, 0x20010),
    (0x2B700, 0x2B930), (0xE0000, 0xE0200), (0x0, 0x110000)]
WHOLE = ["\U0001F468\u200D\U0001F469\u200D\U0001F467", "e\u0301\u0323", "\u1100\u1161\u11A8", "\u0130", "\u03A3\u03C2",
         "\uFEFF", "\u00A0", "\u2028", "\u0085", "\u200B", "\U0001D15E\U0001E94A", "[MASK]", "[SEP]", "[mask]", "[[CLS]]"]


def character(r):
    while True:
        point = r.randrange(*r.choice(RANGES))
        if point != 0x0A and not 0xD800 <= point < 0xE000:
            return chr(point)


def text(r):
    if r.random() < 0.02:
        return character(r) * r.choice([99, 100, 101, 300])
    parts = [r.choice(WHOLE) if r.random() < 0.12 else " " if r.random() < 0.2 else character(r)
             for _ in range(r.randrange(25))]
    return "".join(parts)


def vocabulary(r, texts, prefix):
    pieces = set()
    for one in texts:
        for form in (one, one.lower(), normalizers.BertNormalizer().normalize_str(one)):
            for word in form.split():
                at = r.randrange(len(word))
                for begin, end in ((0, 1), (at, at + 1), (at, at + 3), (0, 4)):
                    pieces.add(word[begin:end] if begin == 0 else prefix + word[begin:end])
    pieces = [p for p in sorted(pieces) if p and p not in SPECIAL and not set(p) & {"\n", "\r"}]
    r.shuffle(pieces)
    return SPECIAL + pieces[: len(pieces) * 3 // 4]


def broken(r, one):
    """Bytes that are not UTF-8, with the text that they count as."""
    raw = bytearray(one.encode())
    for _ in range(r.randrange(1, 4)):
        bad = r.choice([b"\xff", b"\xc0\x80", b"\xe4\xb8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\x80"])
        at = r.randrange(len(raw) + 1)
        raw[at:at] = bad
    return bytes(raw), bytes(raw).decode(errors="replace")


def expected(peer, a, b=None):
    # As the Python wrapper of the model does, an empty second text counts as none.
    e = peer.encode(a, b) if b else peer.encode(a)
    return {"ids": e.ids, "tokens": e.tokens, "offsets": [list(o) for o in e.offsets], "type_ids": e.type_ids}


def ask(program, arguments, lines):
    answer = subprocess.run([program, "tokenize", "--json", *arguments], input=b"".join(l + b"\n" for l in lines),
                            capture_output=True)
    if answer.returncode != 0:
        sys.exit(f"tokenize {arguments}: {answer.stderr.decode()}")
    found = [json.loads(line) for line in answer.stdout.decode().splitlines()]
    if len(found) != len(lines):
        sys.exit(f"{len(lines)} lines, {len(found)} answers")
    return found


def compare(what, lines, found, wanted):
    for line, one, want in zip(lines, found, wanted):
        for key in one:
            if one[key] != want[key]:
                sys.exit(f"{what}: {line!r} ({line.decode(errors='replace').encode('ascii', 'backslashreplace')}):\n"
                         f"  {key} {one[key]}\n  not {want[key]}\n  tokens {want['tokens']}")


def main():
    program, cases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    r = random.Random(seed)
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "tokenizer.json")
        for turn, (clean, chinese, strip, lower) in enumerate(
                itertools.product([True, False], [True, False], [None, True, False], [True, False])):
            texts = [text(r) for _ in range(cases)]
            prefix = r.choice(["##", "##", "@", ""])
            tokens = vocabulary(r, texts, prefix)
            peer = Tokenizer(WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]",
                                       continuing_subword_prefix=prefix,
                                       max_input_chars_per_word=r.choice([100, 100, 3, 20])))
            peer.normalizer = normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese,
                                                         strip_accents=strip, lowercase=lower)
            peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            peer.add_special_tokens(SPECIAL)
            if turn % 2:
                peer.add_special_tokens(["<a>", "\u00E9[x]"])
                peer.add_tokens([AddedToken("<a><b>", normalized=False)])
                texts = [t + r.choice(["<a>", "<a><b>x", "\u00E9[x]", "<a"]) for t in texts]
            peer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)) if turn % 3 else \
                processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                              special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
            peer.save(file)
            what = f"seed {seed}, clean={clean} chinese={chinese} strip={strip} lower={lower} prefix={prefix!r}"
            lines = [t.encode() for t in texts]
            compare(what, lines, ask(program, ["--vocab", file], lines), [expected(peer, t) for t in texts])
            raw = [broken(r, t) for t in texts]
            compare(what, [b for b, _ in raw], ask(program, ["--vocab", file], [b for b, _ in raw]),
                    [expected(peer, t) for _, t in raw])
            pairs = [(t.replace("\t", " "), text(r).replace("\t", " ")) for t in texts]
            lines = [f"{a}\t{b}".encode() for a, b in pairs]
            length = r.randrange(3, 24)
            for way in ("longest_first", "only_first", "only_second"):
                fits = []
                peer.enable_truncation(length, strategy=way)
                for line, (a, b) in zip(lines, pairs):
                    try:
                        fits.append((line, expected(peer, a, b)))
                    except BaseException as error:  # what cannot be cut so is refused; one line ends the program
                        if "panic" in type(error).__name__.lower():
                            raise
                compare(f"{what} {way} {length}", [l for l, _ in fits],
                        ask(program, ["--vocab", file, "--pairs", "--max-length", str(length), "--truncation", way],
                            [l for l, _ in fits]), [w for _, w in fits])
                compared += len(fits)
            peer.no_truncation()
            compared += len(lines) + len(raw)
    print(f"{compared} texts and pairs tokenized alike")


main()
