"""`orchestrate diagnose`: what is known of data, model and training before a sweep is believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.opening_study import names_study, open_sweep
from orchestrator.commands.study_arguments import Studies
from orchestrator.errors import SpecError

_SWEEPS = (".yaml", ".yml")
_HEARD = 100
"""Default number of utterances of each set that --train decodes."""


_Spec = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC|MANIFEST",
        help="A sweep file, the name of a study, or a manifest.",
        show_default=False,
    ),
]
_Rest = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE|MANIFEST]...",
        help="Values that replace those of the sweep file, such as budget.trials=4; or more "
        "manifests.",
        show_default=False,
    ),
]
_Train = Annotated[
    bool,
    typer.Option(
        "--train",
        help="For a sweep: load and check the model, train 50 steps, and show what they change.",
    ),
]
_Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        min=1,
        metavar="N",
        help="Number of utterances of each set to transcribe. Default: 100 with --train, all "
        "with --model.",
    ),
]
_Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="For manifests: measure the WER of this model, a folder or a hub id, on each.",
    ),
]
_MaxSeconds = Annotated[
    float,
    typer.Option(
        "--max-seconds",
        min=0.1,
        help="For manifests: the longest utterance that is kept, in seconds.",
    ),
]
_Validation = Annotated[
    float,
    typer.Option(
        "--validation",
        min=0.01,
        max=0.99,
        help="For manifests: share of the utterances to set apart for validation.",
    ),
]
_Normalizer = Annotated[
    str,
    typer.Option(
        "--normalizer",
        help="For manifests: what counts as a word. whisper-en (English), basic (any language) "
        "or none (what stands between spaces).",
    ),
]


def diagnose(
    context: typer.Context,
    spec: _Spec,
    rest: _Rest = None,
    studies: Studies = None,
    train: _Train = False,
    sample: _Sample = None,
    model: _Model = None,
    max_seconds: _MaxSeconds = 20.0,
    validation: _Validation = 0.1,
    normalizer: _Normalizer = "whisper-en",
) -> None:
    """Show what the data hold and what speaks against them, of a sweep or of manifests alone.

    For a sweep: lengths, speakers and overlap between the sets, and if there is
    a study the room for the gain that is asked for.
    For manifests: lengths, and how they divide into training and validation.
    """
    from orchestrator.sweepfile.layers import holds_sweep

    is_sweep = spec.suffix.lower() in _SWEEPS or names_study(spec, studies) or holds_sweep(spec)
    if studies is not None and not is_sweep and not spec.exists():
        is_sweep = True  # a study that is not there, as opening it says
    _refuse_mixed_options(context, spec, is_sweep)
    if is_sweep:
        _diagnose_sweep(spec, rest or [], studies, train, sample or _HEARD)
        return
    manifests = [spec, *map(Path, rest or [])]
    _diagnose_manifests(manifests, max_seconds, validation, model, normalizer, sample)


def _refuse_mixed_options(context: typer.Context, spec: Path, is_sweep: bool) -> None:
    """Raise SpecError where an option of sweeps is given with a manifest, one of manifests with a
    sweep, or one that does nothing without another.
    """
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    if "train" in given and not is_sweep:
        raise SpecError(
            f"--train needs a sweep file, and {spec} is a manifest\n  Name a .yaml file, or use --model."
        )
    if "studies" in given and not is_sweep:
        raise SpecError(
            f"--studies goes with a sweep, and {spec} is a manifest\n  Leave it out, or name a sweep."
        )
    if "model" in given and is_sweep:
        raise SpecError(
            "--model goes with manifests; a sweep file names its own\n  Use --train, or name manifests."
        )
    for name in ("max_seconds", "validation", "normalizer"):
        if name in given and is_sweep:
            option = f"--{name.replace('_', '-')}"
            raise SpecError(
                f"{option} goes with manifests, and {spec} is a sweep\n  Leave it out, or name manifests."
            )
    hears = "train" if is_sweep else "model"
    if "sample" in given and hears not in given:
        raise SpecError(
            f"--sample is the number of utterances that --{hears} transcribes\n  Leave it out, or add --{hears}."
        )


def _diagnose_sweep(
    spec: Path, overrides: list[str], studies: Path | None, train: bool, sample: int
) -> None:
    from orchestrator.records.readiness.reading_sets import decode_sets
    from orchestrator.reporting.documents import short_run, sweep_diagnosis
    from orchestrator.reporting.rendering import terminal
    from orchestrator.running.preflight import find_all, find_beyond_model
    from orchestrator.sweepfile.loading import check_inputs
    from orchestrator.verdicts.concluding import conclude

    sweep, folder = open_sweep(spec, overrides, studies)
    if folder.exists:
        folder.check_format()
    check_inputs(sweep)
    screen = terminal.console()
    known = conclude(sweep, folder) if folder.exists else None
    ready = decode_sets(sweep, folder.project_cache)
    sets = {name: manifest for name, (manifest, _) in ready.items()}
    findings = [*find_all(sweep, ready, folder), *find_beyond_model(sweep, sets)]
    terminal.show(sweep_diagnosis.build(sweep, ready, findings, known, folder), screen)
    if train:
        from orchestrator.tuning.short_run import train_shortly

        terminal.show(
            short_run.build(
                sweep, train_shortly(sweep, folder.project_cache, sample, screen.print)
            ),
            screen,
        )


def _diagnose_manifests(
    paths: Sequence[Path],
    max_seconds: float,
    validation: float,
    model: str | None,
    normalizer: str,
    sample: int | None,
) -> None:
    from orchestrator.corpus.sets.manifest_diagnosis import diagnose_manifests
    from orchestrator.reporting.documents import manifest_diagnosis
    from orchestrator.reporting.rendering import terminal

    choice_of("--normalizer", normalizer, ("whisper-en", "basic", "none"))
    found = diagnose_manifests(paths, max_seconds, validation)
    baselines = {}
    if model is not None:
        from orchestrator.tuning.decoding.audio_files import open_model, settings_of
        from orchestrator.tuning.manifest_baseline import measure_manifest_baseline
        from orchestrator.tuning.model.device import choose_device

        loaded, measured = open_model(model, choose_device("auto")[0]), settings_of(model)
        baselines = {
            each.manifest.path: measure_manifest_baseline(
                loaded, each.manifest, measured, normalizer, sample
            )
            for each in found
        }
    terminal.show(
        manifest_diagnosis.build(found, max_seconds, baselines, model or "", normalizer),
        terminal.console(),
    )
