"""Make the embedded corpus: six sets of synthetic speech with their manifests, or the base model's
training set.

    python data/make_corpus.py OUT               # audio/<set>/*.opus and the six manifests, about three minutes
    python data/make_corpus.py OUT --base 14000  # base.npz, what the base model was trained on, about half an hour

Needs espeak-ng and flite on the PATH. Everything is drawn from seeded generators and the engines
are deterministic: the same versions of espeak-ng, flite, torchaudio and libsndfile give the same
bytes. A speaker is a voice with an accent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from sentences import air_traffic, general, mostly_general
from speech import RATE, Utterance, encode_opus, render, single_threaded

Sentence = Callable[[random.Random], str]

BASE_SIZE, BASE_SEED = 14_000, 4
NEW_ACCENT = "en-gb-x-gbclan"  # the base model never met it
ACCENTS = ("en-us", "en-gb-x-rp", "en-us-nyc", "en-gb-scotland")
KNOWN_VARIANTS = ("m1", "m3", "m4", "m7", "f1", "f2", "f4", "f5")
# espeak-ng ignores the variant after plain `en-gb`: eight names, one voice. The base model met it
# under all eight.
BASE_VOICES = [f"{a}+{v}" for a in ("en-us", "en-gb", *ACCENTS[1:]) for v in KNOWN_VARIANTS]
BASE_FLITE = ("kal16", "rms", "slt")
# signal to noise of the radio channel, dB, drawn evenly
CLEARER, NOISIER = (
    (16.5, 28.5),
    (15.0, 27.0),
)
PEAK = (
    0.6  # of full scale: Opus overshoots by up to a half, and whoever decodes to int16 would clip
)


@dataclass(frozen=True)
class SetPlan:
    """The plan of one set: `sentence` draws its texts, `channel` is the range of the
    signal-to-noise ratio in dB, and every speaker gets an equal share of its `size` utterances.
    """

    name: str
    manifest: str
    size: int
    seed: int
    sentence: Sentence
    channel: tuple[float, float]
    speakers: tuple[str, ...]


def crossed(variants: Iterable[str], accents: Iterable[str] = ACCENTS) -> tuple[str, ...]:
    """Return every variant in every accent, as espeak-ng names voices: `accent+variant`."""
    return tuple(f"{accent}+{variant}" for variant, accent in itertools.product(variants, accents))


def known_speakers(half: int) -> tuple[str, ...]:
    """Return one half (0 or 1) of the speakers for held-out speech. The halves are the two colours
    of a chequerboard over variants and accents, so each has every variant and every accent; either
    also has two of the four voices that are not made of an accent and a variant.
    """
    cells = itertools.product(enumerate(KNOWN_VARIANTS), enumerate((*ACCENTS, NEW_ACCENT)))
    espeak = [f"{accent}+{variant}" for (i, variant), (j, accent) in cells if (i + j) % 2 == half]
    return (*espeak, *(("en-gb", "slt") if half else ("kal16", "rms")))


DOMAIN_VARIANTS = ("croak", "grandpa", "m5", "m6", "f3")
DOMAIN_CONFIRM_VARIANTS = ("max", "john", "sandro", "Alex", "rob")
TRAIN_VARIANTS = ("m2", "m8", "pablo", "Mario", "pedro", "Denis", "Hugo", "paul", "quincy", "klatt")
# near copies of the variants m3 and f4, which the base model met: these voices are all but known
REPLAY_SPEAKERS = crossed(("Mike", "aunty"), (*ACCENTS, NEW_ACCENT))

SETS = (
    SetPlan(
        "domain", "domain_manifest.jsonl", 500, 82, air_traffic, CLEARER, crossed(DOMAIN_VARIANTS)
    ),
    SetPlan(
        "domain_confirm",
        "domain_confirm.jsonl",
        500,
        83,
        air_traffic,
        CLEARER,
        crossed(DOMAIN_CONFIRM_VARIANTS),
    ),
    SetPlan("heldout", "heldout_manifest.jsonl", 500, 55, general, NOISIER, known_speakers(0)),
    SetPlan(
        "heldout_confirm", "heldout_confirm.jsonl", 500, 56, general, NOISIER, known_speakers(1)
    ),
    SetPlan(
        "train",
        "train_manifest_expanded.jsonl",
        720,
        81,
        air_traffic,
        CLEARER,
        crossed(TRAIN_VARIANTS),
    ),
    SetPlan("replay", "replay_manifest.jsonl", 720, 54, general, NOISIER, REPLAY_SPEAKERS),
)


def base_utterances(size: int = BASE_SIZE) -> list[Utterance]:
    """Draw the base model's training set, without its sound: 85 % general sentences, 15 % air
    traffic, one utterance in ten over a radio.
    """
    rng = random.Random(BASE_SEED)
    return [_base_utterance(rng) for _ in range(size)]


def _base_utterance(rng: random.Random) -> Utterance:
    text, speaker = mostly_general(rng), rng.choice(BASE_VOICES + list(BASE_FLITE) * 6)
    speed, pitch, seed = rng.randint(130, 190), rng.randint(35, 65), rng.randrange(1 << 30)
    channel = random.Random(seed)
    snr_db = None if channel.random() < 0.9 else channel.uniform(18, 30)
    return Utterance(text, speaker, speed, pitch, seed, snr_db)


def plan_sets() -> dict[str, list[Utterance]]:
    """Draw the utterances of every set, without their sound. No sentence occurs twice, neither in
    one set nor in two, nor in the base model's training set.
    """
    taken = {utterance.text for utterance in base_utterances()}
    return {plan.name: plan_set(plan, taken) for plan in SETS}


def plan_set(plan: SetPlan, taken: set[str]) -> list[Utterance]:
    """Draw the utterances of a set, without their sound. No sentence is one of `taken`, to which
    all are added.
    """
    rng = random.Random(plan.seed)
    turns = itertools.islice(_turns(plan.speakers, rng), plan.size)
    return [
        _set_utterance(_fresh_sentence(plan.sentence, rng, taken), speaker, plan.channel, rng)
        for speaker in turns
    ]


def _turns(speakers: tuple[str, ...], rng: random.Random) -> Iterator[str]:
    """Yield all speakers round after round, each round in a new order, so that any stretch of the
    set has all of them about equally often.
    """
    while True:
        yield from rng.sample(speakers, len(speakers))


def _fresh_sentence(sentence: Sentence, rng: random.Random, taken: set[str]) -> str:
    while (text := sentence(rng)) in taken:
        pass
    taken.add(text)
    return text


def _set_utterance(
    text: str, speaker: str, channel: tuple[float, float], rng: random.Random
) -> Utterance:
    speed, pitch, seed = rng.randint(130, 190), rng.randint(35, 65), rng.randrange(1 << 30)
    return Utterance(text, speaker, speed, pitch, seed, rng.uniform(*channel))


def write_set(out: Path, plan: SetPlan, utterances: list[Utterance]) -> float:
    """Write `audio/<set>/*.opus` and the manifest; return the set's length in hours."""
    folder = out / "audio" / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{plan.name}-{number:04d}" for number in range(len(utterances))]

    def write_clip(name: str, utterance: Utterance) -> float:
        samples = render(utterance, PEAK)
        (folder / f"{name}.opus").write_bytes(encode_opus(samples, zlib.crc32(name.encode())))
        return len(samples) / RATE

    with ThreadPoolExecutor(4) as pool:
        durations = list(pool.map(write_clip, names, utterances))
    rows = map(partial(_manifest_row, plan.name), names, durations, utterances)
    (out / plan.manifest).write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    return sum(durations) / 3600


