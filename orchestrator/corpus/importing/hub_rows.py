"""Making the lines of a manifest of the rows of a Hugging Face data set. Their sound is copied as
the bytes it is stored in, never decoded and encoded again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import soundfile

from orchestrator.corpus.label_files.times_in_text import times_or_turns
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.manifest_writing import (
    Made,
    audio_folder,
    relative,
    shuffled,
    some_faults,
)
from orchestrator.corpus.manifests.missing_values import (
    is_missing_text,
    names_somebody,
    without_fraction,
)
from orchestrator.corpus.manifests.one_channel import refuse_one_of_several
from orchestrator.corpus.manifests.record_fields import inline_samples
from orchestrator.corpus.manifests.unread_times import is_end, refuse_unread_times
from orchestrator.corpus.manifests.words_beside import (
    KEYS_OF_WORDS,
    other_text_note,
    words_beside,
)
from orchestrator.corpus.recordings.headers import TOLERANCE, Header, read_header
from orchestrator.corpus.recordings.mpeg import is_mpeg
from orchestrator.errors import ManifestError
from orchestrator.files.atomic import new_file

_ENDINGS = {
    **{b"RIFF": ".wav", b"RF64": ".wav", b"BW64": ".wav"},
    **{b"fLaC": ".flac", b"OggS": ".ogg", b"FORM": ".aiff"},
}
"""The ending of a sound file's name, by the bytes that it begins with."""
_AUDIO = "its audio"
"""What messages call the sound of a row."""


@dataclass(frozen=True)
class Wanted:
    """Which data set is imported, and which of its rows and columns."""

    name: str
    """A hub id, a folder that `save_to_disk` wrote, or a folder that `load_dataset` understands."""
    config: str | None = None
    split: str = "test"
    samples: int | None = None
    """The number of rows that are drawn; None for all."""
    seed: int = 0
    text_column: str | None = None
    """None stands for the first of the usual names that is there."""
    speaker_column: str | None = None
    audio_column: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of a data set that are read."""

    audio: str
    text: str
    speakers: tuple[str, ...]
    """Columns of which the first that names a speaker counts."""
    id: str | None


@dataclass(frozen=True)
class Rows:
    """The lines of the rows that were taken, and what there is to say about the others."""

    lines: list[Made]
    usable: int
    """The number of rows with a text, of which the lines were drawn."""
    left_out: Counter[str]
    """How many rows were left out, by the reason."""
    notes: tuple[str, ...]
    """Why the ids are not those of the data set, where they are not; which columns hold sound, too; in how many rows
    another length is told than the sound has; and which columns say something else than the text that is taken, where
    none was asked for.
    """


def lines_of_rows(data: Any, columns: Columns, wanted: Wanted, out: Path) -> Rows:
    """Copy the audio of the `wanted` rows beside `out`, and return their lines. Raises
    ManifestError with all rows that cannot be used.
    """
    texts = list(data[columns.text])
    silent = [row for row, text in enumerate(texts) if is_missing_text(text)]
    marked = [
        row for row, text in enumerate(texts) if isinstance(text, str) and times_or_turns(text)
    ]
    left_out = {*silent, *marked}
    usable = [row for row in range(len(texts)) if row not in left_out]
    whys = ("without a text", silent), ("with times or speakers among the words", marked)
    reasons = {f"{why}, such as row {rows[0]}": len(rows) for why, rows in whys if rows}
    ids, note = _unique_ids(data, columns.id, usable)
    folder = audio_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    lines: list[Made] = []
    other_lengths: list[str] = []
    for row in shuffled(usable, wanted.seed, wanted.samples) if usable else []:
        record = data[row]
        try:
            line = _line_of_row(record, columns, folder / f"{row:06d}", out.parent)
        except UnusableError as error:
            faults.append(f"row {row}: {error}")
            continue
        lines.append(Made({"id": ids[row]} | line, f"row {row}"))
        if "offset" not in line and _is_another_length(record.get("duration"), line["duration"]):
            told = (
                f"row {row}: {record['duration']:g} is told, and it lasts {line['duration']:.2f} s"
            )
            other_lengths.append(told)
    if faults:
        raise ManifestError(some_faults(wanted.name, faults))
    others = () if wanted.text_column else _other_texts(data, columns.text, usable)
    sounds = "" if wanted.audio_column else _other_sounds(data, columns.audio)
    notes = filter(None, [note, sounds, _note_on_lengths(other_lengths, len(lines))])
    return Rows(lines, len(usable), Counter(reasons), (*notes, *others))


def sound_columns(data: Any) -> list[str]:
    """Return the columns of a data set that are declared to hold sound, in their order."""
    return [name for name, feature in data.features.items() if type(feature).__name__ == "Audio"]


def _other_sounds(data: Any, column: str) -> str:
    """Return a note where other columns than the one that is read hold sound, too; empty where none does."""
    others = [name for name in sound_columns(data) if name != column]
    if not others:
        return ""
    return (
        f"the sound is that of the column {show(column)}, and not {', '.join(map(show, others))}; where the texts are "
        f"of that: --audio-column {quote(others[0])}"
    )


def _is_another_length(told: Any, seconds: float) -> bool:
    """Whether a row tells another length, in seconds or milliseconds, than the sound has that is taken whole."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return False
    return all(abs(told / unit - seconds) > TOLERANCE for unit in (1, 1000))


