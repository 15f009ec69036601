"""Selection of the findings that stop a sweep, and the error that lists them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import get_args

from orchestrator.checks import Finding, Ignorable
from orchestrator.errors import OrchestrateError


def refused(findings: Iterable[Finding], ignore: Collection[str]) -> list[Finding]:
    """Return the findings that stop the sweep: refusals whose name is not in `ignore`."""
    return [
        finding for finding in findings if finding.level == "refuse" and finding.name not in ignore
    ]


def stop(
    findings: Iterable[Finding],
    ignore: Collection[str],
    heading: str,
    error: type[OrchestrateError],
) -> None:
    """Raise `error` with all findings that stop the sweep, under `heading`, and with the setting
    that ignores those that can be ignored beside `ignore`. Return where there are none.
    """
    found = refused(findings, ignore)
    if not found:
        return
    lines = [f"{heading}:", *(f"  - {finding.message} ({finding.name})" for finding in found)]
    once = dict.fromkeys(finding.name for finding in found)
    names = [name for name in once if name in get_args(Ignorable)]
    if names:
        given = ", ".join([*ignore, *names])  # an override replaces the whole list
        lines.append(
            f"Correct it. Or go on in spite of it, with the doubt on record: checks.ignore='[{given}]'"
        )
    raise error("\n".join(lines))
