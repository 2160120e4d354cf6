"""`minima tokenize` on folders of tokenizer files against `AutoTokenizer` of the PyPI package `transformers`.

    python tests/peers/tokenizer_files.py MINIMA [SEED]

Every combination of what tokenizer_config.json may say of capitals, accents and ideographs with what tokenizer.json says
of them; added tokens in each of the files that may hold them; names of special tokens; classes; and random mixtures of
all of these. Each folder must give the same ids and offsets, or be refused; where refusing is right it is listed here.
"""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
try:
    from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import AutoTokenizer
except ImportError:
    print("skipped: the packages tokenizers and transformers are not installed for this Python (MINIMA_PYTHON names another)")
    sys.exit(0)

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "un", "##able", "<", "ent", ">", "e", "##nt", "A", "##b",
         "caf\u00E9", "cafe", "CAF\u00C9", "CAFE", "\u4E2D\u6587", "\u4E2D", "\u6587", "Un", "<s>", "x", "[", "]", "mask", "i",
         "##\u0307", "Caf", "##\u00E9"]
TEXTS = ["", "a b unable", "Unable CAF\u00C9 caf\u00E9 Cafe\u0301 CAFE", "\u4E2D\u6587 x\u4E2D", "a <Ent> b<ent>x <ENT>unable",
         "<x>a<X><<x>>", "[MASK] [mask] a[SEP]b", "caf\u00E9x <caf\u00E9> <CAFE> <cafe\u0301>", "<s>a</s>", "<\u4E2D> <a b> <A  b>",
         "\u0130<\u0130>i\u0307 <i\u0307>", "<e\u00ADnt> <e\u200Bnt>", "two words here TWO words", "b\u0301<a>"]


class Refused(Exception):
    pass


def ours(program, folder, pairs=False):
    lines = "\n".join(f"{t}\t{u}" for t, u in zip(TEXTS, TEXTS[1:] + TEXTS[:1])) if pairs else "\n".join(TEXTS)
    done = subprocess.run([program, "tokenize", "--json", "--vocab", str(folder)] + ["--pairs"] * pairs,
                          input=lines.encode(), capture_output=True)
    if done.returncode != 0:
        if done.returncode != 2 or done.stderr.count(b"\n") != 1:
            sys.exit(f"{folder}: exit code {done.returncode}: {done.stderr.decode()}")
        raise Refused(done.stderr.decode().strip())
    return [json.loads(line) for line in done.stdout.splitlines()]


def theirs(folder, pairs=False):
    peer = AutoTokenizer.from_pretrained(folder)
    second = TEXTS[1:] + TEXTS[:1]
    answers = []
    for one, two in zip(TEXTS, second):
        e = peer(one, two if pairs and two else None, return_offsets_mapping=True)
        answers.append({"ids": e["input_ids"], "offsets": [list(o) for o in e["offset_mapping"]]})
    return answers


def tokenizer_json(clean=True, chinese=True, strip=None, lower=True, added=(), vocab=VOCAB, prefix="##", longest=100, unk="[UNK]",
                   cls="[CLS]", sep="[SEP]", special=VOCAB[:5]):
    peer = Tokenizer(WordPiece({t: i for i, t in enumerate(vocab)}, unk_token=unk, continuing_subword_prefix=prefix,
                               max_input_chars_per_word=longest))
    peer.normalizer = normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower)
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    peer.add_special_tokens(list(special))
    for token in added:
        (peer.add_special_tokens if token.special else peer.add_tokens)([token])
    peer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, vocab.index(cls)), (sep, vocab.index(sep))])
    return peer.to_str()


def added(content, normalized=False, special=False):
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": normalized, "special": special}


def typed(content, normalized):
    return {**added(content, normalized), "__type": "AddedToken"}


def untyped(names):
    """As special_tokens_map.json has them."""
    return {key: {k: v for k, v in token.items() if k != "__type"} if isinstance(token, dict) else token for key, token in names.items()}


