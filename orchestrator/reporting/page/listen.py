"""The web application of `orchestrate listen`: the page of a study with every trial's transcripts
and every recording, for this machine alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError, OrchestrateError
from orchestrator.host.loopback import Respond
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.page.contents import (
    common_contents,
    described_set,
    printable_value,
    rows_of_model,
)
from orchestrator.reporting.page.report_page import study_page
from orchestrator.reporting.page.shell import policy
from orchestrator.reporting.page.sound import Sound, original_sound, read_utterances
from orchestrator.reporting.page.utterances import UtteranceSet, utterance_sets
from orchestrator.reporting.rendering.escape import visible
from orchestrator.reporting.rendering.report_blocks import Document
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

_TEXT = "text/plain; charset=utf-8"
_AT_ONCE = 1 << 16
"""Bytes of a recording that are read and sent in one piece."""
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)

Judged = Callable[[], tuple[Conclusion, bool]]
"""Judges the study as it stands, and says whether nothing is left to train."""

Reported = Callable[[Conclusion, bool], Document]
"""Makes the report of what `Judged` returned."""


class State:
    """A study as it was when the page was opened. Transcripts and manifests are read only when they
    are requested.
    """

    def __init__(self, spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> None:
        """Read the study. Raises StudyError for damaged files."""
        self.spec, self.folder, self.conclusion = spec, folder, conclusion
        self.sets = {
            utterance_set.name: utterance_set
            for utterance_set in utterance_sets(spec, folder, self.conclusion)
        }
        self._utterances: dict[str, dict[str, Utterance]] = {}
        self._lock = threading.Lock()

    def has(self, name: str, key: str) -> bool:
        """Whether this model's transcripts of this set are on file. Raises LookupError where there
        is no such set.
        """
        each = self.sets[name]
        return key in {model.key for model in each.models} and each.has_texts(key)

    def utterances(self, name: str) -> Mapping[str, Utterance]:
        """Return the utterances of a set by id; each manifest is read once."""
        with self._lock:
            if name not in self._utterances:
                sha256 = self.sets[name].measured.manifest_sha256
                self._utterances[name] = read_utterances(self.spec, name, sha256)
            return self._utterances[name]

    @cached_property
    def contents(self) -> dict[str, Any]:
        """The data that the page starts with: the names of sets and models, and the plots."""
        sets = [
            {
                "name": evaluation_set.name,
                "title": described_set(evaluation_set, (), {})["title"],
                "models": [
                    {"key": model.key, "label": model.label} for model in evaluation_set.models
                ],
                "winner": evaluation_set.winner,
                "heard": {},
            }
            for evaluation_set in self.sets.values()
        ]
        return {
            **common_contents(self.spec, self.folder, self.conclusion),
            "sets": sets,
            "live": True,
        }


class Player:
    """The WSGI application; it must be wrapped in `loopback.guarded`. Requests name only a set, a
    model and a row, never a file.
    """

    def __init__(
        self, spec: SweepSpec, folder: StudyFolder, judged: Judged, reported: Reported
    ) -> None:
        """Read the study, which `judged` judges and `reported` reports. Raises StudyError for
        damaged files.
        """
        self._spec, self._folder, self._judged, self._reported = spec, folder, judged, reported
        self._state = State(spec, folder, judged()[0])

    def __call__(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        """Answer one GET or HEAD."""
        parts = [part for part in environ.get("PATH_INFO", "").split("/") if part]
        try:
            kind, body = self._answer_path(parts)
        except LookupError:
            return _send_body(
                environ, respond, "404 Not Found", _TEXT, b"There is no such thing here.\n"
            )
        except (OrchestrateError, OSError) as error:
            text = visible(f"{error}\n").encode()
            return _send_body(environ, respond, "500 Internal Server Error", _TEXT, text)
        if isinstance(body, Path):
            return _send_file(environ, respond, kind, body)
        return _send_body(environ, respond, "200 OK", kind, body)

    def _answer_path(self, parts: list[str]) -> tuple[str, bytes | Path]:
        """Return media type and body. Raises LookupError for what does not exist."""
        match parts:
            case []:
                return "text/html; charset=utf-8", self._render_page()
            case ["sets", name]:
                return "application/json", _json_bytes(self._set_contents(self._state.sets[name]))
            case ["sets", name, "heard", key] if self._state.has(name, key):
                return "application/json", _json_bytes(rows_of_model(self._state.sets[name], key))
            case ["sets", name, "audio", row] if row.isascii() and row.isdigit():
                sound = self._sound_of_row(self._state.sets[name], int(row))
                return sound.kind, sound.data
        raise LookupError

    def _render_page(self) -> bytes:
        """Return the page. The study is read anew each time, because its sweep may be running."""
        conclusion, done = self._judged()
        state = State(self._spec, self._folder, conclusion)
        document = self._reported(conclusion, done)
        text = study_page(self._spec, conclusion, document, done, state.contents)
        self._state = state
        return text.encode("utf-8", errors="backslashreplace")

    def _set_contents(self, utterance_set: UtteranceSet) -> dict[str, Any]:
        ids = utterance_set.measured.utterance_ids
        known = self._state.utterances(utterance_set.name)
        described = described_set(utterance_set, range(len(ids)), known)
        del described["heard"]  # the page stores transcripts that it has already requested there
        return {**described, "playable": [name in known for name in ids]}

    def _sound_of_row(self, utterance_set: UtteranceSet, row: int) -> Sound:
        utterance = self._state.utterances(utterance_set.name)[
            utterance_set.measured.utterance_ids[row]
        ]
        try:
            return original_sound(utterance)
        except ManifestError as error:
            raise LookupError from error


def _json_bytes(value: Any) -> bytes:
    return json.dumps(printable_value(value), allow_nan=False).encode()


def _response_headers(kind: str, length: int, *more: tuple[str, str]) -> list[tuple[str, str]]:
    rules = f"{policy(live=True)}; frame-ancestors 'none'"
    own = [
        ("Content-Type", kind),
        ("Content-Length", str(length)),
        ("Content-Security-Policy", rules),
    ]
    return [*own, *_ALWAYS, *more]


def _send_body(
    environ: dict[str, Any], respond: Respond, status: str, kind: str, body: bytes
) -> Iterable[bytes]:
    if status.startswith("200") and kind.startswith("audio/"):
        return _send_range(environ, respond, kind, len(body), lambda start, end: [body[start:end]])
    respond(status, _response_headers(kind, len(body)))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _send_file(environ: dict[str, Any], respond: Respond, kind: str, path: Path) -> Iterable[bytes]:
    return _send_range(
        environ,
        respond,
        kind,
        path.stat().st_size,
        lambda start, end: _read_range(path, start, end),
    )


def _send_range(
    environ: dict[str, Any],
    respond: Respond,
    kind: str,
    size: int,
    read: Callable[[int, int], Iterable[bytes]],
) -> Iterable[bytes]:
    """Send all of a recording, or the range of bytes that a player requests when it seeks (RFC
    9110, section 14).
    """
    start, end = asked_range(environ.get("HTTP_RANGE", ""), size)
    partial = (start, end) != (0, size)
    more = [("Accept-Ranges", "bytes")]
    if partial:
        more.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    respond(
        "206 Partial Content" if partial else "200 OK", _response_headers(kind, end - start, *more)
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else read(start, end)


def asked_range(header: str, size: int) -> tuple[int, int]:
    """Parse a Range header; return the first byte and the one after the last. The whole file, where
    the header does not ask for a single range that exists.
    """
    first, dash, last = header.removeprefix("bytes=").partition("-")
    numbers = [text for text in (first, last) if text]
    if (
        not header.startswith("bytes=")
        or not dash
        or not all(text.isascii() and text.isdigit() for text in numbers)
    ):
        return 0, size
    if not first:
        return (max(0, size - int(last)), size) if last and int(last) else (0, size)
    end = min(int(last) + 1, size) if last else size
    return (int(first), end) if int(first) < end else (0, size)


def _read_range(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = end - start
        while left and (data := file.read(min(_AT_ONCE, left))):
            left -= len(data)
            yield data
