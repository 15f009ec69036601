"""The journal: a chain of what was written, before it was; a kill in between; what a reader
believes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StudyError
from orchestrator.files import atomic
from orchestrator.records.journal.chain import Chain, Fault, read_chain
from orchestrator.records.journal.digest_map import Digests
from orchestrator.records.store import StudyFolder
from orchestrator.verdicts.saved_adapters import check_if_kept
from tests.search_helpers import make_result

ROOT = Path(__file__).resolve().parents[1]


def chain_of(*acts: dict[str, str | None]) -> tuple[Chain, bytes]:
    """A chain of these acts, and its bytes."""
    chain, data = Chain(), b""
    for files in acts:
        entries = chain.entries("test", files)
        chain, data = chain.extended(entries), data + b"".join(entry.line for entry in entries)
    return chain, data


def test_what_is_extended_and_what_is_read_are_one() -> None:
    chain, data = chain_of({"a": "1"}, {"a": "2", "b": "3"}, {"b": None}, {"c": "4", "a": "2"})
    assert read_chain(data) == chain and chain.length == len(data)
    assert chain.files == ("a", "c") and chain.act == 4
    assert chain.entries("test", {"a": "2", "c": "4"}) == (), (
        "what is sealed so already needs no line"
    )


def test_once_closed_no_file_may_be_as_before() -> None:
    chain, data = chain_of({"a": "1"}, {"a": "2", "b": "3"})
    closed = chain.extended(chain.closing)
    assert read_chain(data + chain.closing[0].line) == closed and closed.closing == ()
    assert closed.fault("a", "1") is Fault.ALTERED and closed.fault("b", None) is Fault.LOST
    assert closed.newest == chain.newest


def test_of_the_last_act_alone_a_file_may_be_as_before() -> None:
    chain, _ = chain_of({"a": "1", "gone": "9"}, {"a": "2", "b": "3", "gone": None})
    holding = [("a", "1"), ("a", "2"), ("b", None), ("b", "3"), ("gone", "9"), ("gone", None)]
    assert not any(chain.fault(file, found) for file, found in holding)
    later = chain.extended(chain.entries("test", {"c": "5"}))
    assert later.fault("a", "1") is Fault.ALTERED and later.fault("b", None) is Fault.LOST
    assert later.fault("gone", "9") is Fault.STRANGE and later.fault("x", "1") is Fault.STRANGE
    assert later.fault("c", None) is None and later.fault("x", None) is None


def test_every_byte_of_the_chain_counts() -> None:
    _, data = chain_of({"a": "1"}, {"b": "2"}, {"c": "3"})
    end = data.rindex(b"\n", 0, -1) + 1
    for at in range(end):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ValueError, match="line"):
            read_chain(changed)
    lines = data.splitlines(keepends=True)
    for broken in (
        lines[1:],
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [*lines, lines[2]],
    ):
        with pytest.raises(ValueError, match="line"):
            read_chain(b"".join(broken))


def test_a_line_that_a_power_cut_left_half_is_no_line(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    folder.write_result(make_result(0, {}))
    whole = folder.journal.path.read_bytes()
    folder.journal.path.write_bytes(whole + b'{"act": 2, "file": "trials/0001/re')
    again = StudyFolder(tmp_path, "s")
    assert [result.number for result in again.results()] == [0]
    again.write_result(make_result(1, {}))
    assert again.journal.path.read_bytes().startswith(whole)
    assert len(StudyFolder(tmp_path, "s").results()) == 2


KILL = """
import os, signal, sys
from pathlib import Path
from orchestrator.records.journal.digest_map import Digests
from orchestrator.records.store import StudyFolder
from tests.search_helpers import make_result
folder = StudyFolder(Path(sys.argv[1]), "s")
with folder.lock():
    folder.write_spec("old\\n")
    if sys.argv[2] == "result":
        folder.write_result(make_result(0, {}))
    os.replace = lambda aside, path: os.kill(os.getpid(), signal.SIGKILL)
    folder.write_result(make_result(0, {}, 5.0)) if sys.argv[2] != "spec" else folder.write_spec("new\\n")
