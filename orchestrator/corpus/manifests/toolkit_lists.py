"""Recognising lists that other programs write and that are no manifests by themselves, by their
keys or their first lines. The answer is the command that makes a manifest of them. Pure, but for a
look at what lies beside a list.

Sources: https://labelstud.io/guide/export, https://github.com/SpeechColab/GigaSpeech,
https://github.com/facebookresearch/fairseq/tree/main/examples/wav2vec and NeMo's tarred data sets.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.corpus.label_files.whisper_json import is_whisper
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.published_rows import published_rows
from orchestrator.corpus.manifests.record_fields import AUDIO_KEYS
from orchestrator.corpus.manifests.recordings_below import names_below
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES, UNREAD_SUFFIXES
from orchestrator.typed_words import quoted_path

_LABEL_STUDIO = re.compile(r"/data/(?:upload|local-files)/")
_FAIRSEQ_ROW = re.compile(rb"\S[^\t]*\t\d+\s*")
_TEXTS = {".wrd": "cat", ".ltr": "sed 's/ //g; s/|/ /g'"}
"""Endings of the texts of fairseq beside NAME.tsv, and the command that turns each into words."""
PUNCTUATION = {"COMMA": ",", "PERIOD": ".", "QUESTIONMARK": "?", "EXCLAMATIONPOINT": "!"}
"""The punctuation tags of GigaSpeech, and the marks that they stand for."""


def refuse_toolkit_record(record: Mapping[str, Any], path: Path) -> None:
    """Raise UnusableError where a record, or the one object of a file, shows that the file is the
    output of a known program.
    """
    if is_whisper(record) and not set(record) & set(AUDIO_KEYS):
        raise UnusableError(
            "is what Whisper heard in one recording; under that one's name beside it, it is read by: "
            f"orchestrate manifest from-folder {quoted_path(path.parent)} {_out(path)}"
        )
    if (name := _published_name(record)) is not None:
        raise UnusableError(
            f"names its recordings{name and f', such as {name},'} as its corpus does"
            f"{names_below(name, path) or f'; name the folder that holds them: {_from_list(path)}'}"
        )
    if _is_task(record):
        raise UnusableError(_label_studio_text(record, path))
    if key := _key_of_giga_speech(record):
        raise UnusableError(_giga_speech_text(path, key))
    if isinstance(record.get("utts"), dict):
        raise UnusableError(
            "is a data.json of ESPnet, which names features and no recordings; its data directory "
            f"has wav.scp and text: orchestrate manifest from-kaldi {quoted_path(path.parent)} {_out(path)}"
        )


def _published_name(record: Mapping[str, Any]) -> str | None:
    """Return the first recording of a row that names recordings in its corpus's own way
    (`published_rows`); empty where the name cannot be told, None for any other row.
    """
    try:
        rows = published_rows(record)
    except UnusableError:
        return ""
    return str(rows[0][AUDIO_KEYS[0]]) if rows else None


def _is_task(record: Mapping[str, Any]) -> bool:
    """Whether a record is a task of Label Studio."""
    return isinstance(record.get("data"), dict) and isinstance(record.get("annotations"), list)


def _label_studio_text(record: Mapping[str, Any], path: Path) -> str:
    told = {key: value for key, value in record["data"].items() if isinstance(value, str)}
    sounds = (key for key, value in told.items() if _names_sound(value))
    key = next(sounds, next(iter(told), "audio"))
    # a region of a recording is a record of its own; an annotation that was skipped says nothing
    code = (
        "from urllib.parse import unquote as u; "
        "[print(json.dumps({'audio_filepath': u(t['data'][%r]).split('?d=')[-1].split('/')[-1], "
        "**({'offset': v['start'], 'duration': round(v['end'] - v['start'], 3)} if 'end' in v else {}), "
        "**({'channel': v['channel']} if 'channel' in v else {}), "
        "'text': v['text'] if isinstance(v['text'], str) else ' '.join(v['text'])})) "
        "for t in json.load(open(sys.argv[1])) "
        "for a in [a for a in t['annotations'] if not a.get('was_cancelled')][:1] "
        "for v in (r['value'] for r in a['result']) if v.get('text')]"
    )
    return (
        "is an export of Label Studio (JSON); with its recordings beside it, this makes a manifest of the tasks that "
        f"have a text: {_python(code % key, path)}"
    )


def _names_sound(written: str) -> bool:
    """Whether a value of a task is that of its recording, and not of a draft of its text."""
    ending = written.lower().endswith((*AUDIO_SUFFIXES, *UNREAD_SUFFIXES))
    return ending or _LABEL_STUDIO.match(written) is not None


def _key_of_giga_speech(record: Mapping[str, Any]) -> str:
    """Return the key of the texts, where a record is a recording of GigaSpeech, the whole list of
    it, or the same of WenetSpeech, which has its form; empty for any other record.
    """
    audios = record.get("audios")
    first = audios[0] if isinstance(audios, list) and audios else record
    parts = first.get("segments") if isinstance(first, dict) else None
    part = parts[0] if isinstance(parts, list) and parts else None
    if not isinstance(part, dict) or not {"sid", "begin_time"} <= part.keys():
        return ""
    return next((key for key in ("text_tn", "text") if key in part), "")


def _giga_speech_text(path: Path, key: str) -> str:
    marks = "".join(f".replace(' <{name}>', {mark!r})" for name, mark in PUNCTUATION.items())
    code = (
        "[print(json.dumps({'id': s['sid'], 'audio_filepath': a['path'], 'offset': s['begin_time'], "
        "'duration': round(s['end_time'] - s['begin_time'], 3), 'speaker': a['aid'], 'text': s['%s']"
        f"{marks}}})) for a in json.load(open(sys.argv[1]))['audios'] for s in a['segments'] "
        "if not s['%s'].startswith('<')]"
    )
    return (
        f"is the list of {'GigaSpeech' if key == 'text_tn' else 'WenetSpeech'}, whose utterances are parts of "
        f"recordings; this makes a manifest: {_python(code % (key, key), path)}"
    )


def refuse_tarred(path: Path) -> NoReturn:
    """Raise UnusableError for a manifest of NeMo whose recordings lie in archives."""
    folder = path.parent / "unpacked"
    shards, place = f"{quoted_path(path.parent)}/*.tar", quoted_path(folder)
    raise UnusableError(
        "is a tarred manifest (shard_id) of NeMo, whose recordings lie in archives; unpack them: "
        f'mkdir -p {place} && for f in {shards}; do tar -xf "$f" -C {place}; done && '
        f"""sed -E 's/, *"shard_id": *[0-9]+|"shard_id": *[0-9]+, *//' {quoted_path(path)} > """
        f"{quoted_path(folder / 'manifest.jsonl')}"
    )


def refuse_fairseq(path: Path, first: bytes, second: bytes) -> None:
    """Raise UnusableError for a list of fairseq, which is a folder, then the recordings in it with
    their lengths; or for the texts that lie beside such a list.
    """
    listed = path if path.suffix == ".tsv" else path.with_suffix(".tsv")
    if path.suffix in _TEXTS:
        if not listed.is_file():
            return
        with listed.open("rb") as stream:
            first, second = stream.readline(), stream.readline()
    folder = first.decode("utf-8", "replace").strip()
    if "\t" in folder or not folder or not _FAIRSEQ_ROW.fullmatch(second):
        return
    beside = [ending for ending in _TEXTS if path.with_suffix(ending).is_file()]
    if not beside:
        raise UnusableError(
            "is a list of fairseq without texts; put its .wrd or .ltr beside it, under the same name"
        )
    replacement = re.sub(r"([\\\\&#])", r"\\\1", folder)  # & stands for what was found
    texts = f"{_TEXTS[beside[0]]} {quoted_path(listed.with_suffix(beside[0]))}"
    out = quoted_path(listed.with_name(f"{listed.stem}-pairs.tsv"))
    raise UnusableError(
        "is a list of fairseq, whose texts lie beside it; this makes a manifest of both: "
        f"{texts} > {out}.txt && tail -n +2 {quoted_path(listed)} | cut -f1 | "
        f"sed {shlex.quote(f's#^#{replacement}/#')} | paste - {out}.txt > {out}"
    )


def label_studio_cure(written: str, path: Path) -> str:
    """Return the command that turns the addresses of Label Studio's server into file names; empty
    where `written` is none of them.
    """
    if not _LABEL_STUDIO.match(written):
        return ""
    local = quoted_path(path.with_name(f"{path.stem}-local{path.suffix}"))
    pattern = r"s#/data/(upload|local-files)/[^,\"]*/##g; s#/data/(upload/|local-files/\?d=)##g"
    return (
        "; it is an address of Label Studio's server: with the recordings beside the manifest, "
        f"sed -E {shlex.quote(pattern)} {quoted_path(path)} > {local}"
    )


def speech_brain_cure(path: Path) -> str:
    """Return the command that makes a manifest of a list of SpeechBrain, whose texts are under
    "words".
    """
    rename = shlex.quote('s/"words" *:/"text":/g')
    return f", as SpeechBrain does not: sed {rename} {quoted_path(path)} > {_out(path)}"


def _python(code: str, path: Path) -> str:
    program = shlex.quote(sys.executable)  # `python` is not on every machine
    return f'{program} -c "import json, sys; {code}" {quoted_path(path)} > {_out(path)}'


def _from_list(path: Path) -> str:
    return f"orchestrate manifest from-folder FOLDER {_out(path)} --transcripts {quoted_path(path)}"


def _out(path: Path) -> str:
    return quoted_path(path.parent / "manifest.jsonl")
