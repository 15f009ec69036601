"""The documentation says what the code does: fields, parameters, commands, exit codes, files,
examples and links.
"""

from __future__ import annotations

import io
import pkgutil
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from orchestrator import errors
from orchestrator.checks import CHECKS, STAGES
from orchestrator.cli import build_app
from orchestrator.commands import COMMANDS
from orchestrator.planning import power
from orchestrator.records import store
from orchestrator.reporting.page.glossary import GLOSSARY
from orchestrator.scoring import bootstrap, limits, needed_data
from orchestrator.search.samplers import STARTUP_TRIALS
from orchestrator.sweepfile.limit_checks import SECTIONS
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.parameters import ADAPTER_SCALE, TABLE, Parameter
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import Dimension, SearchSpace
from orchestrator.sweepfile.search_space_reading import MAX_VALUES
from orchestrator.sweepfile.sections_together import MAX_GRID
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts import judging
from orchestrator.verdicts.conclusion import EXIT_CODES
from tests.running_support import make_spec

ROOT = Path(__file__).parent.parent
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".json", ".jsonl", ".cfg", ".sh", ""}
OURS = sorted(
    path
    for path in ROOT.rglob("*")
    if path.is_file()
    and path.suffix in TEXT
    and not any(
        part in ("studies", "build", "dist", "__pycache__")
        or part.endswith(".egg-info")
        or (part.startswith(".") and part not in (".ci", ".gitignore"))
        for part in path.relative_to(ROOT).parts
    )
)
PAGES = [path for path in OURS if path.suffix == ".md"]
README, SWEEP_FILE, VERDICT, STUDIES, MANIFESTS, QUICKSTART = (
    (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/sweep-file.md",
        "docs/verdict.md",
        "docs/studies.md",
        "docs/manifests.md",
        "docs/quickstart.md",
    )
)
FIELDS, _, PARAMETERS = SWEEP_FILE.partition("## Parameters")
TO_WRITE = "sweeps/mine.yaml"
"""The file that the README tells its reader to write."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def cells(page: str, name: str) -> list[str]:
    """The row of a table whose first cell is `name` in backticks."""
    [row] = [line for line in page.split("\n") if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def blocks(page: str, *languages: str) -> list[str]:
    return [
        text
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page, re.M | re.S)
        if language in languages
    ]


def shown(value: Any) -> str:
    """A default as the documentation writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if value is None or value == {}:
        return "none"
    return "empty" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted path and description of every field a sweep file may have, but for limits and the
    search space.
    """
    for name, field in model.model_fields.items():
        options = (field.annotation, *get_args(field.annotation))
        inner = [each for each in options if isinstance(each, type) and issubclass(each, BaseModel)]
        if name in SECTIONS:
            continue
        if inner and inner[0] is not SearchSpace:
            yield from fields(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def bounds(field: FieldInfo) -> list[float]:
    """The ends of the interval a field is restricted to."""
    return [
        getattr(limit, end)
        for limit in field.metadata
        for end in ("gt", "ge", "lt", "le")
        if hasattr(limit, end)
    ]


def literals(annotation: Any) -> list[str]:
    """All values of the Literals in an annotation."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in literals(inner)]


@pytest.mark.parametrize(
    ("path", "field"), [pytest.param(*each, id=each[0]) for each in fields(SweepSpec)]
)
def test_every_field_is_documented_with_its_default_and_its_limits(
    path: str, field: FieldInfo
) -> None:
    _, allowed, default, _ = cells(FIELDS, path)
    assert default == (
        "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
    )
    words = re.findall(r"[\w.-]*\w", allowed)
    assert {*literals(field.annotation), *(f"{bound:.10g}" for bound in bounds(field))} <= set(
        words
    )


def test_every_limit_is_documented_and_no_field_that_does_not_exist() -> None:
    """A limit's keys stand once, under METRIC; its rule's defaults under the two sections."""
    keys = {f"METRIC.{key}" for key in Limit.model_fields if key != "rule"}
    assert all(cells(FIELDS, path)[2] == "none" for path in keys)
    spec = make_spec(
        guardrails={"heldout_wer": Limit(max_regression=0.2)},
        acceptance={"domain_wer": Limit(min_gain=1.0), "heldout_wer": Limit(max_regression=0.2)},
    )
    assert cells(FIELDS, "guardrails.METRIC.rule")[2] == spec.guardrails["heldout_wer"].rule
    gain, other = spec.acceptance["domain_wer"].rule, spec.acceptance["heldout_wer"].rule
    assert cells(FIELDS, "acceptance.METRIC.rule")[2] == f"{gain} for min_gain, else {other}"
    limited = keys | {f"{section}.METRIC.rule" for section in SECTIONS}
    documented = set(re.findall(r"^\| `([\w.]+)` \|", FIELDS, re.M))
    assert documented == {path for path, _ in fields(SweepSpec)} | limited | {"extends"}


