"""Making the lines of a manifest of a Hugging Face data set, through the `datasets` library, which
is imported only when it is needed.

Audio is copied as the bytes it is stored in, never decoded and encoded again.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from orchestrator.corpus.importing.hub_rows import (
    Columns,
    Rows,
    Wanted,
    lines_of_rows,
    sound_columns,
)
from orchestrator.corpus.importing.transcript_list import LISTS
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.manifests.missing_values import is_missing_text
from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    ID_KEYS,
    SPEAKER_KEYS,
    TEXT_KEYS,
)
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from orchestrator.host.hub_access import cache_alone, how_to_name, hub_problem, names_folder
from orchestrator.typed_words import install_command

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""The form of a data set's id on the hub."""


def lines_of_dataset(wanted: Wanted, out: Path) -> tuple[Rows, dict[str, Any]]:
    """Copy the audio beside `out`; return the lines in their seeded order, and the data set's
    fingerprint, number of rows and columns for the source note.

    Raises ManifestError when the library or the data set is not there, or rows cannot be used.
    """
    data = _load_split(wanted)
    rows = lines_of_rows(data, _find_columns(wanted, data), wanted, out)
    return rows, {
        "fingerprint": data._fingerprint,
        "rows": len(data),
        "columns": list(data.column_names),
    }


def _load_split(wanted: Wanted) -> Any:
    """Load the split, with its audio undecoded. Only data is read: `datasets` has not run scripts
    since version 4.
    """
    try:
        import datasets
    except ImportError as error:
        raise ManifestError(
            f"manifest from-dataset needs the datasets library\n  {install_command('hub')}"
        ) from error
    is_there = Path(wanted.name).exists()
    if names_folder(wanted.name, Path.cwd()) and not is_there:
        cure = how_to_name(wanted.name, "a data set of the hub, such as openslr/librispeech_asr")
        raise ManifestError(f"there is no data set in {wanted.name}\n  {cure}")
    is_id = _HUB_ID.fullmatch(wanted.name) and not is_there
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
            found = _with_json(found.cast_column(column, datasets.Audio(decode=False)))
            if not {wanted.text_column, *TEXT_KEYS} & set(found.column_names):
                found = _with_list(found, column, Path(wanted.name))
    return found


def _with_json(data: Any) -> Any:
    """Take apart the column "json" of a WebDataset whose texts are in a `.json` beside each
    recording: each of its keys becomes a column. Any other data set is returned as it is.
    """
    told = data.features.get("json")
    if not isinstance(told, Mapping) or not set(TEXT_KEYS) & set(told):
        return data
    rows = data["json"]
    for key in sorted(set(told) - set(data.column_names)):
        data = data.add_column(key, [row and row[key] for row in rows])
    return data.remove_columns("json")


def _with_list(data: Any, audio: str, folder: Path) -> Any:
    """Add to an AudioFolder what a list at its top tells, with one row for each utterance;
    `datasets` itself looks for a list only among the clips of a split. Clips that the list does not
    name have no text.
    """
    listed = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if listed is None:
        return data
    told: dict[str, list[Utterance]] = {}
    try:
        for utterance in _utterances_listed(listed):
            told.setdefault(os.path.realpath(utterance.audio or ""), []).append(utterance)
    except ManifestError as error:
        raise ManifestError(f"{folder} has a list that cannot be read: {error}") from error
    paths = [os.path.realpath(value["path"] or "") for value in data[audio]]
    found = [(row, each) for row, path in enumerate(paths) for each in told.get(path, [None])]
    columns = {
        "text": [each and each.text for _, each in found],
        "speaker": [each and each.speaker for _, each in found],
        "offset": [each and each.offset for _, each in found],
        "duration": [each and each.duration for _, each in found],
    }
    data = data.select([row for row, _ in found])
    for name, values in columns.items():
        data = data.add_column(name, values)
    return data


def _utterances_listed(table: Path) -> tuple[Utterance, ...]:
    """Load the utterances of a list, a few of which may have no text. Where most have none, raises
    ManifestError, which says what is wrong.
    """
    found = load_manifest(table, needs_text=False).utterances
    silent = sum(is_missing_text(each.text) for each in found)
    return load_manifest(table).utterances if 2 * silent > len(found) else found


def _first_lines(error: BaseException) -> str:
    """Return the first two lines of an error's message: what happened and, in some, what there is
    to choose from; not the usage below.
    """
    return " ".join(line.strip() for line in str(error).strip().split("\n")[:2])


def _read_dataset(datasets: Any, wanted: Wanted) -> Any:
    """Load the split with `datasets`, from the hub, a folder of files, or a folder that
    `save_to_disk` wrote.
    """
    folder = Path(wanted.name)
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        with _stored_audio(datasets.Audio):
            # the library finds no name in `.`
            name = os.path.abspath(folder) if folder.is_dir() else wanted.name
            return datasets.load_dataset(name, wanted.config, split=wanted.split)
    if wanted.config is not None:
        raise ValueError(
            f"save_to_disk wrote it, so it has no config {wanted.config!r}; leave out --config"
        )
    saved = datasets.load_from_disk(str(folder))
    if isinstance(saved, datasets.DatasetDict):
        splits = dict(saved)
    else:  # a single split, whose name may not have been saved
        splits = {wanted.split if saved.split is None else str(saved.split): saved}
    if wanted.split not in splits:
        raise ValueError(f"Unknown split {wanted.split!r}. Should be one of {list(splits)}.")
    return splits[wanted.split]


@contextmanager
def _stored_audio(audio: Any) -> Iterator[None]:
    """Let `datasets` note where audio is stored without torchcodec, which it would otherwise
    require even though nothing is encoded.
    """
    original = audio.encode_example
    audio.encode_example = lambda self, value: _as_stored(value)
    try:
        yield
    finally:
        audio.encode_example = original


def _as_stored(value: Any) -> dict[str, Any]:
    """Return an audio value as the bytes or the path of a file; samples become a WAV of 32-bit
    floats.
    """
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


def _find_columns(wanted: Wanted, data: Any) -> Columns:
    """Choose the columns that are read. Raises ManifestError when one that is named or needed is
    not there.
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

    sounds = sound_columns(data)
    usual = (key for key in AUDIO_KEYS if key in sounds)
    audio = wanted.audio_column or next(usual, next(iter(sounds), None))
    known = tuple(key for key in TEXT_KEYS if key != "tgt_text" or "src_text" not in there)
    audio, text = audio or first_present(("audio",)), wanted.text_column or first_present(known)
    if audio is None or text is None:
        lacks = "audio" if audio is None else "text"
        bare = set(there) <= {audio, "label"} and Path(wanted.name).is_dir()
        hint = (
            "\n  A folder of recordings and .txt files is for orchestrate manifest from-folder."
            if bare
            else ""
        )
        if "training_data" in there:  # of the People's Speech
            hint = (
                "\n  Lists of clips are for orchestrate manifest from-folder FOLDER OUT --transcripts FILE: the folder "
                "of the clips, and the file of these lists."
            )
        raise ManifestError(
            f"{wanted.name} has no column that is known to hold {lacks}; name it with --{lacks}-column\n"
            f"  It has {', '.join(there)}.{hint}"
        )
    speakers = tuple(key for key in SPEAKER_KEYS if key in there)
    named_one = (wanted.speaker_column,) if wanted.speaker_column else ()
    return Columns(audio, text, named_one or speakers, first_present(ID_KEYS))