class Peers:
    def __init__(self, program, root):
        self.program, self.root, self.same, self.refused = program, root, 0, 0

    def folder(self, files):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        (self.root / "config.json").write_text(json.dumps({"model_type": "distilbert"}))
        for name, content in files.items():
            (self.root / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def compare(self, files, refused=None):
        """refused: a part of the message with which we must refuse; "" where we may."""
        self.folder(files)
        try:
            answers = [ours(self.program, self.root, pairs) for pairs in (False, True)]
        except Refused as error:
            if refused is None or refused not in str(error):
                sys.exit(f"{files}\nis refused: {error}")
            self.refused += 1
            return
        if refused:
            sys.exit(f"{files}\nis not refused ({refused})")
        for pairs, mine in zip((False, True), answers):
            for text, one, want in zip(TEXTS, mine, theirs(self.root, pairs)):
                for key in ("ids", "offsets"):
                    if one[key] != want[key]:
                        sys.exit(f"{files}\n{text!r}, pairs {pairs}:\n  {key} {one[key]}\n  not {want[key]}\n  {one['tokens']}")
        self.same += 1


def main():
    program = sys.argv[1]
    r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    lines = "".join(t + "\n" for t in VOCAB)
    no_mask = "".join(t + "\n" for t in VOCAB if t != "[MASK]")
    with tempfile.TemporaryDirectory() as root:
        peers = Peers(program, Path(root) / "folder")
        # Capitals, accents, ideographs: tokenizer_config.json against tokenizer.json.
        said = [{}] + [{"do_lower_case": lower} for lower in (True, False)]
        for lower, strip, chinese in itertools.product(said, [{}] + [{"strip_accents": s} for s in (None, True, False)],
                                                       [{}, {"tokenize_chinese_chars": False}]):
            config = {**lower, **strip, **chinese}
            for files in ({"vocab.txt": lines}, {"tokenizer.json": tokenizer_json(lower=False)},
                          {"tokenizer.json": tokenizer_json(strip=True, lower=r.random() < 0.5, chinese=False)}):
                peers.compare({**files, "tokenizer_config.json": config})
                if config == {}:
                    peers.compare(files)
        peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"do_lower_case": None}}, "do_lower_case")
        # tokenizer.json as it is.
        for clean, chinese, strip, lower in itertools.product([True, False], [True, False], [None, True, False], [True, False]):
            peers.compare({"tokenizer.json": tokenizer_json(clean, chinese, strip, lower, prefix=r.choice(["##", "@"]), longest=r.choice([3, 100])),
                           "tokenizer_config.json": {"tokenizer_class": r.choice(["PreTrainedTokenizerFast", "TokenizersBackend"])}})
        for odd in ({"clean": False}, {"prefix": "@"}, {"longest": 3}, {"cls": "<s>"}, {"unk": "x"}):
            peers.compare({"tokenizer.json": tokenizer_json(**odd)}, "PreTrainedTokenizerFast")
        peers.compare({"tokenizer.json": tokenizer_json(cls="<s>"), "tokenizer_config.json": {"cls_token": "<s>"}})
        peers.compare({"tokenizer.json": tokenizer_json(special=["[CLS]"]), "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}})
        # Classes.
        for name in ("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast", "ElectraTokenizer",
                     "ElectraTokenizerFast", "MobileBertTokenizer", None):
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"tokenizer_class": name, "do_lower_case": False}})
        for name in ("MPNetTokenizer", "BertJapaneseTokenizer", "FooTokenizer"):
            peers.compare({"tokenizer.json": tokenizer_json(), "tokenizer_config.json": {"tokenizer_class": name}}, name)
        # Names of special tokens.
        for names in ({"cls_token": "<s>"}, {"sep_token": "x", "cls_token": "<s>"}, {"unk_token": "x"}, {"mask_token": "mask"},
                      {"mask_token": None}, {"pad_token": "x"}, {"bos_token": "<s>", "eos_token": None}, {"cls_token": typed("<s>", True)},
                      {"mask_token": typed("[MASK]", True)}, {"image_token": "<x>"}, {"eos_token": "</s>"}):
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": names})
            peers.compare({"vocab.txt": lines, "special_tokens_map.json": untyped(names)})
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"cls_token": "a", "mask_token": "x"}, "special_tokens_map.json": untyped(names)})
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"added_tokens_decoder": {}}, "special_tokens_map.json": untyped(names)})
        for key in ("additional_special_tokens", "extra_special_tokens"):
            for value in (["<x>"], ["<x>", "[MASK]", "</s>"], []):
                for where in ("tokenizer_config.json", "special_tokens_map.json"):
                    peers.compare({"vocab.txt": lines, where: {key: value}})
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": {key: ["unable", typed("<Ent>", True)]}})
        # No [MASK]: none is missed, unless a token would take its place.
        mask = [i for i, t in enumerate(TEXTS) if "[MASK]" in t]
        for i in mask:
            TEXTS[i] = "[mask] a[SEP]b"
        peers.compare({"vocab.txt": no_mask})
        peers.compare({"vocab.txt": no_mask, "tokenizer_config.json": {"mask_token": None, "additional_special_tokens": ["<x>"]}})
        peers.compare({"vocab.txt": no_mask, "tokenizer_config.json": {"additional_special_tokens": ["<x>"]}}, "[MASK]")
        for token in VOCAB[:4]:
            peers.compare({"vocab.txt": "".join(t + "\n" for t in VOCAB if t != token)}, token)
        for i in mask:
            TEXTS[i] = "[MASK] [mask] a[SEP]b"
        # A vocab.txt whose lines mean other tokens to AutoTokenizer than to a reader.
        for text, words in (("\ufeff" + lines, ":1: begins with a byte order mark"), (lines + "\n", f":{len(VOCAB) + 1}: the line is empty"),
                            (lines + "a\n", "stands in line 6 already"), (lines + "c \n", "ends with a blank")):
            peers.compare({"vocab.txt": text}, words)
        peers.compare({"vocab.txt": lines.replace("\n", "\r\n")})
        # Added tokens, random ones, in each of the files.
        n = len(VOCAB)
        # No two that normalization makes one: of such the package takes any.
        contents = ["<x>", "<Ent>", "<caf\u00E9>", "</s>", "unable", "<a b>", "<\u0130>", "words", "<\u4E2D>", "two words", "[MASK]"]
        for _ in range(60):
            tokens = [added(c, r.random() < 0.6, r.random() < 0.4) for c in r.sample(contents, r.randrange(1, 6))]
            ids, at = {}, n
            for token in tokens:
                if token["content"] in VOCAB:
                    ids[VOCAB.index(token["content"])] = token
                else:
                    ids[at] = token
                    at += 1
            config = {k: v for k, v in (("do_lower_case", r.choice([True, False])), ("strip_accents", r.choice([None, True, False]))) if r.random() < 0.7}
            way = r.randrange(5)
            if way == 0:
                files = {"vocab.txt": lines, "tokenizer_config.json": {**config, "added_tokens_decoder": ids}}
            elif way == 1:
                files = {"vocab.txt": lines, "tokenizer_config.json": config, "added_tokens.json": {t["content"]: i for i, t in ids.items()}}
                if r.random() < 0.5:
                    files["special_tokens_map.json"] = {"additional_special_tokens": [tokens[0]["content"]], "mask_token": "[MASK]"}
            else:
                json_text = tokenizer_json(lower=r.random() < 0.5, added=[AddedToken(**ids[i]) for i in sorted(ids)],
                                           special=r.choice([VOCAB[:5], VOCAB[:4]]))
                files = {"tokenizer.json": json_text, "tokenizer_config.json": config}
                if way == 3:
                    config["tokenizer_class"] = "PreTrainedTokenizerFast"
                if way == 4:
                    config["added_tokens_decoder"] = ids
                    config["tokenizer_class"] = r.choice(["BertTokenizer", "PreTrainedTokenizerFast"])
            peers.compare(files)
        peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"added_tokens_decoder": {str(n + 3): added("<x>")}}}, "<x>")
        peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"added_tokens_decoder": {"4": added("<x>")}}}, "[MASK]")
        peers.compare({"vocab.txt": lines, "added_tokens.json": {"<x>": n + 1}}, "<x>")
        for option in ("lstrip", "rstrip", "single_word"):
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": {"added_tokens_decoder": {str(n): {**added("<x>"), option: True}}}}, option)
        for config in ({"split_special_tokens": True}, {"truncation_side": "left"}, {"init_inputs": ["x"]}, {"cls_token": None}):
            peers.compare({"vocab.txt": lines, "tokenizer_config.json": config}, next(iter(config)))
    print(f"{peers.same} folders tokenize alike, {peers.refused} are refused")


main()
