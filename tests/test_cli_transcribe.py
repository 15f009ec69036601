"""`orchestrate transcribe` against stock transformers and stock PEFT, on the shipped model and real
clips.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import soundfile
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.recordings.pause_segmentation import split_at_pauses
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import export_merged
from orchestrator.tuning.decoding import audio_files
from orchestrator.tuning.model.base_model import load_base_model
from tests.cli_project import ROOT, orchestrate
from tests.embedded import DATA, SETS

BASE = DATA / "base-model"
ROWS = [json.loads(line) for line in (DATA / SETS["domain"]).read_bytes().split(b"\n")[:3]]
CLIPS = [str(DATA / row["audio_filepath"]) for row in ROWS]
CAP = ("--max-tokens-per-second", "13", "--device", "cpu")


def stock_words(model: Any, path: str, rms: float | None = 0.075) -> str:
    """Greedy generate on one clip, alone."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    samples = (
        samples
        if rms is None
        else samples * np.float32(rms / np.sqrt(np.mean(samples.astype(float) ** 2)))
    )
    processor = AutoProcessor.from_pretrained(BASE)
    inputs = processor([samples], sampling_rate=16000, return_attention_mask=True)
    with torch.inference_mode():
        tokens = model.generate(
            **inputs, do_sample=False, max_new_tokens=int(13 * len(samples) / 16000) + 2
        )
    return str(processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter, large enough to change words."""
    torch.manual_seed(0)
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE)
    config = peft.LoraConfig(
        r=4, lora_alpha=40, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    tuned = peft.get_peft_model(base, config)
    folder = tmp_path_factory.mktemp("adapter")
    tuned.save_pretrained(str(folder))
    written = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(written | {"base_model_name_or_path": str(BASE)})
    )
    return folder


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("rms", [0.075, None])
def test_a_base_model_hears_what_stock_generate_hears(
    rms: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("transcribe", BASE, *CLIPS, *CAP, "--rms", rms or 0) == 0
    model = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).eval()
    assert lines(capsys) == [f"{path}\t{stock_words(model, path, rms)}" for path in CLIPS]


def test_an_adapter_and_its_merged_model_hear_the_words_of_stock_peft(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).eval()
    untuned = stock_words(base, CLIPS[0])
    tuned = peft.PeftModel.from_pretrained(base, str(adapter)).eval()
    expected = [f"{path}\t{stock_words(tuned, path)}" for path in CLIPS]
    assert expected[0] != f"{CLIPS[0]}\t{untuned}"
    assert orchestrate("transcribe", adapter, *CLIPS, *CAP) == 0
    assert lines(capsys) == expected
    export_merged(ModelSpec(id=str(BASE)), adapter, tmp_path / "merged")
    assert orchestrate("transcribe", tmp_path / "merged", *CLIPS, *CAP) == 0
    assert lines(capsys) == expected


def test_an_adapter_of_rotations_has_no_rank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    config = peft.OFTConfig(r=0, oft_block_size=8, target_modules=["q_proj"], init_weights=False)
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).eval()
    peft.get_peft_model(base, config).save_pretrained(str(tmp_path))
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).eval()
    tuned = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()
    expected = f"{CLIPS[0]}\t{stock_words(tuned, CLIPS[0])}"
    assert orchestrate("transcribe", tmp_path, CLIPS[0], *CAP, "--base", BASE) == 0
    assert lines(capsys) == [expected]


def test_no_warning_of_a_library_stands_beside_the_words(
    adapter: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A user would take it for one of ours."""
    assert orchestrate("transcribe", adapter, CLIPS[0], *CAP) == 0
    printed = capfd.readouterr()
    assert printed.out.startswith(f"{CLIPS[0]}\t") and "arning" not in printed.err


@pytest.mark.slow
def test_no_warning_stands_there_in_a_new_process(adapter: Path) -> None:
    """Some come once a process, or when a library is imported."""
    command = [sys.executable, "-m", "orchestrator", "transcribe", str(adapter), CLIPS[0], *CAP]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{CLIPS[0]}\t") and "arning" not in done.stderr


def test_a_text_that_was_cut_off_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        orchestrate("transcribe", BASE, CLIPS[0], "--max-tokens-per-second", "1", "--device", "cpu")
        == 0
    )
    assert capsys.readouterr().err == (
        f"{CLIPS[0]}: cut off at 1 tokens a second; speech this dense needs a larger --max-tokens-per-second\n"
    )


