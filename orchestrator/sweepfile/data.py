"""`data:` of the sweep file, and which lines of which manifest each evaluation set is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.frozen import Frozen, Seed

RESERVED = ("train", "replay", "domain", "heldout", "any_also", "every_also")
ALSO_NAME = r"^[a-z][a-z0-9_]{0,31}$"

AlsoName = Annotated[str, Field(pattern=ALSO_NAME)]
"""The name of a set in `data.also`; none of RESERVED, and not beginning with `confirm_`
(`spec_building.py` refuses those).
"""

Part = Literal["search", "confirm"]


def relative_to(path: Path, root: Path) -> Path:
    """Return `path` relative to `root` where it lies below it, else `path` as it is."""
    return path.relative_to(root) if path.is_relative_to(root) else path


class SetSource(NamedTuple):
    """Where the utterances of an evaluation set come from: all lines of a manifest, or one part of
    its split by speaker.
    """

    path: Path
    split: float | None = None
    """Share of the utterances that go to the confirm part; None takes the whole manifest."""
    seed: int = 0
    part: Part = "search"

    @property
    def part_text(self) -> str:
        """The part in words; empty for a whole manifest."""
        return (
            ""
            if self.split is None
            else f"{self.part} part, split {self.split:g}, seed {self.seed}"
        )


class ConfirmData(Frozen):
    """The confirm sets, which the search never reads: manifests, or a part of each evaluation set
    that is split off by speaker.

    A sweep file names the manifests or gives `split`, never both.
    """

    # spec_building.py refuses a file that has both forms

    domain: Path | None = None
    """Manifest of the confirm set for `data.domain`; null where `split` makes it."""
    heldout: Path | None = None
    """Manifest of the confirm set for `data.heldout`; null where `split` makes it."""
    also: dict[AlsoName, Path] = Field(default_factory=dict)
    """Confirm manifests, by name, of those sets of `data.also` that a limit names."""
    split: float | None = Field(default=None, gt=0, lt=1)
    """Share of the utterances of each evaluation set that is kept from the search. It holds about,
    because whole speakers are split off. Null where manifests are named.
    """
    seed: Seed | None = None
    """Seed of the split. Null means 0, which DataSpec fills in."""

    def relative_to(self, root: Path) -> ConfirmData:
        """Return a copy whose paths are relative to `root`."""
        also = {name: relative_to(path, root) for name, path in self.also.items()}
        return self.model_copy(
            update=_relative_paths(self, root, ("domain", "heldout")) | {"also": also}
        )


class AlsoSet(Frozen):
    """One more evaluation set, beside domain and held-out."""

    manifest: Path
    rungs: Literal["all", "last"] = "all"
    """Whether trials are measured on it at every rung, or at their last step only."""


def _also_short(value: Any, info: ValidationInfo) -> Any:
    """Expand the short form, a manifest's path alone, to a set with defaults.

    YAML holds paths as text. In strict mode pydantic accepts only Path objects from Python, and
    only text from JSON, so text is converted unless the input is JSON.
    """
    if not isinstance(value, (dict, str, Path)):
        return value
    named = value if isinstance(value, dict) else {"manifest": value}
    if info.mode == "json":
        return named
    return {
        key: Path(given) if key == "manifest" and isinstance(given, str) else given
        for key, given in named.items()
    }


class DataSpec(Frozen):
    """The manifests of the sets for training and evaluation; paths are absolute once loaded."""

    train: Path
    """Speech of the new domain, to train on."""
    replay: Path | None = None
    """General speech that is mixed into the training; null mixes none in."""
    domain: Path
    """Speech of the new domain, where the WER must fall."""
    heldout: Path | None = None
    """General speech, where the WER must not rise; may be null where no limit names it."""
    also: dict[AlsoName, Annotated[AlsoSet, BeforeValidator(_also_short)]] = Field(
        default_factory=dict
    )
    """More evaluation sets by name. The baseline and every trial are measured on them."""
    confirm: ConfirmData | None = None
    """The confirm sets; null if there are none."""
    max_seconds: float = Field(default=20.0, gt=0)
    """Training utterances that last longer, in seconds, are left out and counted. From evaluation
    sets this leaves nothing out.
    """
    max_bad_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of bad lines that a training set may have: they are skipped and counted. In an
    evaluation set no bad line is skipped.
    """

    @field_validator("confirm")
    @classmethod
    def _split_seed(cls, confirm: ConfirmData | None) -> ConfirmData | None:
        unseeded = confirm is not None and confirm.split is not None and confirm.seed is None
        return (
            confirm.model_copy(update={"seed": 0}) if confirm is not None and unseeded else confirm
        )

    def relative_to(self, root: Path) -> DataSpec:
        """Return a copy whose paths are relative to `root`, so that a project can be moved."""
        changes: dict[str, Any] = _relative_paths(
            self, root, ("train", "replay", "domain", "heldout")
        )
        if self.confirm is not None:
            changes["confirm"] = self.confirm.relative_to(root)
        changes["also"] = {
            name: also.model_copy(update={"manifest": relative_to(also.manifest, root)})
            for name, also in self.also.items()
        }
        return self.model_copy(update=changes)

    @property
    def evaluated(self) -> dict[str, SetSource]:
        """The sets that trials are measured on, by name: domain, heldout where there is one, then
        `also` in file order.
        """
        return self._sources_of_part("search")

    @property
    def all_evaluated(self) -> dict[str, SetSource]:
        """The sets of the search, then the confirm sets, by the names that measurements use."""
        confirming = {} if self.confirming is None else self.confirming.evaluated
        return self.evaluated | {confirm_name(name): at for name, at in confirming.items()}

    @property
    def confirming(self) -> DataSpec | None:
        """A copy with the confirm sets in the place of the search's; None where there are none."""
        if self.confirm is None:
            return None
        if self.confirm.split is not None:
            # a confirmation run is measured once, on every set
            always = {
                name: also.model_copy(update={"rungs": "all"}) for name, also in self.also.items()
            }
            return ConfirmPartSpec(**(dict(self) | {"also": always}), part="confirm")
        also = {name: AlsoSet(manifest=path) for name, path in self.confirm.also.items()}
        sets = {
            "domain": self.confirm.domain,
            "heldout": self.confirm.heldout,
            "also": also,
            "confirm": None,
        }
        return DataSpec(**(dict(self) | sets))

    @property
    def at_every_rung(self) -> tuple[str, ...]:
        """The sets that a trial is measured on at every rung, and not only at its last step."""
        return tuple(
            name
            for name in self.evaluated
            if name not in self.also or self.also[name].rungs == "all"
        )

    @property
    def split_text(self) -> str:
        """How the confirm sets are split off, in words; empty where they are not."""
        if self.confirm is None or self.confirm.split is None:
            return ""
        return (
            f"confirm sets are split off {' and '.join(self._named_paths)} by speaker: about "
            f"{100 * self.confirm.split:.3g} % of the utterances of each, seed {self.confirm.seed}"
        )

    @property
    def _named_paths(self) -> dict[str, Path]:
        paths = {"domain": self.domain, "heldout": self.heldout}
        also = {name: also.manifest for name, also in self.also.items()}
        return {name: path for name, path in paths.items() if path is not None} | also

    def _sources_of_part(self, part: Part) -> dict[str, SetSource]:
        paths = self._named_paths
        if self.confirm is None or self.confirm.split is None:
            return {name: SetSource(path) for name, path in paths.items()}
        split, seed = self.confirm.split, self.confirm.seed or 0
        return {name: SetSource(path, split, seed, part) for name, path in paths.items()}


class ConfirmPartSpec(DataSpec):
    """What a confirmation run measures on where `confirm.split` made the sets; never written in a
    sweep file.
    """

    part: Literal["confirm"]

    @property
    def confirming(self) -> DataSpec | None:
        """None: these are the confirm sets themselves."""
        return None

    @property
    def evaluated(self) -> dict[str, SetSource]:
        """The confirm parts of the split, which the search does not read."""
        return self._sources_of_part(self.part)


def _relative_paths(
    data: ConfirmData | DataSpec, root: Path, names: tuple[str, ...]
) -> dict[str, Any]:
    paths = {name: getattr(data, name) for name in names}
    return {name: relative_to(path, root) for name, path in paths.items() if path is not None}
