"""Where the time goes in packed training steps and in one packed evaluation.

    python benchmarks/profile_step.py [--k 4] [--targets decoder-attention]

Two tables for each, from one torch.profiler run: time by the part of the program that asked for it,
and self time by kind of operation. On a CPU everything runs on one thread here; otherwise every
core runs its share of it. On a GPU the second table is the device's own time. The profiler itself
slows short operations, so read shares, not seconds.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _shared import workload
from _shared.tables import markdown

PARTS = (
    ("orchestrator.tuning.training.step", "micro_batches", "choosing and padding rows"),
    ("orchestrator.tuning.model.encoder_cache", "EncoderCache.compute", "frozen frames"),
    ("orchestrator.tuning.model.base_model", "BaseModel.encode", "encoder, forward"),
    ("orchestrator.tuning.model.decoder", "Decoder.cross_keys", "cross-attention keys, forward"),
    ("orchestrator.tuning.model.decoder", "Decoder.__call__", "decoder, forward"),
    ("orchestrator.tuning.adapters.pack", "StepPack.gradients", "backward"),
    ("orchestrator.tuning.training.optimizer", "PackedAdamW.step", "optimizer"),
    ("orchestrator.tuning.decoding.greedy_decoding", "stack_merged", "merging adapters"),
    ("orchestrator.tuning.decoding.drafts", "Draft.propose", "proposing drafts"),
    ("orchestrator.tuning.decoding.decoding_rows", "accept_tokens", "accepting tokens"),
    (
        "orchestrator.tuning.decoding.evaluation_set",
        "EvaluationSet.score",
        "normalising and counting words",
    ),
)
"""Module, function, its name in the table. None of them runs inside another, so their times add up.
"""

KINDS = {
    "matrix products": "mm gemm cutlass cublas linear matmul",
    "attention": "attention flash fmha",
    "convolution": "conv mkldnn im2col",
    "normalisation": "norm",
    "softmax and cross-entropy": "softmax nll cross_entropy argmax",
    "element-wise": "mul add sub div gelu silu neg where clamp sqrt pow lerp foreach elementwise sum mean reduce "
    "square sinh bitwise",
    "indexing, copies, padding": "index copy cat stack scatter gather pad fill zero clone contiguous memcpy memset "
    "embedding select slice item _to expand",
}
"""Kind -> words of which the name of an operation or kernel contains one; the first kind that fits
is taken.
"""


def options() -> argparse.Namespace:
    parser = workload.pack_parser(__doc__)
    parser.add_argument(
        "--steps",
        type=int,
        default=10,
        help="optimizer steps profiled, after as many unprofiled ones",
    )
    parser.add_argument(
        "--utterances", type=int, default=100, help="of each of the two evaluation sets"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--config", choices=("shipped", *workload.REAL_SIZES), default="shipped")
    return parser.parse_args()


@contextmanager
def marked() -> Iterator[None]:
    """While the context lasts, record every function of `PARTS` as a named range of the profile."""
    from importlib import import_module

    undo = []
    for module, path, label in PARTS:
        owner = functools.reduce(getattr, path.split(".")[:-1], import_module(module))
        name = path.split(".")[-1]
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, _ranged(getattr(owner, name), f"part: {label}"))
    try:
        yield
    finally:
        for owner, name, function in undo:
            setattr(owner, name, function)


def _ranged(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    import torch

    @functools.wraps(function)
    def ranged(*arguments: Any, **named: Any) -> Any:
        with torch.profiler.record_function(label):
            return function(*arguments, **named)

    return ranged


def profile(title: str, action: Callable[[], Any], device: str = "cpu") -> str:
    """Profile `action`; return two Markdown tables of where it spends its time, by part and by kind
    of operation.
    """
    import torch
    from torch.profiler import ProfilerActivity

    cuda = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with (
        marked(),
        torch.profiler.profile(activities=activities) as profiler,
        torch.profiler.record_function("part: total"),
    ):
        action()
        if cuda:
            torch.cuda.synchronize()
    events = profiler.key_averages()
    parts = {
        event.key: event.cpu_time_total / 1e6 for event in events if event.key.startswith("part: ")
    }
    total = parts.pop("part: total")
    kinds: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for event in events:
        if not event.key.startswith("part: "):
            seconds, calls = kinds[kind(event.key)]
            own = event.self_device_time_total if cuda else event.self_cpu_time_total
            kinds[kind(event.key)] = seconds + own / 1e6, calls + event.count
    rest = total - sum(parts.values())
    by_part = sorted(
        [(key.removeprefix("part: "), value) for key, value in parts.items()],
        key=lambda row: -row[1],
    )
    return "\n".join(
        [
            f"{title}: {total:.2f} s under the profiler\n",
            markdown(
                ["part", "s", "share"],
                [_row(*row, total) for row in [*by_part, ("the rest", rest)]],
            ),
            markdown(
                [
                    f"kind of operation{', on the device' if cuda else ''}",
                    "s",
                    "share of these",
                    "calls",
                ],
                [
                    [*_row(key, seconds, sum(s for s, _ in kinds.values())), str(calls)]
                    for key, (seconds, calls) in sorted(kinds.items(), key=lambda item: -item[1][0])
                ],
            ),
        ]
    )


def _row(name: str, seconds: float, total: float) -> list[str]:
    return [name, f"{seconds:.3f}", f"{100 * seconds / total:.1f} %"]


def kind(name: str) -> str:
    """Return the kind (of `KINDS`, or "other") of an operation or kernel of this name."""
    lower = name.lower()
    return next(
        (key for key, words in KINDS.items() if any(word in lower for word in words.split())),
        "other",
    )


def main() -> None:
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder, rate = Path(name).resolve(), 13.0
        data, model = chosen.data.resolve(), chosen.model.resolve()
        steps = 2 * chosen.steps
        if chosen.config != "shipped":
            train = steps * workload.BATCH // 2
            data, model = workload.real_size(folder, chosen.config, train, chosen.utterances)
            rate = 6.5
        work = workload.build(folder, data, model, 3 * chosen.k, steps, 1, chosen.utterances, rate)
        run(work, chosen)


def run(work: workload.Workload, chosen: argparse.Namespace) -> None:
    """Fill a pack, warm it up, then profile its steps and its evaluation."""
    from _shared.packs import filled

    # one core: ranges that run on other threads are not recorded in the profile
    worker, groups = filled(work, chosen.k, chosen.targets, chosen.device, cores=1)

    def train() -> None:
        for _ in range(chosen.steps):
            for group in groups:
                group.step(worker.base, worker.store, worker.data)

    def evaluate() -> None:
        for group in groups:
            worker.evaluator.measure([(slot.adapter, 1.0) for slot in group.slots])

    train()
    print(
        f"K = {len(worker.active)}, {chosen.targets} targets, {work.model.name}, {chosen.device}\n"
    )
    print(profile(f"{chosen.steps} optimizer steps", train, chosen.device))
    for group in groups:
        group.unpack()
    sets = sum(len(work.rows(name)) for name in ("domain", "heldout"))
    title = f"one evaluation of {len(worker.active)} adapters on {sets} utterances"
    print(profile(title, evaluate, chosen.device))


if __name__ == "__main__":
    main()