def _manifest_row(
    folder: str, name: str, duration: float, utterance: Utterance
) -> dict[str, str | float]:
    path = f"audio/{folder}/{name}.opus"
    said = {"text": utterance.text, "speaker": utterance.speaker}
    return {"id": name, "audio_filepath": path, "duration": duration, **said}


def write_base(out: Path, size: int) -> float:
    """Speak the base model's training set and write `base.npz` (audio: int16, all utterances end to
    end; lengths in samples; text; speaker); return its length in hours.
    """
    utterances = base_utterances(size)
    audio = list(_spoken(utterances))
    np.savez(
        out / "base.npz",
        audio=np.concatenate(audio),
        lengths=[len(samples) for samples in audio],
        text=[utterance.text for utterance in utterances],
        speaker=[utterance.speaker for utterance in utterances],
    )
    return sum(map(len, audio)) / RATE / 3600


def _spoken(utterances: list[Utterance]) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(render, utterances)


def check_voices_differ(plans: Iterable[SetPlan]) -> None:
    """Raise ValueError where two speakers of the sets are one voice, equal in every sample: where
    espeak-ng does not know a variant, it ignores its name.
    """
    speakers = sorted({speaker for plan in plans for speaker in plan.speakers})
    sample = Utterance("speedbird one two", "", 160, 50, 0, None)
    voices: dict[bytes, str] = {}
    for speaker, samples in zip(
        speakers, _spoken([replace(sample, speaker=s) for s in speakers]), strict=True
    ):
        other = voices.setdefault(samples.tobytes(), speaker)
        if other != speaker:
            raise ValueError(
                f"{speaker} and {other} are one voice: the installed espeak-ng ignores one of the variants"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--base",
        type=int,
        metavar="N",
        help="write the base model's training set of N utterances instead",
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    single_threaded()
    if arguments.base is not None:
        print(
            f"base: {arguments.base} utterances, {write_base(arguments.out, arguments.base):.2f} h"
        )
        return
    check_voices_differ(SETS)
    planned = plan_sets()
    for plan in SETS:
        hours = write_set(arguments.out, plan, planned[plan.name])
        print(
            f"{plan.name}: {plan.size} utterances, {len(plan.speakers)} speakers, {hours:.2f} h",
            flush=True,
        )


if __name__ == "__main__":
    main()
