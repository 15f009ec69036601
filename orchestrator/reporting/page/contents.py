"""The data that the page's scripts read: plots, and utterances with the audio of those that changed
most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, zip_longest
from typing import Any

from orchestrator.corpus.utterance import Utterance
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.page.charts import charts
from orchestrator.reporting.page.sound import embed_clips, read_utterances
from orchestrator.reporting.page.utterances import BASELINE, UtteranceSet, utterance_sets
from orchestrator.reporting.rendering.escape import visible
from orchestrator.scoring.limit_text import rate_text
from orchestrator.set_names import is_confirm
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

TEXT_CHARACTERS = 1_500_000
"""Most characters of all transcripts in one file, as JSON."""
MOST_UTTERANCES = 2_000
"""Most utterances of one set in one file: those that changed most. `listen` has all."""
CLIPS = 12
"""Number of worst regressions of a set, and of best gains, whose audio a file may hold."""


def to_script(value: Any) -> str:
    """Return JSON that is safe inside a script element: `<`, `>` and `&` are escaped, and
    characters that hide text or change its direction are replaced.
    """
    text = json.dumps(
        printable_value(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def printable_value(value: Any) -> Any:
    """Make all strings within a JSON value visible as text."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {key: printable_value(item) for key, item in value.items()}
    return [printable_value(item) for item in value] if isinstance(value, list | tuple) else value


