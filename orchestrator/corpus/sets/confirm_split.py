"""Dividing an evaluation manifest into a part for the search and a part for the confirmation. No
torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.recordings.known_files import KnownFiles
from orchestrator.corpus.sets.disjoint_parts import divide
from orchestrator.errors import ManifestError


def load_evaluation_manifest(
    path: Path,
    split: float | None = None,
    seed: int = 0,
    part: Literal["search", "confirm"] = "search",
    *,
    known: KnownFiles | None = None,
) -> Manifest:
    """Load an evaluation manifest, or where `split` is given the part of it that the search or the
    confirmation reads.

    The confirm part has about `split` of the utterances. The two parts have no speaker in common,
    and depend on the file's content, `split` and `seed` alone. Utterances keep the order of the
    file, `sha256` stays that of the file. Raises ManifestError as `load_manifest` does, and where
    lines name no speaker or all name the same.
    """
    whole = load_manifest(path, known=known)
    if split is None:
        return whole
    try:
        parts = divide(whole, "speaker", (split,), seed)
    except ManifestError as error:
        raise ManifestError(
            f"data.confirm.split cannot divide a set: {error}\n"
            "  Or name two manifests that the search does not read: data.confirm: {domain: ..., heldout: ...}."
        ) from error
    mine = sorted(
        parts[0] if part == "confirm" else parts[1], key=lambda utterance: utterance.place
    )
    speakers = len({utterance.speaker for utterance in mine})
    everybody = len({utterance.speaker for utterance in whole.utterances})
    text = f"{part} part of a split by speaker ({split:g}, seed {seed}): {speakers} of {everybody} speakers"
    return replace(whole, utterances=tuple(mine), part=text)
