"""Does an ACCEPT of the quickstart keep its promise? Several sweep seeds, and a large set that no
sweep has seen.

    python benchmarks/quickstart_seeds.py [--seeds 5] [--folder studies/quickstart-seeds] [KEY=VALUE]...

Runs sweeps/quickstart.yaml once with every sweep seed, by the product's command, and prints what
its own report says. The best trial of each is exported and heard, by the product's code, on fresh
synthetic speech (2,000 domain and 4,000 held-out utterances: new sentences, voices and noise),
where its true gain and regression show. A sample is heard again by docs/check_adapter.py, stock
transformers and jiwer. The same command again continues where it was.

Exit code 0 when at least four of five seeds are accepted, and no accepted one breaks a limit on the
fresh set; else 1.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _shared import ROOT
from _shared.fresh_set import fresh_sets

from orchestrator.scoring.edit_counts import edit_counts
from orchestrator.scoring.limits import LimitVerdict, judge_limit
from orchestrator.scoring.normalizers import normalizer
from orchestrator.scoring.rates import SetScore, estimate
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import acceptance_of, guardrails_of

SWEEP = ROOT / "sweeps" / "quickstart.yaml"
FRESH_SEED = 9001
ENDED = (0, 4, 5)
"""Exit codes of a sweep that has a verdict: ACCEPT, REJECT, INCONCLUSIVE."""
TOGETHER = 400
"""How many clips are transcribed, and held in memory, at once."""
CONFIDENCE = 0.95
NEEDED = 0.8
"""The share of seeds that have to be accepted."""


@dataclass(frozen=True)
class Outcome:
    """The verdict on the sweep of one seed, and how its best adapter does on the fresh set."""

    seed: int
    decision: str | None
    trial: int | None
    confirmed: dict[str, Any] | None
    """The best trial's pooled verdict on the confirm sets, as the report's JSON has it."""
    fresh: list[LimitVerdict]
    """Limits on the fresh set; empty where there is no adapter."""

    @property
    def accepted(self) -> bool:
        return self.decision == "ACCEPT"

    @property
    def keeps(self) -> bool:
        """Whether there is an adapter whose measured numbers keep every limit on the fresh set."""
        return bool(self.fresh) and all(limit.holds for limit in self.fresh)


@dataclass(frozen=True)
class Bench:
    """The folders and settings that all seeds share."""

    folder: Path
    overrides: tuple[str, ...]
    """KEY=VALUE overrides of the sweep file."""
    manifests: dict[str, Path]
    """The fresh sets."""
    sample: int
    """Utterances of each set that the cross-check hears again."""

    def command(self, verb: str, seed: int, *more: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the product on the study of a seed."""
        words = [
            verb,
            str(SWEEP),
            *more,
            f"seed={seed}",
            *self.overrides,
            "--studies",
            str(self.study(seed)),
        ]
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *words], cwd=ROOT, text=True, capture_output=True
        )

    def study(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}"

    def outcome(self, seed: int) -> Outcome:
        """Run or continue the sweep of a seed, transcribe the fresh set with its best adapter and
        judge that.
        """
        say(f"seed {seed}: sweep")
        expect(self.command("run", seed, "--quiet"), ENDED)
        report = json.loads(expect(self.command("report", seed, "--format", "json"), (0,)))
        trial, adapter = report["best_trial"], self.study(seed) / "adapter"
        confirmed = next(
            (each["pooled"] for each in report["confirmation"] if each["trial"] == trial), None
        )
        if trial is None:
            return Outcome(seed, report["decision"], None, None, [])
        if not adapter.is_dir():
            expect(self.command("export", seed, "--to", str(adapter)), (0,))
        spec = load_spec(SWEEP, [f"seed={seed}", *self.overrides])
        say(f"seed {seed}: hearing the fresh set")
        tuned = self.heard(str(adapter), self.study(seed), spec)
        self.cross_check(adapter, tuned, spec)
        base = self.heard(spec.model.id, self.folder, spec)
        return Outcome(seed, report["decision"], trial, confirmed, self.limits(base, tuned, spec))

    def heard(self, model: str, place: Path, spec: SweepSpec) -> dict[str, list[str]]:
        """Transcribe the fresh sets with a model folder or an adapter, by the product's decoding.
        The transcripts are kept in a file in `place` and read from there the next time.
        """
        kept = place / "heard-fresh.json"
        if not kept.is_file():
            from orchestrator.tuning.decoding.audio_files import open_model, transcribe_files
            from orchestrator.tuning.model.device import choose_device

            device = choose_device(spec.execution.device)[0]
            is_adapter = (Path(model) / "adapter_config.json").is_file()
            loaded = open_model(model, device, spec.model.id if is_adapter else None)
            evaluation = spec.evaluation
            texts: dict[str, list[str]] = {}
            for name, manifest in self.manifests.items():
                files = [str(manifest.parent / row["audio_filepath"]) for row in rows(manifest)]
                texts[name] = [
                    each.text
                    for start in range(0, len(files), TOGETHER)
                    for each in transcribe_files(
                        loaded,
                        files[start : start + TOGETHER],
                        rms=evaluation.rms,
                        max_tokens_per_second=evaluation.max_tokens_per_second,
                    )
                ]
            kept.write_text(json.dumps(texts))
        found: dict[str, list[str]] = json.loads(kept.read_text())
        return found

    def limits(
        self, base: dict[str, list[str]], tuned: dict[str, list[str]], spec: SweepSpec
    ) -> list[LimitVerdict]:
        """Judge every limit of the sweep on the fresh set. A limit that is both a guardrail and an
        acceptance criterion is judged once.
        """
        scores = {
            name: [
                score(rows(path), heard[name], spec.evaluation.normalizer)
                for heard in (base, tuned)
            ]
            for name, path in self.manifests.items()
        }
        verdicts = []
        asked = {
            (each.metric, each.kind, each.limit): each
            for each in (*guardrails_of(spec), *acceptance_of(spec))
        }
        for criterion in asked.values():
            before, after = scores[criterion.metric.removesuffix("_wer")]
            paired = estimate(before, after)
            verdicts.append(
                judge_limit(
                    criterion,
                    before,
                    after,
                    paired,
                    confidence=CONFIDENCE,
                    violation_confidence=CONFIDENCE,
                )
            )
        return verdicts

    def cross_check(self, adapter: Path, tuned: dict[str, list[str]], spec: SweepSpec) -> None:
        """Raise SystemExit unless stock `generate` and jiwer find the same WER of the first
        utterances of every set as the product does.
        """
        for name, manifest in self.manifests.items():
            first = rows(manifest)[: self.sample]
            own = score(first, tuned[name][: self.sample], spec.evaluation.normalizer).rate
            cut = manifest.with_name(f"{name}-sample.jsonl")
            cut.write_text("".join(json.dumps(row) + "\n" for row in first))
            script = [
                sys.executable,
                str(ROOT / "docs" / "check_adapter.py"),
                spec.model.id,
                str(adapter),
                str(cut),
            ]
            said = expect(subprocess.run(script, cwd=ROOT, text=True, capture_output=True), (0,))
            stock = float(re.search(r"WER ([\d.]+) %", said)[1])  # type: ignore[index]
            if own is None or not math.isclose(own, stock, abs_tol=1e-9):
                place = f"{name}, {len(first)} utterances"
                raise SystemExit(f"{place}: ours is {own} %, stock generate and jiwer {stock} %")
            say(
                f"  {name}: {stock:.2f} % on {len(first)} utterances by stock generate and jiwer, the same by ours"
            )


