"""A Hugging Face data set as the lines of a manifest, through the `datasets` library, which is
imported when asked for.

Audio is copied as the bytes it is stored in, never decoded and encoded again.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from orchestrator.atomic import new_file
from orchestrator.corpus.manifest import load_manifest
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifest_writing import audio_folder, relative, shuffled, some_faults
from orchestrator.corpus.record_fields import ID_KEYS, SPEAKER_KEYS, TEXT_KEYS
from orchestrator.corpus.transcript_list import LISTS
from orchestrator.errors import ManifestError
from orchestrator.hub_access import cache_alone, hub_problem

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_ENDINGS = {
    "WAV": ".wav",
    "FLAC": ".flac",
    "OGG": ".ogg",
    "MPEG": ".mp3",
    "MP3": ".mp3",
    "AIFF": ".aiff",
}


@dataclass(frozen=True)
class Wanted:
    """What of a data set is wanted."""

    name: str
    """A hub id, a folder that `save_to_disk` wrote, or a folder that `load_dataset` understands."""
    config: str | None = None
    split: str = "test"
    samples: int | None = None
    seed: int = 0
    text_column: str | None = None
    """None: the first of the usual names that is there."""
    speaker_column: str | None = None
    audio_column: str | None = None


def lines_of_dataset(wanted: Wanted, out: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Copy the audio beside `out`; the lines in their seeded order, and what the data set says it
    is.

    Raises ManifestError when the library or the data set is not there, or rows cannot be used.
    """
    data = _load_split(wanted)
    audio, text, speaker, name = _find_columns(wanted, data)
    order = shuffled(range(len(data)), wanted.seed, wanted.samples)
    folder = audio_folder(out)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    lines: list[dict[str, Any]] = []
    for row in order:
        record: Mapping[str, Any] = data[row]
        try:
            path, seconds = _save_audio(record[audio], folder / f"{row:06d}")
        except UnusableError as error:
            faults.append(f"row {row}: {error}")
            continue
        own = record.get(name) if name else None
        line: dict[str, Any] = {
            "id": str(row) if own is None else str(own),
            "audio_filepath": relative(path, out.parent),
        }
        line |= {"duration": round(seconds, 4), "text": record[text]}
        lines.append(
            line
            | ({"speaker": str(record[speaker])} if speaker and record[speaker] is not None else {})
        )
    if faults:
        if is_new:
            shutil.rmtree(folder)
        raise ManifestError(some_faults(wanted.name, faults))
    return lines, {
        "fingerprint": data._fingerprint,
        "rows": len(data),
        "columns": list(data.column_names),
    }


def _load_split(wanted: Wanted) -> Any:
    """The split, its audio undecoded. Only data is read: `datasets` has not run scripts since
    version 4.
    """
    try:
        import datasets
    except ImportError as error:
        raise ManifestError(
            "manifest from-dataset needs the datasets library\n  python -m pip install 'orchestrator[hub]'"
        ) from error
    is_id = _HUB_ID.fullmatch(wanted.name) and not Path(wanted.name).exists()
    problem = hub_problem(wanted.name, is_dataset=True) if is_id else None
    try:
        with cache_alone() if problem else nullcontext():
            found = _read_dataset(datasets, wanted)
    except (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError) as error:
        why = ": ".join(
            _first_lines(cause) for cause in (error, error.__cause__) if cause is not None
        )
        cure = "Check its name, --config, --split and the network; a plain folder of recordings is for from-folder."
        if problem:
            why, cure = f"{problem.what}, and it is not in the cache", f"Next: {problem.cure}."
        raise ManifestError(
            f"data set {wanted.name!r} cannot be loaded: {why}\n  {cure}"
        ) from error
    for column, feature in found.features.items():
        if isinstance(feature, datasets.Audio):
            found = found.cast_column(column, datasets.Audio(decode=False))
            if not set(TEXT_KEYS) & set(found.column_names):
                found = _with_list(found, column, Path(wanted.name))
    return found


def _with_list(data: Any, audio: str, folder: Path) -> Any:
    """An AudioFolder with the texts of the list at its top; `datasets` looks for one among the
    clips of a split.
    """
    listed = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if listed is None:
        return data
    try:
        texts = {
            os.path.realpath(utterance.audio or ""): utterance.text
            for utterance in load_manifest(listed).utterances
        }
    except ManifestError as error:
        raise ManifestError(f"{folder} has a list that cannot be read: {error}") from error
    paths = [os.path.realpath(value["path"] or "") for value in data[audio]]
    kept = [row for row, path in enumerate(paths) if path in texts]
    return data.select(kept).add_column("text", [texts[paths[row]] for row in kept])


