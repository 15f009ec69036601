"""A run reads its data and its model once and keeps them; outside of a run they are read anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.corpus.cache.reading_once import once, reading_once
from orchestrator.records.readiness.reading_sets import decode_sets, read_sets
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.prepared_sweep import prepare
from orchestrator.verdicts.confirming import confirmation_spec
from tests.cli_project import make_project
from tests.embedded import small_sweep
from tests.tuning_models import small_model_folder


def test_what_was_made_under_a_key_is_kept_within_a_run_alone() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    assert [once("a", make), once("a", make)] == [0, 1], "no run: anew each time"
    with reading_once():
        assert [once("a", make), once("a", make), once("b", make)] == [2, 2, 3]
        with reading_once():
            assert once("a", make) == 4, "a run within a run is another one"
        assert once("a", make) == 2
    assert once("a", make) == 5


def test_what_was_refused_is_asked_for_again() -> None:
    def refuse() -> int:
        raise ValueError

    with reading_once():
        for _ in range(2):
            with pytest.raises(ValueError):
                once("a", refuse)
        assert once("a", lambda: 1) == 1


def test_a_run_reads_a_manifest_and_finds_its_clips_once(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path))
    cache = tmp_path / "cache"
    with reading_once():
        ready = decode_sets(spec, cache)
        sets = read_sets(spec, cache)
        assert all(sets[name] is ready[name][0] for name in sets)
        # the clips of the confirm sets are those that were checked, under the names of the search
        confirm = decode_sets(confirmation_spec(spec), cache)
        assert confirm["domain"][1] is ready["confirm_domain"][1]
        assert confirm["domain"][1] is not ready["domain"][1]
    assert read_sets(spec, cache)["train"] is not sets["train"]


def test_manifests_read_with_other_options_are_other_manifests(tmp_path: Path) -> None:
    path = make_project(tmp_path)
    cache = tmp_path / "cache"
    with reading_once():
        whole = read_sets(load_spec(path), cache)
        short = read_sets(load_spec(path, ["evaluation.max_seconds=0.1"]), cache)
        allowed = read_sets(load_spec(path, ["data.max_bad_fraction=0.5"]), cache)
    assert len(whole["domain"].utterances) == 3 and not short["domain"].utterances
    assert allowed["train"] is not whole["train"] and allowed["domain"] is whole["domain"]


@pytest.mark.usefixtures("without_model_checks")
def test_the_confirmation_takes_model_and_training_frames_of_the_search(tmp_path: Path) -> None:
    sizes = {"train": 6, "replay": 4, "domain": 3, "heldout": 2}
    spec = small_sweep(tmp_path, sizes, model={"id": str(small_model_folder(tmp_path / "model"))})
    cache = tmp_path / "cache"
    with reading_once():
        first = prepare(spec, cache)
        frames = first.store.keep("train", 0)
        second = prepare(spec, cache)
        assert second.base is first.base and second.data is first.data
        assert second.store.keep("train", 0) is frames
        assert second.store.keep("domain", 0) is not first.store.keep("domain", 0)
        quieter = prepare(
            spec.model_copy(
                update={"evaluation": spec.evaluation.model_copy(update={"rms": 0.05})}
            ),
            cache,
        )
        assert quieter.base is first.base and quieter.data is not first.data
    assert prepare(spec, cache).base is not first.base
