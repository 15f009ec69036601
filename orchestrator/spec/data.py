"""`data:` of the sweep file, and which lines of which manifest each evaluation set is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from orchestrator.spec.frozen import Frozen, Seed

Part = Literal["search", "confirm"]


def relative_to(path: Path, root: Path) -> Path:
    """`path` from `root` on where it lies below it, else `path` as it is: what is outside has no other name."""
    return path.relative_to(root) if path.is_relative_to(root) else path


class SetSource(NamedTuple):
    """The lines that make an evaluation set: all of a manifest, or one part of its split by speaker."""

    path: Path
    split: float | None = None
    """Share of the utterances that go to the confirm part; None takes the whole manifest."""
    seed: int = 0
    part: Part = "search"

    @property
    def part_text(self) -> str:
        """Which part it is, in words; empty for a whole manifest."""
        return "" if self.split is None else f"{self.part} part, split {self.split:g}, seed {self.seed}"


class ConfirmData(Frozen):
    """Sets that the search never reads: two manifests, or parts of domain and heldout split off by speaker.

    The sweep file gives both manifests or `split`, never both forms (`sections.py` refuses that).
    """

    domain: Path | None = None
    heldout: Path | None = None
    split: float | None = Field(default=None, gt=0, lt=1)
    """Share of the utterances of domain and of heldout, about: whole speakers go."""
    seed: Seed | None = None
    """Of the split; 0 once it is part of DataSpec."""

    def relative_to(self, root: Path) -> ConfirmData:
        """The same with paths from `root` on."""
        return self.model_copy(update=_relative(self, root, ("domain", "heldout")))


class DataSpec(Frozen):
    """Manifests, as absolute paths once loaded."""

    train: Path
    replay: Path | None = None
    domain: Path
    heldout: Path
    confirm: ConfirmData | None = None
    max_seconds: float = Field(default=20.0, gt=0)
    """Longer training utterances are left out and counted; evaluation sets are never cut."""
    max_bad_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Bad lines of a training set up to this share are skipped and counted; in an evaluation set none are."""

    @field_validator("confirm")
    @classmethod
    def _split_seed(cls, confirm: ConfirmData | None) -> ConfirmData | None:
        unseeded = confirm is not None and confirm.split is not None and confirm.seed is None
        return confirm.model_copy(update={"seed": 0}) if confirm is not None and unseeded else confirm

    def relative_to(self, root: Path) -> DataSpec:
        """The same with paths from `root` on, so that the project may lie anywhere."""
        changes: dict[str, Any] = _relative(self, root, ("train", "replay", "domain", "heldout"))
        if self.confirm is not None:
            changes["confirm"] = self.confirm.relative_to(root)
        return self.model_copy(update=changes)

    @property
    def evaluated(self) -> dict[str, SetSource]:
        """What is measured on, under domain and heldout."""
        return self._sources("search")

    @property
    def confirming(self) -> DataSpec | None:
        """The same with the confirm sets in the place of the search's; None where there are none."""
        if self.confirm is None:
            return None
        if self.confirm.split is not None:
            return ConfirmPartSpec(**dict(self), part="confirm")
        paths = {"domain": self.confirm.domain, "heldout": self.confirm.heldout, "confirm": None}
        return DataSpec(**(dict(self) | paths))

    @property
    def split_text(self) -> str:
        """How the confirm sets are split off, in words; empty where they are not."""
        if self.confirm is None or self.confirm.split is None:
            return ""
        return (
            f"confirm sets are split off domain and heldout by speaker: about {100 * self.confirm.split:.3g} % of the "
            f"utterances of each, seed {self.confirm.seed}"
        )

    def _sources(self, part: Part) -> dict[str, SetSource]:
        paths = {"domain": self.domain, "heldout": self.heldout}
        if self.confirm is None or self.confirm.split is None:
            return {name: SetSource(path) for name, path in paths.items()}
        split, seed = self.confirm.split, self.confirm.seed or 0
        return {name: SetSource(path, split, seed, part) for name, path in paths.items()}


class ConfirmPartSpec(DataSpec):
    """What a confirmation run measures on where `confirm.split` made the sets; never written in a sweep file."""

    part: Literal["confirm"]

    @property
    def evaluated(self) -> dict[str, SetSource]:
        """The parts that the search does not read."""
        return self._sources(self.part)


def _relative(data: ConfirmData | DataSpec, root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    paths = {name: getattr(data, name) for name in names}
    return {name: relative_to(path, root) for name, path in paths.items() if path is not None}