def _first_lines(error: BaseException) -> str:
    """What happened and, in the next line of some messages, what there is to choose from; not the
    usage below.
    """
    return " ".join(line.strip() for line in str(error).strip().split("\n")[:2])


def _read_dataset(datasets: Any, wanted: Wanted) -> Any:
    folder = Path(wanted.name)
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        with _stored_audio(datasets.Audio):
            return datasets.load_dataset(wanted.name, wanted.config, split=wanted.split)
    if wanted.config is not None:
        raise ValueError(
            f"save_to_disk wrote it, so it has no config {wanted.config!r}; leave out --config"
        )
    saved = datasets.load_from_disk(str(folder))
    if isinstance(saved, datasets.DatasetDict):
        splits = dict(saved)
    else:  # one split, which may have forgotten its name
        splits = {wanted.split if saved.split is None else str(saved.split): saved}
    if wanted.split not in splits:
        raise ValueError(f"Unknown split {wanted.split!r}. Should be one of {list(splits)}.")
    return splits[wanted.split]


@contextmanager
def _stored_audio(audio: Any) -> Iterator[None]:
    """Lets `datasets` note where audio is stored without torchcodec, which it wants even where
    nothing is encoded.
    """
    original = audio.encode_example
    audio.encode_example = lambda self, value: _as_stored(value)
    try:
        yield
    finally:
        audio.encode_example = original


def _as_stored(value: Any) -> dict[str, Any]:
    """An audio value as the bytes or the path of a file."""
    if isinstance(value, Mapping) and value.get("array") is not None:
        stream = io.BytesIO()
        soundfile.write(
            stream,
            np.asarray(value["array"]),
            int(value["sampling_rate"]),
            format="WAV",
            subtype="FLOAT",
        )
        return {"bytes": stream.getvalue(), "path": None}
    if isinstance(value, Mapping):
        return {"bytes": value.get("bytes"), "path": value.get("path")}
    return (
        {"bytes": value, "path": None}
        if isinstance(value, bytes | bytearray)
        else {"bytes": None, "path": str(value)}
    )


def _find_columns(wanted: Wanted, data: Any) -> tuple[str, str, str | None, str | None]:
    """Audio, text, speaker and id columns. Raises ManifestError when a named or a needed one is not
    there.
    """
    there = list(data.column_names)
    named = {
        "audio": wanted.audio_column,
        "text": wanted.text_column,
        "speaker": wanted.speaker_column,
    }
    for option, column in named.items():
        if column is not None and column not in there:
            raise ManifestError(
                f"{wanted.name} has no column {column!r} (--{option}-column)\n  It has {', '.join(there)}."
            )

    def first_present(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in there), None)

    audio = wanted.audio_column or next(
        (n for n, f in data.features.items() if type(f).__name__ == "Audio"), None
    )
    audio, text = audio or first_present(("audio",)), wanted.text_column or first_present(TEXT_KEYS)
    if audio is None or text is None:
        lacks = "audio" if audio is None else "text"
        bare = set(there) <= {audio, "label"} and Path(wanted.name).is_dir()
        hint = (
            "\n  A folder of recordings and .txt files is for orchestrate manifest from-folder."
            if bare
            else ""
        )
        raise ManifestError(
            f"{wanted.name} has no column that is known to hold {lacks}; name it with --{lacks}-column\n"
            f"  It has {', '.join(there)}.{hint}"
        )
    return audio, text, wanted.speaker_column or first_present(SPEAKER_KEYS), first_present(ID_KEYS)


def _save_audio(value: Any, stem: Path) -> tuple[Path, float]:
    """Write one audio value, encoded or as samples; its path and seconds. Raises UnusableError."""
    if not isinstance(value, Mapping):
        raise UnusableError(f"its audio is {show(value)}, must be an audio value")
    if value.get("array") is not None:
        samples, rate = (
            np.asarray(value["array"], dtype=np.float32),
            int(value.get("sampling_rate") or 16_000),
        )
        path = stem.with_suffix(".flac")
        soundfile.write(path, samples, rate, subtype="PCM_24")
        return path, len(samples) / rate
    try:
        encoded = value.get("bytes") or Path(value["path"]).read_bytes()
        found = soundfile.info(io.BytesIO(encoded))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, KeyError) as error:
        raise UnusableError(f"its audio cannot be read: {error}") from error
    path = stem.with_suffix(_ENDINGS.get(found.format, ".audio"))
    with new_file(path) as aside:
        aside.write_bytes(encoded)
    return path, found.frames / found.samplerate