def test_a_file_that_cannot_be_heard_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.wav").write_text("no audio")
    soundfile.write("short.wav", np.zeros(40), 16000)
    os.mkfifo("pipe.wav")
    files = ["text.wav", CLIPS[0], "short.wav", "pipe.wav", "no.wav", CLIPS[1]]
    assert orchestrate("transcribe", BASE, *files, *CAP) == 1
    captured = capsys.readouterr()
    assert [line.partition("\t")[0] for line in captured.out.splitlines()] == CLIPS[:2]
    assert captured.err.splitlines() == [
        "audio file 'text.wav' cannot be read as audio: it is text, 'no audio'; download the recording itself",
        "audio file 'short.wav' has 40 samples; the model needs at least 80",
        "audio file 'pipe.wav' is a named pipe; only regular files are read",
        f"audio file 'no.wav' does not exist in {tmp_path}",
        "4 of 6 files could not be heard",
    ]
    assert orchestrate("transcribe", BASE, "no.wav", "/no/2.wav", "short.wav") == 2, "none is heard"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[1:] == [
        "audio file '/no/2.wav' does not exist",
        "audio file 'short.wav' has 40 samples; the model needs at least 80",
        "none of the files could be heard",
    ]


def test_a_folder_means_all_audio_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = [tmp_path / "a" / "2.WAV", tmp_path / "a" / "b" / "1.wav"]
    for path, clip in zip(inside, CLIPS, strict=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(clip).read_bytes())
    (tmp_path / "a" / "notes.txt").write_text("no audio")
    (tmp_path / "a" / "._2.wav").write_text("of a Mac")
    (tmp_path / "a" / ".cache").mkdir()
    (tmp_path / "a" / ".cache" / "3.wav").write_text("hidden")
    assert orchestrate("transcribe", BASE, tmp_path / "a", CLIPS[2], *CAP) == 0
    assert [line.partition("\t")[0] for line in lines(capsys)] == [*map(str, inside), CLIPS[2]]
    (tmp_path / "none").mkdir()
    for model in (BASE, "no/model"):
        assert orchestrate("transcribe", model, tmp_path / "none", *CAP) == 2
        assert f"{tmp_path}/none holds no recordings" in capsys.readouterr().err, (
            "before a download"
        )


def test_a_folder_that_is_linked_into_a_folder_is_heard_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "1.wav").write_bytes(Path(CLIPS[0]).read_bytes())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.wav").write_bytes(Path(CLIPS[1]).read_bytes())
    (tmp_path / "a" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "a")
    assert orchestrate("transcribe", BASE, tmp_path / "a", *CAP) == 0
    heard = [line.partition("\t")[0] for line in lines(capsys)]
    assert heard == [f"{tmp_path}/a/2.wav", f"{tmp_path}/a/more/1.wav"]


def test_sound_in_a_folder_that_is_not_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.wave").write_bytes(Path(CLIPS[0]).read_bytes())
    for name in ("a b.m4a", "d.WMA", "notes.txt", ".hidden.m4a"):
        (tmp_path / name).write_text("x")
    assert orchestrate("transcribe", BASE, tmp_path, *CAP) == 0
    captured = capsys.readouterr()
    assert [line.partition("\t")[0] for line in captured.out.splitlines()] == [f"{tmp_path}/b.wave"]
    first, _, command = captured.err.partition("; this converts what is not read as sound: ")
    assert first == f"{tmp_path}: left out: 2 not read as sound, such as a b.m4a"
    assert command.startswith(f"find -L {tmp_path} \\( -iname '*.m4a' -o -iname '*.wma' \\) -exec ")
    (tmp_path / "a b.wav").write_bytes(Path(CLIPS[0]).read_bytes())
    (tmp_path / "d.WMA.flac").write_bytes(Path(CLIPS[0]).read_bytes())
    assert orchestrate("transcribe", BASE, tmp_path, *CAP) == 0
    assert capsys.readouterr().err == "", "what was converted is not missing"
    for path in tmp_path.glob("*.[wf]*"):
        path.unlink()
    (tmp_path / "d.WMA").unlink()
    assert orchestrate("transcribe", BASE, tmp_path, *CAP) == 2
    captured = capsys.readouterr()
    assert f"{tmp_path} holds no recordings\n" in captured.err
    assert f"  {tmp_path}/a b.m4a is not read; convert it" in captured.err