@pytest.mark.parametrize("row", (*TABLE.values(), ADAPTER_SCALE), ids=lambda row: row.name)
def test_every_parameter_is_documented_with_its_default_and_what_is_allowed(row: Parameter) -> None:
    default = (
        "required"
        if row.required
        else str(row.default).lower()
        if row.default is not None
        else "none"
    )
    assert cells(PARAMETERS, row.name) == [
        f"`{row.name}`", row.allowed, default, row.doc.replace("||", "\\|\\|")
    ]  # fmt: skip


def test_no_parameter_is_documented_that_does_not_exist() -> None:
    table = PARAMETERS.partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == {*TABLE, ADAPTER_SCALE.name}


def test_presets_methods_and_forms_are_documented() -> None:
    for name, patterns in PRESETS.items():
        assert cells(SWEEP_FILE, name) == [
            f"`{name}`",
            ", ".join(f"`{pattern}`" for pattern in patterns),
        ]
    for method in literals(SweepSpec.model_fields["method"].annotation):
        assert cells(SWEEP_FILE, method)
    for form in {"log", "step", "when"} & set(Dimension.model_fields):
        assert f"`{form}`" in PARAMETERS
    numbers = (
        f"At most {MAX_VALUES} values",
        f"at most {MAX_GRID} combinations",
        f"until {STARTUP_TRIALS} trials",
    )
    assert [number for number in numbers if number not in SWEEP_FILE] == []


def test_every_check_is_documented_as_the_table_has_it() -> None:
    page = (ROOT / "docs" / "diagnose.md").read_text()
    for check in CHECKS.values():
        ignored = f"no: {check.fixed}" if check.fixed else "yes"
        expected = [f"`{check.name}`", check.level, STAGES[check.stage], check.meaning, ignored]
        assert cells(page, check.name) == expected
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.M)) == set(CHECKS)


def command_line() -> dict[str, click.Command]:
    """Every command and subcommand by its words."""
    top = typer.main.get_command(build_app())
    commands = dict(top.commands)  # type: ignore[attr-defined]
    below = {f"manifest {name}": command for name, command in commands["manifest"].commands.items()}
    return commands | below


def test_every_command_and_option_is_documented() -> None:
    commands = command_line()
    assert {name for name in commands if " " not in name} == set(COMMANDS)
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    for name, command in commands.items():
        page = MANIFESTS if " " in name else table
        assert f"orchestrate {name}" in page, name
        rows = [line for line in page.split("\n") if " " in name or f"`orchestrate {name} " in line]
        long = {
            option for each in command.params for option in each.opts if option.startswith("--")
        } - {"--help"}
        undocumented = {
            option for option in long if not any(re.search(rf"{option}\b", row) for row in rows)
        }
        assert undocumented == set(), name


def test_the_glossary_has_the_terms_of_the_report_page_in_its_words() -> None:
    rows = [f"| {term} | {meaning} |" for term, meaning in GLOSSARY.values()]
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    assert [line for line in lines if line in rows] == rows


