"""What the peers of bench/ read: labelled texts, and the tokenizer of a model directory."""

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
