"""Make synthetic speech that no training and no sweep has seen: the corpus' own recipe with new
sentences, new noise and, in the domain, new voices. Needs espeak-ng and flite.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from . import ROOT

VARIANTS = (
    "adam",
    "benjamin",
    "david",
    "ed",
    "Gene",
    "Lee",
    "Michael",
    "robert",
    "shelby",
    "victor",
)
"""espeak-ng's voices that no set of the corpus has, and the base model has not heard."""
ENGINES = ("espeak-ng", "flite")


def fresh_sets(folder: Path, sizes: dict[str, int], seed: int) -> dict[str, Path]:
    """Make the sets `domain` and `heldout` in `folder` and return their manifests; sets that are
    there already are taken as they are.

    No sentence is in a set of the corpus, in the base model's training set as it is drawn today, or
    twice. Speakers of the domain are 40: the ten `VARIANTS` in four accents. Speakers of the
    held-out set are the 44 of `heldout` and `heldout_confirm`. Raises SystemExit where the set has
    to be made and a speech engine is missing.
    """
    manifests = {name: folder / f"{name}.jsonl" for name in sizes}
    if all(path.is_file() for path in manifests.values()):
        return manifests
    if missing := [engine for engine in ENGINES if shutil.which(engine) is None]:
        raise SystemExit(
            f"{' and '.join(missing)} not found: the fresh set has to be spoken\n  apt-get install -y espeak-ng flite"
        )
    sys.path.append(str(ROOT / "data"))  # its scripts import each other as neighbours
    import make_corpus
    import sentences
    import speech

    speech.single_threaded()
    recipes = {
        "domain": (sentences.air_traffic, make_corpus.CLEARER, make_corpus.crossed(VARIANTS)),
        "heldout": (
            sentences.general,
            make_corpus.NOISIER,
            make_corpus.known_speakers(0) + make_corpus.known_speakers(1),
        ),
    }
    plans = [
        make_corpus.SetPlan(name, path.name, sizes[name], seed + number, *recipes[name])
        for number, (name, path) in enumerate(manifests.items())
    ]
    make_corpus.check_voices_differ([*make_corpus.SETS, *plans])
    taken = {utterance.text for utterance in make_corpus.base_utterances()}
    taken |= {utterance.text for own in make_corpus.plan_sets().values() for utterance in own}
    folder.mkdir(parents=True, exist_ok=True)
    for plan in plans:
        make_corpus.write_set(folder, plan, make_corpus.plan_set(plan, taken))
    return manifests
