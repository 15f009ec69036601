"""A fake of the modules behind `orchestrate verify`, which export graphs and transcribe with them;
it gives fixed error counts and needs neither torch nor onnx.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from orchestrator.records.results import SetMeasurement
from orchestrator.records.shipping import Shipped, ShippedSet

UTTERANCES = 40
_ROOM = "orchestrator.tuning.deploying"


@contextmanager
def heard() -> Iterator[None]:
    """While the context lasts, let `orchestrate verify` hear a fake exported form. What it reads
    from the study and writes into it is real.
    """
    writing, verification = ModuleType("writing"), ModuleType("verification")
    vars(writing).update(Source=SimpleNamespace)
    vars(verification).update(Verification=SimpleNamespace, verify=_hear)
    rooms = {f"{_ROOM}.writing": writing, f"{_ROOM}.verification": verification}
    # not mock.patch.dict, which would also remove other modules that are imported meanwhile
    before = {name: sys.modules.get(name) for name in rooms}
    sys.modules.update(rooms)
    try:
        with mock.patch("orchestrator.running.verifying.check_installed", lambda form, why: None):
            yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _hear(job: Any, say: Callable[[str], None]) -> Shipped:
    say(f"exporting the {job.form} form")
    each = ShippedSet(
        baseline_measured=_counts(20),
        tuned_measured=_counts(10),
        baseline_shipped=_counts(20),
        tuned_shipped=_counts(11),
    )
    return Shipped(
        form=job.form,
        quantized=job.quantized,
        trial=job.source.trial,
        step=job.source.step,
        adapter_scale=job.source.adapter_scale,
        differences=(),
        sets=dict.fromkeys(job.sets, each),
        other_words=(),
        # a number that differs where what the study has on file differs
        unlike_record=zlib.crc32(repr(sorted(job.recorded.items())).encode()) % 1000,
        encoder_apart=0.0,
        logits_apart=0.0,
        real_time_factor=0.01,
        size_bytes=1,
        versions={"onnxruntime": "1"},
    )


def _counts(errors: int) -> SetMeasurement:
    """Return counts in which the first `errors` utterances have one error each."""
    none = (0,) * UTTERANCES
    return SetMeasurement(
        manifest_sha256="0",
        utterance_ids=tuple(map(str, range(UTTERANCES))),
        speakers=("",) * UTTERANCES,
        substitutions=tuple(int(row < errors) for row in range(UTTERANCES)),
        deletions=none,
        insertions=none,
        reference_words=(10,) * UTTERANCES,
    )