"""


def test_what_is_said_to_be_published_is_on_the_disk_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed before it synced a folder may have left a name that only the memory
    of the machine holds.
    """

    together = atomic._sync_together

    def killed(written: Sequence[tuple[Path, Path]], *meanwhile: Callable[[], None]) -> None:
        if all(place.is_dir() for _, place in written):
            raise RuntimeError("killed")
        together(written, *meanwhile)

    folder = StudyFolder(tmp_path, "s")
    with pytest.raises(RuntimeError), folder.lock(), monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync_together", killed)
        folder.write_result(make_result(0, {}))
    synced, fsync = [], os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with StudyFolder(tmp_path, "s").lock():
        assert sorted(synced[:-1]) == ["0000", "s", "trials"] and synced[-1] == "journal.jsonl"
    assert not StudyFolder(tmp_path, "s").journal.faults()


def test_files_of_one_act_are_synced_each_and_their_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path, "s")
    with folder.lock():
        files = {folder.trial_folder(0) / name: name.encode() for name in ("a", "b")}
        folder.publish("before", files)
        synced, fsync = [], os.fsync

        def noted(descriptor: int) -> None:
            name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
            synced.append(name.partition(".tmp-")[0])
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", noted)
        folder.publish("both", dict.fromkeys(files, b"new"))
        assert sorted(synced[:3]) == ["a", "b", "journal.jsonl"] and synced[3:] == ["0000"]


@pytest.mark.parametrize("refused", ["journal.jsonl", "a", "b"])
def test_where_one_file_of_an_act_is_refused_none_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    folder = StudyFolder(tmp_path, "s")
    files = {folder.trial_folder(0) / name: name.encode() for name in ("a", "b")}
    with folder.lock():
        folder.publish("before", files)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        if name.partition(".tmp-")[0] == refused:
            raise OSError(28, os.strerror(28))
        fsync(descriptor)

    with pytest.raises(StudyError, match=f"{refused} could"), folder.lock():
        monkeypatch.setattr(os, "fsync", full)
        folder.publish("both", dict.fromkeys(files, b"new"))
    monkeypatch.setattr(os, "fsync", fsync)
    there = {path.name: path.read_bytes() for path in folder.trial_folder(0).iterdir()}
    assert there == {"a": b"a", "b": b"b"}
    with folder.lock():
        folder.publish("again", dict.fromkeys(files, b"new"))
    assert not folder.journal.faults()


@pytest.mark.parametrize("what", ["new", "result", "spec"])
def test_killed_between_journal_and_file_what_was_before_holds(tmp_path: Path, what: str) -> None:
    command = [sys.executable, "-c", KILL, str(tmp_path), what]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    reader = StudyFolder(tmp_path, "s")
    before = reader.read_spec(), reader.results()
    assert before == ("old\n", (make_result(0, {}),) if what == "result" else ())
    with StudyFolder(tmp_path, "s").lock():
        pass
    settled = StudyFolder(tmp_path, "s")
    assert (settled.read_spec(), settled.results()) == before
    settled.write_result(make_result(0, {}, 7.0))
    settled.write_result(make_result(1, {}))
    assert [r.number for r in StudyFolder(tmp_path, "s").results()] == [
        0,
        1,
    ] and not settled.journal.faults()


def test_what_somebody_else_wrote_is_never_sealed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILL, str(tmp_path), "spec"]
    subprocess.run(command, check=False, cwd=ROOT)
    (tmp_path / "s" / "spec.yaml").write_text("looser\n")
    folder = StudyFolder(tmp_path, "s")
    with folder.lock(), pytest.raises(StudyError, match=r"spec\.yaml has been altered"):
        folder.read_spec()


