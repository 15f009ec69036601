"""`orchestrate manifest filter` and `split`: a part of a manifest, and parts that have no speaker,
sentence or recording in common.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.manifest_options import (
    Bracketed,
    MaxSeconds,
    MinSeconds,
    Name,
    Out,
    Seed,
    Source,
    print_totals,
    require_brackets,
    require_regex,
)
from orchestrator.errors import SpecError
from orchestrator.reporting.rendering.escape import plain


def choose(
    manifest: Source,
    out: Out,
    min_seconds: MinSeconds = None,
    max_seconds: MaxSeconds = None,
    name: Name = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text", metavar="REGEX", help="Take only utterances in whose text this is found."
        ),
    ] = None,
    without_text: Annotated[
        str | None,
        typer.Option(
            "--without-text",
            metavar="REGEX",
            help="Leave out utterances in whose text this is found.",
        ),
    ] = None,
    brackets: Bracketed = "keep",
) -> None:
    """Copy a part of a manifest, chosen by length, name and text, in the same order.

    It says how many utterances are left out, and why.
    """
    from orchestrator.corpus.importing.selecting import Selection, left_out, require_any, select
    from orchestrator.corpus.manifests.manifest import load_manifest
    from orchestrator.corpus.manifests.manifest_writing import (
        made_of,
        refuse_existing,
        source_of,
        write_manifest,
    )

    require_brackets(brackets)
    require_regex(text=text, without_text=without_text)
    refuse_existing(out)
    wanted = Selection(min_seconds, max_seconds, name, text, without_text, brackets)  # type: ignore[arg-type]
    source = load_manifest(manifest)
    lines, reasons = select(
        (made_of(utterance, manifest, out.parent) for utterance in source.utterances), wanted
    )
    require_any(manifest, len(lines), reasons)
    arguments = vars(wanted) | {"left_out": dict(reasons), "source": source_of(source)}
    print_totals(
        write_manifest(out, lines, "orchestrate manifest filter", arguments),
        left_out(reasons, len(lines)),
    )


_Out = Annotated[
    tuple[Path, Path],
    typer.Option(
        "--out",
        metavar="A B",
        help="Manifests to write, which must not exist yet. A third one, C, may follow.",
        show_default=False,
    ),
]
_Third = Annotated[
    Path | None,
    typer.Argument(metavar="C", help="Manifest to write for a third part.", show_default=False),
]
_By = Annotated[
    str | None,
    typer.Option(
        "--by",
        help="What no two parts have in common: speaker, sentence, recording or utterance. "
        "Default: speaker, or sentence if there are no two speakers.",
    ),
]
_Share = Annotated[
    str,
    typer.Option(
        "--share",
        help="Share of the utterances that part A gets, about. For three parts A:B, such as "
        "0.8:0.1; part C gets the rest.",
    ),
]


def split(
    manifest: Source,
    out: _Out,
    third: _Third = None,
    by: _By = None,
    share: _Share = "0.5",
    seed: Seed = 0,
) -> None:
    """Split a manifest into two or three parts that have no speaker in common, or as --by says.

    For example into train, domain and confirm.
    """
    from orchestrator.corpus.manifests.manifest import load_manifest
    from orchestrator.corpus.manifests.manifest_writing import made_of, source_of, write_manifests
    from orchestrator.corpus.sets.disjoint_parts import (
        UNITS,
        divide,
        sentences_in_common,
        usual_unit,
    )

    if third and third.exists() and not manifest.exists():  # written last: --out A B C MANIFEST
        manifest, third = third, manifest
    paths = [*out, third] if third else [*out]
    choice_of("--by", by or "speaker", UNITS)
    shares = _parse_shares(share, len(paths))
    _require_new(paths)
    source = load_manifest(manifest)
    unit, meaning = (by, "") if by else usual_unit(source)
    parts = divide(source, unit, shares, seed)  # type: ignore[arg-type]
    lines = {
        path: [made_of(utterance, manifest, path.parent) for utterance in part]
        for path, part in zip(paths, parts, strict=True)
    }
    arguments = {
        "by": unit,
        "share": shares[0] if len(shares) == 1 else shares,
        "seed": seed,
        "source": source_of(source),
    }
    for made in write_manifests(lines, "orchestrate manifest split", arguments):
        print_totals(made)
    if common := sentences_in_common(parts):
        meaning = f"{common} sentences stand in more than one part; --by sentence keeps them apart."
    if meaning:
        typer.echo(plain(meaning))


def _require_new(paths: list[Path]) -> None:
    """Raise SpecError where two parts name the same file, ManifestError where one exists
    already.
    """
    from orchestrator.corpus.manifests.manifest_writing import refuse_existing

    places = [path.absolute() for path in paths]
    for path in paths:
        if places.count(path.absolute()) > 1:
            raise SpecError(f"--out names {path} twice\n  Each part is a file of its own.")
    refuse_existing(*paths)


def _parse_shares(text: str, parts: int) -> list[float]:
    """Parse --share: the shares of all parts but the last. For three parts one share is enough; the
    other two are then equal.
    """
    try:
        shares = [float(share) for share in text.split(":")]
    except ValueError:
        raise SpecError(
            f"--share {text} is no share\n  Write 0.5, or 0.6:0.2 for three parts."
        ) from None
    if parts == 3 and len(shares) == 1:
        shares.append((1 - shares[0]) / 2)
    if len(shares) != parts - 1:
        raise SpecError(
            f"--share {text} has {len(shares)} shares for {parts} parts\n  The last part gets the rest."
        )
    if not (all(share > 0 for share in shares) and sum(shares) < 1):
        raise SpecError(
            f"--share {text} leaves a part empty\n  Allowed: above 0 and below 1{', together too' * (parts > 2)}."
        )
    return shares
