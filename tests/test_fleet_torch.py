"""The real worker in two packs: adapters to the bit, inline or in processes, one of which is
killed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from orchestrator.fleet import placement
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import Hosts, InlineHosts, Template
from orchestrator.fleet.processes import ForkHosts
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Measured
from orchestrator.sweepfile.evaluation import Precision, Precisions
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.worker import PackWorker, start_worker
from tests.embedded import small_sweep, trial
from tests.tuning_models import DECODER

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="packs are forked on Linux alone"),
    pytest.mark.usefixtures("without_model_checks"),
]
SIZES = {"train": 8, "replay": 4, "domain": 1, "heldout": 1}

SHORT: dict[str, Any] = {"max_steps": 4, "batch_size": 2}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PackWorker:
    folder = tmp_path_factory.mktemp("sweep")
    spec = small_sweep(
        folder,
        SIZES,
        evaluation={"every": 2, "max_tokens_per_second": 13},
        execution={"pack": 2, "packs": 2, "cores": 1},
    )
    return start_worker(spec, folder / "cache")


def plans(spec: SweepSpec) -> list[TrialPlan]:
    """Of both depths, so that packs hold groups of both."""
    return [
        trial(spec, 0, **SHORT, replay_ratio=0.5),
        trial(spec, 1, **SHORT, target_patterns=DECODER, adapter="dora"),
        trial(spec, 2, **SHORT, target_patterns=DECODER, seed=7, lora_dropout=0.1),
        trial(spec, 3, **SHORT, seed=9),
        trial(spec, 4, **SHORT | {"max_steps": 6}, target_patterns=DECODER, seed=11),
    ]


def trained(
    template: PackWorker,
    hosts: Hosts,
    folder: Path,
    kill: Callable[[], None] = lambda: None,
    logs: Path | None = None,
) -> dict[str, str]:
    """Every adapter that was exported, by trial and step, and every measurement; `kill` is called
    in the middle of it.
    """
    fleet = Fleet(hosts, 2, 2, logs, save_every=0.0)
    waiting, came = plans(template.prepared.spec), {}
    saves = itertools.count()
    while waiting or fleet.active:
        while waiting and len(fleet.active) < 4:
            fleet.admit(waiting.pop(0))
        for event in fleet.advance():
            if not isinstance(event, Measured):
                continue
            where = folder / f"{event.number}-{event.step}"
            fleet.export(event.number, 1.0, where)
            came[where.name] = hashlib.sha256(
                (where / "adapter_model.safetensors").read_bytes()
            ).hexdigest()
            came[f"{where.name} measured"] = repr(event.measurements)
            if event.final:
                fleet.release(event.number)
            if len(came) == 4:
                kill()
        if fleet.active:
            fleet.save(folder / f"save-{next(saves)}")
    fleet.close()
    return came


def test_two_packs_in_processes_one_of_which_is_killed_train_what_they_train_inline(
    template: PackWorker, tmp_path: Path
) -> None:
    inline = trained(template, InlineHosts(template), tmp_path / "inline")
    assert len(inline) == 2 * 11
    killed = trained(
        template,
        ForkHosts(template, tmp_path, cores=2),
        tmp_path / "killed",
        kill=lambda: psutil.Process().children()[-1].kill(),
    )
    assert killed == inline


def test_packs_of_one_machine_of_a_cluster_divide_the_memory_for_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though Ray tells each pack of its own cores alone."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("orchestrator.host.machine.processor_share", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    packs = {"pack": 2, "packs": 8, "cores": 1, "device": "cpu", "launcher": "ray"}
    spec = small_sweep(tmp_path, SIZES, execution={**packs, "memory_gb": 1.0})
    assert start_worker(spec, tmp_path / "cache").store.budget_bytes == 250_000_000


def test_what_packs_are_forked_from_may_compute_on_more_cores_than_they_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"train": 24, "replay": 8, "domain": 12, "heldout": 5}
    spec = small_sweep(
        tmp_path,
        sizes,
        evaluation={"every": 2, "max_tokens_per_second": 13},
        execution={"pack": 2, "packs": 2, "cores": 1},
    )
    # small batches, so that there are several of each set
    monkeypatch.setattr("orchestrator.tuning.model.encoder_cache.BATCH_SECONDS", 6.0)
    monkeypatch.setattr(
        "orchestrator.tuning.decoding.greedy_decoding._frames_a_batch", lambda _: 300
    )
    came, heard = {}, {}
    for cores in (1, 3):
        monkeypatch.setattr(
            "orchestrator.tuning.prepared_sweep.machine_cores", lambda cores=cores: cores
        )
        template = start_worker(spec, tmp_path / "cache")
        assert (template.base.cores.count, template.base.cores.at_once) == (1, min(2, cores))
        heard[cores] = template.measure_baseline()
        hosts = ForkHosts(template, tmp_path / "logs", cores)
        came[cores] = trained(template, hosts, tmp_path / f"of-{cores}")
    assert came[1] == came[3]
    assert heard[1] == heard[3]


@pytest.mark.parametrize(("precision", "cores"), [("fp32", 3), ("bf16", 1)])
def test_a_pack_hears_with_lent_cores_where_words_do_not_depend_on_them(
    precision: Precision, cores: int, template: PackWorker
) -> None:
    spec = template.prepared.spec
    evaluation = spec.evaluation.model_copy(
        update={"precision": Precisions(search=precision, verdict=precision)}
    )
    spec = spec.model_copy(update={"evaluation": evaluation})
    other = PackWorker(replace(template.prepared, spec=spec), template.capacity)
    before = torch.get_num_threads()
    try:
        assert other.sibling(lambda: 3).base.cores.at_once == cores
        assert other.sibling().base.cores.at_once == 1
    finally:
        use_cores(before)


def test_packs_share_the_cores_that_all_of_them_have(
    template: PackWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "machine_cores", lambda: 8)
    shares: list[int] = []

    def noted(template: Template, logs: Path, cores: int) -> ForkHosts:
        shares.append(cores)
        return ForkHosts(template, logs, cores)

    monkeypatch.setattr(placement, "ForkHosts", noted)
    folder, spec = StudyFolder(tmp_path, "small"), template.prepared.spec
    placement.fleet_of(template, spec, folder, lambda *_: template, 4, print, lambda: None).close()
    assert shares == [2]  # two packs of one core each