def test_every_exit_code_is_documented_in_one_table() -> None:
    leaves = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and hasattr(value, "exit_code")
    ]
    codes = {0, 1} | {leaf.exit_code for leaf in leaves} | set(EXIT_CODES.values())
    table = README.partition("### Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)} == codes
    for decision, code in EXIT_CODES.items():
        assert re.search(rf"^\| {decision} \|.*\| {code} \|$", README, re.M)
        assert re.search(rf"\| {decision} \| {code} \|$", VERDICT, re.M)


def test_the_formulas_name_the_constants_of_the_code() -> None:
    assert f"at least {bootstrap.ENOUGH_SPEAKERS} of them" in VERDICT
    assert f"at least {bootstrap.FLOOR_WORDS:g} words" in VERDICT
    assert f"B = {judging.RESAMPLES:,} resamples" in VERDICT
    assert f"({needed_data.POWER} * SE" in VERDICT
    assert round(power.Z_POWER, 2) == needed_data.POWER
    assert (
        f"{limits.AT_LIMIT:g}".replace("e-0", "e-") in VERDICT
        and f"; {limits.UNMEASURED:g} when" in VERDICT
    )


def test_every_file_of_a_study_is_documented() -> None:
    layout = re.findall(
        r"[a-z-]+\.(?:yaml|db|lock|jsonl?|md|html)|[a-z]+/(?=\s|\d)", store.__doc__ or ""
    )
    assert len(layout) >= 14 and [name for name in layout if name not in STUDIES] == []


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").rglob("*.yaml")), ids=name_of)
def test_every_shipped_sweep_file_loads(path: Path) -> None:
    assert load_spec(path).name


BASE = """\
version: 1
name: base
model: {id: data/base-model}
data:
  train: data/a.jsonl
  replay: data/b.jsonl
  domain: data/c.jsonl
  heldout: data/d.jsonl
  confirm: {domain: data/e.jsonl, heldout: data/f.jsonl}
parameters: {learning_rate: 1.0e-3, max_steps: 100}
budget: {trials: 1}
"""
EXAMPLES = [
    pytest.param(text, id=f"{name_of(path)}-{index}")
    for path in PAGES
    for index, text in enumerate(blocks(path.read_text(), "yaml"))
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_a_sweep_file_loads(text: str, tmp_path: Path) -> None:
    """A whole file as it is; a part of one over a plain file."""
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    (tmp_path / "sweeps" / "plain.yaml").write_text(BASE)
    example = tmp_path / "sweeps" / "example.yaml"
    example.write_text(text if text.startswith("version:") else f"extends: plain.yaml\n{text}")
    assert load_spec(example).name


def test_the_lines_of_the_readme_are_lines_of_the_whole_transcript() -> None:
    shown = README.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(shown) == 10
    assert set(shown) <= set(QUICKSTART.splitlines())


def test_the_readme_explains_the_quickstart_as_it_is() -> None:
    yaml = YAML(typ="safe", pure=True)
    quickstart = yaml.load((ROOT / "sweeps" / "quickstart.yaml").read_text())
    explained = README.partition("## The sweep file, piece by piece")[2].partition("\n## ")[0]
    parts = [yaml.load(io.StringIO(text)) for text in blocks(explained, "yaml")]
    assert len(parts) >= 5
    for part in parts:
        assert part == {key: within(quickstart[key], value) for key, value in part.items()}


def within(whole: Any, part: Any) -> Any:
    """`whole` without what `part` does not speak of."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return {key: within(whole.get(key), value) for key, value in part.items()}
    return whole


def test_the_transcript_is_a_finished_run() -> None:
    transcript = QUICKSTART.partition("<!-- transcript:begin -->")[2].partition(
        "<!-- transcript:end -->"
    )[0]
    assert re.search(r"^(ACCEPT|REJECT|INCONCLUSIVE): ", transcript, re.M)
    assert (
        "PRUNED, guardrail heldout_wer" in transcript
        and "What the numbers cannot say" in transcript
    )


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = path.parent / file if file else path
        assert aim.exists(), target
        headings = re.findall(r"^#+ (.*)$", aim.read_text(), re.M) if anchor else []
        assert not anchor or anchor in {
            re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings
        }


def test_links_are_looked_for_where_there_are_some() -> None:
    assert README.count("](docs/") > 10


MACHINE = re.compile(r"(?<![\w.:/~-])/(?:home|root|work|Users|mnt|media|scratch|tmp)/\w[\w./-]*")


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_no_path_of_one_machine_is_left(path: Path) -> None:
    assert MACHINE.findall(path.read_text(errors="replace")) == []


def test_a_path_of_one_machine_would_be_found() -> None:
    assert MACHINE.search("lies in " + "/".join(("", "home", "anna", "studies")))


def snippets(page: str) -> list[str]:
    """Lines of code, continued ones joined: indented blocks and shell or Python fences."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S).replace("\\\n", " ")
    indented = [line.strip() for line in prose.split("\n") if line.startswith("    ")]
    return [
        *indented,
        *(line for text in blocks(page, "sh", "bash", "python", "") for line in text.split("\n")),
    ]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_files_that_the_documentation_names_exist(path: Path) -> None:
    page = path.read_text()
    code = [*snippets(page), *re.findall(r"`([^`\n]+)`", page)]
    named = {
        word for line in code for word in re.findall(r"[\w./*-]+/[\w*-]+\.(?:py|yaml|toml)\b", line)
    }
    folders = (ROOT, path.parent)
    plain = {name for name in named if "*" not in name and "NAME" not in name and name != TO_WRITE}
    assert {
        name for name in plain if not any((folder / name).exists() for folder in folders)
    } == set()
    modules = {word for line in code for word in re.findall(r"python -m (benchmarks[\w.]*)", line)}
    assert {
        name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()
    } == set()
    dotted = {name for line in code for name in re.findall(r"\borchestrator(?:\.\w+)+", line)}
    assert {name for name in dotted if not _is_defined(name)} == set()


def _is_defined(name: str) -> bool:
    """Whether a module, or what is in one, has this dotted name."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_in_snippets_exist_with_their_options(path: Path) -> None:
    commands, targets = (
        command_line(),
        set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M)),
    )
    for line in snippets(path.read_text()):
        words = (
            shlex.split(line, comments=True) if line.startswith(("orchestrate ", "make ")) else []
        )
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        elif words and words[1] not in ("SPEC",) and not words[1].endswith(".yaml"):
            name = " ".join(words[1:3]) if words[1] == "manifest" else words[1]
            assert name in commands, line
            known = {option for each in commands[name].params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= known, line
