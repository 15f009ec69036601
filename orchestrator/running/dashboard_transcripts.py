"""What trials heard, as attachments of a dashboard: transcripts as CSV, and the clips that got
worse most.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import soundfile

from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import StudyError
from orchestrator.reporting.page.sound import PACKED_KIND, can_pack, packed_mp3, read_utterances
from orchestrator.reporting.page.utterances import BASELINE, UtteranceSet
from orchestrator.reporting.tables.spreadsheet import write_csv
from orchestrator.reporting.tables.study_tables import Columns, DataTable, Row
from orchestrator.search.dashboard_study import Attachment
from orchestrator.sweepfile.sweep import SweepSpec

CLIPS = 3
"""How many of the utterances that got worse most are shown in a trial's note and attached as sound.
"""
_COLUMNS: Columns = {
    "set": str, "utterance": str, "speaker": str, "reference": str, "untuned": str, "tuned": str,
    "words": int, "errors_untuned": int, "errors_tuned": int, "change": int,
}  # fmt: skip


@dataclass(frozen=True)
class Worse:
    """An utterance in which a trial makes more errors than the untuned model."""

    name: str
    """The name of its set."""
    row: int
    """Its position in the set."""
    more: int
    """How many word errors more than the untuned model."""
    reference: str
    untuned: str
    tuned: str
    recording: Utterance | None
    """The recording; None where the manifest is gone or has changed since the measurement."""


class HeardSet:
    """A set with what was heard of it, and with its recordings as far as they still exist."""

    def __init__(self, spec: SweepSpec, of: UtteranceSet) -> None:
        self._spec, self.of = spec, of

    def is_heard_by(self, key: str) -> bool:
        """Say whether the transcripts of the model with this key are on file."""
        return key in {model.key for model in self.of.models} and self.of.has_texts(key)

    def worst(self, key: str) -> list[tuple[int, int]]:
        """Return (additional errors against the untuned model, row) of the worst few utterances,
        worst first; only utterances that got worse.
        """
        pairs = zip(self.of.errors(key), self.of.errors(BASELINE), strict=True)
        changes = [(after - before, row) for row, (after, before) in enumerate(pairs)]
        by_change = sorted(changes, key=lambda change: (-change[0], change[1]))
        return [(more, row) for more, row in by_change[:CLIPS] if more > 0]

    def worse(self, key: str, row: int, more: int) -> Worse:
        """Return one of the pairs of `worst` with its texts and recording."""
        (heard, *_), (untuned, *_) = (self.of.rows(model, [row])[0] for model in (key, BASELINE))
        reference = " ".join(self.of.references[row])
        recording = self._utterances_by_id.get(self.of.measured.utterance_ids[row])
        return Worse(self.of.name, row, more, reference, untuned, heard, recording)

    @cached_property
    def _utterances_by_id(self) -> Mapping[str, Utterance]:
        return read_utterances(self._spec, self.of.name, self.of.measured.manifest_sha256)

    def table(self, key: str) -> Iterator[Row]:
        """Yield one row per utterance, with the columns of `_COLUMNS`."""
        measured = self.of.measured
        errors = [self.of.errors(model) for model in (BASELINE, key)]
        heard = [self.of.rows(model) for model in (BASELINE, key)]
        for row, utterance in enumerate(measured.utterance_ids):
            before, after = (each[row] for each in errors)
            yield (
                self.of.name, utterance, measured.speakers[row], " ".join(self.of.references[row]),
                heard[0][row][0], heard[1][row][0], measured.reference_words[row],
                before, after, after - before,
            )  # fmt: skip


def worst_of(sets: Sequence[HeardSet], key: str) -> list[Worse]:
    """Return the worst few utterances of all sets, worst first; ties keep the order of sets and
    rows.
    """
    found = [
        (more, place, row)
        for place, each in enumerate(sets)
        if each.is_heard_by(key)
        for more, row in each.worst(key)
    ]
    by_change = sorted(found, key=lambda change: (-change[0], *change[1:]))
    return [sets[place].worse(key, row, more) for more, place, row in by_change[:CLIPS]]


def attachments(sets: Sequence[HeardSet], key: str, prefix: str = "") -> Iterator[Attachment]:
    """Yield what one model heard as a CSV file, and its worst clips as MP3; `prefix` begins every
    file name.
    """
    heard = [each for each in sets if each.is_heard_by(key)]
    if heard:
        read = partial(_transcripts_file, heard, key)
        yield Attachment(f"{prefix}transcripts.csv", "text/csv; charset=utf-8", read)
    if not can_pack():
        return
    for place, worse in enumerate(worst_of(heard, key), start=1):
        if worse.recording is not None:
            name = f"{prefix}worse-{place}-{worse.name}.mp3"
            yield Attachment(name, PACKED_KIND, partial(_clip_bytes, worse.recording))


def _transcripts_file(sets: Sequence[HeardSet], key: str) -> bytes:
    """Return the CSV file, sorted so that the utterances that got worse most come first."""
    rows = [row for each in sets for row in each.table(key)]
    rows.sort(key=lambda row: -int(row[-1] or 0))
    text = io.StringIO()
    write_csv(DataTable(_COLUMNS, iter(rows)), text)
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def _clip_bytes(recording: Utterance) -> bytes:
    try:
        return packed_mp3(recording)
    except soundfile.SoundFileError as error:
        raise StudyError(f"{recording.audio} cannot be read: {error}") from error
