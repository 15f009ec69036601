"""What ships: fields, messages and judgements that need none of the packages of the extra."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from orchestrator.commands.export import _asked_form
from orchestrator.errors import ModelError, SpecError
from orchestrator.records.readiness import optional_packages
from orchestrator.records.results import SetMeasurement
from orchestrator.records.shipping import (
    ExportForm,
    ExportManifest,
    OtherWords,
    Shipped,
    ShippedSet,
    altered_files,
    differences,
    file_sha256,
    read_manifest,
    write_manifest,
)
from orchestrator.reporting.cards.load_script import load_script
from orchestrator.reporting.documents import verification_report
from orchestrator.reporting.documents.verification_report import headline
from orchestrator.running import verifying
from orchestrator.scoring.judge import Decision, Scores, Verdict, judge
from orchestrator.scoring.limits import Criterion
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.loading import load_spec, resolved_yaml
from orchestrator.sweepfile.search_space import Metric
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.deploying import verification
from orchestrator.tuning.deploying.moonshine_export import (
    check_exportable,
    export_moonshine,
    read_tokenizer_bin,
    text_of,
    tokenizer_bin,
)
from orchestrator.tuning.deploying.verification import _is_kept
from orchestrator.tuning.deploying.writing import Source
from orchestrator.tuning.model.families import family_of
from orchestrator.typed_words import install_command
from orchestrator.verdicts.concluding import _as_shipped
from orchestrator.verdicts.judging import acceptance_of
from orchestrator.verdicts.shipping import JudgedAgain, asks_for_shipped, judge_again
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.running_support import make_spec
from tests.test_house import PACKAGE, imported
from tests.tuning_models import SHIPPED, small_model

SHIPPED_SWEEP = SWEEP.replace("acceptance:\n", "acceptance:\n  shipped: true\n")


def manifest(**changes: Any) -> ExportManifest:
    values: dict[str, Any] = dict(
        form="onnx",
        quantized="none",
        sweep="demo",
        trial=3,
        step=100,
        adapter_scale=0.5,
        adapter_sha256="a" * 64,
        base_weights_sha256="b" * 64,
        encoder_windows="15+3,15+0",
        windows_form="stock",
        rms=0.075,
        max_tokens_per_second=6.5,
        tokenizer_sha256="c" * 64,
        start=1,
        ends=(2,),
        multiple=80,
        cache_shape=(2, 2, 16),
        files={},
    )
    return ExportManifest.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        (
            {"encoder_windows": "16+4,16+0"},
            ["encoder windows: the export has 16+4,16+0, the study 15+3,15+0"],
        ),
        ({"adapter_scale": 0.75}, ["adapter scale: the export has 0.75, the study 0.5"]),
        (
            {"tokenizer_sha256": "d" * 64},
            [f"tokenizer: the export has {'d' * 16}..., the study {'c' * 16}..."],
        ),
        (
            {"max_tokens_per_second": 3.0, "rms": None},
            [
                "level (evaluation.rms): the export has None, the study 0.075",
                "cap (evaluation.max_tokens_per_second): the export has 3.0, the study 6.5",
            ],
        ),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], said: list[str]) -> None:
    assert list(differences(manifest(**changes), manifest())) == said


def test_an_altered_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_text(name)
    kept = manifest(files={name: file_sha256(tmp_path / name) for name in ("a.onnx", "b.onnx")})
    write_manifest(kept, tmp_path)
    assert read_manifest(tmp_path) == kept and not [*altered_files(kept, tmp_path)]
    (tmp_path / "a.onnx").write_text("x")
    (tmp_path / "b.onnx").unlink()
    assert [*altered_files(kept, tmp_path)] == [
        "a.onnx is not the file that was exported",
        "b.onnx is missing",
    ]


def test_a_damaged_form_in_the_cache_is_made_again(tmp_path: Path) -> None:
    kept = manifest(adapter_sha256="")
    source = Source("demo", ModelSpec(id="a/b"), EvaluationSpec(), "stock")
    base = kept.base_weights_sha256
    assert not _is_kept(tmp_path, source, base)
    write_manifest(kept, tmp_path)
    assert _is_kept(tmp_path, source, base)
    assert not _is_kept(tmp_path, source, "another base model's")
    (tmp_path / "export.json").write_text('{"form": "onnx"}')
    assert not _is_kept(tmp_path, source, base)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"has no export\.json.*\n  Make one: orchestrate export SPEC"
    ):
        read_manifest(tmp_path)
    with pytest.raises(ModelError, match=r"there is no folder .*/onnnx\n  --runtime takes onnx, "):
        read_manifest(tmp_path / "onnnx")
    (tmp_path / "export.json").write_text('{"form": "onnx"}')
    with pytest.raises(ModelError, match=r"export\.json is damaged: quantized: Field required"):
        read_manifest(tmp_path)


def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    hidden = {name for names in optional_packages.NEEDED.values() for name in names}
    monkeypatch.setattr(
        optional_packages, "find_spec", lambda name: None if name in hidden else find(name)
    )


def test_a_missing_package_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_the_extra(monkeypatch)
    with pytest.raises(SpecError) as refused:
        optional_packages.check_installed("moonshine", "--format moonshine")
    said = "--format moonshine needs onnx and onnxruntime and onnxscript and moonshine-voice: "
    assert str(refused.value) == f"{said}{install_command('deploy')}"
    optional_packages.check_installed("merged", "--format merged")


def test_validate_refuses_a_verdict_on_what_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_the_extra(monkeypatch)
    sweep = make_project(tmp_path, SHIPPED_SWEEP)
    for command in (("validate", sweep), ("run", sweep)):
        assert orchestrate(*command) == 2
        assert "acceptance.shipped needs onnx and" in capsys.readouterr().err
    assert not folder_of(sweep).began


def test_acceptance_shipped_is_read_and_kept(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path, SHIPPED_SWEEP))
    assert asks_for_shipped(spec) and "shipped" not in {
        criterion.metric for criterion in acceptance_of(spec)
    }
    again = tmp_path / "sweeps" / "again.yaml"
    again.write_text(resolved_yaml(spec))
    assert load_spec(again) == spec
    assert not asks_for_shipped(load_spec(make_project(tmp_path)))


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        (
            "acceptance",
            "false",
            "acceptance.shipped cannot be `false`; allowed: true, or remove it",
        ),
        ("acceptance", "onnx", "acceptance.shipped cannot be `onnx`; allowed: true, or remove it"),
        (
            "guardrails",
            "true",
            "guardrails cannot have shipped, which is asked of the winner; move it to acceptance",
        ),
    ],
)
def test_what_shipped_cannot_be(section: str, value: str, said: str, tmp_path: Path) -> None:
    text = SWEEP.replace(f"{section}:\n", f"{section}:\n  shipped: {value}\n")
    with pytest.raises(SpecError) as refused:
        load_spec(make_project(tmp_path, text))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--format", "tflite"),
            "--format tflite is not known\n  Allowed: adapter, merged, onnx, moonshine.",
        ),
        (
            ("--quantize", "int4", "--format", "onnx"),
            "--quantize int4 is not known\n  Allowed: none, int8.",
        ),
        (
            ("--quantize", "int8"),
            "--quantize is for graphs: give it with --format onnx or moonshine",
        ),
        (("--encoder-windows", "inclusive"), "--encoder-windows is for graphs"),
        (
            ("--changed-only", "--format", "onnx"),
            "--changed-only is for the five graphs of the authors' runtime",
        ),
        (
            ("--merged", "--format", "onnx"),
            "--merged is short for --format merged, and --format onnx was given",
        ),
    ],
)
def test_options_of_export_that_do_not_go_together(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("export", make_project(tmp_path), "--to", tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err


def test_the_options_of_export_are_one_value() -> None:
    assert _asked_form("adapter", False, "none", None, False) == ExportForm()
    assert _asked_form("merged", True, "none", None, False) == ExportForm("merged")
    asked = _asked_form("moonshine", False, "int8", "inclusive", True)
    assert asked == ExportForm("moonshine", "int8", "inclusive", True)


def test_export_of_graphs_without_the_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_the_extra(monkeypatch)
    sweep = make_project(tmp_path)
    orchestrate("run", sweep, "--quiet")
    capsys.readouterr()
    assert orchestrate("export", sweep, "--to", tmp_path / "out", "--format", "onnx") == 2
    assert capsys.readouterr().err.startswith(
        f"--format onnx needs onnx and onnxruntime and onnxscript: {install_command('deploy')}"
    )
    assert orchestrate("verify", sweep) == 2
    assert "verify --runtime onnx needs onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_of_the_extra_is_imported_with_a_module_that_a_command_loads() -> None:
    """Only within functions: that no other command reaches them, a test with the packages says."""
    extra = {name for names in optional_packages.NEEDED.values() for name in names}
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    near = [path for path, text in texts.items() if any(name in text for name in extra)]
    assert near, "nobody imports them: are the names right?"
    assert {path for path in near if at_the_top(texts[path]) & extra} == set()
    assert at_the_top("import onnx\ndef late():\n    import torch\n") == {"onnx"}


def at_the_top(source: str) -> set[str]:
    """The packages that code imports as soon as it is imported itself."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    return {name.split(".")[0] for name in imported(ast.unparse(tree))}


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_the_vocabulary_file_reads_back(tokens: list[bytes]) -> None:
    assert read_tokenizer_bin(tokenizer_bin(tokens)) == tokens


