"""Converting a cut of lhotse to a record with the keys of NeMo. Pure: no file is touched here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.unread_times import TOLERANCE

_MARGIN = 2.0
"""Seconds, at most, by which a cut is made longer than what is said in it, for the sound around."""


def is_cut(record: Mapping[str, Any]) -> bool:
    """Whether a record is a cut of lhotse."""
    kind = record.get("type")
    return ("recording" in record and "supervisions" in record) or (
        isinstance(kind, str) and kind.endswith("Cut")
    )


def flatten_cut(cut: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a MonoCut to NeMo's keys. Other cuts mix or pad when they are loaded, which only
    lhotse can do.

    Raises UnusableError for a cut whose audio would have to be computed or a command run for it.
    """
    if cut.get("type", "MonoCut") != "MonoCut" or not isinstance(cut.get("recording"), dict):
        raise UnusableError(
            f"a lhotse {show(cut.get('type'))} cannot be read; save the cuts as audio (save_audios)"
        )
    _refuse_transforms(cut["recording"])
    supervisions = cut.get("supervisions")
    if (
        not isinstance(supervisions, list)
        or len(supervisions) != 1
        or not isinstance(supervisions[0], dict)
    ):
        count = len(supervisions) if isinstance(supervisions, list) else 0
        raise UnusableError(
            f"a cut needs exactly one supervision, has {count}; use trim_to_supervisions"
        )
    supervision = supervisions[0]
    _refuse_another_part(cut, supervision)
    flat = {
        key: value
        for key, value in cut.items()
        if key not in ("recording", "supervisions", "type", "start")
    }
    flat |= {"audio_filepath": _cut_source(cut["recording"]), "offset": cut.get("start", 0)}
    flat |= {key: supervision.get(key) for key in ("text", "speaker", "language")}
    return flat


def _refuse_another_part(cut: Mapping[str, Any], supervision: Mapping[str, Any]) -> None:
    """Raise UnusableError where the cut holds only a part of what is said, as a window may, or much
    beside it, as a whole recording does.
    """
    start, seconds, whole = (
        supervision.get("start"),
        supervision.get("duration"),
        cut.get("duration"),
    )
    times = (start, seconds, whole)
    if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times):
        return
    before = float(start or 0)
    behind = float(whole or 0) - before - float(seconds or 0)
    if min(before, behind) < -TOLERANCE or before + behind > _MARGIN:
        until = before + float(seconds or 0)
        raise UnusableError(
            f"the supervision lies from {before:g} to {until:g} s of its cut, which lasts {whole:g} s: another part of "
            "the recording would stand for its text; use trim_to_supervisions"
        )


def _refuse_transforms(recording: Mapping[str, Any]) -> None:
    """Raise UnusableError where lhotse would transform the sound as it loads it. Resampling alone
    is allowed: all sound is resampled here anyway.
    """
    transforms = recording.get("transforms") or []
    others = [transforms]
    if isinstance(transforms, list):
        names = [item.get("name", "") if isinstance(item, dict) else item for item in transforms]
        others = [name for name in names if name != "Resample"]
    if others:
        raise UnusableError(
            f"the recording has transforms ({show(others[0])}), which are not applied here; save the cuts as audio "
            "(save_audios) and name that"
        )


def _cut_source(recording: Mapping[str, Any]) -> object:
    """Return the path of the recording's only source. Raises UnusableError where it is no file, or
    has several channels.
    """
    sources = recording.get("sources")
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        raise UnusableError("a recording needs exactly one source, an audio file")
    source = sources[0]
    if source.get("type") != "file" or not isinstance(source.get("source"), str):
        raise UnusableError(
            f"the source is of type {show(source.get('type'))}; only files are read, nothing is run"
        )
    channels = source.get("channels")
    if isinstance(channels, list) and len(channels) > 1:
        raise UnusableError(
            f"the recording has {len(channels)} channels and the cut means one; save it as mono audio"
        )
    return source["source"]
