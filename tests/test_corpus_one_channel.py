"""Records that mean one channel of a recording of several: refused, however they say so."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.test_corpus_as_found import RATE, lines_of, read, records, refusal


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A recording of two channels, and one of one."""
    for name, channels in (("0.wav", 2), ("1.wav", 1)):
        soundfile.write(tmp_path / name, np.full((2 * RATE, channels), 0.1, np.float32), RATE)
    return tmp_path


def test_a_channel_of_a_recording_of_several_is_not_their_mean(clips: Path) -> None:
    rows = records()
    commands: dict[int | str, str] = {0: "remix 1", "A": "remix 1", "ch_0": "remix 1"}
    commands |= {"B": "remix 2", "right": "remix 2", "Left channel": "remix 1", "ch_R": "remix 2"}
    commands |= {
        "Kanal 0": "remix 1",
        "Kanal rechts": "remix 2",
        "gauche": "remix 1",
        "derecho": "remix 2",
    }
    # whether it counts from 0 or from 1 is not known
    commands |= {1: "remix 1 saves the first, remix 2 the second"}
    for channel, command in commands.items():
        said = refusal(clips, lines_of([rows[0] | {"channel": channel}]))
        assert f'has 2 channels and the record means one, for "channel" is {channel!r};' in said
        assert (
            f"save that one as mono audio, for the texts of that channel alone: sox IN.wav OUT.wav {command}\n"
            in f"{said}\n"
        )
    assert (
        len(read(clips, lines_of([rows[0] | {"channel": "UC29ju8bIPH5as8OGnQzwJyA"}])).utterances)
        == 1
    )
    assert len(read(clips, lines_of([rows[1] | {"channel": 0}])).utterances) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"Channel": "1"},
        {"audio_channel": 0},
        {"channel_tag": 2},
        {"channelTag": 2},
        {"channel_id": 1.0},
        {"channel": "agent"},
        {"Channel Name": "Customer"},
        {"channel": "ch1"},
        {"ch": 1},
        {"channel": "right_channel"},
        {"channel": "channel left"},
        {"channel_selector": [0]},
        {"channels": [1]},
        {"side": "B"},
        {"Kanal": "1"},
        {"Kanal": "links"},
        {"canal": "Canal 2"},
        {"channel": "Kunde"},
        {"audio": {"path": "0.wav", "channel": 1}},
    ],
    ids=str,
)
def test_channels_by_other_names_are_not_their_mean(clips: Path, more: dict[str, object]) -> None:
    row = {"text": "one two"} | ({} if "audio" in more else {"path": "0.wav"}) | more
    assert "set.jsonl:1: audio file '0.wav' has 2 channels" in refusal(clips, lines_of([row]))


@pytest.mark.parametrize(
    "more",
    [
        {"channels": 2},
        {"num_channels": 2},
        {"channel": "Radio 4"},
        {"channel": "telephone"},
        {"channel_name": "MTV"},
        {"Kanal": "ARD"},
        {"channel": "arts"},
        {"channel_selector": [0, 1]},
        {"channel": True},
        {"channel": "cha"},
        {"ch": "zh"},
    ],
    ids=str,
)
def test_what_names_no_channel_is_kept(clips: Path, more: dict[str, object]) -> None:
    assert len(read(clips, lines_of([records()[0] | more])).utterances) == 1


def test_a_channel_of_sound_inside_a_manifest_is_not_their_mean(clips: Path) -> None:
    sound = {"bytes": base64.b64encode((clips / "0.wav").read_bytes()).decode()}
    row = {"audio": sound, "text": "one", "channel": 1}
    assert "the inline audio has 2 channels" in refusal(clips, lines_of([row]))


def test_a_count_of_channels_is_told_how_to_say_so(clips: Path) -> None:
    hint = 'where it says how many there are, call it "num_channels"'
    assert hint in refusal(clips, lines_of([records()[0] | {"channel": 2}]))
    assert hint not in refusal(clips, lines_of([records()[0] | {"channel": 1}]))
    assert len(read(clips, lines_of([records()[0] | {"num_channels": 2}])).utterances) == 1
