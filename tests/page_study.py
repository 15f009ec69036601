"""A small finished study for the tests of the report's page, with real audio files, and with texts
that would do harm if a page took them for markup.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.cli import main
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.host.loopback import guarded_server
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Measured
from orchestrator.reporting.documents import report
from orchestrator.reporting.page.listen import Player
from orchestrator.reporting.rendering.report_blocks import Document
from orchestrator.running.completion import judged
from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.sweepfile.digest import derived_seed, digest
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from tests.cli_project import SETS, SWEEP
from tests.fake_worker import BASELINE_RATE, FakeWorker, rates_at

HOSTILE = (
    "</script><script>document.title='run'</script>",
    '<img src="http://elsewhere.invalid/x.png" onerror="document.title=1">',
    "=cmd|'/c calc'!A1 said so",
    "red \x1b[31m alert and \u202e turned",
)
"""The texts of the first utterances of the domain set: markup, a spreadsheet formula, and control
characters, all of which must be shown as plain text.
"""
SENTENCE = "one two three four five six seven eight nine ten"
LONG = "-" + "0123456789abcdef" * 8
"""The end of a speaker's name that is as long as those of Common Voice, in one word."""
CLIPS = 12
SWEEP_TEXT = SWEEP.replace("evaluation: {every: 100}", "evaluation: {every: 100, normalizer: none}")


class HearingWorker(FakeWorker):
    """A fake worker that reads the manifests and hears their texts, in which words are wrong at the
    error rates of the fake worker.
    """

    def __init__(self, spec: SweepSpec) -> None:
        """Read the sets that the sweep evaluates: those of the search, or of the confirmation."""
        sources = spec.data.evaluated
        self.manifests = {name: load_manifest(source.path) for name, source in sources.items()}
        super().__init__(2, sources["domain"].path.stem)

    def measure_baseline(self) -> Measured:
        """Measure the untuned model."""
        return Measured(-1, 0, (self._of(None, 0, 1.0),), (self._heard_at(BASELINE_RATE, 0),), True)

    def _measured(self, plan: TrialPlan, step: int) -> Measured:
        scales = plan.params.adapter_scales
        measurements = tuple(self._of(plan, step, scale) for scale in scales)
        seed = _seed(plan, step)
        heard = tuple(self._heard_at(rates_at(plan, step, scale), seed) for scale in scales)
        return Measured(plan.number, step, measurements, heard, step == plan.params.max_steps)

    def _of(self, plan: TrialPlan | None, step: int, scale: float) -> Measurement:
        rates = BASELINE_RATE if plan is None else rates_at(plan, step, scale)
        heard = self._heard_at(rates, 0 if plan is None else _seed(plan, step))
        return Measurement(
            trial=None if plan is None else plan.number,
            step=step,
            adapter_scale=scale,
            fingerprint=digest(self.evaluation),
            sets={name: self._counted(name, texts) for name, texts in heard.items()},
        )

    def _counted(self, name: str, heard: tuple[str, ...]) -> SetMeasurement:
        manifest = self.manifests[name]
        counts = edit_counts([" ".join(u.text.split()) for u in manifest.utterances], heard)
        return SetMeasurement(
            manifest_sha256=manifest.sha256,
            utterance_ids=tuple(utterance.id for utterance in manifest.utterances),
            speakers=tuple(utterance.speaker for utterance in manifest.utterances),
            substitutions=counts.substitutions,
            deletions=counts.deletions,
            insertions=counts.insertions,
            reference_words=counts.reference_words,
        )

    def _heard_at(self, rates: Mapping[str, float], seed: int) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(
                _misheard(utterance.text, rates[name], derived_seed(name, seed, row))
                for row, utterance in enumerate(manifest.utterances)
            )
            for name, manifest in self.manifests.items()
        }


def _seed(plan: TrialPlan, step: int) -> int:
    return derived_seed(plan.number, step)


def _misheard(text: str, rate: float, seed: int) -> str:
    """Return the text with a share of `rate` of its words mistaken, followed by an inserted one, or
    left out, each in a third of the cases.
    """
    random, heard = np.random.default_rng(seed), []
    for word in text.split():
        chance = random.random()
        if chance >= rate:
            heard.append(word)
        elif chance >= rate * 2 / 3:
            heard.append("<b>else</b>")
        elif chance >= rate / 3:
            heard += [word, "more"]
    return " ".join(heard)


def make_study(root: Path, sweep: str = SWEEP_TEXT) -> Path:
    """Write a project and run its sweep; return the sweep file."""
    for number, name in enumerate(SETS):
        _write_set(root / "data", name, number)
    spec = root / "sweeps" / "demo.yaml"
    spec.parent.mkdir()
    spec.write_text(sweep)
    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet"], lambda spec, folder: HearingWorker(spec))
    assert ended.value.code in (0, 4, 5)
    return spec


def _write_set(data: Path, name: str, number: int) -> None:
    data.mkdir(exist_ok=True)
    lines = []
    for clip in range(CLIPS):
        audio = data / f"{name}-{clip}.wav"
        random = np.random.default_rng([number, clip])
        soundfile.write(audio, random.normal(0, 0.1, 24000), 16000)
        text = HOSTILE[clip] if name.endswith("domain") and clip < len(HOSTILE) else SENTENCE
        speaker = f"<i>{name}</i>-{clip % 3}" + (LONG if clip % 3 == 2 else "")
        row = {"audio_filepath": audio.name, "text": f"{text} {number} {clip}", "speaker": speaker}
        lines.append(json.dumps(row))
    (data / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def folder_of(spec: Path) -> StudyFolder:
    """Return the folder of the study of the sweep file."""
    return StudyFolder(spec.parents[1] / "studies", "demo")


@contextmanager
def played(sweep: Path) -> Iterator[tuple[str, int]]:
    """Serve the player of a study while the context lasts; yield its host and port."""
    folder = folder_of(sweep)
    spec = stored_spec(folder, sweep.parents[1])

    def reported(conclusion: Conclusion, done: bool) -> Document:
        return report.build(spec, folder, conclusion, [str(sweep)], done)

    player = Player(spec, folder, partial(judged, spec, folder), reported)
    with guarded_server(player, 0, "player") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield str(server.server_address[0]), server.server_port
        server.shutdown()
        thread.join()