def _note_on_lengths(told: list[str], rows: int) -> str:
    """Return a note on rows that tell another length than that of their sound; empty where there are none."""
    if not told:
        return ""
    return (
        f'in {len(told)} of {rows} rows "duration" is another length than that of the sound, which is taken whole, '
        f"e.g. {told[0]}"
    )


def _other_texts(data: Any, column: str, rows: list[int]) -> Iterator[str]:
    """Yield a note on each further column that holds other words than the one of the texts."""
    texts = list(data[column])
    for key in sorted({*KEYS_OF_WORDS} & set(data.column_names) - {column}):
        others = list(data[key])
        found = [row for row in rows if any(words_beside(str(texts[row]), {key: others[row]}))]
        if found:
            first = found[0]
            note = other_text_note(
                key, len(found), len(rows), str(texts[first]), others[first], f"row {first}"
            )
            yield f"{note}; where it is what is said: --text-column {key}"


def _unique_ids(data: Any, column: str | None, rows: list[int]) -> tuple[dict[int, str], str]:
    """Return an id for each row, its own or its number, and a note. Where some ids are the same,
    all rows have their numbers instead: the ids of FLEURS are those of sentences.
    """
    numbers = {row: str(row) for row in rows}
    if column is None:
        return numbers, ""
    given = list(data[column])
    ids = {
        row: numbers[row] if given[row] is None else str(without_fraction(given[row]))
        for row in rows
    }
    repeated, count = Counter(ids.values()).most_common(1)[0] if ids else ("", 1)
    if count == 1:
        return ids, ""
    return numbers, (
        f"{count} rows have the {column} {show(repeated)}, so it names no recording: "
        "the ids are the numbers of the rows"
    )


def _line_of_row(
    record: Mapping[str, Any], columns: Columns, stem: Path, base: Path
) -> dict[str, Any]:
    audio = record[columns.audio]
    path, header = _save_audio(audio, stem)
    read = (columns.audio, columns.text, columns.id, *columns.speakers)
    extra = {key: value for key, value in record.items() if key not in read}
    extra |= {key: audio[key] for key in audio if key not in ("path", "bytes", "array")}
    segment = _segment(extra, header.seconds)
    if not segment:
        refuse_unread_times(extra, header.seconds, header.rate, _AUDIO)
    refuse_one_of_several(extra, path, _AUDIO)
    speakers = (without_fraction(record[column]) for column in columns.speakers)
    speaker = next((str(speaker) for speaker in speakers if names_somebody(speaker)), "")
    whole = {"duration": round(header.seconds, 4)}
    line = {"audio_filepath": relative(path, base), **(segment or whole)}
    return line | {"text": record[columns.text]} | ({"speaker": speaker} if speaker else {})


def _segment(record: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Return the part of its audio that a row means by `offset` and `duration`; empty for the
    whole. Where the audio is cut already, these are times in what it was cut from.
    """
    start, length = record.get("offset"), record.get("duration")
    if not isinstance(start, int | float) or not isinstance(length, int | float):
        return {}
    is_part = start >= 0 < length < seconds - TOLERANCE and start + length <= seconds + TOLERANCE
    return {"offset": start, "duration": length} if is_part and not is_end(record) else {}


def _save_audio(value: Any, stem: Path) -> tuple[Path, Header]:
    """Write one audio value, encoded or as samples, and return its path and header. Raises
    UnusableError where it cannot be read.
    """
    if not isinstance(value, Mapping):
        cure = "; JSON and tables that name files are manifests as they are: name the file in the sweep file"
        raise UnusableError(
            f"{_AUDIO} is {show(value)}, must be an audio value{cure * isinstance(value, str)}"
        )
    if value.get("array") is not None:
        return _save_samples(value["array"], value.get("sampling_rate"), stem)
    try:
        encoded = bytes(value.get("bytes") or Path(value["path"]).read_bytes())
    except (OSError, TypeError, KeyError) as error:
        raise UnusableError(f"{_AUDIO} cannot be read: {error}") from error
    header = read_header(encoded, _AUDIO)
    path = stem.with_suffix(_ENDINGS.get(encoded[:4], ".mp3" if is_mpeg(encoded) else ".audio"))
    with new_file(path) as aside:
        aside.write_bytes(encoded)
    return path, header


def _save_samples(array: Any, rate: Any, stem: Path) -> tuple[Path, Header]:
    """Write samples as FLAC of 24 bits, or as WAV of floats where that would cut their peaks. Raises UnusableError
    where they are no sound.
    """
    values = array.tolist() if isinstance(array, np.ndarray) else array
    samples, whole_rate = inline_samples("array", values, rate)
    is_within = np.abs(samples).max() <= 1
    ending, subtype = (".flac", "PCM_24") if is_within else (".wav", "FLOAT")
    path = stem.with_suffix(ending)
    soundfile.write(path, samples, whole_rate, subtype=subtype)
    return path, Header(len(samples), whole_rate)