def test_a_long_recording_is_heard_in_pieces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sentences with pauses between them, longer together than the model takes: what stock generate
    hears in each.
    """
    pause = np.zeros(8000, np.float32)
    parts = [
        part for path in CLIPS * 5 for part in (soundfile.read(path, dtype="float32")[0], pause)
    ]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), 16000, subtype="FLOAT")
    assert sum(map(len, parts)) > 30 * 16000
    longest = load_base_model(ModelSpec(id=str(BASE)), torch.device("cpu")).family.longest_seconds
    scaled, _ = scale_to_rms(np.concatenate(parts), 0.075)
    model, expected = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).eval(), []
    for piece in split_at_pauses(scaled, int(longest * 16000)):
        soundfile.write(tmp_path / "piece.wav", piece, 16000, subtype="FLOAT")
        expected.append(stock_words(model, str(tmp_path / "piece.wav"), None))
    assert len(expected) > 1
    assert orchestrate("transcribe", BASE, tmp_path / "long.wav", *CAP) == 0
    assert lines(capsys) == [f"{tmp_path}/long.wav\t{' '.join(expected)}"]


def test_level_and_token_cap_are_those_that_lie_beside_the_model(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "adapter"
    shutil.copytree(adapter, kept)
    (kept / "transcription.json").write_text('{"rms": null, "max_tokens_per_second": 1.0}')
    assert orchestrate("transcribe", kept, CLIPS[0], "--device", "cpu") == 0
    assert "cut off at 1 tokens a second" in capsys.readouterr().err
    assert orchestrate("transcribe", kept, CLIPS[0], *CAP) == 0
    unscaled = lines(capsys)
    assert orchestrate("transcribe", adapter, CLIPS[0], *CAP, "--rms", "0") == 0
    assert lines(capsys) == unscaled
    (kept / "transcription.json").write_text('{"rms": 7}')
    assert orchestrate("transcribe", kept, CLIPS[0]) == 2
    assert (
        "transcription.json is damaged: rms: Input should be less than 1" in capsys.readouterr().err
    )


def adapter_folder(folder: Path, config: str) -> Path:
    (folder / "adapter_config.json").write_text(config)
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is damaged: Expecting property name"),
        ("[]", "is damaged: 'list' object has no attribute"),
        ("{}", "names no base model\n  Name it with --base."),
        (
            '{"base_model_name_or_path": "/gone"}',
            "names the base model /gone, which is not there\n  Name it with --base.",
        ),
        (
            '{"base_model_name_or_path": "no such/folder"}',
            "\n  Where that is a folder elsewhere, name it with --base.",
        ),
    ],
)
def test_a_damaged_adapter_is_one_message(
    tmp_path: Path, config: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("transcribe", adapter_folder(tmp_path, config), CLIPS[0]) == 2
    assert message in capsys.readouterr().err


def test_folders_that_are_no_models_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("transcribe", tmp_path, CLIPS[0]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path} holds neither config.json nor adapter_config.json\n"
        "  Name a model folder, or an adapter folder as `orchestrate export` writes it.\n"
    )
    assert orchestrate("transcribe", "~nobody-of-this-name/model", CLIPS[0]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "there is no model folder ~nobody-of-this-name/model\n  Correct the path; or"
    )
    for name in ("trial-0", "trial-1"):  # as `export SPEC 0 1` writes them
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    assert orchestrate("transcribe", tmp_path, CLIPS[0]) == 2
    assert capsys.readouterr().err.endswith(
        f"\n  Name one of the adapters in it: {tmp_path}/trial-0, {tmp_path}/trial-1.\n"
    )
    for name in ("run/checkpoint-2", "run/checkpoint-10", "models--a--b/snapshots/0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    assert orchestrate("transcribe", tmp_path / "run", CLIPS[0]) == 2
    run = f"{tmp_path}/run/checkpoint"
    assert capsys.readouterr().err.endswith(
        f"\n  Name one of the models in it: {run}-10, {run}-2.\n"
    )
    cached = tmp_path / "models--a--b"
    assert orchestrate("transcribe", cached, CLIPS[0]) == 2
    assert capsys.readouterr().err.endswith(f" the models in it: {cached}/snapshots/0.\n")
    assert orchestrate("transcribe", BASE, CLIPS[0], "--base", BASE) == 2
    assert "--base goes with an adapter alone" in capsys.readouterr().err
    assert orchestrate("transcribe", BASE, CLIPS[0], "--device", "gpu") == 2
    assert (
        capsys.readouterr().err == "--device gpu is not known\n  Allowed: auto, cpu, cuda, mps.\n"
    )


def test_a_folder_that_is_mistyped_is_not_looked_for_on_the_hub(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exported").mkdir()
    (tmp_path / "data.jsonl").write_text(json.dumps(ROWS[0] | {"audio_filepath": CLIPS[0]}))
    for name in ("exported/mistyped", "./mistyped", "../mistyped", "/mistyped", "~/mistyped"):
        typed = os.path.expanduser(name)
        cure = "or name a hub id, such as UsefulSensors/moonshine-tiny."
        if name == "exported/mistyped":
            cure = f"exported is a folder here, so for {name} of the hub run this in another one."
        for command in (
            ("transcribe", name, CLIPS[0]),
            ("transcribe", adapter, CLIPS[0], "--base", name),
            ("diagnose", "data.jsonl", "--model", name),
        ):
            assert orchestrate(*command) == 2
            assert capsys.readouterr().err == (
                f"there is no model folder {typed}\n  Correct the path; {cure}\n"
            )


def test_the_folder_of_a_home_is_measured_as_any_other(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its level and token cap, which a cap of one token a second shows; and its base."""
    shutil.copytree(adapter, tmp_path / "kept")
    (tmp_path / "kept" / "transcription.json").write_text('{"max_tokens_per_second": 1.0}')
    (tmp_path / "base").symlink_to(BASE)
    rows = (row | {"audio_filepath": clip} for row, clip in zip(ROWS, CLIPS, strict=True))
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("HOME", str(tmp_path))
    said = []
    for name in (tmp_path / "kept", "~/kept"):
        assert orchestrate("diagnose", tmp_path / "data.jsonl", "--model", name) == 0
        said.append(capsys.readouterr().out.replace(str(tmp_path), "~"))
    assert said[0] == said[1]
    assert orchestrate("transcribe", adapter, CLIPS[0], *CAP, "--base", "~/base") == 0


