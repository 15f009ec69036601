"""The script load.py of exported adapters, which gives the recorded transcripts with stock PEFT and
transformers alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from orchestrator.corpus.samples import SILENCE_RMS
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.sweep import ModelSpec

_WINDOWS = """\
windows = model.config.encoder_config  # widths that transformers reads as the windows of the measurements
windows.sliding_windows = [[left + 1, right + 1] for left, right in windows.sliding_windows]
"""

_GREEDY = """\
def special(*names):  # a special token is in the first place that has it
    places = model.generation_config, model.config, tokenizer
    found = (getattr(place, name, None) for place in places for name in names)
    return next((token for token in found if token not in (None, [])), None)
start, end, pad = special("decoder_start_token_id", "bos_token_id"), special("eos_token_id"), special("pad_token_id")
settings = dict(decoder_start_token_id=start, eos_token_id=end, pad_token_id=pad)
model.generation_config = transformers.GenerationConfig(**settings)  # all else: greedy, as it was measured
"""

_ONE = "model = peft.PeftModel.from_pretrained(model, folder).eval()\n"

_SEVERAL = """\
model = peft.PeftModel.from_pretrained(model, f"{folder}/{names[0]}", adapter_name=names[0])
for name in names[1:]:
    model.load_adapter(f"{folder}/{name}", adapter_name=name)
model.eval()
"""

_HEAR_ONE = """\
tokens = model.generate(input_values=audio, attention_mask=mask, max_new_tokens=cap)[0]
print(tokenizer.decode(tokens, skip_special_tokens=True).strip())
"""

_HEAR_SEVERAL = """\
for name in names:
    model.set_adapter(name)
    tokens = model.generate(input_values=audio, attention_mask=mask, max_new_tokens=cap)[0]
    print(name, tokenizer.decode(tokens, skip_special_tokens=True).strip(), sep="\\t")
"""


def load_script(model: ModelSpec, evaluation: EvaluationSpec, names: Sequence[str] = ()) -> str:
    """Return a Python script that prints the transcript of a 16 kHz mono file.

    Without `names` it uses the adapter in the folder that it is given; with them, all adapters in
    the subfolders of these names, on one base model, with a line for each.
    """
    arguments = "folder, file = sys.argv[1:3]  # python load.py FOLDER FILE\n"
    if names:
        known = ", ".join(map(_literal, names))
        arguments = (
            "folder, file, *names = sys.argv[1:]  # python load.py FOLDER FILE [NAME]...\n"
            f"names = names or [{known}]\n"
        )
    return (
        "import sys, peft, soundfile, torch, transformers\n"
        + arguments
        + "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        + _base(model, evaluation)
        + (_SEVERAL if names else _ONE)
        + _audio(evaluation)
        + (_HEAR_SEVERAL if names else _HEAR_ONE)
    )


def _base(model: ModelSpec, evaluation: EvaluationSpec) -> str:
    """Return the lines that load the base model, with the encoder windows and the greedy decoding of
    the evaluation.
    """
    revision = "" if model.is_folder else f", revision={_literal(model.revision)}"
    place = f"{_literal(model.id)}{revision}"
    # a checkpoint in bfloat16 would be loaded as such, and take no float32 sound
    loaded = f"transformers.AutoModelForSpeechSeq2Seq.from_pretrained({place}, dtype=torch.float32)"
    windows = _WINDOWS if evaluation.encoder_windows == "inclusive" else ""
    return f"model = {loaded}\n" + _GREEDY + windows


def _literal(text: str) -> str:
    """Return a Python literal of `text`: JSON strings are valid Python strings, too."""
    return json.dumps(text, ensure_ascii=False)


def _audio(evaluation: EvaluationSpec) -> str:
    """Return the lines that prepare the sound as the evaluation does: its level, the cap on tokens,
    and for streaming models a whole number of frames.
    """
    # the level is that of the whole clip, before it is cut to whole frames, as in the evaluation,
    # which cuts peaks only where it scales
    scaled = (
        "level = (sound**2).mean() ** 0.5\n"
        f"if level >= {SILENCE_RMS!r}:  # silence stays as it is\n"
        f"    sound = (sound * {evaluation.rms!r} / level).clip(-1, 1)\n"
    )
    return (
        "sound, rate = soundfile.read(file)\n"
        "if rate != 16000 or sound.ndim > 1:\n"
        '    sys.exit(f"{file} is not of 16 kHz and one channel: ffmpeg -i {file} -ar 16000 -ac 1 NEW.wav")\n'
        + (scaled if evaluation.rms else "")
        + "audio = torch.tensor(sound).float()[None]\n"
        # in this order of rounding: 25 * (18560 / 16000) is below 29
        f"cap = int({evaluation.max_tokens_per_second!r} * (len(sound) / rate)) + 2\n"
        'frame = getattr(model.config, "encoder_config", None)\n'
        "step = round(frame.sample_rate * frame.frame_ms / 1000) if frame else 1\n"
        "audio = audio[:, : audio.shape[1] // step * step]\n"
        "mask = torch.ones_like(audio).long()\n"
    )