def test_a_vocabulary_file_that_is_cut_off_is_said() -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.bin is cut off in token 1"):
        read_tokenizer_bin(tokenizer_bin([b"one", b"two"])[:-1])


def test_text_of_tokens_is_words_without_special_tokens() -> None:
    vocabulary = [
        b"<unk>",
        b"<s>",
        b"</s>",
        "\u2581turn".encode(),
        "\u2581le".encode(),
        b"ft",
        b"<",
    ]
    assert text_of([1, 3, 4, 5, 6, 2], vocabulary) == "turn left<"


def test_version_1_has_no_form_of_the_authors_and_the_message_says_which_it_has() -> None:
    check_exportable(small_model("streaming"))
    with pytest.raises(
        ModelError, match=r"no exporter of Moonshine version 1.*\n  Use --format onnx"
    ):
        check_exportable(small_model("v1"))


def test_the_runtime_begins_and_ends_texts_as_they_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authors' exporter takes both tokens from config.json, and generate from elsewhere first."""
    given: list[dict[str, Any]] = []
    exporter = ModuleType("moonshine_voice.lora.export")
    vars(exporter)["export_checkpoint"] = lambda place, *_: given.append(
        json.loads((Path(place) / "config.json").read_bytes())
    )
    monkeypatch.setitem(sys.modules, "moonshine_voice", ModuleType("moonshine_voice"))
    monkeypatch.setitem(sys.modules, "moonshine_voice.lora", ModuleType("moonshine_voice.lora"))
    monkeypatch.setitem(sys.modules, exporter.__name__, exporter)
    model, words = small_model("streaming"), AutoTokenizer.from_pretrained(SHIPPED)
    model.generation_config.decoder_start_token_id, model.generation_config.eos_token_id = 5, 9
    model.generation_config.pad_token_id = -1  # transformers reads it, and refuses to write it
    export_moonshine(model, words, family_of(model), tmp_path)
    (config,) = given
    assert (config["bos_token_id"], config["eos_token_id"]) == (5, 9)
    assert (model.config.bos_token_id, model.config.eos_token_id) == (1, 2), "the model's own"
    assert model.generation_config.pad_token_id == -1
    model.generation_config.eos_token_id = [2, 9]
    said = r"any of the tokens 2, 9, and the runtime knows one end token alone\n  Use --format onnx"
    with pytest.raises(ModelError, match=said):
        export_moonshine(model, words, family_of(model), tmp_path)