def test_an_adapter_without_weights_is_refused(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter_folder(tmp_path, (adapter / "adapter_config.json").read_text())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"torn")
    assert orchestrate("transcribe", tmp_path, CLIPS[0]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith(f"adapter {tmp_path} does not fit {BASE}: ") and "Traceback" not in error
    )


OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 1048576000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["python", "cpu", "cuda"])
@pytest.mark.parametrize("where", ["with_adapter", "load_stock"])
def test_memory_that_runs_out_is_not_told_as_a_model_or_an_adapter_that_does_not_fit(
    where: str, error: Exception, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    if where == "with_adapter":
        monkeypatch.setattr(audio_files, "with_adapter", fail)
    else:
        monkeypatch.setattr(AutoModelForSpeechSeq2Seq, "from_pretrained", fail)
    with pytest.raises(type(error)) as caught:
        audio_files.open_model(str(adapter), torch.device("cpu"), str(BASE))
    assert caught.value is error


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["python", "cpu", "cuda"])
def test_memory_that_runs_out_while_it_hears_is_one_message(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(audio_files, "decode_clips", fail)
    assert orchestrate("transcribe", BASE, CLIPS[0], *CAP) == 2
    told = capsys.readouterr().err
    assert told.startswith("out of memory\n") and "End other programs" in told