def file_contents(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> dict[str, Any]:
    """Return the data of a page in one file. It holds the transcripts of the untuned model and of
    the winner, and those of as many other trials as fit in TEXT_CHARACTERS.
    """
    sets = list(utterance_sets(spec, folder, conclusion))
    kept = {
        utterance_set.name: most_changed(utterance_set, MOST_UTTERANCES) for utterance_set in sets
    }
    known = {
        utterance_set.name: read_utterances(
            spec, utterance_set.name, utterance_set.measured.manifest_sha256
        )
        for utterance_set in sets
    }
    described = [
        described_set(utterance_set, kept[utterance_set.name], known[utterance_set.name])
        for utterance_set in sets
    ]
    left = TEXT_CHARACTERS - len(json.dumps(described))
    for key, utterance_set, place in _by_need(sets, described):
        if not utterance_set.has_texts(key):
            continue
        if left <= 0 and key not in (BASELINE, utterance_set.winner):
            break
        place["heard"][key] = rows_of_model(utterance_set, key, kept[utterance_set.name])
        left -= len(json.dumps(place["heard"][key]))
    for utterance_set, place in zip(sets, described, strict=True):
        place["models"] = [model for model in place["models"] if model["key"] in place["heard"]]
        place["models_left_out"] = len(utterance_set.models) - len(place["models"])
    clips = embed_clips(_clips_to_embed(sets, kept, known))
    return {
        **common_contents(spec, folder, conclusion),
        "sets": described,
        "clips": clips,
        "live": False,
    }


def common_contents(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> dict[str, Any]:
    """Return the data that the page in one file and that of `listen` have in common."""
    return {
        "charts": [asdict(chart) for chart in charts(spec, folder, conclusion)],
        "normalizer": spec.evaluation.normalizer,
    }


def most_changed(utterance_set: UtteranceSet, most: int) -> list[int]:
    """Return the rows of the utterances to show, in the order of the set: at most `most`, those
    whose errors changed most.
    """
    changes = _error_changes(utterance_set)
    by_change = sorted(range(len(changes)), key=lambda row: (-abs(changes[row]), row))
    return sorted(by_change[:most])


def _error_changes(utterance_set: UtteranceSet) -> list[int]:
    """Return the errors of the winner less those of the untuned model, for each utterance."""
    pairs = zip(
        utterance_set.errors(BASELINE), utterance_set.errors(utterance_set.winner), strict=True
    )
    return [after - before for before, after in pairs]


def described_set(
    utterance_set: UtteranceSet, kept: Sequence[int], known: Mapping[str, Utterance]
) -> dict[str, Any]:
    """Return the data of a set without transcripts, for the rows `kept`. `known` are its utterances
    by id, as far as their manifest can still be read.
    """
    ids, speakers = utterance_set.measured.utterance_ids, utterance_set.measured.speakers
    return {
        "name": utterance_set.name,
        "title": _set_title(utterance_set.name),
        "total": len(ids),
        "rows": list(kept),
        "ids": [ids[row] for row in kept],
        "speakers": [speakers[row] for row in kept],
        "seconds": [_clip_seconds(known.get(ids[row])) for row in kept],
        "references": [" ".join(utterance_set.references[row]) for row in kept],
        "written": [utterance_set.written[row] for row in kept],
        "models": [{"key": model.key, "label": model.label} for model in utterance_set.models],
        "winner": utterance_set.winner,
        "heard": {},
    }


def _set_title(name: str) -> str:
    where = "confirm set" if is_confirm(name) else "set of the search"
    return f"{rate_text(name).removesuffix(' WER').replace('heldout', 'held-out')} ({where})"


def _clip_seconds(utterance: Utterance | None) -> float | None:
    return None if utterance is None or utterance.duration is None else round(utterance.duration, 2)


def rows_of_model(
    utterance_set: UtteranceSet, key: str, kept: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return the transcripts of one model, a row for each utterance, or 0 where it equals that of
    the untuned model; and the changes by word, speaker and length over the whole set.
    """
    return {
        "rows": _less_the_same(utterance_set, key, kept),
        "errors": sum(utterance_set.errors(key)),
        "words": sum(utterance_set.measured.reference_words),
        "counted": utterance_set.is_counted(key),
        "summary": utterance_set.summary(key),
    }


def _less_the_same(utterance_set: UtteranceSet, key: str, kept: Sequence[int] | None) -> list[Any]:
    rows = utterance_set.rows(key, kept)
    if key == BASELINE:
        return rows
    before = utterance_set.rows(BASELINE, kept)
    return [0 if row == was else row for row, was in zip(rows, before, strict=True)]


def _by_need(
    sets: Sequence[UtteranceSet], described: Sequence[dict[str, Any]]
) -> Iterator[tuple[str, UtteranceSet, dict[str, Any]]]:
    """Yield models with their set, by priority: the untuned one and the winner of every set, then
    the others, one of each set in turn.
    """
    pairs = list(zip(sets, described, strict=True))
    for utterance_set, place in pairs:
        for key in dict.fromkeys((BASELINE, utterance_set.winner)):
            yield key, utterance_set, place
    others = []
    for utterance_set, place in pairs:
        keys = [model.key for model in utterance_set.models]
        first = (BASELINE, utterance_set.winner)
        others.append([(key, utterance_set, place) for key in keys if key not in first])
    yield from (found for found in chain.from_iterable(zip_longest(*others)) if found)


def _clips_to_embed(
    sets: Sequence[UtteranceSet],
    kept: Mapping[str, Sequence[int]],
    known: Mapping[str, Mapping[str, Utterance]],
) -> Iterator[tuple[str, Utterance]]:
    """Yield clips by priority: the worst regression of every set, the best gain of every set, the
    second worst regressions, and so on.
    """
    queues = [
        _extreme_clips(utterance_set, kept[utterance_set.name], known[utterance_set.name], sign)
        for sign in (1, -1)
        for utterance_set in sets
    ]
    for turn in zip_longest(*queues):
        yield from (clip for clip in turn if clip is not None)


def _extreme_clips(
    utterance_set: UtteranceSet, kept: Sequence[int], known: Mapping[str, Utterance], sign: int
) -> list[tuple[str, Utterance]]:
    """Return the utterances that became worse most, or with a `sign` of -1 better, with their key;
    as far as their audio is known.
    """
    changes, ids = _error_changes(utterance_set), utterance_set.measured.utterance_ids
    by_change = sorted(kept, key=lambda row: -sign * changes[row])
    changed = [row for row in by_change[:CLIPS] if sign * changes[row] > 0]
    return [
        (f"{utterance_set.name}/{row}", known[ids[row]]) for row in changed if ids[row] in known
    ]