def counts(errors: int, words: int = 40) -> SetMeasurement:
    """Forty utterances of which the first ones have an error each."""
    rows = tuple(int(row < errors) for row in range(words))
    none = (0,) * words
    return SetMeasurement(
        manifest_sha256="0",
        utterance_ids=tuple(map(str, range(words))),
        speakers=("",) * words,
        substitutions=rows,
        deletions=none,
        insertions=none,
        reference_words=(10,) * words,
    )


def shipped(**changes: Any) -> Shipped:
    domain = ShippedSet(
        baseline_measured=counts(40),
        tuned_measured=counts(10),
        baseline_shipped=counts(40),
        tuned_shipped=counts(12),
    )
    heldout = domain.model_copy(
        update={"baseline_measured": counts(8), "tuned_measured": counts(8)}
    )
    heldout = heldout.model_copy(
        update={"baseline_shipped": counts(8), "tuned_shipped": counts(10)}
    )
    values: dict[str, Any] = dict(
        form="onnx",
        quantized="int8",
        trial=0,
        step=1,
        adapter_scale=1.0,
        differences=(),
        sets={"domain": domain, "heldout": heldout},
        other_words=(),
        unlike_record=0,
        encoder_apart=0.0,
        logits_apart=0.0,
        real_time_factor=0.01,
        size_bytes=1,
        versions={"onnxruntime": "1"},
    )
    return Shipped.model_validate(values | changes)


def test_a_limit_that_holds_as_measured_and_not_as_shipped_is_lost(tmp_path: Path) -> None:
    sweep = make_project(tmp_path)
    orchestrate("run", sweep, "--quiet")
    folder, spec = (
        folder_of(sweep),
        make_spec(
            guardrails={"heldout_wer": Limit(max_regression=0.3)},
            acceptance={
                "domain_wer": Limit(min_gain=1.0),
                "heldout_wer": Limit(max_regression=0.3),
            },
        ),
    )
    result, found = folder.results()[0], shipped()
    (again,) = judge_again(spec, folder, result, found)
    assert isinstance(again, JudgedAgain) and not again.confirmed
    assert {limit.criterion.metric for limit in again.lost} == {"heldout_wer"}
    words = OtherWords(
        set="heldout", utterance="1", model="tuned", measured="a", shipped="b", margin=1.0
    )
    said = headline(shipped(other_words=(words,)), [again])
    assert said == (
        "A limit is lost in this form: heldout WER rises by less than 0.3 points; 1 of 160 hypotheses have other words"
    )
    assert headline(shipped(differences=("x: y",)), [again]) == "NOT what was measured: x: y"
    with folder.lock():
        folder.write_shipped(found)
        folder.write_shipped(shipped(quantized="none"))
    assert (
        set(folder.shipped()) == {"onnx-int8/0", "onnx/0"}
        and folder.shipped()["onnx-int8/0"] == found
    )


