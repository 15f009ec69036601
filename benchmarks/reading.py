"""Count what makes a package easy or hard to read: sizes of modules and functions, imports between
its modules, one-word names, dense expressions, long lines.

    python benchmarks/reading.py                       the package of this checkout
    python benchmarks/reading.py PATH [PATH ...]       other packages beside it, by their folders

Counted with `ast`, tests left out. Code lines are lines that hold a token other than a comment or a
docstring.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

PACKAGE = Path(__file__).resolve().parents[1] / "orchestrator"
LONG = 100
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its text, its syntax tree, and the numbers of its lines
    that hold code.
    """

    name: str
    text: str
    tree: ast.Module
    code: frozenset[int]

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS))

    def imported(self, package: str) -> set[str]:
        """Return the modules of its own package that it imports when it is loaded itself, those
        imported inside of a function left out.
        """
        found = set()
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                found.add(node.module or "")
        return found


def read(package: Path) -> list[Module]:
    """Read every module of the package except tests."""
    paths = (
        path for path in sorted(package.rglob("*.py")) if not _is_test(path.relative_to(package))
    )
    return [_module(path, package) for path in paths]


def _is_test(path: Path) -> bool:
    return any(part in {"test", "tests"} for part in path.parts) or path.name.startswith("test_")


def _module(path: Path, package: Path) -> Module:
    text = path.read_text()
    tree = ast.parse(text)
    name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )
    return Module(name, text, tree, frozenset(_code_lines(text) - _docstring_lines(tree)))


def _code_lines(text: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {
        line
        for token in tokens
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }


def _docstring_lines(tree: ast.Module) -> set[int]:
    strings = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    return {
        line
        for node in strings
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def measures(modules: list[Module]) -> dict[str, str]:
    """Return the counts as text: name of a count -> its value."""
    package = modules[0].name.split(".")[0]
    functions = [function for module in modules for function in module.functions()]
    nodes = [node for module in modules for node in ast.walk(module.tree)]
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    sizes = [len(module.code) for module in modules if module.code]
    lengths = [
        _length(function, module.code) for module in modules for function in module.functions()
    ]
    names = [name for name in (function.name.strip("_") for function in functions) if name]
    lines = [line for module in modules for line in module.text.splitlines()]
    return {
        "modules": f"{len(modules)}",
        "module, code lines: median / p90 / max": _spread(sizes),
        "function, code lines: median / p90 / max": _spread(lengths),
        "own-package imports of a module, most": f"{max(len(module.imported(package)) for module in modules)}",
        "one-word function names, %": f"{100 * np.mean(['_' not in name for name in names]):.0f}",
        "ternaries per 100 statements": _per_hundred(nodes, (ast.IfExp,), statements),
        "comprehensions per 100 statements": _per_hundred(nodes, COMPREHENSIONS, statements),
        f"lines over {LONG} characters, %": f"{100 * np.mean([len(line) > LONG for line in lines]):.1f}",
    }


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef, code: frozenset[int]) -> int:
    return sum(function.lineno < line <= (function.end_lineno or function.lineno) for line in code)


def _spread(sizes: list[int]) -> str:
    return f"{np.median(sizes):.0f} / {np.percentile(sizes, 90):.0f} / {max(sizes)}"


def _per_hundred(nodes: list[ast.AST], kinds: tuple[type[ast.AST], ...], statements: int) -> str:
    return f"{100 * sum(isinstance(node, kinds) for node in nodes) / statements:.1f}"


def main() -> None:
    folders = [PACKAGE, *map(Path, sys.argv[1:])]
    columns = [measures(read(folder.resolve())) for folder in folders]
    table = Table("", *(folder.name for folder in folders))
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