def test_a_lost_journal_is_no_new_study(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    folder.write_spec("x\n")
    folder.journal.path.unlink()
    again = StudyFolder(tmp_path, "s")
    for act in (
        again.check_format,
        again.read_spec,
        again.results,
        lambda: again.write_spec("y\n"),
    ):
        with pytest.raises(StudyError, match=r"journal\.jsonl is lost"):
            act()


def test_an_adapter_is_sealed_as_a_whole(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    place = folder.adapter_folder(0)
    for files in ({"config": b"1", "weights": b"2"}, {"config": b"3"}):
        with folder.new_adapter(place) as aside:
            for name, data in files.items():
                (aside / name).write_bytes(data)
        assert folder.has_adapter(place) and {path.name for path in place.iterdir()} == set(files)
    folder.write_result(make_result(0, {}))
    (place / "weights").write_bytes(b"2")
    with pytest.raises(StudyError, match="weights was not written by a run"):
        folder.has_adapter(place)
    assert not folder.has_adapter(folder.final_folder(0))


def test_an_adapter_that_was_altered_in_its_study_is_not_used(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "studies", "s")
    place = folder.adapter_folder(0)
    with folder.lock(), folder.new_adapter(place) as aside:
        (aside / "weights").write_bytes(b"12345")
    shutil.copytree(place, tmp_path / "exported")
    check_if_kept(place)
    for data in (b"12346", b"123", b""):
        (place / "weights").write_bytes(data)
        with pytest.raises(StudyError, match="weights has been altered"):
            check_if_kept(place)
    shutil.rmtree(place)
    with pytest.raises(StudyError, match="weights is lost"):
        check_if_kept(place)
    for elsewhere in (tmp_path / "exported", tmp_path / "nothing", Path("some/model"), Path("")):
        check_if_kept(elsewhere)


def test_a_reader_beside_a_writer_never_sees_damage(tmp_path: Path) -> None:
    writer, reader = StudyFolder(tmp_path, "s"), StudyFolder(tmp_path, "s")
    writer.write_result(make_result(0, {}, 0.5))

    def write() -> None:
        for n in range(50):
            writer.write_result(make_result(0, {}, float(n)))
            writer.write_spec(f"{n}\n")

    thread = threading.Thread(target=write)
    thread.start()
    looks = 0
    while thread.is_alive():
        assert len(reader.results()) == 1
        reader.read_spec()
        assert not reader.faults()
        looks += 1
    thread.join()
    assert looks and reader.read_spec() == "49\n"


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path, "s")
    folder.write_result(make_result(0, {}, 5.0))
    before = folder.journal.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StudyError, match=r"journal\.jsonl could not be written: No space left"):
            folder.write_result(make_result(0, {}))
    assert folder.journal.path.read_bytes() == before
    folder.write_result(make_result(0, {}))
    assert len(StudyFolder(tmp_path, "s").results()) == 1


@given(
    acts=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "trials/1/a", "trials/1/b/c", "trials/12/a", "confirm/1/b/c"]),
            st.none() | st.sampled_from("123"),
        )
    )
)
def test_versions_of_the_sealed_files_are_mappings_that_do_not_change(
    acts: list[dict[str, str | None]],
) -> None:
    """Oracle: plain dictionaries, copied whole."""
    versions, plain = [Digests({})], [dict[str, str | None]()]
    for act in acts:
        versions.append(versions[-1].changed(act))
        plain.append(plain[-1] | act)
    for version, expected in zip(versions, plain, strict=True):
        assert dict(version) == expected and version == Digests(expected)
        assert len(version) == len(expected) and version.get("trials/1/a") == expected.get(
            "trials/1/a"
        )
        for folder in ("trials/1", "trials/1/b", "confirm/1"):
            there = sorted(f for f, held in expected.items() if held and f.startswith(f"{folder}/"))
            assert version.under(folder) == tuple(there)
