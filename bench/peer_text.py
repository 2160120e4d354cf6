"""What the programs of bench/ read: labelled texts, also of random words, and the tokenizer of a model directory."""

import random
from pathlib import Path


def read_tsv(file: Path, rows: int | None = None) -> tuple[list[str], list[str]]:
    """Labels and texts of the first `rows` rows."""
    if not file.is_file():
        raise SystemExit(f"{file}: there is no such file")
    header, *lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if header != "label\ttext":
        raise SystemExit(f"{file}: the header is {header!r}, not 'label<TAB>text'")
    pairs = [line.split("\t", 1) for line in lines[:rows]]
    return [label for label, _ in pairs], [text for _, text in pairs]


def write_random_texts(folder: Path, count: int, lengths: tuple[int, ...], words: int) -> None:
    """A data set whose texts have in turn as many tokens as `lengths` says, [CLS] and [SEP] counted, and its vocabulary."""
    folder.mkdir()
    known = [f"w{i}" for i in range(words)]
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known]) + "\n")
    draw = random.Random(1)
    texts = [" ".join(draw.choices(known, k=lengths[i % len(lengths)] - 2)) for i in range(count)]
    draw.shuffle(texts)
    for split, part in (("train", texts), ("dev", texts[:64]), ("test", texts[:64])):
        (folder / f"{split}.tsv").write_text("label\ttext\n" + "".join(f"{i % 2}\t{t}\n" for i, t in enumerate(part)))


def directory_tokenizer(model: Path, max_length: int | None = None):
    """The tokenizer that a model directory asks for, as the `tokenizers` package runs it. Texts are cut at `max_length`
    tokens; without it where the directory says, as minima does."""
    from transformers import AutoConfig, AutoTokenizer

    told = AutoTokenizer.from_pretrained(model)
    longest = min(told.model_max_length, AutoConfig.from_pretrained(model).max_position_embeddings)
    if max_length is not None and max_length > longest:
        raise SystemExit(f"--max-length is {max_length}; {model} takes {longest} tokens")
    tokenizer = told.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length or longest)
    return tokenizer
