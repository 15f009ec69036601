"""A checkpoint of a fleet: one folder per pack with what it last saved, and `fleet.json` with what
each was told since.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.system_files import without_system_files
from orchestrator.fleet.pack_commands import Files
from orchestrator.fleet.pack_history import Pack
from orchestrator.fleet.pack_server import write_files
from orchestrator.records.fleet_file import FILE, FleetFile, PackInFile, read_fleet
from orchestrator.records.json_files import model_line


def save_packs(
    aside: Path,
    folder: Path,
    packs: Sequence[Pack],
    fresh: Mapping[int, Files],
    at: float,
    now: int,
    turn: int | None,
) -> None:
    """Write a checkpoint into `aside`, which will become `folder`: what packs saved now (`fresh`)
    or earlier, and what they were told since. `at` is the clock reading; `now` and `turn` are the
    fleet's.
    """
    for pack in packs:
        place = aside / f"pack-{pack.index}"
        if pack.index in fresh:
            place.mkdir()
            write_files(fresh[pack.index], place)
            pack.was_saved(folder / place.name, at)
        elif pack.saved is not None:
            place.mkdir()
            for path in without_system_files(pack.saved.iterdir()):
                _link(path, place / path.name)
            pack.saved = folder / place.name
    rows = tuple(_row(pack) for pack in packs)
    plans = {number: plan for pack in packs for number, plan in (pack.plans | pack.slots).items()}
    (aside / FILE).write_bytes(model_line(FleetFile(now=now, turn=turn, packs=rows, plans=plans)))


def _link(path: Path, place: Path) -> None:
    """Link a file to a second place, or copy it where the file system has no hard links. Sharing
    the bytes is safe, because neither file is ever written to again.
    """
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def _row(pack: Pack) -> PackInFile:
    return PackInFile(
        clock=pack.clock,
        steps=pack.steps,
        saved_slots=None if pack.saved is None else pack.saved_slots,
        log=tuple(pack.log),
        told=tuple(pack.told),
        where="" if pack.remote is None else pack.remote.where,
    )


def load_packs(folder: Path, count: int, at: float) -> tuple[list[Pack], int, int | None]:
    """Return the packs of a checkpoint, none of them running, the fleet's clock, and whose turn it
    is. Raises StudyError where the checkpoint is damaged or has another number of packs than
    `count`.
    """
    held = read_fleet(folder)
    if held is None or len(held.packs) != count:
        there = 0 if held is None else len(held.packs)
        raise StudyError(
            f"{folder} holds {there} packs, and the study has {count}; delete {folder.parent} to start anew"
        )
    return (
        [_pack(index, row, held, folder, at) for index, row in enumerate(held.packs)],
        held.now,
        held.turn,
    )


def _pack(index: int, row: PackInFile, held: FleetFile, folder: Path, at: float) -> Pack:
    named = {
        *row.steps,
        *(row.saved_slots or ()),
        *(number for word, number in row.log if word != "advance"),
    }
    return Pack(
        index,
        clock=row.clock,
        slots={number: held.plans[number] for number in row.steps},
        steps=dict(row.steps),
        saved=None if row.saved_slots is None else folder / f"pack-{index}",
        saved_slots=row.saved_slots or (),
        saved_at=at,
        log=list(row.log),
        told=list(row.told),
        plans={number: held.plans[number] for number in named},
    )