def score(said: Sequence[dict[str, Any]], heard: Sequence[str], normalise: str) -> SetScore:
    """Count the word errors of the transcripts `heard` against the rows of a manifest."""
    clean = normalizer(normalise)
    counts = edit_counts([clean(row["text"]) for row in said], [clean(text) for text in heard])
    return SetScore(counts.errors, counts.reference_words, tuple(row["speaker"] for row in said))


def rows(manifest: Path) -> list[dict[str, Any]]:
    """Read the rows of a manifest, one per utterance."""
    return [json.loads(line) for line in manifest.read_bytes().split(b"\n") if line]


def expect(done: subprocess.CompletedProcess[str], codes: tuple[int, ...]) -> str:
    """Return the output of a command that ended with one of `codes`; otherwise raise SystemExit
    with all that it printed.
    """
    if done.returncode not in codes:
        raise SystemExit(
            f"{' '.join(map(str, done.args))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table with a row per seed and limit: the change on the confirm sets beside
    that on the fresh set, in WER points with 95 % bounds.
    """
    head = (
        "| seed | verdict | best trial | limit | confirmed | fresh set | holds there | the data |"
    )
    lines = [head, "|" + "---|" * 8]
    for each in outcomes:
        head = f"| {each.seed} | {each.decision} | {'none' if each.trial is None else each.trial} |"
        if not each.fresh:
            lines.append(f"{head} | | | | |")
        for limit in each.fresh:
            asked = f"{limit.criterion.metric} {limit.criterion.kind} {limit.criterion.limit:g}"
            found = f"{limit.delta:+.2f} ({limit.lower:+.2f} to {limit.upper:+.2f})"
            holds = "yes" if limit.holds else "no"
            lines.append(
                f"{head} {asked} | {_confirmed(each, limit)} | {found} | {holds} | {limit.evidence} |"
            )
    return "\n".join(lines) + "\n"


def _confirmed(outcome: Outcome, limit: LimitVerdict) -> str:
    wanted = (limit.criterion.metric, limit.criterion.kind, limit.criterion.limit)
    for each in (outcome.confirmed or {}).get("limits", []):
        if (each["metric"], each["kind"], each["limit"]) == wanted and each["delta"] is not None:
            bounds = [
                "none" if each[side] is None else f"{each[side]:+.2f}"
                for side in ("lower", "upper")
            ]
            return f"{each['delta']:+.2f} ({' to '.join(bounds)})"
    return "not measured"


def conclusion(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """Return what the seeds show, in a sentence, and whether the requirement is met."""
    accepted = [each for each in outcomes if each.accepted]
    broken = [each.seed for each in accepted if not each.keeps]
    needed = math.ceil(NEEDED * len(outcomes))
    text = f"ACCEPT for {len(accepted)} of {len(outcomes)} seeds (at least {needed} wanted); "
    text += f"of these, {len(broken)} break a limit on the fresh set (none wanted)"
    return text + (f": seeds {', '.join(map(str, broken))}" if broken else ""), len(
        accepted
    ) >= needed and not broken


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="of the sweep file, for every seed"
    )
    parser.add_argument("--seeds", type=int, default=5, help="sweep seeds 1 to so many")
    parser.add_argument("--folder", type=Path, default=ROOT / "studies" / "quickstart-seeds")
    parser.add_argument("--domain", type=int, default=2000, help="fresh domain utterances")
    parser.add_argument("--heldout", type=int, default=4000, help="fresh held-out utterances")
    parser.add_argument(
        "--sample", type=int, default=50, help="utterances of each set for the cross-check"
    )
    options = parser.parse_args(arguments)
    sizes = {"domain": options.domain, "heldout": options.heldout}
    folder = options.folder.resolve()
    fresh = folder / f"fresh-{options.domain}-{options.heldout}"
    say(f"fresh set: {fresh}")
    bench = Bench(
        folder, tuple(options.overrides), fresh_sets(fresh, sizes, FRESH_SEED), options.sample
    )
    outcomes = []
    for seed in range(1, options.seeds + 1):
        outcomes.append(bench.outcome(seed))
        say(table(outcomes[-1:]))
    print(table(outcomes))
    text, met = conclusion(outcomes)
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