@pytest.mark.parametrize(
    ("metric", "row"),
    [
        ("domain_wer", ("domain", "10.00", "10.00", "3.00", "2.50", "+0.50")),
        ("domain_cer", ("domain", "20.00", "20.00", "5.00", "2.50", "+2.50")),
    ],
)
def test_what_ships_of_a_sweep_by_the_cer_is_told_by_its_cer(
    metric: str, row: tuple[str, ...]
) -> None:
    spec = make_spec(metric=Metric.model_validate({"name": metric}))
    wrong = {
        "baseline_measured": (2,) * 40,
        "baseline_shipped": (2,) * 40,
        "tuned_measured": (1,) * 10 + (0,) * 30,
        "tuned_shipped": (1,) * 20 + (0,) * 20,
    }
    domain = shipped().sets["domain"]
    counted = {
        half: getattr(domain, half).model_copy(
            update={"characters": (10,) * 40, "character_errors": errors}
        )
        for half, errors in wrong.items()
    }
    assert verification_report._row(spec, "domain", ShippedSet(**counted))[:6] == row


def test_sets_that_have_changed_since_they_were_measured_are_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exported form would be compared with numbers of other utterances."""
    sweep = ran_project(tmp_path)
    hears = Mock(side_effect=ModelError("it would be heard"))
    monkeypatch.setattr(verifying, "check_installed", lambda *_: None)
    monkeypatch.setattr(verification, "verify", hears)
    domain = tmp_path / "data" / "domain.jsonl"
    lines = domain.read_text().splitlines(keepends=True)
    domain.write_text("".join(lines[1:]))
    capsys.readouterr()
    assert orchestrate("verify", sweep) == 3
    said = capsys.readouterr().err
    assert "data of study demo have changed" in said
    assert "domain.jsonl (domain): 3 utterances then, 2 now" in said
    assert not hears.called
    assert orchestrate("verify", sweep, "--sets", "heldout,confirm_domain") == 2
    assert "it would be heard" in capsys.readouterr().err


def test_a_limit_that_cannot_be_measured_in_the_exported_form_is_lost() -> None:
    def judged(heard: int) -> Verdict:
        rates = [
            Scores(
                "f",
                {"domain_terms_precision": SetScore((0,) * 40, (terms,) * 40, of_hypotheses=True)},
            )
            for terms in (heard, 4)
        ]
        limit = Criterion("terms_precision", "max_regression", 1.0)
        return judge(*rates, guardrails=[], acceptance=[limit])

    (lost,) = JudgedAgain(False, judged(4), judged(0)).lost
    assert lost.holds is None and lost.criterion.metric == "terms_precision"
    assert JudgedAgain(False, judged(4), judged(4)).lost == ()
    assert JudgedAgain(False, judged(0), judged(0)).lost == ()


@pytest.mark.parametrize(
    ("decision", "kept", "expected"),
    [
        (Decision.ACCEPT, True, Decision.ACCEPT),
        (Decision.ACCEPT, None, Decision.INCONCLUSIVE),
        (Decision.ACCEPT, False, Decision.REJECT),
        (Decision.INCONCLUSIVE, False, Decision.REJECT),
        (Decision.REJECT, None, Decision.REJECT),
    ],
)
def test_the_decision_with_what_ships(
    decision: Decision, kept: bool | None, expected: Decision
) -> None:
    assert _as_shipped(decision, kept) is expected


@pytest.mark.parametrize("windows", ["stock", "inclusive"])
def test_the_script_of_an_adapter_is_python_and_says_the_windows(windows: str) -> None:
    evaluation = EvaluationSpec.model_validate({"encoder_windows": windows})
    script = load_script(ModelSpec(id="some/model", revision="abc"), evaluation)
    compile(script, "load.py", "exec")
    assert 'revision="abc"' in script and ("sliding_windows" in script) == (windows == "inclusive")


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_no_name_becomes_a_part_of_the_script(name: str, revision: str, names: list[str]) -> None:
    model = ModelSpec.model_construct(id=name, revision=revision)
    plain = ModelSpec.model_construct(id="/model" if model.is_folder else "some/model")
    tree = ast.parse(load_script(model, EvaluationSpec(), names))
    other = ast.parse(load_script(plain, EvaluationSpec(), ["x"] * len(names)))
    assert [type(node) for node in ast.walk(tree)] == [type(node) for node in ast.walk(other)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {name, *names, *(() if model.is_folder else (revision,))} <= texts
