"""The `moonshine` form: the five graphs that the runtime of the model's authors loads, made by
their own published exporter.

Their exporter takes a transformers folder and reads the widths of the encoder's windows as
inclusive. So the windows that were measured are written to the folder that it is given as inclusive
widths, and its graphs compute what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import (
    MoonshineStreamingForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from orchestrator.errors import ModelError
from orchestrator.tuning.deploying.onnx_export import quiet
from orchestrator.tuning.model.configuration import greedy_generation, special_tokens
from orchestrator.tuning.model.families import Family

GRAPHS = ("frontend", "encoder", "adapter", "cross_kv", "decoder_kv")
CONFIG = "streaming_config.json"
TOKENIZER = "tokenizer.bin"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def check_exportable(model: PreTrainedModel) -> None:
    """Raise ModelError for a model that the authors' exporter has no form for."""
    if not isinstance(model, MoonshineStreamingForConditionalGeneration):
        raise ModelError(
            "the authors publish no exporter of Moonshine version 1: moonshine_voice exports streaming models alone\n"
            "  Use --format onnx, which plain onnxruntime decodes with."
        )


def export_moonshine(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    folder: Path,
    graphs: Collection[str] = GRAPHS,
) -> None:
    """Write `graphs`, streaming_config.json and tokenizer.bin of a stock streaming model to
    `folder`. Raises ModelError for a model that has no such form.
    """
    check_exportable(model)
    tokens = token_bytes(tokenizer, model.config.vocab_size)
    if not any(token.startswith(_SPACE) for token in tokens):
        raise ModelError(
            "the tokenizer marks no word's start as SentencePiece does (U+2581), and the runtime knows no other kind\n"
            "  Use --format onnx."
        )
    special = special_tokens(model, tokenizer)
    if len(special.ends) > 1:
        raise ModelError(
            f"the model ends a text with any of the tokens {', '.join(map(str, sorted(special.ends)))}, and the "
            "runtime knows one end token alone\n  Use --format onnx."
        )
    from moonshine_voice.lora.export import export_checkpoint

    windows = [list(window) for window in family.windows]
    # transformers refuses to write some generation settings that it reads
    greedy = greedy_generation(model, tokenizer)
    with TemporaryDirectory() as place:
        with (
            _changed(model.config.encoder_config, sliding_windows=windows),
            # the exporter takes these from config.json alone
            _changed(model.config, bos_token_id=special.start, eos_token_id=special.eos),
            _changed(model, generation_config=greedy),
        ):
            model.save_pretrained(place)
        with quiet():
            export_checkpoint(place, folder, ",".join(graph for graph in GRAPHS if graph in graphs))
    (folder / TOKENIZER).write_bytes(tokenizer_bin(tokens))


@contextmanager
def _changed(owner: Any, **fields: Any) -> Iterator[None]:
    """A context within which fields of a model or a configuration have other values."""
    kept = {name: getattr(owner, name) for name in fields}
    try:
        for name, value in fields.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


_SPACE = "\u2581".encode()


def token_bytes(tokenizer: PreTrainedTokenizerBase, count: int) -> list[bytes]:
    """Return the bytes that each of the first `count` tokens writes, as SentencePiece has them: a
    word's start as U+2581, a byte token as that byte.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(min(count, len(tokenizer)))))
    found = []
    for piece in pieces:
        byte = _BYTE.fullmatch(piece or "")
        found.append(bytes([int(byte[1], 16)]) if byte else (piece or "").encode())
    return found


def tokenizer_bin(tokens: list[bytes]) -> bytes:
    """Return the runtime's vocabulary file: before each token stands its length, in one byte below
    128, else in two (the first is 128 + length mod 128, the second length div 128)."""
    parts = []
    for token in tokens:
        size = len(token)
        parts.append(bytes([size]) if size < 128 else bytes([128 + size % 128, size // 128]))
        parts.append(token)
    return b"".join(parts)


def read_tokenizer_bin(data: bytes) -> list[bytes]:
    """Return the tokens of a vocabulary file, the inverse of `tokenizer_bin`. Raises ModelError
    where the file ends within a token.
    """
    tokens: list[bytes] = []
    place = 0
    while place < len(data):
        size = data[place]
        place += 1
        if size >= 128 and place < len(data):
            size = size - 128 + 128 * data[place]
            place += 1
        if place + size > len(data):
            raise ModelError(
                f"{TOKENIZER} is cut off in token {len(tokens)}\n  Export the model again."
            )
        tokens.append(data[place : place + size])
        place += size
    return tokens


def text_of(tokens: list[int], vocabulary: list[bytes]) -> str:
    """Return the text of tokens, without special ones such as <s>."""
    pieces = [vocabulary[token] for token in tokens if token < len(vocabulary)]
    special = [
        piece.startswith(b"<") and piece.endswith(b">") and len(piece) > 2 for piece in pieces
    ]
    kept = [piece for piece, skip in zip(pieces, special, strict=True) if not skip]
    return b"".join(kept).decode("utf-8", errors="ignore").replace("\u2581", " ").strip()
